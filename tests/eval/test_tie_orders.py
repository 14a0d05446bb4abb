"""Ranks of positives where equal scores are ordered one after another."""

from __future__ import annotations

import numpy as np
import pytest
from cases import make_case
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import vltr_eval
from vltr_eval import PositiveRanks, positive_ranks
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.positive_ranks import _runs
from vltr_eval.metrics.tie_orders import TIE_ORDERS

torch = pytest.importorskip("torch")


def sorted_ranks(scores, labels, order, known=None):
    """Ranks of the positives of each class, from Python's own stable sort."""
    found = []
    for c in range(len(scores[0])):
        rows = [n for n in range(len(scores)) if known is None or known[n][c]]
        second = {
            "rows": list(rows),
            "reversed": [-n for n in rows],
            "worst": [labels[n][c] for n in rows],
            "best": [-labels[n][c] for n in rows],
        }[order]
        ranked = [n for *_, n in sorted(zip([-scores[n][c] for n in rows], second, rows, strict=True))]
        found.append([place for place, n in enumerate(ranked, 1) if labels[n][c]])
    return found


def assert_ranks(found: PositiveRanks, expected):
    assert found.indptr.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert found.ranks.tolist() == [rank for ranks in expected for rank in ranks]


@st.composite
def tied_cases(draw):
    num_rows, num_classes = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    levels = draw(st.sampled_from([1, 2, 5, 1000]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = rng.integers(0, levels, (num_rows, num_classes)) - levels // 2
    labels = (rng.random(scores.shape) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))).astype(np.uint8)
    known = rng.random(scores.shape) < draw(st.sampled_from([0.1, 0.7, 1.0]))
    return scores, labels, known


@pytest.mark.any_device
@pytest.mark.parametrize("order", TIE_ORDERS)
@given(case=tied_cases(), dtype=st.sampled_from(["float16", "float32", "float64", "int64", "uint64", "int8"]))
@settings(max_examples=60, deadline=None)
def test_ranks_are_those_of_a_stable_sort(order, case, dtype):
    scores, labels, known = case
    values = (scores - scores.min() if dtype == "uint64" else scores).astype(dtype)
    assert_ranks(positive_ranks(values, labels, order=order), sorted_ranks(scores.tolist(), labels.tolist(), order))
    masked = positive_ranks(values, labels & known, order=order, mask=known)
    assert_ranks(masked, sorted_ranks(scores.tolist(), (labels & known).tolist(), order, known.tolist()))


@pytest.mark.parametrize("order", TIE_ORDERS)
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_ranks_are_the_same_in_every_form_of_the_inputs(order, threads, simd, tmp_path):
    scores, labels = make_case(3000, 70, seed=4, levels=6)
    labels = labels.astype(np.uint8)
    labels[:, 8:40] = 0  # classes without ties between two with many
    expected = sorted_ranks(scores.tolist(), labels.tolist(), order)
    np.save(tmp_path / "scores.npy", scores)
    forms = {
        "array": (scores, labels),
        "by classes": (np.asfortranarray(scores), np.asfortranarray(labels)),
        "shards": ([scores[:5], scores[5:1700], scores[1700:]], labels),
        "memory map": (np.load(tmp_path / "scores.npy", mmap_mode="r"), csr_array(labels)),
        "tensors": (torch.from_numpy(scores), torch.from_numpy(labels)),
        "positives": (scores[::-1][::-1], Positives.from_labels(labels)),
    }
    for name, (some_scores, some_labels) in forms.items():
        found = positive_ranks(some_scores, some_labels, order=order, threads=threads)
        assert found.num_rows == 3000, name
        assert_ranks(found, expected)


def test_one_long_class_is_shared_by_chunks_of_rows():
    rng = np.random.default_rng(5)
    scores = rng.integers(0, 3, 2**21 + 5).astype(np.float32)
    labels = (rng.random(len(scores)) < 0.01).astype(np.uint8)
    order = np.argsort(-scores, kind="stable")
    expected = np.flatnonzero(labels[order]) + 1
    assert np.array_equal(positive_ranks(scores, labels).ranks, expected)
    assert np.array_equal(positive_ranks(scores[::-1], labels[::-1], order="reversed").ranks, expected)


@pytest.mark.any_device
def test_ends_of_the_orders_are_those_of_the_tie_interval():
    scores, labels = make_case(400, 12, seed=6, levels=9)
    lower, upper = vltr_eval.tie_interval(scores, labels)
    np.testing.assert_allclose(positive_ranks(scores, labels, order="worst").average_precision(), lower, rtol=1e-12)
    np.testing.assert_allclose(positive_ranks(scores, labels, order="best").average_precision(), upper, rtol=1e-12)


def area_by_loop(labels, points):
    """Interpolated AP of labels in the order of their scores, from the definition."""
    hits, curve = 0, []
    for rank, label in enumerate(labels, 1):
        hits += label
        curve.append((hits / sum(labels), hits / rank))
    recalls = [r for (r, _), label in zip(curve, labels, strict=True) if label] if points is None else None
    recalls = np.arange(0.0, 1.1, 0.1) if points == 11 else np.linspace(0, 1, points) if points else recalls
    return np.mean([max((p for r, p in curve if r >= recall), default=0.0) for recall in recalls])


@pytest.mark.parametrize("points", [None, 11, 101])
@given(labels=st.lists(st.integers(0, 1), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None)
def test_interpolated_ap_is_the_highest_precision_at_a_recall_or_above(points, labels):
    scores = np.arange(len(labels), 0, -1, dtype=np.float32)
    found = positive_ranks(scores, np.uint8(labels)).interpolated_average_precision(points).item()
    if sum(labels):
        assert found == pytest.approx(area_by_loop(labels, points), abs=1e-12)
    else:
        assert np.isnan(found)


def test_every_recall_of_many_positives_is_read_at_the_first_positive_that_reaches_it():
    rng = np.random.default_rng(7)
    for positives in (*range(1, 60), 100, 101, 700, 1000):
        labels = np.r_[np.ones(positives, int), np.zeros(3 * positives, int)][rng.permutation(4 * positives)]
        ranks = positive_ranks(np.arange(len(labels), 0, -1.0), labels.astype(np.uint8))
        precision = ranks.precision()
        highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
        shares = np.arange(1, positives + 1) / positives
        for points, recalls in ((11, np.arange(0, 1.1, 0.1)), (101, np.linspace(0, 1, 101))):
            expected = highest[np.searchsorted(shares, recalls)].mean()
            assert ranks.interpolated_average_precision(points).item() == pytest.approx(expected, abs=1e-12)


def test_wrong_arguments_of_ranks_are_named():
    scores, labels = np.float32([[0.5], [0.5]]), np.uint8([[1], [0]])
    with pytest.raises(ValueError, match="order: expected one of rows, reversed, worst, best, got 'stable'"):
        positive_ranks(scores, labels, order="stable")
    with pytest.raises(ValueError, match="points: expected at least 2, got 1"):
        positive_ranks(scores, labels).interpolated_average_precision(1)
    with pytest.raises(ValueError, match="NaN at row 1, class 0"):
        positive_ranks(np.float32([[0.5], [np.nan]]), labels)


def test_runs_hold_the_classes_and_few_others():
    assert _runs(np.array([], int)) == []
    assert _runs(np.array([3])) == [(3, 4)]
    assert _runs(np.array([0, 1, 17, 34, 90])) == [(0, 18), (34, 35), (90, 91)]
