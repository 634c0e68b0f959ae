"""Minimal pairs: constructed models get the expected score with an interval, unsuitable ones an error."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import superbench
from superbench import Audio, BadUpstream, CommandError, MissingCorpus, Pair, minimal_pairs
from superbench.errors import BadResult, Occupied, UnknownName
from superbench.results.pair_results import pair_results
from superbench.runs.pairs import set_score
from superbench.system.progress import Silence

MODELS = '''
import torch
from torch import nn
from superbench import Features, Likelihood


class Deaf(nn.Module):
    """Every unit is as likely as every other, whatever the sound."""
    sample_rate, hop, layers, dim, reads_text = 16_000, 320, 1, 4, False

    def forward(self, waves, lengths):
        frames = (lengths // 320).clamp(min=1)
        return Features(torch.zeros(1, len(waves), int(frames.max()), 4), frames)

    def log_likelihood(self, prompts, continuations):
        assert list(prompts) == [[]]
        return [[self.likelihood(parts[0]) for parts in following] for following in continuations]

    def likelihood(self, wave):
        units = len(wave) // 320
        return Likelihood(-2.3 * units, units, units)


class Quiet(Deaf):
    """Prefers quiet sounds: its sum of log p is greater for short loud ones, its mean is not."""

    def likelihood(self, wave):
        units = len(wave) // 320
        return Likelihood(-float(wave.abs().mean()) * units, units, units)


class Broken(Deaf):
    def likelihood(self, wave):
        return Likelihood(float("nan"), 3, 3)


class Sure(Deaf):
    def likelihood(self, wave):
        return Likelihood(0.5, 3, 3)


class Empty(Deaf):
    def likelihood(self, wave):
        return Likelihood(-0.5, 0, 0)


class Forgetful(Deaf):
    def log_likelihood(self, prompts, continuations):
        return [[self.likelihood(parts[0]) for parts in following[1:]] for following in continuations]


class Reader(Deaf):
    reads_text = True
'''


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models.py").write_text(MODELS)
    return tmp_path / "models.py"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """24 samples of SALMon's voices, one folder deeper: the right sound is quieter, and longer."""
    folder = tmp_path / "data" / "salmon_benchmark" / "speaker_consistency"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    for number in range(24):
        for side, loud, samples in ((0, 0.05, 9_000), (1, 0.1, 3_000 + 10 * number)):
            soundfile.write(folder / f"sample_{number}_{side}.wav", loud * noise.standard_normal(samples), 16_000)
    return tmp_path / "data"


def pairs(root: Path, points: dict[tuple[str, str], float], part: str = "") -> tuple[list[Pair], list[float]]:
    sound = Audio(root / "a.wav")
    return [Pair(item, sound, sound, voice, part) for item, voice in points], list(points.values())


@pytest.mark.slow
def test_a_model_that_ignores_sound_ties_everywhere(models: Path, data: Path) -> None:
    """Lengths differ: 10⁻⁷ of rounding is a tie."""
    (score,) = minimal_pairs(f"{models}:Deaf", data).sets
    assert (score.name, score.total.score, score.total.ties, score.total.pairs) == ("salmon", 50.0, 24, 24)
    assert score.total.ci == (50.0, 50.0)
    assert [*score.parts] == ["speaker_consistency"]


@pytest.mark.slow
def test_likelihoods_are_compared_per_unit(models: Path, data: Path) -> None:
    """The sum is greater for the wrong sounds, which are short: -0.08 · 10 units against -0.04 · 28."""
    (score,) = minimal_pairs(f"{models}:Quiet", data, sets=["salmon"]).sets
    assert (score.total.score, score.total.ties) == (100.0, 0)


@pytest.mark.slow
def test_an_untrained_model_is_at_chance(data: Path) -> None:
    """Noise against noise: there is nothing to prefer."""
    folder = data / "salmon_benchmark" / "speaker_consistency"
    noise = np.random.default_rng(1)
    for number in range(60):
        for side in (0, 1):
            wave = 0.1 * noise.standard_normal(int(noise.integers(4_000, 8_000)))
            soundfile.write(folder / f"sample_{number}_{side}.wav", wave, 16_000)
    (score,) = minimal_pairs("speech_gpt:nano,untrained", data).sets
    assert score.total.ci is not None
    assert score.total.ci[0] < 50 < score.total.ci[1]
    assert score.total.ties < 60


