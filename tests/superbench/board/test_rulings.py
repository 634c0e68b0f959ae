"""Who owns a row, which of its versions is shown, and how the keeper withdraws it: on every storage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import doubles
import pytest

from superbench.board.board import Board
from superbench.board.bundles.bundle import open_bundle, pack_bundle
from superbench.board.bundles.lookalikes import namesake, require_legible
from superbench.board.storage import backup as backups
from superbench.board.storage.base import StoredBundle, now
from superbench.errors import CommandError, Conflict, Malformed, UnknownName
from superbench.results import Result


def accept(board: Board, folder: Path, by: str = "") -> None:
    board.accept(board.examine(pack_bundle(folder)), by)


def names(board: Board) -> list[str]:
    return sorted(row["name"] for group in board.contents()["groups"] if not group["official"] for row in group["rows"])


# ---------------------------------------------------------------- owners


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [("", "alice"), ("alice", ""), ("alice", "bob")])
def test_nobody_takes_anothers_row(first: str, second: str, address: str, a_folder: Callable[..., Path]) -> None:
    """Rows without a token belong to the keeper."""
    board = Board(address)
    accept(board, a_folder("apc:base", 20), first)
    before = (board.contents(), board.storage.bundles())
    with pytest.raises(Conflict, match=r"belongs to (somebody else|the board's keeper)") as caught:
        accept(board, a_folder("apc:base", 40, where="other"), second)
    assert (caught.value.status, caught.value.code) == (409, "name")
    assert (board.contents(), board.storage.bundles()) == before
    accept(board, a_folder("apc:base", 40, where="other"), first)  # its owner may


@pytest.mark.slow
def test_a_revision_with_fewer_tasks_takes_the_place_of_these_alone(
    address: str, a_folder: Callable[..., Path], a_result: Callable[..., Result]
) -> None:
    board = Board(address)
    accept(board, doubles.with_emotions(a_folder("apc", 20, revision="one"), a_result, "apc", 30, revision="one"), "alice")
    accept(board, a_folder("apc", 40, revision="two", where="newer"), "alice")
    assert sorted((one.task.name, one.upstream.revision) for one in board.results()) == [("ks", "two"), ("sid", "one")]
    rows = [(row["name"], row["revision"], sorted(row["cells"])) for row in board.contents()["groups"][0]["rows"]]
    assert sorted(rows) == [("apc", "one", ["sid.accuracy"]), ("apc", "two", ["ks.accuracy"])]  # a row is one model
    told = [(one.revision, one.tasks, one.standing, one.state) for one in board.history("apc")]
    assert told == [("one", ("ks", "sid"), ("sid",), "stands"), ("two", ("ks",), ("ks",), "stands")]
    board.withdraw(board.history("apc")[1].digest)
    assert sorted((one.task.name, one.upstream.revision) for one in board.results()) == [("ks", "one"), ("sid", "one")]


# ---------------------------------------------------------------- withdrawing


@pytest.mark.slow
def test_a_row_that_was_withdrawn_is_gone_stays_in_the_history_and_does_not_come_back(
    address: str, a_folder: Callable[..., Path]
) -> None:
    board = Board(address)
    for name in ("apc", "tera"):
        accept(board, a_folder(name, 20), "alice")
    accept(board, a_folder("apc", 30, where="newer"), "alice")
    gone = board.withdraw("apc", by="root", why="trained on the test set")
    assert (names(board), len(gone)) == (["tera"], 2)
    assert [one.state for one in board.history("apc")] == ["withdrawn", "withdrawn"]
    assert board.history("apc")[0].why.endswith("by root: trained on the test set")
    assert [(one.who, one.what) for one in board.storage.events()][-2:] == [("root", "withdrawn")] * 2
    for again in (lambda: accept(board, a_folder("apc", 20), "alice"), lambda: board.submit(a_folder("apc", 20))):
        with pytest.raises(Conflict) as caught:
            again()
        assert caught.value.code == "withdrawn"
    with pytest.raises(CommandError, match="withdrawn already"):
        board.withdraw("apc")
    with pytest.raises(UnknownName, match="Did you mean tera"):
        board.withdraw("terra")
    accept(board, a_folder("apc", 40, where="another"), "bob")  # the name is free
    assert names(board) == ["apc", "tera"]
    board.withdraw("tera")
    board.withdraw("apc")
    assert names(board) == []


@pytest.mark.slow
def test_a_single_version_is_withdrawn_by_its_digest(address: str, a_folder: Callable[..., Path]) -> None:
    board = Board(address)
    accept(board, a_folder("apc", 20))
    accept(board, a_folder("apc", 30, where="newer"))
    newest = open_bundle(pack_bundle(a_folder("apc", 30, where="newer"))).digest
    assert [one.digest[:12] for one in board.withdraw(newest[:8])] == [newest[:12]]
    assert board.results()[0].scores["accuracy"].value == pytest.approx(100 * 20 / 48)


def named_like_a_digest(board: Board, name: str, a_folder: Callable[..., Path], forged: Callable[..., bytes]) -> None:
    """Adds a row whose name earlier versions accepted."""
    data = forged(pack_bundle(a_folder("any", 40)), lambda record: record["upstream"].update(name=name))
    with board.storage.writing() as writer:
        writer.add(StoredBundle(open_bundle(data).digest, name, now(), "bob"), data)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["80be01e914c8", "80BE01E9", "20261129", "８０ｂｅ０１ｅ９", "0" * 64, "a" * 65])
def test_a_name_like_a_digest_is_refused(name: str, tmp_path: Path, a_folder: Callable[..., Path]) -> None:
    board = Board(tmp_path)
    with pytest.raises(Conflict, match="looks like the digest of a bundle") as caught:
        accept(board, a_folder(name, 30), "bob")
    assert (caught.value.status, caught.value.code) == (409, "name")
    accept(board, a_folder("facade", 30), "bob")
    accept(board, a_folder("80be01e914c8-large", 31), "bob")
    assert names(board) == ["80be01e914c8-large", "facade"]


@pytest.mark.slow
def test_a_withdrawal_that_fits_a_name_and_a_digest_removes_neither(
    address: str, a_folder: Callable[..., Path], forged: Callable[..., bytes]
) -> None:
    board = Board(address)
    accept(board, a_folder("apc", 20), "alice")
    digest = board.history("apc")[0].digest
    assert len(digest) == 64
    named_like_a_digest(board, digest[:12], a_folder, forged)
    with pytest.raises(Conflict, match=rf"fits 2 bundles: apc \({digest[:12]}, .*{digest[:12]} \(") as caught:
        board.withdraw(digest[:12])
    assert (caught.value.status, caught.value.code) == (409, "ambiguous")
    assert not board.storage.names("rulings")
    assert [one.digest for one in board.withdraw(digest[:10])] == [digest]  # of all digits, on every storage
    assert [one.upstream for one in board.withdraw(digest[:12])] == [digest[:12]]  # only the row of this name stands
    with pytest.raises(CommandError, match=r"is withdrawn already: \S+ by keeper"):
        board.withdraw(digest[:12])


@pytest.mark.slow
def test_a_withdrawn_row_does_not_hide_the_bundle_that_stands(
    address: str, a_folder: Callable[..., Path], forged: Callable[..., bytes]
) -> None:
    board = Board(address)
    accept(board, a_folder("apc", 20), "alice")
    digest = board.history("apc")[0].digest
    named_like_a_digest(board, digest[:12], a_folder, forged)
    board.withdraw(board.history(digest[:12])[1].digest)
    assert [(one.upstream, one.digest) for one in board.withdraw(digest[:12])] == [("apc", digest)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "why", ["two\nlines", "a\tb", "safe \u202e txt", "a\u2066b", "\x1b[31m", "\u2028", "x" * 501, "\ud800"], ids=ascii
)
def test_a_reason_is_one_printed_line(why: str, tmp_path: Path, a_folder: Callable[..., Path]) -> None:
    board = Board(tmp_path)
    accept(board, a_folder("apc", 20))
    with pytest.raises(Malformed, match=r"cannot be printed|at most 500") as caught:
        board.withdraw("apc", why=why)
    assert (caught.value.status, caught.value.code, names(board)) == (400, "because", ["apc"])
    board.withdraw("apc", why="ä" * 500)


@pytest.mark.slow
def test_the_history_of_one_bundle_says_whether_it_stands_on_the_whole_board(
    tmp_path: Path, a_folder: Callable[..., Path]
) -> None:
    board = Board(tmp_path)
    accept(board, a_folder("apc", 20))
    accept(board, a_folder("apc", 30, where="newer"))
    older = board.history("apc")[0]
    assert [one.state for one in board.history(older.digest)] == ["superseded"]


@pytest.mark.slow
def test_the_history_says_what_the_page_does_not_show(
    address: str, a_folder: Callable[..., Path], a_result: Callable[..., Result]
) -> None:
    """References that were added later are of other data."""
    board = Board(address)
    accept(board, doubles.with_emotions(a_folder("apc", 20), a_result, "apc", 30), "alice")
    accept(board, a_folder("tera", 20), "alice")
    board.add_references(a_folder("mine", 30, fingerprint="another", where="own"))
    apc, tera = board.history()
    assert (apc.state, apc.standing) == ("stands", ("sid",))
    assert apc.why.startswith("not shown: ks: its data have the fingerprint")
    assert (tera.state, tera.standing) == ("not shown", ())
    assert tera.why.startswith("ks: its data have the fingerprint")
    assert len(board.contents()["refused"]) == 2


@pytest.mark.slow
def test_rulings_go_with_a_backup(address: str, a_folder: Callable[..., Path], tmp_path: Path) -> None:
    board = Board(address)
    for name in ("apc", "tera"):
        accept(board, a_folder(name, 20))
    board.withdraw("tera", why="asked for")
    backups.backup(board.storage, tmp_path / "saved.zip")
    for place in ("restored", "restored.db"):
        other = Board(tmp_path / place)
        backups.restore(tmp_path / "saved.zip", other.storage)
        assert (names(other), [one.state for one in other.history("tera")]) == (["apc"], ["withdrawn"])


def test_the_command_withdraws_tells_the_history_and_still_writes_the_page(
    call: Any, a_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """A first word that is a command's name is the command; a folder of that name is written ./history."""
    for board in ("./history", "page"):
        Board(tmp_path / board).submit(a_folder("apc", 20))
        Board(tmp_path / board).submit(a_folder("tera", 30))
    done = call("board", "withdraw", "page", "apc", "--because", "asked for", folder=tmp_path)
    assert (done.returncode, "apc: withdrawn" in done.stdout) == (0, True)
    told = json.loads(call("board", "history", "page", "apc", "--json", folder=tmp_path).stdout)
    assert [(one["state"], one["why"].endswith("asked for")) for one in told] == [("withdrawn", True)]
    for arguments in (["./history"], ["--out", "board.html", "./page"], ["page", "./page", "--superseded"]):
        (tmp_path / "board.html").unlink(missing_ok=True)
        assert call("board", *arguments, folder=tmp_path).returncode == 0
        assert (tmp_path / "board.html").is_file()
    wrong = call("board", "withdraw", "page", "terra", folder=tmp_path)
    assert "Did you mean tera" in wrong.stderr


