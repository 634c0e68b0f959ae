"""Folders of speechbrain: the features are those of its own encode_batch, and nothing is downloaded."""

from __future__ import annotations

import importlib
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from superbench import BadCheckpoint, BadUpstream, CommandError, MissingExtra, SuperbenchError, plugins
from superbench.plugins.doctor.examination import examine
from upstream import from_speechbrain
from upstream.shared.speechbrain_folder import FILE, undisturbed

needs_speechbrain = pytest.mark.usefixtures("speechbrain")

SOUND = """
sample_rate: 16000
n_mels: 20
pretrained_path: speechbrain/some-model
compute_features: !new:speechbrain.lobes.features.Fbank
    sample_rate: !ref <sample_rate>
    n_mels: !ref <n_mels>
"""
GLOBAL = """
normalize: !new:speechbrain.processing.features.InputNormalization
    norm_type: global
"""
CRDNN = """
crdnn: !new:speechbrain.lobes.models.CRDNN.CRDNN
    input_shape: [null, null, !ref <n_mels>]
    cnn_blocks: 2
    cnn_channels: [4, 4]
    cnn_kernelsize: [3, 3]
    inter_layer_pooling_size: [2, 2]
    time_pooling: True
    time_pooling_size: 2
    rnn_layers: 1
    rnn_neurons: 8
    dnn_blocks: 1
    dnn_neurons: 12
encoder: !new:speechbrain.nnet.containers.LengthsCapableSequential
    input_shape: [null, null, !ref <n_mels>]
    compute_features: !ref <compute_features>
    normalize: !ref <normalize>
    model: !ref <crdnn>
tokenizer: !new:speechbrain.dataio.encoder.CTCTextEncoder
decoding_function: !name:speechbrain.decoders.ctc.ctc_greedy_decode
    blank_id: 0
modules:
    encoder: !ref <encoder>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        asr: !ref <crdnn>
        normalize: !ref <normalize>
        tokenizer: !ref <tokenizer>
    paths:
        asr: some-model/on-a-hub/asr.ckpt
        normalize: !ref <pretrained_path>/normalize.ckpt
        tokenizer: !ref <pretrained_path>/absent.ckpt
"""
TRANSFORMER = """
cnn: !new:speechbrain.lobes.models.convolution.ConvolutionFrontEnd
    input_shape: [8, 10, !ref <n_mels>]
    num_blocks: 2
    num_layers_per_block: 1
    out_channels: [4, 2]
    kernel_sizes: [3, 3]
    strides: [2, 2]
    residuals: [False, False]
transformer: !new:speechbrain.lobes.models.transformer.TransformerASR.TransformerASR
    input_size: 10
    tgt_vocab: 7
    d_model: 16
    nhead: 2
    num_encoder_layers: 3
    num_decoder_layers: 1
    d_ffn: 24
    normalize_before: True
    causal: False
encoder: !new:speechbrain.nnet.containers.LengthsCapableSequential
    compute_features: !ref <compute_features>
    normalize: !ref <normalize>
    cnn: !ref <cnn>
asr: !new:torch.nn.ModuleList
    - [!ref <cnn>, !ref <transformer>]
transformer_beam_search: True
tokenizer: null
modules:
    encoder: !ref <encoder>
    decoder: null
    transformer: !ref <transformer>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        asr: !ref <asr>
        normalize: !ref <normalize>
"""
LOBE = """
pretrained_path: some/model
seed: !apply:torch.manual_seed [7]
lobe: !new:speechbrain.integrations.huggingface.{module}.{kind}
    source: !ref <pretrained_path>/{module}
    save_path: !ref <pretrained_path>/{module}
    output_all_hiddens: {all_hiddens}
modules:
    {key}: !ref <lobe>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
"""
CLASSIFIER = """
mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
embedding_model: !new:{embedding}
classifier: !new:torch.nn.Identity
modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
    classifier: !ref <classifier>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
"""
ECAPA = """speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
    input_size: !ref <n_mels>
    channels: [16, 16, 16, 24]
    kernel_sizes: [5, 3, 3, 1]
    dilations: [1, 2, 3, 1]
    groups: [1, 1, 1, 1]
    attention_channels: 8
    se_channels: 8
    res2net_scale: 4
    lin_neurons: 6"""
