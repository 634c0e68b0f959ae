"""`superbench generate`: continues a recording with a pretrained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superbench.cli.arguments import Device
from superbench.errors import CommandError


def generate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of a model that generates (speech_gpt)", show_default=False)],
    prompt: Annotated[Path, typer.Option(help="The recording to continue (wav, flac, mp3, ogg; the model receives its last 30 s)", show_default=False)],
    out: Annotated[Path, typer.Option(help="The wav to write: the prompt and its continuation", show_default=False)],
    seconds: Annotated[float, typer.Option(help="Length of the continuation", min=0.02, max=600)] = 3.0,
    temperature: Annotated[float, typer.Option(help="Sampling temperature: low values give likely, high values give varied continuations", min=0.01)] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling; the same seed gives the same waveform")] = 0,
    alone: Annotated[bool, typer.Option("--alone", help="Write the continuation without the prompt")] = False,
    device: Device = "auto",
) -> None:  # fmt: skip
    """Continue a recording with a model that was pretrained to predict the next unit of speech.

    Example: superbench pretrain speech_gpt --audio DIR --out gpt.safetensors, then
    superbench generate gpt.safetensors --prompt hello.wav --seconds 3 --out more.wav
    """
    from superbench.cli.display import console, stages
    from superbench.system.files import require_place
    from superbench.training.pretraining.generation import generate as continue_recording, write_sound

    require_place(out, f"--out {out}")
    if out.suffix.lower() != ".wav":
        raise CommandError(f"--out {out}: the sound is written as wav; give a name that ends in .wav.")
    with stages() as reporter:
        continued = continue_recording(
            checkpoint, prompt, seconds=seconds, temperature=temperature, seed=seed, device=device, reporter=reporter
        )
    write_sound(out, continued.wave[continued.start :] if alone else continued.wave)
    facts = ", ".join(f"{name} {value:.4g}" for name, value in continued.facts.items())
    console.print(
        f"Wrote {out}: {(len(continued.wave) - continued.start) / 16_000:.2f} s after a prompt of {continued.start / 16_000:.2f} s"
    )
    console.print(f"{facts}")
