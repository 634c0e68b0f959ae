"""Frames in 8 bits per value: the error of each frame is bounded, and they are never mixed with frames in half precision."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch

from superbench import plugins
from superbench.contract import Audio, Features
from superbench.errors import StoreError
from superbench.features.extraction import Extraction, extract, means
from superbench.features.forward import ForwardOptions
from superbench.features.quantized import Quantized, padded
from superbench.features.store import Store
from superbench.plugins import Loaded
from superbench.system.progress import Silence

INT8 = ForwardOptions(store_format="int8")
LAYERS, DIM = 2, 17


@pytest.fixture
def sounds(tmp_path: Path) -> list[Audio]:
    random = np.random.default_rng(0)
    for number in range(6):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * random.standard_normal(3000 + 400 * number), 16_000)
    return [Audio(tmp_path / f"{number}.wav") for number in range(6)]


class Counting(torch.nn.Module):
    """The plugin's spectrum; counts the samples that pass through it."""

    sample_rate, hop, layers, dim, revision = 16_000, 320, LAYERS, DIM, "counting"

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model, self.samples = model, 0

    def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
        self.samples += int(lengths.sum())
        return self.model(waves, lengths)


@pytest.fixture
def model(tones: ModuleType) -> Counting:
    return Counting(tones.Spectrum())


def loaded(model: object) -> Loaded:
    return plugins.loaded(plugins.parse("counting"), model, "cpu")


def frames(model: object, sounds: list[Audio], store: Store, options: ForwardOptions = INT8, **more: object) -> Extraction:
    return extract(loaded(model), sounds, "frames", store, "cpu", Silence(), passing=options, **more)  # type: ignore[arg-type]


def shards(root: Path) -> list[Path]:
    return sorted(root.rglob("*.safetensors"))


# ---------------------------------------------------------------- rounding


def random_frames() -> torch.Tensor:
    return torch.randn(50, LAYERS, DIM, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 6, 50)[:, None, None]


@pytest.mark.parametrize(
    "values",
    [
        random_frames(),
        random_frames() * torch.tensor([1e-8] + [1.0] * (DIM - 2) + [1e8]),  # one dimension far beyond the others
        torch.full((3, LAYERS, DIM), torch.finfo(torch.float32).max),
        torch.full((3, LAYERS, DIM), -torch.finfo(torch.float32).max),
        torch.full((3, LAYERS, DIM), 1e-44),  # smaller than the smallest normal number
        torch.full((3, LAYERS, DIM), 1.2e-38),
    ],
    ids=["random", "outlier", "largest", "most negative", "subnormal", "smallest"],
)
def test_the_error_of_a_value_is_at_most_half_the_scale_of_its_frame_and_layer(values: torch.Tensor) -> None:
    stored = Quantized.of(values)
    assert stored.values.dtype == torch.int8
    assert int(stored.values.min()) >= -127
    rounding = 1e-6 * values.double().abs()  # of single precision
    error = (stored.float().double() - values.double()).abs()
    assert bool((error <= stored.scales.double() / 2 + rounding).all())
    assert torch.isfinite(stored.float()).all()


def test_every_frame_and_layer_has_its_own_scale() -> None:
    values = torch.zeros(2, 2, 4)
    values[0, 0, 0], values[0, 1, 1], values[1, 0, 2] = 127.0, -12.7, 0.0127
    scales = Quantized.of(values).scales.squeeze(-1)
    assert torch.allclose(scales[0], torch.tensor([1.0, 0.1]))
    assert float(scales[1, 0]) == pytest.approx(1e-4)


def test_a_frame_of_zeros_stays_one() -> None:
    stored = Quantized.of(torch.zeros(3, LAYERS, DIM))
    assert torch.equal(stored.float(), torch.zeros(3, LAYERS, DIM))


def test_a_batch_is_padded_with_zeros_and_dequantised_into_the_buffer() -> None:
    items = [Quantized.of(random_frames()[:7]), random_frames()[:3].half(), Quantized.of(random_frames()[:5])]
    buffer = torch.full((10_000,), torch.nan)
    batch = padded(items, buffer, "cpu")  # (layer, batch, time, dim)
    assert batch.data_ptr() == buffer.data_ptr()
    assert batch.shape == (LAYERS, 3, 7, DIM)
    for i, item in enumerate(items):
        assert torch.equal(batch[:, i, : len(item)], item.float().transpose(0, 1))
        assert not batch[:, i, len(item) :].any()


@pytest.mark.slow
def test_on_another_device_a_batch_is_dequantised_there() -> None:
    items = [Quantized.of(random_frames()[:7]), Quantized.of(random_frames()[:5])]
    assert padded(list(items), torch.empty(0), "meta").device.type == "meta"


# ---------------------------------------------------------------- the store


