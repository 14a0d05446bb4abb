"""Sampled AP: trials against scikit-learn, the expectation against enumeration, draws against chance.

The statistical tests have fixed seeds, so their results are reproducible.
"""

from __future__ import annotations

import collections
import itertools
import math

import numpy as np
import pytest
import reference
from cases import corner_labels, make_case
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_agrees, assert_same_bits
from scipy.sparse import csr_matrix
from scipy.stats import chi2
from sklearn.metrics import average_precision_score

from vltr_eval import (
    Positives,
    average_precision,
    expected_sampled_average_precision,
    rank_table,
    sampled_average_precision,
    sap_subset,
)

pytestmark = pytest.mark.any_device

# A fair draw falls below this once in ten thousand tests. The draws of 120,000 seeds show a bias of about 1.5% in the
# share of each of 5 subsets, or of 2.5% in each of 60.
SIGNIFICANT = 1e-4
STANDARD_ERRORS = 4.5


def trials_of(scores, labels, trials, seed=0, **options) -> np.ndarray:
    return sampled_average_precision(scores, labels, trials=trials, seed=seed, return_trials=True, **options).trials


def one_class(positives, num_rows: int) -> Positives:
    """Return labels of one class from its positive rows."""
    rows = np.array(sorted(positives), np.uint32)
    return Positives(num_rows, 1, np.array([0, len(rows)]), rows)


def drawn_negatives(labels: Positives, trial: int, seed: int, class_index: int = 0) -> list[int]:
    return np.setdiff1d(sap_subset(labels, class_index, trial, seed), labels.rows_of(class_index)).tolist()


def goodness_of_fit(observed: dict, expected: dict) -> float:
    """Return the chi-square p-value of counts against expected counts."""
    assert observed.keys() <= expected.keys()
    statistic = sum((observed.get(event, 0) - mean) ** 2 / mean for event, mean in expected.items())
    return float(chi2.sf(statistic, len(expected) - 1))


# Trials


@pytest.mark.parametrize("levels", [None, 3, 30])
@pytest.mark.parametrize("shape", [(1, 3), (40, 6), (700, 5)])
def test_trials_are_sklearns_ap_on_their_subsets(simd, shape, levels):
    scores, labels = make_case(*shape, seed=1, levels=levels, prevalence=0.1)
    trials = trials_of(scores, labels, 6, seed=17)
    for trial, c in itertools.product(range(6), range(shape[1])):
        rows = sap_subset(labels, c, trial, 17)
        if labels[:, c].any():
            assert_agrees(trials[trial, c], average_precision_score(labels[rows, c], scores[rows, c]))
        else:
            assert math.isnan(trials[trial, c])
            assert len(rows) == 0


@pytest.mark.parametrize("num_rows", [1, 2, 3, 16, 17, 100, 1025])
def test_trials_are_ap_on_their_subsets_for_any_number_of_positives(simd, num_rows):
    labels = corner_labels(num_rows, seed=2)
    scores, _ = make_case(*labels.shape, seed=3, levels=12)
    trials = trials_of(scores, labels, 5)
    for trial, c in itertools.product(range(5), range(6)):
        rows = sap_subset(labels, c, trial)
        expected = average_precision(scores[rows, c], labels[rows, c])[0] if len(rows) else np.nan
        assert_same_bits(trials[trial, c], np.float64(expected))


