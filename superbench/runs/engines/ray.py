"""The engine `ray`: an actor on every GPU, or on every CPU slot, of a Ray cluster whose machines share the corpora, results and
store.

Actors are workers like those of the engine `local`: they take jobs, and help with extraction shard by shard. They write results
and features to the shared file system; only events come back. If an actor or its node dies, its job is repeated by another one,
and continues where it stopped. https://docs.ray.io/en/latest/ray-core/actors.html
"""

from __future__ import annotations

import contextlib
import logging
import platform
import queue
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from superbench.__version__ import __version__
from superbench.errors import CommandError, SuperbenchError
from superbench.plugins import Spec, is_built_in
from superbench.runs.engines.crew import Dispatcher, Event, Unit, work
from superbench.runs.jobs import Ended, Job, RunPlan, Watcher
from superbench.runs.worker import Worker
from superbench.system.installation import versions

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
    ray = connected(address)
    try:
        crew = Actors(ray, plan.absolute(), count or slots(ray, plan.options.device))
        crew.require_same_nodes()
        yield from Dispatcher(list(jobs), plan, crew, watcher).run()
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


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about an actor: its node, its versions, and which folders it does not see as the driver does."""

    node: str
    versions: Mapping[str, str]
    unseen: tuple[str, ...]


def facts(plan: RunPlan, token: str) -> Facts:
    """Returns the facts of this process; `token` is in a file of its name in OUT and in the store."""
    folders = {"--out": plan.out, "--store": plan.store}
    unseen = [f"{option} {folder}" for option, folder in folders.items() if not (folder / token).is_file()]
    unseen += [] if plan.data.is_dir() else [f"--data {plan.data}"]
    return Facts(platform.node(), versions() | {"superbench": __version__}, tuple(unseen))


class Actor:
    """A worker in a process of Ray. One thread does the units, because the store's index belongs to a thread."""

    def __init__(self, plan: RunPlan, token: str) -> None:
        self.plan, self.token = plan, token
        self.sent: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.units: queue.SimpleQueue[Unit] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def facts(self) -> Facts:
        """Returns the facts that must be the same on every node."""
        return facts(self.plan, self.token)

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
        """Does the units that arrive."""
        import torch

        torch.set_num_threads(self.plan.threads)
        work(Worker(self.plan), iter(self.units.get, None), lambda *event: self.sent.put(event))


@dataclass(slots=True)
class _Member:
    """An actor, the call for its events that is not answered yet, whether it has work, and the user's model it has loaded."""

    actor: Any
    pending: Any
    ready: bool = False
    busy: bool = False
    own: Spec | None = None


@dataclass(slots=True)
class Actors:
    """A `Crew` of Ray actors."""

    ray: Any
    plan: RunPlan
    size: int
    retries: int = RETRIES
    token: str = field(default_factory=lambda: f".node-{secrets.token_hex(8)}")
    _members: dict[int, _Member] = field(default_factory=dict)
    _idle_since: float | None = None

    def require_same_nodes(self) -> None:
        """Starts the actors; raises `CommandError` that names a node which lacks a folder or has other versions."""
        files = [self.plan.out / self.token, self.plan.store / self.token]
        try:
            for file in files:
                file.touch()
            own = facts(self.plan, self.token)
            self._members = {number: self._start() for number in range(self.size)}
            for member in self._members.values():
                _require_same(own, self.ray.get(member.actor.facts.remote(), timeout=PATIENCE))
                member.ready = True
        except self.ray.exceptions.GetTimeoutError as error:
            raise CommandError(
                f"--workers {self.size}: Ray has not started these actors within {PATIENCE:.0f} s. Give fewer, or add nodes."
            ) from error
        finally:
            for file in files:
                file.unlink(missing_ok=True)

    def _start(self) -> _Member:
        resources = self.ray.cluster_resources()
        gpu = self.plan.options.device == "cuda"
        share = min(1.0, max(resources.get("GPU" if gpu else "CPU", 1.0) / self.size, 0.01))
        options = {"num_gpus": share, "num_cpus": 0} if gpu else {"num_cpus": share}
        remote = self.ray.remote(Actor).options(
            max_restarts=RESTARTS, max_task_retries=RETRIES, max_concurrency=2, scheduling_strategy="SPREAD", **options
        )
        actor = remote.remote(self.plan, self.token)
        return _Member(actor, _events_of(actor))

    def _replace(self, number: int) -> _Member:
        """Ends an actor, and starts another one in its place."""
        self.ray.kill(self._members[number].actor)
        self._members[number] = self._start()
        return self._members[number]

    def ready(self, number: int) -> bool:
        """Returns whether the actor has answered since it was started."""
        return self._members[number].ready

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
        except self.ray.exceptions.RayActorError as error:
            if member.busy:
                yield number, ("died", f"The actor of this job ended ({_reason(error)}).")
            self._replace(number)
            return
        member.ready, member.pending = True, _events_of(member.actor)
        for event in events:
            if event[0] in ("ended", "helped", "lost"):
                member.busy = False
            if event[0] == "lost":
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


def _require_same(own: Facts, other: Facts) -> None:
    """Raises `CommandError` if a node lacks a folder, or has versions that differ from those of the driver."""
    if other.unseen:
        raise CommandError(
            f"The node {other.node} does not see {other.unseen[0]} as this machine does. Mount the same folder there, or give "
            "another folder that all nodes share."
        )
    differing = [name for name in own.versions if own.versions[name] != other.versions.get(name)]
    if differing:
        name = differing[0]
        raise CommandError(
            f"The node {other.node} has {name} {other.versions.get(name)}, this machine has {own.versions[name]}: features and "
            "scores would depend on the machine. Install the same versions on all nodes."
        )
