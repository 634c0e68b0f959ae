"""Ctrl-C ends a command at any moment: while it starts, while its workers start, in the work. See benchmarks/interrupts.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from superbench.system.processes import end, start

WITHIN = 5.0
"""Seconds, on a machine that runs other tests; the command itself allows for less than two."""

COMMANDS = {
    "workers": "run mfcc fbank --tasks ks --max-steps 200000 --data {data} --out {new}/out --store {new}/store --workers 2",
    "inline": "run mfcc --tasks ks --max-steps 200000 --data {data} --out {new}/out --store {new}/store --workers 1",
    "pretrain": "pretrain apc --audio {data} --out {new}/apc.safetensors --steps 100000",
    "synth": "data synth --out {new}/data --tasks ks",
}

STUBBORN = """
import signal, sys, time
from superbench.system.interrupts import Interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)  # the suite may run where interrupts are ignored
interrupts = Interrupts()
interrupts.listen()
print("ready", flush=True)
while True:
    try:
        time.sleep(60)
    except:
        pass
"""


def left_behind(leader: int) -> list[str]:
    """Returns the processes of a command's process group that still run a moment later."""
    deadline, remaining = time.monotonic() + 2.0, [""]
    while remaining and time.monotonic() < deadline:
        time.sleep(0.02)
        table = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
        rows = [line.split(None, 2) for line in table.splitlines()]
        remaining = [words for group, state, words in rows if int(group) == leader and not state.startswith("Z")]
    return remaining


@pytest.mark.parametrize("moment", [0.05, 0.4, 1.0, 2.5])
@pytest.mark.parametrize("name", COMMANDS)
def test_an_interrupt_ends_a_command_and_all_of_its_processes(
    name: str, moment: float, call: Any, keyword_corpora: Path, tmp_path: Path
) -> None:
    started = call.start(*COMMANDS[name].format(data=keyword_corpora, new=tmp_path).split())
    while not os.path.exists(started.said / "stderr"):  # the last thing before the command has the process
        time.sleep(0.005)
    time.sleep(moment)
    assert started.process.exitcode is None, "the command ended before it could be interrupted"
    began = time.monotonic()
    os.killpg(started.process.pid, signal.SIGINT)
    done = started.ended(60)
    assert time.monotonic() - began < WITHIN
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert done.stderr.strip() == "superbench: stopped. Run the same command again; it resumes from here."
    assert left_behind(started.process.pid) == []


@pytest.mark.slow
def test_an_interrupt_that_a_library_swallows_ends_the_process_all_the_same() -> None:
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)  # into the loop
    began = time.monotonic()
    for _ in range(3):  # an impatient person
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, output = process.communicate(timeout=60)
    assert time.monotonic() - began < WITHIN
    assert process.returncode == 130
    assert output.count("stopped") == 1


@pytest.mark.parametrize("setting", ["SIG_IGN", "SIG_DFL"])
def test_a_process_that_ignores_interrupts_goes_on_ignoring_them(setting: str) -> None:
    script = (
        f"import signal; signal.signal(signal.SIGINT, signal.{setting})\n"
        "from superbench.system.interrupts import Interrupts; Interrupts().listen()\n"
        f"assert signal.getsignal(signal.SIGINT) == signal.{setting}"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.slow
def test_a_process_beside_ignores_interrupts_and_who_starts_it_hears_them() -> None:
    before = signal.getsignal(signal.SIGINT)
    process = start(time.sleep, 60, threads=1)
    try:
        assert signal.getsignal(signal.SIGINT) is before
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        time.sleep(1.0)  # until its own code runs
        os.kill(process.pid, signal.SIGINT)
        process.join(1.0)
        assert process.exitcode is None
    finally:
        end([process])
    assert process.exitcode is not None


LOST = """
import ctypes, os, signal, time
from superbench.system.interrupts import Interrupts

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where this process was started to ignore it
Interrupts().listen()
callback = ctypes.CFUNCTYPE(None)(lambda: (os.kill(os.getpid(), signal.SIGINT), [None for _ in range(1000)]))
callback()
time.sleep(30)
"""


@pytest.mark.slow
def test_an_interrupt_that_is_lost_in_a_callback_of_compiled_code_prints_no_traceback() -> None:
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 130
    assert time.monotonic() - began < 30
    assert "Traceback" not in done.stderr
    assert "stopped" in done.stderr
