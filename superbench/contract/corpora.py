"""The location of the corpora: one data root, and other folders for single corpora (`superbench.toml`, table `[data]`)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from superbench.contract.paths import expanded
from superbench.contract.text import read_text
from superbench.errors import BadCorpus, CommandError, MissingCorpus

WRITTEN = ".superbench-synthetic.json"
"""Name of a file next to the marker: counts and list digests of each task's miniature corpus, as it was written."""

DEEPEST = 2
"""Levels of folders below the data root at which a miniature corpus, or a part of it, is recognised."""
MARKER = ".superbench-synthetic"
"""A file that `superbench data synth` writes to the root: the corpora are miniatures; `mini` is the default protocol."""


class Corpora:
    """A data root, and other folders for single corpora (or lexicons).

    `root` contains the corpora under the folder names of their archives. `places` maps such a name to another folder.
    """

    def __init__(self, root: Path, places: Mapping[str, Path] | None = None) -> None:
        self.root = root
        self.places = {name.lower(): path for name, path in (places or {}).items()}

    @classmethod
    def at(cls, root: Path, settings: Path | None = None) -> Corpora:
        """Returns the corpora under `root`. A settings file may map some of them to other folders: `settings`, or else
        `root/superbench.toml` or `./superbench.toml`. If `root` is a folder inside miniature corpora, it returns all of them.
        Raises `MissingCorpus` if `root` is no folder.
        """
        candidates = [settings] if settings else [root / "superbench.toml", Path("superbench.toml")]
        for path in candidates:
            if path.is_file():
                return cls(root, _places(path))
        if not root.is_dir():
            raise MissingCorpus(
                f"The data root {root} is not a folder. Give --data the folder that holds the corpora, or write "
                f"miniature ones there: superbench data synth --out {root}"
            )
        return cls(_data_root(root))

    def for_task(self, *, miniature: bool) -> Corpora:
        """Returns the corpora as a task sees them. A task without a `miniature` has its own corpus elsewhere, which is real
        even if those under the root are not."""
        return self if miniature else _Real(self.root, self.places)

    @property
    def synthetic(self) -> bool:
        """True if `superbench data synth` wrote these corpora."""
        return (self.root / MARKER).is_file()

    @property
    def passport(self) -> str:
        """The text of the marker of miniature corpora (it contains their seed); empty for real corpora."""
        return (self.root / MARKER).read_text(encoding="utf-8") if self.synthetic else ""

    def written(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Returns counts and digests of the miniature corpora, as written, by task; empty if they were not recorded."""
        try:
            record = json.loads((self.root / WRITTEN).read_bytes())
            return dict(record["tasks"]) if record["corpora"] == self.passport else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def place(self, *names: str) -> Path:
        """Returns the first path of `names` that exists (a folder or a file); `MissingCorpus` lists all paths tried."""
        candidates = [self.places.get(name.lower(), self.root / name) for name in names]
        for path in candidates:
            if path.exists():
                return path
        if own := _own_name(self.root, names):
            raise MissingCorpus(
                f"{self.root} seems to be the corpus {own} itself. Give the folder that holds it: --data {_above(self.root)}"
            )
        raise MissingCorpus(
            f"{names[0]} is not there: looked for {' and '.join(str(path) for path in candidates)}. Put the corpus under the "
            f'data root by that name, or name its folder in superbench.toml: [data] {names[0].split("/")[0]} = "/path/to/it"'
        )


def _data_root(root: Path) -> Path:
    """Returns the folder with the marker, if `root` is a miniature corpus inside it, or a part of one: without the marker, its
    corpora would be taken for the real ones. Else returns `root`."""
    if (root / MARKER).is_file():
        return root
    above = root.resolve().parents[:DEEPEST]
    return next((folder for folder in above if (folder / MARKER).is_file()), root)


def _own_name(root: Path, names: tuple[str, ...]) -> str:
    """Returns which of the names, or of their first parts, the root itself has; empty if it has none."""
    firsts = {name.split("/")[0].lower(): name.split("/")[0] for name in names}
    return firsts.get(root.resolve().name.lower(), "")


def _above(root: Path) -> Path:
    return root.parent if root.name else root.resolve().parent


class _Real(Corpora):
    """Corpora that are no miniatures, whatever marker their root has."""

    synthetic = False


def _places(path: Path) -> dict[str, Path]:
    try:
        table = tomllib.loads(read_text(path)).get("data", {})
    except BadCorpus as error:
        raise CommandError(str(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"{path} is not valid TOML: {error}.") from error
    return {name: (path.parent / expanded(str(folder))) for name, folder in table.items()}
