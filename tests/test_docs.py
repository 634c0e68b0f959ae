"""The documentation: it builds strictly, needs no network, has every page in its navigation, and its reference is complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer

import superbench
from superbench.cli.app import app
from superbench.runs.options import RunOptions

ROOT = Path(__file__).parents[1]
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "audio": "src", "video": "src", "source": "src"}
NO_FILE = {"canonical", "next", "prev", "alternate"}
"""`<link rel=...>` of which a browser loads nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning, such as a link to a page or a heading that is not there, fails the build."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return out


class Loads(HTMLParser):
    """What a browser loads for a page, and the page's ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        address = facts.get(LOADED.get(tag, ""))
        if address and facts.get("rel") not in NO_FILE:
            self.addresses.append(address)


def loaded(site: Path) -> Iterator[tuple[Path, str]]:
    """Every file of the site with each address that it loads."""
    for path in site.rglob("*.html"):
        for address in Loads(path.read_text()).addresses:
            yield path, address
    for path in site.rglob("*.css"):
        for address in re.findall(r"(?:url\(|@import )[\"']?([^\"')]+)", path.read_text()):
            yield path, address


def test_the_site_loads_nothing_from_elsewhere_and_nothing_that_is_not_there(site: Path) -> None:
    found = list(loaded(site))
    assert len(found) > 100
    for path, address in found:
        if address.startswith("data:"):
            continue
        assert not re.match(r"([a-z]+:)?//", address), f"{path.relative_to(site)} loads {address}"
        if path.name != "404.html":  # its addresses begin at the root of a server
            assert (path.parent / address.partition("#")[0].partition("?")[0]).exists(), f"{path}: {address}"


def test_no_page_is_orphaned(site: Path) -> None:
    navigation = (site / "index.html").read_text()
    pages = {str(path.relative_to(site)) for path in site.rglob("*.html")} - {"404.html", "index.html"}
    assert len(pages) >= 15
    missing = [page for page in pages if f'href="{page}"' not in navigation]
    assert missing == []


def commands(command: typer.core.TyperGroup | None, words: tuple[str, ...] = ()) -> Iterator[str]:
    """`superbench data synth`, … of every visible command."""
    for name, child in command.commands.items() if command else ():
        if hasattr(child, "commands"):
            yield from commands(child, (*words, name))
        elif not child.hidden:
            yield " ".join(["superbench", *words, name])


def test_the_reference_has_every_command_and_every_public_name(site: Path) -> None:
    page = (site / "reference" / "commands.html").read_text()
    names = list(commands(typer.main.get_command(app)))  # type: ignore[arg-type]
    assert len(names) > 20
    assert [name for name in names if f">{name}<" not in page] == []
    page = (site / "reference" / "python.html").read_text()
    assert [name for name in superbench.__all__ if f'id="superbench.{name}"' not in page] == []
    assert [name for name in RunOptions.__annotations__ if f'doc-attribute-name">{name}</span>' not in page] == []


def test_links_of_the_readme_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / "README.md").read_text())
    files = [target for target in targets if not target.startswith("http")]
    assert len(files) > 5
    assert [target for target in files if not (ROOT / target).exists()] == []
