"""`superbench plan`: forecasts the cost of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superbench.cli.arguments import (
    AsJson,
    Device,
    Limit,
    MaxSteps,
    Protocol,
    Rates,
    Seeds,
    StoreFolder,
    StoreFormats,
    Tasks,
    Variants,
    corpora_of,
    numbers,
)
from superbench.cli.printing import echo_json
from superbench.cli.remaining_time import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from superbench.runs.costs import SoundCost, TaskCost
    from superbench.runs.forecast import Forecast

CHOSEN = "✓"


def plan(
    upstream: Annotated[str, typer.Argument(help="[alias=]spec, as for run", show_default=False)],
    tasks: Tasks = "all",
    data: Annotated[Path | None, typer.Option(help="Folder with the corpora [default: the sizes of the official corpora]", show_default=False)] = None,
    protocol: Protocol = None,
    device: Device = "auto",
    lr: Rates = None,
    seeds: Seeds = "0",
    max_steps: MaxSteps = None,
    limit: Limit = None,
    variant: Variants = None,
    store_format: StoreFormats = "float16",
    gpus: Annotated[int, typer.Option(help="GPUs like this device that share the work, one worker on each", min=1)] = 1,
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Forecast the cost of a run: passes through the model, disk space, time of the upstream and of the heads; and how features
    would be stored.

    Nothing is trained or stored. The speed of the upstream and of each head is measured on this device, on noise; the rest is
    estimated from it.

    Example: superbench plan torchaudio/hubert_base --tasks all --protocol superb-once
    """
    from superbench.cli.display import name_broken, stages
    from superbench.runs.commands import forecast
    from superbench.system.progress import Silence

    if tasks == "all":
        name_broken()
    with stages() as reporter:
        cost = forecast(
            upstream, tasks, data=corpora_of(data, tasks), store=store, reporter=Silence() if as_json else reporter,
            protocol=protocol, device=device, learning_rates=numbers("--lr", lr, float),  # type: ignore[arg-type]
            seeds=numbers("--seeds", seeds, int) or (), max_steps=max_steps, limit=limit, variants=variant or (),
            gpus=gpus, store_format=store_format,  # type: ignore[arg-type]
        )  # fmt: skip
    _print(cost, as_json=as_json)
    if cost.absent and tasks != "all":
        raise typer.Exit(1)


def _print(forecast: Forecast, *, as_json: bool) -> None:
    if as_json:
        echo_json(forecast.plain())
    else:
        show(forecast)


# ---------------------------------------------------------------- how it is shown


def show(forecast: Forecast) -> None:
    """Print a forecast: the table, and its assumptions."""
    from superbench.cli.display import console

    console.print(_table(forecast))
    for line in _remarks(forecast):
        console.print(line, markup=False)
    for task, reason in forecast.absent.items():
        console.print("absent", style="yellow", end="")
        console.print(f" {task}: {reason}")


