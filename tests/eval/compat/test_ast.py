"""The statistics of AST and PSLA against scikit-learn for each class, and against the outputs of the original."""

from __future__ import annotations

import math
import statistics
import warnings

import numpy as np
import pytest
import small_inputs
from hypothesis import given
from hypothesis import strategies as st
from published import ast as original
from sklearn.exceptions import UndefinedMetricWarning

from vltr_eval.compat.ast import calculate_stats, d_prime

KEYS = ["precisions", "recalls", "AP", "fpr", "fnr", "auc", "acc"]


def outcome(function, output, target):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stats = function(output, target)
    return stats, {(w.category, str(w.message)) for w in caught if issubclass(w.category, UserWarning)}


def assert_same(output, target):
    (mine, warned), (theirs, should_warn) = (
        outcome(calculate_stats, output, target),
        outcome(original.calculate_stats, output, target),
    )
    assert warned == should_warn
    assert len(mine) == len(theirs)
    for one, other in zip(mine, theirs, strict=True):
        assert list(one) == KEYS
        for key in KEYS:
            assert type(one[key]) is type(other[key]), key
            assert np.asarray(one[key]).dtype == np.asarray(other[key]).dtype == np.float64
            np.testing.assert_allclose(one[key], other[key], rtol=0, atol=1e-14, err_msg=key)


# Printed by src/utilities/stats.py of YuanGongND/ast@31088be8 with scikit-learn 1.9.1: AP, auc and first precision of
# each class, and acc.
RECORDED = {
    "A": (
        [0.6988095238095238, 0.8, 0.8909090909090909, 0.9166666666666665],
        [0.5428571428571428, 0.7428571428571429, 0.8285714285714286, 0.9629629629629629],
        [7 / 12, 5 / 12, 5 / 12, 3 / 12],
        1 / 3,
    ),
    "B": (
        [0.68718820861678, 0.7708333333333334, 0.8433333333333333, 0.0],
        [0.5428571428571428, 0.765625, 0.8, np.nan],
        [7 / 12, 4 / 12, 5 / 12, 0],
        1 / 3,
    ),
    "C": (
        [0.46957671957671965, 0.6220238095238095, 0.5392857142857143, 0.8875],
        [0.4166666666666667, 0.8125, 0.6571428571428571, 0.9375],
        [6 / 12, 4 / 12, 5 / 12, 4 / 12],
        1 / 2,
    ),
}


@pytest.mark.parametrize("name", "ABC")
def test_small_inputs_give_the_recorded_numbers(name):
    stats, _ = outcome(calculate_stats, getattr(small_inputs, name), getattr(small_inputs, f"LABELS_{name}"))
    average_precision, auc, precision, accuracy = RECORDED[name]
    for c, of_class in enumerate(stats):
        assert of_class["AP"] == pytest.approx(average_precision[c], abs=1e-15)
        assert of_class["auc"] == pytest.approx(auc[c], abs=1e-15, nan_ok=True)
        assert of_class["acc"] == pytest.approx(accuracy, abs=1e-15)
        assert of_class["precisions"] == pytest.approx([precision[c]])
        assert of_class["recalls"].tolist() == [1]
        assert of_class["fpr"].tolist() == [0]
        assert of_class["fnr"].tolist() == pytest.approx([1 if precision[c] else np.nan], nan_ok=True)


@st.composite
def case(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([1, 2, 30, 999, 1000, 1001, 2100])), draw(st.integers(1, 4))
    scores = rng.integers(-100, 100, shape) if draw(st.booleans()) else rng.normal(size=shape)
    labels = rng.random(shape) < rng.choice([0, 0.1, 0.5, 1], shape[1])
    dtypes = draw(st.sampled_from(["float16", "float32", "float64", "int64"])), draw(st.sampled_from(["u1", "f4", "?"]))
    return scores.astype(dtypes[0]), labels.astype(dtypes[1])


@given(case())
def test_statistics_equal_the_originals(case):
    assert_same(*case)


