"""QbE: lists and references, the search, both values, and errors in a corpus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from downstream.query_by_example import CHUNK_FRAMES, TASK, scores_of, statistics
from downstream.shared.quesst import DOCUMENT_SPEAKERS, DOCUMENTS, TERMS
from superbench import Audio, BadCorpus, Corpora, Fold, Item, MissingCorpus, Split, load_audio

KEYS = {
    "utterances": [("Audio/quesst14_00001", "nnenglish"), ("Audio/quesst14_00002", "nnenglish"),
                   ("Audio/quesst14_00003", "nnenglish"), ("Audio/quesst14_00004", "albanian")],
    "dev": [("dev_queries/quesst14_dev_0001", "nnenglish"), ("dev_queries/quesst14_dev_0002", "nnenglish"),
            ("dev_queries/quesst14_dev_0003", "slovak"), ("dev_queries/quesst14_dev_0004", "slovak")],
    "eval": [("eval_queries/quesst14_eval_0001", "nnenglish"), ("eval_queries/quesst14_eval_0002", "czech")],
}  # fmt: skip
TRUTH = {
    "dev": [("00001", "0001"), ("00003", "0001"), ("00004", "0001"), ("00004", "0003"), ("00002", "0002")],
    "eval": [("00002", "0001")],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three English documents, two English dev queries and one of eval; sound of other languages is absent."""
    top = tmp_path / "quesst14Database"
    for name, rows in KEYS.items():
        listing = top / "scoring" / f"language_key_{name}.lst"
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text("".join(f"quesst14Database/{path}.wav {language}\n" for path, language in rows))
        for path, language in rows:
            (top / path).parent.mkdir(exist_ok=True)
            if language == "nnenglish":
                soundfile.write(top / f"{path}.wav", np.full(800, 0.5), 8_000)
    for split, pairs in TRUTH.items():
        rows = [f"LEXEME quesst14_{document} 1 0.00 2.50 quesst14_{split}_{query} lex" for document, query in pairs]
        truth(tmp_path, split).parent.mkdir()
        truth(tmp_path, split).write_text(";; comment\n" + "\n".join(rows) + "\n")
    return tmp_path


def truth(root: Path, split: str) -> Path:
    return root / "quesst14Database" / "scoring" / f"groundtruth_quesst14_{split}" / f"quesst14_{split}.rttm"


def key(root: Path, name: str) -> Path:
    return root / "quesst14Database" / "scoring" / f"language_key_{name}.lst"


def fold(root: Path) -> Fold:
    (only,) = TASK.read(Corpora(root))
    return only


# ---------------------------------------------------------------- the reader


def test_only_english_is_searched_and_train_is_empty(root: Path) -> None:
    only = fold(root)
    assert only.train.items == ()
    assert [item.id for item in only.dev.items] == [
        "quesst14_dev_0001", "quesst14_dev_0002", "quesst14_00001", "quesst14_00002", "quesst14_00003",
    ]  # fmt: skip
    assert [item.id for item in only.test.items] == [
        "quesst14_eval_0001", "quesst14_00001", "quesst14_00002", "quesst14_00003",
    ]  # fmt: skip


def test_trials_are_every_query_with_every_document_and_hold_the_reference(root: Path) -> None:
    trials = fold(root).dev.trials
    assert len(trials) == 6
    assert {trial.id for trial in trials if trial.reference} == {
        "quesst14_dev_0001|quesst14_00001", "quesst14_dev_0001|quesst14_00003", "quesst14_dev_0002|quesst14_00002",
    }  # fmt: skip
    assert all(trial.group == (trial.left,) for trial in trials)


def test_facts_count_queries_and_documents_of_other_languages(root: Path) -> None:
    only = fold(root)  # of the two Slovak dev queries one has a target; an English one is also in an Albanian document
    assert only.dev.facts == {"queries_absent": 1, "documents_absent": 1, "targets_absent|quesst14_dev_0001": 1}
    assert only.test.facts == {"queries_absent": 0, "documents_absent": 1}


def test_sound_is_three_decibels_softer_and_twice_as_many_samples(root: Path) -> None:
    wave = load_audio(fold(root).dev.items[0].audio)
    assert len(wave) == 1_600
    assert wave[400:1_200].median().item() == pytest.approx(0.5 * 10 ** (-3 / 20), abs=2e-3)


def test_a_listed_file_that_is_missing_is_an_error_that_names_it(root: Path) -> None:
    (root / "quesst14Database" / "Audio" / "quesst14_00002.wav").unlink()
    with pytest.raises(BadCorpus, match=r"quesst14_00002\.wav is listed"):
        fold(root)


