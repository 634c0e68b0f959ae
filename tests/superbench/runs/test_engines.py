"""Engines: however many workers of whatever kind there are, results are the same; a worker that dies costs nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from superbench import Corpora, plugins
from superbench.contract.items import audios_of
from superbench.errors import CommandError
from superbench.features.extraction import contribute, extract
from superbench.features.store import Store
from superbench.plugins.reference_outputs import confirm
from superbench.results import read_result
from superbench.runs.engines.crew import Dispatcher, Event, Unit
from superbench.runs.engines.nodes import HOMES, Homes
from superbench.runs.jobs import Ended, Job, NoWatcher
from superbench.runs.options import Options
from superbench.runs.report import Report
from superbench.runs.run_plan import RunPlan
from superbench.runs.runner import run
from superbench.runs.status import StatusWatcher, status
from superbench.system.devices import devices_of
from superbench.system.progress import Silence

SPEC = "fbank_no_cmvn"
LONG = 10_000.0


def go(data: Path, folder: Path, **more: Any) -> Report:
    options: dict[str, Any] = {"max_steps": 40, "store": folder / "store", **more}
    return run([SPEC, "fbank"], "ks", data=data, out=folder / "out", **options)


def essence(folder: Path) -> dict[str, Any]:
    """Results without clocks and dates, and the bytes of predictions, by upstream."""
    found = {}
    for path in sorted((folder / "out").glob("*/*/result.json")):
        result = read_result(path.parent).model_dump()
        for key in ("seconds", "efficiency", "certificate"):
            result.pop(key)
        result["environment"].pop("date")
        result["environment"].pop("outputs")
        found[path.parts[-3]] = result, (path.parent / "predictions.jsonl.gz").read_bytes()
    return found


@pytest.fixture(scope="module")
def alone(keyword_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one worker."""
    folder = tmp_path_factory.mktemp("alone")
    assert not go(keyword_corpora, folder, workers=1).of("failed", "absent")
    return folder


# ---------------------------------------------------------------- who does what


class Played:
    """A crew without processes: it records its units, and yields the events that a test gives it."""

    def __init__(self, size: int, retries: int = 0) -> None:
        self.size, self.retries = size, retries
        self.units: list[tuple[int, Unit]] = []
        self.coming: deque[tuple[int, Event]] = deque()
        self.absent: set[int] = set()
        self.places: list[str] = []
        self.closed = False

    def ready(self, number: int) -> bool:
        return number not in self.absent

    def place(self, number: int) -> str | None:
        return self.places[number] if self.places else None

    def assign(self, number: int, unit: Unit) -> None:
        self.units.append((number, unit))

    def events(self) -> Iterator[tuple[int, Event]]:
        yield self.coming.popleft()

    def close(self) -> None:
        self.closed = True


def plan(folder: Path) -> RunPlan:
    return RunPlan(
        data=folder, settings=None, out=folder / "out", store=folder / "store", budget=None, options=Options("mini"),
        lenient=False, devices=("cpu",), debug=False,
    )  # fmt: skip


def job(task: str) -> Job:
    return Job(plugins.parse(SPEC), task)


def ended(task: str) -> Event:
    return ("ended", Ended(job(task), "done", passed_seconds=5.0))


def test_a_worker_without_a_job_helps_where_most_is_missing_and_its_sound_counts(tmp_path: Path) -> None:
    crew = Played(3)
    crew.coming.extend(
        [
            (0, ("advance", job("ks"), "extract", 0.0, LONG)), (1, ("advance", job("sid"), "extract", 0.0, 2 * LONG)),
            (2, ("helped", job("sid"), 7.0)), (1, ended("sid")), (0, ended("ks")),
        ]
    )  # fmt: skip
    ends = list(Dispatcher([job("ks"), job("sid")], plan(tmp_path), crew, NoWatcher()).run())
    assert crew.units[:2] == [(0, Unit(job("ks"))), (1, Unit(job("sid")))]
    assert crew.units[2] == (2, Unit(job("ks"), helps=True))
    assert [(end.job.task, end.passed_seconds) for end in ends] == [("sid", 12.0), ("ks", 5.0)]
    assert crew.closed


