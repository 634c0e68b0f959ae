"""A notebook as a page: its text, its code, and those of its outputs that are stored and small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

HEAD = "*This page is a notebook: `docs/notebooks/{name}`. Open it with Jupyter to run it.*\n"


def page(path: Path) -> str:
    """Markdown of the notebook at `path`; the note on where it lies stands below its title."""
    cells = nbformat.read(path, as_version=4).cells
    parts = [part for cell in cells for part in _cell(cell)]
    title, *rest = parts[0].split("\n\n", 1)
    return "\n\n".join([title, HEAD.format(name=path.name), *rest, *parts[1:]]) + "\n"


def _cell(cell: Any) -> list[str]:
    if cell.cell_type == "markdown":
        return [cell.source]
    lexer = "bash" if cell.source.startswith("%%bash") else "python"
    return [f"```{lexer}\n{cell.source}\n```", *(text for output in cell.outputs if (text := _output(output)))]


def _output(output: Any) -> str:
    """An output as Markdown: a picture, a table, or text."""
    if output.output_type == "stream":
        return f"```text\n{output.text.rstrip()}\n```"
    data = output.get("data", {})
    if "image/svg+xml" in data:
        return f"<div>{''.join(data['image/svg+xml']).partition('?>')[2].partition('>')[2]}</div>"
    if "text/html" in data:
        return f"<div>{''.join(data['text/html'])}</div>"
    return f"```text\n{data['text/plain']}\n```" if "text/plain" in data else ""
