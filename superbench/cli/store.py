"""`superbench store`: lists the feature store, evicts shards, and verifies its files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superbench.cli.arguments import AsJson, StoreFolder
from superbench.cli.printing import echo_json
from superbench.errors import CommandError, shortened
from superbench.system.ranges import require_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from superbench.features.store import Holding, Store
    from superbench.features.store.labels import Labels

app = typer.Typer(help="The feature store: list, evict, verify, move to another machine.", no_args_is_help=True)

SHOWN = 30
LONGEST = 24
"""Characters of the names of models, or of tasks, in a table."""


@app.command("ls")
def ls(store: StoreFolder = None, as_json: AsJson = False) -> None:
    """List the stored features: the total size, then the shards, the most recently used first, with the models and tasks that
    used them.

    A shard is a file with features of some hundred utterances from one model; all tasks and later runs share it. A pinned shard
    is in use by a running process and is never evicted. Format: float32 (means), float16 or int8 (frames, see --store-format of
    run).
    """
    import shutil

    from superbench.cli.display import console
    from superbench.features.store.labels import index_at, labels

    with _opened(store) as opened:
        shards = opened.contents()
        root = opened.root
    with index_at(root) as index:
        used = labels(index)
    total, free = sum(shard.bytes for shard in shards), shutil.disk_usage(root).free
    pinned = sum(shard.bytes for shard in shards if shard.pinned)
    if as_json:
        facts = {"store": str(root), "bytes": total, "pinned_bytes": pinned, "free_bytes": free}
        named = [asdict(shard) | dict(zip(("models", "tasks"), _names(used, shard.shard), strict=True)) for shard in shards]
        echo_json(facts | {"shards": named})
        return
    entries = sum(shard.entries for shard in shards)
    console.print(
        f"{root}: {size(total)} in {len(shards)} shards, {entries} entries; {size(pinned)} pinned, {size(free)} free on the disk.",
        markup=False,
    )
    if shards:
        console.print(f"By format: {_by_format(shards)}.", markup=False)
        console.print(_table(shards[:SHOWN], used))
    if len(shards) > SHOWN:
        console.print(f"… and {len(shards) - SHOWN} shards used before these; --json lists all.")


@app.command()
def gc(
    store: StoreFolder = None,
    gb: Annotated[float | None, typer.Option(help="Largest size of the store in gigabytes (10⁹ bytes) [default: evict nothing]", min=0, show_default=False)] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Free disk space: remove files that killed runs left and, with --gb, evict the least recently used shards.

    Shards that a running process needs are kept. Evicted features are extracted again by the next run that needs them.

    Example: superbench store gc --gb 100
    """
    from superbench.cli.display import console

    if gb is not None:
        require_number("--gb", gb, least=0)
    with _opened(store) as opened:
        removed = opened.gc(None if gb is None else round(gb * 1e9))
        left = opened.contents()
    if as_json:
        echo_json([asdict(item) for item in removed])
        return
    for reason in dict.fromkeys(item.reason for item in removed):
        sizes = [item.bytes for item in removed if item.reason == reason]
        console.print(f"Removed {len(sizes)} files, {size(sum(sizes))}: {reason}.")
    if not removed:
        console.print("Nothing to remove.")
    kept = sum(item.bytes for item in left)
    console.print(f"{size(kept)} in {len(left)} shards remain.")
    if gb is not None and kept > gb * 1e9:
        console.print(
            "The store is still larger than --gb, because running processes need these shards. Repeat the command when they have ended."
        )


