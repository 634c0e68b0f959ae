"""Decoding runs ahead of the model, writing behind it: no number of threads changes a byte, and memory stays bounded."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from superbench import plugins
from superbench.contract import Audio, Features
from superbench.errors import BadAudio, BadUpstream, StoreError
from superbench.features import decoding, forward, line, sharding
from superbench.features.attempts import ATTEMPTS, Attempts
from superbench.features.extraction import Extraction, contribute, extract
from superbench.features.forward import Begun, ForwardOptions, Padded, padded
from superbench.features.reduction import reduced
from superbench.features.sharding import Piece
from superbench.features.store import Addition, Store
from superbench.features.transfer import Nowhere
from superbench.plugins import Loaded
from superbench.runs.options import Options, unusual_batches
from superbench.runs.run_plan import RunPlan
from superbench.system.cores import cores, share
from superbench.system.progress import Silence


@pytest.fixture
def sounds(tmp_path: Path) -> list[Audio]:
    """Twelve sounds of 0.5 to 1.6 s, in wav and flac."""
    random = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.{'flac' if number % 3 else 'wav'}" for number in range(12)]
    for number, path in enumerate(paths):
        soundfile.write(path, 0.1 * random.standard_normal(8_000 + 1_600 * number), 16_000, subtype="PCM_16")
    return [Audio(path) for path in paths]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of two sounds or so, and shards of two batches."""
    monkeypatch.setattr(sharding, "BATCH_SAMPLES", {"cpu": 40_000})
    monkeypatch.setattr(sharding, "SHARD_SECONDS", {"cpu": 3.0})


@pytest.fixture
def loaded(tones: ModuleType) -> Loaded:
    return plugins.loaded(plugins.parse("spectrum"), tones.Spectrum(), "cpu")


def files(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "shards").rglob("*.safetensors")}


def extracted(loaded: Loaded, sounds: Sequence[Audio], store: Store, reduction: str = "frames") -> Extraction:
    extraction = extract(loaded, sounds, reduction, store, "cpu", Silence())  # type: ignore[arg-type]
    extraction.close()
    return extraction


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["mean", "frames"])
@pytest.mark.usefixtures("small")
def test_no_number_of_readers_changes_a_byte(reduction: str, loaded: Loaded, sounds: list[Audio], tmp_path: Path) -> None:
    stored = []
    for readers in (1, 2, 7):
        with Store(tmp_path / str(readers), readers=readers) as store:
            extracted(loaded, sounds, store, reduction)
            assert not list((store.root / "writing").glob("*"))
        stored.append(files(tmp_path / str(readers)))
    assert len(stored[0]) > 2
    assert stored[0] == stored[1] == stored[2]


@pytest.mark.usefixtures("small")
def test_helpers_store_the_same_bytes(loaded: Loaded, sounds: list[Audio], tmp_path: Path) -> None:
    with Store(tmp_path / "a") as alone, Store(tmp_path / "b", readers=3) as helped:
        extracted(loaded, sounds, alone)
        passed = contribute(loaded, sounds, "frames", helped, "cpu")
        assert passed == pytest.approx(sum(0.5 + 0.1 * number for number in range(12)))
        assert extracted(loaded, sounds, helped).statistics.passed_seconds == 0
    assert files(tmp_path / "a") == files(tmp_path / "b")


# ---------------------------------------------------------------- decoding


def pieces(sounds: Sequence[Audio]) -> list[Piece]:
    return [Piece(str(number).encode(), audio, 8_000, "") for number, audio in enumerate(sounds)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Audio]:
    """The sounds that were decoded, in place of which there is noise."""
    seen: list[Audio] = []

    def load(audio: Audio) -> torch.Tensor:
        seen.append(audio)
        return torch.full((8_000,), float(audio.start))

    monkeypatch.setattr(decoding, "load", load)
    return seen


def decoder(loaded: Loaded, readers: int = 1) -> decoding.Decoder:
    def pad(waves: Sequence[torch.Tensor], audios: Sequence[Audio]) -> Padded:
        return padded(loaded, waves, audios, "cpu", ForwardOptions())

    return decoding.Decoder(readers, "cpu", pad)


