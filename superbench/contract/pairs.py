"""Minimal pairs: two sounds of which a model that continues should find the first likelier. No example is given.

Scored as the published evaluations do (Nguyen et al. 2020, arXiv 2011.11588): 1 if the right sound has the higher
log-likelihood per unit, ½ on a tie, 0 if not; chance is 50 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from superbench.contract.items import Audio


@dataclass(frozen=True, slots=True)
class Pair:
    """A right and a wrong sound.

    `item` is what the pair is about, such as a word and its non-word: several voices may speak it, over which the score is
    averaged first. `part` is a subset with a score of its own (a type of sentence, an aspect of sound); empty for none.
    """

    item: str
    right: Audio
    wrong: Audio
    voice: str = ""
    part: str = ""


@dataclass(frozen=True, slots=True)
class PairSet:
    """A published set of minimal pairs. It is no task: no head, no examples, no column of a board.

    `folders` are the folders of the release of which at least one must lie in the data folder, or one folder deeper. `read`
    returns the pairs, given the folder that holds them; it raises `BadCorpus`. `synth` writes a miniature in the same layout,
    given that folder and a seed; None if there is none. `obtain` tells how to get the data.
    """

    name: str
    title: str
    paper: str
    licence: str
    obtain: str
    folders: tuple[str, ...]
    read: Callable[[Path], Sequence[Pair]]
    synth: Callable[[Path, int], None] | None = None
