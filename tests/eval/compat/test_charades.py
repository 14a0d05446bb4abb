"""The mAP of Charades, PyVideoResearch and W-TALC: recorded outputs, definitions in loops, and quirks.

Recorded with the files named in the modules, on numpy 2.4.6 without its SIMD sort, which is stable for up to 16 rows.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import charades as published
from small_inputs import LABELS_A, LABELS_B, LABELS_C, A, B, C

from vltr_eval.compat import charades, pyvideoresearch

SIGMOID = (1 / (1 + np.exp(-C.astype(np.float32)))).astype(np.float32)
INPUTS = {
    "A": (A, LABELS_A),
    "B": (B, LABELS_B),
    "B3": (B[:, :3], LABELS_B[:, :3]),
    "C": (C, LABELS_C),
    "C(s)": (SIGMOID, LABELS_C),
}
# The mean of charades.map, charades.charades_map, and the same of PyVideoResearch
MEANS = {
    "A": [0.8265963203463204] * 4,
    "B": [np.nan, np.nan, 0.7893759018759018, 0.7979617604617605],
    "B3": [0.7893759018759018, 0.7979617604617605] * 2,
    "C": [0.6295965608465608] * 4,
    "C(s)": [0.7518783068783069] * 4,
}
WEIGHTED = {
    "A": [0.2445833333333333, 0.2, 0.22272727272727272, 0.1375],
    "B": [0.3057291666666666, 0.19460227272727273, 0.2784090909090909, np.nan],
    "C": [0.1482873851294904, 0.13095238095238096, 0.1419172932330827, 0.1868421052631579],
}
EACH = {
    "A": [0.6988095238095237, 0.8, 0.8909090909090909, 0.9166666666666666],
    "B": [0.6988095238095237, 0.7784090909090909, 0.8909090909090909, np.nan],
    "C": [0.4695767195767196, 0.6220238095238095, 0.5392857142857143, 0.8875],
}
LABELLED_FIRST = [0.7063852813852813, 0.7875, 0.9, np.nan]  # charades_map on B
W_TALC = {"A": 82.65963304610479, "B": np.nan, "B3": 78.93759261994136, "C": 62.959656814734146}
FUNCTIONS = [getattr(module, name) for module in (charades, pyvideoresearch) for name in ("map", "charades_map")]


# Recorded


@pytest.mark.parametrize("name", MEANS)
def test_means_are_the_recorded_ones(name):
    results = [function(*INPUTS[name])[0] for function in FUNCTIONS]
    assert {type(result) for result in results} == {np.float64}
    np.testing.assert_allclose(results, MEANS[name], rtol=1e-15)


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("module", [charades, pyvideoresearch])
def test_classes_are_the_recorded_ones(name, module):
    _, weighted, each = module.map(*INPUTS[name])
    assert (weighted.dtype, each.dtype) == (np.float64, np.float64)
    np.testing.assert_allclose(weighted, WEIGHTED[name], rtol=1e-15)
    np.testing.assert_allclose(each, EACH[name], rtol=1e-15)


@pytest.mark.parametrize("module", [charades, pyvideoresearch])
def test_rows_without_labels_rank_last(module):
    """Row 10 of B has no labels; the scores of the caller stay as they were."""
    scores = B.copy()
    np.testing.assert_allclose(module.charades_map(scores, LABELS_B)[2], LABELLED_FIRST, rtol=1e-15)
    np.testing.assert_array_equal(scores, B)


@pytest.mark.parametrize("name", W_TALC)
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
def test_percents_of_w_talc_are_the_recorded_ones(name):
    result = charades.getClassificationMAP(*INPUTS[name])
    assert type(result) is np.float64
    assert result == pytest.approx(W_TALC[name], rel=1e-7, nan_ok=True)


# Against the definition


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 50)), draw(st.integers(1, 5))
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    levels, prevalence = draw(st.sampled_from([1, 3, 2000])), draw(st.sampled_from([0.1, 0.6, 1.0]))
    labels = (rng.random(shape) < prevalence).astype(draw(st.sampled_from([np.bool_, np.uint8, np.float32])))
    labels[0, 0] = 1
    scores = rng.integers(-levels, levels, shape).astype(dtype)
    scores[rng.random(shape) < draw(st.sampled_from([0.0, 0.2]))] = -np.inf
    return scores, labels


@given(cases())
def test_values_are_those_of_the_definition(case):
    for name in ("map", "charades_map"):
        expected = getattr(published, name)(*case)
        for module in (charades, pyvideoresearch):
            mean, weighted, each = getattr(module, name)(*case)
            np.testing.assert_allclose(each, expected[2], rtol=1e-13)
            np.testing.assert_allclose(weighted, expected[1], rtol=1e-13)
            assert mean == pytest.approx(
                (np.nanmean if module is pyvideoresearch else np.mean)(expected[2]), nan_ok=True
            )


@given(cases())
def test_percents_of_w_talc_are_those_of_the_definition(case):
    expected = published.getClassificationMAP(*case)
    with np.errstate(invalid="ignore"):
        assert charades.getClassificationMAP(*case) == pytest.approx(expected, rel=1e-6, nan_ok=True)


# Conventions


def test_unsigned_scores_wrap_around_as_published():
    """The originals sort ``-scores``, where an unsigned 0 stays 0 and 1 becomes 255: 0 ranks first, then 255."""
    scores, labels = np.uint8([[0], [1], [255]]), np.array([[0], [0], [1]])
    assert charades.map(scores, labels)[0] == 0.5
    assert charades.getClassificationMAP(scores, labels) == 50
    assert charades.map(scores.astype(int), labels)[0] == 1.0


def test_weights_are_sums_of_labels():
    """A label of 2 is negative in AP but counts in the weights."""
    labels = np.array([[1, 2], [0, 1]])
    _, weighted, each = charades.map(np.array([[0.9, 0.9], [0.1, 0.1]]), labels)
    assert each.tolist() == [1.0, 0.5]
    assert weighted.tolist() == [0.25, 0.375]


def test_no_positives_warn_as_published():
    scores, labels = np.ones((3, 2)), np.zeros((3, 2))
    assert np.isnan(charades.map(scores, labels)[0])
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        assert np.isnan(pyvideoresearch.map(scores, labels)[0])


def test_no_rows_give_nan_as_published():
    scores, labels = np.empty((0, 2)), np.empty((0, 2), int)
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        for function in FUNCTIONS:
            mean, weighted, each = function(scores, labels)
            assert np.isnan([mean, *weighted, *each]).all()
        assert np.isnan(charades.getClassificationMAP(scores, labels))


# Errors


@pytest.mark.parametrize("function", [*FUNCTIONS, charades.getClassificationMAP])
def test_nan_scores_are_errors_that_name_them(function):
    scores = A.copy()
    scores[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN at row 3, class 1"):
        function(scores, LABELS_A)


@pytest.mark.parametrize("function", [*FUNCTIONS, charades.getClassificationMAP])
def test_masked_cells_are_errors_not_numbers(function):
    cells = np.zeros(A.shape, bool)
    cells[3, 1] = True
    for scores, labels in ((np.ma.array(A, mask=cells), LABELS_A), (A, np.ma.array(LABELS_A, mask=cells))):
        with pytest.raises(ValueError, match="expected a number in every cell"):
            function(scores, labels)


def test_integer_scores_cannot_become_infinite():
    """As in the original: integers have no -inf for rows without labels."""
    with pytest.raises(OverflowError):
        charades.charades_map(np.ones((2, 1), int), np.array([[1], [0]]))