def test_every_thousandth_point_of_distinct_scores():
    rng = np.random.default_rng(6)
    labels = rng.random((5000, 3)) < [0.5, 0.01, 0.9]
    scores = rng.permuted(np.arange(5000)[:, None] + np.zeros(3), axis=0)
    assert_same(scores, labels)
    stats = calculate_stats(scores, labels)
    assert len(stats[0]["precisions"]) == 6  # 5,001 points, of which the last is (1, 0)
    assert (stats[0]["precisions"][-1], stats[0]["recalls"][-1]) == (1, 0)
    assert [len(of_class["fpr"]) for of_class in stats] == [3, 1, 1]


def test_other_labels_and_more_columns_are_those_of_the_original():
    rng = np.random.default_rng(7)
    scores, labels = rng.normal(size=(20, 3)), rng.random((20, 3)) < 0.4
    assert_same(scores, 2 * labels.astype(int) - 1)
    assert_same(np.hstack([scores, scores + 1]), labels)


def test_tensors_of_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(8)
    scores, labels = torch.tensor(rng.normal(size=(40, 3))), torch.tensor(rng.random((40, 3)) < 0.4).float()
    assert_same(scores, labels)
    assert str(calculate_stats(scores.requires_grad_(), labels)) == str(calculate_stats(scores.detach(), labels))


def test_absent_classes_warn_once():
    scores = np.random.default_rng(9).random((6, 4))
    labels = np.array([[0, 0, 1, 1]] * 6)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stats = calculate_stats(scores, labels)
    assert [w.category for w in caught] == [UserWarning, *[UndefinedMetricWarning] * 3]
    assert [of_class["AP"] for of_class in stats] == [0, 0, 1, 1]
    assert all(math.isnan(of_class["auc"]) for of_class in stats)
    assert_same(scores, labels)


@pytest.mark.parametrize(
    ("change", "kind", "match"),
    [
        (lambda s, y: (np.where(s == s[1, 1], np.nan, s), y), ValueError, "^output: expected finite numbers, got nan"),
        (lambda s, y: (np.where(s == s[1, 1], np.inf, s), y), ValueError, "^output: expected finite numbers, got inf"),
        (lambda s, y: (s[:, :1], y), IndexError, "^output: expected a column for each of the 2 classes, got 1"),
        (lambda s, y: (s[:2], y), ValueError, "^output: expected rows, as many as target has, got 2 and 3"),
        (lambda s, y: (s, y + 0.5), ValueError, "continuous format is not supported"),
        (lambda s, y: (s[:0], y[:0]), ValueError, "^output: expected rows"),
        (lambda s, y: (s, y[:, 0]), ValueError, "axis 1 is out of bounds"),
    ],
)
def test_bad_inputs_are_errors_as_in_the_original(change, kind, match):
    args = change(np.float64([[0.1, 0.2], [0.3, 0.9], [0.4, 0.5]]), np.eye(3, 2))
    with pytest.raises(kind, match=match):
        calculate_stats(*args)
    with pytest.raises(kind):
        original.calculate_stats(*args)


def test_d_prime_equals_the_original():
    # Printed by d_prime of the same file with scipy 1.18.
    recorded = {0.5: 0.0, 0.769312169312169: 1.0416864003104553, 0.9: 1.8123876048736465, 0.976: 2.7964212489432776}
    for auc, expected in recorded.items():
        assert d_prime(auc) == pytest.approx(expected, rel=1e-14)
        assert d_prime(auc) == pytest.approx(math.sqrt(2) * statistics.NormalDist().inv_cdf(auc), rel=1e-14)
    for auc in (0, 1, -0.5, 1.5, np.nan, np.float32(0.7), np.float16(0.3), np.array([0.1, 0.999999, 1e-12]), [[0.2]]):
        mine, theirs = d_prime(auc), original.d_prime(auc)
        assert type(mine) is type(theirs)
        assert np.asarray(mine).dtype == np.asarray(theirs).dtype
        np.testing.assert_allclose(mine, theirs, rtol=1e-14)
