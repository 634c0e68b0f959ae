"""ASV: corpus rules, the x-vector, and the errors of a detector."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from downstream.shared import voxceleb
from downstream.shared.speech import Line
from downstream.shared.verification import equal_error_rate, minimum_cost
from downstream.speaker_verification import TASK, XVector, statistics
from superbench import BadCorpus, Corpora, Fold, IncompleteCorpus, MissingCorpus, Recipe, Split

MINI = TASK.card.recipes["mini"]


def write(path: Path, seconds: float = 0.5, silence: float = 0.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.random.default_rng(0).normal(0, 0.1, round(seconds * 16_000))
    soundfile.write(path, np.concatenate([wave, np.zeros(round(silence * 16_000))]), 16_000)


@pytest.fixture
def corpora(tmp_path: Path) -> Corpora:
    root = tmp_path / "VoxCeleb1"
    for name in ("id10001/aaaaaaaaaaa/00001", "id10001/aaaaaaaaaaa/00002", "id11251/bbbbbbbbbbb/00001"):
        write(root / "dev/wav" / f"{name}.wav")
    for name in ("id10270/ccccccccccc/00001", "id10270/ccccccccccc/00002", "id10309/ddddddddddd/00001"):
        write(root / "test/wav" / f"{name}.wav")
    (root / "dev/wav/id10001/aaaaaaaaaaa/._00001.wav").write_bytes(b"companion")
    (root / "voxceleb1_test_v2.txt").write_text(
        "1 id10270/ccccccccccc/00001.wav id10270/ccccccccccc/00002.wav\n"
        "0 id10270/ccccccccccc/00001.wav id10309/ddddddddddd/00001.wav\n"
    )
    return Corpora(tmp_path)


def test_asv_trains_on_all_of_dev_and_tests_the_trials(corpora: Corpora) -> None:
    (fold,) = TASK.read(corpora)
    assert [item.id for item in fold.train.items] == [
        "id10001/aaaaaaaaaaa/00001.wav",
        "id10001/aaaaaaaaaaa/00002.wav",
        "id11251/bbbbbbbbbbb/00001.wav",
    ]
    assert not fold.dev.items
    assert [trial.reference for trial in fold.test.trials] == [1, 0]
    assert fold.test.trials[1].id == "id10270/ccccccccccc/00001.wav|id10309/ddddddddddd/00001.wav"
    assert fold.test.trials[0].group == ("id10270",)
    assert fold.test.trials[1].group == ("id10270", "id10309")
    assert len(fold.test.items) == 3
    assert all(item.audio.trim and item.audio.gain_db == -3.0 for item in (*fold.train.items, *fold.test.items))


def test_asv_never_trains_on_a_test_speaker_even_in_one_folder(corpora: Corpora) -> None:
    root = corpora.root / "VoxCeleb1"
    (root / "wav").mkdir()
    for speaker in [*(root / "dev/wav").iterdir(), *(root / "test/wav").iterdir()]:
        speaker.rename(root / "wav" / speaker.name)
    (fold,) = TASK.read(corpora)
    assert {item.label for item in fold.train.items} == {"id10001", "id11251"}
    assert {item.label for item in fold.test.items} == {"id10270", "id10309"}


def test_a_trial_without_its_file_is_an_error_that_names_it(corpora: Corpora) -> None:
    (corpora.root / "VoxCeleb1/test/wav/id10309/ddddddddddd/00001.wav").unlink()
    with pytest.raises(BadCorpus, match=r"id10309/ddddddddddd/00001\.wav"):
        TASK.read(corpora)


def test_a_training_file_that_the_identification_list_names_must_be_there(corpora: Corpora) -> None:
    (corpora.root / "VoxCeleb1/iden_split.txt").write_text("1 id10001/aaaaaaaaaaa/00009.wav\n")
    with pytest.raises(BadCorpus, match=r"id10001/aaaaaaaaaaa/00009\.wav"):
        TASK.read(corpora)


@pytest.mark.parametrize("line", ["2 a b", "1 id10270/ccccccccccc/00001.wav", "1 id10270/c/1.wav id10309/d/1.wav"])
def test_a_bad_line_of_the_trial_list_is_an_error(corpora: Corpora, line: str) -> None:
    (corpora.root / "VoxCeleb1/voxceleb1_test_v2.txt").write_text(line + "\n")
    with pytest.raises(BadCorpus, match="line 1"):
        TASK.read(corpora)


def test_without_a_trial_list_the_corpus_is_missing(corpora: Corpora) -> None:
    (corpora.root / "VoxCeleb1/voxceleb1_test_v2.txt").unlink()
    with pytest.raises(MissingCorpus, match=r"veri_test\.txt"):
        TASK.read(corpora)


@pytest.mark.parametrize("name", ["veri_test2.txt", "list_test_hard.txt"])
def test_another_list_of_trials_is_reported(corpora: Corpora, name: str) -> None:
    root = corpora.root / "VoxCeleb1"
    (root / "voxceleb1_test_v2.txt").rename(root / name)
    with pytest.raises(IncompleteCorpus, match=rf"veri_test\.txt is not in .*{name} .* exists, but is another list"):
        TASK.read(corpora)


@pytest.mark.slow
def test_cleaned_trials_under_the_name_of_the_official_list_are_recognised_by_their_number(corpora: Corpora) -> None:
    root = corpora.root / "VoxCeleb1"
    (root / "voxceleb1_test_v2.txt").unlink()
    (speaker,) = (path.name for path in (root / "test/wav").iterdir() if path.name == "id10270")
    lines = [f"1 {speaker}/video/{number:05}.wav {speaker}/other/{number:05}.wav" for number in range(37_611)]
    (root / "veri_test.txt").write_text("\n".join(lines) + "\n")
    with pytest.raises(BadCorpus, match=r"has 37611 trials: it is veri_test2\.txt"):
        TASK.read(corpora)


@pytest.mark.parametrize(("layout", "place"), [("parts", "test/wav"), ("whole", "wav")])
def test_a_missing_test_speaker_is_named_with_the_expected_folder(corpora: Corpora, layout: str, place: str) -> None:
    root = corpora.root / "VoxCeleb1"
    shutil.rmtree(root / "test")
    if layout == "whole":
        (root / "dev/wav").rename(root / "wav")
    with pytest.raises(BadCorpus, match=rf"VoxCeleb1/{place}/id10270/") as caught:
        TASK.read(corpora)
    assert "dev/wav" not in str(caught.value)


def test_the_older_name_of_the_trial_list_is_accepted(corpora: Corpora) -> None:
    root = corpora.root / "VoxCeleb1"
    (root / "voxceleb1_test_v2.txt").rename(root / "veri_test.txt")
    assert len(TASK.read(corpora)[0].test.trials) == 2


def test_short_training_utterances_are_dropped_after_trimming(corpora: Corpora) -> None:
    write(corpora.root / "VoxCeleb1/dev/wav/id10001/aaaaaaaaaaa/00001.wav", seconds=2.2)
    write(corpora.root / "VoxCeleb1/dev/wav/id10001/aaaaaaaaaaa/00002.wav", seconds=1.5, silence=2.0)
    (fold,) = TASK.read(corpora)
    official = TASK.prepare(fold.train, 320, TASK.card.recipes["superb"])
    assert [item.id for item in official.items] == ["id10001/aaaaaaaaaaa/00001.wav"]
    assert TASK.prepare(fold.train, 320, MINI).items == fold.train.items
    assert TASK.prepare(fold.test, 320, TASK.card.recipes["superb"]) == fold.test


# ---------------------------------------------------------------- head


def x_vector(speakers: int = 3, dim: int = 5) -> XVector:
    torch.manual_seed(0)
    return XVector(dim, [f"s{i}" for i in range(speakers)], width=8, pooled=12, embedding=6)


def test_the_official_x_vector_has_the_parameters_of_the_reference(corpora: Corpora) -> None:
    (fold,) = TASK.read(corpora)
    items = tuple(replace(fold.train.items[0], label=f"id{i}") for i in range(1_211))
    assert TASK.head is not None
    head = TASK.head(768, Fold("all", Split("train", items), fold.dev, fold.test), TASK.card.recipes["superb"])
    assert isinstance(head, XVector)

    def size(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert size(head.connector) == 393_728
    assert [size(layer) for layer in head.tdnn] == [1_311_232, 786_944, 786_944, 262_656, 769_500]
    assert size(head.embedding) == 1_536_512
    assert size(head.training_layer) == 262_656
    assert head.classes.numel() == 620_032


def test_tdnn_layers_are_linear_maps_of_dilated_context() -> None:
    layer = x_vector().tdnn[1]
    frames = torch.randn(1, 9, 8)
    context = torch.stack([frames[0, t : t + 5 : 2].flatten() for t in range(5)])  # frames t, t+2, t+4
    assert isinstance(layer, torch.nn.Conv1d)
    expected = context @ layer.weight.transpose(1, 2).flatten(1).T + layer.bias
    torch.testing.assert_close(layer(frames.transpose(1, 2))[0].T, expected)


def test_pooling_is_mean_and_unbiased_deviation_of_the_valid_frames() -> None:
    hidden = torch.randn(2, 4, 7)
    hidden[:, 3] = 0.25
    pooled = statistics(hidden, torch.tensor([7, 5]))
    for i, length in enumerate((7, 5)):
        valid = hidden[i, :, :length]
        torch.testing.assert_close(pooled[i], torch.cat([valid.mean(1), valid.std(1)]), atol=1e-6, rtol=1e-5)


def test_embeddings_do_not_depend_on_the_batch_or_on_padding() -> None:
    head, features = x_vector().eval(), torch.randn(3, 40, 5)
    lengths = torch.tensor([40, 23, 9])
    together = head(features, lengths)
    for i, length in enumerate(lengths.tolist()):
        alone = head(features[i : i + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(together[i : i + 1], alone)


@pytest.mark.parametrize("frames", [1, 2, 14, 15, 16])
def test_very_short_utterances_have_finite_embeddings_and_gradients(frames: int) -> None:
    head = x_vector()
    lengths = torch.tensor([frames, frames])
    outputs = head(torch.randn(2, frames, 5), lengths)
    loss = head.loss(outputs, lengths, [head.encode("s0"), head.encode("s2")])
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


def test_am_softmax_is_the_published_formula() -> None:
    head, embeddings = x_vector(), torch.rand(4, 6)
    speakers = [0, 2, 1, 1]
    loss = head.loss(embeddings, torch.ones(4), [torch.tensor(i) for i in speakers])
    z = torch.relu(head.training_layer(embeddings)).detach()
    total = 0.0
    for row, speaker in zip(z, speakers, strict=True):
        cosines = [float(torch.cosine_similarity(row, head.classes[:, j].detach(), dim=0)) for j in range(3)]
        target = 30 * (cosines[speaker] - 0.4)
        rest = sum(np.exp(30 * cosine) for j, cosine in enumerate(cosines) if j != speaker)
        total -= target - np.log(np.exp(target) + rest)
    assert float(loss.detach()) == pytest.approx(total / 4, rel=1e-5)


def test_decoded_embeddings_have_length_one_and_trials_get_their_cosine(corpora: Corpora) -> None:
    (fold,) = TASK.read(corpora)
    embeddings = x_vector().decode(torch.tensor([[3.0, 4.0], [0.0, 2.0], [5.0, 0.0]]), torch.ones(3))
    outputs = {item.id: embedding for item, embedding in zip(fold.test.items, embeddings, strict=True)}
    ((setting, predictions),) = TASK.select.candidates("all", fold.test, outputs, None)
    assert setting == {}
    assert [p.prediction for p in predictions] == pytest.approx([0.8, 0.6])
    assert [p.reference for p in predictions] == [1, 0]
    assert TASK.score(predictions, {})["eer"].value == 0.0


# ---------------------------------------------------------------- errors


def reference_eer(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    fpr, tpr, _ = roc_curve(labels, scores, pos_label=1, sample_weight=weights)
    return 100 * brentq(lambda x: 1.0 - x - interp1d(fpr, tpr)(x), 0.0, 1.0, xtol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("decimals", [1, 2, 12])
def test_eer_agrees_with_scikit_learn_also_with_ties(decimals: int) -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        labels = random.permutation(np.repeat([0, 1], [70, 50]))
        scores = np.round(random.normal(labels * 1.5, 1.0), decimals)
        score = equal_error_rate(scores, labels)
        assert score.value == pytest.approx(reference_eer(scores, labels), abs=1e-9)
        weights = random.integers(0, 4, len(labels)).astype(float)
        assert score.reweighted(weights) == pytest.approx(reference_eer(scores, labels, weights), abs=1e-9)
        repeated = np.repeat(np.arange(len(labels)), weights.astype(int))
        assert score.reweighted(weights) == pytest.approx(equal_error_rate(scores[repeated], labels[repeated]).value, abs=1e-9)


@pytest.mark.parametrize(
    ("targets", "nontargets", "expected"),
    [
        ([0.9, 0.8], [0.2, 0.1], 0.0),
        ([0.2, 0.1], [0.9, 0.8], 100.0),
        ([0.9, 0.8, 0.7, 0.3], [0.4, 0.2, 0.1, 0.0], 25.0),
        ([0.5, 0.5], [0.5, 0.5], 50.0),
        ([0.9, 0.5], [0.5, 0.1], 25.0),
    ],
)
def test_eer_of_cases_worked_by_hand(targets: list[float], nontargets: list[float], expected: float) -> None:
    labels = np.array([1] * len(targets) + [0] * len(nontargets))
    assert equal_error_rate(np.array(targets + nontargets), labels).value == pytest.approx(expected)


def test_eer_without_targets_is_not_a_number() -> None:
    assert np.isnan(equal_error_rate(np.array([0.1, 0.2]), np.array([0, 0])).value)


def test_minimum_cost_of_cases_worked_by_hand() -> None:
    scores, labels = np.array([0.9, 0.8, 0.7, 0.1]), np.array([1, 0, 1, 0])
    # thresholds: (miss, false alarm) = (1, 0) (.5, 0) (.5, .5) (0, .5) (0, 1); costs over 0.01
    assert minimum_cost(scores, labels, target_probability=0.01).value == pytest.approx(0.5)
    assert minimum_cost(scores, labels, target_probability=0.5).value == pytest.approx(0.5)
    assert minimum_cost(-scores, labels, target_probability=0.01).value == pytest.approx(1.0)


def test_the_schedule_has_ten_checkpoints_chosen_on_test() -> None:
    for recipe in TASK.card.recipes.values():
        assert isinstance(recipe, Recipe)
        assert recipe.steps == 10 * recipe.evaluate_every
    assert TASK.select.checkpoints
    assert TASK.select.on == "test"


# ---------------------------------------------------------------- the miniature


@pytest.fixture
def recorded_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Line]:
    """The lines that the miniature would synthesise."""
    lines: list[Line] = []
    (tmp_path / "VoxCeleb1").mkdir()
    monkeypatch.setattr(voxceleb, "speak", lines.extend)
    voxceleb.write_miniature(tmp_path, 5)
    return lines


def speakers_of(lines: list[Line]) -> dict[str, list[Line]]:
    by_speaker: dict[str, list[Line]] = {}
    for line in lines:
        by_speaker.setdefault(line.path.parts[-3], []).append(line)
    return by_speaker


@pytest.mark.slow
def test_a_speaker_of_the_miniature_keeps_one_voice_and_speakers_differ(recorded_lines: list[Line]) -> None:
    speakers = speakers_of(recorded_lines)
    assert len(speakers) == 100
    assert all(len({line.voice for line in lines}) == 1 for lines in speakers.values())
    assert len({lines[0].voice for lines in speakers.values()}) == 100


@pytest.mark.slow
def test_pitch_varies_less_within_a_speaker_than_between_speakers(recorded_lines: list[Line]) -> None:
    pitches = [[line.voice.fundamental * line.pitch for line in lines] for lines in speakers_of(recorded_lines).values()]
    women = [lines[0].voice.female for lines in speakers_of(recorded_lines).values()]
    within = np.mean([np.std(np.log(values)) for values in pitches])
    for sex in (True, False):
        means = [np.mean(np.log(values)) for values, woman in zip(pitches, women, strict=True) if woman is sex]
        assert np.std(means) > 3 * within


@pytest.mark.slow
def test_formants_of_speakers_differ_in_strength_and_in_frequency(recorded_lines: list[Line]) -> None:
    voices = [lines[0].voice for lines in speakers_of(recorded_lines).values()]
    strengths = 20 * np.log10([voice.strengths for voice in voices])
    tracts = np.array([voice.formants for voice in voices])
    places = tracts / tracts.mean(axis=1, keepdims=True)
    assert 2.0 < strengths.std(axis=0).min() < strengths.std(axis=0).max() < 4.0
    assert 0.03 < places.std(axis=0).min() < places.std(axis=0).max() < 0.07


@pytest.mark.slow
def test_channel_and_noise_are_drawn_for_each_recording(recorded_lines: list[Line]) -> None:
    """All that is random about a line follows its seed: with one each, neither tells anything of the speaker."""
    assert all(line.channel for line in recorded_lines)
    assert len({line.seed for line in recorded_lines}) == len(recorded_lines)
    assert {line.snr for line in recorded_lines} == {(10.0, 25.0)}
