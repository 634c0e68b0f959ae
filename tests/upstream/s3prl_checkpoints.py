"""Checkpoints of S3PRL's families, each small, with random weights, in the layout that the family expects."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

CONVOLUTIONS = "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2"
TEN = "[(16,10,5),(16,8,4),(16,4,2),(16,4,2),(16,4,2)]"
ENCODER = {
    "encoder_layers": 2, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 48, "encoder_attention_heads": 4,
    "conv_feature_layers": CONVOLUTIONS, "conv_pos": 16, "conv_pos_groups": 4, "final_dim": 16,
}  # fmt: skip
AUDIO = {"feat_type": "fbank", "feat_dim": 80, "frame_length": 25, "frame_shift": 10, "decode_wav": False, "cmvn": True}


def with_noise(model: nn.Module) -> nn.Module:
    """The model with noise added to all weights, so that each of them changes the output."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def apc(path: Path, vq: dict | None = None) -> None:
    from s3prl.upstream.apc.apc import APC

    sizes = {"hidden_size": 32, "num_layers": 3, "dropout": 0.1, "residual": True, "vq": vq}
    torch.save({"config": {"data": {"audio": AUDIO}, "model": {"paras": sizes}}, "model": APC(80, **sizes).state_dict()}, path)


def vq_apc(path: Path) -> None:
    apc(path, {"codebook_size": [8], "code_dim": [32], "gumbel_temperature": 0.5})


def npc(path: Path) -> None:
    from s3prl.upstream.npc.npc import NPC

    sizes = {
        "hidden_size": 32, "n_blocks": 2, "dropout": 0.1, "residual": True, "kernel_size": 15, "mask_size": 5,
        "vq": {"codebook_size": [8, 8], "code_dim": [16, 16], "gumbel_temperature": 1.0}, "batch_norm": True,
        "activate": "relu", "disable_cross_layer": False,
    }  # fmt: skip
    audio = {**AUDIO, "cmvn": True}
    weights = with_noise(NPC(80, **sizes)).state_dict()
    torch.save({"config": {"data": {"audio": audio}, "model": {"paras": sizes}}, "model": weights}, path)


def transformer(path: Path, shared: bool = False, kaldi: bool = True) -> None:
    """Mockingjay, TERA, AudioALBERT and SpecAugment share one layout."""
    from s3prl.upstream.mockingjay.model import TransformerConfig, TransformerModel

    sizes = {
        "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "hidden_act": "gelu", "intermediate_size": 48,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02, "layer_norm_eps": 1e-12,
        "share_layer": shared, "pre_layer_norm": False,
    }  # fmt: skip
    bands = {"num_mel_bins": 80, "frame_length": 25.0, "frame_shift": 10.0}
    audio: dict[str, Any] = {"kaldi": {"feat_type": "fbank", "fbank": {**bands, "use_log_fbank": True}}}
    audio |= {"delta": {"order": 0, "win_length": 5}, "cmvn": {"use_cmvn": True}}
    if not kaldi:
        feature = {"feat_type": "mel", "channel": 0, "log": True, "delta": 0, "cmvn": True}
        audio = {
            "target_level": -25, "win_ms": 25, "hop_ms": 10, "n_freq": 201, "n_mels": 80, "n_mfcc": 13,
            "input": feature, "target": feature,
        }  # fmt: skip
    weights = with_noise(TransformerModel(TransformerConfig(sizes), 80)).state_dict()
    settings = {"transformer": sizes, "task": {"sequence_length": 0}, "audio": audio}
    states = {"Config": settings, "Transformer": weights, "Settings": {"Paras": Namespace(seed=1)}}
    torch.save(states, path)


def cpc(path: Path) -> None:
    from s3prl.upstream.cpc.cpc_default_config import get_default_cpc_config
    from s3prl.upstream.cpc.feature_loader import getAR, getEncoder, loadArgs
    from s3prl.upstream.cpc.model import CPCModel

    changed = {"hiddenEncoder": 32, "hiddenGar": 32}
    arguments = get_default_cpc_config()
    loadArgs(arguments, Namespace(**changed))
    weights = with_noise(CPCModel(getEncoder(arguments), getAR(arguments))).state_dict()
    torch.save({"config": changed, "weights": weights}, path)


def converted(path: Path, family: str, module: str, model: str, config: str, changes: dict, *dictionaries: Any) -> None:
    """A checkpoint of fairseq as S3PRL converts it."""
    import importlib

    model_module = importlib.import_module(f"s3prl.upstream.{family}.{module}")
    convert = importlib.import_module(f"s3prl.upstream.{family}.convert")
    task = {"normalize": True, **({"labels": ["km"], "fine_tuning": False} if dictionaries else {})}
    merged = convert.merge_with_parent(getattr(model_module, config), dict(changes))
    arguments = [merged]
    if dictionaries:
        task_config = next(
            getattr(model_module, name) for name in vars(model_module) if name.endswith("HubertPretrainingConfig")
        )
        arguments += [convert.merge_with_parent(task_config, dict(task)), *dictionaries]
    network = getattr(model_module, model)(*arguments)
    if family == "data2vec":
        network.remove_pretraining_modules()
    weights = with_noise(network).state_dict() | ({"_ema": torch.zeros(1)} if family == "data2vec" else {})
    states = {"task_cfg": task, "model_cfg": changes, "model_weight": weights}
    torch.save(states | ({"dictionaries_symbols": dictionaries[0]} if dictionaries else {}), path)


def hubert(path: Path) -> None:
    changes = {**ENCODER, "label_rate": 50.0, "extractor_mode": "layer_norm", "layer_norm_first": True}
    converted(path, "hubert", "hubert_model", "HubertModel", "HubertConfig", changes, [["a", "b", "c"]])


