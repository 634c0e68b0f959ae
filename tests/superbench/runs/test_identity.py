"""A result belongs to its sound, labels, model and options; nothing replaces it without a message."""

from __future__ import annotations

import functools
import importlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from superbench import plugins
from superbench.board.board import Board
from superbench.cli.app import app
from superbench.contract import Audio, Fold, Item, Split, Task, Trial
from superbench.contract.corpora import Corpora
from superbench.data.fingerprint import fingerprint_of, lists_of, paths_of
from superbench.errors import BadResult, BadUpstream, BrokenPlugin, CommandError
from superbench.features.store import Store
from superbench.plugins import models
from superbench.plugins.reference_outputs import confirm
from superbench.results import Result, check_whole, find_results, read_result, write_failure
from superbench.results.export import gathered
from superbench.results.tables import whole_results
from superbench.runs.destination import label_of
from superbench.runs.job import Performed, perform
from superbench.runs.jobs import NoWatcher
from superbench.runs.options import Options
from superbench.runs.report import Report
from superbench.runs.runner import run
from superbench.system.progress import Silence

# ---------------------------------------------------------------- the data's fingerprint


@dataclass(frozen=True)
class Turns:
    """A label as a diarization task might have it."""

    turns: tuple[tuple[float, float, str], ...]
    source: Path


SOUND = Path("a.wav")
ITEM = Item("a", Audio(SOUND), Turns(((0.0, 1.5, "x"),), Path("/here/a.rttm")), ("x",))
TRIAL = Trial("a", "b", 1, ("x",))


def fingerprint(item: Item = ITEM, trial: Trial = TRIAL, sound: str = "1", facts: dict[str, float] | None = None) -> str:
    test = Split("test", (item,), (trial,), facts or {})
    return fingerprint_of([Fold("all", Split("train", ()), Split("dev", ()), test)], {SOUND: sound})


@pytest.mark.parametrize(
    "changes",
    [
        {"sound": "2"},
        {"item": replace(ITEM, label=Turns(((0.0, 1.6, "x"),), Path("/here/a.rttm")))},
        {"item": replace(ITEM, label=Turns(((0.0, 1.5, "y"),), Path("/here/a.rttm")))},
        {"item": replace(ITEM, audio=Audio(SOUND, start=1))},
        {"item": replace(ITEM, audio=Audio(SOUND, gain_db=-3.0))},
        {"item": replace(ITEM, group=("y",))},
        {"trial": replace(TRIAL, reference=0)},
        {"trial": replace(TRIAL, left="c")},
        {"trial": replace(TRIAL, group=("y",))},
        {"facts": {"queries_absent": 1.0}},
    ],
)
def test_all_inputs_of_heads_and_scores_are_in_the_fingerprint(changes: dict[str, Any]) -> None:
    assert fingerprint(**changes) != fingerprint()


@pytest.mark.parametrize(
    ("label", "different"),
    [
        (["a", "b"], ["b", "a"]), ({"x": 1}, {"x": 2}), (np.arange(3), np.arange(1, 4)), (torch.zeros(2), torch.ones(2)),
        ((1, (2, 3)), (1, (2, 4))), (b"a", b"b"), ({"a"}, {"b"}), (None, ""), (1.0, 1.5), (True, False),
        (np.float32(1), np.float32(2)), (np.array(1), np.array(2)),
    ],
)  # fmt: skip
def test_labels_of_every_type_are_in_the_fingerprint(label: Any, different: Any) -> None:
    assert fingerprint(replace(ITEM, label=label)) == fingerprint(replace(ITEM, label=label))
    assert fingerprint(replace(ITEM, label=label)) != fingerprint(replace(ITEM, label=different))


def test_turns_of_diarization_and_slots_of_slot_filling_are_in_the_fingerprint(miniature: Callable[[str], Path]) -> None:
    for name, change_label in (("sd", moved_turn), ("sf", other_slots)):
        (fold,) = plugins.task(name).read(Corpora(miniature(name)))
        sounds = dict.fromkeys(paths_of([fold]), "digest")
        first_item, *rest = fold.test.items
        label = change_label(first_item.label)
        assert label != first_item.label
        changed = replace(fold, test=replace(fold.test, items=(replace(first_item, label=label), *rest)))
        assert fingerprint_of([changed], sounds) != fingerprint_of([fold], sounds)
        assert lists_of([changed])["test"] != lists_of([fold])["test"]


