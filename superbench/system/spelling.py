"""Escapes untrusted text for terminal, LaTeX and CSV (names of models, labels and messages may contain any character), and
sorts names by their numbers."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that control a terminal or the direction of text; tabs and line feeds are not among them."""

FORMULA = tuple("=+-@＝＋－＠")
"""First characters of a spreadsheet formula."""

_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", '"': r"\textquotedbl{}", "|": r"\textbar{}", "`": r"\textasciigrave{}",
} | {sign: rf"\{sign}" for sign in "_%&#${}"}  # fmt: skip


def visible(text: str) -> str:
    r"""Returns `text` with escapes in place of characters that control a terminal.

    >>> visible("a\x1b[31mb\u202ec")
    'a\\x1b[31mb\\u202ec'
    """
    return _CONTROL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def in_latex(text: str) -> str:
    r"""Returns `text` escaped for LaTeX, on one line.

    >>> in_latex(r"a_b\input{x}~^$%")
    'a\\_b\\textbackslash{}input\\{x\\}\\textasciitilde{}\\textasciicircum{}\\$\\%'
    """
    return "".join(_LATEX.get(sign, sign) for sign in visible(" ".join(text.split())))


def in_csv(value: object) -> object:
    """Returns a value for a cell of a spreadsheet: an apostrophe is put before text that looks like a formula; numbers stay.

    >>> in_csv("=1+1"), in_csv("-0.5"), in_csv(-0.5), in_csv(" @SUM(A1)"), in_csv("apc")
    ("'=1+1", '-0.5', -0.5, "' @SUM(A1)", 'apc')
    """
    if not isinstance(value, str) or _is_number(value):
        return value
    text = visible(value)
    return f"'{text}" if text.lstrip()[:1] in FORMULA or text[:1] in ("\t", "\n") else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def by_number(name: str) -> list[tuple[int, str]]:
    """Returns a key that sorts the numbers in names by their value.

    >>> sorted(["step10", "step5", "step"], key=by_number)
    ['step', 'step5', 'step10']
    """
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
