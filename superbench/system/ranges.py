"""Numbers that a person gives: finite and within their range, or one sentence before anything runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from superbench.errors import CommandError

LARGEST = 2**63 - 1
"""Of whole numbers: what generators of random numbers and the disk's formats hold."""


def require_number(asked: str, value: float, *, least: float | None = None, above: float | None = None) -> None:
    """Raises `CommandError` unless `value` is a finite number, `least` or more, or greater than `above`.

    `asked` names the option.

    >>> require_number("--lr", float("nan"), above=0)
    Traceback (most recent call last):
    superbench.errors.CommandError: --lr nan: expected a finite number above 0.
    """
    low = (least is not None and value < least) or (above is not None and value <= above)
    if isinstance(value, bool) or not math.isfinite(value) or low:
        bound = f" above {above:g}" if above is not None else f", {least:g} or more" if least is not None else ""
        raise CommandError(f"{asked} {value:g}: expected a finite number{bound}.")


def require_whole(asked: str, value: int, *, least: int = 0) -> None:
    """Raises `CommandError` unless `value` is a whole number from `least` to LARGEST; `asked` names the option.

    >>> require_whole("--seed", -1)
    Traceback (most recent call last):
    superbench.errors.CommandError: --seed -1: expected a whole number, 0 or more.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
        bound = f"{least} or more" if value != value or value <= LARGEST else f"{LARGEST} at most"
        raise CommandError(f"{asked} {value}: expected a whole number, {bound}.")


def require_different(asked: str, values: Sequence[float]) -> None:
    """Raises `CommandError` for no value at all, and for one that stands twice; `asked` names the option."""
    if not values:
        raise CommandError(f"{asked}: expected one number or more.")
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise CommandError(f"{asked}: {twice[0]:g} stands twice. Give each number once.")


def in_full(value: float) -> str:
    """The shortest text that reads back as this very number: texts of different numbers differ.

    >>> in_full(0.001), in_full(0.0010000001), in_full(30.0)
    ('0.001', '0.0010000001', '30')
    """
    return repr(float(value)).removesuffix(".0")
