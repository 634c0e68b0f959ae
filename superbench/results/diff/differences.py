"""What differs in how two results were made, the weightiest first, each with why it matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from superbench.results.result import Result, is_miniature
from superbench.results.rows import Row


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact, what it is on either side (None: absent), and why it matters."""

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


_TOLD = (
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
    "job",
    "source",
    "options",
    "libraries",
    "outputs",
    "seal",
)

FACETS = (
    _Facet("task version", lambda r: r.task.version, "a new version of a task may move every score: not comparable"),
    _Facet(
        "protocol",
        lambda r: r.task.protocol,
        "another recipe, and for mini other corpora: the numbers measure different things",
    ),
    _Facet(
        "data fingerprint",
        lambda r: r.data.fingerprint,
        "other sound, items, labels or trials: part of the difference is the data's",
    ),
    _Facet("items", lambda r: r.data.items, "another number of items to learn from or to be tested on"),
    _Facet("deviations", lambda r: r.deviations or None, "a shortened or changed recipe can move a score by tens of points"),
    _Facet("upstream revision", lambda r: r.upstream.revision, "other weights, configuration or source: another model"),
    _Facet(
        "hidden states", lambda r: f"{r.upstream.layers} × {r.upstream.dim}", "the head sees other layers and another width"
    ),
    _Facet(
        "stride (ms)", lambda r: r.upstream.hop / 16, "finer or coarser frames: CTC needs enough of them, SD's labels follow"
    ),
    _Facet("learning rate", _chosen("lr"), "the one choice that SUPERB leaves open; SID moves by ten points with it"),
    _Facet("setting", _chosen("setting"), "chosen without learning: a layer (QbE), a checkpoint (ASV), a threshold (SD)"),
    _Facet("sweep", _sweep, "a wider grid finds a better learning rate; the best at its edge may not be the best there is"),
    _Facet(
        "seeds", lambda r: sorted({x.seed for x in r.sweep if x.seed is not None}), "initialisation and dropout: --seeds 0,1,2"
    ),
    _Facet("best step", _chosen("step"), "when dev was best; a step near the last asks for a longer training"),
    _Facet(
        "data passport",
        lambda r: r.model_dump()["data"]["passport"],
        "the same lists over other sound: length, sample rates, trials",
    ),
    _Facet(
        "doctor's findings", _certificate, "a model that feels its batch mates, or is not repeatable, measures its batches too"
    ),
    _Facet("notes", lambda r: r.notes or None, "what the run itself found worth saying"),
    _Facet("dtype", _environment("dtype"), "half precision rounds features: usually below 0.1 points"),
    _Facet(
        "device", _environment("device"), "sums in another order: usually below 0.1 points, more where training is unstable"
    ),
    _Facet("superbench", _environment("superbench"), "the changelog's heading Scores says what moved"),
    _Facet(
        "packages",
        _environment("torch", "torchaudio", "numpy", "python", "libraries"),
        "other kernels and random streams: usually small",
    ),
    _Facet(
        "environment",
        lambda r: {key: value for key, value in r.environment.items() if key not in _TOLD} or None,
        "recorded with the run; an effect is not known",
    ),
    _Facet("threads", _environment("threads"), "sums in another order: the last digits"),
    _Facet("machine", _environment("platform"), "the last digits"),
    _Facet("date", _environment("date"), "none by itself"),
)
"""From what makes numbers incomparable down to what moves their last digits."""


def differences(a: Result, b: Result) -> list[Difference]:
    """All that differs between two results of a task."""
    found = []
    for facet in FACETS:
        one, other = _pruned(facet.of(a), facet.of(b))
        if one != other:
            found.append(Difference(facet.what, one, other, facet.why))
    return found


def _pruned(a: Any, b: Any) -> tuple[Any, Any]:
    """Of two mappings (in mappings), or two lists of sentences, only what the other lacks."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        pairs = {key: _pruned(a.get(key), b.get(key)) for key in {**a, **b} if a.get(key) != b.get(key)}
        return {key: one for key, (one, _) in pairs.items() if key in a}, {
            key: other for key, (_, other) in pairs.items() if key in b
        }
    if all(isinstance(side, list) and all(isinstance(one, str) for one in side) for side in (a, b)):
        return [one for one in a if one not in b], [one for one in b if one not in a]
    return a, b


def to_published(result: Result, row: Row, flipped: bool) -> list[Difference]:
    """How a result differs from a published row, of which little is known. `flipped`: the published row is side A."""

    def facts() -> Iterator[tuple[str, Any, Any, str]]:
        """What differs, the result's side, the published side, why it matters."""
        if result.task.protocol != "superb":
            yield "protocol", result.task.protocol, "superb", FACETS[1].why
        corpora = "a synthetic miniature" if is_miniature(result) else f"fingerprint {result.data.fingerprint}"
        yield "data", corpora, "the official corpora", "a printed number comes without its lists: nothing can be paired"
        if result.deviations:
            yield "deviations", result.deviations, None, FACETS[4].why
        if row.params is not None and abs(row.params - result.upstream.params) > 0.01 * max(row.params, 1):
            yield "parameters", result.upstream.params, row.params, "another size of model"
        if row.hop is not None and row.hop != result.upstream.hop:
            yield "stride (ms)", result.upstream.hop / 16, row.hop / 16, FACETS[7].why
        yield "learning rate", _chosen("lr")(result), "not published", FACETS[8].why
        implementation = f"superbench {result.environment.get('superbench', '?')}"
        yield (
            "implementation",
            implementation,
            f"s3prl, or as {row.source} says",
            "docs and tests/parity say where the two differ",
        )
        if result.notes:
            yield "notes", result.notes, None, "what the run itself found worth saying"
        yield "interval", "of the test set's groups", None, "a printed number does not say how sure it is"

    return [Difference(what, other if flipped else own, own if flipped else other, why) for what, own, other, why in facts()]
