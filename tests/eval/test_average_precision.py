"""AP, weighted AP and calibrated AP against the textbook, scikit-learn, and numbers from papers and code."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
from cases import corner_labels, make_case
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_agrees, assert_same_bits
from sklearn.metrics import average_precision_score

from vltr_eval import average_precision, calibrated_average_precision, mean_average_precision, rank_table

pytestmark = pytest.mark.any_device

SHAPES = [(1, 1), (2, 3), (17, 5), (300, 20), (2000, 3)]
LEVELS = [None, 2, 5, 50]


def sklearn_ap(scores, labels, weights=None) -> np.ndarray:
    """Return scikit-learn's AP of each class, with NaN for undefined classes, which it does not have."""
    return np.array(
        [
            average_precision_score(labels[:, c], scores[:, c], sample_weight=weights)
            if labels[:, c].any()
            else math.nan
            for c in range(labels.shape[1])
        ]
    )


# Plain AP


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", LEVELS)
def test_ap_agrees_with_the_textbook(simd, shape, levels):
    scores, labels = make_case(*shape, seed=1, levels=levels)
    assert_agrees(average_precision(scores, labels), reference.per_class(reference.average_precision, scores, labels))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", LEVELS)
def test_ap_agrees_with_sklearn(simd, shape, levels):
    scores, labels = make_case(*shape, seed=2, levels=levels)
    assert_agrees(average_precision(scores, labels), sklearn_ap(scores, labels))


@pytest.mark.parametrize("num_rows", [1, 2, 16, 257])
@pytest.mark.parametrize("levels", [None, 3])
def test_ap_agrees_with_sklearn_for_any_number_of_positives(num_rows, levels):
    labels = corner_labels(num_rows)
    scores, _ = make_case(*labels.shape, levels=levels)
    assert_agrees(average_precision(scores, labels), sklearn_ap(scores, labels))


def test_ap_agrees_with_sklearn_on_saturated_sigmoids():
    logits, labels = make_case(3000, 4, seed=3)
    with np.errstate(over="ignore"):
        scores = 1 / (1 + np.exp(-logits * np.float32(30)))
    assert len(np.unique(scores)) < len(np.unique(logits))
    assert_agrees(average_precision(scores, labels), sklearn_ap(scores, labels))


def test_ap_of_one_tie_is_prevalence():
    labels = np.array([1, 0, 0, 1])
    assert average_precision(np.zeros(4), labels)[0] == 0.5
    assert (
        average_precision(np.zeros(4), labels[[1, 2, 0, 3]])[0] == 0.5
    )  # published code gives .750 or .417, by row order


def test_ap_is_one_when_every_positive_is_ranked_first():
    assert average_precision(np.array([3.0, 2.0, 1.0, 0.0]), np.array([1, 1, 0, 0]))[0] == 1


def test_ap_without_negatives_is_one():
    assert average_precision(np.arange(5.0), np.ones(5))[0] == 1


def test_ap_of_the_last_rank_is_the_smallest():
    """With all P positives below all P negatives, AP is 1/P sum r / (P + r)."""
    for positives, smallest in ((5, 0.354), (32, 0.315)):
        labels = np.repeat([0, 1], positives)
        assert average_precision(-np.arange(2.0 * positives), labels)[0] == pytest.approx(smallest, abs=5e-4)


def test_ap_without_positives_is_nan_or_zero():
    scores, labels = make_case(20, 3)
    labels[:, 1] = False
    nan, zero = average_precision(scores, labels), average_precision(scores, labels, absent="zero")
    assert np.isnan(nan).tolist() == [False, True, False]
    assert_same_bits(zero, np.where([False, True, False], 0.0, nan))


def test_mean_ap_follows_the_convention():
    scores, labels = make_case(20, 3)
    labels[:, 1] = False
    values = average_precision(scores, labels)
    assert mean_average_precision(scores, labels) == pytest.approx((values[0] + values[2]) / 2, abs=1e-15)
    assert mean_average_precision(scores, labels, absent="zero") == pytest.approx(
        (values[0] + values[2]) / 3, abs=1e-15
    )


def test_mean_ap_without_any_positive_is_nan_or_zero():
    scores, labels = np.zeros((4, 2)), np.zeros((4, 2))
    assert math.isnan(mean_average_precision(scores, labels))
    assert mean_average_precision(scores, labels, absent="zero") == 0


def test_mean_ap_is_a_float():
    assert type(mean_average_precision(*make_case(20, 3))) is float


