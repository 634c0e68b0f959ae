"""The command that makes a result again, as it stands in the record. Private paths of data and files are left out."""

from __future__ import annotations

import shlex
from typing import Any

from superbench.results.draws import DRAWS
from superbench.runs.options import Options
from superbench.system.ranges import in_full


def command_of(spec: str, task: str, options: Options) -> str:
    """Returns the command that runs one task on one upstream with these options.

    >>> command_of("apc@apc.safetensors", "ks", Options("mini", learning_rates=(0.01, 0.001), seeds=(0, 1), layer=2))
    'superbench run apc@apc.safetensors --tasks ks --data DATA --protocol mini --lr 0.01,0.001 --seeds 0,1 --layer 2'
    """
    changed: dict[str, Any] = {
        "--lr": options.learning_rates, "--seeds": None if options.seeds == (0,) else options.seeds,
        "--max-steps": options.max_steps, "--layer": options.layer, "--chunk": options.chunk_seconds,
        "--precision": None if options.precision == "float32" else options.precision, "--shots": options.shots,
        "--draws": None if options.draws == DRAWS else options.draws,
    }  # fmt: skip
    words = ["superbench", "run", spec, "--tasks", task, "--data", "DATA", "--protocol", options.protocol]
    for name, value in changed.items():
        words += [] if value is None else [name, _text(value)]
    for variant in options.variants:
        words += ["--variant", variant]
    return shlex.join(words)


def _text(value: Any) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    return ",".join(in_full(part) if isinstance(part, float) else str(part) for part in parts)
