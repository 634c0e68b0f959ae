"""Durations of finished jobs, kept in the store, so that a later run can tell from its start how long its jobs will take."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from superbench.errors import StoreError
from superbench.runs.jobs import Job
from superbench.runs.options import Options
from superbench.runs.pace import Work, kind_of
from superbench.system.files import read_facts, write_facts
from superbench.system.locks import locked

FILE = "durations.json"
"""File name in the folder of the store."""
KEPT = 5
"""So many last durations are kept of each task on each kind of upstream."""
COMPARABLE = 10.0
"""Jobs whose shares differ by more than this factor say nothing of each other: the time of short jobs is mostly overhead."""


@dataclass(frozen=True, slots=True)
class Duration:
    """One finished job: its share of the work, and the seconds that it took."""

    task: str
    kind: str
    share: float
    seconds: float


@dataclass(frozen=True, slots=True)
class History:
    """The durations in the store at `root` of jobs under the same conditions: protocol, device, limit, examples, corpora.

    A damaged file counts as empty and is written anew; a store that cannot be written loses only the estimate.
    """

    root: Path
    conditions: str

    @property
    def _path(self) -> Path:
        return self.root / FILE

    def expected(self, shares: Mapping[Job, float], at_once: int = 1) -> Work:
        """Returns the jobs, of which `at_once` will run at once, with what is known of their durations."""
        work, every = Work(shares, at_once), self._known()
        for job, share in shares.items():
            known = [one for one in every if max(share, one.share) <= COMPARABLE * min(share, one.share)]
            alike = [one for one in known if one.kind == kind_of(job.spec)]
            same = [share * one.seconds / one.share for one in alike if one.task == job.task]
            if same:
                work.seconds[job] = median(same)
            elif known:
                work.guesses[job] = share * _pace(alike or known)
        return work

    def add(self, job: Job, share: float, seconds: float) -> None:
        """Adds the duration of a finished job."""
        key = f"{job.task} {kind_of(job.spec)}"
        with contextlib.suppress(StoreError), locked(self.root / "locks" / "durations", wait=True):
            every = _read(self._path)
            rows = every.setdefault(self.conditions, {}).setdefault(key, [])
            rows.append([job.task, kind_of(job.spec), max(share, 1e-9), seconds])
            del rows[:-KEPT]
            write_facts(self._path, every)

    def _known(self) -> list[Duration]:
        rows = [row for rows in _read(self._path).get(self.conditions, {}).values() for row in rows]
        return [Duration(task=task, kind=kind, share=share, seconds=seconds) for task, kind, share, seconds in rows]


def conditions_of(options: Options, *, synthetic: bool) -> str:
    """Returns the options on which durations depend and which shares do not contain, as text."""
    rest = [options.limit, options.shots, options.draws] if not options.trains else [options.limit]
    return " ".join(map(str, [options.protocol, options.device, "miniature" if synthetic else "corpora", *rest]))


def _pace(durations: Sequence[Duration]) -> float:
    """Returns seconds for each unit of the shares."""
    return sum(one.seconds for one in durations) / sum(one.share for one in durations)


def _read(path: Path) -> dict[str, dict[str, list[list[Any]]]]:
    try:
        return dict(read_facts(path))
    except StoreError:
        return {}
