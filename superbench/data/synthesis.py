"""Writes the miniature corpora of all tasks; each task defines its own."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from superbench import plugins
from superbench.contract import Task
from superbench.contract.corpora import MARKER, WRITTEN, Corpora
from superbench.data.fingerprint import lists_of
from superbench.data.passport import counts_of
from superbench.errors import CommandError, SuperbenchError
from superbench.plugins.pair_sets import pair_sets
from superbench.system.files import require_folder, write_text
from superbench.system.processes import without_main
from superbench.system.progress import Reporter, Silence
from superbench.system.ranges import require_whole


def synthesize(out: Path | str, seed: int = 0, tasks: Sequence[str] | str = "all", reporter: Reporter | None = None) -> float:
    """Writes the miniature corpora of `tasks` (names, or all) under `out`; returns the seconds that it took.

    The same seed writes the same bytes. Raises `SuperbenchError` if the folder contains other files, such as real corpora.
    """
    began, out, reporter = time.perf_counter(), Path(out), reporter or Silence()
    require_whole("--seed", seed)
    selected = [task for task in plugins.chosen(tasks).values() if tasks != "all" or task.synth is not None]
    if without := [task.card.name for task in selected if task.synth is None]:
        raise CommandError(
            f"{', '.join(without)}: this task has no miniature corpus (it has no part `synth`). Leave it out of --tasks."
        )
    require_folder(out, f"--out {out}")
    if any(out.iterdir()) and not (out / MARKER).is_file():
        raise SuperbenchError(
            f"{out} is not empty and was not written by `superbench data synth`; to keep your corpora safe nothing was "
            "written. Give --out another folder."
        )
    write_text(out / MARKER, f"miniature corpora, seed {seed}\n")
    for number, task in enumerate(selected):
        reporter.advance(f"synthesize {task.card.name}", number, len(selected))
        with without_main():
            task.synth(out, seed)  # type: ignore[misc]
        _record(task, Corpora(out))
        reporter.advance(f"synthesize {task.card.name}", number + 1, len(selected))
    return time.perf_counter() - began


def synthesize_pairs(out: Path | str, seed: int = 0) -> list[str]:
    """Writes miniature sets of minimal pairs under `out`, in the layouts of the released ones; returns their names.

    The same seed writes the same bytes. Raises `SuperbenchError` if a folder of such a set exists already.
    """
    out = Path(out)
    require_whole("--seed", seed)
    require_folder(out, f"--out {out}")
    sets = [pairs for pairs in pair_sets() if pairs.synth is not None]
    for folder in (out / name for pairs in sets for name in pairs.folders):
        if folder.exists():
            raise SuperbenchError(f"{folder} exists already; nothing was written over it. Give --out another folder.")
    for pairs in sets:
        with without_main():
            pairs.synth(out, seed)  # type: ignore[misc]
    return [pairs.name for pairs in sets]


def _record(task: Task, corpora: Corpora) -> None:
    """Records counts and digests, so that `superbench data check` can recognise a damaged corpus. An existing corpus is not
    written again, and its record stays."""
    recorded = corpora.written()
    if task.card.name not in recorded:
        folds = task.read(corpora)
        recorded[task.card.name] = {"counts": dict(counts_of(folds)), "lists": dict(lists_of(folds))}
        write_text(corpora.root / WRITTEN, json.dumps({"corpora": corpora.passport, "tasks": recorded}, indent=1) + "\n")
