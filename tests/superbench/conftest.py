"""Results to submit to boards: keyword spotting by models of known skill, as `superbench run` would have written them; and
boards that are served."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from superbench.board.board import Board
from superbench.board.storage import tokens
from superbench.contract import Prediction
from superbench.plugins import task
from superbench.results import Result, write_result
from superbench.results.draws import by_episode, interval_over_draws, mean_score
from superbench.results.intervals import interval

WORDS = ("yes", "no")


def said(right: int) -> list[Prediction]:
    """96 predictions; `right` of 48 speakers get their two words right."""
    return [
        Prediction(f"{word}/{n}.wav", "all", (f"s{n}",), word, word if n < right else "stop")
        for n in range(48)
        for word in WORDS
    ]


@functools.cache
def how_sure(right: int) -> tuple[float, float, str]:
    """The interval of `said(right)`: a thousand resamples, the same for every model of that skill."""
    return interval(said(right), task("ks").score(said(right), {})["accuracy"])


def made(
    name: str,
    right: int,
    *,
    protocol: str = "mini",
    fingerprint: str = "f",
    spec: str = "apc@x",
    revision: str = "r",
    **more: Any,
) -> Result:
    """The result of `said(right)`, with the receipts of the recipe's sweep."""
    keywords = task("ks")
    score = keywords.score(said(right), {})["accuracy"]
    low, high, method = how_sure(right)
    rates = keywords.card.recipes[protocol].learning_rates
    facts = {
        "value": score.value, "unit": "%", "higher_is_better": True, "ci": [low, high], "ci_method": method,
        "counts": dict(score.counts),
    }  # fmt: skip
    record = {
        "schema": 1, "task": {"name": "ks", "version": keywords.card.version, "protocol": protocol},
        "upstream": {"name": name, "revision": revision, "params": 10, "hop": 160, "layers": 1, "dim": 4},
        "scores": {"accuracy": facts}, "primary": "accuracy",
        "sweep": [{"fold": "all", "lr": lr, "seed": 0, "dev": 50.0 - i, "steps": 10} for i, lr in enumerate(rates)],
        "chosen": {"all": {"lr": rates[0], "seed": 0, "step": 10, "setting": {}}},
        "data": {"fingerprint": fingerprint, "items": {"test": 96}}, "environment": {"spec": spec},
        "seconds": {"extract": 1, "train": 1, "evaluate": 1}, "predictions": "predictions.jsonl.gz", **more,
    }  # fmt: skip
    return Result.model_validate(record)


@pytest.fixture(scope="session")
def a_result() -> Callable[..., Result]:
    """`made`, for tests."""
    return made


SHOTS = ((1, 10), (5, 10), ("all", 1))
"""K, and how often the examples are drawn."""


def said_at(right: int, shots: Sequence[tuple[Any, int]] = SHOTS) -> list[Prediction]:
    """Predictions at every K: `right` speakers are right at K = 1, four more at each greater K, one more in each third draw."""
    return [
        replace(prediction, k=k, draw=draw)
        for place, (k, draws) in enumerate(shots)
        for draw in range(draws)
        for prediction in said(right + 4 * place + (draw % 3 == 0))
    ]


