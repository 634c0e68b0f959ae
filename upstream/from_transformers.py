"""Speech models of transformers: `hf/ID`, `hf/ID:revision`, `hf/./folder`.

Any checkpoint whose architecture is one of `TYPES` is read through `AutoModel`; a head on top of the encoder is left out. State
i is the input of Transformer layer i, the last state the output of the encoder (after the final normalisation of models that
normalise first). The input of a model is prepared as its authors intended:

* Wave models (wav2vec 2.0, HuBERT, WavLM, ...) get the waves, normalised if their `preprocessor_config.json` sets
  `do_normalize`; without this file, if their convolutions use layer normalisation, as in all published models of this type.
  Padding is masked, and left out of the statistics of group normalisation, also in models that were trained without a mask:
  their features are then those of a batch of one.
* SEW, SEW-D and the Conformer of wav2vec 2.0 cannot mask padding in pooling and depthwise convolutions, so only sounds of
  equal length share a batch. The layers of SEW work on every second frame: their states are repeated to the rate of its output.
* Wav2Vec2-BERT gets the normalised filter banks of its own feature extractor, two frames stacked.
* Whisper's encoder gets windows of 30 s, the last one padded with silence. Longer sound is processed window by window; frames
  are cut to the length of the sound.
* Codecs, Moonshine and the audio towers of language models: see `shared.hf_audio`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from superbench import SAMPLE_RATE, BadCheckpoint, CommandError, Features, MissingExtra, SuperbenchError
from upstream.shared.group_norm import Front, kept
from upstream.shared.hf_audio import CODECS, MOONSHINE, TOWER, TOWERS, CodecModel, MoonshineModel, Tower
from upstream.shared.model_folder import (
    described,
    must_be_whole,
    must_bring_no_code,
    must_fit,
    no_model,
    preprocessor,
    quiet,
    source_of,
)
from upstream.shared.unpadded import normalised, without_padding

MASKED = ("data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm")
UNMASKED = ("sew", "sew-d", "wav2vec2-conformer")
TYPES = (*MASKED, *UNMASKED, "wav2vec2-bert", "whisper", *CODECS, *TOWERS, MOONSHINE)
EPSILON = 1e-7
"""Added to the variance of a wave by the feature extractor of transformers."""
WINDOWS = 8
"""Number of windows of 30 s in a batch for Whisper."""
LEAST_FILTERS = 560
"""Samples of the shortest sound with two frames of filter banks; Wav2Vec2-BERT needs their variance."""


@dataclass(frozen=True)
class Config:
    """What the weights do not contain: whether waves are normalised, the configurations of model and feature extractor."""

    normalise: bool
    model: Mapping[str, Any]
    preprocessor: Mapping[str, Any] | None = None


class TransformersModel(nn.Module):
    """A wave model of transformers as an upstream; (layers + 1, batch, time, dim), one frame every `hop` samples."""

    sample_rate = SAMPLE_RATE

    def __init__(self, model: Any, normalise: bool) -> None:
        super().__init__()
        self.config = Config(normalise, described(model.config))
        self.model = model.eval()
        self.model.adapter = None  # shortens the output of some fine-tuned models; it affects no hidden state
        self.masked = model.config.model_type in MASKED
        self.front = Front(model.feature_extractor.conv_layers)
        self.hop = self.front.hop
        self.front.window += (getattr(model.config, "squeeze_factor", 1) - 1) * self.hop  # SEW pools pairs of frames
        self.layers = model.config.num_hidden_layers + 1
        self.dim = model.config.hidden_size

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch; padding changes them only by rounding."""
        if self.config.normalise:
            waves = normalised(waves, lengths, EPSILON)
        waves, lengths = self.front.fitted(waves, lengths)
        if not self.masked:
            return without_padding(waves, lengths, lambda rows: self._states(rows, None))
        frames = self.front.frames(lengths)
        if bool((lengths == waves.shape[1]).all()):
            return Features(self._states(waves, None), frames)
        keep = kept(frames, int(frames.max()))
        with self.front.only_valid(lengths), _silent_padding(self.model.encoder.pos_conv_embed, keep):
            states = self._states(waves, kept(lengths, waves.shape[1]).long())
        return Features(states * keep[None, :, :, None], frames)

    def _states(self, waves: Tensor, mask: Tensor | None) -> Tensor:
        with warnings.catch_warnings():  # WavLM masks keys by booleans and positions by numbers, of which torch warns
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            output = self.model(waves, attention_mask=mask, output_hidden_states=True, return_dict=True)
        last = output.last_hidden_state
        inner = [_repeated(state, last.shape[1]) for state in output.hidden_states[: self.layers - 1]]
        return torch.stack([*inner, last])


