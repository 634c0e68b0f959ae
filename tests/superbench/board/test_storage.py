"""Boards in a folder, SQLite and PostgreSQL: the same table, and complete or no changes with concurrent writers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from superbench.board.board import Board
from superbench.board.bundles.bundle import pack_bundle
from superbench.board.storage import backup as backups, tokens
from superbench.board.storage.base import StoredBundle, now
from superbench.errors import BadResult, CommandError, Conflict, NotAllowed, Refusal


def without_times(contents: dict[str, Any]) -> dict[str, Any]:
    """What a page shows, but for the times of acceptance."""
    for table in [*contents["groups"], *contents["sections"]]:
        for row in table["rows"]:
            row["submissions"] = [{**one, "at": ""} for one in row["submissions"]]
    return contents


@pytest.mark.slow
def test_every_kind_of_board_shows_the_same_table(address: str, a_folder: Callable[..., Path], tmp_path: Path) -> None:
    results = a_folder("apc", 30).parent
    a_folder("mockingjay", 30)
    a_folder("fbank", 12)
    plain, board = Board(tmp_path / "plain"), Board(address)
    receipts = board.submit(results)
    assert [(receipt.upstream, receipt.fresh) for receipt in receipts] == [("apc", True), ("fbank", True), ("mockingjay", True)]
    plain.submit(results)
    assert without_times(board.contents()) == without_times(plain.contents())
    (group, _) = board.contents()["groups"]
    assert [(row["name"], row["cells"]["ks.accuracy"]["place"]) for row in group["rows"]] == [
        ("apc", 1), ("mockingjay", 1), ("fbank", 3),
    ]  # fmt: skip
    assert group["rows"][0]["cells"]["ks.accuracy"]["shared"] == 1


@pytest.mark.slow
def test_the_same_bundle_is_there_once_and_a_replay_is_a_conflict(address: str, a_folder: Callable[..., Path]) -> None:
    board, place = Board(address), a_folder("apc", 20)
    assert [receipt.fresh for receipt in board.submit(place)] == [True]
    assert [receipt.fresh for receipt in board.submit(place)] == [False]
    board.submit(a_folder("apc", 40, where="newer"))
    with pytest.raises(Conflict, match="a bundle is accepted once") as caught:  # nor does an old one come back on top
        board.accept(board.examine(pack_bundle(place)))
    assert (caught.value.status, caught.value.code) == (409, "replayed")
    (result,) = board.results()
    assert result.scores["accuracy"].value == pytest.approx(100 * 40 / 48)
    assert len(board.storage.bundles()) == 2  # history is kept


def test_a_newer_revision_stands_in_place_of_the_older_one(address: str, a_folder: Callable[..., Path]) -> None:
    board = Board(address)
    board.submit(a_folder("apc", 40, revision="old"))
    board.submit(a_folder("apc", 20, revision="new", where="newer"))
    assert [result.upstream.revision for result in board.results()] == ["new"]


@pytest.mark.slow
def test_a_refused_submission_leaves_the_board_as_it_was(
    address: str, a_folder: Callable[..., Path], rewritten: Callable[..., Path]
) -> None:
    board = Board(address)
    board.submit(a_folder("apc", 20))
    before = (board.storage.bundles(), board.storage.events(), board.contents())
    boast = rewritten(a_folder("boast", 30, where="false"), lambda record: record["scores"]["accuracy"].update(value=99.0))
    with pytest.raises(
        Refusal, match=r"boast: ks: accuracy computed from its predictions is 62\.5000; the result claims 99\.0000"
    ):
        board.submit(boast)
    assert (board.storage.bundles(), board.storage.events(), board.contents()) == before


@pytest.mark.slow
def test_an_error_inside_a_write_takes_all_of_it_back(database: str, tmp_path: Path, a_folder: Callable[..., Path]) -> None:
    for address in (f"sqlite:///{tmp_path}/board.db", database):
        board = Board(address)
        board.submit(a_folder("apc", 20))
        with contextlib.suppress(RuntimeError), board.storage.writing() as writer:
            writer.put("labels", "half", b"half")
            raise RuntimeError
        assert "half" not in board.storage.names("labels")


@pytest.mark.slow
def test_ten_submitters_at_once_are_all_accepted_and_readers_never_see_half(
    address: str, a_folder: Callable[..., Path]
) -> None:
    bundles = [pack_bundle(a_folder(f"model{n}", 10 + n)) for n in range(10)]
    Board(address).submit(a_folder("first", 9, where="first"))
    errors: list[BaseException] = []
    seen: list[int] = []

    def submit(data: bytes) -> None:
        try:
            board = Board(address)
            board.accept(board.examine(data), by="")
            board.storage.close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=submit, args=(data,)) for data in bundles]
    for thread in threads:
        thread.start()
    reader = Board(address)
    while any(thread.is_alive() for thread in threads):
        seen.append(len(reader.results()))
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(seen) == seen
    assert len(reader.results()) == 11
    assert sum(event.what == "accepted" for event in reader.storage.events()) == 11


SUBMITTER = """
import sys
from pathlib import Path
from superbench.board.board import Board
board = Board(sys.argv[1])
for path in sys.argv[2:]:
    receipt = board.accept(board.examine(Path(path).read_bytes()))
    print(receipt.digest, flush=True)