def test_nobody_helps_with_little(tmp_path: Path) -> None:
    crew = Played(2)
    crew.coming.extend([(0, ("advance", job("ks"), "extract", 0.0, 100.0)), (0, ended("ks"))])
    list(Dispatcher([job("ks")], plan(tmp_path), crew, NoWatcher()).run())
    assert crew.units == [(0, Unit(job("ks")))]


@pytest.mark.parametrize(("retries", "state"), [(0, "failed"), (1, "done")])
def test_the_job_of_a_dead_worker_is_repeated_as_often_as_the_crew_allows(tmp_path: Path, retries: int, state: str) -> None:
    crew = Played(1, retries)
    crew.coming.extend([(0, ("died", "It was killed.")), (0, ended("ks"))])
    ends = list(Dispatcher([job("ks")], plan(tmp_path), crew, NoWatcher()).run())
    assert [end.state for end in ends] == [state]
    assert len(crew.units) == 1 + retries


def test_a_worker_that_is_not_ready_gets_nothing(tmp_path: Path) -> None:
    crew = Played(2)
    crew.absent = {0}
    crew.coming.append((1, ended("ks")))
    list(Dispatcher([job("ks")], plan(tmp_path), crew, NoWatcher()).run())
    assert crew.units == [(1, Unit(job("ks")))]


def test_a_job_whose_worker_dies_in_extraction_is_repeated_until_the_sound_is_known(tmp_path: Path) -> None:
    crew = Played(1)
    for _ in range(3):
        crew.coming.extend([(0, ("advance", job("ks"), "extract", 0.0, 100.0)), (0, ("died", "It died."))])
    crew.coming.append((0, ("ended", Ended(job("ks"), "failed", message="a.wav cannot be decoded"))))
    (end,) = Dispatcher([job("ks")], plan(tmp_path), crew, NoWatcher()).run()
    assert end.message == "a.wav cannot be decoded"
    assert len(crew.units) == 4


@pytest.mark.parametrize("size", [1, 2])
def test_a_worker_whose_gpu_failed_gets_no_more_jobs_unless_it_is_the_last(tmp_path: Path, size: int) -> None:
    crew = Played(size)
    crew.absent = {1}
    lost = (0, ("lost", "A GPU failed."))
    crew.coming.extend(
        [lost, (1, ended("ks")), (1, ended("sid"))] if size == 2 else [lost, (0, ended("ks")), (0, ended("sid"))]
    )
    dispatcher = Dispatcher([job("ks"), job("sid")], plan(tmp_path), crew, Appearing(crew))
    assert [end.state for end in dispatcher.run()] == ["done", "done"]
    assert {number for number, _ in crew.units[1:]} == {size - 1}


class Appearing(NoWatcher):
    """The second worker becomes ready when a remark comes."""

    def __init__(self, crew: Played) -> None:
        self.crew = crew

    def note(self, job: Job, text: str) -> None:
        self.crew.absent = set()


def test_with_a_store_on_each_node_jobs_of_the_same_features_go_to_one_node_also_after_a_restart(tmp_path: Path) -> None:
    crew, homes = Played(2), tmp_path / "nodes.json"
    crew.places = ["a", "b"]
    crew.coming.extend([(0, ended("pr")), (1, ended("ks")), (0, ended("asr"))])
    list(Dispatcher([job("pr"), job("asr"), job("ks")], plan(tmp_path), crew, NoWatcher(), Homes(homes)).run())
    assert [(number, unit.job.task) for number, unit in crew.units] == [(0, "pr"), (1, "ks"), (0, "asr")]
    again = Played(2)
    again.places = ["b", "a"]
    again.coming.extend([(0, ended("ks")), (1, ended("pr"))])
    list(Dispatcher([job("pr"), job("ks")], plan(tmp_path), again, NoWatcher(), Homes(homes)).run())
    assert [(number, unit.job.task) for number, unit in again.units] == [(0, "ks"), (1, "pr")]
    alone = Played(1)  # the node with the features of pr is gone
    alone.places = ["c"]
    alone.coming.append((0, ended("pr")))
    assert len(list(Dispatcher([job("pr")], plan(tmp_path), alone, NoWatcher(), Homes(homes)).run())) == 1


