"""Does a model keep the contract? Measured, not believed: each finding says what was seen.

The examination runs before anything is extracted, and its certificate goes into every result.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from superbench import __version__
from superbench.contract import SAMPLE_RATE
from superbench.errors import BadUpstream
from superbench.features.passing import TOLERATED_FRAMES
from superbench.files import write_text
from superbench.probing.training import seeded
from superbench.registry import Loaded

INVARIANCE = 1e-5
"""Largest relative change of an utterance's features beside a longer one that still counts as none (design: 1e-5)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what it is called, whether it holds, and what was measured. `fatal` if the model cannot be used."""

    name: str
    holds: bool
    measured: str
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class Examination:
    """All findings about an upstream."""

    alias: str
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Can it be used?"""
        return all(finding.holds for finding in self.findings if finding.fatal)

    @property
    def batches(self) -> bool:
        """May utterances of different lengths share a batch?"""
        return all(finding.holds for finding in self.findings if finding.name == "batch mates")

    def certificate(self) -> dict[str, Any]:
        """The findings as plain values; raises `BadUpstream` with the reasons if the model cannot be used."""
        if not self.healthy:
            reasons = "; ".join(f"{f.name}: {f.measured}" for f in self.findings if f.fatal and not f.holds)
            raise BadUpstream(f"{self.alias} does not keep the contract of an upstream. {reasons}.")
        return {f.name: {"holds": f.holds, "measured": f.measured} for f in self.findings if f.name != "speed"}


def examine(upstream: Loaded, device: str = "cpu") -> Examination:
    """Call the model on noise, silence and very short sound, alone and in batches, and compare."""
    return Examination(upstream.alias, tuple(_findings(upstream, device)))


def examined(upstream: Loaded, device: str, folder: Path) -> Examination:
    """As `examine`, remembered in `folder` under all that it depends on: the model's revision, the device, the versions."""
    facts = f"{upstream.revision}|{device}|torch {torch.__version__}|superbench {__version__}"
    path = folder / f"{hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):  # absent or unreadable: examined again
        return Examination(upstream.alias, tuple(Finding(**finding) for finding in json.loads(path.read_text())))
    found = examine(upstream, device)
    if found.healthy:
        write_text(path, json.dumps([asdict(finding) for finding in found.findings], indent=1) + "\n")
    return found


def _findings(upstream: Loaded, device: str) -> Iterator[Finding]:
    with seeded(20_24):
        short, long = torch.randn(SAMPLE_RATE * 3 // 4) * 0.1, torch.randn(SAMPLE_RATE * 3 // 2) * 0.1
    before = _weights(upstream.model)
    try:
        began = time.perf_counter()
        alone = _states(upstream, [short], device)
        spent = time.perf_counter() - began
    except Exception as error:
        yield Finding("call", False, f"calling it on 0.75 s of noise raised {type(error).__name__}: {error}")
        return
    declared = f"{upstream.layers} layers of {upstream.dim}, hop {upstream.hop}"
    shape = tuple(alone[0].shape)
    fits = alone[0].dim() == 3 and shape[0] == upstream.layers and shape[2] == upstream.dim
    yield Finding("shape", fits, f"(layer, time, dim) = {shape}; declared {declared}")
    if not fits:
        return
    expected = round(len(short) / upstream.hop)
    near = abs(shape[1] - expected) < TOLERATED_FRAMES
    yield Finding("length", near, f"{shape[1]} frames for {len(short)} samples; round(samples / hop) = {expected}")
    yield Finding(
        "finite", bool(torch.isfinite(alone[0]).all()), "no NaN on noise" if _finite(alone) else "NaN or infinity on noise"
    )
    again = _difference(alone[0], _states(upstream, [short], device)[0])
    yield Finding("deterministic", again == 0.0, f"the same sound twice differs by {again:.1e} (dropout left on?)")
    beside = max(
        _difference(alone[0], _states(upstream, [short, long], device)[0]),
        _difference(alone[0], _states(upstream, [long, short], device)[1]),
    )
    yield Finding(
        "batch mates", beside <= INVARIANCE, f"beside a longer sound the features change by {beside:.1e}", fatal=False
    )
    yield from _extremes(upstream, device)
    yield Finding("frozen", before == _weights(upstream.model), "weights are the same after the calls as before")
    yield Finding("speed", True, f"{spent / 0.75:.3f} s per second of sound", fatal=False)


def _extremes(upstream: Loaded, device: str) -> Iterator[Finding]:
    cases = {
        "silence": torch.zeros(SAMPLE_RATE),
        "clipping": torch.sign(torch.sin(torch.arange(8000) * 0.2)),
        "one sample": torch.ones(1),
    }
    for name, wave in cases.items():
        try:
            states = _states(upstream, [wave], device)
        except Exception as error:
            yield Finding(name, False, f"raised {type(error).__name__}: {error}", fatal=name != "one sample")
            continue
        fine = _finite(states) and states[0].shape[1] >= 1
        yield Finding(
            name,
            fine,
            f"{states[0].shape[1]} frames, {'finite' if _finite(states) else 'NaN or infinite'}",
            fatal=name != "one sample",
        )


def _states(upstream: Loaded, waves: list[Tensor], device: str) -> list[Tensor]:
    """Hidden states (layer, time, dim) of each wave, its own frames only."""
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = nn.utils.rnn.pad_sequence(waves, batch_first=True)
    with torch.inference_mode():
        features = upstream.model(padded.to(device), lengths.to(device))
    return [features.frames[:, i, : int(n)].float().cpu() for i, n in enumerate(features.lengths)]


def _finite(states: list[Tensor]) -> bool:
    return all(bool(torch.isfinite(one).all()) for one in states)


def _difference(one: Tensor, other: Tensor) -> float:
    """Largest absolute difference over the largest value; infinite if the shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    return float((one - other).abs().max() / one.abs().max().clamp(min=1e-12))


def _weights(model: Any) -> str:
    if not isinstance(model, nn.Module):
        return ""
    digest = hashlib.blake2b()
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
