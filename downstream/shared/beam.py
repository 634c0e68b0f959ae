"""Beam search over the words of a lexicon with a word n-gram: how ASR decodes with a language model.

flashlight-text's lexicon decoder with KenLM, set as SUPERB's recipe sets it (protocol.md 2.2; s3prl, `downstream/asr`, after
Pratap et al., "wav2letter++", ICASSP 2019). Only words of the lexicon can be decoded. Both packages are in the extra `lm`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from downstream.shared.ctc import BLANK
from downstream.shared.lists import lines_of
from superbench import BadCorpus, MissingExtra

UNKNOWN, SILENCE = "<unk>", "|"
AGAIN = "Fetch librispeech_lexicon.lst again."
OPTIONS: Mapping[str, Any] = {
    "beam_size": 5, "beam_threshold": 25.0, "lm_weight": 2.0, "word_score": -1.0, "unk_score": -math.inf, "sil_score": 0.0,
    "log_add": False,
}  # fmt: skip
"""The official options; every symbol of the alphabet is tried at every frame (`beam_size_token`)."""


def require() -> None:
    """Raises `MissingExtra` if the packages of the decoder are not installed."""
    for module, package in (("flashlight", "flashlight-text"), ("kenlm", "kenlm")):
        if find_spec(module) is None:
            raise MissingExtra("Decoding with a language model", package, "lm")


class WordBeam:
    """Decodes the emissions of an utterance to words. The model is loaded for the first utterance; copies share it."""

    def __init__(self, symbols: Sequence[str], model: Path, lexicon: Path) -> None:
        self.symbols, self.model, self.lexicon = tuple(symbols), model, lexicon
        self._loaded: tuple[Any, Any] | None = None

    def __deepcopy__(self, memo: dict) -> WordBeam:
        return self

    def __call__(self, emissions: Tensor) -> str:
        """Returns the best words for log-probabilities (time, symbols), joined by spaces.

        Raises `BadCorpus` for a model or a lexicon that cannot be read.
        """
        if self._loaded is None:
            self._loaded = self._load()
        decoder, words = self._loaded
        rows = emissions.float().cpu().contiguous()
        if not len(rows):
            return ""
        best = decoder.decode(rows.data_ptr(), *rows.shape)[0]
        return " ".join(words.get_entry(word) for word in best.words if word >= 0)

    def _load(self) -> tuple[Any, Any]:
        require()
        from flashlight.lib.text import decoder as flashlight
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import create_word_dict

        spellings = read_lexicon(self.lexicon, self.symbols)
        words = create_word_dict({UNKNOWN: [], **spellings})
        try:
            model = KenLM(str(self.model), words)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1]
            raise BadCorpus(
                f"{self.model} is not a language model that KenLM reads ({reason}). Expected an n-gram of words as .arpa, "
                ".arpa.gz or KenLM's .bin; fetch it again."
            ) from error
        index = {symbol: number for number, symbol in enumerate(self.symbols)}
        trie = flashlight.Trie(len(self.symbols), index[SILENCE])
        start = model.start(False)
        for word, ways in spellings.items():
            number = words.get_index(word)
            for spelling in ways:
                trie.insert([index[symbol] for symbol in spelling], number, model.score(start, number)[1])
        trie.smear(flashlight.SmearingMode.MAX)
        options = flashlight.LexiconDecoderOptions(
            **OPTIONS, beam_size_token=len(self.symbols), criterion_type=flashlight.CriterionType.CTC
        )
        unknown = words.get_index(UNKNOWN)
        return flashlight.LexiconDecoder(options, trie, model, index[SILENCE], BLANK, unknown, [], False), words


def read_lexicon(path: Path, symbols: Sequence[str]) -> dict[str, list[list[str]]]:
    """Reads word -> spellings from lines `WORD<TAB>W O R D |`; raises `BadCorpus` with the number of a malformed line."""
    lexicon: dict[str, list[list[str]]] = {}
    for number, line in lines_of(path, AGAIN):
        word, *spelling = line.split()
        strange = [symbol for symbol in spelling if symbol not in symbols]
        if not spelling or strange:
            problem = f"{strange[0]!r} is no symbol of the alphabet" if strange else "a word without spelling"
            raise BadCorpus(
                f'{path}, line {number}: {problem}. Expected "WORD<tab>W O R D |" in upper case, as in fairseq\'s '
                "librispeech_lexicon.lst."
            )
        lexicon.setdefault(word, []).append(spelling)
    if not lexicon:
        raise BadCorpus(f"{path} contains no word. {AGAIN}")
    return lexicon
