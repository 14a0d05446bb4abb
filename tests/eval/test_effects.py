"""Effects of rows on metrics against rows that are dropped, weighted and paired one by one, with textbook metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
from cases import corner_labels, make_case
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import assert_same_bits
from sklearn.metrics import average_precision_score, roc_auc_score

from vltr_eval import rank_table
from vltr_eval._base import _core
from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._engine.effects import METRICS, class_variances, clustered_variances, paired_variances, row_effects
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_table import to_compare_keys

pytestmark = pytest.mark.any_device

PREVALENCE = 0.3
DROP = 1e-11  # of an effect: drop-one effects are differences of textbook values that agree to WITNESS


def effects_of(scores, labels, groups=None, metrics=METRICS, table=None, **options):
    matrix = borrow_matrix("scores", scores)
    groups = np.arange(matrix.num_classes) if groups is None else groups
    return row_effects(
        matrix,
        Positives.from_labels(labels, matrix.num_rows, matrix.num_classes),
        rank_table(scores, labels) if table is None else table,
        groups,
        metrics,
        prevalence=PREVALENCE,
        **options,
    )


def values_of(effects) -> np.ndarray:
    return effects.sums * 2.0**-effects.exponents


def textbook(metric: str, scores: np.ndarray, labels: np.ndarray) -> float:
    """One metric of one class, by scikit-learn where it has the metric."""
    if not labels.any():
        return math.nan
    if metric == "average_precision":
        return average_precision_score(labels, scores)
    if metric == "roc_auc":
        return math.nan if labels.all() else roc_auc_score(labels, scores)
    if metric == "calibrated_average_precision":
        return reference.calibrated_average_precision(scores.tolist(), labels.tolist(), PREVALENCE)
    return reference.expected_sap_by_hypergeometric(scores.tolist(), labels.tolist())


def dropped_one_by_one(metric: str, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The metric without each row minus the metric with it; 0 where either is undefined."""
    whole = textbook(metric, scores, labels)
    rows = range(len(scores))
    without = [
        textbook(metric, np.delete(scores, i), np.delete(labels, i)) if len(scores) > 1 else math.nan for i in rows
    ]
    effects = np.array(without) - whole
    return np.where(np.isnan(effects), 0.0, effects)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("levels", [None, 2, 4])
@pytest.mark.parametrize("shape", [(2, 3), (9, 4), (40, 3)])
def test_effects_are_those_of_rows_that_are_dropped(metric, shape, levels):
    scores, labels = make_case(*shape, seed=6, levels=levels)
    effects = values_of(effects_of(scores, labels, metrics=[metric]))[:, :, 0]
    for c in range(shape[1]):
        expected = dropped_one_by_one(metric, scores[:, c], labels[:, c])
        np.testing.assert_allclose(effects[:, c], expected, rtol=0, atol=DROP)


@pytest.mark.parametrize("metric", METRICS)
def test_effects_of_classes_with_few_or_many_positives(metric):
    labels = corner_labels(12)
    scores = np.random.default_rng(7).integers(0, 6, labels.shape) / 4.0
    effects = values_of(effects_of(scores, labels, metrics=[metric]))[:, :, 0]
    for c in range(labels.shape[1]):
        expected = dropped_one_by_one(metric, scores[:, c], labels[:, c])
        np.testing.assert_allclose(effects[:, c], expected, rtol=0, atol=DROP)


def test_effects_of_a_perfect_class_are_zero():
    scores = np.arange(20.0)[:, None]
    labels = (scores >= 15).astype(int)
    assert not effects_of(scores, labels).sums.any()


def test_effects_of_groups_are_the_sums_of_their_classes():
    scores, labels = make_case(300, 7, seed=8, levels=40)
    groups = np.array([2, 0, 1, 0, 2, 2, 0])
    by_class = effects_of(scores, labels)
    by_group = effects_of(scores, labels, groups)
    assert_same_bits(by_group.exponents, by_class.exponents)
    for g in range(3):
        assert_same_bits(by_group.sums[:, g], by_class.sums[:, groups == g].sum(axis=1))
    assert abs(by_group.sums.sum(axis=1)).max() < 2**47


