"""JSON from strangers: finite numbers, no key twice, no control characters, no name that hides what it says."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from superbench.errors import Malformed

LONGEST_NAME = 200
LARGEST = 2**53
"""Beyond it a whole number is not exact as a float."""


def loads(text: str | bytes, where: str) -> Any:
    """The value of a JSON text; raises `Malformed`, with `where` in its message, for anything that JSON does not allow, and
    for what a float cannot hold."""
    try:
        plain = text.decode() if isinstance(text, bytes) else text
        value = _DECODER.decode(plain)
        if "\\" in plain:
            _plain(value)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{where} is not usable JSON: {str(error)[:300]}. Make the bundle again.", "json") from error
    return value


def name(text: object, where: str) -> str:
    """`text`, if it can be printed as a name: 1 to 200 characters, none of which is invisible or controls a terminal."""
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST_NAME:
        length = len(text) if isinstance(text, str) else 0
        raise Malformed(f"{where} has {length} characters; expected 1 to {LONGEST_NAME}. Give the model an alias.", "name")
    if not text.isprintable() or text != text.strip():
        raise Malformed(f"{where}, {text!r:.100}, holds characters that cannot be printed. Give the model an alias.", "name")
    return text


def _plain(value: Any) -> None:
    """Only texts with a backslash come here: an escape may stand for a control character or for half a character."""
    if isinstance(value, str):
        if any(_controls(character) for character in value):
            raise ValueError(f"the text {value[:50]!a} holds control characters")
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
    raise ValueError(f"{text} is no number")


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:30]} is beyond what a number can hold")
    return value


def _whole(text: str) -> int:
    if len(text) > 17 or abs(value := int(text)) > LARGEST:
        raise ValueError(f"{text[:30]} is beyond what a number can hold")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


_DECODER = json.JSONDecoder(parse_float=_real, parse_int=_whole, parse_constant=_constant, object_pairs_hook=_once)
