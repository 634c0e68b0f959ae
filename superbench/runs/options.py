"""The options of a run: they change the grid, the length or the variants of a recipe, and every change is listed in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Required, TypedDict

from superbench.contract import CUSTOM, SAMPLE_RATE, UNTRAINED, Precision, Protocols, Recipe, Shots, Task, TaskCard
from superbench.errors import CommandError
from superbench.features.forward import BATCH_SAMPLES, ForwardOptions
from superbench.features.quantized import STORE_FORMATS, StoreFormat
from superbench.results.draws import DRAWS
from superbench.system.ranges import in_full, require_different, require_number, require_whole
from superbench.training.probes.updates import Point

if TYPE_CHECKING:
    from superbench.runs.jobs import Watcher


MOST_DRAWS = 1_000


class RecipeOptions(TypedDict, total=False):
    """Options that change the recipes of a run; all are optional.

    * `protocol`: `superb`, `superb-once` or `mini`. Default: `mini` on corpora that `superbench data synth` wrote, otherwise
      `superb`. `few-shot` and `in-context` train nothing. A person's own task has the one protocol `custom`, which need not be
      given.
    * `shots`: numbers of examples for protocols that train nothing, such as `(0, 1, 5, "all")`. Default: those of the task.
      `draws` (default 10): how often the examples are drawn.
    * `device`: `auto`, `cpu`, `cuda` (every visible GPU, one worker on each), or some, such as `cuda:0,cuda:3`.
    * `learning_rates`, `seeds` (default 0), `max_steps` (updates), `variants` (names in the cards of the tasks): values in
      place of the recipe's.
    * `layers`: use only these hidden states, such as `(0, 6, 12)`, in place of all in the weighted sum. `layer`: only this one.
    * `chunk_seconds`: divide longer sound into chunks of so many seconds.
    * `batch_seconds`: seconds of sound, with padding, that pass through the model at once (default: 60 on a CPU, 600 on a GPU).
      Sums may differ in their last digits, so features of other batches are stored apart, and results name the value.
    * `precision`: precision of the upstream's matrix products, `float32` or `bfloat16`. Default: `bfloat16` on a GPU that
      supports it, except for the official protocol.
    * `store_format`: format of frames, `float16` (the default) or `int8`: 8 bits per value, half the disk space.
    * `limit`: the most items of each split, for a smoke test; see `superbench.data.limit`.
    """

    protocol: Protocols | None
    device: str
    learning_rates: Sequence[float] | None
    seeds: Sequence[int]
    max_steps: int | None
    layer: int | None
    layers: Sequence[int] | None
    chunk_seconds: float | None
    batch_seconds: float | None
    precision: Precision | None
    store_format: StoreFormat
    limit: int | None
    variants: Sequence[str]
    shots: Sequence[Shots] | None
    draws: int


class RunOptions(RecipeOptions, total=False):
    """The options of `run`: those of `RecipeOptions`, and these. Only `data` and `out` are required.

    * `data`: folder of the corpora; `settings`: file with the folders of single corpora.
    * `out`: folder of results.
    * `workers`: number of processes, or of actors.
    * `readers`: threads of each worker that decode sound. Default: the cores that the process may use, divided among the
      workers of the machine. The number changes no result.
    * `engine`: `local` (processes of this machine; the default), `ray` or `slurm`. `address`: Ray cluster, as `host:port`.
      `slurm`: settings such as `"partition=gpu,time=240"`; `detach`: return after the submission.
    * `store`: folder of the feature store; `store_gb`: its largest size, in 10^9 bytes. `store_per_node`: without a shared file
      system, each node of a Ray cluster has its own store, and sends results back.
    * `redo`: compute results and features again, even if they exist.
    * `track`: tracker of the learning curves: `tensorboard`, `wandb` or `trackio`.
    * `debug`: add tracebacks to the messages of jobs that fail.
    * `watcher`: object that is called when jobs start, advance and end.
    """

    data: Required[Path | str]
    out: Required[Path | str]
    settings: Path | str | None
    workers: int | None
    readers: int | None
    engine: str | None
    address: str | None
    slurm: str | None
    detach: bool
    store: Path | str | None
    store_gb: float | None
    store_per_node: bool
    redo: bool
    track: str | None
    debug: bool
    watcher: Watcher | None


def check_names(given: Mapping[str, Any], options: Any = RunOptions, needed: Sequence[str] = ()) -> None:
    """Raises `TypeError` for an unknown or a missing option, as Python does for arguments of a function."""
    known = list(options.__annotations__)
    for name in given:
        if name not in known:
            near = "".join(f" Did you mean {close}?" for close in get_close_matches(name, known, 1))
            raise TypeError(f"There is no option {name!r}.{near} The options are {', '.join(known)}.")
    if missing := [name for name in needed if name not in given]:
        raise TypeError(f"A run needs {' and '.join(f'{name}=' for name in missing)}.")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run with their defaults; None stands for the value of the recipe.

    `label` names the options that differ from the defaults (`--layer-0`); it is part of the name of the folder of results.
    `redo_since` (Unix time): results and features that are older are computed again. `prepared`: the protocol by whose recipe
    the corpus is prepared, if `protocol` trains nothing.
    """

    protocol: Protocols
    device: str = "cpu"
    learning_rates: tuple[float, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    max_steps: int | None = None
    layer: int | None = None
    layers: tuple[int, ...] | None = None
    chunk_seconds: float | None = None
    batch_seconds: float | None = None
    precision: Precision = "float32"
    store_format: StoreFormat = "float16"
    limit: int | None = None
    variants: tuple[str, ...] = ()
    shots: tuple[Shots, ...] | None = None
    draws: int = DRAWS
    prepared: Protocols = "mini"
    label: str = ""
    redo_since: float | None = None

    def __post_init__(self) -> None:
        """Raises `CommandError` for a value out of range."""
        for rate in self.learning_rates or ():
            require_number("--lr", rate, above=0)
        if self.learning_rates is not None:
            require_different("--lr", self.learning_rates)
        for seed in self.seeds:
            require_whole("--seeds", seed)
        require_different("--seeds", self.seeds)
        if self.max_steps is not None:
            require_whole("--max-steps", self.max_steps, least=1)
        if self.limit is not None:
            require_whole("--limit", self.limit, least=1)
        if self.layer is not None:
            require_whole("--layer", self.layer)
        for layer in self.layers or ():
            require_whole("--layers", layer)
        if self.layers is not None:
            require_different("--layers", self.layers)
        if None not in (self.layer, self.layers):
            raise CommandError("--layer and --layers exclude each other. Use --layers alone.")
        if self.chunk_seconds is not None:
            require_number("--chunk", self.chunk_seconds, least=1)
        if self.batch_seconds is not None:
            require_number("--batch-seconds", self.batch_seconds, least=1)
        if self.precision not in ("float32", "bfloat16"):
            raise CommandError(f"--precision {self.precision!r}: expected float32 or bfloat16.")
        if self.store_format not in STORE_FORMATS:
            raise CommandError(f"--store-format {self.store_format!r}: expected {' or '.join(STORE_FORMATS)}.")
        for k in self.shots or ():
            if k != "all":
                require_whole("--shots", k)
        if self.shots is not None:
            require_different("--shots", self.shots)
        require_whole("--draws", self.draws, least=1, most=MOST_DRAWS)
        self._require_sense()

    def _require_sense(self) -> None:
        """Raises `CommandError` for an option that the protocol does not read."""
        given = {
            "--lr": self.learning_rates is not None, "--max-steps": self.max_steps is not None, "--seeds": self.seeds != (0,),
        }  # fmt: skip
        if self.trains:
            given = {"--shots": self.shots is not None, "--draws": self.draws != DRAWS}
        elif self.protocol == "in-context":
            given |= {name: value is not None for name, value in self._of_features().items()}
        if useless := [name for name, is_given in given.items() if is_given]:
            nothing = "which reads no hidden state" if useless[0] in self._of_features() else "which trains nothing"
            why = "which trains heads; it is for few-shot and in-context" if self.trains else nothing
            raise CommandError(f"{useless[0]} has no meaning with protocol {self.protocol}, {why}. Leave it out.")

    def _of_features(self) -> dict[str, Any]:
        """Returns the options of hidden states, None for those that were not given."""
        given = {"--layers": self.states, "--chunk": self.chunk_seconds, "--batch-seconds": self.batch_seconds}
        return {**given, "--store-format": None if self.store_format == "float16" else self.store_format}

    @property
    def trains(self) -> bool:
        """True if the protocol trains heads."""
        return self.protocol not in UNTRAINED

    @property
    def states(self) -> tuple[int, ...] | None:
        """The hidden states that are used, ascending; None for all."""
        return (self.layer,) if self.layer is not None else None if self.layers is None else tuple(sorted(self.layers))

    @property
    def subfolder(self) -> str:
        """The folder of results below that of the task: empty, or the name of a protocol that trains nothing."""
        return "" if self.trains else self.protocol

    @property
    def forward_options(self) -> ForwardOptions:
        """Chunk length and size of batches in samples, precision, and format of frames, of the upstream's forward pass."""
        chunk, batch = (
            None if seconds is None else round(seconds * SAMPLE_RATE) for seconds in (self.chunk_seconds, self.batch_seconds)
        )
        return ForwardOptions(chunk=chunk, precision=self.precision, batch=batch, store_format=self.store_format)

    def deviations(self, *cards: TaskCard) -> list[str]:
        """Returns every change to the recipe in words, so that a shortened run cannot be mistaken for an official one. Variants
        are listed only if one of `cards` declares them, the format of frames only if one of them reads frames."""
        changes = []
        if self.learning_rates is not None:
            changes.append(
                f"learning rates {', '.join(in_full(rate) for rate in self.learning_rates)} in place of the recipe's grid"
            )
        if self.max_steps is not None:
            changes.append(f"at most {self.max_steps} updates")
        if self.limit is not None:
            changes.append(f"at most {self.limit} items of each split")
        if 0 not in self.seeds:  # else the score is that of seed 0, as in the recipe
            changes.append(f"seeds {', '.join(map(str, self.seeds))} in place of 0")
        if self.states is not None and len(self.states) == 1:
            changes.append(f"hidden state {self.states[0]} alone in place of the weighted sum")
        elif self.states is not None:
            changes.append(f"hidden states {', '.join(map(str, self.states))} in place of all of them")
        if self.chunk_seconds is not None:
            changes.append(f"sound longer than {in_full(self.chunk_seconds)} s passed in parts")
        if self.batch_seconds is not None:
            changes.append(f"{in_full(self.batch_seconds)} s of sound passed at once")
        if self.precision != "float32":
            changes.append(f"the upstream computed in {self.precision}")
        if self.store_format != "float16" and any(card.reads == "frames" for card in cards):
            changes.append("frames in 8 bits per value in place of half precision")
        if self.draws != DRAWS:
            changes.append(f"{self.draws} draws of the examples in place of {DRAWS}")
        lines = {name: line for card in cards for name, line in card.variants.items()}
        return changes + [f"variant {name}: {lines[name]}" for name in self.variants if name in lines]

    def of(self, card: TaskCard) -> Options:
        """Returns the options for one task: a task whose only recipe is `custom` has this protocol in every run."""
        if not card.is_own:
            return self
        return dataclasses.replace(self, protocol=CUSTOM) if self.trains else dataclasses.replace(self, prepared=CUSTOM)

    def recipe(self, task: Task) -> Recipe:
        """Returns the task's recipe of this protocol, with the variants that it declares; `max_steps` replaces its updates.

        Raises `CommandError` for an unknown protocol.
        """
        chosen = self.of(task.card)
        protocol = chosen.protocol if self.trains else chosen.prepared
        if protocol not in task.card.recipes:
            known = ", ".join([*task.card.recipes, *sorted(UNTRAINED)])
            raise CommandError(f"{task.card.name} has no protocol {protocol!r}; expected one of {known}.")
        declared = tuple(name for name in self.variants if name in task.card.variants)
        recipe = dataclasses.replace(task.card.recipes[protocol], variants=declared)
        if not self.trains:
            return dataclasses.replace(recipe, steps=0)
        if self.max_steps is None:
            return recipe
        return dataclasses.replace(
            recipe, steps=self.max_steps, evaluate_every=min(recipe.evaluate_every, max(self.max_steps // 2, 1))
        )

    def points(self, recipe: Recipe) -> tuple[Point, ...]:
        """Returns the grid: learning rates × seeds."""
        rates = self.learning_rates or recipe.learning_rates
        return tuple(Point(rate, seed) for seed in self.seeds for rate in rates)


def unusual_batches(batch_seconds: float | None, device: str) -> float | None:
    """Returns the seconds of sound in a batch; None if they are those of the device anyway.

    >>> unusual_batches(60, "cpu"), unusual_batches(120, "cpu"), unusual_batches(None, "cpu")
    (None, 120, None)
    """
    return None if batch_seconds == BATCH_SAMPLES[device] / SAMPLE_RATE else batch_seconds


def known_variants(variants: Iterable[str], tasks: Iterable[Task], every: Iterable[str]) -> tuple[str, ...]:
    """Returns `variants`, each once, sorted; raises `CommandError` for a name that none of `tasks` declares. `every` lists the
    variants of all tasks, as `task: name`, for the message."""
    names = sorted(set(variants))
    known = {name for task in tasks for name in task.card.variants}
    if unknown := [name for name in names if name not in known]:
        raise CommandError(
            f"--variant {unknown[0]!r}: none of the chosen tasks has this variant. Expected {', '.join(every) or 'no variant'}."
        )
    return tuple(names)