def test_decoding_stays_a_bounded_way_ahead(loaded: Loaded, decoded: list[Audio], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "AHEAD_SECONDS", 2)
    batches = [[piece] for piece in pieces([Audio(Path("x"), start=number) for number in range(40)])]
    one = decoder(loaded)
    one.expect(batches)
    taken = one.take()
    one.close()
    assert float(taken.groups[0].waves[0, 0]) == 0.0
    assert len(decoded) <= 1 + 4  # the one that was taken, and 2 s of half a second each; a cancelled one never starts
    far = decoder(loaded, readers=8)
    decoded.clear()
    far.expect(batches)
    assert [float(far.take().groups[0].waves[0, 0]) for _ in batches] == list(range(40))
    far.close()
    assert len(decoded) == 40  # each once


def test_a_decoder_is_short_of_batches_until_it_can_stay_ahead(
    loaded: Loaded, decoded: list[Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "AHEAD_SECONDS", 2)
    batches = [[piece] for piece in pieces([Audio(Path("x"), start=number) for number in range(9)])]
    one = decoder(loaded)
    assert one.is_short
    one.expect(batches[:3])
    assert one.is_short  # 1.5 s of 2 s
    one.expect(batches[3:])
    assert not one.is_short
    taken = [float(one.take().groups[0].waves[0, 0]) for _ in range(6)]
    assert not one.is_short  # two batches are coming, one more is expected
    taken += [float(one.take().groups[0].waves[0, 0]) for _ in range(3)]
    assert one.is_short
    one.close()
    assert taken == list(range(9))
    assert len(decoded) == 9


def test_facts_about_sound_files_do_not_depend_on_the_readers(sounds: list[Audio], tmp_path: Path) -> None:
    paths = [audio.path for audio in sounds] * 2
    known = []
    for readers in (1, 5):
        with Store(tmp_path / str(readers), readers=readers) as store:
            known.append(store.sounds(paths))
    assert known[0] == known[1]
    assert [sound.samples for sound in known[0]] == [8_000 + 1_600 * number for number in range(12)] * 2
    paths[4].write_bytes(b"no sound")
    with Store(tmp_path / "new", readers=5) as store, pytest.raises(BadAudio, match=r"4\.flac"):
        store.sounds(paths)


# ---------------------------------------------------------------- writing


class Calls(torch.nn.Module):
    """The spectrum model; `event` is set at call number `at`, and call number `fails` returns NaN."""

    sample_rate, hop, layers, dim = 16_000, 320, 2, 17

    def __init__(self, model: torch.nn.Module, at: int = 0, fails: int = 0) -> None:
        super().__init__()
        self.model, self.at, self.fails, self.calls, self.event = model, at, fails, 0, threading.Event()

    def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
        self.calls += 1
        if self.calls == self.at:
            self.event.set()
        features = self.model(waves, lengths)
        return Features(features.frames * torch.nan, features.lengths) if self.calls == self.fails else features


def calls(tones: ModuleType, **given: int) -> tuple[Loaded, Calls]:
    model = Calls(tones.Spectrum(), **given)
    return plugins.loaded(plugins.parse("spectrum"), model, "cpu"), model


@pytest.mark.usefixtures("small")
def test_the_model_goes_on_while_a_shard_is_written(
    tones: ModuleType, sounds: list[Audio], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, model = calls(tones, at=4)  # a call for the second shard, after those for the reference outputs
    write, went_on = Addition.write, []

    def waiting(addition: Addition) -> None:
        went_on.append(model.event.wait(20))
        write(addition)

    monkeypatch.setattr(Addition, "write", waiting)
    with Store(tmp_path / "store", readers=1) as store:
        model.calls = 0
        extracted(loaded, sounds, store)
    assert len(went_on) > 2
    assert all(went_on)


@pytest.mark.usefixtures("small")
def test_few_features_wait_for_the_disk(
    loaded: Loaded, sounds: list[Audio], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "PENDING_BYTES", 0)
    waiting: set[str] = set()
    most = []
    begin, commit = Store.begin, Store.commit

    def counted(store: Store, name: str, keys: Sequence[bytes], values: Sequence[torch.Tensor]) -> Addition:
        waiting.add(name)
        most.append(len(waiting))
        return begin(store, name, keys, values)

    def done(store: Store, addition: Addition) -> None:
        waiting.discard(addition.name)
        commit(store, addition)

    monkeypatch.setattr(Store, "begin", counted)
    monkeypatch.setattr(Store, "commit", done)
    with Store(tmp_path / "store", readers=4) as store:
        extracted(loaded, sounds, store)
    assert set(most) == {1}
    assert len(most) > 2


@pytest.mark.parametrize("reduction", ["mean", "frames"])
@pytest.mark.usefixtures("small")
def test_what_was_complete_before_an_error_is_stored(
    reduction: str, tones: ModuleType, sounds: list[Audio], tmp_path: Path
) -> None:
    loaded, model = calls(tones)
    with Store(tmp_path / "store") as store:
        model.fails = model.calls + 5
        with pytest.raises(BadUpstream, match=r"NaN or infinite features for .*\d\.(wav|flac)"):
            extracted(loaded, sounds, store, reduction)
        kept = files(store.root)
        assert 0 < len(kept) < 5
        assert {holding.shard for holding in store.contents()} == {Path(name).stem for name in kept}
        assert not list((store.root / "writing").glob("*"))
        model.fails = 0
        assert (
            0 < extracted(loaded, sounds, store, reduction).statistics.passed_seconds < 12.6
        )  # locks are free, and it goes on


@pytest.mark.usefixtures("small")
def test_a_disk_that_fails_behind_the_model_is_reported(
    loaded: Loaded, sounds: list[Audio], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(addition: Addition) -> None:
        raise StoreError("The disk is full")

    with Store(tmp_path / "store") as store:
        with monkeypatch.context() as patch:
            patch.setattr(Addition, "write", full)
            with pytest.raises(StoreError, match="The disk is full"):
                extracted(loaded, sounds, store)
        assert files(store.root) == {}
        assert not list((store.root / "writing").glob("*"))
        extracted(loaded, sounds, store)
        assert len(files(store.root)) > 2


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_frames_are_stored_in_half_precision_unless_a_value_is_too_large(loaded: Loaded, sign: float) -> None:
    def stored(peak: float) -> torch.Tensor:
        frames = torch.linspace(-1, 1, 2 * 5 * 17).reshape(2, 5, 17)
        frames[1, 3, 7] = sign * peak
        kept = reduced(loaded, [frames, frames[:, :2]], [Audio(Path("a.wav")), Audio(Path("b.wav"))], "frames")
        assert torch.equal(kept[0], frames.transpose(0, 1).to(kept[0].dtype))
        assert kept[1].dtype == torch.half
        return kept[0]

    assert stored(65_503).dtype == stored(65_504).dtype == torch.half
    assert stored(65_510).dtype == stored(1e6).dtype == torch.float32  # 65 510 rounds to a half that is finite
    for reduction in ("mean", "frames"):
        for value in (torch.inf, torch.nan):
            frames = torch.zeros(2, 5, 17)
            frames[0, 4, 0] = sign * value
            with pytest.raises(BadUpstream, match=r"NaN or infinite features for b\.wav"):
                reduced(loaded, [frames[:, :4], frames], [Audio(Path("a.wav")), Audio(Path("b.wav"))], reduction)


# ---------------------------------------------------------------- one batch behind, as on a GPU


class Behind(Nowhere):
    """A device that may compute one batch while the one before it is reduced."""

    depth = 1


@pytest.mark.usefixtures("small")
def test_a_batch_is_reduced_after_the_next_has_begun(
    tones: ModuleType, sounds: list[Audio], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = calls(tones)[0]
    with Store(tmp_path / "a") as store:
        extracted(loaded, sounds, store)
    monkeypatch.setattr(line, "transfer_of", lambda device: Behind())
    order: list[str] = []
    called, finish = Calls.forward, Begun.finish

    def noted(event: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def both(*given: Any) -> Any:
            order.append(event)
            return call(*given)

        return both

    monkeypatch.setattr(Calls, "forward", noted("begin", called))
    monkeypatch.setattr(Begun, "finish", noted("finish", finish))
    with Store(tmp_path / "b") as store:
        extracted(loaded, sounds, store)
    assert order[:4] == ["begin", "begin", "finish", "begin"]
    assert order[-2:] == ["finish", "finish"]
    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.usefixtures("small")
def test_a_batch_that_does_not_fit_beside_another_waits_for_it_and_stays_whole(
    tones: ModuleType, sounds: list[Audio], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(tmp_path / "a") as store:
        extracted(calls(tones)[0], sounds, store)
    loaded = calls(tones)[0]
    monkeypatch.setattr(line, "transfer_of", lambda device: Behind())
    called, finish, inside, sizes = Calls.forward, Begun.finish, [0], []

    def narrow(model: Calls, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
        if inside[0]:
            raise torch.OutOfMemoryError
        inside[0] += 1
        sizes.append(len(waves))
        return called(model, waves, lengths)

    def freed(begun: Begun) -> list[torch.Tensor]:
        inside[0] -= 1
        return finish(begun)

    monkeypatch.setattr(Calls, "forward", narrow)
    monkeypatch.setattr(Begun, "finish", freed)
    with Store(tmp_path / "b") as store:
        extracted(loaded, sounds, store)
    assert max(sizes) > 1
    assert files(tmp_path / "a") == files(tmp_path / "b")


# ---------------------------------------------------------------- what fails is named


class Raises(torch.nn.Module):
    """The spectrum model; raises an exception at sounds of `samples` samples, the first `times` times."""

    sample_rate, hop, layers, dim = 16_000, 320, 2, 17

    def __init__(self, model: torch.nn.Module, samples: int, times: int) -> None:
        super().__init__()
        self.model, self.samples, self.times = model, samples, times

    def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
        if self.times and self.samples in lengths.tolist():
            self.times -= 1
            raise ValueError("no such sound")
        return self.model(waves, lengths)


def raising(tones: ModuleType, times: int) -> Loaded:
    return plugins.loaded(plugins.parse("spectrum"), Raises(tones.Spectrum(), 16_000, times), "cpu")


@pytest.mark.parametrize("transfer", [Nowhere, Behind])
@pytest.mark.usefixtures("small")
def test_a_sound_at_which_the_model_raises_is_named_and_earlier_shards_are_stored(
    transfer: type[Nowhere], tones: ModuleType, sounds: list[Audio], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "transfer_of", lambda device: transfer())
    with Store(tmp_path / "store", run="run") as store:
        with pytest.raises(BadUpstream, match=r"raises ValueError \(no such sound\) for .*/5\.flac \(1\.0 s\)"):
            extracted(raising(tones, 1_000), sounds, store)
        assert files(store.root)
        assert not list((store.root / ATTEMPTS).iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("transfer", [Nowhere, Behind])
@pytest.mark.usefixtures("small")
def test_a_batch_at_which_the_model_raises_once_is_computed_again(
    transfer: type[Nowhere], tones: ModuleType, sounds: list[Audio], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "transfer_of", lambda device: transfer())
    for times in (0, 1):
        with Store(tmp_path / str(times)) as store:
            extracted(raising(tones, times), sounds, store)
    assert files(tmp_path / "0") == files(tmp_path / "1")


@pytest.mark.usefixtures("small")
def test_sound_is_decoded_only_while_the_attempt_at_its_shard_is_recorded(
    loaded: Loaded, sounds: list[Audio], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, seen = decoding.load, {}

    def watched(audio: Audio) -> torch.Tensor:
        seen[audio] = {path.name for path in (tmp_path / "store" / ATTEMPTS).iterdir()}
        return load(audio)

    monkeypatch.setattr(decoding, "load", watched)
    with Store(tmp_path / "store", run="run", readers=1) as store:
        entries = extracted(loaded, sounds, store).entries
        assert seen.keys() == entries.keys()
        assert all(entries[audio].shard in shards for audio, shards in seen.items())
        assert max(map(len, seen.values())) > 1  # decoding runs ahead into the next shard


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_shards_at_which_processes_died_are_computed_one_at_a_time_after_a_trial_of_each_sound(
    tones: ModuleType, sounds: list[Audio], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(tmp_path / "a") as store:
        extracted(calls(tones)[0], sounds, store)
    left = [Attempts(tmp_path / "b" / ATTEMPTS, "run").at(Path(name).stem) for name in files(tmp_path / "a") for _ in range(2)]
    for attempt in left:
        attempt.__enter__()  # and the process dies
    records: list[set[str]] = []
    called = Calls.forward

    def watched(model: Calls, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
        folder = tmp_path / "b" / ATTEMPTS
        texts = [path.read_text() for path in folder.iterdir()]
        records.append({json.loads(text)["stage"] for text in texts} - {""})
        return called(model, waves, lengths)

    again = calls(tones)[0]
    monkeypatch.setattr(Calls, "forward", watched)
    with Store(tmp_path / "b", run="run") as store:
        extracted(again, sounds, store)
        assert not list((store.root / ATTEMPTS).iterdir())
    assert sum(stages == {"model"} for stages in records) == len(sounds)
    assert all(len(stages) == 1 for stages in records)  # never two shards at once
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_batch_whose_reduction_does_not_fit_into_memory_is_halved(
    loaded: Loaded, sounds: list[Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    waves, sizes = [torch.full((16_000,), 0.1 * number) for number in range(5)], []
    whole = forward.forward(loaded, waves, sounds[:5], "frames", "cpu")
    reduced = forward.reduced

    def narrow(upstream: Loaded, frames: list[torch.Tensor], *more: Any) -> list[torch.Tensor]:
        sizes.append(len(frames))
        if len(frames) > room:
            raise torch.OutOfMemoryError
        return reduced(upstream, frames, *more)

    room = 2
    monkeypatch.setattr(forward, "reduced", narrow)
    for one, other in zip(forward.forward(loaded, waves, sounds[:5], "frames", "cpu"), whole, strict=True):
        torch.testing.assert_close(one, other)
    assert sizes == [5, 2, 3, 1, 2]
    room = 0
    with pytest.raises(BadUpstream, match=r"does not fit into memory with .*/0\.wav \(1\.0 s\) alone"):
        forward.forward(loaded, waves, sounds[:5], "frames", "cpu")


# ---------------------------------------------------------------- options


def test_other_batches_are_stored_apart_and_recorded(loaded: Loaded, sounds: list[Audio], tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        seconds = [
            extract(loaded, sounds, "mean", store, "cpu", Silence(), passing=ForwardOptions(batch=batch)).passed_seconds
            for batch in (None, 60 * 16_000, 2 * 16_000, 2 * 16_000, 3 * 16_000)
        ]
    assert [second > 0 for second in seconds] == [True, False, True, False, True]
    assert [unusual_batches(value, "cpu") for value in (None, 60, 60.0, 61)] == [None, None, None, 61]
    assert Options("mini", batch_seconds=2.5).forward_options == ForwardOptions(batch=40_000)
    assert Options("mini", batch_seconds=2.5).deviations() == ["2.5 s of sound passed at once"]


def test_the_workers_of_a_machine_share_its_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def readers(**given: int) -> int:
        plan = RunPlan(
            data=tmp_path, settings=None, out=tmp_path, store=tmp_path / "store", budget=None, options=Options("mini"),
            lenient=False, devices=("cpu",), debug=False, **given,
        )  # fmt: skip
        with plan.open_store() as store:
            return store.readers

    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
        assert (cores(), share(3), share(40)) == (16, 5, 1)
        assert (readers(), readers(beside=2), readers(beside=2, readers=3)) == (16, 8, 3)


def test_nothing_but_the_number_of_calls_depends_on_the_batch(loaded: Loaded, sounds: list[Audio], tmp_path: Path) -> None:
    means: Callable[[ForwardOptions], list[torch.Tensor]] = lambda options: extract(  # noqa: E731
        loaded, sounds, "mean", Store(tmp_path / "store"), "cpu", Silence(), passing=options
    ).read(sounds)
    for one, other in zip(means(ForwardOptions()), means(ForwardOptions(batch=1)), strict=True):
        torch.testing.assert_close(one, other)
