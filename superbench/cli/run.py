"""`superbench run`: upstreams × tasks."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer

from superbench.cli.arguments import Device, MaxSteps, Protocol, Rates, Seeds, StoreFolder, Tasks, Variants, numbers

if TYPE_CHECKING:
    from rich.progress import Progress


def run(
    upstreams: Annotated[list[str], typer.Argument(help="[alias=]spec: apc@FILE, apc:untrained, fbank, hf/ID, torchaudio/BUNDLE, s3prl/ENTRY, file.py:Class", show_default=False)],
    tasks: Tasks = "all",
    data: Annotated[Path, typer.Option(help="Folder that holds the corpora")] = Path("data"),
    out: Annotated[Path, typer.Option(help="Folder for results")] = Path("results"),
    protocol: Protocol = None,
    device: Device = "auto",
    lr: Rates = None,
    seeds: Seeds = "0",
    max_steps: MaxSteps = None,
    layer: Annotated[int | None, typer.Option(help="This hidden state alone, in place of the weighted sum over all", min=0, show_default=False)] = None,
    chunk: Annotated[float | None, typer.Option(help="Let sound longer than so many seconds pass in parts, for want of memory; features change a little at the joints", min=1, show_default=False)] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16, of the upstream's matrix products [default: bfloat16 on a GPU that has it, but for protocol superb; else float32]", show_default=False)] = None,
    variant: Variants = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes [default: by the machine]", min=1, show_default=False)] = None,
    store: StoreFolder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would run, on which corpora, by which recipe and at what cost; extract, train and write nothing")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Run again what is finished, and make stored features again")] = False,
    store_gb: Annotated[float | None, typer.Option(help="Keep the store within so many GB: what was not used for longest goes, and frames that cannot fit are not kept [default: what the disk holds]", min=0, show_default=False)] = None,
) -> None:  # fmt: skip
    """Run downstream tasks on frozen upstreams.

    Every sound passes through the model once; features are stored and shared by tasks, learning rates and later runs. Repeat
    the command after an interruption: it goes on where it stopped. Results lie in `OUT/<upstream>/<task>/result.json`; where
    results of other options lie there, in `OUT/<upstream>--<options>/`. What is finished is found again as long as model, data,
    options and versions are the same.

    Example: superbench run fbank mine=hf/./my-model --tasks ks,ic,er --data /corpora --out results
    """
    from superbench.cli.dry_run import rehearse
    from superbench.runs.options import RunOptions

    options = RunOptions(
        data=data, out=out, protocol=protocol, device=device, learning_rates=numbers("--lr", lr, float),  # type: ignore[typeddict-item]
        seeds=numbers("--seeds", seeds, int) or (), max_steps=max_steps, layer=layer, chunk_seconds=chunk, precision=precision,  # type: ignore[typeddict-item]
        variants=variant or (), workers=workers, store=store, store_gb=store_gb, redo=redo,
    )  # fmt: skip
    if dry_run:
        rehearse(upstreams, tasks, **options)
    elif perform(upstreams, tasks, **options):
        raise typer.Exit(1)


def perform(upstreams: list[str], tasks: str, *, table: bool = True, progress: Progress | None = None, **options: Any) -> int:
    """Run with a display (its bars among those of `progress`, where given), then print the table (if wanted), what failed and
    where the time went; returns the number of failures."""
    from superbench.cli.display import RunDisplay, bars, console, split_of
    from superbench.results import tables
    from superbench.runs.runner import run as run_jobs

    with contextlib.nullcontext(progress) if progress else bars() as shown:
        outcome = run_jobs(upstreams, tasks, watcher=RunDisplay(shown), debug=_debug(), **options)
    if table and outcome.results:
        console.print(tables.terminal(outcome.results))
    for ended in outcome.of("absent"):
        console.print("absent", style="yellow", end="")
        console.print(f" {ended.job}: {ended.message}")
    for ended in outcome.of("failed"):
        console.print("failed", style="red", end="")
        console.print(f" {ended.job}: {ended.message}")
    console.print(split_of(outcome))
    return len(outcome.of("failed"))


def _debug() -> bool:
    """Was the command given with --debug?"""
    context = click.get_current_context(silent=True)
    return bool(context and context.obj)
