"""How long does a reader of a served board wait while others submit?

Starts `superbench serve` on a board with some models, then lets `--readers` connections ask for the page and the table one
after the other without a pause, first alone, then while `--submitters` send bundles that are scored meanwhile, and `--hostile`
ones send as many as they may, with scores that are false. Prints percentiles of the readers' waiting times, both ways, and what
became of the submissions, and when. Readers run on the same machine, so their own work is in the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from superbench.board.board import Board
from superbench.board.bundles.bundle import pack_bundle
from superbench.board.storage import tokens
from superbench.contract import Prediction
from superbench.plugins import task
from superbench.results import Result, read_predictions, write_result

START = "import sys; from superbench.__main__ import main; sys.exit(main())"
PATHS = ("/", "/api/board", "/healthz")


def results(folder: Path, name: str, skill: float, speakers: int = 250) -> Path:
    """Keyword spotting by a model that is right with probability `skill`: 3 000 predictions, as a run would write them."""
    from superbench.results.intervals import interval

    keywords, random = task("ks"), np.random.default_rng(abs(hash(name)) % 2**32)
    words = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "_unknown_", "_silence_")
    said = [
        Prediction(f"{word}/{n}.wav", "all", (f"s{n}",), word, word if random.random() < skill else str(random.choice(words)))
        for n in range(speakers) for word in words
    ]  # fmt: skip
    score = keywords.score(said, {})["accuracy"]
    low, high, method = interval(said, score)
    rates = keywords.card.recipes["mini"].learning_rates
    record = {
        "schema": 1, "task": {"name": "ks", "version": keywords.card.version, "protocol": "mini"},
        "upstream": {"name": name, "revision": name, "params": 10, "hop": 160, "layers": 1, "dim": 4},
        "scores": {"accuracy": {"value": score.value, "unit": "%", "higher_is_better": True, "ci": [low, high],
                                "ci_method": method, "counts": dict(score.counts)}},
        "primary": "accuracy",
        "sweep": [{"fold": "all", "lr": lr, "seed": 0, "dev": 50.0 - i, "steps": 10} for i, lr in enumerate(rates)],
        "chosen": {"all": {"lr": rates[0], "seed": 0, "step": 10, "setting": {}}},
        "data": {"fingerprint": "f", "items": {"test": len(said)}}, "environment": {"spec": "x"},
        "seconds": {"extract": 1, "train": 1, "evaluate": 1}, "predictions": "predictions.jsonl.gz",
    }  # fmt: skip
    place = folder / name
    (place / "ks").mkdir(parents=True)
    write_result(place / "ks", Result.model_validate(record), said)
    return place


async def read(port: int, until: float, waits: list[float]) -> None:
    """One reader on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    turn = 0
    while time.perf_counter() < until:
        began = time.perf_counter()
        writer.write(f"GET {PATHS[turn % len(PATHS)]} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith("http/1.1 200"), head
        await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        waits.append(time.perf_counter() - began)
        turn += 1
    writer.close()


async def readers(port: int, count: int, seconds: float) -> list[float]:
    """The waiting times of `count` readers."""
    waits: list[float] = []
    await asyncio.gather(*(read(port, time.perf_counter() + seconds, waits) for _ in range(count)))
    return waits


def call(port: int, path: str, token: str, data: bytes | None = None) -> dict:
    """An answer of the API."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return dict(json.load(answer))


async def both(port: int, arguments: argparse.Namespace, bundles: list[tuple[str, bytes]]) -> tuple[list[float], list[dict]]:
    """Readers, and the submissions' states when they are decided."""

    turns: dict[str, asyncio.Lock] = collections.defaultdict(asyncio.Lock)

    async def send(token: str, data: bytes) -> dict:
        began = time.perf_counter()
        async with turns[token]:  # one upload of a token at a time
            state = await asyncio.to_thread(call, port, "/api/submissions", token, data)
        while state["state"] in ("queued", "scoring"):
            await asyncio.sleep(0.5)
            state = await asyncio.to_thread(call, port, f"/api/submissions/{state['id']}", token)
        return state | {"seconds": time.perf_counter() - began}

    sent = [asyncio.create_task(send(token, data)) for token, data in bundles]
    waits = await readers(port, arguments.readers, arguments.seconds)
    return waits, list(await asyncio.gather(*sent))


def say(name: str, waits: list[float], seconds: float) -> None:
    """Percentiles in milliseconds."""
    half, late, last = np.percentile(waits, [50, 99, 100]) * 1000
    print(f"{name:28} {len(waits) / seconds:7.0f} answers/s   p50 {half:6.0f} ms   p99 {late:6.0f} ms   slowest {last:6.0f} ms")


def main(words: list[str] | None = None) -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--submitters", type=int, default=10)
    parser.add_argument("--hostile", type=int, default=2, help="submitters whose bundles are all refused")
    parser.add_argument("--models", type=int, default=20, help="on the board before")
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for number in range(arguments.models):
            results(root / "there", f"model{number}", 0.5 + 0.4 * number / arguments.models)
        board = Board(root / "board")
        board.submit(root / "there")
        names = [f"new{number}" for number in range(arguments.submitters)]
        made = [(tokens.create(board.storage, name), pack_bundle(results(root / "new", name, 0.6))) for name in names]
        names = [f"false{number}" for number in range(arguments.hostile)]
        made[:0] = [one for name in names for one in false(board, root / "false", name)]  # they come first
        with served(root / "board") as port:
            count, seconds = arguments.readers, arguments.seconds
            say(f"{count} readers", asyncio.run(readers(port, count, seconds)), seconds)
            waits, states = asyncio.run(both(port, arguments, made))
            say(f"  and {arguments.submitters} + {arguments.hostile} submitters", waits, seconds)
            for name in ("accepted", "refused", "failed"):
                took = sorted(state["seconds"] for state in states if state["state"] == name)
                if took:
                    half = np.median(took)
                    print(f"{len(took)} {name}: decided after {took[0]:.1f} to {took[-1]:.1f} s, half within {half:.1f} s")


def false(board: Board, folder: Path, name: str, count: int = 4) -> list[tuple[str, bytes]]:
    """Bundles of one submitter that claim more than their predictions give."""
    token, found = tokens.create(board.storage, name), []
    for number in range(count):
        place = results(folder, f"{name}-{number}", 0.6)
        facts = json.loads((place / "ks/result.json").read_text())
        facts["scores"]["accuracy"]["value"] = 99.0
        said = read_predictions(place / "ks" / facts["predictions"])
        write_result(place / "ks", Result.model_validate(facts), said)  # with a seal that fits
        found.append((token, pack_bundle(place)))
    return found


@contextlib.contextmanager
def served(board: Path) -> Iterator[int]:
    """`superbench serve` on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-c", START, "serve", "--board", str(board), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError):
                call(port, "/healthz", "")
                break
            time.sleep(0.2)
        yield port
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
