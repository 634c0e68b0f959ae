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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.flop_counter import FlopCounterMode

from superbench import __version__
from superbench.contract import SAMPLE_RATE
from superbench.errors import StoreError
from superbench.files import read_facts, write_facts
from superbench.locks import locked
from superbench.probing.training import seeded
from superbench.registry import Loaded
from superbench.reporting import Reporter, Silence

LENGTHS: Mapping[str, tuple[int, ...]] = {
    "short": (20_560, 34_560, 38_480, 42_560, 45_600, 48_720, 52_000, 55_120),
    "medium": (59_120, 62_720, 66_400, 71_200, 75_200, 78_640, 82_800, 87_520),
    "long": (92_720, 98_560, 104_400, 111_120, 118_480, 125_040, 132_720, 142_640),
    "longer": (154_000, 166_720, 180_880, 197_920, 217_920, 239_280, 268_160, 326_000),
}
"""Samples of the 32 utterances: of all 2 620 by length, every 82nd."""

SHORTEST = SAMPLE_RATE // 2
FEW = 64
"""Numbers that a model may take out of torch without computing with them there: lengths, scales."""

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
            return Efficiency(None, None, machine, threads, (f"the model's efficiency was not measured: {why}",))
        write_facts(path, asdict(found))
    return found


def weigh(upstream: Loaded, device: str = "cpu", reporter: Reporter | None = None) -> Efficiency:
    """Count and time a model. One that multiplies where no counter sees it has no MACs, and a note."""
    macs, notes, done, listener = None, tuple[str, ...](), 0, reporter or Silence()
    expected = max(LENGTHS["longer"]) + 6 * SHORTEST * len({n % upstream.hop for group in LENGTHS.values() for n in group})

    def count(samples: int) -> int:
        """Multiply-accumulates of one pass, told to the reporter."""
        nonlocal done
        found = _count(upstream, samples, device)
        done += samples
        listener.advance("efficiency", done, max(expected, done))
        return found

    try:
        macs = _by_length(count, upstream.hop)
    except Uncountable as error:
        notes = (f"MACs were not counted: {error}",)
    return Efficiency(macs, _real_time_factor(upstream, device), processor(device), torch.get_num_threads(), notes)


# ---------------------------------------------------------------- from a few lengths to 32


def _by_length(count: Callable[[int], int], hop: int) -> dict[str, int]:
    lengths = [samples for group in LENGTHS.values() for samples in group]
    remainders = sorted({samples % hop for samples in lengths})
    longest = max(lengths)
    if 3 * len(remainders) + 1 < len(lengths):
        short = -(-SHORTEST // hop) * hop
        curves = {
            rest: _parabola({n: count(n) for n in (short + rest, 2 * short + rest, 3 * short + rest)}) for rest in remainders
        }
        if curves[longest % hop](longest) == count(longest):
            return {name: sum(int(curves[n % hop](n)) for n in group) for name, group in LENGTHS.items()}
    return {name: sum(count(n) for n in group) for name, group in LENGTHS.items()}


def _parabola(points: Mapping[int, int]) -> Callable[[int], Fraction]:
    """The polynomial of least degree through `points`, exact (Lagrange's form).

    >>> _parabola({1: 1, 2: 4, 3: 9})(10)
    Fraction(100, 1)
    """

    def value(x: int) -> Fraction:
        return sum(
            (y * prod((Fraction(x - other, own - other) for other in points if other != own), start=Fraction(1)))
            for own, y in points.items()
        ) + Fraction(0)

    return value


# ---------------------------------------------------------------- one length


class Uncountable(Exception):
    """Something of which nobody knows how much it multiplies."""


def _attention(query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: Any, **__: Any) -> int:
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _matrix_vector(matrix: tuple[int, ...], *_: Any, **__: Any) -> int:
    return 2 * prod(matrix)


_aten = torch.ops.aten
FORMULAS: dict[Any, Callable[..., int]] = {
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten.mv: _matrix_vector,
}
"""Operations that torch's counter takes for 0: floating-point operations (two per MAC) of shapes."""

_MULTIPLYING = {"mm", "bmm", "mv", "addmv", "linear", "conv", "convolution", "attention", "lstm", "gru", "rnn", "transformer"}
_POINTWISE = {"_thnn_fused_lstm_cell", "_thnn_fused_gru_cell"}
"""They follow matrix products that are counted."""


class _Strangers(TorchDispatchMode):
    """Notices operations that the counter knows nothing of, though they may multiply."""

    def __init__(self, known: Mapping[Any, Any]) -> None:
        super().__init__()
        self.known, self.names = known, set[str]()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = operation._overloadpacket
        space, _, name = packet._qualified_op_name.partition("::")
        foreign = space not in ("aten", "prim", "prims", "profiler")
        if foreign or (packet not in self.known and name not in _POINTWISE and _MULTIPLYING & set(name.split("_"))):
            self.names.add(f"{space}::{name}")
        return operation(*args, **(kwargs or {}))


_RECURRENT = (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)


class _Outside(TorchFunctionMode):
    """Sees what no dispatcher shows: recurrent layers as a whole, and sound or features that leave torch.

    A recurrent layer multiplies each of its weight matrices once per frame; taken apart step by step, it would also be slow.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs, self.left = 0, False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (torch.Tensor.numpy, torch.Tensor.__array__):
            self.left |= args[0].is_floating_point() and args[0].numel() > FEW
        if function not in _RECURRENT:
            return function(*args, **(kwargs or {}))
        weights = next(one for one in args[2:] if isinstance(one, (list, tuple)) and one[0].dim() == 2)
        self.macs += prod(args[0].shape[:-1]) * sum(weight.numel() for weight in weights if weight.dim() == 2)
        with _disable_current_modes():
            return function(*args, **(kwargs or {}))


def _count(upstream: Loaded, samples: int, device: str) -> int:
    """MACs of one pass of one sound; raises `Uncountable`."""
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    strangers, outside = _Strangers(counter.flop_registry), _Outside()
    # not inference_mode: the counter takes composite operations apart, and weight normalisation then fails
    with torch.no_grad(), _plain_attention(), outside, strangers, counter:
        upstream.model(*_noise(samples, device))
    if strangers.names:
        raise Uncountable(f"how much {', '.join(sorted(strangers.names))} multiplies is not known")
    if outside.left:
        raise Uncountable("part of it is computed outside of torch (NumPy)")
    return counter.get_total_flops() // 2 + outside.macs


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """torch's fused Transformer layer, which hides what it multiplies, stays off inside."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _noise(samples: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    with seeded(32, samples):
        wave = torch.randn(1, samples) * 0.1
    return wave.to(device), torch.tensor([samples], device=device)


# ---------------------------------------------------------------- time


def _real_time_factor(upstream: Loaded, device: str) -> float:
    arguments = _noise(TIMED_SECONDS * SAMPLE_RATE, device)
    seconds: list[float] = []
    with torch.inference_mode():
        upstream.model(*_noise(SAMPLE_RATE, device))
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