def moved_turn(label: Any) -> Any:
    (start, end, speaker), *rest = label.turns
    return replace(label, turns=((start, end + 0.1, speaker), *rest))


def other_slots(label: Any) -> Any:
    return tuple((word, "album" if slot == "O" else "O") for word, slot in label)


def test_the_path_of_a_corpus_does_not_change_its_fingerprint() -> None:
    moved = replace(ITEM, label=Turns(((0.0, 1.5, "x"),), Path("/there/a.rttm")))
    assert fingerprint(moved) == fingerprint()


def test_a_label_without_content_is_refused() -> None:
    with pytest.raises(BrokenPlugin, match="a result could not identify its data"):
        fingerprint(replace(ITEM, label=object()))


# ---------------------------------------------------------------- jobs


@dataclass
class World:
    """The tones as a corpus that may be changed, with a store and a folder for results."""

    tones: ModuleType
    root: Path
    folder: Path

    def job(self, spec: str = "fbank_no_cmvn", out: str = "out", **options: Any) -> tuple[Result, bool]:
        """The result of a job, and whether it was there before."""
        done = self.perform(spec, self.tones.TONE, out, **options)
        return done.result, done.found

    def perform(self, spec: str, task: Task, out: str = "out", **options: Any) -> Performed:
        """A job as a run does it: outputs are compared first."""
        loaded, store = plugins.upstream(plugins.parse(spec)), Store(self.folder / "store")
        job_options = Options("mini", max_steps=5, **options)
        outputs, _ = confirm(loaded, "cpu", self.folder / "store/outputs", redo=job_options.redo_since is not None)
        loaded = replace(loaded, outputs=outputs)
        try:
            return perform(task, loaded, Corpora(self.root), store, self.folder / out, job_options, {}, Silence())
        finally:
            store.close()


@pytest.fixture
def world(tones: ModuleType, tone_corpora: Path, tmp_path: Path) -> World:
    return World(tones, Path(shutil.copytree(tone_corpora, tmp_path / "data")), tmp_path)


