"""The names of metrics."""

from __future__ import annotations

import re
from typing import NamedTuple

OVERALL = "overall"


class Metric(NamedTuple):
    """The names of one metric: of its mean over classes and of its value for one class.

    short: the heading of both in a narrow table, "" if it is the same. rank: see `RANKS`.
    """

    name: str
    class_name: str
    heading: str
    class_heading: str
    short: str = ""
    rank: int = 0


RANKS = {
    name: rank
    for rank, name in enumerate(
        ("AP", "SAP", "counts", "Acc", "undefined", "train_count", "group", "ROC_AUC", "exact_SAP", "SAP_chance")
    )
}
"""Columns of the text tables: where the width is too small, the last of these is dropped first, and AP never.

Of the Acc@k, the last k is dropped first. The index and the name of a class always stay.
"""


AP = Metric("mAP", "AP", "mAP", "AP")


SAP = Metric("SAP", "SAP", "SAP +- std", "SAP +- std", "SAP+-std", RANKS["SAP"])


SAP_STD = Metric("SAP_std", "SAP_std", "", "")  # has no column of its own: it is printed inside SAP's


EXPECTED_SAP = Metric("expected_SAP", "expected_SAP", "exact SAP", "exact SAP", "exact", RANKS["exact_SAP"])


SAP_CHANCE = Metric("SAP_chance", "SAP_chance", "chance SAP", "chance SAP", "chance", RANKS["SAP_chance"])


ROC_AUC = Metric("ROC_AUC", "ROC_AUC", "ROC-AUC", "ROC-AUC", rank=RANKS["ROC_AUC"])


def accuracy_at(k: int) -> Metric:
    """The metric Acc@k, the only one whose name carries a number."""
    return Metric(*[f"Acc@{k}"] * 4, rank=RANKS["Acc"])


def grouped_name(metric: Metric, group: str) -> str:
    """The flat name of a metric's mean over a group: ``mAP``, ``mAP_tail``."""
    return metric.name if group == OVERALL else f"{metric.name}_{group}"


def name_under_prior(prior: str, name: str) -> str:
    """The name of a metric, flat or of a column, under another class distribution: ``inverse/mAP_tail``."""
    return f"{prior}/{name}"


def plain_name(name: str) -> str:
    """The name of a metric for loggers that refuse some characters, such as MLflow.

    ``@`` becomes ``_at_``, as MLflow's own loggers write it. Every other character than ASCII letters, digits and
    ``_ - . /`` becomes ``_``, and so do the dots of a part of the name that is nothing but dots.

    >>> plain_name("inverse/Acc@1_tail")
    'inverse/Acc_at_1_tail'
    """
    name = re.sub(r"[^A-Za-z0-9_./-]", "_", name.replace("@", "_at_"))
    return "/".join("_" * len(part) if set(part) <= {"."} else part for part in name.split("/"))
