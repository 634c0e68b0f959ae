"""State files with a flipped bit or a missing part are detected, reported, made again and never used."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from superbench import plugins
from superbench.contract import Audio
from superbench.errors import BadCheckpoint, DamagedFile, StoreError
from superbench.features.extraction import extract
from superbench.features.store import Store
from superbench.plugins.checkpoints import fresh_model, load_model, save_model
from superbench.system.files import load_sealed, read_facts, save_sealed, save_tensors, write_facts
from superbench.system.progress import Silence
from superbench.training.loop import fit
from superbench.training.pretraining.output import OutputFiles


class Heard(Silence):
    """A reporter that records messages."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def flipped(data: bytes, bit: int) -> bytes:
    whole = bytearray(data)
    whole[bit // 8] ^= 1 << bit % 8
    return bytes(whole)


# ---------------------------------------------------------------- files


@pytest.mark.slow
def test_no_bit_of_a_sealed_file_can_be_flipped_unseen(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    tensors = {"a": torch.arange(3.0), "b": torch.tensor(7), "c": torch.zeros(0, dtype=torch.bfloat16)}
    save_sealed(path, tensors, {"step": "3"})
    whole, seen = path.read_bytes(), 0
    for bit in range(8 * len(whole)):
        path.write_bytes(flipped(whole, bit))
        try:
            found, facts = load_sealed(path)
        except StoreError:
            seen += 1
            continue
        assert {name: (value.dtype, value.tolist()) for name, value in found.items()} == {
            name: (value.dtype, value.tolist()) for name, value in tensors.items()
        }, bit
        assert facts["step"] == "3", bit
    assert seen > 0.9 * 8 * len(whole)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, -1])
def test_a_file_that_is_cut_off_is_damaged(tmp_path: Path, length: int) -> None:
    path = tmp_path / "state.safetensors"
    save_sealed(path, {"a": torch.arange(300.0)}, {})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedFile):
        load_sealed(path)


def test_a_file_without_a_digest_is_no_sealed_one(tmp_path: Path) -> None:
    save_tensors(tmp_path / "state.safetensors", {"a": torch.arange(3.0)}, {})
    with pytest.raises(DamagedFile, match="no digest"):
        load_sealed(tmp_path / "state.safetensors")


@pytest.mark.slow
def test_no_bit_of_remembered_facts_can_be_flipped_unseen(tmp_path: Path) -> None:
    path, facts = tmp_path / "facts.json", [{"name": "mates", "value": 0.25, "holds": True}]
    write_facts(path, facts)
    assert read_facts(path) == facts
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        path.write_bytes(flipped(whole, bit))
        try:
            assert read_facts(path) == facts, bit
        except DamagedFile:
            continue


# ---------------------------------------------------------------- training


