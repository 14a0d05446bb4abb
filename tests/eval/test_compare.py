"""Paired comparisons: differences of means and of classes beside slow references that share no code with them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from devices import on_device
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from vltr_eval import Comparison, Evaluation, compare
from vltr_eval.comparison.differences import class_tests, mean_difference, seed_variance, total_variance
from vltr_eval.comparison.names import name_systems

COUNTS = [900, 600, 300, 90, 8]
PREVALENCE = [0.4, 0.3, 0.3, 0.2, 0.05]
NUM_ROWS = 60


def make_systems(num_systems: int, *, seed: int = 0, levels: int | None = None):
    """Return labels and correlated scores of systems, each better than the one before; few ``levels`` give ties."""
    rng = np.random.default_rng(seed)
    labels = rng.random((NUM_ROWS, len(COUNTS))) < PREVALENCE
    labels[0] = True
    shared = rng.normal(size=labels.shape)
    scores = [shared + 0.5 * rng.normal(size=labels.shape) + (1 + 0.3 * k) * labels for k in range(num_systems)]
    if levels is not None:
        scores = [np.floor(score * levels / 4) for score in scores]
    return labels, [score.astype(np.float32) for score in scores]


# ---------------------------------------------------------------------------------------------------------------------
# Slow references
# ---------------------------------------------------------------------------------------------------------------------


def values_of(metric, labels, scores):
    """Return a metric of each class by scikit-learn; NaN where it is undefined."""
    found = []
    for truth, score in zip(labels.T, scores.T, strict=True):
        is_defined = truth.any() and (metric is average_precision_score or not truth.all())
        found.append(metric(truth, score) if is_defined else math.nan)
    return np.array(found)


def drop_one_error(metric, labels, base, new, clusters=None):
    """Return the jackknife error of the difference of two means, by evaluating the other rows again and again."""
    full = [values_of(metric, labels, scores) for scores in (base, new)]
    effects = np.zeros(len(labels))
    factors = np.ones(labels.shape[1])
    if clusters is not None:  # from drop-one effects to influences, and from these to clusters; in sixteenths
        positives = labels.sum(axis=0)
        positive_clusters = np.array([len(np.unique(clusters[truth])) for truth in labels.T])
        factors = (positives - 1) / positives * positive_clusters / (positive_clusters - 1)
        factors = np.round(16 * factors) / 16
    for row in range(len(labels)):
        kept = np.arange(len(labels)) != row
        one = [values_of(metric, labels[kept], scores[kept]) for scores in (base, new)]
        change = (one[1] - full[1]) - (one[0] - full[0])
        effects[row] = np.nansum(factors * change) / np.count_nonzero(~np.isnan(full[0]))
    if clusters is not None:
        effects = np.array([effects[clusters == cluster].sum() for cluster in np.unique(clusters)])
    n = len(effects)
    return math.sqrt((n - 1) / n * ((effects - effects.mean()) ** 2).sum())


def influences(truth, score, step=1e-4):
    """Return the derivative of scikit-learn's AP by the weight of each row."""
    found = []
    for row in range(len(truth)):
        weights = np.ones((2, len(truth)))
        weights[:, row] += (step, -step)
        up, down = (average_precision_score(truth, score, sample_weight=one) for one in weights)
        found.append((up - down) / (2 * step))
    return np.array(found)


def paired_variance(truth, base, new, clusters=None):
    difference = influences(truth, new) - influences(truth, base)
    n = truth.sum()
    if clusters is not None:
        n = len(np.unique(clusters[truth]))
        difference = np.array([difference[clusters == cluster].sum() for cluster in np.unique(clusters)])
    return n / (n - 1) * (difference**2).sum()


