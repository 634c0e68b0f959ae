"""ASR with a language model, from sound to both scores: words as tones, a bigram of their transcripts, a board that recomputes
both scores."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from downstream import speech_recognition
from downstream.shared.librispeech import SPLITS
from downstream.shared.text import word_edits
from superbench import BadCorpus, Corpora, Features, MissingExtra, Prediction, run
from superbench.board.bundles.bundle import open_bundle, pack_bundle
from superbench.board.bundles.verify import reasons
from superbench.results import read_predictions, read_result, write_result

pytest.importorskip("flashlight.lib.text.decoder", reason="the extra lm is not installed")
WORDS = ("ACE", "BED", "CAB", "DAD", "EBB", "ADA")
BEAT, NOISE = 640, 0.25
COUNTS = {"train": (4, 40), "dev": (2, 8), "test": (6, 8)}
"""Speakers of a split, utterances of each."""


def sound(text: str, random: np.random.Generator) -> np.ndarray:
    """40 ms of a tone for each letter, 40 ms of silence after it and after each word, and noise on everything."""
    time, rest = np.arange(BEAT) / 16_000, np.zeros(BEAT)
    pieces: list[np.ndarray] = []
    for word in text.split():
        for letter in word:
            pieces += [np.sin(2 * np.pi * (500 + 600 * (ord(letter) - 65)) * time), rest]
        pieces += [rest]
    wave = 0.3 * np.concatenate(pieces)
    return wave + NOISE * random.standard_normal(len(wave))


class Bands(nn.Module):
    """A spectrum from 100 Hz to 3.3 kHz, 25 times a second."""

    sample_rate, hop, layers, dim = 16_000, BEAT, 1, 128

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        pieces = waves[:, : waves.shape[1] // BEAT * BEAT].unflatten(1, (-1, BEAT))
        loud = torch.fft.rfft(pieces).abs()[..., 4 : 4 + 128] / 30
        return Features(loud[None], lengths // BEAT)


def write_corpus(root: Path) -> list[str]:
    """A LibriSpeech of tones; returns the train transcripts."""
    transcripts = []
    for number, (split, (speakers, count)) in enumerate(COUNTS.items()):
        random = np.random.default_rng(number)
        for speaker in range(100 * number, 100 * number + speakers):
            chapter = root / "LibriSpeech" / SPLITS[split] / str(speaker) / "1"
            chapter.mkdir(parents=True)
            lines = []
            for utterance in range(count):
                name, text = f"{speaker}-1-{utterance:04d}", " ".join(random.choice(WORDS, random.integers(2, 5)))
                soundfile.write(chapter / f"{name}.flac", sound(text, random), 16_000)
                lines.append(f"{name} {text}\n")
                transcripts += [text] if split == "train" else []
            (chapter / f"{speaker}-1.trans.txt").write_text("".join(lines))
    return transcripts


def write_bigram(path: Path, sentences: Sequence[str]) -> None:
    """A bigram of relative frequencies, a tenth of the mass left to single words, as ARPA."""
    runs = [["<s>", *sentence.split(), "</s>"] for sentence in sentences]
    ones, twos = (
        Counter(word for run in runs for word in run[1:]),
        Counter(p for run in runs for p in itertools.pairwise(run)),
    )
    before, total = Counter(word for word, _ in twos.elements()), sum(ones.values())
    single = [f"{math.log10(0.9 * n / total):.6f}\t{word}\t-1" for word, n in sorted(ones.items())]
    pairs = [f"{math.log10(0.9 * n / before[a]):.6f}\t{a} {b}" for (a, b), n in sorted(twos.items())]
    head = ["\\data\\", f"ngram 1={len(single) + 2}", f"ngram 2={len(pairs)}", "", "\\1-grams:", "-1\t<unk>", "-99\t<s>\t-1"]
    path.write_text("\n".join([*head, *single, "", "\\2-grams:", *pairs, "", "\\end\\", ""]))


def write_lexicon(path: Path, words: Sequence[str]) -> None:
    path.write_text("".join(f"{word}\t{' '.join(word)} |\n" for word in words))


def go(root: Path, out: str) -> Path:
    report = run(
        [f"{__file__}:Bands"], "asr", data=root, out=root / out, protocol="mini", store=root / "store", workers=1,
        learning_rates=(6e-3,), max_steps=300,
    )  # fmt: skip
    assert [(ended.state, ended.message) for ended in report.ended] == [("done", "")]
    return root / out / "Bands" / "asr"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The result folders of a run without a language model, and of one with it."""
    root = tmp_path_factory.mktemp("tones")
    transcripts = write_corpus(root)
    without = go(root, "without")
    write_bigram(root / "LibriSpeech" / "4-gram.arpa", transcripts)
    write_lexicon(root / "LibriSpeech" / "librispeech_lexicon.lst", WORDS)
    return without, go(root, "with")


@pytest.mark.slow
def test_the_second_score_is_added_and_the_first_does_not_change(places: tuple[Path, Path]) -> None:
    without, with_lm = (read_result(place) for place in places)
    assert set(without.scores) == {"wer"}
    assert set(with_lm.scores) == {"wer", "wer_lm"}
    assert with_lm.primary == "wer"
    assert with_lm.scores["wer"] == without.scores["wer"]
    assert (with_lm.chosen, with_lm.sweep) == (without.chosen, without.sweep)
    assert with_lm.scores["wer_lm"].value < with_lm.scores["wer"].value - 2
    assert with_lm.data.fingerprint == without.data.fingerprint  # so that both are in one table
    assert set(with_lm.data.passport.files) == {"lm 4-gram.arpa", "lexicon librispeech_lexicon.lst"}
    assert without.data.passport.files == {}


