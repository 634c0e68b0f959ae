"""What a spec gives to the class of an own model: `file.py:Net:layers=6@ckpt.pt` is `Net(Path("ckpt.pt"), layers=6)`."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from superbench.errors import BadCheckpoint, CommandError
from superbench.plugins.specs import Spec
from superbench.plugins.tracing import digest_of

Call = tuple[Callable[..., Any], tuple[Path, ...], dict[str, Any]]
"""What is called, with which checkpoint, and with which options."""
CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "none": None}


def call_of(spec: Spec, factory: Any) -> Call:
    """Returns the call that builds the model of a spec with a checkpoint or options: of `from_checkpoint` if there is a
    checkpoint and the class has this method, else of the class.

    Raises `BadCheckpoint` if the file does not exist, `CommandError` if the class does not take what the spec gives.
    """
    if not inspect.isclass(factory):
        raise CommandError(
            f"{spec.text!r}: {spec.name} is no class, and takes no options and no checkpoint. Use {spec.name} alone, or write "
            "a class whose __init__ takes them."
        )
    if spec.file and not spec.file.exists():
        raise BadCheckpoint(
            f"{spec.file} does not exist; {spec.text!r} gives it to {spec.name}. Expected the path of a checkpoint."
        )
    make = factory.from_checkpoint if spec.file and hasattr(factory, "from_checkpoint") else factory
    arguments, options = (spec.file,) if spec.file else (), dict(_option(spec, text) for text in spec.options)
    _require_fit(spec, make, arguments, options)
    return make, arguments, options


def given_to(spec: Spec) -> str:
    """Returns a digest of the content of a spec's checkpoint and of its options; an empty text if it gives none."""
    if not spec.file and not spec.options:
        return ""
    files = [] if spec.file is None else sorted(spec.file.rglob("*")) if spec.file.is_dir() else [spec.file]
    facts = [*spec.options, *(digest_of(file) for file in files if file.is_file())]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _option(spec: Spec, text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise CommandError(f"{spec.text!r}: the option {text!r} has no value. Expected NAME=VALUE, as in {spec.name}:layers=6.")
    return name, _value(value)


def _value(text: str) -> Any:
    """Returns a number, True, False or None for a text that says so; else the text."""
    if text.lower() in CONSTANTS:
        return CONSTANTS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _require_fit(spec: Spec, make: Any, arguments: tuple[Path, ...], options: dict[str, Any]) -> None:
    """Raises `CommandError` if a class or method does not take these arguments."""
    try:
        signature = inspect.signature(make)
    except ValueError:  # compiled code has no signature
        return
    try:
        signature.bind(*arguments, **options)
    except TypeError as error:
        checkpoint = "A checkpoint is given to from_checkpoint(path), a class method, or to __init__(self, path). "
        raise CommandError(
            f"{spec.text!r} does not fit {spec.name}{signature}: {error}. {checkpoint if spec.file else ''}Options are "
            "arguments of the same method."
        ) from error
