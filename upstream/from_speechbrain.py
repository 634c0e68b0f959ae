"""Models of speechbrain: `speechbrain/./FOLDER`, a folder that `from_hparams` reads (extra `speechbrain`).

In speechbrain (Ravanelli et al. 2021, arXiv 2106.04624), hyperparams.yaml in the folder of a model says which Python objects to
construct. It is code, like `file.py:Class`: read it before you use it. Read are, in this order:

* `modules.encoder`, as the `encode_batch` of EncoderASR, EncoderDecoderASR (with `transformer_beam_search` followed by
  `modules.transformer.encode`) and WaveformEncoder;
* a lobe of wav2vec 2.0, HuBERT or WavLM among the modules;
* `modules.embedding_model` of EncoderClassifier (ECAPA-TDNN, x-vector): the frames that enter its pooling over time.

The last state is this output. If the encoder has a stack of layers with frames of the same number and size, states 0 to n - 1
are the inputs of its n layers. A lobe with `output_all_hiddens` gives its own states. Only sounds of equal length share a
batch.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from superbench import SAMPLE_RATE, BadUpstream, CommandError, Features
from upstream.shared.speechbrain_folder import FILE, Contents, has_own_files, load_weights, read, undisturbed
from upstream.shared.unpadded import without_padding

SECONDS = (1, 11)
"""Lengths of the noise on which the hop is measured."""
CLASSIFIER = ("compute_features", "mean_var_norm", "embedding_model")
"""Modules of EncoderClassifier from the wave to the embedding, in the order in which they are called."""
POOLINGS = {"AttentiveStatisticsPooling": True, "StatisticsPooling": False}
"""Classes that make one vector of all frames: whether their input is (batch, dim, time) instead of (batch, time, dim)."""


@dataclass(frozen=True)
class Config:
    """What the weights do not contain: digests of hyperparams.yaml and of the checkpoints, which also have statistics."""

    hyperparams: str
    files: Mapping[str, str]


class SpeechBrainModel(nn.Module):
    """A model of speechbrain as an upstream; (layer, batch, time, dim)."""

    def __init__(self, parts: nn.ModuleDict, config: Config, name: str, sample_rate: int) -> None:
        super().__init__()
        self.config, self.parts, self.name, self.sample_rate = config, parts.eval(), name, sample_rate
        self.lobe = any(has_own_files(part) for part in parts.modules())
        self.pooling = _pooling(parts, name) if "embedding_model" in parts else None
        self.stack: tuple[nn.Module, ...] = ()
        try:
            with torch.inference_mode():
                self.stack = self._layer_stack()
                short, long = (self._states(self._noise(seconds)) for seconds in SECONDS)
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise BadUpstream(f"{name} cannot encode noise ({type(error).__name__}: {str(error)[:300]}).") from error
        if long.shape[2] <= short.shape[2]:
            raise BadUpstream(
                f"{name} gives {short.shape[2]} frames for {SECONDS[0]} s and {long.shape[2]} for {SECONDS[1]} s. Vectors of "
                "whole utterances are no frames, and the tasks read frames."
            )
        self.layers, self.dim = long.shape[0], long.shape[3]
        self.hop = round((SECONDS[1] - SECONDS[0]) * sample_rate / (long.shape[2] - short.shape[2]))

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the states of a batch."""
        features = without_padding(waves, lengths, self._states)
        own = torch.div(lengths + self.hop - 1, self.hop, rounding_mode="floor").to(features.lengths)
        return Features(features.frames, torch.minimum(features.lengths, own))

    def _states(self, waves: Tensor) -> Tensor:
        with undisturbed(), _inputs_of(self.stack) as inputs:
            output = self._encoded(waves)
        if output.dim() == 4:
            return output
        return torch.stack([*inputs, output])

    def _encoded(self, waves: Tensor) -> Tensor:
        """Returns frames (batch, time, dim), or all states (layer, batch, time, dim), of waves of equal length."""
        for part in self.parts.modules():
            if type(part).to is not nn.Module.to:  # statistics that are no buffers
                part.to(waves.device)
        whole = torch.ones(len(waves), device=waves.device)
        if self.pooling is not None:
            features = self.parts["mean_var_norm"](self.parts["compute_features"](waves), whole)
            with _inputs_of((self.pooling,)) as inputs:
                self.parts["embedding_model"](features, whole)
            return inputs[0].transpose(1, 2) if POOLINGS[type(self.pooling).__name__] else inputs[0]
        output = _first(self.parts["encoder"](waves, whole))
        if "transformer" in self.parts:
            transformer: Any = self.parts["transformer"]
            output = _first(transformer.encode(output, whole))
        return output if self.lobe else output.flatten(2)  # of convolutions: (batch, time, frequency, channel)

    def _layer_stack(self) -> tuple[nn.Module, ...]:
        """Returns the layers of the longest list of modules that are called once each, with frames of the output's shape."""
        stacks = [tuple(part) for part in self.parts.modules() if isinstance(part, nn.ModuleList)]
        members = tuple({id(layer): layer for stack in stacks for layer in stack}.values())
        shapes: dict[int, list[tuple[int, ...]]] = {}
        with undisturbed(), _inputs_of(members, shapes):
            output = self._encoded(self._noise(SECONDS[0]))
        if self.pooling is not None or output.dim() == 4:
            return ()
        fitting = [stack for stack in stacks if all(shapes.get(id(layer)) == [tuple(output.shape)] for layer in stack)]
        return max(fitting, key=len, default=())

    def _noise(self, seconds: int) -> Tensor:
        return 0.1 * torch.randn(1, seconds * self.sample_rate, generator=torch.Generator().manual_seed(0))


