"""SD: references, frame labels, permutation-invariant training, the ten settings, the diarization error rate."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import medfilt

from downstream.shared.diarization import compare, frames_of, median_filter, one_speaker_error, turns_of
from downstream.speaker_diarization import SETTINGS, TASK, Diarizer, frame_accuracy
from superbench import BadCorpus, Corpora, MissingCorpus, Split

if TYPE_CHECKING:  # importing pyannote takes a second, and only two tests need it
    from pyannote.core import Annotation

ID = "1089-134686-0000_121-127105-0031"
MINI = TASK.card.recipes["mini"]
PARTS = {"train": "train-100", "dev": "dev", "test": "test"}


def write_sound(root: Path, seconds: float) -> None:
    for part in PARTS.values():
        path = root / "Libri2Mix/wav16k/max" / part / "mix_both" / f"{ID}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, round(seconds * 16_000)), 16_000)


def write_kaldi(root: Path, segments: str) -> None:
    for split in PARTS:
        folder = root / "Libri2Mix/data" / split
        folder.mkdir(parents=True)
        (folder / "wav.scp").write_text(f"{ID} /another/machine/{ID}.wav\n")
        (folder / "segments").write_text(segments)
        (folder / "utt2spk").write_text("u1 1089\nu2 121\nu3 1089\n")


def write_rttm(root: Path) -> None:
    top = root / "Libri2Mix"
    (top / "metadata/LibriSpeech").mkdir(parents=True)
    (top / "wav16k/max/metadata").mkdir(parents=True)
    for part, alignments in zip(PARTS.values(), ("train_clean_100", "dev_clean", "test_clean"), strict=True):
        (top / "metadata/LibriSpeech" / f"{alignments}.rttm").write_text(
            "SPEAKER 1089-134686-0000 1 0.50 1.00 <NA> <NA> 1089 <NA> <NA>\n"
            "SPEAKER 1089-134686-0000 1 2.00 0.40 <NA> <NA> 1089 <NA> <NA>\n"
            "SPEAKER 121-127105-0031 1 1.00 1.00 <NA> <NA> 121 <NA> <NA>\n"
        )
        (top / "wav16k/max/metadata" / f"mixture_{part}_mix_both.csv").write_text(
            f"mixture_ID,mixture_path,source_1_path,source_2_path,noise_path,length\n{ID},/elsewhere/{ID}.wav,,,,48000\n"
        )


@pytest.fixture
def corpora(tmp_path: Path) -> Corpora:
    write_sound(tmp_path, 3.0)
    write_kaldi(tmp_path, f"u1 {ID} 0.5 1.5\nu2 {ID} 1.0 2.0\nu3 {ID} 2.0 2.4\n")
    return Corpora(tmp_path)


def test_kaldi_folders_and_rttm_give_the_same_turns(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> None:
    rttm = tmp_path_factory.mktemp("rttm")
    write_sound(rttm, 3.0)
    write_rttm(rttm)
    for kaldi_split, rttm_split in zip(_splits(corpora), _splits(Corpora(rttm)), strict=True):
        assert kaldi_split.items[0].id == rttm_split.items[0].id == ID
        assert kaldi_split.items[0].group == ("1089", "121")
        assert kaldi_split.items[0].label.turns == rttm_split.items[0].label.turns
        assert kaldi_split.items[0].label.turns == ((0.5, 1.5, "1089"), (1.0, 2.0, "121"), (2.0, 2.4, "1089"))


def _splits(corpora: Corpora) -> list[Split]:
    (fold,) = TASK.read(corpora)
    return [fold.train, fold.dev, fold.test]


def test_a_listed_mixture_that_is_missing_is_an_error_that_names_it(corpora: Corpora) -> None:
    (corpora.root / f"Libri2Mix/wav16k/max/dev/mix_both/{ID}.wav").unlink()
    with pytest.raises(BadCorpus, match=f"dev/mix_both/{ID}.wav"):
        TASK.read(corpora)


def test_without_references_the_corpus_is_missing(tmp_path: Path) -> None:
    write_sound(tmp_path, 1.0)
    with pytest.raises(MissingCorpus, match=r"train_clean_100\.rttm"):
        TASK.read(Corpora(tmp_path))


def test_labels_have_the_frame_rate_of_the_features(corpora: Corpora) -> None:
    split = TASK.prepare(_splits(corpora)[0], 320, MINI)
    (item,) = split.items
    assert (item.audio.start, item.audio.end) == (0, 48_000)
    active = item.label.active
    assert active.shape == (150, 2)
    assert np.flatnonzero(active[:, 0]).tolist() == [*range(25, 75), *range(100, 120)]
    assert np.flatnonzero(active[:, 1]).tolist() == list(range(50, 100))
    assert len(TASK.prepare(_splits(corpora)[0], 160, MINI).items[0].label.active) == 300


def test_a_turn_that_spans_a_whole_piece_is_labelled_in_it(tmp_path: Path) -> None:
    write_sound(tmp_path, 45.3)
    write_kaldi(tmp_path, f"u1 {ID} 1.0 44.0\nu2 {ID} 2.0 3.0\n")
    items = TASK.prepare(_splits(Corpora(tmp_path))[2], 160, MINI).items
    assert [len(item.label.active) for item in items] == [2_000, 2_000, 530]
    assert [(item.audio.start, item.audio.end) for item in items] == [(0, 320_000), (320_000, 640_000), (640_000, 724_800)]
    assert items[1].label.active[:, 0].all()
    assert [int(item.label.active[:, 0].sum()) for item in items] == [1_900, 2_000, 400]
    quirk = replace(MINI, variants=("reference-chunk-labels",))
    items = TASK.prepare(_splits(Corpora(tmp_path))[2], 160, quirk).items
    assert [int(item.label.active[:, 0].sum()) for item in items] == [1_900, 0, 400]


@pytest.mark.slow
def test_the_floor_is_the_error_of_one_speaker_with_perfect_speech_activity(corpora: Corpora) -> None:
    """1089 speaks from 0.5 to 1.5 and 2.0 to 2.4, 121 from 1.0 to 2.0: of 2.4 s, 0.5 are missed and 0.5 given to 1089."""
    (fold,) = TASK.read(corpora)
    assert fold.remarks == ("one speaker for all speech, with perfect activity, has a DER of 41.67 % on test",)
    turns = fold.test.items[0].label.turns
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    reference, answer = Annotation(), Annotation()
    for number, (start, end, speaker) in enumerate(turns):
        reference[Segment(start, end), number] = speaker
    answer[Segment(0.5, 2.4)] = "0"
    error = DiarizationErrorRate()(reference, answer, uem=Timeline([Segment(0.0, 3.0)]))
    assert 100 * error == pytest.approx(41.67, abs=0.005)
    assert one_speaker_error([turns, [(0.0, 1.0, "a")]]) == pytest.approx(100 * 1.0 / 3.4)
    assert np.isnan(one_speaker_error([[]]))


# ---------------------------------------------------------------- head


def test_the_official_head_has_the_parameters_of_the_reference(corpora: Corpora) -> None:
    assert TASK.head is not None
    head = TASK.head(768, TASK.read(corpora)[0], TASK.card.recipes["superb"])
    assert sum(parameter.numel() for parameter in head.parameters()) == 2_626_562


def naive_loss(logits: list[torch.Tensor], targets: list[torch.Tensor]) -> float:
    total, frames = 0.0, 0
    for logit, target in zip(logits, targets, strict=True):
        costs = []
        for order in itertools.permutations(range(2)):
            cost = torch.nn.functional.binary_cross_entropy_with_logits(logit, target[:, order].float(), reduction="none")
            costs.append(float(cost.mean(1).sum()))
        total, frames = total + min(costs), frames + len(target)
    return total / frames


def test_the_loss_is_the_least_over_permutations_of_each_piece() -> None:
    torch.manual_seed(0)
    head, logits = Diarizer(4, 8), torch.randn(3, 12, 2)
    lengths, frames = torch.tensor([12, 9, 11]), (12, 9, 11)
    targets = [torch.rand(count, 2) > 0.5 for count in frames]
    value = float(head.loss(logits, lengths, targets))
    assert value == pytest.approx(naive_loss([logits[i, :n] for i, n in enumerate(frames)], targets), rel=1e-5)
    swapped = [targets[0].flip(1), targets[1], targets[2].flip(1)]
    assert float(head.loss(logits, lengths, swapped)) == pytest.approx(value)


def test_labels_with_more_or_fewer_frames_than_features_are_matched() -> None:
    torch.manual_seed(0)
    head, logits = Diarizer(4, 8), torch.randn(2, 10, 2)
    targets = [torch.rand(11, 2) > 0.5, torch.rand(6, 2) > 0.5]
    value = float(head.loss(logits, torch.tensor([10, 8]), targets))
    matched = [torch.cat([logits[0], logits[0, -1:]]), logits[1, :6]]
    assert value == pytest.approx(naive_loss(matched, targets), rel=1e-5)


def test_the_loss_ignores_padding() -> None:
    head, features = Diarizer(4, 8), torch.randn(2, 10, 4)
    lengths, targets = torch.tensor([10, 5]), [torch.rand(10, 2) > 0.5, torch.rand(5, 2) > 0.5]
    before = head.loss(head(features, lengths), lengths, targets)
    features[1, 5:] = 99.0
    torch.testing.assert_close(head.loss(head(features, lengths), lengths, targets), before)


def test_decoded_posteriors_have_each_items_own_length() -> None:
    logits = torch.zeros(2, 5, 2)
    posteriors = Diarizer(4, 8).decode(logits, torch.tensor([5, 3]))
    assert [p.shape for p in posteriors] == [(5, 2), (3, 2)]
    assert all(p.dtype == np.float32 and np.all(p == 0.5) for p in posteriors)


# ---------------------------------------------------------------- choices


def test_frame_accuracy_does_not_depend_on_the_order_of_speakers(corpora: Corpora) -> None:
    split = TASK.prepare(_splits(corpora)[1], 320, MINI)
    right = split.items[0].label.active * 0.8 + 0.1
    assert frame_accuracy(split, {split.items[0].id: right}) == 100.0
    assert frame_accuracy(split, {split.items[0].id: right[:, ::-1]}) == 100.0
    wrong = right.copy()
    wrong[:15, 0] = 0.9  # 15 of 300 decisions
    assert frame_accuracy(split, {split.items[0].id: wrong}) == pytest.approx(95.0)


def test_perfect_posteriors_score_zero_at_all_ten_settings(corpora: Corpora) -> None:
    split = TASK.prepare(_splits(corpora)[2], 320, MINI)
    outputs = {item.id: item.label.active * 0.8 + 0.1 for item in split.items}
    candidates = list(TASK.select.candidates("all", split, outputs, None))
    assert [setting for setting, _ in candidates] == list(SETTINGS)
    assert len(candidates) == 10
    for _, predictions in candidates:
        assert predictions[0].id == ID
        assert predictions[0].prediction == [[0.5, 1.5, "0"], [1.0, 2.0, "1"], [2.0, 2.4, "0"]]
        score = TASK.score(predictions, {})["der"]
        assert score.value == 0.0
        assert score.counts["speech_seconds"] == pytest.approx(2.4)
    ((_, only),) = TASK.select.candidates("all", split, outputs, {"threshold": 0.5, "median": 11})
    assert only == candidates[5][1]


def test_pieces_of_a_recording_are_joined(tmp_path: Path) -> None:
    write_sound(tmp_path, 45.0)
    write_kaldi(tmp_path, f"u1 {ID} 19.0 41.0\nu2 {ID} 2.0 3.0\n")
    split = TASK.prepare(_splits(Corpora(tmp_path))[2], 160, MINI)
    outputs = {item.id: item.label.active.astype(np.float32)[:-1] for item in split.items}  # one frame fewer, as models give
    _, predictions = next(iter(TASK.select.candidates("all", split, outputs, None)))
    assert [p.prediction for p in predictions] == [[[2.0, 3.0, "1"], [19.0, 41.0, "0"]]]


@pytest.mark.parametrize("frames", [1, 7, 11, 60])
def test_the_median_filter_is_that_of_scipy(frames: int) -> None:
    active = np.random.default_rng(frames).random((frames, 2)) > 0.5
    padded = np.pad(active.astype(float), ((5, 5), (0, 0)))  # scipy warns of kernels that exceed the signal
    assert np.array_equal(median_filter(active, 11), medfilt(padded, (11, 1))[5:-5].astype(bool))
    run = np.zeros((30, 1), bool)
    run[10:15] = True
    assert not median_filter(run, 11).any()


def test_frames_to_turns_and_back() -> None:
    active = np.random.default_rng(0).random((200, 2)) > 0.3
    turns = [(float(start), float(end), str(speaker)) for start, end, speaker in turns_of(active, 320)]
    assert np.array_equal(frames_of(turns, ["0", "1"], 320, 0, 200), active)


# ---------------------------------------------------------------- error rate


def random_turns(random: np.random.Generator, speakers: int) -> list[list[float | str]]:
    turns: list[list[float | str]] = []
    for speaker in range(speakers):
        times = np.sort(random.choice(1_000, 2 * int(random.integers(1, 6)), replace=False)) / 100
        turns += [[float(a), float(b), str(speaker)] for a, b in times.reshape(-1, 2)]
    return turns


def annotation(turns: list[list[float | str]]) -> Annotation:
    from pyannote.core import Annotation, Segment

    result = Annotation()
    for number, (start, end, speaker) in enumerate(turns):
        result[Segment(start, end), number] = speaker
    return result


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'uem' was approximated")
def test_the_error_rate_agrees_with_pyannote() -> None:
    from pyannote.metrics.diarization import DiarizationErrorRate

    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    for seed in range(200):
        random = np.random.default_rng(seed)
        reference, hypothesis = random_turns(random, 2), random_turns(random, int(random.integers(1, 4)))
        expected = metric(annotation(reference), annotation(hypothesis), detailed=True)
        errors = compare(reference, hypothesis)
        assert errors.miss == pytest.approx(expected["missed detection"], abs=1e-6)
        assert errors.false_alarm == pytest.approx(expected["false alarm"], abs=1e-6)
        assert errors.confusion == pytest.approx(expected["confusion"], abs=1e-6)
        assert errors.speech == pytest.approx(expected["total"], abs=1e-6)


def test_error_seconds_of_cases_worked_by_hand() -> None:
    reference = [[0.0, 2.0, "a"], [1.0, 3.0, "b"]]
    assert compare(reference, reference).total == 0
    assert compare(reference, []).miss == 4.0
    assert compare([], reference).false_alarm == 4.0
    errors = compare(reference, [[0.0, 3.0, "x"]])
    assert (errors.miss, errors.false_alarm, errors.confusion) == (1.0, 0.0, 1.0)
