"""In-context evaluation: what an upstream declares that can tell how likely a continuation of a prompt is.

Examples stand in the prompt, and nothing is trained; the class wins whose continuation is likeliest (see
`training.few_shot.in_context`). Off-the-shelf unit language models have shown no such ability (Chang et al. 2023,
arXiv 2310.12477), and audio language models keep much of their score without any sound (arXiv 2604.24401).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Union, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


Part = Union["Tensor", str]
"""A sound (samples,), float32, at the model's sampling rate; or a text, for a model that reads texts."""
Parts = Sequence[Part]
"""A prompt, or a continuation."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a continuation is: the sum of log p over its tokens (nats, ≤ 0), their number, and its characters (of a
    sound, its tokens)."""

    value: float
    tokens: int
    characters: int


@runtime_checkable
class Continuing(Protocol):
    """An upstream that can be evaluated in context.

    `reads_text`: True for an audio language model, whose labels are texts; False for a unit language model, whose labels are
    sounds. A text that follows a sound in a prompt is the answer to it; a chat model puts it into the mouth of the assistant.
    A model with `only_in_context = True` gives no features: it is used for this protocol alone, and told from another by
    likelihoods.
    """

    reads_text: bool

    def log_likelihood(self, prompts: Sequence[Parts], continuations: Sequence[Sequence[Parts]]) -> list[list[Likelihood]]:
        """Returns how likely each of `continuations[i]` is after `prompts[i]`.

        The likelihood of a continuation must not depend on the others. What prompts have in common, and each prompt, should be
        computed once. Sounds are on the device of the model. A prompt may be empty (`superbench pairs`): how likely is the
        continuation by itself?
        """
        ...
