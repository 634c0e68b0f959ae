"""Does a board survive submitters that are killed at any moment?

On each of `--boards` (a folder and an SQLite file unless others are given), processes submit the bundle of one model after the
other and are killed at random moments of it, each again until its bundle is in. After every kill all accepted bundles
must still exist, and the board must render. At the end each board must show the same as an undisturbed one.

    python benchmarks/board_kills.py --kills 200
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from server import results

from superbench.board.board import Board
from superbench.board.bundles.bundle import pack_bundle


def fork(address: str, data: bytes) -> int:
    """Submits in a child process; returns its process number."""
    child = os.fork()
    if child == 0:
        board = Board(address)
        board.accept(board.examine(data), "alice")
        os._exit(0)
    return child


def submitted(address: str, data: bytes, longest: float, left: int) -> tuple[int, float]:
    """Submits until the bundle is accepted; returns the number of kills, and the duration of the last attempt."""
    kills = 0
    while True:
        before = [one.digest for one in Board(address).storage.bundles()]
        began = time.monotonic()
        child, moment = fork(address, data), began + random.uniform(0.0, longest)
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and (kills >= left or time.monotonic() < moment):
            time.sleep(0.001)
        if ended[0]:
            assert os.waitstatus_to_exitcode(ended[1]) == 0, "an honest bundle was not accepted"
            return kills, time.monotonic() - began
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
        after = [one.digest for one in Board(address).storage.bundles()]
        assert after[: len(before)] == before, "an accepted bundle is lost"
        assert drawn(address)["refused"] == []
        if after != before:  # killed after the bundle was accepted, before the answer
            return kills, time.monotonic() - began


def drawn(address: str) -> dict[str, Any]:
    """Returns what the board shows; nothing for a board without bundles."""
    board = Board(address)
    return board.contents() if board.storage.bundles() else {"groups": [], "refused": []}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="total number of kills")
    parser.add_argument("--boards", nargs="*", help="addresses of empty boards")
    parser.add_argument("--models", type=int, default=6, help="on each board")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory(prefix="superbench-kills-") as temporary:
        root = Path(temporary)
        addresses = options.boards or [str(root / "folder"), str(root / "board.db")]
        bundles = [pack_bundle(results(root / "results", f"model{n}", 0.4 + 0.05 * n, 20)) for n in range(options.models)]
        Board(root / "first").examine(
            bundles[0]
        )  # imports the modules that the children need, so that kills occur during the work
        took = []
        for data in bundles:
            began = time.monotonic()
            os.waitpid(fork(str(root / "undisturbed"), data), 0)
            took.append(time.monotonic() - began)
        longest, expected = min(took), drawn(str(root / "undisturbed"))
        print(f"undisturbed: {longest:.2f} s a bundle", flush=True)
        for number, address in enumerate(addresses, 1):
            share = options.kills * number // len(addresses) - options.kills * (number - 1) // len(addresses)
            kills, last = 0, longest
            for place, data in enumerate(bundles, 1):
                more, last = submitted(address, data, last, share * place // len(bundles) - kills)
                kills += more
            assert drawn(address)["groups"] == expected["groups"], f"{address} shows different rows"
            print(
                f"{Path(address).name}: {kills} kills, {len(bundles)} bundles: shows what the undisturbed board does",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
