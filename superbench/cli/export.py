"""`superbench export`: results in the forms that others take."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from superbench.errors import CommandError


class Form(str, Enum):
    """What can be written."""

    predict = "predict"
    hf = "hf"


def export(
    folder: Annotated[Path, typer.Argument(help="One upstream's results: `OUT/<upstream>` of superbench run", show_default=False)],
    to: Annotated[Form, typer.Option("--to", help="predict: the official upload folder; hf: metadata for a model hub", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder to write into")] = Path("export"),
    tasks: Annotated[str, typer.Option(help="all that are there, or names: pr,ks")] = "all",
    url: Annotated[str | None, typer.Option(help="hf: where the results can be seen, such as a board [default: SUPERB's paper]", show_default=False)] = None,
) -> None:  # fmt: skip
    """Write results for the official SUPERB leaderboard, or for a model hub.

    `--to predict` writes OUT/predict/ with the files that the leaderboard's upload holds (pr_public/predict.ark, …) and a
    README.md that says what in it is not official. `--to hf` writes a model card with `model-index`, and .eval_results/.

    Example: superbench export results/apc --to predict --out upload && (cd upload && zip -r predict.zip predict)
    """
    from superbench.cli.display import console, stages
    from superbench.results.export import predict
    from superbench.results.modelcard import PROTOCOL_PAPER, card

    if url is not None and to is not Form.hf:
        raise CommandError("--url belongs to --to hf. Leave it out.")
    names = [] if tasks == "all" else list(filter(None, tasks.split(",")))
    with stages() as reporter:
        if to is Form.predict:
            done = predict(folder, out, names, reporter)
        else:
            done = card(folder, out, names, url or PROTOCOL_PAPER)
    console.print(f"Wrote {done.folder}: {', '.join(done.tasks)}", markup=False)
    for warning in done.warnings:
        console.print("! ", style="yellow", end="")
        console.print(warning, markup=False)
