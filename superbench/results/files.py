"""Reads and writes the files of one result: the record (see `result`), its predictions, or the record of a failure.

`OUT/<upstream>/<task>/` contains `result.json` and `predictions.jsonl.gz` (and `learning.csv` if heads are trained), or
`failure.json`. Protocols that train nothing have a subfolder there, `few-shot/` or `in-context/`.

Each file is written atomically, the result last: a folder with a `result.json` is complete.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from superbench.contract import UNTRAINED, Prediction
from superbench.errors import BadResult
from superbench.results.pair_results import is_of_pairs
from superbench.results.predictions import pack, read_predictions
from superbench.results.result import Result
from superbench.system.files import whole, write_table, write_text
from superbench.system.records import first_fault

REPLACED = "replaced"
"""Folder next to a result for the results that it replaced, each in a folder named after its job."""
LEARNING = "learning.csv"
"""Learning curves, if heads are trained: a row for every evaluation of every probe."""


def write_result(
    folder: Path, result: Result, predictions: Sequence[Prediction], learning: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write the predictions, then the result; remove the record of an earlier failure.

    If heads are trained, `learning.csv` has a row for every evaluation of every probe. The result contains digests of itself
    and of these files (its seal). Raises `StoreError` on a full disk.
    """
    (folder / LEARNING).unlink(missing_ok=True)
    if learning:
        write_table(folder / LEARNING, list(learning[0]), learning)
    with whole(folder / result.predictions) as temporary:
        temporary.write_bytes(pack(predictions))
    files = {"predictions": folder / result.predictions} | ({"learning": folder / LEARNING} if learning else {})
    seal = {"result": _digest(result)} | {name: _digest_of_file(path) for name, path in files.items()}
    sealed = result.model_copy(update={"environment": {**result.environment, "seal": seal}})
    write_text(folder / "result.json", sealed.to_json())
    (folder / "failure.json").unlink(missing_ok=True)


def read_result(folder: Path) -> Result:
    """Read the result of a folder; raises `BadResult`, which names the first invalid field."""
    path = folder / "result.json"
    try:
        return Result.model_validate_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise BadResult(f"{path} is damaged: {error}. Run the task again.") from error
    except OSError as error:
        raise BadResult(f"{path} cannot be read: {error.strerror}. Run the task again.") from error
    except ValidationError as error:
        raise BadResult(f"{path} is not a result of schema 1 or 2: {first_fault(error)}. Run the task again.") from error


def check_whole(folder: Path, result: Result) -> None:
    """Check that the result of this folder and its files are unchanged since they were written; raises `BadResult`.

    Results of superbench 0.1 have no seal; for them, only the format of the predictions is checked.
    """
    path, seal = folder / result.predictions, result.environment.get("seal")
    if not isinstance(seal, dict):
        read_predictions(path)
        return
    if seal.get("result") != _digest(result):
        raise BadResult(f"{folder / 'result.json'} is damaged: its content has changed since it was written.")
    for file, digest in ((path, seal.get("predictions")), (folder / LEARNING, seal.get("learning"))):
        if (digest is not None or file == path) and _digest_of_file(file) != digest:
            raise BadResult(f"{file} is damaged: its content has changed since it was written.")


def damage(folder: Path, result: Result) -> str:
    """The sentence that says how the result of this folder was changed since it was written; empty if it was not."""
    try:
        check_whole(folder, result)
    except BadResult as error:
        return f"{error} Run the task again."
    return ""


def _digest_of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadResult(f"{path} cannot be read: {error.strerror}.") from error


def _digest(result: Result) -> str:
    """Digest of all that a result says but for its seal and what a clock gave: the same job has the same seal."""
    facts = result.model_dump(mode="json", by_alias=True, exclude={"seconds"})
    for part, name in (("environment", "seal"), ("environment", "date"), ("efficiency", "real_time_factor")):
        facts[part].pop(name, None)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def write_failure(folder: Path, task: str, upstream: str, error: str, message: str) -> None:
    """Record why a task failed; the next result of the task removes this file."""
    text = {"task": task, "upstream": upstream, "error": error, "message": message}
    write_text(folder / "failure.json", json.dumps(text, indent=1, ensure_ascii=False) + "\n")


def name_of(result: Result) -> str:
    """Return the name of a result among those of its upstream, which is also its folder: `ks`, `ks/few-shot`."""
    task = result.task
    return f"{task.name}/{task.protocol}" if task.protocol in UNTRAINED else task.name


def find_results(root: Path) -> list[Path]:
    """Return the folders with a `result.json` in `root`, or one or two levels below, sorted; those of protocols that train
    nothing (`few-shot/`, `in-context/`) also three levels below. A folder that several links point to is returned once.
    Replaced results are returned only if `root` is their own folder; results on minimal pairs are others (`pair_results`)."""
    depths = ("", "*/", "*/*/", *(f"*/*/{protocol}/" for protocol in sorted(UNTRAINED)))
    folders = sorted({path.parent for depth in depths for path in root.glob(f"{depth}result.json")})
    replaced = re.compile(rf"(^|/){REPLACED}/\w{{16}}$")
    current = [
        folder for folder in folders if not replaced.search(folder.relative_to(root).as_posix()) and not is_of_pairs(folder)
    ]
    return list({folder.resolve(): folder for folder in reversed(current)}.values())[::-1]


def require_results(root: Path) -> list[Path]:
    """Return the folders that `find_results` returns; raises `BadResult` if there is none."""
    if not (folders := find_results(root)):
        below = [path for path in sorted(root.glob("*/")) if find_results(path)]
        advice = f"There are results in {below[0]}." if below else "Give a folder that `superbench run --out` wrote."
        raise BadResult(f"{root} contains no result.json. {advice}")
    return folders


def read_results(root: Path) -> dict[Path, Result]:
    """Read the results in `root` or below it, by folder; raises `BadResult` if there is none, or if one cannot be read.

    For commands that show results; they show the `damage` of each with it.
    """
    return {folder: read_result(folder) for folder in require_results(root)}


def read_whole_results(root: Path) -> dict[Path, Result]:
    """The same for commands that pass results on: also raises `BadResult` if one was changed since it was written."""
    results = read_results(root)
    for folder, result in results.items():
        if reason := damage(folder, result):
            raise BadResult(reason)
    return results
