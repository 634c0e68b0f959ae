"""The application: all commands. Large modules are imported inside the commands, so that `--help` and `list` are fast."""

from __future__ import annotations

import typer

from superbench.__version__ import __version__
from superbench.cli import (
    backup,
    board,
    check,
    data,
    demo,
    diff,
    export,
    generate,
    listing,
    pairs,
    plan,
    pretrain,
    report,
    results,
    run,
    serve,
    status,
    store,
    submit,
    task,
    tokens,
)

app = typer.Typer(
    name="superbench",
    help="How good is a speech model's representation, at everything, against everyone else's?\n\n"
    "Start with `superbench demo`: it runs ten SUPERB tasks on miniature corpora with a pretrained model, and writes a ranked "
    "board, in minutes. "
    "Then `superbench run UPSTREAM --tasks all --data /corpora --out results`. `--debug` on any command shows tracebacks.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"superbench {__version__}")
        raise typer.Exit


@app.callback()
def root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version.")) -> None:
    """Define the options of all commands."""


app.command("demo")(demo.demo)
app.command("list")(listing.list_)
app.command("check")(check.check)
app.add_typer(data.app, name="data")
app.add_typer(store.app, name="store")
app.add_typer(task.app, name="task")
app.command("pretrain")(pretrain.pretrain)
app.command("generate")(generate.generate)
app.command("pairs")(pairs.pairs)
app.command("plan")(plan.plan)
app.command("run")(run.run)
app.command("status")(status.status)
app.command("report")(report.report)
app.command("results")(results.results)
app.command("diff")(diff.diff)
app.command("export")(export.export)
app.command("submit")(submit.submit)
app.add_typer(board.app, name="board")
app.command("serve")(serve.serve)
app.command("references")(submit.references)
app.command("token")(tokens.token)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
