"""Effects of rows on means and intervals of classes, as functions of one metric, against recomputed metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cases import corner_labels, make_case
from sklearn.metrics import average_precision_score, roc_auc_score

import vltr_eval
from vltr_eval import class_intervals, intervals, row_effects

GROUPS = {"few": [0, 3], "many": np.array([1, 4, 5])}  # classes 2 and 6 are in no group


def calibrated(positive, scores, prevalence) -> float:
    """Siblini et al.: precision of the true and false positive rates at each positive's score."""
    sum_of_precisions = 0.0
    for threshold in scores[positive]:
        hit, miss = np.mean(scores[positive] >= threshold), np.mean(scores[~positive] >= threshold)
        sum_of_precisions += prevalence * hit / (prevalence * hit + (1 - prevalence) * miss)
    return sum_of_precisions / positive.sum()


def means(metric, scores, labels, members) -> float:
    values = []
    for c in members:
        positive = labels[:, c].astype(bool)
        if not positive.any() or (metric != "average_precision" and positive.all()):
            continue
        if metric == "average_precision":
            values.append(average_precision_score(positive, scores[:, c]))
        elif metric == "roc_auc":
            values.append(roc_auc_score(positive, scores[:, c]))
        else:
            values.append(calibrated(positive, scores[:, c], 0.2))
    return math.fsum(values) / len(values) if values else math.nan


@pytest.mark.any_device
@pytest.mark.parametrize("metric", ["average_precision", "roc_auc", "calibrated_average_precision"])
def test_effects_are_means_without_the_row_minus_means(metric):
    scores, labels = make_case(30, 7, seed=3, levels=8, prevalence=0.3)
    labels[:, 5] = False
    labels[11, 5] = True  # without row 11 the class leaves the means
    found = row_effects(scores, labels, metric=metric, groups=GROUPS, prevalence=0.2)
    assert list(found) == ["overall", "few", "many"]
    for name, members in {"overall": range(7), **GROUPS}.items():
        whole = means(metric, scores, labels, members)
        rest = [means(metric, np.delete(scores, i, 0), np.delete(labels, i, 0), members) for i in range(30)]
        np.testing.assert_allclose(found[name], np.array(rest) - whole, rtol=0, atol=1e-11)


@pytest.mark.any_device
def test_effects_make_the_errors_of_a_report():
    scores, labels = make_case(60, 7, seed=4, levels=20, prevalence=0.2)
    report = vltr_eval.evaluate(scores, labels, sap="exact", topk=None, interval=0.95).metrics()
    by_name = {"mAP": "average_precision", "ROC_AUC": "roc_auc", "expected_SAP": "expected_sampled_average_precision"}
    for name, metric in by_name.items():
        effects = row_effects(scores, labels, metric=metric)
        assert list(effects) == ["overall"]
        error = intervals.jackknife_error(effects["overall"])
        assert error == pytest.approx(report[f"{name}_se"], rel=1e-12)


@pytest.mark.any_device
def test_intervals_of_classes_are_those_of_a_report():
    scores, _ = make_case(90, 6, seed=2, levels=30)
    labels = corner_labels(90, seed=2)
    classes = vltr_eval.evaluate(scores, labels, sap="exact", topk=None, interval=0.9).classes
    for column, metric in {
        "AP": "average_precision",
        "ROC_AUC": "roc_auc",
        "expected_SAP": "expected_sampled_average_precision",
    }.items():
        low, high = class_intervals(scores, labels, metric=metric, level=0.9)
        np.testing.assert_array_equal(low, classes[f"{column}_low"])
        np.testing.assert_array_equal(high, classes[f"{column}_high"])


def test_calibrated_ap_at_the_prevalence_of_the_class_has_an_interval_around_ap():
    scores, labels = make_case(200, 1, seed=5, prevalence=0.1)
    prevalence = labels.mean()
    of_ap = class_intervals(scores, labels)
    calibrated_ends = class_intervals(scores, labels, metric="calibrated_average_precision", prevalence=prevalence)
    value = vltr_eval.average_precision(scores, labels)[0]
    for low, high in (of_ap, calibrated_ends):
        assert 0 < low[0] < value < high[0] < 1


def test_a_group_without_positives_has_no_effects():
    scores, labels = make_case(20, 3, seed=1)
    labels[:, 2] = False
    effects = row_effects(scores, labels, groups={"absent": [2], "empty": []})
    assert np.isnan([effects["absent"], effects["empty"]]).all()
    assert not np.isnan(effects["overall"]).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "roc_auk"}, r"metric: expected average_precision, .*, got 'roc_auk'; did you mean roc_auc\?"),
        ({"groups": {"a": [0, 1], "b": [1]}}, "groups: expected each class in one group, got class 1 twice"),
        ({"groups": {"a": [3]}}, "groups: expected class indices from 0 to 2 for 'a'"),
        ({"groups": {"a": [0.5]}}, r"groups: expected class indices \(n,\) for 'a', got float64"),
        ({"groups": {"overall": [0]}}, "groups: expected other names than 'overall'"),
        ({"prevalence": 1.0}, "prevalence: expected a number between 0 and 1, got 1.0"),
        ({"absent": "no"}, "absent: expected"),
    ],
)
def test_wrong_options_are_refused(options, message):
    scores, labels = make_case(20, 3, seed=1)
    with pytest.raises(ValueError, match=message):
        row_effects(scores, labels, **options)
