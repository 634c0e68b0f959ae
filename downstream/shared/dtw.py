"""Where in a document is a query? Subsequence dynamic time warping, one query against many documents at once.

The asymmetric step pattern of Rabiner & Juang (1993) with open begin and end, as the package `dtw-python` computes it: every
frame of the query is used once, and moves on by 0, 1 or 2 frames of the document.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TINY = 1e-9


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
