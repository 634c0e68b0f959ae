"""Durations as text."""

from __future__ import annotations

YEAR = 365.25 * 24 * 3600
UNITS = ((YEAR, "years"), (86_400.0, "days"), (3600.0, "h"), (60.0, "min"), (0.0, "s"))


def left(seconds: float) -> str:
    """Return a remaining time as text.

    >>> left(0.0), left(59.4), left(90.0), left(5400.0)
    ('about 1 s left', 'about 59 s left', 'about 1.5 min left', 'about 1.5 h left')
    """
    rounded = max(round(seconds), 1)
    return f"about {rounded} s left" if rounded < 60 else f"about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Return a duration in the largest unit in which it is at least one.

    >>> duration(5.0), duration(5400.0), duration(4e8)
    ('5.0 s', '1.5 h', '12.7 years')
    """
    size, unit = next((size, unit) for size, unit in UNITS if seconds >= size)
    return f"{seconds / (size or 1.0):.1f} {unit}"