class Counter:
    """A learner that counts."""

    def __init__(self) -> None:
        self.weight = torch.zeros(50)
        self.steps: list[int] = []

    def step(self, number: int) -> float:
        self.weight += number
        self.steps.append(number)
        return 0.0

    def state(self) -> dict[str, Tensor]:
        return {"weight": self.weight.clone()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.weight = state["weight"]


def counted(path: Path, steps: int) -> tuple[Counter, list[str]]:
    learner, heard = Counter(), Heard()
    fit(
        learner, steps=steps, evaluate_every=steps, evaluate=lambda step: None, log=[], checkpoint=path, identity="count",
        checkpoint_every=2, reporter=heard,
    )  # fmt: skip
    return learner, heard.notes


@pytest.mark.parametrize(
    "harm", [lambda data: flipped(data, 8 * (len(data) - 9) + 2), lambda data: data[:-20], lambda data: b""]
)
def test_training_state_that_was_harmed_is_said_and_made_again(tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "all.safetensors"
    counted(path, 4)
    going_on, notes = counted(path, 6)
    assert going_on.steps == [4, 5]
    assert not notes
    path.write_bytes(harm(path.read_bytes()))
    again, notes = counted(path, 6)
    assert again.steps == list(range(6))
    assert torch.equal(again.weight, going_on.weight)
    assert len(notes) == 1
    assert str(path) in notes[0]
    assert "starts again" in notes[0]


def an_apc(path: Path) -> Any:
    family = plugins.plugin(plugins.parse("apc"))
    save_model(path, fresh_model(family, "mini", 0), family="apc", size="mini", facts={"run": json.dumps({"model": "apc"})})
    return family


@pytest.mark.slow
def test_a_checkpoint_with_a_flipped_bit_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "apc.safetensors"
    family = an_apc(path)
    load_model(family, path, "apc")
    data = path.read_bytes()
    path.write_bytes(flipped(data, 8 * (len(data) - 100) + 1))
    with pytest.raises(BadCheckpoint, match=r"is damaged: its content is not what was written\. .*superbench pretrain apc"):
        load_model(family, path, "apc")


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [{"layers": 0}, {"layers": -1}, {"width": -1}, {"width": 0}, {"width": "256"}, {"width": None}, {"width": True},
     {"stack": 0}, {"bins": 0}, {"bins": [80]}, {"dropout": "much"}, {"dropout": -0.5}, {"layers": 1.5}, {"width": 10**9}],
)  # fmt: skip
def test_a_configuration_that_no_model_can_have_is_one_sentence(tmp_path: Path, change: dict[str, Any]) -> None:
    family = an_apc(tmp_path / "apc.safetensors")
    tensors, facts = load_sealed(tmp_path / "apc.safetensors")
    config = json.loads(facts.pop("config"))
    known = {name: value for name, value in change.items() if name in config}
    assert known, config
    path = tmp_path / "odd.safetensors"
    facts.pop("digest")
    save_sealed(path, tensors, {**facts, "config": json.dumps(config | known)})
    with pytest.raises(BadCheckpoint, match=str(path)) as caught:
        load_model(family, path, "apc")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["", "[]", "3", "null", "{", '{"layers": 3}', '"text"'])
def test_a_configuration_that_is_none_is_one_sentence(tmp_path: Path, config: str) -> None:
    family = an_apc(tmp_path / "apc.safetensors")
    tensors, facts = load_sealed(tmp_path / "apc.safetensors")
    path = tmp_path / "odd.safetensors"
    save_sealed(path, tensors, {name: value for name, value in facts.items() if name != "digest"} | {"config": config})
    with pytest.raises(BadCheckpoint, match=str(path)):
        load_model(family, path, "apc")


