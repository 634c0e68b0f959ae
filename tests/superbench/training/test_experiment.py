"""The sweep: both update rules give the same weights, and training resumes exactly."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from doubles import Cut, Scissors

from downstream.shared.pooled import PooledLinear
from superbench import plugins
from superbench.contract import Features, Fold, Recipe
from superbench.contract.corpora import Corpora
from superbench.errors import BadHead
from superbench.features.extraction import Extraction, extract
from superbench.features.store import Store
from superbench.results.result import Receipt
from superbench.results.seeds import in_words, over_seeds
from superbench.system.progress import Silence
from superbench.training.loop import flushed
from superbench.training.probes.batches import BatchPlan, Traits
from superbench.training.probes.experiment import Outcome, experiment
from superbench.training.probes.fold import Conditions
from superbench.training.probes.probe import MeanExamples, Probe
from superbench.training.probes.sweep import Sweep
from superbench.training.probes.updates import Point, SequentialUpdate


def extracted(model: torch.nn.Module, data: Path, folder: Path, task: Any) -> tuple[tuple[Fold, ...], Extraction]:
    folds = task.read(Corpora(data))
    loaded = plugins.loaded(plugins.parse("spectrum"), model, "cpu")
    audios = [item.audio for split in (folds[0].train, folds[0].dev, folds[0].test) for item in split.items]
    return folds, extract(loaded, audios, task.card.reads, Store(folder / "store"), "cpu", Silence())


@pytest.fixture(scope="module")
def features(tones: ModuleType, tone_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`features("TONE")`: the folds of a task of the plugin and the features of its model, extracted once."""
    return functools.cache(
        lambda name: extracted(tones.Spectrum(), tone_corpora, tmp_path_factory.mktemp("features"), getattr(tones, name))
    )


def conditions(task: Any, work: Path, reporter: Any = None, seeds: tuple[int, ...] = (0,)) -> Conditions:
    recipe = task.card.recipes["mini"]
    points = tuple(Point(rate, seed) for seed in seeds for rate in recipe.learning_rates)
    return Conditions(task, recipe, points, 2, 17, "cpu", "x", work, reporter or Silence())


def summary(outcome: Outcome) -> tuple:
    return outcome.sweep, outcome.chosen, [p.prediction for p in outcome.predictions], outcome.layer_weights, outcome.learning


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TONE", "TONES"])
def test_training_that_was_killed_ends_as_if_it_had_not_been(
    name: str, tones: ModuleType, features: Callable[..., Any], tmp_path: Path
) -> None:
    task = getattr(tones, name)
    folds, extraction = features(name)
    undisturbed = experiment(conditions(task, tmp_path / "a"), folds, extraction)
    for after in (3, 17, 31):
        with pytest.raises(Cut):
            experiment(conditions(task, tmp_path / "b", Scissors(after)), folds, extraction)
    assert summary(experiment(conditions(task, tmp_path / "b"), folds, extraction)) == summary(undisturbed)


@pytest.mark.slow
def test_a_task_is_learnt(tones: ModuleType, features: Callable[..., Any], tmp_path: Path) -> None:
    folds, extraction = features("TONE")
    outcome = experiment(conditions(tones.TONE, tmp_path), folds, extraction)
    assert outcome.scores["accuracy"].value > 90


