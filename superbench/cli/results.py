"""`superbench results`: where a result is weak: items, slices with intervals, confusion matrices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from superbench.cli.arguments import AsJson
from superbench.cli.printing import echo_json
from superbench.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from rich.table import Table

    from superbench.contract import Prediction, Score, Task
    from superbench.results import Result
    from superbench.results.confusion import Confusion
    from superbench.results.slices import Slice
    from superbench.system.progress import Reporter

MOST_ITEMS = 5
LONGEST = 40


@dataclass(frozen=True, slots=True)
class Weaknesses:
    """One result: its predictions, their errors, its slices by kind (the worst first), and its confusion matrix."""

    result: Result
    predictions: Sequence[Prediction]
    errors: np.ndarray
    slices: Mapping[str, Sequence[Slice]]
    confusion: Confusion | None


def results(
    folder: Annotated[Path, typer.Argument(help="A folder that `superbench run --out` wrote, or a folder below it", show_default=False)],
    tasks: Annotated[str, typer.Option(help="all, or names of tasks; FILE.py:NAME of an own task, for slices by length in seconds")] = "all",
    data: Annotated[Path | None, typer.Option(help="Folder with the corpora: slices by length in seconds [default: by the words of the reference]", show_default=False)] = None,
    by: Annotated[Path | None, typer.Option(help="A table (.csv, .tsv) with a column id or path, and others to slice by, such as snr", show_default=False)] = None,
    top: Annotated[int, typer.Option(help="How many slices of each kind, and items, are shown", min=1)] = MOST_ITEMS,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show where each result is weak: the worst speakers, labels and lengths with 95 % intervals, the items with the largest errors,
    and the confusion matrix of a classification task (rows: the label, columns: the answer).

    Example: superbench results results/fbank --tasks ks --data /corpora
    """
    from superbench.cli.display import console, stages
    from superbench.system.progress import Silence

    with stages() as reporter:
        found = gathered(folder, tasks, data, by, top, Silence() if as_json else reporter)
    if as_json:
        echo_json([_plain(one) for one in found])
        return
    for one in found:
        for table in _tables(one, top):
            console.print(table)


def gathered(folder: Path, tasks: str, data: Path | None, by: Path | None, top: int, reporter: Reporter) -> list[Weaknesses]:
    """Return the weaknesses of every result of trained heads under a folder; raises `CommandError` if there is none."""
    from superbench import plugins
    from superbench.results import read_results
    from superbench.results.own import task_of
    from superbench.results.slices import read_columns

    listed = [] if tasks == "all" else tasks.split(",")
    names, own = plugins.names_of(listed), [plugins.task(name) for name in listed if plugins.is_file(name)]
    read = {place: one for place, one in read_results(folder).items() if not listed or one.task.name in names}
    trained = {place: one for place, one in read.items() if one.shots is None}
    if not trained:
        found = "only results without training" if read else "no result"
        raise CommandError(f"{folder} has {found} for --tasks {tasks}. Expected results of trained heads.")
    columns, weak = read_columns(by) if by is not None else {}, []
    for number, (place, one) in enumerate(trained.items()):
        reporter.advance("results", number, len(trained))
        task = next((task for task in own if task.card.name == one.task.name), None)
        root = data or (Path() if task else None)
        seconds = {} if root is None else seconds_of(task or task_of(one), root)
        weak.append(_weaknesses(place, one, {"length (s)": seconds, **columns}, top))
    reporter.advance("results", len(trained), len(trained))
    return weak


def _weaknesses(place: Path, result: Result, columns: Mapping[str, Mapping[str, Any]], top: int) -> Weaknesses:
    from superbench.results import read_predictions
    from superbench.results.confusion import confusion
    from superbench.results.item_errors import item_errors
    from superbench.results.own import task_of
    from superbench.results.slices import lengths_of_references, slices

    predictions = read_predictions(place / result.predictions)
    score: Score = task_of(result).score(predictions, result.data.passport.facts)[result.primary]
    if not columns["length (s)"]:
        columns = {**columns, "length (words)": lengths_of_references(predictions)}
    parts = slices(predictions, score, {name: values for name, values in columns.items() if values})
    shown = {
        kind: [part.with_interval(predictions, score) if part in _shown(of_kind, top) else part for part in of_kind]
        for kind, of_kind in parts.items()
    }
    errors, matrix = item_errors(predictions, score), confusion(result.primary, predictions)
    return Weaknesses(result=result, predictions=predictions, errors=errors, slices=shown, confusion=matrix)


def _shown(parts: Sequence[Slice], top: int) -> list[Slice]:
    """Return the worst parts, and the best one."""
    from superbench.results.slices import worst

    return list(dict.fromkeys([worst(parts), *parts[:top], worst(parts[::-1])]))


