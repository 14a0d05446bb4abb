"""Metrics as functions over arrays of scores and labels."""

from __future__ import annotations

from vltr_eval.metrics.rank_metrics import (
    average_precision,
    calibrated_average_precision,
    expected_sampled_average_precision,
    mean_average_precision,
    positive_scores,
    precision_at_recall,
    precision_recall_curve,
    rank_table,
    recall_at_precision,
    roc_auc,
    tie_interval,
    tie_rate,
)
from vltr_eval.metrics.running import RunningAP
from vltr_eval.metrics.sampled import SampledAP, sampled_average_precision, sap_subset
from vltr_eval.metrics.tie_orders import PositiveRanks, positive_ranks
from vltr_eval.metrics.topk import topk_accuracy

__all__ = [
    "PositiveRanks",
    "RunningAP",
    "SampledAP",
    "average_precision",
    "calibrated_average_precision",
    "expected_sampled_average_precision",
    "mean_average_precision",
    "positive_ranks",
    "positive_scores",
    "precision_at_recall",
    "precision_recall_curve",
    "rank_table",
    "recall_at_precision",
    "roc_auc",
    "sampled_average_precision",
    "sap_subset",
    "tie_interval",
    "tie_rate",
    "topk_accuracy",
]