def adjusted_by_holm(p):
    """Return Holm's adjusted p-values as the step-down procedure is told in words."""
    order, found, largest = np.argsort(p), np.empty(len(p)), 0.0
    for number, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - number) * p[index]))
        found[index] = largest
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Means
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "metric", "members", "levels"),
    [
        ("mAP", average_precision_score, slice(None), 6),
        ("mAP_head", average_precision_score, slice(2), None),
        ("mAP_tail", average_precision_score, slice(3, None), None),
        ("ROC_AUC", roc_auc_score, slice(None), 6),
        ("ROC_AUC_tail", roc_auc_score, slice(3, None), None),
    ],
)
def test_a_mean_has_the_values_and_the_paired_jackknife_error_of_scikit_learn(name, metric, members, levels):
    labels, (base, new) = make_systems(2, levels=levels)
    found = compare(base, new, labels=labels, train_counts=COUNTS).systems[0].of(name)
    parts = (labels[:, members], base[:, members], new[:, members])
    values = [np.nanmean(values_of(metric, parts[0], scores)) for scores in parts[1:]]
    error = drop_one_error(metric, *parts)
    assert (found.base, found.new) == pytest.approx(values, abs=1e-12)
    assert found.difference == found.new - found.base
    assert found.error == found.row_error == pytest.approx(error, rel=1e-9)
    assert found.seed_error is None
    z = found.difference / error
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-7)
    assert (found.low, found.high) == pytest.approx(stats.norm.interval(0.95, found.difference, error), rel=1e-8)
    assert found.detectable == pytest.approx((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * error, rel=1e-8)


def test_accuracy_is_compared_over_labelled_rows():
    labels, (base, new) = make_systems(2)
    labels[5:9] = False
    found = compare(base, new, labels=labels, topk=(1,)).systems[0].of("Acc@1")
    labelled = labels.any(axis=1)
    hits = [labels[np.arange(NUM_ROWS), scores.argmax(axis=1)] for scores in (base, new)]
    change = (hits[1].astype(float) - hits[0])[labelled]
    count = len(change)
    assert found.difference == pytest.approx(change.mean(), abs=1e-12)
    # The drop-one effects of a mean: all labels rows but one.
    effects = np.zeros(NUM_ROWS)
    effects[labelled] = (change.sum() - change) / (count - 1) - change.mean()
    error = math.sqrt((NUM_ROWS - 1) / NUM_ROWS * ((effects - effects.mean()) ** 2).sum())
    assert found.error == pytest.approx(error, rel=1e-9)


def test_clusters_are_added_up_before_they_are_squared():
    labels, (base, new) = make_systems(2)
    clusters = np.random.default_rng(3).integers(0, 25, NUM_ROWS)
    names = np.array([f"video {cluster}" for cluster in clusters])
    found = compare(base, new, labels=labels, train_counts=COUNTS, clusters=names)
    error = drop_one_error(average_precision_score, labels, base, new, clusters)
    mean = found.systems[0].of("mAP")
    assert mean.error == pytest.approx(error, rel=1e-9)
    assert found.num_clusters == len(np.unique(clusters))
    assert mean.error != compare(base, new, labels=labels).systems[0].of("mAP").error
    columns = found.systems[0].classes
    expected = [len(np.unique(clusters[labels[:, c]])) for c in range(5)]
    assert columns["positive_clusters"] == tuple(expected)
    for c in range(5):
        if expected[c] >= 10:
            variance = paired_variance(labels[:, c], base[:, c], new[:, c], clusters)
            assert columns["error"][c] == pytest.approx(math.sqrt(variance), rel=1e-6)
        else:
            assert math.isnan(columns["error"][c])


def test_a_test_that_pairs_rows_has_a_smaller_error_than_one_that_does_not():
    labels, (base, new) = make_systems(2)
    paired = compare(base, new, labels=labels, train_counts=COUNTS).systems[0].of("mAP_head").error
    constant = np.zeros((NUM_ROWS, 2))
    errors = [drop_one_error(average_precision_score, labels[:, :2], constant, scores[:, :2]) for scores in (base, new)]
    assert paired < 0.8 * math.hypot(*errors)


# ---------------------------------------------------------------------------------------------------------------------
# Single classes
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [None, 6])
def test_classes_are_tested_by_t_on_paired_influences(levels):
    labels, (base, new) = make_systems(2, levels=levels)
    columns = compare(base, new, labels=labels, train_counts=COUNTS).systems[0].classes
    positives = labels.sum(axis=0)
    tested = positives >= 10
    assert 2 <= np.count_nonzero(tested) < 5  # both kinds of classes
    for c in range(5):
        difference = columns["new"][c] - columns["base"][c]
        assert columns["difference"][c] == difference
        if not tested[c]:
            assert all(math.isnan(columns[name][c]) for name in ("error", "low", "high", "p_value", "holm"))
            continue
        error = math.sqrt(paired_variance(labels[:, c], base[:, c], new[:, c]))
        assert columns["error"][c] == pytest.approx(error, rel=1e-6)
        freedom = positives[c] - 1
        assert columns["p_value"][c] == pytest.approx(2 * stats.t.sf(abs(difference / error), freedom), rel=1e-5)
        assert (columns["low"][c], columns["high"][c]) == pytest.approx(
            stats.t.interval(0.95, freedom, difference, error), rel=1e-5
        )
    p = np.array(columns["p_value"])[tested]
    assert np.array(columns["holm"])[tested] == pytest.approx(adjusted_by_holm(p), rel=1e-12)
    assert np.array(columns["benjamini_hochberg"])[tested] == pytest.approx(stats.false_discovery_control(p), rel=1e-12)