def test_voices_are_averaged_before_items(tmp_path: Path) -> None:
    """`a` is right in two of two voices, `b` wrong in its one: (1 + 0) / 2, not 2/3."""
    score = set_score("swuggy", *pairs(tmp_path, {("a", "v0"): 1.0, ("a", "v1"): 1.0, ("b", "v0"): 0.0}))
    assert score.total.score == 50.0
    assert score.parts == {}
    halves = set_score("swuggy", *pairs(tmp_path, {("a", "v0"): 0.5, ("b", "v0"): 1.0}))
    assert (halves.total.score, halves.total.ties) == (75.0, 1)


def test_voices_of_one_item_are_not_independent_trials(tmp_path: Path) -> None:
    """Ten voices that say the same thing of thirty items make the interval no narrower."""
    draw = np.random.default_rng(0).integers(0, 2, 30).astype(float)
    one_voice = set_score("s", *pairs(tmp_path, {(str(n), "v"): point for n, point in enumerate(draw)})).total
    ten_voices = set_score("s", *pairs(tmp_path, {(str(n), f"v{v}"): p for n, p in enumerate(draw) for v in range(10)})).total
    assert one_voice.score == pytest.approx(ten_voices.score)
    assert one_voice.ci is not None
    assert ten_voices.ci is not None
    width = one_voice.ci[1] - one_voice.ci[0]
    assert 25 < width < 45
    assert ten_voices.ci[1] - ten_voices.ci[0] > 0.9 * width


def test_parts_have_scores_of_their_own(tmp_path: Path) -> None:
    verbs, nouns = pairs(tmp_path, {("1", ""): 1.0, ("2", ""): 1.0}, "verb"), pairs(tmp_path, {("1", ""): 0.0}, "noun")
    score = set_score("sblimp", verbs[0] + nouns[0], verbs[1] + nouns[1])
    assert {name: part.score for name, part in score.parts.items()} == {"noun": 0.0, "verb": 100.0}
    assert score.total.score == pytest.approx(200 / 3)
    assert score.parts["noun"].ci is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Broken", r"Broken returned nan as the log-likelihood of the sound .*sample_0_0\.wav; expected a finite number"),
        ("Sure", r"Sure returned 0\.5 as the log-likelihood"), ("Empty", r"Empty makes no unit of .*sample_0_0\.wav"),
        ("Forgetful", r"returned likelihoods of 31 continuations; expected 32"),
    ],
)  # fmt: skip
def test_impossible_likelihoods_are_refused(models: Path, data: Path, name: str, words: str) -> None:
    with pytest.raises(BadUpstream, match=words):
        minimal_pairs(f"{models}:{name}", data)


@pytest.mark.slow
def test_a_model_without_likelihoods_is_refused_and_models_with_likelihoods_are_named(models: Path, data: Path) -> None:
    with pytest.raises(CommandError, match=r"fbank cannot be scored .*no method `log_likelihood`.*These can: speech_gpt\."):
        minimal_pairs("fbank", data)
    with pytest.raises(CommandError, match=r"Reader cannot be scored .*its answers are texts"):
        minimal_pairs(f"{models}:Reader", data)


def test_missing_sets_are_named_with_how_to_get_them(models: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingCorpus, match=r"data has no folder lexical .*ZeroSpeech 2021"):
        minimal_pairs(f"{models}:Deaf", data, sets=["salmon", "swuggy"])
    with pytest.raises(MissingCorpus, match=r"has no minimal pairs\. Looked for salmon.*superbench data pairs --out"):
        minimal_pairs(f"{models}:Deaf", tmp_path / "nowhere")
    with pytest.raises(UnknownName, match=r"No set of minimal pairs is called 'swugy'\. Did you mean swuggy\?"):
        minimal_pairs(f"{models}:Deaf", data, sets=["swugy"])


