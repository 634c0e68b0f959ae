"""Parses the spec of an upstream, and checks that its alias can be the name of a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from superbench.contract.paths import expanded
from superbench.errors import CommandError
from superbench.plugins.entry_points import HUBS, points
from superbench.plugins.series import one_each

LEDGER = "ledger.jsonl"
"""File name of the list of finished jobs; it lies in the folder of results, as do the folders of upstreams."""
LONGEST_ALIAS = 200
"""Characters. File systems allow 255 bytes, and options and the names of temporary files add some."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The parts of `[alias=]name[:options][@FILE]`. `hub` is the part before the slash of `hub/id`, or None.

    Raises `CommandError` for an alias that cannot be the name of a folder.
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
                f"The name {self.alias[:40]!r} {reason}. Results are written to a folder of that name. Give the model another "
                "name, as in mine=SPEC."
            )

    @property
    def folder(self) -> str:
        """The alias, with `_` in place of every character that is not one of `A-Za-z0-9._-`."""
        return re.sub(r"[^A-Za-z0-9._-]", "_", self.alias)


def parse(text: str) -> Spec:
    """Parses a spec; raises `CommandError` for an empty one.

    >>> parse("apc@demo/apc.safetensors").alias, parse("small=apc:untrained,seed=3").options
    ('apc', ('untrained', 'seed=3'))
    >>> parse("my_model.py:Net:layers=6@step10.pt").options, parse("my_model.py:Net@step10.pt").alias
    (('layers=6',), 'Net')
    >>> parse("hf/facebook/hubert-base-ls960").hub
    'hf'
    """
    alias, equals, rest = text.partition("=")
    if not equals or re.search(r"[:/@]", alias):
        alias, rest = "", text
    elif not alias:
        raise CommandError(f"{text!r} has an empty alias. Expected [alias=]name, as in mine=fbank.")
    body, _, file = rest.partition("@")
    hub, slash, name = body.partition("/")
    path = expanded(file) if file else None
    if ".py:" in body:
        source, _, rest = body.partition(".py:")
        attribute, _, options = rest.partition(":")
        if not attribute:
            raise CommandError(f"{text!r} names no class or function of {source}.py. Expected {source}.py:Class.")
        own = f"{source}.py:{attribute}"
        return Spec(text=text, alias=alias or attribute, hub=None, name=own, options=_options(options), file=path)
    if slash and hub in points(HUBS):
        if not name:
            raise CommandError(f"{text!r} names no model; `superbench list upstreams --hub {hub}` shows how names are written.")
        short = Path(name).name if name[:1] in "/.~" else name
        return Spec(text=text, alias=alias or f"{hub}/{short}", hub=hub, name=name, options=(), file=path)
    name, _, options = body.partition(":")
    if not name:
        raise CommandError(f"{text!r} names no upstream. Expected [alias=]name, as in apc:untrained or mine=hf/./folder.")
    return Spec(text=text, alias=alias or body, hub=None, name=name, options=_options(options), file=path)


def _options(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def specs(texts: list[str]) -> list[Spec]:
    """Parses several specs; one whose checkpoint is a pattern (`apc@ckpts/step*.safetensors`) stands for one spec of each file.
    Raises `CommandError` if two would have the same folder, or if no file matches a pattern."""
    parsed = [parse(one) for text in texts for one in _each(text)]
    seen: dict[str, Spec] = {}
    for spec in parsed:
        if spec.folder in seen:
            raise CommandError(
                f"{seen[spec.folder].text!r} and {spec.text!r} would have the same name {spec.alias!r}. "
                f"Give one of them an alias: other={spec.text.partition('=')[2] or spec.text}"
            )
        seen[spec.folder] = spec
    return parsed


def _each(text: str) -> list[str]:
    """Returns a spec for each file of a pattern; any other spec as it is."""
    spec = parse(text)
    name = str(spec.file) if spec.file else spec.name if spec.hub else ""
    named = re.sub(r"[:/@=]", "-", spec.alias if spec.file or not spec.hub or "=" in text else spec.hub)
    if not (files := one_each(name, text)):
        return [text]
    rest = text[text.index("=") + 1 :] if text.startswith(f"{spec.alias}=") else text
    before = rest.rpartition("@")[0] + "@" if spec.file else f"{spec.hub}/"
    return [f"{named}-{short}={before}{file}" for short, file in files.items()]


def _unfit(alias: str, folder: str) -> str:
    """Returns why an alias cannot be the name of a row and of a folder; an empty text if it can."""
    if not alias.strip():
        return "is empty"
    if not alias.isprintable():
        return "has characters that cannot be printed"
    if len(folder) > LONGEST_ALIAS:
        return f"has {len(folder)} characters; at most {LONGEST_ALIAS} are allowed"
    if not folder.strip("."):
        return "is the name of another folder"
    return "is reserved for the list of finished jobs" if folder.casefold() == LEDGER else ""
