"""`superbench diff`: compares two results, or a result and a published row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from superbench.cli.arguments import AsJson
from superbench.cli.printing import echo_json

if TYPE_CHECKING:
    from superbench.results.diff.compare import Comparison
    from superbench.results.diff.differences import Difference
    from superbench.results.diff.metric import Metric
    from superbench.results.diff.sides import Side
    from superbench.results.rows import Cell

WIDEST = 60


def diff(
    a: Annotated[str, typer.Argument(help="A result folder, a result.json, an upstream's folder, or 'published:HuBERT Base'", show_default=False)],
    b: Annotated[str, typer.Argument(help="The other one", show_default=False)],
    tasks: Annotated[str | None, typer.Option(help="These tasks only: ks,pr [default: all that both have]", show_default=False)] = None,
    items: Annotated[int, typer.Option(help="Number of test items to show for each side: those on which it is better by most", min=0)] = 5,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Explain why two scores differ: lists the differences of the two runs, the most important first, and of the scores.

    If both have predictions on the same test items, the difference is paired: its 95 % interval is computed by resampling the
    speakers (or queries) of both together, and the items on which they differ most are shown.

    Example: superbench diff results/apc results/fbank --tasks ks

    Example: superbench diff results/hubert "published:HuBERT Base"
    """
    from superbench import plugins
    from superbench.cli.display import stages
    from superbench.results.diff.compare import plain
    from superbench.results.diff.sides import side
    from superbench.runs.commands import compare

    first, second = side(a), side(b)
    names = plugins.names_of(list(filter(None, tasks.split(",")))) if tasks else []
    if as_json:
        echo_json(plain(first, second, compare(first, second, names, items)))
        return
    with stages() as reporter:
        comparisons = compare(first, second, names, items, reporter)
    _print(comparisons, (a, first), (b, second))


def _print(comparisons: Sequence[Comparison], *sides: tuple[str, Side]) -> None:
    """Print the comparisons; `sides` are the argument of each side and what was read from it."""
    from superbench.cli.display import console

    (a, first), (b, second) = sides
    for label, argument, side in (("A", a, first), ("B", b, second)):
        console.print(f"{label} = {side.name}{'' if side.row else f' ({argument})'}", markup=False)
    common = []
    if len(comparisons) > 1:
        common = [fact for fact in comparisons[0].differences if all(fact in task.differences for task in comparisons)]
    if common:
        console.print("\nin every task", style="bold")
        _show_differences(common)
    for comparison in comparisons:
        _show(comparison, common)
    for label, side, other in (("A", first, second), ("B", second, first)):
        if only := [name for name in side.tasks if name not in other.tasks]:
            console.print(f"Only {label} has {', '.join(only)}.", markup=False)


def _show_differences(differences: Sequence[Difference]) -> None:
    from rich.table import Table
    from rich.text import Text

    from superbench.cli.display import console

    table = Table("what differs", "A", "B", "why it matters")
    for fact in differences:
        table.add_row(*(Text(text) for text in (fact.what, _short(fact.a), _short(fact.b), fact.why)))
    console.print(table)


def _show(comparison: Comparison, shown: Sequence[Difference]) -> None:
    """Print the scores of a task, the differences that are not in `shown`, and the items that differ most."""
    from rich.table import Table
    from rich.text import Text

    from superbench.cli.display import console

    console.print(f"\n{comparison.task}", style="bold")
    scores = Table("metric", "A", "B", "B − A, paired", "")
    for metric in comparison.metrics:
        scores.add_row(_title(metric), _cell(metric, metric.a), _cell(metric, metric.b), *_paired(metric))
    console.print(scores)
    if comparison.unpaired:
        console.print(f"Not paired: {comparison.unpaired}.", markup=False)
    for warning in comparison.warnings:
        console.print(Text(f"! {warning}", style="yellow"))
    if further := [fact for fact in comparison.differences if fact not in shown]:
        _show_differences(further)
    if comparison.disagreements:
        ranked = isinstance(comparison.disagreements[0].a, (int, float))
        table = Table("test item", "reference", "A", "B", f"better, by {'% of ranks' if ranked else 'points'}")
        for item in comparison.disagreements:
            texts = (item.id, _short(item.reference), _short(item.a), _short(item.b))
            table.add_row(*map(Text, texts), f"{'B' if item.gain > 0 else 'A'} {abs(item.gain):.3g}")
        console.print(table)


def _title(metric: Metric) -> str:
    return f"{metric.name.replace('_', ' ')} {'↑' if metric.higher_is_better else '↓'}"


def _cell(metric: Metric, cell: Cell | None) -> str:
    if cell is None:
        return "–"
    digits = _digits(metric)
    between = f" ({cell.interval[0]:.{digits}f} – {cell.interval[1]:.{digits}f})" if cell.interval else ""
    return f"{cell.value:.{digits}f}{between}"


def _paired(metric: Metric) -> tuple[str, str]:
    if metric.paired is None:
        if metric.a is None or metric.b is None:
            return "", ""
        return f"{metric.b.value - metric.a.value:+.{_digits(metric)}f} (not paired)", ""
    paired, digits = metric.paired, _digits(metric)
    between = f" ({paired.interval[0]:+.{digits}f} – {paired.interval[1]:+.{digits}f})" if paired.interval else ""
    verdict = {"a": "A is better", "b": "B is better", "tie": "no significant difference"}[paired.verdict]
    return f"{paired.difference:+.{digits}f}{between}", verdict


def _digits(metric: Metric) -> int:
    return 3 if metric.unit == "fraction" else 2


def _short(value: Any) -> str:
    """Return a value as text, cut after `WIDEST` characters."""
    if value is None:
        return "–"
    if isinstance(value, dict):
        text = ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        text = "; ".join(_short(item) for item in value)
    else:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"
