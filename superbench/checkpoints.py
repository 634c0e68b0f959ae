"""Weights of native models as safetensors: the file knows its family, size and configuration, and holds no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from torch import nn

from superbench.errors import BadCheckpoint, StoreError
from superbench.files import load_tensors, save_tensors
from superbench.probing.training import seeded

FORMAT = "1"


def fresh_model(family: Any, size: str, seed: int) -> nn.Module:
    """A model of a pretrainable class with random weights that follow from `seed`."""
    with seeded(seed):
        return family(family.configs[size])


def save_model(path: Path, model: nn.Module, *, family: str, size: str, facts: Mapping[str, str]) -> None:
    """Write weights and configuration, whole or not at all; a `scaffold` (see preparation.py) stays behind."""
    weights = {key: value for key, value in model.state_dict().items() if not key.startswith("scaffold.")}
    config = json.dumps(asdict(model.config), sort_keys=True)  # type: ignore[call-overload]
    save_tensors(path, weights, {"superbench": FORMAT, "family": family, "size": size, "config": config, **facts})


def load_model(family: Any, path: Path, name: str) -> nn.Module:
    """The model of a checkpoint; raises `BadCheckpoint` that says what was found and what was expected."""
    if not path.is_file():
        raise BadCheckpoint(f"{path} is not there. Make it: superbench pretrain {name} --audio DIR --out {path}")
    try:
        tensors, facts = load_tensors(path)
    except StoreError as error:
        raise BadCheckpoint(f"{path} is no checkpoint of superbench: {error}") from error
    found = facts.get("family")
    if found != name:
        what = f"one of {found!r}" if found else "none that superbench wrote (no family in its header)"
        hint = (
            f" Use {found}@{path}." if found else " A checkpoint of another toolkit belongs to s3prl/ENTRY@FILE or hf/FOLDER."
        )
        raise BadCheckpoint(f"{path} is no checkpoint of {name!r}, but {what}.{hint}")
    kind = type(next(iter(family.configs.values())))
    values = json.loads(facts["config"])
    known = {field.name for field in fields(kind)}
    if set(values) != known:
        raise BadCheckpoint(
            f"{path} was written by another version of {name}: {sorted(set(values) ^ known)} of its configuration differ. "
            "Pretrain it again with this version."
        )
    model: nn.Module = family(kind(**values))
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
