"""Models from the hubs: the same features as when called directly, whatever else is in the batch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchaudio import models, pipelines
from torchaudio.models.wav2vec2.utils import import_huggingface_model
from torchaudio.pipelines._wav2vec2 import utils as torchaudio_utils

from superbench import BadCheckpoint, CommandError, MissingExtra, SuperbenchError, plugins
from superbench.plugins.doctor.examination import examine
from upstream import from_torchaudio, from_transformers
from upstream.from_torchaudio import Config, TorchaudioModel
from upstream.shared.unpadded import normalised

pytestmark = pytest.mark.slow

SHAPES = [(16, 10, 5), (16, 3, 2), (16, 3, 2), (16, 3, 2), (16, 3, 2), (16, 2, 2), (16, 2, 2)]
KINDS = {
    "hubert": transformers.HubertConfig,
    "wav2vec2": transformers.Wav2Vec2Config,
    "wavlm": transformers.WavLMConfig,
    "unispeech-sat": transformers.UniSpeechSatConfig,
    "data2vec-audio": transformers.Data2VecAudioConfig,
}
CASES = [
    (architecture, norm)
    for architecture in KINDS
    for norm in ("group", "layer")
    if (architecture, norm) != ("data2vec-audio", "group")
]


def saved(folder: Path, architecture: str, norm: str, do_normalize: bool | None = None) -> Path:
    """A tiny model with random weights, as save_pretrained writes it."""
    torch.manual_seed(0)
    config = KINDS[architecture](
        hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, conv_dim=[16] * 7,
        conv_bias=norm == "layer", feat_extract_norm=norm, do_stable_layer_norm=norm == "layer",
        num_conv_pos_embedding_groups=4, num_conv_pos_embeddings=5 if architecture == "data2vec-audio" else 32, layerdrop=0.5,
    )  # fmt: skip
    model = transformers.AutoModel.from_config(config)
    with_random_biases(model)
    model.save_pretrained(folder)
    if do_normalize is not None:
        transformers.Wav2Vec2FeatureExtractor(do_normalize=do_normalize).save_pretrained(folder)
    return folder


def with_random_biases(model: nn.Module) -> None:
    """The model with random biases, so that a missing mask changes the features."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.3)


def tiny_torchaudio(architecture: str, large: bool) -> models.Wav2Vec2Model:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "extractor_mode": "layer_norm" if large else "group_norm", "extractor_conv_layer_config": SHAPES,
        "extractor_conv_bias": large, "encoder_embed_dim": 48, "encoder_projection_dropout": 0.1,
        "encoder_pos_conv_kernel": 32, "encoder_pos_conv_groups": 4, "encoder_num_layers": 3, "encoder_num_heads": 4,
        "encoder_attention_dropout": 0.1, "encoder_ff_interm_features": 64, "encoder_ff_interm_dropout": 0.1,
        "encoder_dropout": 0.1, "encoder_layer_norm_first": large, "encoder_layer_drop": 0.5, "aux_num_out": None,
    }  # fmt: skip
    if architecture == "wavlm":
        model = models.wavlm_model(**sizes, encoder_num_buckets=32, encoder_max_distance=80)
    else:
        model = models.wav2vec2_model(**sizes)
    with_random_biases(model)
    return model.eval()


