"""The remaining time of a run, with a simulated clock: plausible, whatever the first jobs are."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from superbench.cli.display import RunDisplay
from superbench.cli.remaining_time import left
from superbench.data.synthesis import synthesize
from superbench.plugins import parse, tasks
from superbench.runs.asked import asked
from superbench.runs.banner import banner
from superbench.runs.history import History
from superbench.runs.jobs import Ended, Job, NoWatcher, State
from superbench.runs.pace import Pace
from superbench.runs.runner import run as superbench_run


class Clock:
    """A clock with a time that the test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def job(task: str, upstream: str = "fbank") -> Job:
    return Job(parse(upstream), task)


class Run:
    """A run whose jobs take the time that the test gives."""

    def __init__(self, shares: Mapping[Job, float]) -> None:
        self.clock = Clock()
        self.pace = Pace(self.clock)
        self.pace.planned(shares)

    def took(self, one: Job, seconds: float, state: State = "done") -> float | None:
        self.pace.started(one)
        self.clock.now += seconds
        assert self.pace.ended(Ended(one, state)) == pytest.approx(seconds)
        return self.pace.remaining()


def test_nothing_is_said_before_a_job_was_done() -> None:
    run = Run({job("ks"): 1.0, job("pr"): 1.0, job("sd"): 1.0, job("er"): 1.0})
    assert run.took(job("ks"), 0.0, "found") is None
    assert run.took(job("pr"), 0.0, "absent") is None
    assert run.took(job("sd"), 9.0, "failed") is None


def test_a_task_takes_as_long_for_the_next_upstream() -> None:
    run = Run({job("ks", name): 1.0 for name in ("fbank", "mfcc", "apc:untrained")})
    assert run.took(job("ks"), 30.0) == pytest.approx(60.0)
    assert run.took(job("ks", "mfcc"), 10.0) == pytest.approx(20.0)


def test_a_task_not_seen_yet_counts_by_its_share() -> None:
    run = Run({job("ks"): 100.0, job("pr"): 300.0})
    assert run.took(job("ks"), 20.0) == pytest.approx(60.0)


@pytest.mark.parametrize("share", [0.0, 1e-12, 1.0])
@pytest.mark.parametrize("seconds", [0.0, 0.001, 12.0])
def test_a_first_job_without_a_share_of_the_work_says_nothing_absurd(share: float, seconds: float) -> None:
    shares = {job("qbe"): share} | {job(task): 150_000.0 for task in ("pr", "asr", "sf", "asv")}
    left_over = Run(shares).took(job("qbe"), seconds)
    assert left_over is not None
    assert left_over <= 20 * len(shares) * max(seconds, 0.01)


def test_all_shares_zero_are_equal_shares() -> None:
    assert Run({job("qbe"): 0.0, job("tone"): 0.0}).took(job("qbe"), 5.0) == pytest.approx(5.0)


def test_a_plugin_with_a_recipe_of_another_scale_spoils_nothing() -> None:
    shares = {job("tone"): 1e12, job("ks"): 60_000.0, job("pr"): 170_000.0, job("ks", "mfcc"): 60_000.0}
    run = Run(shares)
    run.took(job("tone"), 10.0)
    after = run.took(job("ks"), 20.0)
    assert after is not None
    assert 20.0 <= after < 120.0


def test_jobs_that_were_there_failed_or_are_absent_cost_nothing_and_say_nothing() -> None:
    shares = {job(task, name): 100.0 for name in ("fbank", "mfcc") for task in ("ks", "pr", "sd", "er")}
    run = Run(shares)
    run.took(job("ks"), 0.0, "found")
    run.took(job("sd"), 0.0, "absent")
    run.took(job("er"), 1.0, "failed")
    assert run.took(job("pr"), 40.0) == pytest.approx(3 * 40.0)  # sd is absent for mfcc as well


def test_workers_share_the_rest_but_no_job_is_cut_in_two() -> None:
    run = Run({job(task, name): 1.0 for name in ("fbank", "mfcc") for task in ("ks", "pr", "sd")})
    run.pace.started(job("pr"))
    assert run.took(job("ks"), 30.0) == pytest.approx(4 * 30.0 / 2)  # the running one is due, four wait, two at once
    run.pace.ended(Ended(job("pr"), "done"))
    for other in (job("ks", "mfcc"), job("pr", "mfcc"), job("sd")):
        run.pace.ended(Ended(other, "found"))
    assert run.pace.remaining() == pytest.approx(30.0)