# ---------------------------------------------------------------- names


@pytest.mark.slow
@pytest.mark.parametrize(
    "other", ["APC-Base", "арс-base", "ａｐｃ-ｂａｓｅ", "apc‐base", "АРС-ВАЅЕ", "ɑpc-base", "𝐚pc-base", "ạpc-base", "àpc-básé"]
)
def test_a_name_that_looks_like_anothers_is_refused(other: str, address: str, a_folder: Callable[..., Path]) -> None:
    board = Board(address)
    accept(board, a_folder("apc-base", 20), "alice")
    with pytest.raises(Conflict, match="looks like 'apc-base'") as caught:
        accept(board, a_folder(other, 30), "bob")
    assert (caught.value.status, caught.value.code) == (409, "name")
    board.withdraw("apc-base")
    accept(board, a_folder(other, 30), "bob")


@pytest.mark.slow
@pytest.mark.parametrize("other", ["НuBERT Base", "HuBΕRT Base", "WаvLM Large", "ｗav2vec 2.О Base"])
def test_a_name_that_imitates_a_published_row_is_refused(other: str, address: str, a_folder: Callable[..., Path]) -> None:
    with pytest.raises(Conflict, match="imitates the published row"):
        accept(Board(address), a_folder(other, 30), "bob")


@pytest.mark.slow
def test_a_row_called_like_a_published_one_is_said_not_to_be_it(tmp_path: Path, a_folder: Callable[..., Path]) -> None:
    board = Board(tmp_path)
    accept(board, a_folder("HuBERT_base", 30))
    accept(board, a_folder("mine", 30))
    found = {row["name"]: row["namesake"] for row in board.contents()["groups"][0]["rows"]}
    assert found == {"HuBERT_base": "HuBERT Base", "mine": None}
    assert namesake("WavLM Base+") == "WavLM Base+"
    assert namesake("WavLM Base") == "WavLM Base"


