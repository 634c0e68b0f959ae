"""VoxCeleb1, for SID and ASV: reads its tree and lists, and writes a miniature of it.

Corpus: Nagrani, Chung, Zisserman, "VoxCeleb: a large-scale speaker identification dataset" (Interspeech 2017); 1 251 speakers,
153 516 utterances cut from interviews. Ids of utterances are their paths below `wav/`: `id10001/1zcIwhmdeo4/00001.wav`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from downstream.shared.lists import lines_of, must_be_there, only_once
from downstream.shared.sentences import sentence
from downstream.shared.speech import Line, Voice, speak, voice
from downstream.shared.suffixes import sounds_in
from superbench import BadCorpus, Corpora, IncompleteCorpus

SPEAKERS = tuple(f"id{number}" for number in range(10_001, 11_252))
KNOWN = frozenset(SPEAKERS)
TEST_SPEAKERS = frozenset(f"id{number}" for number in range(10_270, 10_310))
"""The forty speakers of the verification trials; ASV never trains on them."""

SPLIT_LISTS = ("iden_split.txt", "veri_test_class.txt")
TRIAL_LISTS = ("voxceleb1_test_v2.txt", "veri_test.txt")
OTHER_LISTS = {
    "veri_test2.txt": ("the cleaned trials", 37_611),
    "list_test_all.txt": ("VoxCeleb1-E", 581_480),
    "list_test_all2.txt": ("VoxCeleb1-E, cleaned", 579_818),
    "list_test_hard.txt": ("VoxCeleb1-H", 552_536),
    "list_test_hard2.txt": ("VoxCeleb1-H, cleaned", 550_894),
}
"""Lists of other trials on the same sound, with a description and their number of trials: their EER cannot be compared."""
FOLDERS = (
    "wav", "dev/wav", "test/wav", "vox1_dev_wav/wav", "vox1_test_wav/wav", "vox1_dev_wav", "vox1_test_wav",
    "vox1_dev_wav/dev/wav", "vox1_test_wav/test/wav",
)  # fmt: skip
"""Folders of speakers: as the archives are unpacked by `OBTAIN`, or each into a folder of its own name."""
UTTERANCE = re.compile(r"id1[01]\d{3}/[^/\s]+/[^/\s]+\.wav")
PUBLISHED_SUFFIX = ".wav"
UNPACK = "Unpack the archive that contains them again."
FETCH_TRIALS = "Put https://www.openslr.org/resources/49/voxceleb1_test_v2.txt in its place (37 720 trials)."
FETCH = "Fetch the list again."

LAYOUT = """\
VoxCeleb1/dev/wav/id1XXXX/<video>/<NNNNN>.wav     (or VoxCeleb1/wav/id1XXXX/... for all speakers)
VoxCeleb1/test/wav/id1XXXX/<video>/<NNNNN>.wav     (or vox1_dev_wav/wav/..., vox1_test_wav/wav/...)
VoxCeleb1/iden_split.txt                          SID: "<1|2|3> id10001/<video>/00001.wav"
VoxCeleb1/voxceleb1_test_v2.txt or veri_test.txt  ASV: "<1|0> id10270/<video>/00001.wav id10300/<video>/00003.wav"
"""
OBTAIN = """\
CC BY 4.0, on request: fill in the form on https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html, or, if that site offers no
sound, the form of its mirror https://mm.kaist.ac.kr/datasets/voxceleb/. Join the four parts of the dev archive and unpack both:
  cat vox1_dev_wav_parta? > vox1_dev_wav.zip
  unzip vox1_dev_wav.zip -d VoxCeleb1/dev        makes VoxCeleb1/dev/wav/id10001/... (1 211 speakers)
  unzip vox1_test_wav.zip -d VoxCeleb1/test      makes VoxCeleb1/test/wav/id10270/... (40 speakers)
