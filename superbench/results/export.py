"""The folder that the official leaderboard takes, `predict/`, made of one upstream's results.

Each task writes its own part (`Task.upload`); any subset of the tasks may be present. What a result cannot give, or gives only
under another protocol, is said in `predict/README.md` and to whoever asked for the folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from superbench import plugins
from superbench.__version__ import __version__
from superbench.contract import Task
from superbench.errors import BadResult, CommandError, SuperbenchError
from superbench.results.files import read_results
from superbench.results.predictions import read_predictions
from superbench.results.result import Result, is_miniature
from superbench.system.files import require_folder, whole
from superbench.system.progress import Reporter, Silence

OFFICIAL = "superb"


@dataclass(frozen=True, slots=True)
class Exported:
    """Where the folder lies, which tasks are in it, and what a person must know before it is sent anywhere."""

    folder: Path
    tasks: tuple[str, ...]
    warnings: tuple[str, ...]


def gathered(folder: Path, tasks: Sequence[str] = ()) -> dict[Path, Result]:
    """The results of one upstream under `folder`, by their folders; `tasks` leaves out others.

    Raises `BadResult` where there is none, `CommandError` where there are several upstreams or a task is absent.
    """
    found = read_results(folder)
    names = sorted({result.upstream.name for result in found.values()})
    if len(names) > 1:
        raise CommandError(
            f"{folder} holds results of {', '.join(names)}; one upstream goes out at a time: give its own folder."
        )
    absent = set(tasks) - {result.task.name for result in found.values()}
    if absent:
        raise CommandError(f"{folder} has no result of {', '.join(sorted(absent))}. Run these tasks, or leave them out.")
    return {place: result for place, result in found.items() if not tasks or result.task.name in tasks}


def predict(folder: Path, out: Path, tasks: Sequence[str] = (), reporter: Reporter | None = None) -> Exported:
    """Write `out/predict/` from the results of one upstream under `folder` (of `tasks` alone, if any are named).

    Raises `BadResult`, `CommandError` (also where `out/predict` holds something), `MissingExtra`.
    """
    results = gathered(folder, tasks)
    target = out / "predict"
    if target.exists() and any(target.iterdir()):
        raise CommandError(f"{target} holds something already. Remove it, or choose another folder with --out.")
    require_folder(target, f"--out {out}")
    known = plugins.tasks()
    files, remarks, written = dict[str, bytes](), list[str](), list[str]()
    for number, (place, result) in enumerate(results.items()):
        (reporter or Silence()).advance("tasks", number, len(results))
        name = result.task.name
        writer = known[name].upload if name in known else None
        if writer is None:
            remarks.append(f"{name}: left out; it is no task of the official leaderboard, or is not installed here.")
            continue
        predictions = read_predictions(place / result.predictions)
        try:
            part = writer(predictions, result.upstream.hop)
        except (KeyError, ValueError, TypeError) as error:
            raise BadResult(
                f"{place / result.predictions} is not what {name} predicts: {error}. Run the task again."
            ) from error
        files |= part.files
        remarks += part.remarks
        written.append(name)
    if not written:
        raise BadResult(f"{folder} holds no result of a task that the official leaderboard has.")
    warnings = (*_doubts(list(results.values()), known), *remarks)
    files["README.md"] = _readme(list(results.values()), written, warnings).encode()
    _write(target, files)
    return Exported(target, tuple(written), warnings)


def _doubts(some: Sequence[Result], known: Mapping[str, Task]) -> Iterator[str]:
    """What keeps the numbers from being official ones, and which tasks are missing."""
    for protocol in sorted({result.task.protocol for result in some} - {OFFICIAL}):
        names = ", ".join(result.task.name for result in some if result.task.protocol == protocol)
        yield f"{names}: made under protocol {protocol}, not {OFFICIAL}: these numbers may not stand beside official ones."
    if small := ", ".join(result.task.name for result in some if is_miniature(result)):
        yield f"{small}: made on synthetic miniatures, not on the official corpora."
    for result in some:
        if result.deviations:
            yield f"{result.task.name}: deviates from the recipe: {'; '.join(result.deviations)}."
    if len({result.upstream.revision for result in some}) > 1:
        yield "The results come from different revisions of the upstream: run the older ones again."
    official = [name for name, task in known.items() if task.upload]
    if absent := [name for name in official if name not in {result.task.name for result in some}]:
        yield f"Not there: {', '.join(absent)}. Any subset may be sent; the SUPERB score needs all."


def _readme(results: Sequence[Result], written: Sequence[str], warnings: Sequence[str]) -> str:
    facts = results[0].upstream
    rows = [
        f"| {result.task.name} | {result.task.protocol} | {name} | {score.value:.4f}{' %' if score.unit == '%' else ''} |"
        for result in results
        if result.task.name in written
        for name, score in result.scores.items()
    ]
    macs = "not counted" if facts.macs is None else f"{facts.macs / 1e9:.2f} G"
    return "\n".join(
        [
            f"# Predictions of {facts.name}",
            "",
            f"Written by superbench {__version__} in the layout that the official SUPERB leaderboard takes.",
            f"Stride {facts.hop / 16:g} ms, {facts.params:,} parameters, MACs on the official 32 lengths: {macs}.",
            "",
            "| task | protocol | metric | value of the result |",
            "|---|---|---|---|",
            *rows,
            "",
            "## Read this first",
            "",
            *(f"* {warning}" for warning in warnings),
            *(["Nothing to say: official recipes, all tasks."] if not warnings else []),
            "",
        ]
    )


def _write(target: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
            raise SuperbenchError(f"A task wants to write {name!r}, outside of {target}. Tell its authors.")
        with whole(target / name) as temporary:
            temporary.write_bytes(content)
