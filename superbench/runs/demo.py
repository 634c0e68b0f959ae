"""Runs the demonstration: miniature corpora, pretraining, ten tasks, a board. `superbench demo` prints its progress."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from superbench import plugins
from superbench.board.board import Board
from superbench.contract import Shots
from superbench.data.synthesis import synthesize
from superbench.results import Result, read_results
from superbench.system.background import in_background
from superbench.system.progress import Reporter
from superbench.training.pretraining.pretrain import pretrain

UNLABELLED = "LibriSpeech/train-clean-360"

SIZES = ("nano", "micro", "mini")
FAMILIES = ("apc", "speech_gpt")
"""Models of three sizes each, for the demonstration without training heads; speech_gpt also continues sound."""
STEPS = 200
"""Updates of each of these models."""
IN_CONTEXT = "ks,er"
"""The tasks that are put in context."""
SHOTS: tuple[Shots, ...] = (0, 1, 5, "all")
"""Numbers of examples in this demonstration: those of the figure. Examples are drawn as often as the protocol asks, so the rows
have places."""
PROMPTED, PROMPTED_DRAWS = (0, 1), 1
"""The same in context, where a draw takes minutes. One is fewer than the protocol asks, so these rows have no places."""


class Display(Protocol):
    """Runs tasks and shows what happens."""

    def run(self, upstreams: list[str], tasks: str, **options: Any) -> int:
        """Runs the tasks (names, or all) on the upstreams; returns how many jobs failed."""

    def stages(self) -> contextlib.AbstractContextManager[Reporter]:
        """Shows the progress of synthesis or pretraining."""

    def title(self, text: str) -> None:
        """Is called at the start of each phase."""


@dataclass(slots=True)
class Demonstration:
    """The outcome of a demonstration: seconds of each phase, number of failed jobs, all results, and the board's page."""

    seconds: dict[str, float] = field(default_factory=dict)
    failures: int = 0
    results: list[Result] = field(default_factory=list)
    page: Path = Path()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Records the seconds of a phase."""
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began


def demonstrate(out: Path, families: list[str], seed: int, display: Display) -> Demonstration:
    """Writes the miniature corpora of `seed`, pretrains `families`, runs all tasks on them, on the same models with random
    weights and on filter banks, and writes a board; everything goes to the folder `out`."""
    story, data, tasks = Demonstration(), out / "data", plugins.tasks()
    trained = {family: out / f"{family}.safetensors" for family in families}
    # For heads on time-averaged features, the FBANK row of the public leaderboard has no mean normalisation.
    pooled = ",".join(name for name, task in tasks.items() if task.card.reads == "mean")
    with story.phase("all"):
        _synthesize(data, seed, story, display)
        display.title(
            f"2  Pretraining of {' and '.join(trained)} on unlabelled speech; meanwhile, ten tasks on models without training"
        )
        with story.phase("pretraining and baselines"), _pretraining(trained, data, display):
            story.failures += display.run(["fbank", *(f"{family}:untrained" for family in trained)], "all")
            story.failures += display.run(["fbank_no_cmvn"], pooled)
        display.title(f"3  Ten tasks on frozen features of {' and '.join(trained)}")
        with story.phase("pretrained"):
            story.failures += display.run([f"{family}={family}@{file}" for family, file in trained.items()], "all")
        display.title("4  The board")
        _write_board(out, story)
    return story


def demonstrate_few_shot(out: Path, seed: int, display: Display) -> Demonstration:
    """Writes the miniature corpora of `seed`, pretrains three sizes of two models, and evaluates them, the same models with
    random weights and filter banks without training a head: few-shot on ten tasks, and in context where a model continues
    sound."""
    story, data = Demonstration(), out / "data"
    models = [(family, size) for family in FAMILIES for size in SIZES]
    trained = {f"{family}:{size}": out / f"{_alias(family, size)}.safetensors" for family, size in models}
    specs = [f"{_alias(family, size)}={family}@{trained[f'{family}:{size}']}" for family, size in models]
    controls = [f"{_alias(family, size)}-untrained={family}:{size},untrained" for family, size in models]
    with story.phase("all"):
        _synthesize(data, seed, story, display)
        display.title("2  Pretraining of three sizes of apc and speech_gpt; meanwhile, models without training, few-shot")
        with story.phase("pretraining and controls"), _pretraining(trained, data, display, STEPS):
            story.failures += display.run(["fbank", *controls], "all", protocol="few-shot", shots=SHOTS)
        display.title("3  Ten tasks, few-shot: examples become centroids, templates and clusters")
        with story.phase("few-shot"):
            story.failures += display.run(specs, "all", protocol="few-shot", shots=SHOTS)
        display.title("4  In context: examples in the prompt, for models that continue sound")
        with story.phase("in context"):
            continuing = [spec for spec in reversed(specs) if "speech_gpt" in spec]  # the largest takes longest
            story.failures += display.run(continuing, IN_CONTEXT, protocol="in-context", shots=PROMPTED, draws=PROMPTED_DRAWS)
        display.title("5  The board, with the score against the size of the model")
        _write_board(out, story)
    return story


def _alias(family: str, size: str) -> str:
    """Returns the name of a model of the demonstration: `mini` is the usual size."""
    return family if size == "mini" else f"{family}-{size}"


def _synthesize(data: Path, seed: int, story: Demonstration, display: Display) -> None:
    display.title("1  Ten miniature corpora, by speech synthesis")
    with story.phase("synthesis"), display.stages() as reporter:
        synthesize(data, seed, [name for name, task in plugins.tasks().items() if task.synth], reporter)


@contextlib.contextmanager
def _pretraining(files: Mapping[str, Path], data: Path, display: Display, steps: int | None = None) -> Iterator[None]:
    """Pretrains in a background process; `steps`: updates of each model, by default those of its size."""
    with display.stages() as reporter, in_background(partial(_pretrain, files, data / UNLABELLED, steps), reporter):
        yield


def _write_board(out: Path, story: Demonstration) -> None:
    story.results = list(read_results(out / "results").values())
    board, story.page = Board(out / "board"), out / "board.html"
    board.submit(out / "results")
    board.write_page(story.page)


def _pretrain(files: Mapping[str, Path], audio: Path, steps: int | None, reporter: Reporter) -> None:
    """Writes a checkpoint for each family (`apc`, or with its size `apc:nano`)."""
    for family, file in files.items():
        began = time.perf_counter()
        pretrain(family, audio, file, steps=steps, reporter=reporter, replace=True)
        reporter.note(f"pretrained {family} in {time.perf_counter() - began:.0f} s: {file}")
