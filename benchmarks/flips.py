"""Is a flipped bit in a file always detected or repaired, without a loss of data?

Pretrains a small model and runs keyword spotting and phoneme recognition (means and frames) with it, undisturbed; a second time
both are killed in the middle of training. Then, repeatedly, one random bit is flipped in a copy of these files: in a
checkpoint, in what training is resumed from, in a result, in predictions, in a shard of features or in the index of their
store, and the same commands are repeated. Every result must equal the undisturbed one (timings aside).

    python benchmarks/flips.py --flips 20
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from kills import differing, results

from superbench import run
from superbench.data.synthesis import synthesize
from superbench.errors import SuperbenchError
from superbench.runs.jobs import NoWatcher
from superbench.system.progress import Silence
from superbench.training.pretraining import pretrain

KINDS = {
    "checkpoint": ("finished", "apc.safetensors"),
    "resume": ("pretraining", "apc.safetensors.resume"),
    "work": ("training", "out/*/*/work/*.safetensors"),
    "result": ("finished", "out/*/*/result.json"),
    "predictions": ("finished", "out/*/*/predictions.jsonl.gz"),
    "shard": ("extracted", "store/shards/*/*.safetensors"),
    "index": ("extracted", "store/index.sqlite"),
}
"""Each type of file: the event after which it exists, and its path."""
CHECKPOINT = "apc.safetensors"


class Listening(Silence, NoWatcher):
    """Writes the remarks on a pretraining or on a job to a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def note(self, *parts: Any) -> None:
        """Writes a remark."""
        with self.file.open("a") as file:
            file.write(f"{parts[-1]}\n")

    def advance(self, *_: Any) -> None:
        """Does nothing."""


class Bed:
    """A folder in which the commands are repeated, and their options."""

    def __init__(self, root: Path, tasks: str, steps: int) -> None:
        self.root, self.tasks, self.steps = root, tasks, steps
        self.data, self.now, self.messages = root / "data", root / "now", root / "messages"

    def commands(self, *, replace: bool = False) -> None:
        """Runs `superbench pretrain`, then `superbench run`, in this process."""
        listening = Listening(self.messages)
        model = self.now / CHECKPOINT
        speech = self.data / "LibriSpeech"
        pretrain.pretrain("apc", speech, model, steps=self.steps, seed=0, device="cpu", reporter=listening, replace=replace)
        report = run(
            [f"apc@{model}"], self.tasks, data=self.data, out=self.now / "out", store=self.now / "store",
            max_steps=self.steps, workers=1, device="cpu", watcher=listening,
        )  # fmt: skip
        for failure in report.of("failed"):
            raise SuperbenchError(failure.message)

    def fork(self, *, replace: bool = False) -> int:
        """Runs the commands in a child process; returns its process number."""
        child = os.fork()
        if child == 0:
            os.close(1)
            try:
                self.commands(replace=replace)
            except SuperbenchError as error:
                Listening(self.messages).note(f"failed: {error}")
                os._exit(1)
            os._exit(0)
        return child

    def repeated(self) -> int:
        """Repeats the commands, and follows the advice of their messages, until they succeed; returns how often they failed."""
        for failures in range(3):
            advised = self.messages.is_file() and "--replace" in self.messages.read_text()
            _, status = os.waitpid(self.fork(replace=advised), 0)
            if status == 0:
                return failures
        raise SystemExit(f"the commands still fail after three repetitions: {self.messages.read_text()}")

    def until(self, exists: Callable[[], bool]) -> None:
        """Runs the commands, and kills them as soon as a file exists."""
        child = self.fork()
        while not exists():
            assert os.waitpid(child, os.WNOHANG)[0] == 0, "it ended before it could be killed"
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    def snapshots(self) -> dict[str, Path]:
        """Takes a snapshot of the folder after each event in `KINDS`."""
        folders = {}
        for name, file_type in (("pretraining", "resume"), ("training", "work")):
            self.until(lambda pattern=KINDS[file_type][1]: any(self.now.glob(pattern)))  # type: ignore[misc]
            folders[name] = shutil.copytree(self.now, self.root / name)
        shutil.rmtree(self.now)
        self.repeated()
        folders["finished"] = shutil.copytree(self.now, self.root / "finished")
        folders["extracted"] = shutil.copytree(self.now, self.root / "extracted")
        shutil.rmtree(folders["extracted"] / "out")
        return folders

    def restored(self, snapshot: Path) -> None:
        """Copies a snapshot to the folder of the commands."""
        shutil.rmtree(self.now, ignore_errors=True)
        self.messages.unlink(missing_ok=True)
        shutil.copytree(snapshot, self.now)


def flip(path: Path) -> str:
    """Flips a random bit of a file; returns its position."""
    data = bytearray(path.read_bytes())
    bit = random.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    return f"byte {bit // 8} of {len(data)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Flips bits, repeats the commands, compares the results, and prints the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=20, help="total number of flips, over the types of files in turn")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"some of {', '.join(KINDS)}")
    parser.add_argument("--tasks", default="ks,pr")
    parser.add_argument("--steps", type=int, default=60, help="updates of the model and of each head")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    random.seed(options.seed)
    torch.set_num_threads(1)
    kinds, outcomes, wrong = options.kinds.split(","), Counter[str](), 0
    with tempfile.TemporaryDirectory(prefix="superbench-flips-") as temporary:
        bed = Bed(Path(temporary), options.tasks, options.steps)
        synthesize(bed.data, 0, sorted({*options.tasks.split(","), "pr"}), Silence())
        snapshots = bed.snapshots()
        expected = results(snapshots["finished"])
        for number in range(options.flips):
            kind = kinds[number % len(kinds)]
            moment, pattern = KINDS[kind]
            bed.restored(snapshots[moment])
            file = random.choice(sorted(bed.now.glob(pattern)))
            where = flip(file)
            failures = bed.repeated()
            messages = bed.messages.read_text() if bed.messages.is_file() else ""
            unlike = differing(results(bed.now), expected)
            wrong += bool(unlike)
            outcome = "DIFFERS" if unlike else "equal after a repetition" if failures else "equal"
            outcomes[outcome] += 1
            print(f"{kind}: {file.name}, {where}: {outcome} {' '.join(unlike)}", flush=True)
            shown = [f"    {line[:200]}\n" for line in messages.splitlines() if "update" not in line[:7]]
            print("".join(shown), end="", flush=True)
    print(f"{options.flips} flips: {', '.join(f'{count} {outcome}' for outcome, count in sorted(outcomes.items()))}")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    sys.exit(main())
