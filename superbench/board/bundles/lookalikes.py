"""Names that look alike: what a reader takes for one name must not be two models.

Two names look alike if they are equal after folding of case and width (NFKC), or after every character has been replaced by the
one that it is drawn like (skeletons of Unicode TR 39, by the tables of `confusable-homoglyphs`).
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
"""Printable to Python, and nothing to see: joiners, fillers, braille blank, variation selectors."""
MOST_MARKS = 3
"""Accents on one letter; scripts of India need as many, a name that climbs out of its line needs more."""


def require_visible(name: str, where: str) -> None:
    """Raise `Malformed` for a name that holds what cannot be seen, or accents piled up."""
    hidden = next((character for character in name if ord(character) in _BLANK), None)
    if hidden is not None:
        raise _unfit(name, where, f"holds U+{ord(hidden):04X}, which is invisible")
    marks = 0
    for character in unicodedata.normalize("NFD", name):
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > MOST_MARKS:
            raise _unfit(name, where, f"has more than {MOST_MARKS} accents on one letter")


def _unfit(name: str, where: str, what: str) -> Malformed:
    return Malformed(f"{where}, {name!a:.100}, {what}. Give the model an alias.", "name")


def alike(one: str, other: str) -> bool:
    """May a reader take one name for the other?

    >>> alike("apc", "APC"), alike("apc", "арс"), alike("HuBERT", "нuBERT"), alike("模型甲", "語音乙"), alike("apc", "tera")
    (True, True, True, False, False)
    """
    return folded(one) == folded(other) or _same_skeleton(one, other)


def _same_skeleton(one: str, other: str) -> bool:
    """As they are written, or in capitals: a Cyrillic en is drawn like an H only there."""
    return skeleton(one) == skeleton(other) or skeleton(one.upper()) == skeleton(other.upper())


def folded(name: str) -> str:
    """Without differences of case, of width and of blanks.

    >>> folded("ＨuBERT  Base")
    'hubert base'
    """
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).split())


def skeleton(name: str) -> str:
    """Each character as the one that it is drawn like, then without case.

    >>> skeleton("НuВЕRТ")
    'hubert'
    """
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", name))
    drawn = "".join(_prototype(character) for character in plain)
    return folded(unicodedata.normalize("NFD", drawn))


def _prototype(character: str) -> str:
    """The tables list, for a character, its prototype alone; for a prototype, all that are drawn like it."""
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
    """The published row that is called so, but for case, blanks and dashes; a row of a board is never that row.

    >>> namesake("hubert_base"), namesake("mine")
    ('HuBERT Base', None)
    """
    return _published().get(_bare(name))


def impersonated(name: str) -> str | None:
    """The published row whose name `name` imitates with characters that are only drawn like its own."""
    if namesake(name):
        return None
    return next((published for published in _published().values() if _same_skeleton(published, name)), None)


def _bare(name: str) -> str:
    return "".join(character for character in folded(name) if character.isalnum() or character == "+")
