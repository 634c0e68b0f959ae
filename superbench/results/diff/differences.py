"""Lists the differences in how two results were made, the most important first, each with its likely effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from superbench.results.result import Result, is_miniature
from superbench.results.rows import Row


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact that differs: its value on each side (None: absent), and why it matters."""

    what: str
    a: Any
    b: Any
    why: str


@dataclass(frozen=True, slots=True)
class _Facet:
    what: str
    of: Callable[[Result], Any]
    why: str


def _certificate(result: Result) -> dict[str, Any]:
    return {name: finding.get("holds") for name, finding in result.certificate.items() if isinstance(finding, dict)}


def _sweep(result: Result) -> dict[str, Any]:
    rates = sorted({receipt.lr for receipt in result.sweep if receipt.lr is not None}, reverse=True)
    diverged = sum(receipt.status == "diverged" for receipt in result.sweep)
    return {"learning rates": rates, "points": len(result.sweep)} | ({"diverged": diverged} if diverged else {})


def _chosen(*keys: str) -> Callable[[Result], Any]:
    def of(result: Result) -> Any:
        """Returns the chosen values of a result, by fold only if the folds differ."""
        chosen: dict[str, dict[str, Any]] = {fold: dict(choice) for fold, choice in result.chosen.items()}
        by_fold = {fold: {key: choice[key] for key in keys if choice.get(key)} for fold, choice in chosen.items()}
        values = list(by_fold.values())
        same = all(value == values[0] for value in values)
        return _bare(values[0]) if values and same else {fold: _bare(value) for fold, value in by_fold.items()}

    return of


def _bare(value: dict[str, Any]) -> Any:
    return next(iter(value.values())) if len(value) == 1 else value or None


def _environment(*keys: str) -> Callable[[Result], Any]:
    return lambda result: _bare({key: value for key, value in result.environment.items() if key in keys})


_SHOWN_ELSEWHERE = (
    "superbench",
    "python",
    "torch",
    "torchaudio",
    "numpy",
    "dtype",
    "device",
    "threads",
    "platform",
    "date",
    "spec",
    "command",
    "plugin",
    "job",
    "source",
    "options",
    "libraries",
    "outputs",
    "seal",
)

FACETS = (
    _Facet("task version", lambda r: r.task.version, "a new version of a task may change every score: not comparable"),
    _Facet(
        "protocol",
        lambda r: r.task.protocol,
        "another recipe, and for mini also other corpora: the scores measure different things",
    ),
    _Facet(
        "data fingerprint",
        lambda r: r.data.fingerprint,
        "other audio, items, labels or trials: these explain part of the difference",
    ),
    _Facet("items", lambda r: r.data.items, "another number of items for training or test"),
    _Facet("deviations", lambda r: r.deviations or None, "a shortened or changed recipe can change a score by tens of points"),
    _Facet("upstream revision", lambda r: r.upstream.revision, "other weights, configuration or source code: another model"),
    _Facet(
        "hidden states",
        lambda r: f"{r.upstream.layers} × {r.upstream.dim}",
        "the head receives another number of layers or dimensions",
    ),
    _Facet(
        "stride (ms)",
        lambda r: r.upstream.hop / 16,
        "shorter or longer frames: CTC needs enough frames, and SD's labels have the same stride",
    ),
    _Facet("learning rate", _chosen("lr"), "the only choice that SUPERB leaves open; it can change SID by ten points"),
    _Facet("setting", _chosen("setting"), "chosen without training: a layer (QbE), a checkpoint (ASV), a threshold (SD)"),
    _Facet("sweep", _sweep, "a wider grid may contain a better learning rate, above all if the best one is at its edge"),
    _Facet(
        "seeds", lambda r: sorted({x.seed for x in r.sweep if x.seed is not None}), "initialisation and dropout: --seeds 0,1,2"
    ),
    _Facet(
        "best step", _chosen("step"), "the step with the best dev value; if it is near the last one, longer training may help"
    ),
    _Facet(
        "data passport",
        lambda r: r.model_dump()["data"]["passport"],
        "the lists or audio files differ: length, sample rates, trials",
    ),
    _Facet(
        "doctor's findings",
        _certificate,
        "if features depend on the other items in the batch, or are not repeatable, so do the scores",
    ),
    _Facet("notes", lambda r: r.notes or None, "remarks of the run itself"),
    _Facet("dtype", _environment("dtype"), "frames in 8 bits per value are rounded more than in half precision (the default)"),
    _Facet(
        "device", _environment("device"), "sums in another order: usually less than 0.1 points, more if training is unstable"
    ),
    _Facet("superbench", _environment("superbench"), "see the headings Scores of the changelog"),
    _Facet(
        "packages",
        _environment("torch", "torchaudio", "numpy", "python", "libraries"),
        "other kernels and random numbers: usually a small effect",
    ),
    _Facet(
        "environment",
        lambda r: {key: value for key, value in r.environment.items() if key not in _SHOWN_ELSEWHERE} or None,
        "recorded with the run; no known effect",
    ),
    _Facet("threads", _environment("threads"), "sums in another order: affects the last digits"),
    _Facet("machine", _environment("platform"), "affects the last digits"),
    _Facet("date", _environment("date"), "no effect by itself"),
)
"""Ordered from differences that make scores incomparable to differences that change their last digits."""


