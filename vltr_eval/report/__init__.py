"""Reports: the names of metrics, the settings, the numbers as plain data, and their text."""

from __future__ import annotations

from vltr_eval.report.means import Group, PriorResult, Slice
from vltr_eval.report.names import (
    AP,
    EXPECTED_SAP,
    OVERALL,
    ROC_AUC,
    SAP,
    SAP_CHANCE,
    SAP_STD,
    Metric,
    accuracy_at,
    grouped_name,
    name_under_prior,
    plain_name,
)
from vltr_eval.report.report import BaseReport, Report
from vltr_eval.report.settings import Settings

__all__ = [
    "AP",
    "EXPECTED_SAP",
    "OVERALL",
    "ROC_AUC",
    "SAP",
    "SAP_CHANCE",
    "SAP_STD",
    "BaseReport",
    "Group",
    "Metric",
    "PriorResult",
    "Report",
    "Settings",
    "Slice",
    "accuracy_at",
    "grouped_name",
    "name_under_prior",
    "plain_name",
]
