"""Checkpoints that fairseq saved: `fairseq/FILE.pt` (wav2vec 2.0, HuBERT, data2vec audio), and WavLM's own.

fairseq (Ott et al. 2019, arXiv 1904.01038) does not install beside current versions of torch. The file is read without it,
and without running what its pickle names; the architectures are the copies of fairseq's classes in S3PRL. Fine-tuned models
with a CTC head (`wav2vec_ctc`, `hubert_ctc`) give the states of their encoder.

State i is the input of Transformer layer i, the last state the output of the encoder. Only sounds of equal length share a
batch, because padding enters group normalisation.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from superbench import SAMPLE_RATE, BadCheckpoint, CommandError, Features
from upstream.shared.plain_pickle import plain, read_plain
from upstream.shared.unpadded import normalised, without_padding

EPSILON = 1e-5
"""Added to the variance of a wave, as in `layer_norm`, by which fairseq normalises waves."""
ENCODER = ("feature_extractor.", "post_extract_proj.", "layer_norm.", "encoder.")
"""Weights that determine hidden states; all others belong to a loss."""
WRAPPERS = ("w2v_encoder.w2v_model.", "w2v_model.", "")
"""What stands before the names of the encoder's weights: in a model with a CTC head, or alone."""
CONVOLUTIONS = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
FAMILIES = {
    "wav2vec2": ("wav2vec2.wav2vec2_model", "Wav2Vec2Model", "Wav2Vec2Config"),
    "hubert": ("hubert.hubert_model", "HubertModel", "HubertConfig"),
    "data2vec": ("data2vec.data2vec_model", "Data2VecAudioModel", "Data2VecAudioConfig"),
    "wavlm": ("wavlm.WavLM", "WavLM", "WavLMConfig"),
}
"""Family -> module below `s3prl.upstream`, class, configuration."""
MOST_LAYERS = 100


@dataclass(frozen=True)
class Config:
    """What the weights do not contain: family, configuration, whether waves are normalised."""

    family: str
    normalise: bool
    model: Mapping[str, Any]


class FairseqModel(nn.Module):
    """A model of fairseq as an upstream; (layers + 1, batch, time, dim)."""

    sample_rate = SAMPLE_RATE

    def __init__(self, model: Any, config: Config) -> None:
        super().__init__()
        self.config, self.model = config, model.eval()
        model.feature_grad_mult = model.encoder.layerdrop = 0.0
        shapes = _convolutions(config.model.get("conv_feature_layers", CONVOLUTIONS))
        self.hop = math.prod(stride for _, _, stride in shapes)
        self.window = 1
        for _, kernel, stride in reversed(shapes):
            self.window = (self.window - 1) * stride + kernel
        self.layers, self.dim = len(model.encoder.layers) + 1, model.encoder.layer_norm.weight.shape[0]

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch; each sound is computed without padding."""
        if self.config.normalise:
            waves = normalised(waves, lengths, EPSILON)
        waves = nn.functional.pad(waves, (0, max(self.window - waves.shape[1], 0)))
        return without_padding(waves, lengths.clamp(min=self.window), self._states)

    def _states(self, waves: Tensor) -> Tensor:
        with _inputs_of(self.model.encoder.layers) as inputs, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            output = self.model.extract_features(waves, padding_mask=None, mask=False)
        last = output["x"] if isinstance(output, dict) else output[0]
        return torch.stack([*(state.transpose(0, 1)[:, : last.shape[1]] for state in inputs), last])


@contextlib.contextmanager
def _inputs_of(layers: nn.ModuleList) -> Iterator[list[Tensor]]:
    """Collects the input (time, batch, dim) of each layer that is called inside."""
    found: list[Tensor] = []
    handles = [layer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0])) for layer in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


# ---------------------------------------------------------------- loading


def load(name: str, weights: Path | None) -> FairseqModel:
    """Loads the checkpoint `name` (a path), or `weights`. Raises `BadCheckpoint` for a file that is missing, damaged, or of
    another family."""
    if weights is not None:
        raise CommandError(f"fairseq/{name} takes no @FILE: the name is the file, fairseq/{weights}.")
    path = Path(name).expanduser()
    if not path.is_file():
        raise BadCheckpoint(f"{path} does not exist. Expected fairseq/FILE.pt, a checkpoint that fairseq saved.")
    states = read_plain(path)
    if not isinstance(states, Mapping) or not isinstance(states.get("model"), Mapping):
        raise BadCheckpoint(
            f"{path} is no checkpoint of fairseq: it has no weights under 'model'. A file of S3PRL is s3prl/ENTRY@FILE."
        )
    model, task = _configuration(path, states)
    named = _own_weights(states["model"])
    family = _family(model, states["model"], path)
    built = _built(family, model, task, named, path)
    return FairseqModel(built, Config(family, bool(task.get("normalize", model.get("normalize", False))), model))


def _configuration(path: Path, states: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the configurations of the encoder and of its task."""
    full = plain(states.get("cfg"))
    if not isinstance(full, dict) or not full:
        flat = plain(states.get("args"))
        full = {"model": flat, "task": flat}
    model, task = full.get("model", full), full.get("task", full)
    inner = model.get("w2v_args") if isinstance(model, dict) else None
    if isinstance(inner, dict):  # of a fine-tuned model: the encoder that it was made from
        task = task if isinstance(task, dict) and "normalize" in task else inner.get("task", inner)
        model = inner.get("model", inner)
    if not isinstance(model, dict) or not isinstance(task, dict) or "encoder_layers" not in model:
        raise BadCheckpoint(f"{path} has no configuration of a speech encoder (cfg or args with encoder_layers).")
    return model, task


