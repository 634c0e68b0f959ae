"""Unlabelled audio: the files under a folder, and the waveforms of every update, which depend on (seed, update) alone.

A schedule reads either crops or whole utterances. Crops: `batch` files are drawn with replacement, and a random piece of at
most `seconds` is cut from each. Whole utterances (of at most `seconds`) are read once per epoch. They are bucketed by length,
so that a batch needs little padding; a batch holds up to `batch · seconds` of audio, including padding. In every epoch,
neighbouring utterances are shuffled again.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from superbench import plugins
from superbench.contract import SAMPLE_RATE, Audio, Pretraining
from superbench.contract.corpora import Corpora
from superbench.data.audio import checked, load
from superbench.data.sound_files import holds_sound
from superbench.errors import BadAudio, BadCorpus
from superbench.system.progress import Reporter

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
"""Files with these suffixes must be audio; otherwise they are an error."""
OTHER_SUFFIXES = (
    ".3gp", ".aac", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".m4a", ".mka", ".mp2", ".mp4", ".mpga", ".nist",
    ".oga", ".opus", ".ra", ".rf64", ".shn", ".snd", ".sph", ".spx", ".w64", ".webm", ".wma", ".wv",
)  # fmt: skip
"""Files with these suffixes may be audio: they are used if they can be decoded, and otherwise left out with a note."""
READERS, AT_ONCE = 8, 32
"""Threads that read files, and how many files a thread reads before the progress is updated."""
HELD_OUT = 20
HELD_OUT_FILES, HELD_OUT_SECONDS = 32, 10
IN_MEMORY_BYTES = 2 * 2**30
BUCKET = 8
"""Number of neighbouring batches whose utterances are shuffled together."""

Stamp = tuple[int, int, int, int]
"""Size, mtime and ctime (nanoseconds) and inode of a file. A replaced file has another stamp, even if it has the same size and
mtime as the earlier file."""


@dataclass(frozen=True, slots=True)
class Recording:
    """An audio file: its path, its number of samples at 16 kHz, the digest of its bytes, and its stamp."""

    path: Path
    samples: int
    digest: str
    stamp: Stamp


def recordings(folder: Path, reporter: Reporter) -> list[Recording]:
    """Return the audio files under a folder, sorted, without `._*` companions. Links are followed; each folder is read once.

    A note reports files that look like audio but are left out. Raises `BadCorpus` if no file is found, `BadAudio` if files
    cannot be read (with the first file and the number of others).
    """
    files, others = _files(folder)
    left_out = _described(others)
    if not files:
        state = "contains no audio file" if folder.is_dir() else "is not a folder"
        left = f" Left out: {left_out}." if others else ""
        raise BadCorpus(
            f"{folder} {state} ({', '.join(SUFFIXES)}). Give --audio a folder of speech; it is searched recursively.{left}"
        )
    if others:
        reporter.note(f"left out: {left_out}")
    recorded: list[Recording] = []
    broken: list[str] = []
    done, total = 0, sum(file.stat().st_size for file in files if file.exists())
    chunks = [files[at : at + AT_ONCE] for at in range(0, len(files), AT_ONCE)]
    with ThreadPoolExecutor(READERS) as readers:
        for results in readers.map(lambda chunk: [_read(file) for file in chunk], chunks):
            recorded += [result for result in results if isinstance(result, Recording)]
            broken += [result for result in results if isinstance(result, str)]
            done += sum(result.stamp[0] for result in results if isinstance(result, Recording))
            reporter.advance("read sound", done, total)
    if broken:
        more = f" {len(broken) - 1} more of the {len(files)} files cannot be read either." if len(broken) > 1 else ""
        raise BadAudio(f"{broken[0]}{more} Repair these files, or remove them from {folder}. Nothing was trained yet.")
    return recorded


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the audio files, and the files that have a suffix of audio but cannot be decoded; both sorted."""
    files, others = [], []
    for path in sorted(_under(folder)):
        suffix = path.suffix.lower()
        if suffix in SUFFIXES or (suffix in OTHER_SUFFIXES and holds_sound(path)):
            files.append(path)
        elif suffix in OTHER_SUFFIXES:
            others.append(path)
    return files, others


def _under(folder: Path) -> Iterator[Path]:
    """Yield the files in and below a folder. Links are followed; a folder that several links point to is read once."""
    seen: set[tuple[int, int]] = set()

    def refuse(error: OSError) -> None:
        if Path(error.filename) != folder:
            raise BadCorpus(f"{error.filename} cannot be searched: {error.strerror}. Make it readable, or move it elsewhere.")

    for root, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        paths = (Path(root, name) for name in names if not name.startswith("._"))
        yield from (path for path in paths if path.is_file() or path.is_symlink())  # no pipes: reading them may block


def _described(others: Sequence[Path]) -> str:
    if not others:
        return ""
    counts = Counter(path.suffix.lower() for path in others)
    numbers = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
    first = others[0]
    return f"{numbers}, such as {first}, which cannot be decoded here; convert it: ffmpeg -i {first.name} {first.stem}.wav"


def _read(file: Path) -> Recording | str:
    """Return the record of a file, or a message if it cannot be read."""
    try:
        samples, rate = checked(file)
        if not samples:
            return f"{file} contains no samples."
        stamp = _stamp(file)
        return Recording(file, round(samples * SAMPLE_RATE / rate), _digest(file), stamp)
    except (BadAudio, OSError) as error:
        return str(error)


def _stamp(file: Path) -> Stamp:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "blake2b").hexdigest()


