"""The Python interface besides `run` behaves like the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import superbench


def test_every_public_name_can_be_imported() -> None:
    assert sorted(superbench.__all__) == sorted(set(superbench.__all__))
    for name in superbench.__all__:
        assert getattr(superbench, name) is not None
    assert set(superbench.__all__) <= set(dir(superbench))


def test_lists_are_those_of_the_command_line(call: Callable) -> None:
    for listing, rows in (("tasks", superbench.list_tasks()), ("upstreams", superbench.list_upstreams())):
        assert [row["name"] for row in json.loads(call("list", listing, "--json").stdout)] == [row.name for row in rows]
    assert {row.name for row in superbench.list_tasks()} >= {"pr", "asr", "ks", "qbe", "sid", "asv", "sd", "er", "ic", "sf"}
    hub = json.loads(call("list", "upstreams", "--hub", "torchaudio", "--json").stdout)
    assert hub == [{"name": row.name, "kind": row.kind} for row in superbench.list_upstreams("torchaudio")]


def test_a_check_says_what_the_command_says(call: Callable, tmp_path: Path) -> None:
    report = superbench.check("fbank", quick=True)
    assert report.kind == "upstream"
    assert report.healthy
    printed = json.loads(call("check", "fbank", "--json", "--quick").stdout)
    assert {name: printed[name] for name in report.facts} == report.facts
    text = (Path(__file__).parents[2] / "plugin" / "superbench_tones.py").read_text()
    (tmp_path / "sick.py").write_text(text.replace("* keep, count)", "* keep, count + 1)"))
    failing = superbench.check(f"{tmp_path / 'sick.py'}:Spectrum", quick=True)
    assert not failing.healthy
    assert failing.reasons


def test_results_are_loaded_and_compared(keyword_corpora: Path, warm_store: Path, tmp_path: Path) -> None:
    options = {"data": keyword_corpora, "out": tmp_path, "store": warm_store, "max_steps": 5, "workers": 1}
    superbench.run(["fbank", "mfcc"], "ks", **options)
    results = superbench.load_results(tmp_path)
    assert {result.upstream.name for result in results} == {"fbank", "mfcc"}
    (comparison,) = superbench.compare(tmp_path / "fbank", str(tmp_path / "mfcc"), items=2)
    assert comparison.task == "ks"
    assert comparison.metrics[0].paired is not None
    with pytest.raises(superbench.SuperbenchError, match=r"contains no result\.json"):
        superbench.load_results(tmp_path / "fbank" / "ks" / "nothing")


def test_a_forecast_is_that_of_the_plan(call: Callable, tmp_path: Path) -> None:
    estimate = superbench.forecast("fbank", "ks", protocol="superb-once", store=tmp_path)
    printed = json.loads(
        call("plan", "fbank", "--tasks", "ks", "--protocol", "superb-once", "--store", str(tmp_path), "--json").stdout
    )
    assert printed["plan"]["model_hours"] == estimate.plan.model_hours
    with pytest.raises(TypeError, match=r"no option 'out'"):
        superbench.forecast("fbank", "ks", out=tmp_path)  # type: ignore[call-arg]


def test_unknown_options_of_run_are_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"no option 'learning_rate'\. Did you mean learning_rates"):
        superbench.run(["fbank"], "ks", data=tmp_path, out=tmp_path, learning_rate=[1e-3])  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="needs out="):
        superbench.run(["fbank"], "ks", data=tmp_path)  # type: ignore[call-arg]


@pytest.mark.slow
def test_a_model_is_pretrained_and_sound_is_synthesized_as_on_the_command_line(tmp_path: Path) -> None:
    superbench.synthesize(tmp_path / "data", tasks="ks")
    with pytest.raises(superbench.SuperbenchError, match="--seed"):
        superbench.synthesize(tmp_path / "data", -1, "ks")
    out = tmp_path / "apc.safetensors"
    superbench.pretrain("apc", tmp_path / "data", out, steps=2)
    with pytest.raises(superbench.CommandError, match="--replace"):  # no file is overwritten unless asked
        superbench.pretrain("apc", tmp_path / "data", out, steps=3)
    superbench.pretrain("apc", tmp_path / "data", out, steps=3, replace=True)
    with pytest.raises(superbench.CommandError, match="cannot generate"):
        superbench.generate(out, next((tmp_path / "data").rglob("*.wav")))
