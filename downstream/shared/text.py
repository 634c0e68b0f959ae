"""Alphabets of PR, ASR and SF: they convert text to CTC targets, and outputs to text. Also edit counts of words and characters.

Sources: the vocabularies of s3prl, `downstream/ctc/vocab` and `downstream/asr/char.dict`. Index 0 is the CTC blank everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from superbench import BadCorpus

VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = ("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH")  # fmt: skip  # noqa: E501
PHONES = ("SIL", "SPN", *sorted([*CONSONANTS, *(vowel + stress for vowel in VOWELS for stress in "012")]))
"""ARPAbet with stress, 71 symbols: stress is kept for scoring too."""

LETTERS_BY_FREQUENCY = tuple("|ETAONIHSRDLUMCWFGYPBVK'XJQZ")
LETTERS = frozenset(LETTERS_BY_FREQUENCY) - {"|"}
CHARACTERS = (" ", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "'")
PUNCTUATION = "?!.,;-"
FEW = 5
"""Largest number of different characters in a message."""


class Alphabet(Protocol):
    """The symbols of a CTC head: `symbols[i]` is output i, `symbols[0]` the blank; `silent` symbols are never printed."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Returns every output, in order."""
        ...

    @property
    def silent(self) -> frozenset[str]:
        """Returns the outputs that are never printed."""
        ...

    def encode(self, label: Any) -> list[int]:
        """Returns the CTC target of a label."""
        ...

    def text(self, symbols: Sequence[str]) -> str:
        """Returns the text of printable symbols."""
        ...


def spelled(alphabet: Alphabet, tokens: Iterable[int]) -> str:
    """Returns the text of output indices without silent symbols (blank, end, ...)."""
    symbols = (alphabet.symbols[token] for token in tokens)
    return alphabet.text([symbol for symbol in symbols if symbol not in alphabet.silent])


@dataclass(frozen=True)
class PhoneAlphabet:
    """`<pad> <eos> <unk>` and the 71 phones: 74 outputs. A label is phones joined by spaces; its target ends with `<eos>`.

    >>> phones = PhoneAlphabet()
    >>> len(phones.symbols), spelled(phones, phones.encode("HH AH0 L OW1"))
    (74, 'HH AH0 L OW1')
    """

    symbols: tuple[str, ...] = ("<pad>", "<eos>", "<unk>", *PHONES)
    silent: frozenset[str] = frozenset({"<pad>", "<eos>"})

    def encode(self, label: str) -> list[int]:
        """Returns the indices of the phones, then of `<eos>`; an unknown phone is `<unk>`."""
        return _indices(self.symbols, [*label.split(), "<eos>"])

    def text(self, symbols: Sequence[str]) -> str:
        """Returns the phones joined by spaces."""
        return " ".join(symbols)


@dataclass(frozen=True)
class LetterAlphabet:
    """fairseq's dictionary of letters, 32 outputs. Words are upper case; `|` follows every word, `</s>` the last `|`.

    If a network outputs `<pad>` or `<unk>`, they are printed, as in s3prl, and the word is wrong. No target has them.

    >>> letters = LetterAlphabet()
    >>> " ".join(letters.symbols[i] for i in letters.encode("HELLO WORLD"))
    'H E L L O | W O R L D | </s>'
    """

    symbols: tuple[str, ...] = ("<s>", "<pad>", "</s>", "<unk>", *LETTERS_BY_FREQUENCY)
    silent: frozenset[str] = frozenset({"<s>", "</s>"})

    def encode(self, label: str) -> list[int]:
        """Returns the indices of the letters with `|` after every word, and `</s>`.

        Raises `BadCorpus` for any other character.
        """
        if strange := strangers([(label, label)], LETTERS):
            raise BadCorpus(f"{strange}. Expected words of A-Z and apostrophes.")
        return _indices(self.symbols, [*"".join(word + "|" for word in label.split()), "</s>"])

    def text(self, symbols: Sequence[str]) -> str:
        """Returns the words joined by single spaces."""
        return " ".join("".join(symbols).replace("|", " ").split())


Slotted = tuple[tuple[str, str], ...]
"""A sentence of SNIPS: each word with its slot type, or `O`."""


