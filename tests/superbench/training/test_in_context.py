"""The harness tells the truth about models that were made for the purpose: what they know, it finds; what they don't, it does
not."""

from __future__ import annotations

import functools
import gzip
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

import superbench
from superbench import CommandError, Corpora, Features, Fold, Item, Likelihood, Parts, Split, Task, plugins
from superbench.contract import Audio, Continuing
from superbench.errors import BadUpstream, Undefined
from superbench.features.store import Store
from superbench.plugins import Loaded
from superbench.results import Result, read_predictions
from superbench.results.shots import OTHER_RULES, controls_of
from superbench.runs.job import perform
from superbench.runs.options import Options
from superbench.system.progress import Silence
from superbench.training.few_shot.in_context.likelihoods import shuffled
from superbench.training.few_shot.in_context.prompts import label_order

PITCHES = {"low": 200.0, "mid": 400.0, "high": 800.0, "top": 1600.0}
"""Class -> Hz. Ten speakers, who differ a little."""


def write(root: Path) -> None:
    for name, pitch in PITCHES.items():
        for speaker in range(10):
            time = np.arange(4_000 + 320 * speaker) / 16_000
            soundfile.write(root / f"{name}{speaker}.wav", 0.3 * np.sin(2 * np.pi * pitch * (1 + speaker / 200) * time), 16_000)


def read(corpora: Corpora) -> tuple[Fold, ...]:
    def items(speakers: range) -> tuple[Item, ...]:
        return tuple(
            Item(f"{name}{n}", Audio(corpora.root / f"{name}{n}.wav"), name, (f"s{n}",)) for name in PITCHES for n in speakers
        )

    return (Fold("all", Split("train", items(range(6))), Split("dev", ()), Split("test", items(range(6, 10)))),)


def tones() -> Task:
    """A task of four pitches."""
    ks = plugins.task("ks")
    card = replace(ks.card, name="tones", question="How high?", words={"low": "deep"})
    return replace(ks, card=card, read=read, prepare=lambda split, hop, recipe: split, head=None)


def pitch(wave: Tensor) -> float:
    """How often the sign changes in a second, in octaves; of silence, never."""
    negative = wave < 0
    return math.log2(16_000 * float((negative[1:] != negative[:-1]).sum()) / len(wave) + 1)


class Reader:
    """Reads text; how likely a label is, is a function of the examples, the question and the label."""

    sample_rate, hop, layers, dim = 16_000, 320, 1, 1
    reads_text = True
    revision = "reader"

    def __init__(self, likely: Callable[[list[tuple[Tensor, str]], Tensor, str], float]) -> None:
        self.likely, self.asked = likely, 0

    def __call__(self, waves: Tensor, lengths: Tensor) -> Features:
        frames = (lengths // self.hop).clamp(min=1)
        return Features(waves.new_zeros(1, len(waves), int(frames.max()), 1), frames)

    def log_likelihood(self, prompts: Sequence[Parts], continuations: Sequence[Sequence[Parts]]) -> list[list[Likelihood]]:
        self.asked += len(prompts)
        return [[self.likelihood_of(prompt, parts) for parts in of] for prompt, of in zip(prompts, continuations, strict=True)]

    def likelihood_of(self, prompt: Parts, parts: Parts) -> Likelihood:
        description, *examples, question = prompt
        assert "Answer with one of" in str(description)
        pairs: Any = list(zip(examples[::2], examples[1::2], strict=True))
        (label,) = parts
        return Likelihood(self.likely(pairs, question, str(label)), 1, len(str(label)))  # type: ignore[arg-type]


def nearest(examples: list[tuple[Tensor, str]], question: Tensor, label: str) -> float:
    """Minus the distance to the nearest example with that label."""
    return -min((abs(pitch(sound) - pitch(question)) for sound, said in examples if said == label), default=20.0)


def deaf(examples: list[tuple[Tensor, str]], question: Tensor, label: str) -> float:
    """Prefers some words, whatever is heard."""
    return -0.1 * len(label)


def repeater(examples: list[tuple[Tensor, str]], question: Tensor, label: str) -> float:
    """Prefers the label of the last example, the more the louder the question is."""
    return -3.0 + (2.0 + float(question.abs().mean())) * bool(examples and examples[-1][1] == label)


def run(model: Any, tmp_path: Path, shots: tuple[Any, ...] = (0, 1, 2), task: Task | None = None, draws: int = 12) -> Result:
    root = tmp_path / "corpora"
    if not root.exists():
        root.mkdir(parents=True)
        write(root)
    loaded = Loaded("model", plugins.parse("model=fbank"), model, "r", 0, 320, 1, 1)
    options = Options("in-context", shots=shots, draws=draws)
    return perform(
        task or tones(), loaded, Corpora(root), Store(tmp_path / "store"), tmp_path / "out", options, {}, Silence()
    ).result


def by_k(result: Result) -> dict[Any, Any]:
    return {entry.k: entry for entry in result.shots or ()}


def near_chance(score: float, items: int) -> bool:
    """Is an accuracy of four classes within the 99.9 % interval of chance?"""
    return abs(score - 25.0) < 3.29 * 100 * (0.25 * 0.75 / items) ** 0.5


@pytest.fixture(scope="module")
def nearest_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], tuple[Result, Path]]:
    """`nearest_run()`: the result of `Reader(nearest)`, computed once, and the folder with its store and files."""

    @functools.cache
    def computed() -> tuple[Result, Path]:
        folder = tmp_path_factory.mktemp("nearest")
        return run(Reader(nearest), folder), folder

    return computed