HIDDEN = [
    "a\u3164b",
    "a\u115fb",
    "a\u1160b",
    "a\uffa0b",
    "a\u2800b",
    "a\ufe0fb",
    "a\U000e0101b",
    "a\u034fb",
    "a\u180bb",
    "a" + "\u0301" * 9,
]


@pytest.mark.slow
@pytest.mark.parametrize("name", HIDDEN, ids=ascii)
def test_a_name_with_what_cannot_be_seen_is_refused(
    name: str, a_folder: Callable[..., Path], forged: Callable[..., bytes]
) -> None:
    data = forged(pack_bundle(a_folder("apc", 30)), lambda record: record["upstream"].update(name=name))
    with pytest.raises(Malformed, match=r"invisible|accents") as caught:
        open_bundle(data)
    assert caught.value.code == "name"


SIGNS = [
    "fbank_no\u02cdcmvn",
    "fbank  x",
    "fbank\xa0x",
    "fbank†",
    "fbank’",
    "fbank¹",
    "fbank ≈",
    "fbank±",
    "q\u0323",
    "a\u0640b",
    "a·b",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNS, ids=ascii)
def test_a_name_with_a_sign_that_imitates_another_is_refused(
    name: str, a_folder: Callable[..., Path], forged: Callable[..., bytes]
) -> None:
    data = forged(pack_bundle(a_folder("apc", 30)), lambda record: record["upstream"].update(name=name))
    with pytest.raises(Malformed, match=r"looks? like|not the usual one|does not have|cannot be printed") as caught:
        open_bundle(data)
    assert caught.value.code == "name"