"""
OBTAIN_SPLIT = """\
Put https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/iden_split.txt into VoxCeleb1/ (s3prl's
downstream/voxceleb1/veri_test_class.txt works too).
"""
OBTAIN_TRIALS = """\
Put https://www.openslr.org/resources/49/voxceleb1_test_v2.txt into VoxCeleb1/ (the original 37 720 trials, not the cleaned list
veri_test2.txt).
"""


@dataclass(frozen=True)
class VoxCeleb:
    """A VoxCeleb1 tree: its root, the folders of every speaker in it (one, or several if copies were joined), and the suffix of
    its files."""

    root: Path
    speakers: dict[str, tuple[Path, ...]]
    suffix: str = PUBLISHED_SUFFIX

    @classmethod
    def under(cls, corpora: Corpora) -> VoxCeleb:
        """Finds the tree of `corpora`; raises `MissingCorpus` if it does not exist or has no speaker."""
        root = corpora.place("VoxCeleb1")
        folders: dict[str, tuple[Path, ...]] = {}
        for folder in (root / name for name in FOLDERS):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path.name in KNOWN and path.is_dir():
                    folders[path.name] = (*folders.get(path.name, ()), path)
        if not folders:
            looked = ", ".join(str(root / name) for name in FOLDERS)
            raise IncompleteCorpus(f"No speaker of VoxCeleb1 (id10001 … id11251) is in {looked}. Unpack the archives there.")
        ordered = dict(sorted(folders.items()))
        return cls(root, ordered, _suffix_of(next(iter(ordered.values()))))

    @property
    def remarks(self) -> tuple[str, ...]:
        """A remark if its files have another suffix than the published ones."""
        return () if self.suffix == PUBLISHED_SUFFIX else (f"its files are {self.suffix} in place of {PUBLISHED_SUFFIX}",)

    def path(self, utterance: str) -> Path:
        """Returns the path of the file of `id1XXXX/<video>/<NNNNN>.wav`, which may have another suffix."""
        speaker, _, rest = utterance.partition("/")
        folders = self.speakers.get(speaker) or (self._folder(speaker) / speaker,)
        paths = [folder / (rest.removesuffix(PUBLISHED_SUFFIX) + self.suffix) for folder in folders]
        return paths[0] if len(paths) == 1 else next((path for path in paths if path.is_file()), paths[0])

    def _folder(self, speaker: str) -> Path:
        """Returns the folder in which a missing speaker is expected: that of their part of the corpus, or of all speakers."""
        tested = speaker in TEST_SPEAKERS
        all_speakers = self.root / "wav"
        every = [(name, path.parent) for name, paths in self.speakers.items() for path in paths]
        folders = [folder for name, folder in every if (name in TEST_SPEAKERS) == tested]
        folders += [folder for _, folder in every if folder == all_speakers]
        return folders[0] if folders else self.root / ("test/wav" if tested else "dev/wav")

    def must_hold(self, utterances: Iterable[str], listing: str) -> None:
        """Raises `MissingFiles` if the file of one of `utterances`, which `listing` names, does not exist."""
        must_be_there((self.path(utterance) for utterance in utterances), listing, UNPACK)

    def utterances(self, speaker: str) -> list[str]:
        """Returns all utterances of a speaker in the tree, sorted."""
        paths = (path for folder in self.speakers[speaker] for path in folder.glob(f"*/*{self.suffix}"))
        names = (path for path in paths if not path.name.startswith("._"))
        return sorted({f"{speaker}/{path.parent.name}/{path.stem}{PUBLISHED_SUFFIX}" for path in names})

    def identification(self) -> dict[str, list[str]]:
        """Reads the utterances of the identification split by list (`train`, `dev`, `test`), in the order of the list.

        Raises `MissingCorpus` without a split list, `BadCorpus` for a malformed line or an utterance that is listed twice.
        """
        path = self._list(SPLIT_LISTS)
        names = {"1": "train", "2": "dev", "3": "test"}
        splits: dict[str, list[str]] = {name: [] for name in names.values()}
        places = []
        for number, fields in _lines(path):
            if len(fields) != 2 or fields[0] not in names or not _utterance(fields[1]):
                raise BadCorpus(
                    f'{path}, line {number}: expected "<1|2|3> id1XXXX/<video>/<NNNNN>.wav", found {" ".join(fields)!r}. '
                    f"{FETCH}"
                )
            splits[names[fields[0]]].append(fields[1])
            places.append((fields[1], f"line {number}"))
        only_once(places, str(path), "utterances", FETCH)
        return splits

    def listed(self) -> set[str]:
        """Returns all utterances of the identification list; empty if this list does not exist."""
        if not any((self.root / name).is_file() for name in SPLIT_LISTS):
            return set()
        return {utterance for split in self.identification().values() for utterance in split}

    def trials(self) -> list[tuple[int, str, str]]:
        """Reads the verification trials in order: 1 for the same speaker or 0, and the two utterances.

        Raises `MissingCorpus` without a trial list, `BadCorpus` for a malformed line and for a trial that is listed twice. The
        official list has no repeated trial, but 338 pairs in both orders, which count as two trials.
        """
        path = self._list(TRIAL_LISTS)
        trials, places = [], []
        for number, fields in _lines(path):
            if len(fields) != 3 or fields[0] not in ("0", "1") or not all(_utterance(name) for name in fields[1:]):
                raise BadCorpus(
                    f'{path}, line {number}: expected "<1|0> id1XXXX/<video>/<NNNNN>.wav id1XXXX/<video>/<NNNNN>.wav", found '
                    f"{' '.join(fields)!r}. {FETCH}"
                )
            if (speaker_of(fields[1]) == speaker_of(fields[2])) != (fields[0] == "1"):
                raise BadCorpus(f"{path}, line {number}: the label {fields[0]} contradicts the speakers of {fields[1:]}.")
            trials.append((int(fields[0]), fields[1], fields[2]))
            places.append((" ".join(fields[1:]), f"line {number}"))
        for name, (description, count) in OTHER_LISTS.items():
            if len(trials) == count:
                raise BadCorpus(
                    f"{path} has {count} trials: it is {name} ({description}), another list, whose EER differs. {FETCH_TRIALS}"
                )
        only_once(places, str(path), "trials", FETCH)
        return trials

    def _list(self, names: tuple[str, ...]) -> Path:
        for name in names:
            if (self.root / name).is_file():
                return self.root / name
        existing = [f"{name} ({text})" for name, (text, _) in OTHER_LISTS.items() if (self.root / name).is_file()]
        others = f" {' and '.join(existing)} exists, but is another list." if existing and names == TRIAL_LISTS else ""
        raise IncompleteCorpus(
            f"{' or '.join(names)} is not in {self.root}.{others} Fetch the list from the pages of VoxCeleb into this folder."
        )


def _suffix_of(folders: Iterable[Path]) -> str:
    """Returns the suffix of the files of a speaker; raises `BadCorpus` if they are not decoded here."""
    found = sounds_in((path for folder in folders for path in folder.glob("*/*")), PUBLISHED_SUFFIX)
    suffixes = {path.suffix for path in found.values()}
    return PUBLISHED_SUFFIX if PUBLISHED_SUFFIX in suffixes or not suffixes else min(suffixes)


def speaker_of(utterance: str) -> str:
    """Returns the speaker of an utterance.

    >>> speaker_of("id10270/5r0dWxy17C8/00001.wav")
    'id10270'
    """
    return utterance.split("/", 1)[0]


def _utterance(name: str) -> bool:
    return UTTERANCE.fullmatch(name) is not None and speaker_of(name) in KNOWN


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines_of(path, FETCH):
        yield number, line.split()


# ---------------------------------------------------------------- the miniature

FIRST_VOICE = 10_000
FORMANT_SHIFT = 0.07
FORMANT_DECIBELS = 4.0
"""Additional variation of formants in frequency and in strength, compared with the voices of other corpora. With it, an encoder
that was trained on people separates these voices nearly as well as people (`benchmarks/speakers.py`)."""
TRAINED = tuple(name for name in SPEAKERS[::19] if name not in TEST_SPEAKERS)[:60]
TESTED = tuple(sorted(TEST_SPEAKERS))
COUNTS = {"trained": (9, 1, 4), "tested": (4, 1, 3)}
"""Numbers of utterances of a speaker in the lists 1, 2, 3 of the identification split."""

VIDEO_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def write_miniature(root: Path, seed: int) -> None:
    """Writes `root/VoxCeleb1`: 60 speakers under `dev`, 40 under `test`, 1 160 utterances (about 48 minutes), both lists.

    As in the corpus, SID may train on an utterance of the trials. A complete tree is kept.
    """
    top = root / "VoxCeleb1"
    if (top / TRIAL_LISTS[0]).is_file():
        return
    lines: list[Line] = []
    split_list: list[str] = []
    tested: dict[str, list[str]] = {}
    for number, speaker in enumerate([*TRAINED, *TESTED]):
        part = "test" if speaker in TEST_SPEAKERS else "dev"
        random = np.random.default_rng([seed, FIRST_VOICE + number])
        person = _person(seed, FIRST_VOICE + number)
        for which, count in enumerate(COUNTS["tested" if part == "test" else "trained"], start=1):
            video = "".join(random.choice(list(VIDEO_LETTERS), 11))
            for file_number in range(1, count + 1):
                name = f"{speaker}/{video}/{file_number:05d}.wav"
                lines.append(_line(top / part / "wav" / name, person, random))
                split_list.append(f"{which} {name}")
                if part == "test":
                    tested.setdefault(speaker, []).append(name)
    speak(lines)
    (top / SPLIT_LISTS[0]).write_text("\n".join(split_list) + "\n")
    # written last: if it exists, the tree is complete
    (top / TRIAL_LISTS[0]).write_text("\n".join(_trials(tested, np.random.default_rng([seed, FIRST_VOICE]))) + "\n")


def _person(seed: int, number: int) -> Voice:
    """Returns a voice with a distinct timbre, which is the same in all its utterances."""
    person, random = voice(seed, number), np.random.default_rng([seed, number, 2])
    frequencies = random.uniform(1 - FORMANT_SHIFT, 1 + FORMANT_SHIFT, len(person.formants)) * person.formants
    strengths = 10 ** (random.uniform(-FORMANT_DECIBELS, FORMANT_DECIBELS, len(person.strengths)) / 20) * person.strengths
    return replace(person, formants=tuple(frequencies.tolist()), strengths=tuple(strengths.tolist()))


def _line(path: Path, person: Voice, random: np.random.Generator) -> Line:
    """Returns a recording. Channel and noise are drawn for each recording, independent of the speaker.

    Pitch varies by up to 4 %.
    """
    return Line(
        path,
        sentence(random, short=True),
        person,
        seed=int(random.integers(2**31)),
        speed=float(random.uniform(0.9, 1.12)),
        pitch=float(random.uniform(0.96, 1.04)),
        seconds=float(random.uniform(2.1, 2.9)),
    )


def _trials(tested: dict[str, list[str]], random: np.random.Generator) -> list[str]:
    """Returns all pairs of one speaker, each followed by a pair of two speakers with the same first utterance."""
    lines: list[str] = []
    speakers = list(tested)
    for speaker, names in tested.items():
        strangers = {name: iter(_strangers(speaker, tested, speakers, random)) for name in names}
        for i, left in enumerate(names):
            for right in names[i + 1 :]:
                lines += [f"1 {left} {right}", f"0 {left} {next(strangers[left])}"]
    return lines


def _strangers(speaker: str, tested: dict[str, list[str]], speakers: list[str], random: np.random.Generator) -> list[str]:
    """Returns one utterance of every other speaker, in random order."""
    order = [name for name in random.permutation(speakers).tolist() if name != speaker]
    return [str(random.choice(tested[name])) for name in order]
