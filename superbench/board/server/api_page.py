"""The description of the API as one HTML page without external resources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def render(description: Mapping[str, Any]) -> str:
    """Returns the HTML page for an OpenAPI description."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    calls = [
        {
            "method": method.upper(), "path": path, "summary": call.get("summary", ""), "text": call.get("description", ""),
            "token": bool(call.get("security")),
            "answers": [(status, answer["description"]) for status, answer in call["responses"].items()],
        }
        for path, methods in description["paths"].items() for method, call in methods.items()
    ]  # fmt: skip
    return environment.get_template("api.html.j2").render(
        title=description["info"]["title"], info=description["info"], calls=calls
    )
