"""`superbench list`: lists upstreams and tasks, and the models of a hub."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from superbench.cli.arguments import AsJson
from superbench.cli.printing import echo_json


class Kind(str, Enum):
    """The types of objects that can be listed."""

    upstreams = "upstreams"
    tasks = "tasks"


def list_(
    kind: Annotated[Kind, typer.Argument(help="upstreams or tasks", show_default=False)],
    hub: Annotated[
        str | None,
        typer.Option(
            help="List the names of a hub, or how to write them: torchaudio, s3prl, hf, fairseq, hear, onnx, speechbrain",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the registered upstreams or tasks: name, description, module, distribution. Imports none of them.

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
