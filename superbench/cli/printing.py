"""Text for a terminal or file that cannot show every character: plain marks in place of those that its encoding lacks.

`prepare` is called once, when a command starts: from then on nothing that is printed, by whatever means, fails for its
characters. Tables are spelled plainly before they are laid out (`spelled`), so that their columns stay straight.
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
"""What stands for a character; `"` and `,` stand for none, for they would break a line of CSV."""

HANDLER = "superbench.plain"


def prepare() -> None:
    """From now on, standard output and error take every character."""
    codecs.register_error(HANDLER, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=HANDLER)


def spelled(text: str, encoding: str) -> str:
    """`text` with plain marks for what `encoding` lacks.

    >>> spelled("✓ müller · ks 8.33 ± 0.77 %", "ascii"), spelled("✓ ±", "latin-1"), spelled("✓ ±", "utf-8")
    ('+ muller - ks 8.33 +/- 0.77 %', '+ ±', '✓ ±')
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_plain(character, encoding) for character in text)
    return text


def echo(text: str, end: str = "\n") -> None:
    """Print `text` as it is: what another program reads."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def echo_json(value: Any) -> None:
    """Print a value as JSON; characters that standard output lacks, or that would control a terminal, are written as JSON
    writes them, `\\u2713`."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    able = visible(spelled(text, sys.stdout.encoding or "ascii")) == text
    echo(text if able else json.dumps(value, indent=1, allow_nan=False))


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """The handler of characters that cannot be encoded; see `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_plain(character, error.encoding) for character in lacking), error.end


def _plain(character: str, encoding: str) -> str:
    """A mark, the letter without its accent, or the number of the character."""
    base = "".join(one for one in unicodedata.normalize("NFKD", character) if not unicodedata.combining(one))
    for form in (character, PLAIN.get(character, ""), base):
        if form and form.encode(encoding, "ignore").decode(encoding) == form:
            return form
    return character.encode("ascii", "backslashreplace").decode()
