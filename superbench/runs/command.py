"""The command that makes a result again, as it stands in the record. Private paths of data and files are left out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superbench.results.draws import DRAWS
from superbench.runs.options import Options
from superbench.system.ranges import in_full

if TYPE_CHECKING:
    from superbench.contract import TaskCard


def command_of(spec: str, card: TaskCard, options: Options, file: str = "") -> str:
    """Returns the command that runs one task on one upstream with these options. `file`: `/path/file.py:NAME` of a task that is
    not installed; a task whose only recipe is `custom` needs no protocol.

    >>> from superbench import plugins
    >>> options = Options("mini", learning_rates=(0.01, 0.001), seeds=(0, 1), layer=2)
    >>> command_of("apc@apc.safetensors", plugins.task("ks").card, options)
    'superbench run apc@apc.safetensors --tasks ks --data DATA --protocol mini --lr 0.01,0.001 --seeds 0,1 --layers 2'
    """
    changed: dict[str, Any] = {
        "--lr": options.learning_rates, "--seeds": None if options.seeds == (0,) else options.seeds,
        "--max-steps": options.max_steps, "--limit": options.limit, "--layers": options.states,
        "--chunk": options.chunk_seconds, "--batch-seconds": options.batch_seconds,
        "--precision": None if options.precision == "float32" else options.precision,
        "--store-format": None if options.store_format == "float16" else options.store_format, "--shots": options.shots,
        "--draws": None if options.draws == DRAWS else options.draws,
    }  # fmt: skip
    words = ["superbench", "run", spec, "--tasks", Path(file).name or card.name, "--data", "DATA"]
    words += [] if card.is_own and options.trains else ["--protocol", options.protocol]
    for name, value in changed.items():
        words += [] if value is None else [name, _text(value)]
    for variant in options.variants:
        words += ["--variant", variant]
    return shlex.join(words)


def _text(value: Any) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    return ",".join(in_full(part) if isinstance(part, float) else str(part) for part in parts)
