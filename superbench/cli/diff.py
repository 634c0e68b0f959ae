"""`superbench diff`: two results, or one and a published row, beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from superbench.cli.arguments import AsJson
from superbench.cli.printing import echo_json

if TYPE_CHECKING:
    from superbench.results.diff.compare import Comparison, Metric
    from superbench.results.diff.differences import Difference
    from superbench.results.rows import Cell

WIDEST = 60


def diff(
    a: Annotated[str, typer.Argument(help="A result folder, a result.json, an upstream's folder, or 'published:HuBERT Base'", show_default=False)],
    b: Annotated[str, typer.Argument(help="The other one", show_default=False)],
    task: Annotated[str | None, typer.Option(help="These tasks only: ks,pr [default: all that both have]", show_default=False)] = None,
    items: Annotated[int, typer.Option(help="How many test items to show for either side: those that speak for it most", min=0)] = 5,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Why do two scores differ? Shows what differs in how they were made, the weightiest first, and by how much they differ.

    Where both have predictions on the same test items, the difference is paired: its 95 % interval comes from resampling the
    speakers (or queries) of both at once, and the items on which they differ most are shown.

    Example: superbench diff results/apc results/fbank --task ks

    Example: superbench diff results/hubert "published:HuBERT Base"
    """
    from superbench.cli.display import console, stages
    from superbench.results.diff.compare import plain
    from superbench.results.diff.sides import side
    from superbench.runs.commands import compare

    one, other = side(a), side(b)
    names = list(filter(None, task.split(","))) if task else []
    if as_json:
        echo_json(plain(one, other, compare(one, other, names, items)))
        return
    with stages() as reporter:
        found = compare(one, other, names, items, reporter)
    for label, given, here in (("A", a, one), ("B", b, other)):
        console.print(f"{label} = {here.name}{'' if here.row else f' ({given})'}", markup=False)
    everywhere = (
        [one for one in found[0].differences if all(one in other.differences for other in found)] if len(found) > 1 else []
    )
    if everywhere:
        console.print("\nin every task", style="bold")
        _show_differences(everywhere)
    for comparison in found:
        _show(comparison, everywhere)
    for label, here, there in (("A", one, other), ("B", other, one)):
        if only := [name for name in here.tasks if name not in there.tasks]:
            console.print(f"Only {label} has {', '.join(only)}.", markup=False)


def _show_differences(differences: Sequence[Difference]) -> None:
    from rich.table import Table
    from rich.text import Text

    from superbench.cli.display import console

    table = Table("what differs", "A", "B", "why it matters")
    for one in differences:
        table.add_row(*(Text(text) for text in (one.what, _short(one.a), _short(one.b), one.why)))
    console.print(table)


def _show(comparison: Comparison, told: Sequence[Difference]) -> None:
    """A task's scores, what differs in its making but for what was told already, and its items."""
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
    if own := [one for one in comparison.differences if one not in told]:
        _show_differences(own)
    if comparison.disagreements:
        ranked = isinstance(comparison.disagreements[0].a, (int, float))
        said = Table("test item", "reference", "A", "B", f"speaks for, by {'% of ranks' if ranked else 'points'}")
        for item in comparison.disagreements:
            texts = (item.id, _short(item.reference), _short(item.a), _short(item.b))
            said.add_row(*map(Text, texts), f"{'B' if item.gain > 0 else 'A'} {abs(item.gain):.3g}")
        console.print(said)


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
    found, digits = metric.paired, _digits(metric)
    between = f" ({found.interval[0]:+.{digits}f} – {found.interval[1]:+.{digits}f})" if found.interval else ""
    verdict = {"a": "A is better", "b": "B is better", "tie": "no sure difference"}[found.verdict]
    return f"{found.difference:+.{digits}f}{between}", verdict


def _digits(metric: Metric) -> int:
    return 3 if metric.unit == "fraction" else 2


def _short(value: Any) -> str:
    """A value for a person, cut where it is long."""
    if value is None:
        return "–"
    if isinstance(value, dict):
        text = ", ".join(f"{key} {_short(one)}" for key, one in value.items())
    elif isinstance(value, (list, tuple)):
        text = "; ".join(_short(one) for one in value)
    else:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"
