"""SD: head, loss, frame labels, pieces, dev accuracy, and from posteriors to turns.

References: `s3prl.downstream.diarization` (the recipe of the published numbers, its `make_rttm.py` run as the script that it
is) and `s3prl.task.diarization` (its re-statement). DER is compared with pyannote.metrics in tests/downstream.
"""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from downstream.shared.diarization import Piece, frames_of, median_filter, turns_of
from downstream.shared.libri2mix import Mixture
from downstream.speaker_diarization import SETTINGS, TASK, Diarizer, frame_accuracy
from superbench import Audio, Corpora, Item, Split

Reference = Callable[[str], Any]
Bare = Callable[..., nn.Module]
DIM, WIDTH = 8, 16
LENGTHS = (50, 37, 41)


def model(reference: Reference, ours: Diarizer) -> nn.Module:
    theirs = reference("downstream.diarization.model").Model(DIM, 2, rnn_layers=1, hidden_size=WIDTH)
    theirs.rnn.load_state_dict(ours.recurrent.state_dict())
    theirs.linear.load_state_dict(ours.output.state_dict())
    return theirs


def expert(reference: Reference, bare: Bare, ours: Diarizer) -> nn.Module:
    module = reference("downstream.diarization.expert")
    return bare(module.DownstreamExpert, model=model(reference, ours), objective=module.pit_loss, save_predictions=False)


