"""Whether frame t of a model begins at sample `t * hop`: frames that stand before the first one (class or prefix tokens) shift
all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

CLICKS = (0.35, 0.5, 0.65)
"""Where a sound is changed, in parts of its length."""
WIDTH = 160
"""Samples of a click: 10 ms, shorter than a frame."""
LATE = 0.75
"""Frames by which the answer to a click may come late. A window that begins at its frame answers early."""
MOST_TOKENS = 16
"""Frames at the beginning, or at the end, that are compared between sounds."""


class BadOutput(TypeError):
    """A model returned something else than `Features`."""


def require_features(output: Any) -> None:
    """Raises `BadOutput` for an output that is not `Features` of tensors."""
    advice = "Return superbench.Features(frames, lengths): frames (layer, batch, time, dim), lengths (batch)"
    if isinstance(output, list | tuple):
        raise BadOutput(f"returned a {type(output).__name__} of {len(output)}. {advice}")
    if not hasattr(output, "frames") or not hasattr(output, "lengths"):
        raise BadOutput(f"returned {type(output).__name__}. {advice}")
    for name in ("frames", "lengths"):
        if not isinstance(getattr(output, name), Tensor):
            found = type(getattr(output, name)).__name__
            raise BadOutput(f"returned Features whose `{name}` is a {found}. {advice}; torch.stack makes one tensor of a list")
    frames: Tensor = output.frames
    if frames.dim() != 4:
        raise BadOutput(f"returned frames of shape {tuple(frames.shape)}. {advice}")


def alignment(states: Callable[[Tensor], Tensor], first: Tensor, wave: Tensor, hop: int) -> dict[str, Any]:
    """Returns the facts of the finding `alignment`. `states` calls the model; `first`: its states (layer, time, dim) of `wave`.

    Frames at the beginning or end that are equal for different sounds are tokens. All frames are late if those that a click
    changes most stand after it.
    """
    other = states(wave.flip(0))
    before, after = (_equal(first, other, from_end=end) for end in (False, True))
    if before or after:
        return _tokens(before, after, hop)
    late = _late(states, first, wave, hop)
    if late >= LATE:
        return _finding(
            f"a click changes the frames about {late:.1f} after the one that it lies in: frames are late by "
            f"{late * hop:.0f} samples. Leave out what stands before the first frame: {_slice(round(late), 0)}",
            late,
        )
    return {"name": "alignment", "holds": True, "measured": f"a click changes frames at its place ({late:+.1f} frames)",
            "fatal": False, "value": late}  # fmt: skip


def _tokens(before: int, after: int, hop: int) -> dict[str, Any]:
    places = [f"the {where} {count}" for where, count in (("first", before), ("last", after)) if count]
    shifted = f", so all others are late by {before * hop} samples" if before else ""
    return _finding(
        f"{' and '.join(places)} of its frames are the same for different sounds (a class or prefix token){shifted}. Leave "
        f"them out: {_slice(before, after)}",
        float(before),
    )


def _slice(before: int, after: int) -> str:
    end = f"-{after}" if after else ""
    return f"Features(frames[:, :, {before or ''}:{end}], lengths - {before + after})"


def _finding(measured: str, value: float) -> dict[str, Any]:
    action = "frames are used as they are, each for a later part of the sound than its own"
    return {"name": "alignment", "holds": False, "measured": measured, "fatal": False, "action": action, "value": value}


def _equal(one: Tensor, other: Tensor, *, from_end: bool) -> int:
    """Returns how many frames at the beginning, or at the end, are equal in some layer; 0 if most frames are."""
    time = min(one.shape[1], other.shape[1])
    same = (one[:, :time] - other[:, :time]).abs().amax(2) <= 1e-6 * one.abs().amax((1, 2))[:, None]  # (layer, time)
    same = same[same.float().mean(1) < 0.5]
    if from_end:
        same = same.flip(1)
    counts = same[:, :MOST_TOKENS].long().cumprod(1).sum(1)
    return int(counts.max()) if len(counts) else 0


def _late(states: Callable[[Tensor], Tensor], first: Tensor, wave: Tensor, hop: int) -> float:
    """Returns by how many frames the answer to a click comes late, in the layer where it is nearest; the median of
    several."""
    found = []
    for part in CLICKS:
        place = int(part * len(wave)) // hop * hop
        changed = wave.clone()
        changed[place : place + WIDTH] += torch.linspace(1, -1, WIDTH)
        change = (states(changed) - first).square().sum(2).double()  # (layer, time)
        time = torch.arange(change.shape[1], dtype=torch.float64)
        peak = change.argmax(1)
        near = (time - peak[:, None]).abs() <= 2  # what attention spreads over the sound does not count
        weight = change * near
        centre = (weight * time).sum(1) / weight.sum(1).clamp(min=1e-30)
        shifts = centre[weight.sum(1) > 0] - place / hop
        found.append(float(shifts[shifts.abs().argmin()]) if len(shifts) else 0.0)
    return sorted(found)[len(found) // 2]
