"""What a board refuses: every refusal has a reason, a status and a code, and does not change the board."""

from __future__ import annotations

import gzip
import json
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doubles import forged, members, rezipped, zipped

from superbench.board.board import Board
from superbench.board.bundles.archive import Bounds, gunzipped, unpacked
from superbench.board.bundles.bundle import Bundle, open_bundle, pack_bundle
from superbench.board.bundles.verify import examine
from superbench.contract import Prediction
from superbench.errors import Malformed, Refusal, TooLarge

PACK = "ks/predictions.jsonl.gz"


@pytest.fixture
def bundle(a_folder: Callable[..., Path]) -> bytes:
    return pack_bundle(a_folder("apc", 30))


def with_lines(data: bytes, change: Callable[[list[str]], list[str]]) -> bytes:
    lines = gzip.decompress(members(data)[PACK]).decode().splitlines()
    return rezipped(data, {PACK: gzip.compress("".join(f"{line}\n" for line in change(lines)).encode())}, honest=True)


def refused(data: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        examine(open_bundle(data))
    return caught.value


# ---------------------------------------------------------------- the file


def test_the_same_results_make_the_same_bundle(a_folder: Callable[..., Path]) -> None:
    place = a_folder("apc", 30)
    assert pack_bundle(place) == pack_bundle(place)
    bundle = open_bundle(pack_bundle(place))
    assert (bundle.upstream, list(bundle.entries), len(bundle.entries["ks"].predictions)) == ("apc", ["ks"], 96)
    assert bundle.data == pack_bundle(place)


def test_the_same_files_zipped_anew_are_the_same_bundle(bundle: bytes) -> None:
    anew = zipped(reversed(members(bundle).items()))
    assert anew != bundle
    assert open_bundle(anew).digest == open_bundle(bundle).digest
    assert open_bundle(anew).data == bundle


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason", "code"),
    [
        ({"ks/result.json": b"{}"}, "changed after it was made", "changed"),
        ({"../evil.json": b"{}"}, "file with an unexpected name", "strange_member"),
        ({"/etc/evil/result.json": b"{}"}, "file with an unexpected name", "strange_member"),
        ({"ks/../../result.json": b"{}"}, "file with an unexpected name", "strange_member"),
        ({"ks\\result.json": b"{}"}, "file with an unexpected name", "strange_member"),
        ({"ks/": b""}, "file with an unexpected name", "strange_member"),
        ({"k" * 60 + "/result.json": b"{}"}, "file with an unexpected name", "strange_member"),
        ({"sid/result.json": b"{}"}, "manifest and its files differ", "manifest"),
        ({"manifest.json": b"{}"}, "no usable manifest", "manifest"),
        ({"manifest.json": b"[" * 100_000}, "no usable manifest", "json"),
    ],
)
def test_a_bundle_that_was_tampered_with_is_refused(bundle: bytes, change: dict[str, bytes], reason: str, code: str) -> None:
    with pytest.raises(Malformed, match=reason) as caught:
        open_bundle(rezipped(bundle, change))
    assert (caught.value.status, caught.value.code) == (400, code)


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\5\6", b"PK\5\6" + bytes(18), b"PK\3\4" + bytes(1000)])
def test_what_is_no_zip_file_is_refused(data: bytes) -> None:
    assert refused(data).status == 400


def test_a_reason_names_what_is_wrong(bundle: bytes) -> None:
    files = members(bundle)
    del files["manifest.json"]
    assert str(refused(zipped(files.items()))) == "The bundle lacks manifest.json. Make a bundle with `superbench submit`."
    moved = {name.replace("ks/", "foo/"): content for name, content in files.items()}
    manifest = json.loads(members(bundle)["manifest.json"])
    manifest["files"] = {name.replace("ks/", "foo/"): digest for name, digest in manifest["files"].items()}
    reason = str(refused(zipped({"manifest.json": json.dumps(manifest).encode(), **moved}.items())))
    assert reason == "foo/result.json is of the task 'ks', but its folder says 'foo'. Make the bundle again."
    reason = str(refused(rezipped(bundle, {}, honest=True, upstream="z33")))
    assert reason == "ks/result.json is of the model 'apc', but the manifest.json says 'z33'. Make the bundle again."
    for name in ("apc ", " apc", "apc\u3000"):
        assert "begins or ends with a blank" in str(refused(rezipped(bundle, {}, honest=True, upstream=name)))
    for digits, quoted in ((30, "1" * 30), (31, "1" * 29 + "…")):
        changed = members(bundle)["ks/result.json"].replace(b'"value": 62.5', b'"value": ' + b"1" * digits, 1)
        assert f" {quoted} is larger" in str(refused(rezipped(bundle, {"ks/result.json": changed}, honest=True)))


