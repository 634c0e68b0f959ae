"""Modules with the HEAR interface as upstreams."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from superbench import BadCheckpoint, CommandError, SuperbenchError, plugins
from superbench.plugins.doctor.examination import examine
from upstream import from_hear

MODULE = """
import pathlib
import torch

class Net(torch.nn.Module):
    sample_rate, timestamp_embedding_size, scene_embedding_size = 22050, 8, 8

    def __init__(self, gain):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))

def load_model(model_file_path=""):
    return Net(float(pathlib.Path(model_file_path).read_text()) if model_file_path else 1.0)

def get_timestamp_embeddings(audio, model):
    padded = torch.nn.functional.pad(audio, (0, 551))
    frames = padded.unfold(1, 1104, 551)[..., :1104].unflatten(-1, (8, 138)).square().mean(-1) * model.gain
    times = (torch.arange(frames.shape[1]) * 25.0).expand(len(audio), -1)  # every 551.25 samples
    return frames, times
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_hear.py").write_text(MODULE)
    (tmp_path / "no_hear.py").write_text("def load_model(path=''): pass\n")
    (tmp_path / "gain.txt").write_text("2.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("my_hear", "no_hear"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_a_module_is_an_upstream_at_its_own_rate(folder: Path) -> None:
    model = from_hear.load("my_hear", None)
    assert (model.sample_rate, model.hop, model.layers, model.dim) == (22_050, 551, 1, 8)
    loaded = plugins.loaded(plugins.parse("hear"), model, "cpu")
    assert loaded.hop == 400
    found = examine(loaded, seconds=5.0)
    assert found.healthy, found.reasons
    assert found.batching == "any"


def test_weights_are_given_to_load_model_and_belong_to_the_revision(folder: Path) -> None:
    one, other = from_hear.load("my_hear", None), from_hear.load("my_hear", folder / "gain.txt")
    wave, length = torch.randn(1, 22_050), torch.tensor([22_050])
    with torch.inference_mode():
        assert torch.allclose(2 * one(wave, length).frames, other(wave, length).frames)
    assert one.config != other.config


def test_what_is_no_hear_module_is_said(folder: Path) -> None:
    with pytest.raises(SuperbenchError, match="cannot be imported"):
        from_hear.load("no_such_module", None)
    with pytest.raises(CommandError, match="has no get_timestamp_embeddings"):
        from_hear.load("no_hear", None)
    with pytest.raises(CommandError, match="expected the name of a Python module"):
        from_hear.load("../my_hear", None)
    with pytest.raises(BadCheckpoint, match="does not exist"):
        from_hear.load("my_hear", folder / "none.pt")