def _own_weights(weights: Mapping[str, Any]) -> dict[str, Tensor]:
    prefix = next((prefix for prefix in WRAPPERS if prefix and any(key.startswith(prefix) for key in weights)), "")
    named = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    return {key: value.float() for key, value in named.items() if key.startswith(ENCODER) and isinstance(value, Tensor)}


def _family(model: Mapping[str, Any], weights: Mapping[str, Any], path: Path) -> str:
    """Returns the family that the configuration names, or that the weights show."""
    name = f"{model.get('_name') or ''} {model.get('arch') or ''}"
    if (
        any("grep_linear" in key or "relative_attention_bias" in key for key in weights)
        or "relative_position_embedding" in model
    ):
        return "wavlm"
    for word in ("data2vec", "hubert", "wav2vec2"):
        if word in name:
            return word
    if any(key.endswith(("label_embs_concat",)) for key in weights) or "label_rate" in model:
        return "hubert"
    if "_ema" in weights or "average_top_k_layers" in model:
        return "data2vec"
    if any("quantizer.vars" in key or "project_q" in key for key in weights) or "quantize_targets" in model:
        return "wav2vec2"
    raise BadCheckpoint(
        f"{path} is a model {name.strip() or 'without a name'!r} of fairseq; this adapter reads {', '.join(FAMILIES)}."
    )


def _built(family: str, model: dict[str, Any], task: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path) -> Any:
    """Returns the model of a family with these weights; raises `BadCheckpoint` if they do not fit the configuration."""
    _require_sizes(model, weights, path)
    where, kind, config = FAMILIES[family]
    home = importlib.import_module(f"s3prl.upstream.{where}")
    safe = dict(model) | {"conv_feature_layers": str(_convolutions(model.get("conv_feature_layers", CONVOLUTIONS)))}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if family == "wavlm":
                built = home.WavLM(home.WavLMConfig(safe))
            else:
                made = _of_fields(getattr(home, config), {"label_rate": 50.0} | safe)
                more = [_of_fields(home.HubertPretrainingConfig, task), [["a"]]] if family == "hubert" else []
                built = getattr(home, kind)(made, *more)
                built.remove_pretraining_modules()
        report = built.load_state_dict(weights, strict=False)
    except (RuntimeError, TypeError, ValueError, AssertionError, KeyError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadCheckpoint(
            f"{path} does not fit the {family} architecture that it names ({reason}). Fetch it again."
        ) from error
    wrong = [key for key in (*report.missing_keys, *report.unexpected_keys) if key.startswith(ENCODER)]
    if wrong:
        raise BadCheckpoint(
            f"{path} does not fit the {family} architecture that it names: {len(wrong)} weights are missing or unknown, such "
            f"as {wrong[0]}."
        )
    return built.eval()


def _of_fields(kind: Any, values: Mapping[str, Any]) -> Any:
    """Returns a configuration with those of `values` that it knows."""
    known = {field.name for field in fields(kind)}
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key in known})


def _require_sizes(model: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path) -> None:
    """Raises `BadCheckpoint` for a configuration that says other sizes than the weights have, before they are allocated."""
    layers = {match[1] for key in weights if (match := re.match(r"encoder\.layers\.(\d+)\.", key))}
    first = "encoder.layers.0.fc1.weight"
    shape = tuple(weights[first].shape) if first in weights else (None, None)
    found = {"encoder_layers": len(layers), "encoder_ffn_embed_dim": shape[0], "encoder_embed_dim": shape[1]}
    for key, value in found.items():
        if value is not None and model.get(key, value) != value:
            raise BadCheckpoint(f"{path}: its configuration says {key} {model[key]}, its weights have {value}. Fetch it again.")
    largest = max((size for tensor in weights.values() for size in tensor.shape), default=0)
    shapes = _convolutions(model.get("conv_feature_layers", CONVOLUTIONS))
    if not layers or max(max(shape) for shape in shapes) > largest or int(model.get("conv_pos", 0)) > largest:
        raise BadCheckpoint(f"{path}: its configuration names larger layers than its weights have. Fetch it again.")


def _convolutions(text: Any) -> list[tuple[int, int, int]]:
    """Returns (channels, kernel, stride) of each convolution of a text such as `[(512,10,5)] + [(512,3,2)] * 4`.

    fairseq evaluates this text as Python. Here only lists, tuples, whole numbers, `+` and `*` are allowed.

    >>> _convolutions("[(512,10,5)] + [(512,3,2)] * 2")
    [(512, 10, 5), (512, 3, 2), (512, 3, 2)]
    """
    try:
        shapes = _value(ast.parse(str(text)[:2_000], mode="eval").body)
        if not 0 < len(shapes) <= MOST_LAYERS or any(len(shape) != 3 or min(shape) < 1 for shape in shapes):
            raise ValueError("expected three whole numbers for each convolution")
        return [(int(a), int(b), int(c)) for a, b, c in shapes]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise BadCheckpoint(
            f"A checkpoint of fairseq has convolutions that cannot be read, {str(text)[:80]!r}: {error}."
        ) from error


def _value(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=int() as number):
            return number
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_value(part) for part in parts]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [*_value(left), *_value(right)]
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            one, other = _value(left), _value(right)
            times, part = (one, other) if isinstance(one, int) else (other, one)
            if not isinstance(times, int) or not 0 <= times <= MOST_LAYERS or len(part) > MOST_LAYERS:
                raise ValueError("a list is repeated too often")
            return part * times
    raise ValueError("only lists of whole numbers, + and * are allowed")