def made_at(
    name: str,
    right: int,
    *,
    protocol: str = "few-shot",
    shots: Sequence[tuple[Any, int]] = SHOTS,
    controls: dict[str, float] | None = None,
    **more: Any,
) -> Result:
    """The result of `said_at(right)`, with a receipt for each of two hidden states, the first of which is the better one."""
    score = task("ks").score
    drawn = {
        k: [(rows, score(rows, {})["accuracy"]) for rows in draws] for k, draws in by_episode(said_at(right, shots)).items()
    }
    entries, setting = [], {"layer": 0, "centring": "mean"}
    for k, draws in drawn.items():
        low, high, method = interval_over_draws(draws)
        entries.append({"k": k, "draws": len(draws), "setting": setting, "score": mean_score(draws).value, "ci": [low, high],
                        "floor": 100 / 12, "controls": controls or {}})  # fmt: skip
    largest = mean_score(draws)
    facts = {"value": largest.value, "unit": "%", "higher_is_better": True, "ci": [low, high], "ci_method": method,
             "counts": dict(largest.counts)}  # fmt: skip
    sweep = [
        {
            "fold": "all",
            "lr": None,
            "seed": None,
            "dev": 50.0 - layer,
            "steps": 0,
            "setting": {"k": k, **setting, "layer": layer},
        }
        for k in drawn
        for layer in (0, 1)
    ]
    record = made(name, right).model_dump(mode="json", by_alias=True) | {
        "schema": 2, "scores": {"accuracy": facts}, "sweep": sweep, "shots": entries,
        "task": {"name": "ks", "version": task("ks").card.version, "protocol": protocol},
        "chosen": {str(k): {"lr": None, "seed": None, "step": 0, "setting": setting} for k in drawn},
        "upstream": {"name": name, "revision": "r", "params": 10, "hop": 160, "layers": 2, "dim": 4},
        "environment": {"spec": "apc@x", "prepared": "mini"},
    }  # fmt: skip
    return Result.model_validate(record | more)


@pytest.fixture
def a_shot_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write `made_at(...)` with its predictions as `<tmp_path>/<where>/<name>/ks/<protocol>`; returns the upstream's folder."""

    def write(
        name: str, right: int, *, where: str = "results", predictions: list[Prediction] | None = None, **more: Any
    ) -> Path:
        result = made_at(name, right, **more)
        place = tmp_path / where / name.replace("/", "_")
        folder = place / "ks" / result.task.protocol
        folder.mkdir(parents=True, exist_ok=True)
        write_result(folder, result, said_at(right, more.get("shots", SHOTS)) if predictions is None else predictions)
        return place

    return write


@pytest.fixture
def a_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write `made(...)` with its predictions as `<tmp_path>/<where>/<name>/ks`; returns the upstream's folder."""

    def write(
        name: str, right: int, *, where: str = "results", predictions: list[Prediction] | None = None, **more: Any
    ) -> Path:
        place = tmp_path / where / name.replace("/", "_")
        (place / "ks").mkdir(parents=True, exist_ok=True)
        write_result(place / "ks", made(name, right, **more), said(right) if predictions is None else predictions)
        return place

    return write


