"""Submitting several bundles: a refused one does not stop the others, and the sum says which are on the board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from superbench.board.acceptance import SubmissionReceipt
from superbench.board.board import Board
from superbench.board.bundles.bundle import pack_bundle
from superbench.board.outcome import Outcome
from superbench.board.server.client import ServedBoard
from superbench.board.storage.folder import FolderStorage
from superbench.errors import BadResult, Conflict, Refusal, Unavailable


@pytest.mark.slow
def test_a_refused_bundle_does_not_stop_the_others(
    address: str, a_folder: Callable[..., Path], rewritten: Callable[..., Path]
) -> None:
    board = Board(address)
    for name in ("apc", "liar", "tera"):
        folder = a_folder(name, 30)
    rewritten(folder.parent / "liar", lambda record: record["scores"]["accuracy"].update(value=99.0))
    told: list[SubmissionReceipt] = []
    said = r"did not accept 1 of 3 bundles. On the board: apc, tera. Not on the board: liar: ks: .*62.5"
    with pytest.raises(Refusal, match=said):
        board.submit(folder.parent, told=told.append)
    assert [(receipt.upstream, receipt.fresh) for receipt in told] == [("apc", True), ("tera", True)]
    assert [stored.upstream for stored in board.storage.bundles()] == ["apc", "tera"]
    assert sorted(result.upstream.name for result in board.results()) == ["apc", "tera"]
    assert [(one.what, one.remark) for one in board.storage.events()] == [("accepted", "apc: ks"), ("accepted", "tera: ks")]
    told.clear()
    a_folder("liar", 30)  # made again, honestly
    assert [receipt.fresh for receipt in board.submit(folder.parent, told=told.append)] == [False, True, False]
    assert [receipt.upstream for receipt in told] == ["apc", "liar", "tera"]


@pytest.mark.slow
def test_an_edited_result_does_not_stop_the_others(tmp_path: Path, a_folder: Callable[..., Path]) -> None:
    for name in ("apc", "edited", "tera"):
        folder = a_folder(name, 30)
    file = folder.parent / "edited/ks/result.json"
    file.write_text(file.read_text().replace('"accuracy"', '"exactness"'))
    board = Board(tmp_path / "board")
    said = r"did not accept 1 of 3 bundles. On the board: apc, tera. Not on the board: edited: .*content has changed"
    with pytest.raises(Refusal, match=said):
        board.submit(folder.parent)
    assert [stored.upstream for stored in board.storage.bundles()] == ["apc", "tera"]


@pytest.mark.slow
def test_an_error_of_the_storage_says_what_was_accepted_before_it(
    tmp_path: Path, a_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("apc", "mfcc", "tera"):
        folder = a_folder(name, 30)
    add = FolderStorage.add

    def full(self: FolderStorage, stored: Any, data: bytes) -> Any:
        if stored.upstream == "mfcc":
            raise Unavailable("No space left.")
        return add(self, stored, data)

    monkeypatch.setattr(FolderStorage, "add", full)
    with pytest.raises(Unavailable, match=r"No space left. On the board: apc. 2 of 3 bundles are undecided or were not sent."):
        Board(tmp_path / "board").submit(folder.parent)


def test_the_sum_says_what_is_on_the_board_and_what_is_not() -> None:
    outcome = Outcome("http://host", 2, accepted=["apc"])
    outcome.refuse("liar", Refusal("422 score: wrong.", "score"))
    with pytest.raises(Refusal) as caught:
        outcome.require_accepted()
    assert str(caught.value) == (
        "http://host did not accept 1 of 2 bundles. On the board: apc. Not on the board: liar: 422 score: wrong."
    )
    Outcome("board", 1, accepted=["apc"]).require_accepted()


def clocked(place: Path, rewritten: Callable[..., Path]) -> Path:
    """The same results as another person gets them: only the clocks differ."""
    return rewritten(place, lambda record: record["seconds"].update(extract=7.5))


@pytest.mark.slow
def test_a_shared_baseline_counts_once_and_its_second_sender_is_told(
    address: str, a_folder: Callable[..., Path], rewritten: Callable[..., Path]
) -> None:
    board = Board(address)
    board.accept(board.examine(pack_bundle(a_folder("fbank", 20, where="alice"))), "alice")
    a_folder("apc", 30, where="bob")
    own = clocked(a_folder("fbank", 20, where="bob"), rewritten)
    assert pack_bundle(own) != pack_bundle(a_folder("fbank", 20, where="alice"))
    with pytest.raises(Conflict, match=r"on this board already, with the same predictions, submitted by alice at") as caught:
        board.accept(board.examine(pack_bundle(own)), "bob")
    assert (caught.value.status, caught.value.code) == (409, "present")
    receipts = board.submit(own.parent, by="bob")
    assert sorted((receipt.upstream, receipt.fresh) for receipt in receipts) == [("apc", True), ("fbank", False)]
    assert [(one.upstream, one.by) for one in board.storage.bundles()] == [("fbank", "alice"), ("apc", "bob")]
    board.accept(board.examine(pack_bundle(own)), "alice")  # her own newer version
    assert len(board.history("fbank")) == 2


def test_over_http_the_last_lines_say_which_are_on_the_board(
    tmp_path: Path, serving: Callable[..., Any], call: Any, a_folder: Callable[..., Path], rewritten: Callable[..., Path]
) -> None:
    place = tmp_path / "board"
    board = Board(place)
    board.accept(board.examine(pack_bundle(a_folder("mfcc", 20, where="others"))), "bob")
    for name in ("apc", "mfcc", "tera"):
        folder = a_folder(name, 30)
    board.accept(board.examine(pack_bundle(clocked(a_folder("fbank", 20, where="others"), rewritten))), "bob")
    a_folder("fbank", 20)
    with serving(place) as server:
        done = call("submit", str(folder.parent), "--board", server.address, "--token", server.token)
        assert done.returncode == 1
        assert (
            "On the board: apc, fbank, tera. Not on the board: mfcc: 409 name: The name 'mfcc' belongs to somebody"
            in " ".join(done.stderr.split())
        )
        assert "fbank: already on the board" in done.stdout
        assert "submitted by bob" in " ".join(done.stdout.split())
        assert server.names() == ["apc", "fbank", "mfcc", "tera"]
        again = call("submit", str(folder), "--board", server.address, "--token", server.token)
        assert (again.returncode, "tera: already on the board" in again.stdout) == (0, True)
        with pytest.raises(BadResult, match=r"\(401\). token: The token is unknown") as caught:
            list(ServedBoard(server.address, "sb_wrong").submit(folder.parent))
        assert not isinstance(caught.value, Refusal)  # it stops at once: the token is wrong for all
