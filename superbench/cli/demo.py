"""`superbench demo`: the whole story on the miniature corpora."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

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
    from superbench.board.storage import Board
    from superbench.cli.display import console, stages
    from superbench.cli.run import perform
    from superbench.pretraining import pretrain
    from superbench.synthesis import synthesise

    began = time.perf_counter()
    data, results = out / "data", out / "results"
    tasks = registry.tasks()
    console.rule("1  Ten miniature corpora, by speech synthesis")
    with stages() as reporter:
        seconds = {"synthesis": synthesise(data, seed, list(tasks), reporter)}
    families = ["apc", "tera"] if full else ["apc"]
    console.rule(f"2  Pretraining {' and '.join(families)} on unlabelled speech")
    seconds["pretraining"] = 0.0
    for family in families:
        at = time.perf_counter()
        with stages() as reporter:
            pretrain(
                family, data / UNLABELLED, out / f"{family}.safetensors", steps=None, seed=0, device="auto", reporter=reporter
            )
        seconds["pretraining"] += time.perf_counter() - at
        console.print(f"{family}: {out / family}.safetensors")
    console.rule("3  Ten tasks on frozen features")
    at = time.perf_counter()
    trained = [spec for family in families for spec in (f"{family}={family}@{out / family}.safetensors", f"{family}:untrained")]
    options = {"data": data, "out": results, "store": out / "store"}
    failures = perform(["fbank", *trained], "all", table=False, **options)
    # Where heads average over time, the public leaderboard's FBANK row is the one without mean normalisation.
    pooled = [name for name, task in tasks.items() if task.card.reads == "mean"]
    failures += perform(["fbank_no_cmvn"], ",".join(pooled), table=False, **options)
    seconds["tasks"] = time.perf_counter() - at
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
