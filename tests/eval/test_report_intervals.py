"""Intervals in reports: errors from brute-force jackknives, the same bits however rows come, and how they are shown."""

from __future__ import annotations

import csv
import io
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cases import corner_labels, labels_by_id, make_case, slices
from hypothesis import given
from hypothesis import strategies as st
from ranks import group_of
from reference import average_precision, expected_sap_by_hypergeometric, numbers, roc_auc

import vltr_eval
from vltr_eval import Evaluator, distributed, evaluate, evaluate_batches, intervals
from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._engine.counting import Chunk, count_chunks
from vltr_eval._engine.effects import class_variances, clustered_variances
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.mean_effects import MeanEffect, in_order, read_clusters
from vltr_eval._engine.options import EvalOptions
from vltr_eval.program.cli import main
from vltr_eval.report.report import Report
from vltr_eval.report.settings import Settings

NUM_CLASSES = 6
TRAIN_COUNTS = [900, 600, 300, 200, 90, 8]
GROUPS = {"": range(6), "_head": [0, 1], "_medium": [2, 3], "_tail": [4, 5]}
CONVENTIONS = {"sap": 3, "topk": (1, 2), "train_counts": TRAIN_COUNTS}
RATED = ("mAP", "expected_SAP", "ROC_AUC")
METRICS = dict(zip(RATED, (average_precision, expected_sap_by_hypergeometric, roc_auc), strict=True))
CORE = {
    "AP": ("average_precision", "ap"),
    "expected_SAP": ("expected_sampled_average_precision", "sap"),
    "ROC_AUC": ("roc_auc", "auc"),
}


def small_case(seed=0, num_rows=24):
    """Return scores with ties and labels: an absent class, one with one positive, rows with no and several labels."""
    scores, labels = make_case(num_rows, NUM_CLASSES, seed=seed, levels=6, prevalence=0.3)
    labels[:, 3] = False
    labels[:, 5] = False
    labels[seed % num_rows, 5] = True
    labels[:2] = False
    return scores, labels


def epoch(num_rows=90, *, seed=0):
    scores, _ = make_case(num_rows, NUM_CLASSES, seed=seed, levels=12)
    labels = corner_labels(num_rows, seed=seed)
    return (scores + labels).astype(np.float32), labels


def counts_of(scores, labels, **options):
    settings, class_info = EvalOptions(**{**CONVENTIONS, "interval": 0.95, **options}).checked(NUM_CLASSES)
    matrix = borrow_matrix("scores", scores)
    chunk = Chunk(matrix, Positives.from_labels(labels, *scores.shape))
    return count_chunks(settings, [chunk], NUM_CLASSES, class_info=class_info)


# ---------------------------------------------------------------------------------------------------------------------
# Effects and errors, by brute force
# ---------------------------------------------------------------------------------------------------------------------


def is_defined(metric, labels):
    return any(labels) and (metric is not roc_auc or not all(labels))


def drop_one_of_classes(metric, scores, labels) -> np.ndarray:
    """Return the metric of each class without each row, minus the metric: (N, C); 0 where either is undefined."""
    effects = np.zeros(scores.shape)
    for c in range(scores.shape[1]):
        column, positive = numbers(scores[:, c]), numbers(labels[:, c])
        if not is_defined(metric, positive):
            continue
        whole = metric(column, positive)
        for i in range(len(column)):
            rest = [column[:i] + column[i + 1 :], positive[:i] + positive[i + 1 :]]
            effects[i, c] = metric(*rest) - whole if is_defined(metric, rest[1]) else 0
    return effects