class SlotAlphabet:
    """Characters and the tags `B-<slot>`, `E-<slot>` around the words of a slot; 109 outputs with the 39 slots of SNIPS.

    The quirks of s3prl (`CharacterTextSlotEncoder`) are kept, because they are part of the references: a word that is a
    substring of `?!.,;-` is skipped, together with its tag, and with the end symbol if it is last; `&` is read as AND;
    neighbouring slots of one type are merged.

    >>> slots = SlotAlphabet(["room"])
    >>> spelled(slots, slots.encode((("SET", "O"), ("A", "O"), ("BEDROOM", "room"), ("ALARM", "O"))))
    'SET A B-room BEDROOM E-room ALARM'
    """

    def __init__(self, slots: Sequence[str]) -> None:
        self._spaced = {f"{edge}-{slot}": f"B-{slot} " if edge == "B" else f" E-{slot}" for slot in slots for edge in "BE"}
        self.symbols: tuple[str, ...] = ("<pad>", "<eos>", "<unk>", *CHARACTERS, *self._spaced)
        self.silent = frozenset({"<pad>", "<eos>"})

    def encode(self, label: Slotted) -> list[int]:
        """Returns the target of words with their slots."""
        symbols: list[str] = []
        for i, (word, slot) in enumerate(label):
            if word in PUNCTUATION:
                continue
            last = i + 1 == len(label)
            if slot != "O" and (i == 0 or label[i - 1][1] != slot):
                symbols.append(f"B-{slot}")
            symbols += "AND" if word == "&" else word
            if slot != "O" and (last or label[i + 1][1] != slot):
                symbols.append(f"E-{slot}")
            symbols.append("<eos>" if last else " ")
        return _indices(self.symbols, symbols)

    def text(self, symbols: Sequence[str]) -> str:
        """Returns the characters with `B-x ` and ` E-x`; runs of spaces become one space."""
        return " ".join("".join(self._spaced.get(symbol, symbol) for symbol in symbols).split())


def _indices(symbols: Sequence[str], printed: Iterable[str]) -> list[int]:
    index: Mapping[str, int] = {symbol: i for i, symbol in enumerate(symbols)}
    return [index.get(symbol, index["<unk>"]) for symbol in printed]


def strangers(texts: Iterable[tuple[str, str]], known: Collection[str]) -> str:
    """Describes the characters of named texts that an alphabet lacks, with counts and the first text; empty if there are none.

    >>> strangers([("a", "HELLO"), ("b", "HELLO, 2 YOU"), ("c", "2")], set("HELOYU"))
    "3 characters in 2 of 3 texts are not in the alphabet: '2' (2), ',' (1); first in b, 'HELLO, 2 YOU'"
    """
    counts: Counter[str] = Counter()
    first, affected, total = "", 0, 0
    for name, text in texts:
        unknown = [character for character in text if character not in known and not character.isspace()]
        counts.update(unknown)
        first = first or (f"{name}, {text[:100]!r}" if unknown else "")
        affected, total = affected + bool(unknown), total + 1
    named = ", ".join(f"{character!r} ({count:,})" for character, count in counts.most_common(FEW))
    more = f" … and {len(counts) - FEW} more" if len(counts) > FEW else ""
    many = f"{counts.total():,} characters in {affected:,} of {total:,} texts are not in the alphabet"
    return f"{many}: {named}{more}; first in {first}" if counts else ""


# ---------------------------------------------------------------- edit counts


def word_edits(references: Sequence[str], hypotheses: Sequence[str]) -> tuple[list[int], list[int]]:
    """Returns the Levenshtein distance and the reference length of each pair, over words (or phones) separated by spaces.

    >>> word_edits(["a b c", "d"], ["a x", ""])
    ([2, 1], [3, 1])
    """
    return _edits(references, hypotheses, words=True)


def character_edits(references: Sequence[str], hypotheses: Sequence[str]) -> tuple[list[int], list[int]]:
    """Returns the Levenshtein distance and the reference length of each pair, over characters, with spaces.

    >>> character_edits(["SALT"], ["MALT T"])
    ([3], [4])
    """
    return _edits(references, hypotheses, words=False)


def _edits(references: Sequence[str], hypotheses: Sequence[str], *, words: bool) -> tuple[list[int], list[int]]:
    import jiwer  # importing jiwer is slow, and only scoring needs it

    if not references:
        return [], []
    process = jiwer.process_words if words else jiwer.process_characters
    measured = process(list(references), list(hypotheses))
    errors = [sum(_size(chunk) for chunk in chunks if chunk.type != "equal") for chunks in measured.alignments]
    return errors, [len(reference) for reference in measured.references]


def _size(chunk: Any) -> int:
    """Counts the errors of one part of an alignment: words replaced, deleted or inserted."""
    return max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
