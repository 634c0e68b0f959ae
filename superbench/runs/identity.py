"""What tells one job from another, and the earlier result that makes it unnecessary."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superbench.__version__ import __version__
from superbench.contract import Fold, Recipe, Task
from superbench.contract.corpora import Corpora
from superbench.data.audio import DECODING
from superbench.data.fingerprint import files_of, fingerprint_of, paths_of
from superbench.errors import BadResult, BadUpstream
from superbench.features.store import Sound
from superbench.plugins import Loaded
from superbench.plugins.sources import code_of
from superbench.results import REPLACED, Result, check_whole, read_result
from superbench.runs.destination import check_free, keep_replaced
from superbench.runs.options import Options
from superbench.system.progress import Reporter, Silence

Sounds = Callable[[Sequence[Path]], Sequence[Sound]]
"""Sound files -> what is known of each."""


@dataclass(frozen=True, slots=True)
class Data:
    """What identifies the data of a job: its fingerprint, digests and lengths of its sound files, digests of other files."""

    fingerprint: str
    sounds: dict[Path, str]
    lengths: dict[Path, tuple[int, int]]
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a job starts from: the corpus as its task reads it, what identifies its data, and the job's own identity."""

    task: Task
    upstream: Loaded
    options: Options
    recipe: Recipe
    read: Sequence[Fold]
    data: Data
    identity: str


def read_inputs(task: Task, upstream: Loaded, corpora: Corpora, options: Options, sounds: Sounds) -> Inputs:
    """Read a corpus; `sounds` knows the digests and lengths of sound files: that of a store, or one that reads them."""
    recipe, read = options.recipe(task), task.read(corpora)
    data = _data(read, sounds, corpora)
    identity = _identity(task, upstream, recipe, options, data)
    return Inputs(task=task, upstream=upstream, options=options, recipe=recipe, read=read, data=data, identity=identity)


def _data(read: Sequence[Fold], sounds: Sounds, corpora: Corpora) -> Data:
    paths = paths_of(read)
    known = dict(zip(paths, sounds(paths), strict=True))
    digests = {path: sound.digest for path, sound in known.items()}
    lengths = {path: (sound.samples, sound.rate) for path, sound in known.items()}
    return Data(fingerprint_of(read, digests, corpora.passport), digests, lengths, files_of(read))


def _identity(task: Task, upstream: Loaded, recipe: Recipe, options: Options, data: Data) -> str:
    facts: list[Any] = [
        task.card.name, task.card.version, code_of(task.read.__module__), options.protocol, repr(recipe),
        repr(options.points(recipe)), options.device, options.layer, options.passing.chunk, options.passing.precision,
        upstream.revision, upstream.libraries, upstream.alias, data.fingerprint, DECODING, __version__, *data.files.values(),
    ]  # fmt: skip
    if not options.trains:
        facts.append([options.shots, options.draws, options.prepared])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _there(place: Path, reporter: Reporter) -> Result | None:
    """The result of a folder; none, with a note that says why, where it is damaged."""
    if not (place / "result.json").is_file():
        return None
    try:
        result = read_result(place)
        check_whole(place, result)
    except BadResult as error:
        reporter.note(f"{error} It is made again")
        return None
    return result


def earlier_result(place: Path, identity: str, upstream: Loaded, options: Options, reporter: Reporter) -> Result | None:
    """The result of this very job, if it is there and whole. Raises `Occupied` where the place belongs to another model,
    `BadUpstream` where the model is no longer the one that the result was made with."""
    result = _there(place, reporter)
    if result is None:
        return None
    check_free(result, upstream, options.label)
    if result.environment.get("job") != identity or options.redo_since is not None:
        return None
    if upstream.outputs is not None and upstream.outputs.contradict(result.environment.get("outputs")):
        raise BadUpstream(
            f"{upstream.alias} is not the model that {place / 'result.json'} was made with: its hidden states for a few fixed "
            f"sounds are others, though its revision is still {upstream.revision}. Something that the revision does not cover "
            "has changed. Add --redo to run again, or let the class declare a `revision` of its own."
        )
    return result


def make_way(place: Path, upstream: Loaded, options: Options, reporter: Reporter) -> None:
    """A whole result that stands where a new one will is kept beside it: it was of other data, or of another state of the
    model or of superbench."""
    there = _there(place, Silence())
    if there is not None:
        check_free(there, upstream, options.label)
        keep_replaced(place, there)
        reporter.note(f"the result that was there is kept in {place / REPLACED}")
