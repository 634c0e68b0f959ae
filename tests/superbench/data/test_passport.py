"""The data passport: its counts, its differences for damaged corpora, and its copy in results."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from superbench import plugins
from superbench.board.page.contents import contents
from superbench.contract import Audio, Fold, Item, Split, Task, Trial
from superbench.contract.corpora import MARKER, WRITTEN, Corpora
from superbench.data.check import Inspection, Inspector
from superbench.data.fingerprint import lists_of
from superbench.data.passport import Passport, counts_of
from superbench.data.synthesis import synthesize
from superbench.results import Result, read_result
from superbench.results.grouping import grouped
from superbench.results.modelcard import card as card_of_the_model
from superbench.results.result import is_miniature
from superbench.results.rows import columns
from superbench.runs.runner import run
from superbench.system.progress import Silence

NAMES = ("asr", "asv", "er", "ic", "ks", "pr", "qbe", "sd", "sf", "sid")
COUNTS = {"train": 30, "train/high": 5, "train groups": 25, "dev": 10, "test": 20}
"""Counts of the plugin's tones, taken by hand in the folder that seed 0 writes."""


@pytest.fixture
def corpora(tone_corpora: Path, tmp_path: Path) -> Corpora:
    """The tones, which a test may damage. They have no miniature marker, so they count as the published corpus."""
    return Corpora(Path(shutil.copytree(tone_corpora, tmp_path / "data")))


@pytest.fixture
def tone(tones: ModuleType) -> Task:
    """The plugin's task with a card that contains published counts."""
    return with_card(tones.TONE, counts=COUNTS, sample_rate=16_000)


def with_card(task: Task, **changes: object) -> Task:
    return dataclasses.replace(task, card=dataclasses.replace(task.card, **changes))  # type: ignore[arg-type]


def look(corpora: Corpora, task: Task, *, deep: bool = False) -> Inspection:
    return Inspector(corpora, Silence(), deep).inspect(task)


def sound(corpora: Corpora, number: int = 0) -> Path:
    """A training sound of the task (they have a single pitch)."""
    return [path for path in sorted((corpora.root / "Tones/train").glob("*.wav")) if "_" not in path.stem][number]


# ---------------------------------------------------------------- the cards


@pytest.mark.parametrize("name", NAMES)
def test_every_card_says_what_was_published_and_how_to_get_it(name: str) -> None:
    card = plugins.task(name).card
    assert card.sample_rate == (8_000 if name == "qbe" else 16_000)
    named = {key: size.utterances for key, size in card.sizes.items() if key in card.counts}
    assert named
    assert {key: card.counts[key] for key in named} == named
    assert "http" in card.obtain or "https" in card.obtain
    for key in {key.split("/")[0] for key in card.counts if key.count("/") == 1 and not key.startswith("fold")} & {
        "train",
        "test",
    }:
        classes = [count for other, count in card.counts.items() if other.startswith(f"{key}/")]
        assert sum(classes) == card.counts[key]


def test_the_published_counts_are_those_of_the_protocol() -> None:
    counts = {name: plugins.task(name).card.counts for name in NAMES}
    emotions = {
        f"fold{n}": [counts["er"][f"fold{n}/test/{name}"] for name in ("neu", "hap", "ang", "sad")] for n in range(1, 6)
    }
    assert emotions["fold4"] == [258, 303, 327, 143]
    assert sum(map(sum, emotions.values())) == 5_531
    assert [counts["er"][f"fold{n}/train"] + counts["er"][f"fold{n}/dev"] for n in range(1, 6)] == [
        4446,
        4508,
        4380,
        4500,
        4290,
    ]
    assert (counts["ks"]["train"], counts["ks"]["dev"], counts["ks"]["test"]) == (51_088 + 6, 6_798 + 6, 3_081)
    assert (counts["ks"]["train/go"], counts["ks"]["dev/_unknown_"], counts["ks"]["test/_silence_"]) == (1_861, 4_221, 257)
    assert (counts["asv"]["test trials"], counts["asv"]["test trials/1"], counts["asv"]["train groups"]) == (
        37_720,
        18_860,
        1_211,
    )
    assert sum(counts["sid"][key] for key in ("train", "dev", "test")) == 153_516
    assert (counts["qbe"]["dev/query"], counts["qbe"]["test/query"], counts["qbe"]["test/document"]) == (138, 138, 2_438)


# ---------------------------------------------------------------- what is counted


