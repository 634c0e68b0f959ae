"""Names that the hubs offer, read from their sources without importing them or torch."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from superbench import MissingExtra


def s3prl() -> dict[str, str]:
    """Returns entry of S3PRL's hub -> family, in the order of families; raises `MissingExtra`."""
    families = {}
    for path in sorted(_folder("s3prl").glob("upstream/*/hubconf.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                families[node.name] = path.parent.name
    return families


def torchaudio() -> dict[str, str]:
    """Returns bundle of wave models, in lower case -> type of bundle; raises `MissingExtra`."""
    tree = ast.parse((_folder("torchaudio") / "pipelines" / "_wav2vec2" / "impl.py").read_text())
    return {
        node.targets[0].id.lower(): node.value.func.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call)
        if isinstance(node.value.func, ast.Name) and node.value.func.id.startswith("Wav2Vec2")
    }


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingExtra(f"{package}/...", package, "all")
    return Path(spec.origin).parent
