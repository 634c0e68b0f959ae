"""The hand-written part of the page on results agrees with the content of bundles."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from superbench import Board

PAGE = Path(__file__).parents[3] / "docs" / "hooks" / "results.md"


def test_the_page_names_the_fields_of_a_manifest(a_folder: Callable[..., Path], tmp_path: Path) -> None:
    Board(tmp_path / "board").submit(a_folder("apc", 40))
    (bundle,) = (tmp_path / "board").rglob("*.zip")
    with zipfile.ZipFile(bundle) as archive:
        fields = set(json.loads(archive.read("manifest.json")))
    text = PAGE.read_text()
    table = text[text.index("## Bundles") : text.index("## Records")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == fields
