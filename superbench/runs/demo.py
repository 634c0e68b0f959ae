"""The whole story on miniature corpora: synthesis, pretraining, ten tasks, a board. `superbench demo` shows it."""

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
class Story:
    """What a demo came to: seconds of each phase, failed jobs, all results, and the board's page."""

    seconds: dict[str, float] = field(default_factory=dict)
    failures: int = 0
    results: list[Result] = field(default_factory=list)
    page: Path = Path()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Its seconds are noted."""
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began


def tell(
    out: Path, families: list[str], seed: int, run: RunTasks, stages: Callable[[], contextlib.AbstractContextManager[Reporter]],
    title: Callable[[str], None],
) -> Story:  # fmt: skip
    """Write the miniature corpora of `seed`, pretrain `families`, run all tasks on them, on an untrained control of each and on
    filter banks, and write a board; all of it in the folder `out`.

    `run` and `stages` (bars for pretraining and synthesis) say how that is shown; `title` announces each phase.
    """
    story, data, tasks = Story(), out / "data", plugins.tasks()
    trained = {family: out / f"{family}.safetensors" for family in families}
    # Where heads average over time, the public leaderboard's FBANK row is the one without mean normalisation.
    pooled = ",".join(name for name, task in tasks.items() if task.card.reads == "mean")
    with story.phase("all"):
        title("1  Ten miniature corpora, by speech synthesis")
        with story.phase("synthesis"), stages() as reporter:
            synthesize(data, seed, list(tasks), reporter)
        title(f"2  {' and '.join(trained)} in pretraining on unlabelled speech; meanwhile ten tasks for what needs none")
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
    """A checkpoint for each of the families."""
    for family, file in files.items():
        began = time.perf_counter()
        pretrain(family, audio, file, reporter=reporter, replace=True)
        reporter.note(f"pretrained {family} in {time.perf_counter() - began:.0f} s: {file}")