@pytest.fixture(scope="module")
def finished_job(tones: ModuleType, tone_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a world in which a job has been done, whose copies contain its result too; no test writes into it."""
    folder, copy = tmp_path_factory.mktemp("finished"), tmp_path_factory.mktemp("copied") / "world"
    World(tones, Path(shutil.copytree(tone_corpora, folder / "data")), folder).job()
    shutil.copytree(folder, copy)
    assert World(tones, copy / "data", copy).job()[1]
    return folder


def exchange(path: Path) -> None:
    """Other sound of the same size under the same name, at the same place on the disk, with the same date."""
    samples, rate = soundfile.read(path, dtype="int16")
    before = path.stat()
    copy = path.with_suffix(".copy.wav")
    soundfile.write(copy, samples[::-1], rate, subtype="PCM_16")
    path.write_bytes(copy.read_bytes())
    copy.unlink()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


@pytest.mark.slow
def test_other_sound_under_the_same_names_is_another_job_and_other_data(world: World) -> None:
    first, _ = world.job()
    assert world.job()[1]
    exchange(world.tones.TONE.read(Corpora(world.root))[0].test.items[0].audio.path)
    second, cached = world.job()
    assert not cached
    assert second.data.fingerprint != first.data.fingerprint
    assert [key for key in first.data.sounds if first.data.sounds[key] != second.data.sounds[key]] == ["test"]
    assert second.data.passport.lists == first.data.passport.lists
    fresh = World(world.tones, world.root, world.folder / "fresh")
    truth, _ = fresh.job()
    assert (truth.scores, truth.data) == (second.scores, second.data)
    kept = world.folder / "out/fbank_no_cmvn/tone/replaced"
    (former,) = find_results(kept)
    assert read_result(former).data.fingerprint == first.data.fingerprint
    check_whole(former, read_result(former))
    assert {path.name for path in former.iterdir()} == {"result.json", "predictions.jsonl.gz", "learning.csv"}
    assert find_results(world.folder / "out") == find_results(kept.parent) == [kept.parent]


@pytest.mark.slow
def test_other_versions_of_what_makes_the_features_are_another_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.job()
    loaded = plugins.loaded
    monkeypatch.setattr(models, "loaded", lambda *a, **k: replace(loaded(*a, **k), libraries=("torchaudio 9.9",)))
    result, cached = world.job()
    assert not cached
    assert result.environment["libraries"] == ["torchaudio 9.9"]


@pytest.mark.slow
def test_changed_code_of_a_task_is_another_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.job()
    monkeypatch.setattr("superbench.runs.identity.code_of", lambda module: f"another {module}")
    assert not world.job()[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        "cut",
        "empty",
        "flipped",
        "lost predictions.jsonl.gz",
        "flipped predictions.jsonl.gz",
        "lost learning.csv",
        "flipped learning.csv",
    ],
)
def test_a_damaged_result_is_computed_again(finished_job: Path, tones: ModuleType, tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(finished_job, tmp_path / "world"))
    world = World(tones, folder / "data", folder)
    first = read_result(folder / "out/fbank_no_cmvn/tone")
    place = world.folder / "out/fbank_no_cmvn/tone"
    result, (fault, _, name) = place / "result.json", damage.partition(" ")
    text = result.read_bytes()
    if fault == "lost":
        (place / name).unlink()
    elif name:
        data = bytearray((place / name).read_bytes())
        data[len(data) // 2] ^= 1
        (place / name).write_bytes(data)
    else:
        value = json.loads(text)["scores"]["accuracy"]["value"]
        flipped = text.replace(f'"value": {value}'.encode(), f'"value": {value + 1}'.encode())
        result.write_bytes({"cut": text[:300], "empty": b"", "flipped": flipped}[damage])
        assert result.read_bytes() != text
    repeated, cached = world.job()
    assert not cached
    assert repeated.scores == first.scores
    assert world.job()[1]


# ---------------------------------------------------------------- names and options


NET = """
import torch
from superbench import Features

def net(waves, lengths):
    cut = torch.nn.functional.pad(waves, (0, 319)).unfold(1, 320, 320)
    return Features(torch.fft.rfft(cut).abs()[None, ..., :{dim}], (lengths + 319) // 320)
"""


def go(data: Path, folder: Path, *specs: str, **options: Any) -> Report:
    run_options = {"max_steps": 2, "workers": 1, "store": folder / "store", "learning_rates": (1e-2,), **options}
    return run(list(specs), "ks", data=data, out=folder / "out", **run_options)


def states(report: Report) -> list[str]:
    return [ended.state for ended in report.ended]


def results(folder: Path) -> dict[str, bytes]:
    return {str(path.parent.relative_to(folder / "out")): path.read_bytes() for path in folder.glob("out/*/*/result.json")}


def a_model(folder: Path, dim: int) -> str:
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text(NET.format(dim=dim))
    return f"{folder / 'mine.py'}:net"


def test_another_model_of_the_same_name_is_refused_and_nothing_is_lost(
    keyword_corpora: Path, warm_store: Path, tmp_path: Path
) -> None:
    first, second = a_model(tmp_path / "one", 100), a_model(tmp_path / "two", 50)
    assert states(go(keyword_corpora, tmp_path, first, store=warm_store)) == ["done"]
    before = results(tmp_path)
    refused = go(keyword_corpora, tmp_path, second, store=warm_store)
    assert states(refused) == ["failed"]
    assert f"Give this one an alias: other={second}" in refused.ended[0].message
    assert results(tmp_path) == before
    assert not list(tmp_path.rglob("failure.json"))
    assert states(go(keyword_corpora, tmp_path, f"other={second}", store=warm_store)) == ["done"]
    assert set(results(tmp_path)) == {"net/ks", "other/ks"}
    # the same model from another place is the same; an edited one at its place is run anew, and the former result kept
    shutil.copytree(tmp_path / "one", tmp_path / "moved")
    assert states(go(keyword_corpora, tmp_path, f"{tmp_path / 'moved' / 'mine.py'}:net", store=warm_store)) == ["found"]
    (tmp_path / "one" / "mine.py").write_text(NET.format(dim=60))
    assert states(go(keyword_corpora, tmp_path, first, store=warm_store)) == ["done"]
    assert len(list(tmp_path.glob("out/net/ks/replaced/*/result.json"))) == 1


def test_names_that_share_a_folder_are_refused(keyword_corpora: Path, warm_store: Path, tmp_path: Path) -> None:
    assert states(go(keyword_corpora, tmp_path, "模型=fbank", store=warm_store)) == ["done"]
    refused = go(keyword_corpora, tmp_path, "测试=fbank", store=warm_store)
    assert states(refused) == ["failed"]
    assert "contains results of another model: 模型" in refused.ended[0].message


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"layer": 0}, "fbank--layer-0--max-steps-2--lr-0.01"),
        ({"max_steps": 3}, "fbank--max-steps-3--lr-0.01"),
        ({"seeds": (0, 1)}, "fbank--max-steps-2--lr-0.01--seeds-0-1"),
        ({"variants": ("sampled-dev",)}, "fbank--max-steps-2--lr-0.01--variant-sampled-dev"),
        ({"protocol": "superb-once"}, "fbank--protocol-superb-once--max-steps-2--lr-0.01"),
        ({"max_steps": None, "learning_rates": None}, "fbank--protocol-mini"),
    ],
)
def test_other_options_get_a_folder_that_says_them(
    keyword_corpora: Path, warm_store: Path, tmp_path: Path, options: dict[str, Any], name: str
) -> None:
    assert states(go(keyword_corpora, tmp_path, "fbank", store=warm_store)) == ["done"]
    before = results(tmp_path)
    go(keyword_corpora, tmp_path, "fbank", store=warm_store, **options)
    after = results(tmp_path)
    assert set(after) == {"fbank/ks", f"{name}/ks"}
    assert after["fbank/ks"] == before["fbank/ks"]
    assert json.loads(after[f"{name}/ks"])["upstream"]["name"] == name
    assert states(go(keyword_corpora, tmp_path, "fbank", store=warm_store)) == ["found"]
    assert states(go(keyword_corpora, tmp_path, "fbank", store=warm_store, **options)) == ["found"]
    assert results(tmp_path) == after


def test_rates_that_differ_in_the_eighth_digit_are_other_options() -> None:
    near = [Options("mini", learning_rates=(rate,)) for rate in (0.001, 0.00100000001)]
    assert len({label_of(options, "mini", "float32") for options in near}) == 2
    assert len({tuple(options.deviations(plugins.task("ks").card)) for options in near}) == 2


@pytest.mark.slow
def test_a_result_behind_two_links_is_counted_once(world: World) -> None:
    world.job()
    (world.folder / "out" / "again").symlink_to(world.folder / "out/fbank_no_cmvn")
    assert len(find_results(world.folder / "out")) == 1


# ---------------------------------------------------------------- changes that no digest covers


LATE = """
import torch
from safetensors.torch import load_file
from superbench import Features

def late(waves, lengths):
    cut = torch.nn.functional.pad(waves, (0, 319)).unfold(1, 320, 320)
    gain = load_file({file!r})["gain"]
    return Features((torch.fft.rfft(cut).abs() * gain)[None], (lengths + 319) // 320)
"""


class Counting(NoWatcher):
    """Records how much sound passed through the model."""

    def __init__(self) -> None:
        self.passed = 0.0

    def ended(self, ended: Any) -> None:
        self.passed += ended.passed_seconds


def test_results_of_a_model_that_changed_undetected_are_not_reused_and_redo_computes_them_again(
    keyword_corpora: Path, tmp_path: Path
) -> None:
    spec, put = late_model(tmp_path)
    put(1.0)
    assert states(go(keyword_corpora, tmp_path, spec)) == ["done"]
    first = read_result(tmp_path / "out/late/ks")
    put(0.1)
    refused = go(keyword_corpora, tmp_path, spec)
    assert states(refused) == ["failed"]
    assert "--redo" in refused.ended[0].message
    elsewhere = go(
        keyword_corpora, tmp_path, spec, store=tmp_path / "other"
    )  # no outputs are stored there: those of the result are compared
    assert "--redo" in elsewhere.ended[0].message
    watcher = Counting()
    assert states(go(keyword_corpora, tmp_path, spec, redo=True, watcher=watcher)) == ["done"]
    assert watcher.passed > 0
    second = read_result(tmp_path / "out/late/ks")
    assert second.upstream.revision == first.upstream.revision
    assert second.environment["outputs"] != first.environment["outputs"]
    assert states(go(keyword_corpora, tmp_path, spec)) == ["found"]
    truth = go(keyword_corpora, tmp_path / "truth", spec)
    assert truth.results[0].scores == second.scores
    assert truth.results[0].sweep == second.sweep


def late_model(folder: Path) -> tuple[str, Callable[[float], None]]:
    """A model that reads its gain whenever it is called, which no hook records; and a function that writes the gain."""
    gain = folder / "gain.safetensors"
    (folder / "late.py").write_text(LATE.format(file=str(gain)))
    return f"{folder / 'late.py'}:late", lambda value: save_file({"gain": torch.tensor([value])}, gain)


@pytest.mark.slow
def test_features_whose_model_cannot_be_compared_any_more_are_extracted_again(world: World, tmp_path: Path) -> None:
    spec, put = late_model(tmp_path)
    put(1.0)
    assert world.perform(spec, world.tones.TONE).passed_seconds > 0
    assert world.perform(spec, world.tones.TONE, "second").passed_seconds == 0
    put(0.1)
    shutil.rmtree(world.folder / "store/outputs")
    repeated = world.perform(spec, world.tones.TONE, "third")
    assert repeated.passed_seconds > 0
    truth = World(world.tones, world.root, world.folder / "truth").perform(spec, world.tones.TONE)
    assert truth.result.scores == repeated.result.scores
    assert truth.result.sweep == repeated.result.sweep


@pytest.mark.slow
def test_redo_of_one_task_leaves_no_stale_features_for_the_others(world: World, tmp_path: Path) -> None:
    spec, put = late_model(tmp_path)
    put(1.0)
    for task in (world.tones.TONE, world.tones.TONES):
        world.perform(spec, task)
    put(0.1)
    world.perform(spec, world.tones.TONE, redo_since=time.time())
    with pytest.raises(BadUpstream, match="--redo"):
        world.perform(spec, world.tones.TONES)
    assert world.perform(spec, world.tones.TONES, "elsewhere").passed_seconds > 0


UNSTEADY = """
import torch
from superbench import Features

calls = 0

def unsteady(waves, lengths):
    global calls
    calls += 1
    cut = torch.nn.functional.pad(waves, (0, 319)).unfold(1, 320, 320)
    return Features((torch.fft.rfft(cut).abs() * (1 if calls <= 5 else 2))[None], (lengths + 319) // 320)
"""


@pytest.mark.slow
def test_a_model_that_changes_during_extraction_is_refused_and_its_features_are_dropped(world: World, tmp_path: Path) -> None:
    (tmp_path / "unsteady.py").write_text(UNSTEADY)
    spec = f"{tmp_path / 'unsteady.py'}:unsteady"
    for _ in range(2):
        (tmp_path / "unsteady.py").touch()
        with pytest.raises(BadUpstream, match="changed during the run"):
            world.perform(spec, world.tones.TONES)
        store = Store(world.folder / "store")
        assert not store.contents()
        store.close()
    assert not list(world.folder.glob("out/*/*/result.json"))


@pytest.mark.slow
def test_an_existing_result_removes_the_record_of_a_failure(world: World) -> None:
    world.job()
    note = world.folder / "out/fbank_no_cmvn/tone/failure.json"
    write_failure(note.parent, "tone", "fbank_no_cmvn", "BadUpstream", "it was another model for a while")
    assert world.job()[1]
    assert not note.exists()


def test_redo_runs_finished_jobs_again(keyword_corpora: Path, tmp_path: Path) -> None:
    go(keyword_corpora, tmp_path, "fbank")
    before = json.loads(results(tmp_path)["fbank/ks"])
    watcher = Counting()
    assert states(go(keyword_corpora, tmp_path, "fbank", redo=True, watcher=watcher)) == ["done"]
    after = json.loads(results(tmp_path)["fbank/ks"])
    assert watcher.passed > 0
    assert after["scores"] == before["scores"]
    assert states(go(keyword_corpora, tmp_path, "fbank")) == ["found"]


PLAIN = """
import torch
from superbench import Features

def plain(waves, lengths):
    cut = torch.nn.functional.pad(waves, (0, 319)).unfold(1, 320, 320)
    return Features(torch.fft.rfft(cut).abs()[None], (lengths + 319) // 320)
"""
PATCHING = """
import torch
before = torch.fft.rfft
torch.fft.rfft = lambda x, *a, **k: before(x * torch.hann_window(x.shape[-1]), *a, **k)
""" + PLAIN.replace("plain", "patching")


@pytest.fixture(scope="module")
def run_alone(keyword_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """The results of PLAIN and of a built-in model, without another model in the run."""
    folder = tmp_path_factory.mktemp("run_alone")
    (folder / "plain.py").write_text(PLAIN)
    return go(keyword_corpora, folder, f"{folder / 'plain.py'}:plain", "fbank").results


@pytest.mark.parametrize("workers", [1, 2])
def test_settings_of_torch_changed_by_one_model_do_not_affect_others(
    keyword_corpora: Path, run_alone: list[Result], tmp_path: Path, workers: int
) -> None:
    specs = {}
    for name, text in (("plain", PLAIN), ("patching", PATCHING)):
        (tmp_path / f"{name}.py").write_text(text)
        specs[name] = f"{tmp_path / name}.py:{name}"
    for number, names in enumerate((("patching", "plain"), ("plain", "patching"))):
        folder = tmp_path / str(number)
        assert states(go(keyword_corpora, folder, *map(specs.get, names), "fbank", workers=workers)) == ["done"] * 3
        assert len(run_alone) == 2
        for result in run_alone:
            beside = read_result(folder / "out" / result.upstream.name / "ks")
            assert (beside.scores, beside.sweep) == (result.scores, result.sweep)


def test_detectable_changes_in_memory_are_refused(
    keyword_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "given_in_python.py").write_text(PLAIN)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("given_in_python")
    options = {"data": keyword_corpora, "out": tmp_path / "out", "store": tmp_path / "store", "max_steps": 2}
    callable_object = type("plain", (), {"__module__": "given_in_python", "__call__": module.plain})
    for changed in (functools.wraps(module.plain)(lambda waves, lengths: module.plain(2 * waves, lengths)), callable_object):
        with pytest.raises(CommandError, match="does not contain changes made in memory"):
            run([changed], "ks", **options)
    run([module.plain], "ks", **options)
    assert sys.modules["given_in_python"] is module  # and it can still be pickled and reloaded


@pytest.mark.slow
def test_a_report_says_which_results_were_changed_by_hand(world: World) -> None:
    world.job()
    path = world.folder / "out/fbank_no_cmvn/tone/result.json"
    assert [len(found) for found in whole_results(world.folder / "out")] == [1, 0]
    facts = json.loads(path.read_text())
    facts["scores"]["accuracy"]["value"] += 1
    path.write_text(json.dumps(facts))
    whole, (warning,) = whole_results(world.folder / "out")
    assert not whole
    summed = f"The board did not accept 1 of 1 bundles. On the board: nothing new. Not on the board: fbank_no_cmvn: {warning}"
    board = Board(world.folder / "board")
    for pass_on, said in ((board.submit, summed), (board.add_references, warning), (gathered, warning)):
        with pytest.raises(BadResult) as caught:
            pass_on(world.folder / "out")
        assert str(caught.value) == said
    assert "its content has changed since it was written" in warning
    for form in ("table", "csv", "latex", "markdown", "json"):
        done = CliRunner().invoke(app, ["report", str(world.folder / "out"), "--format", form])
        assert done.exit_code == 1
        assert "left out: " in done.stderr
        assert "fbank_no_cmvn" not in done.stdout
