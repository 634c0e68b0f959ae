"""Audio language models of transformers: how each hears sounds, and what its feature extractor does that must not go unseen.

The processors of transformers also build image and video processors, which need further packages; here the feature extractor
and the tokenizer are used alone, as the processors use them. A sound stands in the text as a placeholder, which is repeated as
often as the model makes vectors of the sound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from superbench import SAMPLE_RATE

Heard = tuple[dict[str, Any], list[int]]
"""Arguments for the model, and the number of vectors of each sound."""
BREAK = SAMPLE_RATE // 2
"""Samples of silence between sounds that are joined to one."""


@dataclass(frozen=True, slots=True)
class Family:
    """A family of models: its class in transformers, and how it hears sounds.

    `cuts`: its feature extractor cuts longer sounds without a word. `joined`: a prompt holds one sound, so the sounds of a
    prompt are joined with silence between them.
    """

    model: str
    heard: Callable[[Any, Sequence[np.ndarray]], Heard]
    cuts: bool = False
    joined: bool = False


def _whisper(extractor: Any, waves: Sequence[np.ndarray], **more: Any) -> tuple[Tensor, Tensor]:
    """Returns log-mel spectra padded to the window, and their masks."""
    found = extractor(
        list(waves), sampling_rate=SAMPLE_RATE, padding="max_length", return_attention_mask=True, return_tensors="pt", **more
    )
    return found["input_features"], found["attention_mask"]


def _quarter(frames: Tensor) -> Tensor:
    """Returns the vectors that are left of frames: every second one, then means of pairs."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1


def _qwen2(extractor: Any, waves: Sequence[np.ndarray]) -> Heard:
    features, mask = _whisper(extractor, waves)
    return {"input_features": features, "feature_attention_mask": mask}, _quarter(mask.sum(-1)).tolist()


def _qwen_omni(extractor: Any, waves: Sequence[np.ndarray]) -> Heard:
    features, mask = _whisper(extractor, waves, truncation=False)
    return {"input_features": features, "feature_attention_mask": mask}, _quarter(mask.sum(-1)).tolist()


def _qwen3_omni(extractor: Any, waves: Sequence[np.ndarray]) -> Heard:
    from transformers.models.qwen3_omni_moe.processing_qwen3_omni_moe import _get_feat_extract_output_lengths

    features, mask = _whisper(extractor, waves, truncation=False)
    counts = _get_feat_extract_output_lengths(mask.sum(-1))
    return {"input_features": features, "feature_attention_mask": mask}, counts.tolist()


def _phi4(extractor: Any, waves: Sequence[np.ndarray]) -> Heard:
    found = dict(extractor(list(waves), sampling_rate=SAMPLE_RATE, return_tensors="pt"))
    return found, found["audio_embed_sizes"].tolist()


def _granite(extractor: Any, waves: Sequence[np.ndarray]) -> Heard:
    found = dict(extractor([torch.from_numpy(wave) for wave in waves]))
    return found, list(found.pop("audio_embed_sizes"))


def _windows(extractor: Any, waves: Sequence[np.ndarray]) -> tuple[dict[str, Any], Tensor]:
    """Returns arguments for the model, and frames, of one sound that is cut into windows."""
    (wave,) = waves
    cut = [wave[at : at + extractor.n_samples] for at in range(0, len(wave), extractor.n_samples)]
    features, mask = _whisper(extractor, cut)
    return {"input_features": features, "input_features_mask": mask}, mask.sum()


def _flamingo(extractor: Any, waves: Sequence[np.ndarray]) -> Heard:
    arguments, frames = _windows(extractor, waves)
    return arguments, [int(_quarter(frames))]


def _glm(extractor: Any, waves: Sequence[np.ndarray]) -> Heard:
    arguments, frames = _windows(extractor, waves)
    return arguments, [(((int(frames) - 1) // 2 + 1) - 4) // 4 + 1]


def _voxtral(extractor: Any, waves: Sequence[np.ndarray]) -> Heard:
    """Pads every sound to whole windows of 30 s; each window becomes 375 vectors, silent ones too."""
    spectra = [
        extractor(
            wave, sampling_rate=SAMPLE_RATE, padding=True, truncation=False, pad_to_multiple_of=extractor.n_samples,
            return_tensors="pt",
        )["input_features"][0]
        for wave in waves
    ]  # fmt: skip
    windows = [spectrum.unflatten(1, (-1, extractor.nb_max_frames)).transpose(0, 1) for spectrum in spectra]
    return {"input_features": torch.cat(windows)}, [len(window) * (extractor.nb_max_frames // 8) for window in windows]


FAMILIES: Mapping[str, Family] = {
    "qwen2_audio": Family("Qwen2AudioForConditionalGeneration", _qwen2, cuts=True),
    "qwen2_5_omni": Family("Qwen2_5OmniThinkerForConditionalGeneration", _qwen_omni),
    "qwen2_5_omni_thinker": Family("Qwen2_5OmniThinkerForConditionalGeneration", _qwen_omni),
    "qwen3_omni_moe": Family("Qwen3OmniMoeThinkerForConditionalGeneration", _qwen3_omni),
    "qwen3_omni_moe_thinker": Family("Qwen3OmniMoeThinkerForConditionalGeneration", _qwen3_omni),
    "phi4_multimodal": Family("Phi4MultimodalForCausalLM", _phi4),
    "granite_speech": Family("GraniteSpeechForConditionalGeneration", _granite),
    "voxtral": Family("VoxtralForConditionalGeneration", _voxtral),
    "audioflamingo3": Family("AudioFlamingo3ForConditionalGeneration", _flamingo, joined=True),
    "musicflamingo": Family("MusicFlamingoForConditionalGeneration", _flamingo, joined=True),
    "glmasr": Family("GlmAsrForConditionalGeneration", _glm, joined=True),
}
"""Model type -> family."""
NOT_YET: Mapping[str, str] = {
    "qwen3_asr": "its answers begin with a language that it names itself, so a label is no continuation of a prompt"
}
"""Model types that are known and not read, each with the reason."""


def joined(waves: Sequence[Tensor]) -> Tensor:
    """Returns the waves as one, with half a second of silence between them."""
    parts = [part for wave in waves for part in (wave.new_zeros(BREAK), wave)]
    return torch.cat(parts[1:])
