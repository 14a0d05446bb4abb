"""The names of metrics, the order in which reports list them, and when a report has them.

To add a metric to the report, add it to `METRICS` here and its values to ``_VALUES`` in `vltr_eval._engine.results`.

``Metric.name`` is the key in ``Report.metrics()``, in the JSON file and in ``vltr-eval --fail-under``. The mean over a
group has the group's name appended (``mAP``, ``mAP_tail``). ``Metric.class_name`` is the per-class column in CSV, JSON
and the pandas frame. The headings are those of the text tables. Results under another class distribution have its name
in front of both (``inverse/mAP_tail``, ``inverse/AP``). `plain_name` is for loggers that refuse some characters.
"""

from __future__ import annotations

import re
from typing import NamedTuple

OVERALL = "overall"


class Metric(NamedTuple):
    """The names of one metric.

    Attributes:
        name: The flat name of the mean over classes.
        class_name: The column of the values of single classes.
        heading: The heading of the mean in a text table; "" for a metric without a column of its own.
        class_heading: The heading of the values of single classes.
        short: The heading of both in a narrow table, "" if it is the same.
        rank: The rank of the column, see `RANKS`.
        needs: The settings under which a report has the metric: "" for all, "sap" for sampled AP of any kind, "trials"
            for SAP trials.
        signature: The part of the signature that names the metric, "" for none.
        spread: The metric whose value follows this one's in the same cell, as ``0.98 +- 0.01``.
        interval: The kind of `vltr_eval.intervals.effective_n` for single classes, "" for a metric without intervals.
        form: The format of its values in text tables.
    """

    name: str
    class_name: str
    heading: str
    class_heading: str
    short: str = ""
    rank: int = 0
    needs: str = ""
    signature: str = ""
    spread: Metric | None = None
    interval: str = ""
    form: str = ".4f"


RANKS = {
    name: rank
    for rank, name in enumerate(
        (
            "AP",
            "SAP",
            "counts",
            "Acc",
            "undefined",
            "train_count",
            "group",
            "ROC_AUC",
            "exact_SAP",
            "SAP_chance",
            "interval",
            "F1",
            "calibration",
            "threshold",
        )
    )
}
"""Columns of the text tables. A table that is too wide drops the last of these first, and never AP.

Among the Acc@k, the last k is dropped first. The index and the name of a class always stay.
"""

AP = Metric("mAP", "AP", "mAP", "AP", signature="AP", interval="ap")

SAP_STD = Metric("SAP_std", "SAP_std", "", "", needs="trials")

SAP = Metric("SAP", "SAP", "SAP +- std", "SAP +- std", "SAP+-std", RANKS["SAP"], needs="trials", spread=SAP_STD)

EXPECTED_SAP = Metric(
    "expected_SAP",
    "expected_SAP",
    "exact SAP",
    "exact SAP",
    "exact",
    RANKS["exact_SAP"],
    needs="sap",
    signature="SAP",
    interval="sap",
)

SAP_CHANCE = Metric("SAP_chance", "SAP_chance", "chance SAP", "chance SAP", "chance", RANKS["SAP_chance"], needs="sap")

ROC_AUC = Metric("ROC_AUC", "ROC_AUC", "ROC-AUC", "ROC-AUC", rank=RANKS["ROC_AUC"], signature="ROC-AUC", interval="auc")

CALIBRATED_AP = Metric("calibrated_mAP", "calibrated_AP", "calibrated mAP", "calibrated AP", interval="ap")
"""Not in reports; its rows have effects all the same."""

METRICS = (AP, SAP, SAP_STD, EXPECTED_SAP, SAP_CHANCE, ROC_AUC)
"""The metrics of a report in their order; the Acc@k follow them."""

THRESHOLD_METRICS = (
    *(Metric(name, "", name, "") for name in ("OP", "OR", "OF1", "CP", "CR", "CF1")),
    Metric("macro_F1", "", "macro F1", "", "macroF1"),
)
"""Micro (O) and macro (C) averages of precision, recall and F1 at thresholds; docs/thresholds.md defines them.

They are means of groups alone. `THRESHOLD_COLUMNS` are the values of classes.
"""

THRESHOLD_COLUMNS = (
    Metric("", "threshold", "", "threshold", "thr", RANKS["threshold"], form=".4g"),
    Metric("", "precision", "", "precision", "prec", RANKS["F1"]),
    Metric("", "recall", "", "recall", "rec", RANKS["F1"]),
    Metric("", "F1", "", "F1", "", RANKS["F1"]),
)

CALIBRATION_METRICS = (
    Metric("ECE", "ECE", "ECE", "ECE", rank=RANKS["calibration"]),
    Metric("classwise_ECE", "", "classwise ECE", "", "cw-ECE", RANKS["calibration"]),
    Metric("Brier", "Brier", "Brier", "Brier", rank=RANKS["calibration"]),
)
"""Calibration errors of scores that are probabilities; docs/thresholds.md defines them."""


def accuracy_at(k: int) -> Metric:
    """Return the metric Acc@k, the only one with a number in its name."""
    name = f"Acc@{k}"
    return Metric(name, name, name, name, rank=RANKS["Acc"], interval="share")


def grouped_name(metric: Metric, group: str) -> str:
    """Return the flat name of a metric's mean over a group: ``mAP``, ``mAP_tail``."""
    return metric.name if group == OVERALL else f"{metric.name}_{group}"


def interval_names(name: str) -> tuple[str, str, str]:
    """Return the names of a mean's standard error and of the ends of its interval.

    Example:
        >>> interval_names("mAP_tail")
        ('mAP_tail_se', 'mAP_tail_low', 'mAP_tail_high')
    """
    return f"{name}_se", f"{name}_low", f"{name}_high"


def name_under_prior(prior: str, name: str) -> str:
    """Return the name of a metric or a column under another class distribution: ``inverse/mAP_tail``."""
    return f"{prior}/{name}"


MAX_PLAIN_NAME = 250
"""Characters of the longest plain name: MLflow refuses longer names of metrics."""


def plain_name(name: str) -> str:
    """Return the name of a metric for loggers that refuse some characters, such as MLflow.

    ``@`` becomes ``_at_``, as in MLflow's own loggers. Every other character than ASCII letters, digits and ``_ - . /``
    becomes ``_``, and so do the dots of a part of the name that is nothing but dots. Empty parts are left out. A name
    of more than 250 characters is cut, and ends with a checksum of the whole name.

    Example:
        >>> plain_name("inverse/Acc@1_tail")
        'inverse/Acc_at_1_tail'
    """
    plain = re.sub(r"[^A-Za-z0-9_./-]", "_", name.replace("@", "_at_"))
    plain = "/".join("_" * len(part) if set(part) <= {"."} else part for part in plain.split("/") if part)
    if len(plain) <= MAX_PLAIN_NAME:
        return plain
    from zlib import crc32  # not above: few names are so long

    end = f"_{crc32(name.encode('utf-8', 'surrogatepass')):08x}"
    return plain[: MAX_PLAIN_NAME - len(end)] + end
