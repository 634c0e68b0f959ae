"""Reads JSON from untrusted senders: finite numbers, unique keys, no control characters, no invisible characters in names."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from superbench.errors import Malformed, shortened

LONGEST_NAME = 200
LARGEST = 2**53
"""Larger integers are not exact as floats."""


def loads(text: str | bytes, where: str) -> Any:
    """Returns the value of a JSON text.

    Raises `Malformed`, with `where` in its message, for anything that JSON does not allow, and for numbers that a float cannot
    represent.
    """
    try:
        plain = text.decode() if isinstance(text, bytes) else text
        value = _DECODER.decode(plain)
        if "\\" in plain:
            _plain(value)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{where} is not usable JSON: {shortened(str(error), 300)}. Make the bundle again.", "json") from error
    return value


def name(text: object, where: str) -> str:
    """Returns `text` if it can be printed as a name: 1 to 200 printable characters. Raises `Malformed` otherwise."""
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST_NAME:
        length = len(text) if isinstance(text, str) else 0
        raise Malformed(f"{where} has {length} characters; expected 1 to {LONGEST_NAME}. Give the model an alias.", "name")
    if text != text.strip() and text.strip().isprintable():
        raise Malformed(f"{where}, {shortened(text, 100)!r}, begins or ends with a blank. Give the model an alias.", "name")
    if not text.isprintable():
        raise Malformed(
            f"{where}, {shortened(text, 100)!r}, contains characters that cannot be printed. Give the model an alias.", "name"
        )
    return text


def _plain(value: Any) -> None:
    """Raises `ValueError` for control characters and unpaired surrogates, which an escape sequence (backslash) can produce."""
    if isinstance(value, str):
        if any(_controls(character) for character in value):
            raise ValueError(f"the text {shortened(value, 50)!a} contains control characters")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _plain(key)
            _plain(inner)
    elif isinstance(value, list):
        for inner in value:
            _plain(inner)


def _controls(character: str) -> bool:
    low = character < " " and character not in "\n\t"
    return low or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff"


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{shortened(text, 30)} is larger than a number may be")
    return value


def _whole(text: str) -> int:
    if len(text) > 17 or abs(value := int(text)) > LARGEST:
        raise ValueError(f"{shortened(text, 30)} is larger than a number may be")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return value


_DECODER = json.JSONDecoder(parse_float=_real, parse_int=_whole, parse_constant=_constant, object_pairs_hook=_once)
