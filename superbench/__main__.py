"""The console script: runs a command, and turns what went wrong into one paragraph and an exit status (1 job, 2 command)."""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""The status that typer makes of an interrupt from the keyboard."""


def main() -> None:
    """Entry point of `superbench`; `--debug`, anywhere on the line, shows tracebacks."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    from superbench.cli.app import app
    from superbench.errors import SuperbenchError

    try:
        app(obj=debug)
    except SuperbenchError as error:
        if debug:
            raise
        print(f"superbench: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("\nsuperbench: stopped. Run the same command again; it goes on from here.", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