def noise(*lengths: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    waves = [torch.randn(length, generator=generator) * 0.1 + 0.02 for length in lengths]
    return nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(lengths)


def unreachable(*_: object, **__: object) -> None:
    raise OSError("no route")


def largest(expected: Tensor, measured: Tensor) -> float:
    """Largest difference over the largest value."""
    assert expected.shape == measured.shape
    return float((expected - measured).abs().max() / expected.abs().max())


@torch.inference_mode()
def batch_difference(model: nn.Module) -> float:
    """Largest relative difference between the features of three sounds in one batch and those of each sound alone."""
    waves, lengths = noise(9000, 24_000, 5000)
    together = model(waves, lengths)
    differences = []
    for row, length in enumerate(lengths.tolist()):
        alone = model(waves[row : row + 1, :length], lengths[row : row + 1])
        count = int(alone.lengths[0])
        assert count == int(together.lengths[row]) == alone.frames.shape[2]
        differences.append(largest(alone.frames[:, 0], together.frames[:, row, :count]))
        assert not together.frames[:, row, count:].any()
    return max(differences)


# ---------------------------------------------------------------- transformers


@pytest.mark.parametrize(("architecture", "norm"), CASES)
def test_transformers_features_are_those_of_the_model_called_directly(tmp_path: Path, architecture: str, norm: str) -> None:
    folder = saved(tmp_path / "model", architecture, norm, do_normalize=norm == "layer")
    model = from_transformers.load(str(folder), None)
    direct = transformers.AutoModel.from_pretrained(folder).eval()
    prepare = transformers.AutoFeatureExtractor.from_pretrained(folder)
    waves, lengths = noise(9000, 9000)
    values = prepare(list(waves.numpy()), sampling_rate=16_000, return_tensors="pt").input_values
    with torch.inference_mode():
        features = model(waves, lengths)
        expected = direct(values, output_hidden_states=True)
    assert features.frames.shape == (4, 2, 27, 48)
    assert (model.layers, model.dim, model.hop) == (4, 48, 320)
    assert largest(torch.stack(expected.hidden_states[:-1]), features.frames[:-1]) < 1e-5
    assert largest(expected.last_hidden_state, features.frames[-1]) < 1e-5


@pytest.mark.parametrize(("architecture", "norm"), CASES)
def test_transformers_features_do_not_depend_on_the_rest_of_the_batch(tmp_path: Path, architecture: str, norm: str) -> None:
    model = from_transformers.load(str(saved(tmp_path / "model", architecture, norm)), None)
    assert batch_difference(model) < 1e-5


TRANSFORMER = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
SEW_SHAPES = {"conv_dim": [16] * 7, "conv_kernel": (10, 3, 3, 3, 3, 2, 2), "conv_stride": (5, 2, 2, 2, 2, 2, 2)}


def saved_with_extractor(folder: Path, architecture: str) -> Path:
    """A tiny model of an architecture that takes no padded waves, as save_pretrained writes it, with its feature extractor."""
    torch.manual_seed(0)
    positions = {"num_conv_pos_embedding_groups": 4, "num_conv_pos_embeddings": 31}
    name, _, variant = architecture.partition(" ")
    extractor: Any = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    if name == "sew":
        norm = {"feat_extract_norm": variant, "conv_bias": variant == "layer"}
        config = transformers.SEWConfig(**TRANSFORMER, **SEW_SHAPES, **positions, **norm, squeeze_factor=2)
    elif name == "wav2vec2-conformer":
        config = transformers.Wav2Vec2ConformerConfig(
            **TRANSFORMER, conv_dim=[16] * 7, **positions, position_embeddings_type=variant
        )
    elif name == "wav2vec2-bert":
        config = transformers.Wav2Vec2BertConfig(**TRANSFORMER, position_embeddings_type=variant)
        extractor = transformers.SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2)
    else:
        config = transformers.WhisperConfig(
            d_model=48, encoder_layers=3, encoder_attention_heads=4, encoder_ffn_dim=64, decoder_layers=1,
            decoder_attention_heads=4, decoder_ffn_dim=64, num_mel_bins=40, max_source_positions=50, vocab_size=100,
            pad_token_id=1, bos_token_id=2, eos_token_id=3, decoder_start_token_id=4,
        )  # fmt: skip
        extractor = transformers.WhisperFeatureExtractor(feature_size=40, chunk_length=1)  # windows of a second
    model = transformers.AutoModel.from_config(config)
    with_random_biases(model)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


OTHER_ARCHITECTURES = [
    "sew group", "sew layer", "wav2vec2-conformer relative", "wav2vec2-conformer rotary", "wav2vec2-bert relative_key",
    "wav2vec2-bert rotary", "whisper",
]  # fmt: skip


@pytest.mark.parametrize("architecture", OTHER_ARCHITECTURES)
def test_states_of_other_architectures_are_those_of_the_model_called_directly(tmp_path: Path, architecture: str) -> None:
    folder = saved_with_extractor(tmp_path / "model", architecture)
    model = from_transformers.load(str(folder), None)
    direct = transformers.AutoModel.from_pretrained(folder).eval()
    prepare = transformers.AutoFeatureExtractor.from_pretrained(folder)
    waves, lengths = noise(9000, 9000)
    inputs = prepare(list(waves.numpy()), sampling_rate=16_000, return_tensors="pt")
    if architecture == "whisper":
        direct = direct.get_encoder()
    with torch.inference_mode():
        features = model(waves, lengths)
        output = direct(**inputs, output_hidden_states=True)
    expected, last = list(output.hidden_states[:3]), output.last_hidden_state
    if "sew" in architecture:  # layers of SEW see every second frame
        expected = [state.repeat_interleave(2, 1) for state in expected]
        expected = [torch.cat([state, state[:, -1:]], 1)[:, : last.shape[1]] for state in expected]
    count = features.frames.shape[2]
    assert count == (29 if architecture == "whisper" else 27)
    assert (model.layers, model.dim, model.hop) == (4, 48, 320)
    assert largest(torch.stack(expected)[:, :, :count], features.frames[:-1]) <= 1e-5
    assert largest(last[:, :count], features.frames[-1]) <= 1e-5