@pytest.mark.parametrize("seed", range(4))
def test_whole_columns_give_the_trials_of_the_pass(simd, seed):
    """Draws that do not fit in memory with the rank scan are made column by column: the same trials, bit for bit."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([corner_labels(150, seed=seed), make_case(150, 13, seed=seed, prevalence=0.3)[1]], axis=1)
    scores = np.floor(rng.normal(size=labels.shape) * 20).astype([np.float32, np.float64, np.int64, np.float16][seed])
    few, many = trials_of(scores, labels, 50), trials_of(scores, labels, 5000)
    draws = np.minimum(labels.sum(axis=0), (~labels).sum(axis=0)).sum()
    assert 5000 * draws * 12 > 2**25 > 50 * draws * 12  # the memory for draws, see draws_fit_in_pass
    assert_same_bits(many[:50], few)


def test_mean_and_std_are_over_trials():
    scores, labels = make_case(60, 4, seed=4)
    result = sampled_average_precision(scores, labels, trials=9, return_trials=True)
    assert result.trials.shape == (9, 4)
    assert_agrees(result.mean, result.trials.mean(axis=0))
    assert_agrees(result.std, result.trials.std(axis=0, ddof=1))


def test_trials_are_returned_only_on_request():
    assert sampled_average_precision(*make_case(9, 2)).trials is None


def test_std_of_one_trial_is_nan():
    result = sampled_average_precision(*make_case(60, 2), trials=1, return_trials=True)
    assert np.isnan(result.std).all()
    assert_same_bits(result.mean, result.trials[0])


def test_undefined_and_one_sided_classes():
    labels = np.array([[0, 1], [0, 1], [0, 1]])
    nan, zero = (
        sampled_average_precision(np.zeros((3, 2)), labels, absent=absent, return_trials=True)
        for absent in ("nan", "zero")
    )
    assert_same_bits(nan.mean, np.array([np.nan, 1.0]))
    assert_same_bits(zero.mean, np.array([0.0, 1.0]))
    assert_same_bits(zero.trials, np.tile([0.0, 1.0], (15, 1)))


def test_more_trials_begin_with_the_same():
    scores, labels = make_case(80, 5, seed=5)
    assert_same_bits(trials_of(scores, labels, 40)[:7], trials_of(scores, labels, 7))


def test_as_many_positives_as_negatives_take_every_row():
    labels = np.array([1, 0, 1, 0, 1, 1])
    for part in (labels, labels[:4]):
        assert sap_subset(part[:, None], 0, 3).tolist() == list(range(len(part)))
    scores = np.array([3, 5, 1, 1, 2, 4])
    assert_same_bits(trials_of(scores, labels, 4), np.tile(average_precision(scores, labels), (4, 1)))


@pytest.mark.parametrize("trials", [0, -1, 1.5, True, "15", 2**31])
def test_impossible_trials_are_refused(trials):
    with pytest.raises(ValueError, match=r"^trials: expected a positive integer, got "):
        sampled_average_precision(*make_case(5, 1), trials=trials)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, False, None])
def test_impossible_seeds_are_refused(seed):
    scores, labels = make_case(5, 1)
    labels[:, 0] = [True, False, False, False, False]
    for call in (lambda: sampled_average_precision(scores, labels, seed=seed), lambda: sap_subset(labels, 0, 0, seed)):
        with pytest.raises(ValueError, match=r"^seed: expected an integer from 0 to 2\*\*64 - 1, got "):
            call()


def test_subset_arguments_out_of_range_are_refused():
    labels = make_case(9, 2)[1]
    for class_index in (-1, 2):
        with pytest.raises(IndexError, match=rf"^class_index: expected 0 to 1, got {class_index}$"):
            sap_subset(labels, class_index, 0)
    for trial in (-1, 2**31, 0.5, True):
        with pytest.raises(ValueError, match=r"^trial: expected an integer from 0, got "):
            sap_subset(labels, 0, trial)
    with pytest.raises(
        ValueError, match=r"^num_classes: expected the number of classes with labels that do not tell it, got None$"
    ):
        sap_subset([[0], [1]], 0, 0)


def test_subset_takes_every_label_form():
    labels = np.zeros((12, 3), np.uint8)
    classes = np.array([0, 1, 2, 0, 1, 2, 2, 2, 2, 2, 2, 2])
    labels[np.arange(12), classes] = 1
    expected = sap_subset(labels, 1, 4, 5)
    assert expected.dtype == np.int64
    for form in (
        csr_matrix(labels),
        [[c] for c in classes],
        classes,
        Positives.from_labels(labels, 12, 3),
    ):
        assert_same_bits(sap_subset(form, 1, 4, 5, num_classes=3), expected)


# Expectation, chance and minimum


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=9))
def test_expected_sap_is_the_mean_over_every_subset(rows):
    scores, labels = zip(*rows, strict=True)
    got = expected_sampled_average_precision(np.array(scores), np.array(labels))
    assert_agrees(got, [reference.expected_sap_by_enumeration(scores, labels)])
    assert_agrees(got, [reference.expected_sap_by_hypergeometric(scores, labels)])


@pytest.mark.parametrize("num_rows", [2, 50, 400])
@pytest.mark.parametrize("levels", [None, 8])
def test_expected_sap_agrees_with_exact_fractions(num_rows, levels):
    labels = corner_labels(num_rows, seed=6)
    scores, _ = make_case(*labels.shape, seed=7, levels=levels)
    expected = reference.per_class(reference.expected_sap_by_hypergeometric, scores, labels)
    assert_agrees(expected_sampled_average_precision(scores, labels), expected)


def test_expected_sap_agrees_with_exact_fractions_far_from_the_mode():
    """Rare classes are ranked first, in the middle and last among many rows."""
    num_rows = 20_000
    scores = np.arange(num_rows)[:, None].repeat(4, axis=1)
    labels = np.zeros((num_rows, 4), bool)
    labels[-30:, 0] = labels[::1000, 1] = labels[:25, 2] = labels[[3, 19_990], 3] = True
    expected = reference.per_class(reference.expected_sap_by_hypergeometric, scores, labels)
    assert_agrees(expected_sampled_average_precision(scores, labels), expected)


@pytest.mark.parametrize(
    ("positives", "negatives"), [(1, 20_000), (9, 20_000), (60, 20_000), (300, 2_000), (200, 200), (50, 30)]
)
def test_expected_sap_of_two_thresholds_agrees_with_exact_fractions(positives, negatives):
    """Some positives and negatives score 2 and the others 1, in classes with few and with many of each."""
    pairs = list(
        itertools.product(
            sorted({1, positives // 10 + 1, positives // 2 + 1, positives}),
            sorted({0, 1, negatives // 1000, negatives // 20, negatives // 2, negatives - 1, negatives}),
        )
    )
    labels = np.repeat([[True], [False]], [positives, negatives], axis=0).repeat(len(pairs), axis=1)
    scores = np.ones(labels.shape, np.float32)
    for column, (hits, marked) in zip(scores.T, pairs, strict=True):
        column[:hits] = column[positives : positives + marked] = 2
    expected = reference.per_class(reference.expected_sap_by_hypergeometric, scores, labels)
    np.testing.assert_allclose(expected_sampled_average_precision(scores, labels), expected, rtol=1e-14)


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=60))
def test_expected_sap_is_ap_where_every_negative_is_drawn(rows):
    scores, labels = map(np.array, zip(*rows, strict=True))
    if labels.sum() < len(labels) / 2:
        labels = ~labels
    assert_same_bits(expected_sampled_average_precision(scores, labels), average_precision(scores, labels))


def test_expected_sap_by_hand():
    """With N P N N P N, best first, the mean over the six pairs of negatives is 2/3, while AP is 0.45."""
    scores, labels = -np.arange(6.0), np.array([0, 1, 0, 0, 1, 0])
    assert expected_sampled_average_precision(scores, labels)[0] == pytest.approx(0.666667, abs=5e-7)
    assert average_precision(scores, labels)[0] == pytest.approx(0.45, abs=1e-15)


def test_expected_sap_without_positives_or_negatives():
    labels = np.array([[0, 1], [0, 1]])
    assert_same_bits(expected_sampled_average_precision(np.zeros((2, 2)), labels), np.array([np.nan, 1.0]))
    assert_same_bits(expected_sampled_average_precision(np.zeros((2, 2)), labels, absent="zero"), np.array([0.0, 1.0]))


@pytest.mark.parametrize(("positives", "chance", "smallest"), [(5, 0.607, 0.354), (32, 0.530, 0.315)])
def test_chance_and_smallest_sap_are_the_published_ones(positives, chance, smallest):
    labels = np.zeros(1000, bool)
    labels[-positives:] = True
    table = rank_table(-np.arange(1000.0), labels)
    assert table.sampled_average_precision_chance()[0] == pytest.approx(chance, abs=5e-4)
    assert table.expected_sampled_average_precision()[0] == pytest.approx(smallest, abs=5e-4)


@pytest.mark.parametrize(("positives", "negatives"), [(1, 0), (1, 1), (1, 9), (2, 5), (5, 5), (5, 3), (6, 1), (4, 0)])
def test_chance_is_the_mean_over_every_order(positives, negatives):
    labels = np.repeat([True, False], [positives, negatives])
    chance = rank_table(np.zeros(len(labels)), labels).sampled_average_precision_chance()
    assert_agrees(chance, [reference.chance_of_balanced_ap(positives, negatives)])


def test_chance_of_an_absent_class_is_nan():
    assert math.isnan(rank_table(np.zeros(3), np.zeros(3)).sampled_average_precision_chance()[0])


@pytest.mark.parametrize("levels", [None, 6])
def test_mean_of_trials_converges_to_the_expected_sap(levels):
    scores, labels = make_case(300, 12, seed=8, levels=levels, prevalence=0.05)
    trials = trials_of(scores, labels, 4000, seed=9)
    error = trials.std(axis=0, ddof=1) / math.sqrt(4000)
    assert np.all(
        np.abs(trials.mean(axis=0) - expected_sampled_average_precision(scores, labels)) < STANDARD_ERRORS * error
    )


def test_mean_of_random_scores_converges_to_chance():
    rng = np.random.default_rng(10)
    labels = np.zeros((50, 2000), bool)
    labels[:5] = True
    values = sampled_average_precision(rng.random(labels.shape), labels, trials=1).mean
    error = values.std(ddof=1) / math.sqrt(2000)
    assert abs(values.mean() - reference.chance_of_balanced_ap(5, 45)) < STANDARD_ERRORS * error


# The draw

SPREADS = {
    "first": lambda positives, num_rows: range(positives),
    "last": lambda positives, num_rows: range(num_rows - positives, num_rows),
    "spread": lambda positives, num_rows: [i * num_rows // positives for i in range(positives)],
}


@pytest.mark.parametrize(
    ("negatives", "positives"),
    [(2, 1), (3, 1), (3, 2), (4, 2), (4, 3), (5, 2), (5, 4), (6, 2), (6, 3), (7, 3), (9, 2), (11, 2), (12, 2), (17, 1)],
)
def test_every_subset_is_equally_likely(negatives, positives):
    labels = one_class(range(positives), negatives + positives)
    subsets = list(itertools.combinations(range(positives, negatives + positives), positives))
    counts = collections.Counter(tuple(sap_subset(labels, 0, 0, seed)[positives:].tolist()) for seed in range(120_000))
    assert goodness_of_fit(counts, dict.fromkeys(subsets, 120_000 / len(subsets))) > SIGNIFICANT


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize(("num_rows", "positives"), [(24, 11), (37, 8), (1000, 30), (1400, 300)])
def test_every_negative_is_equally_likely(num_rows, positives, spread):
    own = SPREADS[spread](positives, num_rows)
    labels = one_class(own, num_rows)
    draws = 4000
    counts = collections.Counter(
        itertools.chain.from_iterable(drawn_negatives(labels, 0, seed) for seed in range(draws))
    )
    negatives = sorted(set(range(num_rows)) - set(own))
    assert set(counts) <= set(negatives)
    # Without replacement the variance is below the multinomial one; this factor corrects it.
    mean = draws * positives / len(negatives)
    statistic = (
        sum((counts[row] - mean) ** 2 for row in negatives) / mean * (len(negatives) - 1) / (len(negatives) - positives)
    )
    assert min(chi2.sf(statistic, len(negatives) - 1), chi2.cdf(statistic, len(negatives) - 1)) > SIGNIFICANT


@pytest.mark.parametrize("vary", ["seed", "high bits of the seed", "trial", "class"])
def test_every_part_of_the_key_gives_new_and_uniform_draws(vary):
    draws = 3000
    rows = np.array([4, 9, 13], np.uint32)
    labels = Positives(20, draws, np.arange(draws + 1) * 3, np.tile(rows, draws))
    keys = {
        "seed": lambda i: (0, 0, i),
        "high bits of the seed": lambda i: (0, 0, i << 32),
        "trial": lambda i: (0, i, 0),
        "class": lambda i: (i, 0, 0),
    }[vary]
    counts = collections.Counter()
    for i in range(draws):
        class_index, trial, seed = keys(i)
        counts[tuple(drawn_negatives(labels, trial, seed, class_index))] += 1
    subsets = list(itertools.combinations(sorted(set(range(20)) - set(rows.tolist())), 3))
    assert goodness_of_fit(counts, dict.fromkeys(subsets, draws / len(subsets))) > SIGNIFICANT


@pytest.mark.parametrize("num_rows", [2, 3, 5, 16, 64, 65, 100, 255, 1025])
def test_subsets_hold_all_positives_and_as_many_negatives_without_repeats(num_rows):
    labels = corner_labels(num_rows, seed=11)
    for c, trial in itertools.product(range(6), range(20)):
        rows = sap_subset(labels, c, trial, 12)
        positives = np.flatnonzero(labels[:, c])
        assert np.all(np.diff(rows) > 0)
        assert set(positives) <= set(rows.tolist()) <= set(range(num_rows))
        assert len(rows) == (min(2 * len(positives), num_rows) if len(positives) else 0)


def test_pairs_of_negatives_occur_together_as_often_as_expected():
    draws, num_rows, positives = 20_000, 40, 9
    labels = one_class(SPREADS["spread"](positives, num_rows), num_rows)
    negatives = num_rows - positives
    counts = np.zeros((num_rows, num_rows))
    for seed in range(draws):
        rows = drawn_negatives(labels, 0, seed)
        counts[np.ix_(rows, rows)] += 1
    pairs = np.array([counts[a, b] for a, b in itertools.combinations(range(num_rows), 2)])
    pairs = pairs[pairs > 0]
    assert len(pairs) == math.comb(negatives, 2)
    share = positives * (positives - 1) / (negatives * (negatives - 1))
    assert np.abs(pairs - draws * share).max() < 5 * math.sqrt(draws * share * (1 - share))


@pytest.mark.parametrize("negatives", [1023, 1024, 1089, 3000])
def test_two_draws_are_uniform_on_the_grid_of_the_permutation(negatives):
    """A large draw has few rounds: neighbours on the grid of its permutation must not stay in one row or column."""
    draws, side = 60_000, math.isqrt(negatives - 1) + 1
    labels = one_class([negatives, negatives + 1], negatives + 2)
    pairs = np.array([sap_subset(labels, 0, 0, seed)[:2] for seed in range(draws)])
    for of in (lambda row: row // side, lambda row: row % side, lambda row: row * 8 // negatives):
        lines = of(np.arange(negatives))
        together = sum(size * (size - 1) for size in np.bincount(lines).tolist()) / (negatives * (negatives - 1))
        seen = np.mean(of(pairs[:, 0]) == of(pairs[:, 1]))
        assert abs(seen - together) < STANDARD_ERRORS * math.sqrt(together * (1 - together) / draws)


@pytest.mark.parametrize("num_rows", [430, 5000])
@pytest.mark.parametrize("marked", [1, 60, 300])
def test_drawn_negatives_among_the_marked_follow_the_hypergeometric_law(marked, num_rows):
    """The first ``marked`` negatives may be those that outscore a threshold."""
    draws, positives = 6000, num_rows // 17
    labels = one_class(SPREADS["spread"](positives, num_rows), num_rows)
    negatives = sorted(set(range(num_rows)) - set(labels.rows.tolist()))
    seen = [len(set(drawn_negatives(labels, 0, seed)) & set(negatives[:marked])) for seed in range(draws)]
    law = reference.hypergeometric(len(negatives), marked, positives)
    mean = float(sum(h * p for h, p in law.items()))
    variance = float(sum(h * h * p for h, p in law.items())) - mean**2
    assert abs(np.mean(seen) - mean) < STANDARD_ERRORS * math.sqrt(variance / draws)
    fourth = float(sum((h - mean) ** 4 * p for h, p in law.items()))
    assert abs(np.var(seen) - variance) < STANDARD_ERRORS * math.sqrt((fourth - variance**2) / draws)
    observed, expected = collections.Counter(), collections.Counter()
    for events, target in (
        (((h, 1) for h in seen), observed),
        (((h, float(p) * draws) for h, p in law.items()), expected),
    ):
        for h, count in events:
            target["rare" if law[h] * draws < 5 else h] += count
    assert goodness_of_fit(observed, expected) > SIGNIFICANT


def test_trials_of_one_class_are_uncorrelated():
    scores, labels = make_case(200, 1, seed=13, prevalence=0.05)
    trials = trials_of(scores, labels, 5000)[:, 0]
    for lag in (1, 2, 4):
        assert abs(np.corrcoef(trials[:-lag], trials[lag:])[0, 1]) < STANDARD_ERRORS / math.sqrt(5000)


def test_equal_classes_have_different_draws():
    scores, labels = make_case(200, 1, seed=14, prevalence=0.05)
    trials = trials_of(scores.repeat(3, axis=1), labels.repeat(3, axis=1), 5000)
    correlation = np.corrcoef(trials.T)[np.triu_indices(3, 1)]
    assert np.abs(correlation).max() < STANDARD_ERRORS / math.sqrt(5000)


def test_draws_of_a_class_depend_on_that_class_alone():
    labels = make_case(50, 6, seed=15)[1]
    others = labels.copy()
    others[:, [0, 1, 3, 4, 5]] = make_case(50, 5, seed=16)[1]
    for trial in range(5):
        expected = sap_subset(labels, 2, trial, 3)
        assert_same_bits(sap_subset(others, 2, trial, 3), expected)
        assert_same_bits(sap_subset(labels[:, :3], 2, trial, 3), expected)


def test_draws_do_not_depend_on_the_scores():
    """All compared models are evaluated on the same rows."""
    labels = make_case(60, 3, seed=17)[1]
    for seed in range(3):
        scores = np.random.default_rng(seed).random(labels.shape)
        trials = trials_of(scores, labels, 3)
        for trial, c in itertools.product(range(3), range(3)):
            rows = sap_subset(labels, c, trial)
            assert_same_bits(trials[trial, c], average_precision(scores[rows, c], labels[rows, c])[0])


@pytest.mark.host  # threads exist on the CPU only
@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("trials", [9, 6000])
def test_trials_do_not_depend_on_threads(simd, threads, trials):
    scores, labels = make_case(220, 40, seed=18, levels=9, prevalence=0.15)
    assert_same_bits(trials_of(scores, labels, trials, threads=threads), trials_of(scores, labels, trials, threads=3))


def test_seeds_of_64_bits_differ():
    labels = one_class(range(10), 200)
    draws = {tuple(drawn_negatives(labels, 0, seed)) for seed in (0, 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1)}
    assert len(draws) == 6
