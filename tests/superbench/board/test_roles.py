"""Who may read, submit to and change a board; hiding, renaming and transferring rows, on every storage and over the network."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from superbench.board.board import Board
from superbench.board.bundles.bundle import pack_bundle
from superbench.board.storage import backup as backups, tokens
from superbench.cli.app import app
from superbench.errors import CommandError, Conflict, Malformed, NotAllowed, UnknownName

Folder = Callable[..., Path]
PAGE = Path(__file__).parents[3] / "docs" / "boards.md"


def accept(board: Board, folder: Path, by: str = "", *, hidden: bool = False) -> None:
    board.accept(board.examine(pack_bundle(folder)), by, hidden=hidden)


def names(board: Board, *, hidden: bool = False) -> list[str]:
    groups = board.contents(hidden=hidden)["groups"]
    return sorted(row["name"] for group in groups if not group["official"] for row in group["rows"])


def logged(board: Board) -> list[tuple[str, str, str]]:
    return [(event.who, event.what, event.remark) for event in board.storage.events()]


# ---------------------------------------------------------------- hidden rows


@pytest.mark.slow
def test_a_hidden_row_is_seen_by_members_only_with_the_versions_that_follow(address: str, a_folder: Folder) -> None:
    board = Board(address)
    accept(board, a_folder("apc", 20), "alice")
    accept(board, a_folder("tera", 30), "bob")
    board.hide("apc", by="alice", why="until the paper is out", own=True)
    assert (names(board), names(board, hidden=True)) == (["tera"], ["apc", "tera"])
    assert "alice" not in json.dumps(board.contents())
    assert [one.upstream.name for one in board.results()] == ["tera"]
    accept(board, a_folder("apc", 40, where="newer"), "alice")
    assert (names(board), len(board.results(hidden=True))) == (["tera"], 2)
    older, newer = board.history("apc")
    assert (older.state, older.why.endswith("until the paper is out"), newer.state) == ("superseded", True, "hidden")
    board.hide("apc", hidden=False)
    assert names(board) == ["apc", "tera"]
    told = [(who, what) for who, what, _ in logged(board) if what in ("hidden", "shown")]
    assert told == [("alice", "hidden"), ("alice", "hidden"), ("keeper", "shown"), ("keeper", "shown")]
    assert ("alice", "hidden", "apc: until the paper is out") in logged(board)
    with pytest.raises(CommandError, match="not hidden"):
        board.hide("apc", hidden=False)


@pytest.mark.slow
def test_a_row_may_be_submitted_hidden(address: str, a_folder: Folder) -> None:
    board = Board(address)
    accept(board, a_folder("apc", 20), "alice", hidden=True)
    assert (names(board), names(board, hidden=True)) == ([], ["apc"])
    (receipt,) = board.submit(a_folder("tera", 20), hidden=True)
    assert receipt.hidden
    assert names(board) == []


def test_who_owns_no_row_hides_none(tmp_path: Path, a_folder: Folder) -> None:
    board = Board(tmp_path)
    accept(board, a_folder("apc", 20), "alice")
    with pytest.raises(NotAllowed, match="belongs to somebody else") as caught:
        board.hide("apc", by="bob", own=True)
    assert (caught.value.status, caught.value.code, names(board)) == (403, "role", ["apc"])
    with pytest.raises(UnknownName, match="Did you mean apc"):
        board.hide("apcc")
    with pytest.raises(Malformed, match="cannot be printed"):
        board.hide("apc", why="two\nlines")


@pytest.mark.slow
def test_the_page_marks_a_hidden_row_and_says_who_submitted_when_and_how(tmp_path: Path, a_folder: Folder) -> None:
    board = Board(tmp_path)
    accept(board, a_folder("apc", 20), "alice", hidden=True)
    (row,) = board.contents(hidden=True)["groups"][0]["rows"]
    (told,) = row["submissions"]
    assert row["hidden"]
    assert (told["tasks"], told["by"], told["owner"]) == (["ks"], "alice", "alice")
    assert told["at"] == board.storage.bundles()[0].accepted
    board.write_page(tmp_path / "public.html")
    board.write_page(tmp_path / "all.html", hidden=True)
    assert "alice" not in (tmp_path / "public.html").read_text()
    assert "alice" in (tmp_path / "all.html").read_text()


# ---------------------------------------------------------------- names and owners


@pytest.mark.slow
def test_a_renamed_row_keeps_its_versions_and_frees_its_name(address: str, a_folder: Folder, tmp_path: Path) -> None:
    board = Board(address)
    accept(board, a_folder("apc", 20), "alice")
    accept(board, a_folder("tera", 30), "bob")
    board.rename("apc", "apc-960h", by="root", why="two sizes now")
    assert names(board) == ["apc-960h", "tera"]
    assert ("root", "renamed", "apc -> apc-960h: two sizes now") in logged(board)
    assert [one.upstream for one in board.history("apc-960h")] == ["apc-960h"]
    accept(board, a_folder("apc", 40, where="other"), "bob")  # the old name is free
    assert names(board) == ["apc", "apc-960h", "tera"]
    with pytest.raises(Conflict, match="belongs to somebody else"):
        accept(board, a_folder("apc-960h", 41, where="taken"), "bob")
    accept(board, a_folder("apc-960h", 42, where="next"), "alice")  # its owner submits under the new name
    assert [one.state for one in board.history("apc-960h")] == ["superseded", "stands"]
    backups.backup(board.storage, tmp_path / "saved.zip")
    other = Board(tmp_path / "restored.db")
    backups.restore(tmp_path / "saved.zip", other.storage)
    assert names(other) == ["apc", "apc-960h", "tera"]
    board.withdraw("apc-960h")
    assert names(board) == ["apc", "tera"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "error", "why"),
    [
        ("tera", Conflict, "is on this board already"), ("TERA", Conflict, "looks like 'tera'"),
        ("80be01e914c8", Conflict, "looks like the digest"), ("WаvLM Large", Conflict, "imitates the published row"),
        ("a\u3164b", Malformed, "invisible"), ("", Malformed, "expected 1 to 200"),
        ("apc", CommandError, "called 'apc' already"),
    ],
)  # fmt: skip
def test_a_name_that_no_bundle_could_have_is_refused(
    name: str, error: type[Exception], why: str, tmp_path: Path, a_folder: Folder
) -> None:
    board = Board(tmp_path)
    accept(board, a_folder("apc", 20))
    accept(board, a_folder("tera", 30))
    with pytest.raises(error, match=why):
        board.rename("apc", name)
    assert names(board) == ["apc", "tera"]
    board.rename("apc", "APC")  # only its own name looks like it
    assert names(board) == ["APC", "tera"]


@pytest.mark.slow
def test_a_row_that_was_given_away_belongs_to_the_new_owner_alone(address: str, a_folder: Folder) -> None:
    board = Board(address)
    for name, role in (("alice", "submitter"), ("bob", "submitter"), ("rita", "reader")):
        tokens.create(board.storage, name, role)  # type: ignore[arg-type]
    accept(board, a_folder("apc", 20), "alice")
    with pytest.raises(CommandError, match=r"no valid token called 'bab' \(it has alice, bob, rita\)"):
        board.transfer("apc", "bab")
    with pytest.raises(CommandError, match="reader, who owns no rows"):
        board.transfer("apc", "rita")
    board.transfer("apc", "bob", why="Alice has left")
    assert ("keeper", "transferred", "apc: alice -> bob: Alice has left") in logged(board)
    with pytest.raises(Conflict, match="belongs to somebody else"):
        accept(board, a_folder("apc", 30, where="one"), "alice")
    accept(board, a_folder("apc", 40, where="two"), "bob")
    assert [(one.by, one.owner) for one in board.history("apc")] == [("alice", "bob"), ("bob", "bob")]
    with pytest.raises(CommandError, match="belongs to bob already"):
        board.transfer("apc", "bob")
    board.transfer("apc", "keeper")
    with pytest.raises(Conflict, match="belongs to the board's keeper"):
        accept(board, a_folder("apc", 41, where="three"), "bob")
    with pytest.raises(CommandError, match="stands for the keeper"):
        tokens.create(board.storage, "Keeper")


# ---------------------------------------------------------------- the command


def command(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


@pytest.mark.slow
def test_the_command_changes_rows_and_every_change_is_logged(tmp_path: Path, a_folder: Folder) -> None:
    board = Board(tmp_path / "board")
    accept(board, a_folder("apc", 20), "alice")
    tokens.create(board.storage, "bob")
    for words, said in (
        (["hide", "apc", "--because", "not yet"], "apc: hidden"), (["hide", "apc", "--undo"], "apc: shown"),
        (["rename", "apc", "apc2"], "apc: renamed to apc2"), (["transfer", "apc2", "bob"], "apc2: belongs to bob"),
        (["withdraw", "apc2"], "apc2: withdrawn"),
    ):  # fmt: skip
        done = command("board", words[0], str(tmp_path / "board"), *words[1:])
        assert done.exit_code == 0, done.output
        assert said in done.output
    lines = [json.loads(line) for line in (tmp_path / "board" / "audit.jsonl").read_text().splitlines()]
    changes = ["hidden", "shown", "renamed", "transferred", "withdrawn"]
    assert [line["what"] for line in lines if line["what"] in changes] == changes
    assert "apc2" in command("board", "history", str(tmp_path / "board"), "apc2", "--json").output


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["board", "hide", "BOARD", "x"], ["board", "rename", "BOARD", "x", "y"], ["board", "transfer", "BOARD", "x", "y"],
        ["board", "withdraw", "BOARD", "x"], ["board", "history", "BOARD"], ["token", "BOARD"], ["token", "BOARD", "--list"],
        ["token", "BOARD", "--revoke", "x", "--create"], ["serve", "--board", "BOARD"], ["references", "BOARD"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["typo", "typo.db"])
def test_a_board_that_is_not_there_is_said_and_not_made(words: list[str], kind: str, tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the extra `server` is not installed")
    done = command(*[str(tmp_path / kind) if word == "BOARD" else word for word in words])
    assert isinstance(done.exception, CommandError), done.output
    assert f"There is no board at {'sqlite:///' if kind.endswith('db') else ''}{tmp_path / kind}" in str(done.exception)
    assert not (tmp_path / kind).exists()


@pytest.mark.slow
def test_an_empty_board_is_made_when_asked_for(address: str) -> None:
    assert command("token", address, "--create", "--name", "rita", "--role", "reader").output.startswith("sb_")
    assert "rita  reader" in command("token", address, "--list").output
    assert command("token", address, "--name", "sam").exit_code == 0
    assert "contradict" in str(command("token", address, "--role", "reader", "--admin").exception)
    assert "expected one of reader, submitter, admin" in str(command("token", address, "--role", "admn").exception)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "guess"),
    [
        ("htp://localhost:8000", "http://localhost:8000"), ("HTTTPS://board.org", "https://board.org"),
        ("http:/localhost:8000", "http://localhost:8000"), ("localhost:8000", "http://localhost:8000"),
        ("board.org:80/", "http://board.org:80/"), ("postgre://me@host/b", "postgres://me@host/b"),
        ("sqllite:///b.db", "sqlite://"), ("mysql://me:secret@host/b", "sqlite:// or postgresql://"),
    ],
)  # fmt: skip
def test_a_mistyped_address_makes_no_board(address: str, guess: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["submit", ".", "--board", address, "--token", "t"], ["token", address], ["board", "hide", address, "x"]):
        done = command(*words)
        assert isinstance(done.exception, CommandError), done.output
        assert guess in str(done.exception)
        assert "secret" not in str(done.exception)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- the server


def table() -> dict[str, dict[str, int]]:
    """The table of statuses in the documentation: request -> role -> status."""
    text = PAGE.read_text()
    lines = text[text.index("| request | anonymous") :].split("\n\n")[0].splitlines()
    _, *roles = (cell.strip() for cell in lines[0].strip("|").split("|"))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return {row[0].replace("`", ""): dict(zip(roles, map(int, row[1:]), strict=True)) for row in cells}


ROLES = {"anonymous": None, "reader": "rita", "submitter": "sam", "admin": "ada"}
"""Role -> the name of its token."""


@pytest.fixture
def secrets(tmp_path: Path, a_folder: Folder) -> dict[str, str | None]:
    """Tokens of all roles for the board in `tmp_path / "board"`, which has a row for each request."""
    board = Board(tmp_path / "board")
    for number, name in enumerate(("own", "gone", "old-name", "given")):
        accept(board, a_folder(name, 20 + number), "sam")
    accept(board, a_folder("foreign", 30), "somebody")
    accept(board, a_folder("secret", 31), "somebody", hidden=True)
    made = {role: tokens.create(board.storage, name, role) for role, name in ROLES.items() if name}  # type: ignore[arg-type]
    return {"anonymous": None, **made}


def requests_of(server: Any, a_folder: Folder) -> Iterator[tuple[str, Callable[[str | None, str], int]]]:
    """The requests of the table, each as a function of the token and the role that returns the status."""

    def patch(row: str, **body: Any) -> Callable[[str | None, str], int]:
        data = json.dumps(body).encode()
        return lambda token, role: server.call(
            "PATCH", f"/api/models/{row}", data, token, **{"Content-Type": "application/json"}
        )[0]

    def hide(row: str) -> Callable[[str | None, str], int]:
        hidden = iter((True, True, True, False) if row == "own" else (True, True, True, True))
        wanted = {role: next(hidden) for role in ROLES}
        return lambda token, role: patch(row, hidden=wanted[role])(token, role)

    def submit(token: str | None, role: str) -> int:
        data = pack_bundle(a_folder(f"by-{role}", 24 + len(role), where=role))
        return int(server.call("POST", "/api/submissions", data, token)[0])

    yield "read", lambda token, role: server.call("GET", "/api/board", token=token)[0]
    yield "read a hidden row", lambda token, role: server.call("GET", "/api/models/secret", token=token)[0]
    yield "submit", submit
    yield "hide its own row", hide("own")
    yield "hide a row of somebody else", hide("foreign")
    yield "withdraw", lambda token, role: server.call("DELETE", "/api/models/gone", token=token)[0]
    yield "rename", patch("old-name", name="new-name", because="clearer")
    yield "transfer", patch("given", owner="ada")


def test_everybody_may_do_what_the_documentation_says(
    tmp_path: Path, serving: Any, secrets: dict[str, str | None], a_folder: Folder
) -> None:
    expected = table()
    with serving(tmp_path / "board") as server:
        found = {
            name: {role: ask(secret, role) for role, secret in secrets.items()} for name, ask in requests_of(server, a_folder)
        }
        assert found == {name: row for name, row in expected.items() if "--private" not in name}
        assert server.shows("by-submitter")
        assert server.names() == ["by-admin", "by-submitter", "given", "new-name", "own"]
        everything = server.call("GET", "/api/board", token=secrets["reader"])
        assert {"secret", "foreign"} <= {row["name"] for row in everything[2]["groups"][0]["rows"]}
        assert "private" in everything[1]["Cache-Control"]
        assert "secret" not in str(server.call("GET", "/", token=None)[2])
        status, headers, _ = server.call("GET", "/members", token=None)
        assert (status, headers["WWW-Authenticate"][:5]) == (401, "Basic")
        assert '"secret"' in server.call("GET", "/members", token=secrets["reader"])[2]
        typed = {"Content-Type": "application/json"}
        for row, body, status in (
            ("nobody", b'{"hidden": true}', 404), ("own", b"{}", 422), ("own", b'{"hidden": true, "name": "x"}', 422),
            ("own", b'{"owner": "nobody"}', 422), ("foreign", b'{"hidden": true}', 409), ("own", b'{"name": "given"}', 409),
        ):  # fmt: skip
            assert server.call("PATCH", f"/api/models/{row}", body, secrets["admin"], **typed)[0] == status
        for words in (["rename", "own", "a/b c"], ["hide", "a/b c"], ["transfer", "a/b c", "ada"], ["withdraw", "a/b c"]):
            done = command("board", words[0], server.address, *words[1:], "--token", str(secrets["admin"]))
            assert done.exit_code == 0, (done.output, done.exception)
    told = [
        (who, what) for who, what, _ in logged(Board(tmp_path / "board")) if what in ("withdrawn", "renamed", "transferred")
    ]
    once = [("ada", "withdrawn"), ("ada", "renamed"), ("ada", "transferred")]
    assert told == [*once, ("ada", "renamed"), ("ada", "transferred"), ("ada", "withdrawn")]


def test_a_private_board_shows_strangers_nothing(
    tmp_path: Path, serving: Any, secrets: dict[str, str | None], a_folder: Folder
) -> None:
    expected = table()["read, --private"]
    with serving(tmp_path / "board", "--private") as server:
        for path in ("/", "/members", "/api/board", "/api/models", "/api/models/own", "/api/models/nobody?x=1"):
            missing = 404 if "nobody" in path else 200
            for role, secret in secrets.items():
                status, _, body = server.call("GET", path, token=secret)
                assert status == (expected[role] if expected[role] == 401 else missing), (path, role)
                assert "old-name" not in str(body) or status == 200
        assert server.call("GET", "/healthz", token=None)[2]["models"] is None
        assert server.call("GET", "/", token="sb_wrong")[0] == 401
        password = base64.b64encode(f"whoever:{secrets['reader']}".encode()).decode()
        assert server.call("GET", "/", token=None, Authorization=f"Basic {password}")[0] == 200
        assert server.call("GET", "/", token=None, Authorization="Basic ?")[0] == 401
        admin = base64.b64encode(f"whoever:{secrets['admin']}".encode()).decode()
        assert server.call("DELETE", "/api/models/own", token=None, Authorization=f"Basic {admin}")[0] == 401  # other sites
