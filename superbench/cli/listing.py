"""`superbench list`: the upstreams, tasks and hubs that there are."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from superbench.cli.arguments import AsJson
from superbench.cli.printing import echo_json


class Kind(str, Enum):
    """What can be listed."""

    upstreams = "upstreams"
    tasks = "tasks"


def list_(
    kind: Annotated[Kind, typer.Argument(help="upstreams or tasks", show_default=False)],
    hub: Annotated[str | None, typer.Option(help="Names that a hub offers: torchaudio, s3prl", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """What is registered: name, module, distribution, one line. Imports none of it.

    Example: superbench list upstreams --hub s3prl
    """
    from rich.table import Table

    from superbench.cli.display import console
    from superbench.plugins import list_tasks, list_upstreams

    listed = list_tasks() if kind is Kind.tasks and hub is None else list_upstreams(hub)
    columns = ("name", "kind") if hub is not None else ("name", "line", "module", "distribution")
    rows = [{column: getattr(row, column) for column in columns} for row in listed]
    if as_json:
        echo_json(rows)
        return
    table = Table(*("what it is" if column == "line" else column for column in columns))
    for row in rows:
        table.add_row(*row.values())
    console.print(table)