class FilterBankModel(nn.Module):
    """Wav2Vec2-BERT (Barrault et al. 2023, arXiv 2312.05187) as an upstream: filter banks in, a masked Conformer."""

    sample_rate = SAMPLE_RATE

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__()
        self.config = Config(False, described(model.config), _plain(extractor))
        self.model = model.eval()
        self.model.adapter = self.model.intermediate_ffn = None
        self.extractor = extractor
        self.hop = 160 * extractor.stride
        self.layers, self.dim = model.config.num_hidden_layers + 1, model.config.hidden_size

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch."""
        waves = nn.functional.pad(waves, (0, max(LEAST_FILTERS - waves.shape[1], 0)))
        sounds = [wave[: max(n, LEAST_FILTERS)].cpu().numpy() for wave, n in zip(waves, lengths.tolist(), strict=True)]
        inputs = self.extractor(sounds, sampling_rate=SAMPLE_RATE, return_tensors="pt").to(waves.device)
        output = self.model(inputs.input_features, attention_mask=inputs.attention_mask, output_hidden_states=True)
        states = torch.stack([*output.hidden_states[: self.layers - 1], output.last_hidden_state])
        frames = inputs.attention_mask.sum(1)
        keep = kept(frames, int(frames.max()))  # the extractor pads an odd number of filter banks
        return Features(states[:, :, : keep.shape[1]] * keep[None, :, :, None], frames)


class WhisperModel(nn.Module):
    """The encoder of Whisper (Radford et al. 2022, arXiv 2212.04356) as an upstream, window by window."""

    sample_rate = SAMPLE_RATE

    def __init__(self, encoder: Any, extractor: Any) -> None:
        super().__init__()
        self.config = Config(False, described(encoder.config), _plain(extractor))
        self.is_tower = encoder.config.model_type != "whisper"
        self.model = Tower(encoder) if self.is_tower else encoder.eval()
        self.extractor = extractor
        self.window = extractor.n_samples
        self.hop = extractor.hop_length * 2  # the second convolution halves the frame rate
        self.layers, self.dim = len(encoder.layers) + 1, encoder.layer_norm.weight.shape[0]

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch; frames of consecutive windows are concatenated."""
        sounds = [wave[:length] for wave, length in zip(waves, lengths.tolist(), strict=True)]
        windows = [window for sound in sounds for window in sound.split(self.window)]
        states = [self._states(windows[at : at + WINDOWS]) for at in range(0, len(windows), WINDOWS)]
        outputs = iter(torch.cat(states, 1).unbind(1))
        counts = torch.div(lengths + self.hop - 1, self.hop, rounding_mode="floor")
        frames = waves.new_zeros(self.layers, len(waves), int(counts.max()), self.dim)
        for row, (sound, count) in enumerate(zip(sounds, counts.tolist(), strict=True)):
            joined = torch.cat([next(outputs) for _ in sound.split(self.window)], 1)  # (layer, time, dim)
            frames[:, row, :count] = joined[:, :count]
        return Features(frames, counts)

    def _states(self, windows: list[Tensor]) -> Tensor:
        plain = [window.cpu().numpy() for window in windows]
        inputs = self.extractor(plain, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features.to(windows[0].device)
        return self.model(inputs) if self.is_tower else torch.stack(self.model(inputs, output_hidden_states=True).hidden_states)


def _repeated(state: Tensor, time: int) -> Tensor:
    """Repeats the frames of a state (batch, time, dim) of a lower rate; the last one fills the end."""
    if state.shape[1] == time:
        return state
    at = torch.arange(time, device=state.device) // (time // state.shape[1])
    return state[:, at.clamp(max=state.shape[1] - 1)]


@contextmanager
def _silent_padding(positional: nn.Module, keep: Tensor) -> Iterator[None]:
    """Sets padded frames to zero before each positional convolution (data2vec stacks several of them).

    For HuBERT models with batch normalisation also after it, because it changes zeros.
    """

    def silence(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0] * keep[:, None], *inputs[1:])  # (batch, dim, time)

    stacked = [*getattr(positional, "layers", ())]
    if getattr(positional, "batch_norm", None) is not None:
        stacked.append(positional.conv)
    handles = [layer.register_forward_pre_hook(silence) for layer in stacked]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# ---------------------------------------------------------------- loading


