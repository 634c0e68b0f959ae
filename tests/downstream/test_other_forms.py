"""LibriSpeech and VoxCeleb1 as people have them: converted to another format, unpacked into folders of other names."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstream.shared.librispeech import read_fold
from downstream.shared.suffixes import remark_on, sounds_in
from downstream.shared.voxceleb import VoxCeleb
from superbench import BadCorpus, Corpora, MissingFiles
from superbench.plugins import task


@pytest.fixture
def books(tmp_path: Path) -> Corpora:
    """One chapter of two utterances in each split, in wav."""
    for speaker, split in enumerate(("train-clean-100", "dev-clean", "test-clean"), 1):
        chapter = tmp_path / "LibriSpeech" / split / str(speaker) / "10"
        chapter.mkdir(parents=True)
        names = [f"{speaker}-10-{number:04}" for number in range(2)]
        (chapter / f"{speaker}-10.trans.txt").write_text("".join(f"{name} WORDS\n" for name in names))
        for name in names:
            (chapter / f"{name}.wav").touch()
    return Corpora(tmp_path)


def test_librispeech_in_wav_is_read_and_said(books: Corpora) -> None:
    fold = read_fold(books)
    assert [item.audio.path.name for item in fold.dev.items] == ["2-10-0000.wav", "2-10-0001.wav"]
    assert [item.id for item in fold.dev.items] == ["2-10-0000", "2-10-0001"]
    assert fold.remarks == ("6 of 6 files are .wav in place of .flac",)


def test_the_published_format_is_preferred(books: Corpora) -> None:
    (books.root / "LibriSpeech/dev-clean/2/10/2-10-0000.flac").touch()
    assert [item.audio.path.suffix for item in read_fold(books).dev.items] == [".flac", ".wav"]


def test_a_missing_file_is_still_missing(books: Corpora) -> None:
    (books.root / "LibriSpeech/dev-clean/2/10/2-10-0001.wav").unlink()
    with pytest.raises(MissingFiles, match=r"2-10-0001\.flac"):
        read_fold(books)


def test_sound_that_is_not_decoded_is_named_with_the_command(books: Corpora) -> None:
    chapter = books.root / "LibriSpeech/dev-clean/2/10"
    for path in chapter.glob("*.wav"):
        path.rename(path.with_suffix(".m4a"))
    with pytest.raises(BadCorpus, match=r"2 \.m4a and no \.flac.*ffmpeg -i 2-10-0001\.m4a 2-10-0001\.flac"):
        read_fold(books)


def test_lossy_copies_are_remarked_on(tmp_path: Path) -> None:
    paths = [tmp_path / "a.mp3", tmp_path / "b.wav"]
    assert remark_on(paths, ".wav") == ("1 of 2 files are .mp3 in place of .wav (a lossy copy gives other features)",)
    assert remark_on(paths[1:], ".wav") == ()
    assert sounds_in([tmp_path / "._a.wav"], ".wav") == {}


def voxceleb(root: Path, *files: str, suffix: str = ".wav") -> Corpora:
    """A tree of these files, with the lists of the trials and of the identification."""
    for name in files:
        path = (root / "VoxCeleb1" / name).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    names = ["/".join(Path(name).parts[-3:]) for name in files]
    tested = [name for name in names if "id1027" in name]
    (root / "VoxCeleb1/voxceleb1_test_v2.txt").write_text(f"1 {tested[0]} {tested[1]}\n")
    lines = [f"{number % 3 + 1} {name}\n" for number, name in enumerate(names)]
    (root / "VoxCeleb1/iden_split.txt").write_text("".join(lines))
    return Corpora(root)


FILES = ("id10001/aaa/00001.wav", "id10001/aaa/00002.wav", "id10270/ccc/00001.wav", "id10270/ddd/00002.wav")


@pytest.mark.parametrize("inside", ["", "/wav"])
def test_folders_that_are_named_after_the_archives_are_found(tmp_path: Path, inside: str) -> None:
    files = [f"vox1_{'test' if 'id10270' in name else 'dev'}_wav{inside}/{name}" for name in FILES]
    corpora = voxceleb(tmp_path, *files)
    (fold,) = task("asv").read(corpora)
    assert [item.id for item in fold.train.items] == list(FILES[:2])
    assert all(item.audio.path.is_file() for item in (*fold.train.items, *fold.test.items))


def test_a_speaker_split_over_two_folders_is_read_from_both(tmp_path: Path) -> None:
    corpora = voxceleb(tmp_path, f"dev/wav/{FILES[0]}", f"wav/{FILES[1]}", f"test/wav/{FILES[2]}", f"wav/{FILES[3]}")
    corpus = VoxCeleb.under(corpora)
    assert corpus.utterances("id10001") == list(FILES[:2])
    assert all(corpus.path(name).is_file() for name in FILES)
    (fold,) = task("sid").read(corpora)
    assert sum(len(split.items) for split in fold.splits) == 4


def test_voxceleb_in_flac_is_read_under_the_published_ids(tmp_path: Path) -> None:
    corpora = voxceleb(tmp_path, *(f"wav/{name}" for name in FILES), suffix=".flac")
    (fold,) = task("asv").read(corpora)
    assert [item.id for item in fold.train.items] == list(FILES[:2])
    assert {item.audio.path.suffix for item in fold.test.items} == {".flac"}
    assert fold.remarks == ("its files are .flac in place of .wav",)


def test_voxceleb_in_m4a_says_how_to_convert_it(tmp_path: Path) -> None:
    corpora = voxceleb(tmp_path, *(f"wav/{name}" for name in FILES), suffix=".m4a")
    with pytest.raises(BadCorpus, match=r"contains 2 \.m4a and no \.wav.*ffmpeg"):
        task("sid").read(corpora)
