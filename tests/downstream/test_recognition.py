"""PR and ASR: labels, recipes, heads and rates."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from downstream.phoneme_recognition import TASK as PR
from downstream.shared.librispeech import LEXICONS, SPLITS
from downstream.speech_recognition import TASK as ASR
from superbench import Corpora, Fold, Prediction


@pytest.fixture
def corpora(tmp_path: Path) -> Corpora:
    for split in SPLITS.values():
        chapter = tmp_path / "LibriSpeech" / split / "7" / "8"
        chapter.mkdir(parents=True)
        (chapter / "7-8.trans.txt").write_text("7-8-0000 HELLO ONE\n")
        (chapter / "7-8-0000.flac").write_bytes(b"")
    (tmp_path / "LibriSpeech" / LEXICONS[0]).write_text("HELLO\tHH AH0 L OW1\nONE\tW AH1 N\n")
    return Corpora(tmp_path)


@pytest.fixture
def fold(corpora: Corpora) -> Fold:
    return ASR.read(corpora)[0]


def test_labels_are_phones_for_pr_and_words_for_asr(corpora: Corpora) -> None:
    assert PR.read(corpora)[0].train.items[0].label == "HH AH0 L OW1 W AH1 N"
    assert ASR.read(corpora)[0].train.items[0].label == "HELLO ONE"


def test_asr_needs_no_lexicon(corpora: Corpora) -> None:
    (corpora.root / "LibriSpeech" / LEXICONS[0]).unlink()
    assert ASR.read(corpora)[0].test.items


@pytest.mark.slow
@pytest.mark.parametrize(("task", "outputs"), [(PR, 74), (ASR, 32)])
@pytest.mark.parametrize("protocol", ["superb", "superb-once", "mini"])
def test_every_recipe_builds_a_head_of_the_official_outputs(task: object, outputs: int, protocol: str, fold: Fold) -> None:
    assert task in (PR, ASR)
    recipe = task.card.recipes[protocol]  # type: ignore[attr-defined]
    head = task.head(4, fold, recipe).eval()  # type: ignore[attr-defined]
    logits = head(torch.randn(2, 12, 4), torch.tensor([12, 9]))
    assert logits.shape == (2, 12, outputs)
    assert len(head.decode(logits, torch.tensor([12, 9]))) == 2


def test_the_official_recipes_are_those_of_superb() -> None:
    pr, asr = PR.card.recipes["superb"], ASR.card.recipes["superb"]
    assert (pr.steps, pr.batch, pr.accumulate, pr.sampler, pr.halve_above) == (100_000, 16, 2, "windows", 300_000)
    assert (asr.steps, asr.batch, asr.accumulate, asr.sampler, asr.halve_above) == (200_000, 32, 1, "buckets", 2_000)


def test_rates_sum_edits_before_dividing() -> None:
    predictions = [Prediction("a", "all", ("1",), "A B C D", "A B C D"), Prediction("b", "all", ("2",), "A B", "X")]
    for task, unit, name in ((PR, "phones", "per"), (ASR, "words", "wer")):
        score = task.score(predictions, {})[name]
        assert score.value == pytest.approx(100 * 2 / 6)
        assert score.counts == {"errors": 2, unit: 6}
        assert not score.higher_is_better
        assert score.reweighted(torch.tensor([0.0, 1.0]).numpy()) == 100.0


def test_stress_counts() -> None:
    assert PR.score([Prediction("a", "all", (), "AH0 L", "AH1 L")], {})["per"].value == 50.0
