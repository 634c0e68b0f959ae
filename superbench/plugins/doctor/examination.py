"""Measures whether a model keeps the contract, and issues a certificate, or gives the reasons why not.

The examination runs before features are extracted. The certificate is part of every result, and determines which sounds share
a batch and in which precision frames are stored.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from superbench.__version__ import __version__
from superbench.contract import Continuing
from superbench.errors import BadUpstream, StoreError
from superbench.plugins.doctor.checks import findings
from superbench.plugins.doctor.continuation import continuation, offers_features
from superbench.plugins.doctor.examining import Examining, Finding
from superbench.plugins.models import Batching, Loaded
from superbench.system.files import read_facts, write_facts
from superbench.system.locks import locked_where_possible
from superbench.system.progress import Reporter, Silence

LONG_SECONDS = 60.0
PATIENCE = 30.0
"""Largest time in seconds that a run spends on the long sound when it examines a new model."""
METHOD = 4
"""Version of the checks. A new version makes stored certificates invalid."""
NOT_CERTIFIED = ("speed", "memory")
"""Findings that differ between two examinations of the same model; they are not part of a certificate."""


@dataclass(frozen=True, slots=True)
class Examination:
    """All findings about an upstream or a task."""

    alias: str
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether it can be used."""
        return all(finding.holds for finding in self.findings if finding.fatal)

    @property
    def batching(self) -> Batching:
        """Which utterances may share a batch: any, those of equal length, or none."""
        failed = {finding.name for finding in self.findings if not finding.holds}
        return "none" if "equal mates" in failed else "equal" if "batch mates" in failed else "any"

    @property
    def reasons(self) -> list[str]:
        """The reasons why it cannot be used."""
        return [f"{finding.name}: {finding.measured}" for finding in self.findings if finding.fatal and not finding.holds]

    @property
    def actions(self) -> list[str]:
        """How extraction will take failed checks into account."""
        return [finding.action for finding in self.findings if finding.action and not finding.holds]

    def certificate(self) -> dict[str, Any]:
        """Returns the findings as plain values; raises `BadUpstream` with the reasons if the model cannot be used."""
        if not self.healthy:
            raise BadUpstream(f"{self.alias} does not keep the contract of an upstream. {'; '.join(self.reasons)}.")
        return {finding.name: _certified(finding) for finding in self.findings if finding.name not in NOT_CERTIFIED}


def _certified(finding: Finding) -> dict[str, Any]:
    facts = {"holds": finding.holds, "measured": finding.measured}
    return facts if finding.holds or not finding.action else facts | {"action": finding.action}


def examine(
    upstream: Loaded,
    device: str = "cpu",
    *,
    seconds: float = LONG_SECONDS,
    patience: float = math.inf,
    reporter: Reporter | None = None,
) -> Examination:
    """Calls the model on noise, silence, clipped, very short and long sound, alone and in batches, and compares its features.

    Of a model that continues, likelihoods of continuations are compared too; of one that gives no features, these alone. The
    long sound has a length of `seconds`, or less if the call would take longer than `patience` seconds.
    """
    examining = Examining(upstream=upstream, device=device, seconds=seconds, patience=patience, reporter=reporter or Silence())
    found = list(findings(examining)) if offers_features(examining) else []
    if isinstance(upstream.model, Continuing):
        found += continuation(examining)
    return Examination(upstream.alias, tuple(found))


def examined(
    upstream: Loaded, device: str, folder: Path, patience: float = PATIENCE, *, remember: bool = True, again: bool = False
) -> Examination:
    """Returns the examination stored in `folder`, or calls `examine` and, with `remember`, stores it. The key is the model's
    revision, the device and the versions. With `again`, a stored examination is not read.

    One process examines a model; others that ask for the same examination wait, and read it.
    """
    versions = " ".join([f"torch {torch.__version__}", *upstream.libraries, f"superbench {__version__}"])
    facts = f"{upstream.revision}|{device}|{versions}|{METHOD}"
    path = folder / f"{hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()}.json"
    with locked_where_possible(path.with_suffix(".lock")) if remember else contextlib.nullcontext():
        with contextlib.suppress(StoreError, TypeError):  # missing or damaged: examined again
            if not again:
                return Examination(upstream.alias, tuple(Finding(**finding) for finding in read_facts(path)))
        examination = examine(upstream, device, patience=patience)
        if examination.healthy and remember:
            with contextlib.suppress(StoreError):  # a store that cannot be written: examined again next time
                write_facts(path, [asdict(finding) for finding in examination.findings])
    return examination
