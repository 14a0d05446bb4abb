"""Acc@k against sorting every row."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
from cases import make_case
from sklearn.metrics import top_k_accuracy_score

from vltr_eval import Positives, topk_accuracy
from vltr_eval._engine.hits import Hits
from vltr_eval._engine.rank_scan import rank_scan

pytestmark = pytest.mark.any_device


def ranks_of(scores, labels, **options) -> np.ndarray:
    positives = Positives.from_labels(labels, *np.shape(scores))
    return rank_scan(scores, positives, ranks=True, **options).ranks


@pytest.mark.parametrize("levels", [None, 2, 10])
@pytest.mark.parametrize("shape", [(1, 1), (40, 1), (1, 200), (70, 33), (200, 7)])
def test_ranks_are_positions_in_the_sorted_row(simd, shape, levels):
    scores, labels = make_case(*shape, seed=1, levels=levels, prevalence=0.1)
    expected = [reference.best_label_rank(s.tolist(), y.tolist()) for s, y in zip(scores, labels, strict=True)]
    ranks = ranks_of(scores, labels)
    assert ranks.dtype == np.int32
    assert ranks.tolist() == [-1 if position is None else position for position in expected]


@pytest.mark.parametrize("num_classes", [15, 16, 17, 63, 64, 65, 1023, 1024, 1025, 2049])
def test_ranks_are_positions_around_tile_widths(simd, num_classes):
    scores, labels = make_case(20, num_classes, seed=2, levels=6, prevalence=2 / num_classes)
    expected = [reference.best_label_rank(s.tolist(), y.tolist()) for s, y in zip(scores, labels, strict=True)]
    assert ranks_of(scores, labels).tolist() == [-1 if position is None else position for position in expected]


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64, np.uint64, np.int8])
def test_ranks_are_positions_in_every_lane(simd, dtype):
    scores, labels = make_case(60, 21, seed=3, levels=10, prevalence=0.1)
    scores = np.clip(scores + 20, 0, 100).astype(dtype)
    expected = [reference.best_label_rank(s.tolist(), y.tolist()) for s, y in zip(scores, labels, strict=True)]
    assert ranks_of(scores, labels).tolist() == [-1 if position is None else position for position in expected]


def test_ranks_take_the_extremes_of_int64():
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    scores = np.array([[high, high, low], [low, low, high], [high, low, 0]])
    assert ranks_of(scores, [[1], [1], []]).tolist() == [1, 2, -1]


@pytest.mark.parametrize("k", [1, 2, 5, 40])
@pytest.mark.parametrize("levels", [None, 3])
def test_accuracy_is_that_of_sorted_rows(k, levels):
    scores, labels = make_case(150, 30, seed=4, levels=levels, prevalence=0.05)
    assert topk_accuracy(scores, labels, k=k)[k] == reference.topk_accuracy(scores, labels, k)


def test_accuracy_agrees_with_sklearn_on_single_labels():
    scores, _ = make_case(300, 12, seed=5)
    classes = np.random.default_rng(6).integers(0, 12, 300)
    got = topk_accuracy(scores, classes, k=(1, 3))
    assert got == {k: top_k_accuracy_score(classes, scores, k=k, labels=range(12)) for k in (1, 3)}


def test_one_label_among_the_best_is_enough():
    scores = np.array([[3, 2, 1, 0], [3, 2, 1, 0]])
    assert topk_accuracy(scores, [[3, 1], [2, 3]], k=(1, 2, 3)) == {1: 0.0, 2: 0.5, 3: 1.0}


def test_ties_go_to_the_lower_class():
    scores = np.zeros((3, 4))
    assert topk_accuracy(scores, [[0], [1], [3]], k=(1, 2, 3, 4)) == {1: 1 / 3, 2: 2 / 3, 3: 2 / 3, 4: 1.0}


def test_minus_zero_ties_with_zero():
    assert ranks_of(np.array([[-0.0, 0.0], [0.0, -0.0]]), [[0], [1]]).tolist() == [0, 1]


def test_rows_without_labels_do_not_count():
    scores = np.array([[1, 0], [1, 0], [0, 1]])
    assert topk_accuracy(scores, [[0], [], [0]], k=1) == {1: 0.5}


def test_accuracy_without_labels_is_nan():
    assert math.isnan(topk_accuracy(np.zeros((2, 2)), np.zeros((2, 2)), k=1)[1])


def test_k_beyond_the_classes_counts_every_labelled_row():
    assert topk_accuracy(np.zeros((3, 2)), [[1], [0], []], k=(2, 5, 10**9)) == {2: 1.0, 5: 1.0, 10**9: 1.0}


def test_k_defaults_to_one_and_five():
    assert list(topk_accuracy(*make_case(9, 7))) == [1, 5]


def test_each_k_has_one_result_in_order():
    assert list(topk_accuracy(*make_case(9, 7), k=(5, np.int64(1), 5))) == [1, 5]
    assert topk_accuracy(*make_case(9, 7), k=()) == {}


@pytest.mark.parametrize("k", [0, -1, True, (1, 0), (1, 2.0), ("1",)])
def test_impossible_k_is_refused(k):
    with pytest.raises(ValueError, match=r"^k: expected positive integers, got "):
        topk_accuracy(*make_case(9, 7), k=k)


@pytest.mark.parametrize("k", [2.5, None])
def test_k_that_is_no_integer_is_refused(k):
    with pytest.raises((TypeError, ValueError), match=r"^k: expected positive integers, got "):
        topk_accuracy(*make_case(9, 7), k=k)


def test_ranks_name_nan_in_unlabelled_classes():
    scores, labels = make_case(20, 4)
    labels[:, 3] = False
    scores[11, 3] = np.nan
    with pytest.raises(ValueError, match=r"^scores: expected numbers, got NaN at row 11, class 3$"):
        topk_accuracy(scores, labels)


# Hits


def hits_of(scores, labels, topk) -> Hits:
    positives = Positives.from_labels(labels, *np.shape(scores))
    return Hits.from_ranks(rank_scan(scores, positives, ranks=bool(topk)).ranks, positives, topk)


@pytest.mark.parametrize("levels", [None, 3])
def test_hits_are_counted_by_row_and_by_class(levels):
    scores, labels = make_case(150, 12, seed=7, levels=levels, prevalence=0.1)
    labels[:, 4] = False
    hits = hits_of(scores, labels, (1, 3, 50))
    positions = [reference.best_label_rank(s.tolist(), y.tolist()) for s, y in zip(scores, labels, strict=True)]
    assert hits.labelled == sum(position is not None for position in positions)
    for i, k in enumerate((1, 3, 50)):
        is_hit = np.array([position is not None and position < k for position in positions])
        assert hits.rows[i] == is_hit.sum()
        assert hits.classes[i].tolist() == (labels & is_hit[:, None]).sum(axis=0).tolist()
        assert hits.rate(k) == reference.topk_accuracy(scores, labels, k)
        positives = labels.sum(axis=0)
        rates = [h / p if p else math.nan for h, p in zip(hits.classes[i].tolist(), positives.tolist(), strict=True)]
        np.testing.assert_array_equal(hits.rate_per_class(k, positives), rates)


def test_hits_of_shards_add_up():
    scores, labels = make_case(90, 8, seed=8, levels=5, prevalence=0.2)
    whole = hits_of(scores, labels, (1, 2))
    parts = [hits_of(scores[part], labels[part], (1, 2)) for part in (slice(30), slice(30, 31), slice(31, 90))]
    assert sum(part.labelled for part in parts) == whole.labelled
    assert sum(part.rows for part in parts).tolist() == whole.rows.tolist()
    assert sum(part.classes for part in parts).tolist() == whole.classes.tolist()


def test_hits_without_any_k_count_the_labelled_rows():
    scores, labels = make_case(40, 5, seed=9, prevalence=0.1)
    hits = hits_of(scores, labels, ())
    assert (hits.topk, hits.labelled) == ((), int(labels.any(axis=1).sum()))
    assert (hits.rows.shape, hits.classes.shape) == ((0,), (0, 5))


def test_hits_without_labels_have_no_rate():
    hits = hits_of(np.zeros((3, 2)), np.zeros((3, 2)), (1,))
    assert hits.labelled == 0
    assert math.isnan(hits.rate(1))
    assert np.isnan(hits.rate_per_class(1, np.zeros(2, np.int64))).all()
