"""Results on minimal pairs: `OUT/<upstream>/pairs/<set>/result.json`, with the score of the set and of its parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError

from superbench.errors import BadResult
from superbench.results.result import Surroundings
from superbench.system.files import write_text
from superbench.system.records import Amount, Count, Digest, Few, Line, Name, Real, Record
from superbench.system.spelling import visible

if TYPE_CHECKING:
    from rich.table import Table

FOLDER = "pairs"
"""The folder of an upstream in which each set has one."""
CHANCE = 50.0


class PairFacts(Record):
    """The score of some pairs in percent, its 95 % interval (null if a single group leaves none), and counts."""

    score: Annotated[Real, Field(ge=0, le=100)]
    ci: tuple[Real, Real] | None
    ci_method: Line
    pairs: Count
    ties: Count


class ScoredUpstream(Record):
    """The model: alias, and digest of weights and source code."""

    name: Name
    revision: Name
    params: Count


class PairResult(Record):
    """The result of one model on one set. `data` is the digest of all sounds, and of which stands against which; `rule`: what
    is compared."""

    schema_: Literal[1] = Field(1, alias="schema")
    set: Name
    upstream: ScoredUpstream
    total: PairFacts
    parts: Few[PairFacts]
    chance: Real = CHANCE
    rule: Line = "log-likelihood per unit"
    data: Digest
    environment: Surroundings
    seconds: Amount


def write_pair_result(folder: Path, result: PairResult) -> None:
    """Write `result.json` into a folder, which is created."""
    record = result.model_dump(mode="json", by_alias=True)
    write_text(folder / "result.json", json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_pair_result(folder: Path) -> PairResult:
    """Read the result of a folder; raises `BadResult`, which names the first invalid field."""
    path = folder / "result.json"
    try:
        return PairResult.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadResult(f"{path} cannot be read: {error}. Remove it, and run `superbench pairs` again.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadResult(
            f"{path} is not a result on minimal pairs: {where}: {first['msg']}. Remove it, and run `superbench pairs` again."
        ) from error


def pair_results(root: Path) -> list[PairResult]:
    """Read all results on minimal pairs in `root`, or up to three levels below, by folder."""
    folders = {path.parent for depth in ("", "*/", "*/*/", "*/*/*/") for path in root.glob(f"{depth}result.json")}
    return [read_pair_result(folder) for folder in sorted(folders) if is_of_pairs(folder)]


def is_of_pairs(folder: Path) -> bool:
    """Return whether the result of a folder is one on minimal pairs."""
    return folder.absolute().parent.name == FOLDER


def as_table(results: list[PairResult]) -> Table:
    """Return a table for rich, a line for each upstream, set and part."""
    from rich.table import Table
    from rich.text import Text

    table = Table("upstream", "minimal pairs", "score %", "95 % interval", "pairs", "ties", title="minimal pairs · chance 50")
    for result in results:
        for name, score in {result.set: result.total, **{f"  {part}": own for part, own in result.parts.items()}}.items():
            interval = f"{score.ci[0]:.1f} to {score.ci[1]:.1f}" if score.ci else "none"
            cells = (visible(result.upstream.name), visible(name), f"{score.score:.1f}", interval)
            table.add_row(*map(Text, (*cells, str(score.pairs), str(score.ties))))
    return table