def test_ap_refuses_an_unknown_convention():
    with pytest.raises(ValueError, match=r"^absent: expected 'nan' or 'zero', got 'skip'$"):
        average_precision(*make_case(5, 1), absent="skip")


# Sample weights


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("kind", ["uniform", "counts", "with zeros", "wide", "subnormal"])
def test_weighted_ap_agrees_with_sklearn(simd, levels, kind):
    scores, labels = make_case(400, 6, seed=4, levels=levels)
    rng = np.random.default_rng(5)
    weights = {
        "uniform": rng.random(400),
        "counts": rng.integers(1, 9, 400),
        "with zeros": rng.random(400) * (rng.random(400) < 0.6),
        "wide": np.exp(rng.normal(0, 5, 400)),
        "subnormal": rng.random(400) * 1e-310,
    }[kind]
    expected = sklearn_ap(
        scores, labels, weights * 2.0**40 if kind == "subnormal" else weights
    )  # AP does not depend on the unit of weight
    assert_agrees(average_precision(scores, labels, sample_weight=weights), expected)


@given(st.data())
def test_weighted_ap_agrees_with_the_textbook(data):
    num_rows = data.draw(st.integers(1, 20))
    scores = data.draw(st.lists(st.integers(-3, 3), min_size=num_rows, max_size=num_rows))
    labels = data.draw(st.lists(st.booleans(), min_size=num_rows, max_size=num_rows))
    weight = st.one_of(st.just(0.0), st.floats(1e-6, 1e6), st.integers(0, 3))
    weights = data.draw(st.lists(weight, min_size=num_rows, max_size=num_rows))
    got = average_precision(np.array(scores), np.array(labels), sample_weight=weights)
    assert_agrees(got, [reference.average_precision(scores, labels, weights)])


def test_equal_weights_change_no_bit():
    scores, labels = make_case(500, 4, seed=6, levels=9)
    assert_same_bits(average_precision(scores, labels, sample_weight=np.ones(500)), average_precision(scores, labels))


def test_integer_weights_are_repeated_rows():
    scores, labels = make_case(60, 4, seed=7, levels=6)
    weights = np.random.default_rng(8).integers(0, 4, 60)
    repeated = average_precision(np.repeat(scores, weights, axis=0), np.repeat(labels, weights, axis=0))
    assert_agrees(average_precision(scores, labels, sample_weight=weights), repeated)


def test_positives_of_weight_zero_are_absent():
    scores, labels = np.arange(4.0), np.array([1, 0, 1, 0])
    assert math.isnan(average_precision(scores, labels, sample_weight=1.0 - labels)[0])
    assert average_precision(scores, labels, sample_weight=1.0 - labels, absent="zero")[0] == 0


@pytest.mark.parametrize("other", [1.0, 5e-324, 1.7976931348623157e308])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_weights_of_minus_zero_are_zero(zero, other):
    scores, labels = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 0])
    assert average_precision(scores, labels, sample_weight=[zero, other, other, other])[0] == 0.5
    assert math.isnan(average_precision(scores, labels, sample_weight=[zero, other, zero, other])[0])


@pytest.mark.host
def test_weights_that_are_not_aligned_are_read_exactly():
    scores, labels = make_case(40, 3, seed=15)
    packed = np.zeros(40, np.dtype({"names": ["w"], "formats": ["f8"], "offsets": [1], "itemsize": 9}))
    packed["w"] = np.random.default_rng(16).random(40)
    dense = np.frombuffer(b"0" + packed["w"].tobytes(), np.float64, offset=1)
    for weights in (packed["w"], dense):
        assert not weights.flags.aligned
        assert_same_bits(
            average_precision(scores, labels, sample_weight=weights),
            average_precision(scores, labels, sample_weight=packed["w"].copy()),
        )


def test_positives_of_too_small_weight_are_named():
    scores, labels = np.zeros((3, 2)), np.array([[0, 1], [0, 0], [1, 0]])
    with pytest.raises(ValueError, match=r"^sample_weight: .* class 1 .* 2\^-90 .* 1e\+200, got at most 1e-200$"):
        average_precision(scores, labels, sample_weight=[1e-200, 1e200, 1e200])


def test_mean_ap_takes_weights():
    scores, labels = make_case(100, 3, seed=9)
    weights = np.random.default_rng(10).random(100)
    expected = sklearn_ap(scores, labels, weights).mean()
    assert mean_average_precision(scores, labels, sample_weight=weights) == pytest.approx(
        expected, abs=reference.WITNESS
    )