def test_the_last_job_of_an_own_model_runs_once(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Mine:\n    pass\n")
    own = plugins.parse(f"{tmp_path / 'mine.py'}:Mine")
    jobs = [Job(own, task) for task in ("ks", "ic", "sid")]
    crew = Played(1)
    crew.coming.extend((0, ("ended", Ended(one, "done"))) for one in jobs)
    ends = list(Dispatcher(list(jobs), plan(tmp_path), crew, NoWatcher()).run())
    assert [end.job for end in ends] == jobs
    assert crew.units == [(0, Unit(one)) for one in jobs]


# ---------------------------------------------------------------- help with extraction


def test_help_stores_what_the_job_would_have_stored(keyword_corpora: Path, tmp_path: Path) -> None:
    upstream, task = plugins.upstream(plugins.parse(SPEC), "cpu"), plugins.task("ks")
    audios = audios_of(task.read(Corpora.at(keyword_corpora)))
    with Store(tmp_path / "alone") as store:
        own = extract(upstream, audios, "mean", store, "cpu", Silence())
        expected = [own[audio] for audio in audios]
    with Store(tmp_path / "helped") as helper, Store(tmp_path / "helped") as store:
        helped = replace_outputs(upstream, tmp_path / "helped")
        seconds = contribute(helped, audios, "mean", helper, "cpu")
        shared = extract(helped, audios, "mean", store, "cpu", Silence())
        assert seconds == pytest.approx(own.statistics.passed_seconds)
        assert shared.statistics.passed_seconds == 0.0
        assert all(torch.equal(shared[audio], value) for audio, value in zip(audios, expected, strict=True))


def replace_outputs(upstream: plugins.Loaded, root: Path) -> plugins.Loaded:
    outputs, _ = confirm(upstream, "cpu", root / "outputs")
    return replace(upstream, outputs=outputs)


# ---------------------------------------------------------------- engines


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 4])
def test_processes(keyword_corpora: Path, alone: Path, tmp_path: Path, workers: int) -> None:
    go(keyword_corpora, tmp_path, workers=workers)
    assert essence(tmp_path) == essence(alone)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit leaves the logs of `debug` open
@pytest.mark.parametrize("cluster", ["local", "debug"])
def test_slurm(keyword_corpora: Path, alone: Path, tmp_path: Path, cluster: str) -> None:
    pytest.importorskip("submitit")
    report = go(keyword_corpora, tmp_path, engine="slurm", slurm=f"cluster={cluster},timeout_min=10")
    assert [end.state for end in report.ended] == ["done", "done"]
    assert essence(tmp_path) == essence(alone)


@pytest.fixture
def prompt_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Actors that run beside other tests as fast as these: Ray gives its processes a low priority."""
    monkeypatch.setenv("RAY_worker_niceness", "0")


@pytest.fixture
def cluster(prompt_actors: None) -> Iterator[Any]:
    """A Ray cluster of two nodes with two CPUs each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    nodes.add_node(num_cpus=2)
    nodes.wait_for_nodes()
    yield nodes
    nodes.shutdown()


@pytest.mark.slow
def test_ray(keyword_corpora: Path, alone: Path, tmp_path: Path, cluster: Any) -> None:
    report = go(keyword_corpora, tmp_path, engine="ray", address=cluster.address)
    assert [end.state for end in report.ended] == ["done", "done"]
    assert essence(tmp_path) == essence(alone)


class Killing(NoWatcher):
    """Kills the process of the first job that trains, once."""

    def __init__(self) -> None:
        self.killed: list[int] = []
        self.notes: list[str] = []

    def note(self, job: Job, text: str) -> None:
        self.notes.append(text)

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        if not self.killed:
            names = {int(path.name): (path / "cmdline").read_bytes() for path in Path("/proc").glob("[0-9]*")}
            self.killed = [number for number, name in names.items() if name.startswith(b"ray::Actor")][:1]
            for number in self.killed:
                os.kill(number, signal.SIGKILL)


@pytest.mark.slow
def test_ray_goes_on_after_the_death_of_an_actor(keyword_corpora: Path, alone: Path, tmp_path: Path, cluster: Any) -> None:
    watcher = Killing()
    report = go(keyword_corpora, tmp_path, engine="ray", address=cluster.address, workers=2, watcher=watcher)
    assert watcher.killed
    assert [end.state for end in report.ended] == ["done", "done"]
    assert essence(tmp_path) == essence(alone)


class Removing(NoWatcher):
    """Kills a node without warning as soon as a job advances, once."""

    def __init__(self, cluster: Any) -> None:
        self.cluster, self.removed = cluster, False

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        if not self.removed:
            self.removed = True
            (node,) = self.cluster.worker_nodes
            self.cluster.remove_node(node, allow_graceful=False)


