"""QbE, query by example: which documents contain the spoken query? Nothing is trained.

Corpus: the English part of QUESST 2014: 138 dev and 138 eval queries, 2 438 documents. Paper: Anguera et al. (MediaEval 2014).
Licence: see the corpus page. Rules (protocol of SUPERB): one layer, every dimension standardised over the frames of all
queries and documents of the split; subsequence DTW; a query's scores z-normalised over the documents, kept to four decimals
as in the official submission; layer chosen on dev. Sound is 3 dB softer than in the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import torch
from torch import Tensor
from torch.nn.functional import normalize

from downstream.shared.dtw import search
from downstream.shared.lists import must_be_there
from downstream.shared.quesst import LAYOUT, OBTAIN, RATE, search as asked_of, write_miniature
from downstream.shared.twv import Absent, maximum_twv
from superbench import (
    Answers,
    Audio,
    Corpora,
    Episode,
    FewShot,
    Fold,
    Item,
    LayerFeatures,
    Outputs,
    Prediction,
    Recipe,
    Score,
    Selection,
    Setting,
    Size,
    Split,
    Task,
    TaskCard,
    Trial,
    Upload,
)

GAIN_DB = -3.0
SHORTEST = 5
"""A query of fewer frames scores 0 everywhere."""

CHUNK_FRAMES = {"cpu": 20_000, "cuda": 500_000}
"""Document frames that are searched at once: few enough for the caches of a CPU, many enough to use a GPU fully (2 GB with 768
dimensions and a query of 100 frames)."""

DECIMALS = 4
TINY = 1e-9
DISTANCE = "cosine_exp"
QUERY, DOCUMENT = "query", "document"
ELSEWHERE = "targets_absent|"
"""Prefix of the facts that count the targets of a query in documents that are not searched."""

DETECTED = 2.0
STDLIST = {
    "termlist_filename": "benchmark.stdlist.xml", "indexing_time": "1.00", "language": "english", "index_size": "1",
    "system_id": "benchmark",
}  # fmt: skip

UNTRAINED = Recipe(steps=0, batch=1, evaluate_every=0, learning_rates=())

CARD = TaskCard(
    name="qbe",
    title="Query by example",
    version=1,
    domain="content",
    corpus="QUESST 2014 (English part)",
    licence="see the corpus page",
    paper="https://ceur-ws.org/Vol-1263/mediaeval2014_submission_35.pdf",
    obtain=OBTAIN,
    layout=LAYOUT,
    primary="mtwv",
    reads="frames",
    recipes={"superb": UNTRAINED, "superb-once": UNTRAINED, "mini": UNTRAINED},
    reference_points={"mtwv": (0.0058, 0.0736)},
    published={"mtwv": "qbe_mtwv"},
    differences={"superb-once": "nothing", "mini": "nothing"},
    miniature="synthetic speech: 40 dev and 40 eval queries in 300 documents, 10 + 10 queries and 60 documents of other "
    "languages only in the lists",
    sound="QUESST 2014 English",
    # approximate: 23 h over 12 492 utterances of all languages is 6.6 s each, and queries of about 2 s are assumed
    sizes={"dev": Size(2_576, 4.6), "test": Size(2_576, 4.6), "all": Size(2_714, 4.7)},  # the documents are the same
    counts={
        f"{split}{label}": count
        for split in ("dev", "test")
        for label, count in (("", 2_576), (f"/{QUERY}", 138), (f"/{DOCUMENT}", 2_438))
    },
    sample_rate=RATE,
    withheld="the ground truth is in the archive, whose terms do not mention passing it on",
)


def read(corpora: Corpora) -> tuple[Fold, ...]:
    """Reads the one fold, which has no train split; ids are file names without suffix. Raises `MissingCorpus`, `BadCorpus`."""
    dev, test = _split("dev", corpora, "dev"), _split("test", corpora, "eval")
    must_be_there((item.audio.path for item in (*dev.items, *test.items)), "QUESST 2014", "Unpack the corpus again.")
    return (Fold("all", Split("train", ()), dev, test),)


def _split(name: Literal["dev", "test"], corpora: Corpora, official: str) -> Split:
    search = asked_of(corpora, official)
    files = [(QUERY, *pair) for pair in search.queries.items()] + [(DOCUMENT, *pair) for pair in search.documents.items()]
    items = tuple(Item(key, Audio(path, gain_db=GAIN_DB), label, (key,)) for label, key, path in files)
    trials = tuple(
        Trial(query, document, int((query, document) in search.targets), (query,))
        for query in search.queries
        for document in search.documents
    )
    facts = {"queries_absent": float(search.queries_absent), "documents_absent": float(search.documents_absent)}
    return Split(name, items, trials, facts | {f"{ELSEWHERE}{query}": float(n) for query, n in search.targets_absent.items()})


def prepare(split: Split, hop: int, recipe: Recipe) -> Split:
    """Returns the split: nothing depends on the frame rate."""
    return split


def candidates(fold: str, split: Split, outputs: Outputs, only: Setting | None) -> Iterable[tuple[Setting, list[Prediction]]]:
    """Yields the scores of every trial, layer by layer (or only for the layer of `only`)."""
    layers = [only["layer"]] if only else range(outputs[split.items[0].id].layers)
    for layer in layers:
        scores = scores_of(split.items, outputs, layer)
        predictions = [
            Prediction(
                id=trial.id, fold=fold, group=trial.group, reference=trial.reference, prediction=scores[trial.left][trial.right]
            )
            for trial in split.trials
        ]
        yield {"layer": layer, "distance": DISTANCE}, predictions


def scores_of(items: Sequence[Item], outputs: Outputs, layer: int) -> dict[str, dict[str, float]]:
    """Returns query id -> document id -> z-normalised score: minus the least DTW cost per query frame."""
    lengths: dict[str, int] = {}

    def sounds() -> Iterator[Tensor]:
        for item in items:
            frames = outputs[item.id].frames(layer)
            lengths[item.id] = len(frames)
            yield frames

    mean, spread = statistics(sounds())
    queries, documents = ([item.id for item in items if item.label == label] for label in (QUERY, DOCUMENT))

    def standardised(key: str) -> Tensor:
        return normalize((outputs[key].frames(layer) - mean) / spread, dim=1)  # unit length: only angles are compared

    searched = {key: standardised(key) for key in queries if lengths[key] >= SHORTEST}
    columns: dict[str, Tensor] = {}
    for chunk in _chunks({key: lengths[key] for key in documents}, CHUNK_FRAMES[mean.device.type]):
        costs = torch.zeros(len(queries), len(chunk))
        if searched:
            long_enough = [key in searched for key in queries]
            costs[long_enough] = search(list(searched.values()), [standardised(key) for key in chunk]).cpu()
        columns |= zip(chunk, costs.unbind(1), strict=True)
    normal = _normalised(-torch.stack([columns[key] for key in documents], 1))
    rows = ([round(z, DECIMALS) for z in row] for row in normal.tolist())
    return {query: dict(zip(documents, row, strict=True)) for query, row in zip(queries, rows, strict=True)}


def _normalised(scores: Tensor) -> Tensor:
    """Normalises each row of (query, document) to zero mean and unit (population) deviation.

    A row of equal scores becomes 0.
    """
    scores = scores.double()
    return (scores - scores.mean(1, keepdim=True)) / scores.std(1, correction=0, keepdim=True).clamp_min(TINY)


def statistics(sounds: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Computes mean and unbiased standard deviation (at least 1e-9) of each dimension over all frames of `sounds` (time, dim).

    One pass in double precision, so that a corpus need not fit into memory.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for frames in sounds:
        count, total, squares = count + len(frames), total.to(frames.device), squares.to(frames.device)
        total, squares = total + frames.double().sum(0), squares + frames.double().square().sum(0)
    mean = total / count
    variance = (squares - count * mean.square()).clamp_min(0) / max(count - 1, 1)
    return mean.float(), variance.sqrt().clamp_min(TINY).float()


def _chunks(lengths: Mapping[str, int], most: int) -> Iterator[list[str]]:
    """Yields groups of document ids of similar length: at most `most` frames when padded, but at least one document."""
    chunk: list[str] = []
    for key in sorted(lengths, key=lambda key: lengths[key]):
        if chunk and (len(chunk) + 1) * lengths[key] > most:
            yield chunk
            chunk = []
        chunk.append(key)
    yield chunk


def score(predictions: Sequence[Prediction], facts: Mapping[str, float]) -> dict[str, Score]:
    """Computes two MTWV as fractions: the official one, which counts other languages as never detected, and that of English."""
    elsewhere = {key.removeprefix(ELSEWHERE): int(n) for key, n in facts.items() if key.startswith(ELSEWHERE)}
    absent = Absent(int(facts.get("queries_absent", 0)), int(facts.get("documents_absent", 0)), elsewhere)
    return {"mtwv": maximum_twv(predictions, absent), "mtwv_english": maximum_twv(predictions, Absent())}


def upload(predictions: Sequence[Prediction], hop: int) -> Upload:
    """Returns the list of detections as the reference writes it: each document for each query, YES above two deviations."""
    root = ElementTree.Element("stdlist", STDLIST)
    terms: dict[str, ElementTree.Element] = {}
    for answer in predictions:
        query, _, document = answer.id.partition("|")
        if query not in terms:
            terms[query] = ElementTree.SubElement(
                root, "detected_termlist", termid=query, term_search_time="1.0", oov_term_count="1"
            )
        decision = "YES" if answer.prediction > DETECTED else "NO"
        fields = {"file": document, "channel": "1", "tbeg": "0.000", "dur": "0.00"}
        ElementTree.SubElement(terms[query], "term", fields, score=f"{answer.prediction:.4f}", decision=decision)
    ElementTree.indent(root)
    return Upload({f"qbe_public/{STDLIST['termlist_filename']}": ElementTree.tostring(root, "utf-8", xml_declaration=True)})


def synth(root: Path, seed: int) -> None:
    """Writes the miniature `quesst14Database/`."""
    write_miniature(root, seed)


@dataclass(frozen=True, slots=True)
class _FramesOfItem:
    """The frames of an item in one hidden state, as `candidates` reads them."""

    item: Item
    features: LayerFeatures

    def frames(self, layer: int) -> Tensor:
        """Returns the frames (time, dim) of the one hidden state there is."""
        return self.features.frames(self.item)


def without_gradient(
    fold: Fold, split: Split, episodes: Sequence[Episode], settings: Sequence[Setting], features: LayerFeatures
) -> Answers:
    """Yields the scores of every trial, as `candidates` computes them for this hidden state."""
    outputs = {item.id: _FramesOfItem(item, features) for item in split.items}
    for _, predictions in candidates(fold.name, split, outputs, {"layer": features.layer}):
        for episode in episodes:
            for setting in settings:
                yield episode, setting, predictions


FEW_SHOT = FewShot(
    question="Does the document contain the spoken query?",
    counted="further recordings of a query",
    shots=(0,),
    answer=without_gradient,
    floor=lambda fold: 0.0,
    settings=({"distance": DISTANCE},),
)
"""The official task, which needs no gradient. QUESST has one recording of each query, so no K ≥ 1 exists."""

TASK = Task(
    card=CARD,
    read=read,
    prepare=prepare,
    head=None,
    select=Selection("mtwv", True, candidates),
    score=score,
    synth=synth,
    upload=upload,
    few_shot=FEW_SHOT,
    predicts=float,
)
