"""Unlabelled sound: the files under a folder, and the waves of every update, drawn from (seed, update) alone.

A schedule reads either crops (`batch` files drawn with replacement, a random piece of at most `seconds` of each) or whole
utterances (of at most `seconds`, each once an epoch). Those are bucketed: sorted by length, so that a batch pads little, which
holds up to `batch · seconds` of sound, padding counted; and shuffled among neighbours anew in every epoch.
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

from superbench.contract import SAMPLE_RATE, Audio, Pretraining
from superbench.data.audio import checked, load
from superbench.data.sound_files import holds_sound
from superbench.errors import BadAudio, BadCorpus
from superbench.system.progress import Reporter

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
"""A file of this name must be sound."""
OTHER_SUFFIXES = (
    ".3gp", ".aac", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".m4a", ".mka", ".mp2", ".mp4", ".mpga", ".nist",
    ".oga", ".opus", ".ra", ".rf64", ".shn", ".snd", ".sph", ".spx", ".w64", ".webm", ".wma", ".wv",
)  # fmt: skip
"""A file of this name may be sound: it is heard if what it holds can be decoded, and otherwise said to be left out."""
READERS, AT_ONCE = 8, 32
"""Threads that read files, and how many each reads before it reports."""
HELD_OUT = 20
HELD_OUT_FILES, HELD_OUT_SECONDS = 32, 10
IN_MEMORY_BYTES = 2 * 2**30
BUCKET = 8
"""Batches whose utterances are shuffled among each other."""

Stamp = tuple[int, int, int, int]
"""Size, times of change of content and of the entry (nanoseconds) and inode: a file that was exchanged has another, even if it
was given the size and the date of the one before."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A sound file: where it is, how many samples it gives at 16 kHz, a digest of its bytes, and how to know it again."""

    path: Path
    samples: int
    digest: str
    stamp: Stamp


