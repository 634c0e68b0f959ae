"""Native models of base size are the published architectures: with the reference's weights they give its hidden states.

Spectra are ours on both sides (the reference takes Kaldi's for APC, its own for Mockingjay and TERA); wave models get waves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from upstream.apc import Apc
from upstream.cpc import Cpc
from upstream.hubert import Hubert
from upstream.mockingjay import Mockingjay
from upstream.tera import Tera
from upstream.vq_apc import VqApc

Reference = Callable[[str], Any]
Pairs = Iterable[tuple[str, str]]


def noise(*lengths: int) -> tuple[Tensor, Tensor]:
    waves = [torch.randn(length) * 0.1 for length in lengths]
    return nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(lengths)


def shaken(model: nn.Module) -> dict[str, Tensor]:
    """The weights after every bias and gain was moved from its resting place, so that a misplaced one shows."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return dict(model.eval().state_dict())


def renamed(weights: dict[str, Tensor], *pairs: tuple[str, str]) -> dict[str, Tensor]:
    """Names with each pair's first part replaced by its second."""
    found = {}
    for name, tensor in weights.items():
        for old, new in pairs:
            name = name.replace(old, new)
        found[name] = tensor
    return found


def fill(model: nn.Module, weights: dict[str, Tensor], *own: str) -> None:
    """Load, and see that nothing is left over but what belongs to `own` parts."""
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected
    assert {name for name in missing if not name.startswith(own)} == set()
    model.eval()


def same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= 1e-5 * max(float(theirs.abs().max()), 1.0)


@pytest.mark.parametrize(
    ("family", "vq"), [(Apc, None), (VqApc, {"codebook_size": [512], "code_dim": [512], "gumbel_temperature": 0.5})]
)
@torch.inference_mode()
def test_apc_and_vq_apc_with_the_references_weights_are_the_reference(
    reference: Reference, family: Any, vq: dict[str, Any] | None
) -> None:
    theirs = reference("upstream.apc.apc").APC(80, 512, 3, 0.1, True, vq)
    ours = family(family.configs["base"])
    weights = renamed(
        shaken(theirs), ("rnn_layers", "recurrent"), ("postnet", "predict"), ("vq_layers.0.vq_logits", "quantiser.logits"),
        ("vq_layers.0.codebook_CxE", "quantiser.codebook"),
    )  # fmt: skip
    fill(ours, weights, "mel.")
    waves, lengths = noise(16_000, 9_000)
    features = ours(waves, lengths)
    mel, frames = ours.mel(waves, lengths)
    between: list[Tensor] = []  # inputs of the layers above the first, as the reference's own hooks take them
    for layer in theirs.rnn_layers[1:]:
        layer.register_forward_pre_hook(
            lambda _, given: between.append(nn.utils.rnn.pad_packed_sequence(given[0], batch_first=True)[0])
        )
    predicted, last = theirs(mel, frames, testing=True)
    for row, length in enumerate(frames.tolist()):
        for ours_state, theirs_state in zip(features.frames, [*between, last], strict=True):
            same(ours_state[row, :length], theirs_state[row, :length])
        same(ours.predicted(ours.states(mel)[-1])[row, :length], predicted[row, :length])


