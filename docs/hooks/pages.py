"""MkDocs hooks that generate pages: commands, records, public names, notebooks."""

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

GENERATED = {"reference/commands.md": commands.page, "reference/python.md": names.page, "reference/results.md": records.page}


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages and replaces each notebook by a Markdown page."""
    for path, page in GENERATED.items():
        files.append(File.generated(config, path, content=page()))
    for path in sorted(Path(config.docs_dir).glob("notebooks/*.ipynb")):
        name = path.relative_to(config.docs_dir).as_posix()
        files.remove(files.get_file_from_path(name))
        files.append(File.generated(config, name.replace(".ipynb", ".md"), content=notebooks.page(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Inserts the sections on the corpora, and points links to notebooks to their pages."""
    return markdown.replace(corpora.MARK, corpora.table()).replace(".ipynb)", ".md)")


def on_config(config: Any) -> Any:
    """Points the navigation to the pages of notebooks. Adds a replacement for web workers, so that search works from disk."""
    config.nav = _pages(config.nav)
    config.extra["polyfills"] = ["assets/iframe-worker.js"]
    return config


def _pages(part: Any) -> Any:
    if isinstance(part, dict):
        return {title: _pages(inner) for title, inner in part.items()}
    if isinstance(part, list):
        return [_pages(inner) for inner in part]
    return part.replace(".ipynb", ".md")
