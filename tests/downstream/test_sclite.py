"""WER and PER against NIST's scorer: sclite of the Debian package `sctk`, which CI installs.

sclite aligns at costs of 4 for a substitution and 3 for an insertion or a deletion, so that on bad hypotheses it can prefer
more errors than the least number, which the rates here count; on hypotheses as recognisers write them the two agree.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import jiwer
import numpy as np
import pytest

from downstream import phoneme_recognition, speech_recognition
from downstream.shared.text import PHONES, word_edits
from superbench import Prediction

pytestmark = pytest.mark.parity

WORDS = [f"W{n}" for n in range(200)]


@pytest.fixture(scope="module")
def sclite() -> list[str]:
    """The command, as Debian calls it or by its own name."""
    for command in (["sctk", "sclite"], ["sclite"]):
        if shutil.which(command[0]):
            return command
    if os.environ.get("CI"):
        pytest.fail("sclite is not installed, but CI must compare with it: apt-get install sctk")
    pytest.skip("sclite is not installed (Debian: apt-get install sctk)")


def spoken(seed: int, words: Sequence[str], errors: float, count: int = 200) -> tuple[list[str], list[str]]:
    """References and hypotheses: each word is replaced, dropped or followed by another one, each with a third of `errors`."""
    random = np.random.default_rng(seed)
    references, hypotheses = [], []
    for _ in range(count):
        sentence, hypothesis = random.choice(words, random.integers(3, 25)).tolist(), []
        for word in sentence:
            fate = random.random() / (errors / 3)
            hypothesis += [] if fate < 1 else [str(random.choice(words))] if fate < 2 else [word]
            hypothesis += [str(random.choice(words))] if 2 <= fate < 3 else []
        references.append(" ".join(sentence))
        hypotheses.append(" ".join(hypothesis))
    return references, hypotheses


def by_sclite(sclite: list[str], folder: Path, references: list[str], hypotheses: list[str]) -> list[tuple[int, int]]:
    """(errors, reference words) of each sentence, by its report of alignments."""
    for name, sentences in (("ref", references), ("hyp", hypotheses)):
        lines = (f"{sentence} (spk{n % 7}-{n:04d})\n" for n, sentence in enumerate(sentences))
        (folder / f"{name}.trn").write_text("".join(lines))
    options = ["-r", "ref.trn", "trn", "-h", "hyp.trn", "trn", "-i", "rm", "-o", "pra", "stdout"]
    done = subprocess.run([*sclite, *options], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    matches = re.findall(r"id: \(spk\d-(\d+)\).*?Scores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)", done.stdout, re.DOTALL)
    rows = {int(n): (int(s) + int(d) + int(i), int(c) + int(s) + int(d)) for n, c, s, d, i in matches}
    return [rows[n] for n in range(len(references))]


def predictions(references: list[str], hypotheses: list[str]) -> list[Prediction]:
    return [Prediction(str(n), "all", ("a",), *pair) for n, pair in enumerate(zip(references, hypotheses, strict=True))]


@pytest.mark.parametrize("errors", [0.02, 0.1, 0.25])
@pytest.mark.parametrize("task", [speech_recognition, phoneme_recognition])
def test_rates_are_those_of_sclite_and_jiwer(sclite: list[str], tmp_path: Path, task: object, errors: float) -> None:
    phones = task is phoneme_recognition
    references, hypotheses = spoken(round(100 * errors), PHONES[2:] if phones else WORDS, errors)
    expected = by_sclite(sclite, tmp_path, references, hypotheses)
    (score,) = task.score(predictions(references, hypotheses), {}).values()  # type: ignore[attr-defined]
    wrong, words = (sum(column) for column in zip(*expected, strict=True))
    assert score.counts == {"errors": wrong, "phones" if phones else "words": words}
    assert score.value == pytest.approx(100 * wrong / words, rel=1e-12)
    assert score.value == pytest.approx(100 * jiwer.wer(references, hypotheses), rel=1e-12)
    assert list(zip(*word_edits(references, hypotheses), strict=True)) == expected


def test_on_noise_sclite_never_counts_fewer_errors(sclite: list[str], tmp_path: Path) -> None:
    """Unrelated strings of four different words: the least number of edits, of which sclite's own costs may choose more."""
    random = np.random.default_rng(9)
    references, hypotheses = ([" ".join(random.choice(list("ABCD"), 14)) for _ in range(300)] for _ in range(2))
    ours, _ = word_edits(references, hypotheses)
    by_nist = [errors for errors, _ in by_sclite(sclite, tmp_path, references, hypotheses)]
    excess = [b - a for a, b in zip(ours, by_nist, strict=True)]
    assert min(excess) == 0
    assert 0 < sum(excess) < 0.05 * sum(ours)
