"""Many jobs: a failure affects no other job, finished jobs are not repeated, missing corpora are reported."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from superbench.errors import CommandError, MissingCorpus, UnknownName
from superbench.plugins import task
from superbench.results import read_predictions, read_result
from superbench.runs.jobs import Ended, NoWatcher
from superbench.runs.report import Report
from superbench.runs.run_plan import LOCK
from superbench.runs.runner import run
from superbench.system.locks import locked

SPEC = "fbank_no_cmvn"


def go(data: Path, folder: Path, tasks: str = "ks", **overrides: Any) -> Report:
    options = {"max_steps": 40, "workers": 1, "store": folder / "store", **overrides}
    return run([SPEC], tasks, data=data, out=folder / "out", **options)


def states(report: Report) -> dict[str, str]:
    return {ended.job.task: ended.state for ended in report.ended}


@pytest.fixture
def copy(keyword_corpora: Path, tmp_path: Path) -> Path:
    """A copy of the corpora, to be damaged."""
    return Path(shutil.copytree(keyword_corpora, tmp_path / "data"))


def test_a_result_agrees_with_its_predictions_and_is_reused(keyword_corpora: Path, warm_store: Path, tmp_path: Path) -> None:
    first = go(keyword_corpora, tmp_path, store=warm_store)
    assert states(first) == {"ks": "done"}
    place = tmp_path / "out" / SPEC / "ks"
    result = read_result(place)
    predictions = read_predictions(place / "predictions.jsonl.gz")
    assert task("ks").score(predictions, {})["accuracy"].value == result.scores["accuracy"].value
    assert [(prediction.fold, prediction.id) for prediction in predictions] == sorted(
        (prediction.fold, prediction.id) for prediction in predictions
    )
    assert result.deviations == ["at most 40 updates"]
    assert result.task.protocol == "mini"
    assert {receipt.lr for receipt in result.sweep} == set(task("ks").card.recipes["mini"].learning_rates)
    looks = list(csv.DictReader((place / "learning.csv").read_text().splitlines()))
    assert [int(look["step"]) for look in looks] == [20, 40] * len(result.sweep)
    for receipt in result.sweep:
        assert receipt.dev == max(float(look["dev"]) for look in looks if float(look["lr"]) == receipt.lr)
    stamp = (place / "result.json").stat().st_mtime_ns
    assert states(go(keyword_corpora, tmp_path, store=warm_store)) == {"ks": "found"}
    assert (place / "result.json").stat().st_mtime_ns == stamp
    lines = [json.loads(line) for line in (tmp_path / "out" / "ledger.jsonl").read_text().splitlines()]
    assert [line["state"] for line in lines] == ["done", "found"]


def test_other_options_are_another_job(keyword_corpora: Path, warm_store: Path, tmp_path: Path) -> None:
    go(keyword_corpora, tmp_path, store=warm_store)
    other_rates = go(keyword_corpora, tmp_path, store=warm_store, learning_rates=(1e-3,))
    assert states(other_rates) == {"ks": "done"}
    assert other_rates.results[0].deviations == ["learning rates 0.001 in place of the recipe's grid", "at most 40 updates"]


def test_all_runs_tasks_with_a_corpus_and_says_where_it_looked_for_the_others(
    keyword_corpora: Path, warm_store: Path, tmp_path: Path
) -> None:
    report = go(keyword_corpora, tmp_path, "all", store=warm_store)
    assert states(report).pop("ks") == "done"
    absent = {ended.job.task: ended.message for ended in report.of("absent")}
    assert set(absent) == {"pr", "asr", "qbe", "sid", "asv", "sd", "er", "ic", "sf"}
    assert str(keyword_corpora / "LibriSpeech") in absent["pr"]
    assert not report.of("failed")


def test_a_named_task_whose_corpus_is_absent_fails(keyword_corpora: Path, warm_store: Path, tmp_path: Path) -> None:
    report = go(keyword_corpora, tmp_path, "ks,ic", store=warm_store)
    assert states(report) == {"ks": "done", "ic": "failed"}


def test_a_truncated_wav_is_named_and_affects_no_other_result(copy: Path, warm_store: Path, tmp_path: Path) -> None:
    mfcc_report = run(["mfcc"], "ks", data=copy, out=tmp_path / "out", store=warm_store, max_steps=40, workers=1)
    assert states(mfcc_report) == {"ks": "done"}
    sound = sorted((copy / "SpeechCommands" / "speech_commands_test_set_v0.01" / "yes").glob("*.wav"))[3]
    intact = sound.read_bytes()
    sound.write_bytes(intact[: len(intact) // 2])
    report = go(copy, tmp_path, store=warm_store)
    assert states(report) == {"ks": "failed"}
    assert str(sound) in report.ended[0].message
    place = tmp_path / "out" / SPEC / "ks"
    failure = json.loads((place / "failure.json").read_text())
    assert set(failure) == {"task", "upstream", "error", "message"}
    assert (failure["task"], failure["upstream"], failure["error"]) == ("ks", SPEC, "BadAudio")
    assert not (place / "result.json").exists()
    assert (tmp_path / "out" / "mfcc" / "ks" / "result.json").exists()
    sound.write_bytes(intact)
    assert states(go(copy, tmp_path, store=warm_store)) == {"ks": "done"}
    assert not (place / "failure.json").exists()


def test_impossible_commands_are_refused_before_anything_is_written(keyword_corpora: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="fbank"):
        run(["fbnk"], "ks", data=keyword_corpora, out=tmp_path / "out")
    with pytest.raises(UnknownName, match="ks"):
        run(["fbank"], "kss", data=keyword_corpora, out=tmp_path / "out")
    with pytest.raises(CommandError, match="alias"):
        run(["fbank", "fbank"], "ks", data=keyword_corpora, out=tmp_path / "out")
    with pytest.raises(MissingCorpus, match="not a folder"):
        run(["fbank"], "ks", data=tmp_path / "nowhere", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_official_recipe_passes_only_its_fresh_crops_again(keyword_corpora: Path, tmp_path: Path) -> None:
    report = go(keyword_corpora, tmp_path, protocol="superb", max_steps=6)
    assert states(report) == {"ks": "done"}
    (ended,) = report.ended
    assert ended.sound_seconds < ended.passed_seconds < 1.2 * ended.sound_seconds
    assert ended.result is not None
    assert ended.result.deviations == ["at most 6 updates"]


def test_several_workers_give_the_results_of_one(keyword_corpora: Path, warm_store: Path, tmp_path: Path) -> None:
    specs = [SPEC, "mfcc"]
    one_worker = run(specs, "ks", data=keyword_corpora, out=tmp_path / "a", store=warm_store, max_steps=40, workers=1)
    two_workers = run(specs, "ks", data=keyword_corpora, out=tmp_path / "b", store=tmp_path / "store", max_steps=40, workers=2)
    assert {ended.state for ended in (*one_worker.ended, *two_workers.ended)} == {"done"}
    for spec in specs:
        files = [tmp_path / folder / spec / "ks" / "predictions.jsonl.gz" for folder in "ab"]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_job_locked_by_another_process_runs_last(keyword_corpora: Path, warm_store: Path, tmp_path: Path) -> None:
    """The lock is released when the other job has ended; then the first one runs."""
    place = tmp_path / "out" / SPEC / "ks"
    place.mkdir(parents=True)
    with contextlib.ExitStack() as held_lock:
        held_lock.enter_context(locked(place / LOCK, wait=True))

        class ReleaseLock(NoWatcher):
            def ended(self, ended: Ended) -> None:
                held_lock.close()

        specs = [SPEC, "mfcc"]
        options: dict[str, Any] = {"max_steps": 1, "workers": 1, "store": warm_store}
        report = run(specs, "ks", data=keyword_corpora, out=tmp_path / "out", watcher=ReleaseLock(), **options)
    assert [(ended.job.spec.alias, ended.state) for ended in report.ended] == [("mfcc", "done"), (SPEC, "done")]


def test_a_store_without_space_changes_no_result(keyword_corpora: Path, warm_store: Path, tmp_path: Path) -> None:
    roomy = go(keyword_corpora, tmp_path / "a", store=warm_store)
    tight = go(keyword_corpora, tmp_path / "b", store_gb=0.0)
    assert states(roomy) == states(tight) == {"ks": "done"}
    files = [next((tmp_path / name).glob("out/*/ks/predictions.jsonl.gz")) for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    without_store = go(keyword_corpora, tmp_path / "b", store_gb=0.0, max_steps=41)
    assert states(without_store) == {"ks": "done"}


def test_a_variant_is_a_deviation_of_the_task_that_knows_it_and_another_job(
    keyword_corpora: Path, warm_store: Path, tmp_path: Path
) -> None:
    plain = go(keyword_corpora, tmp_path, store=warm_store)
    varied = go(keyword_corpora, tmp_path, store=warm_store, variants=("sampled-dev", "reference-chunk-labels"), tasks="ks,sd")
    assert states(varied) == {"ks": "done", "sd": "failed"}  # whose corpus is absent
    deviations = next(ended.result.deviations for ended in varied.ended if ended.result)
    assert deviations == ["at most 40 updates", f"variant sampled-dev: {task('ks').card.variants['sampled-dev']}"]
    (plain_result,), (varied_result,) = plain.results, varied.results
    assert plain_result.data == varied_result.data.model_copy(
        update={"items": plain_result.data.items, "passport": plain_result.data.passport}
    )
    assert [row.dev for row in plain_result.sweep] != [row.dev for row in varied_result.sweep]


@pytest.mark.parametrize(("tasks", "name"), [("ks", "sampled"), ("ic", "sampled-dev"), ("all", "balanced-dev")])
def test_an_unknown_variant_is_refused_and_the_known_ones_are_named(
    keyword_corpora: Path, tmp_path: Path, tasks: str, name: str
) -> None:
    with pytest.raises(CommandError, match=f"--variant '{name}'.*ks: sampled-dev.*sd: reference-chunk-labels"):
        go(keyword_corpora, tmp_path, tasks, variants=(name,))
    assert not (tmp_path / "out").exists()


def test_one_hidden_state_alone_is_a_deviation_and_must_exist(keyword_corpora: Path, warm_store: Path, tmp_path: Path) -> None:
    alone = go(keyword_corpora, tmp_path, store=warm_store, layer=0)
    assert alone.results[0].deviations == ["at most 40 updates", "hidden state 0 alone in place of the weighted sum"]
    both = go(keyword_corpora, tmp_path, store=warm_store, layers=(0,), seeds=(0, 1))
    assert both.results[0].deviations == alone.results[0].deviations
    assert set(both.results[0].scores["accuracy"].over_seeds.values) == {"0", "1"}
    assert both.results[0].notes[0].startswith("seeds 0, 1: accuracy has the mean")
    options = {"data": keyword_corpora, "store": warm_store, "max_steps": 2, "workers": 1}
    (some,) = run(["apc:untrained"], "ks", out=tmp_path / "some", layers=(0, 2), **options).results
    assert some.deviations == ["at most 2 updates", "hidden states 0, 2 in place of all of them"]
    assert [weight == 0 for weight in some.layer_weights["all"]] == [
        layer not in (0, 2) for layer in range(some.upstream.layers)
    ]
    beyond = go(keyword_corpora, tmp_path, store=warm_store, layer=7)
    assert states(beyond) == {"ks": "failed"}
    assert "has the hidden states 0 to 0" in beyond.ended[0].message
