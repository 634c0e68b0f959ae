"""Reads and writes the weights of native models as safetensors files, which contain no code.

A file also contains the model's family, size and configuration, and a digest of everything. Files of format 1, from earlier
working copies, have no digest.
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
TRAINED_ON = "trained on"
"""The fact of a checkpoint that names the data which its weights come from."""


def fresh_model(family: Any, size: str, seed: int) -> nn.Module:
    """Returns a model of a pretrainable class with random weights, which `seed` determines."""
    with seeded(seed):
        return family(family.configs[size])


def save_model(path: Path, model: nn.Module, *, family: str, size: str, facts: Mapping[str, str]) -> None:
    """Writes weights and configuration, as a complete file or not at all; leaves out a `scaffold` (see `Prepared`)."""
    weights = {key: value for key, value in model.state_dict().items() if not key.startswith("scaffold.")}
    config = json.dumps(asdict(model.config), sort_keys=True)  # type: ignore[call-overload]
    save_sealed(path, weights, {"superbench": FORMAT, "family": family, "size": size, "config": config, **facts})


def declare_data(path: Path, names: str) -> bool:
    """Writes into a checkpoint what its weights were trained on; returns whether it said something else before."""
    tensors, facts = load_tensors(path)
    if facts.get(TRAINED_ON) == names:
        return False
    save_sealed(path, tensors, {fact: value for fact, value in facts.items() if fact != SEAL} | {TRAINED_ON: names})
    return True


def load_model(family: Any, path: Path, name: str) -> nn.Module:
    """Returns the model of a checkpoint; raises `BadCheckpoint` for a file that is missing, damaged or of another family."""
    if not path.is_file():
        raise BadCheckpoint(f"{path} does not exist. Create it: superbench pretrain {name} --audio DIR --out {path}")
    try:
        tensors, header = load_tensors(path)
    except StoreError as error:
        raise BadCheckpoint(
            f"{error} Fetch it again, or create it: superbench pretrain {name} --audio DIR --out {path}"
        ) from error
    if header.get("family") != name:
        raise BadCheckpoint(_other_family(path, name, header.get("family")))
    if SEAL not in header and header.get("superbench") != "1":
        raise BadCheckpoint(f"{path} is damaged: it has no digest. Fetch it again, or pretrain {name} again.")
    model = _configured(family, path, name, header.get("config", ""), tensors)
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    stored = {key: tuple(value.shape) for key, value in tensors.items()}
    if expected != stored:
        different = sorted(key for key in expected.keys() | stored.keys() if expected.get(key) != stored.get(key))
        first = different[0]
        raise BadCheckpoint(
            f"{path} does not fit {name}: {len(different)} weights differ, the first is {first}: "
            f"{stored.get(first, 'absent')} in the file, {expected.get(first, 'absent')} in the model. Pretrain it again."
        )
    model.load_state_dict(tensors)
    if names := header.get(TRAINED_ON):
        model.training_datasets = names  # type: ignore[assignment]
    return model


def _other_family(path: Path, name: str, family: str | None) -> str:
    if family:
        return f"{path} is a checkpoint of {family!r}, expected one of {name!r}. Use {family}@{path}."
    return (
        f"{path} is no checkpoint of {name!r}: superbench did not write it (its header names no family). A checkpoint of "
        "another toolkit is named s3prl/ENTRY@FILE or hf/FOLDER."
    )


def _configured(family: Any, path: Path, name: str, config: str, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Returns a model with the configuration of a checkpoint (JSON), and weights that are not yet those of the checkpoint. It
    allocates about as many numbers as `tensors` contain."""
    config_class = type(next(iter(family.configs.values())))
    try:
        values = json.loads(config)
        known = {field.name for field in fields(config_class)}
        if set(values) != known:
            raise BadCheckpoint(
                f"{path} was written by another version of {name}: {sorted(set(values) ^ known)} of its configuration differ. "
                "Pretrain it again with this version."
            )
        largest = max((size for tensor in tensors.values() if tensor.numel() for size in tensor.shape), default=0)
        for field in fields(config_class):
            own = [_largest(getattr(config, field.name)) for config in family.configs.values()]
            _check_value(field.name, values[field.name], field.default, max(largest, *own))
        with BoundedAllocation(tensors):
            model: nn.Module = family(config_class(**values))
    except (ValueError, TypeError, ArithmeticError, LookupError, AssertionError, RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadCheckpoint(f"{path} has a configuration that is not valid for {name}: {reason}. Pretrain it again.") from error
    return model


def _largest(value: Any) -> int:
    """Returns the largest whole number in a value of a configuration, 0 if it has none."""
    values = value if isinstance(value, list | tuple) else [value]
    return max((len(values), *(one for one in values if isinstance(one, int))))


def _check_value(name: str, value: Any, default: Any, most: int) -> None:
    """Raises `ValueError` for a value of another type than a field's default, for a negative or infinite number, and for a
    whole number above `most`."""
    if _largest(value) > most:
        raise ValueError(f"{name} is {str(value)[:40]}, and no dimension of its weights is above {most}")
    types = (int, float) if isinstance(default, float) else (list, tuple) if isinstance(default, tuple) else type(default)
    if default is MISSING or default is None:
        return
    if not isinstance(value, types) or isinstance(value, bool) is not isinstance(default, bool):
        raise ValueError(f"{name} is {value!r}, expected a value such as {default!r}")
    numbers = [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, int | float)]
    if any(not 0 <= number < math.inf for number in numbers):
        raise ValueError(f"{name} is {value!r}, expected a finite number, 0 or more")
