"""The inner loop of `dtw.py`: aligns many queries with many documents, from one block of costs. Compiled at the first call."""

from __future__ import annotations

import numpy as np
from numba import njit

TINY = 1e-9
FAR = np.float32(1e30)
"""Cost before the first frame of a document: no path starts there."""


@njit(nogil=True, error_model="numpy", fastmath={"reassoc", "nsz", "arcp", "contract"})
def align(costs: np.ndarray, queries: np.ndarray, documents: np.ndarray, first: int, last: int, result: np.ndarray) -> None:
    """Writes the least cost of a path, per query frame, into `result` (query, document), for documents `first` … `last` - 1.

    `costs` (frames of all queries, frames of all documents), float32. Query q has the rows `queries[q]` to `queries[q + 1]` -
    1; document d has the columns `documents[d]` to `documents[d + 1]` - 1. First, each row in a document is mapped to [0, 1].
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
            result[query, document] = before[2:].min() / (bottom - top)
