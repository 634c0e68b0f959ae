"""Likelihoods of all candidates after all questions of an episode, checked, and kept in a file so that a run can be resumed.

Content-free questions are 1 s of silence, 1 s of white noise, and the question itself with its frames in random order.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from superbench.contract import SAMPLE_RATE, Likelihood, Parts
from superbench.errors import BadUpstream
from superbench.system.files import whole
from superbench.training.few_shot.episodes import draw_order
from superbench.training.few_shot.in_context.prompts import Put

TOGETHER = 32
"""Prompts that a model gets at once: what they have in common is computed once for all of them."""
FRAME = SAMPLE_RATE // 50
"""Samples of a frame of 20 ms, for shuffling."""
NOISE = 0.05
"""Standard deviation of the white noise, about that of speech."""
JOURNAL = "likelihoods.jsonl"
"""The file of all likelihoods of a job."""
Row = list[list[float]]
"""For each class: Σ log p, tokens, characters; averaged over the ways to say it."""


def silence() -> Tensor:
    """Returns 1 s of silence, (samples,)."""
    return torch.zeros(SAMPLE_RATE)


def noise() -> Tensor:
    """Returns 1 s of white noise, (samples,); always the same."""
    return NOISE * torch.randn(SAMPLE_RATE, generator=torch.Generator().manual_seed(0))


def shuffled(wave: Tensor, name: str) -> Tensor:
    """Returns the wave with its frames of 20 ms in random order, seeded by the name of the item; the rest stays at the end."""
    whole = len(wave) // FRAME * FRAME
    order = torch.from_numpy(draw_order(whole // FRAME, 0, name, "frames"))
    return torch.cat([wave[:whole].reshape(-1, FRAME)[order].flatten(), wave[whole:]])


class Scorer:
    """Asks a model that can continue, and checks what it answers; `alias` names it in messages."""

    def __init__(self, model: Any, alias: str, words: Sequence[str]) -> None:
        self.model, self.alias, self.words = model, alias, words

    def rows(self, put: Put, questions: Sequence[Tensor]) -> Iterator[list[Row]]:
        """Yields the rows of some questions at a time, in order; raises `BadUpstream` for likelihoods that cannot be any."""
        ways = [len(said) for said in put.candidates]
        every: list[Parts] = [parts for said in put.candidates for parts in said]
        for at in range(0, len(questions), TOGETHER):
            prompts = [[*put.before, question] for question in questions[at : at + TOGETHER]]
            answers = self.model.log_likelihood(prompts, [every] * len(prompts))
            yield [self._row(answer, ways) for answer in self._whole(answers, len(prompts), len(every))]

    def _whole(self, answers: Any, prompts: int, candidates: int) -> list[list[Likelihood]]:
        found = [len(answer) for answer in answers]
        if found != [candidates] * prompts:
            raise BadUpstream(
                f"{self.alias} returned likelihoods of {found[:3]} continuations for {len(found)} prompts; expected "
                f"{candidates} for each of {prompts}. Correct its log_likelihood."
            )
        return list(answers)

    def _row(self, answer: Sequence[Likelihood], ways: Sequence[int]) -> Row:
        waiting, row = iter(answer), []
        for words, count in zip(self.words, ways, strict=True):
            own = [self._checked(next(waiting), words) for _ in range(count)]
            row.append([sum(column) / count for column in zip(*own, strict=True)])
        return row

    def _checked(self, one: Likelihood, words: str) -> tuple[float, float, float]:
        if one.tokens < 1 or one.characters < 1:
            raise BadUpstream(
                f"{self.alias} makes no token of the label {words!r}, so its likelihood says nothing. Give the class other "
                "words: `words` of the task's card."
            )
        require_possible(one, self.alias, f"the label {words!r}")
        return one.value, float(one.tokens), float(one.characters)


def require_possible(one: Likelihood, alias: str, what: str) -> None:
    """Raises `BadUpstream` for a log-likelihood that is not finite, or greater than 0. `what`: that of which it is one."""
    if not math.isfinite(one.value) or one.value > 0:
        raise BadUpstream(
            f"{alias} returned {one.value} as the log-likelihood of {what}; expected a finite number, 0 or less (nats, summed "
            "over its tokens). Correct its log_likelihood, or look for NaN in its weights."
        )


class Journal:
    """Keeps the rows of every finished episode in a file, one line of JSON each. A line that was cut off is removed; a file
    that belongs to another job is not read."""

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self.known = path, dict[str, list[Row]]()
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        first, kept = json.dumps(identity), list[str]()
        for line in lines[1:] if lines[:1] == [first] else ():
            with contextlib.suppress(ValueError):
                episode = json.loads(line)
                self.known[episode["episode"]] = list(episode["questions"].values())
                kept.append(line)
        with whole(path) as temporary:
            temporary.write_text(first + "\n" + "".join(f"\n{line}" for line in kept), encoding="utf-8")

    def keep(self, key: str, words: Sequence[str], rows: Mapping[str, Row]) -> None:
        """Adds the rows of an episode, by the names of the questions; `words` are those of the classes."""
        self.known[key] = list(rows.values())
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps({"episode": key, "classes": list(words), "questions": rows}))


def arrays(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns Σ log p (question, candidate), and tokens and characters of the candidates."""
    stacked = np.array(rows, float)
    return stacked[..., 0], stacked[0, :, 1], stacked[0, :, 2]