def test_items_classes_groups_and_trials_are_counted() -> None:
    items = [Item(f"i{n}", Audio(Path("x")), "ab"[n % 2], (f"s{n % 3}",)) for n in range(5)]
    test = Split("test", tuple(items), (Trial("i0", "i1", 1, ()), Trial("i0", "i2", 0, ()), Trial("i1", "i2", 0, ())))
    fold = Fold("all", Split("train", ()), Split("dev", ()), test)
    assert counts_of([fold]) == {
        "test": 5, "test/a": 3, "test/b": 2, "test groups": 3, "test trials": 3, "test trials/0": 2, "test trials/1": 1,
    }  # fmt: skip
    assert set(counts_of([fold, dataclasses.replace(fold, name="two")])) >= {"all/test", "two/test trials/1"}


def test_labels_that_are_no_classes_are_not_counted() -> None:
    items = tuple(Item(f"i{n}", Audio(Path("x")), f"words of utterance {n}", ("s",)) for n in range(6))
    fold = Fold("all", Split("train", items), Split("dev", ()), Split("test", ()))
    assert counts_of([fold]) == {"train": 6, "train groups": 1}


def test_digests_of_lists_follow_labels_and_order_but_not_folders() -> None:
    @dataclasses.dataclass(frozen=True)
    class Turns:
        path: Path
        turns: tuple[tuple[float, str], ...]

    def digest(folder: str, label: object, *order: str) -> str:
        items = tuple(Item(name, Audio(Path(folder) / name), label, ("s",)) for name in order)
        return lists_of([Fold("all", Split("train", items), Split("dev", ()), Split("test", ()))])["train"]

    first = digest("a", Turns(Path("a/x"), ((0.5, "s"),)), "i", "j")
    assert digest("b", Turns(Path("b/x"), ((0.5, "s"),)), "i", "j") == first
    assert digest("a", Turns(Path("a/x"), ((0.6, "s"),)), "i", "j") != first
    assert digest("a", Turns(Path("a/x"), ((0.5, "s"),)), "j", "i") != first
    assert digest("a", (("PLAY", "O"),), "i") != digest("a", (("PLAY", "artist"),), "i")


# ---------------------------------------------------------------- what is found


@pytest.mark.slow
def test_a_corpus_as_published_is_complete_and_has_a_passport(corpora: Corpora, tone: Task) -> None:
    inspection = look(corpora, tone)
    assert (inspection.state, inspection.remarks) == ("complete", ())
    assert inspection.passport is not None
    assert inspection.passport.sample_rates == {"16000": 60}
    assert inspection.passport.durations["train"].shortest == pytest.approx(4_037 / 16_000, abs=1e-3)
    assert inspection.passport.durations["train"].longest == pytest.approx((4_000 + 37 * 59) / 16_000, abs=1e-3)
    assert inspection.passport.hours == pytest.approx(
        sum(one.hours for one in inspection.passport.durations.values()), abs=2e-4
    )
    assert look(corpora, tone, deep=True).state == "complete"


@pytest.mark.slow
def test_a_task_that_says_nothing_of_its_corpus_is_not_compared(corpora: Corpora, tones: ModuleType) -> None:
    sound(corpora).unlink()
    assert look(corpora, tones.TONE).state == "complete"


@pytest.mark.slow
def test_a_count_that_differs_is_said_with_the_published_one(corpora: Corpora, tone: Task) -> None:
    gone = next(path for path in sorted((corpora.root / "Tones/train").glob("*-high-*.wav")))
    gone.unlink()
    inspection = look(corpora, tone)
    assert inspection.state == "differs"
    assert "train: 29 in place of 30; train/high: 4 in place of 5" in inspection.remarks[0]


def test_another_sample_rate_names_the_file(corpora: Corpora, tone: Task) -> None:
    wave, _ = soundfile.read(sound(corpora, 3))
    soundfile.write(sound(corpora, 3), wave[::2], 8_000)
    inspection = look(corpora, tone)
    assert inspection.state == "differs"
    assert inspection.remarks[0].startswith("1 of 60 files is at 8000 Hz, published at 16000 Hz")
    assert str(sound(corpora, 3)) in inspection.remarks[0]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3_000])


def silence(path: Path) -> None:
    soundfile.write(path, np.zeros(0), 16_000)


def page(path: Path) -> None:
    path.write_text("<html>404 not found</html>")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "says"), [(cut, "is cut off"), (silence, "holds no samples"), (page, "is not a readable"), (Path.touch, None)]
)
def test_files_that_cannot_be_used_are_named(
    corpora: Corpora, tone: Task, damage: Callable[[Path], None], says: str | None
) -> None:
    damage(sound(corpora, 2))
    inspection = look(corpora, tone)
    assert inspection.state == ("damaged" if says else "complete")
    if says:
        assert says in inspection.remarks[0]
        assert str(sound(corpora, 2)) in inspection.remarks[0]


