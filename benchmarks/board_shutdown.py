"""How quickly does a served board end while it scores, and is its queue whole?

Starts `superbench serve` on each of `--boards` (a folder and an SQLite file unless others are given), submits a bundle that
takes seconds to score, and sends SIGTERM or SIGKILL to the server in the middle of it, `--times` each. Prints the seconds until
all processes have ended, how many were left after ten seconds, whether the submission was still in the queue, and what a new
server decided.

    python benchmarks/board_shutdown.py --times 5
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from process_tree import alive, below
from server import START, call, results

from superbench.board.board import Board
from superbench.board.bundles.bundle import pack_bundle
from superbench.board.storage import incoming, tokens

LONGEST = 10.0
"""Seconds after which a process counts as left."""


@dataclass(frozen=True)
class Ending:
    """What one end of a server came to."""

    seconds: float
    processes: int
    left: int
    waiting: bool
    decided: str


def started(address: str) -> tuple[subprocess.Popen[bytes], int]:
    """A server that answers, and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-c", START, "serve", "--board", address, "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while server.poll() is None:
        with contextlib.suppress(OSError):
            call(port, "/healthz", "")
            return server, port
        time.sleep(0.1)
    raise RuntimeError(f"the server of {address} did not start")


def ended(server: subprocess.Popen[bytes], number: int) -> tuple[float, int, int]:
    """Seconds until all processes had ended, how many there were, and how many were left."""
    every = {server.pid} | below(server.pid)
    began = time.monotonic()
    server.send_signal(number)
    while (
        left := alive(every) - ({server.pid} if server.poll() is not None else set())
    ) and time.monotonic() - began < LONGEST:
        time.sleep(0.01)
    return time.monotonic() - began, len(every), len(left)


def decided(port: int, token: str, identity: str, until: tuple[str, ...], seconds: float = 300) -> str:
    """The state of a submission, once it is one of `until`."""
    last, stop = "", time.monotonic() + seconds
    while last not in until and time.monotonic() < stop:
        last = str(call(port, f"/api/submissions/{identity}", token)["state"])
        time.sleep(0.05)
    return last


def shutdown(address: str, data: bytes, token: str, number: int) -> Ending:
    """One end in the middle of scoring, and what a new server made of the submission."""
    server, port = started(address)
    identity = str(call(port, "/api/submissions", token, data)["id"])
    decided(port, token, identity, ("scoring",))
    time.sleep(random.uniform(0.2, 1.5))
    state = call(port, f"/api/submissions/{identity}", token)["state"]
    assert state == "scoring", f"the bundle was {state} before the server ended: give more --speakers"
    seconds, processes, left = ended(server, number)
    waiting = identity in {one.id for one in incoming.all_of(Board(address).storage)}
    server, port = started(address)
    outcome = decided(port, token, identity, ("accepted", "refused", "failed"))
    server.terminate()
    server.wait()
    return Ending(seconds, processes, left, waiting, outcome)


def main(words: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", nargs="*", help="addresses of empty boards")
    parser.add_argument("--times", type=int, default=5, help="ends of each kind on each board")
    parser.add_argument("--speakers", type=int, default=6_000, help="of the bundle, each with twelve words")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(words)
    random.seed(arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for address in arguments.boards or [str(root / "board"), str(root / "board.db")]:
            for number in (signal.SIGTERM, signal.SIGKILL):
                endings = []
                for turn in range(arguments.times):
                    name = f"{number.name}{turn}"
                    token = tokens.create(Board(address).storage, name)
                    place = results(root / str(abs(hash(address))), name, 0.6, arguments.speakers)
                    endings.append(shutdown(address, pack_bundle(place), token, number))
                say(address, number, endings)


def say(address: str, number: signal.Signals, endings: list[Ending]) -> None:
    """One line."""
    kind = "PostgreSQL" if "postgresql" in address else "SQLite" if address.endswith(".db") else "folder"
    times = " ".join(f"{one.seconds:.2f}" for one in endings)
    waiting, outcomes = sum(one.waiting for one in endings), [one.decided for one in endings]
    counts = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in sorted(set(outcomes)))
    print(
        f"{kind:10} {number.name}: all of {endings[0].processes} processes ended after {times} s, "
        f"{sum(one.left for one in endings)} left; {waiting} of {len(endings)} in the queue, then {counts}",
        flush=True,
    )


if __name__ == "__main__":
    main()
