"""The cost of a model is counted exactly and stored; a failure to count it stops no run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torchaudio import models

from superbench import Features, plugins
from superbench.contract.corpora import Corpora
from superbench.errors import BrokenPlugin
from superbench.features.store import Store
from superbench.plugins import Loaded
from superbench.plugins.doctor.efficiency import trained_on, weigh, weighed
from superbench.plugins.doctor.macs import LENGTHS
from superbench.results.published import records
from superbench.runs.job import perform
from superbench.runs.options import Options
from superbench.system.progress import Silence
from upstream.from_torchaudio import Config, TorchaudioModel

EVERY = [samples for group in LENGTHS.values() for samples in group]
HOP = 320


def loaded(model: object) -> Loaded:
    return plugins.loaded(plugins.parse("patient"), model, "cpu")


class Frames(nn.Module):
    """Cuts sound into pieces of a hop and applies a function to them, (1, frames, hop) → (1, frames, anything)."""

    sample_rate, hop, layers, dim = 16_000, HOP, 1, HOP

    def __init__(self, inner: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        self.calls += 1
        frames = waves.shape[1] // HOP
        return Features(self.inner(waves[:, : frames * HOP].unflatten(1, (frames, HOP)))[None], lengths // HOP)


def frames_of(samples: int) -> int:
    return samples // HOP


def test_the_lengths_are_the_32_of_test_clean() -> None:
    assert [len(group) for group in LENGTHS.values()] == [8, 8, 8, 8]
    assert sorted(EVERY) == EVERY
    assert (EVERY[0] / 16_000, EVERY[7] / 16_000, EVERY[31] / 16_000) == (1.285, 3.445, 20.375)  # protocol of SUPERB, 3.6


@pytest.mark.slow
def test_filter_banks_multiply_as_often_as_was_published() -> None:
    published = next(record for record in records() if record["upstream"] == "FBANK")
    assert weigh(plugins.upstream(plugins.parse("fbank"))).total == int(published["macs"])


@pytest.mark.slow
def test_a_hubert_of_base_size_multiplies_as_often_as_was_published() -> None:
    upstream = loaded(TorchaudioModel(models.hubert_base(), Config("hubert_base", False, {})))
    card = weigh(upstream)
    assert card.macs is not None
    assert card.total == pytest.approx(1.67e12, rel=0.02)
    official = {"short": 149.26e9, "medium": 261.28e9, "long": 422.37e9, "longer": 836.25e9}
    assert card.macs == pytest.approx(official, rel=0.005)
    assert upstream.params == pytest.approx(94.7e6, rel=0.005)
    assert card.notes == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inner", "per_frame", "per_pair"),
    [
        (nn.Linear(HOP, 5), HOP * 5, 0),
        (nn.LSTM(HOP, 4, 2, batch_first=True, bidirectional=True), 2 * (4 * 4 * (HOP + 4) + 4 * 4 * (8 + 4)), 0),
        (nn.GRU(HOP, 4, batch_first=True), 3 * 4 * (HOP + 4), 0),
        (nn.TransformerEncoderLayer(HOP, 4, 8, batch_first=True), 4 * HOP * HOP + 2 * HOP * 8, 2 * HOP),
        (nn.utils.parametrizations.weight_norm(nn.Linear(HOP, 3)), HOP * 3, 0),
    ],
    ids=["linear", "lstm", "gru", "transformer", "weight norm"],
)
def test_macs_of_layers_are_the_products_of_their_matrices(inner: nn.Module, per_frame: int, per_pair: int) -> None:
    def project(x: Tensor) -> Tensor:
        output = inner(x)
        return output[0] if isinstance(output, tuple) else output

    model = Frames(project)
    model.held = inner.eval()
    expected = {
        name: sum(per_frame * frames_of(n) + per_pair * frames_of(n) ** 2 for n in group) for name, group in LENGTHS.items()
    }
    assert weigh(loaded(model)).macs == expected
    assert model.calls < 20  # not all 32 lengths pass


@pytest.mark.slow
def test_a_model_that_cuts_sound_into_windows_is_counted_on_every_length() -> None:
    weight = torch.ones(HOP, HOP)

    def windows(x: Tensor) -> Tensor:
        return torch.cat([piece @ piece.mT @ piece @ weight for piece in x.split(250, dim=1)], dim=1)

    def by_hand(frames: int) -> int:
        parts = [250] * (frames // 250) + [frames % 250] * (frames % 250 > 0)
        return sum(2 * part * part * HOP + part * HOP * HOP for part in parts)

    assert weigh(loaded(Frames(windows))).total == sum(by_hand(frames_of(n)) for n in EVERY)


def outside(x: Tensor) -> Tensor:
    return torch.from_numpy(x.numpy() @ x[0].numpy().T)


@torch.library.custom_op("superbench_test::times", mutates_args=())
def times(x: Tensor) -> Tensor:
    return x @ x.mT


@pytest.mark.parametrize(("inner", "reason"), [(outside, "outside of torch"), (times, "superbench_test::times")])
def test_operations_that_cannot_be_counted_give_no_macs_and_a_reason(inner: Callable[[Tensor], Tensor], reason: str) -> None:
    card = weigh(loaded(Frames(inner)))
    assert card.macs is None
    assert card.total is None
    assert reason in card.notes[0]
    assert card.real_time_factor is not None


def test_a_card_is_stored_under_the_revision_of_the_model(tmp_path: Path) -> None:
    model = Frames(nn.Linear(HOP, 2))
    first = weighed(loaded(model), "cpu", tmp_path)
    calls = model.calls
    assert weighed(loaded(model), "cpu", tmp_path) == first
    assert model.calls == calls
    weighed(replace(loaded(model), revision="another"), "cpu", tmp_path)
    assert model.calls > calls


@pytest.mark.parametrize(
    ("declared", "said"), [(("LibriSpeech 960 h", "VoxCeleb2"), "LibriSpeech 960 h, VoxCeleb2"), ((), "nothing"), (None, None)]
)
def test_what_a_model_was_trained_on_is_what_it_declares(declared: tuple[str, ...] | None, said: str | None) -> None:
    model = Frames(nn.Linear(HOP, 2))
    model.training_datasets = declared  # type: ignore[assignment]
    assert trained_on(loaded(model)) == said


def test_a_spectrum_and_random_weights_were_trained_on_nothing() -> None:
    assert trained_on(loaded(Frames(nn.Identity()))) == "nothing"
    untrained = replace(loaded(Frames(nn.Linear(HOP, 2))), spec=plugins.parse("apc:untrained"))
    assert trained_on(untrained) == "nothing"


def test_a_declaration_counts_also_for_a_model_whose_weights_are_no_parameters() -> None:
    model = Frames(nn.Identity())
    model.training_datasets = ("VoxCeleb2",)  # type: ignore[assignment]
    assert trained_on(loaded(model)) == "VoxCeleb2"


def test_a_declaration_of_another_type_is_refused() -> None:
    model = Frames(nn.Linear(HOP, 2))
    model.training_datasets = (7,)  # type: ignore[assignment]
    with pytest.raises(BrokenPlugin, match="Expected names of data sets"):
        trained_on(loaded(model))


def test_a_failed_measurement_stops_no_run_and_is_repeated(tmp_path: Path) -> None:
    def broken(x: Tensor) -> Tensor:
        raise MemoryError("no room")

    card = weighed(loaded(Frames(broken)), "cpu", tmp_path)
    assert (card.macs, card.real_time_factor) == (None, None)
    assert "no room" in card.notes[0]
    assert list(tmp_path.glob("*.json")) == []


@pytest.mark.slow
def test_every_result_has_the_efficiency_card(tones: ModuleType, tone_corpora: Path, tmp_path: Path) -> None:
    upstream = plugins.upstream(plugins.parse(f"{Path(tones.__file__)}:Spectrum"))
    options = Options("mini", max_steps=4)
    with Store(tmp_path / "store") as store:
        corpora = Corpora(tone_corpora)
        result = perform(tones.TONE, upstream, corpora, store, tmp_path / "out", options, {}, Silence()).result
    assert result.upstream.macs == 0.0  # Fourier transforms are not counted, as in the source
    assert result.efficiency["macs_by_length"] == {"short": 0, "medium": 0, "long": 0, "longer": 0}
    assert (result.efficiency["stride_ms"], result.efficiency["layers"], result.efficiency["dim"]) == (20.0, 2, 17)
    assert result.efficiency["real_time_factor"] > 0
    assert set(result.efficiency["measured"]) == {"device", "threads", "sound_seconds", "batch"}
