"""Libri2Mix for diarization: reads its mixtures and reference turns, and writes a miniature of it.

Corpus: Cosentino et al., "LibriMix: an open-source dataset for generalizable speech separation" (2020), arXiv 2005.11262; here
with two speakers and noise, 16 kHz, `max` mode. Both sources begin at 0, so times in a source are times in the mixture.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import soundfile

from downstream.shared.diarization import Turn
from downstream.shared.lists import lines_of, only_once, rows_of, unfinished
from downstream.shared.sentences import sentence
from downstream.shared.speech import Line, Spoken, activity, background, speak, voice
from superbench import SAMPLE_RATE, BadCorpus, Corpora, IncompleteCorpus

AGAIN = "Make the Kaldi folder (or fetch the metadata) again."
PARTS = {"train": "train-100", "dev": "dev", "test": "test"}
ALIGNMENTS = {"train": "train_clean_100.rttm", "dev": "dev_clean.rttm", "test": "test_clean.rttm"}
MIXTURE = re.compile(r"((\d+)-\d+-\d+)_((\d+)-\d+-\d+)")

LAYOUT = """\
Libri2Mix/wav16k/max/{train-100,dev,test}/mix_both/<utterance>_<utterance>.wav
  and the references in either of:
Libri2Mix/data/{train,dev,test}/{wav.scp,segments,utt2spk}                    Kaldi folders; paths in wav.scp are not used
Libri2Mix/metadata/LibriSpeech/{train_clean_100,dev_clean,test_clean}.rttm    turns by LibriSpeech utterance (below), with
Libri2Mix/wav16k/max/metadata/mixture_{train-100,dev,test}_mix_both.csv       the list of mixtures
    "SPEAKER <chapter>-<utterance> 1 <start> <duration> <NA> <NA> <speaker> <NA> <NA>"
"""
OBTAIN = """\
Made from LibriSpeech (CC BY 4.0) and WHAM! noise (CC BY-NC 4.0), which the script fetches, by s3prl's fork of LibriMix (with
SoX installed):
  git clone https://github.com/s3prl/LibriMix && cd LibriMix
  bash generate_librimix_sd.sh DATA                two speakers, 16 kHz, mode max, mix_both: makes DATA/Libri2Mix/wav16k/max/
  python3 scripts/prepare_diarization.py --target_dir DATA/Libri2Mix/data --source_dir DATA/Libri2Mix/wav16k/max/metadata
