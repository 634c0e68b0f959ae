"""docs/own_corpus.md: every command that it shows works, in its order, from a list to a board."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

PAGE = (Path(__file__).parents[1] / "docs" / "own_corpus.md").read_text()


def test_every_command_of_the_page_works(tmp_path: Path, call: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    random, lines = np.random.default_rng(0), ["path,label,split,speaker"]
    for split in ("train", "dev", "test"):
        for number in range(16):
            label = ("calm", "angry")[number % 2]
            wave = (0.02, 0.2)[number % 2] * random.standard_normal(4_000 + 37 * number)
            soundfile.write(tmp_path / f"{split}{number}.wav", wave.clip(-1, 1), 16_000)
            lines.append(f"{split}{number}.wav,{label},{split},{split}{number // 2}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    (block,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    said = {}
    for command in block.strip().splitlines():
        done = call(*command.split()[1:], folder=tmp_path)
        assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}{done.stdout[-1000:]}"
        said[command] = done.stdout
    assert "CALLS accuracy" in said["superbench report results"]
    result = json.loads((tmp_path / "results/fbank/calls/result.json").read_text())
    assert result["task"]["protocol"] == "custom"
    assert "Calls: own task" in (tmp_path / "board.html").read_text()
