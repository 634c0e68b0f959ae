"""The compiled inner loop of `dtw.py`: many queries in many documents, from one block of costs. Compiled when first called."""

from __future__ import annotations

import numpy as np
from numba import njit

TINY = 1e-9
FAR = np.float32(1e30)
"""Ahead of a document's first frame, from where no path comes."""


@njit(nogil=True, error_model="numpy", fastmath={"reassoc", "nsz", "arcp", "contract"})
def align(costs: np.ndarray, queries: np.ndarray, documents: np.ndarray, first: int, last: int, found: np.ndarray) -> None:
    """Write into `found` (query, document) the least cost of a path, per query frame, for the documents `first` … `last` - 1.

    `costs` (frames of all queries, frames of all documents), float32; query q has the rows from `queries[q]` up to, and
    without, `queries[q + 1]`, document d the columns of `documents` likewise. Each row in a document is mapped to [0, 1] first.
    """
    for document in range(first, last):
        start, end = documents[document], documents[document + 1]
        total, before = np.empty(end - start + 2, np.float32), np.empty(end - start + 2, np.float32)
        total[:2] = before[:2] = FAR
        for query in range(len(queries) - 1):
            top, bottom = queries[query], queries[query + 1]
            for frame in range(top, bottom):
                row = costs[frame, start:end]
                least, greatest = row[0], row[0]
                for cost in row:
                    least, greatest = min(least, cost), max(greatest, cost)
                scale = np.float32(1.0) / max(greatest - least, np.float32(TINY))
                if frame == top:
                    for at in range(len(row)):
                        total[at + 2] = (row[at] - least) * scale
                else:
                    for at in range(len(row)):
                        cheapest = min(min(before[at + 2], before[at + 1]), before[at])
                        total[at + 2] = cheapest + (row[at] - least) * scale
                total, before = before, total
            found[query, document] = before[2:].min() / (bottom - top)