def test_an_upload_that_was_cut_off_is_refused_wherever_it_ends(bundle: bytes) -> None:
    for end in range(1, len(bundle), max(1, len(bundle) // 97)):
        assert refused(bundle[:end]).status == 400
    assert refused(bundle + b"more").status == 400
    assert refused(b"before" + bundle).status == 400


def test_any_changed_byte_is_refused_or_changes_nothing(bundle: bytes) -> None:
    outcomes = set()
    for at in range(0, len(bundle), 7):
        changed = bytearray(bundle)
        changed[at] ^= 0x55
        try:
            outcomes.add(open_bundle(bytes(changed)).digest)
        except (Malformed, TooLarge) as error:
            outcomes.add(str(error.status))
    assert outcomes <= {open_bundle(bundle).digest, "400", "413"}


def test_a_name_that_stands_twice_is_refused(bundle: bytes) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = zipped([*members(bundle).items(), (PACK, b"other")])
    assert refused(twice).code == "duplicate_member"


def test_a_link_is_refused(bundle: bytes) -> None:
    link = zipfile.ZipInfo("sid/result.json")
    link.external_attr = 0o120777 << 16
    assert refused(zipped([*members(bundle).items(), (link, b"/etc/passwd")])).code == "link"


@pytest.mark.slow
def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = zipped([("ks/result.json", bytes(500_000_000))])
    assert len(bomb) < 1_000_000
    tracemalloc.start()
    error = refused(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (error.status, error.code) == (413, "ratio")
    assert peak < 10_000_000


def test_a_member_that_lies_about_its_size_is_refused(bundle: bytes) -> None:
    bomb = zipped([("ks/result.json", bytes(50_000_000))])
    start = bomb.rindex(b"PK\1\2")
    lying = bomb[: start + 24] + struct.pack("<L", 1000) + bomb[start + 28 :]
    assert refused(lying).status == 400


def test_a_million_tiny_members_are_refused_without_being_listed() -> None:
    record = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0) + b"a/b/c"
    count = 1_000_000
    directory = record * count
    for told in (count & 0xFFFF, 3):
        data = directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, told, told, len(directory), 0, 0)
        began = time.perf_counter()
        assert refused(data).status == 413
        assert time.perf_counter() - began < 5  # listing them takes much longer
    with pytest.raises(TooLarge):
        unpacked(zipped((f"{n}/result.json", b"{}") for n in range(65)), lambda name: True)


def test_members_that_overlap_are_refused() -> None:
    """Returns an archive with two directory entries for the bytes of one member, as in overlapping zip bombs."""
    data = zipped([("ks/result.json", b"{}" * 100), ("sid/result.json", b"{}" * 100)])
    end = data.rindex(b"PK\5\6")
    second = data.rindex(b"PK\1\2")
    shared = data[: second + 42] + struct.pack("<L", 0) + data[second + 46 :]
    assert end == len(data) - 22
    assert refused(shared).status == 400


@pytest.mark.slow
def test_a_gzip_bomb_in_the_predictions_is_refused(bundle: bytes) -> None:
    bomb = gzip.compress(bytes(300_000_000))
    tracemalloc.start()
    error = refused(rezipped(bundle, {PACK: bomb}, honest=True))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (error.status, error.code) == (413, "ratio")
    assert peak < 150_000_000
    for damaged in (b"", b"hello", gzip.compress(b"{}\n")[:-4], gzip.compress(b"{}\n") + b"x", gzip.compress(b"a\n") * 2):
        with pytest.raises(Malformed):
            gunzipped(damaged, "x")
    assert gunzipped(gzip.compress(bytes(5_000_000)), "x", Bounds(ratio=2000)) == bytes(5_000_000)


# ---------------------------------------------------------------- numbers and names


@pytest.mark.slow
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 5000, "12345678901234567890"])
def test_numbers_that_are_none_are_refused_wherever_they_stand(bundle: bytes, number: str) -> None:
    text = members(bundle)["ks/result.json"].decode()
    for old in ('"value": 62.5', '"spec": "apc@x"', '"dev": 50.0'):
        assert old in text
        changed = text.replace(old, f"{old.partition(':')[0]}: {number}").encode()
        error = refused(_fitted(bundle, changed))
        assert (error.status, error.code) == (400, "json")
    lines = with_lines(bundle, lambda lines: [lines[0].replace('"prediction": "no"', f'"prediction": {number}'), *lines[1:]])
    assert refused(lines).code == "json"