def differences(a: Result, b: Result) -> list[Difference]:
    """Return all differences between two results of a task."""
    differing = []
    for facet in FACETS:
        first, second = _pruned(facet.of(a), facet.of(b))
        if first != second:
            differing.append(Difference(facet.what, first, second, facet.why))
    return differing


def _pruned(a: Any, b: Any) -> tuple[Any, Any]:
    """Remove what both sides have in common from two mappings (recursively), or from two lists of texts."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        pairs = {key: _pruned(a.get(key), b.get(key)) for key in {**a, **b} if a.get(key) != b.get(key)}
        return {key: first for key, (first, _) in pairs.items() if key in a}, {
            key: second for key, (_, second) in pairs.items() if key in b
        }
    if all(isinstance(side, list) and all(isinstance(first, str) for first in side) for side in (a, b)):
        return [first for first in a if first not in b], [first for first in b if first not in a]
    return a, b


def to_published(result: Result, row: Row, flipped: bool) -> list[Difference]:
    """Return the known differences between a result and a published row. `flipped`: the published row is side A."""

    def facts() -> Iterator[tuple[str, Any, Any, str]]:
        """Yield the name of the fact, its value in the result and in the published row, and why it matters."""
        if result.task.protocol != "superb":
            yield "protocol", result.task.protocol, "superb", FACETS[1].why
        corpora = "a synthetic miniature" if is_miniature(result) else f"fingerprint {result.data.fingerprint}"
        yield "data", corpora, "the official corpora", "a published number has no item lists, so nothing can be paired"
        if result.deviations:
            yield "deviations", result.deviations, None, FACETS[4].why
        if row.params is not None and abs(row.params - result.upstream.params) > 0.01 * max(row.params, 1):
            yield "parameters", result.upstream.params, row.params, "another model size"
        if row.hop is not None and row.hop != result.upstream.hop:
            yield "stride (ms)", result.upstream.hop / 16, row.hop / 16, FACETS[7].why
        yield "learning rate", _chosen("lr")(result), "not published", FACETS[8].why
        implementation = f"superbench {result.environment.get('superbench', '?')}"
        yield (
            "implementation",
            implementation,
            f"s3prl, or see {row.source}",
            "docs and tests/parity list where the two differ",
        )
        if result.notes:
            yield "notes", result.notes, None, "remarks of the run itself"
        yield "interval", "of the test set's groups", None, "a published number has no confidence interval"

    return [
        Difference(what, theirs if flipped else ours, ours if flipped else theirs, why) for what, ours, theirs, why in facts()
    ]