XVECTOR = """speechbrain.lobes.models.Xvector.Xvector
    in_channels: !ref <n_mels>
    tdnn_blocks: 2
    tdnn_channels: [8, 12]
    tdnn_kernel_sizes: [5, 1]
    tdnn_dilations: [1, 1]
    lin_neurons: 6"""
RESNET = """speechbrain.lobes.models.ResNet.ResNet
    input_size: !ref <n_mels>
    channels: [4, 4, 4, 4]
    block_sizes: [1, 1, 1, 1]
    strides: [1, 2, 2, 2]
    lin_neurons: 6"""


@pytest.fixture
def speechbrain() -> None:
    """Imports speechbrain, without its warnings, if it is installed."""
    reason = "the extra `speechbrain` is not installed"
    pytest.importorskip("hyperpyyaml", reason=reason)
    with undisturbed():
        pytest.importorskip("speechbrain", reason=reason)


def written(folder: Path, text: str) -> Path:
    """A folder with hyperparams.yaml and random checkpoints, saved as speechbrain saves them."""
    import hyperpyyaml

    folder.mkdir(exist_ok=True)
    (folder / FILE).write_text(text)
    torch.manual_seed(0)
    with undisturbed():
        contents = hyperpyyaml.load_hyperpyyaml(text, {"pretrained_path": str(folder)})
    for key, part in contents["pretrainer"].loadables.items():
        if hasattr(part, "glob_mean"):
            part.count, part.glob_mean, part.glob_std = 5, torch.randn(20), torch.rand(20) + 0.5
            part._save(folder / f"{key}.ckpt")
        elif isinstance(part, nn.Module):
            torch.save({name: value + 0.1 * torch.randn_like(value) if value.is_floating_point() else value
                        for name, value in part.state_dict().items()}, folder / f"{key}.ckpt")  # fmt: skip
    return folder


def lobe(folder: Path, module: str, kind: str, all_hiddens: bool, key: str) -> Path:
    """A folder with a tiny model of transformers in a folder of its own."""
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=[8] * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    transformers.AutoModel.from_config(config).save_pretrained(folder / module)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder / module)
    names = {"wav2vec2": "Wav2Vec2", "hubert": "HuBERT", "wavlm": "WavLM"}
    return written(folder, LOBE.format(module=module, kind=names[module], all_hiddens=all_hiddens, key=key))


def interface(module: str, name: str, folder: Path) -> Any:
    """The same folder as speechbrain's own interface reads it."""
    text = (folder / FILE).read_text()
    with undisturbed():
        kind = getattr(importlib.import_module(f"speechbrain.inference.{module}"), name)
        if "on-a-hub" in text:  # superbench looks this file up in the folder, and needs no tokenizer
            (folder / FILE).write_text(text.replace("some-model/on-a-hub/", f"{folder}/"))
            importlib.import_module("speechbrain.dataio.encoder").CTCTextEncoder().save(folder / "absent.ckpt")
        overrides = {"pretrained_path": str(folder)}
        return kind.from_hparams(source=str(folder), overrides=overrides, run_opts={"device": "cpu"})


def difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest value; `expected` may have one more frame, which begins at the end of the sound."""
    assert expected.shape[1] - found.shape[1] in (0, 1)
    expected = expected[:, : found.shape[1]]
    return float((found - expected).abs().max() / expected.abs().max())


WAVES = 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(3))
LENGTHS = torch.tensor([16_000, 16_000])


@needs_speechbrain
@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "kind", "states", "dim", "hop"),
    [(GLOBAL + CRDNN, ("ASR", "EncoderASR"), 1, 12, 320), (GLOBAL + TRANSFORMER, ("ASR", "EncoderDecoderASR"), 4, 16, 640),
     (GLOBAL + CRDNN, ("encoders", "WaveformEncoder"), 1, 12, 320)],
)  # fmt: skip
def test_features_are_those_of_encode_batch(
    text: str, kind: tuple[str, str], states: int, dim: int, hop: int, tmp_path: Path
) -> None:
    folder = written(tmp_path / "model", SOUND + text)
    model = from_speechbrain.load(str(folder), None)
    assert (model.sample_rate, model.layers, model.dim, model.hop) == (16_000, states, dim, hop)
    with undisturbed(), torch.inference_mode():
        frames = model(WAVES, LENGTHS).frames
        expected = interface(*kind, folder).encode_batch(WAVES, torch.ones(2))
    assert difference(frames[-1], expected) <= 1e-5
    assert not torch.allclose(frames[0], torch.zeros(()))


@needs_speechbrain
@pytest.mark.slow
def test_states_are_the_inputs_of_the_layers(tmp_path: Path) -> None:
    model = from_speechbrain.load(str(written(tmp_path / "model", SOUND + GLOBAL + TRANSFORMER)), None)
    layers = model.parts["transformer"].encoder.layers
    assert list(model.stack) == list(layers)
    assert not any("decoder" in name for name, _ in model.named_parameters())
    with torch.inference_mode():
        frames = model(WAVES, LENGTHS).frames
        for before, layer, after in zip(frames, list(layers)[:-1], frames[1:], strict=False):
            assert difference(layer(before)[0], after) <= 1e-5


@needs_speechbrain
@pytest.mark.slow
@pytest.mark.parametrize(("module", "kind"), [("wav2vec2", "Wav2Vec2"), ("hubert", "Hubert"), ("wavlm", "WavLM")])
def test_lobes_of_transformers_give_every_state(module: str, kind: str, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    models = [from_speechbrain.load(str(lobe(tmp_path / f"{all_hiddens}", module, kind, all_hiddens, key)), None)
              for all_hiddens, key in ((False, "encoder"), (True, "ssl_model"))]  # fmt: skip
    assert [(model.layers, model.dim, model.hop) for model in models] == [(3, 24, 320)] * 2
    with undisturbed(), torch.inference_mode():
        found, every = (model(WAVES, LENGTHS).frames for model in models)
        expected = interface("encoders", "WaveformEncoder", tmp_path / "False").encode_batch(WAVES, torch.ones(2))
    assert difference(found[-1], expected) <= 1e-5
    assert all(difference(one, other) <= 1e-5 for one, other in zip(found, every, strict=True))
    torch.set_rng_state(before)
    from_speechbrain.load(str(tmp_path / "False"), None)
    assert torch.equal(torch.get_rng_state(), before), "the seed of hyperparams.yaml must not reach the caller"


@needs_speechbrain
@pytest.mark.slow
@pytest.mark.parametrize(("embedding", "dim"), [(ECAPA, 24), (XVECTOR, 12)])
def test_an_embedding_model_gives_the_frames_before_its_pooling(embedding: str, dim: int, tmp_path: Path) -> None:
    folder = written(tmp_path / "model", SOUND + CLASSIFIER.format(embedding=embedding))
    model = from_speechbrain.load(str(folder), None)
    assert (model.layers, model.dim, model.hop) == (1, dim, 160)
    with torch.inference_mode():
        waves = WAVES[:, :-80]  # no frame begins at the end of the sound
        frames = model(waves, LENGTHS - 80).frames[0]
        theirs = interface("classifiers", "EncoderClassifier", folder)
        expected = theirs.encode_batch(waves)
        if embedding is ECAPA:
            part = theirs.mods.embedding_model
            again = part.fc(part.asp_bn(part.asp(frames.transpose(1, 2)))).transpose(1, 2)
        else:
            torch.manual_seed(0)
            expected = theirs.encode_batch(waves)  # its pooling adds noise
            torch.manual_seed(0)
            blocks = list(theirs.mods.embedding_model.blocks)
            again = blocks[-1](blocks[-2](frames))
    assert difference(again, expected) <= 1e-5


@needs_speechbrain
@pytest.mark.slow
def test_the_doctor_finds_a_healthy_model_at_any_rate(tmp_path: Path) -> None:
    folder = written(tmp_path / "model", SOUND.replace("16000", "8000") + GLOBAL + CRDNN)
    loaded = plugins.upstream(plugins.parse(f"speechbrain/{folder}"))
    assert (loaded.hop, loaded.alias) == (320, "speechbrain/model")
    found = examine(loaded, seconds=5.0)
    assert found.healthy, found.reasons


@needs_speechbrain
@pytest.mark.slow
def test_statistics_belong_to_the_revision(tmp_path: Path) -> None:
    folder = written(tmp_path / "model", SOUND + GLOBAL + CRDNN)
    one = from_speechbrain.load(str(folder), None)
    statistics = torch.load(folder / "normalize.ckpt")
    torch.save(statistics | {"glob_mean": statistics["glob_mean"] + 1}, folder / "normalize.ckpt")
    assert from_speechbrain.load(str(folder), None).config != one.config


@needs_speechbrain
@pytest.mark.slow
def test_a_folder_that_is_no_complete_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"has no hyperparams\.yaml"):
        from_speechbrain.load(str(tmp_path), None)
    folder = written(tmp_path / "model", SOUND + GLOBAL + CRDNN)
    states = torch.load(folder / "asr.ckpt")
    torch.save({name: value for name, value in states.items() if "rnn" not in name.lower()}, folder / "asr.ckpt")
    with pytest.raises(BadCheckpoint, match=r"weights of its encoder are in no file .* would be random"):
        from_speechbrain.load(str(folder), None)
    (folder / "asr.ckpt").unlink()
    with pytest.raises(BadCheckpoint, match=r"has no asr\.ckpt, which hyperparams\.yaml names .* downloads nothing"):
        from_speechbrain.load(str(folder), None)
    for text, says in (("modules: {}\n", "no `pretrainer`"), (SOUND + CRDNN, "cannot be constructed")):  # without `normalize`
        (folder / FILE).write_text(text)
        with pytest.raises(SuperbenchError, match=says):
            from_speechbrain.load(str(folder), None)


class CodeInPickle:
    """An object whose pickle creates a file when it is loaded."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("trapped"),))


