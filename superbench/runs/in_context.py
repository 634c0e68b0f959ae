"""A job in context: no feature is extracted; the model is asked how likely labels are, and compared before and after."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from superbench.contract import Continuing, Fold
from superbench.errors import CommandError
from superbench.features.extraction import Statistics
from superbench.plugins.continuing import that_continue
from superbench.plugins.reference_outputs import check_steady
from superbench.runs.identity import Inputs
from superbench.system.files import whole
from superbench.system.progress import Reporter
from superbench.training.few_shot.in_context.asking import InContextConditions
from superbench.training.few_shot.in_context.experiment import in_context_experiment
from superbench.training.few_shot.in_context.likelihoods import JOURNAL
from superbench.training.outcome import Outcome


def in_context(inputs: Inputs, folds: Sequence[Fold], work: Path, reporter: Reporter) -> tuple[Outcome, Statistics]:
    """Returns the outcome; raises `CommandError` for a model that cannot continue, `BadUpstream` for one that changed."""
    upstream, options = inputs.upstream, inputs.options
    must_continue(upstream.model, upstream.alias)
    conditions = InContextConditions(
        task=inputs.task, model=upstream.model, alias=upstream.alias, device=options.device, shots=options.shots,
        draws=options.draws, work=work, identity=inputs.identity, reporter=reporter,
    )  # fmt: skip
    half = options.precision == "bfloat16"
    with torch.inference_mode(), torch.autocast(options.device.partition(":")[0], torch.bfloat16, enabled=half):
        outcome = in_context_experiment(conditions, folds)
    check_steady(upstream, options.device)
    lengths = inputs.data.lengths.values()
    seconds = sum(samples / rate for samples, rate in lengths)
    return outcome, Statistics(Counter(rate for _, rate in lengths), seconds, 0.0, 0.0)


def keep_likelihoods(work: Path, place: Path) -> None:
    """Moves the likelihoods of all candidates, if there are any, beside the result: Σ log p, tokens, characters of each."""
    if (journal := work / JOURNAL).is_file():
        with whole(place / f"{JOURNAL}.gz") as temporary:
            temporary.write_bytes(gzip.compress(journal.read_bytes(), mtime=0))


def must_continue(model: Any, alias: str) -> None:
    """Raises `CommandError`, which names the installed models that can, for a model that cannot continue."""
    if not isinstance(model, Continuing):
        raise CommandError(
            f"{alias} cannot be evaluated in context: it does not tell how likely a continuation is (it has no method "
            f"`log_likelihood`). These can: {', '.join(that_continue())}. Use --protocol few-shot for this one."
        )
