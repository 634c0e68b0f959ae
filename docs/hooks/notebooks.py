"""Converts notebooks to pages: text, code, and those stored outputs that are small."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""Escape codes for terminal colours."""

LARGEST = 80_000
"""Largest number of characters of an output that is stored with its notebook."""

HEAD = "*This page is a notebook: `docs/notebooks/{name}`. Open it with Jupyter to run it.*\n"


def page(path: Path) -> str:
    """Returns the notebook at `path` as Markdown. A note below the title gives the path of the notebook."""
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
    """Returns an output as Markdown: a picture, a table, or text."""
    if output.output_type == "stream":
        return f"```text\n{output.text.rstrip()}\n```" if output.text.strip() else ""
    data = output.get("data", {})
    if "image/svg+xml" in data:
        return f"<div>{''.join(data['image/svg+xml']).partition('?>')[2].partition('>')[2]}</div>"
    if "text/html" in data:
        return f"<div>{''.join(data['text/html'])}</div>"
    return f"```text\n{data['text/plain']}\n```" if "text/plain" in data else ""


def executed(path: Path, seconds: int = 900) -> Any:
    """Runs all cells in a new kernel and returns the notebook; raises `CellExecutionError` if a cell fails."""
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    path_variable = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # finds `superbench`
    client = NotebookClient(notebook, timeout=seconds, kernel_name="python3")
    client.execute(cwd=str(path.parent), env={**os.environ, "PATH": path_variable})
    return notebook


def stored(notebook: Any) -> Any:
    """Returns the notebook as it is stored: without widgets, sound, run counts, terminal colours and large outputs."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [output for output in map(_bare, _joined(cell.outputs)) if _is_kept(output)]
    return notebook


def _is_kept(output: Any) -> bool:
    return len(str(output)) < LARGEST and "<audio" not in str(output)


def _joined(outputs: list[Any]) -> list[Any]:
    """Joins consecutive outputs of one stream."""
    joined: list[Any] = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _bare(output: Any) -> Any:
    if output.output_type == "stream":
        output.text = "\n".join(line.rstrip() for line in ESCAPES.sub("", output.text).splitlines())
        return output
    output.metadata = {}
    if "execution_count" in output:
        output.execution_count = None
    if len(output.data) > 1:  # a picture or a table shows the same
        output.data.pop("text/plain", None)
    return output


if __name__ == "__main__":  # run all notebooks again and store their outputs
    for notebook_path in sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb")):
        nbformat.write(stored(executed(notebook_path)), notebook_path)