@pytest.mark.parametrize(("line", "message"), [
    ("quesst14Database/Audio/quesst14_00001.wav nnenglish", "listed twice"),
    ("quesst14_00009.wav nnenglish", "line 5: expected"),
    ("quesst14Database/Audio/quesst14_00009.wav", "line 5: expected"),
])  # fmt: skip
def test_a_bad_line_of_a_list_is_an_error_that_shows_it(root: Path, line: str, message: str) -> None:
    with key(root, "utterances").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(BadCorpus, match=message):
        fold(root)


def test_a_bad_line_of_the_references_is_an_error_that_shows_it(root: Path) -> None:
    truth(root, "eval").write_text("LEXEME quesst14_00001 1 0.00 2.50 word lex\n")
    with pytest.raises(BadCorpus, match="line 1: expected"):
        fold(root)


def test_references_without_english_targets_are_an_error(root: Path) -> None:
    truth(root, "eval").write_text("LEXEME quesst14_00004 1 0.00 2.50 quesst14_eval_0002 lex\n")
    with pytest.raises(BadCorpus, match="no English query"):
        fold(root)


@pytest.mark.parametrize("lost", ["scoring/language_key_dev.lst", "scoring/groundtruth_quesst14_eval/quesst14_eval.rttm"])
def test_an_absent_list_says_where_it_was_looked_for(root: Path, lost: str) -> None:
    (root / "quesst14Database" / lost).unlink()
    with pytest.raises(MissingCorpus, match=Path(lost).name):
        fold(root)


# ---------------------------------------------------------------- the search


@dataclass(frozen=True)
class Frames:
    """Stored frames of one item, (layer, time, dim)."""

    stored: Tensor

    @property
    def layers(self) -> int:
        return len(self.stored)

    def frames(self, layer: int) -> Tensor:
        return self.stored[layer]