def test_a_job_that_runs_counts_for_what_it_still_needs() -> None:
    run = Run({job("ks"): 1.0, job("ks", "mfcc"): 1.0})
    run.took(job("ks"), 30.0)
    run.pace.started(job("ks", "mfcc"))
    run.clock.now += 20.0
    assert run.pace.remaining() == pytest.approx(10.0)
    run.clock.now += 900.0
    assert run.pace.remaining() == pytest.approx(460.0)  # half of the time that it has taken, since nothing else is known


@pytest.mark.parametrize("protocol", ["mini", "superb"])
def test_no_share_of_a_real_run_is_near_zero(protocol: Any, tmp_path: Path) -> None:
    shares = asked(["fbank"], data=tmp_path, out=tmp_path, protocol=protocol).jobs.values()
    assert len(shares) == len(tasks())
    assert min(shares) > 0
    if protocol == "mini":
        assert max(shares) < 20 * min(shares)


@pytest.mark.parametrize("seconds", [0.0, 0.4, 1.0, 29.6, 59.4, 59.6, 61.0, 3599.0, 1e5, 1e9])
def test_it_is_told_in_a_unit_that_leaves_one_at_least(seconds: float) -> None:
    number = float(left(seconds).split()[1])
    assert number >= 1
    assert left(seconds).split()[2] == ("s" if round(seconds) < 60 else left(seconds).split()[2])


def test_the_line_of_a_job_says_it() -> None:
    clock, text = Clock(), io.StringIO()
    progress = Progress(console=Console(file=text, width=120), disable=True)
    display = RunDisplay(progress, clock)
    shares = {job(task): share for task, share in (("qbe", 0.0), ("pr", 144_000.0), ("ks", 32_000.0))}
    display.planned(shares)
    for one, seconds in zip(shares, (7.0, 30.0, 10.0), strict=True):
        display.started(one)
        clock.now += seconds
        display.ended(Ended(one, "done"))
    lines = text.getvalue().splitlines()
    assert [line.split("(")[1] for line in lines] == ["1/3, about 7.0 min left)", "2/3, about 8 s left)", "3/3)"]


# ---------------------------------------------------------------- earlier runs


SHARES = {"ks": 100.0, "pr": 400.0, "sd": 300.0}


def history(root: Path, conditions: str = "mini cpu") -> History:
    (root / "locks").mkdir(exist_ok=True)
    return History(root, conditions)


