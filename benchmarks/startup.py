"""How long does the command line take to start?

`import superbench`, `superbench --help` and `superbench list tasks` as processes of their own, in turns with a Python that does
nothing, and with `import torch` for comparison. Printed: medians of the wall time, and how many bare interpreters each costs.
The first round warms the caches of the disk and is not counted.

  python benchmarks/startup.py --rounds 11
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

import paired

COMMANDS = {
    "python": ["-c", "pass"],
    "import superbench": ["-c", "import superbench"],
    "superbench --help": ["-m", "superbench", "--help"],
    "superbench list tasks": ["-m", "superbench", "list", "tasks"],
    "import torch": ["-c", "import torch"],
}
GOALS = {"import superbench": 0.3, "superbench --help": 0.5, "superbench list tasks": 0.5}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = paired.parser(__doc__, rounds=9)
    options = parser.parse_args(arguments)
    sides: dict[str, Callable[[], object]] = {name: _process(command) for name, command in COMMANDS.items()}
    timings = paired.in_turns(sides, options.rounds)
    for name in COMMANDS:
        goal = f"  (goal: at most {GOALS[name]} s)" if name in GOALS else ""
        print(f"{name:24} {timings.median(name):6.2f} s{goal}")
    for name in GOALS:
        paired.show(timings.ratio(name, "python"), f"{name} / a Python that does nothing")


def _process(command: Sequence[str]) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *command], check=True, capture_output=True)


if __name__ == "__main__":
    main()
