"""Further audio encoders of transformers: codecs, Moonshine, and the audio towers of language models.

* Codecs (Mimi, EnCodec, DAC) have two states: the latents before and after their quantizer (all codebooks). They get sound at
  their own rate.
* Moonshine normalises over all frames, so only sounds of equal length share a batch.
* The audio towers of Qwen2-Audio and Voxtral are Whisper encoders: windows of 30 s, state i is the input of layer i, the last
  one the normalised output of the last layer, before any pooling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from superbench import SAMPLE_RATE, CommandError, Features
from upstream.shared.model_folder import described
from upstream.shared.unpadded import without_padding

CODECS = ("mimi", "encodec", "dac")
TOWERS = ("qwen2_audio", "qwen2_audio_encoder", "voxtral", "voxtral_encoder")
MOONSHINE = "moonshine"
TOWER = "audio_tower."
"""What stands before the names of a tower's weights in the model that it belongs to."""


@dataclass(frozen=True)
class AudioConfig:
    """The configuration of a model, which its weights do not contain."""

    model: Mapping[str, Any]


class CodecModel(nn.Module):
    """Latents of a codec, before and after quantization; (2, batch, time, dim)."""

    layers = 2

    def __init__(self, model: Any, name: str) -> None:
        super().__init__()
        config = model.config
        self.config, self.kind = AudioConfig(described(config)), config.model_type
        chunked = any(getattr(config, key, None) for key in ("chunk_length_s", "normalize"))
        if chunked or getattr(config, "audio_channels", 1) != 1:
            raise CommandError(
                f"hf/{name} is a codec for stereo or for chunks, each normalised alone, so its latents have no common scale. "
                "Use one for mono sound, such as encodec_24khz."
            )
        self.encoder, self.quantizer = model.encoder.eval(), model.quantizer.eval()
        self.sample_rate = int(config.sampling_rate)
        self.hop = round(self.sample_rate / config.frame_rate) if self.kind == "mimi" else prod(_ratios(config))
        self.bandwidth = max(config.target_bandwidths) if self.kind == "encodec" else None
        with torch.inference_mode():
            self.dim = self._states(torch.zeros(1, 4 * self.hop)).shape[3]

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the latents of a batch; sound is padded with zeros to whole frames."""
        own = torch.div(lengths + self.hop - 1, self.hop, rounding_mode="floor")
        waves = nn.functional.pad(waves, (0, max(int(own.max()) * self.hop - waves.shape[1], 0)))
        features = without_padding(waves, own * self.hop, self._states)
        return Features(features.frames, torch.minimum(features.lengths, own.to(features.lengths)))

    def _states(self, waves: Tensor) -> Tensor:
        encoded = self.encoder(waves[:, None])
        latents = encoded.latents if self.kind == "mimi" else encoded  # (batch, dim, time)
        if self.kind == "dac":
            quantized = self.quantizer(latents)[0]
        elif self.kind == "encodec":
            quantized = self.quantizer.decode(self.quantizer.encode(latents, self.bandwidth))
        else:
            quantized = self.quantizer.decode(self.quantizer.encode(latents).transpose(0, 1))
        return torch.stack([latents, quantized]).transpose(2, 3)


def _ratios(config: Any) -> list[int]:
    return list(getattr(config, "downsampling_ratios", None) or config.upsampling_ratios)


class MoonshineModel(nn.Module):
    """The encoder of Moonshine (Jeffries et al. 2024, arXiv 2410.15608) as an upstream; one frame every 24 ms."""

    sample_rate = SAMPLE_RATE
    hop, window = 384, 895

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.config = AudioConfig(described(model.config))
        self.model = model.get_encoder().eval()
        self.layers, self.dim = len(self.model.layers) + 1, model.config.hidden_size

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch; each sound is computed without padding."""
        waves = nn.functional.pad(waves, (0, max(self.window - waves.shape[1], 0)))
        return without_padding(waves, lengths.clamp(min=self.window), self._states)

    def _states(self, waves: Tensor) -> Tensor:
        return states_of(self.model.layers, lambda: self.model(waves).last_hidden_state)


class Tower(nn.Module):
    """The audio tower of a language model: called with filter banks, it returns all states of their frames."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (batch, bands, time) → (layer, batch, time / 2, dim)."""
        outputs: list[Tensor] = []
        handle = self.tower.layers[-1].register_forward_hook(lambda *given: outputs.append(_first(given[2])))
        try:
            return states_of(self.tower.layers, lambda: (self.tower(inputs), self.tower.layer_norm(outputs[0]))[1])
        finally:
            handle.remove()


def states_of(layers: nn.ModuleList, call: Any) -> Tensor:
    """Returns the input (batch, time, dim) of each layer during `call()`, and what `call` returns."""
    inputs: list[Tensor] = []

    def record(_: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        inputs.append(arguments[0] if arguments else named["hidden_states"])

    handles = [layer.register_forward_pre_hook(record, with_kwargs=True) for layer in layers]
    try:
        last: Tensor = call()
        return torch.stack([*inputs, last])
    finally:
        for handle in handles:
            handle.remove()


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output
