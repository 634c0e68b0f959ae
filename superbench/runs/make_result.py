"""Makes the result of an experiment: scores with intervals, the training of every probe, and the facts for reproducing it."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from superbench import plugins
from superbench.__version__ import __version__
from superbench.contract import SAMPLE_RATE, Fold, Task
from superbench.data.passport import Passport, notes_of
from superbench.features.extraction import Statistics
from superbench.plugins import Loaded
from superbench.plugins.doctor.efficiency import Efficiency
from superbench.results import Result
from superbench.results.at_chance import AT_CHANCE
from superbench.results.draws import interval_over_draws
from superbench.results.intervals import interval
from superbench.results.seeds import in_words, over_seeds
from superbench.results.told import told_of
from superbench.runs.command import command_of
from superbench.runs.destination import source_of
from superbench.runs.options import Options
from superbench.training.outcome import Outcome

LONGEST_COMMAND, LONGEST_PLUGIN = 1_000, 200
"""Characters of the command, and of the task's distribution, in the record."""


@dataclass(frozen=True, slots=True)
class ResultParts:
    """The parts of a result. `identity` is the identity of its job; `file`: `/path/file.py:NAME` of an own task, or empty."""

    task: Task
    upstream: Loaded
    options: Options
    folds: Sequence[Fold]
    statistics: Statistics
    outcome: Outcome
    fingerprint: str
    sounds: dict[str, str]
    passport: Passport
    certificate: dict[str, Any]
    efficiency: Efficiency
    identity: str
    file: str = ""


def record(made: ResultParts) -> Result:
    """Returns the result: schema 2 if nothing was trained, else schema 1."""
    card, upstream, options, outcome = made.task.card, made.upstream, made.options, made.outcome
    return Result.model_validate(
        {
            "schema": 1 if options.trains else 2,
            "task": {"name": card.name, "version": card.version, "protocol": options.protocol},
            "upstream": {
                "name": upstream.alias, "revision": upstream.revision, "params": upstream.params,
                "macs": made.efficiency.total, "hop": upstream.hop, "layers": upstream.layers, "dim": upstream.dim,
            },
            "scores": (scores := _scores(outcome)),
            "primary": card.primary,
            "sweep": outcome.sweep,
            "chosen": outcome.chosen,
            "data": {
                "fingerprint": made.fingerprint, "items": _counts(made.folds), "sounds": made.sounds,
                "passport": made.passport.model_dump(),
            },
            "environment": environment(options.device) | _made_from(made),
            "seconds": {
                "extract": round(made.statistics.work_seconds, 3),
                "train": round(outcome.train_seconds, 3),
                "evaluate": round(outcome.evaluate_seconds, 3),
            },
            "predictions": "predictions.jsonl.gz",
            "layer_weights": _layer_weights(outcome, options, upstream.layers),
            "certificate": made.certificate,
            "efficiency": made.efficiency.card(upstream),
            "deviations": options.deviations(card),
            "notes": [*_of_seeds(card.primary, scores), *_notes(made)],
            **({} if options.trains else {"shots": outcome.shots}),
        }
    )  # fmt: skip


def _made_from(made: ResultParts) -> dict[str, Any]:
    """Returns the facts that identify the job, its model and its options."""
    upstream = made.upstream
    facts = told_of(made.task.card) | {
        "job": made.identity, "spec": _spec(upstream),
        "command": command_of(_spec(upstream), made.task.card, made.options, made.file)[:LONGEST_COMMAND],
        "source": source_of(upstream.spec), "options": made.options.label,
        "libraries": list(upstream.libraries),
    }  # fmt: skip
    if distribution := plugins.distribution_of(made.task.card.name, made.task.card.kind):
        facts["plugin"] = distribution[:LONGEST_PLUGIN]
    if made.task.card.reads == "frames" and made.options.store_format != "float16":
        facts["dtype"] = made.options.store_format
    prepared = {} if made.options.trains else {"prepared": made.options.prepared}
    return facts | prepared | ({"outputs": upstream.outputs.facts()} if upstream.outputs else {})


