"""Steps of a causal Transformer that remembers keys and values, so that no position is computed twice.

`nn.TransformerEncoderLayer` has no such cache; this is the same layer (normalised before each part, Xiong et al. 2020,
arXiv 2002.04745), computed from its weights for further positions. Dropout is left out: it is for a frozen model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

Memory = Sequence[tuple[Tensor, Tensor]]
"""Keys and values of each layer, (batch, head, time, width of a head)."""


def repeated(memory: Memory, rows: int) -> Memory:
    """Returns the memory of one sequence for `rows` sequences that begin with it; nothing is copied."""
    return [(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)) for keys, values in memory]


def advanced(blocks: nn.ModuleList, x: Tensor, memory: Memory = ()) -> tuple[Tensor, Memory]:
    """Passes further positions x (batch, time, width) through all layers; returns their states, and the longer memory."""
    longer = []
    for number, block in enumerate(blocks):
        x, kept = _stepped(block, x, memory[number] if memory else None)
        longer.append(kept)
    return x, longer


def _stepped(block: Any, x: Tensor, before: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    attention = block.self_attn
    joint = nn.functional.linear(block.norm1(x), attention.in_proj_weight, attention.in_proj_bias)
    queries, keys, values = (part.unflatten(2, (attention.num_heads, -1)).transpose(1, 2) for part in joint.chunk(3, dim=2))
    if before is not None:
        keys, values = torch.cat([before[0], keys], 2), torch.cat([before[1], values], 2)
    heard = scaled_dot_product_attention(queries, keys, values, attn_mask=_past(queries.shape[2], keys.shape[2], x.device))
    x = x + attention.out_proj(heard.transpose(1, 2).flatten(2))
    return x + block.linear2(block.activation(block.linear1(block.norm2(x)))), (keys, values)


def _past(new: int, total: int, device: torch.device) -> Tensor | None:
    """Returns (new, total), true where one of the `new` last positions may look; None where it may look everywhere."""
    return None if new == 1 else torch.ones(new, total, dtype=torch.bool, device=device).tril(total - new)
