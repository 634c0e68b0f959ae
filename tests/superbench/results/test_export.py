"""Exported files can be read back, and list what is not official."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import doubles
import h5py
import numpy as np
import pytest
from scipy.signal import medfilt

from superbench.__main__ import main
from superbench.contract import Prediction
from superbench.errors import BadResult, CommandError, MissingExtra
from superbench.plugins import task
from superbench.results import write_result
from superbench.results.export import predict
from superbench.results.modelcard import card

HOP = 320
Said = Mapping[tuple[str, str], Any]
"""(fold, name in the upload) -> content of the upload."""


def one(name: str, reference: Any, prediction: Any, fold: str = "all") -> Prediction:
    return Prediction(name, fold, (name[:3],), reference, prediction)


UTTERANCES = ("84-121123-0000", "84-121123-0001", "174-50561-0000")
PREDICTIONS: dict[str, list[Prediction]] = {
    "pr": [one(n, "HH AH0 L OW1", said) for n, said in zip(UTTERANCES, ("HH AH1 L", "HH AH0 L OW1", ""), strict=True)],
    "asr": [one(n, "A B C", said) for n, said in zip(UTTERANCES, ("A B", "A B C", ""), strict=True)],
    "sf": [
        one("Amy-snips-test-0", "SET A B-room BEDROOM E-room ALARM", "SET B-room BEDROM E-room B-city ALARM E-city"),
        one("Amy-snips-test-1", "PLAY B-artist NINA E-artist", "PLAY B-artist NINA E-artist"),
    ],
    "ks": [
        one("yes/0a_nohash_0.wav", "yes", "no"),
        one("no/0a_nohash_0.wav", "no", "no"),
        one("_silence_/x.wav", "_silence_", "_silence_"),
    ],
    "ic": [
        one(name, {"action": "change language", "object": "none", "location": "none"}, said)
        for name, said in {
            "a-1": {"action": "change language", "object": "none", "location": "none"},
            "a-2": {"action": "bring", "object": "none", "location": "kitchen"},
            "b-1": {"action": "change language", "object": "none", "location": "none"},
        }.items()
    ],
    "er": [
        one("Ses01F_impro01_F000", "neu", "hap", "fold1"),
        one("Ses01F_impro01_F001", "neu", "neu", "fold1"),
        one("Ses02F_impro01_F000", "sad", "sad", "fold2"),
    ],
    "sid": [one(f"id1000{n}/video/0000{n}.wav", f"id1000{n}", f"id1000{n % 3}") for n in range(1, 6)],
    "asv": [
        one(f"id10270/a-b/0000{n}.wav|id1030{n}/c/00001.wav", n % 2, value)
        for n, value in enumerate((0.12345678901, 0.9, 0.3, 0.2, 0.05))
    ],
    "qbe": [
        one(f"quesst14_eval_000{q}|quesst14_{d:05d}", int(q == d), z)
        for q, row in enumerate(((2.5, -0.1234, 0.0), (0.5, 1.9999, 2.0001)))
        for d, z in enumerate(row)
    ],
    "sd": [
        one("a_b", [[0.0, 2.0, "x"], [1.0, 3.0, "y"]], [[0.0, 1.62, "1"], [1.5, 3.5, "0"]]),
        one("c_d", [[0.5, 2.0, "x"]], [[0.5, 1.0, "0"], [1.02, 2.0, "0"]]),
        one("e_f", [[0.5, 2.0, "x"]], []),
    ],
}


# ---------------------------------------------------------------- readers that know nothing of the writers


def ark(path: str) -> Callable[[Path], Said]:
    def read(root: Path) -> Said:
        rows = (line.split(" ", 1) for line in (root / path).read_text().split("\n")[:-1])
        return {("all", name): text for name, text in rows}

    return read


def intents(root: Path) -> Said:
    with (root / "ic_public/predict.csv").open(newline="") as file:
        return {("all", name): {"action": a, "object": o, "location": at} for name, a, o, at in csv.reader(file)}


def folds(root: Path) -> Said:
    return {
        (f"fold{n}", name): said
        for n in range(1, 6)
        if (root / f"er_fold{n}_public").is_dir()
        for name, said in (line.split() for line in (root / f"er_fold{n}_public/predict.txt").read_text().splitlines())
    }


def trials(root: Path) -> Said:
    rows = (line.split() for line in (root / "sv_public/predict.txt").read_text().splitlines())
    return {("all", pair): float(value) for pair, value in rows}


def detections(root: Path) -> Said:
    found = {}
    for terms in ElementTree.parse(root / "qbe_public/benchmark.stdlist.xml").getroot():
        for term in terms:
            value = float(term.attrib["score"])
            assert term.attrib["decision"] == ("YES" if value > 2 else "NO")
            found["all", f"{terms.attrib['termid']}|{term.attrib['file']}"] = value
    return found


def rttm(root: Path, threshold: float = 0.4, median: int = 1) -> Said:
    """Convert `T_hat` to speaker turns like the official scripts."""
    shift = int((root / "sd_public/frame_shift").read_text()) / 16_000
    found = {}
    for path in (root / "sd_public/scoring/predictions").glob("*.h5"):
        with h5py.File(path) as file:
            active = np.where(file["T_hat"][:] > threshold, 1, 0)
        active = medfilt(active, (median, 1))
        turns = []
        for speaker, frames in enumerate(active.T):
            (changes,) = np.where(np.diff(np.pad(frames, (1, 1))) != 0)
            for start, end in zip(changes[::2], changes[1::2], strict=True):
                begins = round(start * shift, 2)
                turns.append([begins, round(begins + round((end - start) * shift, 2), 2), f"{path.stem}_{speaker}"])
        found["all", path.stem] = turns
    return found


def dashed(name: str) -> str:
    return name.replace("/", "-").removesuffix(".wav")


READERS: dict[str, tuple[Callable[[Path], Said], Callable[[str], str]]] = {
    "pr": (ark("pr_public/predict.ark"), str),
    "asr": (ark("asr_public/predict.ark"), str),
    "sf": (ark("sf_public/predict.ark"), str),
    "ks": (ark("ks_public/predict.txt"), lambda name: name.replace("/", "-")),
    "sid": (ark("sid_public/predict.txt"), dashed),
    "ic": (intents, str),
    "er": (folds, str),
    "asv": (trials, lambda name: "_".join(dashed(part) for part in name.split("|"))),
    "qbe": (detections, str),
    "sd": (rttm, str),
}


# ---------------------------------------------------------------- results to export


def stored(root: Path, name: str, predictions: Sequence[Prediction] | None = None, **more: Any) -> Path:
    """Write `root/<task>` with a result whose scores agree with its predictions."""
    said = list(predictions or PREDICTIONS[name])
    scores = doubles.scores_of(name, said, ci=lambda *_: (1.0, 2.5, "by hand"))
    result = doubles.result(
        "my: [model]", kind=name, version=task(name).card.version, protocol="superb", model={"macs": 2e9, "hop": HOP},
        **{
            "scores": scores, "data": {"fingerprint": "f", "items": {"test": len(said)}},
            "environment": {"date": "2026-01-02"}, **more,
        },
    )  # fmt: skip
    write_result(root / name, result, said)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_upload_of_every_task_read_back_by_id_gives_the_results_score(name: str, tmp_path: Path) -> None:
    done = predict(stored(tmp_path / "results", name), tmp_path)
    assert done.tasks == (name,)
    reader, named = READERS[name]
    said = reader(done.folder)
    assert len(said) == len(PREDICTIONS[name])
    back = [Prediction(p.id, p.fold, p.group, p.reference, said[p.fold, named(p.id)]) for p in reversed(PREDICTIONS[name])]
    before, after = (task(name).score(some, {}) for some in (PREDICTIONS[name], back))
    assert {metric: score.value for metric, score in after.items()} == {metric: score.value for metric, score in before.items()}


def test_diarization_decisions_hold_under_every_threshold_of_the_official_scorer(tmp_path: Path) -> None:
    done = predict(stored(tmp_path / "results", "sd"), tmp_path)
    assert rttm(done.folder, 0.3) == rttm(done.folder, 0.7) == rttm(done.folder)
    assert "no posteriors" in (done.folder / "README.md").read_text()


def test_diarization_without_h5py_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r"speech-superbench\[export\]"):
        predict(stored(tmp_path / "results", "sd"), tmp_path)


@dataclass(frozen=True)
class Transcript(Prediction):
    also: Mapping[str, Any] = field(default_factory=dict)


def test_words_of_a_language_model_have_a_file_of_their_own() -> None:
    writer = task("asr").upload
    assert writer is not None
    both = writer([Transcript("1-2-0003", "all", (), "A B", "A C", {"lm": "A B"})], HOP)
    assert dict(both.files) == {"asr_public/predict.ark": b"1-2-0003 A C\n", "asr_lm_public/predict.ark": b"1-2-0003 A B\n"}
    alone = writer(PREDICTIONS["asr"], HOP)
    assert set(alone.files) == {"asr_public/predict.ark"}
    assert "without a language model" in alone.remarks[0]


# ---------------------------------------------------------------- what is said, and what is refused


def test_what_is_not_official_is_said_in_the_folder_too(tmp_path: Path) -> None:
    stored(tmp_path / "results", "ks", task={"name": "ks", "version": 1, "protocol": "mini"})
    stored(tmp_path / "results", "ic", deviations=["at most 4 updates"])
    done = predict(tmp_path / "results", tmp_path)
    said = "\n".join(done.warnings)
    assert "ks: made with protocol mini, not superb" in said
    assert "ic: deviates from the recipe: at most 4 updates." in said
    assert "Missing tasks: asr, asv, er, pr, qbe, sd, sf, sid." in said
    readme = (done.folder / "README.md").read_text()
    assert all(warning in readme for warning in done.warnings)


def test_a_folder_that_holds_something_is_not_mixed_with_new_files(tmp_path: Path) -> None:
    stored(tmp_path / "results", "ks")
    predict(tmp_path / "results", tmp_path)
    with pytest.raises(CommandError, match="is not empty"):
        predict(tmp_path / "results", tmp_path)


def test_one_upstream_goes_out_at_a_time(tmp_path: Path) -> None:
    stored(tmp_path / "results" / "one", "ks")
    other = {"name": "other", "revision": "r", "params": 10, "hop": HOP, "layers": 1, "dim": 4}
    stored(tmp_path / "results" / "other", "ks", upstream=other)
    with pytest.raises(CommandError, match=r"my: \[model\], other"):
        predict(tmp_path / "results", tmp_path)
    with pytest.raises(CommandError, match="no result of pr"):
        predict(tmp_path / "results" / "one", tmp_path, ["pr"])
    with pytest.raises(BadResult, match=r"no result\.json"):
        predict(tmp_path / "nothing", tmp_path)


def test_predictions_of_another_kind_are_named(tmp_path: Path) -> None:
    wrong = [one("a-1", {"action": "bring"}, "bring")]
    with pytest.raises(BadResult, match="does not contain predictions of ic"):
        predict(stored(tmp_path / "results", "ic", wrong), tmp_path)


# ---------------------------------------------------------------- a model hub


def test_a_model_card_is_what_the_hubs_own_library_reads(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    stored(tmp_path / "results", "sf", deviations=["at most 4 updates"])
    stored(tmp_path / "results", "ks", task={"name": "ks", "version": 1, "protocol": "mini"})
    card(tmp_path / "results", tmp_path / "out")
    read = hub.ModelCard.load(tmp_path / "out" / "README.md")
    assert read.data.model_name == "my: [model]"
    assert read.data.license is None
    found = {result.metric_type: result for result in read.data.eval_results}
    expected = {
        metric: score.value for name in ("sf", "ks") for metric, score in task(name).score(PREDICTIONS[name], {}).items()
    }
    assert {metric: result.metric_value for metric, result in found.items()} == pytest.approx(expected, abs=1e-6)
    f1 = found["slot_type_f1"]
    assert (f1.task_name, f1.dataset_name, f1.dataset_split) == ("Slot filling", "Audio SNIPS", "test")
    assert (f1.source_name, f1.dataset_config) == ("superbench", "superb")
    assert f1.metric_args == {"unit": "%", "higher_is_better": True, "interval95": [1.0, 2.5], "interval_method": "by hand"}
    assert found["accuracy"].dataset_name == "Speech Commands v0.01 (synthetic miniature)"
    assert "at most 4 updates" in read.text


def test_the_official_recipe_on_a_miniature_is_no_official_number(tmp_path: Path) -> None:
    small = {"lists": {"test": "d"}, "miniature": "miniature corpora, seed 0"}
    data = {"fingerprint": "f", "items": {"test": 3}, "passport": small}
    stored(tmp_path / "results", "sf", data=data)
    done = card(tmp_path / "results", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / ".eval_results").iterdir()] == ["superbench-superb.yaml"]
    assert "speech-superbench/miniature" in (tmp_path / "out" / ".eval_results" / "superbench-superb.yaml").read_text()
    assert "Not an official number" in (tmp_path / "out" / "README.md").read_text()
    assert any("not the official protocol and corpus" in warning for warning in done.warnings)
    upload = predict(tmp_path / "results", tmp_path / "upload")
    assert any("made on synthetic miniature corpora" in warning for warning in upload.warnings)


def test_evaluation_results_are_what_the_hubs_own_library_reads(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    yaml = pytest.importorskip("yaml")
    stored(tmp_path / "results", "sf")
    stored(tmp_path / "results", "ks", task={"name": "ks", "version": 1, "protocol": "mini"})
    card(tmp_path / "results", tmp_path / "out", url="https://example.org/board")
    folder = tmp_path / "out" / ".eval_results"
    assert sorted(path.name for path in folder.iterdir()) == ["superb.yaml", "superbench-mini.yaml"]
    (entry,) = hub.parse_eval_result_entries(yaml.safe_load((folder / "superb.yaml").read_text()))
    assert (entry.task_id, entry.source_url, entry.date) == ("sf", "https://example.org/board", "2026-01-02")
    assert entry.value == pytest.approx(task("sf").score(PREDICTIONS["sf"], {})["slot_type_f1"].value, abs=1e-6)
    (small,) = hub.parse_eval_result_entries(yaml.safe_load((folder / "superbench-mini.yaml").read_text()))
    assert small.dataset_id != entry.dataset_id
    assert "protocol mini" in small.notes


def test_a_card_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    stored(tmp_path / "results", "ks")
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(CommandError, match="exists already"):
        card(tmp_path / "results", tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.slow
def test_the_command_writes_both_forms_and_refuses_what_does_not_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> object:
        monkeypatch.setattr(sys, "argv", ["superbench", "export", "results", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0

    stored(tmp_path / "results", "ks")
    assert call("--to", "predict") == 0
    assert "Missing tasks: asr" in capsys.readouterr().out
    assert (tmp_path / "export/predict/ks_public/predict.txt").is_file()
    assert call("--to", "hf") == 0
    assert (tmp_path / "export/README.md").is_file()
    assert call("--to", "predict") == 2
    assert call("--to", "predict", "--url", "https://example.org", "--out", "other") == 2
    assert call("--to", "nowhere") == 2