@pytest.fixture(scope="session")
def forged() -> Callable[..., bytes]:
    """A valid bundle with `change` made to its record of keyword spotting (or of the entry `name`); its manifest fits."""

    def forge(bundle: bytes, change: Callable[[dict[str, Any]], object], name: str = "ks") -> bytes:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        record = json.loads(files[f"{name}/result.json"])
        change(record)
        files[f"{name}/result.json"] = json.dumps(record).encode()
        manifest = json.loads(files.pop("manifest.json"))
        manifest["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        manifest["upstream"] = record["upstream"]["name"]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in {"manifest.json": json.dumps(manifest).encode(), **files}.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    return forge


# ---------------------------------------------------------------- a served board


@dataclass
class Running:
    """A server in a process of its own, and a token for it."""

    address: str
    board: Path
    token: str
    process: Any

    def call(
        self, method: str, path: str, data: bytes | None = None, token: str | None = "", **headers: str
    ) -> tuple[int, Any, Any]:
        """Status, headers, and the body (JSON where it is)."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.token}"
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, _body(answer)
        except urllib.error.HTTPError as error:
            return error.code, error.headers, _body(error)

    def decided(self, identity: str) -> dict[str, Any]:
        """The state of a submission, when it has ended."""
        until = time.monotonic() + 240
        while time.monotonic() < until:
            _, _, state = self.call("GET", f"/api/submissions/{identity}")
            if state["state"] not in ("queued", "scoring"):
                return dict(state)
            time.sleep(0.2)
        raise AssertionError(f"undecided: {state}")

    def names(self) -> list[str]:
        """Models on the page, but for the published ones."""
        _, _, board = self.call("GET", "/api/board", token=None)
        tables = [group for group in board["groups"] if not group["official"]] + board["sections"]
        return sorted({row["name"] for table in tables for row in table["rows"]})

    def shows(self, name: str) -> bool:
        """Does the page show a model, soon? It is drawn after the model was accepted."""
        until = time.monotonic() + 240
        while name not in self.names() and time.monotonic() < until:
            time.sleep(0.2)
        return name in self.names()


def _body(answer: Any) -> Any:
    data = answer.read()
    if answer.headers.get("Content-Encoding") == "gzip":
        data = gzip.decompress(data)
    return json.loads(data) if data and "json" in answer.headers.get("Content-Type", "") else data.decode()


Serving = Callable[..., contextlib.AbstractContextManager[Running]]


@pytest.fixture(scope="session")
def serving(call: Any) -> Serving:
    """`serving(board, *options)` is `superbench serve` on a free port, until the end of the block."""

    @contextlib.contextmanager
    def begun(board: Path, *options: str) -> Iterator[Running]:
        secret = board / "secret"  # a server that was killed has a successor, with the same token
        token = secret.read_text() if secret.is_file() else tokens.create(Board(board).storage, "alice")
        secret.write_text(token)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started = call.start("serve", "--board", str(board), "--port", str(port), *options)
        running = Running(f"http://127.0.0.1:{port}", board, token, started.process)
        try:
            _wait(running, started)
            yield running
        finally:
            started.process.kill()
            started.process.join()

    return begun


def _wait(running: Running, started: Any) -> None:
    until = time.monotonic() + 240
    while time.monotonic() < until:
        assert running.process.exitcode is None, started.ended().stderr
        with contextlib.suppress(OSError):
            if running.call("GET", "/healthz", token=None)[0] == 200:
                return
        time.sleep(0.2)
    raise AssertionError("the server does not answer")


# ---------------------------------------------------------------- PostgreSQL, from the distribution's package


def _as_nobody() -> list[str]:
    """PostgreSQL does not run as root: the words that run a command as its own user."""
    return [] if os.geteuid() else ["runuser", "-u", "postgres", "--"]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of an empty server that lives as long as the tests do, without password, on a socket of its own."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    if not os.geteuid() and not shutil.which("runuser"):
        pytest.skip("PostgreSQL refuses to run as root, and there is no runuser")
    programs = folders[-1]
    home = Path(
        subprocess.run(
            [*_as_nobody(), "mktemp", "-d", "/tmp/pg-XXXXXX"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True, "cwd": "/"}
    initial = [programs / "initdb", "-D", home / "data", "-U", "board", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run([*_as_nobody(), *map(str, initial)], **quiet)
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={home} -c fsync=off"
    control = [*_as_nobody(), str(programs / "pg_ctl"), "-D", str(home / "data"), "-w"]
    subprocess.run([*control, "-l", str(home / "log"), "-o", options, "start"], **quiet)
    try:
        yield f"postgresql://board@127.0.0.1:{port}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
        subprocess.run([*_as_nobody(), "rm", "-rf", str(home)], check=True)


@pytest.fixture
def database(postgresql: str, request: pytest.FixtureRequest) -> str:
    """An empty database of the server."""
    from sqlalchemy import create_engine

    name = f"board_{abs(hash(request.node.nodeid))}"
    engine = create_engine(
        postgresql.replace("postgresql://", "postgresql+psycopg://") + "/postgres", isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return f"{postgresql}/{name}"


@pytest.fixture(params=["folder", "sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a board may live: each kind in turn."""
    if request.param == "folder":
        return str(tmp_path / "board")
    if request.param == "sqlite":
        pytest.importorskip("sqlalchemy", reason="the extra `server` is not installed")
        return f"sqlite:///{tmp_path}/board.db"
    pytest.importorskip("psycopg", reason="the extra `server` is not installed")
    return str(request.getfixturevalue("database"))