@pytest.mark.parametrize("metric", ["ROC_AUC", "expected_SAP"])
def test_other_metrics_of_classes_are_compared(metric):
    labels, (base, new) = make_systems(2)
    found = compare(base, new, labels=labels, class_metric=metric)
    columns = found.systems[0].classes
    report = Evaluation.from_predictions(base, labels).report
    assert columns["base"] == report.classes[metric]
    assert all(error > 0 for error in np.array(columns["error"])[labels.sum(axis=0) >= 10])
    assert f"{metric} of single classes" in found.to_text()


def test_roc_auc_of_a_class_is_compared_as_delong_did():
    labels, (base, new) = make_systems(2)
    columns = compare(base, new, labels=labels, class_metric="ROC_AUC").systems[0].classes
    c = 0
    truth = labels[:, c]
    placements = []
    for scores in (base, new):
        positives, negatives = scores[truth, c], scores[~truth, c]
        wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
        placements.append((wins.mean(axis=1), wins.mean(axis=0)))
    variance = sum(
        np.var(one - other, ddof=1) / len(one) for one, other in zip(placements[1], placements[0], strict=True)
    )
    assert columns["error"][c] == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_outcomes_count_the_classes_of_each_group():
    labels, (base, new) = make_systems(2)
    system = compare(base, new, labels=labels, train_counts=COUNTS).systems[0]
    outcomes = {(one.group, one.adjustment): one for one in system.outcomes(0.95)}
    assert {group for group, _ in outcomes} == {"overall", "head", "medium", "tail"}
    for adjustment in ("holm", "benjamini_hochberg"):
        p = np.array(system.classes[adjustment])
        difference = np.array(system.classes["difference"])
        overall = outcomes["overall", adjustment]
        assert overall.tested == np.count_nonzero(~np.isnan(p))
        assert overall.wins == np.count_nonzero((p <= 0.05) & (difference > 0))
        assert overall.losses == np.count_nonzero((p <= 0.05) & (difference < 0))
        assert overall.undecided == overall.tested - overall.wins - overall.losses
        for name in ("tested", "wins", "losses", "undecided"):
            parts = [getattr(outcomes[group, adjustment], name) for group in ("head", "medium", "tail")]
            assert sum(parts) == getattr(overall, name)


def test_classes_that_moved_most_are_tested_classes_in_order():
    labels, (base, new) = make_systems(2)
    system = compare(base, new, labels=labels).systems[0]
    moved = system.moved_most()
    sizes = [abs(system.classes["difference"][c]) for c in moved]
    assert sizes == sorted(sizes, reverse=True)
    assert sorted(moved) == np.flatnonzero(labels.sum(axis=0) >= 10).tolist()
    assert system.moved_most(1) == moved[:1]


