"""The board can be drawn whatever was submitted, and whatever files it contains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from superbench.board.board import Board
from superbench.board.bundles.bundle import open_bundle, pack_bundle
from superbench.board.page import render, shown_results
from superbench.board.server import sandbox
from superbench.board.storage.base import StoredBundle, now
from superbench.errors import BadResult, Conflict, Refusal
from superbench.results import read_result, rows

Change = Callable[[dict[str, Any]], object]
Forge = Callable[[bytes, Change], bytes]


def receipts(count: int, settings: Callable[[int], dict[str, Any]]) -> Change:
    def change(record: dict[str, Any]) -> None:
        record["sweep"] += [record["sweep"][0] | {"seed": 1 + n, "setting": settings(n)} for n in range(count)]

    return change


REFUSED: dict[str, Change] = {
    "ragged layer weights": lambda r: r.update(layer_weights={"a": [1.0], "b": [0.5, 0.5]}),
    "more weights than layers": lambda r: r.update(layer_weights={"all": [0.1] * 10}),
    "a million weights": lambda r: r.update(layer_weights={"all": [0.1] * 100_000}),
    "weights of 1e308": lambda r: r.update(layer_weights={"all": [1e308]}),
    "weights that are texts": lambda r: r.update(layer_weights={"all": ["a"]}),
    "ten thousand folds": lambda r: r.update(layer_weights={str(n): [] for n in range(10_000)}),
    "a number for a corpus": lambda r: r.update(efficiency={"corpus": 7}),
    "a list for a corpus": lambda r: r.update(efficiency={"corpus": ["LibriSpeech"]}),
    "a corpus of a megabyte": lambda r: r.update(efficiency={"corpus": "x" * 1_000_000}),
    "a text for a speed": lambda r: r.update(efficiency={"real_time_factor": "fast"}),
    "a speed of 1e308": lambda r: r.update(efficiency={"real_time_factor": 1e308}),
    "an unknown cost": lambda r: r.update(efficiency={"colour": "red"}),
    "a mapping for a learning rate": lambda r: r["chosen"]["all"].update(lr={}),
    "an unknown choice": lambda r: r["chosen"]["all"].update(colour="red"),
    "a list for a choice": lambda r: r["chosen"].update(all=[]),
    "a setting of settings": lambda r: r["chosen"]["all"].update(setting={"a": {"b": 1}}),
    "an unknown surrounding": lambda r: r["environment"].update(colour="red"),
    "a number for a spec": lambda r: r["environment"].update(spec=7),
    "a spec of a megabyte": lambda r: r["environment"].update(spec="x" * 1_000_000),
    "a certificate of lists": lambda r: r.update(certificate={"shape": [[]]}),
    "parameters below zero": lambda r: r["upstream"].update(params=-1),
    "parameters of 2**60": lambda r: r["upstream"].update(params=2**60),
    "no hop": lambda r: r["upstream"].update(hop=0),
    "MACs of 1e308": lambda r: r["upstream"].update(macs=1e308),
    "seconds of 1e308": lambda r: r["seconds"].update(train=1e308),
    "a dev value of 1e308": lambda r: r["sweep"][0].update(dev=1e308),
    "notes without end": lambda r: r.update(notes=["a"] * 10_000),
    "a note of a megabyte": lambda r: r.update(notes=["a" * 1_000_000]),
    "a thousand settings": receipts(1_000, lambda n: {f"setting {n}": n}),
    "ten thousand receipts": receipts(10_000, lambda n: {}),
    "a setting of a megabyte": receipts(1, lambda n: {"layer": "x" * 1_000_000}),
    "a passport without end": lambda r: r["data"].update(passport={"sample_rates": {str(n): n for n in range(10_000)}}),
}
TAKEN: dict[str, Change] = {
    "a spec without a name": lambda r: r["environment"].update(spec=":"),
    "a spec of nobody's": lambda r: r["environment"].update(spec="x@~nosuchuser"),
    "an alias without a name": lambda r: r["environment"].update(spec="=@"),
    "no spec": lambda r: r["environment"].clear(),
    "one weight of one layer": lambda r: r.update(layer_weights={"a": [1.0], "b": []}),
    "a corpus and a speed": lambda r: r.update(efficiency={"corpus": "LibriSpeech 960 h", "real_time_factor": 0.1}),
}


@pytest.mark.slow
def test_a_field_beyond_its_bounds_is_refused_and_the_board_stays(
    address: str, a_folder: Callable[..., Path], forged: Forge
) -> None:
    board, valid = Board(address), pack_bundle(a_folder("model", 30))
    board.submit(a_folder("apc", 20))
    before = (board.contents(), board.storage.bundles(), board.storage.events())
    for what, change in REFUSED.items():
        with pytest.raises(Refusal) as caught:
            board.accept(board.examine(forged(valid, change)))
        assert len(str(caught.value)) < 1_000, what
    assert (board.contents(), board.storage.bundles(), board.storage.events()) == before


@pytest.mark.slow
@pytest.mark.parametrize("what", TAKEN)
def test_what_is_odd_and_within_bounds_is_drawn(
    what: str, tmp_path: Path, a_folder: Callable[..., Path], forged: Forge
) -> None:
    board = Board(tmp_path / "board.db")
    board.accept(sandbox.examine(board, forged(pack_bundle(a_folder("model", 30)), TAKEN[what])))
    assert board.write_page(tmp_path / "page.html") == []
    assert [row["name"] for row in board.contents()["groups"][0]["rows"]] == ["model"]


@pytest.mark.slow
def test_a_bundle_that_came_before_the_bounds_is_left_out_said_and_can_be_withdrawn(
    address: str, a_folder: Callable[..., Path], forged: Forge
) -> None:
    """Stores a bundle like an earlier version, which accepted it without drawing it."""
    board, valid = Board(address), pack_bundle(a_folder("model", 30))
    board.submit(a_folder("apc", 20))
    before = board.contents()
    bad = forged(valid, REFUSED["ragged layer weights"])
    with board.storage.writing() as writer:
        writer.add(StoredBundle("ab" * 32, "model", now()), bad)
        writer.add(StoredBundle("cd" * 32, "junk", now()), b"junk")
    found = board.contents()
    assert found["groups"] == before["groups"]
    assert ["layer_weights" in found["refused"][0], len(found["refused"])] == [True, 2]
    assert [version.state for version in board.history("model")] == ["unreadable"]
    for row in ("model", "junk"):
        assert [one.upstream for one in board.withdraw(row)] == [row]
    assert board.contents() == before


def _failing(monkeypatch: pytest.MonkeyPatch, fails: Callable[[list[str]], bool]) -> None:
    """Drawing that fails for an unforeseen reason: for the names of a table's rows."""
    whole = shown_results.contents.contents

    def contents(groups: list[rows.Group], *more: Any) -> dict[str, Any]:
        if any(fails([row.name for row in group.rows]) for group in groups):
            raise ZeroDivisionError("of something")
        return whole(groups, *more)

    monkeypatch.setattr(shown_results.contents, "contents", contents)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        (lambda names: "odd" in names, "odd: cannot be drawn: ZeroDivisionError: of something"),
        (lambda names: {"odd", "apc"} <= set(names), "odd: cannot be drawn together with the other rows"),
    ],
)
def test_what_cannot_be_drawn_is_left_out_said_on_the_page_and_logged_once(
    address: str,
    a_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    fails: Callable[[list[str]], bool],
    reason: str,
) -> None:
    board = Board(address)
    for number, name in enumerate(("apc", "tera", "odd", "late")):
        board.submit(a_folder(name, 20 + number))
    _failing(monkeypatch, fails)
    for _ in range(2):
        found = board.contents()
        assert sorted(row["name"] for row in found["groups"][0]["rows"]) == ["apc", "late", "tera"]
        assert found["refused"] == [reason]
        assert reason in render.render(found)
    assert [one.remark for one in board.storage.events() if one.what == "not drawn"] == [reason]


