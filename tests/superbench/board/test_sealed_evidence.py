"""Files in a board that this user did not make are not trusted: evidence without a seal, names with paths."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from superbench.board.board import Board
from superbench.board.storage import backup, incoming, sealed_evidence
from superbench.errors import BadResult


def cells(board: Board) -> dict[str, Any]:
    """Returns the values and intervals on the page, by row."""
    return {row["name"]: row["cells"] for group in board.contents()["groups"] for row in group["rows"]}


@pytest.fixture
def own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gives this test its own cache folder, and so its own key."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    return tmp_path / "mine" / "superbench" / "board.key"


@pytest.mark.slow
def test_forged_evidence_is_ignored_and_made_again(
    address: str, a_folder: Callable[..., Path], own_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(address)
    board.submit(a_folder("apc", 20))
    board.submit(a_folder("mfcc", 12))
    honest = cells(board)
    assert own_key.stat().st_mode & 0o077 == 0
    names = board.storage.names("evidence")
    kept = {name: board.storage.get("evidence", name) or b"" for name in names}
    own, other = names
    bare = kept[own][sealed_evidence.SEAL_BYTES :]
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "theirs"))
        assert cells(Board(address)) == honest
    same_bundle = own.rpartition("-")[0]
    (theirs,) = [name for name in board.storage.names("evidence") if name.startswith(same_bundle) and name != own]
    strangers = board.storage.get("evidence", theirs) or b""
    assert strangers[sealed_evidence.SEAL_BYTES :] == bare
    lies = {
        "without a seal": bare,
        "a seal of zeros": bytes(32) + bare,
        "a bit changed": kept[own][:-1] + bytes([kept[own][-1] ^ 1]),
        "another bundle's": kept[other],
        "cut off": kept[own][: len(kept[own]) // 2],
        "nothing": b"",
        "a stranger's seal": strangers,
    }
    for what, lie in lies.items():
        with board.storage.writing() as writer:
            writer.put("evidence", own, lie)
        assert cells(Board(address)) == honest, what
        assert board.storage.get("evidence", own) == kept[own], what


@pytest.mark.slow
def test_who_has_another_key_works_it_out_again_beside_the_first(
    address: str, a_folder: Callable[..., Path], own_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(address)
    board.submit(a_folder("apc", 20))
    honest, before = cells(board), board.storage.names("evidence")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "theirs"))
    assert cells(Board(address)) == honest
    assert len(board.storage.names("evidence")) == 2
    assert set(before) < set(board.storage.names("evidence"))
    board.withdraw("apc")
    assert board.storage.names("evidence") == []


@pytest.mark.slow
def test_a_user_who_can_keep_no_key_has_one_for_the_moment(
    a_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    board = Board(tmp_path / "board")
    board.submit(a_folder("apc", 20))
    assert cells(board)["apc"]["ks.accuracy"]["value"] == pytest.approx(100 * 20 / 48)


# ---------------------------------------------------------------- names in a backup


def changed(file: Path, change: Callable[[dict[str, Any], dict[str, bytes]], object]) -> Path:
    """Changes the list and the files of a backup, and updates every checksum."""
    with zipfile.ZipFile(file) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    head = json.loads(files.pop("board.json"))
    change(head, files)
    head["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    out = file.with_name("changed.zip")
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in {**files, "board.json": json.dumps(head).encode()}.items():
            archive.writestr(name, data)
    return out


def moved(head: dict[str, Any], files: dict[str, bytes], digest: str) -> None:
    files[f"bundles/{digest}.zip"] = files.pop(f"bundles/{head['bundles'][0]['digest']}.zip")
    head["bundles"][0]["digest"] = digest


OUTSIDE: dict[str, Callable[[dict[str, Any], dict[str, bytes]], object]] = {
    "a moment that is a path": lambda head, files: head["bundles"][0].update(accepted="../../../outside/20261124T1"),
    "an absolute moment": lambda head, files: head["bundles"][0].update(accepted="/outside/20261124T180102.000003Z"),
    "a moment that is a number": lambda head, files: head["bundles"][0].update(accepted=7),
    "a digest that is a path": lambda head, files: moved(head, files, "../../outside"),
    "another bundle's digest": lambda head, files: moved(head, files, "a" * 64),
    "another model's name": lambda head, files: head["bundles"][0].update(upstream="hubert"),
    "an owner that is a list": lambda head, files: head["bundles"][0].update(by=["alice"]),
    "a document above": lambda head, files: files.update({"documents/tokens/..": b"x"}),
    "a document elsewhere": lambda head, files: files.update({"documents/tokens/../../outside": b"x"}),
    "a document with two dots": lambda head, files: files.update({"documents/tokens/a..b": b"x"}),
    "a document that is hidden": lambda head, files: files.update({"documents/tokens/.outside": b"x"}),
    "a document of no kind": lambda head, files: files.update({"documents/hooks/outside": b"x"}),
    "a name without end": lambda head, files: files.update({f"documents/tokens/{'a' * 250}": b"x"}),
    "a file of no board": lambda head, files: files.update({"outside": b"x"}),
    "a line of the log that is a list": lambda head, files: head["events"].append([1]),
    "a line of the log with a number": lambda head, files: head["events"][0].update(subject=1),
    "a line of the log with more": lambda head, files: head["events"][0].update(colour="red"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", list(OUTSIDE))
def test_a_backup_with_names_that_no_board_has_restores_nothing(
    what: str, a_folder: Callable[..., Path], tmp_path: Path
) -> None:
    board = Board(tmp_path / "board")
    board.submit(a_folder("apc", 20))
    backup.backup(board.storage, file := tmp_path / "backup.zip")
    forged = changed(file, OUTSIDE[what])
    before = set(tmp_path.rglob("*"))
    for place in (tmp_path / "again", f"sqlite:///{tmp_path}/again.db"):
        with pytest.raises(BadResult, match="Nothing was restored"):
            backup.restore(forged, Board(place).storage)
    assert {path.name for path in set(tmp_path.rglob("*")) - before} <= {"again.db"}
    assert not Board(f"sqlite:///{tmp_path}/again.db").storage.bundles()


def test_a_submission_in_the_queue_whose_name_leads_elsewhere_is_none(address: str, a_folder: Callable[..., Path]) -> None:
    storage = Board(address).storage
    honest = incoming.received("alice", 5, "apc", ("ks",), "d" * 64)
    incoming.keep(storage, honest, b"bytes")
    record = json.loads(storage.get("incoming", f"{honest.id}.json") or b"")
    for number, text in enumerate(
        [json.dumps(record | {"id": "../../outside"}), json.dumps(record | {"tasks": 7}), json.dumps([1]), "{", ""]
    ):
        with storage.writing() as writer:
            writer.put("incoming", f"forged{number}.json", text.encode())
    assert incoming.all_of(storage) == [honest]


def test_a_document_has_a_plain_name(address: str) -> None:
    for name in ("", ".", "..", "a..b", "a/b", "/a", "a\\b", "a\0b", ".a", "-a", "a" * 201, "ä"):
        with pytest.raises(ValueError, match="not a name of a document"), Board(address).storage.writing() as writer:
            writer.put("tokens", name, b"")
