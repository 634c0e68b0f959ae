"""Libri2Mix for diarization: the reader of its mixtures and reference turns, and a miniature of it.

Corpus: Cosentino et al., "LibriMix: an open-source dataset for generalizable speech separation" (2020), arXiv 2005.11262; here
two speakers and noise, 16 kHz, `max` mode, where both sources begin at 0, so that times in a source are times in the mixture.
"""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from downstream.shared.diarization import Turn
from downstream.shared.sentences import sentence
from downstream.shared.speech import Line, Spoken, activity, background, speak, voice
from superbench import SAMPLE_RATE, BadCorpus, Corpora, MissingCorpus

PARTS = {"train": "train-100", "dev": "dev", "test": "test"}
ALIGNMENTS = {"train": "train_clean_100.rttm", "dev": "dev_clean.rttm", "test": "test_clean.rttm"}
MIXTURE = re.compile(r"((\d+)-\d+-\d+)_((\d+)-\d+-\d+)")

LAYOUT = """\
Libri2Mix/wav16k/max/{train-100,dev,test}/mix_both/<utterance>_<utterance>.wav
  and the references in either of:
Libri2Mix/data/{train,dev,test}/{wav.scp,segments,utt2spk}                    Kaldi folders; paths in wav.scp are not used
Libri2Mix/metadata/LibriSpeech/{train_clean_100,dev_clean,test_clean}.rttm    turns by LibriSpeech utterance, with
Libri2Mix/wav16k/max/metadata/mixture_{train-100,dev,test}_mix_both.csv       the list of mixtures
"""


@dataclass(frozen=True, slots=True)
class Mixture:
    """A recording: its id and file, its two LibriSpeech speakers, and their turns in seconds, sorted."""

    id: str
    path: Path
    speakers: tuple[str, str]
    turns: tuple[Turn, ...]


def mixtures(corpora: Corpora, split: str) -> list[Mixture]:
    """The mixtures of `train`, `dev` or `test`, in the order of their list; raises `MissingCorpus`, `BadCorpus`."""
    root = corpora.place("Libri2Mix")
    folder = root / "data" / split
    turns = _kaldi(folder) if folder.is_dir() else _metadata(root, split)
    return [_mixture(root / "wav16k/max" / PARTS[split] / "mix_both", name, own) for name, own in turns.items()]


def _mixture(folder: Path, name: str, turns: list[Turn]) -> Mixture:
    path = folder / f"{name}.wav"
    match = MIXTURE.fullmatch(name)
    if match is None:
        raise BadCorpus(f"{name} is no mixture of Libri2Mix: expected an id such as 1089-134686-0000_121-127105-0031.")
    if not path.is_file():
        raise BadCorpus(f"{path} is listed in Libri2Mix but not there. Run LibriMix's generation script again.")
    speakers = {speaker for *_, speaker in turns}
    if not 1 <= len(speakers) <= 2:
        raise BadCorpus(f"{name} has turns of {len(speakers)} speakers; expected 1 or 2. Make the references again.")
    if any(end <= start or start < 0 for start, end, _ in turns):
        raise BadCorpus(f"{name} has a turn that ends before it begins. Make the references again.")
    return Mixture(name, path, (match[2], match[4]), tuple(sorted(turns)))


def _kaldi(folder: Path) -> dict[str, list[Turn]]:
    """Turns by recording from `wav.scp`, `segments` and `utt2spk`."""
    turns: dict[str, list[Turn]] = {}
    for recording, *_ in _lines(folder / "wav.scp", 2):
        if recording in turns:
            raise BadCorpus(f"{folder / 'wav.scp'} lists {recording} twice. Make the Kaldi folder again.")
        turns[recording] = []
    speakers = {utterance: speaker for utterance, speaker, *_ in _lines(folder / "utt2spk", 2)}
    for utterance, recording, start, end, *_ in _lines(folder / "segments", 4):
        if utterance not in speakers or recording not in turns:
            raise BadCorpus(f"{folder / 'segments'}: {utterance} of {recording} is not in utt2spk and wav.scp both.")
        turns[recording].append((float(start), float(end), speakers[utterance]))
    return turns


def _metadata(root: Path, split: str) -> dict[str, list[Turn]]:
    """Turns by mixture from the list of mixtures and the alignments of LibriSpeech."""
    path = root / "wav16k/max/metadata" / f"mixture_{PARTS[split]}_mix_both.csv"
    alignments = root / "metadata/LibriSpeech" / ALIGNMENTS[split]
    if not (path.is_file() and alignments.is_file()):
        raise MissingCorpus(
            f"Libri2Mix has no references for {split}: looked for the Kaldi folder {root / 'data' / split}, and for {path} "
            f"with {alignments}. They come with the diarization scripts of LibriMix (s3prl's fork)."
        )
    spoken = _rttm(alignments)
    turns: dict[str, list[Turn]] = {}
    with path.open(newline="") as file:
        names = [row["mixture_ID"] for row in csv.DictReader(file)]
    for name in names:
        absent = [utterance for utterance in name.split("_") if utterance not in spoken]
        if absent or name in turns:
            what = f"has no turns in {alignments} for {absent[0]}" if absent else "is listed twice"
            raise BadCorpus(f"{path}: {name} {what}. Fetch the metadata again.")
        turns[name] = [turn for utterance in name.split("_") for turn in spoken[utterance]]
    return turns


def _rttm(path: Path) -> dict[str, list[Turn]]:
    """Turns by recording of an RTTM file (`SPEAKER <recording> 1 <start> <duration> <NA> <NA> <speaker> <NA>`)."""
    turns: dict[str, list[Turn]] = {}
    for fields in _lines(path, 8):
        if fields[0] == "SPEAKER":
            start = float(fields[3])
            turns.setdefault(fields[1], []).append((start, start + float(fields[4]), fields[7]))
    return turns


