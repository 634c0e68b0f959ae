"""Subsequence DTW: against an independent package, by hand, and independent of how documents are batched."""

from __future__ import annotations

import math

import librosa
import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from downstream.shared.dtw import cosine_exp, least_costs, padded, search


def reference(cost: np.ndarray) -> float:
    dtw = pytest.importorskip("dtw")
    return float(dtw.dtw(cost, step_pattern="asymmetric", open_begin=True, open_end=True).normalizedDistance)


def frames(seed: int, *shape: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize(("query", "document"), [(5, 30), (17, 40), (30, 31), (12, 5), (20, 2), (6, 1), (1, 9)])
def test_the_least_cost_is_that_of_dtw_python(query: int, document: int) -> None:
    costs = torch.rand(query, 3, document, generator=torch.Generator().manual_seed(query), dtype=torch.float64)
    expected = [reference(costs[:, number].numpy()) for number in range(3)]
    assert least_costs(costs).tolist() == pytest.approx(expected)


def test_a_path_worked_by_hand_skips_repeats_and_starts_at_any_column() -> None:
    skips = [[9.0, 0.0, 9.0, 9.0], [9.0, 9.0, 9.0, 0.0], [9.0, 9.0, 9.0, 1.5]]  # column 1, on by two to 3, waiting there
    too_far = [[0.0, 9.0, 9.0, 9.0], [9.0, 9.0, 9.0, 0.0]]  # three columns on is not allowed: any path costs 9
    assert least_costs(torch.tensor(skips)[:, None]).tolist() == [0.5]
    assert least_costs(torch.tensor(too_far)[:, None]).tolist() == [4.5]


def test_costs_are_the_exponential_of_the_cosine_distance_mapped_row_by_row() -> None:
    query, document = frames(1, 4, 6), frames(2, 1, 9, 6)
    raw = np.exp(1 - (query @ document[0].T).numpy()) - 1
    low, high = raw.min(1, keepdims=True), raw.max(1, keepdims=True)
    np.testing.assert_allclose(cosine_exp(query, document)[:, 0].numpy(), (raw - low) / (high - low), atol=1e-6)


def test_a_row_without_spread_costs_nothing() -> None:
    document = frames(3, 1, 1, 6).expand(1, 5, 6)
    assert cosine_exp(frames(4, 3, 6), document).abs().max() == 0


def test_a_query_that_is_part_of_the_document_costs_nothing_there_and_something_elsewhere() -> None:
    documents = frames(5, 3, 40, 8)
    measured = least_costs(cosine_exp(documents[1, 10:22], documents))
    assert measured[1].item() == pytest.approx(0.0, abs=1e-6)
    assert min(measured[0].item(), measured[2].item()) > 0.05


def test_costs_do_not_depend_on_longer_documents_of_the_batch() -> None:
    query, documents = frames(6, 12, 8), [frames(7 + n, length, 8) for n, length in enumerate((3, 12, 25, 60))]
    alone = [least_costs(cosine_exp(query, document[None])).item() for document in documents]
    together = least_costs(cosine_exp(query, padded(documents)))
    assert together.tolist() == pytest.approx(alone, abs=1e-6)
    assert all(math.isfinite(cost) for cost in alone)


def test_padding_repeats_the_last_frame() -> None:
    block = padded([torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0], [5.0]])])
    assert block[..., 0].tolist() == [[1.0, 2.0, 2.0], [3.0, 4.0, 5.0]]


# ---------------------------------------------------------------- many queries in many documents


@pytest.fixture
def sounds() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Queries and documents of unit frames; some documents are shorter than some queries."""
    random = np.random.default_rng(4)
    queries = [frames(100 + n, int(length), 12) for n, length in enumerate(random.integers(5, 60, 9))]
    documents = [frames(200 + n, int(length), 12) for n, length in enumerate([1, 2, *random.integers(3, 200, 17)])]
    return queries, documents


def by_dtw_python(queries: list[torch.Tensor], documents: list[torch.Tensor]) -> np.ndarray:
    return np.array([[reference(cosine_exp(q, d[None])[:, 0].double().numpy()) for d in documents] for q in queries])


Sounds = tuple[list[torch.Tensor], list[torch.Tensor]]


@pytest.mark.slow
def test_the_compiled_search_agrees_with_dtw_python_and_librosa(sounds: Sounds) -> None:
    queries, documents = sounds
    measured = search(queries, documents).numpy()
    np.testing.assert_allclose(measured, by_dtw_python(queries, documents), atol=1e-6, rtol=0)
    compared = 0
    for row, query in zip(measured, queries, strict=True):
        for value, document in zip(row, documents, strict=True):
            if len(query) <= len(document):  # librosa swaps the two if the query is longer
                costs = cosine_exp(query, document[None])[:, 0].double().numpy()
                steps = {
                    "step_sizes_sigma": np.array([[1, 0], [1, 1], [1, 2]]),
                    "weights_mul": np.ones(3),
                    "weights_add": np.zeros(3),
                }
                total = librosa.sequence.dtw(C=costs, subseq=True, backtrack=False, **steps)
                assert value == pytest.approx(total[-1].min() / len(query), abs=1e-6)
                compared += 1
    assert compared > 50


@pytest.mark.slow
@pytest.mark.parametrize("cells", [1, 700, 10**9])
def test_costs_do_not_depend_on_which_documents_are_searched_together(
    sounds: Sounds, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, documents = sounds
    alone = torch.stack([torch.cat([search([q], [d])[0] for d in documents]) for q in queries])
    monkeypatch.setattr("downstream.shared.dtw.CELLS", cells)
    torch.testing.assert_close(search(queries, documents), alone, atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 7, 40])
def test_a_search_is_the_same_on_any_number_of_threads(sounds: Sounds, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = search(*sounds)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert torch.equal(search(*sounds), expected)


@pytest.mark.slow
def test_the_search_in_torch_gives_the_same_costs(sounds: Sounds) -> None:
    queries, documents = sounds
    ordered = sorted(documents, key=len)
    elsewhere = torch.stack([least_costs(cosine_exp(query, padded(ordered))) for query in queries])
    torch.testing.assert_close(search(queries, ordered), elsewhere, atol=1e-6, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_gives_the_same_costs(sounds: Sounds) -> None:
    moved = [[matrix.cuda() for matrix in matrices] for matrices in sounds]
    torch.testing.assert_close(search(*moved).cpu(), search(*sounds), atol=2e-6, rtol=0)


def test_a_document_without_spread_costs_nothing_in_a_search() -> None:
    flat = frames(3, 1, 6).expand(7, 6)
    assert search([frames(4, 3, 6), frames(5, 8, 6)], [flat, frames(6, 9, 6)])[:, 0].tolist() == [0.0, 0.0]
