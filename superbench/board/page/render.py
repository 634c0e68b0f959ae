"""The board as one HTML file that works from disk: its style, its script, its charts and its numbers are all inside.

The numbers travel as JSON in `<script>` elements that the browser does not run; the page's script draws everything from them
as text, never as markup, so that a model may be called anything. What the tables show comes first; what stands behind it
(receipts, draws, hardest items) is taken apart only when it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from superbench.errors import BadResult

WEB = Path(__file__).parent / "web"
SCRIPTS = (
    "nodes", "board", "state", "numbers", "table", "filters", "figures", "receipts", "draws", "compare", "charts", "model",
    "task", "downloads", "start",
)  # fmt: skip
"""In the order in which they build on each other; each is one idea."""


def render(board: Mapping[str, Any]) -> str:
    """The page of `board` (title, made, version, columns, groups: as `contents` gives them).

    Raises `BadResult` if a number of the board is not finite.
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
    """What the tables show, and by group what stands behind it; neither says what goes without saying."""
    shown, behind = [], []
    for group in board["groups"]:
        rows = [{key: value for key, value in row.items() if key != "details"} for row in group["rows"]]
        for row in rows:
            row["cells"] = {key: _told(cell) for key, cell in row["cells"].items()}
        shown.append({key: value for key, value in group.items() if key != "behind"} | {"rows": rows})
        texts: dict[str, int] = {}
        details = [_pooled(row.get("details", {}), texts) for row in group["rows"]]
        behind.append({**group.get("behind", {}), "details": details, "texts": list(texts)})
    return {**board, "groups": shown}, behind


def _told(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is absent; `sure` says something when it is false."""
    return {key: value for key, value in cell.items() if key == "sure" or (value not in (None, []) and value is not False)}


def _pooled(details: Mapping[str, Any], texts: dict[str, int]) -> dict[str, Any]:
    """Notes as places in `texts`: rows of a table say much the same."""
    return {
        task: {**facts, "notes": [texts.setdefault(note, len(texts)) for note in facts.get("notes", ())]}
        for task, facts in details.items()
    }


def inert(value: Any) -> str:
    r"""`value` as JSON that may stand inside a `<script>`: nothing in it can end the element, or a line.

    U+2028 and U+2029 are escaped as all that is not ASCII.

    >>> inert("</script>\u2028")
    '"\\u003c/script\\u003e\\u2028"'
    """
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise BadResult(
            f"The board holds a number that is not finite ({error}); the page shows finite numbers only. "
            "Re-score the bundle that it came from."
        ) from error
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
