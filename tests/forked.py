"""A process forked from one that has the libraries loaded: it becomes `superbench ARGUMENTS`, as the console script does.

`conftest.py` runs this file with `arguments`, `folder`, `environment` and `said` (a folder for what it prints) among its globals.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

arguments: list[str]
folder: str
environment: dict[str, str]
said: Path

os.setsid()
for number, name in ((1, "stdout"), (2, "stderr")):
    os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT), number)
os.environ.clear()
os.environ.update(environment)
os.chdir(folder)
sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
sys.argv = ["superbench", *arguments]

from superbench.__main__ import main  # noqa: E402

main()
