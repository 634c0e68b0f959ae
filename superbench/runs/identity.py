"""Computes the identity of a job, and finds an earlier result with the same identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from superbench.__version__ import __version__
from superbench.contract import Fold, Recipe, Task
from superbench.contract.corpora import Corpora
from superbench.data.audio import DECODING
from superbench.data.fingerprint import files_of, fingerprint_of, paths_of
from superbench.data.limit import is_cut, limited
from superbench.errors import BadResult, BadUpstream
from superbench.features.store import Sound
from superbench.plugins import Loaded
from superbench.plugins.sources import code_of
from superbench.results import REPLACED, Result, check_whole, read_result
from superbench.runs.destination import check_free, keep_replaced
from superbench.runs.options import Options
from superbench.system.progress import Reporter, Silence
from superbench.training.few_shot.experiment import VERSION as FEW_SHOT_VERSION

Sounds = Callable[[Sequence[Path]], Sequence[Sound]]
"""A function that returns digest, length and sampling rate of sound files."""


@dataclass(frozen=True, slots=True)
class Data:
    """The identity of a job's data: its fingerprint, digests and lengths of its sound files, digests of other files."""

    fingerprint: str
    sounds: dict[Path, str]
    lengths: dict[Path, tuple[int, int]]
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a job: the corpus as read by its task, the identity of its data, and the identity of the job."""

    task: Task
    upstream: Loaded
    options: Options
    recipe: Recipe
    read: Sequence[Fold]
    data: Data
    identity: str


def read_inputs(task: Task, upstream: Loaded, corpora: Corpora, options: Options, sounds: Sounds) -> Inputs:
    """Reads a corpus; `sounds` returns digests and lengths of sound files, from a store or from the files.

    The options that it returns have no limit if no split has more items than that: then the job is the complete one.
    """
    recipe, read = options.recipe(task), task.read(corpora)
    options = options if is_cut(read, options.limit) else replace(options, limit=None)
    read = limited(read, options.limit)
    if task.few_shot and not options.trains:
        read = tuple(replace(fold, files={**fold.files, **task.few_shot.files(corpora)}) for fold in read)
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
        repr(options.points(recipe)), options.device, _state(options), options.forward_options.chunk,
        options.forward_options.precision, upstream.revision, upstream.libraries, upstream.alias, data.fingerprint, DECODING,
        __version__, *data.files.values(),
    ]  # fmt: skip
    if options.batch_seconds is not None:
        facts.append(["batch", options.forward_options.batch])
    if options.limit is not None:
        facts.append(["limit", options.limit])
    if options.store_format != "float16" and task.card.reads == "frames":
        facts.append(options.store_format)
    if not options.trains:
        facts.append([options.shots, options.draws, options.prepared, FEW_SHOT_VERSION])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _state(options: Options) -> int | tuple[int, ...] | None:
    """Returns one hidden state as its number, as in earlier identities."""
    return options.states[0] if options.states and len(options.states) == 1 else options.states


def _valid_result(folder: Path, reporter: Reporter) -> Result | None:
    """Returns the result of a folder; None if there is none, or if it is damaged, with a note on the damage."""
    if not (folder / "result.json").is_file():
        return None
    try:
        result = read_result(folder)
        check_whole(folder, result)
    except BadResult as error:
        reporter.note(f"{error} The job runs again")
        return None
    return result


def earlier_result(folder: Path, identity: str, upstream: Loaded, options: Options, reporter: Reporter) -> Result | None:
    """Returns the result of the same job, if it exists and is complete. Raises `Occupied` if the folder belongs to another
    model, `BadUpstream` if the model's outputs have changed since."""
    result = _valid_result(folder, reporter)
    if result is None:
        return None
    check_free(result, upstream, options.label)
    if result.environment.get("job") != identity or options.redo_since is not None:
        return None
    if upstream.outputs is not None and upstream.outputs.contradict(result.environment.get("outputs")):
        raise BadUpstream(
            f"{upstream.alias} is not the model of {folder / 'result.json'}: its hidden states for a few fixed sounds differ, "
            f"but its revision is still {upstream.revision}. Something that the revision does not cover has changed. Add "
            "--redo to run again, or let the class declare a `revision`."
        )
    return result


def move_earlier(folder: Path, upstream: Loaded, options: Options, reporter: Reporter) -> None:
    """Moves the complete result in `folder`, if there is one, to `replaced/`, before a new result is written: its data, its
    model or superbench have changed since."""
    earlier = _valid_result(folder, Silence())
    if earlier is not None:
        check_free(earlier, upstream, options.label)
        keep_replaced(folder, earlier)
        reporter.note(f"the earlier result was moved to {folder / REPLACED}")
