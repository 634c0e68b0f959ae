"""`superbench demo`: the whole story on the miniature corpora."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from superbench.reporting import Reporter

UNLABELLED = "LibriSpeech/train-clean-360"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for corpora, models, results and the board")] = Path("demo"),
    full: Annotated[bool, typer.Option("--full", help="Add tera (masked) and its untrained control")] = False,
    seed: Annotated[
        int, typer.Option(help="Of the miniature corpora (0, 3, 7 and 11 were used while the recipes were chosen)")
    ] = 23,
) -> None:
    """Synthesise ten miniature corpora, pretrain a model on the spot, run ten tasks, rank, and write a board to look at.

    No download, no GPU. The table holds the filter-bank baseline and an untrained control of each architecture: a gain
    counts only over both.
    """
    from superbench import registry, report
    from superbench.beside import beside
    from superbench.board.storage import Board
    from superbench.cli.display import StageBars, bars, console, stages
    from superbench.cli.run import perform
    from superbench.locks import require_locks
    from superbench.synthesis import synthesise

    require_locks(out, f"--out {out}")
    began = time.perf_counter()
    data, results = out / "data", out / "results"
    tasks = registry.tasks()
    console.rule("1  Ten miniature corpora, by speech synthesis")
    with stages() as reporter:
        seconds = {"synthesis": synthesise(data, seed, list(tasks), reporter)}
    trained = {family: out / f"{family}.safetensors" for family in (["apc", "tera"] if full else ["apc"])}
    # Where heads average over time, the public leaderboard's FBANK row is the one without mean normalisation.
    pooled = ",".join(name for name, task in tasks.items() if task.card.reads == "mean")
    run = partial(perform, table=False, data=data, out=results, store=out / "store")
    console.rule(f"2  {' and '.join(trained)} in pretraining on unlabelled speech; meanwhile ten tasks for what needs none")
    at = time.perf_counter()
    with bars() as progress, beside(partial(_pretrained, trained, data / UNLABELLED), StageBars(progress)):
        failures = run(["fbank", *(f"{family}:untrained" for family in trained)], "all", progress=progress)
        failures += run(["fbank_no_cmvn"], pooled, progress=progress)
    seconds["pretraining and baselines"] = time.perf_counter() - at
    console.rule(f"3  Ten tasks on frozen features of {' and '.join(trained)}")
    at = time.perf_counter()
    failures += run([f"{family}={family}@{file}" for family, file in trained.items()], "all")
    seconds["pretrained"] = time.perf_counter() - at
    console.rule("4  The board")
    console.print(report.terminal(report.collect([results])))
    store = Board(out / "board")
    store.submit(results)
    page = out / "board.html"
    store.write_page(page)
    seconds["all"] = time.perf_counter() - began
    console.print("  ".join(f"{name} {value:.0f} s" for name, value in seconds.items()))
    console.print(f"Board: {page}")
    if failures:
        raise typer.Exit(1)


def _pretrained(files: Mapping[str, Path], audio: Path, reporter: Reporter) -> None:
    """A checkpoint for each of the families."""
    from superbench.pretraining import pretrain

    for family, file in files.items():
        began = time.perf_counter()
        pretrain(family, audio, file, steps=None, seed=0, device="auto", reporter=reporter)
        reporter.note(f"pretrained {family} in {time.perf_counter() - began:.0f} s: {file}")