def test_of_many_bad_files_five_are_named_and_the_rest_counted(corpora: Corpora, tone: Task) -> None:
    for number in range(7):
        cut(sound(corpora, number))
    inspection = look(corpora, tone)
    assert len(inspection.remarks) == 6
    assert inspection.remarks[-1] == "2 more files of 60 cannot be used."


@pytest.mark.parametrize("deep", [False, True])
def test_a_compressed_file_without_its_end_is_found(tmp_path: Path, deep: bool) -> None:
    path = tmp_path / "x.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 48_000), 16_000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    inspection = look(Corpora(tmp_path), listing([path]), deep=deep)
    assert inspection.state == "damaged"
    assert str(path) in inspection.remarks[0]
    path.write_bytes(whole)
    assert look(Corpora(tmp_path), listing([path]), deep=deep).state == "complete"


def test_only_decoding_finds_what_no_header_shows(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.full(1_600, np.nan, np.float32), 16_000, subtype="FLOAT")
    assert look(Corpora(tmp_path), listing([path])).state == "complete"
    inspection = look(Corpora(tmp_path), listing([path]), deep=True)
    assert (inspection.state, "NaN" in inspection.remarks[0]) == ("damaged", True)


def listing(paths: list[Path], error: Exception | None = None) -> Task:
    """A task that reads the given files, and does not check whether they exist."""

    def read(corpora: Corpora) -> tuple[Fold, ...]:
        if error:
            raise error
        items = tuple(Item(path.name, Audio(path), "x", ("s",)) for path in paths)
        return (Fold("all", Split("train", ()), Split("dev", ()), Split("test", items)),)

    return dataclasses.replace(with_card(plugins.task("ks"), counts={}, name="told"), read=read)


def test_listed_files_that_are_missing_are_named_and_counted(tmp_path: Path) -> None:
    inspection = look(Corpora(tmp_path), listing([tmp_path / f"{n}.wav" for n in range(8)]))
    assert inspection.state == "damaged"
    assert "8 of the 8 files" in inspection.remarks[0]
    assert "0.wav" in inspection.remarks[0]
    assert "4.wav … and 3 more" in inspection.remarks[0]


def test_lists_that_name_nothing_are_damage(tmp_path: Path) -> None:
    assert look(Corpora(tmp_path), listing([])).state == "damaged"


def test_a_reader_that_fails_does_not_hide_the_other_corpora(corpora: Corpora, tone: Task) -> None:
    inspector = Inspector(corpora, Silence())
    broken = inspector.inspect(listing([], KeyError("column")))
    assert (broken.state, broken.passport) == ("damaged", None)
    assert "KeyError: 'column'" in broken.remarks[0]
    assert inspector.inspect(tone).state == "complete"


# ---------------------------------------------------------------- miniatures


@pytest.fixture
def copy(keyword_corpora: Path, tmp_path: Path) -> Path:
    """The miniature of KS, which a test may damage."""
    return Path(shutil.copytree(keyword_corpora, tmp_path / "data"))


def test_a_miniature_is_compared_with_what_was_written(copy: Path) -> None:
    task = plugins.task("ks")
    inspection = look(Corpora(copy), task)
    assert (inspection.state, inspection.remarks) == ("complete", ())
    assert inspection.passport is not None
    assert inspection.passport.miniature == "miniature corpora, seed 0"
    next(iter(sorted((copy / "SpeechCommands/speech_commands_v0.01/yes").glob("*.wav")))).unlink()
    inspection = look(Corpora(copy), task)
    assert inspection.state == "differs"
    assert "in place of" in inspection.remarks[0]
    assert "train/yes" in inspection.remarks[0]
    synthesize(copy, 0, ["ks"], Silence())  # a tree that is there stays as it is, and so does what was noted of it
    assert look(Corpora(copy), task).state == "differs"
    (copy / WRITTEN).unlink()
    assert look(Corpora(copy), task).state == "complete"


def test_a_list_of_the_same_length_that_was_changed_is_said(copy: Path) -> None:
    folder = copy / "SpeechCommands/speech_commands_test_set_v0.01"
    first = next(iter(sorted((folder / "yes").glob("*.wav"))))
    first.rename(first.with_name(first.name.replace("_nohash_0", "_nohash_9")))
    inspection = look(Corpora(copy), plugins.task("ks"))
    assert inspection.remarks == ("Not as written: test: the list is not the one that was written.",)


