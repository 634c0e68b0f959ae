"""Prints text to terminals and files with a limited encoding: missing characters are replaced by plain ones.

`prepare` is called once, when a command starts; after it, no output fails because of a character. Tables are replaced before
they are laid out (`spelled`), so that their columns stay aligned.
"""

from __future__ import annotations

import codecs
import json
import sys
import unicodedata
from typing import Any

from superbench.system.spelling import visible

PLAIN = {
    "✓": "+", "✗": "x", "–": "-", "—": "-", "−": "-", "·": "-", "×": "x", "…": "...", "±": "+/-", "≈": "~", "≤": "<=",
    "≥": ">=", "→": "->", "←": "<-", "↑": "^", "↓": "v", "†": "+", "⁹": "^9", "²": "^2", "∞": "inf", "√": "sqrt",
    "‘": "'", "’": "'", "“": "'", "”": "'", "•": "*",
} | dict.fromkeys("─━╌╍┄┅═", "-") | dict.fromkeys("│┃║╎┆┊", "|") | dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯┏┓┗┛┡┩╇╈╪", "+")  # fmt: skip
"""The replacement of each character; none of them is `"` or `,`, which would break a line of CSV."""

HANDLER = "superbench.plain"


def prepare() -> None:
    """Make standard output and error accept every character."""
    codecs.register_error(HANDLER, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=HANDLER)


def spelled(text: str, encoding: str) -> str:
    """Return `text` with plain replacements for the characters that `encoding` lacks.

    >>> spelled("✓ müller · ks 8.33 ± 0.77 %", "ascii"), spelled("✓ ±", "latin-1"), spelled("✓ ±", "utf-8")
    ('+ muller - ks 8.33 +/- 0.77 %', '+ ±', '✓ ±')
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_plain(character, encoding) for character in text)
    return text


def echo(text: str, end: str = "\n") -> None:
    """Print `text` unchanged, for other programs."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def echo_json(value: Any) -> None:
    """Print a value as JSON; characters that standard output cannot encode, and control characters, are written as JSON escapes,
    `\\u2713`."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    printable = visible(spelled(text, sys.stdout.encoding or "ascii")) == text
    echo(text if printable else json.dumps(value, indent=1, allow_nan=False))


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Handle characters that cannot be encoded; see `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_plain(character, error.encoding) for character in lacking), error.end


def _plain(character: str, encoding: str) -> str:
    """Return the replacement of a character, the letter without its accent, or the number of the character."""
    base = "".join(part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part))
    for form in (character, PLAIN.get(character, ""), base):
        if form and form.encode(encoding, "ignore").decode(encoding) == form:
            return form
    return character.encode("ascii", "backslashreplace").decode()
