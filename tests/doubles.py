"""What stands for the real thing in more than one test file: results and bundles without a model, a training that is cut."""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import io
import json
import types
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from superbench import plugins
from superbench.contract import Prediction, Score
from superbench.plugins import task
from superbench.results import Result, write_result
from superbench.results.draws import by_episode, interval_over_draws, mean_score
from superbench.results.intervals import interval
from superbench.results.shots import controls_of
from superbench.system.progress import Reporter, Silence

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


# ---------------------------------------------------------------- results without a gradient

SHOTS = ((1, 10), (5, 10), ("all", 1))
"""K, and how often the examples are drawn."""


def said_at(right: int, shots: Sequence[tuple[Any, int]] = SHOTS) -> list[Prediction]:
    """Predictions at every K: `right` speakers are right at K = 1, four more at each greater K, one more in each third draw."""
    return [
        replace(prediction, k=k, draw=draw)
        for place, (k, draws) in enumerate(shots)
        for draw in range(draws)
        for prediction in said(right + 4 * place + (draw % 3 == 0))
    ]


@functools.cache
def scores_of_draws(right: int, shots: tuple[tuple[Any, int], ...]) -> dict[Any, tuple[int, Score, tuple[float, float, str]]]:
    """K -> number of draws, mean accuracy and its interval, of `said_at(right, shots)`."""
    score = task("ks").score
    drawn = {
        k: [(rows, score(rows, {})["accuracy"]) for rows in draws] for k, draws in by_episode(said_at(right, shots)).items()
    }
    return {k: (len(draws), mean_score(draws), interval_over_draws(draws)) for k, draws in drawn.items()}


def made_at(
    name: str,
    right: int,
    *,
    protocol: str = "few-shot",
    shots: Sequence[tuple[Any, int]] = SHOTS,
    controls: dict[str, float] | None = None,
    **more: Any,
) -> Result:
    """The result of `said_at(right)`, with a receipt for each of two hidden states, the first of which is the better one."""
    drawn = scores_of_draws(right, tuple(shots))
    entries, setting = [], {"layer": 0, "centring": "mean"}
    for k, (draws, mean, (low, high, _)) in drawn.items():
        always = dict.fromkeys(controls_of(protocol, k), 8.0)
        entries.append({"k": k, "draws": draws, "setting": setting, "score": mean.value, "ci": [low, high],
                        "floor": 100 / 12, "controls": always | (controls or {})})  # fmt: skip
    _, largest, (low, high, method) = [*drawn.values()][-1]
    facts = {"value": largest.value, "unit": "%", "higher_is_better": True, "ci": [low, high], "ci_method": method,
             "counts": dict(largest.counts)}  # fmt: skip
    sweep = [
        {
            "fold": "all",
            "lr": None,
            "seed": None,
            "dev": 50.0 - layer,
            "steps": 0,
            "setting": {"k": k, **setting, "layer": layer},
        }
        for k in drawn
        for layer in (0, 1)
    ]
    record = made(name, right).model_dump(mode="json", by_alias=True) | {
        "schema": 2, "scores": {"accuracy": facts}, "sweep": sweep, "shots": entries,
        "task": {"name": "ks", "version": task("ks").card.version, "protocol": protocol},
        "chosen": {str(k): {"lr": None, "seed": None, "step": 0, "setting": setting} for k in drawn},
        "upstream": {"name": name, "revision": "r", "params": 10, "hop": 160, "layers": 2, "dim": 4},
        "environment": {"spec": "apc@x", "prepared": "mini"},
    }  # fmt: skip
    return Result.model_validate(record | more)


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


def forged(bundle: bytes, change: Callable[[dict[str, Any]], object], name: str = "ks") -> bytes:
    """The bundle with `change` made to its record of keyword spotting (or of the entry `name`), and a manifest that fits."""
    record = json.loads(members(bundle)[f"{name}/result.json"])
    change(record)
    files = {f"{name}/result.json": json.dumps(record).encode()}
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


# ---------------------------------------------------------------- models


def revision_and_loudness(spec: str, reporter: Reporter | None = None) -> tuple[str, float]:
    """The revision of a model, and the sum of its features of 0.2 s of a constant."""
    loaded = plugins.upstream(plugins.parse(spec))
    return loaded.revision, float(loaded.model(torch.ones(1, 3200), torch.tensor([3200])).frames.sum())


def with_emotions(place: Path, a_result: Callable[..., Any], name: str, right: int, **more: Any) -> Path:
    """Adds an invented result of emotion recognition to keyword spotting: a second task of the same model."""
    emotions = plugins.task("sid")
    said = [Prediction(f"{n:03}.wav", "all", (f"s{n}",), "id10001", "id10001" if n < right else "id10002") for n in range(48)]
    record = a_result(name, 20, **more).model_dump(mode="json", by_alias=True)
    record["task"] |= {"name": "sid", "version": emotions.card.version}
    record["scores"] = scores_of("sid", said)
    rates = emotions.card.recipes["mini"].learning_rates
    record["sweep"] = [receipt(lr, 50.0 - i) for i, lr in enumerate(rates)]
    record["chosen"]["all"]["lr"] = rates[0]
    record["data"]["items"]["test"] = 48
    write_result(place / "sid", Result.model_validate(record), said)
    return place


# ---------------------------------------------------------------- trackers


class FakeTrackers:
    """Modules that stand in for wandb and trackio: they record their calls in `calls`, as (name, arguments)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.wandb, self.trackio = (types.ModuleType(name) for name in ("wandb", "trackio"))
        for module in (self.wandb, self.trackio):
            module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
            vars(module).update(init=self.init, log=self.log, finish=self.finish)

    def init(self, **given: Any) -> Any:
        """Begin a run; returns an object with `log` and `finish`."""
        self.calls.append(("init", given))
        return types.SimpleNamespace(log=self.log, finish=self.finish)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record values."""
        self.calls.append(("log", (step, dict(values))))

    def finish(self) -> None:
        """End the run."""
        self.calls.append(("finish", None))