def random_frames(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def item(name: str, label: str) -> Item:
    return Item(name, Audio(Path(f"{name}.wav")), label, (name,))


@pytest.fixture
def outputs(root: Path) -> dict[str, Frames]:
    """Two layers: in layer 1 each dev query is a part of its targets, in layer 0 all is noise."""
    stored = {item.id: random_frames(i, 2, 30 + 5 * i, 6) for i, item in enumerate(fold(root).dev.items)}
    for document, query in TRUTH["dev"]:
        part = random_frames(int(query) + 50, 8, 6)
        stored[f"quesst14_dev_{query}"] = torch.stack([random_frames(int(query) + 70, 8, 6), part])
        if f"quesst14_{document}" in stored:
            stored[f"quesst14_{document}"][1, 10:18] = part
    return {name: Frames(frames) for name, frames in stored.items()}


def test_every_layer_is_a_candidate_on_dev_and_only_the_chosen_one_on_test(root: Path, outputs: dict[str, Frames]) -> None:
    dev = fold(root).dev
    candidates = list(TASK.select.candidates("all", dev, outputs, None))
    assert [setting for setting, _ in candidates] == [{"layer": layer, "distance": "cosine_exp"} for layer in (0, 1)]
    ((setting, predictions),) = TASK.select.candidates("all", dev, outputs, candidates[1][0])
    assert (setting, predictions) == candidates[1]
    assert [prediction.id for prediction in predictions] == [trial.id for trial in dev.trials]


def test_queries_are_found_where_they_are_and_the_official_value_is_a_known_share(
    root: Path, outputs: dict[str, Frames]
) -> None:
    dev = fold(root).dev
    ((_, predictions),) = TASK.select.candidates("all", dev, outputs, {"layer": 1, "distance": "cosine_exp"})
    scores = TASK.score(predictions, dev.facts)
    assert scores["mtwv_english"].value == pytest.approx(1.0)
    assert scores["mtwv"].value == pytest.approx((2 / 3 + 1) / 3)  # a target in Albanian and the Slovak query are missed
    assert scores["mtwv"].counts == {
        "queries": 2, "queries_absent": 1, "documents": 3, "documents_absent": 1, "targets": 4, "hits": 3, "false_alarms": 0,
    }  # fmt: skip


def test_scores_of_a_query_have_zero_mean_and_unit_population_deviation(root: Path, outputs: dict[str, Frames]) -> None:
    for row in scores_of(fold(root).dev.items, outputs, 0).values():
        values = np.array(list(row.values()))
        assert (values.mean(), values.std()) == pytest.approx((0, 1), abs=1e-3)
        assert values.tolist() == [round(value, 4) for value in values.tolist()]


def test_a_query_of_less_than_five_frames_scores_zero(root: Path, outputs: dict[str, Frames]) -> None:
    outputs["quesst14_dev_0001"] = Frames(outputs["quesst14_dev_0001"].stored[:, :4])
    scores = scores_of(fold(root).dev.items, outputs, 1)
    assert set(scores["quesst14_dev_0001"].values()) == {0.0}
    assert set(scores["quesst14_dev_0002"].values()) != {0.0}


def test_scores_do_not_change_with_scale_and_offset_of_a_dimension(root: Path, outputs: dict[str, Frames]) -> None:
    items = fold(root).dev.items
    scale, offset = torch.tensor([1e-3, 1.0, 50.0, -2.0, 7.0, 0.1]), torch.arange(6.0)
    moved = {name: Frames(frames.stored * scale + offset) for name, frames in outputs.items()}
    before, after = scores_of(items, outputs, 0), scores_of(items, moved, 0)
    for query, row in before.items():
        assert list(after[query].values()) == pytest.approx(list(row.values()), abs=1e-3)


def test_scores_do_not_depend_on_the_division_into_chunks() -> None:
    half = CHUNK_FRAMES["cpu"] // 2
    lengths = [half, 40, half + 1, 7]
    stored = {"q": random_frames(0, 1, 6, 2)} | {f"d{i}": random_frames(i + 1, 1, n, 2) for i, n in enumerate(lengths)}
    names = [*stored]
    outputs = {name: Frames(frames) for name, frames in stored.items()}

    def raw(order: list[str]) -> dict[str, float]:
        items = tuple(item(name, "query" if name == "q" else "document") for name in order)
        return scores_of(items, outputs, 0)["q"]

    in_order, reversed_ = raw(names), raw(names[::-1])
    assert list(in_order) == names[1:]
    assert {name: pytest.approx(value, abs=2e-3) for name, value in in_order.items()} == reversed_


def test_statistics_are_over_all_frames_with_the_unbiased_deviation() -> None:
    sounds = [random_frames(1, 5, 3) + 100, random_frames(2, 50, 3), torch.zeros(1, 3)]
    sounds = [torch.cat([frames, torch.ones(len(frames), 1)], 1) for frames in sounds]  # the fourth dimension is constant
    mean, spread = statistics(sounds)
    everything = torch.cat(sounds)
    torch.testing.assert_close(mean, everything.mean(0))
    torch.testing.assert_close(spread[:3], everything[:, :3].std(0))
    assert spread[3].item() == pytest.approx(1e-9)


# ---------------------------------------------------------------- the miniature


@pytest.mark.slow
def test_queries_and_documents_of_the_miniature_have_different_voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list = []
    monkeypatch.setattr("downstream.shared.quesst.speak", lines.extend)
    TASK.synth(tmp_path, 3)
    for line in lines:
        line.path.parent.mkdir(parents=True, exist_ok=True)
        line.path.touch()
    only = fold(tmp_path)
    for split in (only.dev, only.test):
        assert_searchable(split, {line.path.stem: line.text for line in lines})
    voices = {folder: {line.voice.name for line in lines if line.path.parent.name == folder}
              for folder in ("Audio", "dev_queries", "eval_queries")}  # fmt: skip
    assert len(voices["Audio"]) == DOCUMENT_SPEAKERS
    assert len(set.union(*voices.values())) == sum(len(names) for names in voices.values())
    assert {line.sample_rate for line in lines} == {8_000}


def assert_searchable(split: Split, texts: dict[str, str]) -> None:
    assert [item.label for item in split.items].count("query") == 40
    assert [item.label for item in split.items].count("document") == DOCUMENTS
    assert split.facts == {"queries_absent": 10, "documents_absent": 60}
    assert {texts[trial.left] for trial in split.trials if trial.reference} == {texts[trial.left] for trial in split.trials}
    for trial in split.trials:
        assert trial.reference == (f" {texts[trial.left]} " in f" {texts[trial.right]} ")


def test_dev_and_eval_have_different_terms() -> None:
    terms = [term.strip() for row in TERMS.values() for term in row.split("|")]
    assert len(terms) == len(set(terms)) == 80
    assert {len(term.split()) for term in terms} == {1, 2, 3}


def test_the_card_has_no_training() -> None:
    assert TASK.head is None
    assert {(recipe.steps, recipe.learning_rates) for recipe in TASK.card.recipes.values()} == {(0, ())}
