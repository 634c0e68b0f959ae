"""Names that look alike: two models on a board must not have names that a reader would confuse.

Two names look alike if they are equal after folding of case and width (NFKC), or after every character has been replaced by its
prototype, the character that looks the same (skeletons of Unicode TR 39, with the tables of `confusable-homoglyphs`).
"""

from __future__ import annotations

import unicodedata
from functools import cache

from superbench.errors import Malformed
from superbench.results.published import records

_BLANK = (
    {0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, 0x16FE4, 0x1D159}
    | set(range(0x180B, 0x1810)) | set(range(0xFE00, 0xFE10)) | set(range(0xE0100, 0xE01F0))
)  # fmt: skip
"""Characters that Python counts as printable but that are invisible: joiners, fillers, braille blank, variation selectors."""
MOST_MARKS = 3
"""Accents on one letter. Indian scripts need up to three; more would cover the lines above and below."""


def require_visible(name: str, where: str) -> None:
    """Raises `Malformed` for a name with invisible characters, or with too many accents on one letter."""
    hidden = next((character for character in name if ord(character) in _BLANK), None)
    if hidden is not None:
        raise _unfit(name, where, f"contains U+{ord(hidden):04X}, which is invisible")
    marks = 0
    for character in unicodedata.normalize("NFD", name):
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > MOST_MARKS:
            raise _unfit(name, where, f"has more than {MOST_MARKS} accents on one letter")


def _unfit(name: str, where: str, what: str) -> Malformed:
    return Malformed(f"{where}, {name!a:.100}, {what}. Give the model an alias.", "name")


def alike(first: str, second: str) -> bool:
    """Returns whether a reader could confuse the two names.

    >>> alike("apc", "APC"), alike("apc", "арс"), alike("HuBERT", "нuBERT"), alike("模型甲", "語音乙"), alike("apc", "tera")
    (True, True, True, False, False)
    """
    return folded(first) == folded(second) or _same_skeleton(first, second)


def _same_skeleton(first: str, second: str) -> bool:
    """Compares the names as written and in capitals: a Cyrillic en looks like an H only as a capital."""
    return skeleton(first) == skeleton(second) or skeleton(first.upper()) == skeleton(second.upper())


def folded(name: str) -> str:
    """Returns the name without differences of case, of character width and of blanks.

    >>> folded("ＨuBERT  Base")
    'hubert base'
    """
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).split())


def skeleton(name: str) -> str:
    """Replaces each character by its prototype, the character that looks the same; then removes case.

    >>> skeleton("НuВЕRТ")
    'hubert'
    """
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", name))
    drawn = "".join(_prototype(character) for character in plain)
    return folded(unicodedata.normalize("NFD", drawn))


def _prototype(character: str) -> str:
    """Returns a character's prototype.

    The tables list only the prototype for a character, and all characters that look the same for a prototype.
    """
    from confusable_homoglyphs.confusables import confusables_data

    others = confusables_data.get(character, ())
    if len(others) != 1:
        return character
    other = str(others[0]["c"])
    mutual = len(other) == 1 and len(confusables_data.get(other, ())) == 1
    return min(character, other) if mutual else other


# ---------------------------------------------------------------- published rows


@cache
def _published() -> dict[str, str]:
    return {_bare(record["upstream"]): record["upstream"] for record in records()}


def namesake(name: str) -> str | None:
    """Returns the published row of this name, ignoring case, blanks and dashes. A submitted row is never that row.

    >>> namesake("hubert_base"), namesake("mine")
    ('HuBERT Base', None)
    """
    return _published().get(_bare(name))


def impersonated(name: str) -> str | None:
    """Returns the published row whose name `name` imitates with other characters that look the same."""
    if namesake(name):
        return None
    return next((published for published in _published().values() if _same_skeleton(published, name)), None)


def _bare(name: str) -> str:
    return "".join(character for character in folded(name) if character.isalnum() or character == "+")
