"""Assigns the units of work of a run to workers, whatever started them, and receives their events.

A unit is a job, or help: a worker without a job computes stored features for a job that still extracts many. The shard of the
store is the unit of extraction, and its list and batches depend only on content, so the number of workers changes no result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from superbench import plugins
from superbench.errors import LostDevice
from superbench.features.attempts import DEATHS
from superbench.features.sharding import SHARD_SECONDS
from superbench.plugins import Spec
from superbench.runs.engines.nodes import Homes, files_of
from superbench.runs.jobs import Ended, Job, Watcher
from superbench.runs.run_plan import RunPlan, taken
from superbench.runs.worker import Worker, failed

WORTH_HELP = 2
"""A worker helps with the extraction of a job while at least so many shards are missing."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of work: a job, or help with the extraction of a job on which another worker works. `files`: of the job's result,
    by name, for a worker that does not see OUT."""

    job: Job
    helps: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)


Event = tuple[Any, ...]
"""The name of an event and its content.

The names are those of the methods of `Watcher`, and `helped` (job, seconds of sound), `died` (message), and `lost` (message):
the worker's GPU failed, and its process has ended.
"""


class EventSender:
    """A `Watcher` in a worker that sends each event to the process that assigns the units."""

    def __init__(self, send: Callable[..., None]) -> None:
        self.send = send

    def planned(self, shares: Mapping[Job, float]) -> None:
        """Does nothing: the process that assigns the units made the plan."""

    def started(self, job: Job) -> None:
        """Sends the start of a job."""
        self.send("started", job)

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        """Sends how far a job is."""
        self.send("advance", job, stage, done, total)

    def note(self, job: Job, text: str) -> None:
        """Sends a remark."""
        self.send("note", job, text)

    def ended(self, ended: Ended) -> None:
        """Sends the end of a job."""
        self.send("ended", ended)


def work(worker: Worker, units: Iterable[Unit], send: Callable[..., None]) -> None:
    """Does the units as they arrive, and sends the events of each; returns when the GPU of this process has failed."""
    watcher = EventSender(send)
    try:
        for unit in units:
            if unit.helps:
                send("helped", unit.job, worker.help(unit.job))
            else:
                watcher.started(unit.job)
                watcher.ended(worker.do(unit.job, watcher))
    except LostDevice as error:
        send("lost", str(error))


class Crew(Protocol):
    """The workers of a run, numbered from 0. `retries`: how often a job is repeated after its worker died."""

    size: int
    retries: int

    def ready(self, number: int) -> bool:
        """Returns whether a worker can receive a unit now."""

    def place(self, number: int) -> str | None:
        """Returns where a worker has its stored features; None if all workers share them."""

    def assign(self, number: int, unit: Unit) -> None:
        """Sends a unit to a worker without work; a worker that cannot do it, because it died or has loaded a user's other
        model, is replaced first."""

    def events(self) -> Iterator[tuple[int, Event]]:
        """Waits about a second at most, and yields the number of a worker and an event for each that arrived."""

    def close(self) -> None:
        """Ends the workers."""


@dataclass(slots=True)
class Dispatcher:
    """The state of a run: jobs that wait, the unit of each worker, and what each job that runs has still to extract."""

    waiting: list[Job]
    plan: RunPlan
    crew: Crew
    watcher: Watcher
    homes: Homes = field(default_factory=Homes)
    units: dict[int, Unit] = field(default_factory=dict)
    own: dict[int, Spec | None] = field(default_factory=dict)
    missing: dict[Job, float] = field(default_factory=dict)
    helped: dict[Job, float] = field(default_factory=dict)
    refused: set[tuple[int, Job]] = field(default_factory=set)
    deaths: dict[Job, int] = field(default_factory=dict)
    retired: set[int] = field(default_factory=set)

    def run(self) -> Iterator[Ended]:
        """Runs all jobs, and yields their ends."""
        try:
            self._assign_all()
            while self.waiting or any(not unit.helps for unit in self.units.values()):
                for number, (event, *content) in self.crew.events():
                    yield from self._receive(number, event, content)
                self._assign_all()
        finally:
            self.crew.close()

    def _assign_all(self) -> None:
        """Gives a unit to every worker that has none, as far as there are any."""
        for number in range(self.crew.size):
            if number not in self.units.keys() | self.retired and self.crew.ready(number) and (unit := self._next(number)):
                self.units[number] = unit
                self.own[number] = None if plugins.is_built_in(unit.job.spec) else unit.job.spec
                self.crew.assign(number, unit)

    def _next(self, number: int) -> Unit | None:
        """Returns the next unit of a worker: first a job of the user's model that it has loaded, then any job; then help."""
        place = self.crew.place(number)
        if able := [job for job in self.waiting if self.homes.may(job, place, self._lives)]:
            same_model = [job for job in able if job.spec == self.own.get(number)]
            job = taken(same_model or able, self.plan)
            self.waiting.remove(job)
            self.homes.settle(job, place)
            return Unit(job, files={} if place is None else files_of(self.plan, job))
        least = WORTH_HELP * SHARD_SECONDS[self.plan.options.device]
        jobs = [job for job, seconds in self.missing.items() if seconds >= least and (number, job) not in self.refused]
        jobs = [job for job in jobs if self.homes.of(job) in (None, place)]
        return Unit(max(jobs, key=lambda job: self.missing[job]), helps=True) if jobs else None

    def _lives(self, place: str) -> bool:
        """Returns whether a worker has its features at `place`."""
        return any(self.crew.place(number) == place for number in set(range(self.crew.size)) - self.retired)

    def _receive(self, number: int, event: str, content: Sequence[Any]) -> Iterator[Ended]:
        """Handles an event of a worker; yields the end of a job."""
        if event == "ended":
            yield self._ended(number, content[0])
        elif event == "helped":
            job, seconds = content
            self._release(number)
            self.helped[job] = self.helped.get(job, 0.0) + seconds
        elif event in ("died", "lost"):
            if event == "lost" and self.crew.size > len(self.retired) + 1:
                self.retired.add(number)  # workers on other GPUs do the rest
            yield from self._died(number, content[0], lost=event == "lost")
        else:
            if event == "advance":
                job, stage, done, total = content
                self.missing[job] = total - done if stage == "extract" else 0.0
            getattr(self.watcher, event)(*content)

    def _ended(self, number: int, ended: Ended) -> Ended:
        self.units.pop(number)
        self.missing.pop(ended.job, None)
        return replace(ended, passed_seconds=ended.passed_seconds + self.helped.pop(ended.job, 0.0))

    def _release(self, number: int) -> None:
        """Frees a worker that has helped; it does not help with this job again."""
        self.refused.add((number, self.units.pop(number).job))

    def _died(self, number: int, message: str, lost: bool = False) -> Iterator[Ended]:
        """Handles the death of a worker: its help is lost; its job is repeated as often as the crew allows, or fails.

        If the worker died during extraction, the job is repeated until the sound is known at which workers die (see
        `features.attempts`). If its GPU failed, the job is repeated once.
        """
        unit = self.units[number]
        if unit.helps:
            self._release(number)
            return
        deaths = self.deaths[unit.job] = self.deaths.get(unit.job, 0) + 1
        searches = DEATHS + 1 if self.missing.get(unit.job) and not lost else 0
        if deaths <= max(self.crew.retries, searches, int(lost)):
            cause = message.partition(". ")[0].rstrip(".")
            self.watcher.note(unit.job, f"{cause}. The job is repeated; it continues where it stopped")
            self.units.pop(number)
            self.missing.pop(unit.job, None)
            self.waiting.insert(0, unit.job)
            return
        yield self._ended(number, failed(unit.job, self.plan, "WorkerDied", message))