@pytest.mark.slow
def test_a_model_that_looks_up_the_nearest_example_is_right_from_one_example_on(
    nearest_run: Callable[[], tuple[Result, Path]],
) -> None:
    shots = by_k(nearest_run()[0])
    assert near_chance(shots[0].score, 16)
    assert shots[1].score > 95
    assert shots[2].score > 95
    assert near_chance(shots[1].controls["no sound"], 12)  # one answer for each draw
    assert near_chance(shots[1].controls["other sound"], 16)
    assert near_chance(shots[1].controls["wrong labels"], 12 * 4)  # of a class, all questions share one wrong label
    assert shots[1].controls["majority class"] == 25.0
    for entry in shots.values():
        assert set(entry.controls) == {*controls_of("in-context", entry.k), *OTHER_RULES}


@pytest.mark.slow
def test_a_model_that_ignores_the_sound_is_at_chance_and_no_sound_says_so(tmp_path: Path) -> None:
    for entry in by_k(run(Reader(deaf), tmp_path)).values():
        assert near_chance(entry.score, 16)
        assert near_chance(entry.controls["no sound"], 12)
        assert entry.controls["by sum"] == 25.0  # always the shortest word


@pytest.mark.slow
def test_a_model_that_repeats_the_last_label_is_at_chance(tmp_path: Path) -> None:
    result = run(Reader(repeater), tmp_path)
    for k in (1, 2):
        assert (
            by_k(result)[k].score == by_k(result)[k].controls["by sum"] == 25.0
        )  # every label is last in three of twelve draws
    answers = [p for p in read_predictions(tmp_path / "out/model/tones/in-context/predictions.jsonl.gz") if p.k == 1]
    assert Counter(p.prediction for p in answers) == dict.fromkeys(PITCHES, 3 * 16)


def test_label_orders_are_all_there_are_and_balanced() -> None:
    assert len({tuple(label_order(4, draw)) for draw in range(24)}) == 24
    assert Counter(label_order(4, draw)[-1] for draw in range(12)) == dict.fromkeys(range(4), 3)
    assert Counter(label_order(12, draw)[-1] for draw in range(24)) == dict.fromkeys(range(12), 2)
    assert len({tuple(label_order(12, draw)) for draw in range(48)}) == 24


@pytest.mark.slow
def test_the_result_is_of_schema_2_and_lies_in_its_own_folder(nearest_run: Callable[[], tuple[Result, Path]]) -> None:
    result, folder = nearest_run()
    assert (folder / "out/model/tones/in-context/result.json").is_file()
    assert (result.schema_, result.task.protocol) == (2, "in-context")
    assert [entry.k for entry in result.shots or ()] == [0, 1, 2]
    assert result.scores["accuracy"].value == by_k(result)[2].score
    assert {entry.floor for entry in result.shots or ()} == {25.0}
    with gzip.open(folder / "out/model/tones/in-context/likelihoods.jsonl.gz", "rt") as file:
        episodes = [json.loads(line) for line in file if line.startswith("{")]
    assert len(episodes) == 12 * 3 + 12 * 2  # of K = 0, 1, 2, and with wrong labels
    assert episodes[0]["classes"] == ["high", "deep", "mid", "top"]
    assert list(episodes[0]["questions"])[:4] == ["silence", "noise", "low6", "low6, shuffled"]
    assert episodes[0]["questions"]["silence"][0] == [-20.0, 1, 4]
    assert not (folder / "store" / "shards").exists() or not any((folder / "store" / "shards").iterdir())


class Killed(BaseException):
    """Stands for a kill."""


@pytest.mark.slow
def test_a_killed_run_gives_the_same_result_and_asks_only_what_was_not_asked(tmp_path: Path) -> None:
    whole, rest = Reader(nearest), Reader(nearest)
    undisturbed = run(whole, tmp_path)
    path = tmp_path / "out/model/tones/in-context/predictions.jsonl.gz"
    before = path.read_bytes()
    (tmp_path / "out").rename(tmp_path / "earlier")

    def until(examples: list[tuple[Tensor, str]], question: Tensor, label: str) -> float:
        if len(examples) == 8:
            raise Killed
        return nearest(examples, question, label)

    with pytest.raises(Killed):
        run(Reader(until), tmp_path)
    with (path.parent / "work" / "likelihoods.jsonl").open("a") as file:
        file.write('\n{"episode": "all 2 0", "questions": {"silence": [[-1.0, 1')  # a line that was cut off
    resumed = run(rest, tmp_path)
    assert rest.asked < whole.asked
    assert path.read_bytes() == before
    assert resumed.shots == undisturbed.shots
    again = Reader(nearest)
    run(again, tmp_path)
    assert again.asked == 0  # found


