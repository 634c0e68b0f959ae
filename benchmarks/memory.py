"""Does memory grow with the corpus?

Features of 1x, 10x and 100x as many short utterances are extracted, each size in a process of its own into an empty store; the
peak resident memory of each process is printed, and the ratio of the largest to the smallest. `idle` is the same process with
the model loaded and nothing to do. The default is a light model, so that a hundredfold corpus takes a minute or two; what could
grow (lists, batches, shards) is the same with any model.

  python benchmarks/memory.py
  python benchmarks/memory.py --upstream benchmarks/synthetic.py:HubertBase --count 4
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import paired

SIZES = (0, 1, 10, 100)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all sizes, or, with --folder, one of them in this process."""
    parser = paired.parser(__doc__, rounds=1)
    parser.add_argument("--upstream", default="fbank_no_cmvn", help="the model, any spec of superbench (fbank_no_cmvn)")
    parser.add_argument("--count", type=int, default=100, help="utterances of the smallest corpus (100)")
    parser.add_argument("--seconds", type=float, default=1.0, help="their mean length (1)")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="multiples of --count (0,1,10,100)")
    parser.add_argument("--reduction", choices=("mean", "frames"), default="frames", help="what is kept (frames)")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.folder:
        print(_peak(options))
        return
    sizes = [int(size) for size in options.sizes.split(",")]
    peaks = {}
    for size in sizes:
        peaks[size] = _child(options, size)
        name = f"{size}x, {size * options.count} utterances" if size else "idle"
        print(f"{name:24} {peaks[size]:8.0f} MB at most", flush=True)
    counted = [size for size in sizes if size]
    paired.show(
        peaks[counted[-1]] / peaks[counted[0]],
        f"peak memory of extraction with {counted[-1]}x the corpus / {counted[0]}x ({options.upstream}, {options.reduction})",
        "1, flat",
    )


def _child(options: argparse.Namespace, size: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        own = {"--upstream": options.upstream, "--count": size * options.count, "--seconds": options.seconds}
        own |= {"--reduction": options.reduction, "--folder": folder}
        words = [str(word) for pair in own.items() for word in pair]
        done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
    return float(done.stdout)


def _peak(options: argparse.Namespace) -> float:
    """Peak resident memory of this process in MB, after extracting `count` utterances."""
    import synthetic
    import torch

    from superbench.features.extraction import extract
    from superbench.features.store import Store
    from superbench.system.progress import Silence

    torch.set_num_threads(1)
    audios = synthetic.sounds(options.folder / "sound", options.count, options.seconds)
    upstream = synthetic.upstream(options.upstream, "cpu")
    extract(upstream, audios, options.reduction, Store(options.folder / "store"), "cpu", Silence())
    return _high_water() / 1e6


def _high_water() -> float:
    """Bytes. Linux counts what a parent held before it started a process into that process's `ru_maxrss`; VmHWM is its own."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


if __name__ == "__main__":
    main()
