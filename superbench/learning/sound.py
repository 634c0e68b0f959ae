"""Unlabelled sound: the files under a folder, and the waves of every update, drawn from (seed, update) alone.

A schedule reads either crops (`batch` files drawn with replacement, a random piece of at most `seconds` of each) or whole
utterances (of at most `seconds`, each once an epoch). Those are bucketed: sorted by length, so that a batch pads little, which
holds up to `batch · seconds` of sound, padding counted; and shuffled among neighbours anew in every epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from superbench.contract import SAMPLE_RATE, Audio, Pretraining
from superbench.errors import BadAudio, BadCorpus
from superbench.features.audio import header, load
from superbench.reporting import Reporter

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
HELD_OUT = 20
HELD_OUT_FILES, HELD_OUT_SECONDS = 32, 10
IN_MEMORY_BYTES = 2 * 2**30
BUCKET = 8
"""Batches whose utterances are shuffled among each other."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A sound file: where it is, how many samples it gives at 16 kHz, how many bytes it has."""

    path: Path
    samples: int
    bytes: int


def recordings(folder: Path, reporter: Reporter) -> list[Recording]:
    """Sound files under a folder, sorted, `._*` companions left out, each with its header read.

    Raises `BadCorpus` if there is none, `BadAudio` that counts and names those that cannot be read.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("._"))
    if not files:
        state = "holds no sound file" if folder.is_dir() else "is not a folder"
        raise BadCorpus(
            f"{folder} {state} ({', '.join(SUFFIXES)}). Give --audio a folder of speech; it is searched recursively."
        )
    found: list[Recording] = []
    broken: list[str] = []
    for number, file in enumerate(files):
        try:
            samples, rate = header(file)
            if not samples:
                raise BadAudio(f"{file} holds no samples.")
            found.append(Recording(file, round(samples * SAMPLE_RATE / rate), file.stat().st_size))
        except BadAudio as error:
            broken.append(str(error))
        reporter.advance("read headers", number + 1, len(files))
    if broken:
        more = f" {len(broken) - 1} more of the {len(files)} files cannot be read either." if len(broken) > 1 else ""
        raise BadAudio(f"{broken[0]}{more} Mend them, or take them out of {folder}; nothing was trained yet.")
    return found


def digest(found: Sequence[Recording], folder: Path) -> str:
    """What the files are called under `folder` and how large they are: the same after the folder has moved."""
    listed = "\n".join(f"{one.path.relative_to(folder)} {one.bytes}" for one in found)
    return hashlib.sha256(listed.encode()).hexdigest()[:16]


class Unlabelled:
    """Recordings, one in twenty of them held out, as the batches of a schedule. Waves are 16-bit numbers."""

    def __init__(self, found: Sequence[Recording], plan: Pretraining, seed: int) -> None:
        self.plan, self.seed = plan, seed
        self.training = [one for i, one in enumerate(found) if i % HELD_OUT or len(found) < HELD_OUT]
        self.testing = found[::HELD_OUT][:HELD_OUT_FILES]
        self._longest = round(plan.seconds * SAMPLE_RATE)
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
        """The wave, kept in memory while there is room."""
        if file not in self._waves:
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
