"""Text of others, made fit for where it is printed: names of models, labels and messages may hold anything."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What moves a terminal's cursor, colours it, or turns the direction of what follows; tabs and line feeds stay."""

FORMULA = tuple("=+-@＝＋－＠")
"""How a formula begins."""

_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", '"': r"\textquotedbl{}", "|": r"\textbar{}", "`": r"\textasciigrave{}",
} | {sign: rf"\{sign}" for sign in "_%&#${}"}  # fmt: skip


def visible(text: str) -> str:
    r"""`text` with characters that control a terminal written as escapes.

    >>> visible("a\x1b[31mb\u202ec")
    'a\\x1b[31mb\\u202ec'
    """
    return _CONTROL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def in_latex(text: str) -> str:
    r"""`text` as LaTeX prints it, on one line.

    >>> in_latex(r"a_b\input{x}~^$%")
    'a\\_b\\textbackslash{}input\\{x\\}\\textasciitilde{}\\textasciicircum{}\\$\\%'
    """
    return "".join(_LATEX.get(sign, sign) for sign in visible(" ".join(text.split())))


def in_csv(value: object) -> object:
    """A cell of a spreadsheet: a text that would be run as a formula gets an apostrophe in front; numbers stay numbers.

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
