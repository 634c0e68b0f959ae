"""Comparison of two results: the differences, their order, and the paired interval."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import doubles
import numpy as np
import pytest

from superbench.__main__ import main
from superbench.contract import Prediction
from superbench.errors import BadResult, CommandError
from superbench.plugins import task
from superbench.results import Result, write_result
from superbench.results.diff.compare import compare
from superbench.results.diff.differences import FACETS, differences
from superbench.results.diff.paired import aligned, disagreements, paired
from superbench.results.diff.sides import side
from superbench.results.intervals import interval


def record(name: str = "apc", said: Sequence[Prediction] = (), kind: str = "ks", **more: Any) -> Result:
    return doubles.result(
        name, kind=kind, model={"params": 4_110_000, "layers": 3, "dim": 512},
        **{
            "scores": doubles.scores_of(kind, said) if said else {"accuracy": doubles.score_facts(50.0)},
            "sweep": [doubles.receipt(lr) for lr in (0.1, 0.01)],
            "data": {"fingerprint": "f", "items": {"test": len(said)}, "passport": {"hours": 1.0}},
            "environment": {"torch": "2.11", "device": "x86_64", "threads": 1, "date": "2026-01-02", "superbench": "0.1.0"},
            "certificate": {"batch mates": {"holds": True, "measured": "1e-7"}}, **more,
        },
    )  # fmt: skip


def words(right: int, speakers: int = 40, hard: Callable[[int], bool] = lambda n: False) -> list[Prediction]:
    """Two words of each speaker; those of the first `right` speakers are recognised, except for the hard speakers."""
    return [
        Prediction(f"{word}/{n:02}.wav", "all", (f"s{n:02}",), word, word if n < right and not hard(n) else "stop")
        for n in range(speakers)
        for word in ("no", "yes")
    ]


def stored(root: Path, said: Sequence[Prediction], name: str = "apc", kind: str = "ks", **more: Any) -> Path:
    write_result(root / kind, record(name, said, kind, **more), said)
    return root


# ---------------------------------------------------------------- what differs


CHANGES: dict[str, dict[str, Any]] = {
    "task version": {"task": {"name": "ks", "version": 2, "protocol": "mini"}},
    "protocol": {"task": {"name": "ks", "version": 1, "protocol": "superb"}},
    "data fingerprint": {"data": {"fingerprint": "g", "items": {"test": 0}, "passport": {"hours": 1.0}}},
    "items": {"data": {"fingerprint": "f", "items": {"test": 7}, "passport": {"hours": 1.0}}},
    "deviations": {"deviations": ["at most 4 updates"]},
    "upstream revision": {"upstream": {"name": "apc", "revision": "s", "params": 1, "hop": 160, "layers": 3, "dim": 512}},
    "hidden states": {"upstream": {"name": "apc", "revision": "r", "params": 1, "hop": 160, "layers": 4, "dim": 512}},
    "stride (ms)": {"upstream": {"name": "apc", "revision": "r", "params": 1, "hop": 320, "layers": 3, "dim": 512}},
    "learning rate": {"chosen": {"all": {"lr": 0.01, "seed": 0, "step": 10, "setting": {}}}},
    "setting": {"chosen": {"all": {"lr": 0.1, "seed": 0, "step": 10, "setting": {"layer": 2}}}},
    "sweep": {"sweep": [{"fold": "all", "lr": 0.1, "seed": 0, "dev": 50.0, "steps": 10}] * 2},
    "seeds": {"sweep": [{"fold": "all", "lr": lr, "seed": 1, "dev": 50.0, "steps": 10} for lr in (0.1, 0.01)]},
    "best step": {"chosen": {"all": {"lr": 0.1, "seed": 0, "step": 20, "setting": {}}}},
    "data passport": {"data": {"fingerprint": "f", "items": {"test": 0}, "passport": {"hours": 2.0}}},
    "doctor's findings": {"certificate": {"batch mates": {"holds": False, "measured": "0.2"}}},
    "notes": {"notes": ["3 pieces of sound at 8000 Hz were resampled to 16000 Hz"]},
    "dtype": {"environment": {"dtype": "float16"}},
    "device": {"environment": {"device": "H100"}},
    "superbench": {"environment": {"superbench": "0.2.0"}},
    "packages": {"environment": {"torch": "2.12"}},
    "environment": {"environment": {"cudnn": "9"}},
    "threads": {"environment": {"threads": 8}},
    "machine": {"environment": {"platform": "Linux"}},
    "date": {"environment": {"date": "2026-01-03"}},
}


@pytest.mark.slow
@pytest.mark.parametrize("what", CHANGES)
def test_each_fact_that_differs_is_found_alone(what: str) -> None:
    change = CHANGES[what]
    if "environment" in change:
        change = {"environment": record().environment | change["environment"]}
    (found,) = differences(record(), record(**change))
    assert found.what == what
    assert found.a != found.b
    assert found.why


def test_every_facet_is_tested_and_two_equal_results_have_no_difference() -> None:
    assert list(CHANGES) == [facet.what for facet in FACETS]
    assert differences(record(), record("another name")) == []


def test_the_most_important_difference_comes_first() -> None:
    environment = record().environment | {"date": "2026-02-03", "torch": "2.12"}
    other = record(**CHANGES["protocol"], **CHANGES["learning rate"], **CHANGES["deviations"], environment=environment)
    assert [one.what for one in differences(record(), other)] == ["protocol", "deviations", "learning rate", "packages", "date"]


# ---------------------------------------------------------------- by how much


def test_pairing_finds_a_difference_that_overlapping_intervals_hide() -> None:
    """Half of the speakers are hard for both; B recognises three more of the others."""
    a, b = (words(right, 60, lambda n: n % 2 == 0) for right in (52, 60))
    one, other = (task("ks").score(said, {})["accuracy"] for said in (a, b))
    (low_a, high_a, _), (low_b, high_b, _) = interval(a, one), interval(b, other)
    assert low_b < high_a
    found = paired(a, one, other)
    assert found.difference == pytest.approx(100 * 4 / 60)
    assert found.interval is not None
    assert 0 < found.interval[0] < found.difference < found.interval[1]
    assert found.interval[1] - found.interval[0] < (high_a - low_a + high_b - low_b) / 2
    assert found.verdict == "b"


@pytest.mark.slow
def test_an_interval_of_the_difference_is_that_of_resampled_speakers_worked_out_by_hand() -> None:
    random = np.random.default_rng(3)
    right = random.random((2, 50)) < np.array([[0.4], [0.6]])
    a, b = (
        [Prediction(f"{n:02}", "all", (f"s{n:02}",), "yes", "yes" if good else "no") for n, good in enumerate(row)]
        for row in right
    )
    scores = [task("ks").score(said, {})["accuracy"] for said in (a, b)]
    found = paired(a, *scores)
    gains = 100 * (right[1].astype(float) - right[0])
    means = [gains[random.integers(0, 50, 50)].mean() for _ in range(20_000)]
    tail = 0.0212  # what `interval` takes in place of 0.025 for 50 groups (see its docstring)
    assert found.interval == pytest.approx(tuple(np.quantile(means, [tail, 1 - tail])), abs=2.5)  # gains come in steps of 2


def test_lower_is_better_where_errors_are_counted() -> None:
    a, b = (
        [Prediction(f"{n:02}", "all", (f"s{n:02}",), "A B C D", said) for n in range(30)] for said in ("A B C D", "A B C X")
    )
    scores = [task("asr").score(side, {})["wer"] for side in (a, b)]
    assert (paired(a, *scores).difference, paired(a, *scores).verdict) == (25.0, "a")
    assert paired(a, scores[0], scores[0]).verdict == "tie"


def test_what_is_not_the_same_test_is_not_paired() -> None:
    said = words(30)
    assert "1 only in A, 0 only in B" in aligned(said, said[1:])
    changed = [Prediction(said[0].id, "all", said[0].group, "left", "left"), *said[1:]]
    assert aligned(said, changed) == "the references of 1 test items differ"
    ordered = sorted(said, key=lambda one: one.id)
    assert aligned(said, said[::-1]) == (ordered, ordered)


def test_items_speak_for_the_side_that_does_better_on_them_by_the_points_that_they_make() -> None:
    reference = ["A B C D", "A B", "A B C D E F"]
    sides = (["A B C D", "A B", "A B C D E F"], ["A", "A B", "A B C D E X"])
    a, b = (
        [Prediction(str(n), "all", (str(n),), *pair) for n, pair in enumerate(zip(reference, said, strict=True))]
        for said in sides
    )
    scores = (task("asr").score(a, {})["wer"], task("asr").score(b, {})["wer"])
    found = disagreements(a, b, scores, 5)
    assert [(one.id, one.gain) for one in found] == [("0", -25.0), ("2", -8.3333)]  # 3 and 1 of 12 words


@pytest.mark.parametrize(("kind", "metric"), [("asr", "wer"), ("ks", "accuracy"), ("sf", "slot_type_f1"), ("sd", "der")])
def test_the_points_of_all_items_make_up_the_difference(kind: str, metric: str) -> None:
    random = np.random.default_rng(5)
    said: dict[str, Callable[[], Any]] = {
        "asr": lambda: " ".join(random.choice(list("ABC"), 5)),
        "ks": lambda: str(random.choice(["yes", "no"])),
        "sf": lambda: str(random.choice(["B-a X E-a", "B-b Y E-b", "B-a X E-a B-b Y E-b"])),
        "sd": lambda: [[0.0, float(random.integers(1, 9)), "0"]],
    }
    truth, one, other = ([said[kind]() for _ in range(40)] for _ in range(3))
    a, b = (
        [Prediction(f"{n:02}", "all", (str(n),), *pair) for n, pair in enumerate(zip(truth, side, strict=True))]
        for side in (one, other)
    )
    scores = (task(kind).score(a, {})[metric], task(kind).score(b, {})[metric])
    sign = 1 if scores[0].higher_is_better else -1
    total = sum(one.gain for one in disagreements(a, b, scores, 100))
    assert total == pytest.approx(sign * (scores[1].value - scores[0].value), abs=0.01)


def test_trials_speak_by_their_rank() -> None:
    values = [[0.9, 0.1, 0.5, 0.4], [0.9, 0.8, 0.5, 0.4]]
    a, b = ([Prediction(f"t{n}", "all", ("g",), int(n < 2), v) for n, v in enumerate(row)] for row in values)
    scores = (task("asv").score(a, {})["eer"], task("asv").score(b, {})["eer"])
    first, *_ = disagreements(a, b, scores, 1)
    assert (first.id, first.gain) == ("t1", 50.0)  # a target that B ranks third of four instead of first


# ---------------------------------------------------------------- sides


@pytest.mark.slow
def test_upstreams_folders_are_compared_by_task(tmp_path: Path) -> None:
    a, b = stored(tmp_path / "a", words(20)), stored(tmp_path / "b", words(36), "tera")
    stored(a, [Prediction(f"{n}-2-3", "all", (str(n),), "A", "A") for n in range(3)], kind="asr")
    one, other = side(str(a)), side(str(b))
    (found,) = compare(one, other)
    assert (found.task, found.unpaired, found.warnings) == ("ks", "", [])
    assert found.metrics[0].paired is not None
    assert found.metrics[0].paired.verdict == "b"
    assert side(str(b / "ks" / "result.json")).tasks == side(str(b / "ks")).tasks == ["ks"]
    with pytest.raises(CommandError, match="Not on both sides: asr"):
        compare(one, other, ["asr"])


def test_a_score_that_its_predictions_do_not_give_is_pointed_out(tmp_path: Path) -> None:
    a, b = stored(tmp_path / "a", words(20)), stored(tmp_path / "b", words(36))
    text = (b / "ks/result.json").read_text()
    (b / "ks/result.json").write_text(text.replace('"value": 90.0', '"value": 99.0'))
    (found,) = compare(side(str(a)), side(str(b)))
    assert found.warnings == [
        f"B: {b / 'ks/result.json'} is damaged: its content has changed since it was written. Run the task again.",
        "B: its predictions give accuracy 90.0000, but its result contains 99.0000.",
    ]
    (found,) = compare(side(str(b)), side("published:HuBERT Base"))
    assert "A: " in found.warnings[0]


def test_a_published_row_is_found_by_its_name_and_compared_either_way(tmp_path: Path) -> None:
    mine = side(str(stored(tmp_path, words(20))))
    row = side("published:hubert base")
    (found,) = compare(mine, row)
    assert found.metrics[0].b is not None
    assert found.metrics[0].b.value == 96.3
    assert found.unpaired == "a published row has no predictions"
    facts = {one.what: (one.a, one.b) for one in found.differences}
    assert facts["protocol"] == ("mini", "superb")
    assert facts["parameters"] == (4_110_000, 94_680_000)
    (turned,) = compare(row, mine)
    assert {one.what: (one.b, one.a) for one in turned.differences} == facts
    assert len(compare(row, side("published:WavLM Large"))) == 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [("published:hubert bse", "published:HuBERT Base"), ("nowhere", "published table"), ("several", "2 upstreams")],
)
def test_what_cannot_be_compared_says_what_could(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stored(tmp_path / "several" / "one", words(3))
    stored(tmp_path / "several" / "two", words(3), "two")
    with pytest.raises(CommandError, match=message):
        side(text)


def test_an_empty_folder_holds_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(BadResult, match=r"no result\.json"):
        side(str(tmp_path))


@pytest.mark.slow
def test_the_command_prints_tables_or_json_and_refuses_with_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = stored(tmp_path / "a", words(20)), stored(tmp_path / "b", words(36), "tera", **CHANGES["learning rate"])

    def call(*arguments: str) -> object:
        monkeypatch.setattr(sys, "argv", ["superbench", "diff", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0

    assert call(str(a), str(b)) == 0
    shown = capsys.readouterr().out
    assert "B is better" in shown
    assert "learning rate" in shown
    assert call(str(a), str(b), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["what"] for one in found["tasks"]["ks"]["differences"]] == ["learning rate"]
    assert found["tasks"]["ks"]["metrics"][0]["paired"]["difference"] == 40.0
    assert call(str(a), "published:Nobody") == 2
    assert call(str(a), str(b), "--tasks", "pr") == 2
    assert call(str(a)) == 2