def _table(forecast: Forecast) -> Table:
    """Return a table with a row for each task; tasks that share audio are listed together."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
    total = forecast.plan
    for header, footer in (
        ("task", "sum"), ("sound", ""), ("hours\ntrain/dev/test", ""), ("utter-\nances", ""), ("updates\n× batch", ""),
        ("stored\nas", ""), ("GB on disk if\nmean/frames/shared", _gigabytes(total.bytes)), ("passes", ""),
        ("through\nmodel, h", _hours(total.model_hours)), ("time\nhere", duration(total.seconds)),
    ):  # fmt: skip
        table.add_column(header, footer, justify="left" if header in ("task", "sound") else "right", no_wrap=header != "sound")
    costs = {cost.task: cost for cost in total.tasks}
    for sound in total.sounds:
        for task in sound.tasks:
            table.add_row(*_of_task(costs[task]), sound.keep, *_of_sound(sound, costs[task], forecast.speed.seconds_per_second))
    return table


def _of_task(cost: TaskCost) -> list[str]:
    from superbench.contract.sizes import different, folds_of

    folds = folds_of(cost.sizes)
    mean = [sum(fold[split].hours for fold in folds) / max(len(folds), 1) for split in ("train", "dev", "test")]
    hours = "/".join(_hours(value) if value else "–" for value in mean)
    return [
        cost.task, cost.sound, f"{len(folds)} × {hours}" if len(folds) > 1 else hours,
        f"{different(cost.sizes).utterances:,}".replace(",", " "),
        f"{len(folds)} × {_steps(cost)}" if len(folds) > 1 and cost.steps else _steps(cost),
    ]  # fmt: skip


def _steps(cost: TaskCost) -> str:
    thousands = f"{cost.steps // 1000}k" if cost.steps and cost.steps % 1000 == 0 else str(cost.steps)
    return f"{thousands} × {cost.batch}" if cost.steps else "–"


def _of_sound(sound: SoundCost, cost: TaskCost, rate: float) -> list[str]:
    """Return disk space, passes, hours and time. Stored features are counted in the row of the first task that uses them;
    features that are not stored are counted for each task."""
    from superbench.features.storage_policy import KEEPS

    first = cost.task == sound.tasks[0]
    if sound.keep != "shared" and not first:
        return [f"with {sound.tasks[0]}", "", "", ""]
    hours = cost.shared_hours if sound.keep == "shared" else sound.model_hours
    sizes = {keep: _gigabytes(size) + (CHOSEN if keep == sound.keep else "") for keep, size in sound.bytes.items()}
    disk = "/".join(sizes.get(keep, "–") for keep in KEEPS) if first else f"with {sound.tasks[0]}"
    return [disk, f"{hours / max(sound.hours, 1e-12):.1f}", _hours(hours), duration(hours * 3600 * rate)]


def _remarks(forecast: Forecast) -> Iterator[str]:
    total, speed = forecast.plan, forecast.speed
    sizes = (
        "sizes of the official corpora, from the tasks' cards"
        if forecast.source == "official"
        else "sizes of the given corpora"
    )
    yield f"{forecast.upstream}: {forecast.shape.layers} layers of {forecast.shape.dim}, hop {forecast.shape.hop}; protocol {forecast.protocol}; {sizes}."
    yield (
        f"Speed: {speed.seconds_per_second:.3g} s of work per second of sound ({speed.utterances} pieces of noise, "
        f"{speed.sound_seconds:.0f} s in total, took {speed.work_seconds:.1f} s on {speed.device} with {speed.threads} threads, after a warm-up)."
    )
    yield f"Free space on the disk of {forecast.store}: {_gigabytes(total.room)} GB; the run needs {_gigabytes(total.bytes)} GB of it."
    if any(sound.keep == "shared" for sound in total.sounds):
        needed = sum(sound.bytes[sound.reads] for sound in total.sounds)
        hours = sum(sound.hours_if[sound.reads] for sound in total.sounds)
        yield f"With {_gigabytes(needed)} GB of free space all features would be stored: {_hours(hours)} h through the model."
    yield from _formats(forecast)
    yield from _time(forecast)
    yield from _reference(forecast)
    if fresh := [f"{cost.task} {_hours(cost.fresh_hours)} h" for cost in total.tasks if cost.fresh_hours]:
        yield f"Redrawn at each access, so computed again, once for all probes: {', '.join(fresh)} of these hours."
    if forecast.deviations:
        yield f"Deviations from the recipes: {'; '.join(forecast.deviations)}."
    yield f"Not in this forecast: {', '.join(forecast.not_forecast)}."


def _formats(forecast: Forecast) -> Iterator[str]:
    formats = [sound.formats for sound in forecast.plan.sounds if sound.formats]
    if formats:
        half, small = (_gigabytes(sum(sizes[name] for sizes in formats)) for name in ("float16", "int8"))
        yield f"All frames take {half} GB in half precision, {small} GB in 8 bits per value (--store-format int8)."


def _time(forecast: Forecast) -> Iterator[str]:
    """Yield the time of the heads and of the complete run, with what is measured and what is estimated."""
    known = {head.task: head.seconds for head in forecast.heads if head.seconds is not None}
    if known:
        each = ", ".join(f"{task} {duration(seconds)}" for task, seconds in known.items())
        yield f"Heads, in addition, very roughly: {each}; sum {duration(sum(known.values()))}."
        yield (
            "Of the heads, one forward and backward pass was measured on noise; the rest is that time multiplied by frames or "
            "utterances, updates and probes. What probes share counts for each of them, so it tends to be too long."
        )
    spread = forecast.spread
    if unknown := [f"{head.task} ({head.reason})" for head in forecast.heads if head.seconds is None]:
        yield f"Not known: the time after extraction of {', '.join(unknown)}."
    workers = "1 worker" if spread.workers == 1 else f"{spread.workers} workers, each on a GPU like this device"
    yield (
        f"With {workers}: about {duration(spread.seconds)}, of which {duration(spread.extract_seconds)} for features that are stored "
        f"(divided by shards) and {duration(spread.job_seconds)} for the jobs (one worker each, the longest first)."
    )


def _reference(forecast: Forecast) -> Iterator[str]:
    total, rate = forecast.plan, forecast.speed.seconds_per_second
    probes = ", ".join(str(number) for number in sorted({cost.probes for cost in total.tasks if cost.probes}))
    if not probes:  # nothing is trained, so the reference has no such method
        return
    single, sweep = total.reference_hours, total.reference_hours_sweep
    ours = max(total.model_hours, 1e-12)
    yield (
        f"Reference method, with the model in every step: {_hours(single)} h for one probe per task ({_times(single / ours)} times as long, "
        f"{duration(single * 3600 * rate)} here), {_hours(sweep)} h for the complete sweep of {probes} probes "
        f"({_times(sweep / ours)} times, {duration(sweep * 3600 * rate)})."
    )


def _hours(value: float) -> str:
    digits = 0 if value >= 1000 else 1 if value >= 0.1 or value == 0 else 3
    return f"{value:,.{digits}f}".replace(",", " ")


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def _gigabytes(size: int) -> str:
    value = size / 1e9
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.3g}"
