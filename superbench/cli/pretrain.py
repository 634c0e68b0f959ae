"""`superbench pretrain`: an upstream learns from a folder of unlabelled sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superbench.cli.arguments import Device


def pretrain(
    name: Annotated[str, typer.Argument(help="A pretrainable upstream, with a size: apc, tera:mini, mockingjay:base", show_default=False)],
    audio: Annotated[Path, typer.Option(help="Folder of sound, searched recursively, links too (wav, flac, mp3, ogg, and others that can be decoded)", show_default=False)],
    out: Annotated[Path, typer.Option(help="The checkpoint to write (.safetensors)", show_default=False)],
    steps: Annotated[int | None, typer.Option(help="Updates [default: the size's own schedule]", min=1, show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Of initialisation, masks and crops", min=0)] = 0,
    teacher: Annotated[str | None, typer.Option(help="Upstream to learn from (any spec), frozen: distil needs one", show_default=False)] = None,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto (bfloat16 on a GPU), float32 or bfloat16; weights stay float32")] = "auto",
    accumulate: Annotated[int, typer.Option(help="Pass each update's batch in N parts, when memory is short. Models that contrast utterances (simclr) then contrast within a part", min=1)] = 1,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite what another run left at --out")] = False,
) -> None:  # fmt: skip
    """Pretrain an upstream on unlabelled speech. Repeat the command after an interruption: it goes on where it stopped.

    Writes OUT, OUT's .csv (loss, held-out loss), and TensorBoard curves in OUT's .events/ where tensorboard is installed
    (tensorboard --logdir .). Use what it writes as NAME@OUT:

    superbench pretrain apc --audio speech/ --out apc.safetensors

    superbench pretrain distil --teacher apc@apc.safetensors --audio speech/ --out small.safetensors

    superbench run apc@apc.safetensors --tasks all --data /corpora --out results
    """
    from superbench.cli.display import console, stages
    from superbench.training.pretraining.pretrain import pretrain as train

    with stages() as reporter:
        train(
            name, audio, out, steps=steps, seed=seed, device=device, reporter=reporter, precision=precision,
            accumulate=accumulate, teacher=teacher, replace=replace,
        )  # fmt: skip
    console.print(f"Wrote {out}. Use it as {name.partition(':')[0]}@{out}")
