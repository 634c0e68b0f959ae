"""The device and the precision that a command computes with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from superbench.errors import CommandError

if TYPE_CHECKING:
    from superbench.contract import Precision


def device_of(device: str) -> str:
    """`cuda` or `cpu` for `auto`; raises `CommandError` for a device that is unknown or not there."""
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise CommandError(f"--device {device!r}: expected auto, cpu or cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise CommandError(
            "--device cuda: torch finds no CUDA device here. Use --device cpu or auto, or install a torch with CUDA for this "
            "driver."
        )
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def fast_precision(device: str) -> Precision:
    """`bfloat16` where a GPU computes in it, else `float32`."""
    import torch

    return "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"


def repeatable_sums() -> None:
    """Lets sums on a GPU be the same from run to run; to be called before the GPU is first used."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