def test_both_formats_lie_side_by_side_and_each_is_computed_once(model: Counting, sounds: list[Audio], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    half, small = frames(model, sounds, store, ForwardOptions()), frames(model, sounds, store)
    total = sum(3000 + 400 * number for number in range(6))
    assert model.samples == 2 * total  # neither format is served for the other
    assert {entry.shard for entry in half.entries.values()}.isdisjoint(entry.shard for entry in small.entries.values())
    again = frames(model, sounds, store, ForwardOptions()), frames(model, sounds, store)
    assert model.samples == 2 * total
    for audio in sounds:
        assert half[audio].dtype == torch.float16  # type: ignore[union-attr]
        assert isinstance(small[audio], Quantized)
        assert torch.equal(small[audio].float(), again[1][audio].float())
        bound = small[audio].scales / 2 + 1e-3 * half[audio].float().abs()  # type: ignore[union-attr]
        assert bool(((small[audio].float() - half[audio].float()).abs() <= bound).all())
    assert {holding.format for holding in store.contents()} == {"float16", "int8"}


def test_means_keep_their_format(model: Counting, sounds: list[Audio], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    usual = extract(loaded(model), sounds, "mean", store, "cpu", Silence())
    passed = model.samples
    same = extract(loaded(model), sounds, "mean", store, "cpu", Silence(), passing=INT8)
    assert model.samples == passed
    assert torch.equal(means(usual, sounds), means(same, sounds))
    assert {holding.format for holding in store.contents()} == {"float32"}


def test_eight_bits_take_about_half_the_disk(model: Counting, sounds: list[Audio], tmp_path: Path) -> None:
    sizes = {}
    for name, options in {"float16": ForwardOptions(), "int8": INT8}.items():
        with Store(tmp_path / name) as store:
            frames(model, sounds, store, options)
            sizes[name] = sum(holding.bytes for holding in store.contents())
    rows = sum((3000 + 400 * number) // 320 for number in range(6)) * LAYERS
    assert sizes["float16"] - sizes["int8"] == pytest.approx(rows * (2 * DIM - (DIM + 4)), abs=200)  # headers differ


def test_what_is_not_stored_is_rounded_in_the_same_way(model: Counting, sounds: list[Audio], tmp_path: Path) -> None:
    stored, live = (
        frames(model, sounds, Store(tmp_path / "stored")),
        frames(model, sounds, Store(tmp_path / "live"), live=frozenset(sounds)),
    )
    for audio in sounds:
        assert torch.equal(stored[audio].float(), live[audio].float())


def test_one_layer_is_that_layer_of_all(model: Counting, sounds: list[Audio], tmp_path: Path) -> None:
    every = frames(model, sounds, Store(tmp_path / "every"))
    alone = frames(model, sounds, Store(tmp_path / "alone"), layers=(1,))
    for audio in sounds:
        assert torch.equal(every[audio].float()[:, 1:], alone[audio].float())


def test_an_interrupted_extraction_continues_with_the_same_bytes(
    model: Counting, sounds: list[Audio], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("superbench.features.sharding.SHARD_BYTES", 1)  # a shard for every batch
    monkeypatch.setitem(__import__("superbench.features.sharding", fromlist=["x"]).BATCH_SAMPLES, "cpu", 5_000)
    with Store(tmp_path / "whole") as store:
        frames(model, sounds, store)
    with Store(tmp_path / "cut") as store:
        frames(model, sounds, store)
    for path in shards(tmp_path / "cut")[::2]:
        path.unlink()
    model.samples = 0
    with Store(tmp_path / "cut") as store:
        frames(model, sounds, store)
    assert 0 < model.samples < sum(3000 + 400 * number for number in range(6))
    pairs = zip(shards(tmp_path / "whole"), shards(tmp_path / "cut"), strict=True)
    assert all(first.read_bytes() == second.read_bytes() for first, second in pairs)


def test_a_changed_scale_is_found_and_computed_again(model: Counting, sounds: list[Audio], tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        good = {audio: rows.float().clone() for audio in sounds for rows in [frames(model, sounds, store)[audio]]}
    (path,) = shards(tmp_path)
    tensors = safetensors.torch.load_file(path)
    tensors["scales"][3] *= 2
    safetensors.torch.save_file(tensors, path, {"superbench": "features"})
    with Store(tmp_path / "store") as store:
        assert [state.state for state in store.verify()] == ["damaged"]
        again = frames(model, sounds, store)
        assert all(torch.equal(again[audio].float(), good[audio]) for audio in sounds)
        assert [state.state for state in store.verify()] == ["whole"]
        assert "int8" in next(iter(store.verify())).message


@pytest.mark.parametrize(
    "tensors",
    [
        {"values": torch.zeros(4, LAYERS, DIM, dtype=torch.int8)},
        {"values": torch.zeros(4, LAYERS, DIM, dtype=torch.int8), "scales": torch.ones(3, LAYERS, 1)},
        {"values": torch.zeros(4, LAYERS, DIM).half(), "scales": torch.ones(4, LAYERS, 1)},
    ],
    ids=["no scales", "too few scales", "scales of half precision"],
)
def test_a_file_whose_values_and_scales_do_not_belong_together_is_damaged(
    tensors: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would be if superbench itself had written it: its digest is right."""
    monkeypatch.setattr("superbench.features.store.addition.tensors", lambda values: tensors)
    with Store(tmp_path / "store") as store:
        store.add("ab" * 16, [b"k"], [torch.zeros(4, LAYERS, DIM)])
        assert [holding.format for holding in store.contents()] == ["unreadable"]
        assert [state.state for state in store.verify()] == ["damaged"]
        with pytest.raises(StoreError, match="damaged"):
            store.read(store.find([b"k"])[b"k"])


def test_eviction_counts_the_bytes_of_the_format(model: Counting, sounds: list[Audio], tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        frames(model, sounds, store, ForwardOptions())
        half = store.contents()[0].bytes
    with Store(tmp_path / "store", budget=half + half // 2) as store:
        frames(model, sounds, store)
        assert sorted(holding.format for holding in store.contents()) == ["int8"]  # half precision had to go
    with Store(tmp_path / "both", budget=2 * half) as store:
        frames(model, sounds, store, ForwardOptions())
        store.release()
        frames(model, sounds, store)
        assert sorted(holding.format for holding in store.contents()) == ["float16", "int8"]
