"""How fast can extraction feed a model that costs nothing?

The model is a view of the waveform, so only our own work is left: read, hash, decode, batch, reduce, write. For each number of
cores, these sides take turns; all of them use as many threads (or processes) as cores:

  bare        libsndfile alone: soundfile.read of every file in threads
  processes   the same in processes that are already there
  means       extraction of means into an empty store, of a model with one layer of 320
  known       the same, of files whose digests are known: every model after the first one
  wide        the same, of 13 layers of 768
  frames      extraction of frames, 13 layers of 768, which are 1 MB for each second of sound
  write       a plain write of as many bytes to the same disk, with fsync, in files of 64 MB
  hash        the BLAKE2b digest of as many bytes, in threads

Printed: seconds of sound per second, and the ratio to bare decoding; for frames also the ratio to what disk and digests allow.
The ratio of processor times says the same on a machine that others use, where the times of threads depend on the others.

  python benchmarks/feeding.py --cores 1,2
  python benchmarks/feeding.py --cores 1,2,4,8,16 --count 1000 --store /mnt/nvme
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import paired
import soundfile
import synthetic
from reading import read

from superbench import Audio
from superbench.contract import Reduction
from superbench.features.extraction import extract
from superbench.features.store import Store
from superbench.plugins import Loaded
from superbench.system.processes import without_main
from superbench.system.progress import Silence

FRAME_BYTES = 50 * 13 * 768 * 2
"""Bytes of a second of sound as frames: 50 frames, 13 layers, 768 half-precision numbers."""
BLOCK = 64 * 2**20


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = paired.parser(__doc__, 5)
    parser.add_argument("--cores", default="1,2", help="numbers of cores (1,2)")
    parser.add_argument("--count", type=int, default=200, help="utterances (200)")
    parser.add_argument("--seconds", type=float, default=10.0, help="their mean length (10)")
    parser.add_argument("--frames", type=int, default=20, help="how many of them for frames: 10 MB each (20)")
    parser.add_argument("--store", type=Path, help="folder on the disk to be written to (a temporary one)")
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)
    allowed, every = sorted(os.sched_getaffinity(0)), [int(number) for number in options.cores.split(",")]
    if max(every) > len(allowed):
        raise SystemExit(f"--cores {options.cores}: this process may use {len(allowed)} cores.")
    measured = {}
    with tempfile.TemporaryDirectory(dir=options.store) as folder:
        audios = synthetic.voices(Path(folder) / "sound", options.count, options.seconds)
        try:
            for number in every:
                os.sched_setaffinity(0, set(allowed[:number]))
                sides = Sides(Path(folder), audios, audios[: options.frames], number)
                measured[number] = sides.measured(options.rounds)
                sides.print_processor_time()
        finally:
            os.sched_setaffinity(0, set(allowed))
    _print(measured)


class Sides:
    """The sides of a comparison on `cores` cores."""

    def __init__(self, folder: Path, audios: Sequence[Audio], few: Sequence[Audio], cores: int) -> None:
        self.folder, self.audios, self.few, self.cores = folder, audios, few, cores
        self.narrow, self.wide = (synthetic.upstream(spec, "cpu") for spec in (synthetic.VIEW_320, synthetic.VIEW))
        self.processor: dict[str, list[float]] = {}
        self.sound, self.little = _seconds(audios), _seconds(few)

    def measured(self, rounds: int) -> dict[str, tuple[float, list[float]]]:
        """Returns the seconds of sound of each side, and its times in each round."""
        processes = ProcessPoolExecutor(self.cores, get_context("forkserver"))
        with without_main():
            list(processes.map(read, [[]] * self.cores))  # they start before any time is measured
        with processes, ThreadPoolExecutor(self.cores) as threads:
            sides: dict[str, Callable[[], object]] = {
                "bare": lambda: self._read(threads),
                "processes": lambda: self._read(processes),
                "means": lambda: self._extract(self.narrow, "mean", self.audios),
                "known": self._known(self.narrow),
                "wide": self._known(self.wide),
                "frames": lambda: self._extract(self.wide, "frames", self.few),
                "write": self._write,
                "hash": lambda: self._hash(threads),
            }
            timings = paired.in_turns({name: self._counted(name, work) for name, work in sides.items()}, rounds)
        few = ("frames", "write", "hash")
        return {name: (self.little if name in few else self.sound, times) for name, times in timings.seconds.items()}

    def print_processor_time(self) -> None:
        """Prints the ratios of processor time."""
        for name in ("means", "known", "wide"):
            bare, own = (median(self.processor[side]) for side in ("bare", name))
            meaning = f"processor time of bare decoding / of extraction, {name}, on {self.cores} of the cores"
            paired.show(bare / own, meaning, "at least 0.8" if name != "wide" else "")

    def _counted(self, name: str, work: Callable[[], object]) -> Callable[[], None]:
        """Returns `work`, which adds the processor time of this process to `self.processor[name]`."""

        def counted() -> None:
            before = time.process_time()
            work()
            self.processor.setdefault(name, []).append(time.process_time() - before)

        return counted

    def _read(self, pool: Executor) -> None:
        paths = [audio.path for audio in self.audios]
        for _ in pool.map(read, [paths[at : at + 2] for at in range(0, len(paths), 2)]):
            pass

    def _extract(self, upstream: Loaded, reduction: Reduction, audios: Sequence[Audio]) -> None:
        root = self.folder / "store"
        shutil.rmtree(root, ignore_errors=True)
        with Store(root, readers=self.cores) as store:
            extract(upstream, audios, reduction, store, "cpu", Silence()).close()

    def _known(self, upstream: Loaded) -> Callable[[], None]:
        root = self.folder / f"known-{upstream.layers}-{self.cores}"
        with Store(root, readers=self.cores) as store:
            store.sounds([audio.path for audio in self.audios])

        def known() -> None:
            with Store(root, readers=self.cores) as store:
                extract(upstream, self.audios, "mean", store, "cpu", Silence()).close()
                for holding in store.contents():
                    store.forget(holding.shard)

        return known

    def _write(self) -> None:
        left, block = round(self.little * FRAME_BYTES), bytes(BLOCK)
        while left > 0:
            with (self.folder / "plain").open("wb") as file:
                file.write(block[:left])
                file.flush()
                os.fsync(file.fileno())
            left -= BLOCK
        (self.folder / "plain").unlink()

    def _hash(self, threads: Executor) -> None:
        size = round(self.little * FRAME_BYTES)
        parts = [bytes(min(BLOCK // 4, size - at)) for at in range(0, size, BLOCK // 4)]
        for _ in threads.map(lambda part: hashlib.blake2b(part, digest_size=16).digest(), parts):
            pass


def _seconds(audios: Sequence[Audio]) -> float:
    return sum(soundfile.info(audio.path).duration for audio in audios)


def _print(measured: dict[int, dict[str, tuple[float, list[float]]]]) -> None:
    print(
        f"{'':10}" + "".join(f"{cores:>14} core{'s' * (cores > 1):1}" for cores in measured) + "   seconds of sound per second"
    )
    rates: dict[int, dict[str, list[float]]] = {
        cores: {name: [sound / seconds for seconds in times] for name, (sound, times) in sides.items()}
        for cores, sides in measured.items()
    }
    for name in next(iter(rates.values())):
        print(f"{name:10}" + "".join(f"{median(sides[name]):>20.0f}" for sides in rates.values()))
    for cores, sides in rates.items():
        on = f"on {cores} core{'s' * (cores > 1)}"
        paired.show(_ratio(sides, "processes", "bare"), f"decoding in processes / in threads {on}")
        for name, goal in (("means", "at least 0.8"), ("known", "at least 0.8"), ("wide", ""), ("frames", "at least 0.6")):
            paired.show(_ratio(sides, name, "bare"), f"extraction, {name} / bare decoding {on}", goal)
        allowed = [min(every) for every in zip(*(sides[name] for name in ("bare", "write", "hash")), strict=True)]
        of_allowed = median([one / other for one, other in zip(sides["frames"], allowed, strict=True)])
        paired.show(
            of_allowed, f"extraction, frames / the slowest of bare decoding, plain write and digest {on}", "at least 0.6"
        )
        disk = median(sides["write"]) * FRAME_BYTES / 1e6
        print(f"frames are {FRAME_BYTES / 1e6:.2f} MB for each second of sound; a plain write reaches {disk:.0f} MB/s {on}")


def _ratio(sides: dict[str, list[float]], above: str, below: str) -> float:
    return median([one / other for one, other in zip(sides[above], sides[below], strict=True)])


if __name__ == "__main__":
    main()
