"""`superbench data`: writes miniature corpora, and checks whether your copies of the real corpora are complete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superbench.cli.arguments import AsJson, Tasks, corpora_of
from superbench.cli.printing import echo_json
from superbench.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from superbench.contract import TaskCard
    from superbench.data.check import Inspection

app = typer.Typer(help="Write miniature corpora, check your own, or import copies in other forms.", no_args_is_help=True)

COLOURS = {"complete": "green", "absent": "yellow"}


@app.command()
def synth(
    out: Annotated[Path, typer.Option(help="Folder for the corpora", show_default=False)],
    seed: Annotated[int, typer.Option(help="Seed of speakers, sentences and noise")] = 0,
    tasks: Tasks = "all",
) -> None:
    """Write synthetic miniature corpora in the directory layouts of the real ones; about a minute for all ten.

    `superbench run --data OUT` then uses the protocol `mini`. The same seed writes the same bytes.
    """
    from superbench.cli.display import console, name_broken, stages
    from superbench.data.synthesis import synthesize

    if tasks == "all":
        name_broken()
    with stages() as reporter:
        seconds = synthesize(out, seed, tasks, reporter)
    console.print(f"Miniature corpora (seed {seed}) in {out}, {seconds:.0f} s.")


@app.command()
def pairs(
    out: Annotated[Path, typer.Option(help="Folder for the sets", show_default=False)],
    seed: Annotated[int, typer.Option(help="Seed of words, voices and noise")] = 0,
) -> None:
    """Write miniature sets of minimal pairs in the layouts of sWUGGY, sBLIMP and SALMon, for `superbench pairs`."""
    from superbench.cli.display import console
    from superbench.data.synthesis import synthesize_pairs

    names = synthesize_pairs(out, seed)
    console.print(f"Miniature minimal pairs (seed {seed}) in {out}: {', '.join(names)}.")


@app.command("check")
def check_(
    data: Annotated[Path | None, typer.Option(help="Folder with the corpora; own tasks need none", show_default=False)] = None,
    tasks: Tasks = "all",
    deep: Annotated[
        bool, typer.Option("--deep", help="Decode all audio files, to find damage that their headers do not show; takes hours")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check whether your copies of the corpora are complete: compares item counts with the published ones, and shows files,
    sample rates and durations (the data passport).

    Reads all lists, and the header of every audio file in them. An error in one task does not stop the others.

    Exit status 0: all corpora are complete. 1: something is missing, damaged or differs from the published corpus. An absent
    corpus counts only if its task was named; the output explains how to get it.

    Example: superbench data check --data /corpora --tasks sid,asv
    """
    from superbench import plugins
    from superbench.cli.display import name_broken, stages
    from superbench.contract.corpora import Corpora
    from superbench.data.check import Inspector
    from superbench.system.progress import Silence

    if tasks == "all":
        name_broken()
    if (root := corpora_of(data, tasks)) is None:
        raise CommandError("Give the folder with the corpora: superbench data check --data DIR. Only own tasks need none.")
    corpora, named = Corpora.at(root), list(plugins.chosen(tasks).values())
    with stages() as reporter:
        inspector = Inspector(corpora, Silence() if as_json else reporter, deep)
        inspections = [inspector.inspect(task) for task in named]
    cards = {task.card.name: task.card for task in named}
    if as_json:
        echo_json([_plain(inspection, cards[inspection.task].obtain) for inspection in inspections])
    else:
        _show(inspections, cards, bool(corpora.written()))
    if any(found.state != "complete" and (found.state != "absent" or tasks != "all") for found in inspections):
        raise typer.Exit(1)


