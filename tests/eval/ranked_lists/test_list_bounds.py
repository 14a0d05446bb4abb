"""Bounds of AP and ROC-AUC: every completion lies within, and those that are said to be attained are attained."""

from __future__ import annotations

import itertools
import math
import random

import list_reference as reference
import numpy as np
import pytest

from vltr_eval import average_precision, roc_auc
from vltr_eval.formats import LabelPairs
from vltr_eval.ranked_lists import RankedLists, average_precision_bounds, evaluate_topk

LOWEST = -math.inf


def random_case(rng: random.Random) -> tuple[list[dict[int, float]], list[set[int]], int]:
    num_rows, num_classes = rng.randint(1, 5), rng.randint(1, 3)
    rows = []
    for _ in range(num_rows):
        listed = rng.sample(range(num_classes), rng.randint(0, num_classes))
        rows.append({c: float(rng.randint(1, 3)) for c in listed})
    labels = [{c for c in range(num_classes) if rng.random() < 0.5} for _ in rows]
    return rows, labels, num_classes


def limits_of(rows, unlisted):
    if unlisted is not None:
        return [unlisted] * len(rows)
    return [min(row.values(), default=math.inf) for row in rows]


def values_of(rows, limits):
    """Values that represent every order: the scores, between and above them, and several below, among them -inf."""
    points = sorted({score for row in rows for score in row.values()} | {limit for limit in limits if abs(limit) < 9})
    points = points or [1.0]
    between = [(low + high) / 2 for low, high in itertools.pairwise(points)]
    below = [points[0] - step for step in (0.5, 0.6, 0.7)]
    return sorted({LOWEST, *points, *between, *below, points[-1] + 1.0})


def check_case(rows, labels, num_classes, unlisted, values=None):
    lists = RankedLists.from_lists(*reference.lists_of(rows), num_classes)
    found = average_precision_bounds(lists, labels, unlisted=unlisted)
    limits = limits_of(rows, unlisted)
    for c in range(num_classes):
        own = [c in of_row for of_row in labels]
        if not any(own):
            assert math.isnan(found.ap_lower[c])
            assert math.isnan(found.ap_upper[c])
            continue
        scores = reference.completions(rows, limits, c, values or values_of(rows, limits))
        aps = [reference.average_precision(one, own) for one in scores]
        assert found.ap_lower[c] <= min(aps) + 1e-12
        assert found.ap_upper[c] >= max(aps) - 1e-12
        if found.ap_lower_attained[c]:
            assert found.ap_lower[c] == pytest.approx(min(aps), abs=1e-12)
        if found.ap_upper_attained[c]:
            assert found.ap_upper[c] == pytest.approx(max(aps), abs=1e-12)
        if all(own):
            assert math.isnan(found.auc_lower[c])
            assert math.isnan(found.auc_upper[c])
            continue
        aucs = [reference.roc_auc(one, own) for one in scores]
        assert found.auc_lower[c] == pytest.approx(min(aucs), abs=1e-12)
        assert found.auc_upper[c] == pytest.approx(max(aucs), abs=1e-12)


@pytest.mark.parametrize("unlisted", [None, 2.0, 0.0, LOWEST])
@pytest.mark.parametrize("seed", range(4))
def test_every_completion_lies_within_the_bounds(seed, unlisted):
    rng = random.Random(seed)
    done = 0
    while done < 12:
        rows, labels, num_classes = random_case(rng)
        if sum(c not in row for row in rows for c in range(num_classes)) > 4 * num_classes:
            continue
        check_case(rows, labels, num_classes, unlisted)
        done += 1


@pytest.mark.parametrize("unlisted", [None, 2.0, LOWEST])
@pytest.mark.parametrize("seed", range(3))
def test_listed_scores_of_minus_infinity_keep_the_bounds(seed, unlisted):
    rng = random.Random(seed)
    done = 0
    while done < 40:
        rows = [
            {c: rng.choice([LOWEST, 1.0, 2.0, 3.0]) for c in range(2) if rng.random() < 0.6}
            for _ in range(rng.randint(2, 5))
        ]
        if sum(0 not in row for row in rows) > 3 or sum(1 not in row for row in rows) > 3:
            continue
        labels = [{c for c in range(2) if rng.random() < 0.5} for _ in rows]
        check_case(rows, labels, 2, unlisted, [LOWEST, 0.1, 0.2, 0.3, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0])
        done += 1


def test_hidden_positives_gain_from_a_tie_with_lower_ones():
    """Two hidden positives at their limits 5 and 3 have precisions 1/2 and 2/3; tied at 3 both have 2/3."""
    rows = [{0: 6.0}, {1: 5.0}, {1: 3.0}]
    check_case(rows, [set(), {0}, {0}], 2, None)
    lists = RankedLists.from_lists(*reference.lists_of(rows), 2)
    found = average_precision_bounds(lists, [set(), {0}, {0}])
    assert found.ap_upper[0] == pytest.approx(2 / 3)
    assert found.ap_upper_attained[0]


def test_a_bound_that_is_not_attained_says_so():
    """A hidden positive would gain by going down past a listed one, which would lose by it."""
    rows = [{0: 9.0}] * 4 + [{1: 8.0}, {0: 7.0}] + [{0: 6.0}] * 3
    labels = [set()] * 4 + [{0}, {0}] + [{0}] * 3
    lists = RankedLists.from_lists(*reference.lists_of(rows), 2)
    found = average_precision_bounds(lists, labels)
    assert not found.ap_upper_attained[0]
    check_case(rows, labels, 2, None)


