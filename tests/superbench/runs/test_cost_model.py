"""The cost of a run: cases worked by hand, the limits of the store, nothing counted twice."""

from __future__ import annotations

import pytest

from superbench.contract import Recipe
from superbench.contract.sizes import FreshCrops, Size, different, folds_of
from superbench.features.storage_policy import choose, frame_bytes, mean_bytes
from superbench.runs.cost_model import draw_seconds, draws, evaluations, every_step_hours, fresh_hours
from superbench.runs.costs import CostPlan, Demand, Shape, plan

HUBERT = Shape(hop=320, layers=13, dim=768)
LIBRISPEECH = {"train": Size(28_539, 100.6), "dev": Size(2_703, 5.4), "test": Size(2_620, 5.4)}
ONCE = Recipe(steps=100_000, batch=16, accumulate=2, evaluate_every=1_000, learning_rates=(1e-2, 1e-3, 1e-4, 1e-5))
VOXCELEB = {
    "train": Size(1_000, 2.0, FreshCrops(utterances=400, hours=1.2, share=0.4, seconds=8.0)),
    "dev": Size(100, 0.25),
    "test": Size(50, 0.1),
}
CROPS = Recipe(steps=500, batch=10, evaluate_every=100, learning_rates=(1e-1,), fresh_crops=True)
ROOM = 10**15


def demand(
    task: str = "pr", sound: str = "LibriSpeech", reads: str = "frames", recipe: Recipe = ONCE, **options: object
) -> Demand:
    values = {"sizes": LIBRISPEECH, "reference": recipe, "probes": 4} | options
    return Demand(task=task, sound=sound, reads=reads, recipe=recipe, **values)  # type: ignore[arg-type]


def cost(*demands: Demand, room: int = ROOM, speed: float = 0.1) -> CostPlan:
    return plan(demands, HUBERT, room, speed)


# ---------------------------------------------------------------- disk


def test_means_of_voxceleb_take_six_gigabytes() -> None:
    assert mean_bytes(153_516, 13, 768) == 153_516 * 13 * 768 * 4 == 6_130_815_000 - 24  # 6.13 GB: 40 KB an utterance


def test_frames_of_librispeech_take_four_hundred_gigabytes() -> None:
    frames = 111.4 * 3600 * 50  # 50 a second
    assert frame_bytes(111.4, 33_862, 320, 13, 768) == round(frames) * 13 * 768 * 2 == 400_398_336_000
    assert frame_bytes(111.4, 33_862, 160, 13, 768) == 2 * 400_398_336_000


def test_an_utterance_shorter_than_a_hop_has_one_frame() -> None:
    assert frame_bytes(0.0, 7, 320, 2, 3) == 7 * 2 * 3 * 2


@pytest.mark.parametrize(("reads", "room", "keep"), [("mean", 0, "mean"), ("frames", 100, "frames"), ("frames", 99, "shared")])
def test_frames_are_stored_if_they_just_fit_and_means_always(reads: str, room: int, keep: str) -> None:
    assert choose(reads, 100, room) == keep  # type: ignore[arg-type]


# ---------------------------------------------------------------- passes


def test_draws_are_updates_times_utterances_and_dev_is_evaluated_after_the_last_update_too() -> None:
    assert draws(ONCE, LIBRISPEECH["train"]) == 3_200_000
    assert evaluations(ONCE) == 100
    assert evaluations(Recipe(steps=250, batch=1, evaluate_every=100, learning_rates=())) == 3
    assert evaluations(Recipe(steps=0, batch=1, evaluate_every=0, learning_rates=())) == 0


def test_a_batch_that_the_mean_utterance_halves_counts_half() -> None:
    buckets = Recipe(200_000, 32, 2_000, (1e-4,), sampler="buckets", halve_above=2_000)
    assert draws(buckets, LIBRISPEECH["train"]) == 200_000 * 16
    windows = Recipe(200_000, 32, 2_000, (1e-4,), sampler="windows", halve_above=300_000)  # 18.75 s; the mean is 12.7 s
    assert draws(windows, LIBRISPEECH["train"]) == 200_000 * 32


def test_a_model_that_runs_in_every_step_passes_draws_evaluations_and_test() -> None:
    training = 3_200_000 * (100.6 / 28_539)  # hours
    assert every_step_hours(ONCE, LIBRISPEECH, layers=13) == pytest.approx(training + 100 * 5.4 + 5.4)
    assert training == pytest.approx(11_280, abs=1)  # reference configuration: 112 passes of 100.6 h


def test_a_task_that_trains_nothing_passes_dev_for_every_layer() -> None:
    queries = {"dev": Size(10, 2.0), "test": Size(10, 3.0)}
    assert every_step_hours(Recipe(0, 1, 0, ()), queries, layers=13) == pytest.approx(13 * 2.0 + 3.0)
    estimate = cost(demand("qbe", recipe=Recipe(0, 1, 0, ()), sizes=queries | {"all": Size(15, 4.0)}, probes=0))
    assert estimate.model_hours == pytest.approx(4.0)
    assert estimate.reference_hours == estimate.reference_hours_sweep == pytest.approx(13 * (2.0 + 3.0))


