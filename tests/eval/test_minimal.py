"""A smoke test: each operation once, on six rows, against results by hand."""

from __future__ import annotations

import numpy as np
import pytest

import vltr_eval

pytestmark = pytest.mark.any_device

# Best first: N P N N P N. AP = (1/2 + 2/5) / 2, and 4 of the 8 pairs of a positive and a negative are in order.
SCORES = np.float32([[0.9], [0.8], [0.7], [0.6], [0.5], [0.4]])
LABELS = np.uint8([[0], [1], [0], [0], [1], [0]])


def test_build_info_names_the_build():
    build = vltr_eval.build_info()
    assert build["version"] == vltr_eval.__version__
    assert {"cuda", "simd", "simd_available", "compiler", "threads"} <= build.keys()


def test_rank_table_counts_by_hand():
    table = vltr_eval.rank_table(SCORES, LABELS)
    assert table.thresholds.tolist() == [np.float32(0.8), np.float32(0.5)]
    assert (table.tp.tolist(), table.fp.tolist(), table.tied.tolist()) == ([1, 2], [1, 3], [0, 0])


def test_metrics_by_hand():
    assert vltr_eval.average_precision(SCORES, LABELS)[0] == pytest.approx(0.45, abs=1e-15)
    assert vltr_eval.mean_average_precision(SCORES, LABELS) == pytest.approx(0.45, abs=1e-15)
    assert vltr_eval.roc_auc(SCORES, LABELS)[0] == 0.5
    assert vltr_eval.expected_sampled_average_precision(SCORES, LABELS)[0] == pytest.approx(2 / 3, abs=1e-15)
    assert vltr_eval.tie_rate(SCORES, LABELS)[0] == 0


def test_sampled_average_precision_is_ap_of_its_subset():
    trials = vltr_eval.sampled_average_precision(SCORES, LABELS, trials=8, seed=3, return_trials=True).trials
    for trial in range(8):
        rows = vltr_eval.sap_subset(LABELS, 0, trial, 3)
        assert len(rows) == 4
        assert trials[trial, 0] == vltr_eval.average_precision(SCORES[rows], LABELS[rows])[0]


def test_topk_accuracy_by_hand():
    scores = np.float32([[0.9, 0.8, 0.1], [0.2, 0.3, 0.1], [0.5, 0.5, 0.5]])
    assert vltr_eval.topk_accuracy(scores, [[1], [1], []], k=(1, 2)) == {1: 0.5, 2: 1.0}


def test_evaluate_reports_the_same_numbers():
    report = vltr_eval.evaluate(SCORES, LABELS, sap="exact", topk=(1,))
    assert report.metrics()["mAP"] == pytest.approx(0.45, abs=1e-15)
    assert report.metrics()["expected_SAP"] == pytest.approx(2 / 3, abs=1e-15)


def test_nan_is_named():
    scores = SCORES.copy()
    scores[4, 0] = np.nan
    with pytest.raises(ValueError, match=r"^scores: expected numbers, got NaN at row 4, class 0$"):
        vltr_eval.average_precision(scores, LABELS)
