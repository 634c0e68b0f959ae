"""Loads sets of minimal pairs, which distributions register as entry points, by name."""

from __future__ import annotations

from collections.abc import Sequence

from superbench.contract import PairSet
from superbench.errors import BrokenPlugin, UnknownName
from superbench.plugins.entry_points import PAIRS, load, owner, points, refuse_claimed


def pair_sets(names: Sequence[str] | None = None) -> list[PairSet]:
    """Returns the sets of these names, each once; by default all, sorted by name. Raises `UnknownName`, `BrokenPlugin`."""
    return [_pair_set(name) for name in dict.fromkeys(points(PAIRS) if names is None else names)]


def _pair_set(name: str) -> PairSet:
    known = points(PAIRS)
    if name not in known:
        raise UnknownName("set of minimal pairs", name, known, "superbench pairs --help")
    refuse_claimed(PAIRS, "set of minimal pairs", name)
    found = load(known[name])
    if not isinstance(found, PairSet) or found.name != name:
        raise BrokenPlugin(
            f"The plugin {name!r} ({known[name].value}, from {owner(known[name])}) is no set of minimal pairs of that name, "
            f"but {str(found)[:60]!r}. Fix or uninstall {owner(known[name])}."
        )
    return found
