"""Renders the board as one HTML file that works from disk: it contains its style, script, charts and numbers.

The numbers are JSON in `<script>` elements that the browser does not run. The page's script inserts them as text, never as
markup, so any name of a model is safe. The data of the tables comes first; the details (receipts, draws, hardest items) are
parsed only when a reader opens them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from superbench.errors import BadResult

WEB = Path(__file__).parent / "web"
SCRIPTS = (
    "nodes", "board", "state", "numbers", "table", "filters", "figures", "receipts", "draws", "compare", "charts", "shots",
    "shot_chart", "model", "task", "downloads", "start",
)  # fmt: skip
"""Script files in the order of their dependencies."""


def render(board: Mapping[str, Any]) -> str:
    """Returns the HTML page of `board` (title, made, version, columns, groups: see `contents`).

    Raises `BadResult` if a number on the board is not finite.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(WEB), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    shown, behind = without_details(board)
    return environment.get_template("page.html.j2").render(
        title=board["title"],
        made=board["made"],
        version=board["version"],
        style=(WEB / "page.css").read_text(encoding="utf-8"),
        script='"use strict";\n' + "\n".join((WEB / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS),
        board=inert(shown),
        behind=inert(behind),
    )


def without_details(board: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the data of the tables, and the details by group; default values are left out of both."""
    shown, behind = [], []
    for group in board["groups"]:
        rows = [{key: value for key, value in row.items() if key != "details"} for row in group["rows"]]
        for row in rows:
            row["cells"] = {key: _compact(cell) for key, cell in row["cells"].items()}
        shown.append({key: value for key, value in group.items() if key != "behind"} | {"rows": rows})
        texts: dict[str, int] = {}
        details = [_pooled(row.get("details", {}), texts) for row in group["rows"]]
        behind.append({**group.get("behind", {}), "details": details, "texts": list(texts)})
    return {**board, "groups": shown}, behind


def _compact(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out absent and false values, except `sure`, for which false is a value."""
    return {key: value for key, value in cell.items() if key == "sure" or (value not in (None, []) and value is not False)}


def _pooled(details: Mapping[str, Any], texts: dict[str, int]) -> dict[str, Any]:
    """Replaces notes by their indices in `texts`, because many rows of a table have the same notes."""
    return {
        task: {**facts, "notes": [texts.setdefault(note, len(texts)) for note in facts.get("notes", ())]}
        for task, facts in details.items()
    }


def inert(value: Any) -> str:
    r"""Returns `value` as JSON that is safe inside a `<script>`: nothing in it can end the element or a line.

    U+2028 and U+2029 are escaped, like all characters that are not ASCII.

    >>> inert("</script>\u2028")
    '"\\u003c/script\\u003e\\u2028"'
    """
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise BadResult(
            f"The board contains a number that is not finite ({error}); the page shows finite numbers only. "
            "Score the bundle that it came from again."
        ) from error
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
