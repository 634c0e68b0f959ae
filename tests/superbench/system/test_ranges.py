"""Numbers that the user gives: out of range, they are an error before any work, in Python and on the command line."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from superbench import plugins
from superbench.data.synthesis import synthesize
from superbench.errors import CommandError
from superbench.runs.options import Options
from superbench.runs.runner import run
from superbench.system.progress import Silence
from superbench.training.pretraining.generation import generate
from superbench.training.pretraining.pretrain import pretrain

REFUSED: list[tuple[dict[str, Any], str]] = [
    *(
        ({"learning_rates": [1e-3, rate]}, "--lr .*finite number above 0")
        for rate in (math.nan, math.inf, -math.inf, -1.0, 0.0)
    ),
    ({"learning_rates": [1e-3, 1e-3]}, "--lr: 0.001 is given twice"),
    ({"learning_rates": []}, "--lr: expected one number or more"),
    ({"seeds": [0, -1]}, "--seeds -1"),
    ({"seeds": [0, 0]}, "--seeds: 0 is given twice"),
    ({"seeds": []}, "--seeds: expected one number or more"),
    ({"seeds": [2**70]}, "--seeds 1180591620717411303424"),
    ({"seeds": [0.5]}, "--seeds 0.5: expected a whole number"),
    ({"max_steps": 0}, "--max-steps 0: expected a whole number, 1 or more"),
    ({"layer": -1}, "--layer -1: expected a whole number, 0 or more"),
    ({"layers": [0, -1]}, "--layers -1: expected a whole number, 0 or more"),
    ({"layers": [1, 1]}, "--layers: 1 is given twice"),
    ({"layers": [1], "layer": 1}, "--layer and --layers exclude each other"),
    *(({"chunk_seconds": seconds}, "--chunk .*finite number, 1 or more") for seconds in (math.nan, math.inf, -1.0, 0.0)),
    ({"precision": "float16"}, "--precision 'float16'"),
    ({"device": "gpu"}, "--device 'gpu'"),
    ({"workers": 0}, "--workers 0"),
    *(({"batch_seconds": seconds}, "--batch-seconds .*finite number, 1 or more") for seconds in (math.nan, math.inf, 0.5)),
    ({"readers": 0}, "--readers 0"),
    *(({"store_gb": size}, "--store-gb .*finite number, 0 or more") for size in (math.nan, math.inf, -1.0)),
]


@pytest.mark.parametrize(("asked", "said"), REFUSED, ids=str)
def test_a_run_refuses_what_no_run_can_have(asked: dict[str, Any], said: str, keyword_corpora: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=said):
        run(["mfcc"], "ks", data=keyword_corpora, out=tmp_path / "out", store=tmp_path / "store", **asked)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", ["nan", "inf", "-1", "0", "1e400"])
def test_the_command_says_it_in_one_sentence(
    rate: str, call: Callable[..., subprocess.CompletedProcess[str]], keyword_corpora: Path, tmp_path: Path
) -> None:
    done = call("run", "mfcc", "--tasks", "ks", "--data", str(keyword_corpora), "--out", str(tmp_path / "out"), "--lr", rate)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"superbench: --lr {float(rate):g}: expected a finite number above 0.\n"


def test_ordinary_numbers_pass() -> None:
    assert Options("mini", learning_rates=(1e-5, 1.0), seeds=(0, 7), max_steps=1, layer=0, chunk_seconds=1.0).seeds == (0, 7)


@pytest.mark.parametrize("option", [{"steps": 0}, {"seed": -1}, {"accumulate": 0}])
def test_pretraining_refuses_them(option: dict[str, int], tmp_path: Path) -> None:
    given: dict[str, Any] = {"steps": 1, "seed": 0, **option}
    with pytest.raises(CommandError, match="expected a whole number"):
        pretrain("apc", tmp_path, tmp_path / "out" / "apc.safetensors", device="cpu", reporter=Silence(), **given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "option", [{"seconds": math.nan}, {"seconds": -1.0}, {"temperature": 0.0}, {"temperature": math.inf}, {"seed": -1}]
)
def test_generating_refuses_them(option: dict[str, float], tmp_path: Path) -> None:
    given: dict[str, Any] = {"seconds": 1.0, "temperature": 1.0, "seed": 0, **option}
    with pytest.raises(CommandError, match=f"--{next(iter(option))} .*expected a"):
        generate(tmp_path / "gpt", tmp_path / "prompt.wav", device="cpu", reporter=Silence(), **given)


def test_synthesis_and_an_untrained_model_refuse_a_seed_below_zero(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--seed -1"):
        synthesize(tmp_path / "data", -1, ["ks"], Silence())
    assert list(tmp_path.iterdir()) == []
    for seed in ("-1", "x", ""):
        with pytest.raises(CommandError, match="expected a whole number, 0 or more"):
            plugins.upstream(plugins.parse(f"apc:untrained,seed={seed}"))
