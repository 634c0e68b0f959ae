"""Names that look alike: two models on a board must not have names that a reader would confuse.

Two names look alike if they are equal after folding of case and width (NFKC), or after every character has been replaced by its
prototype, the character that looks the same (skeletons of Unicode TR 39, with the tables of `confusable-homoglyphs`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

from superbench.errors import Malformed
from superbench.results.published import records

_BLANK = (
    {0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, 0x16FE4, 0x1D159}
    | set(range(0x180B, 0x1810)) | set(range(0xFE00, 0xFE10)) | set(range(0xE0100, 0xE01F0))
)  # fmt: skip
"""Characters that Python counts as printable but that are invisible: joiners, fillers, braille blank, variation selectors."""
_SIGNS = (
    range(0xA1, 0xC0),
    range(0xD7, 0xD8),
    range(0xF7, 0xF8),
    range(0x2000, 0x2010),
    range(0x2016, 0x2C00),
    range(0x2E00, 0x2E80),
)
"""Latin and general punctuation, superscripts, mathematical signs and shapes: † ’ ¹ ≈ ± ◆. The page marks rows with some of
them, and a reader takes the others for such a mark, or for an ASCII character. Dashes are allowed: they look like a hyphen, and
`alike` knows it."""
_ACCENTS = (range(0x300, 0x370), range(0x1AB0, 0x1B00), range(0x1DC0, 0x1E00), range(0x20D0, 0x2100), range(0xFE20, 0xFE30))
"""Combining marks that no script needs beside the letters that have them built in."""
MOST_MARKS = 3
"""Accents on one letter. Indian scripts need up to three; more would cover the lines above and below."""


def require_legible(name: str, where: str) -> None:
    """Raises `Malformed` for a name with characters that are invisible, or that look like a mark of the page or like an ASCII
    character; with blanks that look like one; or with too many accents on one letter. Letters of all scripts are allowed."""
    marks = 0
    for character in unicodedata.normalize("NFD", name):
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > MOST_MARKS:
            raise _unfit(name, where, f"has more than {MOST_MARKS} accents on one letter")
    for character in unicodedata.normalize("NFC", name):
        if reason := _illegible(character):
            raise _unfit(name, where, f"contains U+{ord(character):04X}, {reason}")
    if "  " in name:
        raise _unfit(name, where, "contains two blanks that look like one")


def _illegible(character: str) -> str:
    """Returns why a character of a name in NFC is refused; empty if it is not."""
    code, category = ord(character), unicodedata.category(character)
    if code in _BLANK:
        return "which is invisible"
    if code < 128:
        return ""
    if category == "Zs":
        return "a blank that is not the usual one"
    if any(code in part for part in _ACCENTS):
        return "an accent that its letter does not have"
    modifier = category in ("Lm", "Sk") and unicodedata.name(character, "").startswith(("MODIFIER", "ARABIC TATWEEL"))
    if category == "Sk" or modifier or any(code in part for part in _SIGNS):
        return "a sign that looks like punctuation or like a mark of the page"
    return ""


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


@lru_cache(maxsize=4096)
def skeleton(name: str) -> str:
    """Replaces each character by its prototype, the character that looks the same; then removes case and accents.

    >>> skeleton("НuВЕRТ"), skeleton("Hubért")
    ('hubert', 'hubert')
    """
    drawn = "".join(_prototype(character) for character in _without_accents(name))
    return folded(_without_accents(drawn))


def _without_accents(name: str) -> str:
    """Returns the letters without the accents that European scripts put on them.

    >>> _without_accents("Largé"), _without_accents("ṇ")
    ('Large', 'n')
    """
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", name))
    return "".join(character for character in plain if not any(ord(character) in part for part in _ACCENTS))


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


_CLAIMS = {"published", "official", "original", "paper", "leaderboard", "superb", "reference", "verified", "real"}
"""Words that tell no models apart; a submitted name cannot prove them."""
_AS_LETTERS = str.maketrans("0134568i", "oleasbbl")
"""Digits that look like letters, and I, which looks like l."""


@cache
def _published() -> dict[str, str]:
    return {_called(record["upstream"]): record["upstream"] for record in records()}


def namesake(name: str) -> str | None:
    """Returns the published row of this name, ignoring case, accents, blanks and dashes, digits in place of letters, and words
    such as `(published)`. A submitted row is never that row.

    >>> namesake("hubert_base"), namesake("Hu8ERT Bäse (official)"), namesake("mine")
    ('HuBERT Base', 'HuBERT Base', None)
    """
    return _published().get(_called(name))


def impersonated(name: str) -> str | None:
    """Returns the published row whose name `name` imitates with other characters that look the same."""
    if namesake(name):
        return None
    return next((published for published in _published().values() if _same_skeleton(published, name)), None)


def _called(name: str) -> str:
    """Returns the letters and digits of a name as a hasty reader takes them."""
    words = re.findall(r"[^\W_]+|\+", folded(_without_accents(name)))
    return "".join(word for word in words if word not in _CLAIMS).translate(_AS_LETTERS)
