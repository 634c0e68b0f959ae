"""Contract checks for upstreams that continue: what they say of a continuation must be a likelihood, and always the same one.

The likelihood of a continuation depends on its prompt alone: not on the candidates beside it, and not on the other prompts of
the call, with which it may share a beginning that is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from superbench.contract import Likelihood, Parts
from superbench.errors import BadUpstream
from superbench.plugins.doctor.checks import LENGTHS
from superbench.plugins.doctor.examining import Examining, Finding

ALIKE = 1e-4
"""Largest relative difference of two log-likelihoods that count as equal, as for the outputs that a run compares."""
REFUSED = "in-context evaluation and minimal pairs will refuse it, or differ from run to run"
Asked = tuple[list[Parts], list[Parts]]
"""Prompts, and the continuations of each of them."""


def continuation(examining: Examining) -> Iterator[Finding]:
    """Yields what was found of `log_likelihood`; only a model that gives no features cannot be used without it."""
    model, fatal = examining.upstream.model, not offers_features(examining)
    if fatal:
        yield Finding("features", True, "not offered: the model is for --protocol in-context alone", fatal=False)
    prompts, following = _asked(examining)
    try:
        together = _answers(examining, prompts, following)
        again = _answers(examining, prompts, following)
        apart = [[_answers(examining, [prompt], [one])[0][0] for one in following] for prompt in prompts]
        first_alone = _answers(examining, prompts[:1], following)
    except Exception as error:
        yield _finding("continues", (False, f"log_likelihood raised {type(error).__name__}: {error}"), fatal)
        return
    possible = _possible(together, "texts" if model.reads_text else "sounds")
    yield _finding("continues", possible, fatal)
    if possible[0]:
        yield _finding("same continuation twice", _alike(together, again), fatal)
        yield _finding("candidates", _alike(together, apart), fatal)
        yield _finding("shared prompt", _alike(together[:1], first_alone), fatal)


def offers_features(examining: Examining) -> bool:
    """Returns whether the model has hidden states."""
    return not getattr(examining.upstream.model, "only_in_context", False)


def _asked(examining: Examining) -> Asked:
    """Two prompts that begin alike and end with different sounds; two continuations, of different lengths."""
    sounds = [examining.noise(samples).to(examining.device) for samples in LENGTHS]
    if examining.upstream.model.reads_text:
        beginning: list[object] = ["Which word do you hear?", sounds[1], "yes"]
        return [[*beginning, sounds[2]], [*beginning, sounds[3]]], [["no"], ["yes"]]  # type: ignore[list-item]
    return [[sounds[1], sounds[2]], [sounds[1], sounds[3]]], [[sounds[0]], [sounds[2]]]


def _answers(examining: Examining, prompts: Sequence[Parts], following: Sequence[Parts]) -> list[list[Likelihood]]:
    with torch.inference_mode():
        answers = examining.upstream.model.log_likelihood(prompts, [following] * len(prompts))
    found = [len(answer) for answer in answers]
    if found != [len(following)] * len(prompts):
        raise BadUpstream(f"it returned {found} likelihoods for {len(prompts)} prompts; expected {len(following)} for each")
    return [list(answer) for answer in answers]


Told = tuple[bool, str]


def _possible(answers: Sequence[Sequence[Likelihood]], what: str) -> Told:
    every = [one for answer in answers for one in answer]
    wrong = [one for one in every if not math.isfinite(one.value) or one.value > 0 or one.tokens < 1 or one.characters < 1]
    if wrong:
        return False, f"it returned {wrong[0]}; expected a finite value, 0 or less, and at least one token and character"
    values = ", ".join(f"{one.value / one.tokens:.2f}" for one in every)
    return True, f"log-likelihoods of {len(every)} {what} are finite and not positive; per token {values}"


def _alike(one: Sequence[Sequence[Likelihood]], other: Sequence[Sequence[Likelihood]]) -> Told:
    pairs = [pair for answers in zip(one, other, strict=True) for pair in zip(*answers, strict=True)]
    change = max(abs(a.value - b.value) / max(abs(a.value), abs(b.value), 1e-6) for a, b in pairs)
    return change <= ALIKE, f"largest relative difference {change:.1e}, tolerated {ALIKE:.0e}"


def _finding(name: str, told: Told, fatal: bool) -> Finding:
    holds, measured = told
    return Finding(name, holds, measured, fatal=fatal, action="" if fatal else REFUSED)