@pytest.mark.slow
def test_predictions_differ_only_in_the_added_transcript(places: tuple[Path, Path]) -> None:
    plain, both = (read_predictions(place / "predictions.jsonl.gz") for place in places)
    assert [replace(prediction, also={}) for prediction in both] == plain
    assert all(set(prediction.also) == {"lm"} for prediction in both)
    words = {word for prediction in both for word in prediction.also["lm"].split()}
    assert words == set(WORDS)
    assert not {word for prediction in both for word in prediction.prediction.split()} <= words


def bundle_reasons(place: Path) -> list[str]:
    return reasons(open_bundle(pack_bundle(place.parent)))


@pytest.mark.slow
def test_a_board_recomputes_both_scores_and_refuses_changed_ones(places: tuple[Path, Path], tmp_path: Path) -> None:
    assert bundle_reasons(places[0]) == []
    assert bundle_reasons(places[1]) == []
    result, lines = read_result(places[1]), read_predictions(places[1] / "predictions.jsonl.gz")

    def changed(lines: list[Prediction]) -> str:
        write_result(tmp_path / "x" / "asr", result, lines)
        (reason, *_) = bundle_reasons(tmp_path / "x" / "asr")
        return reason

    twice = [replace(prediction, also={"lm": f"{prediction.also['lm']} {prediction.also['lm']}"}) for prediction in lines]
    edits, words = word_edits([prediction.reference for prediction in twice], [prediction.also["lm"] for prediction in twice])
    assert f"wer_lm computed from its predictions is {100 * sum(edits) / sum(words):.4f}" in changed(twice)
    assert "cannot be scored" in changed([replace(lines[0], also={}), *lines[1:]])
    assert "it reports wer, wer_lm" in changed([replace(prediction, also={}) for prediction in lines])


@pytest.mark.slow
def test_a_report_shows_both(places: tuple[Path, Path]) -> None:
    from superbench.results import tables

    table = tables.as_csv(tables.load_results(places[1]))
    assert "wer_lm" in table
    assert "wer_lm" not in tables.as_csv(tables.load_results(places[0]))


@pytest.mark.slow
def test_a_worker_computes_with_one_thread_however_many_cores_there_are(places: tuple[Path, Path]) -> None:
    assert {read_result(place).environment["threads"] for place in places} == {1}


@pytest.mark.slow
def test_another_model_is_another_job(places: tuple[Path, Path]) -> None:
    jobs = {read_result(place).environment["job"] for place in places}
    assert len(jobs) == 2


# ---------------------------------------------------------------- where the model is found


@pytest.fixture
def corpora(tmp_path: Path) -> Corpora:
    (tmp_path / "LibriSpeech").mkdir()
    return Corpora(tmp_path)


def test_the_model_is_found_beside_the_corpus_or_at_the_configured_path(corpora: Corpora, tmp_path: Path) -> None:
    beside = tmp_path / "LibriSpeech"
    assert speech_recognition.language_model(corpora) == {}
    for name in ("4-gram.arpa.gz", "librispeech_lexicon.lst"):
        (beside / name).touch()
    compressed = {"lm": beside / "4-gram.arpa.gz", "lexicon": beside / "librispeech_lexicon.lst"}
    assert speech_recognition.language_model(corpora) == compressed
    (beside / "4-gram.bin").touch()  # the same model in a faster format
    assert speech_recognition.language_model(corpora)["lm"] == beside / "4-gram.bin"
    (tmp_path / "superbench.toml").write_text('[data]\nlm = "own.arpa"\n')
    (tmp_path / "own.arpa").touch()
    configured = speech_recognition.language_model(Corpora.at(tmp_path))
    assert configured == {**compressed, "lm": tmp_path / "own.arpa"}
    (tmp_path / "superbench.toml").write_text('[data]\nlm = "own.arpa"\nlm_lexicon = "own.lst"\n')
    with pytest.raises(BadCorpus, match=r"own\.lst"):
        speech_recognition.language_model(Corpora.at(tmp_path))


def test_a_model_without_lexicon_and_a_lexicon_without_model_are_errors_with_the_source(
    corpora: Corpora, tmp_path: Path
) -> None:
    (tmp_path / "LibriSpeech" / "4-gram.arpa.gz").touch()
    with pytest.raises(BadCorpus, match=r"lexicon of the language model is missing: .*librispeech_lexicon.lst.*fairseq"):
        speech_recognition.language_model(corpora)
    only = Corpora(tmp_path, {"lm_lexicon": tmp_path / "words.lst"})
    (tmp_path / "LibriSpeech" / "4-gram.arpa.gz").unlink()
    with pytest.raises(BadCorpus, match=r"language model is missing: .*4-gram.bin.*OpenSLR 11"):
        speech_recognition.language_model(only)


def test_missing_packages_are_reported_before_anything_runs(corpora: Corpora, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("downstream.shared.beam.find_spec", lambda name: None)
    assert speech_recognition.language_model(corpora) == {}
    for name in ("4-gram.arpa", "librispeech_lexicon.lst"):
        (tmp_path / "LibriSpeech" / name).touch()
    with pytest.raises(MissingExtra, match=r"speech-superbench\[lm\]"):
        speech_recognition.language_model(corpora)


def test_the_second_rate_sums_edits_before_dividing() -> None:
    lines = [
        Prediction("a", "all", ("1",), "A B C", "A B", {"lm": "A B C"}), Prediction("b", "all", ("2",), "D", "D", {"lm": "E"})
    ]  # fmt: skip
    scores = speech_recognition.score(lines, {})
    assert (scores["wer"].value, scores["wer_lm"].value) == (25.0, 25.0)
    assert scores["wer_lm"].counts == {"errors": 1, "words": 4}
    with pytest.raises(KeyError):
        speech_recognition.score([lines[0], replace(lines[1], also={})], {})
