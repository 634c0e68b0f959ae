"""How long does few-shot classification take, and how much memory, on features that are stored?

`--results DEMO` (a folder that `superbench demo` wrote): KS, IC, SID and ER of one of its models, ten draws, six K, with
everything that a run does after features are stored, in seconds of processors, one thread; beside it, a plain loop of
scikit-learn's `NearestCentroid` and `KNeighborsClassifier` over the same hidden states, centrings, K and draws, with the
accuracies of both: the loop shares no code with the experiment but the draws, and chooses anew for each draw. `--size
voxceleb1`: synthetic features of the size of SID on VoxCeleb1 (1 251 classes, 153 516 vectors, 13 hidden states of 768), in a
file of 6 GB.

    python benchmarks/few_shot.py --results demo
    python benchmarks/few_shot.py --size voxceleb1
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from superbench import plugins
from superbench.contract import Audio, Fold, Item, Shots, Split, Task
from superbench.contract.corpora import Corpora
from superbench.contract.items import audios_of, without_crops
from superbench.features.extraction import Extraction, extract
from superbench.features.store import Store
from superbench.results.shots import in_words
from superbench.runs.options import Options
from superbench.system.progress import Silence
from superbench.training.few_shot.classification import CENTRINGS, NEIGHBOURS, SHOTS, STANDARDISED, key_of
from superbench.training.few_shot.episodes import draw_examples, episodes
from superbench.training.few_shot.experiment import FewShotConditions, few_shot_experiment

TASKS = ("ks", "ic", "sid", "er")
DRAWS = 10
NEAREST = "neighbours"
VOXCELEB1 = {"train": 138_361, "dev": 6_904, "test": 8_251}
SPEAKERS, LAYERS, DIM = 1_251, 13, 768
IN_A_SHARD = 40
"""Utterances of VoxCeleb1 (8.2 s on average) in a shard of the store, which holds 300 s of sound."""


Accuracies = dict[Shots | str, float]
"""K -> the accuracy on test, in percent, averaged over draws and folds; of the plain loop also that of all `NEAREST`."""


def ours(task: Task, folds: Sequence[Fold], extraction: Any, layers: int) -> tuple[float, Accuracies]:
    """Returns the seconds of processors of a few-shot experiment, from stored features to scores with intervals."""
    began = time.process_time()
    conditions = FewShotConditions(task=task, shots=None, draws=DRAWS, layers=range(layers), reporter=Silence())
    outcome = few_shot_experiment(conditions, folds, extraction)
    return time.process_time() - began, {entry["k"]: entry["score"] for entry in outcome.shots}


def plain(folds: Sequence[Fold], extraction: Extraction, layers: int) -> tuple[float, Accuracies]:
    """Returns the seconds of processors of the same choices on dev and the same answers for test, in a loop of scikit-learn."""
    began, right = time.process_time(), defaultdict[Shots | str, list[float]](list)
    for fold in folds:
        train, dev, test = (
            np.stack([extraction[item.audio][0].numpy() for item in split.items]) for split in (fold.train, fold.dev, fold.test)
        )
        names, classes = np.unique([key_of(item) for item in fold.train.items], return_inverse=True)
        truth, asked_for = (np.searchsorted(names, [key_of(item) for item in split.items]) for split in (fold.dev, fold.test))
        for episode in episodes(SHOTS, DRAWS):
            rows = draw_examples(classes, episode, fold.name)
            dev_scores = {
                (layer, setting["centring"]): np.mean(
                    _centroids(train[:, layer], rows, classes, dev[:, layer], setting["centring"]) == truth
                )
                for layer in range(layers)
                for setting in CENTRINGS
            }
            layer, centring = max(dev_scores, key=lambda choice: dev_scores[choice])
            answers = _centroids(train[:, layer], rows, classes, test[:, layer], centring)
            right[episode.shots].append(100.0 * np.mean(answers == asked_for))
            if episode.shots == "all":
                examples, asked = _centred(train[:, layer], test[:, layer], centring)
                neighbours = KNeighborsClassifier(NEIGHBOURS, weights=_votes, metric="cosine").fit(examples, classes)
                right[NEAREST].append(100.0 * np.mean(neighbours.predict(asked) == asked_for))
    return time.process_time() - began, {k: float(np.mean(values)) for k, values in right.items()}


def _centroids(train: np.ndarray, rows: np.ndarray, classes: np.ndarray, asked: np.ndarray, centring: str) -> np.ndarray:
    examples, questions = _centred(train, asked, centring)
    return NearestCentroid().fit(examples[rows], classes[rows]).predict(questions)


def _centred(train: np.ndarray, asked: np.ndarray, centring: str) -> tuple[np.ndarray, np.ndarray]:
    mean, scale = train.mean(0), train.std(0) if centring == STANDARDISED else 1.0
    both = (train - mean) / scale, (asked - mean) / scale
    return both[0] / np.linalg.norm(both[0], axis=1, keepdims=True), both[1] / np.linalg.norm(both[1], axis=1, keepdims=True)


def _votes(distances: np.ndarray) -> np.ndarray:
    return np.exp((1 - distances) / 0.07)


def miniature(demo: Path, model: str) -> None:
    """Prints the seconds and accuracies of each task of a demo's folder, and those of the plain loop."""
    upstream = plugins.upstream(plugins.parse(model.format(demo=demo)))
    options, sums = Options("mini"), np.zeros(2)
    for name in TASKS:
        task = plugins.task(name)
        with Store(demo / "store") as store:
            recipe = options.recipe(task)
            folds = [_prepared(task, fold, upstream.hop, recipe) for fold in task.read(Corpora.at(demo / "data"))]
            folds = list(without_crops(folds))
            extraction = extract(upstream, audios_of(folds), task.card.reads, store, "cpu", Silence())
            sides = [ours(task, folds, extraction, upstream.layers), plain(folds, extraction, upstream.layers)]
        seconds = np.array([side[0] for side in sides])
        sums += seconds
        print(f"{name}: {seconds[0]:.2f} s, plain loop {seconds[1]:.2f} s, ratio {seconds[1] / seconds[0]:.1f}", flush=True)
        for who, (_, accuracies) in zip(("accuracy", "plain loop"), sides, strict=True):
            values = (f"{k if k == NEAREST else in_words(k)}: {value:.1f}" for k, value in accuracies.items())
            print(f"    {who:10} " + "  ".join(values), flush=True)
    print(f"all: {sums[0]:.2f} s, plain loop {sums[1]:.2f} s, ratio {sums[1] / sums[0]:.1f}")


