"""Output paths of commands are checked before any work; errors are one sentence."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from superbench.errors import CommandError
from superbench.system.files import require_folder, require_place

Call = Callable[..., subprocess.CompletedProcess[str]]

FOLDERS = {
    "run": ["run", "mfcc", "--tasks", "ks", "--data", "{data}", "--store", "{new}/store", "--workers", "1", "--out"],
    "dry run": ["run", "mfcc", "--tasks", "ks", "--data", "{data}", "--store", "{new}/store", "--dry-run", "--out"],
    "store": ["run", "mfcc", "--tasks", "ks", "--data", "{data}", "--out", "{new}/out", "--store"],
    "synth": ["data", "synth", "--tasks", "ks", "--out"],
    "demo": ["demo", "--out"],
}
FILES = {
    "pretrain": ["pretrain", "apc", "--audio", "{data}", "--out"],
    "generate": ["generate", "{new}/gpt.safetensors", "--prompt", "{new}/prompt.wav", "--out"],
}


def arguments_of(command: list[str], data: Path, new: Path, place: Path) -> list[str]:
    return [word.format(data=data, new=new) for word in command] + [str(place)]


@pytest.mark.parametrize("command", [*FOLDERS, *FILES])
@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nothing"])
def test_an_unwritable_output_is_a_one_sentence_error_before_any_work(
    command: str, place: str, call: Call, keyword_corpora: Path, tmp_path: Path
) -> None:
    if (command, place) in {("pretrain", "file"), ("generate", "file"), ("dry run", "/proc/nothing")}:
        pytest.skip("a file may stand there; who writes nothing does not try to")
    (tmp_path / "file").write_text("mine")
    where = tmp_path / place
    done = call(*arguments_of((FOLDERS | FILES)[command], keyword_corpora, tmp_path / "new", where))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert str(where) in done.stderr
    assert "Choose another place" in done.stderr
    assert (tmp_path / "file").read_text() == "mine"
    assert not list(tmp_path.rglob("*.json*"))


@pytest.mark.parametrize("place", [Path("/dev/null"), Path("/")])
def test_a_device_or_a_folder_is_never_replaced_by_a_file(place: Path) -> None:
    with pytest.raises(CommandError, match="Give the name of a file"):
        require_place(place, f"--out {place}")


def test_a_dangling_link_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CommandError, match="link is not a folder"):
        require_folder(tmp_path / "link" / "results", "--out results")


def test_a_folder_is_created_unless_its_parent_is_read_only(tmp_path: Path) -> None:
    require_folder(tmp_path / "a" / "b", "--out b", make=False)
    assert not (tmp_path / "a").exists()
    require_folder(tmp_path / "a" / "b", "--out b")
    assert (tmp_path / "a" / "b").is_dir()