@pytest.mark.slow
def test_ray_goes_on_after_the_death_of_a_node(keyword_corpora: Path, alone: Path, tmp_path: Path, cluster: Any) -> None:
    watcher = Removing(cluster)
    report = go(keyword_corpora, tmp_path, engine="ray", address=cluster.address, workers=2, watcher=watcher)
    assert watcher.removed
    assert [end.state for end in report.ended] == ["done", "done"]
    assert essence(tmp_path) == essence(alone)


def command(data: Path, folder: Path, *more: str) -> list[str]:
    """The command line of `go`."""
    places = ["--data", str(data), "--out", str(folder / "out"), "--store", str(folder / "store")]
    return ["run", SPEC, "fbank", "--tasks", "ks", *places, "--max-steps", "40", *more]


@pytest.mark.slow
def test_ray_goes_on_where_a_killed_command_stopped(
    call: Any, keyword_corpora: Path, alone: Path, tmp_path: Path, cluster: Any
) -> None:
    process = call.start(*command(keyword_corpora, tmp_path, "--engine", "ray", "--address", cluster.address)).process
    until = time.monotonic() + 600
    while not list((tmp_path / "store").glob("shards/*/*.safetensors")):
        assert process.exitcode is None, "the run ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    report = go(keyword_corpora, tmp_path, engine="ray", address=cluster.address)
    assert {end.state for end in report.ended} <= {"done", "found"}
    assert essence(tmp_path) == essence(alone)


