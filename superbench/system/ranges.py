"""Checks numbers that the user gives: they must be finite and in range, else an error is raised before any work."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

from superbench.errors import CommandError

LARGEST = 2**63 - 1
"""The largest whole number that random generators and file formats can hold."""


def require_number(option: str, value: float, *, least: float | None = None, above: float | None = None) -> None:
    """Raises `CommandError` unless `value` is a finite number, `least` or more, or greater than `above`.

    `option` is its name.

    >>> require_number("--lr", float("nan"), above=0)
    Traceback (most recent call last):
    superbench.errors.CommandError: --lr nan: expected a finite number above 0.
    """
    _require_type(option, value, "number")
    low = (least is not None and value < least) or (above is not None and value <= above)
    if isinstance(value, bool) or not math.isfinite(value) or low:
        bound = f" above {above:g}" if above is not None else f", {least:g} or more" if least is not None else ""
        raise CommandError(f"{option} {value:g}: expected a finite number{bound}.")


def require_whole(option: str, value: int, *, least: int = 0, most: int = LARGEST) -> None:
    """Raises `CommandError` unless `value` is a whole number from `least` to `most`; `option` is its name.

    >>> require_whole("--seed", -1)
    Traceback (most recent call last):
    superbench.errors.CommandError: --seed -1: expected a whole number, 0 or more.
    """
    _require_type(option, value, "whole number")
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        bound = f"{least} or more" if value != value or value <= most else f"{most} at most"
        raise CommandError(f"{option} {value}: expected a whole number, {bound}.")


def _require_type(option: str, value: object, kind: str) -> None:
    """Raises `CommandError` for a value that is no number: Python callers easily give a text, as in `max_steps="20"`."""
    if isinstance(value, Real):  # also of numpy
        return
    example = f", such as {value.strip()} without quotes" if isinstance(value, str) and _is_number(value) else ""
    raise CommandError(f"{option} {value!r:.80}: expected a {kind}{example}.")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def several(option: str, value: object, example: str) -> tuple[Any, ...]:
    """Returns the values of an option that takes several; raises `CommandError` for one value or a text in place of them.

    >>> several("--seeds", [0, 1], "seeds=(0, 1)")
    (0, 1)
    >>> several("--seeds", "0,1", "seeds=(0, 1)")
    Traceback (most recent call last):
    superbench.errors.CommandError: --seeds '0,1': expected several values in brackets, as in seeds=(0, 1).
    """
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise CommandError(f"{option} {value!r:.80}: expected several values in brackets, as in {example}.")
    return tuple(value)


def require_different(option: str, values: Sequence[float | str]) -> None:
    """Raises `CommandError` if there is no value, or if a value is given twice; `option` is its name."""
    if not values:
        raise CommandError(f"{option}: expected one number or more.")
    repeated = [value for value in values if values.count(value) > 1]
    if repeated:
        raise CommandError(f"{option}: {in_words(repeated[0])} is given twice. Give each number once.")


def in_words(value: float | str) -> str:
    """Returns a number in few digits, or a word unchanged."""
    return value if isinstance(value, str) else f"{value:g}"


def in_full(value: float) -> str:
    """Returns the shortest text that is read back as exactly this number. Different numbers have different texts.

    >>> in_full(0.001), in_full(0.0010000001), in_full(30.0)
    ('0.001', '0.0010000001', '30')
    """
    return repr(float(value)).removesuffix(".0")
