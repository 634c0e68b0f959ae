"""What a person who mistypes is told: in Python as on the command line, never with a traceback."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import superbench
from superbench.cli.app import app
from superbench.contract.corpora import Corpora
from superbench.errors import CommandError, MissingCorpus, UnknownName
from superbench.plugins import parse, plugin, task
from superbench.runs.asked import asked
from superbench.runs.banner import banner
from superbench.training.pretraining.pretrain import pretrain


def said(*words: str) -> str:
    """The error of a command, on one line."""
    done = CliRunner().invoke(app, list(words))
    assert isinstance(done.exception, superbench.SuperbenchError), (done.exception, done.output)
    return " ".join(str(done.exception).split())


# ---------------------------------------------------------------- options in Python


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_steps": "20"}, r"--max-steps '20': expected a whole number, such as 20 without quotes"),
        ({"layer": "2"}, "--layer '2': expected a whole number, such as 2"),
        ({"workers": "2"}, "--workers '2': expected a whole number"),
        ({"store_gb": "3"}, "--store-gb '3': expected a number, such as 3"),
        ({"chunk_seconds": "3"}, "--chunk '3': expected a number"),
        ({"max_steps": [20]}, r"--max-steps \[20\]: expected a whole number"),
        ({"seeds": "0,1"}, r"--seeds '0,1': expected several values in brackets, as in seeds=\(0, 1, 2\)"),
        ({"seeds": 3}, "--seeds 3: expected several values"), ({"seeds": ["0"]}, "--seeds '0': expected a whole number"),
        ({"learning_rates": "1e-3"}, "--lr '1e-3': expected several values"),
        ({"learning_rates": 0.1}, "--lr 0.1: expected several"),
        ({"learning_rates": ["a"]}, "--lr 'a': expected a number"),
        ({"shots": "1,5", "protocol": "few-shot"}, "--shots '1,5': expected several values"),
        ({"draws": "3", "protocol": "few-shot"}, "--draws '3': expected a whole number"),
        ({"variants": "x"}, "--variant 'x'"),
    ],
)  # fmt: skip
def test_an_option_of_another_type_is_said(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=told):
        superbench.run(["fbank"], "ks", data=tmp_path, out=tmp_path / "out", **options)


def test_one_upstream_needs_no_list(tmp_path: Path) -> None:
    assert [spec.alias for spec in asked("fbank", "ks", data=tmp_path).specs] == ["fbank"]
    with pytest.raises(UnknownName, match=r"No upstream is called 'fbnk'. Did you mean fbank"):
        asked("fbnk", "ks", data=tmp_path)


def test_tasks_are_written_in_any_case(tmp_path: Path) -> None:
    assert list(asked("fbank", "KS, Asr", data=tmp_path).tasks) == ["ks", "asr"]
    assert task("KS").card.name == "ks"
    with pytest.raises(CommandError, match="tasks=3: expected names"):
        asked("fbank", 3, data=tmp_path)  # type: ignore[arg-type]


# ---------------------------------------------------------------- lists of numbers


@pytest.mark.slow
@pytest.mark.parametrize("command", [["run", "fbank"], ["plan", "fbank"]])
@pytest.mark.parametrize(
    ("option", "text", "told"),
    [
        ("--seeds", "0-3", "expected whole numbers separated by commas, as in --seeds 0,1,2,3."),
        ("--seeds", "5..7", "as in --seeds 5,6,7."), ("--seeds", "a", "as in --seeds 0,1,2."),
        ("--seeds", "1e-3", "as in --seeds 0,1,2."),
        ("--lr", "0-3", "expected numbers separated by commas, as in --lr 1e-3,1e-4."),
        ("--seeds", "3-1", "as in --seeds 0,1,2."), ("--seeds", "0-99999999", "as in --seeds 0,1,2."),
    ],
)  # fmt: skip
def test_a_list_of_numbers_is_shown_as_the_option_takes_it(command: list[str], option: str, text: str, told: str) -> None:
    assert f"{option} '{text}': " in (message := said(*command, "--tasks", "ks", option, text))
    assert told in message


# ---------------------------------------------------------------- names, paths and files


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("./my_hubert", "looks like a folder, but there is none. A folder of transformers is given as hf/./my_hubert"),
        ("mine=/models/my_hubert", "hf//models/my_hubert"), ("~/my_hubert", "hf/~/my_hubert"),
        ("nofile.py", "there is no such file. Code is given as FILE.py:CLASS, as in nofile.py:MyModel"),
        ("facebook/hubert-base-ls960", "looks like the id of a model on a hub. Write the hub before it, as in hf/facebook/hu"),
        ("HF/x", "the hub is written hf, as in hf/x"), ("weights.pt", "is a file of weights. Name the model that reads it"),
    ],
)  # fmt: skip
def test_a_path_in_place_of_a_spec_is_recognised(spec: str, told: str) -> None:
    with pytest.raises(CommandError, match=re.escape(told)):
        plugin(parse(spec))


def test_a_folder_and_a_file_that_exist_are_named_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_hubert").mkdir()
    (tmp_path / "my_model.py").write_text("import sys\nsys.exit('run')\ndef helper(): ...\nclass Mine: ...\n")
    for spec in ("my_hubert", "./my_hubert"):
        with pytest.raises(CommandError, match=r"is a folder. A folder of transformers is given as hf/\./my_hubert"):
            plugin(parse(spec))
    with pytest.raises(CommandError, match=r"as in my_model.py:Mine. It defines Mine, helper"):
        plugin(parse("my_model.py"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data", "synth", "--tasks", "digits", "--out", "x"], "No task is called 'digits'. There are asr, asv, er, ic, ks"),
        (["data", "check", "--tasks", "digits", "--data", "."], "There are asr, asv"),
        (["plan", "fbank", "--tasks", "digits"], "There are asr, asv"),
        (["pretrain", "gpt", "--audio", ".", "--out", "x.safetensors"], "is called 'gpt'. Did you mean speech_gpt?"),
        (["pretrain", "APC", "--audio", ".", "--out", "x.safetensors"], "Did you mean apc"),
        (["check", "./my_hubert"], "hf/./my_hubert"),
        (["run", "fbank", "--tasks", "my/list.csv"], "is a list of sounds, no task. Make a task of it: superbench task new"),
        (["run", "fbank", "--tasks", "a b.tsv"], "superbench task new --from 'a b.tsv'"),
        (["run", "fbank", "--tasks", "calls_task.py"], "name the task in it, as in calls_task.py:TASK"),
        (["check", "bad.py:"], "names no class or function of bad.py. Expected bad.py:Class"),
        (["check", "hf/"], "names no model; `superbench list upstreams --hub hf` shows how names are written"),
        (["run", "a=fbank", "a=mfcc", "--tasks", "ks"], "Give one of them an alias: other=mfcc"),
        (["board", "histroy", "bd"], "superbench board has no command 'histroy'. Did you mean history?"),
        (["board", "nonsense", "bd"], "There are hide, history, page, rename, transfer, withdraw"),
        (["generate", "gpt.safetensors", "--prompt", "p.wav", "--out", "x.mp3"], "give a name that ends in .wav"),
        (["task", "new", "--from", "list.csv", "--out", "x.txt"], "give a name that ends in .py"),
    ],
)  # fmt: skip
def test_a_name_that_is_not_known_is_answered_with_those_that_are(words: list[str], told: str) -> None:
    assert told in said(*words)


def test_a_prompt_that_is_not_there_is_not_said_to_be_in_a_corpus(tmp_path: Path) -> None:
    told = said("generate", "gpt.safetensors", "--prompt", str(tmp_path / "no.wav"), "--out", str(tmp_path / "x.wav"))
    assert told == f"--prompt {tmp_path / 'no.wav'}: there is no such file. Give a recording: wav, flac, mp3 or ogg."


def test_python_hears_the_same_about_pretraining(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--steps '20': expected a whole number, such as 20 without quotes"):
        pretrain("apc", tmp_path, tmp_path / "x.safetensors", steps="20")  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="speech_gpt"):
        pretrain("gpt", tmp_path, tmp_path / "x.safetensors")


def test_the_example_of_each_message_is_accepted(tmp_path: Path) -> None:
    for option, wrong in (("--seeds", "0-3"), ("--lr", "x")):
        example = said("run", "fbank", "--tasks", "ks", option, wrong).rpartition("as in ")[2].rstrip(".").split()
        assert "expected" not in said("run", "fbank", "--tasks", "ks", "--data", str(tmp_path / "no"), *example)


# ---------------------------------------------------------------- what a run says before it begins


@pytest.mark.parametrize("below", ["", "SpeechCommands", "SpeechCommands/speech_commands_v0.01"])
def test_a_folder_inside_miniature_corpora_is_recognised(below: str, keyword_corpora: Path) -> None:
    """Without this, the miniature would be run by the official protocol, with 200 000 updates."""
    checked = asked(["fbank"], "ks", data=keyword_corpora / below)
    assert (checked.options.protocol, checked.corpora.root.resolve()) == ("mini", keyword_corpora.resolve())
    lines = banner(checked, keyword_corpora / below, checked.jobs, 2)
    assert lines[0] == "1 job: fbank on ks, on cpu"
    assert lines[1] == "protocol mini (updates: ks 1 000)"
    assert "miniature corpora that superbench wrote" in lines[2]
    assert lines[2].endswith("is a part of them)") is bool(below)
    assert re.fullmatch(r"expected time: very roughly \d+ s for the heads, and one pass of .*", lines[3])


def test_the_official_protocol_and_its_length_are_said(tmp_path: Path) -> None:
    checked = asked(["fbank"], "ks,asv", data=tmp_path)
    lines = banner(checked, tmp_path, checked.jobs, 2)
    assert lines[1] == "protocol superb (updates: ks 200 000, asv 200 000)"
    assert "taken for real ones, as it has no miniatures" in lines[2]
    assert re.search(r"very roughly \d+ h", lines[3])


def test_a_corpus_in_place_of_its_parent_is_named(tmp_path: Path) -> None:
    (tmp_path / "librispeech").mkdir()
    told = f"seems to be the corpus LibriSpeech itself. Give the folder that holds it: --data {tmp_path}"
    with pytest.raises(MissingCorpus, match=re.escape(told)):
        Corpora.at(tmp_path / "librispeech").place("LibriSpeech/dev-clean", "LibriSpeech")


def test_a_run_begins_with_its_protocol_corpora_and_time_and_explains_a_score_at_chance(
    keyword_corpora: Path, tmp_path: Path
) -> None:
    words = ["run", "fbank", "--tasks", "ks", "--data", str(keyword_corpora / "SpeechCommands"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "--store", str(tmp_path / "store"), "--max-steps", "20", "--workers", "1"])
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert (
        told.index("1 job: fbank on ks, on cpu")
        < told.index("protocol mini (updates: ks 20)")
        < told.index("expected time: very")
    )
    why = "fbank, KS: at chance: fbank normalises each utterance, so its mean over time is zero"
    assert why in told
    assert "fbank_no_cmvn" in told
    (result,) = superbench.load_results(tmp_path / "out")
    assert result.environment["command"].startswith(
        "superbench run fbank --tasks ks --data DATA --protocol mini --max-steps 20"
    )
    assert "plugin" not in result.environment
    reported = CliRunner().invoke(app, ["report", str(tmp_path / "out")])
    assert why in " ".join(reported.output.split())
    board = superbench.Board(tmp_path / "board")
    board.submit(tmp_path / "out")
    shown = board.contents()["groups"][0]
    assert why in shown["note"]
    assert shown["rows"][0]["submissions"][0]["command"] == result.environment["command"]
