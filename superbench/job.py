"""One job: one task on one upstream, from the corpus to a result folder. Repeating a finished job reads its result."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from superbench import __version__
from superbench.contract import SAMPLE_RATE, Audio, Fold, Recipe, Task
from superbench.corpora import Corpora
from superbench.destination import check_free, keep_replaced
from superbench.efficiency import weighed
from superbench.errors import BadCorpus, BadResult, BadUpstream, CommandError
from superbench.features.audio import DECODING
from superbench.features.extraction import Extraction, extract
from superbench.features.planner import HOUR, choose, frame_bytes
from superbench.features.store import Sound, Store
from superbench.fingerprint import files_of, fingerprint_of, paths_of, sounds_of
from superbench.locks import locked
from superbench.options import Options
from superbench.passport import passport_of
from superbench.probing.experiment import Outcome, experiment
from superbench.probing.fold import Conditions
from superbench.record import Made, record
from superbench.registry import Loaded, Spec
from superbench.reporting import Reporter, Silence
from superbench.results import REPLACED, check_whole, read_result, write_result
from superbench.schema import Passport, Result
from superbench.sources import code_of

LOCK = ".lock"
"""Held by the process that has a job in hand."""


def folder(out: Path, spec: Spec, task: str) -> Path:
    """`OUT/<upstream>/<task>`."""
    return out / spec.folder / task


@dataclass(frozen=True, slots=True)
class Performed:
    """A job's result, whether it was there already, and seconds of sound: all that it heard of, and what passed the model."""

    result: Result
    found: bool
    sound_seconds: float = 0.0
    passed_seconds: float = 0.0


def perform(
    task: Task,
    upstream: Loaded,
    corpora: Corpora,
    store: Store,
    out: Path,
    options: Options,
    certificate: dict[str, Any],
    reporter: Reporter,
) -> Performed:
    """Do the job, or find it done. Raises any `SuperbenchError`."""
    place = folder(out, upstream.spec, task.card.name)
    place.mkdir(parents=True, exist_ok=True)
    with locked(place / LOCK, wait=True):
        inputs = read_inputs(task, upstream, corpora, options, store.sounds)
        earlier = _earlier(place, inputs.identity, upstream, options, reporter)
        if earlier is not None:
            (place / "failure.json").unlink(missing_ok=True)
            return Performed(earlier, True)
        folds = _prepared(task, inputs.read, upstream.hop, inputs.recipe)
        extraction = _extracted(task, upstream, folds, store, options, reporter)
        outcome = _experiment(inputs, folds, extraction, place / "work", reporter)
        extraction.check_steady()
        result = record(
            Made(
                task=task, upstream=upstream, options=options, folds=folds, extraction=extraction, outcome=outcome,
                fingerprint=inputs.data.fingerprint, sounds=sounds_of(inputs.read, inputs.data.sounds),
                passport=_passport(inputs, corpora, outcome), certificate=certificate,
                efficiency=weighed(upstream, options.device, store.root / "efficiency", reporter), identity=inputs.identity,
            )
        )  # fmt: skip
        _make_way(place, upstream, options, reporter)
        write_result(place, result, outcome.predictions, outcome.learning)
        shutil.rmtree(place / "work", ignore_errors=True)
        return Performed(result, False, extraction.sound_seconds, extraction.passed_seconds)


def _extracted(
    task: Task, upstream: Loaded, folds: Sequence[Fold], store: Store, options: Options, reporter: Reporter
) -> Extraction:
    """Features of all that the folds hold; the model is as it was when it was compared."""
    layer = _layer(options, upstream) if task.head else None
    live = _unstored(task, upstream, upstream.layers if layer is None else 1, folds, store)
    how = live, layer, options.passing, options.redo_since
    extraction = extract(upstream, _audios(folds), task.card.reads, store, options.device, reporter, *how)
    extraction.check_steady()
    return extraction


def _experiment(inputs: Inputs, folds: Sequence[Fold], extraction: Extraction, work: Path, reporter: Reporter) -> Outcome:
    """What the heads came to; training that was killed goes on from what lies in `work`."""
    upstream, options = inputs.upstream, inputs.options
    if options.redo_since is not None:
        shutil.rmtree(work, ignore_errors=True)
    conditions = Conditions(
        task=inputs.task, recipe=inputs.recipe, points=options.points(inputs.recipe), layers=extraction.layers,
        dim=upstream.dim, device=options.device, identity=inputs.identity, work=work, reporter=reporter,
        layer=_layer(options, upstream),
    )  # fmt: skip
    return experiment(conditions, folds, extraction)


def _passport(inputs: Inputs, corpora: Corpora, outcome: Outcome) -> Passport:
    passport = passport_of(inputs.task.card, inputs.read, inputs.data.lengths, corpora, outcome.facts)
    return passport.model_copy(update={"files": inputs.data.files})


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