def wav2vec2(path: Path) -> None:
    converted(path, "wav2vec2", "wav2vec2_model", "Wav2Vec2Model", "Wav2Vec2Config", {**ENCODER, "quantize_targets": True})


def data2vec(path: Path) -> None:
    converted(path, "data2vec", "data2vec_model", "Data2VecAudioModel", "Data2VecAudioConfig", {**ENCODER, "pos_conv_depth": 2})


def wav2vec(path: Path, vq: str = "none") -> None:
    changes = {
        "infonce": True, "conv_feature_layers": TEN, "conv_aggregator_layers": "[(16,2,1),(16,3,1),(16,4,1)]",
        "skip_connections_agg": True, "log_compression": True, "vq_type": vq, "vq_vars": 8, "combine_groups": False,
        "activation": "relu", "aggregator": "cnn", "prediction_steps": 2,
    }  # fmt: skip
    converted(path, "wav2vec", "wav2vec_model", "Wav2VecModel", "Wav2VecConfig", changes)


def wavlm(path: Path) -> None:
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    config = {key: value for key, value in ENCODER.items() if key != "final_dim"}
    config |= {"relative_position_embedding": True, "gru_rel_pos": True, "num_buckets": 32, "max_distance": 80}
    torch.save({"cfg": config, "model": with_noise(WavLM(WavLMConfig(config))).state_dict()}, path)


def distiller(path: Path) -> None:
    from s3prl.upstream.distiller.model import DistillerConfig, DistillerModel

    config = {
        **{key: value for key, value in ENCODER.items() if key != "conv_feature_layers"},
        "extractor_conv_feature_layers": CONVOLUTIONS, "final_dim": 32, "n_tasks": 3, "task_emb_type": "expand-last",
        "out_layer_type": "expand-last", "pred_layer_id": [4, 8, 12], "encoder_layers": 2,
    }  # fmt: skip
    weights = with_noise(DistillerModel(DistillerConfig(config))).state_dict()
    torch.save({"Config": {"distiller": config}, "Distiller": weights}, path)


def byol_a(path: Path) -> None:
    from s3prl.upstream.byol_a.byol_a import AudioNTT2020

    torch.save(with_noise(AudioNTT2020(d=512)).state_dict(), path)


def decoar(path: Path, family: str = "decoar") -> None:
    """Its size is fixed (34 million weights); the file is half precision to stay small."""
    import importlib

    weights = getattr(importlib.import_module(f"s3prl.upstream.{family}.{family}"), family.capitalize())().state_dict()
    torch.save({"model": {key: value.half() for key, value in weights.items()}}, path)


def mae_ast(path: Path) -> None:
    from s3prl.upstream.mae_ast.load_model import MAE_AST_Pretraining_Config
    from s3prl.upstream.mae_ast.mae_ast import MAE_AST, MAE_AST_Config

    def plain(record: Any, **changes: Any) -> dict:
        fields = {field.name: field.default for field in dataclasses.fields(record)}
        return {key: value for key, value in fields.items() if value is not dataclasses.MISSING} | changes

    sizes = {key: ENCODER[key] for key in ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "conv_pos")}
    model = plain(
        MAE_AST_Config, **sizes, encoder_attention_heads=4, decoder_embed_dim=32, decoder_layers=1, conv_pos_groups=4,
        ast_kernel_size_chan=128, ast_kernel_stride_chan=128, ast_kernel_size_time=2, ast_kernel_stride_time=2,
    )  # fmt: skip
    task = plain(MAE_AST_Pretraining_Config, feature_type="fbank", sample_rate=16_000, feature_dim=128, feature_rate=100)
    plain_task = {key: value for key, value in task.items() if isinstance(value, bool | int | float | str | None)}
    plain_model = {key: value for key, value in model.items() if isinstance(value, bool | int | float | str | None)}
    weights = with_noise(MAE_AST(Namespace(**plain_model), Namespace(**plain_task))).state_dict()
    torch.save({"cfg": {"model": plain_model, "task": plain_task}, "model": weights}, path)


def multires_hubert(path: Path) -> None:
    changes = {
        **ENCODER, "label_rate": 50.0, "label_rate_ratios": [1, 2], "override_encoder_layers": "[1,1,1]",
        "use_plain_updownsample": True, "use_single_target": True,
    }  # fmt: skip
    converted(
        path, "multires_hubert", "hubert_model", "MultiresHubertModel", "MultiresHubertConfig", changes, [["a", "b", "c"]]
    )


def lighthubert(path: Path) -> None:
    torch.save({"cfg": {"model": {"_name": "hubert_pruner", "pruner_supernet": "small.yaml"}}, "model": {}}, path)


MAKERS: dict[str, Callable[[Path], None]] = {
    "apc_local": apc,
    "apc": apc,
    "vq_apc": vq_apc,
    "npc": npc,
    "mockingjay": transformer,
    "tera_local": lambda path: transformer(path, kaldi=False),
    "audio_albert": lambda path: transformer(path, shared=True),
    "spec_augment_local": transformer,
    "modified_cpc": cpc,
    "hubert": hubert,
    "wav2vec2": wav2vec2,
    "data2vec": data2vec,
    "wav2vec": wav2vec,
    "vq_wav2vec": lambda path: wav2vec(path, "gumbel"),
    "wavlm": wavlm,
    "unispeech_sat": wavlm,
    "distilhubert": distiller,
    "byol_a_512": byol_a,
    "decoar": decoar,
    "mae_ast_frame": mae_ast,
    "multires_hubert_base": multires_hubert,
}
"""Entry -> what writes a checkpoint for it."""
