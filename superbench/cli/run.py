"""`superbench run`: runs tasks on upstreams."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer

from superbench.cli.arguments import (
    DATA,
    Device,
    Draws,
    Limit,
    MaxSteps,
    Protocol,
    Rates,
    Seeds,
    ShotNumbers,
    StoreFolder,
    StoreFormats,
    Tasks,
    Track,
    Variants,
    corpora_of,
    layers as layer_numbers,
    numbers,
    shots,
)

if TYPE_CHECKING:
    from rich.progress import Progress


def run(
    upstreams: Annotated[list[str], typer.Argument(help="[alias=]spec: apc@FILE, apc:untrained, fbank, hf/ID, torchaudio/BUNDLE, s3prl/ENTRY, file.py:Class[:OPTIONS][@FILE]; a quoted pattern of files makes a row for each", show_default=False)],
    tasks: Tasks = "all",
    data: Annotated[Path | None, typer.Option(help="Folder with the corpora [default: data; own tasks need none]", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="Folder for results")] = Path("results"),
    protocol: Protocol = None, device: Device = "auto",
    lr: Rates = None, seeds: Seeds = "0", max_steps: MaxSteps = None, limit: Limit = None,
    layers: Annotated[str | None, typer.Option("--layers", help="Use the weighted sum of these hidden states only: 0,6,12 or 0-12", show_default=False)] = None,
    layer: Annotated[int | None, typer.Option(help="Use this hidden state only: the same as --layers N", min=0, show_default=False)] = None,
    chunk: Annotated[float | None, typer.Option(help="Split audio longer than so many seconds into chunks, to bound memory; features differ slightly at chunk boundaries", min=1, show_default=False)] = None,
    batch_seconds: Annotated[float | None, typer.Option(help="Seconds of sound that pass through the model at once, with padding [default: 60 on a CPU, 600 on a GPU]; features of other batches differ in their last digits, so they are stored apart and recorded as a deviation", min=1, show_default=False)] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16, for the matrix products of the upstream [default: bfloat16 on a GPU that supports it, except with protocol superb; else float32]", show_default=False)] = None,
    store_format: StoreFormats = "float16",
    variant: Variants = None, examples: ShotNumbers = None, draws: Draws = 10,
    workers: Annotated[int | None, typer.Option(help="Number of worker processes [default: depends on the machine]", min=1, show_default=False)] = None,
    readers: Annotated[int | None, typer.Option(help="Threads of each worker that decode sound; the number changes no result [default: the cores, divided among the workers]", min=1, show_default=False)] = None,
    engine: Annotated[str, typer.Option(help="local (processes of this machine), ray or slurm: see the page Run on many machines")] = "local",
    address: Annotated[str | None, typer.Option(help="Ray cluster to use, HOST:PORT or auto [default: start one on this machine]", show_default=False)] = None,
    slurm: Annotated[str | None, typer.Option(help="Settings of sbatch: partition=gpu,time=240,gpus_per_node=1,array_parallelism=8; cluster=local runs the same tasks on this machine", show_default=False)] = None,
    detach: Annotated[bool, typer.Option("--detach", help="With --engine slurm: return after the submission; see superbench status")] = False,
    store: StoreFolder = None,
    store_per_node: Annotated[bool, typer.Option("--store-per-node", help="With --engine ray: the machines share no file system; each has its own store, and results are sent back")] = False,
    track: Track = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the jobs that would run, their corpora, recipes and cost; extract, train and write nothing")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Run finished jobs again, and extract stored features again")] = False,
    store_gb: Annotated[float | None, typer.Option(help="Largest size of the store in GB: the least recently used features are evicted, and frames that do not fit are not stored [default: the free disk space]", min=0, show_default=False)] = None,
) -> None:  # fmt: skip
    """Run downstream tasks on frozen upstreams.

    Sound passes through the model once; tasks, learning rates and later runs share the stored features. To resume, repeat the
    command: finished jobs run again only if something changed. Results: `OUT/<upstream>[--<options>]/<task>/result.json`.
    Example: superbench run fbank mine=hf/./my-model --tasks ks,ic,er --data /corpora --out results
    """
    _execute(upstreams, tasks, dry_run, {
        "data": corpora_of(data, tasks) or DATA, "out": out, "protocol": protocol, "device": device, "learning_rates": numbers("--lr", lr, float),
        "seeds": numbers("--seeds", seeds, int) or (), "max_steps": max_steps, "layer": layer, "layers": layer_numbers(layers), "chunk_seconds": chunk,
        "batch_seconds": batch_seconds, "precision": precision, "store_format": store_format, "limit": limit, "variants": variant or (),
        "workers": workers, "readers": readers, "store": store, "store_gb": store_gb, "engine": engine, "address": address, "slurm": slurm,
        "detach": detach, "store_per_node": store_per_node, "redo": redo, "track": track, "shots": shots(examples), "draws": draws,
    })  # fmt: skip


def _execute(upstreams: list[str], tasks: str, dry_run: bool, options: dict[str, Any]) -> None:
    """Print what would run, or run it; a failed job makes the exit status 1."""
    if dry_run:
        from superbench.cli.dry_run import rehearse

        rehearse(upstreams, tasks, **options)
    elif perform(upstreams, tasks, **options):
        raise typer.Exit(1)


def perform(upstreams: list[str], tasks: str, *, table: bool = True, progress: Progress | None = None, **options: Any) -> int:
    """Run with a display (its bars are added to `progress`, if given), then print the table (unless `table` is False), failed
    jobs and the time of each stage; return the number of failed jobs."""
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
    """Return whether the command was given with --debug."""
    context = click.get_current_context(silent=True)
    return bool(context and context.obj)