@needs_speechbrain
@pytest.mark.slow
def test_a_checkpoint_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    folder = written(tmp_path / "model", SOUND + GLOBAL + CRDNN)
    for file in ("asr.ckpt", "normalize.ckpt"):
        whole = (folder / file).read_bytes()
        torch.save({"weights": CodeInPickle()}, folder / file)
        with pytest.raises(BadCheckpoint, match="contains code"):
            from_speechbrain.load(str(folder), None)
        (folder / file).write_bytes(whole)
    assert not Path("trapped").exists()


@needs_speechbrain
@pytest.mark.slow
def test_nothing_is_downloaded_and_torch_keeps_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it opened a connection"))
    exact = torch.backends.cuda.matmul.allow_tf32
    folder = lobe(tmp_path / "model", "wavlm", "WavLM", False, "encoder")
    (folder / FILE).write_text((folder / FILE).read_text().replace("!ref <pretrained_path>/wavlm", "some-one/wavlm"))
    with pytest.raises(SuperbenchError, match=r"downloads nothing.* `source: !ref <pretrained_path>/wav2vec2-base`"):
        from_speechbrain.load(str(folder), None)
    assert torch.backends.cuda.matmul.allow_tf32 == exact


@needs_speechbrain
@pytest.mark.slow
def test_models_without_frames_are_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "model", SOUND + CLASSIFIER.format(embedding=RESNET))
    with pytest.raises(CommandError, match="one embedding for each utterance, and its ResNet has no"):
        from_speechbrain.load(str(folder), None)
    text = SOUND + CLASSIFIER.format(embedding=ECAPA)
    (folder / FILE).write_text(text.replace("    mean_var_norm: !ref", "    m: !ref"))
    with pytest.raises(CommandError, match=r"has the modules compute_features, m, embedding_model, classifier\. Expected"):
        from_speechbrain.load(str(folder), None)
    (tmp_path / "tests_pool.py").write_text(POOL)
    pretrainer = "pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer\n"
    (folder / FILE).write_text(f"modules:\n    encoder: !new:tests_pool.Pool\n{pretrainer}")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        with pytest.raises(BadUpstream, match="gives 1 frames for 1 s and 1 for 11 s"):
            from_speechbrain.load(str(folder), None)


POOL = """
import torch

class Pool(torch.nn.Module):
    def forward(self, waves, lengths):
        return waves.unfold(1, 160, 160).mean(1, keepdim=True)
"""


def test_the_id_of_a_hub_and_a_missing_package_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match=r"/asr-crdnn is no folder.*fetch hyperparams\.yaml.*speechbrain/\./FOLDER"):
        from_speechbrain.load("speechbrain/asr-crdnn", None)
    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    with pytest.raises(CommandError, match=r"did you mean speechbrain/\./model"):
        from_speechbrain.load("model", None)
    with pytest.raises(CommandError, match="takes no @FILE"):
        from_speechbrain.load("./model", tmp_path / "x.ckpt")
    (tmp_path / "model" / FILE).write_text("modules: {}")
    for package in ("hyperpyyaml", "speechbrain.utils.parameter_transfer"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, package, None)
            with pytest.raises(MissingExtra, match=r"speechbrain/\./model needs .*speech-superbench\[speechbrain\]"):
                from_speechbrain.load("./model", None)
