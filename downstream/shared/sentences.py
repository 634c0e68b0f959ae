"""Random sentences for miniature corpora whose words do not matter (SID, ASV, SD): a small grammar of common English."""

from __future__ import annotations

import numpy as np

PEOPLE = (
    "the teacher", "my brother", "a young doctor", "our neighbour", "the old captain", "her cousin", "the baker",
    "a tall stranger", "the children", "his mother", "the painter", "a quiet farmer", "the judge", "some visitors",
    "the engineer", "their uncle",
)  # fmt: skip
VERBS = (
    "found", "carried", "painted", "forgot", "sold", "borrowed", "described", "opened", "watched", "followed", "repaired",
    "imagined", "remembered", "dropped", "measured", "admired",
)  # fmt: skip
THINGS = (
    "a wooden box", "the blue window", "seven small coins", "the morning paper", "a broken clock", "the garden gate",
    "fresh orange juice", "the longest bridge", "a map of the river", "the church bell", "thirty yellow flowers",
    "the northern road", "a heavy suitcase", "the kitchen table", "a picture of the sea", "the last chapter",
)  # fmt: skip
PLACES = (
    "near the station", "before sunrise", "on a cold evening", "behind the theatre", "after a long journey",
    "without any help", "in the middle of June", "under the bridge", "last Thursday", "at the village market",
    "across the valley", "for the first time", "with great pleasure", "during the storm", "upstairs", "by the fire",
)  # fmt: skip


def sentence(random: np.random.Generator, *, short: bool = False) -> str:
    """Draws a sentence of about 2.5 s of speech, or of about 1.5 s if `short`.

    >>> sentence(np.random.default_rng(0), short=True)
    'some visitors repaired a map of the river'
    """
    parts = [str(random.choice(words)) for words in (PEOPLE, VERBS, THINGS, PLACES)]
    return " ".join(parts[:3] if short else parts)