def _fitted(data: bytes, result: bytes) -> bytes:
    """Returns a bundle with this text as its result, and a matching manifest."""
    return rezipped(data, {"ks/result.json": result}, honest=True)


def test_a_key_that_stands_twice_is_refused(bundle: bytes) -> None:
    text = members(bundle)["ks/result.json"].decode()
    twice = text.replace('"primary"', '"primary": "other", "primary"', 1).encode()
    assert refused(_fitted(bundle, twice)).code == "json"


@pytest.mark.slow
def test_a_script_in_a_models_name_stays_text(bundle: bytes, tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    board = Board(tmp_path / "board")
    board.accept(board.examine(forged(bundle, lambda record: record["upstream"].update(name=name))))
    assert [row["name"] for row in board.contents()["groups"][0]["rows"]] == [name]
    board.write_page(tmp_path / "page.html")
    assert "<script>alert" not in (tmp_path / "page.html").read_text()
    assert all(path.resolve().is_relative_to(tmp_path / "board") for path in (tmp_path / "board" / "bundles").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\nb", "a\x00b", "a\x1b[2Jb", "a\u202eb", "a\u200bb", "\ud800"])
def test_names_that_cannot_be_printed_are_refused(bundle: bytes, name: str) -> None:
    assert refused(forged(bundle, lambda record: record["upstream"].update(name=name))).status == 400


@pytest.mark.slow
def test_a_name_of_a_hundred_megabytes_is_refused(bundle: bytes) -> None:
    error = refused(forged(bundle, lambda record: record["upstream"].update(name="x" * 100_000_000)))
    assert error.status in (400, 413)
    assert len(str(error)) < 1000


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x7f", "\udc00"])
def test_control_characters_are_refused_in_any_text(bundle: bytes, character: str) -> None:
    assert refused(forged(bundle, lambda record: record.update(notes=[f"a{character}b"]))).code == "json"
    escaped = json.dumps(character)[1:-1]
    lines = with_lines(bundle, lambda lines: [lines[0].replace('"prediction": "', f'"prediction": "{escaped}'), *lines[1:]])
    if escaped.startswith("\\"):
        assert refused(lines).code == "json"


# ---------------------------------------------------------------- what it says


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason", "code"),
    [
        (lambda r: r.update(extra=1), "Extra inputs", "schema"),
        (lambda r: r["upstream"].update(extra=1), "upstream.extra", "schema"),
        (lambda r: r.update(schema=9), "schema", "schema"),
        (lambda r: r["task"].update(version=99), "this board scores version", "version"),
        (lambda r: r["task"].update(name="sid"), "is of the task 'sid', but its folder says 'ks'", "mixed"),
        (lambda r: r["scores"]["accuracy"].update(value=62.6), r"is 62\.5000; the result claims 62\.6000", "score"),
        (lambda r: r["scores"]["accuracy"].update(ci=[62.0, 63.0]), "the interval of accuracy", "score"),
        (lambda r: r["scores"]["accuracy"]["counts"].update(items=1.0), "counts of accuracy", "score"),
        (lambda r: r["scores"]["accuracy"].update(higher_is_better=False), "wrong direction", "score"),
        (lambda r: r["scores"].update(other=r["scores"]["accuracy"]), "metrics of the task are accuracy", "score"),
        (lambda r: r["data"]["items"].update(test=97), "96 predictions in fold all, but its passport lists 97", "ids"),
        (lambda r: r["data"].update(items={}), "of which it lists no test items; it lists", "ids"),
        (lambda r: r.update(predictions="../../secret"), "expected predictions.jsonl.gz", "schema"),
        (lambda r: r["sweep"].pop(), "no deviation lists them", "learning_rate"),
        (lambda r: r["sweep"].append(r["sweep"][0] | {"lr": 0.0123}), "no deviation lists them", "learning_rate"),
        (lambda r: r["sweep"].append(r["sweep"][0]), "two receipts", "learning_rate"),
        (lambda r: r["chosen"]["all"].update(lr=r["sweep"][1]["lr"]), "it was not chosen on dev", "learning_rate"),
        (lambda r: r["chosen"]["all"].update(lr=0.0123), "no receipt in its sweep", "learning_rate"),
        (lambda r: r["sweep"][0].update(dev=None, status="diverged"), "no receipt in its sweep", "learning_rate"),
        (lambda r: r["sweep"][0].update(steps=10**9), "trained for more than", "learning_rate"),
        (lambda r: r.update(chosen={}), "must have the same folds", "learning_rate"),
    ],
)  # fmt: skip
def test_a_result_that_does_not_hold_is_refused_with_the_reason(
    bundle: bytes, change: Callable[[dict[str, Any]], object], reason: str, code: str
) -> None:
    with pytest.raises(Refusal, match=reason) as caught:
        examine(open_bundle(forged(bundle, change)))
    assert (caught.value.status, caught.value.code) == (422, code)


def test_a_documented_deviation_is_taken_and_not_ranked(bundle: bytes, tmp_path: Path) -> None:
    def own_grid(record: dict[str, Any]) -> None:
        record["sweep"] = [record["sweep"][0] | {"lr": 0.05}]
        record["chosen"]["all"]["lr"] = 0.05
        record["deviations"] = ["learning rates 0.05 in place of the recipe's grid"]

    board = Board(tmp_path / "board")
    board.accept(board.examine(forged(bundle, own_grid)))
    (row,) = board.contents()["groups"][0]["rows"]
    assert (row["rank"], row["cells"]["ks.accuracy"]["place"]) == (None, None)


def test_one_changed_prediction_is_refused_with_the_difference(bundle: bytes) -> None:
    changed = with_lines(bundle, lambda lines: [lines[0].replace('"prediction": "no"', '"prediction": "up"'), *lines[1:]])
    error = refused(changed)
    assert error.code == "score"
    assert "computed from its predictions is 61.4583; the result claims 62.5000" in str(error)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda lines: [*lines, lines[0]], "ids"),
        (lambda lines: [], "ids"),
        (lambda lines: lines[:-1], "ids"),
        (lambda lines: [line.replace('"fold": "all"', '"fold": 3') for line in lines], "predictions"),
        (lambda lines: [line[:-1] + ', "more": 1}' for line in lines], "predictions"),
        (lambda lines: [lines[0].replace('"id": "', f'"id": "{"x" * 501}'), *lines[1:]], "predictions"),
        (lambda lines: [lines[0].replace('"fold": "', f'"fold": "{"x" * 501}'), *lines[1:]], "predictions"),
        (lambda lines: ["[]"] * 96, "predictions"),
        (lambda lines: [lines[0].replace('"prediction": "no"', f'"prediction": "{"x" * 30_000}"'), *lines[1:]], "predictions"),
    ],
)  # fmt: skip
def test_predictions_that_are_none_are_refused(bundle: bytes, change: Callable[[list[str]], list[str]], code: str) -> None:
    assert refused(with_lines(bundle, change)).code == code


