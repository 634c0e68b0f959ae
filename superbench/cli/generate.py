"""`superbench generate`: let a pretrained model go on speaking."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superbench.cli.arguments import Device


def generate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of a model that generates (speech_gpt)", show_default=False)],
    prompt: Annotated[Path, typer.Option(help="The recording to continue (wav, flac, mp3, ogg; its last 30 s are heard)", show_default=False)],
    out: Annotated[Path, typer.Option(help="The wav to write: the prompt, then what may follow", show_default=False)],
    seconds: Annotated[float, typer.Option(help="How much to add", min=0.02, max=600)] = 3.0,
    temperature: Annotated[float, typer.Option(help="Low: keeps to what is likeliest; high: dares more", min=0.01)] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the draws; the same seed gives the same sound")] = 0,
    alone: Annotated[bool, typer.Option("--alone", help="Leave the prompt out of the wav")] = False,
    device: Device = "auto",
) -> None:  # fmt: skip
    """Continue a recording with a model that was pretrained to predict the next unit of sound.

    For example: superbench pretrain speech_gpt --audio DIR --out gpt.safetensors, then
    superbench generate gpt.safetensors --prompt hello.wav --seconds 3 --out more.wav
    """
    from superbench.cli.display import console, stages
    from superbench.system.files import require_place
    from superbench.training.pretraining.generation import generate as continued, write_sound

    require_place(out, f"--out {out}")
    with stages() as reporter:
        found = continued(
            checkpoint, prompt, seconds=seconds, temperature=temperature, seed=seed, device=device, reporter=reporter
        )
    write_sound(out, found.wave[found.start :] if alone else found.wave)
    facts = ", ".join(f"{name} {value:.4g}" for name, value in found.facts.items())
    console.print(
        f"Wrote {out}: {(len(found.wave) - found.start) / 16_000:.2f} s after a prompt of {found.start / 16_000:.2f} s"
    )
    console.print(f"{facts}")