@pytest.mark.parametrize("metrics", [METRICS[:1], METRICS[:2], METRICS[:3], METRICS, METRICS[1:3]])
def test_each_metric_has_the_same_effects_beside_others(metrics):
    scores, labels = make_case(200, 5, seed=9, levels=30)
    alone = [effects_of(scores, labels, metrics=[metric]).sums[:, :, 0] for metric in metrics]
    assert_same_bits(effects_of(scores, labels, metrics=metrics).sums, np.stack(alone, axis=2))


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint8", "int32", "uint32", "int64", "uint64"]
)
def test_effects_of_any_dtype_have_the_same_bits(simd, dtype):
    scores, labels = make_case(150, 20, seed=10, levels=50)
    scores = np.floor(scores * 100 / np.abs(scores).max()) + (0 if dtype[0] != "u" else 100)
    expected = effects_of(scores, labels)
    assert_same_bits(effects_of(scores.astype(dtype), labels).sums, expected.sums)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_effects_have_the_same_bits_for_any_threads_rows_shards_layout_and_chunks(simd, threads):
    scores, labels = make_case(2500, 140, seed=11, levels=200)
    groups = np.arange(140) % 3
    expected = effects_of(scores, labels, groups, threads=1).sums
    table = rank_table(scores, labels)
    order = np.random.default_rng(12).permutation(len(scores))
    run = {"groups": groups, "threads": threads}
    assert_same_bits(effects_of(scores[order], labels[order], **run).sums, expected[order])
    shards = [scores[:7], scores[7:1200], scores[1200:]]
    assert_same_bits(effects_of(shards, labels, **run).sums, expected)
    assert_same_bits(effects_of(np.asfortranarray(scores), labels, **run).sums, expected)
    for part in (slice(0, 3), slice(1, 1999), slice(1999, 2500)):
        assert_same_bits(effects_of(scores[part], labels[part], table=table, **run).sums, expected[part])


@pytest.mark.parametrize("rows", [40, 6000])
def test_nan_and_another_table_are_refused(rows):
    scores, labels = make_case(rows, 30, seed=13)
    table = rank_table(scores, labels)
    with pytest.raises(ValueError, match="table: expected the rank table of these scores"):
        effects_of(scores + 0.25, labels, table=table)
    with pytest.raises(ValueError, match="table: expected the rank table of all rows"):
        effects_of(np.tile(scores, (2, 1)), np.tile(labels, (2, 1)), table=table)
    scores[rows - 2, 5] = np.nan
    with pytest.raises(ValueError, match=f"got NaN at row {rows - 2}, class 5"):
        effects_of(scores, labels, table=table)


def weighted_ap(labels, scores, weights):
    return average_precision_score(labels, scores, sample_weight=weights)


@pytest.mark.parametrize("levels", [None, 3, 8])
def test_variance_of_ap_is_the_sum_of_squared_derivatives_by_weights(levels):
    scores, labels = make_case(60, 4, seed=14, levels=levels)
    variances = class_variances(rank_table(scores, labels), "average_precision")
    for c in range(4):
        influences = []
        for row in range(len(scores)):
            slopes = []
            for step in (1e-4, 5e-5):
                more, less = np.ones(len(scores)), np.ones(len(scores))
                more[row] += step
                less[row] -= step
                rise = weighted_ap(labels[:, c], scores[:, c], more) - weighted_ap(labels[:, c], scores[:, c], less)
                slopes.append(rise / (2 * step))
            influences.append((4 * slopes[1] - slopes[0]) / 3)  # Richardson: the error is of the fourth order
        np.testing.assert_allclose(variances[c], math.fsum(u * u for u in influences), rtol=0, atol=1e-10)


def delong_by_pairs(scores, labels) -> float:
    """DeLong, DeLong and Clarke-Pearson (1988): variances of the structural components, from every pair."""
    positives, negatives = scores[labels == 1].tolist(), scores[labels == 0].tolist()
    won = [[1.0 if p > n else 0.5 if p == n else 0.0 for n in negatives] for p in positives]
    by_positive = [math.fsum(row) / len(negatives) for row in won]
    by_negative = [math.fsum(column) / len(positives) for column in zip(*won, strict=True)]

    def variance(values):
        mean = math.fsum(values) / len(values)
        return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)

    return variance(by_positive) / len(positives) + variance(by_negative) / len(negatives)


@pytest.mark.parametrize("levels", [None, 2, 9])
def test_variance_of_roc_auc_is_delongs(levels):
    scores, labels = make_case(120, 4, seed=15, levels=levels)
    variances = class_variances(rank_table(scores, labels), "roc_auc")
    expected = [delong_by_pairs(scores[:, c], labels[:, c]) for c in range(4)]
    np.testing.assert_allclose(variances, expected, rtol=1e-11, atol=0)


