"""`--limit N` in a run: a deviation with results of its own, which the same limit finds again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from superbench.errors import CommandError
from superbench.results import Result, read_predictions
from superbench.results.grouping import grouped
from superbench.results.tables import load_results
from superbench.runs.options import Options
from superbench.runs.report import Report
from superbench.runs.runner import run

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def go(keyword_corpora: Path, warm_store: Path, tmp_path: Path) -> Callable[..., Report]:
    def performed(limit: int | None = None, protocol: str = "mini") -> Report:
        more = {"protocol": protocol, "limit": limit} | ({"max_steps": 20} if protocol == "mini" else {"shots": (1,)})
        places = {"data": keyword_corpora, "out": tmp_path / "out", "store": warm_store}
        return run(["fbank_no_cmvn"], "ks", workers=1, **places, **more)  # type: ignore[arg-type]

    return performed


def test_a_limited_run_is_a_job_of_its_own_and_is_never_ranked_beside_a_complete_one(
    go: Callable[..., Report], tmp_path: Path
) -> None:
    (few,), (complete,), (other,) = go(24).results, go().results, go(30).results
    assert few.deviations == ["at most 20 updates", "at most 24 items of each split"]
    assert complete.deviations == ["at most 20 updates"]
    assert few.data.items["test"] == 24
    assert [few.data.passport.counts[split] for split in ("train", "dev", "test")] == [24] * 3
    assert len({result.data.fingerprint for result in (few, complete, other)}) == 3
    assert not [note for note in few.notes if "in place of" in note]  # what --limit leaves out is no damage of the corpus
    folders = sorted(path.parent.parent.name for path in (tmp_path / "out").rglob("result.json"))
    assert len(folders) == 3
    assert any(folder.endswith("--limit-30--max-steps-20") or "--limit-30" in folder for folder in folders)
    assert [ended.state for report in (go(24), go(), go(30)) for ended in report.ended] == ["found"] * 3
    rows = [row for group in grouped(load_results(tmp_path / "out")) for row in group.rows]
    assert len(rows) == 3
    assert not any(cell.ranked for row in rows for cell in row.cells.values())


def test_its_predictions_are_those_of_the_items_that_remain(go: Callable[..., Report], tmp_path: Path) -> None:
    go(24)
    (path,) = (tmp_path / "out").rglob("predictions.jsonl.gz")
    assert len({prediction.id for prediction in read_predictions(path)}) == 24


def test_a_limit_above_the_size_of_every_split_is_the_complete_run(go: Callable[..., Report]) -> None:
    limited: Result = go(100_000).results[0]
    complete: Result = go().results[0]
    assert limited.deviations == complete.deviations == ["at most 20 updates"]
    assert limited.data.fingerprint == complete.data.fingerprint
    assert limited.scores == complete.scores


def test_few_shot_can_be_limited(go: Callable[..., Report]) -> None:
    (ended,) = go(24, "few-shot").ended
    assert ended.state == "done", ended.message
    assert ended.result is not None
    assert "at most 24 items of each split" in ended.result.deviations


@pytest.mark.parametrize("limit", [0, -3, 1.5, True])
def test_a_limit_that_is_no_number_of_items_is_one_sentence(limit: int) -> None:
    with pytest.raises(CommandError, match=r"--limit .*: expected a whole number, 1 or more\."):
        Options("mini", limit=limit)


@pytest.mark.parametrize("text", ["0", "-3", "few"])
def test_the_command_refuses_it_too(text: str, call: Call, keyword_corpora: Path, tmp_path: Path) -> None:
    places = ["--data", str(keyword_corpora), "--out", str(tmp_path / "out")]
    done = call("run", "fbank", "--tasks", "ks", *places, "--limit", text)
    assert done.returncode == 2
    assert "--limit" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_one_item_can_be_trained_on(go: Callable[..., Report]) -> None:
    assert [ended.state for ended in go(1).ended] == ["done"]
