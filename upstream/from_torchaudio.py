"""Models of torchaudio.pipelines: `torchaudio/hubert_base`, `torchaudio/wavlm_base_plus`, with `@FILE` for your own weights.

wav2vec 2.0 (Baevski et al. 2020, arXiv 2006.11477), HuBERT (Hsu et al. 2021, arXiv 2106.07447), WavLM (Chen et al. 2021,
arXiv 2110.13900) and XLS-R. torchaudio's `extract_features` returns the output of each Transformer layer. SUPERB also
uses the input of the first layer, so this adapter calls the layers one after another. As in the reference and in transformers,
state i is the input of layer i and the last state is the output of the encoder: in large models, which normalise first, after
their final normalisation. The recognition head of the `asr` bundles is left out.
"""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchaudio import models, pipelines
from torchaudio.models.wav2vec2.wavlm_attention import WavLMSelfAttention

from superbench import SAMPLE_RATE, BadCheckpoint, CommandError, Features, SuperbenchError, load_tensors
from upstream.shared.group_norm import Front, kept
from upstream.shared.unpadded import normalised

EPSILON = 1e-5
"""Added to the variance of a wave, because torchaudio normalises with torch's layer normalisation."""


@dataclass(frozen=True)
class Config:
    """What the weights do not contain: the bundle, and whether each wave is normalised to zero mean and unit variance."""

    bundle: str
    normalise: bool
    architecture: Mapping[str, Any]


