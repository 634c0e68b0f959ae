"""What fails in a run is named: a sound at which a model raises or a process dies, a GPU, a machine. Nothing else is lost."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from superbench import plugins
from superbench.contract import Audio
from superbench.errors import BadAudio, BadUpstream, CommandError
from superbench.features.attempts import Attempts
from superbench.features.culprit import computed_or_named
from superbench.runs.engines.crew import Event, Unit
from superbench.runs.engines.nodes import facts, files_of, put_files, require_same, shared_by
from superbench.runs.engines.ray import Actor
from superbench.runs.jobs import Ended, Job, NoWatcher
from superbench.runs.options import Options
from superbench.runs.report import Report
from superbench.runs.run_plan import RunPlan
from superbench.runs.runner import run

MODELS = """
import os, signal, torch
from pathlib import Path
from superbench import Features
from superbench.features import decoding

SIGNS = torch.tensor([1.0, -1.0, 1.0, -1.0])

class Good:
    sample_rate, hop, layers, dim = 16_000, 160, 1, 1

    def __call__(self, waves, lengths):
        first = waves[:, :1]
        if waves.shape[1] >= 4 and bool(((waves[:, :4] == SIGNS * first) & (first > 0)).all(1).any()):
            self.act()
        pieces = torch.nn.functional.pad(waves, (0, 159)).unfold(1, 160, 160)
        return Features(pieces.abs().mean(-1)[None, ..., None], (lengths + 159) // 160)

    def act(self):
        pass

class Raises(Good):
    def act(self):
        raise ValueError("no such sound")

class Crashes(Good):
    def act(self):
        os.kill(os.getpid(), signal.SIGSEGV)

class Once(Good):
    def act(self):
        mark = Path("MARK" + type(self).__name__)
        if not mark.exists():
            mark.touch()
            self.fail()

class KilledOnce(Once):
    def fail(self):
        os.kill(os.getpid(), signal.SIGKILL)

class LosesItsGPUOnce(Once):
    def fail(self):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\\nCUDA kernel errors might be")

class LosesItsGPU(Good):
    def act(self):
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

class Undecodable(Good):
    def __init__(self):
        load = decoding.load
        def crash(audio):
            if audio.path.name == "NAME":
                os.kill(os.getpid(), signal.SIGSEGV)
            return load(audio)
        decoding.load = crash
"""


class Notes(NoWatcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, job: Job, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def marked(keyword_corpora: Path, tmp_path: Path) -> Path:
    """The miniature of keyword spotting, in which one test file begins as no other sound does."""
    root = tmp_path / "data"
    shutil.copytree(keyword_corpora, root, copy_function=os.link)
    file = marked_file(root)
    wave = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    wave[:4] = 0.5, -0.5, 0.5, -0.5
    file.unlink()
    soundfile.write(file, wave, 16_000)
    return root


def marked_file(root: Path) -> Path:
    return min(root.rglob("*test_set*/yes/*.wav"))


def go(marked: Path, tmp_path: Path, *models: str, **more: Any) -> Report:
    text = MODELS.replace("NAME", marked_file(marked).name).replace("MARK", str(tmp_path / "mark"))
    (tmp_path / "models.py").write_text(text)
    specs = [f"{tmp_path}/models.py:{model}" for model in models]
    options: dict[str, Any] = {"max_steps": 2, "learning_rates": (1e-2,), "workers": 1, **more}
    return run(specs, "ks", data=marked, out=tmp_path / "out", store=tmp_path / "store", **options)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("Raises", r"Raises raises ValueError \(no such sound\) for .*/{} \(1\.0 s\)"),
        ("Crashes", r"Crashes cannot compute features of .*/{}: 3 processes of this run died at it, in the code of the model"),
        ("Undecodable", r".*/{} cannot be decoded: 3 processes of this run died at it"),
    ],
)
def test_the_sound_at_which_a_job_fails_is_named_and_the_others_run(
    marked: Path, tmp_path: Path, model: str, message: str
) -> None:
    report = go(marked, tmp_path, model, "Good")
    states = {ended.job.spec.alias: ended for ended in report.ended}
    assert states["Good"].state == "done"
    assert states[model].state == "failed"
    assert re.match(message.format(re.escape(marked_file(marked).name)), states[model].message), states[model].message


def test_a_worker_that_is_killed_or_loses_its_gpu_is_replaced_and_a_gpu_that_stays_lost_fails_its_job(
    marked: Path, tmp_path: Path
) -> None:
    notes = Notes()
    report = go(marked, tmp_path, "KilledOnce", "LosesItsGPUOnce", "LosesItsGPU", "Good", watcher=notes)
    states = {ended.job.spec.alias: ended.state for ended in report.ended}
    assert states == {"KilledOnce": "done", "LosesItsGPUOnce": "done", "LosesItsGPU": "failed", "Good": "done"}
    (message,) = [ended.message for ended in report.of("failed")]
    assert re.match(r"A GPU of .+ failed \(CUDA error: unspecified launch failure\)\. Check it with `nvidia-smi`", message)
    assert any("signal 9, SIGKILL" in note and "The job is repeated" in note for note in notes.notes)
    assert len({str(result.scores) for result in report.results}) == 1


# ---------------------------------------------------------------- a full disk, on one node


def plan_of(data: Path, folder: Path, **more: Any) -> RunPlan:
    return RunPlan(
        data=data, settings=None, out=folder / "out", store=folder / "store", budget=None,
        options=Options("mini", max_steps=2, learning_rates=(1e-2,)), lenient=False, devices=("cpu",), debug=False, **more,
    )  # fmt: skip


def ended_by(actor: Actor, unit: Unit) -> tuple[Ended, list[Event]]:
    """The end of a job that an actor does, and all of its events."""
    actor.send(unit)
    events: list[Event] = []
    until = time.monotonic() + 500
    while not (events and events[-1][0] == "ended"):
        assert time.monotonic() < until
        events += actor.events()
    return events[-1][1], events


def test_a_full_disk_of_a_node_fails_the_job_with_its_name_and_the_same_job_goes_on(
    keyword_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, unit = plan_of(keyword_corpora, tmp_path), Unit(Job(plugins.parse("fbank_no_cmvn"), "ks"))
    for folder in (plan.out, plan.store):
        folder.mkdir()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        ended, _ = ended_by(Actor(plan, shared_by(plan)), unit)
    assert ended.state == "failed"
    assert re.match(rf"On {re.escape(platform.node())}: Could not write .*The disk is full", ended.message)
    ended, _ = ended_by(Actor(plan, shared_by(plan)), unit)
    assert ended.state == "done"


# ---------------------------------------------------------------- nodes that differ


def test_a_node_with_another_torch_or_without_a_folder_is_named(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "data", tmp_path)
    for folder in ("data/VoxCeleb1", "data/SNIPS", "out", "store"):
        (tmp_path / folder).mkdir(parents=True)
    shared = shared_by(plan)
    own = facts(plan, shared)
    require_same(own, own)
    with pytest.raises(CommandError, match=r"The node b has torch 1\.13\.1, this machine has .*Install the same versions"):
        require_same(own, replace(own, node="b", versions={**own.versions, "torch": "1.13.1"}))
    (tmp_path / "store/.id").write_text("of another store")  # as on a node where nothing is mounted, or another disk
    with pytest.raises(CommandError, match=rf"does not see --store {tmp_path}/store as this machine does.*--store-per-node"):
        require_same(own, facts(plan, shared))
    (tmp_path / "store/.id").unlink()
    (tmp_path / "data/SNIPS").rmdir()
    with pytest.raises(CommandError, match="does not see --store"):
        require_same(own, facts(plan, shared))


def test_with_a_store_per_node_only_corpora_must_be_there_and_a_store_must_be_possible(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "data", tmp_path, node_store=str(tmp_path / "node"))
    (tmp_path / "data/SNIPS").mkdir(parents=True)
    shared = shared_by(plan)
    own = facts(plan, shared)
    require_same(own, own)
    assert own.place.endswith(f":{tmp_path}/node")
    (tmp_path / "data/SNIPS").rmdir()
    with pytest.raises(CommandError, match=rf"does not see --data {tmp_path}/data/SNIPS as this machine does"):
        require_same(own, facts(plan, shared))
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match=r"cannot keep a store of its own: --store .*/file"):
        require_same(own, facts(replace(plan, node_store=str(tmp_path / "file")), shared))


def test_a_node_with_its_own_store_sends_the_result_and_finds_one_that_comes_with_the_job(
    keyword_corpora: Path, tmp_path: Path
) -> None:
    job = Job(plugins.parse("fbank_no_cmvn"), "ks")
    here = plan_of(keyword_corpora, tmp_path, node_store=str(tmp_path / "first"))
    ended, events = ended_by(Actor(here, shared_by(here)), Unit(job))
    assert ended.state == "done"
    assert not (tmp_path / "out").exists()
    put_files(here, job, dict(next(event for event in events if event[0] == "files")[2]))
    sent = files_of(here, job)
    assert {"result.json", "predictions.jsonl.gz"} <= sent.keys()
    other = plan_of(keyword_corpora, tmp_path, node_store=str(tmp_path / "second"))
    ended, events = ended_by(Actor(other, shared_by(other)), Unit(job, files=sent))
    assert ended.state == "found"
    assert not list((tmp_path / "second").rglob("shards/*/*"))


# ---------------------------------------------------------------- the record of attempts


def test_two_deaths_of_one_run_at_a_shard_make_the_third_process_careful_and_a_third_names_the_sound(tmp_path: Path) -> None:
    left = [Attempts(tmp_path, "run").at("shard") for _ in range(3)]
    for deaths in range(3):
        attempt = left[deaths].__enter__()  # and the process dies
        assert attempt.careful == (deaths == 2)
        attempt.require_harmless("apc")
    attempt.now("decode", Path("b.wav"))
    for _ in range(2):  # every job that needs the shard
        with (
            pytest.raises(BadAudio, match=r"^b\.wav cannot be decoded: 3 processes of this run died at it\."),
            Attempts(tmp_path, "run").at("shard") as attempt,
        ):
            attempt.require_harmless("apc")
    with Attempts(tmp_path, "another run").at("shard") as attempt:
        assert not attempt.careful
        attempt.require_harmless("apc")
    assert not list(tmp_path.iterdir())


def test_an_error_is_no_death(tmp_path: Path) -> None:
    for _ in range(5):
        with contextlib.suppress(ValueError), Attempts(tmp_path, "run").at("shard") as attempt:
            assert not attempt.careful
            raise ValueError
    (tmp_path / "shard").write_text("{")  # a process died while it wrote
    with Attempts(tmp_path, "run").at("shard") as attempt:
        assert not attempt.careful


def test_a_batch_that_fails_only_as_a_whole_is_named_by_its_sounds() -> None:
    waves, audios = [torch.zeros(4)] * 3, [Audio(Path(f"{name}.wav")) for name in "abc"]

    def compute(waves: Sequence[torch.Tensor], audios: Sequence[Audio]) -> list[torch.Tensor]:
        if len(waves) > 2:
            raise RuntimeError("too many")
        return list(waves)

    with pytest.raises(BadUpstream, match=r"apc raises RuntimeError \(too many\) for 3 sounds at once.*a\.wav, b\.wav, c\.wav"):
        computed_or_named(compute, waves, audios, "apc")


def test_a_batch_that_fails_once_is_computed_a_second_time() -> None:
    calls: list[int] = []

    def compute(waves: Sequence[torch.Tensor], audios: Sequence[Audio]) -> list[torch.Tensor]:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("busy")
        return list(waves)

    (wave,) = computed_or_named(compute, [torch.ones(2)], [Audio(Path("a.wav"))], "apc")
    assert wave.tolist() == [1, 1]
