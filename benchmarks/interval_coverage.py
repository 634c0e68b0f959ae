"""How often does a 95 % interval contain the true value? `python benchmarks/interval_coverage.py`

Word error rates of 10 % are drawn whose truth is known: speakers have rates of their own (beta(2, 18), so a standard deviation
of 6.5 points, skewed as error rates are) and 5 to 15 utterances of 3 to 19 words. For each number of speakers the interval of
many such corpora is computed by `superbench.results.intervals`; the share that contains 10 % should be 95 %. Nothing is timed.
"""

from __future__ import annotations

import argparse

import numpy as np
import paired

from superbench.contract import Prediction, Score
from superbench.contract.scoring import ratio
from superbench.results.intervals import interval

TRUTH = 10.0


def main(argv: list[str] | None = None) -> None:
    """Prints a line for each number of groups, and the ratio to 95 % of the share that contains the true value."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--groups", default="4,10,20,30,50,100", help="numbers of speakers (4,10,20,30,50,100)")
    made.add_argument("--corpora", type=int, default=2_000, help="corpora drawn for each (2000)")
    options = made.parse_args(argv)
    for groups in map(int, options.groups.split(",")):
        share, below, above, width, method = coverage(groups, options.corpora)
        paired.show(
            share / 0.95,
            f"{groups} groups: {100 * share:.1f} % of the intervals contain the truth, {100 * below:.1f} % lie below it, "
            f"{100 * above:.1f} % above; width {width:.1f} points; {method}",
            "1",
        )


def coverage(groups: int, corpora: int) -> tuple[float, float, float, float, str]:
    """Returns the shares of intervals that contain the truth, lie below it and above it, their mean width, and the method."""
    found = [interval(*corpus(groups, seed)) for seed in range(corpora)]
    ends = np.array([(low, high) for low, high, _ in found])
    below, above = ends[:, 1] < TRUTH, ends[:, 0] > TRUTH
    return (
        float(1 - (below | above).mean()),
        float(below.mean()),
        float(above.mean()),
        float(np.ptp(ends, 1).mean()),
        found[0][2],
    )


def corpus(groups: int, seed: int) -> tuple[list[Prediction], Score]:
    """Utterances of `groups` speakers, gathered by speaker (which changes no interval), and their error rate."""
    random = np.random.default_rng([seed, groups])
    rates = random.beta(2, 18, groups)
    words = np.array([random.integers(3, 20, random.integers(5, 16)).sum() for _ in range(groups)])
    errors = random.binomial(words, rates)
    lines = [Prediction(str(n), "all", (str(n),), "", "") for n in range(groups)]
    return lines, ratio(errors, words, higher_is_better=False, counts={})


if __name__ == "__main__":
    main()