@pytest.mark.slow
def test_a_bundle_with_which_the_board_cannot_be_drawn_is_refused(
    address: str, a_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(address)
    board.submit(a_folder("apc", 20))
    _failing(monkeypatch, lambda names: "odd" in names)
    for examine in (board.examine, lambda data: sandbox.examine(board, data)):
        with pytest.raises(Refusal, match="cannot be drawn") as caught:
            examine(pack_bundle(a_folder("odd", 30)))
        assert (caught.value.status, caught.value.code) == (422, "drawing")
    with pytest.raises(Refusal, match="On the board: nothing new"):
        board.submit(a_folder("odd", 30))
    assert [one.upstream for one in board.storage.bundles()] == ["apc"]
    board.submit(a_folder("fine", 30))  # and what stood there before does not hinder the next


@pytest.mark.slow
def test_an_undrawable_row_does_not_hinder_the_next_submission(
    address: str, a_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(address)
    board.submit(a_folder("odd", 20))
    _failing(monkeypatch, lambda names: "odd" in names)
    board.submit(a_folder("fine", 30))
    assert [row["name"] for row in board.contents()["groups"][0]["rows"]] == ["fine"]


@pytest.mark.slow
def test_damage_beside_a_bundle_does_not_stop_the_board(tmp_path: Path, a_folder: Callable[..., Path]) -> None:
    """Owners, rulings and references that were cut off: a folder or git may lose the end of any file."""
    board = Board(tmp_path / "board")
    for name in ("apc", "tera"):
        board.accept(board.examine(pack_bundle(a_folder(name, 20))), "alice")
    board.withdraw("tera")
    for file in (*(tmp_path / "board" / "bundles").glob("*.json"), *(tmp_path / "board" / "rulings").iterdir()):
        file.write_text("{")
    assert [row["name"] for row in board.contents()["groups"][0]["rows"]] == ["apc"]
    with pytest.raises(Conflict):
        board.accept(board.examine(pack_bundle(a_folder("apc", 30, where="other"))), "alice")
    with board.storage.writing() as writer:
        writer.put("references", "ks-f", b"{")
    found = board.contents()
    assert [group["protocol"] for group in found["groups"]] == ["published"]
    assert found["refused"][0].startswith("apc: ks: ")


@pytest.mark.slow
def test_a_page_grows_no_faster_than_what_was_sent(tmp_path: Path, a_folder: Callable[..., Path], forged: Forge) -> None:
    """Each receipt adds a point to a few columns, not a column to every point."""
    sizes = {}
    for count in (100, 200):

        def change(record: dict[str, Any], seeds: int = count) -> None:
            record["sweep"] = [
                row | {"seed": seed, "setting": {f"s{seed % 12}": seed}} for seed in range(seeds) for row in record["sweep"]
            ]
            record["chosen"]["all"]["setting"] = {"s0": 0}
            record["deviations"] = [f"seeds {', '.join(map(str, range(seeds)))} in place of 0"]

        data = forged(pack_bundle(a_folder("model", 30)), change)
        board = Board(tmp_path / f"{count}")
        board.accept(board.examine(data))
        sizes[count] = len(render.render(board.contents()))
        record = open_bundle(data).entries["ks"].result.to_json()
        assert sizes[count] < 400_000 + len(record)
    assert sizes[200] - sizes[100] < 60_000
    words = " ".join(map(str, range(600)))
    wordy = forged(pack_bundle(a_folder("wordy", 30)), lambda record: record.update(notes=[f"{n} {words}" for n in range(480)]))
    with pytest.raises(Refusal, match=r"its row would take .* MB of the page") as caught:
        board.examine(wordy)
    assert caught.value.code == "drawing"


def test_an_unknown_surrounding_is_named_when_a_result_is_read(a_folder: Callable[..., Path]) -> None:
    place = a_folder("apc", 30) / "ks"
    text = (place / "result.json").read_text()
    assert read_result(place).environment.get("job") is None  # as superbench 0.1 wrote it
    (place / "result.json").write_text(text.replace('"spec": "apc@x"', '"spec": "apc@x", "colour": "red"'))
    with pytest.raises(BadResult, match=r"environment\.colour"):
        read_result(place)