@pytest.mark.slow
@pytest.mark.parametrize("value", [math.nan, 0.5, -math.inf])
def test_a_likelihood_that_cannot_be_one_is_an_error(value: float, tmp_path: Path) -> None:
    with pytest.raises(BadUpstream, match=r"model returned .* as the log-likelihood of the label 'top'"):
        run(Reader(lambda examples, question, label: value if label == "top" else -1.0), tmp_path)


@pytest.mark.slow
def test_a_label_without_tokens_is_an_error(tmp_path: Path) -> None:
    model = Reader(nearest)
    model.likelihood_of = lambda prompt, parts: Likelihood(0.0, 0, 4)  # type: ignore[method-assign]
    with pytest.raises(BadUpstream, match="makes no token of the label 'high'"):
        run(model, tmp_path)


@pytest.mark.slow
def test_words_of_the_card_stand_for_labels(tmp_path: Path) -> None:
    seen = set()

    def likely(examples: list[tuple[Tensor, str]], question: Tensor, label: str) -> float:
        seen.add(label)
        return -1.0

    run(Reader(likely), tmp_path, (0,), draws=1)
    assert seen == {"deep", "mid", "high", "top"}


@pytest.mark.slow
def test_a_model_that_cannot_continue_is_told_which_can(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"no method `log_likelihood`\). These can: .*speech_gpt.* --protocol few-shot"):
        run(plugins.upstream(plugins.parse("fbank")).model, tmp_path)


@pytest.mark.slow
def test_shots_that_no_prompt_holds_are_left_out(tmp_path: Path) -> None:
    result = run(Reader(nearest), tmp_path, (1, 11), draws=1)
    assert list(by_k(result)) == [1]
    assert any(note.startswith("K = 11 is left out: 44 examples") for note in result.notes)
    with pytest.raises(CommandError, match="a prompt cannot hold all examples"):
        run(Reader(nearest), tmp_path / "all", (1, "all"))
    with pytest.raises(CommandError, match="nothing is left to do"):
        run(Reader(nearest), tmp_path / "many", (11,))


@pytest.mark.slow
def test_a_task_without_labels_to_choose_from_is_refused(tmp_path: Path) -> None:
    ks = tones()
    with pytest.raises(Undefined, match="has no in-context form"):
        run(Reader(nearest), tmp_path, task=replace(ks, card=replace(ks.card, primary="eer")))


def test_all_tasks_leave_out_those_without_such_a_form(miniature: Callable[[str], Path], tmp_path: Path) -> None:
    options: Any = {"data": miniature("qbe"), "out": tmp_path / "out", "store": tmp_path / "store", "workers": 1}
    ended = superbench.run(["speech_gpt:untrained"], "all", protocol="in-context", **options).ended
    assert {one.job.task: one.state for one in ended} == dict.fromkeys(plugins.tasks(), "absent")
    (of_qbe,) = (one.message for one in ended if one.job.task == "qbe")
    assert of_qbe.startswith("qbe has no in-context form")
    (named,) = superbench.run(["speech_gpt:untrained"], ["qbe"], protocol="in-context", **options).ended
    assert named.state == "failed"


class Listener(Reader):
    """Reads no text: how likely a sound is, is minus its distance to the label of the nearest example, or to the question."""

    reads_text = False

    def likelihood_of(self, prompt: Parts, parts: Parts) -> Likelihood:
        *examples, question = prompt
        sounds: Any = examples
        pairs = list(zip(sounds[::2], sounds[1::2], strict=True))
        following = min(pairs, key=lambda pair: abs(pitch(pair[0]) - pitch(question)))[1] if pairs else question  # type: ignore[arg-type]
        return Likelihood(-abs(pitch(following) - pitch(parts[0])), 3, 3)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_unit_language_model_gets_another_sound_for_a_label(tmp_path: Path) -> None:
    model = Listener(deaf)
    assert isinstance(model, Continuing)
    shots = by_k(run(model, tmp_path))
    assert shots[0].score > 95  # with no example, the label is another sound of the class: the one most like the question
    assert shots[1].score > 95
    assert near_chance(shots[1].controls["wrong labels"], 12 * 4)


def test_shuffled_frames_are_those_of_the_sound() -> None:
    wave = torch.arange(1_000.0)
    mixed = shuffled(wave, "x")
    assert not torch.equal(mixed, wave)
    assert torch.equal(mixed.sort().values, wave)
    assert torch.equal(mixed, shuffled(wave, "x"))
    assert torch.equal(mixed[960:], wave[960:])
