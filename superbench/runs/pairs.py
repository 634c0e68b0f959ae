"""`superbench pairs`: does a model that continues find the right one of two sounds likelier? No example, no head, no training.

A pair counts 1 if the log-likelihood per unit of the right sound is higher, ½ on a tie (equal within 10⁻⁶), 0 if not, as in
the evaluations of sWUGGY and sBLIMP (arXiv 2011.11588) and SALMon (arXiv 2409.07437). The score of an item is averaged over
voices first, then over items, in percent; 50 is chance. Intervals resample items and voices together.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from superbench import plugins
from superbench.contract import Continuing, Likelihood, Pair, PairSet, Prediction, Score
from superbench.contract.scoring import ratio
from superbench.data.audio import load
from superbench.errors import BadUpstream, CommandError, MissingCorpus, Occupied
from superbench.plugins.continuing import that_continue
from superbench.plugins.pair_sets import pair_sets
from superbench.results.intervals import interval
from superbench.results.pair_results import FOLDER, PairResult, read_pair_result, write_pair_result
from superbench.runs.make_result import environment
from superbench.system.devices import device_of
from superbench.system.progress import Reporter, Silence
from superbench.training.few_shot.in_context.likelihoods import require_possible

TOGETHER = 16
"""Pairs whose sounds a model gets at once."""
TIE = 1e-6
"""Relative difference below which two likelihoods per unit are equal."""


@dataclass(frozen=True, slots=True)
class PairScore:
    """The score of some pairs in percent, its 95 % interval (None if a single group leaves none), and counts."""

    score: float
    ci: tuple[float, float] | None
    ci_method: str
    pairs: int
    ties: int


@dataclass(frozen=True, slots=True)
class SetScore:
    """The score of a set of minimal pairs, and of its parts by name."""

    name: str
    total: PairScore
    parts: dict[str, PairScore]


@dataclass(frozen=True, slots=True)
class PairScores:
    """The scores of a model: its name, the digest of its weights and sources, and the sets on which it was scored."""

    upstream: str
    revision: str
    sets: tuple[SetScore, ...]


def minimal_pairs(
    upstream: str,
    data: Path | str,
    *,
    sets: Sequence[str] | None = None,
    out: Path | str | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> PairScores:
    """Scores a model that continues (a spec) on sets of minimal pairs under `data`; by default, on those that exist there.

    With `out`, the result of each set is written to `out/<upstream>/pairs/<set>/result.json` as soon as it is there, and one
    that is there already is returned. Raises `Occupied` if that belongs to another model or to other pairs, `CommandError` for
    a model that tells no likelihood of a sound, `MissingCorpus`, `BadCorpus`, `BadAudio`, `BadUpstream`.
    """
    data, progress, torch_device = Path(data), reporter or Silence(), device_of(device)
    read = {known.name: known.read(folder) for known, folder in _folders(data, sets)}
    loaded = plugins.upstream(plugins.parse(upstream), torch_device)
    _require_sounds(loaded.model, loaded.alias)
    place = None if out is None else Path(out) / loaded.spec.folder / FOLDER
    scores = tuple(
        _scored(name, pairs, loaded, torch_device, None if place is None else place / name, progress)
        for name, pairs in read.items()
    )
    return PairScores(loaded.alias, loaded.revision, scores)


def _scored(
    name: str, pairs: Sequence[Pair], loaded: plugins.Loaded, device: str, folder: Path | None, progress: Reporter
) -> SetScore:
    """Returns the score of a set: that of the result in `folder`, or a new one, which is written to it."""
    began, data = time.perf_counter(), "" if folder is None else _digest(pairs)
    if folder is not None and (found := _earlier(folder, loaded, data)) is not None:
        return found
    points = []
    for point in _points(loaded.model, loaded.alias, pairs, device):
        points.append(point)
        progress.advance(name, len(points), len(pairs))
    score = set_score(name, pairs, points)
    if folder is not None:
        write_pair_result(folder, _result(score, loaded, data, device, time.perf_counter() - began))
    return score


# ---------------------------------------------------------------- results


def _digest(pairs: Sequence[Pair]) -> str:
    """Returns a digest of the pairs, and of all their sounds."""
    digest = hashlib.sha256()
    for pair in pairs:
        row = [pair.item, pair.voice, pair.part]
        for audio in (pair.right, pair.wrong):
            with audio.path.open("rb") as file:
                row += [hashlib.file_digest(file, "sha256").hexdigest(), str(audio.start), str(audio.end)]
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()[:16]


def _earlier(folder: Path, loaded: plugins.Loaded, data: str) -> SetScore | None:
    """Returns the score of a finished result in `folder`; None if there is none."""
    if not (folder / "result.json").is_file():
        return None
    earlier = read_pair_result(folder)
    differs = [
        f"{what} {before}, and this is {now}"
        for what, before, now in (
            ("the model", earlier.upstream.revision, loaded.revision), ("pairs", earlier.data, data)
        )
        if before != now
    ]  # fmt: skip
    if differs:
        raise Occupied(
            f"{folder} has a result of {'; of '.join(differs)}. Nothing was overwritten: give this model another name "
            f"(name={loaded.spec.text}), or another --out."
        )
    parts = {name: PairScore(**dict(part)) for name, part in earlier.parts.items()}
    return SetScore(earlier.set, PairScore(**dict(earlier.total)), parts)


def _result(score: SetScore, loaded: plugins.Loaded, data: str, device: str, seconds: float) -> PairResult:
    model = {"name": loaded.alias, "revision": loaded.revision, "params": loaded.params}
    parts = {name: asdict(part) for name, part in score.parts.items()}
    record = {
        "schema": 1, "set": score.name, "upstream": model, "total": asdict(score.total), "parts": parts, "data": data,
        "environment": environment(device), "seconds": round(seconds, 3),
    }  # fmt: skip
    return PairResult.model_validate(record)


def set_score(name: str, pairs: Sequence[Pair], points: Sequence[float]) -> SetScore:
    """Returns the score of a set from the points of its pairs (1, ½ or 0)."""
    parts = {}
    for part in sorted({pair.part for pair in pairs} - {""}):
        members = [(pair, point) for pair, point in zip(pairs, points, strict=True) if pair.part == part]
        parts[part] = _score([pair for pair, _ in members], [point for _, point in members])
    return SetScore(name, _score(pairs, points), parts)


def _score(pairs: Sequence[Pair], points: Sequence[float]) -> PairScore:
    voices = Counter((pair.part, pair.item) for pair in pairs)
    weights = [1 / voices[pair.part, pair.item] for pair in pairs]
    counts = {"right": float(sum(points)), "pairs": float(len(pairs))}
    score = ratio([p * w for p, w in zip(points, weights, strict=True)], weights, higher_is_better=True, counts=counts)
    low, high, method = _interval(pairs, points, score)
    ci = (low, high) if math.isfinite(low) and math.isfinite(high) else None
    ties = sum(point == 0.5 for point in points)
    return PairScore(score=score.value, ci=ci, ci_method=method, pairs=len(pairs), ties=ties)


def _interval(pairs: Sequence[Pair], points: Sequence[float], score: Score) -> tuple[float, float, str]:
    several = len({pair.voice for pair in pairs}) > 1
    predictions = []
    for pair, point in zip(pairs, points, strict=True):
        group = (f"{pair.part} {pair.item}", *([f"voice {pair.voice}"] if several else []))
        predictions.append(Prediction(id=" ".join(group), fold="all", group=group, reference=1.0, prediction=point))
    return interval(predictions, score)


# ---------------------------------------------------------------- likelihoods


def _points(model: Any, alias: str, pairs: Sequence[Pair], device: str) -> Iterator[float]:
    for at in range(0, len(pairs), TOGETHER):
        some = pairs[at : at + TOGETHER]
        sounds = [audio for pair in some for audio in (pair.right, pair.wrong)]
        with torch.inference_mode():
            (answers,) = model.log_likelihood([[]], [[[load(audio).to(device)] for audio in sounds]])
        if len(answers) != len(sounds):
            raise BadUpstream(
                f"{alias} returned likelihoods of {len(answers)} continuations; expected {len(sounds)}. Correct its "
                "log_likelihood."
            )
        rates = [_per_unit(answer, alias, audio.path) for answer, audio in zip(answers, sounds, strict=True)]
        yield from (_point(right, wrong) for right, wrong in zip(rates[::2], rates[1::2], strict=True))


def _per_unit(answer: Likelihood, alias: str, path: Path) -> float:
    if answer.tokens < 1:
        raise BadUpstream(f"{alias} makes no unit of {path}, so its likelihood says nothing. Correct its log_likelihood.")
    require_possible(answer, alias, f"the sound {path}")
    return answer.value / answer.tokens


def _point(right: float, wrong: float) -> float:
    """1 if the right one is likelier, ½ on a tie, else 0.

    >>> _point(-1.0, -2.0), _point(-1.0, -1.0000001), _point(-2.0, -1.0)
    (1.0, 0.5, 0.0)
    """
    return 0.5 if math.isclose(right, wrong, rel_tol=TIE) else float(right > wrong)


def _require_sounds(model: Any, alias: str) -> None:
    if not isinstance(model, Continuing) or model.reads_text:
        why = "its answers are texts" if isinstance(model, Continuing) else "it has no method `log_likelihood`"
        can = [name for name in that_continue() if "/" not in name]
        raise CommandError(
            f"{alias} cannot be scored on minimal pairs, because it does not tell how likely a sound is ({why}). These can: "
            f"{', '.join(can)}."
        )


# ---------------------------------------------------------------- folders


def _folders(data: Path, names: Sequence[str] | None) -> list[tuple[PairSet, Path]]:
    """Returns the sets, each with the folder that holds its own; raises `MissingCorpus`."""
    known = pair_sets(names)
    found = [(one, folder) for one in known if (folder := _folder(data, one)) is not None]
    missing = [one for one in known if all(one is not other for other, _ in found)]
    if missing and names is not None:
        raise MissingCorpus(f"{data} has no {_looked_for(missing[0])}. {missing[0].obtain}")
    if not found:
        looked = "; ".join(f"{one.name}: {_looked_for(one)}" for one in known)
        raise MissingCorpus(
            f"{data} has no minimal pairs. Looked for {looked}. To try the command: superbench data pairs --out {data}"
        )
    return found


def _folder(data: Path, wanted: PairSet) -> Path | None:
    """Returns `data`, or the first folder directly in it, that holds a folder of the set."""
    places = [data, *sorted(path for path in data.glob("*") if path.is_dir())]
    return next((place for place in places if any((place / name).is_dir() for name in wanted.folders)), None)


def _looked_for(wanted: PairSet) -> str:
    return f"folder {' or '.join(wanted.folders)} (in it, or one folder deeper)"