@app.command("verify")
def verify(
    store: StoreFolder = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove damaged shards; the next run extracts their features again")
    ] = False,
) -> None:
    """Verify that all stored features are unchanged. Reads and hashes every byte: a few seconds per gigabyte.

    A run detects files that were modified after they were written; this command also detects disk errors. Exit status 1 if a
    shard is damaged and not repaired. Files that are in no index are listed, but are not damage: `superbench store gc` removes
    them.
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
    console.print(f"{states['whole']} shards intact, {states['damaged']} damaged, {states['stray']} files in no index.")
    if states["damaged"] and repair:
        console.print("The damaged shards are removed; the next run that needs their features extracts them again.")
    elif states["damaged"]:
        console.print(
            "`superbench store verify --repair` removes the damaged shards; the next run that needs their features extracts them again."
        )
        raise typer.Exit(1)


def _table(shards: Sequence[Holding], used: Labels) -> Table:
    from rich.table import Table

    table = Table("shard", "models", "tasks", "entries", "format", "size", "made", "last used", "pinned")
    for shard in shards:
        names = (shortened(", ".join(names), LONGEST) or "?" for names in _names(used, shard.shard))
        facts = str(shard.entries), shard.format, size(shard.bytes), _moment(shard.made), _moment(shard.used)
        table.add_row(shard.shard[:12], *names, *facts, "yes" if shard.pinned else "")
    return table


def _by_format(shards: Sequence[Holding]) -> str:
    formats = sorted({shard.format for shard in shards})
    return ", ".join(f"{name} {size(sum(shard.bytes for shard in shards if shard.format == name))}" for name in formats)


@app.command("pack")
def pack(
    archive: Annotated[Path, typer.Argument(help="The file to write, such as features.tar", show_default=False)],
    store: StoreFolder = None,
    models: Annotated[
        str | None, typer.Option(help="Only features that these models used: fbank,apc", show_default=False)
    ] = None,
    tasks: Annotated[str | None, typer.Option(help="Only features that these tasks used: ks,ic", show_default=False)] = None,
) -> None:
    """Write stored features to one archive with digests, to move them to another machine. `superbench store ls` names models and
    tasks.

    Features are used there only by the same model, with the same versions of its libraries, on the same kind of device.

    Example: superbench store pack features.tar --models apc
    """
    from superbench.cli.display import console, stages
    from superbench.features.store import transfer
    from superbench.system.files import require_place

    require_place(archive, str(archive))
    if archive.exists():
        raise CommandError(f"{archive} exists already; nothing was written over it. Give another name, or remove it.")
    with _opened(store) as opened, stages() as reporter:
        moved = transfer.pack(opened.root, archive, reporter, _listed(models), _listed(tasks))
    console.print(f"{archive}: {moved.entries} entries in {moved.shards} shards, {size(moved.bytes)}.", markup=False)


@app.command("unpack")
def unpack(
    archive: Annotated[Path, typer.Argument(help="A file that `superbench store pack` wrote", show_default=False)],
    store: StoreFolder = None,
) -> None:
    """Add the features of an archive to a store, which is created if it does not exist. Every file is compared with its digest, and
    none is written outside the store.

    Example: superbench store unpack features.tar --store /scratch/store
    """
    from superbench.cli.display import console, stages
    from superbench.features.store import Store, default_root, transfer

    if not archive.is_file():
        raise CommandError(f"{archive} does not exist. Expected a file that `superbench store pack` wrote.")
    with Store(store or default_root()) as opened, stages() as reporter:
        moved = transfer.unpack(archive, opened.root, reporter)
    known = f" {moved.known} were there already." if moved.known else ""
    console.print(f"{moved.entries} entries in {moved.shards} shards, {size(moved.bytes)}, added.{known}", markup=False)


def _listed(names: str | None) -> list[str]:
    return names.split(",") if names else []


def _names(used: Labels, shard: str) -> tuple[list[str], list[str]]:
    """Return the models and tasks that used a shard."""
    models, tasks = used.get(shard, ((), ()))
    return sorted(models), sorted(tasks)


def _opened(store: Path | None) -> Store:
    """Open the store of an existing folder; raises `CommandError` if the folder has no store, and never creates one."""
    from superbench.features.store import Store, default_root

    root = store or default_root()
    if not (root / "index.sqlite").is_file():
        raise CommandError(
            f"{root} contains no feature store (no index.sqlite). `superbench run` creates one; give its folder with --store DIR."
        )
    return Store(root)


def size(count: int) -> str:
    """Return a number of bytes as text, with decimal units.

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
