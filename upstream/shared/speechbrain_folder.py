"""Reads a folder of speechbrain: hyperparams.yaml, which constructs Python objects, and the checkpoints that it names.

Nothing is downloaded. Where hyperparams.yaml has `pretrained_path`, it gets the folder as its value, so files of the folder are
written `!ref <pretrained_path>/FILE`; other places of checkpoints are looked up by their file names in the folder. Only the
checkpoints of the encoder are loaded, with `weights_only`, and a weight that is in none of them is an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from superbench import BadCheckpoint, MissingExtra, SuperbenchError
from upstream.shared.model_folder import must_be_fetched

FILE = "hyperparams.yaml"
ENVIRONMENT = {
    "SB_DISABLE_QUIRKS": "disable_jit_profiling,allow_tf32,disable_cudnn_benchmarking",
    "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "0",
}
"""Variables while code of speechbrain runs: it leaves torch's settings, which change the features of other models, as they are,
and `torch.load` runs no code of a pickle."""
STATISTICS = ("running_mean", "running_var")
"""Buffers that a checkpoint must contain; others have a fixed value."""


@dataclass(frozen=True)
class Contents:
    """What hyperparams.yaml describes: modules by name, all values, and the checkpoints by the name of what they are for."""

    name: str
    folder: Path
    modules: Mapping[str, nn.Module]
    settings: Mapping[str, Any]
    pretrainer: Any


def read(name: str, folder: Path) -> Contents:
    """Constructs the objects of hyperparams.yaml, with weights that are not yet those of the checkpoints.

    Raises `MissingExtra` without speechbrain, `BadCheckpoint` if the file is missing or has no modules, `SuperbenchError` if it
    cannot be constructed.
    """
    path = folder / FILE
    if not path.is_file():
        raise BadCheckpoint(f"{folder} has no {FILE}. Expected a folder that from_hparams of speechbrain reads.")
    must_be_fetched(path)
    hyperpyyaml, pretrainer_class = _packages(name)
    try:
        text = path.read_text()
        with undisturbed():
            own = {"pretrained_path": str(folder.resolve())} if re.search(r"^pretrained_path\s*:", text, re.MULTILINE) else {}
            settings = hyperpyyaml.load_hyperpyyaml(text, own)
    except Exception as error:  # hyperparams.yaml may call anything
        raise SuperbenchError(_not_constructed(name, error)) from error
    modules = settings.get("modules") if isinstance(settings, dict) else None
    if not isinstance(modules, Mapping) or not isinstance(settings.get("pretrainer"), pretrainer_class):
        raise BadCheckpoint(f"{path} has no `modules`, or no `pretrainer` that loads their weights. Is it one for inference?")
    known = {key: module for key, module in modules.items() if isinstance(module, nn.Module)}
    return Contents(name=name, folder=folder, modules=known, settings=settings, pretrainer=settings["pretrainer"])


def _packages(name: str) -> tuple[Any, type]:
    """Imports hyperpyyaml and the class that loads checkpoints; raises `MissingExtra`."""
    try:
        import hyperpyyaml

        with undisturbed():
            from speechbrain.utils.parameter_transfer import Pretrainer
    except ImportError as error:
        raise MissingExtra(name, "speechbrain", "speechbrain") from error
    return hyperpyyaml, Pretrainer


def _not_constructed(name: str, error: Exception) -> str:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return (
        f"{name}: {FILE} cannot be constructed ({reason}). superbench downloads nothing: where it names a model of a hub, as "
        "in `source: facebook/wav2vec2-base`, put that model into the folder, add the line `pretrained_path: .`, and write "
        "`source: !ref <pretrained_path>/wav2vec2-base`. Modules of its authors' own are found with PYTHONPATH=FOLDER."
    )


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Runs code of speechbrain offline, without warnings, and in `ENVIRONMENT`; restores random generators that it seeds."""
    from huggingface_hub import constants

    states = random.getstate(), np.random.get_state()
    offline, before = constants.HF_HUB_OFFLINE, {name: os.environ.get(name) for name in ENVIRONMENT}
    constants.HF_HUB_OFFLINE = True
    os.environ.update(ENVIRONMENT)
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        constants.HF_HUB_OFFLINE = offline
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


# ---------------------------------------------------------------- weights


def load_weights(contents: Contents, parts: nn.Module) -> dict[str, str]:
    """Loads the checkpoints of the modules in `parts`. Returns a digest of each file by what it is for.

    Raises `BadCheckpoint` for files that are missing or damaged, and for weights that no file contains.
    """
    own = {id(module) for module in parts.modules()}
    needed = _tensors(parts)
    digests = {}
    for key, part in contents.pretrainer.loadables.items():
        if not isinstance(part, nn.Module) or not any(id(module) in own for module in part.modules()):
            continue
        path = _file(contents, key)
        for number in _loaded(contents, key, part, path):
            needed.pop(number, None)
        with path.open("rb") as file:
            digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    for number in (number for part in parts.modules() if has_own_files(part) for number in _tensors(part)):
        needed.pop(number, None)
    if needed:
        raise BadCheckpoint(
            f"{contents.name}: {len(needed)} weights of its encoder are in no file that the `pretrainer` of {FILE} loads, such "
            f"as {min(needed.values())}; they would be random. Expected the complete folder."
        )
    return digests


def _tensors(part: nn.Module) -> dict[int, str]:
    """Returns the identity -> name of each parameter and statistic of a module."""
    named = {id(parameter): name for name, parameter in part.named_parameters()}
    return named | {id(buffer): name for name, buffer in part.named_buffers() if name.endswith(STATISTICS)}


def has_own_files(part: nn.Module) -> bool:
    """Whether a module read its weights from a folder of transformers when it was constructed."""
    return any(kind.__name__ == "HFTransformersInterface" for kind in type(part).__mro__)


def _file(contents: Contents, key: str) -> Path:
    """Returns the checkpoint of a key: the file that hyperparams.yaml names, or the one of that name in the folder."""
    given = contents.pretrainer.paths.get(key, f"{key}.ckpt")
    path = Path(str(given if isinstance(given, str | Path) else given[-1]))  # a FetchSource ends in its path
    found = next((tried for tried in (contents.folder / path, contents.folder / path.name) if tried.is_file()), None)
    if found is None:
        raise BadCheckpoint(
            f"{contents.folder} has no {path.name}, which {FILE} names for its {key} ({path}). superbench downloads nothing: "
            "fetch that file into the folder."
        )
    must_be_fetched(found)
    return found


def _loaded(contents: Contents, key: str, part: nn.Module, path: Path) -> set[int]:
    """Loads a checkpoint into a module as speechbrain's Pretrainer does. Returns the identities of what the file contains."""
    from speechbrain.utils import checkpoints

    hook: Callable[..., Any] | None = contents.pretrainer.custom_hooks.get(key)
    hook = hook or checkpoints.get_default_hook(part, checkpoints.DEFAULT_TRANSFER_HOOKS)
    tensors = _tensors(part)
    try:
        with undisturbed():
            if hook is not checkpoints.torch_parameter_transfer:
                hook(part, path)
                return set(tensors)
            states = torch.load(path, map_location="cpu", weights_only=True)
            states = checkpoints.hook_on_loading_state_dict_checkpoint(states)
            missing = set(part.load_state_dict(states, strict=False).missing_keys)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise BadCheckpoint(f"{path} does not fit the {key} of {FILE}, is damaged, or contains code ({reason}).") from error
    return {number for number, name in tensors.items() if name not in missing}