def test_variance_of_sampled_ap_is_that_of_the_jackknife():
    scores, labels = make_case(50, 3, seed=16, levels=12)
    variances = class_variances(rank_table(scores, labels), "expected_sampled_average_precision")
    for c in range(3):
        dropped = dropped_one_by_one("expected_sampled_average_precision", scores[:, c], labels[:, c])
        np.testing.assert_allclose(variances[c], 49 * np.var(dropped), rtol=1e-9, atol=0)


def two_models(*shape, seed, levels=None):
    """Scores of two models that agree in part, and their labels."""
    first, labels = make_case(*shape, seed=seed, levels=levels)
    second = first + np.random.default_rng(seed).integers(-1, 2, shape).astype(np.float32) / 2
    return first, second, labels


def paired(first, second, labels, metric, **options):
    """Variances of differences, of arrays or lists of shards."""
    a, b = borrow_matrix("scores_a", first), borrow_matrix("scores_b", second)
    positives = Positives.from_labels(labels, a.num_rows, a.num_classes)
    tables = rank_table(first, labels), rank_table(second, labels)
    return paired_variances(a, tables[0], b, tables[1], positives, metric, prevalence=PREVALENCE, **options)


def clustered(scores, labels, metric, clusters, **options):
    matrix = borrow_matrix("scores", scores)
    positives = Positives.from_labels(labels, matrix.num_rows, matrix.num_classes)
    table = rank_table(scores, labels)
    return clustered_variances(matrix, positives, table, metric, clusters, prevalence=PREVALENCE, **options)


def slope(metric, scores, labels, row) -> float:
    """The derivative of a metric of one class by the weight of a row, where every row has a weight of 2,000."""
    weight = 2000
    more, less = np.full(len(scores), weight), np.full(len(scores), weight)
    more[row] += 1
    less[row] -= 1

    def value(weights):
        if metric == "roc_auc":
            return roc_auc_score(labels, scores, sample_weight=weights)
        if metric == "average_precision":
            return average_precision_score(labels, scores, sample_weight=weights)
        hits, negatives = (weights * labels).sum(), (weights * ~labels).sum()
        area, before = 0.0, 0.0
        for threshold in np.unique(scores)[::-1]:
            recall = (weights * labels)[scores >= threshold].sum() / hits
            fall_out = (weights * ~labels)[scores >= threshold].sum() / negatives
            if recall > before:
                area += (recall - before) * PREVALENCE * recall / (PREVALENCE * recall + (1 - PREVALENCE) * fall_out)
            before = recall
        return area

    return (value(more) - value(less)) / 2 * weight


def influences_of(metric, scores, labels) -> np.ndarray:
    """Influences of the rows of one class; for SAP, the deviations of its drop-one effects."""
    if metric == "expected_sampled_average_precision":
        effects = dropped_one_by_one(metric, scores, labels)
        return effects - effects.mean()
    return np.array([slope(metric, scores, labels, row) for row in range(len(scores))])


def paired_by_rows(metric, first, second, labels) -> float:
    """The variance of a difference for one class, from the difference of the influences of each row."""
    squares = (influences_of(metric, first, labels) - influences_of(metric, second, labels)) ** 2
    positives, negatives = labels.sum(), (~labels).sum()
    if metric == "roc_auc":
        of_positives = squares[labels].sum() * positives / (positives - 1)
        return of_positives + squares[~labels].sum() * negatives / (negatives - 1)
    if metric == "expected_sampled_average_precision":
        return squares.sum() * (len(labels) - 1) / len(labels)
    return squares.sum() * positives / (positives - 1)


@pytest.mark.host
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("levels", [None, 6])
def test_paired_variance_is_that_of_the_differences_of_rows(metric, levels):
    first, second, labels = two_models(40, 2, seed=17, levels=levels)
    variances = paired(first, second, labels, metric)
    expected = [paired_by_rows(metric, first[:, c], second[:, c], labels[:, c]) for c in range(2)]
    np.testing.assert_allclose(variances, expected, rtol=2e-6, atol=0)  # of derivatives by finite differences


