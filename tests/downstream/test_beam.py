"""Beam search with a lexicon and an n-gram: equal to cases worked by hand and to brute force; outputs only lexicon words."""

from __future__ import annotations

import copy
import gzip
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from downstream.shared import beam
from downstream.shared.beam import WordBeam, read_lexicon
from downstream.shared.ctc import CtcHead, FrameLinear
from downstream.shared.text import LetterAlphabet, spelled
from superbench import BadCorpus, MissingExtra

pytest.importorskip("flashlight.lib.text.decoder", reason="the extra lm is not installed")
kenlm = pytest.importorskip("kenlm", reason="the extra lm is not installed")

LETTERS = LetterAlphabet()
PLACE = {symbol: number for number, symbol in enumerate(LETTERS.symbols)}
ARPA = """\
\\data\\
ngram 1=7
ngram 2=3

\\1-grams:
-2.0\t<unk>
0\t<s>\t-0.3
-1.0\t</s>
-0.9\tI\t-0.2
-1.2\tSEE\t-0.1
-1.0\tSEA
-1.1\tA\t-0.4

\\2-grams:
-0.3\t<s> I
-0.2\tI SEE
-1.5\tI SEA

\\end\\
"""
LEXICON = "I\tI |\nSEE\tS E E |\nSEA\tS E A |\nA\tA |\n"


@pytest.fixture
def search(tmp_path: Path) -> WordBeam:
    (tmp_path / "lm.arpa").write_text(ARPA)
    (tmp_path / "words.lst").write_text(LEXICON)
    return WordBeam(LETTERS.symbols, tmp_path / "lm.arpa", tmp_path / "words.lst")


