"""Nodes of a cluster: what must be the same on all of them, and how they work without a shared file system.

Without a shared file system (`--store-per-node`), each node has its own store, and writes results to a folder in it. A job that
ends sends the files of its result to the machine of the command; a job that starts receives those that are there already, so
that a finished job is found on every node. Jobs that share stored features go to one node.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from superbench import plugins
from superbench.__version__ import __version__
from superbench.errors import CommandError, SuperbenchError
from superbench.features.store import default_root
from superbench.runs.jobs import Job
from superbench.runs.run_plan import EVENTS, LOCK, RunPlan, folder
from superbench.system.files import whole, write_text
from superbench.system.installation import versions
from superbench.system.locks import locked, require_locks

HOMES = ".nodes.json"
"""File in OUT that tells on which node the features of a job are."""
IDENTITY = ".id"
"""File with a random text, by which nodes recognize a shared folder."""
RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a process: its node, the place of its store, its versions, and the folders that it does not see as the
    machine of the command does, or cannot use (`unseen`, `refused`)."""

    node: str
    place: str
    versions: Mapping[str, str]
    unseen: tuple[str, ...] = ()
    refused: str = ""


def node_plan(plan: RunPlan) -> RunPlan:
    """Returns the plan of a worker on this node. Where each node has its own store, results go to a folder in that store."""
    if plan.node_store is None:
        return plan
    store = (Path(plan.node_store) if plan.node_store else default_root()).absolute()
    name = hashlib.blake2b(str(plan.out).encode(), digest_size=8).hexdigest()
    return replace(plan, store=store, out=store / "results" / name)


def corpora_in(data: Path) -> frozenset[str]:
    """Returns the names of the folders in a data root, which are those of the corpora."""
    return frozenset(path.name for path in data.iterdir() if path.is_dir()) if data.is_dir() else frozenset()


@dataclass(frozen=True, slots=True)
class Shared:
    """What all nodes must see: shared folders by option, with the text of a file in each; corpora in the data root."""

    folders: Mapping[str, tuple[Path, str]]
    corpora: frozenset[str]


def shared_by(plan: RunPlan) -> Shared:
    """Returns what this machine sees; writes a file with a random text to each shared folder that has none."""
    folders = {} if plan.node_store is not None else {"--out": plan.out, "--store": plan.store}
    return Shared({option: (place, _marked(place)) for option, place in folders.items()}, corpora_in(plan.data))


def _marked(place: Path) -> str:
    with contextlib.suppress(FileExistsError), (place / IDENTITY).open("x") as file:
        file.write(secrets.token_hex(8))
    return _mark_of(place)


def _mark_of(place: Path) -> str:
    try:
        return (place / IDENTITY).read_text()
    except OSError:
        return ""


def facts(plan: RunPlan, shared: Shared) -> Facts:
    """Returns the facts of this process. `shared`: what the machine of the command sees."""
    own, refused = node_plan(plan), ""
    unseen = [f"{option} {place}" for option, (place, text) in shared.folders.items() if _mark_of(place) != text]
    if plan.node_store is not None:
        try:
            require_locks(own.store, f"--store {own.store}")
            own.out.mkdir(parents=True, exist_ok=True)
        except (SuperbenchError, OSError) as error:
            refused = str(error)
    missing = sorted(shared.corpora - corpora_in(plan.data))
    unseen += [f"--data {plan.data / name if plan.data.is_dir() else plan.data}" for name in missing[:1]]
    unseen += [f"the settings file {plan.settings}"] if plan.settings and not plan.settings.is_file() else []
    return Facts(
        node=platform.node(),
        place=f"{platform.node()}:{own.store}",
        versions=versions() | {"superbench": __version__},
        unseen=tuple(unseen),
        refused=refused,
    )


def require_same(own: Facts, other: Facts) -> None:
    """Raises `CommandError` if a node lacks a folder, or has versions that differ from those of the machine of the command."""
    if other.refused:
        raise CommandError(f"The node {other.node} cannot keep a store of its own: {other.refused}")
    if other.unseen:
        raise CommandError(
            f"The node {other.node} does not see {other.unseen[0]} as this machine does. Mount the same folder there, or give "
            "another folder that all nodes share. Without a shared file system, copy the corpora to the same path on every "
            "node, and add --store-per-node."
        )
    differing = [name for name in own.versions if own.versions[name] != other.versions.get(name)]
    if differing:
        name = differing[0]
        raise CommandError(
            f"The node {other.node} has {name} {other.versions.get(name)}, this machine has {own.versions[name]}: features and "
            "scores would depend on the machine. Install the same versions on all nodes."
        )


# ---------------------------------------------------------------- results


def files_of(plan: RunPlan, job: Job) -> dict[str, bytes]:
    """Returns the files of a job's result and of its tracker by name, without those of unfinished work."""
    place = folder(plan.out, job.spec, job.task, plan.options)
    paths = [*(place.iterdir() if place.is_dir() else ()), *(place / EVENTS).rglob("*")]
    return {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in paths
        if path.is_file() and not path.name.startswith(".")
    }


def put_files(plan: RunPlan, job: Job, files: Mapping[str, bytes]) -> None:
    """Writes the files of a job's result, the result itself last. Raises `StoreError` when the disk is full."""
    place = folder(plan.out, job.spec, job.task, plan.options)
    place.mkdir(parents=True, exist_ok=True)
    with locked(place / LOCK, wait=True):
        if RESULT in files:
            (place / "failure.json").unlink(missing_ok=True)
        for name in sorted(files, key=lambda name: name == RESULT):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            with whole(place / name) as temporary:
                temporary.write_bytes(files[name])


# ---------------------------------------------------------------- where the features are


@dataclass(slots=True)
class Homes:
    """The place where the features of each job are, in a file, so that a repeated command finds them. Without a file, all
    workers share one store."""

    file: Path | None = None
    _places: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.file is not None:
            try:
                self._places = dict(json.loads(self.file.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                self._places = {}

    def of(self, job: Job) -> str | None:
        """Returns the place of a job's features; None if there are none yet, or if all workers share them."""
        return self._places.get(_key(job)) if self.file else None

    def settle(self, job: Job, place: str | None) -> None:
        """Records that a job's features are at a place."""
        if self.file is not None and place is not None and self._places.get(_key(job)) != place:
            self._places[_key(job)] = place
            write_text(self.file, json.dumps(self._places, indent=1) + "\n")

    def may(self, job: Job, place: str | None, living: Callable[[str], bool]) -> bool:
        """Returns whether a worker at `place` may run the job: features are there, nowhere, or where no worker lives."""
        home = self.of(job)
        return home is None or home == place or not living(home)


def _key(job: Job) -> str:
    """Returns a text that jobs with the same stored features share."""
    card = plugins.task(job.file or job.task).card
    return f"{job.spec.text} {f'{card.sound} {card.reads}' if card.sound else job.task}"
