"""`superbench store`: what lies in the feature store, room for more, and whether it is still what was written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superbench.cli.arguments import AsJson, StoreFolder
from superbench.cli.printing import echo_json
from superbench.errors import CommandError
from superbench.system.ranges import require_number

if TYPE_CHECKING:
    from superbench.features.store import Store

app = typer.Typer(help="The feature store: list, make room, verify.", no_args_is_help=True)

SHOWN = 30


@app.command("ls")
def ls(store: StoreFolder = None, as_json: AsJson = False) -> None:
    """What is stored: the total, then the shards, the most recently used first.

    A shard is a file of features of some hundred utterances by one model; all tasks and later runs share it. Pinned: a run
    that is alive needs it, so nothing evicts it.
    """
    import shutil

    from rich.table import Table

    from superbench.cli.display import console

    with _opened(store) as opened:
        held = opened.contents()
        root = opened.root
    total, free = sum(one.bytes for one in held), shutil.disk_usage(root).free
    pinned = sum(one.bytes for one in held if one.pinned)
    if as_json:
        facts = {"store": str(root), "bytes": total, "pinned_bytes": pinned, "free_bytes": free}
        echo_json(facts | {"shards": [asdict(one) for one in held]})
        return
    entries = sum(one.entries for one in held)
    console.print(
        f"{root}: {size(total)} in {len(held)} shards, {entries} entries; {size(pinned)} pinned, {size(free)} free on the disk.",
        markup=False,
    )
    if held:
        table = Table("shard", "entries", "size", "made", "last used", "pinned")
        for one in held[:SHOWN]:
            table.add_row(
                one.shard[:12],
                str(one.entries),
                size(one.bytes),
                _moment(one.made),
                _moment(one.used),
                "yes" if one.pinned else "",
            )
        console.print(table)
    if len(held) > SHOWN:
        console.print(f"… and {len(held) - SHOWN} shards used before these; --json lists all.")


@app.command()
def gc(
    store: StoreFolder = None,
    gb: Annotated[float | None, typer.Option(help="Keep at most so many gigabytes (10⁹ bytes) [default: evict nothing]", min=0, show_default=False)] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Make room: remove what killed runs left behind and, with --gb, the shards that were used least recently.

    What a run that is alive needs stays. Removed features are made anew by the next run that wants them.

    Example: superbench store gc --gb 100
    """
    from superbench.cli.display import console

    if gb is not None:
        require_number("--gb", gb, least=0)
    with _opened(store) as opened:
        removed = opened.gc(None if gb is None else round(gb * 1e9))
        left = opened.contents()
    if as_json:
        echo_json([asdict(one) for one in removed])
        return
    for reason in dict.fromkeys(one.reason for one in removed):
        some = [one.bytes for one in removed if one.reason == reason]
        console.print(f"Removed {len(some)} files, {size(sum(some))}: {reason}.")
    if not removed:
        console.print("Nothing to remove.")
    kept = sum(one.bytes for one in left)
    console.print(f"{size(kept)} in {len(left)} shards remain.")
    if gb is not None and kept > gb * 1e9:
        console.print(
            "More than asked for: the rest is pinned by runs that are alive. Repeat the command when they have ended."
        )


@app.command("verify")
def verify(
    store: StoreFolder = None,
    repair: Annotated[bool, typer.Option("--repair", help="Forget damaged shards; the next run makes them anew")] = False,
) -> None:
    """Is every stored feature what was written? Reads and hashes every byte: a few seconds for a gigabyte.

    A run itself notices a file that was changed after it was written; this finds decay of the disk as well. Exit status 1 if
    something is damaged and not repaired. Files in no index are named, and are no damage: `superbench store gc` removes them.
    """
    from superbench.cli.display import console, stages

    states = {"whole": 0, "damaged": 0, "stray": 0}
    with _opened(store) as opened, stages() as reporter:
        for finding in opened.verify(reporter):
            states[finding.state] += 1
            if finding.state != "whole":
                console.print(finding.message, markup=False)
            if finding.state == "damaged" and repair:
                opened.forget(finding.shard)
    console.print(f"{states['whole']} shards whole, {states['damaged']} damaged, {states['stray']} files in no index.")
    if states["damaged"] and repair:
        console.print("The damaged ones are forgotten; the next run that needs them makes them anew.")
    elif states["damaged"]:
        console.print(
            "`superbench store verify --repair` forgets the damaged ones; the next run that needs them makes them anew."
        )
        raise typer.Exit(1)


def _opened(store: Path | None) -> Store:
    """The store in a folder that is there: looking must not make one."""
    from superbench.features.store import Store, default_root

    root = store or default_root()
    if not (root / "index.sqlite").is_file():
        raise CommandError(
            f"{root} holds no feature store (no index.sqlite). `superbench run` makes one; give its folder with --store DIR."
        )
    return Store(root)


def size(count: int) -> str:
    """Bytes for a person, in powers of ten as disks are sold.

    >>> size(0), size(40_200), size(6_100_000_000)
    ('0 B', '40.2 kB', '6.1 GB')
    """
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.1f} {units[0]}" if units[0] != "B" else f"{count} B"


def _moment(seconds: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
