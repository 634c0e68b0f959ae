"""Where a result is weak: slices with intervals, confusion matrices, and the command that shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from superbench import BadCorpus, Prediction, accuracy
from superbench.cli.app import app
from superbench.plugins import task
from superbench.results.confusion import confusion
from superbench.results.intervals import interval
from superbench.results.slices import lengths_of_references, read_columns, slices, worst

SPEAKERS = [f"s{number:02}" for number in range(24)]


def answered(wrong: Callable[[str, int], bool], each: int = 6) -> list[Prediction]:
    """`each` items of every speaker, half yes and half no; `wrong(speaker, number)` says which are not recognised."""
    rows = []
    for speaker in SPEAKERS:
        for number in range(each):
            truth = ("yes", "no")[number % 2]
            said = {"yes": "no", "no": "yes"}[truth] if wrong(speaker, number) else truth
            rows.append(Prediction(f"{speaker}-{number}", "all", (speaker,), truth, said))
    return rows


def test_the_worst_speaker_and_label_are_found_with_their_scores() -> None:
    rows = answered(lambda speaker, number: (speaker == "s07" and number != 1) or number == 0)
    found = slices(rows, accuracy(rows))
    assert (worst(found["speaker"]).name, worst(found["speaker"]).value) == ("s07", pytest.approx(100 / 6))
    assert worst(found["label"]).name == "yes"
    assert [len(part.items) for part in found["label"]] == [72, 72]
    values = [part.value for part in found["speaker"]]
    assert values == sorted(values)


def test_the_interval_of_a_slice_is_that_of_its_items_alone() -> None:
    rows = answered(lambda speaker, number: number == 0 and speaker < "s10")
    (part,) = [part for part in slices(rows, accuracy(rows))["label"] if part.name == "yes"]
    alone = [row for row in rows if row.reference == "yes"]
    low, high, method = interval(alone, accuracy(alone))
    assert part.with_interval(rows, accuracy(rows)).interval == pytest.approx((low, high))
    assert method == "cluster bootstrap over 24 groups"


def test_a_single_speaker_has_an_interval_over_items() -> None:
    rows = answered(lambda speaker, number: number in (0, 3), each=30)
    part = slices(rows, accuracy(rows))["speaker"][0].with_interval(rows, accuracy(rows))
    assert part.method == "cluster bootstrap over 30 groups"
    assert part.interval is not None
    assert part.interval[0] < part.value < part.interval[1]


def test_lower_is_better_turns_the_order() -> None:
    rows = [Prediction(str(n), "all", (f"s{n}",), "a b c d", " ".join("abcd"[n:])) for n in range(5)]
    found = slices(rows, task("asr").score(rows, {})["wer"])
    assert [part.value for part in found["speaker"]] == [100.0, 75.0, 50.0, 25.0, 0.0]


def test_small_parts_are_not_called_the_worst() -> None:
    rows = [*answered(lambda speaker, number: number == 0), Prediction("x", "all", ("lonely",), "yes", "no")]
    assert worst(slices(rows, accuracy(rows))["speaker"]).name != "lonely"


def test_numbers_are_cut_into_quarters_and_names_are_not() -> None:
    rows = answered(lambda speaker, number: number == 0)
    loud = {row.id: str(place) for place, row in enumerate(rows)}
    found = slices(rows, accuracy(rows), {"snr": loud, "room": {row.id: row.id[:2] for row in rows}})
    assert sorted(len(part.items) for part in found["snr"]) == [36, 36, 36, 36]
    assert {part.name for part in found["room"]} == {"s0", "s1", "s2"}


def test_a_part_without_a_score_is_left_out() -> None:
    trials = [Prediction(f"a|b{n}", "all", (f"s{n % 3}",), int(n % 3 < 2 and n % 2), float(n)) for n in range(24)]
    found = slices(trials, task("asv").score(trials, {})["eer"])
    assert {part.name for part in found["speaker"]} == {"s0", "s1"}
    assert "label" not in found


def test_lengths_of_references_are_counted_in_words() -> None:
    assert lengths_of_references([Prediction("a", "all", (), "ONE TWO", "")]) == {"a": 2.0}
    assert lengths_of_references([Prediction("a", "all", (), "yes", "no")]) == {}


def test_columns_are_read_by_id_or_path(tmp_path: Path) -> None:
    table = tmp_path / "more.csv"
    table.write_text("path,label,split,speaker,snr,room\na.wav,x,test,s,5,\nb.wav,x,test,s,10,hall\n")
    assert read_columns(table) == {"snr": {"a.wav": "5", "b.wav": "10"}, "room": {"b.wav": "hall"}}
    table.write_text("name,snr\na,5\n")
    with pytest.raises(BadCorpus, match="a column id"):
        read_columns(table)


# ---------------------------------------------------------------- confusion matrices


def test_a_matrix_counts_labels_and_answers() -> None:
    rows = [Prediction(str(n), "all", (), *pair) for n, pair in enumerate(["aa", "ab", "ab", "bb", "ca"])]
    found = confusion("accuracy", rows)
    assert found is not None
    assert found.labels == ("a", "b", "c")
    assert found.counts == ((1, 2, 0), (0, 1, 0), (1, 0, 0))
    assert found.recall == (pytest.approx(100 / 3), 100.0, 0.0)
    assert confusion("wer", rows) is None


def test_of_many_labels_those_with_most_errors_are_shown() -> None:
    rows = [Prediction(str(n), "all", (), f"c{n:02}", f"c{n:02}") for n in range(30)]
    rows += [Prediction(f"w{n}", "all", (), "c20", "c25") for n in range(4)]
    found = confusion("accuracy", rows, most=3)
    assert found is not None
    assert found.labels == ("c20", "c25", "(other)")
    assert found.counts == ((1, 4, 0), (0, 1, 0), (0, 0, 28))
    assert found.left_out == 28
    assert np.sum(found.counts) == len(rows)


def test_the_labels_of_intents_are_their_values() -> None:
    rows = [Prediction("a", "all", (), {"action": "activate", "object": "lights"}, {"action": "activate", "object": "music"})]
    found = confusion("accuracy", rows)
    assert found is not None
    assert found.labels == ("activate lights", "activate music")


# ---------------------------------------------------------------- the command


def said(*arguments: str | Path, status: int = 0) -> str:
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == status, done.output
    return done.output


@pytest.mark.slow
def test_the_command_shows_slices_items_and_the_matrix(a_folder: Callable[..., Path]) -> None:
    folder = a_folder("apc", 30)
    text = said("results", folder)
    assert "apc · ks · accuracy" in text
    assert "worst" not in text  # speakers have two items each, and both labels the same score
    assert "Confusion: rows the label" in text
    (one,) = json.loads(said("results", folder, "--json"))
    assert len(one["items"]) == 96
    assert sum(item["error"] for item in one["items"]) == 36
    assert np.sum(one["confusion"]["counts"]) == 96
    assert set(one["worst"]) == {"speaker", "label"}


@pytest.mark.slow
def test_the_command_slices_by_a_table(a_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = a_folder("apc", 30)
    (one,) = json.loads(said("results", folder, "--json"))
    rows = [f"{item['id']},{'quiet' if place % 2 else 'loud'}" for place, item in enumerate(one["items"])]
    (tmp_path / "more.csv").write_text("\n".join(["id,room", *rows]))
    (one,) = json.loads(said("results", folder, "--by", tmp_path / "more.csv", "--json"))
    assert {part["name"]: part["items"] for part in one["slices"]["room"]} == {"quiet": 48, "loud": 48}
    halves = [f"{item['id']},{'right' if item['error'] else 'left'}" for item in one["items"]]
    (tmp_path / "halves.csv").write_text("\n".join(["id,side", *halves]))
    lines = [line for line in said("results", folder, "--by", tmp_path / "halves.csv").splitlines() if "side" in line]
    assert ["right" in line and "worst" in line for line in lines] == [True, False]
    assert ["left" in line and "best" in line for line in lines] == [False, True]


def test_no_such_task_is_an_error_in_words(a_folder: Callable[..., Path]) -> None:
    from superbench.cli.results import gathered
    from superbench.errors import CommandError
    from superbench.system.progress import Silence

    with pytest.raises(CommandError, match="--tasks pr"):
        gathered(a_folder("apc", 30), "pr", None, None, 3, Silence())


def test_lengths_come_from_the_sound_of_an_own_task(tmp_path: Path) -> None:
    import soundfile

    from superbench.cli.results import seconds_of
    from superbench.plugins import names_of

    rows = ["path,label,split,speaker"]
    for number, split in enumerate(("train", "train", "dev", "test", "test")):
        soundfile.write(tmp_path / f"{number}.wav", np.full(1_600 * (number + 1), 0.1), 16_000)
        rows.append(f"{number}.wav,{'ab'[number % 2]},{split},s{number}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    text = f"from downstream.own_tasks import classification\nTASK = classification('mine', {str(tmp_path / 'list.csv')!r})"
    (tmp_path / "mine.py").write_text(text)
    name = f"{tmp_path}/mine.py:TASK"
    assert names_of([name, "ks", "gone"]) == ["mine", "ks", "gone"]
    assert seconds_of(task(name), tmp_path) == {"3.wav": 0.4, "4.wav": 0.5}
