"""Does a model keep the contract? Measured, not believed: a certificate, or the reasons why there is none.

The examination runs before anything is extracted; its certificate goes into every result, and extraction does what it says.
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
from superbench.errors import BadUpstream, StoreError
from superbench.plugins.doctor.checks import Examining, Finding, findings
from superbench.plugins.models import Loaded, Mates
from superbench.system.files import read_facts, write_facts
from superbench.system.progress import Reporter, Silence

LONG_SECONDS = 60.0
PATIENCE = 30.0
"""Seconds that a run waits for the long sound of a model that it meets for the first time."""
METHOD = 2
"""Raised whenever the checks change, so that certificates of older ones are made anew."""
PASSING = ("speed", "memory")
"""What differs from one examination to the next; not part of a certificate."""


@dataclass(frozen=True, slots=True)
class Examination:
    """All findings about an upstream (or a task)."""

    alias: str
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Can it be used?"""
        return all(finding.holds for finding in self.findings if finding.fatal)

    @property
    def mates(self) -> Mates:
        """Which utterances may share a batch: any, those of equal length, or none."""
        failed = {finding.name for finding in self.findings if not finding.holds}
        return "none" if "equal mates" in failed else "equal" if "batch mates" in failed else "any"

    @property
    def reasons(self) -> list[str]:
        """Why it cannot be used."""
        return [f"{finding.name}: {finding.measured}" for finding in self.findings if finding.fatal and not finding.holds]

    @property
    def actions(self) -> list[str]:
        """What extraction will do about what was found."""
        return [finding.action for finding in self.findings if finding.action and not finding.holds]

    def certificate(self) -> dict[str, Any]:
        """The findings as plain values; raises `BadUpstream` with the reasons if the model cannot be used."""
        if not self.healthy:
            raise BadUpstream(f"{self.alias} does not keep the contract of an upstream. {'; '.join(self.reasons)}.")
        return {finding.name: _certified(finding) for finding in self.findings if finding.name not in PASSING}


def _certified(finding: Finding) -> dict[str, Any]:
    found = {"holds": finding.holds, "measured": finding.measured}
    return found if finding.holds or not finding.action else found | {"action": finding.action}


def examine(
    upstream: Loaded,
    device: str = "cpu",
    *,
    seconds: float = LONG_SECONDS,
    patience: float = math.inf,
    reporter: Reporter | None = None,
) -> Examination:
    """Call the model on noise, silence, clipped, very short and long sound, alone and in batches, and compare.

    The long sound lasts `seconds`, or less where it would take longer than `patience` seconds.
    """
    examining = Examining(upstream=upstream, device=device, seconds=seconds, patience=patience, reporter=reporter or Silence())
    return Examination(upstream.alias, tuple(findings(examining)))


def examined(
    upstream: Loaded, device: str, folder: Path, patience: float = PATIENCE, *, remember: bool = True, anew: bool = False
) -> Examination:
    """As `examine`, remembered in `folder` under all that it depends on: the model's revision, the device, the versions; what
    is remembered is not looked at if it is to be done `anew`."""
    versions = " ".join([f"torch {torch.__version__}", *upstream.libraries, f"superbench {__version__}"])
    facts = f"{upstream.revision}|{device}|{versions}|{METHOD}"
    path = folder / f"{hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()}.json"
    with contextlib.suppress(StoreError, TypeError):  # absent or damaged: examined again
        if not anew:
            return Examination(upstream.alias, tuple(Finding(**finding) for finding in read_facts(path)))
    found = examine(upstream, device, patience=patience)
    if found.healthy and remember:
        with contextlib.suppress(StoreError):  # a store that cannot be written: examined again next time
            write_facts(path, [asdict(finding) for finding in found.findings])
    return found
