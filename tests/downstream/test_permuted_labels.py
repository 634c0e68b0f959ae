"""With permuted labels, every pooled task scores at chance: only the sound gives a head information on the label."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from superbench import Corpora, Fold, Split, Task, plugins
from superbench.features.store import Store
from superbench.runs.job import perform
from superbench.runs.options import Options
from superbench.system.progress import Silence

UPSTREAMS = {"ks": "apc:untrained", "ic": "apc:untrained", "sid": "fbank_no_cmvn", "er": "apc:untrained"}
"""Of the models that are ready at once, the cheapest whose honest result is far from chance, whichever way a processor rounds
(fbank_no_cmvn on KS: 12, 15 or 25 % after 300 updates, with AVX-512, AVX2 or neither)."""


def permuted(task: Task) -> Task:
    """The task with the labels of each split permuted at random."""

    def shuffled(split: Split) -> Split:
        labels = [item.label for item in split.items]
        random.Random(f"{split.name} {len(labels)}").shuffle(labels)
        return replace(split, items=tuple(replace(i, label=label) for i, label in zip(split.items, labels, strict=True)))

    def read(corpora: Corpora) -> tuple[Fold, ...]:
        return tuple(Fold(f.name, shuffled(f.train), shuffled(f.dev), shuffled(f.test)) for f in task.read(corpora))

    # silence is cut into slices by its label, so a task prepares its splits before the labels are permuted
    return replace(task, read=read, prepare=lambda split, hop, recipe: split)


def accuracy(task: Task, root: Path, out: Path, store: Store) -> tuple[float, int, float]:
    """Test accuracy in percent, test items, share of the commonest label in percent."""
    loaded = plugins.upstream(plugins.parse(UPSTREAMS[task.card.name]))
    result = perform(task, loaded, Corpora(root), store, out, Options("mini", max_steps=300), {}, Silence()).result
    labels = Counter(str(item.label) for fold in task.read(Corpora(root)) for item in fold.test.items)
    items = sum(labels.values())
    return result.scores["accuracy"].value, items, 100 * max(labels.values()) / items


@pytest.mark.parametrize("name", ["ks", "ic", "sid", "er"])
def test_permuted_labels_fall_to_chance(name: str, miniature: Callable[[str], Path], tmp_path: Path) -> None:
    task, root, store = plugins.task(name), miniature(name), Store(tmp_path / "store")
    honest, items, commonest = accuracy(task, root, tmp_path / "honest", store)
    dealt, _, _ = accuracy(permuted(task), root, tmp_path / "dealt", store)
    error = 100 * (commonest / 100 * (1 - commonest / 100) / items) ** 0.5
    assert dealt < commonest + 3.5 * error
    assert honest > commonest + 7 * error
