"""Few-shot evaluation: draws of examples, nearest centroids and neighbours, the choice on dev, results of schema 2."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from superbench import plugins
from superbench.contract import Audio, Episode, Fold, Item, Prediction, Split
from superbench.contract.corpora import Corpora
from superbench.contract.scoring import accuracy
from superbench.errors import BadCorpus, CommandError, Undefined
from superbench.features.store import Store
from superbench.plugins import Loaded
from superbench.results import Result, read_predictions, read_result
from superbench.results.draws import by_episode, interval_over_draws, mean_replicates, mean_score
from superbench.results.grouping import grouped
from superbench.results.intervals import interval
from superbench.results.tables import remarks
from superbench.runs.job import Performed, perform
from superbench.runs.options import Options
from superbench.system.progress import Silence
from superbench.training.few_shot.classification import CENTRINGS, SHOTS, Classifier, neighbours
from superbench.training.few_shot.episodes import draw_examples, draw_order, episodes
from superbench.training.few_shot.experiment import FewShotConditions, few_shot_experiment, few_shot_of, shots_of
from superbench.training.few_shot.layers import Means

CLASSES = ("a", "b", "c", "d")


@dataclass
class Given:
    """Features of one hidden state that a test gives by item id."""

    vectors: dict[str, Tensor]
    layer: int = 0
    hop: int = 160

    def means(self, items: Sequence[Item]) -> Tensor:
        return torch.stack([self.vectors[item.id] for item in items])

    def frames(self, item: Item) -> Tensor:
        return self.vectors[item.id][None]


def item(name: str, label: Any, speaker: str) -> Item:
    return Item(name, Audio(Path(f"{name}.wav")), label, (speaker,))


def split(name: Any, count: int, labels: Sequence[Any] = CLASSES) -> Split:
    speakers = 4
    return Split(
        name, tuple(item(f"{name}{label}{n}", label, f"{name}-speaker{n % speakers}") for label in labels for n in range(count))
    )


FOLD = Fold("all", split("train", 24), split("dev", 12), split("test", 30))
ITEMS = [one for part in FOLD.splits for one in part.items]


def telling(noise: float, labels: Sequence[Any] = CLASSES) -> Given:
    """Features that tell the class, with noise."""
    random = torch.Generator().manual_seed(0)
    centres = torch.randn(len(labels), 16, generator=random)
    return Given({one.id: 3.0 + centres[labels.index(one.label)] + noise * torch.randn(16, generator=random) for one in ITEMS})


@dataclass
class Stored:
    """Features of several hidden states, (1, layer, dim) for each item, read as those of the store are."""

    values: dict[Path, Tensor]
    request: Any = field(default_factory=lambda: SimpleNamespace(upstream=SimpleNamespace(hop=160, dim=16)))

    def __getitem__(self, audio: Audio) -> Tensor:
        return self.values[audio.path]

    def means_in_parts(self, audios: Sequence[Audio], layers: slice | list[int]) -> Iterator[tuple[list[int], Tensor]]:
        for part in (range(0, len(audios), 2), range(1, len(audios), 2)):
            yield list(part), torch.cat([self[audios[place]] for place in part])[:, layers]

    def layer(self, number: int) -> Given:
        return Given({item.id: self[item.audio][0, number] for item in ITEMS}, number)


def noise_of(layers: int) -> Stored:
    """Features that tell nothing, so that chance decides which hidden state is best for a K."""
    random = torch.Generator().manual_seed(0)
    return Stored({item.audio.path: torch.randn(1, layers, 16, generator=random) for item in ITEMS})


@pytest.mark.parametrize("largest", [10**9, 2 * 4 * 16 * len(ITEMS), 1])
@pytest.mark.parametrize("layers", [[0, 1, 2, 3], [1, 2], [0, 3], [1, 2, 5], [5]])
def test_every_hidden_state_has_its_own_means(layers: list[int], largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("superbench.training.few_shot.layers.LARGEST_BYTES", largest)
    stored = noise_of(6)
    means = Means(stored, range(6), [FOLD])  # type: ignore[arg-type]
    read = [one for block in means.blocks(layers, len(ITEMS)) for one in block]
    assert [one.layer for one in read] == layers
    for one in read:
        torch.testing.assert_close(one.means(ITEMS), stored.layer(one.layer).means(ITEMS), rtol=0, atol=0)


def test_test_items_are_answered_by_the_hidden_state_that_was_chosen() -> None:
    stored, task = noise_of(13), plugins.task("ks")
    conditions = FewShotConditions(task=task, shots=SHOTS, draws=3, layers=range(13), reporter=Silence())
    outcome = few_shot_experiment(conditions, [FOLD], stored)  # type: ignore[arg-type]
    chosen = {entry["k"]: entry["setting"] for entry in outcome.shots}
    used = sorted({setting["layer"] for setting in chosen.values()})
    assert used != list(range(used[0], used[-1] + 1)), "the layers should not be neighbours in this test"
    for k, draws in by_episode(outcome.predictions).items():
        setting = {name: value for name, value in chosen[k].items() if name != "layer"}
        of_k = [episode for episode in episodes(SHOTS, 3) if episode.shots == k]
        answers = Classifier(False)(FOLD, FOLD.test, of_k, [setting], stored.layer(chosen[k]["layer"]))
        for drawn, (_, _, expected) in zip(draws, answers, strict=True):
            assert [line.prediction for line in drawn] == [line.prediction for line in expected]


def scores(features: Given, fold: Fold = FOLD, about_speakers: bool = False) -> dict[Any, list[float]]:
    """The test accuracy of every draw, by K, for CL2N."""
    answers = Classifier(about_speakers)(fold, fold.test, episodes(SHOTS, 10), CENTRINGS[:1], features)
    found: dict[Any, list[float]] = {}
    for episode, _, predictions in answers:
        found.setdefault(episode.shots, []).append(accuracy(predictions).value)
    return found


# ---------------------------------------------------------------- draws


def test_examples_are_nested_seeded_and_of_every_class() -> None:
    classes = np.array([0, 1, 2] * 10 + [3])
    for draw in range(3):
        taken = {k: set(draw_examples(classes, Episode(k, draw), "all").tolist()) for k in SHOTS}
        for smaller, larger in itertools.pairwise(SHOTS):
            assert taken[smaller] <= taken[larger]
        assert np.bincount(classes[list(taken[5])]).tolist() == [5, 5, 5, 1]
        assert taken["all"] == set(range(31))
    assert set(draw_examples(classes, Episode(5, 0), "all")) != set(draw_examples(classes, Episode(5, 1), "all"))
    assert draw_order(31, 0, "all").tolist() == draw_order(31, 0, "all").tolist() != draw_order(31, 0, "fold1").tolist()


def test_zero_and_all_examples_leave_nothing_to_draw() -> None:
    assert episodes((0, 1, "all"), 3) == [Episode(0, 0), Episode(1, 0), Episode(1, 1), Episode(1, 2), Episode("all", 0)]


# ---------------------------------------------------------------- classification


def test_more_examples_help_where_features_tell_the_class() -> None:
    found = {k: float(np.mean(values)) for k, values in scores(telling(1.5)).items()}
    assert 30 < found[1] < found[5] < found["all"]
    assert all(value == 100.0 for values in scores(telling(0.01)).values() for value in values)


@pytest.mark.slow
def test_permuted_labels_bring_every_k_to_chance() -> None:
    """Inside the 99.9 % interval (Student's t) of the mean over a hundred permutations. Items of one cluster are right or wrong
    together, so single permutations vary."""
    found: dict[Any, list[float]] = {}
    for seed in range(100):
        order = np.random.default_rng(seed).permutation(len(FOLD.train.items))
        labels = [FOLD.train.items[n].label for n in order]
        items = [item(one.id, label, one.group[0]) for one, label in zip(FOLD.train.items, labels, strict=True)]
        for k, values in scores(telling(0.5), Fold("all", Split("train", tuple(items)), FOLD.dev, FOLD.test)).items():
            found.setdefault(k, []).append(float(np.mean(values)))
    for values in found.values():
        half = stats.t.ppf(1 - 0.0005, 99) * np.std(values, ddof=1) / 100**0.5
        assert abs(np.mean(values) - 25.0) < half < 10


def test_neighbours_see_what_one_centroid_cannot() -> None:
    """Two classes of two opposite clusters each: their centroids coincide."""
    corners = {"a": [(4.0, 4.0), (-4.0, -4.0)], "b": [(4.0, -4.0), (-4.0, 4.0)]}
    fold = Fold("all", split("train", 24, "ab"), split("dev", 12, "ab"), split("test", 30, "ab"))
    random = np.random.default_rng(0)
    vectors = {
        one.id: torch.tensor(np.array(corners[one.label][n % 2]) + random.normal(size=2), dtype=torch.float32)
        for part in fold.splits
        for n, one in enumerate(part.items)
    }
    (setting,) = neighbours("all", CENTRINGS[0])
    assert neighbours(20, CENTRINGS[0]) == ()
    values = {}
    for chosen in (CENTRINGS[0], setting):
        ((_, _, predictions),) = Classifier(False)(fold, fold.test, [Episode("all", 0)], [chosen], Given(vectors))
        values[chosen.get("classifier", "centroids")] = accuracy(predictions).value
    assert values["10 nearest neighbours"] > 95 > 75 > values["centroids"]


def train_by(*speakers: str) -> Fold:
    """Half of the training items of every class by each of two speakers; those of the first have the wrong features."""
    items = [item(one.id, one.label, speakers[n % 2]) for n, one in enumerate(FOLD.train.items)]
    return Fold("all", Split("train", tuple(items)), FOLD.dev, FOLD.test)


def test_no_speaker_of_test_is_among_the_examples_unless_the_task_is_about_speakers() -> None:
    fold, features = train_by("test-speaker0", "stranger"), telling(0.01)
    for one in fold.train.items[::2]:
        features.vectors[one.id] = -features.vectors[one.id]
    assert scores(features, fold)["all"] == [100.0]
    assert scores(features, fold, about_speakers=True)["all"][0] < 100.0
    assert Classifier(about_speakers=False).remarks(fold) == []


def test_splits_that_share_all_speakers_are_used_and_named() -> None:
    fold = train_by("test-speaker0", "test-speaker1")
    assert scores(telling(0.01), fold)[1] == [100.0] * 10
    (remark,) = Classifier(about_speakers=False).remarks(fold)
    assert "speakers of the test split are among the examples" in remark
    assert Classifier(about_speakers=True).remarks(fold) == []


def test_a_class_without_an_example_is_an_error_that_names_it() -> None:
    few = Split("train", tuple(one for one in FOLD.train.items if one.label != "c"))
    with pytest.raises(BadCorpus, match=r"class 'c' of the test split has no example .* 1 such"):
        scores(telling(1.0), Fold("all", few, FOLD.dev, FOLD.test))


def test_records_of_values_are_classes_too() -> None:
    orders = ({"action": "on", "object": "light"}, {"action": "off", "object": "light"})
    fold = Fold("all", split("train", 3, orders), split("dev", 3, orders), split("test", 3, orders))
    vectors = {one.id: torch.eye(2)[orders.index(one.label)] for part in fold.splits for one in part.items}
    ((_, _, predictions),) = Classifier(False)(fold, fold.test, [Episode(1, 0)], CENTRINGS[:1], Given(vectors))
    assert [one.prediction for one in predictions] == [one.label for one in fold.test.items]


# ---------------------------------------------------------------- intervals


def drawn(rights: Sequence[float], groups: int) -> list[Any]:
    """Draws of 200 items, each right with its own probability."""
    random = np.random.default_rng(0)
    draws = []
    for right in rights:
        rows = [
            Prediction(id=str(n), fold="all", group=(f"g{n % groups}",), reference=1, prediction=int(random.random() < right))
            for n in range(200)
        ]
        draws.append((rows, accuracy(rows)))
    return draws


@pytest.mark.parametrize("groups", [8, 40])
def test_an_interval_of_one_draw_is_the_usual_one(groups: int) -> None:
    ((rows, score),) = drawn([0.7], groups)
    low, high, method = interval_over_draws([(rows, score)])
    usual = interval(rows, score)
    assert (low, high, method) == (pytest.approx(usual[0]), pytest.approx(usual[1]), usual[2])


@pytest.mark.slow
@pytest.mark.parametrize("groups", [8, 40])
def test_draws_that_differ_widen_the_interval(groups: int) -> None:
    alike, different = drawn([0.7] * 6, groups), drawn([0.4, 0.5, 0.6, 0.8, 0.9, 1.0], groups)
    widths = [high - low for low, high, _ in (interval_over_draws(alike), interval_over_draws(different))]
    assert widths[1] > 1.5 * widths[0]
    assert mean_score(different).value == pytest.approx(70, abs=4)
    assert mean_score(different).counts["items"] == 1200
    assert "6 draws" in interval_over_draws(different)[2]


def test_ratios_are_resampled_at_once_with_the_same_values() -> None:
    draws = drawn([0.5, 0.8], 40)
    slow = [(rows, type(score)(score.value, score.unit, True, score.counts, score.reweighted)) for rows, score in draws]
    assert mean_replicates(draws).values == pytest.approx(mean_replicates(slow).values)


# ---------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def tone_run(tones: ModuleType, tone_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Does the job of the plugin's task that names a tone; returns what was performed, and the folder of the task."""
    place = tmp_path_factory.mktemp("few-shot")
    model = Loaded("s", plugins.parse("s=fbank"), tones.Spectrum().eval(), "1", 0, 320, 2, 17)

    def done(protocol: Any = "few-shot", where: str = "out", **options: Any) -> tuple[Performed, Path]:
        asked = Options(protocol, **options)
        with Store(place / "store") as store:
            performed = perform(tones.TONE, model, Corpora(tone_corpora), store, place / where, asked, {}, Silence())
        return performed, place / where / "s" / "tone"

    return done


@pytest.mark.slow
def test_a_classification_plugin_gets_few_shot_for_nothing(tone_run: Callable[..., Any]) -> None:
    result = tone_run()[0].result
    assert result.schema_ == 2
    assert [entry.k for entry in result.shots] == [1, 2, 5, 10, 20, "all"]
    assert [entry.draws for entry in result.shots] == [10] * 5 + [1]
    last = result.shots[-1]
    assert (last.floor, last.score, last.ci) == (25.0, result.scores["accuracy"].value, result.scores["accuracy"].ci)
    assert result.environment["prepared"] == "mini"
    assert any("speakers of the test split" in note for note in result.notes)


def test_the_setting_of_each_k_is_the_best_on_dev(tone_run: Callable[..., Any]) -> None:
    result = tone_run()[0].result
    for entry in result.shots:
        of_k = [receipt for receipt in result.sweep if receipt.setting["k"] == entry.k]
        chosen = [receipt.dev for receipt in of_k if receipt.setting == {"k": entry.k, **entry.setting}]
        assert chosen == [max(receipt.dev for receipt in of_k)]
        assert result.chosen[str(entry.k)]["setting"] == entry.setting
        assert len(of_k) == (4 if entry.k != "all" else 5)  # two layers, two ways to centre; for all, neighbours too


def test_the_same_job_is_found_and_a_second_one_gives_the_same_without_a_pass(tone_run: Callable[..., Any]) -> None:
    first, place = tone_run()
    assert tone_run()[0].found
    again, other = tone_run(where="elsewhere")
    assert (again.found, again.passed_seconds) == (False, 0)
    clocks = {"seconds": True, "environment": True, "efficiency": True}
    assert again.result.model_dump(exclude=clocks) == first.result.model_dump(exclude=clocks)
    predictions = [(folder / "few-shot" / "predictions.jsonl.gz").read_bytes() for folder in (place, other)]
    assert predictions[0] == predictions[1]


def test_scores_follow_from_predictions_that_carry_k_and_draw(tone_run: Callable[..., Any]) -> None:
    performed, place = tone_run()
    found = by_episode(read_predictions(place / "few-shot" / "predictions.jsonl.gz"))
    assert list(found) == [1, 2, 5, 10, 20, "all"]
    for entry in performed.result.shots:
        draws = [(rows, accuracy(rows)) for rows in found[entry.k]]
        assert len(draws) == entry.draws
        assert {len(rows) for rows, _ in draws} == {20}
        assert mean_score(draws).value == pytest.approx(entry.score)
        assert interval_over_draws(draws)[:2] == pytest.approx(entry.ci)


def test_results_lie_beside_those_of_heads_and_read_back(tone_run: Callable[..., Any]) -> None:
    place = tone_run()[1]
    probe = tone_run("mini")[0].result
    assert read_result(place).scores == probe.scores
    assert "shots" not in json.loads((place / "result.json").read_text())
    assert read_result(place / "few-shot").task.protocol == "few-shot"
    with pytest.raises(ValidationError, match="expected schema 2"):
        Result.model_validate({**probe.model_dump(by_alias=True), "task": {"name": "t", "version": 1, "protocol": "few-shot"}})


def test_a_k_beyond_the_examples_uses_all_and_says_so(tone_run: Callable[..., Any]) -> None:
    result = tone_run(shots=(300, "all"), draws=2, where="many")[0].result
    beyond, everything = result.shots
    assert (beyond.k, beyond.draws, everything.k) == (300, 2, "all")
    centroids = [
        receipt.dev for receipt in result.sweep if receipt.setting["k"] == "all" and "classifier" not in receipt.setting
    ]
    assert [receipt.dev for receipt in result.sweep if receipt.setting["k"] == 300] == pytest.approx(centroids)
    assert any(note.startswith("K = 300 examples of each class: the scarcest case has only") for note in result.notes)
    assert result.deviations == ["2 draws of the examples in place of 10"]
    (group,) = grouped([result], {})
    assert any("K = 300 examples of each class: the scarcest case has only" in line for line in remarks(group))


def test_a_k_that_a_task_has_not_has_no_entry(tone_run: Callable[..., Any]) -> None:
    assert [entry.k for entry in tone_run(shots=(0, 5), draws=2, where="few")[0].result.shots] == [5]
    with pytest.raises(CommandError, match=r"--shots 0: tone has none of these\. It has 1, 2, 5, 10, 20, all\."):
        tone_run(shots=(0,), where="none")


def test_a_task_that_says_nothing_and_is_no_classification_is_refused(tones: ModuleType) -> None:
    other = replace(tones.TONE, card=replace(tones.TONE.card, primary="wer"))
    with pytest.raises(CommandError, match="tone does not say how it is put without a gradient"):
        few_shot_of(other, ())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"shots": (1, 1)}, "--shots: 1 is given twice"),
        ({"shots": (-1,)}, "--shots -1: expected a whole number, 0 or more"),
        ({"shots": ()}, "--shots: expected one number or more"),
        ({"draws": 0}, "--draws 0: expected a whole number, 1 or more"),
        ({"draws": 1001}, "--draws 1001: expected a whole number, 1000 at most"),
        ({"max_steps": 5}, "--max-steps has no meaning with protocol few-shot, which trains nothing"),
        ({"learning_rates": (0.1,)}, "--lr has no meaning with protocol few-shot"),
        ({"seeds": (1,)}, "--seeds has no meaning with protocol few-shot"),
        ({"protocol": "mini", "shots": (1,)}, "--shots has no meaning with protocol mini, which trains heads"),
    ],
)
def test_options_without_meaning_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        Options(**{"protocol": "few-shot", **given})


def test_a_task_that_has_none_of_the_numbers_is_left_out_of_all_tasks() -> None:
    qbe = plugins.task("qbe")
    assert qbe.few_shot is not None
    assert shots_of(qbe, qbe.few_shot, (0, 5)) == [0]
    with pytest.raises(Undefined, match=r"qbe has none of these. It has 0\."):
        shots_of(qbe, qbe.few_shot, (1, 5, "all"))
