"""Every command in the README and in the documentation is run as it stands there, in one folder, one after another.

Commands that need real corpora, weights from a hub, a database server or another machine cannot be run here (`NOT_HERE`): of
these, the command and every option must exist. So must those of commands inside sentences, targets of make and extras of pip.
`bring_your_own_model.md` and `add_a_task.md` have tests of their own, notebooks too.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer

from superbench.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("quickstart", "many_machines", "boards"))]
"""Their commands build on each other, in this order."""

OTHERS = sorted({*ROOT.glob("docs/**/*.md"), ROOT / "CONTRIBUTING.md"} - set(PAGES))
TRIED_ELSEWHERE = {"bring_your_own_model.md", "add_a_task.md", "own_corpus.md"}
NOT_HERE = ("/corpora", "hf/", "torchaudio/", "hf_", "postgresql://", "results-1")
EXPECTED = {
    "superbench data check --data mini --tasks ks": "complete",
    "superbench check apc@apc.safetensors": "keeps the contract",
    "superbench report results": "KS accuracy",
    "superbench report results --format latex": r"\\toprule",
    "superbench report results --format markdown": r"\| Keyword spotting \|",
    "superbench diff results/apc results/fbank_no_cmvn --tasks ks": "accuracy",
    "superbench diff results/apc published:APC": "published",
    "superbench submit results --board board": "accepted",
    "superbench submit results --board http://127.0.0.1:8000 --token TOKEN": "apc: ks accepted",
    "superbench token team.db --list": "alice",
    "superbench store ls --store store": r"[1-9]\d* shards",
    "superbench references board": "ks-",
    "superbench board history board": "apc",
}
"""What a command says at least; all others need to succeed, no more."""


def blocks(page: Path, *kinds: str) -> Iterator[str]:
    """The fenced blocks of these languages."""
    for kind, text in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        if kind in kinds:
            yield text


def shown(page: Path) -> list[str]:
    """The commands in a page's blocks; a block that begins with anything else is output."""
    found = []
    for text in blocks(page, "", "bash"):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if lines[0].split()[0] in ("superbench", "make", "pip"):
            found += lines
    return found


def mentioned(page: Path) -> list[str]:
    """The commands inside sentences."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    spans = [" ".join(span.split()) for span in re.findall(r"`(superbench [^`]+)`", prose)]
    return [span for span in spans if span != "superbench COMMAND --help"]


# ---------------------------------------------------------------- what must exist


def require_existing(text: str) -> None:
    """The command and each of its options exist."""
    command: Any = typer.main.get_command(app)
    words = shlex.split(text.replace("…", ""))[1:]
    for number, word in enumerate(words):
        if not hasattr(command, "commands"):
            break
        child = command.commands.get(word) or (command.commands.get("page") if number else None)
        assert child is not None, f"{text}: there is no command {word!r}"
        command = child
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help", "--debug"}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in options, f"{text}: there is no option {word}"


def require_target(text: str) -> None:
    """The Makefile has the target: `make -n` fails for one that it lacks."""
    done = subprocess.run(["make", "-n", *shlex.split(text)[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{text}: {done.stderr}"


def require_installable(text: str) -> None:
    """Files and extras that pip is given exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    words = shlex.split(text)
    assert words[:2] == ["pip", "install"]
    assert set(re.findall(r"[a-z]+", words[-1].partition("[")[2])) <= set(extras), text
    assert all((ROOT / after).is_file() for word, after in itertools.pairwise(words) if word == "-c")


# ---------------------------------------------------------------- what is run


@dataclass
class World:
    """The folder of a person who types all commands; each is run once, however many pages show it."""

    folder: Path
    call: Any
    done: dict[str, str] = field(default_factory=dict)
    server: Any = None
    port: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """That of somebody whose home is the folder."""
        home = str(self.folder)
        return {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": f"{home}/cache", "OMP_NUM_THREADS": "1", "HOME": home}

    def type(self, text: str) -> None:
        """Run a command; it succeeds and says what is expected of it."""
        if text in self.done:
            return
        if text.startswith("superbench serve"):
            self.done[text] = self._serve(shlex.split(text))
            return
        actual = text.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        if "TOKEN" in actual:
            actual = actual.replace("TOKEN", self.done["superbench token team.db --name alice --create"].strip())
        ended = self.call(*shlex.split(actual)[1:], folder=self.folder, environment=self.environment)
        assert ended.returncode == 0, f"{text}: {ended.stderr[-2000:]}{ended.stdout[-1000:]}"
        assert re.search(EXPECTED.get(text, ""), ended.stdout), f"{text} said: {ended.stdout[-2000:]}"
        self.done[text] = ended.stdout

    def _serve(self, words: list[str]) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.server = self.call.start(*words[1:], "--port", str(self.port), folder=self.folder, environment=self.environment)
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/docs", timeout=5) as answer:
                    return str(answer.read().decode())
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"{' '.join(words)} does not answer")

    def python(self, code: str) -> str:
        """Run a snippet as a script."""
        (self.folder / "snippet.py").write_text(code)
        ended = subprocess.run(
            [sys.executable, "snippet.py"], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=400,
            check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-2000:]
        return ended.stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, call: Callable[..., Any]) -> Iterator[World]:
    """An empty folder; the demo's files are what the first day's commands make."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "demo").mkdir()
    (folder / "demo" / "data").symlink_to(folder / "mini")
    (folder / "demo" / "apc.safetensors").symlink_to(folder / "apc.safetensors")
    found = World(folder, call)
    yield found
    if found.server is not None:
        os.kill(found.server.process.pid, signal.SIGTERM)
        found.server.ended(30)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page(world: World, page: Path) -> None:
    commands = shown(page)
    assert len(commands) >= 4
    for text in commands:
        if text.startswith("make "):
            require_target(text)
        elif text.startswith("pip "):
            require_installable(text)
        else:
            require_existing(text)
            if not any(sign in text for sign in NOT_HERE):
                world.type(text)
    for code in blocks(page, "python"):
        printed = world.python(code.replace('"ks,ic"', '"ks"').replace('"fbank"', '"fbank_no_cmvn"'))  # what was run already
        assert re.search(r"^apc ks \d", printed, re.MULTILINE), printed


def test_pages_were_written_and_every_expectation_was_met(world: World) -> None:
    assert set(EXPECTED) <= set(world.done)
    for name in ("board.html", "results-board.html", "copy.html"):
        assert (world.folder / name).read_text().startswith("<!doctype html>")
    assert "/api/submissions" in world.done["superbench serve --board team.db"]


@pytest.mark.slow
@pytest.mark.parametrize("page", OTHERS, ids=lambda page: page.stem)
def test_the_other_pages_show_commands_that_exist(page: Path) -> None:
    for text in shown(page):
        require_existing(text)
        assert page.name in TRIED_ELSEWHERE or any(sign in text for sign in NOT_HERE), f"{page.name}: nobody runs {text}"


@pytest.mark.slow
@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.stem)
def test_commands_inside_sentences_exist(page: Path) -> None:
    for text in mentioned(page):
        require_existing(text)


def test_a_command_that_is_not_there_is_found() -> None:
    for wrong in ("superbench reprot results", "superbench report results --fromat latex", "superbench data sinth"):
        with pytest.raises(AssertionError, match="there is no"):
            require_existing(wrong)
    with pytest.raises(AssertionError, match="make everything"):
        require_target("make everything")


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