def finished(task: Task, upstream: Loaded, corpora: Corpora, out: Path, options: Options, sounds: Sounds) -> Result | None:
    """The result of a job that is done already, if it is whole; writes nothing. Raises what reading the corpus raises."""
    place = folder(out, upstream.spec, task.card.name)
    task.read(corpora)
    if not (place / "result.json").is_file():
        return None
    inputs = read_inputs(task, upstream, corpora, options, sounds)
    return _earlier(place, inputs.identity, upstream, options, Silence())


Sounds = Callable[[Sequence[Path]], Sequence[Sound]]
"""Sound files -> what is known of each."""


@dataclass(frozen=True, slots=True)
class Data:
    """What identifies the data of a job: its fingerprint, digests and lengths of its sound files, digests of other files."""

    fingerprint: str
    sounds: dict[Path, str]
    lengths: dict[Path, tuple[int, int]]
    files: dict[str, str]


def _data(read: Sequence[Fold], sounds: Sounds, corpora: Corpora) -> Data:
    paths = paths_of(read)
    known = dict(zip(paths, sounds(paths), strict=True))
    digests = {path: sound.digest for path, sound in known.items()}
    lengths = {path: (sound.samples, sound.rate) for path, sound in known.items()}
    return Data(fingerprint_of(read, digests, corpora.passport), digests, lengths, files_of(read))


def _layer(options: Options, upstream: Loaded) -> int | None:
    if options.layer is not None and not 0 <= options.layer < upstream.layers:
        raise CommandError(
            f"--layer {options.layer}: {upstream.alias} has the hidden states 0 to {upstream.layers - 1} "
            "(0 goes into the first layer of a Transformer)."
        )
    return options.layer


def _unstored(task: Task, upstream: Loaded, layers: int, folds: Sequence[Fold], store: Store) -> frozenset[Audio]:
    """Sound whose frames are not kept, so that it passes whenever it is read: none where all of it fits into the store's
    room, else that of training, else all. Means always fit. Probes of a sweep share each pass."""
    reads, room = task.card.reads, store.room()
    train = frozenset(item.audio for fold in folds for item in fold.train.items)
    every = frozenset(_audios(folds))
    ways: tuple[frozenset[Audio], ...] = (frozenset(), train, every)
    return next(live for live in ways if choose(reads, _frame_bytes(upstream, layers, every - live, store), room) != "shared")


def _frame_bytes(upstream: Loaded, layers: int, audios: frozenset[Audio], store: Store) -> int:
    """What the frames of `audios` take in half precision."""
    seconds = sum(
        min(sound.samples / sound.rate, (audio.end or sound.samples) / SAMPLE_RATE) - audio.start / SAMPLE_RATE
        for audio, sound in zip(audios, store.sounds([audio.path for audio in audios]), strict=True)
    )
    return frame_bytes(seconds / HOUR, len(audios), upstream.hop, layers, upstream.dim)


def _prepared(task: Task, folds: Sequence[Fold], hop: int, recipe: Recipe) -> tuple[Fold, ...]:
    def ready(fold: Fold) -> Fold:
        splits = [task.prepare(split, hop, recipe) for split in fold.splits]
        for split in splits:
            _no_duplicates(task, split.name, [item.id for item in split.items])
        return replace(fold, train=splits[0], dev=splits[1], test=splits[2])

    return tuple(ready(fold) for fold in folds)


def _no_duplicates(task: Task, split: str, ids: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise BadCorpus(f"{task.card.corpus}: the id {name!r} stands twice in the {split} split. Mend the corpus lists.")
        seen.add(name)


def _audios(folds: Sequence[Fold]) -> list[Audio]:
    return [item.audio for fold in folds for split in fold.splits for item in split.items]


def _identity(task: Task, upstream: Loaded, recipe: Recipe, options: Options, data: Data) -> str:
    facts = [
        task.card.name, task.card.version, code_of(task.read.__module__), options.protocol, repr(recipe),
        repr(options.points(recipe)), options.device, options.layer, repr(options.passing),
        upstream.revision, upstream.libraries, upstream.alias, data.fingerprint, DECODING, __version__, *data.files.values(),
    ]  # fmt: skip
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


def _earlier(place: Path, identity: str, upstream: Loaded, options: Options, reporter: Reporter) -> Result | None:
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


def _make_way(place: Path, upstream: Loaded, options: Options, reporter: Reporter) -> None:
    """A whole result that stands where a new one will is kept beside it: it was of other data, or of another state of the
    model or of superbench."""
    there = _there(place, Silence())
    if there is not None:
        check_free(there, upstream, options.label)
        keep_replaced(place, there)
        reporter.note(f"the result that was there is kept in {place / REPLACED}")
