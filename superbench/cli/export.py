"""`superbench export`: writes results in the formats of the official leaderboard and of model hubs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from superbench.errors import CommandError


class Form(str, Enum):
    """The formats that can be written."""

    predict = "predict"
    hf = "hf"


def export(
    folder: Annotated[Path, typer.Argument(help="One upstream's results: `OUT/<upstream>` of superbench run", show_default=False)],
    to: Annotated[Form, typer.Option("--to", help="predict: the official upload folder; hf: metadata for a model hub", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder to write into")] = Path("export"),
    tasks: Annotated[str, typer.Option(help="all, or names: pr,ks")] = "all",
    url: Annotated[str | None, typer.Option(help="hf: public address of the results, such as a board [default: SUPERB's paper]", show_default=False)] = None,
) -> None:  # fmt: skip
    """Write results for the official SUPERB leaderboard, or for a model hub.

    `--to predict` writes OUT/predict/ with the files of the leaderboard's upload (pr_public/predict.ark, …) and a README.md that
    lists what is not official. `--to hf` writes a model card with `model-index`, and .eval_results/.

    Example: superbench export results/apc --to predict --out upload && (cd upload && zip -r predict.zip predict)
    """
    from superbench import plugins
    from superbench.cli.display import console, stages
    from superbench.results.export import predict
    from superbench.results.modelcard import PROTOCOL_PAPER, card

    if url is not None and to is not Form.hf:
        raise CommandError("--url can only be used with --to hf. Remove it.")
    names = [] if tasks == "all" else plugins.names_of(list(filter(None, tasks.split(","))))
    with stages() as reporter:
        if to is Form.predict:
            exported = predict(folder, out, names, reporter)
        else:
            exported = card(folder, out, names, url or PROTOCOL_PAPER)
    console.print(f"Wrote {exported.folder}: {', '.join(exported.tasks)}", markup=False)
    for warning in exported.warnings:
        console.print("! ", style="yellow", end="")
        console.print(warning, markup=False)
