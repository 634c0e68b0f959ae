"""What stands for the real thing in more than one test file: results and bundles without a model, a training that is cut."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from superbench.contract import Prediction
from superbench.plugins import task
from superbench.results import Result
from superbench.results.intervals import interval
from superbench.system.progress import Silence

WORDS = ("yes", "no")

# ---------------------------------------------------------------- results


def score_facts(value: float, **more: Any) -> dict[str, Any]:
    """A score as a result has it: per cent, without an interval."""
    return {"value": value, "unit": "%", "higher_is_better": True, "counts": {}, **more}


def scores_of(kind: str, said: Sequence[Prediction], ci: Callable[..., Sequence[Any]] = interval) -> dict[str, Any]:
    """The scores of a task's predictions, with the intervals that `ci` gives."""
    facts = {}
    for metric, score in task(kind).score(list(said), {}).items():
        low, high, method = ci(said, score)
        same = {"unit": score.unit, "higher_is_better": score.higher_is_better, "counts": dict(score.counts)}
        facts[metric] = score_facts(score.value, **same, ci=[low, high], ci_method=method)
    return facts


def receipt(lr: float, dev: float | None = 50.0) -> dict[str, Any]:
    """One point of a sweep."""
    return {"fold": "all", "lr": lr, "seed": 0, "dev": dev, "steps": 10}


def result(
    name: str,
    *,
    kind: str = "ks",
    version: int = 1,
    protocol: str = "mini",
    model: Mapping[str, Any] | None = None,
    **instead: Any,
) -> Result:
    """A result that says no more than it must; `instead` replaces whole parts of it, `model` single facts of the upstream."""
    record = {
        "schema": 1, "task": {"name": kind, "version": version, "protocol": protocol},
        "upstream": {"name": name, "revision": "r", "params": 10, "hop": 160, "layers": 1, "dim": 4, **(model or {})},
        "scores": {"accuracy": score_facts(50.0)}, "primary": task(kind).card.primary, "sweep": [receipt(0.1)],
        "chosen": {"all": {"lr": 0.1, "seed": 0, "step": 10, "setting": {}}},
        "data": {"fingerprint": "f", "items": {"test": 60}}, "environment": {"spec": "apc@x"},
        "seconds": {"extract": 1, "train": 1, "evaluate": 1}, "predictions": "predictions.jsonl.gz", **instead,
    }  # fmt: skip
    return Result.model_validate(record)


# ---------------------------------------------------------------- keyword spotting by models of known skill


def said(right: int) -> list[Prediction]:
    """96 predictions; `right` of 48 speakers get their two words right."""
    return [
        Prediction(f"{word}/{n}.wav", "all", (f"s{n}",), word, word if n < right else "stop")
        for n in range(48)
        for word in WORDS
    ]


@functools.cache
def scores_of_skill(right: int) -> dict[str, Any]:
    """The scores of `said(right)`: a thousand resamples, the same for every model of that skill."""
    return scores_of("ks", said(right))


def made(
    name: str,
    right: int,
    *,
    protocol: str = "mini",
    fingerprint: str = "f",
    spec: str = "apc@x",
    revision: str = "r",
    **more: Any,
) -> Result:
    """The result of `said(right)`, as `superbench run` would have written it, with the receipts of the recipe's sweep."""
    card = task("ks").card
    rates = card.recipes[protocol].learning_rates
    return result(
        name, version=card.version, protocol=protocol, model={"revision": revision},
        **{
            "scores": scores_of_skill(right),
            "sweep": [receipt(rate, 50.0 - i) for i, rate in enumerate(rates)],
            "chosen": {"all": {"lr": rates[0], "seed": 0, "step": 10, "setting": {}}},
            "data": {"fingerprint": fingerprint, "items": {"test": 96}}, "environment": {"spec": spec}, **more,
        },
    )  # fmt: skip


# ---------------------------------------------------------------- bundles


def members(bundle: bytes) -> dict[str, bytes]:
    """The files in a bundle."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files: Iterable[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    """An archive of files; nobody looks whether they are a bundle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def rezipped(bundle: bytes, change: Mapping[str, bytes], *, honest: bool = False, upstream: str | None = None) -> bytes:
    """The bundle with some members changed; `honest`: with a manifest that fits them, and names `upstream`."""
    files = members(bundle) | dict(change)
    if honest:
        manifest = json.loads(files.pop("manifest.json"))
        manifest["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        manifest["upstream"] = manifest["upstream"] if upstream is None else upstream
        files = {"manifest.json": json.dumps(manifest).encode(), **files}
    return zipped(files.items())


def forged(bundle: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The bundle with `change` made to its record of keyword spotting, and a manifest that fits."""
    record = json.loads(members(bundle)["ks/result.json"])
    change(record)
    files = {"ks/result.json": json.dumps(record).encode()}
    return rezipped(bundle, files, honest=True, upstream=record["upstream"]["name"])


# ---------------------------------------------------------------- a training that is cut off


class Cut(Exception):
    """In place of SIGKILL."""


class Scissors(Silence):
    """Ends a training of heads at an update."""

    def __init__(self, after: int) -> None:
        self.after = after

    def advance(self, stage: str, done: float, total: float) -> None:
        if stage.startswith("train") and done >= self.after:
            raise Cut