def hits_of(scores, labels, k) -> np.ndarray:
    """Return whether one of the k highest scores of each row is a label's; the lower class wins a tie."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(labels, order, axis=1).any(axis=1)


def drop_one_of_rates(scores, labels, k) -> np.ndarray:
    """Return the effects (N, C) on the share of hits among the positives of each class."""
    hit, effects = hits_of(scores, labels, k), np.zeros(scores.shape)
    for c in range(labels.shape[1]):
        rows = np.flatnonzero(labels[:, c])
        for i in rows if len(rows) > 1 else ():
            effects[i, c] = hit[rows[rows != i]].mean() - hit[rows].mean()
    return effects


def drop_one_of_accuracy(scores, labels, k) -> np.ndarray:
    hit, labelled = hits_of(scores, labels, k), labels.any(axis=1)
    rows = np.flatnonzero(labelled)
    effects = np.zeros(len(scores))
    for i in rows:
        effects[i] = hit[rows[rows != i]].mean() - hit[rows].mean()
    return effects


def values_of_classes(metric, scores, labels) -> np.ndarray:
    """Return the metric of each class: (C,), NaN where it is undefined."""
    columns = [(numbers(scores[:, c]), numbers(labels[:, c])) for c in range(scores.shape[1])]
    return np.array([metric(*column) if is_defined(metric, column[1]) else np.nan for column in columns])


def rates_of_classes(scores, labels, k) -> np.ndarray:
    hit = hits_of(scores, labels, k)
    return np.array([hit[positive].mean() if positive.any() else np.nan for positive in labels.T])


def drop_one_of_mean(values, effects, labels, of_group) -> np.ndarray:
    """Return the mean of the defined classes of a group without each row, minus the mean: (N,).

    The only positive of a class takes it out of the mean.
    """
    counted = of_group & ~np.isnan(values)
    out = np.zeros(len(labels))
    for i in range(len(labels)):
        rest = counted & ~(labels[i].astype(bool) & (labels.sum(axis=0) == 1))
        if counted.any() and rest.any():
            out[i] = (values + effects[i])[rest].mean() - values[counted].mean()
    return out


def expected_effects(scores, labels, clusters=None) -> dict[str, np.ndarray]:
    """Return the effect (N,) of each row on each mean, by its flat name; with the factors of clustered rows."""
    expected, factors = {}, np.ones(NUM_CLASSES)
    for c in range(NUM_CLASSES if clusters is not None else 0):
        p, g = int(labels[:, c].sum()), len(set(clusters[labels[:, c]].tolist()))
        factors[c] = (g / (g - 1)) / (p / (p - 1)) if g > 1 else 1
    for group, members in GROUPS.items():
        of_group = np.isin(np.arange(NUM_CLASSES), members)
        for name, metric in METRICS.items():
            weighted = drop_one_of_classes(metric, scores, labels) * np.round(factors * 16) / 16
            values = values_of_classes(metric, scores, labels)
            expected[name + group] = drop_one_of_mean(values, weighted, labels, of_group)
        for k in CONVENTIONS["topk"]:
            weighted, values = drop_one_of_rates(scores, labels, k) * factors, rates_of_classes(scores, labels, k)
            effects = drop_one_of_mean(values, weighted, labels, of_group)
            expected[f"Acc@{k}{group}"] = effects if group else drop_one_of_accuracy(scores, labels, k)
    return expected


@pytest.mark.parametrize("seed", range(4))
def test_effects_are_those_of_dropping_each_row(seed):
    scores, labels = small_case(seed)
    effects, expected = counts_of(scores, labels).effects, expected_effects(scores, labels)
    assert set(effects) == set(expected)
    for name, effect in effects.items():
        np.testing.assert_allclose(effect.values, expected[name], rtol=0, atol=2e-12, err_msg=name)


@pytest.mark.parametrize("seed", range(3))
def test_errors_and_intervals_of_means_are_those_of_the_jackknife(seed):
    scores, labels = small_case(seed)
    means = evaluate(scores, labels, **CONVENTIONS, interval=0.9).metrics()
    z, n = intervals.normal_quantile(0.9), len(scores)
    for name, effects in expected_effects(scores, labels).items():
        error = math.sqrt((n - 1) / n * np.sum((effects - effects.mean()) ** 2))
        assert means[f"{name}_se"] == pytest.approx(error if error > 1e-12 else math.nan, abs=1e-11, nan_ok=True)
        if not name.startswith("Acc") or "_" in name:
            ends = [means[name] - z * means[f"{name}_se"], means[name] + z * means[f"{name}_se"]]
            assert [means[f"{name}_low"], means[f"{name}_high"]] == pytest.approx(ends, abs=1e-15, nan_ok=True)


def test_accuracy_over_rows_has_the_interval_of_wilson():
    scores, labels = epoch()
    labels[:7] = False
    report = evaluate(scores, labels, **CONVENTIONS, interval=0.95)
    labelled = int(labels.any(axis=1).sum())
    assert labelled < len(scores)
    for k in (1, 2):
        group = report.groups[0]
        low, high = intervals.wilson(group.values[f"Acc@{k}"], labelled, 0.95)
        assert group.intervals[f"Acc@{k}"] == (float(low), float(high))


def test_absent_classes_that_count_as_zero_are_in_the_mean():
    scores, labels = small_case(2)
    nan, zero = (counts_of(scores, labels, absent=absent).effects for absent in ("nan", "zero"))
    absent = int((~labels.any(axis=0)).sum())
    assert absent > 0
    for name in ("mAP", "expected_SAP"):
        assert (zero[name].count, nan[name].count) == (NUM_CLASSES, NUM_CLASSES - absent)
        many = labels[:, labels.sum(axis=0) == 1].sum(axis=1) == 0  # rows without which no class is lost
        np.testing.assert_array_equal(zero[name].sums[many], nan[name].sums[many])
        single = np.flatnonzero(~many)
        assert len(single) == 1
        metric, (lost,) = METRICS[name], np.flatnonzero(labels.sum(axis=0) == 1)
        of_others = drop_one_of_classes(metric, scores, labels)[single[0]].sum()
        change = (of_others - values_of_classes(metric, scores, labels)[lost]) / NUM_CLASSES
        assert zero[name].values[single[0]] == pytest.approx(change, abs=2e-12)
    for name in ("ROC_AUC", "Acc@1_medium"):  # undefined, whatever the convention
        assert zero[name].count == nan[name].count


@pytest.mark.parametrize("absent", ["nan", "zero"])
@pytest.mark.parametrize("case", ["almost perfect", "tied", "alone"])
def test_the_loss_of_a_class_may_be_far_larger_than_all_other_effects(case, absent):
    """No effect of other rows has its size, so it must not overflow or be rounded away on their scale."""
    labels = np.zeros((2000, 1 if case == "alone" else 2), bool)
    labels[5, -1] = True
    scores = np.zeros(labels.shape)
    scores[5, -1] = -1 if case == "almost perfect" else 1  # AP is 1 / N, ROC-AUC 0; or both are 1
    if case != "alone":
        labels[:1000, 0] = True
    if case == "almost perfect":
        scores[:, 0] = -np.arange(2000)
        scores[[999, 1000], 0] = scores[[1000, 999], 0]
    options, kept = {"absent": absent, "sap": None, "topk": None}, np.arange(2000) != 5
    effects = vltr_eval.Evaluation.from_predictions(scores, labels, **options).effects
    with_row = evaluate(scores, labels, **options).metrics()
    without = evaluate(scores[kept], labels[kept], **options).metrics()
    for name in ("mAP", "ROC_AUC"):
        change = 0.0 if math.isnan(without[name]) else without[name] - with_row[name]
        assert abs(change) > 0.1 or case == "alone" or absent == "zero"
        assert effects[name].values[5] == pytest.approx(change, abs=1e-11)


@pytest.mark.parametrize("absent", ["nan", "zero"])
def test_a_class_with_all_positives_in_one_cluster_is_lost_without_it(absent):
    """Classes of ten positives in one cluster each, and three in many; clusters of ten rows are dropped one by one."""
    rng = np.random.default_rng(3)
    clusters, labels = np.arange(400) // 10, rng.random((400, 6)) < 0.1
    labels[:, 3:] = clusters[:, None] == [0, 0, 7]
    scores = rng.normal(size=labels.shape) + labels * [1, 1, 1, 3, 0, 1]
    options = {"absent": absent, "sap": None, "topk": (1,), "train_counts": TRAIN_COUNTS}
    found = vltr_eval.Evaluation.from_predictions(scores, labels, clusters=clusters, **options)
    with_all = found.report.metrics()
    parts = [clusters != c for c in range(40)]
    without = [evaluate(scores[kept], labels[kept], **options).metrics() for kept in parts]
    for name in ("mAP", "mAP_medium", "ROC_AUC", "ROC_AUC_tail", "Acc@1_medium"):
        changes = np.array([metrics[name] for metrics in without]) - with_all[name]
        effect = found.effects[name].by_cluster(clusters)
        is_lost = [0, 7]
        np.testing.assert_allclose(effect.values[is_lost], np.nan_to_num(changes[is_lost]), rtol=0, atol=0.02)
        expected = intervals.jackknife_error(np.nan_to_num(changes))
        assert effect.error() == pytest.approx(expected, rel=0.1)
    rows = rng.permutation(400)
    again = vltr_eval.Evaluation.from_predictions(scores[rows], labels[rows], clusters=clusters[rows], **options)
    for name, effect in found.effects.items():
        assert again.effects[name].by_cluster(clusters[rows]).error() == effect.by_cluster(clusters).error()


@given(st.lists(st.integers(-(2**47) + 1, 2**47 - 1) | st.integers(-9, 9), max_size=20), st.integers(1, 5))
def test_errors_from_integers_are_correctly_rounded(sums, count):
    effect, exact = MeanEffect(np.array(sums, np.int64), 40, count), [Fraction(s, 2**40 * count) for s in sums]
    if len(sums) < 2:
        assert math.isnan(effect.error())
        return
    mean = sum(exact) / len(exact)
    variance = Fraction(len(exact) - 1, len(exact)) * sum((e - mean) ** 2 for e in exact)
    assert effect.error() == pytest.approx(math.sqrt(variance), rel=1e-15)


def test_errors_of_many_rows_are_those_of_the_formula():
    sums = np.random.default_rng(0).integers(-(2**46), 2**46, 100_000)
    effect = MeanEffect(sums, 46, 7)
    assert effect.error() == pytest.approx(intervals.jackknife_error(effect.values), rel=1e-14)
    far = MeanEffect(np.array([2**60, -(2**60), 3]), 46, 7)  # as sums of large clusters may be
    assert far.error() == intervals.jackknife_error(far.values)


# ---------------------------------------------------------------------------------------------------------------------
# Single classes
# ---------------------------------------------------------------------------------------------------------------------


def test_classes_have_the_intervals_of_wilson_with_an_effective_size():
    scores, labels = epoch(200)
    report, counts = evaluate(scores, labels, **CONVENTIONS, interval=0.8), counts_of(scores, labels)
    positives, classes = labels.sum(axis=0), report.classes
    for name, (metric, kind) in CORE.items():
        size = intervals.effective_n(classes[name], class_variances(counts.table, metric), positives, kind)
        low, high = intervals.wilson(classes[name], size, 0.8)
        np.testing.assert_array_equal(classes[f"{name}_low"], low)
        np.testing.assert_array_equal(classes[f"{name}_high"], high)
        enough = (positives >= 5) & (positives < len(scores) - 1)  # with negatives, which ROC-AUC needs
        assert not np.isnan(low[enough]).any()
        assert np.isnan(low[positives < 5]).all()
    for k in (1, 2):
        low, high = intervals.wilson(classes[f"Acc@{k}"], np.where(positives >= 5, positives, np.nan), 0.8)
        np.testing.assert_array_equal(classes[f"Acc@{k}_low"], low)
        np.testing.assert_array_equal(classes[f"Acc@{k}_high"], high)


def test_the_interval_of_ap_follows_from_squared_influences():
    """The influence of a row is the derivative of AP by its weight, here by a finite difference of exact fractions."""
    scores, labels = make_case(40, NUM_CLASSES, seed=1, levels=8, prevalence=0.7)
    sizes = []
    report = evaluate(scores, labels, sap=None, topk=(), interval=0.95)
    for c in range(NUM_CLASSES):
        column, positive, step = numbers(scores[:, c]), numbers(labels[:, c]), 2.0**-20
        value, squares = average_precision(column, positive), 0.0
        for i in range(40):
            ends = []
            for shift in (-step, step):
                weights = [1.0] * 40
                weights[i] += shift
                ends.append(average_precision(column, positive, weights))
            squares += ((ends[1] - ends[0]) / (2 * step)) ** 2
        n = min(sum(positive), value * (1 - value) / squares)
        sizes.append(n / sum(positive))
        low, high = intervals.wilson(value, n, 0.95)
        got = report.classes["AP_low"][c], report.classes["AP_high"][c]
        assert got == pytest.approx((float(low), float(high)), abs=1e-8)
    assert min(sizes) < 0.8  # the influences decide
    assert max(sizes) == 1  # the number of positives does


def test_a_perfect_class_has_an_interval_and_a_perfect_group_none():
    labels = np.zeros((40, 3), bool)
    labels[:6, 0] = labels[6:20, 1] = labels[20:22, 2] = True
    report = evaluate(labels.astype(np.float32), labels, sap="exact", topk=(1,), interval=0.95)
    z2 = intervals.normal_quantile(0.95) ** 2
    assert report.classes["AP_low"][:2] == pytest.approx((6 / (6 + z2), 14 / (14 + z2)))
    assert report.classes["AP_high"][:2] == (1.0, 1.0)
    assert math.isnan(report.classes["AP_low"][2])  # two positives
    means = report.metrics()
    for name in ("mAP", "expected_SAP", "ROC_AUC", "Acc@1"):
        assert means[name] == 1
        assert math.isnan(means[f"{name}_se"])
    assert math.isnan(means["mAP_low"])
    assert means["Acc@1_low"] == pytest.approx(22 / (22 + z2))  # Wilson's has no need of an error
    assert "1.0000 +- -" in report.to_text(width=None)
    assert "+- 0.0000" not in report.to_text(width=None)
    assert '"mAP_se": null' in report.to_json()


# ---------------------------------------------------------------------------------------------------------------------
# The same bits, however rows come
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[], [90], [1, 40], [30, 30, 20]])
@pytest.mark.parametrize("sap", [None, "exact", 3])
def test_batches_give_the_bits_of_all_rows_at_once(sizes, sap):
    scores, labels = epoch()
    options = {**CONVENTIONS, "sap": sap, "interval": 0.95}
    expected = evaluate(scores, labels, **options)
    parts = slices(len(scores), sizes)
    evaluator = Evaluator(NUM_CLASSES, **options)
    for part in parts:
        evaluator.update(scores[part], labels[part])
    assert evaluator.compute() == expected
    assert evaluate_batches([(scores[part], labels[part]) for part in parts], NUM_CLASSES, **options) == expected
    assert evaluate([scores[part] for part in parts if part.stop > part.start], labels, **options) == expected
    assert distributed.evaluate(scores, labels, **options) == expected


@pytest.mark.parametrize("sizes", [[30, 30], [1, 1, 50]])
def test_chunks_give_the_effects_of_all_rows_at_once(sizes):
    scores, labels = epoch()
    settings, class_info = EvalOptions(**CONVENTIONS, interval=0.95).checked(NUM_CLASSES)
    chunks = [
        Chunk(
            borrow_matrix("scores", scores[part]),
            Positives.from_labels(labels[part], part.stop - part.start, NUM_CLASSES),
            first_row=part.start,
        )
        for part in slices(len(scores), sizes)
    ]
    expected = counts_of(scores, labels).effects
    found = count_chunks(settings, chunks, NUM_CLASSES, class_info=class_info).effects
    assert list(found) == list(expected)
    for name, effect in found.items():
        np.testing.assert_array_equal(effect.sums, expected[name].sums)
        assert (effect.exponent, effect.count) == (expected[name].exponent, expected[name].count)


def test_repeated_samples_count_once_and_rows_are_in_the_order_of_ids():
    scores, labels = epoch()
    rng = np.random.default_rng(5)
    ids = rng.integers(1000, 1060, len(scores))
    labels = labels_by_id(labels, ids)
    _, first = np.unique(ids, return_index=True)
    options = {**CONVENTIONS, "interval": 0.95}
    expected = evaluate(scores[first], labels[first], **options)
    evaluator = Evaluator(NUM_CLASSES, **options)
    for part in slices(len(scores), [17, 40]):
        evaluator.update(scores[part], labels[part], ids[part])
    assert evaluator.compute() == expected
    batches = [(scores[part], labels[part], ids[part]) for part in slices(len(scores), [50])]
    assert evaluate_batches(batches, NUM_CLASSES, **options) == expected


def test_the_order_of_rows_changes_no_bit():
    scores, labels = epoch()
    order = np.random.default_rng(1).permutation(len(scores))
    options = {**CONVENTIONS, "sap": "exact", "interval": 0.95}
    assert evaluate(scores[order], labels[order], **options) == evaluate(scores, labels, **options)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_and_instruction_sets_change_no_bit(threads, simd):
    scores, labels = epoch(300)
    options = {**CONVENTIONS, "interval": 0.95}
    found = evaluate(scores, labels, threads=threads, **options).to_json()
    assert found == evaluate(scores, labels, **options).to_json()


def on_a_rank(rank, scores, labels, ids, options):
    import torch.distributed as dist

    rows = np.arange(len(scores))
    size = dist.get_world_size()
    own = rows[rows * size // len(scores) == rank] if ids is None else rows[rank::size]
    if rank == size - 1 and ids is None:
        own = own[:0]
    elif rank == size - 2 and ids is None:
        own = rows[rows * size // len(scores) >= rank]
    of_rank = distributed.evaluate(scores[own], labels[own], ids=None if ids is None else ids[own], **options)
    evaluator = Evaluator(scores.shape[1], **options)
    evaluator.update(scores[own], labels[own], None if ids is None else ids[own])
    batches = [(scores[own], labels[own])] if ids is None else [(scores[own], labels[own], ids[own])]
    streamed = evaluate_batches(batches, scores.shape[1], **options)
    return [of_rank.to_json(), evaluator.compute().to_json(), streamed.to_json()]


@pytest.mark.parametrize("with_ids", [False, True])
@pytest.mark.parametrize("size", [2, 4])
def test_ranks_give_the_bits_of_one_process(size, with_ids):
    scores, labels = epoch()
    ids = np.random.default_rng(0).permutation(len(scores)) if with_ids else None
    options = {**CONVENTIONS, "interval": 0.95}
    order = slice(None) if ids is None else np.argsort(ids)
    expected = evaluate(scores[order], labels[order], **options).to_json()
    for answers in group_of(size).run(on_a_rank, scores, labels, ids, options):
        assert answers == [expected] * 3


def with_different_levels(rank, scores, labels):
    distributed.evaluate(scores, labels, interval=0.9 if rank else 0.95)


def test_ranks_with_different_levels_fail_together():
    scores, labels = epoch()
    for error in group_of(2).errors(with_different_levels, scores, labels):
        assert "settings: expected the same on all ranks" in error.message


def test_a_stream_that_changes_in_the_third_pass_is_refused():
    scores, labels = epoch()
    passes = []

    def batches():
        passes.append(None)
        last = labels.copy()
        if len(passes) == 3:
            last[0] = ~last[0]
        yield scores, last

    message = "^batches: expected the same scores and labels in all passes, got different ones in the third$"
    with pytest.raises(ValueError, match=message):
        evaluate_batches(batches, NUM_CLASSES, sap=None, interval=0.95)
    assert len(passes) == 3


def test_streams_without_intervals_are_read_twice():
    scores, labels = epoch()
    passes = []

    def batches():
        passes.append(None)
        yield scores, labels

    evaluate_batches(batches, NUM_CLASSES, sap=None)
    assert len(passes) == 2


@pytest.mark.parametrize("sizes", [[], [30, 30]])
def test_progress_never_falls_and_ends_at_one(sizes):
    scores, labels = epoch()
    seen = []
    batches = [(scores[part], labels[part]) for part in slices(len(scores), sizes)]
    evaluate_batches(batches, NUM_CLASSES, **CONVENTIONS, interval=0.95, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    seen.clear()
    evaluate(scores, labels, **CONVENTIONS, interval=0.95, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1


# ---------------------------------------------------------------------------------------------------------------------
# Clusters
# ---------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-(2**46), 2**46), min_size=1, max_size=30), st.data())
def test_effects_are_summed_within_clusters(sums, data):
    clusters = data.draw(st.lists(st.integers(0, 5), min_size=len(sums), max_size=len(sums)))
    effect = MeanEffect(np.array(sums), 46, 3).by_cluster(np.array(clusters))
    expected = [sum(s for s, c in zip(sums, clusters, strict=True) if c == k) for k in range(max(clusters) + 1)]
    assert effect.sums.tolist() == expected
    np.testing.assert_allclose(effect.values, np.array(expected) / 2.0**46 / 3, rtol=1e-15)


def test_errors_of_clustered_rows_are_those_of_summed_effects():
    scores, labels = small_case(2)
    clusters = np.arange(len(scores)) // 3
    means = evaluate(scores, labels, **CONVENTIONS, interval=0.95, clusters=clusters).metrics()
    for name, effects in expected_effects(scores, labels, clusters).items():
        sums = np.bincount(clusters, effects)
        n = len(sums)
        error = math.sqrt((n - 1) / n * np.sum((sums - sums.mean()) ** 2))
        assert means[f"{name}_se"] == pytest.approx(error if error > 1e-12 else math.nan, abs=1e-11, nan_ok=True)


def test_errors_are_those_of_dropping_clusters_where_these_are_alike():
    """With clusters of equal size and one label set each, dropping a cluster is exact for the rates of hits."""
    num_clusters, size = 12, 4
    rng = np.random.default_rng(6)
    labels = np.repeat(rng.random((num_clusters, NUM_CLASSES)) < 0.4, size, axis=0)
    scores = rng.normal(size=labels.shape) + labels
    clusters = np.repeat(np.arange(num_clusters), size)
    assert (labels.reshape(num_clusters, size, -1)[:, 0].sum(axis=0) > 1).all()
    report = evaluate(scores, labels, topk=(1,), train_counts=TRAIN_COUNTS, interval=0.95, clusters=clusters)
    hit = hits_of(scores, labels, 1)

    def mean_rate(rows, members):
        return np.mean([hit[rows & labels[:, c]].mean() for c in members])

    for group, members in list(GROUPS.items())[1:]:
        everything = mean_rate(np.ones(len(scores), bool), members)
        effects = np.array([mean_rate(clusters != g, members) for g in range(num_clusters)]) - everything
        expected = intervals.jackknife_error(effects)
        assert report.metrics()[f"Acc@1{group}_se"] == pytest.approx(expected, rel=1e-9)


def test_rows_that_are_clusters_of_their_own_have_the_errors_of_rows():
    scores, labels = epoch()
    options = {**CONVENTIONS, "interval": 0.95}
    rows, clusters = evaluate(scores, labels, **options), evaluate(scores, labels, clusters=range(90), **options)
    for row, cluster in zip(rows.groups, clusters.groups, strict=True):
        assert row.errors == pytest.approx(cluster.errors, rel=1e-12, nan_ok=True)
    assert clusters.classes["num_positive_clusters"] == rows.classes["num_positives"]


def test_the_kind_of_cluster_ids_and_the_order_of_rows_change_no_bit():
    scores, labels = epoch()
    clusters = np.random.default_rng(3).integers(20, size=90)
    order = np.random.default_rng(4).permutation(90)
    options = {**CONVENTIONS, "sap": "exact", "interval": 0.95}
    expected = evaluate(scores, labels, clusters=clusters, **options)
    assert evaluate(scores, labels, clusters=[f"{c:02}.mp4" for c in clusters], **options) == expected
    assert evaluate(scores[order], labels[order], clusters=clusters[order], **options) == expected


def test_classes_count_the_clusters_with_a_positive():
    scores, labels = epoch()
    clusters = np.random.default_rng(3).integers(12, size=90)
    report = evaluate(scores, labels, **CONVENTIONS, interval=0.95, clusters=clusters)
    expected = [len(set(clusters[labels[:, c]])) for c in range(NUM_CLASSES)]
    assert report.classes["num_positive_clusters"] == tuple(expected)
    assert report.num_clusters == 12
    assert "|ci:0.95|clusters:12|" in report.signature
    assert "12 clusters of rows vary" in report.to_text()
    assert Report.from_json(report.to_json()) == report


def test_classes_of_clustered_rows_have_intervals_of_summed_influences():
    scores, labels = epoch(200)
    clusters = np.arange(200) // 4
    report = evaluate(scores, labels, **CONVENTIONS, interval=0.95, clusters=clusters)
    counts, classes = counts_of(scores, labels), report.classes
    matrix, positives = borrow_matrix("scores", scores), Positives.from_labels(labels)
    of_classes = np.array(classes["num_positive_clusters"])
    for name, (metric, kind) in CORE.items():
        variances = clustered_variances(matrix, positives, counts.table, metric, clusters)
        size = intervals.effective_n(classes[name], variances, of_classes, kind)
        np.testing.assert_array_equal(classes[f"{name}_low"], intervals.wilson(classes[name], size, 0.95)[0])
    for k in (1, 2):
        hit = hits_of(scores, labels, k)
        for c in range(NUM_CLASSES):
            rows = labels[:, c]
            g = of_classes[c]
            if g < 5:
                assert math.isnan(classes[f"Acc@{k}_low"][c])
                continue
            rate = hit[rows].mean()
            sums = np.bincount(clusters, rows * (hit - rate)) / rows.sum()
            variance = g / (g - 1) * np.sum(sums**2)
            n = min(g, rate * (1 - rate) / variance) if variance > 0 else g
            low, high = intervals.wilson(rate, n, 0.95)
            got = classes[f"Acc@{k}_low"][c], classes[f"Acc@{k}_high"][c]
            assert got == pytest.approx((float(low), float(high)), abs=1e-12)


def test_the_interval_of_ap_of_clustered_rows_follows_from_summed_influences():
    rng, clusters = np.random.default_rng(2), np.arange(48) // 4
    labels = np.repeat(rng.random((12, NUM_CLASSES)) < 0.7, 4, axis=0)
    scores = (np.round(2 * rng.normal(size=(48, NUM_CLASSES))) + labels).astype(np.float32)
    scores += np.repeat(np.round(4 * rng.normal(size=(12, NUM_CLASSES))), 4, axis=0).astype(np.float32)
    report = evaluate(scores, labels, sap=None, topk=(), interval=0.95, clusters=clusters)
    sizes = []
    for c in range(NUM_CLASSES):
        column, positive, step = numbers(scores[:, c]), numbers(labels[:, c]), 2.0**-20
        value, influences = average_precision(column, positive), []
        for i in range(48):
            ends = []
            for shift in (-step, step):
                weights = [1.0] * 48
                weights[i] += shift
                ends.append(average_precision(column, positive, weights))
            influences.append((ends[1] - ends[0]) / (2 * step))
        g = len(set(clusters[labels[:, c]]))
        variance = g / (g - 1) * np.sum(np.bincount(clusters, influences) ** 2)
        sizes.append(value * (1 - value) / variance / g)
        low, high = intervals.wilson(value, g * min(1, sizes[-1]), 0.95)
        got = report.classes["AP_low"][c], report.classes["AP_high"][c]
        assert got == pytest.approx((float(low), float(high)), abs=1e-8)
    assert min(sizes) < 1 < max(sizes)


@pytest.mark.parametrize("size", [1, 6, 45])
def test_accuracy_over_clustered_rows_has_as_many_trials_as_its_error_says(size):
    scores, labels = epoch()
    labels[:9] = False
    clusters = np.arange(90) // size
    report = evaluate(scores, labels, **CONVENTIONS, interval=0.95, clusters=clusters)
    group, labelled = report.groups[0], len(set(clusters[labels.any(axis=1)]))
    value, error = group.values["Acc@1"], group.errors["Acc@1"]
    most = labels.any(axis=1).sum() if labelled >= intervals.MIN_POSITIVES else math.nan
    low, high = intervals.wilson(value, np.minimum(most, value * (1 - value) / error**2), 0.95)
    assert group.intervals["Acc@1"] == pytest.approx((float(low), float(high)), nan_ok=True)


@pytest.mark.parametrize(
    ("clusters", "kind", "message"),
    [
        (
            np.arange(89),
            ValueError,
            "clusters: expected a cluster for each of the 90 evaluated rows, got 89; leave out",
        ),
        (np.zeros((90, 2)), ValueError, "clusters: expected shape"),
        (np.zeros(90), TypeError, "clusters: expected integers or strings, got float64"),
    ],
)
def test_wrong_clusters_are_refused(clusters, kind, message):
    scores, labels = epoch()
    with pytest.raises(kind, match=f"^{message}"):
        evaluate(scores, labels, interval=0.95, clusters=clusters)


def test_clusters_need_all_rows_in_one_process():
    batches = [epoch()]
    for door, name in (
        (lambda: Evaluator(NUM_CLASSES, interval=0.95, clusters=np.arange(90)), "Evaluator"),
        (lambda: evaluate_batches(batches, NUM_CLASSES, interval=0.95, clusters=np.arange(90)), "evaluate_batches"),
        (lambda: distributed.evaluate(*batches[0], interval=0.95, clusters=np.arange(90)), "evaluate"),
    ):
        with pytest.raises(TypeError, match=rf"^clusters: expected vltr_eval\.evaluate, .*, got {name}$"):
            door()


def test_clusters_without_intervals_are_refused():
    scores, labels = epoch()
    with pytest.raises(ValueError, match=r"^clusters: expected interval beside them, such as interval=0\.95"):
        evaluate(scores, labels, clusters=np.arange(90))


def test_clusters_come_from_files(tmp_path):
    scores, labels = epoch()
    path = tmp_path / "videos.txt"
    path.write_text("".join(f"v{i // 3}\n" for i in range(90)))
    expected = evaluate(scores, labels, interval=0.95, clusters=[f"v{i // 3}" for i in range(90)])
    assert evaluate(scores, labels, interval=0.95, clusters=path) == expected
    path.write_text("v0\n")
    with pytest.raises(ValueError, match=r"videos\.txt: expected a cluster for each of the 90 evaluated rows, got 1;"):
        evaluate(scores, labels, interval=0.95, clusters=path)
    assert read_clusters(None, borrow_matrix("scores", scores)) is None


# ---------------------------------------------------------------------------------------------------------------------
# Reports
# ---------------------------------------------------------------------------------------------------------------------


def test_a_report_without_intervals_has_no_trace_of_them():
    scores, labels = epoch()
    plain, with_intervals = (
        evaluate(scores, labels, **CONVENTIONS),
        evaluate(scores, labels, **CONVENTIONS, interval=0.9),
    )
    document, other = json.loads(plain.to_json()), json.loads(with_intervals.to_json())
    assert "interval" not in document["settings"]
    assert other["settings"].pop("interval") == 0.9
    assert {name: other["metrics"][name] for name in document["metrics"]} == document["metrics"]
    assert {name: other["classes"][name] for name in document["classes"]} == document["classes"]
    assert plain.groups[0].errors == {}
    assert "ci:" not in plain.signature
    assert "|ci:0.9|" in with_intervals.signature


def test_intervals_survive_json():
    scores, labels = epoch()
    report = evaluate(scores, labels, **CONVENTIONS, interval=0.95)
    again = Report.from_json(report.to_json())
    assert again == report
    for group, other in zip(report.groups, again.groups, strict=True):
        assert group.errors == pytest.approx(other.errors, abs=0, nan_ok=True)
    document = json.loads(report.to_json())
    del document["metrics"]["mAP_tail_low"]
    with pytest.raises(ValueError, match=r"^report: key 'mAP_tail_low' is missing$"):
        Report.from_json(json.dumps(document))
    document = json.loads(report.to_json())
    del document["classes"]["AP_high"]
    with pytest.raises(ValueError, match=r"^report: key 'AP_high' is missing$"):
        Report.from_json(json.dumps(document))


def test_names_of_means_and_columns_are_those_of_the_settings():
    scores, labels = epoch()
    report = evaluate(scores, labels, **CONVENTIONS, interval=0.95)
    assert report.settings.metric_names([group.name for group in report.groups]) == list(report.metrics())
    assert report.settings.class_columns(["group", "train_count"]) == ["class", *report.classes]
    clustered = evaluate(scores, labels, **CONVENTIONS, interval=0.95, clusters=np.arange(90) // 2)
    assert clustered.settings.class_columns(["group", "train_count"], clustered=True) == ["class", *clustered.classes]
    names = list(report.metrics())
    assert [name for name in names if name.startswith(("SAP_", "SAP_std", "SAP_chance")) and name.endswith("_se")] == []
    assert {"mAP_tail_se", "mAP_tail_low", "mAP_tail_high", "Acc@1_head_se", "expected_SAP_low"} <= set(names)


def test_the_table_of_classes_has_intervals_in_columns_of_their_own():
    scores, labels = epoch()
    report = evaluate(scores, labels, **CONVENTIONS, interval=0.95)
    rows = list(csv.DictReader(io.StringIO(report.to_csv())))
    assert rows[1]["AP_low"] == ""  # one positive
    assert float(rows[2]["AP_low"]) < float(rows[2]["AP"]) < float(rows[2]["AP_high"])
    text = report.to_text(per_class=True, width=None)
    low, high = float(rows[2]["AP_low"]), float(rows[2]["AP_high"])
    assert f"[{low:.4f}, {high:.4f}]" in text
    assert "AP 95%" in text


def test_a_mean_stands_before_half_the_width_of_its_interval():
    scores, labels = epoch()
    report = evaluate(scores, labels, **CONVENTIONS, interval=0.99)
    means = report.metrics()
    for name in ("mAP", "mAP_tail", "ROC_AUC_head", "Acc@1"):
        half = (means[f"{name}_high"] - means[f"{name}_low"]) / 2
        assert f"{means[name]:.4f} +- {half:.4f}" in report.to_text(width=None)
    assert report.to_text(width=None).count("+- is half the width of the 99% interval") == 1


def test_a_narrow_table_has_half_widths_on_lines_of_their_own():
    scores, labels = epoch()
    report = evaluate(scores, labels, **CONVENTIONS, interval=0.95)
    assert "not shown" not in report.to_text(width=80)
    lines = report.to_text(width=80).splitlines()
    assert [line.split()[0] for line in lines[1:9]] == ["overall", "+-", "head", "+-", "medium", "+-", "tail", "+-"]
    half = (report.metrics()["mAP_high"] - report.metrics()["mAP_low"]) / 2
    assert f"{half:.4f}" in lines[2]


def test_saved_tables_have_no_intervals():
    scores, labels = epoch()
    counts = counts_of(scores, labels)
    with pytest.raises(ValueError, match=r"^interval: expected None for the counts of a saved table"):
        vltr_eval._engine.results.EvaluationCounts(Settings(None, topk=(), interval=0.9), counts.table).report(
            vltr_eval._engine.results.ClassInfo()
        )


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, math.nan])
def test_levels_out_of_range_are_refused(level):
    for door in (lambda: evaluate(*epoch(), interval=level), lambda: Evaluator(2, interval=level)):
        with pytest.raises(ValueError, match=r"^interval: expected a level between 0 and 1, such as 0\.95, got "):
            door()


@pytest.mark.parametrize("level", [True, "0.95"])
def test_levels_of_another_type_are_refused(level):
    with pytest.raises(TypeError, match=r"^interval: expected a level such as 0\.95, got "):
        evaluate(*epoch(), interval=level)


def test_priors_stand_beside_intervals():
    scores, labels = epoch()
    report = evaluate(scores, labels, **CONVENTIONS, interval=0.95, prior="uniform")
    assert "uniform/mAP_tail" in report.metrics()
    assert "uniform/mAP_tail_se" not in report.metrics()
    assert Report.from_json(report.to_json()) == report


def test_parts_come_together_in_the_order_of_their_numbers():
    parts = [(np.array([3, 0]), np.array([[3], [0]])), (np.empty(0, int), np.empty((0, 0), int))]
    parts.append((np.array([1, 2]), np.array([[1], [2]])))
    assert in_order(parts, 4).tolist() == [[0], [1], [2], [3]]


# ---------------------------------------------------------------------------------------------------------------------
# The program
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scores, labels = epoch()
    np.save("preds.npy", scores)
    np.save("labels.npy", labels)
    Path("videos.txt").write_text("".join(f"v{i // 3}\n" for i in range(90)))
    return tmp_path


def test_the_program_prints_intervals(folder, capsys):
    assert main(["preds.npy", "labels.npy", "--ci", "--json", "-"]) == 0
    assert Report.from_json(capsys.readouterr().out) == evaluate(*epoch(), interval=0.95)
    assert main(["preds.npy", "labels.npy", "--ci", "0.9", "--clusters", "videos.txt", "--json", "-"]) == 0
    expected = evaluate(*epoch(), interval=0.9, clusters=[f"v{i // 3}" for i in range(90)])
    assert Report.from_json(capsys.readouterr().out) == expected


def test_limits_and_order_take_the_names_of_intervals(folder, capsys):
    low = evaluate(*epoch(), interval=0.95).metrics()["mAP_low"]
    assert main(["preds.npy", "labels.npy", "--ci", "--fail-under", f"mAP_low={low}"]) == 0
    assert main(["preds.npy", "labels.npy", "--ci", "--fail-under", f"mAP_low={low + 1e-6}"]) == 3
    columns = ["--per-class", "--sort", "num_positive_clusters"]
    assert main(["preds.npy", "labels.npy", "--ci", "--clusters", "videos.txt", *columns]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["preds.npy", "labels.npy", "--clusters", "videos.txt"], "argument --clusters: give --ci as well"),
        (["--ci", "preds.npy", "labels.npy"], "got 'preds.npy'; write --ci=0.95 before PREDS"),
        (["preds.npy", "labels.npy", "--ci", "95"], "argument --ci: expected a level between 0 and 1, such as 0.95"),
        (["preds.npy", "labels.npy", "--ci", "95"], "got '95'; did you mean 0.95?"),
        (["preds.npy", "labels.npy", "--clusters", "videos.txt"], "or --save-evaluation"),
        (["preds.npy", "labels.npy", "--per-class", "--sort", "AP_low"], "argument --sort: expected a column"),
        (["preds.npy", "labels.npy", "--fail-under", "mAP_low=0.5"], "unknown metric 'mAP_low'"),
        (["preds.npy", "labels.npy", "--ci", "--clusters", "videos.txt", "--json", "videos.txt"], "is an input"),
    ],
)
def test_wrong_arguments_are_bad_usage(folder, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_file_of_clusters_with_another_length_is_bad_data(folder, capsys):
    Path("videos.txt").write_text("v0\n")
    assert main(["preds.npy", "labels.npy", "--ci", "--clusters", "videos.txt"]) == 1
    assert "videos.txt: expected a cluster for each of the 90 evaluated rows, got 1;" in capsys.readouterr().err
