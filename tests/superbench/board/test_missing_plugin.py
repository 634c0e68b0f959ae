"""A bundle of a task that this machine has not: its row stays, and the page names the plugin."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import doubles
import pytest
from typer.testing import CliRunner

from superbench import plugins
from superbench.board.board import Board
from superbench.board.bundles.bundle import pack_bundle
from superbench.cli.app import app
from superbench.errors import Refusal
from superbench.plugins import entry_points as registry


@pytest.fixture
def without_sid(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the task sid unknown, as on a machine without the plugin that brings it."""

    def hide() -> None:
        def known(**selection: Any) -> Any:
            found = entry_points(**selection)
            return type(found)(point for point in found if point.name != "sid")

        monkeypatch.setattr(registry, "entry_points", known)

    return hide


def filled(board: Board, a_folder: Callable[..., Path], a_result: Callable[..., Any]) -> None:
    """Three rows: with a known task, with an unknown one beside it, and with an unknown one alone."""
    board.submit(a_folder("plain", 24))
    both = doubles.with_emotions(a_folder("both", 20), a_result, "both", 30, environment={"plugin": "colleague-sid 2.0"})
    board.submit(both)
    only = doubles.with_emotions(a_folder("only", 20, where="only-sid"), a_result, "only", 40)
    for file in (only / "ks").iterdir():
        file.unlink()
    board.submit(only)


@pytest.mark.slow
def test_the_rows_of_an_unknown_task_stay_with_the_columns_known_here(
    address: str, a_folder: Callable[..., Path], a_result: Callable[..., Any], without_sid: Callable[[], None], tmp_path: Path
) -> None:
    board = Board(address)
    filled(board, a_folder, a_result)
    assert board.contents()["missing"] == []
    without_sid()
    assert "sid" not in plugins.tasks()
    shown = board.contents()
    rows = {row["name"]: row for group in shown["groups"] if not group["official"] for row in group["rows"]}
    assert {name: (sorted(row["cells"]), row["tasks"]) for name, row in rows.items()} == {
        "plain": (["ks.accuracy"], 1), "both": (["ks.accuracy"], 1), "only": ([], 0),
    }  # fmt: skip
    assert rows["only"]["rank"] is None
    assert shown["refused"] == []
    assert shown["missing"] == [{"task": "sid", "plugin": "colleague-sid 2.0", "rows": ["both", "only"]}]
    assert {one.state for one in board.history()} == {"stands"}
    done = CliRunner().invoke(app, ["board", address, "--out", str(tmp_path / "page.html")])
    assert (done.exit_code, "Install the plugin colleague-sid 2.0" in " ".join(done.output.split())) == (0, True), done.output
    assert json.dumps("colleague-sid 2.0") in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_a_submission_of_an_unknown_task_is_refused_and_the_others_go_on(
    tmp_path: Path, a_folder: Callable[..., Path], a_result: Callable[..., Any], without_sid: Callable[[], None]
) -> None:
    place = doubles.with_emotions(a_folder("apc", 20), a_result, "apc", 30)
    a_folder("tera", 20)
    without_sid()
    board = Board(tmp_path / "board")
    with pytest.raises(Refusal, match=r"On the board: tera. Not on the board: apc: sid: No task is called 'sid'"):
        board.submit(place.parent)
    assert [one.upstream for one in board.storage.bundles()] == ["tera"]
    with pytest.raises(Refusal, match="No task is called 'sid'"):
        board.examine(pack_bundle(place))
