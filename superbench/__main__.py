"""The console script: runs a command, and turns what went wrong into one paragraph and an exit status (1 job, 2 command)."""

from __future__ import annotations

import sys

from superbench.cli import printing
from superbench.errors import SuperbenchError
from superbench.system.interrupts import Interrupts
from superbench.system.spelling import visible
from superbench.system.user import settle


def main() -> None:
    """Entry point of `superbench`; `--debug`, anywhere on the line, shows tracebacks."""
    interrupts = Interrupts()
    interrupts.listen()
    printing.prepare()
    settle()
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    try:
        from superbench.cli.app import app

        app(obj=debug)
    except BaseException as error:
        if interrupts.interrupted:  # whatever a library made of it: a plugin that could not be imported, for example
            interrupts.end()
        if debug or not isinstance(error, SuperbenchError):
            raise
        print(visible(f"superbench: {error}"), file=sys.stderr)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
