"""`superbench data`: write the miniature corpora; ask whether the real ones are complete."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Miniature corpora, and a look at yours.", no_args_is_help=True)

Tasks = Annotated[str, typer.Option(help="all, or names: pr,ks,...")]


@app.command()
def synth(
    out: Annotated[Path, typer.Option(help="Folder for the corpora", show_default=False)],
    seed: Annotated[int, typer.Option(help="Another seed gives other speakers, sentences and noise")] = 0,
    tasks: Tasks = "all",
) -> None:
    """Write miniature corpora in the true on-disk layouts, by speech synthesis; about a minute for all ten.

    Every `superbench run --data OUT` then uses the protocol `mini`. The same seed writes the same bytes.
    """
    from superbench.cli.display import console, stages
    from superbench.synthesis import synthesise

    with stages() as reporter:
        seconds = synthesise(out, seed, chosen(tasks), reporter)
    console.print(f"Miniature corpora (seed {seed}) in {out}, {seconds:.0f} s.")


@app.command("check")
def check_(
    data: Annotated[Path, typer.Option(help="Folder that holds the corpora", show_default=False)], tasks: Tasks = "all"
) -> None:
    """Is my copy of the corpora complete? Reads every list and looks for every file that it names; opens no sound.

    Exit status 1 if a corpus is there but damaged, or absent though its task was named.
    """
    from rich.table import Table

    from superbench.cli.display import console
    from superbench.synthesis import inspect

    table = Table("task", "corpus", "state", "train / dev / test")
    bad = False
    remarks = []
    for name, corpus, state, counts, remark in inspect(data, chosen(tasks)):
        table.add_row(name, corpus, state, counts)
        bad = bad or state == "damaged" or (state == "absent" and tasks != "all")
        if remark:
            remarks.append(f"{name}: {remark}")
    console.print(table)
    for remark in remarks:
        console.print(remark, markup=False)
    if bad:
        raise typer.Exit(1)


def chosen(tasks: str) -> list[str]:
    """Names of tasks from an option's text; `all` is every registered one."""
    from superbench import registry

    return [one.name for one in registry.listed(registry.TASKS)] if tasks == "all" else tasks.split(",")
