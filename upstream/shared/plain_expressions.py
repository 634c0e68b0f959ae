"""Expressions in checkpoints, such as `[(512,10,5)] + [(512,3,2)] * 4`: they are computed only if they cannot run code.

Model code that came from fairseq passes such texts of a configuration to `eval`, so a checkpoint could run any code.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

PLAIN = (
    ast.Expression, ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.UnaryOp, ast.USub,
    ast.Name, ast.Attribute, ast.Subscript, ast.Load,
)  # fmt: skip
"""Parts of an expression that call no function: values, sums, products, and names such as `self.model.encoder.layers`."""
LARGEST = 100_000
"""Largest number; a product of a list and a larger one would fill the memory."""


def require_plain(expression: str) -> None:
    """Raises `ValueError` if an expression may run code, or is none.

    >>> require_plain("[(512,10,5)] + [(512,3,2)] * 4")
    >>> require_plain("__import__('os').getcwd()")
    Traceback (most recent call last):
    ValueError: "__import__('os').getcwd()" in the checkpoint may run code (Call); expected sums or products of numbers or lists
    """
    try:
        parts = list(ast.walk(ast.parse(expression.strip(), mode="eval")))
    except (SyntaxError, RecursionError) as error:
        raise ValueError(f"{expression[:80]!r} in the checkpoint is no expression: {error}") from error
    strange = [type(part).__name__ for part in parts if not isinstance(part, PLAIN)]
    strange += [part.attr for part in parts if isinstance(part, ast.Attribute) and part.attr.startswith("__")]
    strange += ["a large number" for part in parts if isinstance(part, ast.Constant) and _is_large(part.value)]
    if strange:
        raise ValueError(
            f"{expression[:80]!r} in the checkpoint may run code ({strange[0]}); expected sums or products of numbers or lists"
        )


def _is_large(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) > LARGEST


@contextlib.contextmanager
def plain_eval(package: str) -> Iterator[None]:
    """Makes `eval` raise `ValueError` for other expressions, if a module of `package` calls it; other callers keep theirs."""
    original = builtins.eval

    def guarded(source: Any, names: dict[str, Any] | None = None, local: Mapping[str, Any] | None = None, /) -> Any:
        """Evaluates as `eval` does, in the names of its caller; see `plain_eval`."""
        caller = sys._getframe(1)
        if isinstance(source, str) and str(caller.f_globals.get("__name__", "")).startswith(f"{package}."):
            require_plain(source)
        if names is not None:
            return original(source, names, local)
        return original(source, caller.f_globals, caller.f_locals)

    builtins.eval = guarded
    try:
        yield
    finally:
        builtins.eval = original