# ---------------------------------------------------------------------------------------------------------------------
# Degenerate systems
# ---------------------------------------------------------------------------------------------------------------------


def test_identical_systems_have_p_1_and_no_interval():
    labels, (base,) = make_systems(1)
    found = compare(base, base.copy(), labels=labels, train_counts=COUNTS)
    for mean in found.systems[0].means:
        assert (mean.difference, mean.error, mean.p_value) == (0.0, 0.0, 1.0)
        assert math.isnan(mean.low)
        assert math.isnan(mean.detectable)
    columns = found.systems[0].classes
    tested = labels.sum(axis=0) >= 10
    for name in ("p_value", "holm", "benjamini_hochberg"):
        assert set(np.array(columns[name])[tested]) == {1.0}
    assert all(one.undecided == one.tested for one in found.systems[0].outcomes(0.95))


def test_a_system_that_is_given_twice_is_noted():
    labels, (base, new) = make_systems(2)
    note = "is one system given twice?"
    found = compare(base, new, base, labels=labels, names=["a", "b", "c"])
    assert [line for line in found.notes if note in line] == [
        "c: its metrics and the effects of its rows are those of a; is one system given twice?"
    ]
    assert not any(note in line for line in compare([base, new], base, labels=labels).notes)


def test_a_run_that_is_given_twice_is_noted():
    labels, (a, b, c) = make_systems(3)
    note = "is one run given twice?"
    found = compare([a, b], [c, a, c], labels=labels)
    (line,) = (line for line in found.notes if note in line)
    assert line.startswith("new: run 3 has the metrics and the effects of run 1, ")


def test_a_mean_that_does_not_exist_is_refused_with_those_that_do():
    labels, (base, new) = make_systems(2)
    found = compare(base, new, labels=labels, topk=None, sap=None).systems[0]
    with pytest.raises(KeyError, match="name: expected one of mAP, ROC_AUC, got 'mPA'"):
        found.of("mPA")


def test_perfect_systems_have_p_1():
    labels, (noise, other) = make_systems(2)
    base, new = (labels * 100 + scores for scores in (noise, other))
    found = compare(base, new, labels=labels).systems[0]
    for name in ("mAP", "ROC_AUC", "expected_SAP"):
        mean = found.of(name)
        assert (mean.base, mean.new, mean.error, mean.p_value) == (1.0, 1.0, 0.0, 1.0)
    assert {p for p in found.classes["p_value"] if not math.isnan(p)} == {1.0}


def test_an_undefined_mean_is_undefined_in_the_comparison():
    labels, (base, new) = make_systems(2)
    labels[:, 3:] = False
    mean = compare(base, new, labels=labels, train_counts=COUNTS).systems[0].of("mAP_tail")
    assert all(math.isnan(value) for value in (mean.base, mean.difference, mean.error, mean.p_value))
    assert not mean.is_significant(0.95)


# ---------------------------------------------------------------------------------------------------------------------
# Several runs and several systems
# ---------------------------------------------------------------------------------------------------------------------


def test_runs_add_the_variance_of_seeds_with_the_degrees_of_freedom_of_welch():
    labels, scores = make_systems(5)
    base, new = scores[:2], scores[2:]
    found = compare(base, new, labels=labels)
    system = found.systems[0]
    assert (found.base_runs, system.runs) == (2, 3)
    values = [[np.mean(values_of(average_precision_score, labels, one)) for one in side] for side in (base, new)]
    mean = system.of("mAP")
    assert mean.base == pytest.approx(np.mean(values[0]), abs=1e-12)
    assert mean.new == pytest.approx(np.mean(values[1]), abs=1e-12)
    seeds = [np.var(side, ddof=1) / len(side) for side in values]
    assert mean.seed_error == pytest.approx(math.sqrt(sum(seeds)), rel=1e-9)
    # The rows: effects are means over runs, so a mean of the values of several runs is dropped from at once.
    total = sum(seeds) + mean.row_error**2
    assert mean.error == pytest.approx(math.sqrt(total), rel=1e-12)
    freedom = total**2 / (seeds[0] ** 2 / 1 + seeds[1] ** 2 / 2)
    assert mean.degrees_of_freedom == pytest.approx(freedom, rel=1e-9)
    assert mean.p_value == pytest.approx(2 * stats.t.sf(abs(mean.difference) / mean.error, freedom), rel=1e-7)
    assert (mean.low, mean.high) == pytest.approx(
        stats.t.interval(0.95, freedom, mean.difference, mean.error), rel=1e-7
    )


