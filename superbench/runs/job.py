"""Runs one job: one task on one upstream, from the corpus to a result folder. A finished job returns its earlier result."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from superbench.contract import Fold, Recipe, Task
from superbench.contract.corpora import Corpora
from superbench.contract.items import audios_of, without_crops
from superbench.data.fingerprint import sounds_of
from superbench.data.passport import Passport, passport_of
from superbench.errors import BadCorpus, CommandError
from superbench.features.extraction import Extraction, Statistics, contribute, extract
from superbench.features.storage_policy import unstored
from superbench.features.store import Store
from superbench.features.store.labels import label
from superbench.plugins import Loaded
from superbench.plugins.doctor.efficiency import weighed
from superbench.results import Result, write_result
from superbench.runs.identity import Inputs, Sounds, earlier_result, move_earlier, read_inputs
from superbench.runs.in_context import in_context, keep_likelihoods
from superbench.runs.make_result import ResultParts, record
from superbench.runs.options import Options
from superbench.runs.run_plan import EVENTS, LOCK, folder
from superbench.system.locks import locked
from superbench.system.progress import Reporter, Silence
from superbench.training.few_shot.experiment import FewShotConditions, few_shot_experiment, few_shot_of, shots_of
from superbench.training.outcome import Outcome
from superbench.training.probes.experiment import experiment
from superbench.training.probes.fold import Conditions
from superbench.training.tracking import Tracker, tracking


@dataclass(frozen=True, slots=True)
class Performed:
    """A job's result, and seconds of sound: all sound of the job, and the part that passed through the model. `found`: the
    result already existed."""

    result: Result
    found: bool
    sound_seconds: float = 0.0
    passed_seconds: float = 0.0


def perform(
    task: Task, upstream: Loaded, corpora: Corpora, store: Store, out: Path, options: Options,
    certificate: dict[str, Any], reporter: Reporter, track: str | None = None, file: str = "",
) -> Performed:  # fmt: skip
    """Runs the job, or returns its earlier result. `track`: the tracker of its curves; `file`: see `ResultParts`. Raises any
    `SuperbenchError`."""
    options, corpora = options.of(task.card), corpora.for_task(miniature=task.synth is not None)
    job_folder = folder(out, upstream.spec, task.card.name, options)
    job_folder.mkdir(parents=True, exist_ok=True)
    with locked(job_folder / LOCK, wait=True):
        inputs = read_inputs(task, upstream, corpora, options, store.sounds)
        earlier = earlier_result(job_folder, inputs.identity, upstream, options, reporter)
        if earlier is not None:
            (job_folder / "failure.json").unlink(missing_ok=True)
            return Performed(earlier, True)
        folds = _folds(inputs)
        if options.redo_since is not None:
            shutil.rmtree(job_folder / "work", ignore_errors=True)
        with tracking(track, f"{upstream.alias} {task.card.name}", job_folder / EVENTS, _tracked(inputs), reporter) as tracker:
            outcome, statistics = _experiment(inputs, folds, store, job_folder / "work", reporter, tracker)
            tracker.log(inputs.recipe.steps, {f"test/{name}": score.value for name, score in outcome.scores.items()})
        result = record(
            ResultParts(
                task=task, upstream=upstream, options=inputs.options, folds=folds, statistics=statistics, outcome=outcome,
                fingerprint=inputs.data.fingerprint, sounds=sounds_of(inputs.read, inputs.data.sounds),
                passport=_passport(inputs, corpora, outcome), certificate=certificate,
                efficiency=weighed(upstream, options.device, store.root / "efficiency", reporter), identity=inputs.identity,
                file=file,
            )
        )  # fmt: skip
        move_earlier(job_folder, upstream, options, reporter)
        keep_likelihoods(job_folder / "work", job_folder)
        write_result(job_folder, result, outcome.predictions, outcome.learning)
        shutil.rmtree(job_folder / "work", ignore_errors=True)
        return Performed(result, False, statistics.sound_seconds, statistics.passed_seconds)


def _extracted(
    task: Task, upstream: Loaded, folds: Sequence[Fold], store: Store, options: Options, reporter: Reporter
) -> Extraction:
    """Returns the features of all items of the folds; raises `BadUpstream` if the model changed during extraction."""
    settings = _extraction_settings(task, upstream, folds, store, options)
    extraction = extract(upstream, audios_of(folds), task.card.reads, store, options.device, reporter, *settings)
    extraction.check_steady()
    label(store.root, {entry.shard for entry in extraction.entries.values()}, upstream.alias, task.card.name)
    return extraction


def share_extraction(task: Task, upstream: Loaded, corpora: Corpora, store: Store, options: Options) -> float:
    """Computes stored features for a job on which another process works; returns the seconds of sound that passed."""
    options, corpora = options.of(task.card), corpora.for_task(miniature=task.synth is not None)
    inputs = read_inputs(task, upstream, corpora, options, store.sounds)
    folds = _folds(inputs)
    live, *settings = _extraction_settings(task, upstream, folds, store, options)
    return contribute(upstream, audios_of(folds), task.card.reads, store, options.device, live, *settings)


def _extraction_settings(task: Task, upstream: Loaded, folds: Sequence[Fold], store: Store, options: Options) -> tuple:
    """Returns the sound that is not stored, the layers, the forward options, and the time before which features are old."""
    layers = _layers(options, upstream) if task.head and options.trains else None
    live = unstored(task, upstream, upstream.layers if layers is None else len(layers), folds, store, options.store_format)
    return live, layers, options.forward_options, options.redo_since


def _tracked(inputs: Inputs) -> dict[str, Any]:
    """Returns what identifies a job for a tracker."""
    upstream, card = inputs.upstream, inputs.task.card
    return {
        "upstream": upstream.alias, "revision": upstream.revision, "task": card.name, "version": card.version,
        "protocol": inputs.options.protocol, "job": inputs.identity, "steps": inputs.recipe.steps, "batch": inputs.recipe.batch,
    }  # fmt: skip


def _experiment(
    inputs: Inputs, folds: Sequence[Fold], store: Store, work: Path, reporter: Reporter, tracker: Tracker
) -> tuple[Outcome, Statistics]:
    """Returns the outcome, and statistics of the sound; what was interrupted continues from the files in `work`."""
    upstream, options = inputs.upstream, inputs.options
    if options.protocol == "in-context":
        return in_context(inputs, folds, work, reporter)
    with closing(_extracted(inputs.task, upstream, folds, store, options, reporter)) as extraction:
        if options.trains:
            outcome = _trained(inputs, folds, extraction, work, reporter, tracker)
        else:
            outcome = _without_training(inputs, folds, extraction, reporter)
        extraction.check_steady()
        return outcome, replace(extraction.statistics, passed_seconds=extraction.passed_seconds)


def _trained(
    inputs: Inputs, folds: Sequence[Fold], extraction: Extraction, work: Path, reporter: Reporter, tracker: Tracker
) -> Outcome:
    """Trains and tests the heads."""
    upstream, options = inputs.upstream, inputs.options
    conditions = Conditions(
        task=inputs.task, recipe=inputs.recipe, points=options.points(inputs.recipe), layers=extraction.layers,
        dim=upstream.dim, device=options.device, identity=inputs.identity, work=work, reporter=reporter,
        chosen=_layers(options, upstream), tracker=tracker,
    )  # fmt: skip
    return experiment(conditions, folds, extraction)


def _without_training(inputs: Inputs, folds: Sequence[Fold], extraction: Extraction, reporter: Reporter) -> Outcome:
    """What the examples came to."""
    layers = _layers(inputs.options, inputs.upstream) or range(inputs.upstream.layers)
    options = inputs.options
    conditions = FewShotConditions(task=inputs.task, shots=options.shots, draws=options.draws, layers=layers, reporter=reporter)
    return few_shot_experiment(conditions, folds, extraction)


def _passport(inputs: Inputs, corpora: Corpora, outcome: Outcome) -> Passport:
    passport = passport_of(inputs.task.card, inputs.read, inputs.data.lengths, corpora, outcome.facts)
    return passport.model_copy(update={"files": inputs.data.files})


def finished(task: Task, upstream: Loaded, corpora: Corpora, out: Path, options: Options, sounds: Sounds) -> Result | None:
    """Returns the complete result of a finished job, or None; writes nothing. Raises the errors of reading the corpus, and
    `CommandError` for options that the task or the model cannot fulfil."""
    options, corpora = options.of(task.card), corpora.for_task(miniature=task.synth is not None)
    job_folder = folder(out, upstream.spec, task.card.name, options)
    _require_possible(task, task.read(corpora), upstream, options)
    if not (job_folder / "result.json").is_file():
        return None
    inputs = read_inputs(task, upstream, corpora, options, sounds)
    return earlier_result(job_folder, inputs.identity, upstream, options, Silence())


def _require_possible(task: Task, folds: Sequence[Fold], upstream: Loaded, options: Options) -> None:
    if options.trains and task.head:
        _layers(options, upstream)
    if options.protocol == "few-shot":
        shots_of(task, few_shot_of(task, folds), options.shots)


def _layers(options: Options, upstream: Loaded) -> tuple[int, ...] | None:
    if beyond := [layer for layer in options.states or () if layer >= upstream.layers]:
        raise CommandError(
            f"--layers {beyond[0]}: {upstream.alias} has the hidden states 0 to {upstream.layers - 1} "
            "(0 is the input of the first layer of a Transformer)."
        )
    return options.states


def _folds(inputs: Inputs) -> tuple[Fold, ...]:
    """Returns the folds as the task prepares them; without crops if nothing is trained."""
    folds = _prepared(inputs.task, inputs.read, inputs.upstream.hop, inputs.recipe)
    return folds if inputs.options.trains else without_crops(folds)


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
            raise BadCorpus(f"{task.card.corpus}: the id {name!r} occurs twice in the {split} split. Correct the corpus lists.")
        seen.add(name)
