"""Measures times in turns, so that other load on the machine affects all sides equally.

A figure of these benchmarks is a ratio of two times from one run. Both sides do a small piece of work in each round, one after
the other; the ratio is the median over the rounds of the ratio in each, so a slow minute moves both sides and not the figure.
One thread is the default: a run has a worker for each core, and with two threads under other load
the waiting times of the threads would be measured.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Timings:
    """Seconds of every side in every round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def median(self, side: str) -> float:
        """Median seconds of a side."""
        return statistics.median(self.seconds[side])

    def of_rounds(self, figure: Callable[[Mapping[str, float]], float]) -> float:
        """Median over the rounds of what `figure` makes of the seconds of all sides in one round."""
        rounds = [dict(zip(self.seconds, values, strict=True)) for values in zip(*self.seconds.values(), strict=True)]
        return statistics.median(figure(seconds) for seconds in rounds)

    def ratio(self, above: str, below: str) -> float:
        """Median over the rounds of `above` / `below`."""
        return self.of_rounds(lambda seconds: seconds[above] / seconds[below])


def in_turns(sides: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> Timings:
    """Seconds of each side, called in turns `rounds` times; `warm_up` rounds before them are not counted."""
    timings = Timings({name: [] for name in sides})
    for number in range(-warm_up, rounds):
        for name, work in sides.items():
            began = time.perf_counter()
            work()
            if number >= 0:
                timings.seconds[name].append(time.perf_counter() - began)
    return timings


def parser(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """A parser whose help text is the script's own docstring, with `--rounds`."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds, help=f"rounds of turns, of which medians are taken ({rounds})")
    return made


def model_parser(description: str | None, rounds: int, upstream: str) -> argparse.ArgumentParser:
    """The arguments that all scripts with a model share."""
    made = parser(description, rounds)
    made.add_argument("--upstream", default=upstream, help="the model, any spec of superbench (random HuBERT base)")
    made.add_argument("--threads", type=int, default=1, help="threads of torch on the CPU (1)")
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the model and the heads run (cpu)")
    return made


def settle(arguments: argparse.Namespace) -> None:
    """Sets the number of threads, and prints versions and device."""
    import torch

    torch.set_num_threads(arguments.threads)
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {arguments.device} ({where}), medians of {arguments.rounds} rounds")


def waited(work: Callable[[], object], device: str) -> Callable[[], object]:
    """`work`, which ends when the device has done what it was told."""
    if device != "cuda":
        return work
    import torch

    def done() -> None:
        work()
        torch.cuda.synchronize()

    return done


def show(ratio: float, meaning: str, goal: str = "") -> None:
    """The line that a benchmark is run for."""
    print(f"ratio {ratio:.3g}: {meaning}" + (f" (goal: {goal})" if goal else ""), flush=True)