def test_the_row_error_of_runs_is_that_of_their_mean_effects():
    labels, scores = make_systems(3)
    found = compare(scores[:1], scores[1:], labels=labels).systems[0].of("mAP")
    effects = np.zeros(NUM_ROWS)
    full = [np.mean(values_of(average_precision_score, labels, one)) for one in scores]
    for row in range(NUM_ROWS):
        kept = np.arange(NUM_ROWS) != row
        change = [
            np.nansum(values_of(average_precision_score, labels[kept], one[kept])) / 5 - whole
            for one, whole in zip(scores, full, strict=True)
        ]
        effects[row] = (change[1] + change[2]) / 2 - change[0]
    error = math.sqrt((NUM_ROWS - 1) / NUM_ROWS * ((effects - effects.mean()) ** 2).sum())
    assert found.row_error == pytest.approx(error, rel=1e-9)


def test_the_class_error_of_runs_is_that_of_their_mean_influences():
    labels, scores = make_systems(4)
    columns = compare(scores[:2], scores[2:], labels=labels).systems[0].classes
    c = 0
    truth = labels[:, c]
    found = [influences(truth, one[:, c]) for one in scores]
    difference = (found[2] + found[3]) / 2 - (found[0] + found[1]) / 2
    rows = truth.sum() / (truth.sum() - 1) * (difference**2).sum()
    values = [average_precision_score(truth, one[:, c]) for one in scores]
    seeds = [np.var(values[:2], ddof=1) / 2, np.var(values[2:], ddof=1) / 2]
    assert columns["error"][c] == pytest.approx(math.sqrt(rows + sum(seeds)), rel=1e-6)


def test_equal_runs_have_no_seed_variance():
    labels, (base, new) = make_systems(2)
    once = compare(base, new, labels=labels).systems[0]
    twice = compare([base, base], [new, new], labels=labels).systems[0]
    assert twice.of("mAP").seed_error == 0.0
    assert twice.of("mAP").error == pytest.approx(once.of("mAP").error, rel=1e-12)
    assert np.array(twice.classes["error"]) == pytest.approx(np.array(once.classes["error"]), rel=1e-9, nan_ok=True)


def test_notes_say_whether_seeds_are_in_the_interval():
    labels, scores = make_systems(4)
    one = compare(scores[0], scores[1], labels=labels)
    assert "the variance of training seeds is not in the intervals" in one.to_text()
    assert "standard errors" not in one.to_text()
    mixed = compare(scores[0], scores[1:], labels=labels, names=["old", "young"])
    assert "the variance of training seeds is in the intervals but for old" in mixed.to_text()
    both = compare(scores[:2], scores[2:], labels=labels)
    assert "that of training seeds" in both.to_text()
    table = both.to_text().partition("standard errors of the differences\n")[2].partition("\n\n")[0]
    mean = both.systems[0].of("mAP")
    (line,) = [line.split() for line in table.splitlines() if line.startswith("mAP ")]
    errors = [f"{error:.4f}" for error in (mean.row_error, mean.seed_error, mean.error)]
    assert line == ["mAP", *errors, f"{mean.degrees_of_freedom:.1f}"]


