"""The forecast compared with real extraction of the tones; official sizes; the output of the command."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from superbench import plugins
from superbench.cli.app import app
from superbench.contract import Recipe, Task
from superbench.contract.corpora import Corpora
from superbench.contract.sizes import FreshCrops, Size
from superbench.errors import CommandError
from superbench.features.extraction import Extraction, extract
from superbench.features.store import Store
from superbench.plugins import Loaded
from superbench.runs.forecast import LEAST_SECONDS, Forecast, counted, forecast, room
from superbench.runs.options import Options
from superbench.system.progress import Silence

TASKS = ("asr", "asv", "er", "ic", "ks", "pr", "qbe", "sd", "sf", "sid")


@pytest.fixture(autouse=True)
def brief_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """The speed of a model is measured for a moment only; no value here depends on it."""
    monkeypatch.setattr("superbench.runs.forecast.LEAST_SECONDS", 0.01)


@pytest.fixture
def spectrum(tones: ModuleType) -> Loaded:
    return Loaded("spectrum", plugins.parse("spectrum"), tones.Spectrum().eval(), "1", 0, 320, 2, 17)


def look(upstream: Loaded, tasks: list[Task], store: Path, data: Path | None = None, **options: Any) -> Forecast:
    return forecast(upstream, tasks, Options("superb", **options), store, Corpora(data) if data else None, Silence())


def passed(upstream: Loaded, task: Task, data: Path, store: Path) -> Extraction:
    folds = task.read(Corpora(data))
    audios = [item.audio for fold in folds for split in (fold.train, fold.dev, fold.test) for item in split.items]
    return extract(upstream, audios, task.card.reads, Store(store), "cpu", Silence())


def with_sizes(task: Task, sizes: dict[str, Size]) -> Task:
    return dataclasses.replace(task, card=dataclasses.replace(task.card, sizes=sizes))


def command(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["plan", *arguments])


# ---------------------------------------------------------------- a corpus that is there


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TONE", "TONES"])
def test_the_forecast_equals_what_extraction_passes_and_stores(
    tones: ModuleType, spectrum: Loaded, tone_corpora: Path, tmp_path: Path, name: str
) -> None:
    task = getattr(tones, name)
    estimate = look(spectrum, [task], tmp_path / "store", tone_corpora)
    real = passed(spectrum, task, tone_corpora, tmp_path / "store")
    assert estimate.source == "corpus"
    assert estimate.plan.model_hours * 3600 == pytest.approx(real.passed_seconds, rel=1e-9)
    width = 2 * 17 * (4 if name == "TONE" else 2)
    written = sum(entry.rows for entry in real.entries.values()) * width
    tolerance = 0 if name == "TONE" else 0.5 * len(real.entries) * width  # half a frame for each utterance
    assert abs(estimate.plan.bytes - written) <= tolerance
    assert estimate.plan.tasks[0].sizes["all"].utterances == len(real.entries)


@pytest.mark.slow
def test_tasks_on_the_same_sound_share_equal_utterances(
    tones: ModuleType, spectrum: Loaded, tone_corpora: Path, tmp_path: Path
) -> None:
    few_task = dataclasses.replace(tones.TONES, card=dataclasses.replace(tones.TONES.card, name="few"), read=tones.TONE.read)
    whole, part = (passed(spectrum, task, tone_corpora, tmp_path / "store") for task in (tones.TONES, few_task))
    for tasks in ([tones.TONES, few_task], [few_task, tones.TONES]):
        estimate = look(spectrum, tasks, tmp_path / "store", tone_corpora).plan
        assert [set(sound.tasks) for sound in estimate.sounds] == [{"tones", "few"}]
        assert estimate.sounds[0].utterances == len(whole.entries) == 120
        assert estimate.model_hours * 3600 == pytest.approx(whole.passed_seconds + part.passed_seconds, rel=1e-9)


@pytest.mark.slow
def test_the_cards_of_the_tones_state_the_size_of_their_corpus(tones: ModuleType, tone_corpora: Path) -> None:
    for task in (tones.TONE, tones.TONES):
        sizes, _ = counted(task, Corpora(tone_corpora), 320, task.card.recipes["superb"], Silence())
        for split, size in task.card.sizes.items():
            assert sizes[split].utterances == size.utterances
            assert sizes[split].hours == pytest.approx(size.hours, abs=1e-5)


@pytest.mark.parametrize(("sampler", "share"), [("shuffle", 30 / 60), ("balanced", 1 / 5)])
def test_sound_longer_than_a_crop_is_redrawn_as_often_as_it_is_used(
    tones: ModuleType, tone_corpora: Path, sampler: str, share: float
) -> None:
    """Series of tones take 0.5 s at least, single ones 0.4 s at most; a series is one class of five."""
    task = with_sizes(tones.TONES, {"train": Size(1, 1.0, FreshCrops(1, 1.0, 0.9, seconds=0.45))})
    fold = task.read(Corpora(tone_corpora))[0]
    items = tuple(dataclasses.replace(item, label="series" if " " in item.label else item.label) for item in fold.train.items)
    train = dataclasses.replace(fold.train, items=items)
    task = dataclasses.replace(task, read=lambda corpora: (dataclasses.replace(fold, train=train),))
    recipe = Recipe(10, 2, 5, (1e-3,), sampler=sampler, fresh_crops=True)  # type: ignore[arg-type]
    fresh = counted(task, Corpora(tone_corpora), 320, recipe, Silence())[0]["train"].fresh
    assert fresh is not None
    assert (fresh.utterances, fresh.seconds) == (30, 0.45)
    assert fresh.share == pytest.approx(share)


def test_an_absent_corpus_is_reported(tones: ModuleType, spectrum: Loaded, tone_corpora: Path, tmp_path: Path) -> None:
    estimate = look(spectrum, [tones.TONE, plugins.task("ic")], tmp_path, tone_corpora)
    assert [cost.task for cost in estimate.plan.tasks] == ["tone"]
    assert set(estimate.absent) == {"ic"}
    assert str(tone_corpora / "fluent_speech_commands_dataset") in estimate.absent["ic"]


# ---------------------------------------------------------------- official sizes


def test_every_built_in_card_states_the_size_of_its_corpus() -> None:
    for name in TASKS:
        card = plugins.task(name).card
        assert card.sound, name
        assert {key.rpartition("/")[2] for key in card.sizes} >= {"test"}, name
        crops = [size.fresh for size in card.sizes.values() if size.fresh]
        assert bool(crops) == card.recipes["superb"].fresh_crops, name


def test_folds_of_emotions_add_up_to_every_utterance_tested_once() -> None:
    sizes = plugins.task("er").card.sizes
    assert sum(sizes[f"fold{n}/test"].utterances for n in range(1, 6)) == sizes["all"].utterances == 5_531
    assert sizes["fold1/train"].utterances + sizes["fold1/dev"].utterances == 4_446


def test_a_card_without_sizes_is_not_in_the_plan_and_says_what_to_give(
    tones: ModuleType, spectrum: Loaded, tmp_path: Path
) -> None:
    estimate = look(spectrum, [tones.TONES, with_sizes(tones.TONE, {})], tmp_path)
    assert [cost.task for cost in estimate.plan.tasks] == ["tones"]
    assert "--data" in estimate.absent["tone"]


@pytest.mark.slow
def test_the_reference_draws_fresh_crops_where_a_single_pass_forbids_them(spectrum: Loaded, tmp_path: Path) -> None:
    def sid(protocol: str) -> Any:
        options = Options(protocol)  # type: ignore[arg-type]
        return forecast(spectrum, [plugins.task("sid")], options, tmp_path, None, Silence()).plan

    assert sid("superb-once").model_hours == pytest.approx(351)
    assert sid("superb").model_hours == pytest.approx(351 - 187 + 6_400_000 * 0.35 * 8 / 3600)
    assert sid("superb").reference_hours == pytest.approx(sid("superb-once").reference_hours)


@pytest.mark.slow
def test_overrides_shorten_the_plan_and_are_listed(tones: ModuleType, spectrum: Loaded, tmp_path: Path) -> None:
    full = look(spectrum, [tones.TONES], tmp_path)
    short = look(spectrum, [tones.TONES], tmp_path, max_steps=10, learning_rates=(1e-3,), seeds=(0, 1, 2))
    assert (full.plan.tasks[0].draws, short.plan.tasks[0].draws) == (40 * 8, 10 * 8)
    assert (full.plan.tasks[0].probes, short.plan.tasks[0].probes) == (2, 3)
    assert len(short.deviations) == 2  # further seeds beside the recipe's are none
    other = look(spectrum, [tones.TONES], tmp_path, seeds=(1, 2))
    assert len(other.deviations) == 1


def test_miniature_recipes_need_a_corpus(tones: ModuleType, spectrum: Loaded, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--data"):
        forecast(spectrum, [tones.TONE], Options("mini"), tmp_path, None, Silence())


def test_the_default_store_space_is_the_free_space_of_its_disk(tmp_path: Path) -> None:
    assert room(tmp_path / "not" / "yet") == pytest.approx(shutil.disk_usage(tmp_path).free, abs=2**30)


@pytest.mark.slow
def test_the_speed_says_how_it_was_measured(
    tones: ModuleType, spectrum: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("superbench.runs.forecast.LEAST_SECONDS", LEAST_SECONDS)
    alone = dataclasses.replace(spectrum, batching="none")
    for upstream in (spectrum, alone):
        speed = look(upstream, [tones.TONE], tmp_path).speed
        assert speed.sound_seconds == 5 * speed.utterances
        assert speed.work_seconds >= 0.5
        assert speed.seconds_per_second == pytest.approx(speed.work_seconds / speed.sound_seconds)


# ---------------------------------------------------------------- the command


@pytest.mark.slow
def test_all_tasks_are_planned_without_corpora() -> None:
    done = command("fbank", "--tasks", "all", "--protocol", "superb-once")
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    for part in (
        *TASKS,
        "with asr",
        "✓",
        "s of work per second of sound",
        "Reference method, with the model in every step",
        "Free space on",
        "in 8 bits per value (--store-format int8)",
        "Heads, in addition, very roughly: asr",
        "Not known: the time after extraction of qbe (it trains no head).",
        "With 1 worker: about",
    ):
        assert part in words


@pytest.mark.slow
def test_without_store_space_each_task_needs_its_own_pass_and_the_table_states_the_saving(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("superbench.runs.forecast.room", lambda store: 0)
    done = command("fbank", "--tasks", "pr,asr", "--protocol", "superb-once")
    assert done.exit_code == 0, done.output
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.split()[:1] in (["pr"], ["asr"], ["sum"])}
    assert "shared" in rows["pr"]
    assert "11 825" in rows["pr"]  # 3.2 million draws of 12.7 s, dev 100 times, test once
    assert "11 825" in rows["asr"]
    assert "23 651" in rows["sum"]
    words = " ".join(done.stdout.split())
    assert "With 19.2 GB of free space all features would be stored: 111.4 h through the model." in words


@pytest.mark.slow
def test_the_plan_as_data_has_every_part() -> None:
    done = command("small=apc:untrained", "--tasks", "pr,asr,ks", "--lr", "1e-3,1e-4", "--json")
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert set(printed) == {
        "schema", "upstream", "shape", "protocol", "source", "store", "speed", "plan", "absent", "deviations", "heads",
        "spread", "not_forecast",
    }  # fmt: skip
    assert (printed["schema"], printed["upstream"], printed["protocol"], printed["source"]) == (
        1,
        "small",
        "superb",
        "official",
    )
    tasks, sounds = ({row[key]: row for row in printed["plan"][f"{key}s"]} for key in ("task", "sound"))
    assert list(tasks) == ["pr", "asr", "ks"]
    assert all(row["probes"] == 2 for row in tasks.values())
    assert tasks["ks"]["sizes"]["train"]["fresh"]["seconds"] == 1.0
    assert sounds["LibriSpeech clean"]["tasks"] == ["pr", "asr"]
    assert set(sounds["LibriSpeech clean"]["bytes"]) == {"frames", "shared"}
    assert sounds["LibriSpeech clean"]["formats"]["int8"] < 0.52 * sounds["LibriSpeech clean"]["formats"]["float16"]
    assert [head["task"] for head in printed["heads"]] == ["pr", "asr", "ks"]
    assert all(head["seconds"] > 0 for head in printed["heads"])
    assert printed["spread"]["workers"] == 1
    assert set(sounds["Speech Commands"]["bytes"]) == {"mean", "frames", "shared"}
    assert printed["plan"]["model_hours"] == pytest.approx(sum(row["model_hours"] for row in sounds.values()))
    assert printed["plan"]["seconds"] == pytest.approx(
        printed["plan"]["model_hours"] * 3600 * printed["speed"]["seconds_per_second"]
    )


@pytest.mark.slow
def test_several_gpus_and_eight_bits_are_planned() -> None:
    done = command(
        "fbank", "--tasks", "er,sd", "--protocol", "superb", "--gpus", "2", "--store-format", "int8", "--limit", "40"
    )
    assert done.exit_code == 0, done.output
    words = " ".join(done.stdout.split())
    assert "With 2 workers, each on a GPU like this device: about" in words
    assert "at most 40 items of each split" in words
    assert "frames in 8 bits per value" in words


def test_a_corpus_is_read_and_a_named_one_that_is_absent_fails(keyword_corpora: Path) -> None:
    done = command("fbank", "--tasks", "ks,ic", "--data", str(keyword_corpora), "--json")
    assert done.exit_code == 1
    printed = json.loads(done.stdout)
    assert (printed["protocol"], printed["source"], list(printed["absent"])) == ("mini", "corpus", ["ic"])
    assert printed["plan"]["tasks"][0]["sizes"]["test"]["utterances"] == 576
    assert command("fbank", "--tasks", "all", "--data", str(keyword_corpora)).exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fbnk",), "Did you mean fbank"),
        (("fbank", "--protocol", "best"), "no protocol 'best'"),
        (("fbank", "--protocol", "mini"), "Give their folder with --data"),
        (("fbank", "--device", "abacus"), "expected auto, cpu, cuda"),
        (("fbank", "--store-format", "int4"), "expected float16 or int8"),
    ],
)
def test_impossible_plans_are_refused(arguments: tuple[str, ...], words: str) -> None:
    done = command(*arguments)
    assert isinstance(done.exception, CommandError)
    assert words in str(done.exception)
