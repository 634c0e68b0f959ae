"""Writes the upload folder of the official leaderboard, `predict/`, from the results of one upstream.

Each task writes its own files (`Task.upload`); any subset of the tasks may be present. Warnings, such as missing tasks or
another protocol, are written to `predict/README.md` and returned to the caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from superbench import plugins
from superbench.__version__ import __version__
from superbench.contract import UNTRAINED, Task
from superbench.errors import BadResult, CommandError, SuperbenchError
from superbench.results.files import name_of, read_results, read_whole_results
from superbench.results.predictions import read_predictions
from superbench.results.result import Result, is_miniature
from superbench.system.files import require_folder, whole
from superbench.system.progress import Reporter, Silence

OFFICIAL = "superb"


@dataclass(frozen=True, slots=True)
class Exported:
    """The folder that was written, the tasks in it, and warnings that the user must read before an upload."""

    folder: Path
    tasks: tuple[str, ...]
    warnings: tuple[str, ...]


def gathered(folder: Path, tasks: Sequence[str] = ()) -> dict[Path, Result]:
    """Return the results of trained heads of one upstream under `folder`, by their folders (only those of `tasks`, if given).

    Results of protocols that train nothing are left out: neither the official leaderboard nor a hub has a place for them.
    Raises `BadResult` if there is none or if one was changed since it was written, `CommandError` if there are several
    upstreams or if a task is missing.
    """
    results = {place: result for place, result in read_whole_results(folder).items() if result.task.protocol not in UNTRAINED}
    if not results:
        raise BadResult(
            f"{folder} contains only results of protocols that train nothing ({', '.join(sorted(UNTRAINED))}); they are not "
            "exported. Run the tasks with trained heads, or read these results with `superbench report`."
        )
    names = sorted({result.upstream.name for result in results.values()})
    if len(names) > 1:
        raise CommandError(
            f"{folder} contains results of {', '.join(names)}, but one upstream is exported at a time. Give its own folder."
        )
    absent = set(tasks) - {result.task.name for result in results.values()}
    if absent:
        raise CommandError(
            f"{folder} has no result of {', '.join(sorted(absent))}. Run these tasks, or remove them from --tasks."
        )
    return {result_folder: result for result_folder, result in results.items() if not tasks or result.task.name in tasks}


def left_out(folder: Path) -> Iterator[str]:
    """Yield a line that lists the results under `folder` which are not exported, if there are any."""
    names = sorted(name_of(result) for result in read_results(folder).values() if result.task.protocol in UNTRAINED)
    if names:
        yield f"Left out: {', '.join(names)}. Nothing was trained for them, and only scores of trained heads are exported."


def predict(folder: Path, out: Path, tasks: Sequence[str] = (), reporter: Reporter | None = None) -> Exported:
    """Write `out/predict/` from the results of one upstream under `folder` (only of `tasks`, if given).

    Raises `BadResult`, `CommandError` (also if `out/predict` is not empty), `MissingExtra`.
    """
    results = gathered(folder, tasks)
    target = out / "predict"
    if target.exists() and any(target.iterdir()):
        raise CommandError(f"{target} is not empty. Remove it, or choose another folder with --out.")
    require_folder(target, f"--out {out}")
    known = plugins.tasks()
    files, remarks, written = dict[str, bytes](), list[str](), list[str]()
    for number, (result_folder, result) in enumerate(results.items()):
        (reporter or Silence()).advance("tasks", number, len(results))
        name = result.task.name
        writer = known[name].upload if name in known else None
        if writer is None:
            remarks.append(f"{name}: left out; it is not a task of the official leaderboard, or it is not installed here.")
            continue
        predictions = read_predictions(result_folder / result.predictions)
        try:
            part = writer(predictions, result.upstream.hop)
        except (KeyError, ValueError, TypeError) as error:
            raise BadResult(
                f"{result_folder / result.predictions} does not contain predictions of {name}: {error}. Run the task again."
            ) from error
        files |= part.files
        remarks += part.remarks
        written.append(name)
    if not written:
        raise BadResult(f"{folder} contains no result of a task of the official leaderboard.")
    warnings = (*_doubts(list(results.values()), known), *remarks, *left_out(folder))
    files["README.md"] = _readme(list(results.values()), written, warnings).encode()
    _write(target, files)
    return Exported(target, tuple(written), warnings)


def _doubts(results: Sequence[Result], known: Mapping[str, Task]) -> Iterator[str]:
    """Yield the reasons why the scores are not official, and the missing tasks."""
    for protocol in sorted({result.task.protocol for result in results} - {OFFICIAL}):
        names = ", ".join(result.task.name for result in results if result.task.protocol == protocol)
        yield f"{names}: made with protocol {protocol}, not {OFFICIAL}: these scores cannot be compared with official ones."
    if small := ", ".join(result.task.name for result in results if is_miniature(result)):
        yield f"{small}: made on synthetic miniature corpora, not on the official corpora."
    for result in results:
        if result.deviations:
            yield f"{result.task.name}: deviates from the recipe: {'; '.join(result.deviations)}."
    if len({result.upstream.revision for result in results}) > 1:
        yield "The results come from different revisions of the upstream: run the older ones again."
    official = [name for name, task in known.items() if task.upload]
    if absent := [name for name in official if name not in {result.task.name for result in results}]:
        yield f"Missing tasks: {', '.join(absent)}. Any subset may be submitted; the SUPERB score needs all tasks."


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
            f"Written by superbench {__version__} in the layout of the official SUPERB leaderboard.",
            f"Stride {facts.hop / 16:g} ms, {facts.params:,} parameters, MACs on the official 32 lengths: {macs}.",
            "",
            "| task | protocol | metric | value of the result |",
            "|---|---|---|---|",
            *rows,
            "",
            "## Read this first",
            "",
            *(f"* {warning}" for warning in warnings),
            *(["No warnings: official recipes, all tasks."] if not warnings else []),
            "",
        ]
    )


def _write(target: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
            raise SuperbenchError(f"A task tries to write {name!r}, outside of {target}. Report this to its authors.")
        with whole(target / name) as temporary:
            temporary.write_bytes(content)
