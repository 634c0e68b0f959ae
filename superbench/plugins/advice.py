"""Advice for what looks like a path or an id where the spec of an upstream is expected."""

from __future__ import annotations

import ast
from pathlib import Path

from superbench.contract.paths import expanded
from superbench.plugins.entry_points import HUBS, points

WEIGHTS = {".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx"}


def advice_on_path(name: str) -> str:
    """Returns what to write in place of a name that is no registered upstream but a path or an id; empty if it is neither."""
    path = expanded(name)
    if path.suffix == ".py":
        return _of_code(name, path)
    if path.suffix in WEIGHTS:
        return (
            f"{name!r} is a file of weights. Name the model that reads it, as in apc@{name} (superbench pretrain wrote it) or "
            f"my_model.py:MyModel@{name}."
        )
    if name[:1] in "./~" or path.is_dir():
        known = path.is_dir()
        found = f"{name!r} is a folder" if known else f"{name!r} looks like a folder, but there is none"
        short = name if name[:1] in "./~" else f"./{name}"
        return (
            f"{found}. A folder of transformers is given as hf/{short}, a checkpoint of superbench as apc@FILE, code as "
            "my_model.py:MyModel."
        )
    hub, slash, rest = name.partition("/")
    hubs = {one.casefold(): one for one in points(HUBS)}
    if slash and hub.casefold() in hubs:
        return f"{name!r}: the hub is written {hubs[hub.casefold()]}, as in {hubs[hub.casefold()]}/{rest}."
    if slash and rest:
        return f"{name!r} looks like the id of a model on a hub. Write the hub before it, as in hf/{name}."
    return ""


def _of_code(name: str, path: Path) -> str:
    if not path.is_file():
        return f"{name!r}: there is no such file. Code is given as FILE.py:CLASS, as in {name}:MyModel."
    classes = _defined(path)
    example = f"{name}:{classes[0]}" if classes else f"{name}:MyModel"
    listed = f" It defines {', '.join(classes[:5])}." if classes else ""
    return f"{name!r} is a file of code; name the class or function in it, as in {example}.{listed}"


def _defined(path: Path) -> list[str]:
    """Returns the classes and functions at the top level of a file, which is not run; empty if it cannot be parsed."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, ValueError, SyntaxError):
        return []
    named = [node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")]
    return [node.name for node in sorted(named, key=lambda node: not isinstance(node, ast.ClassDef))]