@pytest.mark.parametrize("architecture", OTHER_ARCHITECTURES)
def test_features_of_other_architectures_do_not_depend_on_the_rest_of_the_batch(tmp_path: Path, architecture: str) -> None:
    assert batch_difference(from_transformers.load(str(saved_with_extractor(tmp_path / "model", architecture)), None)) <= 1e-5


@pytest.mark.parametrize("architecture", ["sew group", "wav2vec2-conformer rotary", "wav2vec2-bert relative_key", "whisper"])
def test_every_check_of_the_doctor_holds_for_other_architectures(tmp_path: Path, architecture: str) -> None:
    loaded = plugins.upstream(plugins.parse(f"tiny=hf/{saved_with_extractor(tmp_path / 'model', architecture)}"))
    assert [finding for finding in examine(loaded, seconds=12).findings if not finding.holds] == []


def test_whisper_processes_long_sound_in_windows(tmp_path: Path) -> None:
    model = from_transformers.load(str(saved_with_extractor(tmp_path / "model", "whisper")), None)
    waves, _ = noise(40_000)  # two and a half windows
    with torch.inference_mode():
        whole = model(waves, torch.tensor([40_000]))
        parts = [model(part, torch.tensor([part.shape[1]])).frames for part in waves.split(16_000, 1)]
    assert whole.lengths.tolist() == [125]
    assert largest(torch.cat(parts, 2), whole.frames) <= 1e-5


def test_preprocessing_is_read_from_the_files_of_older_and_newer_versions(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "hubert", "layer", do_normalize=False)
    preprocessing = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    assert from_transformers.load(str(folder), None).config.normalise is True  # as all published models of that kind
    (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": preprocessing}))
    assert from_transformers.load(str(folder), None).config.normalise is False
    (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": {**preprocessing, "sampling_rate": 8000}}))
    with pytest.raises(CommandError, match="works at 8000 Hz"):
        from_transformers.load(str(folder), None)


def test_loading_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = saved(tmp_path / "model", "wavlm", "group", do_normalize=False)
    capfd.readouterr()
    from_transformers.load(str(folder), None)
    assert "".join(capfd.readouterr()) == ""
    assert transformers.utils.logging.is_progress_bar_enabled()


@pytest.mark.parametrize(
    ("norm", "do_normalize", "expected"), [("group", None, False), ("layer", None, True), ("group", True, True)]
)
def test_waves_are_normalised_if_the_preprocessing_says_so(
    tmp_path: Path, norm: str, do_normalize: bool | None, expected: bool
) -> None:
    model = from_transformers.load(str(saved(tmp_path / "model", "hubert", norm, do_normalize)), None)
    assert model.config.normalise is expected
    waves, lengths = noise(9000)
    with torch.inference_mode():
        louder = largest(model(waves, lengths).frames, model(waves * 7, lengths).frames)
    assert (louder < 1e-3) == (expected or norm == "group")  # group normalisation removes a gain by itself
    assert float(normalised(waves, lengths, 1e-7).std(correction=0)) == pytest.approx(1, abs=1e-3)


def test_every_check_of_the_doctor_holds_for_a_folder(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "hubert", "group", do_normalize=False)
    loaded = plugins.upstream(plugins.parse(f"tiny=hf/{folder}"))
    assert [finding for finding in examine(loaded).findings if not finding.holds] == []


def test_the_revision_depends_on_weights_and_configuration_and_not_on_the_path(tmp_path: Path) -> None:
    def revision(folder: Path) -> str:
        return plugins.upstream(plugins.parse(f"tiny=hf/{folder}")).revision

    folder_of_model = saved(tmp_path / "one", "hubert", "group", do_normalize=False)
    assert revision(folder_of_model) == revision(saved(tmp_path / "two", "hubert", "group", do_normalize=False))
    assert revision(folder_of_model) != revision(saved(tmp_path / "three", "hubert", "group", do_normalize=True))
    weights = load_file(folder_of_model / "model.safetensors")
    weights["encoder.layers.0.attention.k_proj.weight"] *= 2
    save_file(weights, folder_of_model / "model.safetensors", {"format": "pt"})
    assert revision(folder_of_model) != revision(tmp_path / "two")


def test_a_folder_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "hubert", "group")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layers.1.attention.k_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadCheckpoint, match=r"lacks 1 weights .* encoder\.layers\.1\.attention\.k_proj\.weight"):
        from_transformers.load(str(folder), None)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 80}))
    with pytest.raises(BadCheckpoint, match=r"config\.json says intermediate_size 80, but the weights .* have at most 64"):
        from_transformers.load(str(folder), None)
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    with pytest.raises(BadCheckpoint, match=r"other sizes than its config\.json: 9 differ, .*in the file"):
        from_transformers.load(str(folder), None)
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(SuperbenchError, match="cannot be loaded"):
        from_transformers.load(str(folder), None)


