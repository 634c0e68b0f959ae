"""What a person asked of a run, against the recipe: the grid, its shortening, variants, and every deviation in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from superbench.contract import SAMPLE_RATE, Precision, Protocols, Recipe, Task, TaskCard
from superbench.errors import CommandError
from superbench.features.passing import Passing
from superbench.probing.updates import Point
from superbench.ranges import in_full, require_different, require_number, require_whole


@dataclass(frozen=True, slots=True)
class Options:
    """What a person asked of a run; None means the recipe's own.

    `label` says in a few words what differs from the usual (`--layer-0`): it is part of the name of results that lie beside the
    usual ones. `redo_since` (Unix time): results and features that were made before are made again.
    """

    protocol: Protocols
    device: str = "cpu"
    learning_rates: tuple[float, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    max_steps: int | None = None
    layer: int | None = None
    chunk_seconds: float | None = None
    precision: Precision = "float32"
    variants: tuple[str, ...] = ()
    label: str = ""
    redo_since: float | None = None

    def __post_init__(self) -> None:
        """Raises `CommandError` for a number that no run can have."""
        for rate in self.learning_rates or ():
            require_number("--lr", rate, above=0)
        if self.learning_rates is not None:
            require_different("--lr", self.learning_rates)
        for seed in self.seeds:
            require_whole("--seeds", seed)
        require_different("--seeds", self.seeds)
        if self.max_steps is not None:
            require_whole("--max-steps", self.max_steps, least=1)
        if self.layer is not None:
            require_whole("--layer", self.layer)
        if self.chunk_seconds is not None:
            require_number("--chunk", self.chunk_seconds, least=1)
        if self.precision not in ("float32", "bfloat16"):
            raise CommandError(f"--precision {self.precision!r}: expected float32 or bfloat16.")

    @property
    def passing(self) -> Passing:
        """How sound goes through the model."""
        return Passing(None if self.chunk_seconds is None else round(self.chunk_seconds * SAMPLE_RATE), self.precision)

    def deviations(self, *cards: TaskCard) -> list[str]:
        """Every override of the recipe, in words, so that no shortened run can pass for an official one; variants only where
        one of the tasks of `cards` knows them."""
        found = []
        if self.learning_rates is not None:
            found.append(
                f"learning rates {', '.join(in_full(rate) for rate in self.learning_rates)} in place of the recipe's grid"
            )
        if self.max_steps is not None:
            found.append(f"at most {self.max_steps} updates")
        if self.seeds != (0,):
            found.append(f"seeds {', '.join(map(str, self.seeds))} in place of 0")
        if self.layer is not None:
            found.append(f"hidden state {self.layer} alone in place of the weighted sum")
        if self.chunk_seconds is not None:
            found.append(f"sound longer than {in_full(self.chunk_seconds)} s passed in parts")
        if self.precision != "float32":
            found.append(f"the upstream computed in {self.precision}")
        lines = {name: line for card in cards for name, line in card.variants.items()}
        return found + [f"variant {name}: {lines[name]}" for name in self.variants if name in lines]

    def recipe(self, task: Task) -> Recipe:
        """The task's recipe under this protocol, with its own variants, shortened to `max_steps`; raises `CommandError` for an
        unknown protocol."""
        if self.protocol not in task.card.recipes:
            raise CommandError(f"{task.card.name} has no protocol {self.protocol!r}; it has {', '.join(task.card.recipes)}.")
        own = tuple(name for name in self.variants if name in task.card.variants)
        recipe = dataclasses.replace(task.card.recipes[self.protocol], variants=own)
        if self.max_steps is None or recipe.steps <= self.max_steps:
            return recipe
        return dataclasses.replace(
            recipe, steps=self.max_steps, evaluate_every=min(recipe.evaluate_every, max(self.max_steps // 2, 1))
        )

    def points(self, recipe: Recipe) -> tuple[Point, ...]:
        """The grid: learning rates × seeds."""
        rates = self.learning_rates or recipe.learning_rates
        return tuple(Point(rate, seed) for seed in self.seeds for rate in rates)


def known_variants(variants: Iterable[str], tasks: Iterable[Task], every: Iterable[str]) -> tuple[str, ...]:
    """`variants`, each once, sorted; raises `CommandError` for one that none of `tasks` knows. `every` is what any task knows,
    as `task: name`, for the message."""
    asked = sorted(set(variants))
    known = {name for task in tasks for name in task.card.variants}
    if strange := [name for name in asked if name not in known]:
        raise CommandError(
            f"--variant {strange[0]!r}: none of the chosen tasks knows it. There are {', '.join(every) or 'no variants'}."
        )
    return tuple(asked)
