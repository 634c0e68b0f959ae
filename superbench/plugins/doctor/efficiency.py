"""What a model costs: parameters, multiply-accumulates on SUPERB's 32 lengths, and how fast it runs on this machine.

SUPERB counts MACs over 32 utterances of LibriSpeech test-clean, one at a time, and sums them, also within four groups of eight
(protocol of SUPERB, 3.6). MACs depend on lengths alone, so noise is counted: matrix products, convolutions, attention and
recurrent layers, as `torch.utils.flop_counter` sees them, with formulas for what it misses (attention on a CPU, LSTM). FFTs and
pointwise operations count nothing, as in the source. Its figures for recurrent models are no measure for these: the published
MACs of APC, VQ-APC and modified CPC, less what does not recur, are 5.5 times their GRUs' or LSTM's products (seen: 5.52, 5.52,
5.53), while those of Transformers and convolutions agree.

Not all 32 pass: among lengths of one remainder modulo the hop every layer's frames are a straight line, and MACs a polynomial
of degree two of them, so three short sounds per remainder give it exactly. The longest length is counted as well; a model for
which the polynomial misses it (one that cuts sound into windows, say) is counted on all 32.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from superbench.__version__ import __version__
from superbench.contract import SAMPLE_RATE
from superbench.errors import StoreError
from superbench.plugins.doctor.macs import LENGTHS, SHORTEST, Uncountable, count_macs, macs_by_length, noise
from superbench.plugins.models import Loaded
from superbench.system.files import read_facts, write_facts
from superbench.system.locks import locked
from superbench.system.progress import Reporter, Silence

TIMED_SECONDS, TIMED_CALLS, ENOUGH_SECONDS = 10, 3, 2.0
"""Sound of one timed call; at most so many calls, and no further one after so many seconds."""


@dataclass(frozen=True, slots=True)
class Efficiency:
    """`macs` by group of lengths; `real_time_factor`: seconds of work per second of sound, one sound at a time, the quickest of
    a few calls, on `device` with `threads`. None, with a note that says why, for what could not be had."""

    macs: dict[str, int] | None
    real_time_factor: float | None
    device: str
    threads: int
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> int | None:
        """MACs over all 32 lengths."""
        return None if self.macs is None else sum(self.macs.values())

    def card(self, upstream: Loaded) -> dict[str, Any]:
        """The `efficiency` of a result."""
        return {
            "params": upstream.params, "macs": self.total, "macs_by_length": self.macs, "stride_ms": upstream.hop / 16,
            "layers": upstream.layers, "dim": upstream.dim, "real_time_factor": self.real_time_factor,
            "measured": {"device": self.device, "threads": self.threads, "sound_seconds": TIMED_SECONDS, "batch": 1},
        }  # fmt: skip


def weighed(upstream: Loaded, device: str, folder: Path, reporter: Reporter | None = None) -> Efficiency:
    """As `weigh`, remembered in `folder` under all that it depends on: the model's revision, the machine, the versions.

    Processes that want the same wait for the first one. Never raises for a model's sake: one that fails here gets a note, and
    is weighed again the next time.
    """
    machine, threads = processor(device), torch.get_num_threads()
    if getattr(upstream.model, "only_in_context", False):
        why = "the model's efficiency was not measured: it gives no features"
        return Efficiency(macs=None, real_time_factor=None, device=machine, threads=threads, notes=(why,))
    facts = [upstream.revision, upstream.hop, machine, threads, torch.__version__, __version__]
    path = folder / f"{hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()}.json"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "weighing.lock", wait=True):
        with contextlib.suppress(StoreError, TypeError):  # absent or damaged: weighed again
            kept = read_facts(path)
            return Efficiency(**kept | {"notes": tuple(kept["notes"])})
        try:
            found = weigh(upstream, device, reporter)
        except Exception as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            return Efficiency(
                macs=None,
                real_time_factor=None,
                device=machine,
                threads=threads,
                notes=(f"the model's efficiency was not measured: {why}",),
            )
        write_facts(path, asdict(found))
    return found


def weigh(upstream: Loaded, device: str = "cpu", reporter: Reporter | None = None) -> Efficiency:
    """Count and time a model. One that multiplies where no counter sees it has no MACs, and a note."""
    macs, notes, done, listener = None, tuple[str, ...](), 0, reporter or Silence()
    expected = max(LENGTHS["longer"]) + 6 * SHORTEST * len({n % upstream.hop for group in LENGTHS.values() for n in group})

    def count(samples: int) -> int:
        """Multiply-accumulates of one pass, told to the reporter."""
        nonlocal done
        found = count_macs(upstream, samples, device)
        done += samples
        listener.advance("efficiency", done, max(expected, done))
        return found

    try:
        macs = macs_by_length(count, upstream.hop)
    except Uncountable as error:
        notes = (f"MACs were not counted: {error}",)
    return Efficiency(
        macs=macs,
        real_time_factor=_real_time_factor(upstream, device),
        device=processor(device),
        threads=torch.get_num_threads(),
        notes=notes,
    )


# ---------------------------------------------------------------- time


def _real_time_factor(upstream: Loaded, device: str) -> float:
    arguments = noise(TIMED_SECONDS * SAMPLE_RATE, device)
    seconds: list[float] = []
    with torch.inference_mode():
        upstream.model(*noise(SAMPLE_RATE, device))
        while len(seconds) < TIMED_CALLS and sum(seconds) < ENOUGH_SECONDS:
            began = time.perf_counter()
            upstream.model(*arguments).frames.sum().item()  # waits for a GPU
            seconds.append(time.perf_counter() - began)
    return float(f"{min(seconds) / TIMED_SECONDS:.3g}")


def processor(device: str) -> str:
    """The name of what computes: the GPU, or the CPU's model."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    import platform

    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
