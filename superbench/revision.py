"""What a model is, in sixteen digits: a digest of its weights, its configuration and its source."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any


def revision(model: Any, more: bytes = b"") -> str:
    """Digest of weights, configuration and source, and of `more`; a model's own `revision` is taken as it is."""
    own = getattr(model, "revision", None)
    if isinstance(own, str):
        return own
    function = getattr(model, "function", None)
    kind = function if inspect.isfunction(function) else type(model)
    digest = hashlib.sha256(_source(kind) + more)
    digest.update(kind.__qualname__.encode())  # one file may hold several models without weights
    config = getattr(model, "config", None)
    if is_dataclass(config) and not isinstance(config, type):
        digest.update(json.dumps(asdict(config), sort_keys=True, default=str).encode())
    if hasattr(model, "state_dict"):
        with ThreadPoolExecutor() as pool:  # hashing lets go of the interpreter
            for one in pool.map(_of_weight, *zip(*sorted(model.state_dict().items()), strict=True)):
                digest.update(one)
    return digest.hexdigest()[:16]


def _of_weight(name: str, tensor: Any) -> bytes:
    """Digest of a weight: its name, shape, type and bytes."""
    import torch

    whole = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{name}{tuple(whole.shape)}{whole.dtype}".encode())
    digest.update(whole.flatten().view(torch.uint8).numpy())  # as bytes: numpy knows no bfloat16
    return digest.digest()


def _source(kind: Any) -> bytes:
    """The text of the file of a class or function, and of all files of its package that it draws on, if only by others."""
    family = kind.__module__.partition(".")[0] + "."
    homes, fresh = {kind.__module__}, [kind.__module__]
    while fresh:
        module = sys.modules.get(fresh.pop())
        named = {getattr(value, "__module__", None) or "" for value in vars(module).values()} if module else set()
        found = {name for name in named if name.startswith(family)} - homes
        homes |= found
        fresh += sorted(found)
    files = [getattr(sys.modules.get(name), "__file__", None) for name in sorted(homes)]
    return b"".join(Path(file).read_bytes() for file in files if file) or kind.__qualname__.encode()
