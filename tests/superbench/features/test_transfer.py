"""Features move to another machine in one archive: what arrives is what left, and nothing else is written."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from superbench.cli.app import app
from superbench.errors import BadResult, CommandError, StoreError
from superbench.features.store import Store
from superbench.features.store.labels import index_at, label, labels
from superbench.features.store.transfer import LIST, pack, unpack
from superbench.system.progress import Silence

KEYS = [bytes([number]) * 16 for number in range(6)]


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A store with two shards of three keys each, used by different models, and outputs of a model."""
    root = tmp_path / "store"
    with Store(root) as store:
        for number, name in enumerate(("a" * 32, "b" * 32)):
            keys = KEYS[3 * number : 3 * number + 3]
            store.add(name, keys, [torch.full((2, 1, 4), float(key[0])) for key in keys])
    label(root, ["a" * 32], "fbank", "ks")
    label(root, ["b" * 32], "apc", "ic")
    (root / "outputs").mkdir()
    (root / "outputs" / f"{'c' * 16}.safetensors").write_bytes(b"outputs")
    return root


def contents(root: Path) -> dict[bytes, float]:
    """Every key with its first value."""
    with Store(root) as store:
        found = store.find(KEYS)
        store.use({entry.shard for entry in found.values()})
        return {key: float(store.read(entry)[0, 0, 0]) for key, entry in found.items()}


def rewritten(archive: Path, out: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], object]) -> Path:
    """The archive with changed members."""
    with tarfile.open(archive) as reader:
        members = [(member, reader.extractfile(member).read()) for member in reader]  # type: ignore[union-attr]
    change(members)
    with tarfile.open(out, "w") as writer:
        for member, data in members:
            member.size = 0 if member.issym() else len(data)
            writer.addfile(member, io.BytesIO(data))
    return out


def test_features_names_and_outputs_arrive(full: Path, tmp_path: Path) -> None:
    archive, there = tmp_path / "features.tar", tmp_path / "there"
    assert pack(full, archive, Silence()).entries == 6
    Store(there).close()
    moved = unpack(archive, there, Silence())
    assert (moved.shards, moved.known) == (2, 0)
    assert contents(there) == contents(full) == {key: float(key[0]) for key in KEYS}
    with index_at(there) as index:
        assert labels(index) == {"a" * 32: ({"fbank"}, {"ks"}), "b" * 32: ({"apc"}, {"ic"})}
    assert (there / "outputs" / f"{'c' * 16}.safetensors").read_bytes() == b"outputs"
    assert [state.state for state in Store(there).verify()] == ["whole", "whole"]
    assert unpack(archive, there, Silence()).known == 2
    assert not list(there.glob("unpacking-*"))


def test_an_archive_is_not_written_over_another_file(full: Path, tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_text("mine")
    done = CliRunner().invoke(app, ["store", "pack", str(tmp_path / "ledger.jsonl"), "--store", str(full)])
    assert isinstance(done.exception, CommandError)
    assert "exists already; nothing was written over it" in str(done.exception)
    assert (tmp_path / "ledger.jsonl").read_text() == "mine"


def test_only_the_features_of_a_model_or_a_task_are_packed(full: Path, tmp_path: Path) -> None:
    archive, there = tmp_path / "features.tar", tmp_path / "there"
    pack(full, archive, Silence(), models=["fbank"])
    Store(there).close()
    unpack(archive, there, Silence())
    assert set(contents(there)) == set(KEYS[:3])
    with pytest.raises(StoreError, match="no features of apc and ks"):
        pack(full, archive, Silence(), models=["apc"], tasks=["ks"])


def test_a_changed_byte_is_found_and_not_used(full: Path, tmp_path: Path) -> None:
    archive, there = tmp_path / "features.tar", tmp_path / "there"
    pack(full, archive, Silence())

    def flip(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        member, data = members[-1]
        members[-1] = (member, data[:-1] + bytes([data[-1] ^ 1]))

    Store(there).close()
    with pytest.raises(BadResult, match=r"bbbb differs from its digest"):
        unpack(rewritten(archive, tmp_path / "bad.tar", flip), there, Silence())
    assert set(contents(there)) == set(KEYS[:3])


def outside(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """Add a file above the store."""
    members.append((tarfile.TarInfo("../evil"), b"x"))


def absolute(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """List and add a file with an absolute name."""
    listed = json.loads(members[0][1])
    listed["shards"][0]["name"] = "/tmp/evil"
    members[0] = (members[0][0], json.dumps(listed).encode())


def link(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """Replace a file by a link."""
    member = tarfile.TarInfo(members[-1][0].name)
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members[-1] = (member, b"")


def false_rows(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """Let the list say more rows than a shard has."""
    listed = json.loads(members[0][1])
    listed["shards"][0]["entries"][0][2] = 99
    members[0] = (members[0][0], json.dumps(listed).encode())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (outside, r"'\.\./evil' is not in its list"),
        (absolute, "its list is not valid: shards.0.name"),
        (link, "is no plain file"),
        (false_rows, "has 6 rows, fewer than its list says"),
        (lambda members: members.pop(), "files in its list are missing: it was cut off"),
        (lambda members: members.pop(0), f"it does not begin with {LIST}"),
    ],
)
def test_an_archive_that_is_not_as_listed_is_refused(
    full: Path, tmp_path: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], object], said: str
) -> None:
    archive, there = tmp_path / "features.tar", tmp_path / "deep" / "there"
    pack(full, archive, Silence())
    Store(there).close()
    before = {path for path in tmp_path.rglob("*") if "there" not in path.parts}
    with pytest.raises(BadResult, match=said):
        unpack(rewritten(archive, tmp_path / "bad.tar", change), there, Silence())
    assert {path for path in tmp_path.rglob("*") if "there" not in path.parts} - before == {tmp_path / "bad.tar"}


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.tar").write_bytes(b"not a tar file" * 100)
    Store(tmp_path / "there").close()
    with pytest.raises(BadResult, match="no archive of features"):
        unpack(tmp_path / "no.tar", tmp_path / "there", Silence())


def test_a_damaged_shard_is_not_packed(full: Path, tmp_path: Path) -> None:
    shard = full / "shards" / "bb" / f"{'b' * 32}.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreError, match="is not what was written"):
        pack(full, tmp_path / "features.tar", Silence())
    assert not (tmp_path / "features.tar").exists()


@pytest.mark.slow
def test_the_commands_name_models_and_tasks(full: Path, tmp_path: Path) -> None:
    def said(*arguments: str | Path) -> str:
        done = CliRunner().invoke(app, ["store", *map(str, arguments)])
        assert done.exit_code == 0, done.output
        return done.output

    listed = json.loads(said("ls", "--store", full, "--json"))["shards"]
    assert {shard["shard"][:1]: (shard["models"], shard["tasks"]) for shard in listed} == {
        "a": (["fbank"], ["ks"]), "b": (["apc"], ["ic"]),
    }  # fmt: skip
    assert "fbank" in said("ls", "--store", full)
    said("pack", tmp_path / "f.tar", "--store", full, "--tasks", "ic")
    assert "3 entries in 1 shards" in said("unpack", tmp_path / "f.tar", "--store", tmp_path / "new")


def test_names_of_shards_that_are_gone_are_forgotten(full: Path) -> None:
    with Store(full) as store:
        store.forget("a" * 32)
    label(full, ["b" * 32], "fbank", "er")
    with index_at(full) as index:
        assert labels(index) == {"b" * 32: ({"apc", "fbank"}, {"ic", "er"})}