@pytest.mark.parametrize("name", ["模型甲", "モデルー（大）", "ไทยๆ", "עִבְרִית", "हिन्दी", "naïve", "Việt", "apc–base", "n\u0303"])
def test_honest_names_of_all_scripts_are_accepted(name: str) -> None:
    require_legible(name, "The name")


@pytest.mark.parametrize("name", ["WavLM Large (published)", "WavLM Largé", "official wavlm-large", "WavLM L4rge"])
def test_a_name_close_to_a_published_one_is_marked(name: str) -> None:
    assert namesake(name) == "WavLM Large"


def test_digits_in_place_of_letters_are_read_as_letters() -> None:
    assert namesake("Hu8ERT Base") == "HuBERT Base"
    assert namesake("WavLM Base 2") is None


@pytest.mark.slow
def test_names_in_other_scripts_are_different_names(
    address: str, a_folder: Callable[..., Path], rewritten: Callable[..., Path], tmp_path: Path
) -> None:
    board = Board(address)
    several = ["模型甲", "語音乙", "модель", "μοντέλο", "मॉडल", "a:b", "a_b", "x" * 90 + "1", "x" * 90 + "2"]
    for number, name in enumerate(several):
        place = a_folder("any", 20 + number, where=f"w{number}")
        rewritten(place, lambda record, name=name: record["upstream"].update(name=name))
        accept(board, place, f"person {number}")
    assert names(board) == sorted(several)
    assert {one.upstream for one in board.storage.bundles()} == set(several)
    board.withdraw("模型甲")
    assert names(board) == sorted(several[1:])