def test_results_of_two_models_are_no_bundle(a_folder: Callable[..., Path], bundle: bytes) -> None:
    from superbench.plugins import task

    record = json.loads(members(bundle)["ks/result.json"])
    record["task"]["name"], record["upstream"]["revision"] = "ic", "another"
    record["task"]["version"] = task("ic").card.version
    two = rezipped(
        bundle, {"ic/result.json": json.dumps(record).encode(), "ic/predictions.jsonl.gz": members(bundle)[PACK]}, honest=True
    )
    assert "models that differ in revision" in str(refused(two))


# ---------------------------------------------------------------- references


def relabelled(predictions: list[Prediction]) -> list[Prediction]:
    return [Prediction(one.id, one.fold, one.group, one.prediction, one.prediction) for one in predictions]


@pytest.mark.slow
def test_the_boards_own_references_count_and_those_of_a_bundle_do_not(address: str, a_folder: Callable[..., Path]) -> None:
    board = Board(address)
    (added,) = board.add_references(a_folder("mine", 3, where="mine"))
    assert (added.task, len(added.labels), board.references()) == ("ks", 96, ["ks-f"])
    shuffled = list(reversed(open_bundle(pack_bundle(a_folder("x", 30))).entries["ks"].predictions))
    blank = [Prediction(one.id, one.fold, ("me",), "lies", one.prediction) for one in shuffled]
    assert [receipt.fresh for receipt in board.submit(a_folder("apc", 30, predictions=blank))] == [True]
    with pytest.raises(Refusal, match=r"accuracy computed from its predictions is 62\.5000; the result claims 100\.0000"):
        board.submit(a_folder("cheat", 48, predictions=relabelled(shuffled)))
    for wrong, words in (
        (shuffled[1:], "1 missing"),
        ([*shuffled, shuffled[0]], "two predictions for the same id"),
        ([_other(shuffled[0]), *shuffled[1:]], "1 unknown"),
    ):
        with pytest.raises(Refusal, match=words) as caught:
            board.submit(a_folder("wrong", 30, predictions=wrong))
        assert caught.value.code == "ids"


