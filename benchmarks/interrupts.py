"""Does Ctrl-C end every command within two seconds, at any moment?

Starts commands on miniature corpora repeatedly, from an empty folder, presses Ctrl-C once (SIGINT to the whole process group,
as a terminal does) at a random moment, and counts: commands that went on for more than two seconds, exit statuses other than
130, tracebacks, and processes that remained afterwards. Moments before Python has reached `main` are Python's own: those
commands end by the signal, and are counted apart.

    python benchmarks/interrupts.py --presses 40
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from superbench.data.synthesis import synthesize
from superbench.system.progress import Silence

WITHIN = 2.0
"""Seconds that a command may go on."""

COMMANDS: Mapping[str, tuple[str, float]] = {
    "workers": ("run fbank mfcc --tasks ks,pr --data {data} --out {new}/out --store {new}/store --workers 2", 40.0),
    "inline": ("run fbank --tasks ks,pr --data {data} --out {new}/out --store {new}/store --workers 1", 40.0),
    "pretrain": ("pretrain apc --audio {data}/LibriSpeech --out {new}/apc.safetensors --steps 100000", 20.0),
    "synth": ("data synth --out {new}/data --tasks ks,sf", 20.0),
    "check": ("data check --data {data} --deep", 8.0),
    "demo": ("demo --out {demo}", 40.0),
}
"""Each command, and the latest moment (in seconds) at which the key is pressed."""


def press(command: Sequence[str], moment: float) -> tuple[str, float, str, list[str]]:
    """Starts a command, waits, presses Ctrl-C; returns the end, its seconds, standard error, and remaining processes."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True, preexec_fn=_receives_sigint
        )
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            began = time.monotonic()
            os.killpg(process.pid, signal.SIGINT)
            ended = _ended(process)
            seconds = time.monotonic() - began
        else:
            ended, seconds = "over", 0.0
        left = _left(process.pid)
        if left:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        return ended, seconds, said.read(), left


def _receives_sigint() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _ended(process: subprocess.Popen[bytes]) -> str:
    try:
        status = process.wait(10 * WITHIN)
    except subprocess.TimeoutExpired:
        return "lost"
    return "before main" if status == -signal.SIGINT else str(status)


def _left(leader: int) -> list[str]:
    """Command lines of a session's processes that do not end within half a second."""
    until = time.monotonic() + 0.5
    while (processes := _session(leader)) and time.monotonic() < until:
        time.sleep(0.01)
    return processes


def _session(leader: int) -> list[str]:
    """Command lines of the session's processes that are no zombies."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):  # it has just ended
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Press, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presses", type=int, default=40, help="for each command")
    parser.add_argument("--commands", default=",".join(COMMANDS), help=f"some of {', '.join(COMMANDS)}")
    parser.add_argument("--latest", type=float, help="press within so many seconds [default: each command's own]")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    random.seed(options.seed)
    bad = 0
    with tempfile.TemporaryDirectory(prefix="interrupts") as folder:
        data = Path(folder, "data")
        synthesize(data, 0, ["ks", "pr"], Silence())
        for name in options.commands.split(","):
            text, latest = COMMANDS[name]
            bad += _pressed(name, text, options.latest or latest, options.presses, Path(folder), data)
    print(f"{bad} bad" if bad else "none lost")
    raise SystemExit(1 if bad else 0)


def _pressed(name: str, text: str, latest: float, presses: int, folder: Path, data: Path) -> int:
    states, slowest, bad = Counter[str](), 0.0, 0
    for number in range(presses):
        places = {"new": folder / f"{name}{number}", "data": data, "demo": folder / "demo"}
        command = [str(Path(sys.executable).with_name("superbench")), *text.format(**places).split()]
        moment = random.uniform(0.0, latest)
        ended, seconds, said, left = press(command, moment)
        states[ended], slowest = states[ended] + 1, max(slowest, seconds)
        wrong = ended not in ("130", "over", "before main") or seconds > WITHIN or left
        if wrong or ("Traceback" in said and ended != "before main"):
            bad += 1
            print(f"  {name} at {moment:.3f} s: {ended} after {seconds:.2f} s, left: {left}\n{said}", flush=True)
    print(f"{name}: {presses} presses, {dict(states)}, slowest {slowest:.2f} s, {bad} bad", flush=True)
    return bad


if __name__ == "__main__":
    main()
