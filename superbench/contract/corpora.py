"""Where the corpora lie: one data root, and any corpus elsewhere by name (`superbench.toml`, table `[data]`)."""

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
"""A file beside the marker: counts and digests of the lists of each task's corpus when it was written."""

MARKER = ".superbench-synthetic"
"""A file that `superbench data synth` leaves in the root: its corpora are miniature, so `mini` is the default protocol."""


class Corpora:
    """A data root, with single corpora (or lexicons) placed elsewhere.

    `root` holds the corpora under the names that their archives unpack to. `places` maps such a name to another folder.
    """

    def __init__(self, root: Path, places: Mapping[str, Path] | None = None) -> None:
        self.root = root
        self.places = {name.lower(): path for name, path in (places or {}).items()}

    @classmethod
    def at(cls, root: Path, settings: Path | None = None) -> Corpora:
        """The corpora under `root`; `settings`, or else `root/superbench.toml` or `./superbench.toml`, may place some
        elsewhere."""
        candidates = [settings] if settings else [root / "superbench.toml", Path("superbench.toml")]
        for path in candidates:
            if path.is_file():
                return cls(root, _places(path))
        if not root.is_dir():
            raise MissingCorpus(
                f"The data root {root} is not a folder. Give --data the folder that holds the corpora, or write "
                f"miniature ones there: superbench data synth --out {root}"
            )
        return cls(root)

    @property
    def synthetic(self) -> bool:
        """Were these corpora written by `superbench data synth`?"""
        return (self.root / MARKER).is_file()

    @property
    def passport(self) -> str:
        """What the marker of miniature corpora says (their seed); empty for real ones."""
        return (self.root / MARKER).read_text(encoding="utf-8") if self.synthetic else ""

    def written(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Counts and digests of the miniature corpora when they were written, by task; empty where nobody noted them."""
        try:
            note = json.loads((self.root / WRITTEN).read_bytes())
            return dict(note["tasks"]) if note["corpora"] == self.passport else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def place(self, *names: str) -> Path:
        """The first of `names` that exists (a folder or a file); raises `MissingCorpus` with every path looked for."""
        looked = [self.places.get(name.lower(), self.root / name) for name in names]
        for path in looked:
            if path.exists():
                return path
        raise MissingCorpus(
            f"{names[0]} is not there: looked for {' and '.join(str(path) for path in looked)}. Put the corpus under the data "
            f'root by that name, or name its folder in superbench.toml: [data] {names[0].split("/")[0]} = "/path/to/it"'
        )


def _places(path: Path) -> dict[str, Path]:
    try:
        table = tomllib.loads(read_text(path)).get("data", {})
    except BadCorpus as error:
        raise CommandError(str(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"{path} is not valid TOML: {error}.") from error
    return {name: (path.parent / expanded(str(place))) for name, place in table.items()}
