"""ASR with a language model: `s3prl.downstream.asr.w2l_decoder.W2lKenLMDecoder` on the same emissions.

The dictionary's file and the options stand in files that the published package lacks; they are written here as protocol.md 2.2
prints them. Theirs writes the words of an utterance, ours too.
"""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from downstream.shared.beam import WordBeam
from downstream.shared.text import LETTERS_BY_FREQUENCY, LetterAlphabet

pytest.importorskip("flashlight.lib.text.decoder", reason="the extra lm is not installed")
Reference = Callable[[str], Any]
LETTERS = LetterAlphabet()


def language(folder: Path, words: int = 60) -> tuple[Path, Path]:
    """A lexicon of random words, one of them spelt in two ways, and a bigram over most of them."""
    random = np.random.default_rng(1)
    names = sorted({"".join(random.choice(list("ETAONIHS'"), random.integers(1, 5))) for _ in range(words)})
    spellings = [f"{name}\t{' '.join(name)} |" for name in names] + [f"{names[0]}\tQ Q |"]
    (folder / "words.lst").write_text("\n".join(spellings) + "\n")
    known = names[:-5]  # the last are unknown to the model
    ones = [f"{random.uniform(-3, -1):.4f}\t{name}\t{random.uniform(-1, 0):.4f}" for name in ["<unk>", "</s>", *known]]
    pairs = sorted({(str(a), str(b)) for a, b in random.choice(["<s>", *known], (150, 2)) if b != "<s>"})
    twos = [f"{random.uniform(-2, -0.1):.4f}\t{a} {b}" for a, b in pairs]
    lines = ["\\data\\", f"ngram 1={len(ones) + 1}", f"ngram 2={len(twos)}", "", "\\1-grams:", "0\t<s>\t-0.5", *ones]
    (folder / "lm.arpa").write_text("\n".join([*lines, "", "\\2-grams:", *twos, "", "\\end\\", ""]))
    return folder / "lm.arpa", folder / "words.lst"


def test_words_are_theirs(reference: Reference, tmp_path: Path) -> None:
    model, lexicon = language(tmp_path)
    (tmp_path / "char.dict").write_text("".join(f"{letter} 1\n" for letter in LETTERS_BY_FREQUENCY))
    dictionary = reference("downstream.asr.dictionary").Dictionary.load(str(tmp_path / "char.dict"))
    assert tuple(dictionary.symbols) == LETTERS.symbols
    official = Namespace(
        nbest=1, lexicon=str(lexicon), kenlm_model=str(model), beam=5, beam_size_token=len(dictionary), beam_threshold=25,
        lm_weight=2, word_score=-1, unk_weight=float("-inf"), sil_weight=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they import KenLM from where it was
        theirs = reference("downstream.asr.w2l_decoder").W2lKenLMDecoder(official, dictionary)
    ours, written = WordBeam(LETTERS.symbols, model, lexicon), []
    for seed in range(80):
        draw = torch.Generator().manual_seed(seed)
        rows = (torch.randn(30 + seed, 32, generator=draw) * (1 + seed % 5)).log_softmax(-1)
        (best,) = theirs.decode(rows[None])[0]
        assert ours(rows) == " ".join(best["words"])
        written += best["words"]
    assert len(set(written)) > 30
