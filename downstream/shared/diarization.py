"""Who speaks when: turns, frames, and the diarization error rate.

A turn is (start, end, speaker), in seconds. All scored times are multiples of a hundredth of a second, as RTTM files print
them. The error is therefore exact: no tolerance, no sampling.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from superbench import SAMPLE_RATE

Turn = tuple[float, float, str]
HUNDREDTHS = 100
LARGEST_GRID = 50_000_000
"""Largest number of hundredths × speakers of one recording; 24 hours of five speakers are fewer."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A label: the activity (frames, 2) of a piece of a recording, one frame every `hop` samples, and all of its turns."""

    recording: str
    active: np.ndarray = field(repr=False)
    hop: int
    turns: tuple[Turn, ...] = field(repr=False)


def frames_of(
    turns: Iterable[Turn], speakers: Sequence[str], hop: int, start: int, end: int, *, spanning: bool = True
) -> np.ndarray:
    """Returns the activity (end - start, speakers) of frames `start` … `end` of a recording, as booleans.

    A turn covers the frames from rint(start · 16000 / hop) to rint(end · 16000 / hop) - 1. A turn that begins before the piece
    and ends after it covers all of it, or, with `spanning=False`, nothing, as in the reference implementation.
    """
    active = np.zeros((end - start, len(speakers)), bool)
    for begins, ends, speaker in turns:
        first, last = (int(np.rint(time * SAMPLE_RATE / hop)) - start for time in (begins, ends))
        if not spanning and first < 0 and last > end - start:
            continue
        active[max(first, 0) : max(last, 0), speakers.index(speaker)] = True
    return active


def rounded(turns: Iterable[Turn]) -> list[list[float | str]]:
    """Rounds turns to hundredths of a second, as they are scored."""
    return [[round(start, 2), round(end, 2), speaker] for start, end, speaker in turns]


def turns_of(active: np.ndarray, hop: int) -> list[list[float | str]]:
    """Returns the runs of ones in each column of `active` (frames, speakers) as sorted turns; the speaker is the column number.

    Start and duration are rounded to hundredths, as the RTTM that the official scorer reads prints them.
    """
    turns: list[list[float | str]] = []
    shift = hop / SAMPLE_RATE  # the quotient is computed first, as in the source; this decides ties of rounding
    for column in range(active.shape[1]):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], active[:, column].astype(np.int8), [0]])))
        for first, last in edges.reshape(-1, 2).tolist():
            start, duration = round(first * shift, 2), round((last - first) * shift, 2)
            turns.append([start, round(start + duration, 2), str(column)])
    return sorted(turns, key=lambda turn: (turn[0], turn[1], turn[2]))


def median_filter(active: np.ndarray, width: int) -> np.ndarray:
    """Computes the median over `width` (odd) frames around each frame, with zeros beyond the ends: a majority vote.

    >>> median_filter(np.array([[0], [1], [1], [0], [1], [0]], bool), 3)[:, 0].astype(int)
    array([0, 1, 1, 1, 0, 0])
    """
    if width == 1:
        return active
    half = width // 2
    padded = np.zeros((len(active) + width, active.shape[1]), np.int32)  # `np.pad` takes a tenth of a millisecond
    padded[half + 1 : half + 1 + len(active)] = active
    sums = padded.cumsum(axis=0)
    return (sums[width:] - sums[:-width]) > half


@dataclass(frozen=True, slots=True)
class Errors:
    """Seconds of a recording that were missed, falsely detected, assigned to the wrong speaker, and spoken in total."""

    miss: float
    false_alarm: float
    confusion: float
    speech: float

    @property
    def total(self) -> float:
        """Returns the seconds of error."""
        return self.miss + self.false_alarm + self.confusion


def compare(reference: Sequence[Sequence], hypothesis: Sequence[Sequence]) -> Errors:
    """Counts the errors of a hypothesis under the best one-to-one map of its speakers to those of the reference.

    No collar; overlapped speech counts once for each of its speakers; everything from the first to the last turn of either is
    scored. md-eval's definition (NIST 2009), as dscore and SUPERB use it.

    >>> compare([(0.0, 2.0, "a"), (1.0, 3.0, "b")], [(0.0, 1.5, "x"), (1.5, 3.5, "y")])
    Errors(miss=1.0, false_alarm=0.5, confusion=0.0, speech=4.0)
    """
    last = max((_hundredths(turn[1]) for turn in (*reference, *hypothesis)), default=0)
    true, predicted = _raster(reference, last), _raster(hypothesis, last)
    spoken, detected = true.sum(axis=1), predicted.sum(axis=1)
    overlap = true.T.astype(np.float64) @ predicted.astype(np.float64)  # (reference speakers, hypothesis speakers)
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    counts = (
        np.maximum(spoken - detected, 0).sum(),
        np.maximum(detected - spoken, 0).sum(),
        np.minimum(spoken, detected).sum() - overlap[rows, columns].sum(),
        spoken.sum(),
    )
    return Errors(*(float(count) / HUNDREDTHS for count in counts))


def one_speaker_error(recordings: Iterable[Sequence[Sequence]]) -> float:
    """Returns the DER (percent) of an answer that detects all speech and assigns it to one speaker; NaN without speech.

    >>> one_speaker_error([[(0.0, 2.0, "a"), (1.0, 4.0, "b")]])
    40.0
    """
    errors = [compare(turns, [(start, end, "one") for start, end, _ in turns]) for turns in recordings]
    speech = sum(error.speech for error in errors)
    return 100.0 * sum(error.total for error in errors) / speech if speech else float("nan")


def _hundredths(seconds: float) -> int:
    return round(seconds * HUNDREDTHS)


def _raster(turns: Sequence[Sequence], length: int) -> np.ndarray:
    speakers = sorted({turn[2] for turn in turns})
    if length * len(speakers) > LARGEST_GRID:
        raise ValueError(f"{length / HUNDREDTHS:.0f} s of {len(speakers)} speakers are more than a recording can have")
    grid = np.zeros((length, len(speakers)), bool)
    for start, end, speaker in turns:
        grid[_hundredths(start) : _hundredths(end), speakers.index(speaker)] = True
    return grid
