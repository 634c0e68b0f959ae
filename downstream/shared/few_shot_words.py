"""ASR without a gradient: units of K minutes of transcribed speech, then Viterbi over a loop of their words.

Only the words of the K minutes can be recognised. They are spelled in phones if the corpus has a lexicon, else in letters. A
word's score is weighted by its frequency in the K transcripts (order 1), or by that after the word before (order 2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from downstream.shared.few_shot_segments import Lessons, Units, available, fitted
from downstream.shared.librispeech import known_pronunciations, lexicon_files
from downstream.shared.unit_search import word_loop
from superbench import (
    Answers,
    Corpora,
    Episode,
    FewShot,
    Fold,
    IncompleteCorpus,
    Item,
    LayerFeatures,
    Prediction,
    Setting,
    Shots,
    Split,
)

INTERPOLATED = 0.6
"""Weight of the pair in the probability of a word; the rest is its own frequency."""


def further(shots: Shots, chosen: Setting) -> tuple[Setting, ...]:
    """Returns other orders, weights and penalties."""
    tried = [
        {"order": order, "weight": weight, "penalty": penalty}
        for order in (1, 2)
        for weight in (4.0, 8.0)
        for penalty in (0.0, 16.0, 32.0)
    ]
    return tuple(setting for setting in tried if setting != chosen)


def answer(
    fold: Fold, split: Split, episodes: Sequence[Episode], settings: Sequence[Setting], features: LayerFeatures
) -> Answers:
    """Yields the words of every utterance, joined by spaces."""
    spelling, lessons = spellings(fold), Lessons.of(fold, split, episodes, features)
    for episode, examples in lessons.chosen.items():
        texts = [item.label.split() for item in examples]
        strings = [[spelling[word] for word in text] for text in texts]
        units = fitted([lessons.known[item.id] for item in examples], strings)
        vocabulary = Vocabulary.of(texts, spelling, units)
        scores = {key: units.scores(frames) for key, frames in lessons.asked.items()}
        for setting in settings:
            grammar = vocabulary.grammar(setting)
            yield episode, setting, [_prediction(fold.name, item, vocabulary, scores[item.id], grammar) for item in split.items]


def _prediction(fold: str, item: Item, vocabulary: Vocabulary, scores: np.ndarray, grammar: Grammar) -> Prediction:
    words = word_loop(scores, vocabulary.spelled, vocabulary.starts, *grammar)
    text = " ".join(vocabulary.words[word] for word in words.tolist())
    return Prediction(id=item.id, fold=fold, group=item.group, reference=item.label, prediction=text)


LEXICON = "pronunciations"


def lexicon(corpora: Corpora) -> Mapping[str, Path]:
    """Returns the files of PR's pronunciation lexicon, if the corpus has it."""
    try:
        return {f"{LEXICON} {number}": path for number, path in enumerate(lexicon_files(corpora), 1)}
    except IncompleteCorpus:
        return {}


def spellings(fold: Fold) -> Mapping[str, Sequence[str]]:
    """Returns the units of every word of the training transcripts: phones, if the lexicon has all of these words, else
    letters."""
    words = {word for item in fold.train.items for word in item.label.split()}
    phones = known_pronunciations([path for name, path in fold.files.items() if name.startswith(LEXICON)], words)
    return {word: phones[word].split() for word in words} if words <= phones.keys() else {word: list(word) for word in words}


def remarks(fold: Fold) -> list[str]:
    """Returns how words are spelled."""
    units = "phones" if any(name.startswith(LEXICON) for name in fold.files) else "letters, because the corpus has no lexicon"
    return [f"words are spelled in {units}"]


Grammar = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Scores of words alone, and the pairs: where those of a word start, their second words, their scores; see `word_loop`."""


@dataclass(frozen=True)
class Vocabulary:
    """The words of some transcripts, their units one after the other, and how often words and pairs of words are there."""

    words: tuple[str, ...]
    spelled: np.ndarray
    starts: np.ndarray
    counts: Counter[int]
    pairs: Counter[tuple[int, int]]

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]], spelling: Mapping[str, Sequence[str]], units: Units) -> Vocabulary:
        """Numbers the words; a word that begins a text follows the number of words."""
        words = sorted({word for text in texts for word in text})
        number, unit = {word: i for i, word in enumerate(words)}, {name: i for i, name in enumerate(units.names)}
        spelled = [[unit[symbol] for symbol in spelling[word]] for word in words]
        numbered = [[len(words), *(number[word] for word in text)] for text in texts]
        return cls(
            words=tuple(words),
            spelled=np.array([symbol for symbols in spelled for symbol in symbols]),
            starts=np.cumsum([0, *map(len, spelled)]),
            counts=Counter(word for text in numbered for word in text[1:]),
            pairs=Counter(pair for text in numbered for pair in pairwise(text)),
        )

    def grammar(self, setting: Setting) -> Grammar:
        """Returns weight · log p - penalty of words and of pairs; order 1 has no pairs."""
        size, total = len(self.words), self.counts.total()
        alone = np.array([(self.counts[word] + 1) / (total + size) for word in range(size)])
        after: list[list[tuple[int, float]]] = [[] for _ in range(size + 1)]
        share = INTERPOLATED if setting["order"] == 2 else 0.0
        first = Counter[int]()
        for (last, _), count in self.pairs.items():
            first[last] += count
        for (last, word), count in sorted(self.pairs.items() if share else ()):
            after[last].append((word, share * count / first[last] + (1 - share) * alone[word]))
        flat = [pair for pairs in after for pair in pairs]

        def scored(values: Sequence[float] | np.ndarray) -> np.ndarray:
            return (setting["weight"] * np.log(np.array(values, float)) - setting["penalty"]).astype(np.float32)

        starts = np.cumsum([0, *map(len, after)])
        return (
            scored((1 - share) * alone), starts, np.array([word for word, _ in flat], np.int64), scored([p for _, p in flat]),
        )  # fmt: skip


FEW_SHOT = FewShot(
    question="Which words are spoken?",
    counted="minutes of transcribed speech",
    shots=(10, "all"),
    answer=answer,
    floor=lambda fold: 100.0,
    settings=({"order": 1, "weight": 8.0, "penalty": 16.0},),
    further=further,
    available=available,
    files=lexicon,
    remarks=remarks,
    weak="only words of the examples are recognised",
)
