"""Choice of the device and the precision of a command."""

from __future__ import annotations

import os
import platform
import re
from typing import TYPE_CHECKING

from superbench.errors import CommandError, LostDevice
from superbench.system.ranges import require_different

if TYPE_CHECKING:
    from superbench.contract import Precision


def devices_of(device: str) -> tuple[str, ...]:
    """Returns the devices that a name stands for: `cpu`, or visible GPUs such as `cuda:0`.

    `cuda` stands for every visible GPU, `cuda:0,cuda:3` for these two, and `auto` for every visible GPU or else the CPU. Raises
    `CommandError` for an unknown or missing device.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    every = tuple(f"cuda:{number}" for number in range(count))
    if device == "cpu" or (device == "auto" and not every):
        return ("cpu",)
    chosen = every if device in ("auto", "cuda") else tuple(part.strip() for part in device.split(","))
    if not all(re.fullmatch(r"cuda:\d+", name) for name in chosen):
        raise CommandError(f"--device {device!r}: expected auto, cpu, cuda, or numbered GPUs such as cuda:0,cuda:3.")
    if not every:
        raise CommandError(
            f"--device {device}: torch finds no CUDA device on this machine. Use --device cpu or auto, or install a torch with "
            "CUDA for this driver."
        )
    if absent := [name for name in chosen if name not in every]:
        raise CommandError(f"--device {device}: there is no {absent[0]} on this machine. It has {', '.join(every)}.")
    require_different("--device", chosen)
    return chosen


def device_of(device: str) -> str:
    """Returns the type of the devices that a name stands for, `cpu` or `cuda`. The first becomes the GPU of this process.

    Raises `CommandError` for an unknown or missing device.
    """
    return use_device(devices_of(device)[0])


def use_device(device: str) -> str:
    """Makes a numbered GPU (`cuda:1`) the one of this process; returns the type of the device, `cpu` or `cuda`."""
    kind = device.partition(":")[0]
    if kind == "cuda":
        import torch

        torch.cuda.set_device(device)
    return kind


def require_device(error: BaseException) -> None:
    """Raises `LostDevice` if an exception says that the GPU of this process failed: then all further calls would fail."""
    import torch

    text = str(error).strip()
    if isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and "CUDA error" in text):
        reason = text.partition("\n")[0].rstrip(".")
        raise LostDevice(
            f"A GPU of {platform.node()} failed ({reason}). Check it with `nvidia-smi`, and run the same command again: it "
            "continues from here."
        ) from error


def fast_precision(device: str) -> Precision:
    """Returns `bfloat16` if the GPU supports it, else `float32`."""
    import torch

    return "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"


def repeatable_sums() -> None:
    """Makes sums on a GPU equal from run to run. Call it before the GPU is first used."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
