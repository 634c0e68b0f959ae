"""The files of one result: the record (see `result`), the predictions beside it, and the note of a failure.

`OUT/<upstream>/<task>/` holds `result.json` and `predictions.jsonl.gz` (and `learning.csv` where heads learn), or
`failure.json`. The result is written last, each file whole or not at all: a folder with a `result.json` is complete.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from superbench.contract import Prediction
from superbench.errors import BadResult
from superbench.results.predictions import pack, read_predictions
from superbench.results.result import Result
from superbench.system.files import whole, write_table, write_text

SCHEMA = 1
REPLACED = "replaced"
"""Folder beside a result for those that it took the place of, each in a folder named after its job."""
LEARNING = "learning.csv"
"""Where heads learn: a row for every look at every probe."""


def write_result(
    folder: Path, result: Result, predictions: Sequence[Prediction], learning: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write predictions, then the result; a failure that was noted there is removed. Where heads learn, `learning.csv` says
    how: a row for every look at every probe. The result is sealed with digests of itself and of these files. Raises
    `StoreError` on a full disk."""
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
    """The result of a folder; raises `BadResult` that says which field is wrong."""
    path = folder / "result.json"
    try:
        return Result.model_validate_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise BadResult(f"{path} is damaged: {error}. Run the task again.") from error
    except OSError as error:
        raise BadResult(f"{path} cannot be read: {error.strerror}. Run the task again.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadResult(f"{path} is not a result of schema {SCHEMA}: {where}: {first['msg']}. Run the task again.") from error


def check_whole(folder: Path, result: Result) -> None:
    """Are a result of this folder and the files beside it what was written? Raises `BadResult` that says what is not.

    Results of superbench 0.1 have no seal: of their predictions, only that they can be read is looked at.
    """
    path, seal = folder / result.predictions, result.environment.get("seal")
    if not isinstance(seal, dict):
        read_predictions(path)
        return
    if seal.get("result") != _digest(result):
        raise BadResult(f"{folder / 'result.json'} is damaged: it does not hold what was written.")
    for file, digest in ((path, seal.get("predictions")), (folder / LEARNING, seal.get("learning"))):
        if (digest is not None or file == path) and _digest_of_file(file) != digest:
            raise BadResult(f"{file} is damaged: it does not hold what was written.")


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
    """Note why a task failed; the next success removes it."""
    text = {"task": task, "upstream": upstream, "error": error, "message": message}
    write_text(folder / "failure.json", json.dumps(text, indent=1, ensure_ascii=False) + "\n")


def find_results(root: Path) -> list[Path]:
    """Folders with a `result.json` at, one below, or two below `root`, sorted; one that links lead to twice is given once.
    Results that were replaced are found where `root` names their folder."""
    found = sorted({path.parent for depth in ("", "*/", "*/*/") for path in root.glob(f"{depth}result.json")})
    standing = [folder for folder in found if not re.search(rf"(^|/){REPLACED}/\w{{16}}$", folder.relative_to(root).as_posix())]
    return list({folder.resolve(): folder for folder in reversed(standing)}.values())[::-1]


def read_results(root: Path) -> dict[Path, Result]:
    """The results that `find_results` finds, by folder; raises `BadResult` where there is none, or for a damaged one."""
    if not (folders := find_results(root)):
        raise BadResult(f"{root} holds no result.json. Give a folder that `superbench run --out` wrote.")
    return {folder: read_result(folder) for folder in folders}
