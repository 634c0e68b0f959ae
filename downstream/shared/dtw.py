"""Where in a document is a query? Subsequence dynamic time warping, many queries against many documents at once.

The asymmetric step pattern of Rabiner & Juang (1993) with open begin and end, as the package `dtw-python` computes it: every
frame of the query is used once, and moves on by 0, 1 or 2 frames of the document. On a CPU the recursion is a compiled loop
(`alignment.py`), elsewhere it is torch's, one query frame at a time over all documents; both give the same to about 1e-6.
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
"""Costs that stand in memory at once on a CPU: 16 MB, which a processor's last cache may hold."""


def search(queries: Sequence[Tensor], documents: Sequence[Tensor]) -> Tensor:
    """Least cost of a path, per query frame, (query, document), of queries and documents (time, dim), all frames of unit length
    and on one device; the costs are those of `cosine_exp`."""
    if documents[0].device.type != "cpu":
        block = padded(documents)
        return torch.stack([least_costs(cosine_exp(query, block)) for query in queries])
    frames, columns = torch.cat(list(documents)), _starts(documents)
    found = np.empty((len(queries), len(documents)), np.float32)
    for first, some in _batches(queries, max(CELLS // len(frames), 1)):
        costs = (-torch.cat(some) @ frames.T).exp_()  # what the cost has besides falls out of the mapping to [0, 1]
        _aligned(costs.numpy(), _starts(some), columns, found[first : first + len(some)])
    return torch.from_numpy(found)


def _starts(sounds: Sequence[Tensor]) -> np.ndarray:
    """Where each begins when they stand one after another, and the end."""
    return np.cumsum([0, *(len(one) for one in sounds)])


def _batches(queries: Sequence[Tensor], room: int) -> Iterator[tuple[int, list[Tensor]]]:
    """Queries of at most `room` frames together, but at least one, with the number of the first."""
    first, some = 0, list[Tensor]()
    for number, query in enumerate(queries):
        if some and sum(map(len, some)) + len(query) > room:
            yield first, some
            first, some = number, []
        some.append(query)
    if some:
        yield first, some


def _aligned(costs: np.ndarray, rows: np.ndarray, columns: np.ndarray, found: np.ndarray) -> None:
    """The compiled loop over documents, on as many threads as torch may use."""
    from downstream.shared.alignment import align  # numba takes a while to import, and only a search needs it

    threads = torch.get_num_threads()
    edges = np.searchsorted(columns, np.linspace(0, columns[-1], threads + 1))  # about as many frames for every thread
    if threads == 1:
        align(costs, rows, columns, 0, len(columns) - 1, found)
        return
    with ThreadPoolExecutor(threads) as pool:
        parts = [pool.submit(align, costs, rows, columns, a, b, found) for a, b in pairwise(edges)]
        for part in parts:
            part.result()


def padded(documents: Sequence[Tensor]) -> Tensor:
    """Documents (time, dim) as one tensor (document, longest, dim), each filled up with its last frame.

    Repeating the last frame changes neither the range of the costs nor the least cost: a path that leaves the document can
    wait on the last frame instead, at the same price. So nothing needs a mask.
    """
    longest = max(len(one) for one in documents)
    places = torch.arange(longest)
    return torch.stack([one[places.clamp(max=len(one) - 1).to(one.device)] for one in documents])


def cosine_exp(query: Tensor, documents: Tensor) -> Tensor:
    """Costs (query time, document, document time) of query (query time, dim) in documents (document, document time, dim), all
    frames of unit length.

    exp(1 - cos) - 1, and then each row, the costs of a query frame in a document, mapped to [0, 1] by its least and its
    greatest value. A row without spread is 0.
    """
    count, longest, dim = documents.shape
    cosine = query @ documents.reshape(-1, dim).T
    cost = cosine.neg_().add_(1).exp_().reshape(len(query), count, longest)  # the "- 1" falls out of the mapping to [0, 1]
    least, greatest = cost.aminmax(dim=2, keepdim=True)
    return cost.sub_(least).div_((greatest - least).clamp_(min=TINY))


def least_costs(costs: Tensor) -> Tensor:
    """Per document the least cost of a path, per query frame (document,), of `costs` (query time, document, document time).

    A[0, j] = C[0, j]; A[i, j] = C[i, j] + min(A[i-1, j], A[i-1, j-1], A[i-1, j-2]); min over j of A[n-1, j], over n.
    """
    steps, count, longest = costs.shape
    before = costs.new_full((count, longest + 2), torch.inf)  # two columns ahead of the document, from where no path comes
    total = before[:, 2:]
    total.copy_(costs[0])
    for cost in costs[1:]:
        cheapest = torch.minimum(total, before[:, 1:-1])
        torch.minimum(cheapest, before[:, :-2], out=cheapest)
        torch.add(cheapest, cost, out=total)
    return total.amin(dim=1) / steps