def seconds_of(task: Task, data: Path) -> dict[str, float]:
    """Return the length of the sound of each test item, in seconds, from the headers of the corpus; empty if it is not there."""
    from superbench.contract import SAMPLE_RATE
    from superbench.contract.corpora import Corpora
    from superbench.data.audio import header
    from superbench.errors import MissingCorpus

    try:
        folds = task.read(Corpora.at(data))
    except MissingCorpus:
        return {}
    seconds = {}
    for item in (item for fold in folds for item in fold.test.items):
        samples, rate = header(item.audio.path)
        whole = samples / rate
        end = whole if item.audio.end is None else min(item.audio.end / SAMPLE_RATE, whole)
        seconds[item.id] = round(end - item.audio.start / SAMPLE_RATE, 3)
    return seconds


# ---------------------------------------------------------------- how it is shown


def _plain(one: Weaknesses) -> dict[str, Any]:
    from dataclasses import asdict

    from superbench.results.slices import worst

    keys = ("kind", "name", "value", "interval", "method")
    return {
        "upstream": one.result.upstream.name, "task": one.result.task.name, "protocol": one.result.task.protocol,
        "metric": one.result.primary, "value": one.result.scores[one.result.primary].value,
        "slices": {
            kind: [{key: getattr(part, key) for key in keys} | {"items": len(part.items)} for part in parts]
            for kind, parts in one.slices.items()
        },
        "worst": {kind: worst(parts).name for kind, parts in one.slices.items()},
        "items": [
            {"id": row.id, "fold": row.fold, "error": None if error != error else round(float(error), 4),
             "reference": row.reference, "prediction": row.prediction}
            for row, error in zip(one.predictions, one.errors, strict=True)
        ],
        "confusion": asdict(one.confusion) if one.confusion else None,
    }  # fmt: skip


def _tables(one: Weaknesses, top: int) -> list[Table]:
    tables = [_slice_table(one, top), *([_item_table(one, top)] if any(error > 0 for error in one.errors) else [])]
    return [*tables, _confusion_table(one.confusion)] if one.confusion else tables


def _slice_table(one: Weaknesses, top: int) -> Table:
    from rich.table import Table

    from superbench.results.slices import LEAST, worst

    score = one.result.scores[one.result.primary]
    digits, title = (
        (1 if score.unit == "%" else 3),
        f"{one.result.upstream.name} · {one.result.task.name} · {one.result.primary}",
    )
    table = Table("slice", "", "items", one.result.primary, "95 % interval", "", title=title, title_justify="left")
    overall = "" if score.ci is None else f"{score.ci[0]:.{digits}f} to {score.ci[1]:.{digits}f}"
    table.add_row("all", "", str(len(one.predictions)), f"{score.value:.{digits}f}", overall, "")
    for kind, parts in one.slices.items():
        table.add_section()
        weakest, strongest = worst(parts), worst(parts[::-1])
        for part in _shown(parts, top):
            interval = "" if part.interval is None else f"{part.interval[0]:.{digits}f} to {part.interval[1]:.{digits}f}"
            remark = {id(weakest): "worst", id(strongest): "best"}.get(id(part), "")
            remark = "" if weakest.value == strongest.value or len(part.items) < LEAST else remark
            table.add_row(kind, _cut(part.name), str(len(part.items)), f"{part.value:.{digits}f}", interval, remark)
    return table


def _item_table(one: Weaknesses, top: int) -> Table:
    from rich.table import Table

    wrong = sum(error > 0 for error in one.errors)
    title = f"The items with the largest errors ({wrong} of {len(one.errors)} have one)"
    table = Table("item", "error", "reference", "prediction", title=title, title_justify="left")
    order = sorted(
        range(len(one.errors)),
        key=lambda place: (-(one.errors[place] if one.errors[place] == one.errors[place] else 0.0), place),
    )
    for place in order[:top]:
        row = one.predictions[place]
        if one.errors[place] > 0:
            table.add_row(_cut(row.id), f"{one.errors[place]:.2f}", _cut(_text(row.reference)), _cut(_text(row.prediction)))
    return table


def _confusion_table(matrix: Confusion) -> Table:
    from rich.table import Table

    title = "Confusion: rows the label, columns the answer" + (
        f"; (other): {matrix.left_out} labels" if matrix.left_out else ""
    )
    table = Table("", *(str(number + 1) for number in range(len(matrix.labels))), "right %", title=title, title_justify="left")
    for number, (label, row, share) in enumerate(zip(matrix.labels, matrix.counts, matrix.recall, strict=True)):
        cells = [str(count) if count else "·" for count in row]
        table.add_row(f"{number + 1} {_cut(label)}", *cells, "" if share is None else f"{share:.1f}")
    return table


def _text(value: Any) -> str:
    from superbench.results.confusion import label_text

    return ", ".join(map(str, value)) if isinstance(value, list) else label_text(value)


def _cut(text: str) -> str:
    from superbench.errors import shortened

    return shortened(text, LONGEST)