def _lines(path: Path, fields: int) -> Iterator[list[str]]:
    if not path.is_file():
        raise BadCorpus(f"{path} is not there. Make the Kaldi folder (or fetch the metadata) again.")
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        found = line.split()
        if found and len(found) < fields:
            raise BadCorpus(f"{path}, line {number}: expected at least {fields} fields, found {len(found)}: {line!r}.")
        if found:
            yield found


# ---------------------------------------------------------------- the miniature

FIRST_VOICE = 30_000
SIZES = {"train": (160, 64), "dev": (30, 24), "test": (120, 48)}
"""Mixtures and speakers of each split; the speakers of different splits differ."""


@dataclass(frozen=True)
class Source:
    """One speaker of a mixture before it is spoken: their phrases, and the pause before each (seconds)."""

    utterance: str
    speaker: str
    lines: tuple[Line, ...]
    pauses: tuple[float, ...]


def write_miniature(root: Path, seed: int) -> None:
    """Write `root/Libri2Mix`: 310 mixtures of 6-8 s (about 36 minutes) with RTTM references. A complete tree is left alone."""
    top = root / "Libri2Mix"
    if (top / "metadata/LibriSpeech" / ALIGNMENTS["test"]).is_file():
        return
    base = FIRST_VOICE
    for split, (count, speakers) in SIZES.items():
        _write_split(top, split, count, range(base, base + speakers), seed)
        base += speakers


def _write_split(top: Path, split: str, count: int, voices: range, seed: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        random = np.random.default_rng([seed, voices.start])
        pairs = [_pair(number, voices, random) for number in range(count)]
        sources = [
            _source(Path(scratch), f"{number}-{side}", pair[side], number, random, seed)
            for number, pair in enumerate(pairs)
            for side in (0, 1)
        ]
        spoken = iter(speak([line for source in sources for line in source.lines]))
        told = [(source, [next(spoken) for _ in source.lines]) for source in sources]
        _mix(top, split, [(told[i], told[i + 1]) for i in range(0, len(told), 2)], random)


def _pair(number: int, voices: range, random: np.random.Generator) -> tuple[int, int]:
    """Two different voices; the first goes round, so that all occur."""
    first = number % len(voices)
    second = (first + 1 + int(random.integers(len(voices) - 1))) % len(voices)
    return voices[first], voices[second]


def _source(scratch: Path, name: str, number: int, chapter: int, random: np.random.Generator, seed: int) -> Source:
    speaker = str(1_000 + (number - FIRST_VOICE) * 7)
    own = voice(seed, number)
    lines = tuple(
        Line(
            scratch / f"{name}-{i}.wav",
            sentence(random, short=True),
            own,
            seed=int(random.integers(2**31)),
            speed=float(random.uniform(0.9, 1.1)),
            snr=(45.0, 45.0),
            channel=False,
        )
        for i in range(4)
    )
    pauses = (float(random.uniform(0.05, 1.2)), *(float(random.uniform(0.3, 1.6)) for _ in lines[1:]))
    return Source(f"{speaker}-{100_000 + chapter}-{int(name[-1]):04d}", speaker, lines, pauses)


Told = tuple[Source, list[Spoken]]


def _mix(top: Path, split: str, pairs: list[tuple[Told, Told]], random: np.random.Generator) -> None:
    """Write the mixtures, their list, and last the turns of their sources."""
    folder = top / "wav16k/max" / PARTS[split] / "mix_both"
    listing, alignments = top / "wav16k/max/metadata" / f"mixture_{PARTS[split]}_mix_both.csv", top / "metadata/LibriSpeech"
    for path in (folder, listing.parent, alignments):
        path.mkdir(parents=True, exist_ok=True)
    rows = ["mixture_ID,mixture_path,source_1_path,source_2_path,noise_path,length"]
    rttm: list[str] = []
    for left, right in pairs:
        length = round(float(random.uniform(6.0, 8.0)) * SAMPLE_RATE)
        name = f"{left[0].utterance}_{right[0].utterance}"
        wave = np.zeros(length, np.float32)
        for told in (left, right):
            wave += float(10 ** (random.uniform(-3, 3) / 20)) * _place(told, length, rttm)
        noise = background(length / SAMPLE_RATE, int(random.integers(2**31)))[:length]
        level = np.sqrt(np.mean(wave**2) / np.mean(noise**2)) * 10 ** (-random.uniform(5, 15) / 20)
        wave = wave + float(level) * noise
        path = folder / f"{name}.wav"
        soundfile.write(path, wave * (0.6 / np.abs(wave).max()), SAMPLE_RATE, subtype="PCM_16")
        rows.append(f"{name},{path.relative_to(top)},,,,{length}")
    listing.write_text("\n".join(rows) + "\n")
    (alignments / ALIGNMENTS[split]).write_text("\n".join(rttm) + "\n")


def _place(told: Told, length: int, rttm: list[str]) -> np.ndarray:
    """The source's phrases with its pauses, as many as fit into `length` samples; their turns are added to `rttm`."""
    source, spoken = told
    wave = np.zeros(length, np.float32)
    at = 0
    for phrase, pause in zip(spoken, source.pauses, strict=True):
        at += round(pause * SAMPLE_RATE)
        if at + phrase.samples > length:
            break
        wave[at : at + phrase.samples] = soundfile.read(phrase.path, dtype="float32")[0]
        for start, end in activity(phrase):
            begins = at / SAMPLE_RATE + start
            rttm.append(f"SPEAKER {source.utterance} 1 {begins:.3f} {end - start:.3f} <NA> <NA> {source.speaker} <NA> <NA>")
        at += phrase.samples
    return wave
