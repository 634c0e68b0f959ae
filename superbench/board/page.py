"""The board as one HTML file that works from disk: its style, its script, its charts and its numbers are all inside.

The numbers travel as JSON in a `<script>` that the browser does not run; the page's script draws everything from them as
text, never as markup, so that a model may be called anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from superbench.errors import BadResult

FOLDER = Path(__file__).parent


def render(board: Mapping[str, Any]) -> str:
    """The page of `board` (title, made, version, columns, groups: as `ranking` gives them).

    Raises `BadResult` if a number of the board is not finite.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("page.html.j2").render(
        title=board["title"],
        made=board["made"],
        version=board["version"],
        style=(FOLDER / "page.css").read_text(encoding="utf-8"),
        script=(FOLDER / "page.js").read_text(encoding="utf-8"),
        board=inert(board),
        plotly=inert(get_plotlyjs()),  # a string: run only when the first chart comes into view
    )


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
