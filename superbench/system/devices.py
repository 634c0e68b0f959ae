"""Choice of the device and the precision of a command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from superbench.errors import CommandError

if TYPE_CHECKING:
    from superbench.contract import Precision


def device_of(device: str) -> str:
    """Returns `cuda` or `cpu`, also for `auto`; raises `CommandError` for an unknown or missing device."""
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise CommandError(f"--device {device!r}: expected auto, cpu or cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise CommandError(
            "--device cuda: torch finds no CUDA device on this machine. Use --device cpu or auto, or install a torch with CUDA "
            "for this driver."
        )
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def fast_precision(device: str) -> Precision:
    """Returns `bfloat16` if the GPU supports it, else `float32`."""
    import torch

    return "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"


def repeatable_sums() -> None:
    """Makes sums on a GPU equal from run to run. Call it before the GPU is first used."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
