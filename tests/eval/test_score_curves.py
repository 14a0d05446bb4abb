"""Counts at every distinct score, against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._engine.labels import Positives
from vltr_eval.metrics.curves import CurveRequest, find_curves, score_curves

KEEP = ("all", "hit_changes", "corners")


def counts_of(scores, labels):
    """Return (thresholds descending, positives, rows) of one class, counted for each threshold."""
    thresholds = sorted(set(scores.tolist()), reverse=True)
    tp = [sum(1 for s, y in zip(scores.tolist(), labels.tolist(), strict=True) if y and s >= t) for t in thresholds]
    reached = [sum(1 for s in scores.tolist() if s >= t) for t in thresholds]
    return thresholds, tp, reached


def kept_of(keep, tp, reached):
    def is_kept(i):
        if keep == "all" or i in (0, len(tp) - 1):
            return True
        if keep == "hit_changes":
            return tp[i] != tp[i - 1] or tp[i] != tp[i + 1]
        fp = [r - t for r, t in zip(reached, tp, strict=True)]
        return any(x[i] - x[i - 1] != x[i + 1] - x[i] for x in (tp, fp))

    return [i for i in range(len(tp)) if is_kept(i)]


def assert_counts(curves, request, scores, labels, known):
    for c in range(scores.shape[1]):
        rows = known[:, c]
        thresholds, tp, reached = counts_of(scores[rows, c], labels[rows, c])
        kept = kept_of(request.keep, tp, reached)
        assert curves.kept[c] == len(kept)
        assert (curves.num_positives[c], curves.num_rows[c]) == (labels[rows, c].sum(), rows.sum())
        taken = kept[::-1][request.first :: request.step][::-1] if request.from_lowest else None
        taken = kept[request.first :: request.step] if taken is None else taken
        of_class = slice(curves.indptr[c], curves.indptr[c + 1])
        assert curves.thresholds[of_class].tolist() == [thresholds[i] for i in taken]
        assert curves.tp[of_class].tolist() == [tp[i] for i in taken]
        assert curves.reached[of_class].tolist() == [reached[i] for i in taken]
    assert curves.fp.tolist() == (curves.reached - curves.tp).tolist()


@st.composite
def case(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    levels = draw(st.sampled_from([1, 3, 30]))
    dtype = draw(st.sampled_from(["float16", "float32", "float64", "int8", "uint8", "int64", "uint64", "bool"]))
    scores = rng.integers(0 if dtype[0] in "ub" else -levels, levels, shape, endpoint=True).astype(dtype)
    labels = rng.random(shape) < rng.choice([0, 0.1, 0.5, 1], shape[1])
    known = rng.random(shape) < rng.choice([0, 0.5, 1])
    return np.array(scores, order=draw(st.sampled_from("CF"))), labels, known


@given(case(), st.sampled_from(KEEP), st.booleans())
def test_counts_of_every_distinct_score(case, keep, masked):
    scores, labels, known = case
    if not masked:
        known = np.ones_like(known)
    curves = score_curves(scores, labels & known, keep=keep, mask=known if masked else None)
    assert_counts(curves, CurveRequest(keep), scores, labels & known, known)


@given(case(), st.sampled_from(KEEP), st.booleans(), st.integers(0, 4), st.integers(1, 4))
def test_every_few_thresholds_of_several_requests(case, keep, from_lowest, first, step):
    scores, labels, _ = case
    request = CurveRequest(keep, from_lowest, first, step)
    matrix = borrow_matrix("scores", scores)
    found = find_curves(matrix, Positives.from_labels(labels, *scores.shape), [request, CurveRequest()], threads=2)
    everything = np.ones(labels.shape, bool)
    for curves, asked in zip(found, [request, CurveRequest()], strict=True):
        assert_counts(curves, asked, scores, labels, everything)


@pytest.mark.parametrize("ties", [False, True])
def test_large_classes_have_the_same_counts_on_any_threads(ties):
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(300_000, 2)).astype(np.float32)  # several chunks for each class
    if ties:
        scores[:, 0] = np.round(scores[:, 0] * 20)
        scores[:, 1] = 0.5
    labels = rng.random(scores.shape) < 0.1
    one, two = (score_curves(scores, labels, keep="corners", threads=threads) for threads in (1, 2))
    for name in ("indptr", "thresholds", "tp", "reached", "kept"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    for c in range(2):
        order = np.argsort(-scores[:, c], kind="stable")
        ends = np.flatnonzero(np.append(np.diff(scores[order, c]) != 0, True))
        tp = np.cumsum(labels[order, c])[ends]
        bends = (np.diff(tp, 2) != 0) | (np.diff(ends, 2) != 0) if len(ends) > 2 else np.zeros(0, bool)
        kept = np.concatenate([[True], bends, [True]])[: len(ends)]
        of_class = slice(one.indptr[c], one.indptr[c + 1])
        assert np.array_equal(one.tp[of_class], tp[kept])
        assert np.array_equal(one.reached[of_class], ends[kept] + 1)
        assert np.array_equal(one.thresholds[of_class], scores[order[ends], c][kept])


def test_many_classes_need_several_groups():
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 50, (70_000, 260)).astype(np.float32)  # 73 MB of words, more than one group holds
    labels = np.zeros(scores.shape, np.uint8)
    labels[:, 255] = scores[:, 255] > 30
    curves = score_curves(scores, labels)
    assert np.array_equal(curves.indptr, 50 * np.arange(261))
    assert np.array_equal(curves.thresholds, np.tile(np.arange(49, -1, -1), 260))
    levels = np.cumsum(np.bincount(scores[:, 255].astype(int))[::-1])
    assert np.array_equal(curves.reached[255 * 50 : 256 * 50], levels)
    assert np.array_equal(curves.tp[255 * 50 : 256 * 50], np.minimum(levels, levels[18]))
    assert curves.tp[: 255 * 50].max() == 0


def test_infinite_scores_and_minus_zero_are_thresholds():
    scores = np.float64([[np.inf], [-0.0], [0.0], [-np.inf]])
    curves = score_curves(scores, np.uint8([[0], [1], [1], [0]]))
    assert curves.thresholds.tolist() == [np.inf, 0, -np.inf]
    assert curves.tp.tolist() == [0, 2, 2]


def test_a_nan_score_and_an_unknown_rule_are_errors():
    scores, labels = np.float32([[1, 2], [3, np.nan]]), np.eye(2, dtype=np.uint8)
    with pytest.raises(ValueError, match="scores: expected numbers, got NaN at row 1, class 1"):
        score_curves(scores, labels)
    with pytest.raises(ValueError, match="keep: expected one of all, hit_changes, corners, got 'some'"):
        score_curves(scores[:1], labels[:1], keep="some")
