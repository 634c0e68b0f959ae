"""What a person calls an upstream, taken apart; and which names can be those of a row and of a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from superbench.contract.paths import expanded
from superbench.errors import CommandError
from superbench.plugins.entry_points import HUBS, points

LEDGER = "ledger.jsonl"
"""The list of finished jobs in the folder of results, beside the folders of upstreams."""
LONGEST_ALIAS = 200
"""Characters: file systems take 255 bytes, of which options and temporary files add some."""


@dataclass(frozen=True, slots=True)
class Spec:
    """`[alias=]name[:options][@FILE]`, taken apart. `hub` is the part before the slash of `hub/id`, or None.

    Raises `CommandError` for an alias that can be no folder's name.
    """

    text: str
    alias: str
    hub: str | None
    name: str
    options: tuple[str, ...]
    file: Path | None

    def __post_init__(self) -> None:
        if reason := _unfit(self.alias, self.folder):
            raise CommandError(
                f"The name {self.alias[:40]!r} {reason}. Results lie in a folder of that name: give the model another one, as "
                "in mine=SPEC."
            )

    @property
    def folder(self) -> str:
        """The alias with every character outside `A-Za-z0-9._-` turned into `_`."""
        return re.sub(r"[^A-Za-z0-9._-]", "_", self.alias)


def parse(text: str) -> Spec:
    """Take a spec apart; raises `CommandError` for an empty one.

    >>> parse("apc@demo/apc.safetensors").alias, parse("small=apc:untrained,seed=3").options
    ('apc', ('untrained', 'seed=3'))
    >>> parse("hf/facebook/hubert-base-ls960").hub
    'hf'
    """
    alias, found, rest = text.partition("=")
    if not found or re.search(r"[:/@]", alias):
        alias, rest = "", text
    elif not alias:
        raise CommandError(f"{text!r} gives an empty name. Expected [alias=]name, as in mine=fbank.")
    body, _, file = rest.partition("@")
    hub, slash, name = body.partition("/")
    path = expanded(file) if file else None
    if ".py:" in body:
        return Spec(text=text, alias=alias or body.rsplit(":", 1)[1], hub=None, name=body, options=(), file=path)
    if slash and hub in points(HUBS):
        short = Path(name).name if name[:1] in "/.~" else name
        return Spec(text=text, alias=alias or f"{hub}/{short}", hub=hub, name=name, options=(), file=path)
    name, _, options = body.partition(":")
    if not name:
        raise CommandError(f"{text!r} names no upstream. Expected [alias=]name, as in apc:untrained or mine=hf/./folder.")
    return Spec(text=text, alias=alias or body, hub=None, name=name, options=tuple(filter(None, options.split(","))), file=path)


def specs(texts: list[str]) -> list[Spec]:
    """Parse several; two that would share a folder are an error that asks for an alias."""
    parsed = [parse(text) for text in texts]
    seen: dict[str, Spec] = {}
    for spec in parsed:
        if spec.folder in seen:
            raise CommandError(
                f"{seen[spec.folder].text!r} and {spec.text!r} would both be called {spec.alias!r}. "
                f"Give one of them an alias: other={spec.text}"
            )
        seen[spec.folder] = spec
    return parsed


def _unfit(alias: str, folder: str) -> str:
    """Why an alias can name no row and no folder; an empty text for one that can."""
    if not alias.strip():
        return "is empty"
    if not alias.isprintable():
        return "has characters that cannot be printed"
    if len(folder) > LONGEST_ALIAS:
        return f"has {len(folder)} characters, at most {LONGEST_ALIAS} fit into a folder's name"
    if not folder.strip("."):
        return "is another folder's"
    return "is that of the list of finished jobs" if folder.casefold() == LEDGER else ""
