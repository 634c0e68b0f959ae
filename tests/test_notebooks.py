"""The notebooks run from the first cell to the last, without a network, and show what their text speaks of."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def notebooks() -> Any:
    """docs/hooks/notebooks.py, which makes pages of notebooks and runs them."""
    spec = importlib.util.spec_from_file_location("documentation_notebooks", DOCS / "hooks" / "notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def own_folder(tmp_path_factory: pytest.TempPathFactory, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks write into a temporary folder (a short name, since sockets lie in it), and find the features of each other."""
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("n")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared / "cache-of-notebooks"))


def shown(notebook: Any, kind: str) -> list[str]:
    """All outputs of a MIME type, in order."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return ["".join(output.data[kind]) for output in outputs if kind in output.get("data", {})]


def the_board_is_shown(notebook: Any) -> bool:
    return any("<iframe srcdoc=" in text and "superbench board" in text for text in shown(notebook, "text/html"))


@pytest.mark.slow
def test_five_minutes_in_python(notebooks: Any) -> None:
    notebook = notebooks.executed(DOCS / "notebooks" / "five_minutes_in_python.ipynb")
    tables = shown(notebook, "text/html")
    assert any("spectrum · ks: accuracy" in text and "<progress" not in text for text in tables)  # the progress, at its end
    assert any("<th>KS accuracy ↑</th>" in text and "apc:untrained" in text for text in tables)
    assert any("<caption>spectrum · ks (version" in text for text in tables)
    assert the_board_is_shown(notebook)


@pytest.mark.slow
def test_a_lecture(notebooks: Any) -> None:
    notebook = notebooks.executed(DOCS / "notebooks" / "lecture.ipynb")
    assert len(shown(notebook, "image/svg+xml")) == 2  # curves, layer weights
    assert sum("<audio" in text for text in shown(notebook, "text/html")) == 2  # a word, and how it goes on
    rows = next(text for text in shown(notebook, "text/html") if "<th>KS accuracy ↑</th>" in text)
    assert all(f"<th>{name}</th>" in rows for name in ("mockingjay", "speech_gpt", "simclr", "byol"))
    assert the_board_is_shown(notebook)


def test_what_is_stored_is_small_and_has_no_codes_of_a_terminal(notebooks: Any) -> None:
    import nbformat

    for path in sorted(DOCS.glob("notebooks/*.ipynb")):
        assert path.stat().st_size < 300_000, path.name
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", ()):
                assert output.output_type in ("stream", "execute_result", "display_data"), path.name
                assert "\x1b" not in str(output), path.name
