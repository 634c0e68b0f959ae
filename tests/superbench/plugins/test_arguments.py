"""Checkpoints and options that a spec gives to the class of an own model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from superbench import CommandError, check, plugins
from superbench.errors import BadCheckpoint, BrokenPlugin

pytestmark = pytest.mark.slow

MODEL = """
import torch
from torch import nn
from superbench import Features

class Plain(nn.Module):
    sample_rate, hop, layers, dim = 16_000, 320, 1, 320
    {declared}

    def __init__(self, path=None, gain=1.0, flip=False):
        super().__init__()
        self.path, self.flip = path, flip
        self.gain = gain * (1.0 if path is None else float(torch.load(path)["gain"]))

    def forward(self, waves, lengths):
        frames = torch.nn.functional.pad(waves, (0, 319)).unfold(1, 320, 320) * self.gain
        return Features(frames[None], (lengths + 319) // 320)

class Named(Plain):
    @classmethod
    def from_checkpoint(cls, path, gain=1.0):
        model = cls(None, 10 * gain)
        model.path = path
        return model

class Bare(Plain):
    def __init__(self):
        super().__init__()

def spectrum(waves, lengths):
    return None
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(MODEL.format(declared=""))
    torch.save({"gain": torch.tensor(3.0)}, tmp_path / "step10.pt")
    torch.save({"gain": torch.tensor(5.0)}, tmp_path / "step20.pt")
    return tmp_path / "own.py"


def loaded(spec: str) -> plugins.Loaded:
    return plugins.upstream(plugins.parse(spec))


def test_a_checkpoint_is_given_to_the_class(file: Path) -> None:
    model = loaded(f"{file}:Plain@{file.parent}/step10.pt").model
    assert (model.gain, model.path) == (3.0, file.parent / "step10.pt")


def test_a_class_method_from_checkpoint_comes_first(file: Path) -> None:
    assert loaded(f"{file}:Named:gain=2@{file.parent}/step10.pt").model.gain == 20.0


def test_options_are_arguments_of_the_class(file: Path) -> None:
    model = loaded(f"{file}:Plain:gain=0.5,flip=true").model
    assert (model.gain, model.flip, model.path) == (0.5, True, None)


@pytest.mark.parametrize(
    "spec", ["own.py:Plain", "own.py:Plain:gain=2", "mine=own.py:Plain:gain=2,flip=true", "own.py:Plain:gain=2@step10.pt"]
)
def test_an_own_model_is_examined_by_the_name_that_every_command_accepts(
    spec: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    found = check(spec, quick=True)
    assert (found.kind, found.healthy) == ("upstream", True), found.reasons


def test_checkpoint_and_options_are_part_of_the_revision(file: Path) -> None:
    specs = [
        "Plain",
        "Plain:gain=2",
        "Plain@{}/step10.pt",
        "Plain@{}/step20.pt",
        "Plain:gain=2@{}/step20.pt",
        "Named@{}/step10.pt",
    ]
    revisions = [loaded(f"{file}:{spec.format(file.parent)}").revision for spec in specs]
    assert len(set(revisions)) == len(specs)
    torch.save({"gain": torch.tensor(7.0)}, file.parent / "step10.pt")
    assert loaded(f"{file}:Plain@{file.parent}/step10.pt").revision not in revisions
    assert loaded(f"{file}:Named@{file.parent}/step10.pt").revision not in revisions  # it does not even open the file


def test_a_declared_revision_does_not_hide_the_checkpoint(file: Path) -> None:
    file.write_text(MODEL.format(declared='revision = "mine-1"'))
    alone, first, second = (
        loaded(f"{file}:Plain{rest}").revision for rest in ("", f"@{file.parent}/step10.pt", f"@{file.parent}/step20.pt")
    )
    assert alone == "mine-1"
    assert first.startswith("mine-1-")
    assert first != second


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        ("Plain@{}/none.pt", BadCheckpoint, "does not exist"),
        ("Bare@{}/step10.pt", CommandError, "from_checkpoint"),
        ("Plain:depth=6", CommandError, "unexpected keyword argument 'depth'"),
        ("Plain:gain", CommandError, "has no value"),
        ("spectrum@{}/step10.pt", CommandError, "is no class"),
        ("Plain@{}/own.py", BrokenPlugin, "could not be built"),
    ],
)
def test_what_does_not_fit_is_said(file: Path, spec: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        loaded(f"{file}:{spec.format(file.parent)}")
