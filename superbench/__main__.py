"""The console script: runs a command, and turns what went wrong into one paragraph and an exit status (1 job, 2 command)."""

from __future__ import annotations

import sys

from superbench.interrupts import STATUS, Interrupts


def main() -> None:
    """Entry point of `superbench`; `--debug`, anywhere on the line, shows tracebacks."""
    interrupts = Interrupts()
    interrupts.listen()
    try:
        _command()
    except KeyboardInterrupt:
        interrupts.end()
    except SystemExit as end:
        if end.code == STATUS:  # typer's, of an interrupt
            interrupts.end()
        raise


def _command() -> None:
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    from superbench.cli.app import app
    from superbench.errors import SuperbenchError

    try:
        app()
    except SuperbenchError as error:
        if debug:
            raise
        print(f"superbench: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
