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
LARGE = 0.05
"""Part of the largest change (squared) from which on a frame belongs to the answer to a click."""
LATE = 1
"""Frames by which an answer must come late to be reported. A window that begins at its frame answers at once, or earlier."""
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

    Frames at the beginning or end that are equal for different sounds are tokens. All frames are late if a click changes only
    frames after its own.
    """
    before, after = _tokens_in(first, states(wave.roll(len(wave) // 3)))
    if before or after:
        return _tokens(before, after, hop)
    late = _late(states, first, wave, hop)
    if late >= LATE:
        return _finding(
            f"a click changes frames only from {late:.0f} after its own on: frames are late by {late * hop:.0f} samples. If "
            f"tokens stand before the first frame, leave them out: {_slice(round(late), 0)}",
            late,
        )
    return {"name": "alignment", "holds": True, "measured": f"a click changes frames at its place ({late:+.0f} frames)",
            "fatal": False, "value": late}  # fmt: skip


def _tokens(before: int, after: int, hop: int) -> dict[str, Any]:
    places = [f"the {where} {count}" for where, count in (("first", before), ("last", after)) if count]
    shifted = f", so all others are late by {before * hop} samples" if before else ""
    return _finding(
        f"{' and '.join(places)} of its frames are the same for different sounds (a class or prefix token){shifted}. Leave "
        f"them out: {_slice(before, after)}",
        float(before),
    )


def how_to_count(states: Callable[[Tensor], Tensor], first: Tensor, wave: Tensor) -> str:
    """Returns what to correct where a model returns too many or too few frames. Arguments: as of `alignment`."""
    before, after = _tokens_in(first, states(wave.roll(len(wave) // 3)))
    if before or after:
        return f"Leave the class or prefix tokens out: {_slice(before, after)}"
    return "Correct `hop`, or the `lengths` that it returns"


def _slice(before: int, after: int) -> str:
    end = f"-{after}" if after else ""
    return f"Features(frames[:, :, {before or ''}:{end}], lengths - {before + after})"


def _finding(measured: str, value: float) -> dict[str, Any]:
    action = "frames are used as they are, each for a later part of the sound than its own"
    return {"name": "alignment", "holds": False, "measured": measured, "fatal": False, "action": action, "value": value}


def _tokens_in(one: Tensor, other: Tensor) -> tuple[int, int]:
    """Returns how many frames at the beginning, and at the end, are equal for two sounds in a layer in which no other frame is:
    a quantizer may give equal frames anywhere."""
    time = min(one.shape[1], other.shape[1])
    same = (one[:, :time] - other[:, :time]).abs().amax(2) <= 1e-6 * one.abs().amax((1, 2))[:, None]  # (layer, time)
    found = [(0, 0)]
    for layer in same.long():
        before, after = (int(part[:MOST_TOKENS].cumprod(0).sum()) for part in (layer, layer.flip(0)))
        if before + after == int(layer.sum()) < time:
            found.append((before, after))
    return max(found)


def _late(states: Callable[[Tensor], Tensor], first: Tensor, wave: Tensor, hop: int) -> float:
    """Returns by how many frames the answer to a click comes late, in the layer where it is nearest; the median of several.

    The answer begins with the first frame whose change is large beside the largest one near it: causal models, and those with
    wide windows, answer for longer.
    """
    found = []
    for part in CLICKS:
        place = int(part * len(wave)) // hop
        changed = wave.clone()
        changed[place * hop : place * hop + WIDTH] += torch.linspace(1, -1, WIDTH)
        change = (states(changed) - first).square().sum(2)  # (layer, time)
        begins = [_begin(layer) - place for layer in change if bool(layer.max() > 0)]
        found.append(min(begins, key=abs, default=0))
    return float(sorted(found)[len(found) // 2])


def _begin(change: Tensor) -> int:
    """Returns the first frame of the answer: its change is large, and so are those between it and the largest."""
    frame = peak = int(change.argmax())
    while frame > 0 and float(change[frame - 1]) >= LARGE * float(change[peak]):
        frame -= 1
    return frame
