"""What PR, ASR and SF are trained to write, and the vocabularies.

References: the encoders of `s3prl.downstream.ctc.text` and `s3prl.downstream.asr.dictionary`. The lists that they load
(`ctc/vocab/*.txt`, `asr/char.dict`, SNIPS' `slots.txt`) are not in the published package; they are written here as protocol.md
2.1-2.3 has them, so the order of a vocabulary is compared with the protocol's, the encoding with the source's. `process_trans`
of `s3prl.downstream.asr.dataset` is a local function; it is run through `_load_transcript`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from downstream.shared.snips import SLOTS
from downstream.shared.text import LetterAlphabet, PhoneAlphabet, SlotAlphabet, Slotted, spelled

Reference = Callable[[str], Any]

PHONEME_LINES = """SIL SPN
AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH
EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG
OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH UH0 UH1 UH2 UW0 UW1 UW2 V W Y Z ZH"""
LETTER_LINES = "| E T A O N I H S R D L U M C W F G Y P B V K ' X J Q Z"
PHONEME_FILE, LETTER_FILE = PHONEME_LINES.split(), LETTER_LINES.split()
CHARACTER_FILE = [" ", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "'"]


@pytest.fixture
def phones(reference: Reference, tmp_path: Path) -> Any:
    (tmp_path / "phoneme.txt").write_text("\n".join(PHONEME_FILE) + "\n")
    return reference("downstream.ctc.text").load_text_encoder("word", str(tmp_path / "phoneme.txt"))


@pytest.fixture
def slots(reference: Reference, tmp_path: Path) -> Any:
    (tmp_path / "character.txt").write_text("\n".join(CHARACTER_FILE) + "\n")
    (tmp_path / "slots.txt").write_text("\n".join(["O", *SLOTS]))
    files = [str(tmp_path / name) for name in ("character.txt", "slots.txt")]
    return reference("downstream.ctc.text").load_text_encoder("character-slot", *files)


@pytest.fixture
def letters(reference: Reference, tmp_path: Path) -> Any:
    (tmp_path / "char.dict").write_text("".join(f"{letter} {1_000 - n}\n" for n, letter in enumerate(LETTER_FILE)))
    return reference("downstream.asr.dictionary").Dictionary.load(str(tmp_path / "char.dict"))


def test_vocabularies_have_the_same_symbols_in_the_same_places(phones: Any, letters: Any, slots: Any) -> None:
    assert PhoneAlphabet().symbols == tuple(phones._vocab_list)
    assert LetterAlphabet().symbols == tuple(letters.symbols)
    assert (phones.pad_idx, letters.bos(), slots.pad_idx) == (0, 0, 0)  # the blanks
    ours = SlotAlphabet(SLOTS)
    assert [ours.text([symbol]).strip() for symbol in ours.symbols[4:]] == [
        slots.idx_to_vocab(i).strip() for i in range(4, slots.vocab_size)
    ]
    assert len(ours.symbols) == slots.vocab_size == 109
    assert ours.symbols[3] == slots.idx_to_vocab(3) == " "


def test_phone_targets_are_the_same(phones: Any) -> None:
    draw = random.Random(0)
    for _ in range(200):
        label = " ".join(draw.choices([*PHONEME_FILE, "QQ"], k=draw.randrange(1, 40)))  # QQ is no phone
        assert PhoneAlphabet().encode(label) == phones.encode(label)


TRANSCRIPTS = ["HELLO WORLD", "IT'S", "A B C", "QUEUEING' 'TIS  TWO   SPACES", "Z"]


def test_letter_targets_are_the_same(reference: Reference, letters: Any, tmp_path: Path) -> None:
    folder = tmp_path / "split/19/198"
    folder.mkdir(parents=True)
    lines = [f"19-198-{n:04d} {text}\n" for n, text in enumerate(TRANSCRIPTS)]
    (folder / "19-198.trans.txt").write_text("".join(lines))
    dataset = SimpleNamespace(libri_root=str(tmp_path))
    found = reference("downstream.asr.dataset").SequenceDataset._load_transcript(dataset, ["split/19/198/19-198-0000.flac"])
    assert len(found) == len(TRANSCRIPTS)
    for text, spaced in zip(TRANSCRIPTS, found.values(), strict=True):
        target = letters.encode_line(spaced, line_tokenizer=lambda line: line.split()).tolist()
        assert LetterAlphabet().encode(text) == target


def test_words_are_printed_as_theirs_unlikely_symbols_included(reference: Reference, letters: Any) -> None:
    to_words, draw = reference("downstream.asr.expert").token_to_word, random.Random(1)
    for _ in range(300):
        tokens = [draw.choice([0, 1, 2, 3, 4, 4, *range(5, 32)]) for _ in range(draw.randrange(30))]
        merged = [token for token, before in zip(tokens, [None, *tokens], strict=False) if token != before]
        theirs = to_words(letters.string([token for token in merged if token != letters.bos()])).split()
        assert spelled(LetterAlphabet(), merged).split() == theirs


AWKWARD: list[Slotted] = [
    (("SET", "O"), ("A", "O"), ("BEDROOM", "facility"), ("ALARM", "O")),
    (("PLAY", "O"), ("SALT", "artist"), ("&", "artist"), ("PEPPER", "artist")),
    (("&", "O"),),
    (("GO", "O"), ("HOME", "city"), (".", "city")),  # the closing tag and <eos> are lost
    ((".", "city"), ("HOME", "city"), ("NOW", "O")),  # the opening tag is lost
    (("GO", "O"), ("?", "O")),  # no <eos>
    (("A", "city"), ("B", "state"), ("C", "state"), ("D", "city")),  # neighbours of other types
    (("A", "city"), ("B", "city")),  # neighbours of one type merge
    (("-", "O"), ("?!", "O"), (".,;", "O"), ("-,", "O"), ("X", "O")),  # substrings of ?!.,;- but for the last two
    (("IT'S", "O"), ("5", "rating_value"), ("É", "O")),  # unknown characters
    (("A-B", "track"), ("C.D", "track")),
    (("timerange", "timeRange"),),
]


def iob(label: Slotted) -> str:
    words, tags = " ".join(word for word, _ in label), " ".join(slot for _, slot in label)
    return f"BOS {words} EOS\tO {tags} PlayMusic\n"


@pytest.mark.parametrize("label", AWKWARD, ids=lambda label: " ".join(word for word, _ in label))
def test_slot_targets_are_the_same_on_awkward_sentences(slots: Any, label: Slotted) -> None:
    ours = SlotAlphabet(SLOTS)
    assert ours.encode(label) == slots.encode(iob(label))
    assert spelled(ours, ours.encode(label)).split() == slots.decode(slots.encode(iob(label))).split()


def test_slot_targets_are_the_same_on_many_random_sentences(slots: Any) -> None:
    draw, ours = random.Random(2), SlotAlphabet(SLOTS)
    words = ["A", "PLAY", "&", ".", "?", "!", "-", ",", ";", "?!", "DON'T", "SONG", "7"]
    for _ in range(1_000):
        length = draw.randrange(1, 9)
        label = tuple((draw.choice(words), draw.choice(["O", "O", *SLOTS[:3]])) for _ in range(length))
        assert ours.encode(label) == slots.encode(iob(label))


def test_slot_outputs_are_printed_as_theirs(slots: Any) -> None:
    draw, ours = random.Random(3), SlotAlphabet(SLOTS)
    for _ in range(300):
        tokens = [draw.choice([0, 1, 2, 3, *range(109)]) for _ in range(draw.randrange(40))]
        kept = [token for token in tokens if token not in (0, 1)]
        assert spelled(ours, tokens).split(" ") == slots.decode(kept).split() or not kept
