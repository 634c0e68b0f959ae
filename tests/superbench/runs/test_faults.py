"""What fails in a run is named: a sound at which a model raises or a process dies, a GPU, a machine. Nothing else is lost."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from superbench.runs.jobs import Job, NoWatcher
from superbench.runs.runner import Report, run

MODELS = """
import os, signal, torch
from pathlib import Path
from superbench import Features
from superbench.features import stored

SIGNS = torch.tensor([1.0, -1.0, 1.0, -1.0])

class Good:
    sample_rate, hop, layers, dim = 16_000, 160, 1, 1

    def __call__(self, waves, lengths):
        first = waves[:, :1]
        if waves.shape[1] >= 4 and bool(((waves[:, :4] == SIGNS * first) & (first > 0)).all(1).any()):
            self.act()
        pieces = torch.nn.functional.pad(waves, (0, 159)).unfold(1, 160, 160)
        return Features(pieces.abs().mean(-1)[None, ..., None], (lengths + 159) // 160)

    def act(self):
        pass

class Raises(Good):
    def act(self):
        raise ValueError("no such sound")

class Crashes(Good):
    def act(self):
        os.kill(os.getpid(), signal.SIGSEGV)

class Killed(Good):
    def act(self):
        if not Path("MARK").exists():
            Path("MARK").touch()
            os.kill(os.getpid(), signal.SIGKILL)

class LosesItsGPU(Good):
    def act(self):
        raise torch.AcceleratorError("CUDA error: unspecified launch failure") if SINCE else RuntimeError("CUDA error: lost")

class LosesItOnce(Good):
    def act(self):
        if not Path("MARK").exists():
            Path("MARK").touch()
            raise RuntimeError("CUDA error: an illegal memory access was encountered\\nCUDA kernel errors might be")
SINCE = False

class Undecodable(Good):
    def __init__(self):
        load = stored.load
        def crash(audio):
            if audio.path.name == "NAME":
                os.kill(os.getpid(), signal.SIGSEGV)
            return load(audio)
        stored.load = crash
"""


class Notes(NoWatcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, job: Job, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def marked(keyword_corpora: Path, tmp_path: Path) -> Path:
    """The miniature of keyword spotting, in which one test file begins as no other sound does."""
    root = tmp_path / "data"
    shutil.copytree(keyword_corpora, root, copy_function=os.link)
    file = marked_file(root)
    wave = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    wave[:4] = 0.5, -0.5, 0.5, -0.5
    file.unlink()
    soundfile.write(file, wave, 16_000)
    return root


def marked_file(root: Path) -> Path:
    return min(root.rglob("*test_set*/yes/*.wav"))


def go(marked: Path, tmp_path: Path, *models: str, **more: Any) -> Report:
    text = MODELS.replace("NAME", marked_file(marked).name).replace("MARK", str(tmp_path / "mark"))
    (tmp_path / "models.py").write_text(text)
    specs = [f"{tmp_path}/models.py:{model}" for model in models]
    options: dict[str, Any] = {"max_steps": 2, "learning_rates": (1e-2,), "workers": 1, **more}
    return run(specs, "ks", data=marked, out=tmp_path / "out", store=tmp_path / "store", **options)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("Raises", r"Raises raises ValueError \(no such sound\) for .*/{} \(1\.0 s\)"),
        ("Crashes", r"Crashes cannot compute features of .*/{}: 3 processes of this run died at it, in the code of the model"),
        ("Undecodable", r".*/{} cannot be decoded: 3 processes of this run died at it"),
    ],
)
def test_the_sound_at_which_a_job_fails_is_named_and_the_others_run(
    marked: Path, tmp_path: Path, model: str, message: str
) -> None:
    report = go(marked, tmp_path, model, "Good")
    states = {ended.job.spec.alias: ended for ended in report.ended}
    assert states["Good"].state == "done"
    assert states[model].state == "failed"
    assert re.match(message.format(re.escape(marked_file(marked).name)), states[model].message), states[model].message
