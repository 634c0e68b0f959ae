"""Which installed models can continue a prompt, and can so be evaluated in context."""

from __future__ import annotations

import contextlib
from typing import Any, get_type_hints

from superbench.errors import SuperbenchError
from superbench.plugins.entry_points import HUBS, UPSTREAMS, load, points


def that_continue() -> list[str]:
    """Returns the names of upstreams that have a method `log_likelihood`, and of hubs whose models have one (as their `load`
    declares). All are imported; those that cannot be are left out."""
    found = []
    for group, ending in ((UPSTREAMS, ""), (HUBS, "/ID")):
        for name, point in points(group).items():
            with contextlib.suppress(SuperbenchError, NameError):
                if hasattr(_made_by(load(point)), "log_likelihood"):
                    found.append(name + ending)
    return found


def _made_by(loaded: Any) -> Any:
    """Returns a class as it is; of a hub's function, the class of its models."""
    return loaded if isinstance(loaded, type) else get_type_hints(loaded).get("return")
