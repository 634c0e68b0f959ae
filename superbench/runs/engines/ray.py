"""The engine `ray`: an actor on every GPU, or on every CPU slot, of a Ray cluster whose machines share the corpora, results and
store.

Actors are workers like those of the engine `local`: they take jobs, and help with extraction shard by shard. They write results
and features to the shared file system; only events come back. Without one, each node has its own store (see `nodes`). If an
actor or its node dies, its job is repeated by another one, and continues where it stopped. https://docs.ray.io/en/latest/ray-core/actors.html
"""

from __future__ import annotations

import contextlib
import logging
import platform
import queue
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from superbench.errors import CommandError, SuperbenchError
from superbench.plugins import Spec, is_built_in
from superbench.runs.engines.crew import Dispatcher, Event, Unit, work
from superbench.runs.engines.nodes import (
    HOMES,
    RESULT,
    Facts,
    Homes,
    Shared,
    facts,
    files_of,
    node_plan,
    put_files,
    require_same,
    shared_by,
)
from superbench.runs.jobs import Ended, Job, Watcher
from superbench.runs.run_plan import RunPlan
from superbench.runs.worker import Worker

RESTARTS, RETRIES = 3, 1
"""How often Ray starts an actor again, and how often a job whose actor died is repeated."""
PATIENCE = 300.0
"""Seconds to wait for an actor while none is left."""
POLL_SECONDS = 1.0


