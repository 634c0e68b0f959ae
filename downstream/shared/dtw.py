"""Subsequence dynamic time warping: searches many queries in many documents at once.

The step pattern is the asymmetric one of Rabiner & Juang (1993) with open begin and end, as in the package `dtw-python`: every
frame of the query is used once, and advances by 0, 1 or 2 frames of the document. On a CPU the recursion is a compiled loop
(`alignment.py`), on other devices torch computes one query frame at a time over all documents; both agree to about 1e-6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

TINY = 1e-9
CELLS = 4_000_000
"""Number of costs in memory at once on a CPU: 16 MB, which fit into the last cache of many processors."""


def search(queries: Sequence[Tensor], documents: Sequence[Tensor]) -> Tensor:
    """Returns the least cost of a path, per query frame, (query, document), for queries and documents (time, dim).

    All frames have unit length and are on one device; the costs are those of `cosine_exp`.
    """
    if documents[0].device.type != "cpu":
        block = padded(documents)
        return torch.stack([least_costs(cosine_exp(query, block)) for query in queries])
    frames, columns = torch.cat(list(documents)), _starts(documents)
    least = np.empty((len(queries), len(documents)), np.float32)
    for first, batch in _batches(queries, max(CELLS // len(frames), 1)):
        costs = (-torch.cat(batch) @ frames.T).exp_()  # the other terms of the cost cancel in the mapping to [0, 1]
        _aligned(costs.numpy(), _starts(batch), columns, least[first : first + len(batch)])
    return torch.from_numpy(least)


def _starts(sounds: Sequence[Tensor]) -> np.ndarray:
    """Returns the start of each sound in their concatenation, and its end."""
    return np.cumsum([0, *(len(sound) for sound in sounds)])


def _batches(queries: Sequence[Tensor], room: int) -> Iterator[tuple[int, list[Tensor]]]:
    """Yields batches of queries of at most `room` frames, but at least one query, with the number of the first."""
    first, batch = 0, list[Tensor]()
    for number, query in enumerate(queries):
        if batch and sum(map(len, batch)) + len(query) > room:
            yield first, batch
            first, batch = number, []
        batch.append(query)
    if batch:
        yield first, batch


def _aligned(costs: np.ndarray, rows: np.ndarray, columns: np.ndarray, least: np.ndarray) -> None:
    """Runs the compiled loop over documents, on as many threads as torch may use."""
    from downstream.shared.alignment import align  # importing numba is slow, and only a search needs it

    threads = torch.get_num_threads()
    edges = np.searchsorted(
        columns, np.linspace(0, columns[-1], threads + 1)
    )  # about the same number of frames for each thread
    if threads == 1:
        align(costs, rows, columns, 0, len(columns) - 1, least)
        return
    with ThreadPoolExecutor(threads) as pool:
        parts = [pool.submit(align, costs, rows, columns, a, b, least) for a, b in pairwise(edges)]
        for part in parts:
            part.result()


def padded(documents: Sequence[Tensor]) -> Tensor:
    """Returns documents (time, dim) as one tensor (document, longest, dim), each padded with its last frame.

    Repeating the last frame changes neither the range of the costs nor the least cost: a path through the padding has the same
    cost as a path that stays on the last frame. Therefore no mask is needed.
    """
    longest = max(len(document) for document in documents)
    places = torch.arange(longest)
    return torch.stack([document[places.clamp(max=len(document) - 1).to(document.device)] for document in documents])


def cosine_exp(query: Tensor, documents: Tensor) -> Tensor:
    """Computes costs (query time, document, document time) of a query (query time, dim) in documents (document, time, dim).

    All frames have unit length. The cost is exp(1 - cos) - 1. Then each row (the costs of a query frame in a document) is
    mapped to [0, 1] by its least and its greatest value. A row of equal costs is 0.
    """
    count, longest, dim = documents.shape
    cosine = query @ documents.reshape(-1, dim).T
    cost = cosine.neg_().add_(1).exp_().reshape(len(query), count, longest)  # the "- 1" cancels in the mapping to [0, 1]
    least, greatest = cost.aminmax(dim=2, keepdim=True)
    return cost.sub_(least).div_((greatest - least).clamp_(min=TINY))


def least_costs(costs: Tensor) -> Tensor:
    """Returns the least cost of a path in each document, per query frame (document,), of `costs` (query time, document, time).

    A[0, j] = C[0, j]; A[i, j] = C[i, j] + min(A[i-1, j], A[i-1, j-1], A[i-1, j-2]); min over j of A[n-1, j], over n.
    """
    steps, count, longest = costs.shape
    before = costs.new_full((count, longest + 2), torch.inf)  # two columns before the document, where no path starts
    total = before[:, 2:]
    total.copy_(costs[0])
    for cost in costs[1:]:
        cheapest = torch.minimum(total, before[:, 1:-1])
        torch.minimum(cheapest, before[:, :-2], out=cheapest)
        torch.add(cheapest, cost, out=total)
    return total.amin(dim=1) / steps