def test_each_system_is_compared_with_the_baseline():
    labels, (base, first, second) = make_systems(3)
    found = compare(base, first, second, labels=labels, names=["base", "first", "second"])
    for system, scores in zip(found.systems, (first, second), strict=True):
        alone = compare(base, scores, labels=labels).systems[0]
        assert repr(system.means) == repr(alone.means)  # as text, because NaN != NaN
    assert "not adjusted for the number of means or of the 2 systems" in found.to_text()
    assert "first minus base" in found.to_text()
    assert "second minus base" in found.to_text()
    assert found.metrics()["second/mAP_difference"] == found.systems[1].of("mAP").difference


# ---------------------------------------------------------------------------------------------------------------------
# Laws
# ---------------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 3, 8]))
@settings(max_examples=15, deadline=None)
def test_the_order_of_rows_and_the_threads_change_no_bit(seed, levels):
    labels, (base, new) = make_systems(2, seed=seed, levels=levels)
    order = np.random.default_rng(seed).permutation(NUM_ROWS)
    clusters = order % 30
    expected = compare(base, new, labels=labels, train_counts=COUNTS, threads=1)
    assert compare(base, new, labels=labels, train_counts=COUNTS, threads=3) == expected
    assert compare(base[order], new[order], labels=labels[order], train_counts=COUNTS) == expected
    clustered = compare(base, new, labels=labels, clusters=clusters)
    assert compare(base[order], new[order], labels=labels[order], clusters=clusters[order] * 7) == clustered


@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 3, 8]))
@settings(max_examples=15, deadline=None)
def test_exchanged_systems_have_the_opposite_difference_and_the_same_test(seed, levels):
    labels, (base, new) = make_systems(2, seed=seed, levels=levels)
    forth, back = (compare(*pair, labels=labels).systems[0] for pair in ((base, new), (new, base)))
    for one, other in zip(forth.means, back.means, strict=True):
        assert (one.base, one.new, one.difference) == (other.new, other.base, -other.difference)
        assert (one.error, one.p_value) == (other.error, other.p_value)
    assert np.array_equal(forth.classes["p_value"], back.classes["p_value"], equal_nan=True)
    assert np.array_equal(forth.classes["low"], -np.array(back.classes["high"]), equal_nan=True)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_a_monotone_change_of_scores_changes_no_bit(seed):
    labels, (base, new) = make_systems(2, seed=seed, levels=20)
    assert compare(2 * base + 1, new, labels=labels) == compare(base, new - 5, labels=labels)


# ---------------------------------------------------------------------------------------------------------------------
# Inputs
# ---------------------------------------------------------------------------------------------------------------------


def test_rows_with_ids_may_be_in_another_order_in_each_system(tmp_path):
    labels, (base, new) = make_systems(2)
    ids = np.array([f"row {row:03}" for row in np.random.default_rng(5).permutation(NUM_ROWS)])
    order = np.random.default_rng(6).permutation(NUM_ROWS)
    expected = compare(base, new, labels=labels, train_counts=COUNTS)
    header = ",".join(["id", *(f"class {c}" for c in range(5))])

    def write(name, values, rows):
        lines = [",".join([ids[row], *map(repr, values[row].tolist())]) for row in rows]
        (tmp_path / name).write_text("\n".join([header, *lines]) + "\n")
        return tmp_path / name

    paths = [
        write("base.csv", base.astype(float), range(NUM_ROWS)),
        write("new.csv", new.astype(float), order),
        write("labels.csv", labels.astype(int), order[::-1]),
    ]
    found = compare(paths[0], paths[1], labels=paths[2], train_counts=COUNTS)
    for mean, other in zip(found.systems[0].means, expected.systems[0].means, strict=True):
        assert mean.error == other.error
        assert mean.p_value == other.p_value
    assert found.systems[0].classes["p_value"] == pytest.approx(expected.systems[0].classes["p_value"], nan_ok=True)


def test_scores_on_a_device_give_the_same_means_and_no_tests_of_classes(device):
    labels, (base, new) = make_systems(2)
    expected = compare(base, new, labels=labels, train_counts=COUNTS)
    moved = [on_device(array, device) for array in (base, new, labels)]
    found = compare(*moved[:2], labels=moved[2], train_counts=COUNTS)
    assert repr(found.systems[0].means) == repr(expected.systems[0].means)
    assert found.systems[0].is_tested == (device == "cpu")
    assert ("need scores in CPU memory" in found.to_text()) == (device != "cpu")


