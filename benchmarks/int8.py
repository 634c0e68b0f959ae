"""What do frames in 8 bits per value cost in score, and what do they save on disk?

Every upstream runs every task twice on the miniature corpora, with stores of their own: with frames in half precision and in 8
bits per value. Both runs are equal otherwise (recipe, seeds, order of data), so their difference is that of the format. The
scores are compared item by item: the difference, with a 95 % interval of the paired items. Tasks that read means store no
frames; their scores must be equal.

    python benchmarks/int8.py --upstreams "fbank apc:untrained" --tasks all
    python benchmarks/int8.py --tasks pr,ks --data corpora --max-steps 200
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from superbench import compare, run
from superbench.data.synthesis import synthesize
from superbench.features.store import Store
from superbench.plugins import parse, task_names
from superbench.system.progress import Silence

FORMATS = ("float16", "int8")


@dataclass(frozen=True, slots=True)
class Row:
    """One score in both formats: `int8` minus `float16`, and the 95 % interval of the paired difference."""

    upstream: str
    task: str
    metric: str
    float16: float
    int8: float
    difference: float
    low: float
    high: float
    method: str


def measured(specs: Sequence[str], tasks: str, data: Path, folder: Path, steps: int | None) -> dict[str, int]:
    """Runs all tasks in both formats; returns the bytes of the frames of each store. A failed job ends the benchmark."""
    sizes = {}
    for name in FORMATS:
        report = run(
            list(specs), tasks, data=data, out=folder / name, store=folder / f"store-{name}", store_format=name,
            max_steps=steps, device="cpu", workers=1,
        )  # fmt: skip
        for ended in report.of("failed", "absent"):
            raise SystemExit(f"{ended.job}: {ended.message}")
        with Store(folder / f"store-{name}") as store:
            sizes[name] = sum(shard.bytes for shard in store.contents() if shard.format != "float32")
    return sizes


def rows(specs: Sequence[str], folder: Path) -> Iterator[Row]:
    """Yields the comparison of each score of each upstream."""
    for alias in (parse(spec).folder for spec in specs):
        half, small = folder / FORMATS[0] / alias, folder / FORMATS[1] / alias
        for comparison in compare(half, small, items=0):
            for metric in comparison.metrics:
                if metric.paired is None or metric.a is None or metric.b is None:
                    raise SystemExit(f"{alias} · {comparison.task} cannot be paired: {comparison.unpaired}")
                paired = metric.paired
                low, high = paired.interval or (paired.difference, paired.difference)
                yield Row(
                    upstream=alias, task=comparison.task, metric=metric.name, float16=metric.a.value, int8=metric.b.value,
                    difference=paired.difference, low=low, high=high, method=paired.method,
                )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs both formats, and prints every score, its difference and the interval, and the sizes of the stores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstreams", default="fbank apc:untrained", help="specs, separated by spaces")
    parser.add_argument("--tasks", default="all")
    parser.add_argument("--data", type=Path, help="miniature corpora (written to --out if not given)")
    parser.add_argument("--out", type=Path, help="folder of results and stores (a temporary one)")
    parser.add_argument("--max-steps", type=int, help="the most updates of each head (those of the recipes)")
    given = parser.parse_args(arguments)
    specs = given.upstreams.split()
    with tempfile.TemporaryDirectory(prefix="superbench-int8-") as temporary:
        folder = given.out or Path(temporary)
        data = given.data or folder / "data"
        if given.data is None:
            synthesize(data, 0, list(task_names(given.tasks)), Silence())
        sizes = measured(specs, given.tasks, data, folder, given.max_steps)
        outside = 0
        print(f"{'upstream':24} {'task':4} {'metric':14} {'float16':>9} {'int8':>9} {'difference':>10}  95 % interval")
        for row in rows(specs, folder):
            outside += not row.low <= 0 <= row.high
            values = f"{row.float16:9.3f} {row.int8:9.3f} {row.difference:+10.3f}  [{row.low:+.3f}, {row.high:+.3f}]"
            print(f"{row.upstream:24} {row.task:4} {row.metric:14} {values}  {row.method}")
    print(f"{outside} differences have an interval without 0 (of independent ones, one in twenty would)")
    if sizes["float16"]:
        print(f"ratio {sizes['int8'] / sizes['float16']:.3f}: bytes of frames in 8 bits to those in half precision")
    print(json.dumps({"bytes": sizes}))


if __name__ == "__main__":
    main()