@pytest.mark.parametrize(
    ("weights", "error", "sentence"),
    [
        ([1, 2], ValueError, r"^sample_weight: expected shape \(3,\) as scores has rows, got \(2,\)$"),
        ([[1], [2], [3]], ValueError, r"^sample_weight: expected shape \(3,\) as scores has rows, got \(3, 1\)$"),
        ([1, -1, 1], ValueError, r"^sample_weight: expected finite weights that are not negative, got -1\.0 at row 1$"),
        (
            [1, 1, np.nan],
            ValueError,
            r"^sample_weight: expected finite weights that are not negative, got nan at row 2$",
        ),
        (
            [np.inf, 1, 1],
            ValueError,
            r"^sample_weight: expected finite weights that are not negative, got inf at row 0$",
        ),
        pytest.param(
            ["a", "b", "c"], TypeError, r"^sample_weight: expected real numbers, got <U1$", marks=pytest.mark.host
        ),
        pytest.param(
            [1j, 1, 1], TypeError, r"^sample_weight: expected real numbers, got complex128$", marks=pytest.mark.host
        ),
    ],
)
def test_bad_weights_are_refused(weights, error, sentence):
    with pytest.raises(error, match=sentence):
        average_precision(np.arange(3.0), np.array([1, 0, 1]), sample_weight=weights)


def test_weighted_ap_names_nan():
    scores, labels = make_case(50, 4)
    scores[7, 2] = np.nan
    with pytest.raises(ValueError, match=r"^scores: expected numbers, got NaN at row 7, class 2$"):
        average_precision(scores, labels, sample_weight=np.ones(50))


# Calibrated AP


@pytest.mark.parametrize("prevalence", [0.01, 0.5, 0.9])
@pytest.mark.parametrize("levels", [None, 4])
def test_calibrated_ap_agrees_with_the_textbook(prevalence, levels):
    scores, labels = make_case(200, 5, seed=11, levels=levels)
    expected = reference.per_class(reference.calibrated_average_precision, scores, labels, prevalence)
    assert_agrees(calibrated_average_precision(scores, labels, prevalence=prevalence), expected)


def test_calibrated_ap_is_sklearn_on_reweighted_negatives():
    """At prevalence 1/2 the negatives have the same total weight as the positives."""
    scores, labels = make_case(300, 3, seed=12, levels=20)
    for c in range(3):
        positives = labels[:, c].sum()
        weights = np.where(labels[:, c], 1.0, positives / (300 - positives))
        expected = average_precision_score(labels[:, c], scores[:, c], sample_weight=weights)
        assert_agrees(calibrated_average_precision(scores[:, c], labels[:, c]), [expected])


def test_calibrated_ap_at_the_prevalence_of_the_class_is_ap():
    scores, labels = make_case(300, 1, seed=13)
    assert_agrees(
        calibrated_average_precision(scores, labels, prevalence=float(labels.mean())), average_precision(scores, labels)
    )


@pytest.mark.parametrize("prevalence", [5e-324, 1e-310, 1e-300])
def test_calibrated_ap_at_the_least_prevalences_counts_positives_above_all_negatives(prevalence):
    scores, labels = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 0])
    assert calibrated_average_precision(scores, labels, prevalence=prevalence)[0] == 0.5


def test_calibrated_ap_without_positives_or_negatives():
    labels = np.array([[0, 1], [0, 1]])
    assert_same_bits(calibrated_average_precision(np.zeros((2, 2)), labels), np.array([np.nan, 1.0]))
    assert_same_bits(calibrated_average_precision(np.zeros((2, 2)), labels, absent="zero"), np.array([0.0, 1.0]))


@pytest.mark.parametrize("prevalence", [0, 1, -0.5, 1.5, math.nan])
def test_calibrated_ap_refuses_an_impossible_prevalence(prevalence):
    with pytest.raises(ValueError, match=r"^prevalence: expected a number between 0 and 1, got "):
        calibrated_average_precision(np.zeros(2), np.array([0, 1]), prevalence=prevalence)


def test_table_methods_and_functions_agree():
    scores, labels = make_case(100, 4, seed=14, levels=10)
    table = rank_table(scores, labels)
    assert_same_bits(table.average_precision(), average_precision(scores, labels))
    assert_same_bits(
        table.calibrated_average_precision(0.3), calibrated_average_precision(scores, labels, prevalence=0.3)
    )
    assert table.mean_average_precision() == mean_average_precision(scores, labels)
