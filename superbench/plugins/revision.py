"""Computes the revision of a model: a digest of its weights, its configuration and its code, in 16 hexadecimal digits."""

from __future__ import annotations

import hashlib
import inspect
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, is_dataclass
from typing import Any

from superbench.plugins.sources import Sources

NOTHING = Sources()


def revision(model: Any, sources: Sources = NOTHING, name: str = "", *, declared: bool = False, given: str = "") -> str:
    """Returns the digest of a model's weights, configuration and sources; if the model declares a `revision`, returns that.

    `name` distinguishes models of one file. `given`: a digest of the checkpoint and the options that its spec gives to its
    class; it is added to a declared revision. `declared` (built-in models): the digest covers code and configuration, but
    not the files that the model opened and its libraries.
    """
    declared_revision = getattr(model, "revision", None)
    if isinstance(declared_revision, str):
        return f"{declared_revision}-{given}" if given else declared_revision
    function = getattr(model, "function", None)
    factory = function if inspect.isfunction(function) else type(model)
    facts = [factory.__qualname__, name, *filter(None, [given]), *sorted(sources.code.values())]
    facts += [] if declared else [*sorted(sources.opened.values()), *sources.libraries]
    digest = hashlib.sha256("\n".join(facts).encode())
    config = getattr(model, "config", None)
    if is_dataclass(config) and not isinstance(config, type):
        digest.update(json.dumps(asdict(config), sort_keys=True, default=str).encode())
    if hasattr(model, "state_dict"):
        with ThreadPoolExecutor() as pool:  # hashing releases the interpreter's lock
            for weight in pool.map(_of_weight, *zip(*sorted(model.state_dict().items()), strict=True)):
                digest.update(weight)
    return digest.hexdigest()[:16]


def _of_weight(name: str, tensor: Any) -> bytes:
    """Returns the digest of a weight: its name, shape, type and bytes."""
    import torch

    weight = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{name}{tuple(weight.shape)}{weight.dtype}".encode())
    digest.update(weight.flatten().view(torch.uint8).numpy())  # as bytes: numpy has no bfloat16
    return digest.digest()
