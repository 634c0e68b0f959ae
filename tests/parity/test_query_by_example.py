"""QbE: from features to the scores of the official submission: `s3prl.downstream.quesst14_dtw.expert`, which calls dtw-python.

Its processes are replaced by threads and its progress bar is silent; the configuration is that of protocol.md 2.10. The cost
of a path alone is compared with dtw-python in tests/downstream/test_dtw.py.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lxml import etree
from torch import Tensor, nn
from torch.nn.functional import normalize

from downstream.query_by_example import DOCUMENT, QUERY, scores_of
from downstream.shared.dtw import cosine_exp, least_costs
from superbench import Audio, Item

Reference = Callable[[str], Any]
Bare = Callable[..., nn.Module]
QUERIES, DOCUMENTS = (12, 30, 4, 5, 21), (60, 9, 33, 120, 20, 45, 3)
"""Frames; one query is too short to be searched, some documents are shorter than a query."""


class Frames:
    """Stored features of one layer, as a task without a head gets them."""

    layers = 1

    def __init__(self, frames: Tensor) -> None:
        self.values = frames

    def frames(self, layer: int) -> Tensor:
        return self.values


def sounds() -> dict[str, Tensor]:
    scale, offset = torch.rand(16) * 5, torch.randn(16) * 3
    lengths = [*((f"q{n}", one) for n, one in enumerate(QUERIES)), *((f"d{n}", one) for n, one in enumerate(DOCUMENTS))]
    found = {key: torch.randn(length, 16) * scale + offset for key, length in lengths}
    found["d3"][40:70] = found["q1"]  # said in this document
    return found


def submitted(reference: Reference, bare: Bare, found: dict[str, Tensor], folder: Path) -> dict[tuple[str, str], float]:
    """Scores of the file that the reference writes."""
    module = reference("downstream.quesst14_dtw.expert")
    expert = bare(
        module.DownstreamExpert,
        max_workers=2,
        feature_normalization=True,
        silence_frame=None,
        dtwrc={"step_pattern": "asymmetric", "minmax_norm": True, "subsequence": True, "dist_method": "cosine_exp"},
        expdir=folder,
        test_dataset=SimpleNamespace(n_queries=len(QUERIES)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ProcessPoolExecutor", ThreadPoolExecutor)
        patch.setattr(module, "tqdm", lambda futures, **options: futures)
        expert.log_records("dev", {"features": list(found.values()), "audio_names": list(found)})
    return {
        (terms.get("termid"), term.get("file")): float(term.get("score"))
        for terms in etree.parse(str(folder / "benchmark.stdlist.xml")).getroot()
        for term in terms
    }


def test_scores_are_those_of_the_submission(reference: Reference, bare: Bare, tmp_path: Path) -> None:
    found = sounds()
    theirs = submitted(reference, bare, found, tmp_path)
    kinds = {"q": QUERY, "d": DOCUMENT}
    items = [Item(key, Audio(Path("a.wav")), kinds[key[0]], (key,)) for key in found]
    ours = scores_of(items, {key: Frames(frames) for key, frames in found.items()}, 0)
    assert len(theirs) == len(QUERIES) * len(DOCUMENTS)
    for (query, document), score in theirs.items():
        assert ours[query][document] == pytest.approx(score, abs=1.5e-4)  # both are rounded to four decimals
    assert max(ours["q1"], key=lambda key: ours["q1"][key]) == "d3"
    assert set(ours["q2"].values()) == {0.0}


def test_the_cost_of_a_pair_is_theirs_to_a_hundred_thousandth(reference: Reference) -> None:
    module = reference("downstream.quesst14_dtw.expert")
    options = {
        "step_pattern": "asymmetric", "keep_internals": False, "distance_only": False, "open_begin": True, "open_end": True
    }  # fmt: skip
    random = np.random.default_rng(0)
    for _ in range(60):
        query, document = (torch.randn(int(random.integers(2, 60)), 12) for _ in range(2))
        *_, score = module.match(query.numpy(), document.numpy(), "q", "d", module.cosine_exp, True, options)
        cost = least_costs(cosine_exp(normalize(query, dim=1), normalize(document, dim=1)[None]))
        assert float(cost) == pytest.approx(-score, rel=1e-5, abs=1e-6)