@pytest.mark.parametrize("family", [Mockingjay, Tera])
@torch.inference_mode()
def test_mockingjay_and_tera_with_the_references_weights_are_the_reference(
    reference: Reference, family: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, builder = reference("upstream.mockingjay.model"), reference("upstream.mockingjay.builder")
    monkeypatch.setattr(builder, "MAX_SEQLEN", 200)  # rows of a table that is made one number at a time; 24 000 as published
    ours = family(family.configs["base"])
    config = module.TransformerConfig(
        {
            "hidden_size": 768, "num_hidden_layers": ours.config.layers, "num_attention_heads": 12, "hidden_act": "gelu",
            "intermediate_size": 3072, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
            "initializer_range": 0.02, "layer_norm_eps": 1e-12, "share_layer": False, "pre_layer_norm": False,
        }
    )  # fmt: skip
    theirs, head = module.TransformerModel(config, 80), module.TransformerSpecPredictionHead(config, 80)
    weights = renamed(
        {**shaken(theirs), **{f"head.{name}": value for name, value in shaken(head).items()}},
        ("input_representations.spec_transform", "project"), ("input_representations.LayerNorm", "norm"),
        ("encoder.layer", "blocks"), ("attention.output.dense", "self_attn.out_proj"), ("attention.output.LayerNorm", "norm1"),
        ("intermediate.dense", "linear1"), ("output.dense", "linear2"), ("output.LayerNorm", "norm2"),
        ("head.linear2", "head.output"), ("head.dense", "reconstruct.0"), ("head.LayerNorm", "reconstruct.2"),
        ("head.output", "reconstruct.3"),
    )  # fmt: skip
    fill(ours, packed(weights, "attention.self.{}", "self_attn.in_proj", ("query", "key", "value")), "mel.")
    waves, lengths = noise(16_000, 9_000)
    features = ours(waves, lengths)
    mel, frames = ours.mel(waves, lengths)
    places = builder.position_encoding(mel.shape[1], 768)
    assert len(places) == mel.shape[1]
    inside = (torch.arange(mel.shape[1]) < frames[:, None]).float()
    states = theirs(mel, places.expand(len(mel), -1, -1), inside)
    for row, length in enumerate(frames.tolist()):
        same(features.frames[:, row, :length], torch.stack(states)[:, row, :length])
        same(ours.reconstruct(features.frames[-1])[row, :length], head(states[-1])[0][row, :length])


def packed(weights: dict[str, Tensor], part: str, whole: str, parts: tuple[str, ...]) -> dict[str, Tensor]:
    """Query, key and value of each layer in one matrix, as torch keeps them."""
    found = dict(weights)
    first = part.format(parts[0]) + "."
    for name in [name for name in weights if first in name]:
        before, _, kind = name.rpartition(first)
        pieces = [found.pop(f"{before}{part.format(one)}.{kind}") for one in parts]
        found[f"{before}{whole}_{kind}"] = torch.cat(pieces)
    return found


@torch.inference_mode()
def test_cpc_with_the_references_weights_is_the_reference(reference: Reference) -> None:
    loader, defaults = reference("upstream.cpc.feature_loader"), reference("upstream.cpc.cpc_default_config")
    arguments = defaults.get_default_cpc_config()
    theirs = reference("upstream.cpc.model").CPCModel(loader.getEncoder(arguments), loader.getAR(arguments))
    ours = Cpc(Cpc.configs["base"])
    weights = renamed(
        shaken(theirs), ("gEncoder.conv", "encoder.convolutions."), ("gEncoder.batchNorm", "encoder.norms."),
        ("gAR.baseNet", "context"),
    )  # fmt: skip
    fill(ours, weights, "predictors.")
    for length in (16_000, 12_345):
        waves, lengths = noise(length)
        context, local, _ = theirs(waves[:, None], None)
        same(ours(waves, lengths).frames, torch.stack([local, context]))


@torch.inference_mode()
def test_hubert_with_the_references_weights_is_the_reference(reference: Reference) -> None:
    module = reference("upstream.hubert.hubert_model")
    config = module.HubertConfig(label_rate=50, final_dim=256, untie_final_proj=True)
    theirs = module.HubertModel(config, module.HubertPretrainingConfig(label_rate=50), [range(500)])
    ours = Hubert(Hubert.configs["base"])
    weights = renamed(
        shaken(theirs), ("feature_extractor.conv_layers", "convolutions.layers"), (".0.0.weight", ".0.conv.weight"),
        ("layers.0.2.", "layers.0.layer_norm."), ("post_extract_proj", "project"), ("mask_emb", "hidden"),
        ("final_proj", "head"), ("label_embs_concat", "codes"), ("encoder.pos_conv.0", "positions.convolution"),
        ("weight_g", "parametrizations.weight.original0"), ("weight_v", "parametrizations.weight.original1"),
        ("encoder.layers", "blocks"), ("self_attn_layer_norm", "norm1"), ("final_layer_norm", "norm2"),
        ("fc1", "linear1"), ("fc2", "linear2"), ("encoder.layer_norm", "norm"),
    )  # fmt: skip
    weights = {f"local_norm.{name[11:]}" if name.startswith("layer_norm.") else name: value for name, value in weights.items()}
    for i in range(1, 7):
        weights[f"convolutions.layers.{i}.conv.weight"] = weights.pop(f"convolutions.layers.{i}.0.weight")
    fill(ours, packed(weights, "self_attn.{}_proj", "self_attn.in_proj", ("q", "k", "v")), "mfcc.", "units.")
    waves, lengths = noise(16_000)
    states: list[Tensor] = []
    for layer in theirs.encoder.layers:  # as the reference's own hooks: what goes into each layer, then the encoder's output
        layer.register_forward_pre_hook(lambda _, given: states.append(given[0].transpose(0, 1)))
    last, _ = theirs.extract_features(waves, padding_mask=torch.zeros_like(waves, dtype=torch.bool), mask=None)
    features = ours(waves, lengths)
    time = features.frames.shape[2]
    same(features.frames[:, 0], torch.stack([*(state[0, :time] for state in states), last[0]]))
