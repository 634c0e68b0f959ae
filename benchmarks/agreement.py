"""Do scores without a gradient and scores of trained heads order models alike?

Pretrains ten native models for a few updates on the miniature speech of a seed, then runs them and three filter banks twice on
ten tasks: few-shot, and with heads (protocol `mini`) on the same stored features. Prints Spearman's rank correlation between
both for each task and for the mean, and all scores with their intervals, as Markdown: `docs/miniature-few-shot.md` is its
output. Everything is kept in `--out`; the same command resumes a run that was stopped.

    python benchmarks/agreement.py --out agreement
    python benchmarks/agreement.py --out small --families apc,cpc --tasks ks,ic --steps 20 --max-steps 50
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from superbench import load_results, pretrain, run, synthesize
from superbench.contract import Shots
from superbench.results.rank_correlation import Correlation, rank_correlation
from superbench.results.result import Result
from superbench.results.rows import Column, columns
from superbench.results.shots import centred, entry_at, in_words

FAMILIES = ("apc", "vq_apc", "cpc", "speech_gpt", "mockingjay", "tera", "hubert", "simclr", "byol", "distil")
TEACHERS = {"distil": "apc"}
BASELINES = ("fbank_no_cmvn", "fbank", "mfcc")
SHOWN: tuple[Shots, ...] = (0, 1, 5, 20, "all")
UNLABELLED = "LibriSpeech/train-clean-360"


@dataclass(frozen=True, slots=True)
class Table:
    """One task: its primary column, and both results of each model, in the order of the models."""

    column: Column
    few_shot: Mapping[str, Result]
    probes: Mapping[str, Result]

    @property
    def shots(self) -> list[Shots]:
        """The numbers of examples to show."""
        return [k for k in SHOWN if entry_at(next(iter(self.few_shot.values())), k) is not None]

    @property
    def floor(self) -> float:
        """The score of an answer that ignores the sound."""
        return next(iter(self.few_shot.values())).shots[-1].floor  # type: ignore[index]

    def without_gradient(self, model: str, k: Shots) -> float:
        """Returns the centred score at K, which the task must have."""
        entry = entry_at(self.few_shot[model], k)
        assert entry is not None, (self.column.task, k)
        return centred(entry.score, entry.floor, self.column)

    def with_heads(self, model: str) -> float:
        """Returns the centred score of the heads."""
        return centred(self.probes[model].scores[self.column.metric].value, self.floor, self.column)


def pretrained(families: Sequence[str], folder: Path, audio: Path, steps: int) -> list[str]:
    """Pretrains each family unless its checkpoint is there; returns their specs."""
    files = {family: folder / f"{family}.safetensors" for family in families}
    for family, file in files.items():
        if not file.exists():
            teacher = TEACHERS.get(family)
            pretrain(family, audio, file, steps=steps, teacher=f"{teacher}@{files[teacher]}" if teacher else None)
            print(f"pretrained {family}", flush=True)
    return [f"{family}={family}@{file}" for family, file in files.items()]


def both_protocols(specs: Sequence[str], asked: argparse.Namespace) -> None:
    """Runs all models under both protocols; a failed job ends the benchmark."""
    folder = asked.out
    places = {"data": folder / "data", "out": folder / "results", "store": folder / "store", "workers": asked.workers}
    for options in ({"protocol": "few-shot", "shots": SHOWN}, {"protocol": "mini", "max_steps": asked.max_steps}):
        report = run([*specs, *BASELINES], asked.tasks, device="cpu", **places, **options)
        for ended in report.of("failed", "absent"):
            raise SystemExit(f"{ended.job}: {ended.message}")
        print(f"{options['protocol']}: {len(report.ended)} jobs", flush=True)


def tables(results: Sequence[Result], models: Sequence[str]) -> Iterator[Table]:
    """Yields a table for each task that has both results of every model."""
    known = {(result.task.name, result.upstream.name, result.shots is not None): result for result in results}
    for column in columns(results):
        sides = [
            {model: known[column.task, model, untrained] for model in models if (column.task, model, untrained) in known}
            for untrained in (True, False)
        ]
        if column.primary and all(len(side) == len(models) for side in sides):
            yield Table(column, *sides)


def correlation(over: Sequence[Table], models: Sequence[str], k: Shots) -> Correlation | None:
    """Returns the rank correlation over the models, of the mean over tables."""
    few_shot = np.array([[table.without_gradient(model, k) for table in over] for model in models])
    probes = np.array([[table.with_heads(model) for table in over] for model in models])
    return rank_correlation(few_shot, probes)


def correlations(every: Sequence[Table], models: Sequence[str]) -> Iterator[str]:
    """Yields the lines of the table of rank correlations. A task without heads (QbE) has one score on both sides."""
    trained = [table for table in every if 1 in table.shots]
    yield from _head(["task", *(in_words(k) for k in SHOWN[1:])])
    rows = {table.column.task.upper(): [table] for table in trained} | {f"mean over these {len(trained)}": trained}
    for name, over in rows.items():
        yield _line([name, *(_correlation_text(correlation(over, models, k)) for k in SHOWN[1:])])


def scores(table: Table) -> Iterator[str]:
    """Yields the lines of one task: a row for each model, a column for each K, and the probes."""
    column = table.column
    unit, better = " %" if column.unit == "%" else "", "↑" if column.higher_is_better else "↓"
    yield f"**{column.task.upper()}, {column.metric}{unit} {better}** (floor {table.floor:.1f})\n"
    yield from _head(["model", *map(in_words, table.shots), "probes"])
    for model, result in table.few_shot.items():
        entries = [entry for k in table.shots if (entry := entry_at(result, k)) is not None]
        probe = table.probes[model].scores[column.metric]
        cells = [(entry.score, entry.ci) for entry in entries] + [(probe.value, probe.ci)]
        yield _line([model, *(_score_text(value, interval, 1 if column.unit == "%" else 3) for value, interval in cells)])
    yield ""


def _head(names: Sequence[str]) -> list[str]:
    return [_line(names), _line(["---"] * len(names)).replace(" ", "")]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _correlation_text(found: Correlation | None) -> str:
    return "–" if found is None else _score_text(found.value, found.interval, 2)


def _score_text(value: float, interval: tuple[float, float] | None, digits: int) -> str:
    text = f"{value:.{digits}f}" + (f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]" if interval else "")
    return text.replace("-", "−")


def main() -> None:
    """Reads the arguments, runs everything, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of corpora, models, store and results")
    parser.add_argument("--seed", type=int, default=23, help="seed of the miniature corpora")
    parser.add_argument("--families", default=",".join(FAMILIES), help="native models to pretrain")
    parser.add_argument("--tasks", default="all")
    parser.add_argument("--steps", type=int, default=200, help="updates of pretraining")
    parser.add_argument("--max-steps", type=int, help="the most updates of each head (those of the recipes)")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    families = asked.families.split(",")
    synthesize(asked.out / "data", asked.seed)
    specs = pretrained(families, asked.out, asked.out / "data" / UNLABELLED, asked.steps)
    both_protocols(specs, asked)
    models = [*families, *BASELINES]
    every = list(tables(load_results(asked.out / "results"), models))
    print("\n".join(correlations(every, models)) + "\n")
    for table in every:
        print("\n".join(scores(table)))


if __name__ == "__main__":
    main()
