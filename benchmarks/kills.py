"""Does a run survive being killed at any moment, any number of times?

Runs keyword spotting and phoneme recognition (means and frames) on miniature corpora once undisturbed, then again and again
from nothing with SIGKILL at random moments, each killed run repeated with the same command until it ends. Every result must
equal the undisturbed one (timings aside), and the store must be complete after every kill. The children are forked after torch
was imported, so that most kills fall into the work and not into its start.

    python benchmarks/kills.py --kills 200
    python benchmarks/kills.py --kills 50 --without-locks    # two processes at once, on a disk whose flock fails
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from superbench import run
from superbench.data.synthesis import synthesize
from superbench.features.store import Store
from superbench.results import find_results
from superbench.system.progress import Silence

TASKS = "ks,pr"
UPSTREAM = "mfcc"


def once(data: Path, folder: Path, steps: int) -> None:
    """Runs both tasks, in this process."""
    run([UPSTREAM], TASKS, data=data, out=folder / "out", store=folder / "store", max_steps=steps, workers=1, device="cpu")


def fork(data: Path, folder: Path, steps: int) -> int:
    """Runs both tasks in a child process; returns its process number."""
    child = os.fork()
    if child == 0:
        os.close(1)
        once(data, folder, steps)
        os._exit(0)
    return child


def without_locks() -> None:
    """Makes `flock` fail in this process and its children, as on a network disk without locks."""

    def flock(_file: object, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    fcntl.flock = flock


def survives(data: Path, folder: Path, steps: int, longest: float, left: int, count: int, states: Counter[str]) -> int:
    """Repeats the run, in `count` processes at once, until it ends without a kill; returns the number of kills."""
    kills = 0
    while True:
        children, moment = [fork(data, folder, steps) for _ in range(count)], time.monotonic() + random.uniform(0.0, longest)
        while (ended := os.waitpid(children[0], os.WNOHANG))[0] == 0 and (kills >= left or time.monotonic() < moment):
            time.sleep(0.005)
        if ended[0]:
            statuses = [ended[1], *(os.waitpid(child, 0)[1] for child in children[1:])]
            assert not any(map(os.waitstatus_to_exitcode, statuses)), "the run failed"
            return kills
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
        states[_state(folder)] += 1
        damage = [finding for finding in Store(folder / "store").verify(Silence()) if finding.state == "damaged"]
        assert not damage, damage


def _state(folder: Path) -> str:
    """Returns the stage of the run at the kill, from the files that exist."""
    done = len(find_results(folder / "out")) if (folder / "out").is_dir() else 0
    working = any((folder / "out").glob("*/*/work/*.safetensors"))
    return f"{done} of 2 results" + (", training" if working else ", extraction or scoring")


def results(root: Path) -> dict[str, Any]:
    """Returns every result without its times, with the bytes of its predictions."""
    return {folder.name: record_of(folder) for folder in find_results(root / "out")}


def record_of(folder: Path) -> dict[str, Any]:
    """Returns the result in a folder without its times, with the bytes of its predictions."""
    record = json.loads((folder / "result.json").read_text())
    del record["seconds"], record["efficiency"]["real_time_factor"], record["environment"]["date"]
    return record | {"bytes": (folder / record["predictions"]).read_bytes()}


def differing(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Returns the parts of results that differ, as `task.part`."""
    parts = {(task, part) for results in (found, expected) for task, record in results.items() for part in record}
    return sorted(f"{task}.{part}" for task, part in parts if found.get(task, {}).get(part) != expected[task].get(part))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="total number of kills")
    parser.add_argument("--steps", type=int, default=60, help="updates of each head")
    parser.add_argument("--longest", type=float, help="seconds until a kill, at most (a third of an undisturbed run)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-locks", action="store_true", help="let flock fail, and run two processes at once")
    options = parser.parse_args()
    if options.without_locks:
        without_locks()
    random.seed(options.seed)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="superbench-kills-") as temporary:
        root = Path(temporary)
        synthesize(root / "data", 0, TASKS.split(","), Silence())
        began = time.monotonic()
        os.waitpid(fork(root / "data", root / "undisturbed", options.steps), 0)
        took = time.monotonic() - began
        longest = options.longest or took / 3
        print(f"undisturbed: {took:.1f} s; kills within {longest:.1f} s", flush=True)
        expected, kills, rounds, states = results(root / "undisturbed"), 0, 0, Counter[str]()
        assert set(expected) == set(TASKS.split(",")), "the undisturbed run failed"
        while kills < options.kills:
            folder = root / f"round{rounds}"
            kills += survives(
                root / "data", folder, options.steps, longest, options.kills - kills, 1 + options.without_locks, states
            )
            rounds += 1
            unlike = differing(results(folder), expected)
            assert not unlike, f"round {rounds} differs in {', '.join(unlike)}"
            shutil.rmtree(folder)
            print(f"round {rounds}: equal after {kills} kills so far", flush=True)
        for state, count in sorted(states.items()):
            print(f"  {count:4} kills with {state}")
        print(f"{kills} kills, {rounds} runs: every result equals the undisturbed one, the store was complete after every kill")


if __name__ == "__main__":
    sys.exit(main())