def test_names_come_from_the_parts_of_paths_that_differ():
    assert name_systems([["a.npy"], ["b.npy"]]) == ["a", "b"]
    assert name_systems([["runs/a/preds.npy"], ["runs/b/preds.npy"]]) == ["a", "b"]
    assert name_systems([["a-0/p.npy", "a-1/p.npy"], ["b-0/p.npy"]]) == ["a-*", "b-0"]
    assert name_systems([["same.npy"], ["same.npy"]]) == ["base", "new"]
    assert name_systems([["a.npy"], [np.zeros(3)], ["c.npy"]]) == ["base", "new", "new 2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda b, n, y: ((b,), {"labels": y}), "new: expected at least one system beside the baseline, got none"),
        (lambda b, n, y: ((b, n), {}), "labels: expected the labels of the predictions, got None"),
        (lambda b, n, y: ((b, []), {"labels": y}), "expected at least one run of each system, got an empty list"),
        (lambda b, n, y: ((b, [[0.5], 3]), {"labels": y}), "expected a list to have the runs of one system"),
        (lambda b, n, y: ((b, n), {"labels": y, "level": 95}), "level: expected a level between 0 and 1"),
        (lambda b, n, y: ((b, n), {"labels": y, "class_metric": "SAP"}), "class_metric: expected one of AP, "),
        (
            lambda b, n, y: ((b, n), {"labels": y, "names": ["a"]}),
            "names: expected a name for each of 2 systems, got 1",
        ),
        (lambda b, n, y: ((b, n), {"labels": y, "names": ["a", "a"]}), "names: expected different names"),
        (
            lambda b, n, y: ((b, n), {"labels": y, "clusters": [1, 2]}),
            "clusters: expected a cluster for each",
        ),
        (lambda b, n, y: ((b, n[:, :4]), {"labels": y}), "labels: 5 classes, but scores has 4"),
        (lambda b, n, y: ((b, n), {"labels": y, "toppk": (1,)}), "did you mean topk"),
        (lambda b, n, y: ((b, n), {"labels": y, "interval": 0.9}), "interval: expected level="),
    ],
)
def test_wrong_arguments_are_refused_with_the_reason(arguments, message):
    labels, (base, new) = make_systems(2)
    systems, keywords = arguments(base, new, labels)
    with pytest.raises((ValueError, TypeError), match=message):
        compare(*systems, **keywords)


# ---------------------------------------------------------------------------------------------------------------------
# Forms
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    labels, (base, new) = make_systems(2)
    names = ["walk | run", "a_b", "<i>", "50 %", "e"]
    return compare(base, new, labels=labels, train_counts=COUNTS, class_names=names, names=["old_1", "new"])


def test_json_holds_everything_and_no_number_that_json_lacks(comparison):
    document = json.loads(comparison.to_json(), parse_constant=pytest.fail)
    assert document["schema"] == "vltr-eval/comparison/1"
    assert document["base"] == {"name": "old_1", "runs": 1}
    system = document["systems"]["new"]
    mean = comparison.systems[0].of("mAP_tail")
    assert system["means"]["mAP_tail"]["p_value"] == mean.p_value
    assert system["means"]["mAP_tail"]["degrees_of_freedom"] is None
    assert len(system["classes"]["holm"]) == 5
    assert None in system["classes"]["holm"]
    assert system["outcomes"][0]["group"] == "overall"
    assert comparison.to_json() == comparison.to_json()