def recordings(folder: Path, reporter: Reporter) -> list[Recording]:
    """Sound files under a folder, sorted, `._*` companions left out, each read once. Links are followed, a folder heard once.

    What looks like sound and is left out is noted. Raises `BadCorpus` if there is none, `BadAudio` that counts and names those
    that cannot be read.
    """
    files, others = _files(folder)
    left_out = _described(others)
    if not files:
        state = "holds no sound file" if folder.is_dir() else "is not a folder"
        left = f" Left out: {left_out}." if others else ""
        raise BadCorpus(
            f"{folder} {state} ({', '.join(SUFFIXES)}). Give --audio a folder of speech; it is searched recursively.{left}"
        )
    if others:
        reporter.note(f"left out: {left_out}")
    found: list[Recording] = []
    broken: list[str] = []
    done, total = 0, sum(file.stat().st_size for file in files if file.exists())
    chunks = [files[at : at + AT_ONCE] for at in range(0, len(files), AT_ONCE)]
    with ThreadPoolExecutor(READERS) as readers:
        for read in readers.map(lambda some: [_read(file) for file in some], chunks):
            found += [one for one in read if isinstance(one, Recording)]
            broken += [one for one in read if isinstance(one, str)]
            done += sum(one.stamp[0] for one in read if isinstance(one, Recording))
            reporter.advance("read sound", done, total)
    if broken:
        more = f" {len(broken) - 1} more of the {len(files)} files cannot be read either." if len(broken) > 1 else ""
        raise BadAudio(f"{broken[0]}{more} Mend them, or take them out of {folder}; nothing was trained yet.")
    return found


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files to hear, and files that are named like sound and are none that can be decoded; each sorted."""
    files, others = [], []
    for path in sorted(_under(folder)):
        suffix = path.suffix.lower()
        if suffix in SUFFIXES or (suffix in OTHER_SUFFIXES and holds_sound(path)):
            files.append(path)
        elif suffix in OTHER_SUFFIXES:
            others.append(path)
    return files, others


def _under(folder: Path) -> Iterator[Path]:
    """Files in and below a folder, links followed; a folder that several links lead to, or a loop, is entered once."""
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
        yield from (path for path in paths if path.is_file() or path.is_symlink())  # no pipe, which nobody may write to


def _described(others: Sequence[Path]) -> str:
    if not others:
        return ""
    counts = Counter(path.suffix.lower() for path in others)
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
    first = others[0]
    return f"{kinds}, such as {first}, which cannot be decoded here; convert it: ffmpeg -i {first.name} {first.stem}.wav"


def _read(file: Path) -> Recording | str:
    """What there is to know of a file, or what is wrong with it."""
    try:
        samples, rate = checked(file)
        if not samples:
            return f"{file} holds no samples."
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


def identity(found: Sequence[Recording], folder: Path) -> dict[str, str]:
    """What the files are called under `folder`, and what they hold: the same after the folder has moved."""
    names = "\n".join(str(one.path.relative_to(folder)) for one in found)
    content = f"{names}\n" + "\n".join(one.digest for one in found)
    short = {what: hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16] for what, text in
             (("names", names), ("content", content))}  # fmt: skip
    return {"sound": f"{len(found)} files of content {short['content']}", "names of sound files": short["names"]}


def _must_be(one: Recording) -> None:
    """Raise `BadAudio` if what lies there now is not the sound that was listed."""
    if not one.path.is_file():
        raise BadAudio(f"{one.path} is gone since training began. Bring it back and run the same command again.")
    if _stamp(one.path) != one.stamp and _digest(one.path) != one.digest:
        raise BadAudio(f"{one.path} was exchanged since training began. Bring it back, or train anew on sound that stays.")


class Unlabelled:
    """Recordings, one in twenty of them held out, as the batches of a schedule. Waves are 16-bit numbers."""

    def __init__(self, found: Sequence[Recording], plan: Pretraining, seed: int) -> None:
        self.plan, self.seed = plan, seed
        self.training = [one for i, one in enumerate(found) if i % HELD_OUT or len(found) < HELD_OUT]
        self.testing = found[::HELD_OUT][:HELD_OUT_FILES]
        self._longest = round(plan.seconds * SAMPLE_RATE)
        self._listed = {one.path: one for one in found}
        self._waves: dict[Path, np.ndarray] = {}
        self._room = IN_MEMORY_BYTES
        lengths = [min(one.samples, self._longest) for one in self.training]
        self._buckets = Buckets(lengths, plan.batch * self._longest, seed) if plan.whole_utterances else None

    def batch(self, number: int) -> list[np.ndarray]:
        """The waves of update `number`."""
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
        """The files that are never trained on, in batches, cut to ten seconds."""
        longest = HELD_OUT_SECONDS * SAMPLE_RATE
        return [
            [self._wave(one.path)[:longest] for one in self.testing[at : at + batch]]
            for at in range(0, len(self.testing), batch)
        ]

    def wave(self, file: Path) -> torch.Tensor:
        """A whole file (samples,) as a model hears it."""
        return torch.from_numpy(self._wave(file).astype(np.float32) / 32767)

    def _wave(self, file: Path) -> np.ndarray:
        """The wave, kept in memory while there is room. Raises `BadAudio` if the file is no longer the one that was listed."""
        if file not in self._waves:
            _must_be(self._listed[file])
            wave = (load(Audio(file)).clamp(-1, 1) * 32767).to(torch.int16).numpy()
            if wave.nbytes > self._room:
                return wave
            self._room -= wave.nbytes
            self._waves[file] = wave
        return self._waves[file]


class Buckets:
    """Batches of utterances of similar length that hold at most `budget` samples, padding counted.

    >>> buckets = Buckets([1, 9, 2, 10, 2, 1], budget=20, seed=0)
    >>> buckets.epoch, sorted(int(one) for number in range(3) for one in buckets.batch(number))
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
        """Which utterances update `number` reads; every `epoch` updates read each once."""
        epoch, place = divmod(number, self.epoch)
        if self._shuffled[0] != epoch:
            self._shuffled = (epoch, self._shuffle(epoch))
        return self._shuffled[1][place]

    def _shuffle(self, epoch: int) -> list[np.ndarray]:
        random = np.random.default_rng([self.seed, epoch, 1])
        batches = []
        for bucket, count in self._members:
            mixed = random.permutation(bucket)
            batches += [mixed[at : at + count] for at in range(0, len(mixed), count)]
        return [batches[index] for index in random.permutation(len(batches))]
