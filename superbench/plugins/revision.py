"""What a model is, in sixteen digits: a digest of its weights, its configuration and what it was made of."""

from __future__ import annotations

import hashlib
import inspect
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, is_dataclass
from typing import Any

from superbench.plugins.sources import Sources

NOTHING = Sources()


def revision(model: Any, sources: Sources = NOTHING, name: str = "", *, declared: bool = False) -> str:
    """Digest of a model's weights, configuration and sources; a `revision` that it declares itself is taken as it is.

    `name` tells models of one file apart. `declared`: its sources are covered by its configuration and its code alone, not by
    what it opened and by its libraries (built-in models).
    """
    own = getattr(model, "revision", None)
    if isinstance(own, str):
        return own
    function = getattr(model, "function", None)
    kind = function if inspect.isfunction(function) else type(model)
    facts = [kind.__qualname__, name, *sorted(sources.code.values())]
    facts += [] if declared else [*sorted(sources.opened.values()), *sources.libraries]
    digest = hashlib.sha256("\n".join(facts).encode())
    config = getattr(model, "config", None)
    if is_dataclass(config) and not isinstance(config, type):
        digest.update(json.dumps(asdict(config), sort_keys=True, default=str).encode())
    if hasattr(model, "state_dict"):
        with ThreadPoolExecutor() as pool:  # hashing lets go of the interpreter
            for weight in pool.map(_of_weight, *zip(*sorted(model.state_dict().items()), strict=True)):
                digest.update(weight)
    return digest.hexdigest()[:16]


def _of_weight(name: str, tensor: Any) -> bytes:
    """Digest of a weight: its name, shape, type and bytes."""
    import torch

    whole = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{name}{tuple(whole.shape)}{whole.dtype}".encode())
    digest.update(whole.flatten().view(torch.uint8).numpy())  # as bytes: numpy knows no bfloat16
    return digest.digest()
