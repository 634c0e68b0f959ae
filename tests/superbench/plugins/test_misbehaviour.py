"""Models and plugins that end their process, fail or take names of built-in ones: errors name them, and other jobs run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from superbench import plugins
from superbench.errors import BrokenPlugin, CommandError, EndedProcess
from superbench.runs.asked import asked
from superbench.runs.runner import run

pytestmark = pytest.mark.slow

MODELS = """
import os, signal, torch
from superbench import Features

class Good:
    sample_rate, hop, layers, dim = 16_000, 160, 1, 1

    def __call__(self, waves, lengths):
        self.act()
        pieces = torch.nn.functional.pad(waves, (0, 159)).unfold(1, 160, 160)
        return Features(pieces.abs().mean(-1)[None, ..., None], (lengths + 159) // 160)

    def act(self):
        pass

class Exits(Good):
    def act(self):
        raise SystemExit(0)

class Vanishes(Good):
    def act(self):
        os._exit(0)

class Crashes(Good):
    def act(self):
        os.kill(os.getpid(), signal.SIGSEGV)

class Interrupts(Good):
    def act(self):
        raise KeyboardInterrupt

class Odd(BaseException):
    pass

class RaisesItsOwn(Good):
    def act(self):
        raise Odd("of my own")

class ExitsEarly(Good):
    def __init__(self):
        raise SystemExit(0)
"""
SAID = {
    "Exits": "SystemExit: 0",
    "Vanishes": "ended with status 0",
    "Crashes": "signal 11, SIGSEGV",
    "Interrupts": "KeyboardInterrupt",
    "RaisesItsOwn": "Odd: of my own",
    "ExitsEarly": "SystemExit: 0",
}


TOP_LEVEL = {
    "os._exit(0)": "ended with status 0",
    "os.kill(os.getpid(), 9)": "signal 9, SIGKILL",
    "os.kill(os.getpid(), 11)": "signal 11, SIGSEGV",
    "raise SystemExit(0)": "SystemExit: 0",
    "threading.Thread(target=lambda: (time.sleep(0.2), os._exit(0))).start(); time.sleep(60)": "ended with status 0",
    "atexit.register(os._exit, 0); os.abort()": "signal 6, SIGABRT",
}
"""What a file does at its top level, and what is said of it."""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models.py").write_text(MODELS)
    return tmp_path / "models.py"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_model_that_ends_its_process_fails_its_job_by_name_and_the_others_run(
    call: Any, models: Path, keyword_corpora: Path, tmp_path: Path, workers: str
) -> None:
    specs = [f"{models}:{name}" for name in (*SAID, "Good")]
    places = ["--data", str(keyword_corpora), "--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    done = call("run", *specs, "--tasks", "ks", *places, "--workers", workers, "--max-steps", "2", "--lr", "1e-2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert (tmp_path / "out/Good/ks/result.json").is_file()
    for name, text in SAID.items():
        failure = json.loads((tmp_path / "out" / name / "ks/failure.json").read_text())
        assert text in failure["message"]
        assert f"failed {name} · ks" in done.stdout
        assert not (tmp_path / "out" / name / "ks/result.json").exists()


def test_a_file_that_ends_its_process_when_it_is_read_fails_its_job_by_name_and_the_others_run(
    call: Any, models: Path, keyword_corpora: Path, tmp_path: Path
) -> None:
    specs = [f"Good={models}:Good"]
    for number, act in enumerate(TOP_LEVEL):
        (tmp_path / f"m{number}.py").write_text(f"import atexit, os, threading, time\n{act}\nclass Model: pass\n")
        specs.append(f"m{number}={tmp_path}/m{number}.py:Model")
    places = ["--data", str(keyword_corpora), "--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    done = call("run", *specs, "--tasks", "ks", *places, "--workers", "1", "--max-steps", "2", "--lr", "1e-2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert (tmp_path / "out/Good/ks/result.json").is_file()
    for number, text in enumerate(TOP_LEVEL.values()):
        assert text in json.loads((tmp_path / f"out/m{number}/ks/failure.json").read_text())["message"]
        assert f"failed m{number} · ks" in done.stdout
    for arguments in (["run", specs[1], "--tasks", "ks", "--dry-run", *places], ["pretrain", "apc", "--teacher", specs[1]]):
        done = call(*arguments, *(["--audio", str(tmp_path), "--out", str(tmp_path / "x")] if "pretrain" in arguments else []))
        assert done.returncode in (1, 2), (arguments, done.stdout)
        assert done.stderr.startswith("superbench: ")


@pytest.mark.parametrize("command", ["check", "plan"])
@pytest.mark.parametrize("name", ["Vanishes", "Crashes", "Exits"])
def test_a_model_that_ends_its_process_does_not_end_a_command_with_success(
    call: Any, models: Path, command: str, name: str
) -> None:
    done = call(command, f"{models}:{name}", *(["--quick"] if command == "check" else ["--tasks", "ks"]))
    assert done.returncode == 1, done.stdout
    if name == "Exits":  # raised by the call, where it is caught
        assert "raised SystemExit: 0" in done.stdout + done.stderr
    else:
        assert f"{models}:{name} ended the process that ran it" in done.stderr


def test_a_file_is_read_in_a_child_process_before_that_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("import atexit, os\natexit.register(os._exit, 0)\nclass Model: pass\n")
    with pytest.raises(EndedProcess, match="ended with status 0"):  # an exit status that would hide that of the command
        plugins.plugin(plugins.parse(f"{tmp_path}/ends.py:Model"))
    assert not [name for name in sys.modules if "superbench_file_ends" in name]


def test_a_file_that_ends_the_program_when_it_is_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(BrokenPlugin, match=r"could not be imported: SystemExit: 0"):
        plugins.plugin(plugins.parse(f"{tmp_path}/ends.py:Model"))


@pytest.mark.parametrize(
    "text", ["hop = 0", "hop = -160", "sample_rate = 0", "layers = 0", "layers = -1", "dim = 0", "dim = True"]
)
def test_an_impossible_declared_number_is_a_one_sentence_error(models: Path, text: str) -> None:
    models.write_text(f"{MODELS}\nclass Declares(Good):\n    {text}\n")
    with pytest.raises(BrokenPlugin, match=rf"declares {text.partition(' ')[0]} {text.rpartition(' ')[2]}: expected a whole"):
        plugins.upstream(plugins.parse(f"{models}:Declares"))


NAMES = [
    "..",
    ".",
    "...",
    "",
    " ",
    "ledger.jsonl",
    "Ledger.JSONL",
    "a" * 300,
    "模" * 300,
    "a\nb",
    "a\x1b[31m",
    "a\0b",
    "a\u202eb",
]


@pytest.mark.parametrize("alias", NAMES)
def test_a_name_that_cannot_name_a_folder_or_a_row_is_refused(alias: str) -> None:
    with pytest.raises(CommandError, match="name") as caught:
        plugins.parse(f"{alias}=fbank")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("alias", ["a", "模型甲", "my model", "a.b", "..a", "ledger", "a" * 100])
def test_other_names_are_accepted(alias: str) -> None:
    assert plugins.parse(f"{alias}=fbank").alias == alias


# ---------------------------------------------------------------- plugins


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`installed("evil", tasks="ks = evil:TASK", text="")`: a distribution that registers entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, text: str | None = "", **groups: str) -> None:
        facts = tmp_path / f"{name}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text("".join(f"[superbench.{group}]\n{row}\n" for group, row in groups.items()))
        if text is not None:
            (tmp_path / f"{name}_plugin.py").write_text(text)
        monkeypatch.delitem(sys.modules, f"{name}_plugin", raising=False)

    return install


DEADLY = [f"import os, atexit\n{act}" for act in ("os._exit(0)", "os.kill(os.getpid(), 9)", "atexit.register(os._exit, 0)")]
BROKEN = [
    *DEADLY,
    "import nothing_like_this",
    "raise SystemExit(0)",
    "def broken(:",
    "TASK = 5",
    "raise RuntimeError('no')",
    None,
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_task_plugin_stops_no_other_task_and_is_named(installed: Any, text: str | None) -> None:
    installed("evil", text, tasks="evil = evil_plugin:TASK")
    assert {"ks", "pr", "sd"} <= set(plugins.tasks())
    assert "evil" not in plugins.tasks()
    assert plugins.task("ks").card.name == "ks"
    assert {row.name for row in plugins.listed(plugins.TASKS)} >= {"evil", "ks"}
    assert list(plugins.broken()) == ["evil"]
    assert "evil 1.0" in plugins.broken()["evil"]
    with pytest.raises(BrokenPlugin, match=r"evil 1\.0"):
        plugins.task("evil")


def test_a_list_of_names_imports_neither_a_plugin_nor_its_package(installed: Any, tmp_path: Path) -> None:
    installed("evil", None, tasks="evil = evil_package.task:TASK")
    (tmp_path / "evil_package").mkdir()
    (tmp_path / "evil_package/__init__.py").write_text("import os\nos._exit(0)\n")
    (tmp_path / "evil_package/task.py").write_text('"""What it is."""\n')
    assert {row.name: row.line for row in plugins.listed(plugins.TASKS)}["evil"] == "What it is."
    assert "ended with status 0" in plugins.broken()["evil"]


def test_every_task_runs_beside_a_broken_one_which_fails_by_name(installed: Any, tmp_path: Path) -> None:
    installed("evil", "raise ValueError('no')", tasks="evil = evil_plugin:TASK")
    plan = asked(["fbank"], "all", data=tmp_path, out=tmp_path)
    assert "ks" in plan.tasks
    assert list(plan.broken) == ["evil"]
    report = run(["fbank"], "all", data=tmp_path, out=tmp_path, store=tmp_path / "store", workers=1)
    assert [ended.job.task for ended in report.of("failed")] == ["evil"]
    assert {"ks", "pr", "sd"} <= {ended.job.task for ended in report.of("absent")}  # there are no corpora here
    assert list(asked(["fbank"], "ks", data=tmp_path, out=tmp_path).tasks) == ["ks"]


def test_a_plugin_that_takes_the_name_of_a_built_in_is_refused_by_name(installed: Any, tmp_path: Path) -> None:
    installed("evil", "def load(*_): 0\nTASK = 5\n", upstreams="fbank = evil_plugin:load", hubs="hf = evil_plugin:load",
              tasks="ks = evil_plugin:TASK")  # fmt: skip
    for name, plugin_kind in (("fbank", "upstream"), ("hf/some/model", "hub")):
        with pytest.raises(
            BrokenPlugin,
            match=rf"The {plugin_kind} '.*' is refused: evil 1\.0 .* a built-in {plugin_kind}.*Uninstall evil 1\.0",
        ):
            plugins.plugin(plugins.parse(name))
    with pytest.raises(BrokenPlugin, match=r"The task 'ks' is refused: evil 1\.0"):
        asked(["mfcc"], "ks", data=tmp_path, out=tmp_path)
    assert plugins.task("ks").card.name == "ks"  # a board scores with the built-in task
    assert "evil 1.0" in plugins.broken()["ks"]
    every = asked(["mfcc"], "all", data=tmp_path, out=tmp_path)
    assert "ks" in every.tasks
    report = run(["mfcc"], "all", data=tmp_path, out=tmp_path, store=tmp_path / "store", workers=1)
    assert not report.of("failed")  # the built-in task still runs
    assert "ks" in {ended.job.task for ended in report.of("absent")}
    assert plugins.plugin(plugins.parse("mfcc"))
