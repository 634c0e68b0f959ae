"""`superbench generate`: a model that predicts what comes next goes on where a recording stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from superbench import plugins
from superbench.contract import SAMPLE_RATE, Audio, Generative
from superbench.data.audio import load
from superbench.errors import BadCheckpoint, CommandError, StoreError
from superbench.system.devices import device_of
from superbench.system.files import load_tensors, whole
from superbench.system.progress import Reporter, Silence
from superbench.system.ranges import require_number, require_whole
from superbench.system.seeding import seeded

LONGEST_PROMPT = 30
"""Seconds of a prompt that are heard, counted from its end."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """The sound (samples,), at which sample it begins to be new, and facts about it."""

    wave: Tensor
    start: int
    facts: Mapping[str, float]


def generate(
    checkpoint: Path | str, prompt: Path | str, *, seconds: float = 3.0, temperature: float = 1.0, seed: int = 0,
    device: str = "auto", reporter: Reporter | None = None,
) -> Continuation:  # fmt: skip
    """Continue the recording `prompt` with the model of a checkpoint that `superbench pretrain` wrote; same seed, same sound.

    Raises `BadCheckpoint`, `BadAudio`, and `CommandError` for a model that cannot generate.
    """
    checkpoint, prompt, listener = Path(checkpoint), Path(prompt), reporter or Silence()
    require_number("--seconds", seconds, above=0)
    require_number("--temperature", temperature, above=0)
    require_whole("--seed", seed)
    place = device_of(device)
    name = _family(checkpoint)
    model = plugins.upstream(plugins.parse(f"{name}@{checkpoint}"), place).model
    if not isinstance(model, Generative):
        raise CommandError(
            f"{checkpoint} holds {name!r}, which cannot generate sound: it has no `generate`. Pretrain a model that has: "
            "superbench pretrain speech_gpt --audio DIR --out speech_gpt.safetensors"
        )
    wave = load(Audio(prompt))[-LONGEST_PROMPT * SAMPLE_RATE :]
    with seeded(seed), torch.inference_mode():
        sound, facts = model.generate(
            wave.to(place), seconds, temperature, lambda done, total: listener.advance("generate", done, total)
        )
    return Continuation(sound.cpu(), len(wave), facts)


def write_sound(path: Path, wave: Tensor) -> None:
    """Write (samples,) as a 16-bit wav, lowered if it would clip, whole or not at all."""
    peak = float(wave.abs().max())
    with whole(path) as temporary:
        soundfile.write(temporary, (wave / max(peak, 1.0)).numpy(), SAMPLE_RATE, subtype="PCM_16", format="WAV")


def _family(checkpoint: Path) -> str:
    if not checkpoint.is_file():
        raise BadCheckpoint(
            f"{checkpoint} is not there. Make it: superbench pretrain speech_gpt --audio DIR --out {checkpoint}"
        )
    try:
        found = load_tensors(checkpoint)[1].get("family")
    except StoreError as error:
        raise BadCheckpoint(f"{error} Fetch it again, or pretrain it again.") from error
    if not found:
        raise BadCheckpoint(f"{checkpoint} is none that superbench wrote (no family in its header).")
    return found