def test_markdown_has_the_numbers_of_the_text_and_escapes_names(comparison):
    markdown = comparison.to_markdown()
    mean = comparison.systems[0].of("mAP")
    (row,) = [line for line in markdown.splitlines() if line.startswith("| mAP |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:4] == [f"{mean.base:.4f}", f"{mean.new:.4f}", f"{mean.difference:+.4f}"]
    tables = [line for line in markdown.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
    assert r"walk \| run" in markdown
    assert r"a\_b" in markdown
    assert r"\<i>" in markdown
    assert "<i>" not in markdown.replace(r"\<i>", "")


def test_latex_is_a_table_of_booktabs_with_escaped_names(comparison):
    latex = comparison.to_latex()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
    body = latex.partition(r"\toprule")[2].partition(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    columns = latex.partition(r"\begin{tabular}{")[2].partition("}")[0]
    assert {row.replace(r"\&", "").count("&") for row in rows} == {len(columns) - 1}
    assert r"mAP\_tail" in body
    assert r"95 \% interval" in body
    assert "_" not in body.replace(r"\_", "")


def test_text_fits_the_width_and_drops_no_p_value(comparison):
    text = comparison.to_text(width=80)
    tables = [line for line in text.splitlines() if line.startswith(("mAP", "ROC", "expected", "Acc"))]
    assert len(tables) == len(comparison.systems[0].means)
    assert max(map(len, tables)) <= 80
    p_value = comparison.systems[0].of("mAP_tail").p_value
    (line,) = [line for line in tables if line.startswith("mAP_tail ")]
    assert f"{p_value:.4f}" in line or "<0.0001" in line


def test_metrics_have_flat_names(comparison):
    mean = comparison.systems[0].of("mAP_tail")
    found = comparison.metrics()
    assert found["mAP_tail_difference"] == mean.difference
    assert found["mAP_tail_difference_se"] == mean.error
    assert (found["mAP_tail_difference_low"], found["mAP_tail_difference_high"]) == (mean.low, mean.high)
    assert found["mAP_tail_difference_p"] == mean.p_value
    assert found["mAP_tail_difference_detectable"] == mean.detectable


def test_equal_comparisons_are_equal(comparison):
    labels, (base, new) = make_systems(2)
    names = ["walk | run", "a_b", "<i>", "50 %", "e"]
    again = compare(base, new, labels=labels, train_counts=COUNTS, class_names=names, names=["old_1", "new"])
    assert again == comparison
    assert hash(again) == hash(comparison)
    assert compare(new, base, labels=labels, names=["old_1", "new"]) != comparison


# ---------------------------------------------------------------------------------------------------------------------
# Parts
# ---------------------------------------------------------------------------------------------------------------------


def test_welch_without_row_variance_is_scipys():
    values = [np.array([0.50, 0.52, 0.47]), np.array([0.55, 0.58, 0.53, 0.60])]
    seeds = [(seed_variance(side), len(side)) for side in values]
    variance, freedom = total_variance(np.array(0.0), math.inf, seeds)
    expected = stats.ttest_ind(values[1], values[0], equal_var=False)
    t = (values[1].mean() - values[0].mean()) / math.sqrt(float(variance))
    assert t == pytest.approx(float(expected.statistic), rel=1e-12)
    assert float(freedom) == pytest.approx(float(expected.df), rel=1e-12)


def test_seed_variance_of_one_run_is_0():
    assert seed_variance(np.array([0.5])) == 0


def test_a_difference_without_an_error_is_not_tested():
    mean = mean_difference("mAP", [0.5], [0.6], 0.0, 0.95)
    assert mean.error == 0
    assert math.isnan(mean.p_value)
    assert math.isnan(mean.low)


def test_classes_without_variances_have_differences_alone():
    tests = class_tests(np.array([[0.5, 0.4]]), np.array([[0.6, math.nan]]), None, np.array([20, 20]), 0.95)
    assert tests.difference.tolist()[0] == pytest.approx(0.1)
    assert np.isnan(tests.p_value).all()


def test_classes_with_nine_positives_are_not_tested_and_do_not_count():
    base, new = np.full((1, 3), 0.5), np.full((1, 3), 0.6)
    tests = class_tests(base, new, np.full(3, 0.0025), np.array([9, 10, 40]), 0.95)
    assert np.isnan(tests.p_value).tolist() == [True, False, False]
    assert tests.holm[2] == pytest.approx(2 * tests.p_value[2])
