"""`superbench generate`: an autoregressive model continues a recording."""

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
"""The model receives at most the last so many seconds of the prompt."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """A continued recording: `wave` (samples,), the sample `start` where the generated part begins, and facts about it."""

    wave: Tensor
    start: int
    facts: Mapping[str, float]


def generate(
    checkpoint: Path | str, prompt: Path | str, *, seconds: float = 3.0, temperature: float = 1.0, seed: int = 0,
    device: str = "auto", reporter: Reporter | None = None,
) -> Continuation:  # fmt: skip
    """Continue the recording `prompt` with the model of a checkpoint that `superbench pretrain` wrote.

    The same seed gives the same waveform. Raises `BadCheckpoint`, `BadAudio`, and `CommandError` for a model that cannot
    generate.
    """
    checkpoint, prompt, progress = Path(checkpoint), Path(prompt), reporter or Silence()
    require_number("--seconds", seconds, above=0)
    require_number("--temperature", temperature, above=0)
    require_whole("--seed", seed)
    if not prompt.is_file():
        raise CommandError(f"--prompt {prompt}: there is no such file. Give a recording: wav, flac, mp3 or ogg.")
    torch_device = device_of(device)
    name = _family(checkpoint)
    model = plugins.upstream(plugins.parse(f"{name}@{checkpoint}"), torch_device).model
    if not isinstance(model, Generative):
        raise CommandError(
            f"{checkpoint} contains {name!r}, which cannot generate audio: it has no method `generate`. Pretrain one that has: "
            "superbench pretrain speech_gpt --audio DIR --out speech_gpt.safetensors"
        )
    wave = load(Audio(prompt))[-LONGEST_PROMPT * SAMPLE_RATE :]
    with seeded(seed), torch.inference_mode():
        continued, facts = model.generate(
            wave.to(torch_device), seconds, temperature, lambda done, total: progress.advance("generate", done, total)
        )
    return Continuation(continued.cpu(), len(wave), facts)


def write_sound(path: Path, wave: Tensor) -> None:
    """Write (samples,) as a 16-bit wav, atomically. The amplitude is scaled down if it would clip."""
    peak = float(wave.abs().max())
    with whole(path) as temporary:
        soundfile.write(temporary, (wave / max(peak, 1.0)).numpy(), SAMPLE_RATE, subtype="PCM_16", format="WAV")


def _family(checkpoint: Path) -> str:
    if not checkpoint.is_file():
        raise BadCheckpoint(
            f"{checkpoint} does not exist. Create it: superbench pretrain speech_gpt --audio DIR --out {checkpoint}"
        )
    try:
        family = load_tensors(checkpoint)[1].get("family")
    except StoreError as error:
        raise BadCheckpoint(f"{error} Copy the file again, or repeat the pretraining.") from error
    if not family:
        raise BadCheckpoint(f"{checkpoint} was not written by superbench (its header has no family).")
    return family
