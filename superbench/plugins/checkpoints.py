"""Weights of native models as safetensors: the file knows its family, size and configuration, and holds no code.

It is sealed with a digest of all that; format 1, of earlier working copies, had none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from superbench.errors import BadCheckpoint, StoreError
from superbench.plugins.allocation import BoundedAllocation
from superbench.system.files import SEAL, load_tensors, save_sealed
from superbench.system.seeding import seeded

FORMAT = "2"


def fresh_model(family: Any, size: str, seed: int) -> nn.Module:
    """A model of a pretrainable class with random weights that follow from `seed`."""
    with seeded(seed):
        return family(family.configs[size])


def save_model(path: Path, model: nn.Module, *, family: str, size: str, facts: Mapping[str, str]) -> None:
    """Write weights and configuration, whole or not at all; a `scaffold` (see `Prepared`) stays behind."""
    weights = {key: value for key, value in model.state_dict().items() if not key.startswith("scaffold.")}
    config = json.dumps(asdict(model.config), sort_keys=True)  # type: ignore[call-overload]
    save_sealed(path, weights, {"superbench": FORMAT, "family": family, "size": size, "config": config, **facts})


def load_model(family: Any, path: Path, name: str) -> nn.Module:
    """The model of a checkpoint; raises `BadCheckpoint` that says what was found and what was expected."""
    if not path.is_file():
        raise BadCheckpoint(f"{path} is not there. Make it: superbench pretrain {name} --audio DIR --out {path}")
    try:
        tensors, facts = load_tensors(path)
    except StoreError as error:
        raise BadCheckpoint(
            f"{error} Fetch it again, or make it: superbench pretrain {name} --audio DIR --out {path}"
        ) from error
    found = facts.get("family")
    if found != name:
        what = f"one of {found!r}" if found else "none that superbench wrote (no family in its header)"
        hint = (
            f" Use {found}@{path}." if found else " A checkpoint of another toolkit belongs to s3prl/ENTRY@FILE or hf/FOLDER."
        )
        raise BadCheckpoint(f"{path} is no checkpoint of {name!r}, but {what}.{hint}")
    if SEAL not in facts and facts.get("superbench") != "1":
        raise BadCheckpoint(f"{path} is damaged: it has no digest. Fetch it again, or pretrain {name} again.")
    model = _configured(family, path, name, facts.get("config", ""), tensors)
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in tensors.items()}
    if wanted != given:
        different = sorted(key for key in wanted.keys() | given.keys() if wanted.get(key) != given.get(key))
        first = different[0]
        raise BadCheckpoint(
            f"{path} does not fit {name}: {len(different)} weights differ, the first is {first}: "
            f"{given.get(first, 'absent')} in the file, {wanted.get(first, 'absent')} in the model. Pretrain it again."
        )
    model.load_state_dict(tensors)
    return model


def _configured(family: Any, path: Path, name: str, config: str, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The model that a checkpoint's configuration (JSON) describes, with weights of its own: about as many as `tensors` has."""
    kind = type(next(iter(family.configs.values())))
    try:
        values = json.loads(config)
        known = {field.name for field in fields(kind)}
        if set(values) != known:
            raise BadCheckpoint(
                f"{path} was written by another version of {name}: {sorted(set(values) ^ known)} of its configuration differ. "
                "Pretrain it again with this version."
            )
        largest = max((size for tensor in tensors.values() if tensor.numel() for size in tensor.shape), default=0)
        for field in fields(kind):
            own = [_largest(getattr(config, field.name)) for config in family.configs.values()]
            _check_value(field.name, values[field.name], field.default, max(largest, *own))
        with BoundedAllocation(tensors):
            model: nn.Module = family(kind(**values))
    except (ValueError, TypeError, ArithmeticError, LookupError, AssertionError, RuntimeError, MemoryError) as error:
        said = " ".join(str(error).split())[:200]
        raise BadCheckpoint(f"{path} has a configuration that no {name} can have: {said}. Pretrain it again.") from error
    return model


def _largest(value: Any) -> int:
    """The largest whole number in a value of a configuration, 0 if it has none."""
    values = value if isinstance(value, list | tuple) else [value]
    return max((len(values), *(one for one in values if isinstance(one, int))))


def _check_value(name: str, value: Any, default: Any, most: int) -> None:
    """Raises `ValueError` for a value of another kind than a field's default, a negative one, or a number above `most`."""
    if _largest(value) > most:
        raise ValueError(f"{name} is {str(value)[:40]}, and no dimension of its weights is above {most}")
    kinds = (int, float) if isinstance(default, float) else (list, tuple) if isinstance(default, tuple) else type(default)
    if default is MISSING or default is None:
        return
    if not isinstance(value, kinds) or isinstance(value, bool) is not isinstance(default, bool):
        raise ValueError(f"{name} is {value!r}, expected a value such as {default!r}")
    if any(isinstance(one, int | float) and not 0 <= one < math.inf for one in (value if isinstance(value, list) else [value])):
        raise ValueError(f"{name} is {value!r}, expected no negative number")
