"""The time of the heads and of a run on several GPUs: arithmetic worked by hand; what is measured is named."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

import pytest
from torch import nn

from superbench.contract import Recipe
from superbench.contract.sizes import Size
from superbench.runs.costs import CostPlan, Demand, Shape, plan
from superbench.runs.head_costs import HeadCost, head_cost, spread

SHAPE = Shape(hop=320, layers=2, dim=17)
SIZES = {"train": Size(100, 100 / 3600), "dev": Size(10, 10 / 3600), "test": Size(20, 20 / 3600)}  # a second each
RECIPE = Recipe(steps=50, batch=4, evaluate_every=25, learning_rates=(1e-2, 1e-3))


def demand(task: str = "tones", sound: str = "Tones", reads: str = "frames", recipe: Recipe = RECIPE, **more: Any) -> Demand:
    values = {"sizes": SIZES, "reference": recipe, "probes": 2} | more
    return Demand(task=task, sound=sound, reads=reads, recipe=recipe, **values)  # type: ignore[arg-type]


def test_frames_of_all_updates_evaluations_and_probes_are_counted(tones: ModuleType) -> None:
    cost = head_cost(tones.TONES, demand(), SHAPE, "cpu")
    frames = 50 * 4 * 50 + (2 * 10 * 50 + 20 * 50) / 3  # 50 frames a second; dev twice, test once, forward only
    assert cost.items == pytest.approx(2 * frames)
    assert cost.seconds == pytest.approx(cost.items * cost.pass_seconds / cost.pass_items)
    assert cost.pass_seconds > 0


def test_heads_on_means_count_utterances(tones: ModuleType) -> None:
    cost = head_cost(tones.TONE, demand("tone", reads="mean"), SHAPE, "cpu")
    assert cost.items == pytest.approx(2 * (50 * 4 + (2 * 10 + 20) / 3))
    assert cost.pass_items == 4


def test_every_checkpoint_that_is_tested_counts(tones: ModuleType) -> None:
    once, twice = (head_cost(tones.TONE, demand("tone", reads="mean", checkpoints=c), SHAPE, "cpu") for c in (False, True))
    assert twice.items - once.items == pytest.approx(2 * 20 / 3)


def test_a_task_that_trains_nothing_has_no_time_and_a_reason(tones: ModuleType) -> None:
    cost = head_cost(dataclasses.replace(tones.TONES, head=None), demand(), SHAPE, "cpu")
    assert (cost.seconds, cost.reason) == (None, "it trains no head")


def test_a_head_that_needs_the_items_of_its_fold_has_a_reason(tones: ModuleType) -> None:
    def needing(dim: int, fold: Any, recipe: Recipe) -> nn.Module:
        return nn.Linear(dim, len(fold.train.items[0].label))

    cost = head_cost(dataclasses.replace(tones.TONES, head=needing), demand(), SHAPE, "cpu")
    assert cost.seconds is None
    assert "IndexError" in cost.reason


@pytest.fixture
def costs() -> CostPlan:
    """130 s of sound that `a` and `b` share, and 130 s of `c`; a second of work for each."""
    return plan([demand("a"), demand("b"), demand("c", "Other")], SHAPE, 10**12, 1.0)


def test_extraction_divides_evenly_and_jobs_as_they_fit(costs: CostPlan) -> None:
    heads = [HeadCost("a", 60.0), HeadCost("b", 50.0), HeadCost("c", 40.0)]
    alone, two, many = (spread(costs, heads, 1.0, workers) for workers in (1, 2, 8))
    assert (alone.extract_seconds, alone.job_seconds) == pytest.approx((260.0, 150.0))
    assert (two.extract_seconds, two.job_seconds) == pytest.approx((130.0, 90.0))  # 60 beside 50 + 40
    assert (many.extract_seconds, many.job_seconds) == pytest.approx((32.5, 60.0))  # no job is divided
    assert two.seconds == pytest.approx(220.0)


def test_sound_that_is_not_stored_belongs_to_the_jobs() -> None:
    costs = plan([demand("a")], SHAPE, 0, 1.0)
    assert costs.sounds[0].keep == "shared"
    found = spread(costs, [HeadCost("a", 60.0)], 1.0, 4)
    assert found.extract_seconds == 0
    assert found.job_seconds == pytest.approx(60.0 + 50 * 4 + 2 * 10 + 20)


def test_what_is_not_known_is_named(costs: CostPlan) -> None:
    assert spread(costs, [HeadCost("a", 1.0), HeadCost("b", None), HeadCost("c", None)], 1.0, 1).unknown == ("b", "c")


def test_both_formats_are_in_the_plan_and_the_chosen_one_decides() -> None:
    frames = 130 * 50
    sound = plan([demand("a")], SHAPE, 10**12, 1.0).sounds[0]
    assert sound.formats == {"float16": frames * 2 * 17 * 2, "int8": frames * 2 * (17 + 4)}
    assert sound.bytes["frames"] == sound.formats["float16"]
    room = sound.formats["int8"]
    assert plan([demand("a")], SHAPE, room, 1.0).sounds[0].keep == "shared"
    assert plan([demand("a")], SHAPE, room, 1.0, None, "int8").sounds[0].keep == "frames"
    assert plan([demand("a", reads="mean")], SHAPE, room, 1.0).sounds[0].formats == {}
