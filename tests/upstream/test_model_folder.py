"""Faulty model folders of transformers: errors name the fault, and code in the folder never runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from torch import nn

from superbench import BadCheckpoint, CommandError, SuperbenchError
from upstream import from_transformers

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model and its feature extractor, as save_pretrained writes them."""
    torch.manual_seed(0)
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SMALL)).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    return tmp_path


def pointer(path: Path) -> None:
    path.write_text(POINTER)


def byte_order_mark(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def truncated(path: Path) -> None:
    path.write_text(path.read_text()[:30])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def html_page(path: Path) -> None:
    path.write_text("<html>404</html>")


def json_list(path: Path) -> None:
    path.write_text("[1]")


@pytest.mark.slow
@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (pointer, "pointer of Git LFS"),
        (byte_order_mark, "byte-order mark"),
        (truncated, "cut off or damaged"),
        (empty, "cut off or damaged"),
        (html_page, "cut off or damaged"),
        (json_list, "list in place of names"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(
    folder: Path, file: str, damage: Callable[[Path], None], message: str
) -> None:
    damage(folder / file)
    with pytest.raises(BadCheckpoint, match=rf"{file} .*{message}"):
        from_transformers.load(str(folder), None)


@pytest.mark.slow
def test_a_git_lfs_pointer_in_place_of_weights_is_named_and_ignored_if_it_is_not_read(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_text(POINTER)
    from_transformers.load(str(folder), None)
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadCheckpoint, match=r"pytorch_model\.bin is a pointer of Git LFS .*git lfs pull"):
        from_transformers.load(str(folder), None)
    (folder / "model.safetensors").write_text(POINTER)
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors is a pointer"):
        from_transformers.load(str(folder), None)


def test_every_shard_of_the_weights_is_checked(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    index = {"metadata": {}, "weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BadCheckpoint, match=r"lacks b\.safetensors"):
        from_transformers.load(str(folder), None)
    (folder / "b.safetensors").write_text(POINTER)
    with pytest.raises(BadCheckpoint, match=r"b\.safetensors is a pointer"):
        from_transformers.load(str(folder), None)


@pytest.mark.parametrize("share", [0.001, 0.5, 0.99])
def test_truncated_weights_are_named(folder: Path, share: float) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: int(weights.stat().st_size * share)])
    with pytest.raises(SuperbenchError, match=r"\(model\.safetensors\) cannot be loaded"):
        from_transformers.load(str(folder), None)


def test_a_pickle_with_code_is_refused_and_does_not_run(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    ran = folder / "ran"
    (folder / "pytorch_model.bin").write_bytes(f"cbuiltins\nopen\n(V{ran}\nVw\ntR.".encode())
    with pytest.raises(SuperbenchError, match=r"pytorch_model\.bin.*never runs"):
        from_transformers.load(str(folder), None)
    assert not ran.exists()


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("model_type", ["mine", "wav2vec2"])
def test_code_of_a_folder_never_runs_and_is_never_offered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, model_type: str, file: str
) -> None:
    def refuse_input(*_: object) -> str:
        raise AssertionError("the user was asked")

    monkeypatch.setattr("builtins.input", refuse_input)
    monkeypatch.syspath_prepend(folder)
    config = json.loads((folder / file).read_text())
    config |= {"auto_map": {"AutoConfig": "own_model.C", "AutoModel": "own_model.M", "AutoFeatureExtractor": "own_model.F"}}
    if file == "config.json":
        config["model_type"] = model_type
    (folder / file).write_text(json.dumps(config))
    (folder / "own_model.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    with pytest.raises(CommandError, match=r"authors' own code .*own_model\.\w.* never runs"):
        from_transformers.load(str(folder), None)
    assert not (folder / "ran").exists()
    assert "own_model" not in sys.modules


def test_a_model_of_the_hub_with_its_own_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **options: object) -> None:
        assert options["trust_remote_code"] is False
        raise ValueError("The repository contains custom code. " * 20 + "Please pass the argument `trust_remote_code=True`.")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refused)
    with pytest.raises(SuperbenchError, match=r"hf/some/model is a model of its authors' own code"):
        from_transformers.load("some/model", None)


def test_an_attention_kernel_of_the_hub_counts_as_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attn_implementation": "somebody/attention"}))
    with pytest.raises(CommandError, match=r"own code .*somebody/attention"):
        from_transformers.load(str(folder), None)


def test_code_of_a_tokenizer_is_ignored(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoTokenizer": ["own_model.T", None]}}))
    from_transformers.load(str(folder), None)


@pytest.mark.parametrize("normal_first", [False, True])
def test_padding_does_not_change_hubert_with_a_batch_norm_before_its_positions(tmp_path: Path, normal_first: bool) -> None:
    torch.manual_seed(0)
    config = transformers.HubertConfig(**SMALL, conv_pos_batch_norm=True, do_stable_layer_norm=normal_first)
    model = transformers.HubertModel(config)
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm1d)):  # as after training
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(norm.bias)
    model.save_pretrained(tmp_path)
    loaded = from_transformers.load(str(tmp_path), None)
    waves, lengths = torch.randn(3, 16_000) * 0.1, torch.tensor([8000, 16_000, 3000])
    for row, length in enumerate(lengths.tolist()):
        waves[row, length:] = 0
    with torch.inference_mode():
        together = loaded(waves, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = loaded(waves[row : row + 1, :length], lengths[row : row + 1]).frames[:, 0]
            beside = together.frames[:, row, : alone.shape[1]]
            assert float((alone - beside).abs().max() / alone.abs().max()) < 1e-5


@pytest.mark.parametrize("name", ["num_hidden_layers", "hidden_size", "intermediate_size", "conv_dim"])
def test_a_configuration_with_more_than_its_weights_is_refused_before_anything_is_allocated(folder: Path, name: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    config[name] = 10**9 if isinstance(config[name], int) else [10**9] * 7
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(SuperbenchError, match=rf"config\.json says {name} 1000000000, but the weights in model\.safetensors"):
        from_transformers.load(str(folder), None)
