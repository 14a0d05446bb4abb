"""mmaction2's accuracy functions: recorded outputs of the original, their definition, and their quirks.

Recorded: open-mmlab/mmaction2 mmaction/evaluation/functional/accuracy.py at 4d6c9347 with numpy 2.4.6. `AccMetric`
needs mmengine: see tests/recipes/test_mmengine.py.
"""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
import small_inputs as small
from hypothesis import given
from hypothesis import strategies as st
from published import mmaction2 as published

from vltr_eval.compat import mmaction2
from vltr_eval.compat.mmaction2 import (
    binary_precision_recall_curve,
    confusion_matrix,
    get_weighted_score,
    interpolated_precision_recall,
    mean_average_precision,
    mean_class_accuracy,
    mmit_mean_average_precision,
    softmax,
    top_k_accuracy,
    top_k_classes,
)

EXACT = {"abs": 1e-14, "rel": 0}


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float32)))


INPUTS = {
    "A": (small.A, small.LABELS_A),
    "B": (small.B, small.LABELS_B),
    "B reversed": (small.B[::-1], small.LABELS_B[::-1]),
    "C": (small.C, small.LABELS_C),
    "sigmoid of C": (sigmoid(small.C), small.LABELS_C),
}


@pytest.fixture
def quiet():
    """Allow the warning that classes, or rows, have no positives."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


# Mean AP


@pytest.mark.parametrize(
    ("name", "of_classes", "of_rows"),
    [
        ("A", 0.8265963203463204, 0.8194444444444443),
        ("B", 0.7671182917611489, np.nan),
        ("B reversed", 0.7671182917611489, np.nan),
        ("C", 0.6295965608465609, 0.8055555555555557),
        ("sigmoid of C", 0.5430886243386244, 0.5902777777777778),
    ],
)
def test_small_inputs_give_the_recorded_mean_ap(name, of_classes, of_rows, quiet):
    scores, labels = INPUTS[name]
    for arguments in ((scores, labels), (list(scores), list(labels))):
        for function, expected in ((mean_average_precision, of_classes), (mmit_mean_average_precision, of_rows)):
            found = function(*arguments)
            assert isinstance(found, np.float64)
            assert found == pytest.approx(expected, nan_ok=True, **EXACT)


def matrix_of(seed, num_rows, num_classes, levels):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(levels, size=(num_rows, num_classes)) / levels).astype(rng.choice(["f2", "f4", "f8"]))
    labels = (rng.random(scores.shape) < rng.random(num_classes)).astype(rng.choice(["u1", "i8", "f4", "?"]))
    return scores, labels


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 8), st.sampled_from([1, 3, 1000]), st.booleans())
def test_mean_ap_equals_the_definition(seed, num_rows, num_classes, levels, with_infinities):
    scores, labels = matrix_of(seed, num_rows, num_classes, levels)
    rng = np.random.default_rng(seed)
    if with_infinities:  # equal ones are separate thresholds
        scores[rng.random(scores.shape) < 0.4] = np.inf
        scores[rng.random(scores.shape) < 0.3] = -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for name in ("mean_average_precision", "mmit_mean_average_precision"):
            found = getattr(mmaction2, name)(list(scores), list(labels))
            expected = getattr(published, name)(list(scores), list(labels))
            assert found == pytest.approx(expected, nan_ok=True, **EXACT)


def test_classes_without_positives_are_left_out_with_one_warning():
    labels = small.LABELS_A * [1, 0, 0, 1]
    with pytest.warns(RuntimeWarning, match="2 of 4 have no positives") as found:
        value = mean_average_precision(small.A, labels)
    assert len(found) == 1
    assert value == pytest.approx(mean_average_precision(small.A[:, [0, 3]], labels[:, [0, 3]]), **EXACT)
    with pytest.warns(RuntimeWarning):
        assert np.isnan(mean_average_precision(small.A, labels * 0))


def test_only_a_label_1_is_positive():
    values = np.where(small.LABELS_A == 1, 1.0, np.resize([0, -1, 2, 0.5], small.A.shape))
    assert mean_average_precision(small.A, values) == mean_average_precision(small.A, small.LABELS_A)


def test_further_classes_of_the_longer_one_are_ignored():
    expected = mean_average_precision(small.A[:, :2], small.LABELS_A[:, :2])
    assert mean_average_precision(small.A[:, :2], small.LABELS_A) == expected
    assert mean_average_precision(small.A, list(small.LABELS_A[:, :2])) == expected


def test_rows_may_have_different_lengths():
    scores = [row[: 1 + n % 4] for n, row in enumerate(small.A)]
    labels = [np.append(1, row)[: 1 + n % 4] for n, row in enumerate(small.LABELS_A)]
    expected = published.mmit_mean_average_precision(scores, labels)
    assert mmit_mean_average_precision(scores, labels) == pytest.approx(expected, **EXACT)


def test_a_nan_score_is_an_error_that_names_its_row():
    scores = small.A.copy()
    scores[3, 1] = np.nan
    for function, labels in (
        (mean_average_precision, small.LABELS_A),
        (mmit_mean_average_precision, small.LABELS_A),
        (top_k_accuracy, small.LABELS_A.argmax(1)),
    ):
        with pytest.raises(ValueError, match="NaN at row 3, class 1"):
            function(scores, labels)


def test_bad_shapes_are_the_errors_of_the_original():
    scores, labels = small.A, small.LABELS_A
    for function in (mean_average_precision, mmit_mean_average_precision):
        with pytest.raises(AssertionError):
            function(list(scores), labels[:, 0].tolist())
    with pytest.raises(AssertionError):
        mean_average_precision(scores, labels[:5])
    with pytest.raises(AssertionError):
        mmit_mean_average_precision(scores.tolist(), labels.tolist())
    with pytest.raises(AssertionError):
        mmit_mean_average_precision(scores[:, :2], labels)
    with pytest.raises(IndexError):
        mmit_mean_average_precision(scores[:, :0], labels[:, :0])
    with pytest.raises(ValueError, match="at least one array"):
        mean_average_precision([], [])
    assert np.isnan(mean_average_precision(scores[:, :0], labels[:, :0]))


def test_the_curve_is_that_of_the_original():
    precision, recall, thresholds = binary_precision_recall_curve(small.B[:, 0], small.LABELS_B[:, 0])
    assert thresholds.tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9]
    np.testing.assert_allclose(recall * 7, [7, 6, 6, 5, 4, 3, 3, 1, 0])
    np.testing.assert_allclose(precision, [7 / 12, 6 / 11, 6 / 10, 5 / 9, 4 / 7, 3 / 5, 3 / 4, 1, 1])


# Accuracies


@pytest.mark.parametrize(
    ("name", "topk", "mean1"),
    [
        ("A", [1 / 3, 2 / 3, 0.75], 0.23809523809523808),
        ("B", [1 / 3, 7 / 12, 2 / 3], 0.22916666666666666),
        ("C", [0.5, 2 / 3, 11 / 12], 2 / 3),
        ("sigmoid of C", [1 / 6, 7 / 12, 11 / 12], 0.375),
    ],
)
def test_small_inputs_give_the_recorded_accuracies(name, topk, mean1):
    scores, labels = INPUTS[name][0], INPUTS[name][1].argmax(1)
    assert top_k_accuracy(list(scores), labels.tolist(), (1, 2, 3)) == pytest.approx(topk, **EXACT)
    assert mean_class_accuracy(scores, labels) == pytest.approx(mean1, **EXACT)


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 8))
def test_accuracies_equal_the_definition(seed, num_rows, num_classes):
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.tile(np.arange(num_classes, dtype=np.float32), (num_rows, 1)), axis=1)
    labels = rng.integers(num_classes + 1, size=num_rows)  # one more than there are classes
    for topk in ((1, 2, 5, 9), ()):
        found = top_k_accuracy(scores, labels, topk)
        assert found == pytest.approx(published.top_k_accuracy(scores, labels, topk), **EXACT)
        assert all(isinstance(value, np.float64) for value in found)
    found = mean_class_accuracy(list(scores), labels.tolist())
    assert found == pytest.approx(published.mean_class_accuracy(scores, labels), **EXACT)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 6), st.integers(-7, 7))
def test_ties_of_top_k_rank_by_the_higher_class(seed, num_rows, num_classes, k):
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(3, size=(num_rows, num_classes)), rng.integers(-1, num_classes + 1, size=num_rows)
    hits = [
        label in sorted(range(num_classes), key=lambda c: (row[c], c))[-k:]
        for row, label in zip(scores, labels, strict=True)
    ]
    assert top_k_accuracy(scores, labels, (k,)) == [np.mean(hits)]


def test_one_label_fits_to_many_rows_and_one_row_to_many_labels():
    assert top_k_accuracy(small.A, [0]) == [np.mean(small.A.argmax(1) == 0)]
    assert top_k_accuracy(small.A[:1], [0, 1, 0, 2]) == [0.5]
    with pytest.raises(ValueError, match="shape"):
        top_k_accuracy(small.A, [0, 1])
    with pytest.raises(ValueError, match="labels"):
        top_k_accuracy(small.A, small.LABELS_A)


def test_a_class_that_is_only_predicted_counts_as_0():
    scores = np.eye(4)[[0, 0, 3]]
    assert mean_class_accuracy(scores, [0, 0, 0]) == pytest.approx((2 / 3 + 0) / 2)


def test_confusion_matrices_are_those_of_the_original():
    assert confusion_matrix([0, 1, 1, 3], [0, 2, 1, 3]).tolist() == np.eye(4)[[0, 1, 1, 3]].tolist()
    found = confusion_matrix(np.array([0, 2, 2, 5]), [0, 2, 5, -1])
    assert found.dtype == np.int64
    assert found.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]  # -1 is the greatest class
    assert confusion_matrix([0, 2, 2, 5], [0, 2, 5, 5], "true").tolist() == [[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]]
    assert confusion_matrix([0, 0], [1, 1], "pred").tolist() == [[0, 0], [1, 0]]
    assert confusion_matrix([0, 1], [1, 1], "all").tolist() == [[0, 0], [0.5, 0.5]]
    with pytest.raises(ValueError, match="normalize"):
        confusion_matrix([0], [0], "rows")
    for bad in ("ab", [0.5], np.array([1], np.int32)):
        with pytest.raises(TypeError):
            confusion_matrix(bad, [0])
        with pytest.raises(TypeError):
            confusion_matrix([0], bad)


def test_top_k_classes_gives_positions_among_classes():
    labels = small.LABELS_A.argmax(1)
    assert top_k_classes(list(small.A), labels, 3) == [(2, 2 / 3), (0, 2 / 7), (3, 0.0)]
    assert top_k_classes(list(small.A), labels, 3, "inaccurate") == [(1, 0.0), (3, 0.0), (0, 2 / 7)]
    with pytest.raises(AssertionError):
        top_k_classes(small.A, labels, 3, mode="wrong")


def test_small_functions_give_the_numbers_of_the_original():
    assert np.array_equal(
        get_weighted_score([[small.A[0]], [small.A[1]]], [2.0, 0.5]), [small.A[0] * 2 + small.A[1] / 2]
    )
    for models, weights in (([[1]], [1, 2]), ([[1], [1, 2]], [1, 2])):
        with pytest.raises(AssertionError):
            get_weighted_score(models, weights)
    np.testing.assert_allclose(softmax(np.array([[0.0, np.log(3)], [1000.0, 0.0]])), [[0.25, 0.75], [1, 0]])
    np.testing.assert_allclose(softmax(np.array([[0.0], [np.log(3)]]), dim=0), [[0.25], [0.75]])
    # the envelope of AP: the area under the greatest precision at this recall or a later one
    found = interpolated_precision_recall(np.array([1.0, 0.5, 2 / 3, 0.5]), np.array([0.5, 0.5, 1.0, 1.0]))
    assert found == pytest.approx(0.5 + 2 / 3 / 2, **EXACT)


# Names of other modules


def test_a_name_that_is_not_native_needs_the_original():
    with pytest.raises(ImportError, match="pairwise_temporal_iou is not native and needs mmaction2"):
        mmaction2.pairwise_temporal_iou  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'top_k'"):
        mmaction2.top_k  # noqa: B018


def test_the_metric_needs_mmengine():
    code = """
import sys
sys.modules["mmengine"] = None
from vltr_eval.compat.mmaction2 import AccMetric
AccMetric()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == "ImportError: AccMetric needs mmengine: pip install mmengine"


def test_masked_cells_of_rows_are_errors_not_numbers():
    scores, labels = np.ma.array(np.eye(3) + 0.1), np.eye(3, dtype=int)
    assert mmaction2.mmit_mean_average_precision(scores, labels) == 1
    scores[1, 2] = np.ma.masked
    with pytest.raises(ValueError, match="row 1: expected a number in every cell"):
        mmaction2.mmit_mean_average_precision(scores, labels)
