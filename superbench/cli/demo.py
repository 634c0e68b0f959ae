"""`superbench demo`: all steps from corpora to a board, on miniature corpora."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

    from superbench.system.progress import Reporter


def demo(
    out: Annotated[Path, typer.Option(help="Folder for corpora, models, results and the board")] = Path("demo"),
    full: Annotated[bool, typer.Option("--full", help="Add tera (masked) and its untrained control")] = False,
    few_shot: Annotated[
        bool, typer.Option("--few-shot", help="Train no head: three sizes of two models, few-shot and in context")
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Seed of the miniature corpora (0, 3, 7 and 11 were used to choose the recipes)")
    ] = 23,
) -> None:
    """Synthesise ten miniature corpora, pretrain a model, run ten tasks, rank the models, and write a board as a web page.

    Needs no download and no GPU. The table contains the filter-bank baseline and an untrained control of each architecture: a
    pretrained model is an improvement only if it is better than both. With --few-shot, nothing but the models is trained: the
    examples become centroids and clusters, or stand in the prompt, and the board shows the score against the size of the model.
    """
    from superbench.cli.display import console
    from superbench.results import tables
    from superbench.runs.demo import demonstrate, demonstrate_few_shot
    from superbench.system.locks import require_locks

    require_locks(out, f"--out {out}")
    display = _Display(out)
    if few_shot:
        story = demonstrate_few_shot(out, seed, display)
    else:
        story = demonstrate(out, ["apc", "tera"] if full else ["apc"], seed, display)
    console.print(tables.terminal(story.results))
    console.print("  ".join(f"{name} {value:.0f} s" for name, value in story.seconds.items()))
    console.print(f"Board: {story.page}")
    if story.failures:
        raise typer.Exit(1)


class _Display:
    """The display of the demo: each phase has its own progress bars, which its jobs share."""

    def __init__(self, out: Path) -> None:
        self.places = {"data": out / "data", "out": out / "results", "store": out / "store"}
        self.progress: Progress | None = None

    @contextlib.contextmanager
    def stages(self) -> Iterator[Reporter]:
        """Shows progress bars for one phase; yields the reporter that moves them."""
        from superbench.cli.display import StageBars, bars

        with bars() as self.progress:
            yield StageBars(self.progress)
        self.progress = None

    def title(self, text: str) -> None:
        """Prints the title of a phase."""
        from superbench.cli.display import console

        console.rule(text)

    def run(self, upstreams: list[str], tasks: str, **options: Any) -> int:
        """Runs tasks; their bars join those of the phase."""
        from superbench.cli.run import perform

        return perform(upstreams, tasks, table=False, progress=self.progress, **self.places, **options)
