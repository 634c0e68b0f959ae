"""Further audio encoders of transformers: the states of the original, whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from superbench import CommandError, plugins
from superbench.plugins.doctor.examination import examine
from upstream import from_transformers

SIZES = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
WAVES = {"conv_dim": [16] * 7, "num_conv_pos_embedding_groups": 4, "num_conv_pos_embeddings": 32}
TOWER = {"num_mel_bins": 40, "max_source_positions": 50}
TEXT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 32,
        "vocab_size": 64, "head_dim": 16}  # fmt: skip


def qwen2_audio() -> Any:
    tower = {"encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "d_model": 48, **TOWER}
    return transformers.Qwen2AudioConfig(audio_config=tower, text_config=TEXT | {"model_type": "qwen2"})


def voxtral() -> Any:
    tower = {**SIZES, **TOWER, "model_type": "voxtral_encoder"}
    return transformers.VoxtralConfig(audio_config=tower, text_config=TEXT | {"model_type": "llama"})


CONFIGS: dict[str, Callable[[], Any]] = {
    "mimi": lambda: transformers.MimiConfig(
        hidden_size=32, num_filters=4, num_residual_layers=1, num_hidden_layers=1, intermediate_size=32, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, codebook_size=16, codebook_dim=8, vector_quantization_hidden_dimension=8,
        num_quantizers=3, upsample_groups=32,
    ),
    "encodec": lambda: transformers.EncodecConfig(num_filters=4, hidden_size=16, codebook_size=16, num_lstm_layers=1),
    "dac": lambda: transformers.DacConfig(
        encoder_hidden_size=4, decoder_hidden_size=32, codebook_size=16, n_codebooks=2, sampling_rate=24_000
    ),
    "moonshine": lambda: transformers.MoonshineConfig(
        vocab_size=64, hidden_size=48, intermediate_size=64, encoder_num_hidden_layers=2, decoder_num_hidden_layers=1,
        encoder_num_attention_heads=4, decoder_num_attention_heads=4,
    ),
    "sew-d": lambda: transformers.SEWDConfig(
        **SIZES, **WAVES | {"conv_dim": [16] * 13, "num_conv_pos_embeddings": 31}, squeeze_factor=2
    ),
    "hubert, batch norm": lambda: transformers.HubertConfig(**SIZES, **WAVES, conv_pos_batch_norm=True),
    "mms": lambda: transformers.Wav2Vec2Config(**SIZES, **WAVES, adapter_attn_dim=8),
    "unispeech": lambda: transformers.UniSpeechConfig(**SIZES, **WAVES),
    "qwen2_audio": qwen2_audio,
    "voxtral": voxtral,
}  # fmt: skip
FACTS = {  # sample rate, hop at 16 kHz, states, dim
    "mimi": (24_000, 1280, 2, 32), "encodec": (24_000, 213, 2, 16), "dac": (24_000, 341, 2, 64),
    "moonshine": (16_000, 384, 3, 48), "sew-d": (16_000, 320, 3, 48), "hubert, batch norm": (16_000, 320, 3, 48),
    "mms": (16_000, 320, 3, 48), "unispeech": (16_000, 320, 3, 48), "qwen2_audio": (16_000, 320, 3, 48),
    "voxtral": (16_000, 320, 3, 48),
}  # fmt: skip


def saved(folder: Path, kind: str) -> Any:
    """A tiny model with random weights, as save_pretrained writes it; returns the original."""
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(CONFIGS[kind]()).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.3)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.5)
    model.save_pretrained(folder)
    if kind in ("qwen2_audio", "voxtral"):
        transformers.WhisperFeatureExtractor(feature_size=40, chunk_length=1).save_pretrained(folder)
    else:
        transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONFIGS)
def test_it_keeps_the_contract_beside_other_sounds(kind: str, tmp_path: Path) -> None:
    saved(tmp_path / "model", kind)
    model = from_transformers.load(str(tmp_path / "model"), None)
    loaded = plugins.loaded(plugins.parse("x"), model, "cpu")
    assert (model.sample_rate, loaded.hop, loaded.layers, loaded.dim) == FACTS[kind]
    found = examine(loaded, seconds=3.0)
    assert found.healthy, found.reasons
    assert found.batching == "any"


def directly(model: Any, kind: str, wave: Tensor) -> list[Tensor]:
    """States (batch, time, dim) of the original."""
    if kind == "mimi":
        codes = model.encode(wave[:, None]).audio_codes
        return [model.encoder(wave[:, None]).latents.mT, model.quantizer.decode(codes).mT]
    if kind == "encodec":
        codes = model.encode(wave[:, None], bandwidth=max(model.config.target_bandwidths)).audio_codes[0]
        return [model.encoder(wave[:, None]).mT, model.quantizer.decode(codes.transpose(0, 1)).mT]
    if kind == "dac":
        return [model.encoder(wave[:, None]).mT, model.encode(wave[:, None]).quantized_representation.mT]
    if kind in ("qwen2_audio", "voxtral"):
        extractor = transformers.WhisperFeatureExtractor(feature_size=40, chunk_length=1)
        inputs = extractor(wave[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_features
        return list(model.audio_tower(inputs, output_hidden_states=True).hidden_states[:2])
    output = (model.encoder if kind == "moonshine" else model)(wave, output_hidden_states=True)
    inner = list(output.hidden_states[:2])
    if kind == "sew-d":
        inner = [state.repeat_interleave(2, 1) for state in inner]
    return [*inner, output.last_hidden_state]


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONFIGS)
def test_its_states_are_those_of_the_original(kind: str, tmp_path: Path) -> None:
    original = saved(tmp_path / "model", kind)
    model = from_transformers.load(str(tmp_path / "model"), None)
    wave = torch.randn(1, model.hop * 40, generator=torch.Generator().manual_seed(1)) * 0.1
    with torch.inference_mode():
        found, expected = model(wave, torch.tensor([wave.shape[1]])).frames, directly(original, kind, wave)
    for state, other in zip(found, expected, strict=False):
        time = min(state.shape[1], other.shape[1])
        assert abs(state.shape[1] - other.shape[1]) <= (10 if kind in ("qwen2_audio", "voxtral") else 1)
        assert float((state[:, :time] - other[:, :time]).abs().max()) <= 1e-5 * float(other.abs().max())


@pytest.mark.slow
def test_a_codec_for_stereo_is_refused(tmp_path: Path) -> None:
    config = transformers.EncodecConfig(
        num_filters=4, hidden_size=16, codebook_size=16, num_lstm_layers=1, audio_channels=2, normalize=True, chunk_length_s=1.0
    )
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(CommandError, match="encodec_24khz"):
        from_transformers.load(str(tmp_path), None)
