"""Alphabets (sizes, targets, quirks) and edit counts."""

from __future__ import annotations

import numpy as np
import pytest
import torchaudio

from downstream.shared.snips import SLOTS
from downstream.shared.text import PHONES, LetterAlphabet, PhoneAlphabet, SlotAlphabet, character_edits, spelled, word_edits


def symbols(alphabet: PhoneAlphabet | LetterAlphabet | SlotAlphabet, label: object) -> list[str]:
    return [alphabet.symbols[i] for i in alphabet.encode(label)]  # type: ignore[arg-type]


def test_output_sizes_are_those_of_superb() -> None:
    assert (len(PhoneAlphabet().symbols), len(LetterAlphabet().symbols), len(SlotAlphabet(SLOTS).symbols)) == (74, 32, 109)


def test_phones_are_in_the_official_order() -> None:
    assert len(PHONES) == len(set(PHONES)) == 71
    assert PHONES[:5] == ("SIL", "SPN", "AA0", "AA1", "AA2")
    assert PHONES[20:26] == ("B", "CH", "D", "DH", "EH0", "EH1")
    assert PHONES[-3:] == ("Y", "Z", "ZH")
    assert PhoneAlphabet().symbols[:4] == ("<pad>", "<eos>", "<unk>", "SIL")


def test_a_phone_target_ends_with_eos_and_an_eos_in_the_middle_does_not_cut_a_hypothesis_off() -> None:
    phones = PhoneAlphabet()
    assert symbols(phones, "HH AH0") == ["HH", "AH0", "<eos>"]
    assert spelled(phones, [phones.encode("HH")[0], 1, 0, phones.encode("B")[0]]) == "HH B"


def test_a_letter_target_has_a_separator_after_the_last_word_too() -> None:
    letters = LetterAlphabet()
    assert symbols(letters, "IT'S ON") == [*"IT'S|ON|", "</s>"]
    assert letters.symbols[:8] == ("<s>", "<pad>", "</s>", "<unk>", "|", "E", "T", "A")
    assert spelled(letters, [4, 0, *letters.encode("IT'S  ON"), 0, 2, 4]) == "IT'S ON"
    assert spelled(letters, [*letters.encode("ON"), 1, 3]) == "ON <pad><unk>"


@pytest.mark.parametrize(
    ("label", "printed"),
    [
        ([("SET", "O"), ("A", "O"), ("BEDROOM", "room"), ("ALARM", "O")], "SET A B-room BEDROOM E-room ALARM"),
        ([("BLUE", "room"), ("ROOM", "room")], "B-room BLUE ROOM E-room"),
        ([("SALT", "room"), ("&", "room"), ("PEPPER", "O")], "B-room SALT AND E-room PEPPER"),
        ([("A", "room"), ("B", "city")], "B-room A E-room B-city B E-city"),
        ([("GO", "O"), ("HOME", "room"), (".", "room")], "GO B-room HOME"),  # the closing tag is lost with the full stop
        ([("?", "O"), ("GO", "O")], "GO"),
    ],
)
def test_slots_are_printed_as_the_reference_implementation_does(label: list[tuple[str, str]], printed: str) -> None:
    alphabet = SlotAlphabet(["room", "city"])
    assert spelled(alphabet, alphabet.encode(tuple(label))) == printed


def test_the_end_symbol_is_lost_with_a_skipped_last_word() -> None:
    alphabet = SlotAlphabet(["room"])
    assert symbols(alphabet, (("GO", "O"), ("HOME", "room"))) == ["G", "O", " ", "B-room", *"HOME", "E-room", "<eos>"]
    assert symbols(alphabet, (("GO", "O"), ("?", "O"))) == ["G", "O", " "]


def test_tags_alternate_in_slot_order_after_the_characters() -> None:
    alphabet = SlotAlphabet(["room", "city"])
    assert alphabet.symbols[3:5] == (" ", "A")
    assert alphabet.symbols[30:] == ("'", "B-room", "E-room", "B-city", "E-city")


def test_edits_are_levenshtein_distances_by_another_library() -> None:
    random = np.random.default_rng(0)
    draw = [["".join(random.choice(list("abc"), random.integers(1, 9))) for _ in range(40)] for _ in range(2)]
    by_character = [torchaudio.functional.edit_distance(a, b) for a, b in zip(*draw, strict=True)]
    assert character_edits(*draw) == (by_character, [len(text) for text in draw[0]])
    spaced = [[" ".join(text) for text in side] for side in draw]
    assert word_edits(*spaced) == (by_character, [len(text) for text in draw[0]])


def test_edits_of_nothing_and_of_empty_sides() -> None:
    assert word_edits([], []) == ([], [])
    assert word_edits(["a b", ""], ["", "c"]) == ([2, 1], [2, 0])
    assert character_edits(["A B"], ["AB"]) == ([1], [3])