where DATA is the data root. The last line makes the references, DATA/Libri2Mix/data/{train,dev,test}; copying the fork's
metadata/LibriSpeech/*.rttm to DATA/Libri2Mix/metadata/LibriSpeech/ works too.
"""


@dataclass(frozen=True, slots=True)
class Mixture:
    """A recording: its id and file, its two LibriSpeech speakers, and their turns in seconds, sorted."""

    id: str
    path: Path
    speakers: tuple[str, str]
    turns: tuple[Turn, ...]


def mixtures(corpora: Corpora, split: str) -> list[Mixture]:
    """Returns the mixtures of `train`, `dev` or `test`, in the order of their list. It does not check that their files exist.

    Raises `MissingCorpus`, `BadCorpus`.
    """
    root = corpora.place("Libri2Mix")
    folder = root / "data" / split
    turns = _kaldi(folder) if folder.is_dir() else _metadata(root, split)
    return [_mixture(root / "wav16k/max" / PARTS[split] / "mix_both", name, spans) for name, spans in turns.items()]


def _mixture(folder: Path, name: str, turns: list[Turn]) -> Mixture:
    path = folder / f"{name}.wav"
    match = MIXTURE.fullmatch(name)
    if match is None:
        raise BadCorpus(f"{name} is no mixture of Libri2Mix: expected an id such as 1089-134686-0000_121-127105-0031.")
    speakers = {speaker for *_, speaker in turns}
    if not 1 <= len(speakers) <= 2:
        raise BadCorpus(f"{name} has turns of {len(speakers)} speakers; expected 1 or 2. Make the references again.")
    if any(end <= start or start < 0 for start, end, _ in turns):
        raise BadCorpus(f"{name} has a turn that ends before it begins. Make the references again.")
    return Mixture(name, path, (match[2], match[4]), tuple(sorted(set(turns))))


def _kaldi(folder: Path) -> dict[str, list[Turn]]:
    """Reads turns by recording from `wav.scp`, `segments` and `utt2spk`.

    The name of a segment consists of its mixture and its milliseconds. Two speakers who begin and end at the same time
    therefore share a name (this happens in one mixture of train); both then get a turn.
    """
    recordings = [(recording, f"line {number}") for number, (recording, *_) in _lines(folder / "wav.scp", 2)]
    only_once(recordings, str(folder / "wav.scp"), "mixtures", AGAIN)
    turns: dict[str, list[Turn]] = {recording: [] for recording, _ in recordings}
    speakers: dict[str, list[str]] = {}
    for _, (utterance, speaker, *_) in _lines(folder / "utt2spk", 2):
        speakers.setdefault(utterance, []).append(speaker)
    spans: dict[str, list[tuple[str, float, float]]] = {}
    path = folder / "segments"
    for number, (utterance, recording, start, end, *_) in _lines(path, 4):
        if utterance not in speakers or recording not in turns:
            raise BadCorpus(f"{path}, line {number}: {utterance} of {recording} is not in utt2spk and wav.scp both. {AGAIN}")
        spans.setdefault(utterance, []).append((recording, *_seconds(path, number, start, end)))
    for utterance, lines in spans.items():
        for (recording, begins, ends), speaker in _paired(lines, speakers[utterance]):
            turns[recording].append((begins, ends, speaker))
    return turns


def _paired(spans: list[tuple[str, float, float]], speakers: list[str]) -> Iterable[tuple[tuple[str, float, float], str]]:
    """Pairs lines of one name in `segments` and `utt2spk`: in order, or each with each if repeated lines were dropped."""
    return zip(spans, speakers, strict=True) if len(spans) == len(speakers) else product(spans, speakers)


def _metadata(root: Path, split: str) -> dict[str, list[Turn]]:
    """Reads turns by mixture from the list of mixtures and the alignments of LibriSpeech."""
    path = root / "wav16k/max/metadata" / f"mixture_{PARTS[split]}_mix_both.csv"
    alignments = root / "metadata/LibriSpeech" / ALIGNMENTS[split]
    if not (path.is_file() and alignments.is_file()):
        raise IncompleteCorpus(
            f"Libri2Mix has no references for {split}: looked for the Kaldi folder {root / 'data' / split}, and for {path} "
            f"with {alignments}. They come with the diarization scripts of LibriMix (s3prl's fork)."
        )
    spoken = _rttm(alignments)
    turns: dict[str, list[Turn]] = {}
    for name in _listed(path):
        if absent := [utterance for utterance in name.split("_") if utterance not in spoken]:
            raise BadCorpus(f"{path}: {name} has no turns in {alignments} for {absent[0]}. {AGAIN}")
        turns[name] = [turn for utterance in name.split("_") for turn in spoken[utterance]]
    return turns


def _listed(path: Path) -> list[str]:
    """Returns the ids of a list of mixtures; raises `BadCorpus` if a row is incomplete."""
    names = [(row["mixture_ID"], f"line {number}") for number, row in rows_of(path, ["mixture_ID"], AGAIN)]
    if not names:
        raise BadCorpus(f"{path} lists no mixture. {AGAIN}")
    only_once(names, str(path), "mixtures", AGAIN)
    return [name for name, _ in names]


def _rttm(path: Path) -> dict[str, list[Turn]]:
    """Reads turns by utterance of LibriSpeech (`<speaker>-<chapter>-<utterance>`) from an RTTM file.

    Recording names of the fork lack the speaker, who is in field 8; a recording with the complete name keeps it.
    """
    turns: dict[str, list[Turn]] = {}
    for number, fields in _lines(path, 8):
        if fields[0] != "SPEAKER":
            continue
        recording, speaker = fields[1], fields[7]
        name = recording if recording.count("-") > 1 else f"{speaker}-{recording}"
        start, duration = _seconds(path, number, fields[3], fields[4])
        turns.setdefault(name, []).append((start, start + duration, speaker))
    return turns


def _seconds(path: Path, number: int, *fields: str) -> tuple[float, float]:
    try:
        first, second = map(float, fields)
    except ValueError as error:
        raise BadCorpus(f"{path}, line {number}: expected times in seconds, found {' '.join(fields)!r}. {AGAIN}") from error
    return first, second


def _lines(path: Path, fields: int) -> Iterator[tuple[int, list[str]]]:
    """Yields the fields of each line.

    Raises `BadCorpus` for a line with fewer than `fields`, or if the last line is cut off.
    """
    before = words = [""] * fields
    for number, line in lines_of(path, AGAIN):
        before, words = words, line.split()
        if len(words) < fields:
            raise BadCorpus(f"{path}, line {number}: expected {fields} fields, found {len(words)}: {line[:200]!r}. {AGAIN}")
        yield number, words
    if len(words) < len(before) and unfinished(path, AGAIN):
        raise BadCorpus(f"{path} is cut off: it ends in the middle of a line, {' '.join(words)[:200]!r}. {AGAIN}")


# ---------------------------------------------------------------- the miniature

FIRST_VOICE = 30_000
SIZES = {"train": (160, 64), "dev": (30, 24), "test": (120, 48)}
"""Mixtures and speakers of each split; the speakers of different splits differ."""

PHRASES = 6
"""Number of phrases of a speaker; a source is three of them, with pauses."""


def write_miniature(root: Path, seed: int) -> None:
    """Writes `root/Libri2Mix`: 310 mixtures of 6-8 s (about 36 minutes) with RTTM references. A complete tree is kept."""
    top = root / "Libri2Mix"
    if (top / "metadata/LibriSpeech" / ALIGNMENTS["test"]).is_file():
        return
    with tempfile.TemporaryDirectory() as scratch:
        numbers = range(FIRST_VOICE, FIRST_VOICE + sum(speakers for _, speakers in SIZES.values()))
        # all in one call: a worker process takes seconds to start
        spoken = speak([line for number in numbers for line in _phrases(Path(scratch), number, seed)])
        phrases = {number: spoken[i * PHRASES : (i + 1) * PHRASES] for i, number in enumerate(numbers)}
        first = FIRST_VOICE
        for split, (count, speakers) in SIZES.items():
            _mix(top, split, count, {number: phrases[number] for number in range(first, first + speakers)}, seed)
            first += speakers


def _phrases(scratch: Path, number: int, seed: int) -> list[Line]:
    random = np.random.default_rng([seed, number])
    speaker_voice = voice(seed, number)
    return [
        Line(
            scratch / f"{number}-{i}.wav",
            sentence(random, short=True),
            speaker_voice,
            seed=int(random.integers(2**31)),
            speed=float(random.uniform(0.9, 1.1)),
            snr=(45.0, 45.0),
            channel=False,
        )
        for i in range(PHRASES)
    ]


def _mix(top: Path, split: str, count: int, phrases: dict[int, list[Spoken]], seed: int) -> None:
    """Writes `count` mixtures of the speakers in `phrases`, their list, and last the turns of their sources."""
    random = np.random.default_rng([seed, min(phrases), count])
    folder = top / "wav16k/max" / PARTS[split] / "mix_both"
    listing, alignments = top / "wav16k/max/metadata" / f"mixture_{PARTS[split]}_mix_both.csv", top / "metadata/LibriSpeech"
    for path in (folder, listing.parent, alignments):
        path.mkdir(parents=True, exist_ok=True)
    rows = ["mixture_ID,mixture_path,source_1_path,source_2_path,noise_path,length"]
    rttm: list[str] = []
    for mixture in range(count):
        length = round(float(random.uniform(6.0, 8.0)) * SAMPLE_RATE)
        speakers = _pair(mixture, list(phrases), random)
        names = [f"{_reader(speaker)}-{100_000 + mixture}-{side:04d}" for side, speaker in enumerate(speakers)]
        waves = [_source(name, phrases[speaker], length, random, rttm) for name, speaker in zip(names, speakers, strict=True)]
        path = folder / f"{'_'.join(names)}.wav"
        soundfile.write(path, _noisy(waves, random), SAMPLE_RATE, subtype="PCM_16")
        rows.append(f"{path.stem},{path.relative_to(top)},,,,{length}")
    listing.write_text("\n".join(rows) + "\n")
    (alignments / ALIGNMENTS[split]).write_text("\n".join(rttm) + "\n")


def _reader(number: int) -> str:
    """Returns the LibriSpeech speaker number of a voice."""
    return str(1_000 + (number - FIRST_VOICE) * 7)


def _pair(mixture: int, voices: list[int], random: np.random.Generator) -> tuple[int, int]:
    """Returns two different voices; the first one cycles, so that all voices occur."""
    first = mixture % len(voices)
    second = (first + 1 + int(random.integers(len(voices) - 1))) % len(voices)
    return voices[first], voices[second]


def _source(name: str, phrases: list[Spoken], length: int, random: np.random.Generator, rttm: list[str]) -> np.ndarray:
    """Joins three phrases with pauses, as many as fit into `length` samples; adds their turns to `rttm`."""
    wave = np.zeros(length, np.float32)
    at = round(float(random.uniform(0.05, 1.2)) * SAMPLE_RATE)
    for i in random.choice(len(phrases), 3, replace=False).tolist():
        phrase = phrases[i]
        if at + phrase.samples > length:
            break
        wave[at : at + phrase.samples] = soundfile.read(phrase.path, dtype="float32")[0]
        for start, end in activity(phrase):
            begins = at / SAMPLE_RATE + start
            speaker, _, recording = name.partition("-")
            rttm.append(f"SPEAKER {recording} 1 {begins:.3f} {end - start:.3f} <NA> <NA> {speaker} <NA> <NA>")
        at += phrase.samples + round(float(random.uniform(0.3, 2.0)) * SAMPLE_RATE)
    return wave


def _noisy(waves: list[np.ndarray], random: np.random.Generator) -> np.ndarray:
    """Adds the sources, each up to 3 dB louder or softer, and noise 5-15 dB below them."""
    wave = np.sum([float(10 ** (random.uniform(-3, 3) / 20)) * source for source in waves], axis=0)
    noise = background(len(wave) / SAMPLE_RATE, int(random.integers(2**31)))
    level = np.sqrt(np.mean(wave**2) / np.mean(noise**2)) * 10 ** (-random.uniform(5, 15) / 20)
    wave = wave + level * noise
    return wave * (0.6 / np.abs(wave).max())