def planned(root: Path, *upstreams: str, conditions: str = "mini cpu") -> Run:
    shares = {job(task, name): share for name in upstreams for task, share in SHARES.items()}
    return Run(history(root, conditions).expected(shares))


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A store in which `apc` did all three tasks, and `fbank` one."""
    for task, seconds in (("ks", 10.0), ("pr", 90.0), ("sd", 50.0)):
        history(tmp_path).add(job(task, "apc"), SHARES[task], seconds)
    history(tmp_path).add(job("ks", "fbank"), SHARES["ks"], 5.0)
    return tmp_path


def test_a_kind_of_upstream_that_was_run_before_has_a_remaining_time_from_the_start(earlier: Path) -> None:
    run = planned(earlier, "mine=apc:seed=3@other.safetensors")
    assert run.pace.remaining() == pytest.approx(150.0)
    run.pace.started(job("ks", "mine=apc:seed=3@other.safetensors"))
    run.clock.now += 4.0
    assert run.pace.remaining() == pytest.approx(146.0)


def test_much_shorter_jobs_say_nothing_of_long_ones(earlier: Path) -> None:
    for apart, told in ((10.0, True), (10.1, False), (1 / 10.1, False)):
        work = history(earlier).expected({job("ks", "apc"): apart * SHARES["ks"]})
        assert bool(work.seconds) is told
    assert not history(earlier).expected({job("ks", "apc"): 1e6}).guesses


def test_the_share_of_a_job_grows_with_its_updates_and_probes(tmp_path: Path) -> None:
    synthesize(tmp_path / "data", 0, "ks")

    def share(**options: Any) -> float:
        (found,) = asked(["fbank"], "ks", data=tmp_path / "data", out=tmp_path, device="cpu", **options).jobs.values()
        return found

    few, usual, many = share(max_steps=10), share(), share(max_steps=10_000)
    assert few < usual < many
    assert share(seeds=(0, 1, 2)) > 2 * share(learning_rates=(1e-3,))


def test_a_machine_of_half_the_speed_doubles_what_remains(earlier: Path) -> None:
    assert planned(earlier, "apc").took(job("ks", "apc"), 20.0) == pytest.approx(2 * (90.0 + 50.0))


def test_a_task_that_this_kind_has_not_done_counts_by_its_recipe(earlier: Path) -> None:
    run = planned(earlier, "fbank")
    assert run.pace.remaining() == pytest.approx(5.0 + (400.0 + 300.0) * 5.0 / 100.0)  # at the pace of this kind
    unknown = planned(earlier, "mfcc")
    assert unknown.pace.remaining() == pytest.approx(800.0 * 155.0 / 900.0)  # at the pace of all kinds


def test_another_length_of_the_recipe_scales_the_time(earlier: Path) -> None:
    run = Run(history(earlier).expected({job("pr", "apc"): 40.0}))
    assert run.pace.remaining() == pytest.approx(9.0)


def test_jobs_that_will_run_at_once_share_the_time_before_any_has_started(earlier: Path) -> None:
    jobs = {job(task, "apc"): share for task, share in SHARES.items()}
    alone, together, many = (Run(history(earlier).expected(jobs, count)).pace.remaining() for count in (1, 2, 50))
    assert together == pytest.approx(max(alone / 2, 90.0))
    assert many == pytest.approx(90.0)  # that of the longest job


def test_earlier_runs_take_the_place_of_the_rough_estimate(earlier: Path, keyword_corpora: Path) -> None:
    checked = asked(["apc:untrained"], "ks", data=keyword_corpora)
    for one, share in checked.jobs.items():
        history(earlier).add(one, share, 10.0)
    rough = banner(checked, keyword_corpora, checked.jobs, 2)
    known = banner(checked, keyword_corpora, history(earlier).expected(checked.jobs), 2)
    assert rough[:-1] == known
    assert rough[-1].startswith("expected time: very roughly")


def test_what_this_run_shows_of_the_same_kind_counts_more(earlier: Path) -> None:
    run = planned(earlier, "apc", "b=apc")
    run.took(job("ks", "apc"), 12.0)
    rest = 12.0 + 2 * (90.0 + 50.0) * 1.2
    assert run.pace.remaining() == pytest.approx(rest)


@pytest.mark.parametrize("conditions", ["superb cpu", "mini cuda"])
def test_other_conditions_tell_nothing(earlier: Path, conditions: str) -> None:
    assert planned(earlier, "apc", conditions=conditions).pace.remaining() is None


def test_only_the_last_durations_count(earlier: Path) -> None:
    for seconds in (100.0, 30.0, 30.0, 30.0, 30.0, 1000.0):
        history(earlier).add(job("ks", "apc"), SHARES["ks"], seconds)
    assert Run(history(earlier).expected({job("ks", "apc"): 100.0})).pace.remaining() == pytest.approx(30.0)


def test_a_damaged_history_is_none_and_is_written_anew(earlier: Path) -> None:
    (file,) = earlier.glob("*.json")
    file.write_text(file.read_text().replace("90.0", "9.0"))
    assert planned(earlier, "apc").pace.remaining() is None
    history(earlier).add(job("ks", "apc"), 100.0, 7.0)
    assert Run(history(earlier).expected({job("ks", "apc"): 100.0})).pace.remaining() == pytest.approx(7.0)


def test_the_display_tells_it_before_the_first_job(earlier: Path) -> None:
    text = io.StringIO()
    display = RunDisplay(Progress(console=Console(file=text, width=120), disable=True), Clock())
    display.planned(history(earlier).expected({job(task, "apc"): share for task, share in SHARES.items()}))
    assert text.getvalue().strip() == "3 jobs, about 2.5 min left, as far as earlier runs tell"


def test_a_run_leaves_its_durations_in_the_store(keyword_corpora: Path, warm_store: Path, tmp_path: Path) -> None:
    class Planned(NoWatcher):
        """Keeps what it is told of the jobs."""

        jobs: Any = None

        def planned(self, shares: Mapping[Job, float]) -> None:
            self.jobs = shares

    def go(out: str) -> dict[Job, float]:
        watcher = Planned()
        places = {"data": keyword_corpora, "out": tmp_path / out, "store": warm_store}
        report = superbench_run(["fbank_no_cmvn"], "ks", workers=1, max_steps=20, watcher=watcher, **places)  # type: ignore[arg-type]
        assert [ended.state for ended in report.ended] == ["done"]
        return watcher.jobs.seconds  # type: ignore[no-any-return]

    go("first")
    ((expected,),) = (go("second").values(),)
    assert 0 < expected < 600