@pytest.mark.parametrize("harm", [lambda data: flipped(data, 8 * (len(data) - 100)), lambda data: data[: len(data) // 2]])
def test_a_finished_checkpoint_that_was_harmed_is_kept_aside_and_made_again(
    tmp_path: Path, harm: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "apc.safetensors"
    an_apc(path)
    assert OutputFiles(path).made({"model": "apc"}, replace=False)
    path.write_bytes(harm(path.read_bytes()))
    place = OutputFiles(path)
    assert not place.made({"model": "apc"}, replace=False)
    assert place.damaged == tmp_path / "apc.safetensors.damaged"
    assert place.damaged.is_file()
    assert not path.exists()


def test_what_a_training_would_go_on_from_is_no_hindrance_when_it_is_damaged(tmp_path: Path) -> None:
    place = OutputFiles(tmp_path / "apc.safetensors")
    place.resume.write_bytes(b"\0" * 100)
    assert not place.made({"model": "apc"}, replace=False)


# ---------------------------------------------------------------- the index


def indexed(root: Path, statement: str) -> None:
    with sqlite3.connect(root / "index.sqlite") as index:
        assert index.execute(statement).rowcount > 0


@pytest.fixture
def sounds(tone_corpora: Path) -> list[Audio]:
    return [Audio(path) for path in sorted(tone_corpora.rglob("*.wav"))[:6]]


FALSE = {
    "a digest of a sound": "UPDATE sounds SET digest = (SELECT max(digest) FROM sounds)",
    "a length of a sound": "UPDATE sounds SET samples = samples + 1",
    "rows of an entry": "UPDATE entries SET start = (SELECT max(start) FROM entries)",
    "a shard's digest": "UPDATE shards SET checksum = '00'",
    "a seal": "UPDATE entries SET seal = x'00'",
}


@pytest.mark.slow
@pytest.mark.parametrize("false", FALSE)
def test_a_false_row_of_the_index_is_found_before_features_are_used(
    false: str, sounds: list[Audio], tones: ModuleType, tmp_path: Path
) -> None:
    model = plugins.loaded(plugins.parse("spectrum=fbank"), tones.Spectrum())
    with Store(tmp_path) as store:
        first = extract(model, sounds, "mean", store, "cpu", Silence())
        expected = [first[audio].clone() for audio in sounds]
    indexed(tmp_path, FALSE[false])
    heard = Heard()
    with Store(tmp_path) as store:
        again = extract(model, sounds, "mean", store, "cpu", heard)
        assert all(torch.equal(again[audio], value) for audio, value in zip(sounds, expected, strict=True))
        assert [again.samples(audio) for audio in sounds] == [first.samples(audio) for audio in sounds]
        assert heard.notes
        assert not [finding for finding in store.verify() if finding.state == "damaged"]


def test_verify_names_false_rows_and_forgets_them_when_asked(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add("ab" * 16, [b"k" * 16], [torch.zeros(3, 2, 5)])
        indexed(tmp_path, "UPDATE entries SET rows = 2")
        damaged = [finding for finding in store.verify() if finding.state == "damaged"]
        assert [finding.message for finding in damaged] == ["1 rows of entries in the index are damaged"]
        store.forget(damaged[0].shard)
        assert not [finding for finding in store.verify() if finding.state == "damaged"]


@pytest.mark.slow
def test_an_index_that_sqlite_finds_damaged_is_made_anew_and_said(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for number in range(200):
            store.add(f"{number:032x}", [number.to_bytes(16)], [torch.full((1, 2, 3), float(number))])
    file = tmp_path / "index.sqlite"
    data = bytearray(file.read_bytes())
    for page in range(1, len(data) // 4096):  # every page but the first says that it is of a kind that is none
        data[page * 4096] ^= 64
    file.write_bytes(data)
    with Store(tmp_path) as store, pytest.raises(DamagedFile, match="run the same command again"):
        store.find([number.to_bytes(16) for number in range(200)])
    with Store(tmp_path) as store:
        assert store.remarks() == [
            "the index of the feature store was damaged; a new one is created, and features are computed again"
        ]
        assert not store.remarks()
        assert not store.find([bytes(16)])
        store.add("ab" * 16, [bytes(16)], [torch.zeros(1, 2, 3)])
        assert store.find([bytes(16)])


def test_features_made_again_never_lie_under_the_entries_of_others(
    sounds: list[Audio], tones: ModuleType, tmp_path: Path
) -> None:
    model = plugins.loaded(plugins.parse("spectrum=fbank"), tones.Spectrum())
    with Store(tmp_path) as store:
        few = extract(model, sounds[:3], "frames", store, "cpu", Silence())
        shard = next(iter(few.entries.values())).shard
        every = extract(model, sounds, "frames", store, "cpu", Silence())
        expected = {audio: every[audio].clone() for audio in sounds}
        store.forget(shard)
        again = extract(model, sounds, "frames", store, "cpu", Silence())
        assert all(torch.equal(again[audio], expected[audio]) for audio in sounds)


def test_the_index_of_an_earlier_version_keeps_its_features(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add("ab" * 16, [b"k" * 16], [torch.ones(3, 2, 5)])
    with sqlite3.connect(tmp_path / "index.sqlite") as index:
        for table in ("entries", "shards", "sounds"):
            index.execute(f"ALTER TABLE {table} DROP COLUMN seal")
        index.execute("PRAGMA user_version = 2")
    with Store(tmp_path) as store:
        assert store.read(store.find([b"k" * 16])[b"k" * 16]).sum() == 30
        assert not store.remarks()


def test_a_lost_row_lets_its_whole_shard_pass_again_in_the_batches_of_before(
    sounds: list[Audio], tones: ModuleType, tmp_path: Path
) -> None:
    passed: list[int] = []

    class Counting(tones.Spectrum):  # type: ignore[name-defined, misc]
        def forward(self, waves: Tensor, lengths: Tensor) -> Any:
            passed.append(len(waves))
            return super().forward(waves, lengths)

    model = plugins.loaded(plugins.parse("spectrum=fbank"), Counting())
    with Store(tmp_path) as store:
        extract(model, sounds, "mean", store, "cpu", Silence())
    first = list(passed)
    indexed(tmp_path, "UPDATE entries SET start = 7 WHERE key = (SELECT min(key) FROM entries)")
    with Store(tmp_path) as store:
        extract(model, sounds, "mean", store, "cpu", Silence())
    assert passed == first * 2
