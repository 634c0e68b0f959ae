"""Pages that are made when the documentation is built: commands, records, public names, notebooks as pages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

import commands
import corpora
import names
import notebooks
import records

MADE = {"reference/commands.md": commands.page, "reference/python.md": names.page, "reference/results.md": records.page}


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages; take a notebook as the page of its cells."""
    for path, made in MADE.items():
        files.append(File.generated(config, path, content=made()))
    for path in sorted(Path(config.docs_dir).glob("notebooks/*.ipynb")):
        name = path.relative_to(config.docs_dir).as_posix()
        files.remove(files.get_file_from_path(name))
        files.append(File.generated(config, name.replace(".ipynb", ".md"), content=notebooks.page(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Fill in the table of the corpora; links to notebooks lead to their pages."""
    return markdown.replace(corpora.MARK, corpora.table()).replace(".ipynb)", ".md)")


def on_config(config: Any) -> Any:
    """Notebooks in the navigation are pages. The search of a site on disk uses our own stand-in for workers."""
    config.nav = _pages(config.nav)
    config.extra["polyfills"] = ["assets/iframe-worker.js"]
    return config


def _pages(part: Any) -> Any:
    if isinstance(part, dict):
        return {title: _pages(inner) for title, inner in part.items()}
    if isinstance(part, list):
        return [_pages(inner) for inner in part]
    return part.replace(".ipynb", ".md")