def test_only_redrawn_crops_pass_again() -> None:
    assert draw_seconds(VOXCELEB["train"], fresh=False) == pytest.approx(7.2)
    rest = 0.8 * 3600 / 600  # seconds, of the utterances that no crop shortens
    assert draw_seconds(VOXCELEB["train"], fresh=True) == pytest.approx(0.4 * 8 + 0.6 * rest)
    pieces = 5_000 * 0.4 * 8 / 3600
    assert fresh_hours(CROPS, VOXCELEB) == pytest.approx(pieces)
    assert fresh_hours(ONCE, VOXCELEB) == 0.0
    estimate = cost(demand("sid", "VoxCeleb1", "mean", CROPS, sizes=VOXCELEB, probes=5)).sounds[0]
    assert estimate.model_hours == pytest.approx(2.35 - 1.2 + pieces)
    assert estimate.bytes["mean"] == mean_bytes(1_150 - 400, 13, 768)
    assert estimate.keep == "mean"


def test_five_folds_train_five_times_on_sound_that_passes_once() -> None:
    fold = {"train": Size(40, 1.0), "dev": Size(10, 0.25), "test": Size(10, 0.25)}
    sizes = {f"fold{n}/{split}": size for n in range(1, 6) for split, size in fold.items()} | {"all": Size(60, 1.5)}
    assert len(folds_of(sizes)) == 5
    assert different(sizes) == Size(60, 1.5)
    recipe = Recipe(steps=100, batch=4, evaluate_every=50, learning_rates=(1e-2,))
    estimate = cost(demand("er", "IEMOCAP", "mean", recipe, sizes=sizes, probes=3))
    assert estimate.model_hours == pytest.approx(1.5)
    assert estimate.reference_hours == pytest.approx(5 * (400 * 1.0 / 40 + 2 * 0.25 + 0.25))
    assert estimate.reference_hours_sweep == pytest.approx(3 * estimate.reference_hours)
    assert estimate.tasks[0].passes == pytest.approx(10)


# ---------------------------------------------------------------- whole plans


def test_tasks_on_the_same_sound_are_counted_once() -> None:
    alone = cost(demand("pr"))
    both = cost(demand("pr"), demand("asr"))
    assert [sound.tasks for sound in both.sounds] == [("pr", "asr")]
    assert (both.bytes, both.model_hours, both.seconds) == (alone.bytes, alone.model_hours, alone.seconds)
    assert both.model_hours == pytest.approx(111.4)
    assert both.seconds == pytest.approx(111.4 * 3600 * 0.1)
    assert both.reference_hours == pytest.approx(2 * alone.reference_hours)


@pytest.mark.parametrize("options", [{"sound": "LibriSpeech trimmed"}, {"reads": "mean"}])
def test_other_sound_or_another_reduction_needs_its_own_pass(options: dict[str, str]) -> None:
    assert cost(demand("pr"), demand("asr", **options)).model_hours == pytest.approx(2 * 111.4)  # type: ignore[arg-type]


def test_without_store_space_the_model_runs_in_every_step_once_for_all_probes() -> None:
    estimate = cost(demand(), room=400_398_336_000 - 1)
    assert (estimate.sounds[0].keep, estimate.bytes) == ("shared", 0)
    assert estimate.model_hours == pytest.approx(estimate.tasks[0].shared_hours) == pytest.approx(estimate.reference_hours)
    assert estimate.reference_hours_sweep == pytest.approx(4 * estimate.model_hours)
    assert cost(demand(), room=400_398_336_000).sounds[0].keep == "frames"


def test_store_space_goes_to_means_first_and_then_to_the_largest_saving() -> None:
    short = Recipe(steps=10, batch=1, evaluate_every=10, learning_rates=(1e-3,))
    demands = [demand("little", "a", recipe=short), demand("much", "b"), demand("means", "c", "mean")]
    size = frame_bytes(111.4, 33_862, 320, 13, 768)
    small = mean_bytes(33_862, 13, 768)
    kept = {sound.tasks[0]: sound.keep for sound in cost(*demands, room=size + small).sounds}
    assert kept == {"little": "shared", "much": "frames", "means": "mean"}
    kept = {sound.tasks[0]: sound.keep for sound in cost(*demands, room=size + small - 1).sounds}
    assert kept == {"little": "shared", "much": "shared", "means": "mean"}


def test_each_tested_checkpoint_costs_the_reference_a_pass_over_test() -> None:
    once, each = cost(demand()), cost(demand(checkpoints=True))
    assert each.reference_hours - once.reference_hours == pytest.approx(99 * 5.4)