@pytest.mark.slow
def test_what_was_learnt_is_told_look_by_look(tones: ModuleType, features: Callable[..., Any], tmp_path: Path) -> None:
    """Losses fall, the receipt has the best dev value, and a note reports a best value at the last update."""
    folds, extraction = features("TONE")
    recipe = replace(tones.TONE.card.recipes["mini"], steps=25, evaluate_every=10)
    card = replace(tones.TONE.card, recipes={"mini": recipe})
    outcome = experiment(conditions(replace(tones.TONE, card=card), tmp_path), folds, extraction)
    for receipt in outcome.sweep:
        rows = [row for row in outcome.learning if row["lr"] == receipt["lr"]]
        assert [row["step"] for row in rows] == [10, 20, 25]
        assert max(row["dev"] for row in rows) == receipt["dev"]
        assert rows[-1]["loss"] < rows[0]["loss"]
    late = outcome.chosen["all"]["step"] == 25
    assert [note for note in outcome.notes if "last of 25 updates" in note] == outcome.notes[: int(late)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TONE", "TONES"])
def test_a_head_that_gives_one_answer_is_noted(name: str, tones: ModuleType, tone_corpora: Path, tmp_path: Path) -> None:
    """Features that are all zero: the head can learn its bias only."""

    class Silent(tones.Spectrum):  # type: ignore[name-defined, misc]
        def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
            heard = super().forward(waves, lengths)
            return Features(torch.zeros_like(heard.frames), heard.lengths)

    task = getattr(tones, name)
    folds, extraction = extracted(Silent(), tone_corpora, tmp_path, task)
    assert [note for note in experiment(conditions(task, tmp_path), folds, extraction).notes if "collapsed: 100 %" in note]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_a_stacked_sweep_equals_its_probes_one_by_one(optimizer: str, tones: ModuleType) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(50, 2, 17, generator=generator, dtype=torch.float64)
    labels = [torch.tensor(int(i)) for i in torch.randint(4, (50,), generator=generator)]
    recipe = Recipe(steps=30, batch=8, evaluate_every=10, learning_rates=(), accumulate=2, clip=0.5, optimizer=optimizer)  # type: ignore[arg-type]
    plan = BatchPlan(recipe, Traits([1] * 50, [1] * 50, ["x"] * 50))
    points = [Point(1e-1, 0), Point(1e-2, 0), Point(1e-3, 1)]
    probes = []
    for point in points:
        torch.manual_seed(point.seed)
        probes.append(Probe(tones.NameOne(17), 2).double())
    examples = MeanExamples(values, "cpu")
    together = Sweep(points, copy.deepcopy(probes), recipe, plan, examples, labels)
    for number in range(30):
        together.step(number)
    targets = torch.stack(labels)
    for i, (point, probe) in enumerate(zip(points, probes, strict=True)):
        alone = SequentialUpdate([point], [probe.train()], recipe, draws=False)
        for number in range(30):
            for indices in plan(number):
                read, lengths = examples.batch(indices)
                loss = probe.head.loss(probe(read, lengths), lengths, targets[torch.as_tensor(indices)])
                (loss / recipe.accumulate).backward()
            alone.update()
        for name, value in alone.own[0].items():
            torch.testing.assert_close(together.own[i][name], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("head", ["one by one", "stacked"])
def test_a_probe_without_a_number_is_passed_by_and_its_mates_go_on(head: str, tones: ModuleType) -> None:
    values = torch.randn(50, 2, 17, generator=torch.Generator().manual_seed(1))
    labels = [torch.tensor(number % 4) for number in range(50)]
    recipe = Recipe(steps=9, batch=8, evaluate_every=9, learning_rates=(), clip=0.5)
    plan, points = BatchPlan(recipe, Traits([1] * 50, [1] * 50, ["x"] * 50)), [Point(1e-1, 0), Point(1e-2, 0)]
    broken, sound = (Probe(PooledLinear(17, "abcd") if head == "stacked" else tones.NameOne(17), 2) for _ in range(2))
    assert broken.weights is not None
    with torch.no_grad():
        broken.weights[0] = torch.nan
    before, started, single = copy.deepcopy(broken.state_dict()), copy.deepcopy(sound.state_dict()), copy.deepcopy(sound)
    both = Sweep(points, [broken, sound], recipe, plan, MeanExamples(values, "cpu"), labels)
    alone = Sweep(points[1:], [single], recipe, plan, MeanExamples(values, "cpu"), labels)
    for number in range(9):
        both.step(number)
        alone.step(number)
    assert both.skipped.tolist() == [9, 0]
    for name, value in both.own[0].items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)
    assert not any(key.startswith("adam/0/") for key in both.state())
    assert float(both.state()["adam/1/0/step"]) == 9
    for name, value in alone.own[0].items():
        torch.testing.assert_close(both.own[1][name], value, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(value, started[name]), f"{name} has not moved"


def test_a_weight_that_a_head_holds_still_stays_as_it_is() -> None:
    recipe = Recipe(steps=3, batch=8, evaluate_every=3, learning_rates=(), optimizer="adamw")
    plan = BatchPlan(recipe, Traits([1] * 50, [1] * 50, ["x"] * 50))
    head = PooledLinear(17, "abcd")
    head.classify.bias.requires_grad_(False)
    held, started = head.classify.bias.clone(), head.classify.weight.detach().clone()
    labels = [torch.tensor(number % 4) for number in range(50)]
    sweep = Sweep([Point(1e-1, 0)], [Probe(head, 2)], recipe, plan, MeanExamples(torch.randn(50, 2, 17), "cpu"), labels)
    for number in range(3):
        sweep.step(number)
    assert torch.equal(sweep.own[0]["head.classify.bias"], held)
    assert not torch.equal(sweep.own[0]["head.classify.weight"], started)


def test_numbers_nearest_to_zero_count_as_zero_in_training_and_nowhere_else() -> None:
    def smallest() -> float:
        return float(torch.tensor(1e-30) * torch.tensor(1e-10))

    if not torch.set_flush_denormal(False):
        pytest.skip("this processor has no such mode")
    assert smallest() > 0
    with flushed():
        assert smallest() == 0
        with flushed():
            pass
        assert smallest() == 0
    assert smallest() > 0


@pytest.mark.slow
def test_a_probe_does_not_depend_on_its_mates(tones: ModuleType, features: Callable[..., Any], tmp_path: Path) -> None:
    task = tones.TONES
    folds, extraction = features("TONES")
    both = experiment(conditions(task, tmp_path / "a"), folds, extraction)
    card = replace(task.card, recipes={"mini": replace(task.card.recipes["mini"], learning_rates=(3e-3,))})
    alone = experiment(conditions(replace(task, card=card), tmp_path / "b"), folds, extraction)
    assert [row for row in both.sweep if row["lr"] == 3e-3] == alone.sweep


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TONE", "TONES"])
def test_a_rate_that_diverged_is_recorded_and_never_chosen(
    name: str, tones: ModuleType, features: Callable[..., Any], tmp_path: Path
) -> None:
    """A penalty that overflows as soon as a weight is larger than 88: at the first update of a rate of 100 000."""
    task, base = getattr(tones, name), {"TONE": tones.NameOne, "TONES": tones.NameMany}[name]

    class Overflowing(base):  # type: ignore[misc, valid-type]
        def loss(self, outputs: torch.Tensor, lengths: torch.Tensor, targets: Any) -> torch.Tensor:
            largest = torch.stack([weight.abs().max() for weight in self.parameters()]).max()
            return super().loss(outputs, lengths, targets) + 0 * largest.exp()

    recipe = replace(task.card.recipes["mini"], learning_rates=(1e6, 1e-2, 1e5))
    card = replace(task.card, recipes={"mini": recipe})
    task = replace(task, card=card, head=lambda dim, fold, recipe: Overflowing(dim))
    folds, extraction = features(name)
    outcome = experiment(conditions(task, tmp_path), folds, extraction)
    receipts = [Receipt.model_validate(row) for row in outcome.sweep]
    assert [(receipt.lr, receipt.status) for receipt in receipts] == [(1e6, "diverged"), (1e-2, None), (1e5, "diverged")]
    assert [receipt.dev is None for receipt in receipts] == [True, False, True]
    assert outcome.chosen["all"]["lr"] == 1e-2
    assert len(outcome.predictions) == len(folds[0].test.items)
    told = {row["lr"]: row["dev"] for row in outcome.learning if row["step"] == recipe.steps}
    assert (told[1e6], told[1e5]) == (None, None)
    assert told[1e-2] is not None


def test_where_every_rate_diverged_it_is_an_error(tones: ModuleType, features: Callable[..., Any], tmp_path: Path) -> None:
    class Exploding(tones.NameOne):  # type: ignore[misc,name-defined]
        def loss(self, outputs: torch.Tensor, lengths: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return super().loss(outputs, lengths, targets) * float("nan")

    folds, extraction = features("TONE")
    task = replace(tones.TONE, head=lambda dim, fold, recipe: Exploding(dim))
    with pytest.raises(BadHead) as outcome:
        experiment(conditions(task, tmp_path), folds, extraction)
    assert "every learning rate diverged (0.1, 0.01, 0.001)" in str(outcome.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TONE", "TONES"])
def test_further_seeds_are_tested_and_the_lowest_is_reported(
    name: str, tones: ModuleType, features: Callable[..., Any], tmp_path: Path
) -> None:
    task = getattr(tones, name)
    folds, extraction = features(name)
    alone = experiment(conditions(task, tmp_path / "a"), folds, extraction)
    second = experiment(conditions(task, tmp_path / "b", seeds=(1,)), folds, extraction)
    both = experiment(conditions(task, tmp_path / "c", seeds=(0, 1)), folds, extraction)
    assert alone.by_seed == {}
    assert both.predictions == alone.predictions
    assert both.chosen == alone.chosen
    assert list(both.by_seed) == [0, 1]
    assert [predictions for predictions, _ in both.by_seed.values()] == [alone.predictions, second.predictions]
    facts = over_seeds(both.by_seed, task.card.primary)
    values = [outcome.scores[task.card.primary].value for outcome in (alone, second)]
    assert list(facts["values"].values()) == values
    assert facts["mean"] == pytest.approx(sum(values) / 2)
    assert facts["std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert facts["ci_method"].endswith("2 seeds")
    assert in_words("accuracy", facts).startswith("seeds 0, 1: accuracy has the mean")
