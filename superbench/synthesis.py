"""The miniature corpora of all tasks, and a look at corpora that are there. Each task brings its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from superbench import registry
from superbench.corpora import MARKER, Corpora
from superbench.errors import MissingCorpus, SuperbenchError
from superbench.files import write_text
from superbench.reporting import Reporter


def synthesise(out: Path, seed: int, tasks: Sequence[str], reporter: Reporter) -> float:
    """Write the corpora of `tasks` under `out`; returns the seconds that it took. A folder of corpora of somebody's own is
    refused."""
    began = time.perf_counter()
    found = [registry.task(name) for name in tasks]
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()) and not (out / MARKER).is_file():
        raise SuperbenchError(
            f"{out} is not empty and was not written by `superbench data synth`; to keep your corpora safe nothing was "
            "written. Give --out another folder."
        )
    write_text(out / MARKER, f"miniature corpora, seed {seed}\n")
    for number, task in enumerate(found):
        reporter.advance(f"synthesise {task.card.name}", number, len(found))
        task.synth(out, seed)
        reporter.advance(f"synthesise {task.card.name}", number + 1, len(found))
    return time.perf_counter() - began


def inspect(data: Path, tasks: Sequence[str]) -> Iterator[tuple[str, str, str, str, str]]:
    """For each task: name, corpus, `complete` / `absent` / `damaged`, counts of train/dev/test, a remark."""
    corpora = Corpora.at(data)
    for name in tasks:
        task = registry.task(name)
        card = task.card
        try:
            folds = task.read(corpora)
            missing = _missing(folds)
        except MissingCorpus as error:
            yield name, card.corpus, "absent", "", f"{error} How to get it: {card.obtain}"
            continue
        except SuperbenchError as error:
            yield name, card.corpus, "damaged", "", str(error)
            continue
        counts = "; ".join(f"{len(f.train.items)} / {len(f.dev.items)} / {len(f.test.items)}" for f in folds)
        if missing:
            first = ", ".join(str(path) for path in missing[:3])
            yield name, card.corpus, "damaged", counts, f"{len(missing)} listed files are missing; the first: {first}"
        else:
            yield name, card.corpus, "complete", counts, ""


def _missing(folds: Sequence) -> list[Path]:
    paths = {item.audio.path for fold in folds for split in (fold.train, fold.dev, fold.test) for item in split.items}
    return sorted(path for path in paths if not path.is_file())
