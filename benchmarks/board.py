"""How long does a board take to score a bundle again, and to compare all of its rows?

A random bundle of all ten tasks is generated at the size of the official test sets (`--scale 1`): 2 620 utterances (PR, ASR),
37 720 trials, 138 x 2 438 query-document pairs, 3 000 mixtures, SF 2 800, KS 3 081, IC 3 793, SID 8 251, ER 5 531; predictions
are right by chance. It is packed, opened, and every part of the examination is timed. Then a board gets `--rows` random rows:
all pairs are compared, and again with one more row.

  python benchmarks/board.py
  python benchmarks/board.py --scale 0.1 --rows 20
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paired

from superbench.board.board import Board
from superbench.board.bundles.bundle import open_bundle, pack_bundle
from superbench.board.bundles.references import digest
from superbench.contract import Prediction, Task
from superbench.plugins import task as load_task
from superbench.results import Result, rows as ranking, write_result
from superbench.results.intervals import Replicates, interval_of, replicates
from superbench.results.rows import Cell, Column, Row
from superbench.results.significance import standings

GOAL_SECONDS = 60
SPEAKERS = {"pr": 40, "asr": 40, "ks": 200, "sid": 1251, "ic": 10, "sf": 2}
PHONES = ("AA1", "B", "CH", "D", "EH0", "F", "G", "HH", "IY2", "K", "L", "M", "N", "OW1", "P", "R", "S", "T", "UW1", "V", "Z")
WORDS = (
    "THE",
    "OF",
    "AND",
    "MISTER",
    "QUILTER",
    "IS",
    "APOSTLE",
    "MIDDLE",
    "CLASSES",
    "WE",
    "ARE",
    "GLAD",
    "GOSPEL",
    "HIS",
    "A",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Generates a bundle, examines it part by part, then compares rows."""
    parser = paired.parser(__doc__, rounds=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of the official test sets (1)")
    parser.add_argument("--rows", type=int, default=100, help="models on the board (100)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        clock = Clock()
        with clock("generated (not counted)"):
            write_all(root / "made-up", options.scale)
        with clock("pack"):
            data = pack_bundle(root / "made-up")
        print(f"bundle {len(data) / 1e6:.1f} MB")
        board = Board(root / "board")
        began = time.perf_counter()
        examined = board.examine(data)
        whole = time.perf_counter() - began
        with clock("accept"):
            board.accept(examined)
        with clock("draw again, nothing to score"):
            board.contents()
        split(data, clock)
        clock.show()
    paired.show(whole / GOAL_SECONDS, f"seconds to examine a ten-task bundle at scale {options.scale:g} / {GOAL_SECONDS}", "1")
    compare(options.rows)


class Clock:
    """Seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measures and prints the seconds of the block."""
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def show(self) -> None:
        """The longest first."""
        for name, seconds in sorted(self.seconds.items(), key=lambda entry: -entry[1]):
            print(f"{seconds:8.2f} s  {name}")


def split(data: bytes, clock: Clock) -> None:
    """Measures the parts of `verify.examine` one by one."""
    with clock("open: hashes, manifest, results"):
        bundle = open_bundle(data)
    for name, entry in bundle.entries.items():
        with clock(f"{name} read"):
            predictions = entry.predictions
        with clock(f"{name} digest of references"):
            digest(predictions, {})
        with clock(f"{name} score"):
            scores = load_task(name).score(predictions, entry.result.data.passport.facts)
        with clock(f"{name} replicates"):
            for score in scores.values():
                replicates(predictions, score)


def compare(rows: int) -> None:
    """Compares all pairs of rows on the columns of the ten tasks, and again with one more row."""
    columns, random = ranking.columns(), np.random.default_rng(0)
    made = [_row(str(n), columns, random) for n in range(rows + 1)]
    began = time.perf_counter()
    for column in columns:
        standings(made[:-1], column)
    middle = time.perf_counter()
    for column in columns:
        standings(made, column)
    end = time.perf_counter()
    print(f"{middle - began:8.2f} s  {rows} rows, {rows * (rows - 1) // 2} pairs in each of {len(columns)} columns")
    print(f"{end - middle:8.2f} s  the same with one row more")
    paired.show((middle - began) / 10, f"seconds to compare {rows} rows, all columns / 10", "1")


def _row(name: str, columns: Sequence[Column], random: np.random.Generator) -> Row:
    drawn = {column.key: Replicates(random.normal(50, 1, 1000), 40, "made up") for column in columns}
    cells = {column.key: Cell(float(random.normal(50, 3))) for column in columns}
    return Row(name, "local", "pretrained", cells, replicates=drawn)


# ---------------------------------------------------------------- a random bundle


def write_all(folder: Path, scale: float) -> None:
    """Writes random results of all ten tasks to `folder`."""
    random = np.random.default_rng(0)
    for name, make in MAKERS.items():
        predictions = make(random, scale)
        write_result(folder / name, _result(load_task(name), predictions), predictions)


def _result(task: Task, predictions: list[Prediction]) -> Result:
    card, recipe = task.card, task.card.recipes["superb"]
    scores = task.score(predictions, {})
    folds = sorted({one.fold for one in predictions})
    setting: dict[str, Any] = {"step": recipe.steps} if task.select.checkpoints else {} if task.head else {"layer": 1}
    dev = scores[card.primary].value
    worse = dev - 1 if task.select.higher_is_better else dev + 1
    rates = recipe.learning_rates if task.head else (None,)
    seed = 0 if task.head else None
    record = {
        "schema": 1, "task": {"name": card.name, "version": card.version, "protocol": "superb"},
        "upstream": {"name": "made-up", "revision": "r", "params": 1, "hop": 320, "layers": 13, "dim": 768},
        "scores": {
            metric: {
                "value": score.value, "unit": score.unit, "higher_is_better": score.higher_is_better,
                "ci": list(interval_of(replicates(predictions, score), score.value)[:2]), "counts": dict(score.counts),
            }
            for metric, score in scores.items()
        },
        "primary": card.primary,
        "sweep": [
            {"fold": fold, "lr": rate, "seed": seed, "dev": dev if i == 0 else worse, "steps": 0, "setting": setting}
            for fold in folds for i, rate in enumerate(rates)
        ],
        "chosen": {fold: {"lr": rates[0], "seed": seed, "step": 0, "setting": setting} for fold in folds},
        "data": {
            "fingerprint": "made-up",
            "items": {
                "test" if fold == "all" else f"{fold}/test": sum(one.fold == fold for one in predictions) for fold in folds
            },
        },
        "environment": {"spec": "made-up"}, "seconds": {"extract": 0, "train": 0, "evaluate": 0},
        "predictions": "predictions.jsonl.gz",
    }  # fmt: skip
    return Result.model_validate(record)


Maker = Callable[[np.random.Generator, float], list[Prediction]]


def _count(official: int, scale: float) -> int:
    return max(round(official * scale), 45)


def _classes(name: str, official: int, classes: int) -> Maker:
    def make(random: np.random.Generator, scale: float) -> list[Prediction]:
        labels = random.integers(0, classes, _count(official, scale))
        right = random.random(len(labels)) < 0.8
        return [
            Prediction(f"{n:05}.wav", "all", (f"s{n % SPEAKERS[name]}",), f"c{label}", f"c{label}" if hit else "none")
            for n, (label, hit) in enumerate(zip(labels, right, strict=True))
        ]

    return make


def _texts(name: str, official: int, symbols: tuple[str, ...], length: int) -> Maker:
    def make(random: np.random.Generator, scale: float) -> list[Prediction]:
        found = []
        for n in range(_count(official, scale)):
            truth = [symbols[i] for i in random.integers(0, len(symbols), random.integers(length // 2, 2 * length))]
            heard = [symbols[random.integers(len(symbols))] if random.random() < 0.1 else one for one in truth]
            found.append(Prediction(f"{n:05}", "all", (f"s{n % SPEAKERS[name]}",), " ".join(truth), " ".join(heard)))
        return found

    return make


def _slots(random: np.random.Generator, scale: float) -> list[Prediction]:
    found = []
    for n in range(_count(2_800, scale)):
        words = [str(WORDS[i]) for i in random.integers(0, len(WORDS), 6)]
        said = [*words[:-1], "OTHER"] if random.random() < 0.3 else words
        texts = [
            "PLAY B-artist {} {} E-artist IN B-city {} E-city {} {} B-room {} E-room".format(*one) for one in (words, said)
        ]
        found.append(Prediction(f"{n:05}", "all", (f"s{n % SPEAKERS['sf']}",), *texts))
    return found


def _intents(random: np.random.Generator, scale: float) -> list[Prediction]:
    found = []
    for n in range(_count(3_793, scale)):
        intent = {"action": "activate", "object": f"o{random.integers(14)}", "location": "none"}
        said = intent if random.random() < 0.9 else intent | {"object": "x"}
        found.append(Prediction(f"{n:05}", "all", (f"s{n % SPEAKERS['ic']}",), intent, said))
    return found


def _emotions(random: np.random.Generator, scale: float) -> list[Prediction]:
    found = []
    for n in range(_count(5_531, scale)):
        session, said = n % 5, "sad" if random.random() < 0.6 else "neu"
        found.append(
            Prediction(f"Ses{session}_{n:05}", f"fold{session + 1}", (f"Ses{session}{'MF'[n // 5 % 2]}",), "sad", said)
        )
    return found


def _trials(random: np.random.Generator, scale: float) -> list[Prediction]:
    found = []
    for n in range(_count(37_720, scale)):
        one, other, same = int(random.integers(40)), int(random.integers(40)), n % 2
        group = tuple(sorted({f"id{one}", f"id{one if same else other}"}))
        score = float(random.normal(1.5 * same))
        found.append(Prediction(f"id{one}/{n:05}.wav|id{other}/{n:05}.wav", "all", group, same, score))
    return found


def _queries(random: np.random.Generator, scale: float) -> list[Prediction]:
    queries, documents = max(round(138 * scale**0.5), 20), max(round(2_438 * scale**0.5), 20)
    target = random.random((queries, documents)) < 0.01
    scores = random.normal(3.0 * target)
    return [
        Prediction(f"query{q:04}|document{d:05}", "all", (f"query{q:04}",), int(target[q, d]), float(scores[q, d]))
        for q in range(queries) for d in range(documents)
    ]  # fmt: skip


def _mixtures(random: np.random.Generator, scale: float) -> list[Prediction]:
    def turns(count: int, names: str) -> list[list[Any]]:
        starts = np.sort(random.uniform(0, 12, count)).round(2)
        return [[float(at), round(float(at) + float(random.uniform(0.3, 3)), 2), names[n % 2]] for n, at in enumerate(starts)]

    return [
        Prediction(f"{n:05}", "all", (f"s{n % 40:02}", f"s{(n * 7 + 1) % 40:02}"), turns(8, "ab"), turns(20, "01"))
        for n in range(_count(3_000, scale))
    ]  # fmt: skip


MAKERS: dict[str, Maker] = {
    "pr": _texts("pr", 2_620, PHONES, 70), "asr": _texts("asr", 2_620, WORDS, 20), "ks": _classes("ks", 3_081, 12),
    "qbe": _queries, "sid": _classes("sid", 8_251, 1_251), "asv": _trials, "sd": _mixtures, "er": _emotions, "ic": _intents,
    "sf": _slots,
}  # fmt: skip


if __name__ == "__main__":
    main()
