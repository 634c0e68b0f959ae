"""Counts the multiply-accumulates of a model on SUPERB's 32 lengths while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from math import prod
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.flop_counter import FlopCounterMode

from superbench.contract import SAMPLE_RATE
from superbench.plugins.models import Loaded
from superbench.system.seeding import seeded

LENGTHS: Mapping[str, tuple[int, ...]] = {
    "short": (20_560, 34_560, 38_480, 42_560, 45_600, 48_720, 52_000, 55_120),
    "medium": (59_120, 62_720, 66_400, 71_200, 75_200, 78_640, 82_800, 87_520),
    "long": (92_720, 98_560, 104_400, 111_120, 118_480, 125_040, 132_720, 142_640),
    "longer": (154_000, 166_720, 180_880, 197_920, 217_920, 239_280, 268_160, 326_000),
}
"""Samples of the 32 utterances: every 82nd of all 2 620, sorted by length."""
SHORTEST = SAMPLE_RATE // 2
FEW = 64
"""Largest size of an array that may leave torch uncounted, because it contains lengths or scales and no sound."""


def macs_by_length(count: Callable[[int], int], hop: int) -> dict[str, int]:
    """Returns the multiply-accumulates of SUPERB's four groups of lengths, from `count(samples)`."""
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
    """Returns the polynomial of least degree through `points`, with exact values (Lagrange's form).

    >>> _parabola({1: 1, 2: 4, 3: 9})(10)
    Fraction(100, 1)
    """

    def value(x: int) -> Fraction:
        return sum(
            (y * prod((Fraction(x - other, node - other) for other in points if other != node), start=Fraction(1)))
            for node, y in points.items()
        ) + Fraction(0)

    return value


class Uncountable(Exception):
    """Raised for an operation whose multiplications cannot be counted."""


def _attention(query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: Any, **__: Any) -> int:
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _matrix_vector(matrix: tuple[int, ...], *_: Any, **__: Any) -> int:
    return 2 * prod(matrix)


_aten = torch.ops.aten
FORMULAS: dict[Any, Callable[..., int]] = {
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten.mv: _matrix_vector,
}
"""Operations that torch's counter counts as 0: their floating-point operations (two per MAC) as functions of shapes."""
_MULTIPLYING = {"mm", "bmm", "mv", "addmv", "linear", "conv", "convolution", "attention", "lstm", "gru", "rnn", "transformer"}
_POINTWISE = {"_thnn_fused_lstm_cell", "_thnn_fused_gru_cell"}
"""Pointwise operations whose names suggest products; the matrix products before them are counted."""


class _Uncounted(TorchDispatchMode):
    """Collects the names of operations that may multiply and that the counter does not count."""

    def __init__(self, known: Mapping[Any, Any]) -> None:
        super().__init__()
        self.known, self.names = known, set[str]()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = operation._overloadpacket
        library, _, name = packet._qualified_op_name.partition("::")
        foreign = library not in ("aten", "prim", "prims", "profiler")
        if foreign or (packet not in self.known and name not in _POINTWISE and _MULTIPLYING & set(name.split("_"))):
            self.names.add(f"{library}::{name}")
        return operation(*args, **(kwargs or {}))


_RECURRENT = (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)


class _Outside(TorchFunctionMode):
    """Counts recurrent layers, and detects sound or features that leave torch, which a dispatch mode cannot do.

    A recurrent layer multiplies by each of its weight matrices once per frame. To count it step by step would also be slow.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs, self.left = 0, False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (torch.Tensor.numpy, torch.Tensor.__array__):
            self.left |= args[0].is_floating_point() and args[0].numel() > FEW
        if function not in _RECURRENT:
            return function(*args, **(kwargs or {}))
        weights = next(argument for argument in args[2:] if isinstance(argument, (list, tuple)) and argument[0].dim() == 2)
        self.macs += prod(args[0].shape[:-1]) * sum(weight.numel() for weight in weights if weight.dim() == 2)
        with _disable_current_modes():
            return function(*args, **(kwargs or {}))


def count_macs(upstream: Loaded, samples: int, device: str) -> int:
    """Returns the MACs of one call on one sound; raises `Uncountable`."""
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    uncounted, outside = _Uncounted(counter.flop_registry), _Outside()
    # not inference_mode: the counter decomposes composite operations, and then weight normalisation fails
    with torch.no_grad(), _plain_attention(), outside, uncounted, counter:
        upstream.model(*noise(samples, device))
    if uncounted.names:
        raise Uncountable(f"the number of multiplications in {', '.join(sorted(uncounted.names))} is not known")
    if outside.left:
        raise Uncountable("the model computes outside of torch (NumPy)")
    return counter.get_total_flops() // 2 + outside.macs


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Inside, disables torch's fused Transformer layer, whose multiplications cannot be counted."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def noise(samples: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns one wave of noise with `samples` samples, the same in every process, and its length, on `device`."""
    with seeded(32, samples):
        wave = torch.randn(1, samples) * 0.1
    return wave.to(device), torch.tensor([samples], device=device)
