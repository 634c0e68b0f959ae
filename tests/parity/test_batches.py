"""Which utterances meet in a batch: windows of PR and SF, buckets of ASR, folds of ER.

References: `s3prl.downstream.asr.dataset.SequenceDataset`, `s3prl.downstream.ctc.data.collect_audio_batch`,
`s3prl.downstream.emotion.expert`. The windows themselves are in `s3prl.downstream.ctc.corpus`, which the published package
lacks: `window` below restates them (protocol.md 2.1). The order of batches is drawn by another generator in either.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import pytest
import soundfile
import torch

from downstream import emotion_recognition, phoneme_recognition, slot_filling, speech_recognition
from superbench import Corpora
from superbench.contract import Recipe
from superbench.training.probes.batches import BatchPlan, Traits

Reference = Callable[[str], Any]
LIMIT = 300_000


def epoch(recipe: Recipe, traits: Traits) -> list[list[int]]:
    """All micro-batches of our first epoch."""
    plan = BatchPlan(recipe, traits)
    per_update = recipe.accumulate
    batches = [part.tolist() for update in range(-(-plan.batches_per_epoch // per_update)) for part in plan(update)]
    return batches[: plan.batches_per_epoch]


# ---------------------------------------------------------------- ASR


def bucketed(reference: Reference, samples: list[int], folder: Path, size: int) -> list[list[int]]:
    """The groups that the reference makes of utterances of these lengths."""
    chapter = folder / "train-clean-100/19/198"
    chapter.mkdir(parents=True)
    names = [f"19-198-{n:04d}" for n in range(len(samples))]
    (chapter / "19-198.trans.txt").write_text("".join(f"{name} A\n" for name in names))
    table = {"file_path": [f"train-clean-100/19/198/{name}.flac" for name in names], "length": samples}
    pandas.DataFrame(table).to_csv(folder / "train-clean-100.csv")
    module = reference("downstream.asr.dataset")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "tqdm", lambda items, **options: items)
        dictionary = reference("downstream.asr.dictionary").Dictionary()
        dataset = module.SequenceDataset("train", size, dictionary, str(folder), str(folder), train=["train-clean-100"])
    return [[int(Path(path).stem.split("-")[-1]) for path in group] for group in dataset.X]


@pytest.mark.parametrize("count", [320, 320 + 27, 320 + 16, 320 + 9, 320 + 1])
def test_buckets_of_recognition_are_the_same(reference: Reference, tmp_path: Path, count: int) -> None:
    """Lengths differ from each other: the source sorts ties in no defined order."""
    samples = random.Random(0).sample(range(20_000, 390_000), count)
    theirs = bucketed(reference, samples, tmp_path, 32)
    ours = epoch(speech_recognition.OFFICIAL, Traits(samples, [1] * count, ["x"] * count))
    assert {len(group) for group in theirs[:20]} == {16}
    assert sorted(ours) == sorted(theirs)


# ---------------------------------------------------------------- PR and SF


def window(tokens: list[int], index: int, size: int) -> list[int]:
    """Restated: utterances sorted by target length, longest first; item `index` is the window that begins at it."""
    order = sorted(range(len(tokens)), reverse=True, key=lambda i: tokens[i])
    first = min(len(tokens) - size, index)
    return order[first : first + size]


def collected(reference: Reference, group: list[int], samples: list[int], patch: pytest.MonkeyPatch) -> list[int]:
    """What the reference's own collation makes of a window; its sound is as long as `samples` say."""
    module = reference("downstream.ctc.data")
    sounds = SimpleNamespace(load=lambda path: (torch.zeros(1, samples[int(path)]), 16_000))
    patch.setattr(module, "torchaudio", sounds)
    _, _, names = module.collect_audio_batch([[(str(i), [i]) for i in group]], "train")
    return [int(name) for name in names]


@pytest.mark.parametrize("task", [phoneme_recognition, slot_filling], ids=["pr", "sf"])
def test_windows_are_the_same_halved_where_the_first_sound_is_long(
    reference: Reference, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(1)
    tokens = [draw.randrange(5, 40) for _ in range(90)]
    samples = [min(draw.choice([4_000, 9_000, LIMIT, LIMIT + 1]), 600_000) for _ in tokens]
    windows = [window(tokens, index, task.OFFICIAL.batch) for index in range(len(tokens))]
    theirs = [sorted(collected(reference, group, samples, monkeypatch)) for group in windows]
    assert {len(group) for group in theirs} == {task.OFFICIAL.batch, task.OFFICIAL.batch // 2}
    ours = epoch(task.OFFICIAL, Traits(samples, tokens, ["x"] * len(tokens)))
    assert sorted(sorted(group) for group in ours) == sorted(theirs)


# ---------------------------------------------------------------- ER


def test_folds_of_emotions_have_the_same_train_and_dev(reference: Reference, tmp_path: Path) -> None:
    """Given the order of our list; that of the source's own lists is the order of a folder (protocol.md 2.6)."""
    draw = random.Random(2)
    for session in range(1, 6):
        folder = tmp_path / f"IEMOCAP/Session{session}"
        (folder / "dialog/EmoEvaluation").mkdir(parents=True)
        for dialog in (f"Ses0{session}F_impro01", f"Ses0{session}M_script02"):
            names = [f"{dialog}_{draw.choice('FM')}{n:03d}" for n in range(21)]
            sounds = folder / "sentences/wav" / dialog
            sounds.mkdir(parents=True)
            for name in names:
                soundfile.write(sounds / f"{name}.wav", np.zeros(2), 16_000)
            lines = [f"[0.0 - 1.0]\t{name}\t{draw.choice(['neu', 'exc', 'ang', 'sad', 'xxx'])}\t[1]\n" for name in names]
            (folder / f"dialog/EmoEvaluation/{dialog}.txt").write_text("".join(lines))
    folds = emotion_recognition.read(Corpora(tmp_path))
    for number, fold in enumerate(folds, start=1):
        for name in ("train", "test"):
            tested = f"Session{number}"
            items = fold.test.items if name == "test" else [i for f in folds if f is not fold for i in f.test.items]
            rows = [{"path": f"{item.id}.wav", "label": item.label} for item in items]
            (tmp_path / tested).mkdir(exist_ok=True)
            facts = {"labels": {label: n for n, label in enumerate(emotion_recognition.CLASSES)}, "meta_data": rows}
            (tmp_path / tested / f"{name}_meta_data.json").write_text(json.dumps(facts))
        theirs = expert(reference, tmp_path, f"fold{number}")
        for own, other in ((fold.train, theirs.train_dataset), (fold.dev, theirs.dev_dataset)):
            names = {Path(other.dataset.meta_data[i]["path"]).stem for i in other.indices}
            assert {item.id for item in own.items} == names
            assert len(own.items) == len(other) > 5
        assert theirs.test_dataset.class_dict == {label: n for n, label in enumerate(emotion_recognition.CLASSES)}


def expert(reference: Reference, root: Path, fold: str) -> Any:
    module = reference("downstream.emotion.dataset")
    data = {"root": str(root), "meta_data": str(root), "test_fold": fold, "pre_load": False, "valid_ratio": 0.2}
    model = {"projector_dim": 256, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "torchaudio", SimpleNamespace(load=lambda path: (torch.zeros(1, 2), 16_000)))
        return reference("downstream.emotion.expert").DownstreamExpert(8, {"datarc": data, "modelrc": model}, "none")
