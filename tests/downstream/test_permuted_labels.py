"""With permuted labels, every pooled task scores at chance: only the sound gives a head information on the label."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from superbench import Corpora, Features, Fold, Split, Task, plugins
from superbench.features.store import Store
from superbench.runs.job import perform
from superbench.runs.options import Options
from superbench.system.progress import Silence

UPSTREAMS = {"ks": f"{__file__}:Patches", "ic": "apc:untrained", "sid": "fbank_no_cmvn", "er": f"{__file__}:Patches"}
"""The cheapest models found whose honest results are far from chance: IC needs a longer memory than `Patches` have."""


class Patches(nn.Module):
    """Random projections of 300 ms of a logarithmic spectrum, rectified: a mean over frames still holds the order of sounds."""

    sample_rate, hop, layers, dim = 16_000, 320, 1, 384

    def __init__(self) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(0)
        self.bands = nn.Parameter(torch.rand(40, 160, generator=draws).pow(8), requires_grad=False)
        self.patches = nn.Conv1d(40, self.dim, 15, padding=7)
        with torch.no_grad():
            for weights in self.patches.parameters():
                weights.copy_(torch.randn(weights.shape, generator=draws) / 40)

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        frames = (lengths / self.hop).ceil().long()
        pieces = nn.functional.pad(waves, (0, -waves.shape[1] % self.hop)).unflatten(1, (-1, self.hop))
        spectrum = (torch.fft.rfft(pieces).abs()[..., 1:] @ self.bands.T + 1e-3).log()  # (batch, time, band)
        inside = (torch.arange(spectrum.shape[1]) < frames[:, None])[..., None]
        mean = (spectrum * inside).sum(1, keepdim=True) / frames[:, None, None]
        hidden = self.patches(((spectrum - mean) * inside).transpose(1, 2)).relu().transpose(1, 2)
        return Features((hidden * inside)[None], frames)


def permuted(task: Task) -> Task:
    """The task with the labels of each split dealt out at random among its items."""

    def shuffled(split: Split) -> Split:
        labels = [item.label for item in split.items]
        random.Random(f"{split.name} {len(labels)}").shuffle(labels)
        return replace(split, items=tuple(replace(i, label=label) for i, label in zip(split.items, labels, strict=True)))

    def read(corpora: Corpora) -> tuple[Fold, ...]:
        return tuple(Fold(f.name, shuffled(f.train), shuffled(f.dev), shuffled(f.test)) for f in task.read(corpora))

    # silence is cut into slices by its label, so what a task prepares comes before the labels are dealt out
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
