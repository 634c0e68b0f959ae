"""How many pairs of query and document does QbE search in a second? `python benchmarks/query_by_example.py`

The same pairs are searched by superbench, all of them at once, and one after the other by dtw-python, as the reference
implementation does, and by librosa: first from frames of unit length, so that the cost matrices are part of the work, then from
costs that are computed beforehand (ours still maps each row to [0, 1]). Documents last 3.3 to 9.9 s (QUESST 2014: 23 h in
12 492 utterances, 6.6 s each), queries 0.5 to 1.5 s.

The forecast is EXTRAPOLATED from the pairs measured, by the number of cells of their cost matrices: 138 dev and 138 eval
queries in 2 438 documents, every layer. (A run searches every layer on dev, and on eval only the one that was chosen.)
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

import librosa
import numpy as np
import paired
import torch
from torch import Tensor
from torch.nn.functional import normalize

from downstream.shared.alignment import align
from downstream.shared.dtw import search

DOCUMENT_SECONDS, QUERY_SECONDS = 23 * 3600 / 12_492, 1.0
QUERIES, DOCUMENTS, LAYERS = 138 + 138, 2_438, 13
STEPS = {"step_sizes_sigma": np.array([[1, 0], [1, 1], [1, 2]]), "weights_add": np.zeros(3), "weights_mul": np.ones(3)}
MATRIX = 1e-6
"""Largest tolerated difference between results."""


def main(argv: list[str] | None = None) -> None:
    """Measures all sides on the same pairs, compares their costs, and prints ratios and a forecast."""
    options = arguments(argv)
    paired.settle(options)
    random = np.random.default_rng(0)
    queries = [drawn(random, QUERY_SECONDS, options) for _ in range(options.queries)]
    documents = [drawn(random, DOCUMENT_SECONDS, options) for _ in range(options.documents)]
    pairs = len(queries) * len(documents)
    cells = sum(map(len, queries)) * sum(map(len, documents))
    print(f"{pairs} pairs, {cells / pairs:.0f} cells each, hop {options.hop}, {options.dim} dimensions")

    results: dict[str, np.ndarray] = {}
    matrices = [[costs(query, document) for document in documents] for query in queries]
    block = (-torch.cat(queries) @ torch.cat(documents).T).exp().numpy()
    on_device = [[sound.to(options.device) for sound in sounds] for sounds in (queries, documents)]

    def ours() -> None:
        results["superbench"] = search(*on_device).cpu().numpy()

    def each(name: str) -> None:
        results[name] = np.array([[SIDES[name](costs(q, d)) / len(q) for d in documents] for q in queries])

    def ours_alone() -> None:
        align(
            block, starts(queries), starts(documents), 0, len(documents), np.empty((len(queries), len(documents)), np.float32)
        )

    def each_alone(name: str) -> None:
        [SIDES[name](matrix) for row in matrices for matrix in row]

    sides = {"superbench": ours, **{name: partial(each, name) for name in SIDES}}
    alone = {"superbench": ours_alone, **{name: partial(each_alone, name) for name in SIDES}}
    timings, aligned = paired.in_turns(sides, options.rounds), paired.in_turns(alone, options.rounds)
    for name in sides:
        print(f"{name}: {pairs / timings.median(name):.0f} pairs a second; alignment alone {pairs / aligned.median(name):.0f}")
    for name in SIDES:
        largest = float(np.abs(results["superbench"] - results[name]).max())
        assert largest < MATRIX, f"{name} has other costs: they differ by {largest:.2g}"
        paired.show(timings.ratio(name, "superbench"), f"pairs per second / {name}; costs differ by at most {largest:.1e}")
        paired.show(aligned.ratio(name, "superbench"), f"the same, alignment alone on one thread / {name}")
    forecast(timings.median("superbench") / cells, options)


def forecast(seconds: float, options: argparse.Namespace) -> None:
    """Prints the time of the complete task, given the seconds per cell."""
    frames = QUERY_SECONDS * DOCUMENT_SECONDS * (16_000 / options.hop) ** 2
    layer = seconds * frames * QUERIES * DOCUMENTS
    where = options.device if options.device == "cuda" else f"{options.threads} thread(s)"
    print(
        f"forecast on {where}: {QUERIES * DOCUMENTS:,} pairs of one layer in {layer / 60:.1f} min, "
        f"all {QUERIES * DOCUMENTS * LAYERS:,} of {LAYERS} layers in {LAYERS * layer / 3600:.2f} h; "
        f"a run (all layers on dev, one on eval) in {(LAYERS + 1) / 2 * layer / 3600:.2f} h"
    )


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    made = paired.parser(__doc__, rounds=5)
    made.add_argument("--queries", type=int, default=16, help="queries (16)")
    made.add_argument("--documents", type=int, default=24, help="documents (24)")
    made.add_argument("--dim", type=int, default=768, help="dimensions of a frame (768)")
    made.add_argument("--hop", type=int, default=320, help="samples of a frame (320)")
    made.add_argument("--threads", type=int, default=1, help="threads of superbench on the CPU (1)")
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where superbench searches (cpu)")
    return made.parse_args(argv)


def drawn(random: np.random.Generator, seconds: float, options: argparse.Namespace) -> Tensor:
    """Frames (time, dim) of unit length, of a sound that lasts half to one and a half times `seconds`."""
    length = max(round(seconds * random.uniform(0.5, 1.5) * 16_000 / options.hop), 5)
    return normalize(torch.from_numpy(random.standard_normal((length, options.dim), np.float32)), dim=1)


def starts(sounds: Sequence[Tensor]) -> np.ndarray:
    """Returns the start of each sound in their concatenation, and its end."""
    return np.cumsum([0, *map(len, sounds)])


def costs(query: Tensor, document: Tensor) -> np.ndarray:
    """The cost matrix of a pair as the reference makes it: exp(1 - cos) - 1, each row mapped to [0, 1]."""
    raw = np.exp(1.0 - (query.numpy() @ document.numpy().T).astype(np.float64)) - 1.0
    least = raw.min(1, keepdims=True)
    return (raw - least) / np.maximum(raw.max(1, keepdims=True) - least, 1e-9)


def by_dtw_python(matrix: np.ndarray) -> float:
    """Returns the least cost of a path."""
    import dtw  # prints a greeting when it is imported

    return float(dtw.dtw(matrix, step_pattern="asymmetric", open_begin=True, open_end=True, distance_only=True).distance)


def by_librosa(matrix: np.ndarray) -> float:
    """Returns the least cost of a path. The query is never longer than the document: librosa would exchange them."""
    return float(librosa.sequence.dtw(C=matrix, subseq=True, backtrack=False, **STEPS)[-1].min())


SIDES = {"dtw-python": by_dtw_python, "librosa": by_librosa}

if __name__ == "__main__":
    main()