@app.command("import")
def import_(
    form: Annotated[str, typer.Argument(help="hf: a copy of `superb` of the Hugging Face hub, parquet files with the sound in them", show_default=False)],
    source: Annotated[Path, typer.Argument(help="Folder of the copy", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the corpora, in their original layout", show_default=False)],
) -> None:  # fmt: skip
    """Write corpora in their original layout from copies in another form. The bytes of every sound stay as they are.

    Example: superbench data import hf superb/ks --out /corpora
    """
    from superbench import plugins
    from superbench.cli.display import console, stages
    from superbench.system.files import require_folder

    work = plugins.importer(form)
    require_folder(out, f"--out {out}")
    with stages() as reporter:
        counts = work(source, out, lambda done, total: reporter.advance("import", done, total))
    for name, count in counts.items():
        console.print(f"{name}: {count:,} sounds", markup=False)
    console.print(f"Written to {out}. Next: superbench data check --data {out}", markup=False)


def _plain(inspection: Inspection, obtain: str) -> dict[str, object]:
    return {
        "task": inspection.task, "corpus": inspection.corpus, "state": inspection.state, "remarks": list(inspection.remarks),
        "passport": inspection.passport.model_dump(mode="json") if inspection.passport else None,
        "obtain": obtain if inspection.state in ("absent", "incomplete") else None,
    }  # fmt: skip


def _show(inspections: Sequence[Inspection], cards: dict[str, TaskCard], recorded: bool) -> None:
    from superbench.cli.display import console

    console.print(_table(inspections, {name: card.counts for name, card in cards.items()}))
    passports = [inspection.passport for inspection in inspections if inspection.passport]
    for miniature in sorted({passport.miniature for passport in passports if passport.miniature}):
        compared = (
            "They are compared with the counts that `superbench data synth` recorded, not with the published ones."
            if recorded
            else "Their counts are not checked, because none were recorded when they were written: a list with missing lines is "
            "not detected. `superbench data synth` records the counts."
        )
        console.print(f"These are {miniature}. {compared}", soft_wrap=True)
    for inspection in inspections:
        for remark in inspection.remarks:
            console.print(f"{inspection.task}: {remark}", markup=False, soft_wrap=True)
        if inspection.state in ("absent", "incomplete"):
            obtain = cards[inspection.task].obtain.strip()
            console.print(f"  How to get it: {obtain}".replace("\n", "\n  "), markup=False, soft_wrap=True)


def _table(inspections: Sequence[Inspection], published: dict[str, Mapping[str, int]]) -> Table:
    """Return a table with a row for each split of each task; it shows the published number of items if it differs."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("task", "state", "split", "items", "published", "hours", "s: min/mean/max", "Hz", "list"):
        table.add_column(name, justify="right" if name in ("items", "published", "hours", "s: min/mean/max") else "left")
    for inspection in inspections:
        state = Text(inspection.state, COLOURS.get(inspection.state, "red"))
        if inspection.passport is None:
            table.add_row(inspection.task, state)
            continue
        rates = " ".join(inspection.passport.sample_rates)
        for row, (key, digest) in enumerate(
            (key, d) for key, d in inspection.passport.lists.items() if not key.endswith(" trials")
        ):
            first = (inspection.task, state) if row == 0 else ("", "")
            table.add_row(
                *first, key, *_of_split(inspection, key, published[inspection.task]), rates if row == 0 else "", digest[:8]
            )
            if f"{key} trials" in inspection.passport.lists:
                table.add_row("", "", f"{key} trials", *_counted(inspection, f"{key} trials", published[inspection.task]), "", "", "",
                              inspection.passport.lists[f"{key} trials"][:8])  # fmt: skip
    return table


def _of_split(inspection: Inspection, key: str, published: Mapping[str, int]) -> tuple[str, ...]:
    assert inspection.passport is not None
    duration = inspection.passport.durations.get(key)
    times = (
        (f"{duration.hours:.2f}", f"{duration.shortest:.2f}/{duration.mean:.2f}/{duration.longest:.2f}")
        if duration
        else ("", "")
    )
    return (*_counted(inspection, key, published), *times)


def _counted(inspection: Inspection, key: str, published: Mapping[str, int]) -> tuple[str, str]:
    assert inspection.passport is not None
    count, expected = inspection.passport.counts[key], published.get(key)
    if inspection.passport.miniature or expected is None:
        return str(count), ""
    return str(count), "=" if count == expected else str(expected)
