"""`superbench pretrain`: trains an upstream on a folder of unlabelled audio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superbench.cli.arguments import Device, Track


def pretrain(
    name: Annotated[str, typer.Argument(help="A pretrainable upstream, with a size: apc, tera:mini, mockingjay:base", show_default=False)],
    audio: Annotated[Path, typer.Option(help="Folder of audio files (wav, flac, mp3, ogg, and others that can be decoded); searched recursively, links are followed", show_default=False)],
    out: Annotated[Path, typer.Option(help="The checkpoint to write (.safetensors)", show_default=False)],
    steps: Annotated[int | None, typer.Option(help="Number of updates [default: the schedule of the size]", min=1, show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Seed of initialisation, masks and crops", min=0)] = 0,
    teacher: Annotated[str | None, typer.Option(help="Frozen upstream to learn from (any spec); distil needs one", show_default=False)] = None,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto (bfloat16 on a GPU), float32 or bfloat16; weights stay float32")] = "auto",
    accumulate: Annotated[int, typer.Option(help="Split the batch of each update into N parts, to need less memory. Contrastive models (simclr) then compare utterances within a part only", min=1)] = 1,
    echo: Annotated[bool, typer.Option("--echo", help="Train on episodes in which every second sound is another view of the one before it, so that repeating can be learnt from context (speech_gpt)")] = False,
    track: Track = None,
    trained_on: Annotated[str | None, typer.Option("--trained-on", help="The name of the speech on boards [default: the name of its folder]", show_default=False)] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite the files of another run at --out")] = False,
) -> None:  # fmt: skip
    """Pretrain an upstream on unlabelled speech. To resume after an interruption, repeat the command.

    Writes OUT, OUT's .csv (loss, held-out loss), and TensorBoard curves in OUT's .events/ if tensorboard is installed
    (tensorboard --logdir .). Use the checkpoint as NAME@OUT:

    superbench pretrain apc --audio speech/ --out apc.safetensors

    superbench pretrain distil --teacher apc@apc.safetensors --audio speech/ --out small.safetensors

    superbench run apc@apc.safetensors --tasks all --data /corpora --out results
    """
    from superbench.cli.display import console, stages
    from superbench.training.pretraining.pretrain import pretrain as train

    with stages() as reporter:
        train(
            name, audio, out, steps=steps, seed=seed, device=device, reporter=reporter, precision=precision,
            accumulate=accumulate, teacher=teacher, echo=echo, replace=replace, track=track,
            trained_on=trained_on,
        )  # fmt: skip
    console.print(f"Wrote {out}. Use it as {name.partition(':')[0]}@{out}")
