"""`superbench pairs`: scores a model that continues on minimal pairs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superbench.cli.arguments import AsJson, Device
from superbench.cli.printing import echo_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from superbench.runs.pairs import PairScore, SetScore


def pairs(
    name: Annotated[str, typer.Argument(help="A model that tells how likely a sound is: speech_gpt@FILE", show_default=False)],
    data: Annotated[Path, typer.Option(help="Folder with the sets: lexical/ and syntactic/ (ZeroSpeech 2021), tSC/, the parts of SALMon; or with folders that hold them", show_default=False)],
    sets: Annotated[str | None, typer.Option(help="Names: swuggy,sblimp,tsc,salmon [default: those that exist in DATA]", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of results; writes `<upstream>/pairs/<set>/result.json`, and returns those that are there", show_default=False)] = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:  # fmt: skip
    """Score a model on minimal pairs: is a word likelier than a non-word, a sentence than one with its words in another order,
    a voice that stays than one that changes? Nothing is trained, and no example is given.

    A pair counts 1 if the right sound has the higher log-likelihood per unit, 1/2 on a tie, 0 if not. 50 is chance.

    Example: superbench data pairs --out pairs, then superbench pairs speech_gpt@gpt.safetensors --data pairs
    """
    from superbench.cli.display import stages
    from superbench.results.pair_results import CHANCE
    from superbench.runs.pairs import minimal_pairs
    from superbench.system.progress import Silence

    chosen = None if sets is None else [part.strip() for part in sets.lower().split(",")]
    with stages() as reporter:
        scores = minimal_pairs(name, data, sets=chosen, out=out, device=device, reporter=Silence() if as_json else reporter)
    if as_json:
        echo_json({"chance": CHANCE, "rule": "log-likelihood per unit", **asdict(scores)})
    else:
        _show(scores.sets)


def _show(scores: Sequence[SetScore]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from superbench.cli.display import console

    table = Table("set", "score %", "95 % interval", "pairs", "ties", box=SIMPLE_HEAD)
    for score in scores:
        table.add_row(score.name, *_cells(score.total))
        for part, own in score.parts.items():
            table.add_row(f"  {part}", *_cells(own))
    console.print(table)
    console.print("50 is chance. A pair counts 1/2 on a tie; the likelihoods are those per unit.")


def _cells(score: PairScore) -> tuple[str, ...]:
    interval = f"{score.ci[0]:.1f} to {score.ci[1]:.1f}" if score.ci else "none"
    return f"{score.score:.1f}", interval, str(score.pairs), str(score.ties)