def test_models_that_transformers_cannot_load_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadCheckpoint, match=r"has no config\.json"):
        from_transformers.load(str(tmp_path), None)
    with pytest.raises(CommandError, match="takes no @FILE"):
        from_transformers.load("facebook/hubert-base-ls960", tmp_path / "x.pt")
    with monkeypatch.context() as offline:
        offline.setattr(transformers.AutoConfig, "from_pretrained", unreachable)
        with pytest.raises(SuperbenchError, match=r"no route.*fetch config\.json.*hf/\./FOLDER.*models--some--model from"):
            from_transformers.load("some/model:v1", None)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingExtra, match=r"speech-superbench\[hf\]"):
            from_transformers.load("some/model", None)
    transformers.BertConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(CommandError, match="is a bert model"):
        from_transformers.load(str(tmp_path), None)


# ---------------------------------------------------------------- torchaudio


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("architecture", ["hubert", "wavlm"])
def test_torchaudio_features_are_those_of_the_model_called_directly(architecture: str, large: bool) -> None:
    direct, wrapped = (
        tiny_torchaudio(architecture, large),
        TorchaudioModel(tiny_torchaudio(architecture, large), Config("tiny", False, {})),
    )
    waves, lengths = noise(9000, 9000)
    with torch.inference_mode():
        features = wrapped(waves, lengths)
        expected = torch.stack(direct.extract_features(waves)[0])
        output = direct(waves)[0]
    assert features.frames.shape == (4, 2, 27, 48)
    assert (wrapped.layers, wrapped.dim, wrapped.hop) == (4, 48, 320)
    assert largest(expected[:-1], features.frames[1:-1]) < 1e-5
    assert largest(output, features.frames[-1]) < 1e-5


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("architecture", ["hubert", "wavlm"])
def test_torchaudio_features_do_not_depend_on_the_rest_of_the_batch(architecture: str, large: bool, normalise: bool) -> None:
    assert batch_difference(TorchaudioModel(tiny_torchaudio(architecture, large), Config("tiny", normalise, {}))) < 1e-5


@pytest.mark.parametrize("large", [False, True])
def test_torchaudio_and_transformers_agree_on_every_state(tmp_path: Path, large: bool) -> None:
    transformers_model = from_transformers.load(str(saved(tmp_path / "m", "wav2vec2", "layer" if large else "group")), None)
    torchaudio_model = import_huggingface_model(transformers.Wav2Vec2ForCTC(transformers_model.model.config))
    weights = {name: tensor for name, tensor in torchaudio_model.state_dict().items() if not name.startswith("aux.")}
    torchaudio_model.aux = None
    assert list(weights) == list(torchaudio_model.state_dict())
    torchaudio_model.feature_extractor.load_state_dict(transformers_model.model.feature_extractor.state_dict())
    torchaudio_model.encoder.feature_projection.load_state_dict(transformers_model.model.feature_projection.state_dict())
    torchaudio_model.encoder.transformer.load_state_dict(transformers_model.model.encoder.state_dict())
    waves, lengths = noise(9000, 7000)
    with torch.inference_mode():
        frames = TorchaudioModel(torchaudio_model, Config("tiny", large, {}))(waves, lengths).frames
        # they add different epsilons to the variance of a wave
        assert largest(transformers_model(waves, lengths).frames, frames) < 1e-3


def architectures() -> dict[str, tuple[str, ...]]:
    """The first bundle of each architecture (what its weights cannot say included) -> all bundles of it."""
    groups: dict[str, list[str]] = {}
    for name, bundle in from_torchaudio.bundles().items():
        sizes = {**bundle._params, "aux_num_out": None}
        groups.setdefault(f"{bundle._model_type} {bundle._normalize_waveform} {sizes}", []).append(name)
    return {group[0]: tuple(group) for group in groups.values()}


