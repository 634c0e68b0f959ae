"""Scores: WER, PER, CER, slot F1 and slot CER, EER, minDCF, accuracy, term weighted value.

References: `s3prl.metric`, `s3prl.downstream.ctc.metric`, the WER of `s3prl.downstream.asr.expert`, the EER of
`s3prl.downstream.sv_voxceleb1.utils`. The term weighted value is scored by a program that s3prl only calls; it is compared with
a restatement of its definition, in this file (protocol.md 2.10). DER is compared with pyannote.metrics in tests/downstream.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from downstream import phoneme_recognition, slot_filling, speaker_verification, speech_recognition
from downstream.shared.text import character_edits, word_edits
from downstream.shared.twv import Absent, maximum_twv
from superbench import Prediction, accuracy

Reference = Callable[[str], Any]


def predictions(references: list[Any], said: list[Any]) -> list[Prediction]:
    return [Prediction(str(n), "all", (str(n),), *pair) for n, pair in enumerate(zip(references, said, strict=True))]


def sentences(seed: int, count: int, words: list[str], least: int = 1) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(words, k=draw.randrange(least, 14))) for _ in range(count)]


def test_phone_and_word_error_rates_are_the_same(reference: Reference) -> None:
    for seed in range(10):
        words = ["A", "B", "AA0", "C'", "DOG", "<unk>"]
        references, said = sentences(seed, 60, words), sentences(seed + 100, 60, words, least=0)
        scored = predictions(references, said)
        expected = reference("metric").wer(said, references)
        assert reference("downstream.ctc.metric").per(hypothesis=said, groundtruth=references) == expected
        assert phoneme_recognition.score(scored, {})["per"].value == pytest.approx(100 * expected, rel=1e-12)
        assert speech_recognition.score(scored, {})["wer"].value == pytest.approx(100 * expected, rel=1e-12)
        _, percent = reference("downstream.asr.expert").DownstreamExpert._compute_metrics(
            None, said, [one.split() for one in said], references, [one.split() for one in references]
        )
        assert percent == pytest.approx(100 * expected, rel=1e-12)


def test_edits_of_each_pair_are_the_same(reference: Reference) -> None:
    editdistance = reference("metric.common").ed
    references, said = sentences(1, 200, ["AB", "C", "D'"]), sentences(2, 200, ["AB", "C", "D'"], least=0)
    errors, lengths = character_edits(references, said)
    assert errors == [editdistance.eval(*pair) for pair in zip(references, said, strict=True)]
    assert 100 * sum(errors) / sum(lengths) == pytest.approx(100 * reference("metric").cer(said, references))
    errors, _ = word_edits(references, said)
    assert errors == [editdistance.eval(a.split(), b.split()) for a, b in zip(references, said, strict=True)]


SLOTS = ["artist", "city", "playlist", "playlist_owner"]


def tagged(draw: random.Random, broken: float) -> str:
    """A sentence with slots; with probability `broken` each tag is lost, doubled, or of another type."""
    pieces = []
    for _ in range(draw.randrange(1, 6)):
        value = " ".join(draw.choices(["ROSA", "PARIS", "A", "OF IT", "NINA"], k=draw.randrange(1, 4)))
        if draw.random() < 0.5:
            pieces.append(value)
            continue
        first, last = (slot if draw.random() > broken else draw.choice(SLOTS) for slot in [draw.choice(SLOTS)] * 2)
        opening = f"B-{first} " * draw.choice([1] if draw.random() > broken else [0, 2])
        closing = f" E-{last}" * draw.choice([1] if draw.random() > broken else [0, 2])
        pieces.append(f"{opening}{value if draw.random() > broken / 4 else ''}{closing}")
    return draw.choice([" ", "  "]).join(pieces)


@pytest.mark.parametrize("broken", [0.0, 0.1, 0.4])
def test_slot_scores_are_the_same_on_many_strings_with_tags(reference: Reference, broken: float) -> None:
    draw = random.Random(round(10 * broken))
    references = [tagged(draw, broken / 4) for _ in range(1_500)]
    said = [one if draw.random() < 0.2 else tagged(draw, broken) for one in references]
    scores = slot_filling.score(predictions(references, said), {})
    for module in (reference("metric.slot_filling"), reference("downstream.ctc.metric")):
        assert scores["slot_type_f1"].value == pytest.approx(100 * module.slot_type_f1(said, references), rel=1e-12)
        assert scores["slot_value_cer"].value == pytest.approx(100 * module.slot_value_cer(said, references), rel=1e-12)


def test_every_utterance_alone_has_the_same_slot_scores(reference: Reference) -> None:
    draw, module = random.Random(7), reference("metric.slot_filling")
    for _ in range(400):
        wanted, said = tagged(draw, 0.0), tagged(draw, 0.3)
        scores = slot_filling.score(predictions([wanted], [said]), {})
        assert scores["slot_type_f1"].value == pytest.approx(100 * module.slot_type_f1([said], [wanted]))
        if scores["slot_value_cer"].counts["characters"]:
            assert scores["slot_value_cer"].value == pytest.approx(100 * module.slot_value_cer([said], [wanted]))


def test_a_said_value_a_hundred_times_too_long_counts_as_none_in_both(reference: Reference) -> None:
    wanted, module = "B-city A E-city", reference("metric.slot_filling")
    for length in (99, 100, 101, 300):
        said = f"B-city {'B' * length} E-city"
        (score,) = [slot_filling.score(predictions([wanted], [said]), {})["slot_value_cer"]]
        assert score.value == pytest.approx(100 * module.slot_value_cer([said], [wanted]))


@pytest.mark.parametrize("decimals", [1, 2, 9])
def test_equal_error_rate_and_minimum_cost_are_the_same(reference: Reference, decimals: int) -> None:
    for seed in range(8):
        drawn = np.random.default_rng(seed)
        labels = (drawn.random(700) < 0.4).astype(int)
        scores = np.round(drawn.normal(0.8 * labels, 1.0), decimals)
        ours = speaker_verification.score(predictions(labels.tolist(), scores.tolist()), {})
        expected, _ = reference("metric").compute_eer(labels.tolist(), scores.tolist())
        published, _ = reference("downstream.sv_voxceleb1.utils").EER(labels, scores)
        assert ours["eer"].value == pytest.approx(100 * expected, rel=1e-5)
        assert ours["eer"].value == pytest.approx(100 * published, rel=1e-5)
        cost, _ = reference("metric").compute_minDCF(labels.tolist(), scores.tolist(), p_target=0.01)
        assert ours["min_dcf"].value == pytest.approx(cost, rel=1e-9)


def test_accuracy_is_the_same(reference: Reference) -> None:
    draw = random.Random(3)
    truth, said = ([draw.choice("abc") for _ in range(333)] for _ in range(2))
    assert accuracy(predictions(truth, said)).value == pytest.approx(100 * reference("metric").accuracy(said, truth))


# ---------------------------------------------------------------- term weighted value, by its definition

Trials = Mapping[str, Mapping[str, float]]


def twv(scores: Trials, targets: Mapping[str, set[str]], documents: list[str], threshold: float) -> float:
    """1 - mean over all queries with a target of (P_miss + β P_fa), trials that were not submitted being never detected."""
    beta = (1.0 / 100.0) * (1.0 / 0.0008 - 1.0)
    values = []
    for query, wanted in targets.items():
        if not wanted:
            continue
        detected = {document for document, score in scores.get(query, {}).items() if score >= threshold}
        misses = len(wanted - detected) / len(wanted)
        false_alarms = len(detected - wanted) / (len(documents) - len(wanted))
        values.append(1 - misses - beta * false_alarms)
    return sum(values) / len(values)


@pytest.mark.parametrize("seed", range(6))
def test_maximum_term_weighted_value_by_brute_force_under_both_averaging_rules(seed: int) -> None:
    """Official: queries and documents of other languages count, never detected. English: they do not exist."""
    drawn = np.random.default_rng(seed)
    english = [f"d{n}" for n in range(60)]
    documents = english + [f"foreign{n}" for n in range(45)]
    targets = {f"q{n}": {d for d in documents if drawn.random() < (0.0 if n == 0 else 0.1)} for n in range(9)}
    targets |= {f"other{n}": {documents[-1 - n]} for n in range(5)}
    targets["q1"] = {"foreign3", "foreign7"}  # targets in other languages only
    scores = {q: {d: round(float(drawn.normal(3.0 * (d in targets[q]))), 1) for d in english} for q in targets if q[0] == "q"}
    trials = [
        Prediction(f"{q}|{d}", "all", (q,), int(d in targets[q]), value)
        for q, row in scores.items()
        for d, value in row.items()
    ]
    absent = Absent(
        queries=5, documents=45, targets={q: len(targets[q] - set(english)) for q in scores if targets[q] - set(english)}
    )
    thresholds = [math.inf, *{value for row in scores.values() for value in row.values()}]
    official = max(twv(scores, targets, documents, threshold) for threshold in thresholds)
    here = {q: targets[q] & set(english) for q in scores}
    alone = max(twv(scores, here, english, threshold) for threshold in thresholds)
    assert 0 < official < alone
    assert maximum_twv(trials, absent).value == pytest.approx(official, rel=1e-9)
    assert maximum_twv(trials, Absent()).value == pytest.approx(alone, rel=1e-9)
