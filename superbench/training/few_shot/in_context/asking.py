"""The questions of one fold: put to the model episode by episode, ranked, and answered anew for every control.

* `no sound`: silence in place of the question, ranked by the same rule (of its content-free variants, too);
* `other sound`: the answer to another question;
* `wrong labels`: the labels of the examples are dealt out among them at random;
* `majority class`: always the most frequent class of the training split.
The answers by the other rules are there too, as `by sum`, `by per token`, ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from superbench.contract import Audio, Episode, Fold, Item, Prediction, Shots, Task
from superbench.contract.few_shot import FewShot
from superbench.data.audio import load
from superbench.results.shots import MAJORITY, NO_SOUND, OTHER_SOUND, WRONG_LABELS
from superbench.system.progress import Reporter
from superbench.training.few_shot.in_context.likelihoods import JOURNAL, Journal, Row, Scorer, arrays, noise, shuffled, silence
from superbench.training.few_shot.in_context.prompts import Prompter
from superbench.training.few_shot.in_context.ranking import PMI, Scored, ranked

Answers = dict[str, list[Prediction]]
"""Predictions under a name: empty for the score, else that of a control or of another rule."""


@dataclass(frozen=True, slots=True)
class InContextConditions:
    """The conditions of an experiment. `shots`: numbers of examples of each class (None: 0, 1, 5). `work`: the folder of the
    file from which a run is resumed; `identity` names the job in it."""

    task: Task
    model: Any
    alias: str
    device: str
    shots: tuple[Shots, ...] | None
    draws: int
    work: Path
    identity: str
    reporter: Reporter


@dataclass(slots=True)
class Asking:
    """The questions of one fold: `items` of its test split; about `most_wrong` of them are asked with wrong labels too."""

    conditions: InContextConditions
    method: FewShot
    fold: Fold
    items: Sequence[Item]
    most_wrong: int
    prompter: Prompter = field(init=False)
    scorer: Scorer = field(init=False)
    journal: Journal = field(init=False)
    loaded: dict[Audio, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = self.conditions
        about_speakers = given.task.card.domain == "speaker"
        self.prompter = Prompter(self.fold, self.method, given.model.reads_text, about_speakers, self._sound)
        self.scorer = Scorer(given.model, given.alias, self.prompter.words)
        self.journal = Journal(given.work / JOURNAL, given.identity)

    def answers(self, episode: Episode) -> Answers:
        """Returns the predictions of an episode, and those of its controls."""
        items = self.items
        self.loaded.clear()
        rows = self._rows(episode, items, wrong=False)
        winners = ranked(_scored(rows), episode.draw, self.fold.name)
        found = {"": self._predictions(items, winners[PMI], episode, winners)}
        found |= {f"by {rule}": self._predictions(items, chosen, episode) for rule, chosen in winners.items() if rule != PMI}
        silent = ranked(_scored([rows[0], rows[1], rows[0], rows[0]]), episode.draw, self.fold.name)[PMI]
        found[NO_SOUND] = self._predictions(items, np.repeat(silent, len(items)), episode)
        other = np.roll(np.arange(len(items)), 1 + episode.draw % max(len(items) - 1, 1))
        found[OTHER_SOUND] = self._predictions(items, winners[PMI][other], episode)
        if episode.shots:
            some = items[:: max(len(items) // self.most_wrong, 1)]
            chosen = ranked(_scored(self._rows(episode, some, wrong=True)), episode.draw, self.fold.name)[PMI]
            found[WRONG_LABELS] = self._predictions(some, chosen, episode)
        majority = self.prompter.classes.index(self.prompter.majority)
        return found | {MAJORITY: self._predictions(items, np.full(len(items), majority), episode)}

    def _rows(self, episode: Episode, items: Sequence[Item], wrong: bool) -> list[Row]:
        """Returns rows for silence, noise, then each question and its shuffled frames; from the journal, if they are there."""
        key = f"{self.fold.name} {episode.shots} {episode.draw}{' wrong labels' * wrong}"
        if key not in self.journal.known:
            put, rows = self.prompter.put(episode, wrong), list[Row]()
            questions = {"silence": silence(), "noise": noise()}
            for item in items:
                wave = load(item.audio)
                questions |= {item.id: wave, f"{item.id}, shuffled": shuffled(wave, item.id)}
            for some in self.scorer.rows(put, [wave.to(self.conditions.device) for wave in questions.values()]):
                rows += some
                self.conditions.reporter.advance(f"in context, {key}", len(rows), len(questions))
            self.journal.keep(key, self.prompter.words, dict(zip(questions, rows, strict=True)))
        return self.journal.known[key]

    def _sound(self, audio: Audio) -> Tensor:
        if audio not in self.loaded:
            self.loaded[audio] = load(audio).to(self.conditions.device)
        return self.loaded[audio]

    def _predictions(
        self, items: Sequence[Item], chosen: np.ndarray, episode: Episode, rules: Mapping[str, np.ndarray] | None = None
    ) -> list[Prediction]:
        labels = self.prompter.classes
        return [
            Prediction(
                id=item.id, fold=self.fold.name, group=item.group, reference=item.label, prediction=labels[int(number)],
                also={rule: labels[int(of[at])] for rule, of in (rules or {}).items() if rule != PMI},
                k=episode.shots, draw=episode.draw,
            )
            for at, (item, number) in enumerate(zip(items, chosen, strict=True))
        ]  # fmt: skip


def _scored(rows: Sequence[Row]) -> Scored:
    """Returns the rows of silence, noise, and pairs (question, its shuffled frames) as arrays."""
    values, tokens, characters = arrays(rows)
    fixed = np.repeat(values[None, :2], (len(values) - 2) // 2, 0)  # (question, silence and noise, candidate)
    return Scored(values[2::2], np.concatenate([fixed, values[3::2, None]], 1), tokens, characters)
