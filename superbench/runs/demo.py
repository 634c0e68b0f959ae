"""Runs the demonstration: miniature corpora, pretraining, ten tasks, a board. `superbench demo` prints its progress."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from superbench import plugins
from superbench.board.board import Board
from superbench.data.synthesis import synthesize
from superbench.results import Result, read_results
from superbench.system.background import in_background
from superbench.system.progress import Reporter
from superbench.training.pretraining.pretrain import pretrain

UNLABELLED = "LibriSpeech/train-clean-360"

RunTasks = Callable[[list[str], str], int]
"""Runs the tasks (names, or all) on the upstreams; returns how many jobs failed."""


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


def demonstrate(
    out: Path, families: list[str], seed: int, run: RunTasks, stages: Callable[[], contextlib.AbstractContextManager[Reporter]],
    title: Callable[[str], None],
) -> Demonstration:  # fmt: skip
    """Writes the miniature corpora of `seed`, pretrains `families`, runs all tasks on them, on the same models with random
    weights and on filter banks, and writes a board; everything goes to the folder `out`.

    `run` runs tasks; `stages` shows the progress of synthesis and pretraining; `title` is called at the start of each phase.
    """
    story, data, tasks = Demonstration(), out / "data", plugins.tasks()
    trained = {family: out / f"{family}.safetensors" for family in families}
    # For heads on time-averaged features, the FBANK row of the public leaderboard has no mean normalisation.
    pooled = ",".join(name for name, task in tasks.items() if task.card.reads == "mean")
    with story.phase("all"):
        title("1  Ten miniature corpora, by speech synthesis")
        with story.phase("synthesis"), stages() as reporter:
            synthesize(data, seed, list(tasks), reporter)
        title(
            f"2  Pretraining of {' and '.join(trained)} on unlabelled speech; meanwhile, ten tasks on models without training"
        )
        with (
            story.phase("pretraining and baselines"),
            stages() as reporter,
            in_background(partial(_pretrain, trained, data / UNLABELLED), reporter),
        ):
            story.failures += run(["fbank", *(f"{family}:untrained" for family in trained)], "all")
            story.failures += run(["fbank_no_cmvn"], pooled)
        title(f"3  Ten tasks on frozen features of {' and '.join(trained)}")
        with story.phase("pretrained"):
            story.failures += run([f"{family}={family}@{file}" for family, file in trained.items()], "all")
        title("4  The board")
        story.results = list(read_results(out / "results").values())
        board, story.page = Board(out / "board"), out / "board.html"
        board.submit(out / "results")
        board.write_page(story.page)
    return story


def _pretrain(files: Mapping[str, Path], audio: Path, reporter: Reporter) -> None:
    """Writes a checkpoint for each family."""
    for family, file in files.items():
        began = time.perf_counter()
        pretrain(family, audio, file, reporter=reporter, replace=True)
        reporter.note(f"pretrained {family} in {time.perf_counter() - began:.0f} s: {file}")