@pytest.mark.slow
@pytest.mark.usefixtures("prompt_actors")
def test_ray_without_a_shared_file_system(keyword_corpora: Path, alone: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    def node(name: str) -> dict[str, Any]:
        return {"num_cpus": 1, "include_dashboard": False, "env_vars": {"XDG_CACHE_HOME": str(tmp_path / name)}}

    nodes = Cluster(initialize_head=True, head_node_args=node("a"))
    try:
        nodes.add_node(**node("b"))
        nodes.wait_for_nodes()
        for state in ("done", "found"):
            report = go(keyword_corpora, tmp_path, engine="ray", address=nodes.address, store=None, store_per_node=True)
            assert [end.state for end in report.ended] == [state, state]
        assert essence(tmp_path) == essence(alone)
        places = json.loads((tmp_path / "out" / HOMES).read_text())
        assert {place.partition(":")[2] for place in places.values()} == {f"{tmp_path}/{name}/superbench" for name in "ab"}
        shards = [len(list((tmp_path / name).rglob("shards/*/*.safetensors"))) for name in "ab"]
        assert shards[0] == shards[1] > 0
    finally:
        nodes.shutdown()


class Preempting(NoWatcher):
    """Sends the signal of a preemption to the task of the first job as soon as it has saved a state of its training."""

    def __init__(self, out: Path) -> None:
        self.out, self.sent = out, threading.Event()
        self.thread = threading.Thread(target=self._preempt, daemon=True)

    def started(self, job: Job) -> None:
        if not self.thread.ident:
            self.thread.start()

    def _preempt(self) -> None:
        while not self.sent.is_set():
            time.sleep(0.01)
            for state in sorted(self.out.glob("*/ks/work/*.safetensors"))[:1]:
                self._signal(state.parents[1] / ".lock")

    def _signal(self, lock: Path) -> None:
        """Sends the signal to the process that holds the lock of a job."""
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if not self.sent.is_set() and any(file.readlink() == lock for file in (path / "fd").iterdir()):
                    os.kill(int(path.name), signal.SIGUSR2)
                    self.sent.set()


@pytest.mark.slow
def test_a_preempted_task_of_slurm_is_queued_again_and_goes_on(keyword_corpora: Path, alone: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    watcher = Preempting(tmp_path / "out")
    report = go(keyword_corpora, tmp_path, engine="slurm", slurm="cluster=local", watcher=watcher)
    assert watcher.sent.is_set()
    logs = "".join(path.read_text() for path in (tmp_path / "out/.slurm").glob("*_log.*"))
    assert "Requeued job" in logs
    assert [end.state for end in report.ended] == ["done", "done"]
    assert essence(tmp_path) == essence(alone)


@pytest.mark.slow
def test_a_detached_run_returns_at_once_and_its_status_tells_when_it_has_ended(
    keyword_corpora: Path, alone: Path, tmp_path: Path
) -> None:
    pytest.importorskip("submitit")
    report = go(keyword_corpora, tmp_path, engine="slurm", slurm="cluster=local", detach=True)
    assert report.ended == []
    until = time.monotonic() + 600
    while (found := status(tmp_path / "out"))[0].alive(time.time()):
        assert time.monotonic() < until
        assert len(found) == 1
        time.sleep(0.5)
    assert {entry.state for entry in found[0].jobs} == {"done"}
    assert essence(tmp_path) == essence(alone)
    assert len((tmp_path / "out/ledger.jsonl").read_text().splitlines()) == 2


def test_who_reads_the_output_of_a_detached_run_does_not_wait_for_its_tasks(keyword_corpora: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    places = ["--data", str(keyword_corpora), "--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    command = [sys.executable, "-m", "superbench", "run", "fbank", "--tasks", "ks", "--max-steps", "2", *places]
    subprocess.run([*command, "--engine", "slurm", "--slurm", "cluster=local", "--detach"], check=True, stdout=subprocess.PIPE)
    assert "done" not in [job.state for job in status(tmp_path / "out")[0].jobs]
    until = time.monotonic() + 600
    while status(tmp_path / "out")[0].alive(time.time()):
        assert time.monotonic() < until
        time.sleep(0.5)


def test_a_run_that_was_stopped_does_not_say_that_its_jobs_run(tmp_path: Path) -> None:
    watcher, job = StatusWatcher(NoWatcher(), tmp_path, "local"), Job(plugins.parse("fbank"), "ks")
    watcher.planned({job: 1.0})
    watcher.started(job)
    watcher.close()
    assert [entry.state for entry in status(tmp_path)[0].jobs] == ["stopped"]


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "dask"}, "local, ray, slurm"), ({"address": "h:1"}, "belongs to --engine ray"),
        ({"store_per_node": True}, "--store-per-node belongs to --engine ray"),
        ({"engine": "slurm", "slurm": "cluster=debug", "detach": True}, "--detach: the tasks of cluster=debug"),
        ({"slurm": "time=2"}, "belongs to --engine slurm"), ({"engine": "slurm", "slurm": "time"}, "NAME=VALUE"),
        ({"engine": "slurm", "slurm": "cluster=k8s"}, "slurm, local, debug"), ({"device": "cuda:9"}, "CUDA"),
        ({"device": "tpu"}, "expected auto, cpu, cuda"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_refused_before_any_work(
    keyword_corpora: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        go(keyword_corpora, tmp_path, **options)
    assert not (tmp_path / "out").exists()


def test_slurm_without_sbatch_says_what_is_missing(keyword_corpora: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(CommandError, match="sbatch"):
        go(keyword_corpora, tmp_path, engine="slurm", slurm="partition=gpu")


def test_no_cluster_at_the_address(keyword_corpora: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(CommandError, match="no Ray cluster answers"):
        go(keyword_corpora, tmp_path, engine="ray", address="127.0.0.1:1")


# ---------------------------------------------------------------- devices and status


def test_gpus_are_counted_chosen_and_missed_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert devices_of("cuda") == devices_of("auto") == ("cuda:0", "cuda:1", "cuda:2", "cuda:3")
    assert devices_of("cuda:3,cuda:0") == ("cuda:3", "cuda:0")
    assert devices_of("cpu") == ("cpu",)
    with pytest.raises(CommandError, match=r"no cuda:9 on this machine\. It has cuda:0"):
        devices_of("cuda:9")
    with pytest.raises(CommandError, match="twice"):
        devices_of("cuda:1,cuda:1")


def test_the_status_tells_what_ran_and_how_it_ended(alone: Path) -> None:
    (found,) = status(alone / "out")
    assert found.over
    assert found.engine == "local"
    assert {entry.upstream: entry.state for entry in found.jobs} == {SPEC: "done", "fbank": "done"}
    assert all(entry.score.startswith("accuracy") for entry in found.jobs)
    assert not found.alive(found.updated)
    with pytest.raises(CommandError, match="no status"):
        status(alone)
    assert json.loads(next((alone / "out/.status").glob("*.json")).read_text())["engine"] == "local"