class TorchaudioModel(nn.Module):
    """A `torchaudio.models.Wav2Vec2Model` as an upstream; (layers + 1, batch, time, dim), one frame every `hop` samples."""

    sample_rate = SAMPLE_RATE

    def __init__(self, model: models.Wav2Vec2Model, config: Config) -> None:
        super().__init__()
        self.config = config
        self.model = model.eval()
        self.model.aux = None
        self.front = Front(model.feature_extractor.conv_layers)
        self.hop = self.front.hop
        self.layers = len(model.encoder.transformer.layers) + 1
        self.dim = model.encoder.transformer.layer_norm.normalized_shape[0]

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch; padding changes them only by rounding."""
        if self.config.normalise:
            waves = normalised(waves, lengths, EPSILON)
        waves, lengths = self.front.fitted(waves, lengths)
        frames = self.front.frames(lengths)
        if bool((lengths == waves.shape[1]).all()):
            return Features(self._states(self.model.feature_extractor(waves, None)[0], None), frames)
        with self.front.only_valid(lengths):
            local = self.model.feature_extractor(waves, None)[0]
        keep = kept(frames, local.shape[1])
        return Features(self._states(local, keep) * keep[None, :, :, None], frames)

    def _states(self, local: Tensor, keep: Tensor | None) -> Tensor:
        transformer = self.model.encoder.transformer
        x = self.model.encoder.feature_projection(local)  # (batch, time, dim)
        if keep is not None:
            x = x * keep[..., None]  # the positional convolution reads beyond the end
        x = x + transformer.pos_conv_embed(x)
        if transformer.layer_norm_first:  # torchaudio's name for normalising before the first layer and not after the last
            x = transformer.layer_norm(x)
        states, bias = [x], None
        for layer in transformer.layers:
            x, bias = layer(x, position_bias=bias, **_masks(layer, keep, x))
            states.append(x)
        if not transformer.layer_norm_first:
            states[-1] = transformer.layer_norm(x)
        return torch.stack(states)


def _masks(layer: nn.Module, keep: Tensor | None, x: Tensor) -> dict[str, Tensor]:
    if keep is None:
        return {}
    if isinstance(layer.attention, WavLMSelfAttention):
        return {"key_padding_mask": torch.zeros_like(x[..., 0]).masked_fill(~keep, -torch.inf)}
    return {"attention_mask": keep[:, None, None].expand(-1, 1, keep.shape[1], -1)}


def load(name: str, weights: Path | None) -> TorchaudioModel:
    """Builds the bundle of that name, with its published weights (fetched) or those of a file.

    Raises `CommandError` for an unknown bundle, `BadCheckpoint` for weights that do not fit, `SuperbenchError` if the published
    weights cannot be fetched.
    """
    bundle = _bundle(name)
    model = _fetched(name, bundle) if weights is None else _built(name, bundle, weights)
    # torchaudio has no public function that returns a bundle's architecture without fetching its weights
    return TorchaudioModel(model, Config(name.lower(), bundle._normalize_waveform, bundle._params))


def bundles() -> dict[str, Any]:
    """Returns all wave models of torchaudio.pipelines by their names in lower case."""
    exported = {name.lower(): getattr(pipelines, name) for name in pipelines.__all__}
    return {name: value for name, value in exported.items() if isinstance(value, pipelines.Wav2Vec2Bundle)}


def _bundle(name: str) -> Any:
    known = bundles()
    if name.lower() not in known:
        near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
        guess = f"Did you mean {' or '.join(near)}? " if near else ""
        raise CommandError(f"torchaudio has no bundle called {name!r}. {guess}It has {', '.join(sorted(known))}.")
    return known[name.lower()]


def _fetched(name: str, bundle: Any) -> models.Wav2Vec2Model:
    try:
        model = bundle.get_model()
    except (OSError, RuntimeError) as error:
        path = str(bundle._path)
        url = path if "://" in path else f"https://download.pytorch.org/torchaudio/models/{path}"
        cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(path).name
        raise SuperbenchError(
            f"The weights of torchaudio/{name} could not be fetched: {error}. Check the network; or fetch {url} on another "
            f"machine and put it at {cached}, or name the file: torchaudio/{name}@FILE."
        ) from error
    return getattr(model, "model", model)  # large models are wrapped in a module that normalises waves


def architecture(bundle: Any, **changes: Any) -> models.Wav2Vec2Model:
    """Builds the model of a bundle with random weights and no head; `changes` are passed to the function that builds it."""
    factory = {"Wav2Vec2": models.wav2vec2_model, "WavLM": models.wavlm_model}[bundle._model_type]
    return factory(**{**bundle._params, "aux_num_out": None, **changes})


def _built(name: str, bundle: Any, path: Path) -> models.Wav2Vec2Model:
    model = architecture(bundle)
    unwrapped = {key.removeprefix("model."): value for key, value in _tensors(path).items()}  # large models have a wrapper
    tensors = {key: value for key, value in unwrapped.items() if not key.startswith("aux.")}
    if problems := differences(model.state_dict(), tensors):
        raise BadCheckpoint(
            f"{path} does not contain the weights of torchaudio/{name}: {problems}. Expected a state dict with the names of "
            "torchaudio.models, as bundle.get_model().state_dict() gives it."
        )
    model.load_state_dict(tensors)
    return model


def differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Describes how two state dicts differ; empty if names and shapes agree."""
    absent, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    shapes = {key: (tuple(found[key].shape), tuple(expected[key].shape)) for key in sorted(expected.keys() & found.keys())}
    resized = [f"{key} is {stored}, expected {size}" for key, (stored, size) in shapes.items() if stored != size]
    problems = [f"{len(absent)} weights are missing, such as {absent[0]}"] if absent else []
    problems += [f"{len(unknown)} are unknown, such as {unknown[0]}"] if unknown else []
    return "; ".join([*problems, *([f"{len(resized)} have another size: {resized[0]}"] if resized else [])])


def _tensors(path: Path) -> Mapping[str, Tensor]:
    """Reads a state dict; raises `BadCheckpoint` for anything else."""
    expected = "Expected a state dict, as .safetensors or as written by torch.save."
    if not path.is_file():
        raise BadCheckpoint(f"{path} does not exist. {expected}")
    try:
        tensors = load_tensors(path)[0] if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SuperbenchError, OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise BadCheckpoint(f"{path} cannot be read: {str(error)[:300]}. {expected}") from error
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise BadCheckpoint(f"{path} contains something other than named tensors. {expected}")
    return tensors