"""


@pytest.mark.slow
def test_what_was_accepted_survives_a_kill(address: str, a_folder: Callable[..., Path], tmp_path: Path) -> None:
    files = []
    for number in range(30):
        files.append(tmp_path / f"{number}.zip")
        files[-1].write_bytes(pack_bundle(a_folder(f"model{number}", number)))
    command = [sys.executable, "-c", SUBMITTER, address, *map(str, files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=os.getcwd()) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(4)]
        os.kill(process.pid, signal.SIGKILL)
        told += process.stdout.read().split()
    board = Board(address)
    held = [one.digest for one in board.storage.bundles()]
    assert all(any(digest.startswith(one) for one in held) for digest in told if len(digest) == 64)
    assert len(board.results()) == len(held)
    (group, _), refused = board.contents()["groups"], board.contents()["refused"]
    assert (len(group["rows"]), refused) == (len(held), [])


@pytest.mark.slow
def test_names_belong_to_the_token_that_used_them_first(address: str, a_folder: Callable[..., Path]) -> None:
    board = Board(address)
    board.accept(board.examine(pack_bundle(a_folder("apc", 20))), by="alice")
    with pytest.raises(Conflict, match="belongs to somebody else"):
        board.accept(board.examine(pack_bundle(a_folder("apc", 40, where="other"))), by="mallory")
    board.accept(board.examine(pack_bundle(a_folder("apc", 30, where="newer"))), by="alice")
    assert [one.by for one in board.storage.bundles()] == ["alice", "alice"]


def test_tokens_are_kept_as_digests_and_can_be_revoked(address: str) -> None:
    board = Board(address)
    secret = tokens.create(board.storage, "alice")
    assert tokens.owner(board.storage, secret) == "alice"
    stored = b"".join(board.storage.get("tokens", name) or b"" for name in board.storage.names("tokens"))
    assert secret.encode() not in stored
    with pytest.raises(CommandError, match="already"):
        tokens.create(board.storage, "alice")
    for wrong in (None, "", "sb_wrong", secret[:-1], "x" * 1000, "sb_\x00"):
        with pytest.raises(NotAllowed) as caught:
            tokens.owner(board.storage, wrong)
        assert caught.value.status == 401
    tokens.revoke(board.storage, "alice")
    with pytest.raises(NotAllowed, match="revoked"):
        tokens.owner(board.storage, secret)
    assert [event.what for event in board.storage.events()] == ["token created", "token revoked"]


@pytest.mark.slow
def test_a_backup_brings_everything_back_into_any_kind_of_board(
    address: str, a_folder: Callable[..., Path], tmp_path: Path
) -> None:
    board = Board(address)
    board.accept(board.examine(pack_bundle(a_folder("apc", 20))), by="alice")
    board.submit(a_folder("mfcc", 12))
    secret = tokens.create(board.storage, "alice")
    file = tmp_path / "backup.zip"
    assert backups.backup(board.storage, file).bundles == 2
    for other in (tmp_path / "again", f"sqlite:///{tmp_path}/again.db"):
        restored = Board(other)
        backups.restore(file, restored.storage)
        assert restored.contents() == board.contents()
        assert tokens.owner(restored.storage, secret) == "alice"
        assert [one.by for one in restored.storage.bundles()] == ["alice", ""]
        assert restored.storage.events()[:-1] == board.storage.events()
        with pytest.raises(CommandError, match="contains a board already"):
            backups.restore(file, restored.storage)
    damaged = bytearray(file.read_bytes())
    damaged[200] ^= 1
    file.write_bytes(bytes(damaged))
    with pytest.raises(BadResult, match="Nothing was restored"):
        backups.restore(file, Board(tmp_path / "third").storage)
    assert not (tmp_path / "third").exists()


# ---------------------------------------------------------------- folders and addresses


@pytest.mark.slow
def test_a_bundle_that_was_put_into_the_folder_by_hand_is_scored_before_it_is_shown(
    tmp_path: Path, a_folder: Callable[..., Path], rewritten: Callable[..., Path]
) -> None:
    board = Board(tmp_path / "board")
    board.submit(a_folder("apc", 20))
    boast = rewritten(a_folder("boast", 30), lambda record: record["scores"]["accuracy"].update(value=99.0))
    (tmp_path / "board" / "bundles" / "boast.zip").write_bytes(pack_bundle(boast))
    (tmp_path / "board" / "bundles" / "fine.zip").write_bytes(pack_bundle(a_folder("fine", 30, where="fine")))
    (tmp_path / "board" / "bundles" / "junk.zip").write_bytes(b"junk")
    found = board.contents()
    assert sorted(row["name"] for row in found["groups"][0]["rows"]) == ["apc", "fine"]
    assert [reason.partition(":")[0].rpartition("/")[2] for reason in found["refused"]] == ["junk.zip", "boast"]


@pytest.mark.slow
def test_a_folder_without_its_hidden_files_shows_the_same(tmp_path: Path, a_folder: Callable[..., Path]) -> None:
    """The files that git keeps are enough."""
    import shutil

    board = Board(tmp_path / "board")
    board.submit(a_folder("apc", 20).parent)
    before = board.contents()
    for name in (".evidence", ".lock"):
        shutil.rmtree(tmp_path / "board" / name) if (tmp_path / "board" / name).is_dir() else (
            tmp_path / "board" / name
        ).unlink()
    assert board.contents() == before


@pytest.mark.slow
def test_scores_are_computed_again_once(address: str, a_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from superbench.board.page import shown_results

    board = Board(address)
    board.submit(a_folder("apc", 20))
    board.contents()

    def never(*arguments: Any) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr(shown_results, "examine_entry", never)
    assert board.contents()["groups"][0]["rows"][0]["name"] == "apc"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://example.org/board", "only its keeper"),
        ("mysql://somewhere/board", "expected a folder"),
        ("postgresql://host:port/board", "not an address of a database"),
    ],
)
def test_an_address_that_is_none_says_so(address: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        Board(address)


def test_a_database_that_is_not_running_is_said_in_a_sentence_without_its_password() -> None:
    from superbench.errors import StoreError

    with pytest.raises(StoreError, match="Is it running") as caught:
        Board("postgresql://me:secret@127.0.0.1:1/board").storage.bundles()
    assert "secret" not in str(caught.value)


def test_a_bundle_that_cannot_be_read_is_left_out_of_a_backup_and_said(
    address: str, a_folder: Callable[..., Path], tmp_path: Path, call: Any
) -> None:
    board = Board(address)
    board.submit(a_folder("apc", 30))
    with board.storage.writing() as writer:
        writer.add(StoredBundle("ab" * 32, "junk", now()), b"junk")
    file, other = tmp_path / "saved.zip", Board(tmp_path / "other")
    found = backups.backup(board.storage, file)
    assert (found.bundles, len(found.left_out)) == (1, 1)
    assert found.left_out[0].startswith("junk (abababababab): ")
    assert backups.restore(file, other.storage).bundles == 1
    assert [result.upstream.name for result in other.results()] == ["apc"]
