"""Miniature corpora from Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_script_without_a_main_guard_can_synthesise(tmp_path: Path) -> None:
    """The worker processes do not run the user's script again."""
    script = tmp_path / "script.py"
    script.write_text('import superbench\n\nprint("begin")\nsuperbench.synthesize("data", tasks="sf")\nprint("end")\n')
    done = subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "begin\nend\n"), done.stderr
    assert len(list((tmp_path / "data").rglob("*.flac"))) + len(list((tmp_path / "data").rglob("*.wav"))) > 50