def _other(one: Prediction) -> Prediction:
    return Prediction("another.wav", one.fold, one.group, one.reference, one.prediction)


def test_predictions_for_another_corpus_are_refused(address: str, a_folder: Callable[..., Path]) -> None:
    board = Board(address)
    board.add_references(a_folder("mine", 3, where="mine"))
    foreign = [Prediction(f"other/{n}.wav", "all", (f"s{n}",), "yes", "yes") for n in range(96)]
    with pytest.raises(Refusal, match="another corpus") as caught:
        board.submit(a_folder("foreign", 48, predictions=foreign))
    assert (caught.value.status, caught.value.code) == (422, "ids")


@pytest.mark.slow
def test_own_references_that_come_later_apply_to_accepted_bundles(address: str, a_folder: Callable[..., Path]) -> None:
    board = Board(address)
    board.submit(
        a_folder("cheat", 48, predictions=relabelled(open_bundle(pack_bundle(a_folder("x", 30))).entries["ks"].predictions))
    )
    assert [row["name"] for row in board.contents()["groups"][0]["rows"]] == ["cheat"]
    board.add_references(a_folder("mine", 3, where="mine"))
    found = board.contents()
    assert "claims 100.0000" in found["refused"][0]
    assert [group["protocol"] for group in found["groups"]] == ["published"]


@pytest.mark.slow
def test_labels_that_may_not_be_handed_on_are_left_out_on_request(a_folder: Callable[..., Path], tmp_path: Path) -> None:
    """The licence of KS allows sharing labels, that of IC does not (see its card); the IC result is made from a KS result."""
    from superbench.plugins import task
    from superbench.results import write_result

    place = a_folder("apc", 30)
    assert pack_bundle(place, without_references=True) == pack_bundle(place)
    assert [name for name in ("pr", "asr", "ks", "qbe", "sid", "asv", "sd", "er", "ic", "sf") if task(name).card.withheld] == [
        "pr", "asr", "qbe", "er", "ic", "sf",
    ]  # fmt: skip
    full = intents(a_folder)
    write_result(place / "ic", full[0], full[1])
    data = pack_bundle(place, without_references=True)
    opened: Bundle = open_bundle(data)
    assert {one.reference for one in opened.entries["ic"].predictions} == {None}
    assert {one.reference for one in opened.entries["ks"].predictions} == {"yes", "no"}
    board = Board(tmp_path / "board")
    with pytest.raises(Refusal, match="has none of its own") as caught:
        board.accept(board.examine(data))
    assert caught.value.code == "references"
    board.add_references(place)
    assert board.accept(board.examine(data)).tasks == ("ic", "ks")


def intents(a_folder: Callable[..., Path]) -> tuple[Any, list[Prediction]]:
    """A result of intent classification with complete slots."""
    from superbench.plugins import task
    from superbench.results import read_result
    from superbench.results.intervals import interval

    intent = {"action": "activate", "object": "lights", "location": "kitchen"}
    predictions = [
        Prediction(f"{n:03}", "all", (f"s{n}",), intent, intent if n % 3 else intent | {"object": "music"}) for n in range(60)
    ]
    card, score = task("ic").card, task("ic").score(predictions, {})["accuracy"]
    low, high, method = interval(predictions, score)
    record = read_result(a_folder("apc", 30) / "ks").model_dump(mode="json", by_alias=True)
    record["task"] |= {"name": "ic", "version": card.version}
    record["scores"]["accuracy"] |= {"value": score.value, "ci": [low, high], "ci_method": method, "counts": dict(score.counts)}
    rates = card.recipes["mini"].learning_rates
    record["sweep"] = [{"fold": "all", "lr": lr, "seed": 0, "dev": 50.0 - i, "steps": 10} for i, lr in enumerate(rates)]
    record["chosen"]["all"]["lr"] = rates[0]
    record["data"]["items"]["test"] = 60
    return type(read_result(a_folder("apc", 30) / "ks")).model_validate(record), predictions