@contextlib.contextmanager
def _inputs_of(layers: tuple[nn.Module, ...], shapes: dict[int, list[tuple[int, ...]]] | None = None) -> Iterator[list[Tensor]]:
    """Collects the input of each call of `layers` inside, in the order of calls; with `shapes`, only their shapes by module."""
    found: list[Tensor] = []

    def note(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Keeps the first input of a call, or its shape."""
        tensor = inputs[0] if inputs and isinstance(inputs[0], Tensor) else torch.empty(0)
        if shapes is None:
            found.append(tensor)
        else:
            shapes.setdefault(id(layer), []).append(tuple(tensor.shape))

    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _first(output: Any) -> Tensor:
    tensor: Tensor = output[0] if isinstance(output, tuple) else output
    return tensor


def _pooling(parts: nn.ModuleDict, name: str) -> nn.Module:
    """Returns the module that pools the frames of an embedding model; raises `CommandError` if it is none of `POOLINGS`."""
    for part in parts["embedding_model"].modules():
        if type(part).__name__ in POOLINGS:
            return part
    raise CommandError(
        f"{name} gives one embedding for each utterance, and its {type(parts['embedding_model']).__name__} has no "
        f"{' or '.join(POOLINGS)} before which its frames could be read. The tasks of superbench read frames."
    )


# ---------------------------------------------------------------- loading


def load(name: str, weights: Path | None) -> SpeechBrainModel:
    """Loads the model of a folder (`name` starts with `/ . ~`).

    Raises `MissingExtra` without speechbrain, `CommandError` for the id of a hub and for models without frames, `BadCheckpoint`
    for files that are missing or damaged, `SuperbenchError` if hyperparams.yaml cannot be constructed.
    """
    if weights is not None:
        raise CommandError(f"speechbrain/{name} takes no @FILE: hyperparams.yaml in the folder names its checkpoints.")
    folder = Path(name).expanduser()
    if name[:1] not in ("/", ".", "~"):
        raise CommandError(
            f"speechbrain/{name} is no folder{f'; did you mean speechbrain/./{name}' if folder.is_dir() else ''}. Models of "
            f"speechbrain are read from folders, and none is downloaded. On a machine with a network, fetch {FILE} and the "
            ".ckpt files of the model into one folder, and use speechbrain/./FOLDER. It is code that will run: read it before."
        )
    contents = read(f"speechbrain/{name}", folder)
    parts = _parts(contents)
    digest = hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
    config = Config(digest, load_weights(contents, parts))
    rate = contents.settings.get("sample_rate", SAMPLE_RATE)
    return SpeechBrainModel(parts, config, contents.name, rate if isinstance(rate, int) else SAMPLE_RATE)


def _parts(contents: Contents) -> nn.ModuleDict:
    """Returns the modules that make frames of waves; raises `CommandError` if there are none."""
    modules = contents.modules
    if "encoder" in modules:
        after = contents.settings.get("transformer_beam_search") and "transformer" in modules
        return _without_decoder(nn.ModuleDict({key: modules[key] for key in ("encoder", "transformer")[: 2 if after else 1]}))
    for module in modules.values():
        if any(kind.__name__ == "Wav2Vec2" and kind.__module__.startswith("speechbrain.") for kind in type(module).__mro__):
            return nn.ModuleDict({"encoder": module})
    if all(key in modules for key in CLASSIFIER):
        return nn.ModuleDict({key: modules[key] for key in CLASSIFIER})
    raise CommandError(
        f"{contents.name} has the modules {', '.join(modules) or 'none'}. Expected an `encoder`, a lobe of wav2vec 2.0, HuBERT "
        f"or WavLM, or {', '.join(CLASSIFIER)}. Whisper and other models of transformers are read by hf/./FOLDER."
    )


def _without_decoder(parts: nn.ModuleDict) -> nn.ModuleDict:
    """Removes the decoders of Transformers, which make no frames and would count as parameters."""
    for part in parts.modules():
        if any(kind.__name__ == "TransformerInterface" for kind in type(part).__mro__):
            for name in ("decoder", "custom_tgt_module"):
                if hasattr(part, name):
                    setattr(part, name, None)
    return parts
