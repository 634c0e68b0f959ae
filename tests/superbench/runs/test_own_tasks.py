"""Tasks on a person's own corpus: from a list to a file, a result and a place on a board, without a plugin."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import superbench
from downstream import own_tasks
from superbench import BadCorpus, Board, CommandError, Corpora, Prediction, Recipe, Task, plugins
from superbench.cli.app import app
from superbench.errors import BrokenPlugin
from superbench.results import Result, tables

PITCHES = {"low": 300.0, "middle": 700.0, "high": 1500.0}
COUNTS = {"train": 36, "dev": 12, "test": 60}
SPEAKERS = {"train": 6, "dev": 4, "test": 20}


def write_tones(root: Path, label: Callable[[Sequence[str], str], str]) -> Path:
    """Write tones, and a list of them; `label(pitches, speaker)` is the column label."""
    random, rows = np.random.default_rng(0), []
    for split, count in COUNTS.items():
        for number in range(count):
            names = [list(PITCHES)[number % 3], *([list(PITCHES)[(number + 1) % 3]] if number % 2 else [])]
            time = np.arange(6_400 + 40 * number) / 16_000
            wave = sum(0.1 * np.sin(2 * np.pi * PITCHES[name] * time) for name in names)
            wave += 0.01 * random.standard_normal(len(time))
            soundfile.write(root / f"{split}{number}.wav", wave, 16_000)
            speaker = f"{split}-{number // 3 % SPEAKERS[split]}"
            rows.append((f"{split}{number}.wav", label(names, speaker), split, speaker))
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split", "speaker"), *rows])
    return root / "manifest.csv"


@pytest.fixture
def tone_list(tmp_path: Path) -> Path:
    """A list of tones, each labelled with its lowest-numbered pitch."""
    (tmp_path / "tones").mkdir()
    return write_tones(tmp_path / "tones", lambda names, speaker: names[0])


def command(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def ran(tmp_path: Path, task: str, *upstreams: str, data: Path | None = None, steps: int | None = 60) -> list[Result]:
    report = superbench.run(
        list(upstreams or ["fbank_no_cmvn"]), [task], data=data or tmp_path, out=tmp_path / "out", store=tmp_path / "store",
        max_steps=steps, workers=1, device="cpu",
    )  # fmt: skip
    assert not report.of("failed"), [ended.message for ended in report.of("failed")]
    return report.results


@pytest.mark.slow
def test_a_list_becomes_a_file_a_result_a_table_and_a_place_on_a_board(tone_list: Path, tmp_path: Path) -> None:
    said = command("task", "new", "--from", tone_list, "--name", "pitch")
    file = tone_list.parent / "pitch_task.py"
    assert "36 train, 12 dev, 60 test" in said
    assert len(file.read_text().splitlines()) <= 20
    file.write_text(file.read_text().replace("steps=2000", "steps=60").replace("evaluate_every=200", "evaluate_every=20"))
    first, second = ran(tmp_path, f"{file}:TASK", "fbank_no_cmvn", "mfcc", steps=None)
    assert first.deviations == []
    assert (first.task.name, first.task.protocol) == ("pitch", "custom")
    assert first.scores["accuracy"].value > 60
    assert first.data.passport.miniature is None
    assert "| Pitch | 1 | accuracy ↑ | mfcc |" in tables.as_markdown([first, second])
    board = Board(tmp_path / "board")
    for name in ("fbank_no_cmvn", "mfcc"):
        board.submit(tmp_path / "out" / name)
    page = board.contents()
    (group,) = [group for group in page["groups"] if group["protocol"] == "custom"]
    assert group["title"] == "Pitch: own task"
    assert (group["badge"], group["official"]) == ("not official", False)
    assert "fficial" not in group["note"].replace("not official", "")
    scores = [one.scores["accuracy"].value for one in (first, second)]
    assert sorted(row["rank"] for row in group["rows"]) == ([1, 1] if scores[0] == scores[1] else [1, 2])
    (compared,) = superbench.compare(tmp_path / "out" / "fbank_no_cmvn", tmp_path / "out" / "mfcc")
    assert compared.task == "pitch"
    assert compared.metrics[0].paired is not None


@pytest.mark.slow
def test_the_folder_of_results_and_failures_is_named_after_the_task(tone_list: Path, tmp_path: Path) -> None:
    command("task", "new", "--from", tone_list)
    task = f"{tone_list.parent}/tones_task.py:TASK"
    (tone_list.parent / "test3.wav").write_bytes(b"nothing")
    report = superbench.run(["fbank"], [task], data=tmp_path, out=tmp_path / "out", store=tmp_path / "s", workers=1)
    assert [ended.job.task for ended in report.of("failed")] == ["tones"]
    assert (tmp_path / "out/fbank/tones/failure.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "primary"), [("tagging", "f1"), ("ctc", "wer"), ("verification", "eer"), ("classification", "accuracy")]
)
def test_every_kind_keeps_the_contract_and_is_scored_on_a_board(tmp_path: Path, kind: str, primary: str) -> None:
    labels: dict[str, Callable[[Sequence[str], str], str]] = {
        "tagging": lambda names, speaker: ";".join(names), "ctc": lambda names, speaker: " ".join(names),
        "verification": lambda names, speaker: speaker, "classification": lambda names, speaker: names[0],
    }  # fmt: skip
    (tmp_path / "own").mkdir()
    manifest = write_tones(tmp_path / "own", labels[kind])
    command("task", "new", "--from", manifest, "--kind", kind, "--name", "mine")
    name = f"{manifest.parent}/mine_task.py:TASK"
    outcome = superbench.check(name)
    assert outcome.healthy, outcome.reasons
    (result,) = ran(tmp_path, name, steps=8)
    assert result.primary == primary
    board = Board(tmp_path / "board")
    board.submit(tmp_path / "out" / "fbank_no_cmvn")
    (group,) = [group for group in board.contents()["groups"] if group["protocol"] == "custom"]
    assert f"mine.{primary}" in group["rows"][0]["cells"]


def test_a_single_tag_is_a_set_of_one(tone_list: Path) -> None:
    (fold,) = own_tasks.tagging("mine", tone_list).read(Corpora(tone_list.parent))
    (same,) = own_tasks.classification("mine", tone_list).read(Corpora(tone_list.parent))
    assert [item.label for item in fold.train.items] == [[item.label] for item in same.train.items]


@pytest.mark.slow
def test_a_miniature_root_does_not_make_an_own_corpus_a_miniature(tone_list: Path, tmp_path: Path) -> None:
    root = tmp_path / "miniatures"
    root.mkdir()
    (root / ".superbench-synthetic").write_text("miniature corpora, seed 0\n")
    command("task", "new", "--from", tone_list)
    (result,) = ran(tmp_path, f"{tone_list.parent}/tones_task.py:TASK", data=root)
    assert result.data.passport.miniature is None
    assert result.task.protocol == "custom"


@pytest.mark.slow
def test_data_check_and_plan_take_an_own_task(tone_list: Path) -> None:
    command("task", "new", "--from", tone_list)
    task = f"{tone_list.parent}/tones_task.py:TASK"
    assert "complete" in command("data", "check", "--tasks", task)
    assert superbench.forecast("fbank_no_cmvn", [task], data=tone_list.parent).plan.tasks[0].task == "tones"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("TASK = {}", "is a dict, and no task"),
        ("from downstream.own_tasks import ctc\nTASK = ctc('asr', 'm.csv')", "'asr' is the name of an installed task"),
        ("from downstream.own_tasks import ctc\nTASK = ctc('a/b', 'm.csv')", "Expected letters, digits"),
        (
            "from dataclasses import replace as r\n"
            "from downstream.own_tasks import ctc as c\nTASK = r(c('x'), prepare=None, score=3)",
            "prepare is None, expected prepare\\(split, hop, recipe\\).*score is 3, expected score",
        ),
        ("OTHER = 1", "has no 'TASK'; its tasks are none"),
    ],
)  # fmt: skip
def test_a_file_without_a_complete_task_is_explained(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises((BrokenPlugin, CommandError), match=said):
        plugins.task(f"{tmp_path}/mine.py:TASK")


def test_a_task_without_a_miniature_says_that_its_check_needs_the_corpus(tones: object, tmp_path: Path) -> None:
    from dataclasses import replace

    from superbench.runs.conformance import conform

    (reason,) = conform(replace(tones.TONE, synth=None)).reasons  # type: ignore[attr-defined]
    assert "has no miniature corpus" in reason
    assert "--data DIR" in reason
    with pytest.raises(CommandError, match="no miniature corpus"):
        superbench.synthesize(tmp_path / "out", tasks=[_file(tmp_path)])


def _file(folder: Path) -> str:
    (folder / "own.py").write_text("from downstream.own_tasks import ctc\nTASK = ctc('mine')")
    return f"{folder}/own.py:TASK"


def test_a_recipe_other_than_custom_is_refused_in_words(tmp_path: Path, tones: object) -> None:
    from superbench.runs.options import Options

    task = own_tasks.classification("mine")
    assert Options("superb").of(task.card).protocol == "custom"
    assert Options("mini").recipe(task) == task.card.recipes["custom"]
    with pytest.raises(CommandError, match="tone has no protocol 'custom'"):
        Options("custom").recipe(tones.TONE)  # type: ignore[attr-defined]


# ---------------------------------------------------------------- the kinds


def test_tags_are_scored_by_hits_over_labels() -> None:
    task = own_tasks.tagging("mine")
    rows = [Prediction("a", "all", (), ["dog", "rain"], ["dog"]), Prediction("b", "all", (), ["cat"], ["cat", "dog"])]
    score = task.score(rows, {})["f1"]
    assert score.value == pytest.approx(100 * 2 * 2 / (3 + 3))
    assert score.reweighted(np.array([1.0, 0.0])) == pytest.approx(100 * 2 * 1 / 3)


def test_edit_rates_agree_with_jiwer() -> None:
    import jiwer

    said = [("the cat sat", "the cat sits"), ("on", "on a mat")]
    rows = [Prediction(str(n), "all", (), *pair) for n, pair in enumerate(said)]
    scores = own_tasks.ctc("mine").score(rows, {})
    references, answers = zip(*said, strict=True)
    assert scores["wer"].value == pytest.approx(100 * jiwer.wer([*references], [*answers]))
    assert scores["cer"].value == pytest.approx(100 * jiwer.cer([*references], [*answers]))


def listed(tmp_path: Path, task: Callable[..., Task], rows: Sequence[tuple[str, str, str]]) -> Task:
    """A task on empty sounds: (label, split, speaker) each."""
    lines = [("path", "label", "split", "speaker")]
    for number, row in enumerate(rows):
        (tmp_path / f"{number}.wav").touch()
        lines.append((f"{number}.wav", *row))
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return task("mine", tmp_path / "list.csv", recipe=Recipe(steps=1, batch=1, evaluate_every=1, learning_rates=(1e-3,)))


def test_verification_compares_as_many_different_as_same_pairs_each_once(tmp_path: Path) -> None:
    rows = [(f"{split}{n % 3}", split, f"{split}{n % 3}") for split in ("train", "dev", "test") for n in range(9)]
    (fold,) = listed(tmp_path, own_tasks.verification, rows).read(Corpora(tmp_path))
    trials = fold.test.trials
    assert sum(trial.reference for trial in trials) == 9 == len(trials) / 2
    assert len({frozenset((trial.left, trial.right)) for trial in trials}) == len(trials)
    labels = {item.id: item.label for item in fold.test.items}
    assert all((labels[trial.left] == labels[trial.right]) == bool(trial.reference) for trial in trials)


def test_verification_without_pairs_is_an_error(tmp_path: Path) -> None:
    rows = [("a", "train", "a"), ("b", "train", "b"), ("c", "dev", "c"), ("d", "dev", "d"), ("e", "test", "e")]
    with pytest.raises(BadCorpus, match="The split dev has no pairs to compare: no label has two sounds"):
        listed(tmp_path, own_tasks.verification, rows).read(Corpora(tmp_path))


def test_one_label_is_nothing_to_choose(tmp_path: Path) -> None:
    rows = [("x", "train", "a"), ("x", "dev", "b"), ("x", "test", "c")]
    with pytest.raises(BadCorpus, match="one label only"):
        listed(tmp_path, own_tasks.classification, rows).read(Corpora(tmp_path))
