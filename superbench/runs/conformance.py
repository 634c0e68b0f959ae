"""Checks whether a task keeps the contract, by running it once on its miniature corpus with a few updates."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from superbench import plugins
from superbench.contract import Stacked, Task
from superbench.contract.corpora import Corpora
from superbench.features.store import Store
from superbench.plugins.doctor.checks import Finding
from superbench.plugins.doctor.examination import Examination
from superbench.runs.job import perform
from superbench.runs.options import Options
from superbench.system.processes import without_main
from superbench.system.progress import Reporter, Silence

PROTOCOLS = ("superb", "superb-once", "mini")


def conform(task: Task, upstream: str = "fbank_no_cmvn", reporter: Reporter | None = None) -> Examination:
    """Checks a task in five steps: card, synthesis of the corpus, reader, head, and a shortened job. Stops at the first step
    that fails."""
    findings: list[Finding] = []

    def check(name: str, action: Callable[[], str]) -> bool:
        """Runs a step, and adds its text or its error to the findings; returns whether the step succeeded."""
        try:
            findings.append(Finding(name, True, action()))
        except Exception as error:
            findings.append(Finding(name, False, f"{type(error).__name__}: {error}"))
        return findings[-1].holds

    with tempfile.TemporaryDirectory(prefix="superbench-check-") as temporary:
        root = Path(temporary)
        corpora = Corpora(root)
        steps = (
            ("card", lambda: _card(task)),
            ("synthesis", lambda: _synthesise(task, root)),
            ("reader", lambda: _read(task, corpora)),
            ("head", lambda: _head(task, corpora)),
            ("run", lambda: _run(task, upstream, corpora, root / "out", reporter or Silence())),
        )
        for name, action in steps:
            if not check(name, action):
                break
    return Examination(task.card.name, tuple(findings))


def _card(task: Task) -> str:
    missing = [name for name in PROTOCOLS if name not in task.card.recipes]
    if missing:
        raise ValueError(f"the card has no recipe for {', '.join(missing)}")
    variants = f", variants {', '.join(task.card.variants)}" if task.card.variants else ""
    return f"version {task.card.version}, recipes {', '.join(task.card.recipes)}{variants}"


def _synthesise(task: Task, root: Path) -> str:
    with without_main():
        task.synth(root, 0)
    files = [path for path in root.rglob("*") if path.is_file()]
    return f"{len(files)} files, {sum(path.stat().st_size for path in files) / 2**20:.0f} MiB"


def _read(task: Task, corpora: Corpora) -> str:
    folds = task.read(corpora)
    if [_ids(fold) for fold in folds] != [_ids(fold) for fold in task.read(corpora)]:
        raise ValueError("reading the corpus twice gives different items")
    for fold in folds:
        train, test = {item.id for item in fold.train.items}, {item.id for item in fold.test.items}
        if train & test:
            raise ValueError(f"{len(train & test)} items are in train and in test, for example {min(train & test)}")
    return ", ".join(f"{f.name}: {len(f.train.items)}/{len(f.dev.items)}/{len(f.test.items)}" for f in folds)


def _ids(fold: Any) -> list[str]:
    return [item.id for split in (fold.train, fold.dev, fold.test) for item in split.items]


def _head(task: Task, corpora: Corpora) -> str:
    """Compares `stacked` and `losses` of two heads with `forward` and `loss` of each."""
    if task.head is None:
        return "none: nothing is trained"
    fold, dim = task.read(corpora)[0], 24
    heads: list[Any] = [task.head(dim, fold, task.card.recipes["mini"]).double() for _ in range(2)]
    first = heads[0]
    if not isinstance(first, Stacked):
        return type(first).__name__
    targets = torch.stack([heads[0].encode(item.label) for item in fold.train.items[:8]])
    features = torch.randn(2, len(targets), dim, dtype=torch.float64)
    weights, _ = torch.func.stack_module_state(heads)
    outputs = first.stacked(weights, features)
    losses = first.losses(outputs, targets).mean(1)
    for number, head in enumerate(heads):
        single = head(features[number], torch.ones(len(targets)))
        if outputs[number].shape != single.shape or not torch.allclose(outputs[number], single):
            raise ValueError("the outputs of `stacked` differ from those of `forward`")
        if not torch.allclose(losses[number], head.loss(single, torch.ones(len(targets)), targets)):
            raise ValueError("the mean of `losses` differs from `loss`")
    return f"{type(first).__name__}, batched updates for the complete sweep"


def _run(task: Task, upstream: str, corpora: Corpora, out: Path, reporter: Reporter) -> str:
    loaded = plugins.upstream(plugins.parse(upstream))
    options = Options("mini", max_steps=4)
    short = replace(task.card, recipes={**task.card.recipes, "mini": options.recipe(task)})
    result = perform(replace(task, card=short), loaded, corpora, Store(out / "store"), out, options, {}, reporter).result
    score = result.scores[result.primary]
    json.dumps(result.model_dump(mode="json"), allow_nan=False)
    return f"{result.primary} {score.value:.2f} after 4 updates, {sum(result.data.items.values())} items"
