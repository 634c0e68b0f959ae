"""Checks whether a task keeps the contract, by running it once, on its miniature corpus or on a part of its own corpus, with a
few updates."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from superbench import plugins
from superbench.contract import CUSTOM, Fold, Item, Protocols, Split, Stacked, Task
from superbench.contract.corpora import Corpora
from superbench.features.store import Store
from superbench.plugins.doctor.examination import Examination
from superbench.plugins.doctor.examining import Finding
from superbench.runs.job import perform
from superbench.runs.options import Options
from superbench.system.processes import without_main
from superbench.system.progress import Reporter, Silence

PROTOCOLS = ("superb", "superb-once", "mini")
PART = 64
"""About so many items of each split are used of a corpus that is no miniature: of every training label at least one."""
MOST_LABELS = 1_000
PAIRS = 10
"""Trials of each reference (0, 1) that are used of such a corpus."""


def conform(
    task: Task, upstream: str = "fbank_no_cmvn", reporter: Reporter | None = None, corpora: Corpora | None = None
) -> Examination:
    """Checks a task in five steps: card, corpus, reader, head, and a shortened job. Stops at the first step that fails.

    `corpora`: where a task without a miniature corpus (`synth`) finds its corpus.
    """
    findings: list[Finding] = []

    def check(name: str, action: Callable[[], str]) -> bool:
        """Runs a step, and adds its text or its error to the findings; returns whether the step succeeded."""
        try:
            findings.append(Finding(name, True, action()))
        except Exception as error:
            findings.append(Finding(name, False, f"{type(error).__name__}: {error}"))
        return findings[-1].holds

    with tempfile.TemporaryDirectory(prefix="superbench-check-") as temporary:
        examined = _Examined(task, Path(temporary), corpora, reporter or Silence())
        steps = (
            ("card", examined.card),
            ("corpus" if task.synth is None else "synthesis", examined.corpus),
            ("reader", examined.reader),
            ("head", examined.head),
            ("run", lambda: examined.run(upstream)),
        )
        for name, action in steps:
            if not check(name, action):
                break
    return Examination(task.card.name, tuple(findings))


@dataclass(frozen=True, slots=True)
class _Examined:
    """A task, and the folder in which its miniature corpus is written; `own`: its corpora if it has no miniature."""

    task: Task
    root: Path
    own: Corpora | None
    reporter: Reporter

    @property
    def corpora(self) -> Corpora:
        """The corpora that the task reads here."""
        return Corpora(self.root) if self.task.synth is not None or self.own is None else self.own

    @property
    def protocol(self) -> Protocols:
        """The protocol of the shortened job."""
        return CUSTOM if self.task.card.is_own else "mini"

    def card(self) -> str:
        """Checks that the card has its recipes."""
        card = self.task.card
        missing = [name for name in PROTOCOLS if name not in card.recipes]
        if missing and not card.is_own:
            raise ValueError(
                f"the card has no recipe for {', '.join(missing)}; it has {', '.join(card.recipes)}. Expected these, or one "
                f"recipe that is named {CUSTOM}"
            )
        variants = f", variants {', '.join(card.variants)}" if card.variants else ""
        return f"version {card.version}, recipes {', '.join(card.recipes)}{variants}"

    def corpus(self) -> str:
        """Writes the miniature corpus, if there is one."""
        if self.task.synth is None and self.own is None:
            raise ValueError(
                "the task has no miniature corpus (its part `synth` is not set), so it can only be checked on its own corpus: "
                "add --data DIR, the folder that contains it"
            )
        if self.task.synth is None:
            return f"no miniature (`synth` is not set): about {PART} items of each split of its own corpus are used"
        with without_main():
            self.task.synth(self.root, 0)
        files = [path for path in self.root.rglob("*") if path.is_file()]
        return f"{len(files)} files, {sum(path.stat().st_size for path in files) / 2**20:.0f} MiB"

    def reader(self) -> str:
        """Reads the corpus twice."""
        folds = self.task.read(self.corpora)
        if [_ids(fold) for fold in folds] != [_ids(fold) for fold in self.task.read(self.corpora)]:
            raise ValueError("reading the corpus twice gives different items")
        for fold in folds:
            train, test = {item.id for item in fold.train.items}, {item.id for item in fold.test.items}
            if train & test:
                raise ValueError(f"{len(train & test)} items are in train and in test, for example {min(train & test)}")
        return ", ".join(f"{f.name}: {len(f.train.items)}/{len(f.dev.items)}/{len(f.test.items)}" for f in folds)

    def head(self) -> str:
        """Compares `stacked` and `losses` of two heads with `forward` and `loss` of each."""
        if self.task.head is None:
            return "none: nothing is trained"
        fold, dim = self.task.read(self.corpora)[0], 24
        recipe = self.task.card.recipes[self.protocol]
        heads: list[Any] = [self.task.head(dim, fold, recipe).double() for _ in range(2)]
        first, targets = heads[0], [heads[0].encode(item.label) for item in fold.train.items[:8]]
        if not isinstance(first, Stacked):
            return type(first).__name__
        _compare_stacked(heads, torch.stack(targets), dim)
        return f"{type(first).__name__}, batched updates for the complete sweep"

    def run(self, upstream: str) -> str:
        """Runs a shortened job."""
        loaded, task = plugins.upstream(plugins.parse(upstream)), self.task
        if task.synth is None:
            task = replace(task, read=_in_part(task.read))
        options = Options(self.protocol, max_steps=4)
        short = replace(task.card, recipes={**task.card.recipes, self.protocol: options.recipe(task)})
        out = self.root / "out"
        with Store(out / "store") as store:
            result = perform(replace(task, card=short), loaded, self.corpora, store, out, options, {}, self.reporter).result
        score = result.scores[result.primary]
        json.dumps(result.model_dump(mode="json"), allow_nan=False)
        return f"{result.primary} {score.value:.2f} after 4 updates, {sum(result.data.items.values())} items"


def _ids(fold: Fold) -> list[str]:
    return [item.id for split in fold.splits for item in split.items]


def _compare_stacked(heads: Sequence[Any], targets: torch.Tensor, dim: int) -> None:
    features = torch.randn(2, len(targets), dim, dtype=torch.float64)
    weights, _ = torch.func.stack_module_state(list(heads))
    outputs = heads[0].stacked(weights, features)
    losses = heads[0].losses(outputs, targets).mean(1)
    for number, head in enumerate(heads):
        single = head(features[number], torch.ones(len(targets)))
        if outputs[number].shape != single.shape or not torch.allclose(outputs[number], single):
            raise ValueError("the outputs of `stacked` differ from those of `forward`")
        if not torch.allclose(losses[number], head.loss(single, torch.ones(len(targets)), targets)):
            raise ValueError("the mean of `losses` differs from `loss`")


# ---------------------------------------------------------------- a part of a corpus


def _in_part(read: Callable[[Corpora], tuple[Fold, ...]]) -> Callable[[Corpora], tuple[Fold, ...]]:
    """Returns a reader of a part of the corpus."""

    @cache
    def part(corpora: Corpora) -> tuple[Fold, ...]:
        return tuple(replace(f, train=_part(f.train), dev=_part(f.dev), test=_part(f.test)) for f in read(corpora))

    part.__module__ = read.__module__
    return part


def _part(split: Split) -> Split:
    """Returns the items of some trials, or the first item of every label and some further ones."""
    if split.trials:
        trials = [trial for reference in (0, 1) for trial in [t for t in split.trials if t.reference == reference][:PAIRS]]
        named = {name for trial in trials for name in (trial.left, trial.right)}
        return replace(split, items=tuple(item for item in split.items if item.id in named), trials=tuple(trials))
    return replace(split, items=tuple(_of_every_label(split.items)))


def _of_every_label(items: Sequence[Item]) -> Iterable[Item]:
    seen: set[str] = set()
    for place, item in enumerate(items):
        labels = {repr(label) for label in (item.label if isinstance(item.label, list) else [item.label])}
        if place < PART or (len(seen) < MOST_LABELS and not labels <= seen):
            seen |= labels
            yield item
