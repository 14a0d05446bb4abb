"""YouTube-8M's metrics against their definition in benchmarks/published, worked examples, and laws."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import youtube8m as published
from reference import assert_agrees, assert_same_bits

from vltr_eval import average_precision
from vltr_eval.compat import youtube8m
from vltr_eval.compat.youtube8m import (
    AveragePrecisionCalculator,
    EvaluationMetrics,
    MeanAveragePrecisionCalculator,
    calculate_gap,
    calculate_hit_at_one,
    calculate_precision_at_equal_recall_rate,
    top_k_by_class,
)
from vltr_eval.compat.youtube8m import ranked_lists as youtube8m_ranked_lists

DTYPES = [np.float16, np.float32, np.float64, np.int64, np.uint8]


def untied(num_rows: int, num_classes: int, seed: int, prevalence: float = 0.3):
    """scores (N, C) float64, no two of them equal, some negative; labels (N, C) float32 of 0/1."""
    rng = np.random.default_rng(seed)
    scores = rng.permutation(num_rows * num_classes).reshape(num_rows, num_classes) - num_rows * num_classes // 4
    return scores / 64, (rng.random(scores.shape) < prevalence).astype(np.float32)


cases = st.builds(
    untied,
    st.integers(1, 30),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
top_ns = st.sampled_from([None, 1, 2, 5, 1000])


@pytest.fixture(params=[1 << 18, 3])
def _merges(request, monkeypatch):
    """Rarely, or after every few scores."""
    monkeypatch.setattr(youtube8m_ranked_lists, "_WAITING", request.param)


def pieces(num_rows: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, num_rows, size)]


# Against the definition


@given(cases, top_ns, st.sampled_from([None, 0, 1, 7, 7.5]))
def test_ap_at_n_is_the_published_one(case, n, total):
    scores, labels = (matrix[:, 0] for matrix in case)
    assert_agrees(
        AveragePrecisionCalculator.ap_at_n(scores, labels, n, total),
        published.AveragePrecisionCalculator.ap_at_n(scores, labels, n, total),
    )


@pytest.mark.usefixtures("_merges")
@given(cases, top_ns, st.integers(1, 40))
def test_one_calculator_is_the_published_one(case, top_n, size):
    scores, labels = (matrix.ravel() for matrix in case)
    ours, theirs = AveragePrecisionCalculator(top_n), published.AveragePrecisionCalculator(top_n)
    for part, calculator in itertools.product(pieces(len(scores), size), (ours, theirs)):
        calculator.accumulate(scores[part], labels[part])
    assert_agrees(ours.peek_ap_at_n(), theirs.peek_ap_at_n())
    assert (ours.heap_size, ours.num_accumulated_positives) == (theirs.heap_size, theirs.num_accumulated_positives)


@pytest.mark.usefixtures("_merges")
@given(cases, top_ns, st.booleans(), st.integers(1, 40))
def test_the_mean_calculator_is_the_published_one(case, top_n, filter_empty, size):
    scores, labels = case
    calculators = [
        module.MeanAveragePrecisionCalculator(scores.shape[1], filter_empty, top_n) for module in (youtube8m, published)
    ]
    for part, calculator in itertools.product(pieces(len(scores), size), calculators):
        calculator.accumulate(scores[part].T, labels[part].T)
    ours, theirs = (calculator.peek_map_at_n() for calculator in calculators)
    assert_agrees(ours, theirs)


@pytest.mark.usefixtures("_merges")
@given(cases, top_ns, st.integers(0, 2**32 - 1))
def test_ragged_lists_give_what_the_published_ones_give(case, top_n, seed):
    rng = np.random.default_rng(seed)
    scores, labels = case
    calculators = [
        module.MeanAveragePrecisionCalculator(scores.shape[1], False, top_n) for module in (youtube8m, published)
    ]
    for part in pieces(len(scores), 9):
        kept = rng.random(scores[part].shape) < 0.6
        lists = [
            [column[rows].tolist() for column, rows in zip(matrix[part].T, kept.T, strict=True)]
            for matrix in (scores, labels)
        ]
        for calculator in calculators:
            calculator.accumulate(*lists, labels[part].sum(0).tolist())
    ours, theirs = (calculator.peek_map_at_n() for calculator in calculators)
    assert_agrees(ours, theirs)


@given(cases)
def test_hit_at_one_and_perr_are_the_published_ones(case):
    assert_agrees(calculate_hit_at_one(*case), published.calculate_hit_at_one(*case))
    assert_agrees(
        calculate_precision_at_equal_recall_rate(*case), published.calculate_precision_at_equal_recall_rate(*case)
    )


@given(cases, st.integers(1, 15))
def test_gap_is_the_published_one(case, top_k):
    assert_agrees(calculate_gap(*case, top_k), published.calculate_gap(*case, top_k))


@given(cases, st.integers(1, 15))
def test_top_k_by_class_is_the_published_one(case, k):
    ours, theirs = top_k_by_class(*case, k), published.top_k_by_class(*case, k)
    for actual, expected in zip(ours[:2], theirs[:2], strict=True):
        assert [of_class.tolist() for of_class in actual] == expected
    assert ours[2] == theirs[2]


@given(cases, st.integers(1, 15), top_ns, st.integers(1, 40))
def test_evaluation_metrics_are_the_published_ones(case, top_k, top_n, size):
    scores, labels = case
    ours, theirs = (module.EvaluationMetrics(scores.shape[1], top_k, top_n) for module in (youtube8m, published))
    for part in pieces(len(scores), size):
        loss = scores[part].sum(axis=1)
        actual, expected = (metrics.accumulate(scores[part], labels[part], loss) for metrics in (ours, theirs))
        assert actual == pytest.approx(expected, abs=1e-12)
    actual, expected = ours.get(), theirs.get()
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12, atol=1e-12, err_msg=name)


def test_wide_rows_have_the_published_top():
    """Rows wide enough that the highest are looked for among maxima of groups of columns."""
    for num_classes in (63, 64, 65, 200):
        case = untied(20, num_classes, num_classes, prevalence=0.05)
        for k in (1, 2, 4, 20):
            ours, theirs = top_k_by_class(*case, k), published.top_k_by_class(*case, k)
            assert [of_class.tolist() for of_class in ours[0]] == theirs[0]


# Worked examples


def test_ap_at_n_of_worked_examples():
    scores, labels = [0.9, 0.8, 0.7, 0.6, 0.5], [1, 0, 1, 0, 1]
    ap_at_n = AveragePrecisionCalculator.ap_at_n
    assert_agrees(AveragePrecisionCalculator.ap(scores, labels), float((1 + Fraction(2, 3) + Fraction(3, 5)) / 3))
    assert_agrees(ap_at_n(scores, labels, 3), float((1 + Fraction(2, 3)) / 3))
    assert_agrees(ap_at_n(scores, labels, 2), 1 / 2)
    assert_agrees(ap_at_n(scores, labels, 3, 10), float((1 + Fraction(2, 3)) / 3))
    assert_agrees(ap_at_n(scores, labels, None, 10), float((1 + Fraction(2, 3) + Fraction(3, 5)) / 10))


def test_perr_counts_scores_above_zero_only():
    scores, labels = np.array([[0.5, 0.0, -1.0], [0.1, 0.2, 0.3]]), np.array([[1, 1, 0], [0, 0, 0]])
    assert calculate_precision_at_equal_recall_rate(scores, labels) == (1 / 2 + 0) / 2


def test_gap_misses_what_is_below_the_top_k():
    scores, labels = np.array([[0.9, 0.8], [0.7, 0.6]]), np.array([[0, 1], [1, 0]])
    assert_agrees(calculate_gap(scores, labels, 1), (1 / 2) / 2)
    assert_agrees(calculate_gap(scores, labels, 2), (1 / 2 + 2 / 3) / 2)


# Conventions


def test_nothing_gives_zero():
    for top_n in (None, 3):
        calculator = AveragePrecisionCalculator(top_n)
        assert (calculator.peek_ap_at_n(), calculator.heap_size, calculator.num_accumulated_positives) == (0, 0, 0)
        calculator.accumulate([], [], 4)
        assert (calculator.peek_ap_at_n(), calculator.num_accumulated_positives) == (0, 4)
    assert AveragePrecisionCalculator.ap([], []) == 0
    assert AveragePrecisionCalculator.ap([0.5], [0]) == 0
    assert AveragePrecisionCalculator.ap_at_n([0.5], [1], 20, 0) == 0


@pytest.mark.parametrize("num_classes", [1, 3, 40])
def test_no_rows_give_zero_or_nan(num_classes):
    scores, labels = np.empty((2, 0, num_classes))
    assert calculate_gap(scores, labels) == published.calculate_gap(scores, labels) == 0
    assert np.isnan(calculate_hit_at_one(scores, labels))
    assert np.isnan(calculate_precision_at_equal_recall_rate(scores, labels))
    kept, of_them, num_positives = top_k_by_class(scores, labels, 2)
    assert [len(of_class) for of_class in (*kept, *of_them)] == [0] * 2 * num_classes
    assert num_positives == [0] * num_classes


@pytest.mark.parametrize("top_n", [None, 2])
def test_empty_classes_are_left_out_unless_told_otherwise(top_n):
    for filter_empty, expected in ((True, [1.0]), (False, [0.0, 1.0, 0.0])):
        calculator = MeanAveragePrecisionCalculator(3, filter_empty, top_n)
        assert calculator.is_empty()
        assert calculator.peek_map_at_n() == ([] if filter_empty else [0.0] * 3)
        calculator.accumulate([[0.3, 0.4, 0.5], [0.6], []], [[0, 0, 0], [1], []])
        assert not calculator.is_empty()
        assert calculator.peek_map_at_n() == expected
        calculator.clear()
        assert calculator.is_empty()


@pytest.mark.parametrize("top_n", [None, 2])
@pytest.mark.parametrize("given_as", [list, tuple, np.array, np.float32])
def test_num_positives_may_be_an_array(top_n, given_as):
    calculator = MeanAveragePrecisionCalculator(2, top_n=top_n)
    calculator.accumulate([[0.9], [0.8]], [[1], [1]], given_as([4, 1]))
    assert calculator.peek_map_at_n() == [1 / 4 if top_n is None else 1 / 2, 1.0]
    single = AveragePrecisionCalculator()
    single.accumulate([0.9], [1], np.array(4))
    assert (single.peek_ap_at_n(), single.num_accumulated_positives) == (1 / 4, 4)


def test_tiny_actuals_are_hits_but_not_counted():
    calculator = AveragePrecisionCalculator()
    calculator.accumulate([0.9, 0.8], [1e-6, 1])
    assert calculator.num_accumulated_positives == 1
    assert calculator.peek_ap_at_n() == 2.0
    assert AveragePrecisionCalculator.ap([0.9, 0.8], [1e-6, 1]) == 1.0


def test_clear_forgets_everything():
    metrics = EvaluationMetrics(4, 2)
    first, second = untied(9, 4, 0), untied(5, 4, 1)
    metrics.accumulate(*first, 1.0)
    metrics.clear()
    with pytest.raises(ValueError, match="get: expected at least one row"):
        metrics.get()
    metrics.accumulate(*second, 2.0)
    fresh = EvaluationMetrics(4, 2)
    fresh.accumulate(*second, 2.0)
    assert metrics.get() == fresh.get()


@pytest.mark.parametrize("top_n", [None, 2])
def test_batches_may_be_overwritten_after_they_were_accumulated(top_n):
    scores, labels = (matrix.T.copy() for matrix in untied(9, 4, 0))
    calculators = [MeanAveragePrecisionCalculator(4, top_n=top_n) for _ in range(2)]
    for calculator in calculators:
        calculator.accumulate(scores, labels)
    expected = calculators[0].peek_map_at_n()
    scores[:], labels[:] = 0, 0
    assert calculators[1].peek_map_at_n() == expected


@pytest.mark.parametrize("top_n", [None, 2, 50])
def test_looking_at_it_changes_nothing(top_n):
    scores, labels = (matrix.ravel() for matrix in untied(20, 3, 2))
    looked, other = AveragePrecisionCalculator(top_n), AveragePrecisionCalculator(top_n)
    for part in pieces(60, 7):
        for calculator in (looked, other):
            calculator.accumulate(scores[part], labels[part])
        looked.peek_ap_at_n()
    assert looked.peek_ap_at_n() == other.peek_ap_at_n()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("label_dtype", [bool, np.uint8, np.int64, np.float16])
def test_dtypes_change_nothing(dtype, label_dtype):
    scores, labels = untied(12, 5, 4)
    scores = (scores - scores.min()) * 64
    expected, actual = EvaluationMetrics(5, 3), EvaluationMetrics(5, 3)
    expected.accumulate(scores, labels, 0.5)
    actual.accumulate(scores.astype(dtype), labels.astype(label_dtype), 0.5)
    assert actual.get() == expected.get()


def test_pieces_may_differ_in_dtype():
    calculator = AveragePrecisionCalculator()
    for scores in (np.float32([0.5, 0.25]), np.float64([0.5 + 1e-12]), [1]):
        calculator.accumulate(scores, np.ones(len(scores), bool) & (len(scores) == 1))
    assert calculator.peek_ap_at_n() == 1.0


# Ties


def tied(seed: int, shape: tuple[int, int] = (40, 6), levels: int = 3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, levels, shape).astype(np.float32), rng.random(shape) < 0.3


@pytest.mark.usefixtures("_merges")
@given(st.integers(0, 2**32 - 1), top_ns, st.integers(1, 40))
def test_the_order_of_rows_changes_no_bit(seed, top_n, size):
    scores, labels = tied(seed)
    order = np.random.default_rng(seed).permutation(len(scores))
    results = []
    for rows, length in ((np.arange(len(scores)), len(scores)), (order, size)):
        calculator = MeanAveragePrecisionCalculator(6, top_n=top_n)
        for part in pieces(len(rows), length):
            calculator.accumulate(scores[rows[part]].T, labels[rows[part]].T)
        results.append(np.array(calculator.peek_map_at_n()))
    assert_same_bits(*results)


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_changes_no_metric_of_rows(seed):
    scores, labels = tied(seed)
    order = np.random.default_rng(seed).permutation(len(scores))
    for metric in (calculate_hit_at_one, calculate_precision_at_equal_recall_rate, calculate_gap):
        assert_agrees(metric(scores[order], labels[order]), metric(scores, labels))


@given(st.integers(0, 2**32 - 1))
def test_whole_lists_have_the_ap_of_the_library(seed):
    scores, labels = tied(seed)
    dense, ragged = (MeanAveragePrecisionCalculator(6, filter_empty_classes=False) for _ in range(2))
    dense.accumulate(scores.T, labels.T)
    ragged.accumulate([*scores.T[:5], scores[:1, 5]], [*labels.T[:5], labels[:1, 5]])
    ragged.accumulate([[]] * 5 + [scores[1:, 5]], [[]] * 5 + [labels[1:, 5]])
    expected = average_precision(scores, labels, absent="zero")
    assert_agrees(dense.peek_map_at_n(), expected)
    assert_agrees(ragged.peek_map_at_n(), expected)


def test_ties_at_the_cut_hold_the_expected_share():
    """Third and fourth of four equal scores with two positives fall off n = 3: one place of the three is a hit."""
    scores, labels = [0.9, 0.5, 0.5, 0.5, 0.5], [1, 1, 1, 0, 0]
    expected = (1 + 1 * (1 + 1) / 3) / 3
    assert_agrees(AveragePrecisionCalculator.ap_at_n(scores, labels, 3), expected)
    for top_n, order in itertools.product([3], itertools.permutations(range(5))):
        calculator = AveragePrecisionCalculator(top_n)
        for i in order:
            calculator.accumulate([scores[i]], [labels[i]])
        assert_agrees(calculator.peek_ap_at_n(), expected)
        assert calculator.heap_size == 3


def test_equal_scores_of_a_row_rank_by_the_lower_class():
    scores = np.zeros((1, 40))
    scores[0, [7, 30]] = 1
    labels = np.zeros((1, 40))
    labels[0, [7, 0]] = 1
    assert calculate_hit_at_one(scores, labels) == 1
    assert calculate_hit_at_one(scores[:, ::-1], labels[:, ::-1]) == 0
    kept, _, _ = top_k_by_class(scores, labels, 4)
    assert np.flatnonzero([len(of_class) for of_class in kept]).tolist() == [0, 1, 7, 30]


def test_random_generators_are_left_alone():
    scores, labels = tied(0)
    random.seed(7)
    before, before_numpy = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    calculate_gap(scores, labels)
    AveragePrecisionCalculator.ap(scores[:, 0], labels[:, 0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == (before, before_numpy)  # noqa: NPY002


# Errors

SCORES, LABELS = np.array([[0.5, 0.25], [0.1, 0.2]]), np.array([[1, 0], [0, 1]])
WITH_NAN = np.array([[0.5, 0.25], [0.1, np.nan]])
NEGATIVE = np.array([[1, -1], [1, -1]])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: AveragePrecisionCalculator(0), "top_n: expected a positive integer, got 0"),
        (lambda: AveragePrecisionCalculator(2.5), "top_n: expected a positive integer, got 2.5"),
        (lambda: AveragePrecisionCalculator.ap_at_n([1], [1], 0), "n: expected a positive integer, got 0"),
        (lambda: AveragePrecisionCalculator.ap([1, 2], [1]), r"got shapes \(2,\) and \(1,\) for class 0"),
        (lambda: AveragePrecisionCalculator.ap(SCORES, LABELS), r"got shapes \(2, 2\) and \(2, 2\) for class 0"),
        (lambda: AveragePrecisionCalculator.ap([np.nan], [1]), "predictions: expected numbers, got NaN"),
        (
            lambda: AveragePrecisionCalculator().accumulate([1], [1], -1),
            "num_positives: expected a number that is not negative, got -1",
        ),
        (
            lambda: AveragePrecisionCalculator.ap_at_n([1], [1], 20, -1),
            "^total_num_positives: expected a number that is not negative, got -1",
        ),
        (lambda: MeanAveragePrecisionCalculator(0), "num_class: expected a positive integer, got 0"),
        (
            lambda: MeanAveragePrecisionCalculator(3).accumulate(SCORES, LABELS),
            "predictions: expected a list for each of 3 classes, got 2",
        ),
        (
            lambda: MeanAveragePrecisionCalculator(2).accumulate(SCORES, LABELS, [1]),
            r"num_positives: expected 2 numbers that are not negative, got \[1\]",
        ),
        (lambda: EvaluationMetrics(2, 0), "top_k: expected a positive integer, got 0"),
        (lambda: calculate_gap(SCORES, LABELS, 0), "top_k: expected a positive integer, got 0"),
        (lambda: top_k_by_class(SCORES, LABELS, 0), "k: expected a positive integer, got 0"),
        (lambda: calculate_hit_at_one(WITH_NAN, LABELS), "predictions: expected numbers, got NaN in row 1"),
        (lambda: calculate_gap(WITH_NAN, LABELS, 2), "predictions: expected numbers, got NaN in row 1"),
        (lambda: calculate_hit_at_one(SCORES, LABELS[:1]), r"actuals: expected shape \(2, 2\) as predictions"),
        (lambda: calculate_hit_at_one(SCORES[0], LABELS[0]), r"predictions: expected \(N, C\)"),
        (
            lambda: calculate_gap(SCORES[:, :0], LABELS[:, :0]),
            r"predictions: expected \(N, C\) with at least one class, got \(2, 0\)",
        ),
        (
            lambda: calculate_gap(SCORES, NEGATIVE),
            "^actuals: expected labels of 0 and 1, got a sum of -2 in class 1$",
        ),
        (
            lambda: calculate_precision_at_equal_recall_rate(SCORES, NEGATIVE.T * 1.0),
            "^actuals: expected labels of 0 and 1, got a sum of -2.0 in row 1$",
        ),
        (
            lambda: EvaluationMetrics(2, 2).accumulate(SCORES, NEGATIVE, 0),
            "^labels: expected labels of 0 and 1, got a sum of -2 in class 1$",
        ),
        (
            lambda: EvaluationMetrics(2, 2).accumulate(SCORES[:0], LABELS[:0], 0),
            r"^predictions: expected \(B, 2\) with at least one row, got \(0, 2\)$",
        ),
        (
            lambda: EvaluationMetrics(1, 2).accumulate(SCORES, LABELS, 0),
            r"^predictions: expected \(B, 1\) with at least one row, got \(2, 2\)$",
        ),
    ],
)
def test_bad_arguments_are_errors(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_scores_that_are_no_numbers_are_errors():
    with pytest.raises(TypeError, match="predictions: expected real numbers, got <U1"):
        AveragePrecisionCalculator.ap(["a"], [1])
