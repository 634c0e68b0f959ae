"""The reference implementation beside ours: the modules of the published package s3prl, imported as they are.

s3prl names things that current releases of its dependencies have dropped, and packages that it does not declare. Both are
lent to it while one of its modules is imported, and taken back at once; nothing of it is edited. Modules that came in this way
are forgotten when the session ends, so that no other test meets them.

What the package lacks and no name can replace: the `config.yaml` of every recipe, `asr/char.dict`, `downstream/ctc/corpus` and
the lists of `ctc/vocab`. Tests that need their contents restate them from the protocol, and say so.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import huggingface_hub
import pytest
import torch
import torchaudio
from torch import nn

Reference = Callable[[str], Any]


def refuse(*arguments: object, **options: object) -> None:
    """Stands for sound effects and file access, which no parity test may reach."""
    raise AssertionError("parity tests hand sound over; they read none through the reference")


LENT: dict[str, dict[str, object]] = {
    "catalyst": {},
    "catalyst.data": {},
    "catalyst.data.sampler": {"DistributedSamplerWrapper": object},
    "s3prl.hub": {},  # imports all 130 upstreams at once; only `getattr(hub, name)` is ever taken from it
    "sox": {"Transformer": object},
    "tensorboardX": {"SummaryWriter": object},
    "torchaudio.sox_effects": {"apply_effects_file": refuse, "apply_effects_tensor": refuse},
}


def lend(patch: pytest.MonkeyPatch) -> None:
    """Define what s3prl's imports look for, until `patch` is undone."""
    for name, contents in LENT.items():
        if name not in sys.modules:
            module = ModuleType(name)
            vars(module).update(contents, __path__=[])
            patch.setitem(sys.modules, name, module)
    for name in ("set_audio_backend", "get_audio_backend", "load", "save", "info"):
        if not hasattr(torchaudio, name):
            patch.setattr(torchaudio, name, refuse, raising=False)
    for name in ("HfFolder", "Repository"):
        patch.setitem(vars(huggingface_hub), name, object)


@pytest.fixture(scope="session")
def reference() -> Iterator[Reference]:
    """`reference("downstream.model")` is the module `s3prl.downstream.model`."""
    before = set(sys.modules)

    def load(name: str) -> ModuleType:
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lend(patch)
            return importlib.import_module(f"s3prl.{name}")

    yield load
    for name in sorted(set(sys.modules) - before, reverse=True):
        if name == "s3prl" or name.startswith("s3prl."):
            module = sys.modules.pop(name)
            parent, _, child = name.rpartition(".")
            if vars(sys.modules.get(parent, module)).get(child) is module:
                delattr(sys.modules[parent], child)


@pytest.fixture(scope="session")
def bare() -> Callable[..., Any]:
    """`bare(DownstreamExpert, projector=..., ...)`: a recipe of the reference without its corpus, holding just these parts."""

    def build(kind: type[nn.Module], **parts: object) -> nn.Module:
        expert = kind.__new__(kind)
        nn.Module.__init__(expert)
        for name, part in parts.items():
            setattr(expert, name, part)
        return expert

    return build


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Draws repeat from run to run, and global generators are as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