def labels(lengths: tuple[int, ...] = LENGTHS) -> list[np.ndarray]:
    """Activity (frames, 2) in runs."""
    random = np.random.default_rng(5)
    return [np.repeat(random.random((-(-length // 6), 2)) < 0.6, 6, axis=0)[:length] for length in lengths]


def heard(theirs: nn.Module, features: list[Tensor], activity: list[np.ndarray]) -> tuple[Tensor, dict[str, list]]:
    records: dict[str, list] = defaultdict(list)
    numbers = [one.astype(np.float32) for one in activity]
    return theirs("train", features, numbers, [len(one) for one in activity], None, records), records


def padded(features: list[Tensor]) -> tuple[Tensor, Tensor]:
    return nn.utils.rnn.pad_sequence(features, batch_first=True), torch.tensor([len(one) for one in features])


def test_losses_and_gradients_of_padded_batches_are_the_same(reference: Reference, bare: Bare) -> None:
    ours = Diarizer(DIM, WIDTH)
    theirs, features = expert(reference, bare, ours), [torch.randn(length, DIM) for length in LENGTHS]
    loss, _ = heard(theirs, features, labels())
    inputs, lengths = padded(features)
    own = ours.loss(ours(inputs, lengths), lengths, [torch.from_numpy(one) for one in labels()])
    torch.testing.assert_close(own, loss, rtol=1e-5, atol=0)
    loss.backward()
    own.backward()
    for mine, other in ((ours.recurrent, theirs.model.rnn), (ours.output, theirs.model.linear)):
        for one, two in zip(mine.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(one.grad, two.grad, rtol=1e-5, atol=1e-6)


def test_longer_features_are_cut_as_theirs(reference: Reference, bare: Bare) -> None:
    ours, features = Diarizer(DIM, WIDTH), [torch.randn(52, DIM)]
    loss, _ = heard(expert(reference, bare, ours), features, labels((50,)))
    inputs, lengths = padded(features)
    own = ours.loss(ours(inputs, lengths), lengths, [torch.from_numpy(labels((50,))[0])])
    torch.testing.assert_close(own, loss, rtol=1e-5, atol=0)


def test_a_missing_frame_repeats_the_last_output_as_in_the_later_statement(reference: Reference, bare: Bare) -> None:
    """The published recipe repeats the last *feature* before the head: of 2 000 frames of wav2vec 2.0, one is affected."""
    ours, features, activity = Diarizer(DIM, WIDTH), [torch.randn(49, DIM)], labels((50,))
    inputs, lengths = padded(features)
    own = ours.loss(ours(inputs, lengths), lengths, [torch.from_numpy(activity[0])])
    task = reference("task.diarization").DiarizationPIT(model(reference, ours))
    task.model.forward = lambda x, x_len, run=task.model.forward: (run(x), x_len)
    truth = torch.from_numpy(activity[0])[None].long()
    later, _ = task("train", inputs, lengths, truth, torch.tensor([50]), ["a"], torch.tensor([0]))
    torch.testing.assert_close(own, later, rtol=1e-5, atol=0)
    published, _ = heard(expert(reference, bare, ours), features, activity)
    assert 0 < abs(float((own - published).detach() / published.detach())) < 2e-3


def pieces(activity: list[np.ndarray]) -> Split:
    return Split(
        "dev", tuple(Item(str(n), Audio(Path("a.wav")), Piece("r", one, 320, ()), ()) for n, one in enumerate(activity))
    )


def test_dev_accuracy_is_the_mean_over_pieces_of_theirs(reference: Reference, bare: Bare) -> None:
    ours = Diarizer(DIM, WIDTH)
    ours.output.weight.data *= 20
    theirs, activity = expert(reference, bare, ours), [*labels((40, 33, 60)), np.zeros((20, 2), bool), np.ones((30, 2), bool)]
    found, posteriors = [], {}
    for number, one in enumerate(activity):
        features = torch.randn(len(one), DIM)
        found += heard(theirs, [features], [one])[1]["acc"]
        lengths = torch.tensor([len(one)])
        posteriors[str(number)] = ours.decode(ours(features[None], lengths).detach(), lengths)[0]
    assert found[3] == 0  # a piece without speech counts nothing, whatever is answered
    assert frame_accuracy(pieces(activity), posteriors) == pytest.approx(100 * np.mean(found), rel=1e-6)


# ---------------------------------------------------------------- labels and pieces


def kaldi(folder: Path, turns: list[tuple[float, float, str]], seconds: float) -> None:
    soundfile.write(folder / "mix.wav", np.zeros(round(seconds * 16_000)), 16_000)
    (folder / "wav.scp").write_text(f"mix {folder / 'mix.wav'}\n")
    (folder / "segments").write_text("".join(f"u{n} mix {a} {b}\n" for n, (a, b, _) in enumerate(turns)))
    (folder / "utt2spk").write_text("".join(f"u{n} {who}\n" for n, (*_, who) in enumerate(turns)))
    (folder / "spk2utt").write_text("x u0\n")
    (folder / "reco2dur").write_text(f"mix {seconds}\n")


def conversation(seed: int, seconds: float) -> list[tuple[float, float, str]]:
    random = np.random.default_rng(seed)
    turns = []
    for who in ("zoe", "adam"):
        time = 0.0
        while time < seconds - 1:
            start = round(time + random.uniform(0, 3), 2)
            time = min(round(start + random.uniform(0.05, 6), 2), seconds)
            turns.append((start, time, who))
    return [turn for turn in turns if turn[0] < turn[1]]


@pytest.mark.parametrize("hop", [160, 256, 320])
@pytest.mark.parametrize("mode", ["train", "test"])
def test_pieces_and_frame_labels_are_the_same(reference: Reference, tmp_path: Path, hop: int, mode: str) -> None:
    seconds = 71.25
    turns = conversation(hop, seconds)
    kaldi(tmp_path, turns, seconds)
    with contextlib.redirect_stdout(io.StringIO()):
        data = reference("downstream.diarization.dataset").DiarizationDataset(
            mode, str(tmp_path), chunk_size=2000, frame_shift=hop, num_speakers=2
        )
    theirs = [data[n] for n in range(len(data))] if mode == "train" else list(zip(*data[0][:2], strict=True))
    bounds = [(n, min(n + 2_000, 71_25 * 160 // hop)) for n in range(0, 71_25 * 160 // hop, 2_000)]
    assert len(bounds) == len(theirs) > 1
    for (start, end), (sound, active) in zip(bounds, theirs, strict=True):
        assert np.array_equal(frames_of(turns, ["adam", "zoe"], hop, start, end), active)
        assert len(sound) == (end - start) * hop


def test_our_pieces_have_those_bounds(tmp_path: Path) -> None:
    mixture = "1089-134686-0000_121-127105-0031"
    for part in ("train-100", "dev", "test"):
        path = tmp_path / "Libri2Mix/wav16k/max" / part / "mix_both" / f"{mixture}.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.zeros(1_140_000), 16_000)
        data = tmp_path / "Libri2Mix/data" / part.partition("-")[0]
        data.mkdir(parents=True)
        (data / "wav.scp").write_text(f"{mixture} x\n")
        (data / "segments").write_text(f"u {mixture} 0.5 9.0\nv {mixture} 1.0 9.0\n")
        (data / "utt2spk").write_text("u 1089\nv 121\n")
    (fold,) = TASK.read(Corpora(tmp_path))
    items = TASK.prepare(fold.train, 160, TASK.card.recipes["superb"]).items
    assert [(item.audio.start, item.audio.end) for item in items] == [
        (start * 160, min(start + 2_000, 7_125) * 160) for start in range(0, 7_125, 2_000)
    ]


def test_a_turn_across_a_whole_piece_is_labelled_here_and_lost_there(reference: Reference, tmp_path: Path) -> None:
    """Deliberately different (protocol.md 2.9 and 5.2): the source leaves such a piece silent, and so does the variant."""
    turns = [(1.0, 65.0, "adam"), (2.0, 3.0, "zoe")]
    kaldi(tmp_path, turns, 70.0)
    with contextlib.redirect_stdout(io.StringIO()):
        data = reference("downstream.diarization.dataset").DiarizationDataset(
            "train", str(tmp_path), frame_shift=160, num_speakers=2
        )
    assert data[1][1][:, 0].sum() == 0
    assert frames_of(turns, ["adam", "zoe"], 160, 2_000, 4_000)[:, 0].all()
    assert not frames_of(turns, ["adam", "zoe"], 160, 2_000, 4_000, spanning=False).any()


@pytest.mark.parametrize("seed", range(4))
def test_chunk_labels_of_the_variant_are_theirs_to_the_frame(reference: Reference, tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    edges = [np.sort(random.uniform(0, 90, 2)) for _ in range(6)] + [np.array([20.0, 40.0]), np.array([19.99, 60.02])]
    turns = [(round(float(a), 2), round(float(b), 2), str(n % 2)) for n, (a, b) in enumerate(edges)]
    kaldi(tmp_path, turns, 95.0)
    with contextlib.redirect_stdout(io.StringIO()):
        data = reference("downstream.diarization.dataset").DiarizationDataset(
            "train", str(tmp_path), frame_shift=160, num_speakers=2
        )
    lost = 0
    for number, start in enumerate(range(0, 9_500, 2_000)):
        theirs, span = data[number][1], (start, min(start + 2_000, 9_500))
        assert np.array_equal(frames_of(turns, ["0", "1"], 160, *span, spanning=False), theirs.astype(bool))
        lost += int(frames_of(turns, ["0", "1"], 160, *span).sum() - theirs.sum())
    assert lost > 0


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize(("hop", "samples"), [(320, 128_640), (320, 128_641), (160, 32_160), (160, 640_160), (256, 700_000)])
def test_bounds_of_the_variant_are_theirs_to_the_sample(
    reference: Reference, tmp_path: Path, hop: int, samples: int, mode: str
) -> None:
    """They turn seconds into frames in floating point: 8.04 s are 401 frames of 320 samples there, and 402 here."""
    name, recipe = "1089-134686-0000_121-127105-0031", TASK.card.recipes["superb"]
    turns = [(0.5, 1.5, "1089"), (1.0, samples / 16_000, "121")]
    kaldi(tmp_path, turns, samples / 16_000)
    with contextlib.redirect_stdout(io.StringIO()):
        data = reference("downstream.diarization.dataset").DiarizationDataset(
            mode, str(tmp_path), chunk_size=2000, frame_shift=hop, num_speakers=2
        )
    theirs = [data[n][0] for n in range(len(data))] if mode == "train" else data[0][0]
    mixture = Mixture(name, tmp_path / "mix.wav", ("1089", "121"), tuple(turns))
    split = Split("test" if mode == "test" else "train", (Item(name, Audio(mixture.path), mixture, ("1089", "121")),))
    ours = TASK.prepare(split, hop, replace(recipe, variants=("reference-chunk-labels",))).items
    assert [item.audio.end - item.audio.start for item in ours] == [len(sound) for sound in theirs]
    exact = TASK.prepare(split, hop, recipe).items
    assert exact[-1].audio.end == samples // hop * hop
    assert (exact[-1].audio.end != ours[-1].audio.end) == (samples in (128_640, 32_160))


# ---------------------------------------------------------------- posteriors to turns


def rttm(posteriors: np.ndarray, threshold: float, median: int, hop: int, folder: Path, reference: Reference) -> list[list]:
    """What their script prints, as turns."""
    with h5py.File(folder / "mix.h5", "w") as file:
        file.create_dataset("T_hat", data=posteriors)
    (folder / "list").write_text(f"{folder / 'mix.h5'}\n")
    script = Path(reference("downstream.diarization").__file__).parent / "make_rttm.py"
    options = [f"--threshold={threshold}", f"--median={median}", f"--frame_shift={hop}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), str(folder / "list"), str(folder / "out"), *options])
        runpy.run_path(str(script), run_name="__main__")
    lines = [line.split() for line in (folder / "out").read_text().splitlines()]
    turns = [[float(line[3]), round(float(line[3]) + float(line[4]), 2), line[7][-1]] for line in lines]
    return sorted(turns, key=lambda turn: (turn[0], turn[1], turn[2]))


@pytest.mark.parametrize("hop", [160, 200, 256, 320])
def test_turns_of_all_ten_settings_are_those_of_their_script(reference: Reference, tmp_path: Path, hop: int) -> None:
    random = np.random.default_rng(hop)
    smooth = np.cumsum(random.normal(0, 0.3, (900, 2)), axis=0)
    posteriors = (1 / (1 + np.exp(-np.sin(smooth) * 3))).astype(np.float32)
    posteriors[::97] = 0.5  # exactly at a threshold
    for setting in SETTINGS:
        theirs = rttm(posteriors, setting["threshold"], setting["median"], hop, tmp_path, reference)
        ours = turns_of(median_filter(posteriors > setting["threshold"], setting["median"]), hop)
        assert ours == theirs
        assert len(ours) > 10
