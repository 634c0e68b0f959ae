"""The LibriSpeech tree, its lexicon, and its miniature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from downstream.shared import librispeech
from downstream.shared.librispeech import LEXICONS, SPLITS, pronunciations, read_fold, transcripts
from downstream.shared.speech import Line
from superbench import BadCorpus, Corpora, MissingCorpus


@pytest.fixture
def corpora(tmp_path: Path) -> Corpora:
    root = tmp_path / "LibriSpeech"
    for number, split in enumerate(SPLITS.values(), start=1):
        chapter = root / split / str(number) / "10"
        chapter.mkdir(parents=True)
        (chapter / f"{number}-10.trans.txt").write_text(f"{number}-10-0000 HELLO WORLD\n{number}-10-0001 IT'S ONE\n")
        for utterance in ("0000", "0001"):
            (chapter / f"{number}-10-{utterance}.flac").write_bytes(b"read by nobody here")
    (root / LEXICONS[0]).write_text("HELLO\tHH AH0 L OW1\nHELLO\tHH EH0 L OW1\nIT'S  IH1 T S\n")
    (root / LEXICONS[1]).write_text("HELLO\tB\nONE\tW AH1 N\nWORLD\tW ER1 L D\n")
    return Corpora(tmp_path)


def test_items_carry_text_speaker_and_path(corpora: Corpora) -> None:
    fold = read_fold(corpora)
    assert [(i.id, i.label, i.group) for i in fold.test.items] == [
        ("3-10-0000", "HELLO WORLD", ("3",)),
        ("3-10-0001", "IT'S ONE", ("3",)),
    ]
    assert fold.dev.items[0].audio.path == corpora.root / "LibriSpeech/dev-clean/2/10/2-10-0000.flac"


def test_a_split_that_is_absent_is_named(corpora: Corpora) -> None:
    (corpora.root / "LibriSpeech/dev-clean").rename(corpora.root / "elsewhere")
    with pytest.raises(MissingCorpus, match="dev-clean does not exist"):
        read_fold(corpora)


def test_a_listed_sound_that_is_missing_is_an_error_that_names_it(corpora: Corpora) -> None:
    (corpora.root / "LibriSpeech/test-clean/3/10/3-10-0001.flac").unlink()
    with pytest.raises(BadCorpus, match=r"3-10-0001\.flac is listed"):
        read_fold(corpora)


def test_sound_without_a_transcript_is_an_error(corpora: Corpora) -> None:
    chapter = corpora.root / "LibriSpeech/test-clean/3/10"
    (chapter / "3-10-0002.flac").write_bytes(b"")
    with pytest.raises(BadCorpus, match="no line for 3-10-0002"):
        read_fold(corpora)
    (chapter / "3-10-0002.flac").rename(chapter / "._3-10-0002.flac")
    assert len(read_fold(corpora).test.items) == 2
    (chapter / "3-10.trans.txt").rename(chapter / "._3-10.trans.txt")
    with pytest.raises(BadCorpus, match=r"test-clean contains no"):
        read_fold(corpora)


def test_a_chapter_without_a_transcript_is_an_error(corpora: Corpora) -> None:
    chapter = corpora.root / "LibriSpeech/test-clean/3/11"
    chapter.mkdir()
    (chapter / "3-11-0000.flac").write_bytes(b"")
    with pytest.raises(BadCorpus, match=r"11 contains sound but no \*\.trans\.txt"):
        read_fold(corpora)


@pytest.mark.parametrize("text", ["3-10-0000\n3-10-0001 A\n", "3-10-0000 A\n\n3-10-0001 B\n"])
def test_a_line_without_text_is_an_error_with_its_number(corpora: Corpora, text: str) -> None:
    (corpora.root / "LibriSpeech/test-clean/3/10/3-10.trans.txt").write_text(text)
    with pytest.raises(BadCorpus, match=r"3-10\.trans\.txt, line [12]: expected"):
        read_fold(corpora)


def test_an_utterance_twice_is_an_error(corpora: Corpora) -> None:
    path = corpora.root / "LibriSpeech/test-clean/3/10/3-10.trans.txt"
    path.write_text(path.read_text() + "3-10-0000 AGAIN\n")
    with pytest.raises(BadCorpus, match=r"test-clean, 3-10\.trans\.txt line 3: 3-10-0000 is listed twice, first in .* line 1"):
        read_fold(corpora)


def test_the_first_pronunciation_counts_and_files_are_read_in_order(corpora: Corpora) -> None:
    words = transcripts(corpora)
    assert words == {"HELLO", "WORLD", "IT'S", "ONE"}
    lexicon = pronunciations(corpora, words)
    assert lexicon.phones == {"HELLO": "HH AH0 L OW1", "IT'S": "IH1 T S", "ONE": "W AH1 N", "WORLD": "W ER1 L D"}


def test_words_that_are_in_no_lexicon_are_listed(corpora: Corpora) -> None:
    with pytest.raises(BadCorpus, match=r"2 words .*: ABA ZYX\. Add"):
        pronunciations(corpora, ["ZYX", "ABA", "ONE"])


def test_a_phone_that_is_not_arpabet_is_an_error(corpora: Corpora) -> None:
    (corpora.root / "LibriSpeech" / LEXICONS[1]).write_text("ONE\tW AH N\n")
    with pytest.raises(BadCorpus, match=r"allothers-g2p\.txt, line 1: expected"):
        pronunciations(corpora, ["ONE"])


def test_the_lexicon_may_be_elsewhere_as_a_folder_or_a_file(corpora: Corpora, tmp_path: Path) -> None:
    elsewhere = tmp_path / "words"
    elsewhere.mkdir()
    (elsewhere / LEXICONS[1]).write_text("ONE\tW AH2 N\n")
    for place in (elsewhere, elsewhere / LEXICONS[1]):
        assert pronunciations(Corpora(tmp_path, {"lexicon": place}), ["ONE"]).phones == {"ONE": "W AH2 N"}


def test_no_lexicon_at_all_says_where_it_was_looked_for(corpora: Corpora) -> None:
    for name in LEXICONS:
        (corpora.root / "LibriSpeech" / name).unlink()
    with pytest.raises(MissingCorpus, match=r"LibriSpeech/librispeech-lexicon-200k-g2p\.txt"):
        pronunciations(corpora, ["ONE"])


def silent(lines: Sequence[Line]) -> None:
    """Replaces the synthesiser by one that writes empty files."""
    for line in lines:
        line.path.parent.mkdir(parents=True, exist_ok=True)
        line.path.write_bytes(b"")


@pytest.mark.slow
def test_the_miniature_has_the_official_layout_and_new_words_and_speakers_in_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(librispeech, "speak", silent)
    librispeech.write_miniature(tmp_path, 0)
    corpora = Corpora(tmp_path)
    fold = read_fold(corpora)
    assert len(pronunciations(corpora, transcripts(corpora)).phones) > 280
    train_words = {word for item in fold.train.items for word in item.label.split()}
    tokens = [word for item in fold.test.items for word in item.label.split()]
    assert 0.05 < sum(word not in train_words for word in tokens) / len(tokens) < 0.2
    groups = [{item.group for item in split.items} for split in (fold.train, fold.dev, fold.test)]
    assert not groups[0] & groups[2]
    assert len(groups[2]) >= 30
    assert len(list((tmp_path / "LibriSpeech/train-clean-360").glob("*/*/*.flac"))) == 1_200


@pytest.mark.slow
def test_a_complete_miniature_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(librispeech, "speak", silent)
    librispeech.write_miniature(tmp_path, 0)

    def refuse(lines: Sequence[Line]) -> None:
        raise AssertionError("synthesised twice")

    monkeypatch.setattr(librispeech, "speak", refuse)
    librispeech.write_miniature(tmp_path, 0)
    with pytest.raises(AssertionError, match="twice"):
        librispeech.write_miniature(tmp_path, 1)