def _prepared(task: Task, fold: Fold, hop: int, recipe: Any) -> Fold:
    splits = {split.name: task.prepare(split, hop, recipe) for split in fold.splits}
    return Fold(fold.name, splits["train"], splits["dev"], splits["test"])


class OnDisk:
    """Features in a file (item, layer, dim), read as stored features are read. It is not mapped into memory: pages of a mapped
    file would count as memory of this process."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb", buffering=0)
        self.request = SimpleNamespace(upstream=SimpleNamespace(hop=320, dim=DIM))

    def means_in_parts(self, audios: Sequence[Audio], layers: slice) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Yields features (item, layer, dim) with their places, some at a time, as those of shards."""
        values, size = np.empty((IN_A_SHARD, LAYERS, DIM), np.float32), 4 * LAYERS * DIM
        for first in range(0, len(audios), IN_A_SHARD):
            some = audios[first : first + IN_A_SHARD]
            for place, audio in enumerate(some):
                os.preadv(self.file.fileno(), [values[place]], audio.start * size)
            yield list(range(first, first + len(some))), torch.from_numpy(values[: len(some), layers])


def voxceleb1() -> None:
    """Prints seconds and peak memory for features of the size of VoxCeleb1."""
    random, items = np.random.default_rng(0), list(_items())
    speakers = np.array([int(item.label[2:]) for item in items])
    centres = random.standard_normal((SPEAKERS, DIM), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "features.f32")
        with path.open("wb") as file:
            for start in range(0, len(items), 2_000):
                some = speakers[start : start + 2_000]
                noise = random.standard_normal((len(some), LAYERS, DIM), dtype=np.float32)
                file.write((centres[some][:, None] + 6 * noise).tobytes())
        ends = np.cumsum([0, *VOXCELEB1.values()])
        splits = [Split(name, tuple(items[a:b])) for name, a, b in zip(VOXCELEB1, ends, ends[1:], strict=False)]  # type: ignore[arg-type]
        began = time.perf_counter()
        cpu, _ = ours(plugins.task("sid"), [Fold("all", *splits)], OnDisk(path), LAYERS)
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"SID of VoxCeleb1's size, {len(items):,} vectors of {LAYERS} × {DIM}, {DRAWS} draws, {len(SHOTS)} K: {seconds:.1f} s, "
        f"{cpu:.1f} s of processors, peak memory {peak:.2f} GiB"
    )


def _items() -> Iterator[Item]:
    number = 0
    for split, count in VOXCELEB1.items():
        for position in range(count):
            speaker = f"id{position % SPEAKERS:05}"
            yield Item(f"{split}/{position}", Audio(Path("features"), start=number), speaker, (speaker,))
            number += 1


def main() -> None:
    """Reads the arguments and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="a folder that `superbench demo` wrote")
    parser.add_argument("--model", default="apc@{demo}/apc.safetensors", help="the upstream, with {demo} for that folder")
    parser.add_argument("--size", choices=["voxceleb1"], help="synthetic features of this corpus' size")
    asked = parser.parse_args()
    for kind in (RuntimeWarning, UserWarning):  # of NearestCentroid, where classes have one example each
        warnings.simplefilter("ignore", kind)
    gc.freeze()  # as in the process of a job
    if asked.results:
        torch.set_num_threads(1)
        miniature(asked.results, asked.model)
    if asked.size:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        voxceleb1()
    if not asked.results and not asked.size:
        parser.error("give --results or --size")


if __name__ == "__main__":
    main()
