"""One job: one task on one upstream, from the corpus to a result folder. Repeating a finished job reads its result."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from superbench import __version__
from superbench.contract import SAMPLE_RATE, Audio, Fold, Recipe, Task
from superbench.corpora import Corpora
from superbench.efficiency import weighed
from superbench.errors import BadCorpus, CommandError
from superbench.features.extraction import extract
from superbench.features.planner import HOUR, choose, frame_bytes
from superbench.features.store import Store
from superbench.locks import locked
from superbench.options import Options
from superbench.passport import passport_of
from superbench.probing.experiment import Outcome, experiment
from superbench.probing.fold import Conditions
from superbench.record import Made, record
from superbench.registry import Loaded, Spec
from superbench.reporting import Reporter
from superbench.results import Passport, Result, read_result, write_result

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
        recipe = options.recipe(task)
        read = task.read(corpora)
        fingerprint = fingerprint_of(read, corpora.passport)
        folds = _prepared(task, read, upstream.hop, recipe)
        files = _files(read)
        identity = _identity(task, upstream, recipe, options, fingerprint, files)
        earlier = _earlier(place, identity)
        if earlier is not None:
            return Performed(earlier, True)
        layer = _layer(options, upstream) if task.head else None
        live = _unstored(task, upstream, upstream.layers if layer is None else 1, folds, store)
        reads, device = task.card.reads, options.device
        extraction = extract(upstream, _audios(folds), reads, store, device, reporter, live, layer, options.passing)
        work = place / "work"
        outcome = experiment(
            Conditions(
                task,
                recipe,
                options.points(recipe),
                extraction.layers,
                upstream.dim,
                device,
                identity,
                work,
                reporter,
                _layer(options, upstream),
            ),
            folds,
            extraction,
        )
        passport = _passport(task, read, store, corpora, outcome).model_copy(update={"files": files})
        efficiency = weighed(upstream, device, store.root / "efficiency", reporter)
        result = record(
            Made(task, upstream, options, folds, extraction, outcome, fingerprint, passport, certificate, efficiency, identity)
        )
        write_result(place, result, outcome.predictions, outcome.learning)
        shutil.rmtree(work, ignore_errors=True)
        return Performed(result, False, extraction.sound_seconds, extraction.passed_seconds)


def finished(task: Task, upstream: Loaded, corpora: Corpora, out: Path, options: Options) -> Result | None:
    """The result of a job that is done already; writes nothing. Raises what reading the corpus raises."""
    read, recipe = task.read(corpora), options.recipe(task)
    fingerprint = fingerprint_of(read, corpora.passport)
    place = folder(out, upstream.spec, task.card.name)
    return _earlier(place, _identity(task, upstream, recipe, options, fingerprint, _files(read)))


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
        splits = [task.prepare(split, hop, recipe) for split in (fold.train, fold.dev, fold.test)]
        for split in splits:
            _no_duplicates(task, split.name, [item.id for item in split.items])
        return replace(fold, train=splits[0], dev=splits[1], test=splits[2])

    return tuple(ready(fold) for fold in folds)


def _no_duplicates(task: Task, split: str, ids: Sequence[str]) -> None:
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            raise BadCorpus(f"{task.card.corpus}: the id {one!r} stands twice in the {split} split. Mend the corpus lists.")
        seen.add(one)


def _audios(folds: Sequence[Fold]) -> list[Audio]:
    return [item.audio for fold in folds for split in (fold.train, fold.dev, fold.test) for item in split.items]


def fingerprint_of(folds: Sequence[Fold], passport: str = "") -> str:
    """Digest of the lists as they are read (before anything depends on a model's frame rate): fold, split, id, label and group
    of every item, every trial with its reference; and of the passport, which tells synthetic corpora of other seeds apart."""
    digest = hashlib.sha256(passport.encode())
    for fold in folds:
        for split in (fold.train, fold.dev, fold.test):
            digest.update(f"{fold.name} {split.name} {len(split.items)} {len(split.trials)}\n".encode())
            for item in split.items:
                label = item.label if isinstance(item.label, (str, dict)) else ""
                digest.update(f"{item.id}|{label}|{item.group}\n".encode())
            for trial in split.trials:
                digest.update(f"{trial.id}|{trial.reference}\n".encode())
    return digest.hexdigest()[:16]


def _files(folds: Sequence[Fold]) -> dict[str, str]:
    """Digests of what heads read besides sound, by kind and name. They stand beside the fingerprint, not in it: what a model is
    tested on does not change with them."""
    found = {}
    for fold in folds:
        for kind, path in fold.files.items():
            with path.open("rb") as file:
                found[f"{kind} {path.name}"] = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return found


def _identity(task: Task, upstream: Loaded, recipe: Recipe, options: Options, fingerprint: str, files: dict[str, str]) -> str:
    facts = [
        task.card.name, task.card.version, options.protocol, repr(recipe), repr(options.points(recipe)), options.device,
        options.layer, repr(options.passing),
        upstream.revision, upstream.alias, fingerprint, __version__, *files.values(),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _earlier(place: Path, identity: str) -> Result | None:
    if not (place / "result.json").is_file():
        return None
    result = read_result(place)
    return result if result.environment.get("job") == identity else None


def _passport(task: Task, read: Sequence[Fold], store: Store, corpora: Corpora, outcome: Outcome) -> Passport:
    """Of the corpus as it was read; the lengths of its files are known to the store."""
    paths = list(dict.fromkeys(audio.path for audio in _audios(read)))
    lengths = {path: (one.samples, one.rate) for path, one in zip(paths, store.sounds(paths), strict=True)}
    return passport_of(task.card, read, lengths, corpora, outcome.facts)