@pytest.fixture
def decoders(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The flashlight decoders that the test creates."""
    from flashlight.lib.text import decoder as flashlight

    created: list[Any] = []
    real = flashlight.LexiconDecoder

    def kept(*arguments: Any) -> Any:
        created.append(real(*arguments))
        return created[-1]

    monkeypatch.setattr(flashlight, "LexiconDecoder", kept)
    return created


def emissions(frames: str, **instead: float) -> Tensor:
    """Log-probabilities of one symbol a frame, `_` being the blank; `X=margin`: at a frame `X`, A is ahead of E by so much."""
    rows = torch.full((len(frames), len(PLACE)), -30.0)
    for row, symbol in zip(rows, frames, strict=True):
        if symbol in instead:
            row[PLACE["A"]], row[PLACE["E"]] = instead[symbol], 0.0
        else:
            row[PLACE["<s>"] if symbol == "_" else PLACE[symbol]] = 0.0
    return rows.log_softmax(-1)


def greedy(rows: Tensor) -> str:
    return spelled(LETTERS, torch.unique_consecutive(rows.argmax(-1)).tolist())


@pytest.mark.parametrize(("margin", "words"), [(2.3, "I SEE"), (2.5, "I SEA")])
def test_the_language_model_changes_a_word_only_where_its_margin_is_larger(search: WordBeam, margin: float, words: str) -> None:
    """log10: I SEE </s> is -0.3 -0.2 (-0.1 -1.0) = -1.6, I SEA </s> is -0.3 -1.5 -1.0 = -2.8. The weight 2 makes that 2.4."""
    rows = emissions("I|SE_X|", X=margin)
    assert greedy(rows) == "I SEA"
    assert search(rows) == words


@pytest.mark.parametrize("seed", range(3))
def test_the_best_words_are_those_of_a_search_over_all_paths(
    seed: int, search: WordBeam, decoders: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Σ log-probabilities of the best path + 2 · log10 of the sentence - 1 for every word, over every path of six frames."""
    monkeypatch.setattr(beam, "OPTIONS", {**beam.OPTIONS, "beam_size": 5_000, "beam_threshold": 1e3})
    symbols, used = ["<s>", "|", "I", "A", "S", "E"], torch.randn(6, 6, generator=torch.Generator().manual_seed(seed)) * 3
    rows = torch.full((6, len(PLACE)), -1e4)
    rows[:, [PLACE[symbol] for symbol in symbols]] = used
    rows = rows.log_softmax(-1)
    model, lexicon = kenlm.Model(str(search.model)), {"I", "SEE", "SEA", "A"}
    table = [{symbol: float(row[PLACE[symbol]]) for symbol in symbols} for row in rows]
    best: dict[str, float] = {}
    for path in itertools.product(symbols, repeat=6):
        text = "".join(symbol for symbol, _ in itertools.groupby(path) if symbol != "<s>")
        words = text.split("|")
        if words.pop() or not set(filter(None, words)) <= lexicon:
            continue
        sentence = " ".join(filter(None, words))
        score = sum(row[symbol] for row, symbol in zip(table, path, strict=True))
        best[sentence] = max(best.get(sentence, -math.inf), score)
    totals = {text: acoustic + 2 * model.score(text) - len(text.split()) for text, acoustic in best.items()}
    assert len(totals) > 10
    assert search(rows) == max(totals, key=lambda text: totals[text])
    (decoder,) = decoders
    assert decoder.decode(rows.contiguous().data_ptr(), 6, 32)[0].score == pytest.approx(max(totals.values()), abs=1e-3)


def test_a_word_outside_the_lexicon_is_never_output(search: WordBeam) -> None:
    assert greedy(emissions("I|SIS_S|")) == "I SISS"
    assert set(search(emissions("I|SIS_S|")).split()) <= {"I", "SEE", "SEA", "A"}
    written = set()
    for seed in range(60):
        rows = (4 * torch.randn(40, 32, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)
        written |= set(search(rows).split())
    assert {"I", "A"} <= written <= {"I", "SEE", "SEA", "A"}


def test_the_options_are_the_official_ones_and_reach_the_decoder(search: WordBeam, monkeypatch: pytest.MonkeyPatch) -> None:
    from flashlight.lib.text import decoder as flashlight

    recorded: dict[str, Any] = {}

    class Trie(flashlight.Trie):
        def smear(self, mode: Any) -> None:
            recorded["smear"] = mode
            super().smear(mode)

    real = flashlight.LexiconDecoder

    def spy(options: Any, trie: Any, model: Any, silence: int, blank: int, unknown: int, moves: list, tokens: bool) -> Any:
        recorded.update(options=options, silence=silence, blank=blank, moves=moves, tokens=tokens, trie=trie)
        return real(options, trie, model, silence, blank, unknown, moves, tokens)

    monkeypatch.setattr(flashlight, "Trie", Trie)
    monkeypatch.setattr(flashlight, "LexiconDecoder", spy)
    assert search(emissions("A|")) == "A"
    set_to = {name: getattr(recorded["options"], name) for name in dir(recorded["options"]) if not name.startswith("_")}
    assert set_to == {
        "beam_size": 5, "beam_size_token": 32, "beam_threshold": 25.0, "lm_weight": 2.0, "word_score": -1.0,
        "unk_score": -math.inf, "sil_score": 0.0, "log_add": False, "criterion_type": flashlight.CriterionType.CTC,
    }  # fmt: skip
    assert recorded["smear"] == flashlight.SmearingMode.MAX
    assert (LETTERS.symbols[recorded["silence"]], LETTERS.symbols[recorded["blank"]]) == ("|", "<s>")
    assert (recorded["moves"], recorded["tokens"]) == ([], False)


def test_a_compressed_language_model_gives_the_same_words(search: WordBeam, tmp_path: Path) -> None:
    packed = tmp_path / "lm.arpa.gz"
    packed.write_bytes(gzip.compress(ARPA.encode()))
    compressed = WordBeam(LETTERS.symbols, packed, search.lexicon)
    rows = emissions("I|SE_X|", X=1.0)
    assert compressed(rows) == search(rows) == "I SEE"


def test_a_head_decodes_within_the_length_of_each_item_also_after_copying(search: WordBeam) -> None:
    head = CtcHead(FrameLinear(4, 32), LETTERS, search)
    batch = torch.stack([emissions("I|SE_X|", X=1.0), emissions("A|SE_X|", X=1.0)])
    lengths = torch.tensor([7, 2])
    assert head.decode(batch, lengths) == ["I SEA", "A"]
    assert copy.deepcopy(head).decode_also(batch + 5, lengths) == [
        {"lm": "I SEE"},
        {"lm": "A"},
    ]  # logits need not be normalised
    assert CtcHead(FrameLinear(4, 32), LETTERS).decode_also(batch, lengths) == [{}, {}]
    assert search(batch[0, :0]) == ""


# ---------------------------------------------------------------- errors


def test_a_word_may_have_several_spellings(tmp_path: Path) -> None:
    (tmp_path / "l").write_text("OK\tO K |\n\nOK\tO K A Y |\n")
    assert read_lexicon(tmp_path / "l", LETTERS.symbols) == {"OK": [["O", "K", "|"], ["O", "K", "A", "Y", "|"]]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("I\tI |\nsee\ts e e |\n", "line 2: 's' is no symbol"),
        ("I\n", "line 1: a word without spelling"),
        ("\n", "contains no word"),
    ],
)
def test_a_bad_lexicon_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "words.lst").write_text(text)
    with pytest.raises(BadCorpus, match=f"words.lst.*{message}|words.lst {message}"):
        read_lexicon(tmp_path / "words.lst", LETTERS.symbols)


def test_a_file_that_is_no_language_model_is_named(search: WordBeam) -> None:
    search.model.write_text("a page of HTML\n")
    with pytest.raises(BadCorpus, match=r"lm\.arpa is not a language model that KenLM reads"):
        search(emissions("I|"))


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beam, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"speech-superbench\[lm\]"):
        beam.require()
