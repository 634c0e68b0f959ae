"""Finds the sound at which the computation of features fails, so that the message names the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from superbench.contract import SAMPLE_RATE, Audio
from superbench.errors import BadUpstream, SuperbenchError, first_of, shortened
from superbench.features.quantized import Rows
from superbench.system.devices import require_device

Compute = Callable[[Sequence[Tensor], Sequence[Audio]], list[Rows]]
LONGEST = 300
"""Characters of a model's own message that are shown."""


def computed_or_named(compute: Compute, waves: Sequence[Tensor], audios: Sequence[Audio], alias: str) -> list[Rows]:
    """Returns `compute(waves, audios)`, tried a second time if the model raises an exception.

    If it raises again, the batch is halved until the sound is found. Raises `BadUpstream` with its file, and `LostDevice` if
    the GPU failed, since then every sound would fail.
    """
    for attempt in (1, 2):
        try:
            return compute(waves, audios)
        except SuperbenchError:
            raise
        except Exception as error:
            require_device(error)
            if attempt == 2:
                raise BadUpstream(_message(compute, waves, audios, alias, error)) from error
    raise AssertionError("unreachable")


def _message(compute: Compute, waves: Sequence[Tensor], audios: Sequence[Audio], alias: str, error: Exception) -> str:
    """Returns the message for a batch at which the model raised an exception twice."""
    rows = _smallest(compute, waves, audios)
    raised = f"{alias} raises {type(error).__name__} ({shortened(str(error).strip(), LONGEST)})"
    if len(rows) > 1:
        names = first_of([audios[row].path for row in rows])
        return f"{raised} for {len(rows)} sounds at once, although each half of them passes: {names}. Correct the model."
    seconds = len(waves[rows[0]]) / SAMPLE_RATE
    return f"{raised} for {audios[rows[0]].path} ({seconds:.1f} s). Correct the model, or compare the file with the corpus."


def _smallest(compute: Compute, waves: Sequence[Tensor], audios: Sequence[Audio]) -> list[int]:
    """Returns the positions of the smallest part of a batch that fails, found by halving."""
    rows = list(range(len(waves)))
    while len(rows) > 1:
        halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        failing = next((half for half in halves if _fails(compute, waves, audios, half)), None)
        if failing is None:
            break
        rows = failing
    return rows


def _fails(compute: Compute, waves: Sequence[Tensor], audios: Sequence[Audio], rows: Sequence[int]) -> bool:
    try:
        compute([waves[row] for row in rows], [audios[row] for row in rows])
    except Exception as error:
        require_device(error)
        return True
    return False
