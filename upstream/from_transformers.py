"""Speech models of transformers: `hf/ID`, `hf/ID:revision`, `hf/./folder`.

Any checkpoint whose architecture is HuBERT, wav2vec 2.0, WavLM, UniSpeech, UniSpeech-SAT or data2vec-audio, read through
`AutoModel`; a head on top of it is left out. State i is the input of Transformer layer i, the last one the encoder's output
(after the final normalisation of models that normalise first). Waves are normalised where the model's own
`preprocessor_config.json` says `do_normalize`; without that file, where its convolutions use layer normalisation, as in
every published model of that kind.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from superbench import SAMPLE_RATE, BadCheckpoint, CommandError, Features, MissingExtra, SuperbenchError
from upstream.shared.group_norm import Front, kept

TYPES = ("data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm")
EPSILON = 1e-7
"""Added to the variance of a wave by the feature extractor of transformers."""


@dataclass(frozen=True)
class Config:
    """What the weights do not say: whether waves are normalised, and the model's own configuration."""

    normalise: bool
    model: Mapping[str, Any]


class TransformersModel(nn.Module):
    """A wave model of transformers as an upstream; (layers + 1, batch, time, dim), one frame every `hop` samples."""

    sample_rate = SAMPLE_RATE

    def __init__(self, model: Any, normalise: bool) -> None:
        super().__init__()
        self.config = Config(normalise, _described(model.config))
        self.model = model.eval()
        self.model.adapter = None  # shortens the output of some fine-tuned models; no hidden state passes through it
        self.front = Front(model.feature_extractor.conv_layers)
        self.hop = self.front.hop
        self.layers = model.config.num_hidden_layers + 1
        self.dim = model.config.hidden_size

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Hidden states of a batch; padding changes nothing of them (but for rounding)."""
        if self.config.normalise:
            waves = normalised(waves, lengths)
        waves, lengths = self.front.fitted(waves, lengths)
        frames = self.front.frames(lengths)
        if bool((lengths == waves.shape[1]).all()):
            return Features(self._states(waves, None), frames)
        keep = kept(frames, int(frames.max()))
        with self.front.only_valid(lengths), _silent_padding(self.model.encoder.pos_conv_embed, keep):
            states = self._states(waves, kept(lengths, waves.shape[1]).long())
        return Features(states * keep[None, :, :, None], frames)

    def _states(self, waves: Tensor, mask: Tensor | None) -> Tensor:
        with warnings.catch_warnings():  # WavLM masks keys by truth values and positions by numbers, which torch deplores
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            output = self.model(waves, attention_mask=mask, output_hidden_states=True, return_dict=True)
        return torch.stack([*output.hidden_states[:-1], output.last_hidden_state])


@contextmanager
def _silent_padding(positional: nn.Module, keep: Tensor) -> Iterator[None]:
    """Padded frames are zero before each of the convolutions that data2vec stacks where others have one."""

    def silence(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0] * keep[:, None], *inputs[1:])  # (batch, dim, time)

    stacked = getattr(positional, "layers", ())
    handles = [layer.register_forward_pre_hook(silence) for layer in stacked]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def normalised(waves: Tensor, lengths: Tensor) -> Tensor:
    """Each wave with zero mean and unit variance over its own samples, zeros after it."""
    normal = torch.zeros_like(waves)
    for row, length in enumerate(lengths.tolist()):
        wave = waves[row, :length]
        normal[row, :length] = (wave - wave.mean()) / torch.sqrt(wave.var(correction=0) + EPSILON)
    return normal


def load(name: str, weights: Path | None) -> TransformersModel:
    """The model of a folder (`name` starts with `/ . ~`) or of the hub (`id` or `id:revision`).

    Raises `MissingExtra` without transformers, `CommandError` for an architecture that is none of `TYPES`, `BadCheckpoint`
    for weights with holes, `SuperbenchError` when there is nothing to read.
    """
    if weights is not None:
        raise CommandError(f"hf/{name} takes no @FILE: put {weights} and its config.json into a folder and use hf/FOLDER.")
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra(f"hf/{name}", "transformers", "hf") from error
    source, options = _source(name)
    try:
        config = transformers.AutoConfig.from_pretrained(source, **options)
        _check_type(name, config)
        model, found = transformers.AutoModel.from_pretrained(
            source, config=config, dtype=torch.float32, output_loading_info=True, **options
        )
        normalise = _normalises(name, source, options, config)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise SuperbenchError(
            f"hf/{name} cannot be loaded: {' '.join(str(error).split())[:400]}. Expected a folder with config.json and "
            "model.safetensors (hf/./folder), or an id of the hub and a network to fetch it with."
        ) from error
    missing = sorted(set(found["missing_keys"]) - {"masked_spec_embed"})  # that one serves pretraining alone
    if missing:
        raise BadCheckpoint(
            f"hf/{name} lacks {len(missing)} weights of its {config.model_type} architecture, such as {missing[0]}; they would "
            "be random. Expected a checkpoint that holds the whole encoder."
        )
    return TransformersModel(model, normalise)


def _source(name: str) -> tuple[str, dict[str, Any]]:
    if name[:1] in ("/", ".", "~"):
        folder = Path(name).expanduser()
        if not (folder / "config.json").is_file():
            raise BadCheckpoint(f"{folder} has no config.json. Expected a folder that save_pretrained wrote.")
        return str(folder), {"local_files_only": True}
    identity, _, revision = name.partition(":")
    return identity, {"revision": revision} if revision else {}


def _check_type(name: str, config: Any) -> None:
    if config.model_type not in TYPES:
        raise CommandError(f"hf/{name} is a {config.model_type} model; this adapter knows {', '.join(TYPES)}.")


def _normalises(name: str, source: str, options: Mapping[str, Any], config: Any) -> bool:
    from transformers.utils.hub import cached_file

    path = cached_file(source, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False, **options)
    if path is None:
        return getattr(config, "feat_extract_norm", "layer") == "layer"
    says = json.loads(Path(path).read_text())
    if says.get("sampling_rate", SAMPLE_RATE) != SAMPLE_RATE:
        raise CommandError(f"hf/{name} works at {says['sampling_rate']} Hz; every task of SUPERB has {SAMPLE_RATE} Hz.")
    return bool(says.get("do_normalize", True))


def _described(config: Any) -> Mapping[str, Any]:
    """A configuration without what differs between two copies of one model: where it lies and which version wrote it."""
    passing = ("_name_or_path", "name_or_path", "_commit_hash", "transformers_version")
    return {key: value for key, value in config.to_dict().items() if key not in passing}