WIDEST = {"wav2vec2_xlsr_1b", "wav2vec2_xlsr_2b"}
"""Architectures that take more than a second."""


def test_every_bundle_has_one_of_the_architectures_tested_below() -> None:
    assert sum(len(group) for group in architectures().values()) == len(from_torchaudio.bundles()) == 30


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in WIDEST)) for name in architectures()])
def test_each_architecture_of_the_bundles_gives_the_features_of_torchaudio(name: str) -> None:
    bundle = from_torchaudio.bundles()[name]
    torch.manual_seed(0)
    plain = from_torchaudio.architecture(bundle, encoder_num_layers=2).eval()  # all widths as published, two of the layers
    direct = torchaudio_utils._extend_model(plain, normalize_waveform=bundle._normalize_waveform)
    waves, lengths = noise(4000)
    with torch.inference_mode():
        expected, output = direct.extract_features(waves)[0], direct(waves)[0]
    model = TorchaudioModel(plain, Config(name, bundle._normalize_waveform, {}))  # this changes `plain`
    with torch.inference_mode():
        features = model(waves, lengths)
    assert model.layers == 3
    assert model.dim == bundle._params["encoder_embed_dim"]
    assert largest(expected[0], features.frames[1]) <= 1e-5
    assert largest(output, features.frames[2]) <= 1e-5


def test_hubert_base_has_thirteen_states_and_takes_its_weights_from_a_file(tmp_path: Path) -> None:
    bundle = pipelines.HUBERT_BASE
    direct = models.wav2vec2_model(**bundle._params).eval()
    file = tmp_path / "hubert.safetensors"
    save_file(direct.state_dict(), file)
    loaded = plugins.upstream(plugins.parse(f"torchaudio/HuBERT_base@{file}"))
    file.unlink()  # 380 MB that pytest would keep
    assert (loaded.layers, loaded.dim, loaded.hop) == (13, 768, 320)
    assert loaded.params == pytest.approx(94.4e6, rel=0.01)
    waves, lengths = noise(8000)
    with torch.inference_mode():
        features = loaded.model(waves, lengths)
        assert largest(torch.stack(direct.extract_features(waves)[0]), features.frames[1:]) < 1e-5


def test_an_unknown_bundle_suggests_similar_names() -> None:
    with pytest.raises(CommandError, match="Did you mean hubert_base"):
        from_torchaudio.load("hubert_bas", None)
    assert {"hubert_base", "hubert_large", "wav2vec2_base", "wavlm_base_plus", "wav2vec2_xlsr_300m"} <= set(
        from_torchaudio.bundles()
    )


def test_weights_of_another_model_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tiny_torchaudio("hubert", large=False)
    monkeypatch.setattr(models, "wav2vec2_model", lambda **_: small)
    torch.save({"encoder.weight": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(BadCheckpoint, match=r"torchaudio/hubert_base: 66 weights are missing.*1 are unknown"):
        from_torchaudio.load("hubert_base", tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "noise.pt").write_bytes(b"not a checkpoint")
    (tmp_path / "noise.safetensors").write_bytes(b"not a checkpoint")
    for name in ("list.pt", "noise.pt", "noise.safetensors", "absent.pt"):
        with pytest.raises(BadCheckpoint, match=name):
            from_torchaudio.load("hubert_base", tmp_path / name)
    wide = {name: torch.cat([tensor, tensor]) if tensor.dim() else tensor for name, tensor in small.state_dict().items()}
    torch.save(wide, tmp_path / "wide.pt")
    with pytest.raises(BadCheckpoint, match=r"have another size: .* is \(32,\), expected \(16,\)"):
        from_torchaudio.load("hubert_base", tmp_path / "wide.pt")
    torch.save({f"model.{name}": tensor for name, tensor in small.state_dict().items()}, tmp_path / "wrapped.pt")
    assert from_torchaudio.load("hubert_base", tmp_path / "wrapped.pt").layers == 4
    torch.save({**small.state_dict(), "aux.weight": torch.ones(1)}, tmp_path / "good.pt")
    assert from_torchaudio.load("hubert_base", tmp_path / "good.pt").layers == 4


def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(pipelines.HUBERT_BASE), "get_model", unreachable)
    with pytest.raises(
        SuperbenchError,
        match=r"no route.*/hubert_fairseq_base_ls960\.pth on another machine and put it at .*checkpoints/hubert_.*_base@FILE",
    ):
        from_torchaudio.load("hubert_base", None)
