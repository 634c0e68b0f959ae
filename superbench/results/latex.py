r"""Results as LaTeX: a `booktabs` table for each group, upstreams in rows and tasks in columns, in the order of the SUPERB
paper.

The order is that of the columns of the published table; metrics that are not published come last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from superbench.results.published import published_order
from superbench.results.ranking import leaders
from superbench.results.rows import Column, Group, Row
from superbench.system.spelling import in_latex, visible

DAGGER = r"$^\dagger$"
SHORTENED = r"Deviates from the recipe of its protocol (fewer updates, other learning rates, a variant), and is not ranked:"


def table(group: Group, present: Sequence[Column], cell_text: Callable[[Row, Column], str], above: Sequence[str] = ()) -> str:
    r"""Returns the table of a group of trained heads; lines of `above` become comments. The best value of a column is bold. A
    footnote explains the dagger, if there is one."""
    order = published_order()
    columns = sorted(present, key=lambda column: order.get(column.published, len(order)))
    best = {column.key: leaders(group.rows, column)[0] for column in columns}
    lines = [rf"% protocol {group.protocol}; needs \usepackage{{booktabs}}", *(f"% {visible(line)}" for line in above)]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule", *_heads(columns), r"\midrule"]
    for row in group.rows:
        cells = [in_cell(cell_text(row, column), id(row) in best[column.key]) for column in columns]
        lines.append(" & ".join([in_latex(row.name), *cells]) + r" \\")
    lines.append(r"\bottomrule")
    if any(row.shortened for row in group.rows):
        lines.append(rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\footnotesize {DAGGER}{_footnote(group)}}} \\")
    return "\n".join([*lines, r"\end{tabular}", ""])


def in_cell(text: str, best: bool) -> str:
    """Returns the text of a cell for LaTeX, bold if it is the best."""
    text = text.replace(" ±", r"\,$\pm$\,").replace("–", "--").replace("†", DAGGER)
    return rf"\textbf{{{text}}}" if best else text


def _heads(columns: Sequence[Column]) -> list[str]:
    """Returns two lines of heads: tasks, and metrics with their directions."""
    arrows = {True: r"$\uparrow$", False: r"$\downarrow$"}
    tasks = ["", *(in_latex(column.task.upper()) for column in columns)]
    metrics = ["upstream"]
    metrics += [f"{in_latex(column.metric.replace('_', ' '))} {arrows[column.higher_is_better]}" for column in columns]
    return [" & ".join(tasks).strip() + r" \\", " & ".join(metrics) + r" \\"]


def _footnote(group: Group) -> str:
    """Returns the explanation of the dagger, with the deviations of these rows."""
    deviations = dict.fromkeys(line for row in group.rows for cell in row.cells.values() for line in cell.deviations)
    return f"{SHORTENED} {in_latex('; '.join(deviations))}."
