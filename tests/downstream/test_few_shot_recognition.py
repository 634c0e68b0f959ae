"""PR and ASR without training: units of K minutes, loops of phones and of words, nested minutes, controls."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from downstream import phoneme_recognition, speech_recognition
from downstream.shared.few_shot_segments import drawn, seconds_of
from downstream.shared.unit_search import align, unit_loop
from superbench import SAMPLE_RATE, Audio, Episode, Fold, Item, Split, draw_order

pytestmark = pytest.mark.slow

HOP, EACH, DIM = 320, 4, 20
WORDS = {"DOG": "D AO1 G", "CAT": "K AE1 T", "GOAT": "G OW1 T", "TOAD": "T OW1 D", "COD": "K AO1 D", "TAG": "T AE1 G"}
SENTENCES = [
    " ".join(words)
    for words in itertools.permutations(WORDS, 4)
    if all(
        WORDS[a].split()[-1] != WORDS[b].split()[0] for a, b in itertools.pairwise(words)
    )  # a phone twice in a row looks like a long one
]


def phones(text: str) -> list[str]:
    return " ".join(WORDS[word] for word in text.split()).split()


def item(root: Path, name: str, text: str, label: str) -> Item:
    """An utterance whose sound is as long as its frames."""
    path = root / f"{name}.wav"
    soundfile.write(path, np.zeros((2 + len(phones(text))) * EACH * HOP), SAMPLE_RATE)
    return Item(name, Audio(path), label, (name[:6],))


def folded(root: Path, label: Callable[[str], str]) -> Fold:
    train = tuple(item(root, f"train{n % 5}-{n}", SENTENCES[2 * n], label(SENTENCES[2 * n])) for n in range(50))
    test = tuple(item(root, f"tested-{n}", SENTENCES[5 * n + 1], label(SENTENCES[5 * n + 1])) for n in range(20))
    return Fold("all", Split("train", train), Split("dev", ()), Split("test", test))


@pytest.fixture
def spoken(tmp_path: Path) -> Fold:
    """Labels are phones."""
    return folded(tmp_path, lambda text: " ".join(phones(text)))


@pytest.fixture
def written(tmp_path: Path) -> Fold:
    """Labels are words; the lexicon is in the same folder."""
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("".join(f"{word}\t{string}\n" for word, string in WORDS.items()))
    return replace(folded(tmp_path, str), files={"pronunciations 1": lexicon})


def voices(informative: bool) -> Callable[[Item], Tensor]:
    """Frames: a vector for each phone with noise, silence at both ends; or noise alone."""

    def frames(item: Item) -> Tensor:
        string = phones(item.label) if item.label.split()[0] in WORDS else item.label.split()
        random = np.random.default_rng(zlib.crc32(item.id.encode()))
        noise = torch.from_numpy(random.normal(size=((len(string) + 2) * EACH, DIM))).float()
        clean = [np.random.default_rng(zlib.crc32(phone.encode())).normal(size=DIM) for phone in ["-", *string, "-"]]
        signal = torch.from_numpy(np.repeat(np.stack(clean), EACH, axis=0)).float()
        return signal + 0.2 * noise if informative else noise

    return frames


TASKS = [(phoneme_recognition.TASK, "spoken"), (speech_recognition.TASK, "written")]


@pytest.mark.parametrize(("task", "labels"), TASKS, ids=["pr", "asr"])
@pytest.mark.parametrize("shots", [1, "all"])
def test_features_that_separate_the_phones_give_few_errors(ask, request, task, labels, shots) -> None:
    assert ask(task, request.getfixturevalue(labels), voices(True), shots)[0] < 5.0


@pytest.mark.parametrize(("task", "labels"), TASKS, ids=["pr", "asr"])
def test_features_without_information_are_near_the_floor(ask, request, task, labels) -> None:
    """With six words and nine phones, guesses of frequent ones are often right."""
    assert ask(task, request.getfixturevalue(labels), voices(False), "all")[0] > 60.0


@pytest.mark.parametrize(("task", "labels"), TASKS, ids=["pr", "asr"])
def test_transcripts_of_shuffled_words_are_near_the_floor(ask, request, task, labels) -> None:
    """All words (phones) of train are shuffled and divided into transcripts again. To permute whole transcripts would not do:
    with six words, the Viterbi alignment recovers them from the order of words."""
    fold = request.getfixturevalue(labels)
    features = {item.id: voices(True)(item) for item in (*fold.train.items, *fold.test.items)}
    lengths = [len(item.label.split()) for item in fold.train.items]
    row = [word for item in fold.train.items for word in item.label.split()]
    shuffled = iter([row[i] for i in draw_order(len(row), 0, "shuffled")])
    items = tuple(
        replace(item, label=" ".join(itertools.islice(shuffled, length)))
        for item, length in zip(fold.train.items, lengths, strict=True)
    )
    mixed = replace(fold, train=replace(fold.train, items=items))
    assert ask(task, mixed, lambda item: features[item.id], "all")[0] > 55.0


def test_random_centroids_recognise_nothing(ask, spoken: Fold) -> None:
    task = phoneme_recognition.TASK
    assert task.few_shot is not None
    (control,) = task.few_shot.controls.values()
    assert ask(replace(task, few_shot=replace(task.few_shot, answer=control)), spoken, voices(True), "all")[0] > 70.0


def test_without_a_lexicon_words_are_spelled_in_letters(ask, written: Fold) -> None:
    assert ask(speech_recognition.TASK, replace(written, files={}), voices(True), "all")[0] < 30.0


def test_minutes_are_nested_and_no_speaker_of_test_is_among_them(ask, written: Fold) -> None:
    items = written.train.items
    seconds = [seconds_of(item) for item in items]
    sizes = [[item.id for item in drawn(items, seconds, Episode(k, 3), "all")] for k in (0, 1)]
    assert sizes[0] == []
    assert 0 < len(sizes[1]) <= len(items)
    halves = [drawn(items[:25] * 10, seconds[:25] * 10, Episode(k, 0), "all") for k in (1, 2, 3)]
    assert all(
        larger[: len(smaller)] == smaller and len(larger) > len(smaller) for smaller, larger in itertools.pairwise(halves)
    )
    firsts = [[item.id for item in drawn(items, seconds, Episode(1, draw), "all")][:9] for draw in (0, 1)]
    assert firsts[0] != firsts[1]
    leaked = replace(written.test.items[0], id="leaked", label="DOG")
    mixed = replace(written, train=replace(written.train, items=(*items, leaked)))
    _, answers = ask(speech_recognition.TASK, mixed, lambda item: voices(True)(item) if item.id != "leaked" else 1 / 0, "all")
    assert len(answers) == 20


def test_more_minutes_than_available_take_all(ask, spoken: Fold) -> None:
    task = phoneme_recognition.TASK
    assert task.few_shot is not None
    assert task.few_shot.available is not None
    assert task.few_shot.available(spoken) == pytest.approx(50 * 14 * EACH * HOP / SAMPLE_RATE / 60)
    answers = [{p.id: p.prediction for p in ask(task, spoken, voices(True), shots)[1]} for shots in (60, "all")]
    assert answers[0] == answers[1]


def test_the_alignment_is_the_best_of_all_alignments() -> None:
    """Compared with every alignment of four states, of which two are optional, to six frames."""
    scores = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)
    units, optional = np.array([0, 1, 0, 2]), np.array([True, False, True, False])
    path = align(scores, units, optional)
    paths = [
        candidate
        for candidate in itertools.product(range(4), repeat=6)
        if candidate[0] in (0, 1)
        and candidate[-1] == 3
        and all(b - a in (0, 1) or (b - a, a) == (2, 1) for a, b in itertools.pairwise(candidate))
    ]
    assert sum(scores[t, units[j]] for t, j in enumerate(path)) == pytest.approx(
        max(sum(scores[t, units[j]] for t, j in enumerate(candidate)) for candidate in paths), abs=1e-5
    )
    assert align(scores[:1], units, optional).tolist() == [-1]


def test_the_unit_loop_is_the_best_of_all_paths() -> None:
    scores = np.random.default_rng(6).normal(size=(6, 3)).astype(np.float32)

    def value(path: tuple[int, ...]) -> float:
        return sum(float(scores[t, unit]) for t, unit in enumerate(path)) - 0.7 * sum(
            a != b for a, b in itertools.pairwise(path)
        )

    best = max(itertools.product(range(3), repeat=6), key=value)
    assert unit_loop(scores, 0.7).tolist() == [unit for unit, _ in itertools.groupby(best)]