def identity(recorded: Sequence[Recording], folder: Path) -> dict[str, str]:
    """Return digests of the file names under `folder` and of their content; they do not change if the folder moves."""
    names = "\n".join(str(recording.path.relative_to(folder)) for recording in recorded)
    content = f"{names}\n" + "\n".join(recording.digest for recording in recorded)
    short = {what: hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16] for what, text in
             (("names", names), ("content", content))}  # fmt: skip
    return {"sound": f"{len(recorded)} files of content {short['content']}", "names of sound files": short["names"]}


def name_of(folder: Path) -> str:
    """Return the name of the speech under a folder, for boards: its path from the corpus of a task on, if it lies in one
    (`LibriSpeech train-clean-360`); otherwise the name of the folder alone. Of corpora that superbench wrote, it says so."""
    parts = folder.resolve().parts
    known = {task.card.corpus.partition(" ")[0].lower() for task in plugins.tasks().values()}
    first = next((number for number, part in enumerate(parts) if part.lower() in known), len(parts) - 1)
    return " ".join(parts[first:]) + (" (miniature)" if Corpora.at(folder).synthetic else "")


def _require_unchanged(recording: Recording) -> None:
    """Raise `BadAudio` if the file is missing, or if its content has changed since it was listed."""
    path = recording.path
    if not path.is_file():
        raise BadAudio(f"{path} has been removed since training began. Restore it and run the same command again.")
    if _stamp(path) != recording.stamp and _digest(path) != recording.digest:
        raise BadAudio(f"{path} has changed since training began. Restore it, or train again on files that do not change.")


class Unlabelled:
    """The batches of a schedule, drawn from recordings; one recording in twenty is held out. Waveforms are 16-bit integers."""

    def __init__(self, recorded: Sequence[Recording], plan: Pretraining, seed: int) -> None:
        self.plan, self.seed = plan, seed
        self.training = [recording for i, recording in enumerate(recorded) if i % HELD_OUT or len(recorded) < HELD_OUT]
        self.testing = recorded[::HELD_OUT][:HELD_OUT_FILES]
        self._longest = round(plan.seconds * SAMPLE_RATE)
        self._listed = {recording.path: recording for recording in recorded}
        self._waves: dict[Path, np.ndarray] = {}
        self._bytes_left = IN_MEMORY_BYTES
        lengths = [min(recording.samples, self._longest) for recording in self.training]
        self._buckets = Buckets(lengths, plan.batch * self._longest, seed) if plan.whole_utterances else None

    def batch(self, number: int) -> list[np.ndarray]:
        """Return the waveforms of update `number`."""
        random = np.random.default_rng([self.seed, number])
        if self._buckets is None:
            chosen = random.integers(0, len(self.training), self.plan.batch)
        else:
            chosen = self._buckets.batch(number)
        waves = []
        for index in chosen:
            wave = self._wave(self.training[index].path)
            start = int(random.integers(0, max(len(wave) - self._longest, 0) + 1))
            waves.append(wave[start : start + self._longest])
        return waves

    def held_out(self, batch: int) -> list[list[np.ndarray]]:
        """Return the waveforms of the held-out files in batches, each cut to ten seconds."""
        longest = HELD_OUT_SECONDS * SAMPLE_RATE
        return [
            [self._wave(recording.path)[:longest] for recording in self.testing[at : at + batch]]
            for at in range(0, len(self.testing), batch)
        ]

    def wave(self, file: Path) -> torch.Tensor:
        """Return the complete waveform of a file, (samples,) float32, as a model receives it."""
        return torch.from_numpy(self._wave(file).astype(np.float32) / 32767)

    def _wave(self, file: Path) -> np.ndarray:
        """Return the waveform; it stays in memory up to `IN_MEMORY_BYTES`. Raises `BadAudio` if the file has changed."""
        if file not in self._waves:
            _require_unchanged(self._listed[file])
            wave = (load(Audio(file)).clamp(-1, 1) * 32767).to(torch.int16).numpy()
            if wave.nbytes > self._bytes_left:
                return wave
            self._bytes_left -= wave.nbytes
            self._waves[file] = wave
        return self._waves[file]


class Buckets:
    """Batches of utterances of similar length, with at most `budget` samples each, including padding.

    >>> buckets = Buckets([1, 9, 2, 10, 2, 1], budget=20, seed=0)
    >>> buckets.epoch, sorted(int(index) for number in range(3) for index in buckets.batch(number))
    (3, [0, 1, 2, 3, 4, 5])
    """

    def __init__(self, lengths: Sequence[int], budget: int, seed: int) -> None:
        self.seed = seed
        order = np.argsort(-np.asarray(lengths), kind="stable")
        self._members: list[tuple[np.ndarray, int]] = []
        at = 0
        while at < len(order):
            count = max(budget // max(lengths[order[at]], 1), 1)
            bucket = order[at : at + count * BUCKET]
            at += len(bucket)
            self._members.append((bucket, count))
        self.epoch = sum(-(-len(bucket) // count) for bucket, count in self._members)
        self._shuffled: tuple[int, list[np.ndarray]] = (-1, [])

    def batch(self, number: int) -> np.ndarray:
        """Return the indices of the utterances of update `number`; within `epoch` updates each is read once."""
        epoch, position = divmod(number, self.epoch)
        if self._shuffled[0] != epoch:
            self._shuffled = (epoch, self._shuffle(epoch))
        return self._shuffled[1][position]

    def _shuffle(self, epoch: int) -> list[np.ndarray]:
        random = np.random.default_rng([self.seed, epoch, 1])
        batches = []
        for bucket, count in self._members:
            mixed = random.permutation(bucket)
            batches += [mixed[at : at + count] for at in range(0, len(mixed), count)]
        return [batches[index] for index in random.permutation(len(batches))]
