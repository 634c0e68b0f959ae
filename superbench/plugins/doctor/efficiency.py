"""Measures the cost of a model: multiply-accumulates on SUPERB's 32 lengths, and its speed on this machine.

SUPERB counts MACs over 32 utterances of LibriSpeech test-clean, one at a time, and sums them, also within four groups of eight
(protocol of SUPERB, 3.6). MACs depend only on lengths, so they are counted on noise: matrix products, convolutions, attention
and recurrent layers, as counted by `torch.utils.flop_counter`, with formulas for operations that it does not count (attention
on a CPU, LSTM). FFTs and pointwise operations count as zero, as in the source. The source's figures for recurrent models cannot
be compared with these: the published MACs of APC, VQ-APC and modified CPC, minus their other layers, are 5.5 times the products
of their GRUs or LSTM (5.52, 5.52, 5.53). The figures of Transformers and convolutions agree.

Not all 32 lengths are counted. Among lengths with the same remainder modulo the hop, the number of frames of every layer is a
linear function of the length, and the MACs are a polynomial of degree two, which three short sounds per remainder determine
exactly. As a check, the longest length is counted too. If the polynomial does not give its count (as for a model that cuts
sound into windows), all 32 lengths are counted.
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
from superbench.errors import BrokenPlugin, StoreError, shortened
from superbench.plugins.doctor.macs import LENGTHS, SHORTEST, Uncountable, count_macs, macs_by_length, noise
from superbench.plugins.models import Loaded
from superbench.system.files import read_facts, write_facts
from superbench.system.locks import locked
from superbench.system.progress import Reporter, Silence

TIMED_SECONDS, TIMED_CALLS, ENOUGH_SECONDS = 10, 3, 2.0
"""Seconds of sound in a timed call, largest number of timed calls, and seconds after which no further call begins."""

NOTHING = "nothing"
"""What a model without trained weights was trained on."""
MOST_LETTERS = 200


@dataclass(frozen=True, slots=True)
class Efficiency:
    """The cost of a model. `macs` by group of lengths; `real_time_factor`: seconds of work per second of sound, one sound at a
    time, the fastest of a few calls, on `device` with `threads`. None, with a note, if it could not be measured."""

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
        """Returns the `efficiency` of a result."""
        return {
            "params": upstream.params, "macs": self.total, "macs_by_length": self.macs, "stride_ms": upstream.hop / 16,
            "layers": upstream.layers, "dim": upstream.dim, "corpus": trained_on(upstream),
            "real_time_factor": self.real_time_factor,
            "measured": {"device": self.device, "threads": self.threads, "sound_seconds": TIMED_SECONDS, "batch": 1},
        }  # fmt: skip


def trained_on(upstream: Loaded) -> str | None:
    """Returns the data that the model was trained on: `nothing` with random weights, else what it declares as
    `training_datasets`; if it declares nothing, `nothing` for a model without parameters, and None for others."""
    if "untrained" in upstream.spec.options:
        return NOTHING
    declared = getattr(upstream.model, "training_datasets", None)
    if declared is None:
        return None if upstream.params else NOTHING
    names = [declared] if isinstance(declared, str) else list(declared)
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise BrokenPlugin(
            f"{upstream.alias} declares training_datasets {declared!r:.100}. Expected names of data sets, such as "
            '("LibriSpeech 960 h",), or () for none.'
        )
    return shortened(", ".join(" ".join(name.split()) for name in names), MOST_LETTERS) or NOTHING


def weighed(upstream: Loaded, device: str, folder: Path, reporter: Reporter | None = None) -> Efficiency:
    """Returns the cost from `folder`, or measures and stores it. The key is the model's revision, the machine and the versions.

    Only one process measures at a time; the others wait and read its values. If the model raises an error, the returned record
    has a note and is not stored.
    """
    machine, threads = processor(device), torch.get_num_threads()
    if getattr(upstream.model, "only_in_context", False):
        why = "the model's efficiency was not measured: it gives no features"
        return Efficiency(macs=None, real_time_factor=None, device=machine, threads=threads, notes=(why,))
    facts = [upstream.revision, upstream.hop, machine, threads, torch.__version__, __version__]
    path = folder / f"{hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()}.json"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "weighing.lock", wait=True):
        with contextlib.suppress(StoreError, TypeError):  # missing or damaged: measured again
            stored = read_facts(path)
            return Efficiency(**stored | {"notes": tuple(stored["notes"])})
        try:
            measured = weigh(upstream, device, reporter)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            return Efficiency(
                macs=None,
                real_time_factor=None,
                device=machine,
                threads=threads,
                notes=(f"the model's efficiency was not measured: {reason}",),
            )
        write_facts(path, asdict(measured))
    return measured


def weigh(upstream: Loaded, device: str = "cpu", reporter: Reporter | None = None) -> Efficiency:
    """Counts the MACs of a model and times it. If some of its operations cannot be counted, `macs` is None, with a note."""
    macs, notes, done, progress = None, tuple[str, ...](), 0, reporter or Silence()
    expected = max(LENGTHS["longer"]) + 6 * SHORTEST * len({n % upstream.hop for group in LENGTHS.values() for n in group})

    def count(samples: int) -> int:
        """Returns the multiply-accumulates of one call, and reports progress."""
        nonlocal done
        operations = count_macs(upstream, samples, device)
        done += samples
        progress.advance("efficiency", done, max(expected, done))
        return operations

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
    """Returns the name of the GPU, or the model of the CPU."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    import platform

    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