@pytest.mark.host
@pytest.mark.parametrize("metric", METRICS)
def test_clustered_variances_are_those_of_sums_within_clusters(metric):
    first, second, labels = two_models(40, 2, seed=18, levels=8)
    clusters = np.random.default_rng(18).integers(-3, 12, 40)
    of_row = clusters[:, None] == np.unique(clusters)
    for c in range(2):
        with_positive = len(np.unique(clusters[labels[:, c]]))
        factor = with_positive / (with_positive - 1)
        of_first, of_second = (influences_of(metric, scores[:, c], labels[:, c]) for scores in (first, second))
        alone, difference = (((of_row * u[:, None]).sum(axis=0) ** 2).sum() for u in (of_first, of_first - of_second))
        np.testing.assert_allclose(clustered(first, labels, metric, clusters)[c], factor * alone, rtol=2e-6, atol=0)
        found = paired(first, second, labels, metric, clusters=clusters)[c]
        np.testing.assert_allclose(found, factor * difference, rtol=2e-6, atol=0)


@pytest.mark.host
@pytest.mark.parametrize("metric", METRICS)
def test_models_that_rank_alike_have_no_variance_between_them(metric):
    scores, labels = make_case(3000, 30, seed=19, levels=300)
    assert not paired(scores, scores.astype(np.float64) * 2 + 1, labels, metric).any()
    assert not paired(scores, scores * 4, labels, metric, clusters=np.arange(3000) // 3).any()


@pytest.mark.host
@pytest.mark.parametrize("metric", METRICS)
def test_rows_as_clusters_of_one_have_the_variance_of_rows(metric):
    scores, labels = make_case(80, 4, seed=20, levels=30)
    found = clustered(scores, labels, metric, np.arange(80))
    variances = class_variances(rank_table(scores, labels), metric, prevalence=PREVALENCE)
    positives, negatives = labels.sum(axis=0), (~labels).sum(axis=0)
    if metric == "roc_auc":  # DeLong's second factor is that of the negatives
        influences = [influences_of(metric, scores[:, c], labels[:, c]) for c in range(4)]
        of_negatives = np.array([(u[~labels[:, c]] ** 2).sum() for c, u in enumerate(influences)])
        variances = variances + of_negatives * (positives / (positives - 1) - negatives / (negatives - 1))
    elif metric == "expected_sampled_average_precision":
        variances = variances * 80 / 79 * positives / (positives - 1)
    else:
        variances = variances * positives / (positives - 1)
    np.testing.assert_allclose(found, variances, rtol=1e-7, atol=0)


@pytest.mark.host
@pytest.mark.parametrize("metric", METRICS[1:3])
@pytest.mark.parametrize("threads", [1, 3])
def test_paired_variances_have_the_same_bits_for_any_threads_rows_shards_layouts_and_dtypes(simd, metric, threads):
    first, second, labels = two_models(2500, 150, seed=21, levels=100)
    clusters = np.arange(2500) // 7
    for options in ({}, {"clusters": clusters}):
        expected = paired(first, second, labels, metric, threads=1, **options)
        assert (expected > 0).all()
        order = np.random.default_rng(22).permutation(2500)
        moved = {name: value[order] for name, value in options.items()}
        found = paired(first[order], second[order], labels[order], metric, threads=threads, **moved)
        assert_same_bits(found, expected)
        shards = [second[:999], second[999:1001], second[1001:]]
        assert_same_bits(paired(first, shards, labels, metric, threads=threads, **options), expected)
        other = np.asfortranarray(second.astype(np.float64))
        assert_same_bits(paired(first, other, labels, metric, threads=threads, **options), expected)


@pytest.mark.host
def test_paired_variances_of_undefined_classes_are_nan():
    labels = corner_labels(12)
    first, second = np.random.default_rng(23).integers(0, 6, (2, *labels.shape))
    for metric in METRICS:
        missing = np.isnan(paired(first, second, labels, metric)).tolist()
        last = metric == "roc_auc"  # with one negative, or none
        no_factor = metric != "expected_sampled_average_precision"
        assert missing == [True, no_factor, False, False, last, last]


@pytest.mark.host
def test_nan_and_another_table_of_either_model_are_named():
    first, second, labels = two_models(1500, 20, seed=24)
    a, b = borrow_matrix("a", first), borrow_matrix("b", second)
    tables = rank_table(first, labels), rank_table(second, labels)
    positives = Positives.from_labels(labels, 1500, 20)
    with pytest.raises(ValueError, match="table: expected the rank table of these scores"):
        paired_variances(a, tables[0], b, tables[0], positives, "roc_auc")
    with pytest.raises(ValueError, match="table: expected the rank table of these scores"):
        clustered_variances(a, positives, tables[1], "roc_auc", np.arange(1500))
    second[1200, 3] = np.nan
    for clusters in (None, np.arange(1500)):
        with pytest.raises(ValueError, match="scores_b: expected numbers, got NaN at row 1200, class 3"):
            paired_variances(a, tables[0], b, tables[1], positives, "roc_auc", clusters=clusters)


# 43 patients of DeLong, DeLong and Clarke-Pearson (1988), as the SAS/STAT User's Guide has them (PROC LOGISTIC,
# Comparing Receiver Operating Characteristic Curves): albumin and total protein in tenths, the K-G score, and 1 where
# surgery helped.
DELONGS_PATIENTS = """
    30 58 10 0  32 63  5 1  39 68  3 1  28 48  6 0  32 58  3 1  09 40  5 0  25 57  8 0  16 56  5 1  38 57  5 1
    37 67  6 1  32 54  4 1  38 66  6 1  41 66  5 1  36 57  5 1  43 70  4 1  36 67  4 0  23 44  6 1  42 76  4 0
    40 66  6 0  35 58  6 1  38 68  7 1  30 47  8 0  45 74  5 1  37 74  5 1  31 66  6 1  41 82  6 1  43 70  5 1
    43 65  4 1  32 51  5 1  26 47  6 1  33 68  6 0  17 40  7 0  37 61  5 1  33 63  7 1  42 77  6 1  35 62  5 1
    29 57  9 0  21 48  7 1  28 62  8 0  40 70  7 1  33 57  6 1  37 69  5 1  36 66  5 1
"""


@pytest.mark.host
def test_delongs_example_has_the_published_errors():
    patients = np.array(DELONGS_PATIENTS.split(), np.int64).reshape(-1, 4)
    labels = patients[:, 3:]
    tests = {"albumin": patients[:, :1], "protein": patients[:, 1:2], "K-G": -patients[:, 2:3]}
    published = {"albumin": (0.7366, 0.0927), "protein": (0.6478, 0.1000), "K-G": (0.7258, 0.1028)}
    for name, scores in tests.items():
        table = rank_table(scores, labels)
        found = table.roc_auc()[0], math.sqrt(class_variances(table, "roc_auc")[0])
        assert found == pytest.approx(published[name], abs=5e-5)
    for name, (difference, error) in {"albumin": (0.0108, 0.0953), "protein": (-0.0780, 0.1046)}.items():
        auc = [rank_table(scores, labels).roc_auc()[0] for scores in (tests[name], tests["K-G"])]
        assert auc[0] - auc[1] == pytest.approx(difference, abs=5e-5)
        variance = paired(tests[name], tests["K-G"], labels, "roc_auc")[0]
        assert math.sqrt(variance) == pytest.approx(error, abs=5e-5)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_laws_of_effects_on_small_classes(data):
    rows = data.draw(st.integers(2, 12))
    scores = np.array(data.draw(st.lists(st.integers(0, 4), min_size=rows, max_size=rows)), np.float32)[:, None]
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows)))[:, None]
    effects = values_of(effects_of(scores, labels))[:, 0]
    for m, metric in enumerate(METRICS):
        np.testing.assert_allclose(
            effects[:, m], dropped_one_by_one(metric, scores[:, 0], labels[:, 0]), rtol=0, atol=DROP
        )
    auc = effects[:, 1]
    if 1 < labels.sum() < rows - 1:  # a mean over pairs: what one row adds, the others miss
        by_positive, by_negative = auc[labels[:, 0] == 1], auc[labels[:, 0] == 0]
        np.testing.assert_allclose([by_positive.sum(), by_negative.sum()], [0, 0], rtol=0, atol=1e-12)


def test_the_core_refuses_groups_that_overflow_the_size_of_its_arrays():
    scores, labels, groups = np.zeros((8, 1)), np.eye(8, 1, dtype=bool), np.zeros(1, np.int64)
    matrix, table = borrow_matrix("scores", scores), rank_table(scores, labels)
    known, *positives = Positives.from_labels(labels, 8, 1).core_with(matrix)
    columns = table.indptr, to_compare_keys(table.thresholds, matrix.dtype), table.tp, table.fp, table.tied
    with pytest.raises(ValueError, match=r"^groups: "):
        _core.row_effects(known, *positives, columns, 8, groups, 2**62, [0, 1, 2, 3], 0.5, 1, None)
