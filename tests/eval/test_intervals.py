"""Quantiles, p-values, Wilson's interval, jackknife errors and multiplicity against textbooks, tables and scipy."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from vltr_eval import intervals
from vltr_eval.intervals import distributions

ERRORS = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30)
P_VALUES = st.lists(st.floats(0, 1) | st.just(math.nan), max_size=12)


# ---------------------------------------------------------------------------------------------------------------------
# Distributions
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "z"), [(0.9, 1.6448536270), (0.95, 1.9599639845), (0.99, 2.5758293035)])
def test_normal_quantiles_are_those_of_tables(level, z):
    assert intervals.normal_quantile(level) == pytest.approx(z, abs=1e-10)


@pytest.mark.parametrize(
    ("level", "df", "t"),
    [(0.95, 1, 12.706204736), (0.95, 4, 2.7764451052), (0.99, 9, 3.2498355416), (0.9, 30, 1.6972608866)],
)
def test_quantiles_of_t_are_those_of_tables(level, df, t):
    assert intervals.t_quantile(level, df) == pytest.approx(t, abs=1e-9)


def test_p_values_agree_with_scipy():
    df = np.array([0.5, 1, 2, 3.5, 4, 9, 29, 30, 99, 399, 401, 1000, 12345, np.inf])
    t = np.array([0.0, 1e-4, 1e-3, 0.3, 1, 1.96, -2.5, 4, 10, 37, 1e5])
    expected = 2 * scipy.stats.t.sf(np.abs(t)[:, None], df)
    np.testing.assert_allclose(intervals.t_p_value(t[:, None], df), expected, rtol=2e-12, atol=1e-300)
    # The continued fraction loses digits in proportion to df; 1e-10 of a p-value is still far more than anyone reads.
    many = [9999, 1e4, 1e5, 1e7, 1e9, 1e12]
    expected = 2 * scipy.stats.t.sf(np.array([[0.1], [1.96], [4], [15]]), many)
    np.testing.assert_allclose(intervals.t_p_value([[0.1], [1.96], [4], [15]], many), expected, rtol=1e-12)
    np.testing.assert_allclose(intervals.normal_p_value(t), 2 * scipy.stats.norm.sf(np.abs(t)), rtol=1e-12)


def test_quantiles_agree_with_scipy():
    df = np.array([1, 2, 3, 4.5, 9, 50, 399, 402, 5000, 1e5, np.inf])
    for level in (0.01, 0.5, 0.8, 0.95, 0.999, 1 - 1e-9):
        expected = scipy.stats.t.isf((1 - level) / 2, df)
        np.testing.assert_allclose(intervals.t_quantile(level, df), expected, rtol=1e-11)
        assert intervals.normal_quantile(level) == pytest.approx(scipy.stats.norm.isf((1 - level) / 2), rel=1e-11)


@given(st.floats(-100, 100), st.floats(0.5, 1e5))
def test_the_quantile_inverts_the_p_value(t, df):
    level = 1 - float(intervals.t_p_value(t, df))
    if 1e-6 < level < 1 - 1e-6:
        assert intervals.t_quantile(level, df) == pytest.approx(abs(t), rel=1e-7)


def test_undefined_degrees_of_freedom_give_nan():
    assert np.isnan(intervals.t_p_value([1.0, 1.0, 1.0, np.nan], [0, -1, np.nan, 3])).all()
    assert np.isnan(intervals.t_quantile(0.95, [0, -1, np.nan])).all()
    assert intervals.t_p_value(np.inf, 3) == 0


def test_t_with_one_degree_of_freedom_is_the_cauchy_distribution():
    t = np.array([0.1, 1.0, 7.0, 1e4])
    np.testing.assert_allclose(intervals.t_p_value(t, 1), 1 - 2 * np.arctan(t) / np.pi, rtol=1e-11)


@pytest.mark.parametrize("level", [0, 1, -0.1, 1.5, math.nan])
def test_a_level_out_of_range_is_refused(level):
    with pytest.raises(ValueError, match=r"^level: expected a level between 0 and 1, such as 0\.95, got "):
        intervals.normal_quantile(level)


def test_a_level_in_percent_is_refused_with_the_share():
    with pytest.raises(ValueError, match=r"got 95; did you mean 0\.95\?$"):
        intervals.check_level(95)


@pytest.mark.parametrize("level", ["0.95", True, None])
def test_a_level_of_another_type_is_refused(level):
    with pytest.raises(TypeError, match=r"^interval: expected a level such as 0\.95, got "):
        intervals.check_level(level, "interval")


# ---------------------------------------------------------------------------------------------------------------------
# One class
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 1998, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(hits, n, low, high):
    assert [float(end) for end in intervals.wilson(hits / n, n, 0.95)] == pytest.approx([low, high], abs=6e-5)


@given(st.integers(1, 500), st.data())
def test_wilson_holds_the_shares_that_a_score_test_does_not_reject(n, data):
    """The ends are the shares at which the score test has exactly the size 1 - level."""
    share = data.draw(st.integers(0, n)) / n
    z = intervals.normal_quantile(0.9)
    for end in intervals.wilson(share, n, 0.9):
        if 0 < end < 1:
            assert abs(share - end) / math.sqrt(end * (1 - end) / n) == pytest.approx(z, rel=1e-9)
        else:
            assert end == share


@given(st.floats(0, 1), st.floats(0.5, 1e6), st.sampled_from([0.5, 0.95, 0.999]))
def test_wilson_holds_its_value_and_stays_in_the_unit_interval(value, n, level):
    low, high = intervals.wilson(value, n, level)
    assert 0 <= low <= value <= high <= 1
    assert low < high


def test_wilson_of_nothing_is_nan():
    low, high = intervals.wilson([0.5, np.nan, 0.5], [np.nan, 10, 0], 0.95)
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_the_effective_size_of_ap_is_the_smaller_of_two():
    n = intervals.effective_n([0.5, 0.5, 1.0, 0.8, 0.9], [0.01, 0.05, 0.0, 0.0, np.nan], [20, 20, 7, 9, 9], "ap")
    np.testing.assert_allclose(n, [20, 5, 7, 9, np.nan])


@pytest.mark.parametrize("kind", ["auc", "sap"])
@given(st.floats(0.01, 0.99), st.floats(1e-6, 0.2), st.integers(5, 300))
def test_the_effective_size_of_auc_and_sap_is_blended(kind, value, variance, positives):
    ratio = variance / (value * (1 - value))
    inverse = positives / (positives + 10) * ratio + 10 / (positives + 10) * max(ratio, 1 / positives)
    assert intervals.effective_n(value, variance, positives, kind) == pytest.approx(1 / inverse)


def test_perfect_classes_count_all_their_positives():
    for kind in ("ap", "auc", "sap", "share"):
        assert intervals.effective_n([1.0, 0.0], [0.0, 0.0], 12, kind).tolist() == [12, 12]


def test_a_share_of_rows_counts_all_of_them():
    assert intervals.effective_n([0.5, np.nan], np.nan, [12, 12], "share").tolist() == pytest.approx(
        [12, math.nan], nan_ok=True
    )


@pytest.mark.parametrize("kind", ["ap", "auc", "sap", "share"])
def test_few_positives_have_no_interval(kind):
    n = intervals.effective_n(np.full(3, 0.5), np.full(3, 0.1), [0, 4, 5], kind)
    assert np.isnan(n).tolist() == [True, True, False]


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"^kind: expected ap, auc, sap or share, got 'f1'$"):
        intervals.effective_n(0.5, 0.1, 10, "f1")


# ---------------------------------------------------------------------------------------------------------------------
# Means
# ---------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=40))
def test_exact_sums_are_those_of_fsum(values):
    assert intervals.exact_sum(values) == math.fsum(values)


def test_exact_sums_hold_over_all_exponents():
    rng = np.random.default_rng(0)
    values = rng.normal(size=5000) * 2.0 ** rng.integers(-1000, 900, 5000)
    assert intervals.exact_sum(values) == math.fsum(values)
    assert intervals.exact_sum(np.append(values, 5e-324)) == math.fsum([*values, 5e-324])
    assert intervals.exact_sum([5e-324, 5e-324]) == 1e-323


@given(ERRORS, st.randoms())
def test_the_order_of_rows_changes_no_bit_of_an_error(effects, order: random.Random):
    shuffled = order.sample(effects, len(effects))
    assert intervals.jackknife_error(shuffled) == intervals.jackknife_error(effects)


@given(ERRORS)
def test_the_jackknife_error_is_that_of_the_textbook(effects):
    exact = [Fraction(effect) for effect in effects]
    mean = sum(exact) / len(exact)
    variance = Fraction(len(exact) - 1, len(exact)) * sum((effect - mean) ** 2 for effect in exact)
    scale = max(map(abs, effects))
    assert intervals.jackknife_error(effects) == pytest.approx(math.sqrt(variance), rel=1e-12, abs=1e-12 * scale)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30))
def test_the_jackknife_error_of_an_average_is_its_standard_error(values):
    """The jackknife is exact for an average: s / sqrt(N)."""
    values = np.array(values)
    dropped = np.array([np.delete(values, i).mean() for i in range(len(values))]) - values.mean()
    expected = values.std(ddof=1) / math.sqrt(len(values))
    assert intervals.jackknife_error(dropped) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_one_row_has_no_error():
    assert math.isnan(intervals.jackknife_error([0.1]))
    assert math.isnan(intervals.jackknife_error([]))


def test_an_interval_without_error_is_not_estimable():
    for error in (0.0, math.nan):
        assert np.isnan(intervals.interval(0.5, error, 0.95)).all()


def test_a_detectable_difference_is_found_with_the_power():
    error = 0.02
    difference = intervals.detectable(error, 0.95, 0.9)
    z = intervals.normal_quantile(0.95)
    assert scipy.stats.norm.sf(z - difference / error) == pytest.approx(0.9, abs=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Multiplicity
# ---------------------------------------------------------------------------------------------------------------------

# Benjamini and Hochberg 1995, section 3.2: fifteen comparisons. At .05 Bonferroni and Holm reject three, theirs four.
PUBLISHED = [
    *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
    *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000),
]


def test_the_published_example_has_its_number_of_rejections():
    assert (intervals.holm(PUBLISHED) <= 0.05).sum() == 3
    assert (intervals.benjamini_hochberg(PUBLISHED) <= 0.05).sum() == 4


def rejected_by_holm(p, alpha):
    """Step down: test the smallest at alpha / m, the next at alpha / (m - 1), and stop at the first that is larger."""
    rejected, m = set(), len(p)
    for position, i in enumerate(sorted(range(m), key=p.__getitem__)):
        if p[i] * (m - position) > alpha:
            break
        rejected.add(i)
    return rejected


def rejected_by_benjamini_hochberg(p, q):
    """Step up: reject the k smallest for the largest k with p_(k) <= q k / m."""
    order, m = sorted(range(len(p)), key=p.__getitem__), len(p)
    passing = [k for k in range(1, m + 1) if p[order[k - 1]] * (m / k) <= q]
    return set(order[: max(passing, default=0)])


@pytest.mark.parametrize(
    ("adjust", "reject"),
    [
        (intervals.holm, rejected_by_holm),
        (intervals.benjamini_hochberg, rejected_by_benjamini_hochberg),
    ],
)
@given(P_VALUES, st.floats(0.001, 0.999))
def test_adjusted_p_values_reject_as_the_procedure_does(adjust, reject, p, alpha):
    adjusted = adjust(p)
    defined = [i for i, value in enumerate(p) if not math.isnan(value)]
    expected = {defined[i] for i in reject([p[i] for i in defined], alpha)}
    assert set(np.flatnonzero(adjusted <= alpha).tolist()) == expected
    assert np.isnan(adjusted).tolist() == [math.isnan(value) for value in p]


def test_benjamini_hochberg_agrees_with_scipy():
    p = np.random.default_rng(1).random(100) ** 3
    np.testing.assert_allclose(intervals.benjamini_hochberg(p), scipy.stats.false_discovery_control(p), rtol=1e-13)


def test_p_values_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"^p: expected p-values from 0 to 1, got 1\.5$"):
        intervals.holm([0.1, 1.5])
    with pytest.raises(ValueError, match=r"^p: expected one p-value a test \(C,\), got shape \(1, 2\)$"):
        intervals.benjamini_hochberg([[0.1, 0.2]])


def test_the_continued_fraction_ends_when_rounding_allows_no_more():
    """A bound below the rounding of its factors would take ten thousand steps, and each could move the last bits."""
    df = np.arange(9.0, 700.0)
    t = np.random.default_rng(0).normal(size=len(df)) * 3
    steps = []
    original = distributions._without_zero
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributions, "_without_zero", lambda values: steps.append(1) or original(values))
        p = distributions.t_p_value(t, df)
    assert len(steps) < 500
    assert p == pytest.approx(2 * scipy.stats.t.sf(np.abs(t), df), rel=1e-12)