def test_a_lower_bound_at_a_place_in_the_middle_is_not_claimed():
    """Many unlisted negatives stand above many listed positives: the worst place of a hidden one is between them."""
    rows = [{1: 9.0}] * 6 + [{0: 5.0}] * 4 + [{1: 7.0}]
    labels = [set()] * 6 + [{0}] * 4 + [{0}]
    lists = RankedLists.from_lists(*reference.lists_of(rows), 2)
    found = average_precision_bounds(lists, labels)
    own = [0 in of_row for of_row in labels]
    tried = [
        reference.average_precision([9.0] * 6 + [5.0] * 4 + [place], own) for place in (7.0, 6.0, 5.0, 4.0, LOWEST)
    ]
    assert found.ap_lower[0] <= min(tried)
    assert not found.ap_lower_attained[0]


def test_complete_lists_have_the_values_of_the_matrix():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, (40, 7)).astype(np.float32)
    labels = rng.random((40, 7)) < 0.3
    lists = RankedLists.from_arrays(np.tile(np.arange(7), (40, 1)), scores)
    found = average_precision_bounds(lists, labels)
    expected = average_precision(scores, labels)
    assert np.allclose(found.ap_lower, expected, rtol=0, atol=1e-14)
    assert np.array_equal(found.ap_lower, found.ap_upper)
    assert np.allclose(found.auc_lower, roc_auc(scores, labels), rtol=0, atol=1e-14)
    assert np.array_equal(found.auc_lower, found.auc_upper)
    assert found.ap_lower_attained.all()
    assert found.ap_upper_attained.all()


def top_k(scores: np.ndarray, k: int) -> RankedLists:
    order = np.lexsort((np.broadcast_to(np.arange(scores.shape[1]), scores.shape), -scores), axis=1)[:, :k]
    return RankedLists.from_arrays(order, np.take_along_axis(scores, order, axis=1), scores.shape[1])


@pytest.mark.parametrize("k", [1, 3, 10])
def test_the_truth_lies_within_the_bounds_of_its_top_k_lists(k):
    rng = np.random.default_rng(k)
    labels = rng.random((300, 30)) < 0.1
    scores = (labels + rng.normal(size=labels.shape)).round(1)
    found = average_precision_bounds(top_k(scores, k), labels)
    ap, auc = average_precision(scores, labels), roc_auc(scores, labels)
    assert (found.ap_lower <= ap + 1e-12).all()
    assert (ap <= found.ap_upper + 1e-12).all()
    assert (found.auc_lower <= auc + 1e-12).all()
    assert (auc <= found.auc_upper + 1e-12).all()


def test_lowest_unlisted_scores_make_the_bounds_exact():
    rng = np.random.default_rng(1)
    labels = rng.random((200, 20)) < 0.15
    scores = rng.normal(size=labels.shape).astype(np.float32)
    lists = top_k(scores, 4)
    completed = np.full(scores.shape, -np.inf, np.float32)
    for row in range(len(scores)):
        listed = lists.classes[lists.indptr[row] : lists.indptr[row + 1]]
        completed[row, listed] = scores[row, listed]
    found = average_precision_bounds(lists, labels, unlisted=LOWEST)
    expected = average_precision(completed, labels)
    assert np.allclose(found.ap_lower, expected, rtol=0, atol=1e-13)
    assert np.allclose(found.ap_upper, expected, rtol=0, atol=1e-13)
    assert np.allclose(found.auc_lower, roc_auc(completed, labels), rtol=0, atol=1e-13)
    assert np.array_equal(found.auc_lower, found.auc_upper)


def test_unknown_cells_are_no_rows_of_their_class():
    rng = np.random.default_rng(2)
    labels = rng.random((60, 4)) < 0.3
    scores = rng.integers(0, 9, labels.shape).astype(np.float64)
    lists = top_k(scores, 2)
    unknown = np.argwhere(rng.random(labels.shape) < 0.2)
    cells = LabelPairs(60, 4, unknown[:, 0], unknown[:, 1])
    found = average_precision_bounds(lists, labels, unknown=cells)
    for c in range(4):
        kept = np.setdiff1d(np.arange(60), unknown[unknown[:, 1] == c, 0])
        rows = [
            dict(zip(lists.classes[a:b].tolist(), lists.scores[a:b].tolist(), strict=True))
            for a, b in zip(lists.indptr[kept], lists.indptr[kept + 1], strict=True)
        ]
        alone = average_precision_bounds(RankedLists.from_lists(*reference.lists_of(rows), 4), labels[kept])
        for name in ("ap_lower", "ap_upper", "auc_lower", "auc_upper"):
            assert getattr(found, name)[c] == getattr(alone, name)[c]


@pytest.mark.parametrize("threads", [1, 3])
def test_bits_depend_on_neither_threads_nor_the_order_of_rows(threads):
    rng = np.random.default_rng(3)
    labels = rng.random((500, 50)) < 0.05
    scores = (labels + rng.normal(size=labels.shape)).astype(np.float32).round(1)
    order = rng.permutation(500)
    first = evaluate_topk(top_k(scores, 5), labels, threads=1)
    second = evaluate_topk(top_k(scores[order], 5), labels[order], threads=threads)
    assert first.to_json() == second.to_json()
    assert first.to_csv() == second.to_csv()


@pytest.mark.parametrize("unlisted", [math.nan, "0.5", True])
def test_a_limit_is_a_number(unlisted):
    lists = RankedLists.from_arrays([[0]], [[1.0]])
    with pytest.raises(ValueError, match="unlisted: expected None or the highest score"):
        average_precision_bounds(lists, [{0}], unlisted=unlisted)


def test_lists_without_scores_have_no_bounds():
    with pytest.raises(ValueError, match="got lists without scores"):
        average_precision_bounds(RankedLists.from_arrays([[0]]), [{0}])
