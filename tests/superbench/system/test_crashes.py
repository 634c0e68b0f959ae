"""A crash in compiled code leaves evidence; a kill from outside, an error and a normal end leave none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from superbench.system.crashes import has_crashed

SCRIPT = """
import os, signal, sys
from pathlib import Path
from superbench.system.crashes import crash_file

with crash_file(Path(sys.argv[1])):
    if sys.argv[2] != "0":
        os.kill(os.getpid(), int(sys.argv[2]))
"""


@pytest.mark.parametrize(("number", "crashed"), [(11, True), (6, True), (9, False), (0, False)])
def test_only_a_crash_leaves_evidence_which_counts_once(tmp_path: Path, number: int, crashed: bool) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "crashes"), str(number)], check=False)
    assert done.returncode == -number
    assert has_crashed(tmp_path / "crashes") is crashed
    assert not has_crashed(tmp_path / "crashes")
    assert not list((tmp_path / "crashes").iterdir())
