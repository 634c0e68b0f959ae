"""Prompts: which sounds and labels stand in them, and in which order.

A prompt is a description (for models that read text), K examples of each class (a sound and its label), and the question. The
examples are those of the few-shot protocol. They come in K rounds, each with every class once, in the label order of the draw.
A model that reads no text gets, for a label, another training sound of the class by another speaker.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from superbench.contract import Audio, Episode, Fold, Item, Parts
from superbench.contract.few_shot import FewShot
from superbench.training.few_shot.classification import allowed_examples, key_of
from superbench.training.few_shot.episodes import draw_examples, draw_order

ORDERS = 24
"""Label orders: all of them, if there are not more; else so many, sampled."""
RENDERINGS = 3
"""Sounds over which the likelihood of a class is averaged, for a model that reads no text."""
Sounds = Callable[[Audio], Any]
"""Loads a sound, (samples,) on the device of the model."""


@dataclass(frozen=True, slots=True)
class Put:
    """An episode as it is put to a model: everything but the question.

    `before`: description and examples; `candidates[class]`: the ways to say each class, each a continuation.
    """

    before: Parts
    candidates: list[list[Parts]]


class Prompter:
    """Makes the prompts of one fold. `classes`: the label of each class, by the order of its name."""

    def __init__(self, fold: Fold, method: FewShot, reads_text: bool, about_speakers: bool, sounds: Sounds) -> None:
        positions = allowed_examples(fold, about_speakers)
        self.fold, self.method, self.reads_text, self.sounds = fold.name, method, reads_text, sounds
        self.items = [fold.train.items[i] for i in positions]
        self.names, self.numbers = np.unique([key_of(item) for item in self.items], return_inverse=True)
        self.classes = [self.items[int(np.argmax(self.numbers == number))].label for number in range(len(self.names))]
        self.words = [_words(method.words, name, label) for name, label in zip(self.names.tolist(), self.classes, strict=True)]
        self.majority = self.classes[int(np.bincount(self.numbers).argmax())]

    def put(self, episode: Episode, wrong: bool = False) -> Put:
        """Returns an episode; with `wrong`, the labels of the examples are dealt out among them at random."""
        order = label_order(len(self.classes), episode.draw, self.fold)
        examples = self._in_rounds(draw_examples(self.numbers, episode, self.fold) if episode.shots else [], order)
        labelled = [int(self.numbers[example]) for example in examples]
        if wrong:
            labelled = [labelled[i] for i in draw_order(len(examples), episode.draw, self.fold, "wrong labels")]
        renderings = _Renderings(self.items, self.numbers, examples, episode.draw, self.fold)
        before: list[Any] = [self._description(order)] if self.reads_text else []
        for example, number in zip(examples, labelled, strict=True):
            before.append(self.sounds(self.items[example].audio))
            before.append(self.words[number] if self.reads_text else self._sound(renderings.take(number, example)))
        if self.reads_text:
            return Put(before, [[[words]] for words in self.words])
        said = [[renderings.take(number) for _ in range(RENDERINGS)] for number in range(len(self.classes))]
        return Put(before, [[[self._sound(at)] for at in dict.fromkeys(places)] for places in said])

    def _sound(self, position: int) -> Any:
        return self.sounds(self.items[position].audio)

    def _description(self, order: Sequence[int]) -> str:
        return f"{self.method.question} Answer with one of: {', '.join(self.words[number] for number in order)}."

    def _in_rounds(self, examples: Sequence[int] | np.ndarray, order: Sequence[int]) -> list[int]:
        """Returns the examples (positions, by class) in rounds; each round has one of every class, in the label order."""
        waiting: dict[int, list[int]] = defaultdict(list)
        for example in map(int, examples):
            waiting[int(self.numbers[example])].append(example)
        rounds = max(map(len, waiting.values()), default=0)
        return [waiting[number][turn] for turn in range(rounds) for number in order if turn < len(waiting[number])]


class _Renderings:
    """Deals out training sounds of each class that are no examples, in the random order of a draw."""

    def __init__(self, items: Sequence[Item], numbers: np.ndarray, examples: Sequence[int], draw: int, fold: str) -> None:
        self.items, self.numbers, self.examples = items, numbers, set(examples)
        self.order = draw_order(len(items), draw, fold, "renderings").tolist()
        self.waiting: dict[int, list[int]] = {}

    def take(self, number: int, example: int | None = None) -> int:
        """Returns the position of a sound of a class: by another speaker than `example`, and not dealt out yet, if there is
        one."""
        waiting = self.waiting.get(number) or self._all(number)
        speakers = set() if example is None else set(self.items[example].group)
        chosen = next((at for at in waiting if speakers.isdisjoint(self.items[at].group)), None)
        chosen = next((at for at in waiting if at != example), waiting[0]) if chosen is None else chosen
        self.waiting[number] = [at for at in waiting if at != chosen]
        return chosen

    def _all(self, number: int) -> list[int]:
        own = [at for at in self.order if self.numbers[at] == number]
        return [at for at in own if at not in self.examples] or own


def label_orders(classes: int) -> int:
    """Returns the number of label orders over which draws go."""
    return min(math.factorial(min(classes, 5)), ORDERS)


def label_order(classes: int, draw: int, *words: str) -> list[int]:
    """Returns the order of the classes in a draw. Orders are rotations of random ones, so that every class is the last one
    equally often.

    >>> sorted(label_order(3, draw)[-1] for draw in range(6))
    [0, 0, 1, 1, 2, 2]
    >>> len({tuple(label_order(3, draw)) for draw in range(6)})
    6
    """
    turn = draw % label_orders(classes)
    base = turn // classes
    if classes <= 4:  # all orders: those that begin with class 0, and their rotations
        rest = list(permutations(range(1, classes)))
        order = [0, *rest[draw_order(len(rest), 0, *words, "label orders")[base]]]
    else:
        order = draw_order(classes, base, *words, "label orders").tolist()
    return order[turn % classes :] + order[: turn % classes]


def _words(words: Mapping[str, str], name: str, label: Any) -> str:
    """Returns the words for a class: those of the task, else the label itself; of a record, its values."""
    said = words.get(name)
    if said is not None:
        return said
    return label if isinstance(label, str) else " ".join(str(value) for value in label.values() if value != "none")
