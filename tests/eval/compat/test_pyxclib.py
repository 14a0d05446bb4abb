"""The metrics of pyxclib: recorded outputs of xc_metrics.py@5d130862 (numpy 2.4.6, numba 0.68.1), loops, and quirks."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from published import pyxclib as published
from small_inputs import LABELS_A, LABELS_B, LABELS_C, A, B, C

from vltr_eval.compat import pyxclib as xc_metrics
from vltr_eval.compat.pyxclib import Metrices, Metrics, compatible_shapes, compute_inv_propesity

INPUTS = {"A": (A, LABELS_A), "B": (B, LABELS_B), "C": (C, LABELS_C)}
INVERSE = {
    "A": [1.7575053996742285, 1.8779378997927547, 1.8779378997927547, 2.0747297693606233],
    "B": [1.7575053996742285, 1.9624245183570523, 1.8779378997927547, 2.966599729950304],
    "C": [1.8114886466616928, 1.9624245183570523, 1.8779378997927547, 1.9624245183570523],
}
# At 1, 2 and 3 on A; at 1 on B, whose other places are tied; at 1, 2 and 3 on C
RECORDED = {
    "A": {
        "precision": [0.75, 0.625, 0.44444444444444436],
        "ndcg": [0.75, 0.7703397274017334, 0.7958875298500061],
        "recall": [0.5, 0.7916666865348816, 0.8333333134651184],
        "hits": [0.75, 1.0, 1.0],
        "psprecision": [0.741317675537702, 0.7579915745292499, 0.8051019696690568],
        "psndcg": [0.7413176894187927, 0.7729738354682922, 0.7969236373901367],
        "psrecall": [0.7424383863608186, 0.7980109154465039, 0.837330974525989],
    },
    "B": {
        "precision": [0.6666666666666666],
        "ndcg": [0.6666666865348816],
        "hits": [0.6666666865348816],
        "psprecision": [0.7244776641789482],
        "psndcg": [0.7244776487350464],
    },
    "C": {
        "precision": [0.6666666666666666, 0.5416666666666666, 0.47222222222222215],
        "ndcg": [0.6666666865348816, 0.6989043951034546, 0.8172144889831543],
        "recall": [0.5, 0.7083333134651184, 0.9166666865348816],
        "hits": [0.6666666865348816, 0.8333333134651184, 1.0],
        "psprecision": [0.6688547364515306, 0.6898392340476365, 0.8955483072198944],
        "psndcg": [0.6688547730445862, 0.703942596912384, 0.8189715147018433],
        "psrecall": [0.7092565763485096, 0.7143416788314745, 0.917241894476536],
    },
}
AUC = {"A": 0.8333333, "C": 0.6666667}
CALLS = [(name, metric) for name, metrics in RECORDED.items() for metric in metrics]


def call(module, metric, X, labels, inverse, **options):
    arguments = (inverse,) if metric.startswith("ps") else ()
    return getattr(module, metric)(X, labels, *arguments, **options)


# Recorded


@pytest.mark.parametrize(("name", "metric"), CALLS)
@pytest.mark.parametrize("as_labels", [sp.csr_matrix, sp.csc_matrix, sp.csr_array, np.asarray])
def test_metrics_are_the_recorded_ones(name, metric, as_labels):
    scores, labels = INPUTS[name]
    labels = labels.astype(np.float32)
    inverse = compute_inv_propesity(labels, 0.55, 1.5)
    np.testing.assert_allclose(inverse, INVERSE[name], rtol=1e-7)
    expected = RECORDED[name][metric]
    result = call(xc_metrics, metric, scores, as_labels(labels), np.array(INVERSE[name]), k=len(expected))
    assert result.shape == (len(expected),)
    if "ndcg" in metric:
        assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-7)


@pytest.mark.parametrize("name", AUC)
def test_auc_is_the_recorded_one(name):
    scores, labels = INPUTS[name]
    result = xc_metrics.auc(scores, sp.csr_matrix(labels.astype(np.float32)), 3)
    assert (type(result), result) == (np.float32, np.float32(AUC[name]))


# Against the definition, in every form of the predictions


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_rows, num_classes = draw(st.integers(1, 30)), draw(st.integers(4, 9))
    labels = (rng.random((num_rows, num_classes)) < draw(st.sampled_from([0.05, 0.3, 0.9]))).astype(np.float64)
    labels[0, 0] = 1
    scores = rng.permuted(np.tile(np.arange(1.0, num_classes + 1), (num_rows, 1)), axis=1)
    return scores.astype(draw(st.sampled_from([np.float32, np.float64]))), sp.csr_matrix(labels)


def inverse_of(labels):
    return 1.0 + np.arange(labels.shape[1]) % 3


def agree(metric, X, Y, k, expected, **options):
    inverse = inverse_of(Y)
    np.testing.assert_allclose(call(xc_metrics, metric, X, Y, inverse, k=k, **options), expected, rtol=1e-6)


@given(cases(), st.integers(1, 4))
def test_metrics_are_those_of_the_definition(case, k):
    X, Y = case
    order = np.argsort(-X, axis=1)
    shuffled = np.random.default_rng(k).permuted(order, axis=1)
    lists = {"indices": shuffled, "scores": np.take_along_axis(X, shuffled, 1)}
    inverse = inverse_of(Y)
    np.testing.assert_allclose(compute_inv_propesity(Y, 0.5, 0.4), published.compute_inv_propesity(Y, 0.5, 0.4))
    for metric in ("precision", "ndcg", "recall", "psprecision"):
        expected = call(published, metric, X, Y, inverse, k=k)
        agree(metric, X, Y, k, expected)
        agree(metric, sp.csr_matrix(X), Y, k, expected)
        agree(metric, sp.coo_matrix(X), Y, k, expected)
        agree(metric, lists, Y, k, expected)
        agree(metric, order, Y, k, expected, sorted=True)
        agree(metric, {"indices": order, "scores": X}, Y, k, expected, sorted=True, use_cython=True)


@given(cases(), st.integers(1, 4), st.sampled_from([0.0, 0.2, 0.6]))
def test_short_lists_are_those_of_the_definition(case, k, share):
    X, Y = case
    listed = sp.csr_matrix(X * (np.random.default_rng(k).random(X.shape) < share))
    for metric in ("precision", "ndcg", "recall"):
        agree(metric, listed, Y, k, call(published, metric, listed, Y, None, k=k))


@given(cases(), st.integers(1, 4), st.booleans())
def test_metrics_of_a_class_are_the_functions(case, k, remove):
    X, Y = case
    inverse = inverse_of(Y)
    kept = np.asarray(Y.sum(axis=1)).ravel() > 0 if remove else np.ones(len(X), bool)
    expected = [
        call(xc_metrics, metric, X[kept], Y[kept], inverse, k=k)
        for metric in ("precision", "ndcg", "psprecision", "psndcg")
    ]
    for labels in (Y, Y.toarray()):
        metrics = copy.deepcopy(Metrics(labels, inverse, remove_invalid=remove))
        lists = {"indices": np.argsort(-X, axis=1), "scores": -np.sort(-X, axis=1)}
        for X_form in (X, sp.csr_matrix(X), lists, lists):  # twice: the dictionary is unchanged
            found = metrics.eval(X_form, K=k)
            assert type(found) is list
            for ours, function in zip(found, expected, strict=True):
                np.testing.assert_allclose(ours, function, rtol=1e-6)
        assert len(Metrics(labels).eval(X, K=k)) == 2


# Conventions


def test_values_of_labels_weigh_the_hits():
    assert xc_metrics.precision(np.array([[0.9, 0.1]]), sp.csr_matrix([[3.0, 0.0]]), k=1).tolist() == [3.0]


def test_ties_have_a_fixed_order():
    """The lower class first in dense scores, the first one in lists, the higher class in sparse scores."""
    scores = np.float32([[0.5, 0.7, 0.5, 0.5]])
    for label, dense, sparse in ((0, 1.0, 0.0), (2, 0.0, 0.0), (3, 0.0, 1.0)):
        labels = sp.csr_matrix(np.eye(4)[[label]])
        assert xc_metrics.recall(scores, labels, k=2)[1] == dense
        assert xc_metrics.recall(sp.csr_matrix(scores), labels, k=2)[1] == sparse
        lists = {"indices": np.array([[3, 1, 2, 0]]), "scores": np.take(scores, [3, 1, 2, 0], axis=1)}
        assert xc_metrics.recall(lists, labels, k=2)[1] == sparse


def test_rows_without_labels_count_as_zero():
    labels = sp.csr_matrix([[1.0, 0, 0], [0, 0, 0]])
    scores = np.array([[0.9, 0.5, 0.1]] * 2)
    for metric in ("precision", "ndcg", "recall", "hits"):
        assert call(xc_metrics, metric, scores, labels, None, k=1).tolist() == [0.5]
    assert Metrics(labels, remove_invalid=True).eval(scores, K=1)[0].tolist() == [1.0]


def test_the_old_name_warns():
    with pytest.warns(FutureWarning, match="deprecated; use Metrics"):
        assert Metrices(sp.csr_matrix(LABELS_A), inv_propensity_scores=np.ones(4)).inv_psp.tolist() == [1.0] * 4


def test_shapes_are_compared_as_published():
    lists = {"indices": np.zeros((2, 5)), "scores": np.zeros((2, 5))}
    for other, expected in ((np.zeros((2, 3)), True), (sp.csr_matrix((3, 3)), False), (sp.csr_matrix((2, 9)), True)):
        assert compatible_shapes(lists, other) is compatible_shapes(other, lists) is expected
    assert not compatible_shapes(np.zeros((2, 3)), np.zeros((2, 4)))
    assert compatible_shapes(np.zeros((2, 3)), sp.csr_matrix((2, 4)))


def test_metrics_are_printed_in_percent():
    assert xc_metrics.format([0.5, 0.25], np.array([1.0]), decimal_points="%.1f") == "50.0,25.0\n100.0"


# Errors


@pytest.mark.parametrize(
    ("X", "error", "sentence"),
    [
        (np.zeros((3, 3)), AssertionError, "X: expected predictions for each row of the labels"),
        (np.zeros((2, 2)), AssertionError, "X: expected at least k = 3 columns, got 2"),
        (np.zeros((2, 3), int), AssertionError, "sorted: expected True with class indices"),
        (np.zeros((2, 3), bool), NotImplementedError, "X: expected a sparse matrix"),
        (np.array([[0.1, 0.2, 0.3], [0.5, np.nan, 0.1]]), ValueError, "got NaN at row 1, column 1"),
        (sp.csr_matrix([[0.1, 0.2, 0.3], [0, 0.5, np.nan]]), ValueError, "got NaN at row 1, column 2"),
        (sp.csr_matrix(([1.0, 2.0], [1, 1], [0, 2, 2]), (2, 3)), ValueError, "expected each class once in a row"),
        ({"indices": np.zeros((2, 3)), "scores": np.zeros((2, 4))}, AssertionError, "X: expected scores of shape"),
    ],
)
def test_other_predictions_are_errors(X, error, sentence):
    labels = sp.csr_matrix([[1.0, 0, 0], [0, 1, 0]])
    with pytest.raises(error, match=sentence):
        xc_metrics.precision(X, labels, k=3)