def load(name: str, weights: Path | None) -> nn.Module:
    """Loads the model of a folder (`name` starts with `/ . ~`) or of the hub (`id` or `id:revision`).

    Raises `MissingExtra` without transformers, `CommandError` for an architecture that is none of `TYPES` or its authors' own
    code, `BadCheckpoint` for damaged files and incomplete weights, `SuperbenchError` if nothing can be read.
    """
    if weights is not None:
        raise CommandError(f"hf/{name} takes no @FILE: put {weights} and its config.json into a folder and use hf/FOLDER.")
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra(f"hf/{name}", "transformers", "hf") from error
    source, options = source_of(name)
    try:
        with quiet():
            if "local_files_only" in options:
                must_be_whole(f"hf/{name}", Path(source))
                must_fit(f"hf/{name}", Path(source))
            config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
            _check_type(name, config)
            must_bring_no_code(f"hf/{name}", config.to_dict())
            model, report = transformers.AutoModel.from_pretrained(
                source, config=config, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True,
                trust_remote_code=False, **options,
            )  # fmt: skip
            _check_weights(name, config, report)
            return _wrapped(name, model, source, options)
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError, EOFError) as error:
        raise SuperbenchError(no_model(f"hf/{name}", source, options, error)) from error


def _wrapped(name: str, model: Any, source: str, options: Mapping[str, Any]) -> nn.Module:
    import transformers

    if model.config.model_type == "wav2vec2-bert":
        return FilterBankModel(model, _extractor(name, transformers.SeamlessM4TFeatureExtractor, {}, source, options))
    if model.config.model_type == "whisper" or model.config.model_type in TOWERS:
        encoder = model.get_encoder() if model.config.model_type == "whisper" else getattr(model, "audio_tower", model)
        plain = {"feature_size": encoder.config.num_mel_bins}
        return WhisperModel(encoder, _extractor(name, transformers.WhisperFeatureExtractor, plain, source, options))
    if model.config.model_type in CODECS:
        return CodecModel(model, name)
    if model.config.model_type == MOONSHINE:
        return MoonshineModel(model)
    settings = preprocessor(f"hf/{name}", source, options)
    layer_norms = getattr(model.config, "feat_extract_norm", "layer") == "layer"
    return TransformersModel(model, layer_norms if settings is None else bool(settings.get("do_normalize", True)))


def _check_type(name: str, config: Any) -> None:
    if config.model_type not in TYPES:
        raise CommandError(f"hf/{name} is a {config.model_type} model; this adapter reads {', '.join(TYPES)}.")


def _check_weights(name: str, config: Any, report: Mapping[str, Any]) -> None:
    """Raises `BadCheckpoint` if the file lacks weights that the encoder needs."""
    needed = "encoder." if config.model_type in ("whisper", MOONSHINE) else TOWER if config.model_type in TOWERS[::2] else ""
    unused = ("masked_spec_embed", "adapter.", "intermediate_ffn.")  # used only in training, or by no hidden state
    resized = sorted(sizes for sizes in report.get("mismatched_keys", ()) if sizes[0].startswith(needed))
    if resized:
        key, stored, configured = resized[0]
        raise BadCheckpoint(
            f"hf/{name} has weights of other sizes than its config.json: {len(resized)} differ, such as {key} "
            f"({tuple(stored)} in the file, {tuple(configured)} in the configuration). Expected both files of the same model."
        )
    missing = sorted(key for key in report["missing_keys"] if key.startswith(needed) and not key.startswith(unused))
    if missing:
        raise BadCheckpoint(
            f"hf/{name} lacks {len(missing)} weights of its {config.model_type} architecture, such as {missing[0]}; they would "
            "be random. Expected a checkpoint of the complete encoder."
        )


def _extractor(name: str, family: Any, defaults: Mapping[str, Any], source: str, options: Mapping[str, Any]) -> Any:
    """Returns the model's own feature extractor; without its file, the default of its class `family`."""
    settings = preprocessor(f"hf/{name}", source, options)
    return family(**defaults) if settings is None else family.from_dict(dict(settings))


def _plain(extractor: Any) -> Mapping[str, Any]:
    """Returns the settings of a feature extractor, without its tables."""
    return {key: value for key, value in extractor.to_dict().items() if isinstance(value, int | float | str | bool)}
