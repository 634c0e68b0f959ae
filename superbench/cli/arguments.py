"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from superbench.errors import CommandError

MOST_DIGITS = 9
"""Characters of a range of hidden states."""
BOARD = "The board: a folder, a file .db (SQLite), or postgresql://USER@HOST/NAME"
MOST_IN_RANGE = 20
"""Numbers of a range that a message writes out."""
Create = Annotated[bool, typer.Option("--create", help="Make an empty board if there is none")]


Tasks = Annotated[str, typer.Option(help="all, or names: pr,asr,ks,qbe,sid,asv,sd,er,ic,sf; an own task is FILE.py:NAME")]
DATA = Path("data")
"""The usual folder of the corpora."""
Protocol = Annotated[str | None, typer.Option(help="superb, superb-once or mini train heads [default: mini on miniature corpora, else superb]; few-shot and in-context train nothing", show_default=False)]  # fmt: skip
Device = Annotated[str, typer.Option(help="auto, cpu, cuda (every visible GPU), or some: cuda:0,cuda:3")]
Rates = Annotated[str | None, typer.Option("--lr", help="Learning rates in place of the recipe's grid: 1e-3,1e-4", show_default=False)]  # fmt: skip
Seeds = Annotated[
    str,
    typer.Option(
        help="Seeds of initialisation and dropout: 0,1,2; the score is that of the lowest, and the result also has mean, standard deviation and interval over all"
    ),
]
MaxSteps = Annotated[int | None, typer.Option(help="Updates to train, in place of the recipe's (a deviation)", min=1, show_default=False)]  # fmt: skip
ShotNumbers = Annotated[str | None, typer.Option("--shots", help="Numbers of examples for few-shot and in-context: 0,1,5,20,all [default: those of the task]", show_default=False)]  # fmt: skip
Draws = Annotated[
    int, typer.Option("--draws", help="How often the examples are drawn, for few-shot and in-context", min=1, max=1000)
]
Variants = Annotated[list[str] | None, typer.Option("--variant", help="A variant of a task's recipe (`superbench check ks` lists the names); may be repeated", show_default=False)]  # fmt: skip
StoreFolder = Annotated[Path | None, typer.Option(help="Feature store [default: the user's cache folder]", show_default=False)]
Limit = Annotated[int | None, typer.Option(help="For a smoke test: the most items of each split (recorded in the result as a deviation)", show_default=False)]  # fmt: skip
StoreFormats = Annotated[str, typer.Option("--store-format", help="Format of frames: float16, or int8 (8 bits per value, half the disk space; recorded in the result as a deviation)")]  # fmt: skip
Track = Annotated[str | None, typer.Option("--track", help="Send learning curves to tensorboard, wandb or trackio (extra track); wandb stays offline unless WANDB_MODE is set", show_default=False)]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


def corpora_of(data: Path | None, tasks: str) -> Path | None:
    """Return the folder of the corpora. Own tasks know the place of their corpus: if there are no others and no folder was given,
    it is the folder of the first file."""
    from superbench.plugins import is_file

    names = tasks.split(",")
    if data is None and tasks != "all" and all(map(is_file, names)):
        return Path(names[0].rpartition(":")[0]).expanduser().parent
    return data


def shots(text: str | None) -> tuple | None:
    """Parse numbers of examples; raises `CommandError`."""
    if text is None:
        return None
    try:
        return tuple(part if part == "all" else int(part) for part in (part.strip().lower() for part in text.split(",")))
    except ValueError as error:
        raise CommandError(
            f"--shots {text!r}: expected numbers of examples, or all, separated by commas, as in --shots 0,1,5,20,all."
        ) from error


def layers(text: str | None) -> tuple[int, ...] | None:
    """Parse numbers of hidden states; raises `CommandError`.

    >>> layers("0,6,12"), layers("0-2,6")
    ((0, 6, 12), (0, 1, 2, 6))
    """
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(part) > MOST_DIGITS:
            raise CommandError(
                f"--layers {text!r}: expected numbers or ranges of hidden states, as in --layers 0,6,12 or 0-12."
            )
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def numbers(option: str, text: str | None, kind: type) -> tuple | None:
    """Parse the numbers of an option, separated by commas; raises `CommandError`."""
    if text is None:
        return None
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        whole = "whole numbers" if kind is int else "numbers"
        raise CommandError(
            f"{option} {text!r}: expected {whole} separated by commas, as in {_example(option, text, kind)}."
        ) from error


def _example(option: str, text: str, kind: type) -> str:
    """Return a valid option; for a short range of whole numbers, the one that was probably meant.

    >>> _example("--seeds", "0-3", int), _example("--seeds", "a", int), _example("--lr", "x", float)
    ('--seeds 0,1,2,3', '--seeds 0,1,2', '--lr 1e-3,1e-4')
    """
    if kind is not int:
        return f"{option} 1e-3,1e-4"
    ends = re.fullmatch(r"\s*(\d{1,9})\s*(?:-|\.\.|:)\s*(\d{1,9})\s*", text)
    if ends and 0 <= int(ends[2]) - int(ends[1]) < MOST_IN_RANGE:
        return f"{option} {','.join(map(str, range(int(ends[1]), int(ends[2]) + 1)))}"
    return f"{option} 0,1,2"