def _spec(upstream: Loaded) -> str:
    """Returns the spec with the name of its file in place of the path, which is private."""
    file = upstream.spec.file
    return upstream.spec.text.replace(str(file), file.name) if file else upstream.spec.text


def _scores(outcome: Outcome) -> dict[str, Any]:
    scores = {}
    for name, score in outcome.scores.items():
        drawn = outcome.drawn.get(name)
        low, high, method = interval_over_draws(drawn) if drawn else interval(outcome.predictions, score)
        scores[name] = {
            "value": score.value, "unit": score.unit, "higher_is_better": score.higher_is_better,
            "ci": [low, high] if low == low and high == high else None, "ci_method": method, "counts": dict(score.counts),
            "over_seeds": over_seeds(outcome.by_seed, name) if len(outcome.by_seed) > 1 else None,
        }  # fmt: skip
    return scores


def _of_seeds(primary: str, scores: dict[str, Any]) -> list[str]:
    """Returns a note on the primary metric over the seeds, if there are several."""
    facts = scores[primary]["over_seeds"]
    return [in_words(primary, facts)] if facts else []


def _layer_weights(outcome: Outcome, options: Options, layers: int) -> dict[str, list[float]]:
    """Returns the weights of all layers by fold; those that `--layers` leaves out have 0."""
    chosen = options.states or ()
    if len(chosen) < 2:
        return outcome.layer_weights
    placed = {fold: dict(zip(chosen, weights, strict=True)) for fold, weights in outcome.layer_weights.items()}
    return {fold: [weights.get(layer, 0.0) for layer in range(layers)] for fold, weights in placed.items()}


def _counts(folds: Sequence[Fold]) -> dict[str, int]:
    """Returns the number of items per split; the names contain the fold if there are several."""
    prefix = (lambda fold: "") if len(folds) == 1 else (lambda fold: f"{fold.name}/")
    return {f"{prefix(fold)}{s.name}": len(s.items) for fold in folds for s in fold.splits}


def _notes(made: ResultParts) -> list[str]:
    card, protocol = made.task.card, made.options.protocol
    notes = _without_means(made) + list(made.outcome.notes)
    notes += notes_of(made.passport, card, cut=made.options.limit is not None)
    for rate, count in sorted(made.statistics.rates.items()):
        if rate != SAMPLE_RATE:
            notes.append(f"{count} pieces of sound at {rate} Hz were resampled to 16000 Hz")
    splits = [split for fold in made.folds for split in fold.splits]
    if any(item.audio.trim for split in splits for item in split.items):
        notes.append("silence was removed by an energy gate in place of SoX's effect `silence`")
    if not made.options.trains:
        notes.append(f"nothing was trained; items and segments are those of protocol {made.options.prepared}")
    elif protocol in card.differences:
        notes.append(f"protocol {protocol}: {card.differences[protocol]}")
    return notes + list(made.efficiency.notes)


def _without_means(made: ResultParts) -> list[str]:
    """Returns a note for a head that averages over time on features whose mean over time is zero, as the model declares."""
    instead = str(getattr(made.upstream.model, "without_means", ""))
    if not instead or made.task.card.reads != "mean":
        return []
    return [
        f"{AT_CHANCE}: {made.upstream.spec.name} normalises each utterance, so its mean over time is zero, and a head that "
        f"averages over time learns nothing from it; {instead}"
    ]


def environment(device: str) -> dict[str, Any]:
    """Returns versions and machine, which may explain differences between two results."""
    import numpy
    import torch
    import torchaudio

    return {
        "superbench": __version__, "python": platform.python_version(), "torch": torch.__version__,
        "torchaudio": torchaudio.__version__, "numpy": numpy.__version__, "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.machine(), "threads": torch.get_num_threads(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }  # fmt: skip