def ray_engine(jobs: Sequence[Job], plan: RunPlan, count: int | None, address: str | None, watcher: Watcher) -> Iterator[Ended]:
    """Runs jobs on `count` actors of the cluster at `address`, by default one for each GPU or CPU, and yields their ends.

    Without `address`, a cluster of this machine is started. Raises `CommandError` if there is no cluster, or if a node lacks
    the folders or has other versions.
    """
    watcher.note(jobs[0], f"connecting to Ray at {address}" if address else "starting Ray on this machine, which takes a while")
    ray = connected(address)
    try:
        size, nodes = count or slots(ray, plan.options.device), sum(node["Alive"] for node in ray.nodes())
        plan = replace(plan.absolute(), beside=-(-size // max(nodes, 1)))
        crew = Actors(ray, plan, size)
        crew.require_same_nodes()
        homes = Homes(None if plan.node_store is None else plan.out / HOMES)
        yield from Dispatcher(list(jobs), plan, crew, watcher, homes=homes).run()
    finally:
        ray.shutdown()


def connected(address: str | None) -> Any:
    """Returns the module `ray`, connected to a cluster; raises `CommandError`."""
    try:
        import ray
    except ImportError as error:
        raise CommandError("--engine ray needs Ray: pip install 'speech-superbench[ray]'") from error
    try:
        _require_answer(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise CommandError(
            f"--address {address}: no Ray cluster answers there ({reason}). Start one with `ray start --head --port 6379`, add "
            "other machines with `ray start --address HOST:6379`, and give --address HOST:6379."
        ) from error
    return ray


def _require_answer(address: str | None) -> None:
    """Raises `OSError` if nothing listens at `HOST:PORT`: Ray would wait for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def slots(ray: Any, device: str) -> int:
    """Returns the number of GPUs or CPUs of the cluster; raises `CommandError` if there is none."""
    resource = "GPU" if device == "cuda" else "CPU"
    count = int(ray.cluster_resources().get(resource, 0))
    if not count:
        raise CommandError(f"--device {device}: the Ray cluster has no {resource}. Add nodes that have one.")
    return count


class Actor:
    """A worker in a process of Ray. One thread does the units, because the store's index belongs to a thread."""

    def __init__(self, plan: RunPlan, shared: Shared) -> None:
        self.plan, self.own = plan, node_plan(plan)
        self.here = facts(plan, shared)
        self.sent: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.units: queue.SimpleQueue[Unit] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def facts(self) -> Facts:
        """Returns the facts that must be the same on every node."""
        return self.here

    def send(self, unit: Unit) -> None:
        """Receives a unit."""
        self.units.put(unit)

    def events(self) -> list[Event]:
        """Returns the events since the last call; waits about a second for the first."""
        events: list[Event] = []
        with contextlib.suppress(queue.Empty):
            events.append(self.sent.get(timeout=POLL_SECONDS))
            while True:
                events.append(self.sent.get_nowait())
        return events

    def _work(self) -> None:
        """Does the units that arrive. If this is impossible, for example on a full disk, the message says so."""
        import torch

        torch.set_num_threads(self.plan.threads)
        units = self._received()
        first = next(units)
        try:
            work(Worker(self.own), chain([first], units), self._tell)
        except Exception as error:
            self.sent.put(("died", f"A worker on {platform.node()} failed: {error}"))

    def _received(self) -> Iterator[Unit]:
        """Yields the units that arrive; writes files of results that come with them."""
        for unit in iter(self.units.get, None):
            if unit.files and RESULT not in files_of(self.own, unit.job):
                put_files(self.own, unit.job, unit.files)
            yield unit

    def _tell(self, name: str, *content: Any) -> None:
        """Sends an event. The end of a job is preceded by the files of its result, if the node has its own store."""
        if name == "ended":
            (ended,) = content
            if self.plan.node_store is not None:
                self.sent.put(("files", ended.job, files_of(self.own, ended.job)))
            if ended.state == "failed":
                content = (replace(ended, message=f"On {platform.node()}: {ended.message}"),)
        self.sent.put((name, *content))


@dataclass(slots=True)
class _Member:
    """An actor, the calls for its facts and its events that are not answered yet, the place of its store (empty before it has
    answered), whether it has work, and the user's model it has loaded."""

    actor: Any
    facts: Any
    pending: Any
    place: str = ""
    busy: bool = False
    own: Spec | None = None


@dataclass(slots=True)
class Actors:
    """A `Crew` of Ray actors."""

    ray: Any
    plan: RunPlan
    size: int
    retries: int = RETRIES
    _shared: Shared = field(init=False)
    _members: dict[int, _Member] = field(default_factory=dict)
    _idle_since: float | None = None

    def __post_init__(self) -> None:
        self._shared = shared_by(self.plan)

    def require_same_nodes(self) -> None:
        """Starts the actors; raises `CommandError` that names a node which lacks a folder or has other versions."""
        try:
            self._members = {number: self._start() for number in range(self.size)}
            for member in self._members.values():
                self._welcome(member, self.ray.get(member.facts, timeout=PATIENCE))
        except self.ray.exceptions.GetTimeoutError as error:
            raise CommandError(
                f"--workers {self.size}: Ray has not started these actors within {PATIENCE:.0f} s. Give fewer, or add nodes."
            ) from error

    def _welcome(self, member: _Member, found: Facts) -> None:
        """Checks the facts of an actor, also of one that takes the place of another one."""
        require_same(facts(self.plan, self._shared), found)
        member.place = found.place

    def _start(self) -> _Member:
        resources = self.ray.cluster_resources()
        gpu = self.plan.options.device == "cuda"
        share = min(1.0, max(resources.get("GPU" if gpu else "CPU", 1.0) / self.size, 0.01))
        options = {"num_gpus": share, "num_cpus": 0} if gpu else {"num_cpus": share}
        remote = self.ray.remote(Actor).options(
            max_restarts=RESTARTS, max_task_retries=RETRIES, max_concurrency=2, scheduling_strategy="SPREAD", **options
        )
        actor = remote.remote(self.plan, self._shared)
        return _Member(actor, actor.facts.remote(), _events_of(actor))

    def _replace(self, number: int) -> _Member:
        """Ends an actor, and starts another one in its place."""
        self.ray.kill(self._members[number].actor)
        self._members[number] = self._start()
        return self._members[number]

    def ready(self, number: int) -> bool:
        """Returns whether the actor has answered since it was started."""
        return bool(self._members[number].place)

    def place(self, number: int) -> str | None:
        """Returns where an actor has its features; None if all share them."""
        return None if self.plan.node_store is None else self._members[number].place

    def assign(self, number: int, unit: Unit) -> None:
        """Sends a unit to an actor; an actor that has loaded other code than that of the job's model is replaced."""
        member, own = self._members[number], None if is_built_in(unit.job.spec) else unit.job.spec
        if member.own not in (None, own):
            member = self._replace(number)
        member.busy, member.own = True, own
        member.actor.send.remote(unit)

    def events(self) -> Iterator[tuple[int, Event]]:
        """Yields what arrived within about a second; raises `SuperbenchError` if all actors were lost for `PATIENCE`."""
        pending = {member.pending: number for number, member in self._members.items()}
        answered, _ = self.ray.wait(list(pending), num_returns=1, timeout=POLL_SECONDS)
        self._require_some(bool(answered))
        for reference in answered:
            yield from self._answer(pending[reference])

    def _answer(self, number: int) -> Iterator[tuple[int, Event]]:
        """Yields the events of an actor's answer, or its death."""
        member = self._members[number]
        try:
            events = self.ray.get(member.pending)
            if not member.place:
                self._welcome(member, self.ray.get(member.facts))
        except (self.ray.exceptions.RayActorError, self.ray.exceptions.ObjectLostError) as error:  # or its node with the answer
            if member.busy:
                yield number, ("died", f"The actor of this job ended ({_reason(error)}).")
            self._replace(number)
            return
        member.pending = _events_of(member.actor)
        for event in events:
            if event[0] == "files":
                put_files(self.plan, *event[1:])
                continue
            if event[0] in ("ended", "helped", "lost", "died"):
                member.busy = False
            if event[0] in ("lost", "died"):
                self._replace(number)
            yield number, event

    def _require_some(self, answered: bool) -> None:
        now = time.monotonic()
        self._idle_since = None if answered else self._idle_since or now
        if self._idle_since is not None and now - self._idle_since > PATIENCE:
            raise SuperbenchError(
                f"No actor of the Ray cluster has answered for {PATIENCE:.0f} s. Check `ray status`, and run the same command "
                "again: it continues from here."
            )

    def close(self) -> None:
        """Ends all actors."""
        for member in self._members.values():
            self.ray.kill(member.actor)


def _events_of(actor: Any) -> Any:
    """Asks an actor for events. The call is not repeated by Ray, so that the death of the actor is noticed."""
    return actor.events.options(max_task_retries=0).remote()


def _reason(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
