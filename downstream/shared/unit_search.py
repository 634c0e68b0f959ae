"""Viterbi searches over units (phones, letters): an alignment with a known string, a loop of units, and a loop of words.

All scores are logarithms, higher is better; a unit lasts at least one frame. Compiled at the first call.
"""

from __future__ import annotations

import numpy as np
from numba import njit

NEVER = np.float32(-1e30)
BEAM = 300.0
"""A word whose path is worse than the best by more than this has no pair that is tried."""


@njit(nogil=True, error_model="numpy")
def align(scores: np.ndarray, units: np.ndarray, optional: np.ndarray) -> np.ndarray:
    """Returns for each frame of `scores` (time, unit) its position in the string `units`, whose `optional` places may be left
    out; all -1 if the string is too long for the frames."""
    frames, places = len(scores), len(units)
    total = np.full(places, NEVER, np.float32)
    total[0] = scores[0, units[0]]
    if places > 1 and optional[0]:
        total[1] = scores[0, units[1]]
    came = np.zeros((frames, places), np.int8)
    for t in range(1, frames):
        for j in range(places - 1, -1, -1):  # downward: what a place comes from is still that of the frame before
            best, step = total[j], 0
            if j > 0 and total[j - 1] > best:
                best, step = total[j - 1], 1
            if j > 1 and optional[j - 1] and total[j - 2] > best:
                best, step = total[j - 2], 2
            total[j] = best + scores[t, units[j]] if best > NEVER else NEVER
            came[t, j] = step
    j = places - 1
    if places > 1 and optional[j] and total[j - 1] > total[j]:
        j -= 1
    path = np.full(frames, -1, np.int64)
    if total[j] <= NEVER:
        return path
    for t in range(frames - 1, -1, -1):
        path[t] = j
        j -= came[t, j]
    return path


@njit(nogil=True, error_model="numpy")
def unit_loop(scores: np.ndarray, penalty: float) -> np.ndarray:
    """Returns the best string of units for `scores` (time, unit); each unit costs the penalty."""
    frames, units = scores.shape
    total = scores[0].copy()
    origin = np.full((frames, units), -1, np.int32)  # the unit that ended before, or -1 if the same one goes on
    for t in range(1, frames):
        last = int(np.argmax(total))
        entered = total[last] - penalty
        for unit in range(units):
            if entered > total[unit]:
                total[unit], origin[t, unit] = entered, last
            total[unit] += scores[t, unit]
    unit = int(np.argmax(total))
    path = np.empty(frames, np.int64)
    count = 0
    for t in range(frames - 1, 0, -1):
        if origin[t, unit] >= 0:
            path[count] = unit
            count += 1
            unit = origin[t, unit]
    path[count] = unit
    return path[: count + 1][::-1].copy()


@njit(nogil=True, error_model="numpy")
def word_loop(
    scores: np.ndarray, spelled: np.ndarray, starts: np.ndarray, alone: np.ndarray, pair_starts: np.ndarray,
    pair_words: np.ndarray, pair_scores: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Returns the best string of words for `scores` (time, unit); unit 0, silence, may stand before and after every word.

    Word w is the units `spelled[starts[w]]` to `spelled[starts[w + 1] - 1]`. It scores `alone[w]` after any word. After word v
    (v = number of words: at the start), the words `pair_words[pair_starts[v]]` … score `pair_scores` instead, if that is more.
    """
    frames, words = len(scores), len(starts) - 1
    total = np.full(len(spelled), NEVER, np.float32)
    before = np.full(len(spelled), -1, np.int32)  # the entry of `history` that ended before this word began
    pause = np.full(words + 1, NEVER, np.float32)  # silence after a word; the last: before the first word
    paused = np.full(words + 1, -1, np.int32)
    leave, left = np.full(words + 1, NEVER, np.float32), np.full(words + 1, -1, np.int32)
    history = np.full((frames, words), -1, np.int32)
    leave[words] = 0.0
    for t in range(frames):
        for word in range(words):
            for state in range(starts[word + 1] - 1, starts[word], -1):
                if total[state - 1] > total[state]:
                    total[state], before[state] = total[state - 1], before[state - 1]
        _enter(total, before, leave, left, starts, alone, pair_starts, pair_words, pair_scores)
        for state in range(len(spelled)):
            total[state] += scores[t, spelled[state]]
        for word in range(words + 1):
            if leave[word] > pause[word]:
                pause[word], paused[word] = leave[word], left[word]
            pause[word] += scores[t, 0]
            leave[word], left[word] = pause[word], paused[word]
        for word in range(words):
            last = starts[word + 1] - 1
            history[t, word] = before[last]
            if total[last] > leave[word]:
                leave[word], left[word] = total[last], t * words + word
    return _traced(left[np.argmax(leave)], history)


@njit(nogil=True, error_model="numpy")
def _enter(
    total: np.ndarray, before: np.ndarray, leave: np.ndarray, left: np.ndarray, starts: np.ndarray, alone: np.ndarray,
    pair_starts: np.ndarray, pair_words: np.ndarray, pair_scores: np.ndarray,
) -> None:  # fmt: skip
    """Lets every word begin after the best word, and after each word that it forms a pair with."""
    best = np.argmax(leave)
    for word in range(len(starts) - 1):
        entered, first = leave[best] + alone[word], starts[word]
        if entered > total[first]:
            total[first], before[first] = entered, left[best]
    for last in range(len(leave)):
        if leave[last] > leave[best] - BEAM:
            for pair in range(pair_starts[last], pair_starts[last + 1]):
                entered, first = leave[last] + pair_scores[pair], starts[pair_words[pair]]
                if entered > total[first]:
                    total[first], before[first] = entered, left[last]


@njit(nogil=True, error_model="numpy")
def _traced(entry: int, history: np.ndarray) -> np.ndarray:
    """Returns the words of the path that ends with an entry of `history` (time, word), each of which names the one before."""
    words = history.shape[1]
    path = np.empty(len(history), np.int64)
    count = 0
    while entry >= 0:
        path[count] = entry % words
        count += 1
        entry = history[entry // words, entry % words]
    return path[:count][::-1].copy()
