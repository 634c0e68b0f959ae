"""Submissions of a token that is revoked before they are decided."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from superbench.board.board import Board
from superbench.board.bundles.bundle import open_bundle, pack_bundle
from superbench.board.storage import incoming, tokens
from superbench.board.storage.base import Storage
from superbench.board.storage.incoming import Submission
from superbench.errors import NotAllowed


def queued(storage: Storage, data: bytes, by: str, secret: str) -> Submission:
    """Puts a bundle into the queue, as a server does that receives it."""
    bundle = open_bundle(data)
    new = incoming.received(by, len(data), bundle.upstream, tuple(bundle.entries), bundle.digest, tokens.digest_of(secret))
    incoming.keep(storage, new, data)
    return new


@pytest.mark.slow
def test_what_a_revoked_token_sent_is_not_accepted(address: str, a_folder: Callable[..., Path]) -> None:
    board = Board(address)
    secret, other = tokens.create(board.storage, "bob"), tokens.create(board.storage, "alice")
    data = [pack_bundle(a_folder(f"model{n}", 20 + n)) for n in range(3)]
    waiting = [queued(board.storage, one, "bob", secret) for one in data]
    queued(board.storage, pack_bundle(a_folder("apc", 30)), "alice", other)
    board.accept(board.examine(data[0]), "bob", waiting[0].token)
    incoming.update(board.storage, waiting[0].end("accepted", 200))
    assert "token" not in waiting[0].public()
    assert tokens.revoke(board.storage, "bob") == 2
    with pytest.raises(NotAllowed, match="its token was revoked") as caught:
        board.accept(board.examine(data[1]), "bob", waiting[1].token)
    assert (caught.value.status, caught.value.code) == (403, "revoked")
    renewed = tokens.create(board.storage, "bob")  # another token of the same name
    with pytest.raises(NotAllowed, match="its token was revoked"):
        board.accept(board.examine(data[2]), "bob", waiting[2].token)
    assert [stored.upstream for stored in board.storage.bundles()] == ["model0"]
    board.accept(board.examine(data[1]), "bob", tokens.digest_of(renewed))
    assert [stored.upstream for stored in board.storage.bundles()] == ["model0", "model1"]


def test_a_server_refuses_what_waits_when_its_token_is_revoked(
    tmp_path: Path, serving: Callable[..., Any], call: Any, a_folder: Callable[..., Path]
) -> None:
    board = Board(tmp_path / "board")
    secret = tokens.create(board.storage, "bob")
    waiting = [queued(board.storage, pack_bundle(a_folder(f"model{n}", 20 + n)), "bob", secret) for n in range(2)]
    done = call("token", str(tmp_path / "board"), "--revoke", "bob")
    assert "2 undecided submissions" in done.stdout
    with serving(tmp_path / "board") as server:
        _, _, state = server.call("POST", "/api/submissions", pack_bundle(a_folder("apc", 30)))
        assert server.decided(state["id"])["state"] == "accepted"
        until = [incoming.read(board.storage, one.id) for one in waiting]
        while any(one is None or one.pending for one in until):
            until = [incoming.read(board.storage, one.id) for one in waiting]
        assert {(one.state, one.status, one.code) for one in until if one} == {("refused", 403, "revoked")}
        assert server.names() == ["apc"]
    assert [(one.who, one.what) for one in board.storage.events() if one.what == "refused"] == [("bob", "refused")] * 2
