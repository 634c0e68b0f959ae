"""The plan for the real corpora against the protocol's own table: updates, batches, draws and passes of every task."""

from __future__ import annotations

import pytest

from superbench import plugins
from superbench.runs.cost_model import evaluations
from superbench.runs.costs import Demand, Shape, SoundCost, plan, task_cost
from superbench.runs.options import Options

HUBERT = Shape(320, 13, 768)
# updates, micro-batch, accumulated, sounds per update, evaluations, training items: by hand from section 2.0 of the protocol
TABLE = {
    "pr": (100_000, 16, 2, 32, 100, 28_539),
    "asr": (200_000, 32, 1, 16, 100, 28_539),  # every group of 32 is cut in half
    "sf": (200_000, 32, 1, 32, 100, 104_672),
    "ks": (200_000, 32, 1, 32, 40, 51_094),
    "ic": (200_000, 32, 1, 32, 40, 23_132),
    "er": (30_000, 4, 8, 32, 30, 17_698),  # five folds: 3 556 + 3 606 + 3 504 + 3 600 + 3 432
    "sid": (200_000, 8, 4, 32, 40, 138_361),
    "asv": (200_000, 10, 5, 50, 10, 148_642),
    "sd": (30_000, 8, 4, 32, 60, 13_900),
}


def demand(name: str, protocol: str) -> Demand:
    task = plugins.task(name)
    options = Options(protocol)  # type: ignore[arg-type]
    recipe = options.recipe(task)
    return Demand(
        name, task.card.sound, task.card.reads, recipe, Options("superb").recipe(task), task.card.sizes,
        len(options.points(recipe)) if recipe.steps else 0, task.select.checkpoints,
    )  # fmt: skip


@pytest.mark.parametrize("protocol", ["superb", "superb-once"])
@pytest.mark.parametrize("name", sorted(TABLE))
def test_updates_batches_and_passes_are_those_of_the_protocol(name: str, protocol: str) -> None:
    steps, batch, accumulate, drawn, judged, items = TABLE[name]
    task_demand = demand(name, protocol)
    assert (
        task_demand.recipe.steps,
        task_demand.recipe.batch,
        task_demand.recipe.accumulate,
        evaluations(task_demand.recipe),
    ) == (steps, batch, accumulate, judged)
    cost = task_cost(task_demand, HUBERT.layers)
    folds = 5 if name == "er" else 1
    assert (cost.batch, cost.folds, cost.probes) == (drawn, folds, 5)
    assert cost.draws == steps * drawn * folds
    assert cost.passes == pytest.approx(steps * drawn * folds / items)


def sounds(protocol: str) -> dict[str, SoundCost]:
    estimate = plan([demand(name, protocol) for name in (*TABLE, "qbe")], HUBERT, 10**13, 0.01)
    return {sound.sound: sound for sound in estimate.sounds}


def test_with_store_space_each_sound_passes_once_and_random_crops_as_often_as_they_are_drawn() -> None:
    once, official = sounds("superb-once"), sounds("superb")
    assert [sound.passes for sound in once.values()] == [pytest.approx(1.0)] * 9
    # draws x share of them that is cut x seconds, and the hours of what is cut, which are not stored
    cut = {
        "Speech Commands": (6_400_000 / 12 * 1, 0.11),
        "VoxCeleb1": (6_400_000 * 0.35 * 8, 187.0),
        "VoxCeleb1 trimmed": (10_000_000 * 0.35 * 8, 201.0),
    }
    for name, sound in official.items():
        seconds, hours = cut.get(name, (0.0, 0.0))
        assert sound.model_hours == pytest.approx(sound.hours - hours + seconds / 3600)
    assert once["LibriSpeech clean"].tasks == ("pr", "asr")
    assert once["VoxCeleb1"].utterances == 153_516
    assert once["VoxCeleb1"].bytes["mean"] == 153_516 * 13 * 768 * 4


def test_query_by_example_trains_nothing() -> None:
    cost = task_cost(demand("qbe", "superb"), HUBERT.layers)
    assert (cost.steps, cost.draws, cost.probes) == (0, 0, 0)
