"""Checkpoints of fairseq, read without fairseq: equal to S3PRL's copies of its classes, and nothing in a pickle runs."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from superbench import BadCheckpoint
from upstream import from_fairseq, from_s3prl

MAKERS = runpy.run_path(str(Path(__file__).with_name("s3prl_checkpoints.py")))["MAKERS"]
FAMILIES = ("wav2vec2", "hubert", "data2vec", "wavlm")


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def converted(family: str, path: Path) -> dict[str, Any]:
    """A small checkpoint as S3PRL has it."""
    torch.manual_seed(1)
    MAKERS[family](path)
    return torch.load(path, weights_only=False)


def as_fairseq(states: dict[str, Any]) -> dict[str, Any]:
    """The same as fairseq saves it."""
    if "model_weight" not in states:  # WavLM has a layout of its own
        return states
    return {"cfg": {"model": states["model_cfg"], "task": states["task_cfg"]}, "model": states["model_weight"], "args": None}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_gives_the_states_of_s3prls_class(family: str, tmp_path: Path) -> None:
    torch.save(as_fairseq(converted(family, tmp_path / "s3prl.pt")), tmp_path / "fairseq.pt")
    ours, theirs = from_fairseq.load(str(tmp_path / "fairseq.pt"), None), from_s3prl.load(family, tmp_path / "s3prl.pt")
    assert (ours.config.family, ours.hop, ours.layers, ours.dim) == (family, theirs.hop, theirs.layers, theirs.dim)
    waves, lengths = torch.randn(2, 16_000), torch.tensor([16_000, 9_001])
    waves[1, 9_001:] = 0
    with torch.inference_mode():
        found, expected = ours(waves, lengths), theirs(waves, lengths)
    assert found.lengths.tolist() == expected.lengths.tolist()
    for row, count in enumerate(found.lengths.tolist()):
        one, other = found.frames[:, row, :count], expected.frames[:, row, :count]
        assert float((one - other).abs().max()) <= 1e-5 * float(other.abs().max())
    assert from_fairseq.load(str(tmp_path / "fairseq.pt"), None)(torch.randn(1, 3), torch.tensor([3])).lengths.tolist() == [1]


@pytest.fixture
def fairseq(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], type]:
    """Classes of packages that are not installed, as a checkpoint that was saved with them names them."""

    def made(name: str) -> type:
        module, _, attribute = name.rpartition(".")
        for end in range(1, len(parts := module.split(".")) + 1):
            path = ".".join(parts[:end])
            if path not in sys.modules:
                monkeypatch.setitem(sys.modules, path, ModuleType(path))
        kind = type(attribute, (), {"__module__": module})
        monkeypatch.setattr(sys.modules[module], attribute, kind, raising=False)
        return kind

    return made


def written(path: Path, states: Any, *modules: str) -> None:
    """Saves, and forgets the packages of which objects were saved."""
    torch.save(states, path)
    for name in [name for name in sys.modules if name.split(".")[0] in modules]:
        del sys.modules[name]


@pytest.mark.slow
def test_objects_of_fairseq_and_omegaconf_are_read_without_them(tmp_path: Path, fairseq: Callable[[str], type]) -> None:
    states = as_fairseq(converted("hubert", tmp_path / "s3prl.pt"))
    container, value, words = (
        fairseq("omegaconfig.DictConfig"),
        fairseq("omegaconfig.AnyNode"),
        fairseq("fairseq.data.Dictionary"),
    )

    def node(content: Any) -> Any:
        holder = container() if isinstance(content, dict) else value()
        inner = {key: node(one) for key, one in content.items()} if isinstance(content, dict) else content
        vars(holder)["_content" if isinstance(content, dict) else "_val"] = inner
        return holder

    states["cfg"] = node(states["cfg"])
    states["task_state"] = {"dictionaries": [words()]}
    written(tmp_path / "fairseq.pt", states, "omegaconfig", "fairseq")
    assert from_fairseq.load(str(tmp_path / "fairseq.pt"), None).config.normalise


def test_arguments_of_old_versions_and_models_with_a_ctc_head_are_read(tmp_path: Path) -> None:
    states = converted("wav2vec2", tmp_path / "s3prl.pt")
    arguments = argparse.Namespace(**states["model_cfg"], arch="wav2vec2", normalize=False)
    torch.save({"args": arguments, "model": states["model_weight"]}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    inner = {"model": states["model_cfg"] | {"_name": "wav2vec2"}, "task": {"normalize": False}}
    weights = {f"w2v_encoder.w2v_model.{key}": value for key, value in states["model_weight"].items()}
    weights["w2v_encoder.proj.weight"] = torch.zeros(5, 32)
    tuned = {"cfg": {"model": {"_name": "wav2vec_ctc", "w2v_args": inner}, "task": {"normalize": False}}, "model": weights}
    torch.save(tuned, tmp_path / "tuned.pt")
    wave, length = torch.randn(1, 8_000), torch.tensor([8_000])
    with torch.inference_mode():
        one, other = (from_fairseq.load(str(tmp_path / name), None)(wave, length).frames for name in ("old.pt", "tuned.pt"))
    assert torch.equal(one, other)


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, module: str, path: Path) -> None:
        self.call = (os.system, (f"touch {path}",)) if module == "os" else (eval, (f"open({str(path)!r}, 'w')",))

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("module", ["os", "builtins"])
def test_nothing_in_a_pickle_runs(module: str, tmp_path: Path) -> None:
    states = as_fairseq(converted("wav2vec2", tmp_path / "s3prl.pt"))
    states["extra"] = Bomb(module, tmp_path / "ran")
    torch.save(states, tmp_path / "bad.pt")
    if module == "os":
        with pytest.raises(BadCheckpoint, match="a function of the operating system"):
            from_fairseq.load(str(tmp_path / "bad.pt"), None)
    else:
        from_fairseq.load(str(tmp_path / "bad.pt"), None)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"conv_feature_layers": "__import__('os').system('touch ran')"}, "convolutions that cannot be read"),
        ({"conv_feature_layers": "[(16,10,5)] * 100000000"}, "repeated too often"),
        ({"encoder_layers": 3}, "says encoder_layers 3, its weights have 2"),
        ({"encoder_embed_dim": 10**9}, "says encoder_embed_dim 1000000000"),
        ({"conv_pos": 10**9}, "larger layers than its weights"),
        ({"encoder_attention_heads": 5}, "does not fit the wav2vec2 architecture"),
    ],
)
def test_a_configuration_that_is_no_model_is_refused(
    change: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    states = as_fairseq(converted("wav2vec2", tmp_path / "s3prl.pt"))
    states["cfg"]["model"] |= change
    torch.save(states, tmp_path / "bad.pt")
    with pytest.raises(BadCheckpoint, match=says):
        from_fairseq.load("bad.pt", None)
    assert not Path("ran").exists()


def test_a_file_that_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="does not exist"):
        from_fairseq.load(str(tmp_path / "none.pt"), None)
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        from_fairseq.load(str(tmp_path / "text.pt"), None)
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(BadCheckpoint, match="no weights under 'model'"):
        from_fairseq.load(str(tmp_path / "other.pt"), None)
    torch.save({"model": {"a": torch.zeros(1)}, "cfg": {"model": {"_name": "transformer_lm"}}}, tmp_path / "lm.pt")
    with pytest.raises(BadCheckpoint, match="no configuration of a speech encoder"):
        from_fairseq.load(str(tmp_path / "lm.pt"), None)