def test_the_note_of_another_seed_is_not_believed(copy: Path) -> None:
    (copy / MARKER).write_text("miniature corpora, seed 5\n")
    assert Corpora(copy).written() == {}


@pytest.mark.parametrize("own", [False, True])
def test_what_a_result_says_of_its_data_comes_from_the_passport(
    own: bool, copy: Path, warm_store: Path, tmp_path: Path
) -> None:
    if own:  # recordings that a person keeps in the layout of Speech Commands
        (copy / MARKER).unlink()
        (copy / WRITTEN).unlink()
    places = {"data": copy, "out": tmp_path / "out", "store": warm_store}
    report = run(["mfcc"], "ks", protocol="mini", max_steps=1, workers=1, **places)  # type: ignore[arg-type]
    (result,) = report.results
    notes = [note for note in result.notes if "corpus is not as published" not in note]
    card = plugins.task("ks").card
    assert f"protocol mini: {card.differences['mini']}" in notes
    assert is_miniature(result) is not own
    assert any(note == f"miniature corpora, seed 0: {card.miniature}" for note in notes) is not own
    (group,) = contents(grouped([result]), columns())["groups"]
    assert (group["title"] == "Miniature corpora") is not own
    card_of_the_model(places["out"] / "mfcc", tmp_path / "card")
    pages = [group["note"], *notes, (tmp_path / "card" / "README.md").read_text()]
    assert any("synthetic" in page.replace("not synthetic", "") for page in pages) is not own


@pytest.mark.parametrize("name", ["pr", "asr", "ks", "qbe", "sid", "asv", "sd", "er", "ic", "sf"])
def test_a_card_says_of_protocols_only_what_holds_on_any_data(name: str) -> None:
    card = plugins.task(name).card
    assert card.miniature
    for text in card.differences.values():
        assert not {"synthetic", "speakers", "utterances of", "files of"} & set(text.split())
        assert "synthetic" not in text


# ---------------------------------------------------------------- results


def test_a_result_carries_the_passport_that_data_check_prints(copy: Path, warm_store: Path, tmp_path: Path) -> None:
    def done() -> Result:
        run(["fbank_no_cmvn"], "ks", data=copy, out=tmp_path / "out", store=warm_store, max_steps=1, workers=1)
        return read_result(tmp_path / "out/fbank_no_cmvn/ks")

    result, task = done(), plugins.task("ks")
    assert result.data.passport == look(Corpora(copy), task).passport
    assert not [note for note in result.notes if "not as" in note]
    assert result.data.items["train"] > result.data.passport.counts["train"]  # noise files are cut into slices
    next(iter(sorted((copy / "SpeechCommands/speech_commands_v0.01/yes").glob("*.wav")))).unlink()
    damaged = done()
    assert damaged.data.fingerprint != result.data.fingerprint
    assert damaged.data.passport == look(Corpora(copy), task).passport
    assert [note for note in damaged.notes if "is not as `superbench data synth` wrote it: train: " in note]


def test_passports_of_earlier_results_are_read_and_unknown_fields_refused() -> None:
    earlier = {"hours": 1.5, "sample_rates": {"16000": 3}, "trials": {"all/test": 2}, "facts": {"queries_absent": 4.0}}
    assert Passport.model_validate(earlier).facts == {"queries_absent": 4.0}
    assert Passport.model_validate({}).counts == {}
    with pytest.raises(ValueError, match="guess"):
        Passport.model_validate(earlier | {"guess": 1})


# ---------------------------------------------------------------- the command


Call = Callable[..., subprocess.CompletedProcess[str]]


def test_the_command_tells_a_whole_corpus_from_absent_ones(call: Call, copy: Path) -> None:
    done = call("data", "check", "--data", str(copy), "--json")
    passports = {row["task"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 0, done.stderr
    assert passports["ks"]["state"] == "complete"
    assert passports["ks"]["passport"]["counts"]["test"] == 576
    assert passports["er"]["state"] == "absent"
    assert str(copy / "IEMOCAP_full_release") in passports["er"]["remarks"][0]
    assert "https://sail.usc.edu/iemocap/" in passports["er"]["obtain"]


def test_the_command_fails_where_something_is_not_as_it_should_be(call: Call, copy: Path) -> None:
    listed = copy / "SpeechCommands/speech_commands_v0.01/validation_list.txt"
    gone = listed.parent / listed.read_text().split()[0]
    gone.unlink()
    done = call("data", "check", "--data", str(copy), "--tasks", "ks")
    assert done.returncode == 1
    assert "damaged" in done.stdout
    assert f"{gone} is listed in {listed} but not there" in done.stdout.replace("\n", "")
