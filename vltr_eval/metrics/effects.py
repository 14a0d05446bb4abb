"""The effect of each row on the mean of a metric, and the interval of the metric of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vltr_eval._base.arguments import nearest_hint
from vltr_eval._engine.effects import METRICS, class_variances
from vltr_eval._engine.inputs import read_matrix_and_positives
from vltr_eval._engine.mean_effects import CORE_METRICS, EffectColumns
from vltr_eval._engine.rank_scan import rank_scan
from vltr_eval._engine.rank_table import RankTable, checked_prevalence
from vltr_eval.intervals import effective_n, wilson
from vltr_eval.report.names import OVERALL, Metric
from vltr_eval.report.settings import Settings

__all__ = ["class_intervals", "row_effects"]

_BY_NAME = {name: metric for metric, name in CORE_METRICS.items()}


def row_effects(
    scores: Any,
    labels: Any,
    *,
    metric: str = "average_precision",
    groups: Mapping[str, Sequence[int] | np.ndarray] | None = None,
    prevalence: float = 0.5,
    absent: str = "nan",
    mask: Any = None,
    unknown: Any = None,
    threads: int | None = None,
) -> dict[str, np.ndarray]:
    """Compute the drop-one effect of each row: the mean of a metric over classes without the row, minus the mean.

    `vltr_eval.intervals.jackknife_error` makes the standard error of the mean of them. The effects on two models are
    subtracted row by row for the error of a difference, and added within clusters of rows.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        metric: "average_precision", "roc_auc", "expected_sampled_average_precision" or
            "calibrated_average_precision".
        groups: Class indices by the name of a group, such as those of head, medium and tail. No class is in two groups.
        prevalence: The class prevalence of calibrated AP.
        absent: "nan" leaves classes without positives out of the means; "zero" counts their AP as 0.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        (N,) float64 of "overall", the mean over all classes, and of each group. The only positive of a class takes the
        class out of the mean. NaN for a group without a defined class.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, the shapes do not fit, or an option has another value.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> from vltr_eval.intervals import jackknife_error
        >>> effects = row_effects(np.float32([[.9], [.8], [.7], [.6]]), np.uint8([[1], [0], [1], [0]]))["overall"]
        >>> effects.round(4).tolist(), round(jackknife_error(effects), 4)
        ([-0.3333, 0.1667, 0.1667, 0.0], 0.3536)

    Source:
        csrc/core/effect_core.hpp has the formulas; docs/intervals.md says what the errors cover.
    """
    matrix, positives = read_matrix_and_positives(scores, labels, threads, mask, unknown)
    known = _checked_groups(groups or {}, matrix.num_classes)
    table = rank_scan(matrix, positives, threads=threads).table
    columns = EffectColumns(
        Settings(None, topk=(), absent=absent),
        known,
        table,
        None,
        metrics=[_metric_of(metric)],
        prevalence=checked_prevalence(prevalence),
    )
    effects = columns.effects(*columns.of_rows(matrix, positives, None, threads=threads))
    names = [OVERALL, *known]
    return {name: effect.values for name, effect in zip(names, effects.values(), strict=True) if name != _REST}


def class_intervals(
    scores: Any,
    labels: Any,
    *,
    metric: str = "average_precision",
    level: float = 0.95,
    prevalence: float = 0.5,
    mask: Any = None,
    unknown: Any = None,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute an interval of a metric of each class, by Wilson's formula with an effective number of positives.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        metric: "average_precision", "roc_auc", "expected_sampled_average_precision" or
            "calibrated_average_precision".
        level: The confidence level, between 0 and 1.
        prevalence: The class prevalence of calibrated AP.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        The lower and the upper ends, (C,) float64 each. NaN for a class with fewer than 5 positives.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, the shapes do not fit, or an option has another value.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> low, high = class_intervals(np.arange(20.)[:, None], np.arange(20) // 10, level=0.9)
        >>> low.round(4).tolist(), high.tolist()
        ([0.7871], [1.0])

    Source:
        See `vltr_eval.intervals.effective_n`.
    """
    kind = _metric_of(metric).interval
    matrix, positives = read_matrix_and_positives(scores, labels, threads, mask, unknown)
    table: RankTable = rank_scan(matrix, positives, threads=threads).table
    prevalences = [checked_prevalence(prevalence)] if metric == "calibrated_average_precision" else []
    values = getattr(table, metric)(*prevalences)
    variances = class_variances(table, metric, prevalence=checked_prevalence(prevalence), threads=threads)
    return wilson(values, effective_n(values, variances, table.num_positives, kind), level)


_REST = "vltr: other classes"  # the group of the classes that are in no group of the caller


def _metric_of(name: str) -> Metric:
    if name not in _BY_NAME:
        raise ValueError(f"metric: expected {', '.join(METRICS[:-1])} or {METRICS[-1]}, got {name!r}{_hint(name)}")
    return _BY_NAME[name]


def _hint(name: str) -> str:
    return nearest_hint(name, METRICS) if isinstance(name, str) else ""


def _checked_groups(groups: Mapping[str, Any], num_classes: int) -> dict[str, np.ndarray]:
    """The groups as index arrays, with one more for the other classes if there are any."""
    group_of = np.zeros(num_classes, np.int64)
    known = {}
    for name, members in groups.items():
        indices = np.asarray(members)
        if indices.ndim != 1 or (len(indices) and indices.dtype.kind not in "iu"):
            raise ValueError(f"groups: expected class indices (n,) for {name!r}, got {indices.dtype} {indices.shape}")
        if len(indices) and not (indices.min() >= 0 and indices.max() < num_classes):
            raise ValueError(f"groups: expected class indices from 0 to {num_classes - 1} for {name!r}")
        known[name] = indices.astype(np.int64)
        np.add.at(group_of, known[name], 1)
    if OVERALL in known:
        raise ValueError(f"groups: expected other names than {OVERALL!r}, which is the mean over all classes")
    if (group_of > 1).any():
        raise ValueError(f"groups: expected each class in one group, got class {int(np.argmax(group_of > 1))} twice")
    rest = np.flatnonzero(group_of == 0)
    return known | ({_REST: rest} if known and len(rest) else {})