def test_the_command_prints_a_table_or_json_and_changes_no_task(call: Any, models: Path, data: Path) -> None:
    done = call("pairs", f"{models}:Quiet", "--data", str(data), "--device", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "speaker_consistency" in done.stdout
    assert "100.0" in done.stdout
    printed = json.loads(call("pairs", f"{models}:Quiet", "--data", str(data), "--json", "--device", "cpu").stdout)
    assert (printed["upstream"], len(printed["revision"])) == ("Quiet", 16)
    assert (printed["chance"], printed["sets"][0]["name"], printed["sets"][0]["total"]["score"]) == (50.0, "salmon", 100.0)
    assert {row.name for row in superbench.list_tasks()}.isdisjoint({"salmon", "swuggy", "sblimp", "tsc", "pairs"})


def test_a_result_is_written_found_again_and_listed(call: Any, models: Path, data: Path, tmp_path: Path) -> None:
    arguments = (f"{models}:Quiet", data)
    first = minimal_pairs(*arguments, out=tmp_path / "out")
    file = tmp_path / "out" / "Quiet" / "pairs" / "salmon" / "result.json"
    record = json.loads(file.read_text())
    assert (record["schema"], record["set"], record["chance"]) == (1, "salmon", 50.0)
    assert record["upstream"] == {"name": "Quiet", "revision": first.revision, "params": 0}
    assert (record["total"]["score"], record["total"]["pairs"], len(record["data"])) == (100.0, 24, 16)
    assert record["environment"]["torch"]
    assert record["parts"].keys() == {"speaker_consistency"}
    seen: list[float] = []

    class Watcher(Silence):
        def advance(self, stage: str, done: float, total: float) -> None:
            seen.append(done)

    assert minimal_pairs(*arguments, out=tmp_path / "out", reporter=Watcher()) == first
    assert seen == []
    assert file.read_text() == json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    table = call("report", str(tmp_path / "out"), environment={**os.environ, "COLUMNS": "120"})
    assert table.returncode == 0, table.stderr
    assert "speaker_consistency" in table.stdout
    (listed,) = json.loads(call("report", str(tmp_path / "out"), "--format", "json").stdout)
    assert listed == record


@pytest.mark.slow
def test_other_pairs_or_another_model_overwrite_nothing(models: Path, data: Path, tmp_path: Path) -> None:
    minimal_pairs(f"{models}:Quiet", data, out=tmp_path / "out")
    with pytest.raises(Occupied, match=r"has a result of the model .*Nothing was overwritten: give this model another name"):
        minimal_pairs(f"Quiet={models}:Deaf", data, out=tmp_path / "out")
    sound = data / "salmon_benchmark" / "speaker_consistency" / "sample_3_1.wav"
    soundfile.write(sound, 0.2 * np.ones(4_000), 16_000)
    with pytest.raises(Occupied, match=r"has a result of pairs \w{16}, and this is \w{16}\. Nothing was overwritten"):
        minimal_pairs(f"{models}:Quiet", data, out=tmp_path / "out")


def test_a_damaged_result_is_named(models: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "Quiet" / "pairs" / "salmon"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"schema": 1, "set": "salmon"}')
    with pytest.raises(BadResult, match=r"salmon/result\.json is not a result on minimal pairs: upstream"):
        minimal_pairs(f"{models}:Quiet", data, out=tmp_path / "out")


@pytest.mark.slow
def test_results_on_pairs_are_reported_with_those_of_tasks(a_folder: Any, models: Path, data: Path) -> None:
    upstream = a_folder("Quiet", 40)
    minimal_pairs(f"{models}:Quiet", data, out=upstream.parent)
    assert [result.task.name for result in superbench.load_results(upstream)] == ["ks"]
    assert [result.set for result in pair_results(upstream)] == ["salmon"]
    assert [result.set for result in pair_results(upstream.parent)] == ["salmon"]
