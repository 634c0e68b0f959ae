"""A run that is killed and repeated gives the result of an uninterrupted run."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SLOW = """
import time
import torch
from torch import nn
from superbench import Features, Likelihood


class Slow(nn.Module):
    sample_rate, hop, layers, dim = 16_000, 160, 2, 32

    def forward(self, waves, lengths):
        time.sleep(0.05)
        frames = nn.functional.pad(waves, (0, -waves.shape[1] % 160 + 160)).unfold(1, 320, 160)[..., :62]
        spectrum = torch.fft.rfft(frames).abs().log1p()
        counts = ((lengths + 80) // 160).clamp(min=1, max=spectrum.shape[1])
        inside = (torch.arange(spectrum.shape[1], device=waves.device)[None] < counts[:, None])[..., None]
        return Features(torch.stack([spectrum, spectrum.square()]) * inside, counts)


class Continuing(Slow):
    reads_text = True

    def log_likelihood(self, prompts, continuations):
        time.sleep(0.1)
        with open(__file__ + ".asked", "a") as file:
            file.write("x" * len(prompts))
        loud = [float(prompt[-1].square().mean()) for prompt in prompts]
        return [
            [Likelihood(-1.0 - abs(one * 100 - len(parts[0])), 1, len(parts[0])) for parts in following]
            for one, following in zip(loud, continuations)
        ]
"""


@pytest.fixture
def data(keyword_corpora: Path, tmp_path: Path) -> Path:
    """The miniature of keyword spotting, and a slow model beside it."""
    (tmp_path / "slow.py").write_text(SLOW)
    return keyword_corpora


HEADS = ("--lr", "1e-2,1e-3")


def command(data: Path, out: Path, store: Path, *options: str, model: str = "Slow") -> list[str]:
    slow = f"{out.parent / 'slow.py'}:{model}"
    places = ["--data", str(data), "--out", str(out), "--store", str(store)]
    return ["run", slow, "--tasks", "ks", *places, "--workers", "1", *(options or HEADS)]


def finished(call: Any, data: Path, out: Path, store: Path, *options: str, model: str = "Slow") -> dict[str, Any]:
    done = call(*command(data, out, store, *options, model=model))
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(next((out / model / "ks").rglob("result.json")).read_text())  # type: ignore[no-any-return]


def killed(
    call: Any, data: Path, out: Path, store: Path, moment: Callable[[], bool], *options: str, model: str = "Slow"
) -> None:
    """Start, wait for the moment, SIGKILL the whole group; fails if the run ended before."""
    process = call.start(*command(data, out, store, *options, model=model)).process
    until = time.monotonic() + 200
    while not moment():
        assert process.exitcode is None, "the run ended before it could be killed"
        assert time.monotonic() < until, "the moment never came"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    """A result without its times, which differ from run to run."""
    environment = {key: value for key, value in result["environment"].items() if key != "date"}
    efficiency = {key: value for key, value in result["efficiency"].items() if key != "real_time_factor"}
    return {**result, "seconds": None, "environment": environment, "efficiency": efficiency}


def test_a_run_killed_in_extraction_and_again_in_training_ends_like_an_uninterrupted_run(
    call: Any, data: Path, tmp_path: Path
) -> None:
    uninterrupted = finished(call, data, tmp_path / "whole", tmp_path / "store")
    shards = len(list((tmp_path / "store").glob("shards/*/*.safetensors")))
    assert shards > 2
    out, store = tmp_path / "out", tmp_path / "other"
    killed(call, data, out, store, lambda: len(list(store.glob("shards/*/[!.]*.safetensors"))) >= 1)
    assert 1 <= len(list(store.glob("shards/*/[!.]*.safetensors"))) < shards
    assert not (out / "Slow" / "ks" / "result.json").exists()
    work = out / "Slow" / "ks" / "work"
    killed(call, data, out, store, lambda: any(work.glob("[!.]*.safetensors")))
    assert not (out / "Slow" / "ks" / "result.json").exists()
    resumed = finished(call, data, out, store)
    assert timeless(resumed) == timeless(uninterrupted)
    predictions = [root / "Slow" / "ks" / "predictions.jsonl.gz" for root in (tmp_path / "whole", out)]
    assert predictions[0].read_bytes() == predictions[1].read_bytes()


def bytes_of(out: Path, protocol: str, model: str) -> dict[str, bytes]:
    """What a protocol that trains nothing writes beside its result."""
    return {path.name: path.read_bytes() for path in (out / model / "ks" / protocol).glob("*.jsonl.gz")}


def test_a_killed_few_shot_run_ends_like_an_uninterrupted_run(call: Any, data: Path, tmp_path: Path) -> None:
    arguments = ("--protocol", "few-shot", "--shots", "1,5", "--draws", "3")
    uninterrupted = finished(call, data, tmp_path / "whole", tmp_path / "store", *arguments)
    out, store = tmp_path / "out", tmp_path / "other"
    killed(call, data, out, store, lambda: len(list(store.glob("shards/*/[!.]*.safetensors"))) >= 2, *arguments)
    assert not list(out.rglob("result.json"))
    assert timeless(finished(call, data, out, store, *arguments)) == timeless(uninterrupted)
    assert bytes_of(out, "few-shot", "Slow") == bytes_of(tmp_path / "whole", "few-shot", "Slow") != {}


def test_a_killed_in_context_run_asks_only_the_rest_and_ends_like_an_uninterrupted_run(
    call: Any, data: Path, tmp_path: Path
) -> None:
    arguments = ("--protocol", "in-context", "--shots", "0,1", "--draws", "2")
    counted = tmp_path / "slow.py.asked"

    def questions() -> int:
        return len(counted.read_text()) if counted.exists() else 0

    uninterrupted = finished(call, data, tmp_path / "whole", tmp_path / "store", *arguments, model="Continuing")
    every = questions()
    out, store = tmp_path / "out", tmp_path / "store"
    journal = out / "Continuing" / "ks" / "in-context" / "work" / "likelihoods.jsonl"
    moment = lambda: journal.is_file() and journal.read_text().count("episode") >= 2  # noqa: E731
    killed(call, data, out, store, moment, *arguments, model="Continuing")
    assert not list(out.rglob("result.json"))
    with journal.open("a") as file:  # as if the kill had cut a line
        file.write('\n{"episode": "all 1 0", "classes": ["do')
    before = questions()
    resumed = finished(call, data, out, store, *arguments, model="Continuing")
    assert 0 < questions() - before < every * 0.8  # two of four episodes were there
    assert timeless(resumed) == timeless(uninterrupted)
    assert bytes_of(out, "in-context", "Continuing") == bytes_of(tmp_path / "whole", "in-context", "Continuing")
    assert len(bytes_of(out, "in-context", "Continuing")) == 2


def test_an_interrupt_from_the_keyboard_ends_the_workers_and_says_what_to_do(call: Any, data: Path, tmp_path: Path) -> None:
    out, store = tmp_path / "out", tmp_path / "store"
    started = call.start("run", "mfcc", *command(data, out, store)[1:-4], "--workers", "2")
    until = time.monotonic() + 200
    while not any(store.glob("shards/*/*.safetensors")):
        assert time.monotonic() < until, "it never began"
        time.sleep(0.01)
    os.killpg(started.process.pid, signal.SIGINT)
    done = started.ended()
    assert done.returncode == 130
    assert "stopped. Run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
