"""`superbench data`: write the miniature corpora; ask whether the real ones are complete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superbench.cli.arguments import AsJson, Tasks
from superbench.cli.printing import echo_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from superbench.contract import TaskCard
    from superbench.data.check import Inspection

app = typer.Typer(help="Miniature corpora, and a look at yours.", no_args_is_help=True)

COLOURS = {"complete": "green", "absent": "yellow"}


@app.command()
def synth(
    out: Annotated[Path, typer.Option(help="Folder for the corpora", show_default=False)],
    seed: Annotated[int, typer.Option(help="Another seed gives other speakers, sentences and noise")] = 0,
    tasks: Tasks = "all",
) -> None:
    """Write miniature corpora in the true on-disk layouts, by speech synthesis; about a minute for all ten.

    Every `superbench run --data OUT` then uses the protocol `mini`. The same seed writes the same bytes.
    """
    from superbench.cli.display import console, name_broken, stages
    from superbench.data.synthesis import synthesize

    if tasks == "all":
        name_broken()
    with stages() as reporter:
        seconds = synthesize(out, seed, tasks, reporter)
    console.print(f"Miniature corpora (seed {seed}) in {out}, {seconds:.0f} s.")


@app.command("check")
def check_(
    data: Annotated[Path, typer.Option(help="Folder that holds the corpora", show_default=False)],
    tasks: Tasks = "all",
    deep: Annotated[
        bool, typer.Option("--deep", help="Decode all sound: finds damage that no header shows, takes hours")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Is my copy of the corpora complete? The data passport: counts against the published ones, files, sample rates, durations.

    Reads every list and the header of every sound file that they name, of all tasks, whatever is wrong with one of them.

    Exit status 0: all that was asked for is complete. 1: something is missing, damaged or not as published. A corpus that is
    not there counts only if its task was named; how to get it is said.

    Example: superbench data check --data /corpora --tasks sid,asv
    """
    from superbench import plugins
    from superbench.cli.display import name_broken, stages
    from superbench.contract.corpora import Corpora
    from superbench.data.check import Inspector
    from superbench.system.progress import Silence

    if tasks == "all":
        name_broken()
    corpora, named = Corpora.at(data), [plugins.task(name) for name in plugins.task_names(tasks)]
    with stages() as reporter:
        inspector = Inspector(corpora, Silence() if as_json else reporter, deep)
        found = [inspector.inspect(task) for task in named]
    cards = {task.card.name: task.card for task in named}
    if as_json:
        echo_json([_plain(one, cards[one.task].obtain) for one in found])
    else:
        _show(found, cards, bool(corpora.written()))
    if any(one.state != "complete" and (one.state != "absent" or tasks != "all") for one in found):
        raise typer.Exit(1)


def _plain(one: Inspection, obtain: str) -> dict[str, object]:
    passport = one.passport.model_dump(mode="json") if one.passport else None
    return {
        "task": one.task, "corpus": one.corpus, "state": one.state, "remarks": list(one.remarks), "passport": passport,
        "obtain": obtain if one.state in ("absent", "incomplete") else None,
    }  # fmt: skip


def _show(found: Sequence[Inspection], cards: dict[str, TaskCard], noted: bool) -> None:
    from superbench.cli.display import console

    console.print(_table(found, {name: card.counts for name, card in cards.items()}))
    for made in sorted({one.passport.miniature for one in found if one.passport and one.passport.miniature}):
        against = (
            "what `superbench data synth` noted when it wrote them"
            if noted
            else "nothing: who wrote them noted no counts, so a list that lost whole lines goes unseen. `superbench data synth` notes them"
        )
        console.print(f"These are {made}, not compared with the published counts but with {against}.", soft_wrap=True)
    for one in found:
        for remark in one.remarks:
            console.print(f"{one.task}: {remark}", markup=False, soft_wrap=True)
        if one.state in ("absent", "incomplete"):
            console.print(
                f"  How to get it: {cards[one.task].obtain.strip()}".replace("\n", "\n  "), markup=False, soft_wrap=True
            )


def _table(found: Sequence[Inspection], published: dict[str, Mapping[str, int]]) -> Table:
    """A row for each split of each task; the published number of items where it is another one."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("task", "state", "split", "items", "published", "hours", "s: min/mean/max", "Hz", "list"):
        table.add_column(name, justify="right" if name in ("items", "published", "hours", "s: min/mean/max") else "left")
    for one in found:
        state = Text(one.state, COLOURS.get(one.state, "red"))
        if one.passport is None:
            table.add_row(one.task, state)
            continue
        rates = " ".join(one.passport.sample_rates)
        for row, (key, digest) in enumerate((key, d) for key, d in one.passport.lists.items() if not key.endswith(" trials")):
            first = (one.task, state) if row == 0 else ("", "")
            table.add_row(*first, key, *_of_split(one, key, published[one.task]), rates if row == 0 else "", digest[:8])
            if f"{key} trials" in one.passport.lists:
                table.add_row("", "", f"{key} trials", *_counted(one, f"{key} trials", published[one.task]), "", "", "",
                              one.passport.lists[f"{key} trials"][:8])  # fmt: skip
    return table


def _of_split(one: Inspection, key: str, published: Mapping[str, int]) -> tuple[str, ...]:
    assert one.passport is not None
    duration = one.passport.durations.get(key)
    times = (
        (f"{duration.hours:.2f}", f"{duration.shortest:.2f}/{duration.mean:.2f}/{duration.longest:.2f}")
        if duration
        else ("", "")
    )
    return (*_counted(one, key, published), *times)


def _counted(one: Inspection, key: str, published: Mapping[str, int]) -> tuple[str, str]:
    assert one.passport is not None
    count, other = one.passport.counts[key], published.get(key)
    if one.passport.miniature or other is None:
        return str(count), ""
    return str(count), "=" if count == other else str(other)
