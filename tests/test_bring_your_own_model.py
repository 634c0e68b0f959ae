"""docs/bring_your_own_model.md: every snippet in it is run, as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[1] / "docs" / "bring_your_own_model.md"
SNIPPETS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
RUNS = {
    "spectrum": (["spectrum"], 320, 1, 161),
    "Filters@ckpts/step*.pt": (["Filters-step10", "Filters-step20", "Filters-step30"], 160, 1, 80),
}
"""What is run -> the names of its rows, hop, layers and dim."""
COMMANDS = [line for kind, text in SNIPPETS if kind == "bash" for line in text.strip().splitlines()]


@pytest.fixture(scope="module")
def place(keyword_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder: the files of the page, the demo's corpora, a model of transformers, the package as pip installs it."""
    import transformers

    folder = tmp_path_factory.mktemp("mine")
    for kind, text in SNIPPETS:
        named = re.match(r"# (\S+)\n", text)
        if named:
            assert kind in ("python", "toml")
            (folder / named[1]).parent.mkdir(exist_ok=True)
            (folder / named[1]).write_text(text)
    (folder / "ckpts").mkdir()
    for step in (10, 20, 30):
        drawn = torch.randn(80, 1, 400, generator=torch.Generator().manual_seed(step))
        torch.save({"weight": drawn / 20}, folder / "ckpts" / f"step{step}.pt")
    (folder / "demo").mkdir()
    (folder / "demo" / "data").symlink_to(keyword_corpora)
    config = transformers.HubertConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, conv_dim=[16] * 7,
        num_conv_pos_embedding_groups=4, num_conv_pos_embeddings=32,
    )  # fmt: skip
    transformers.AutoModel.from_config(config).save_pretrained(folder / "my_hubert")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    distribution = folder / "superbench_mymodel-0.1.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    points = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in named.items())
        for group, named in project["entry-points"].items()
    ]
    (distribution / "entry_points.txt").write_text("".join(points))
    return folder


def installed(place: Path) -> dict[str, str]:
    """An environment in which the package of the page is installed."""
    paths = [str(place), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "XDG_CACHE_HOME": str(place / "cache")}


def python(place: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script], cwd=place, env=installed(place), capture_output=True, text=True, timeout=200, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_of_the_page_does_what_it_says(
    call: Callable[..., subprocess.CompletedProcess[str]], place: Path, command: str
) -> None:
    name, *arguments = shlex.split(command)
    assert name == "superbench"
    if arguments[0] == "run":
        arguments += ["--max-steps", "20"]
    done = call(*arguments, folder=place, environment=installed(place))
    assert done.returncode == 0, done.stdout + done.stderr
    if arguments[0] == "check":
        assert "keeps the contract of an upstream" in done.stdout
        assert "!" not in done.stdout
    if arguments[0] == "run":
        names, hop, layers, dim = RUNS[arguments[1].rpartition(":")[2]]
        for name in names:
            result = json.loads((place / "results" / name / "ks" / "result.json").read_text())
            assert (result["upstream"]["hop"], result["upstream"]["layers"], result["upstream"]["dim"]) == (hop, layers, dim)
            assert result["certificate"]["length"]["holds"]
    if arguments[0] == "list":
        assert "mymodel" in done.stdout


def test_python_takes_the_class_itself(place: Path) -> None:
    done = python(place, "my_run.py")
    assert done.returncode == 0, done.stderr
    assert (place / "results" / "MyModel" / "ks" / "result.json").is_file()
    assert (place / "results" / "fbank_no_cmvn" / "ks" / "result.json").is_file()


def test_a_script_without_the_guard_does_not_run_away(place: Path) -> None:
    (place / "endless.py").write_text(
        (place / "my_spectrum.py").read_text()
        + "\nimport superbench\nsuperbench.run([spectrum], 'ks', data='demo/data', out='results', max_steps=20)\n"
    )
    done = python(place, "endless.py")
    assert done.returncode == 1
    assert "Put the call under: if __name__ == '__main__':" in done.stderr


def test_every_snippet_is_about_ten_lines() -> None:
    code = [
        [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        for kind, text in SNIPPETS
        if kind != "bash"
    ]
    assert len(code) == 8
    assert max(len(lines) for lines in code) <= 12
