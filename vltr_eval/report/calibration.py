"""Calibration of scores that are probabilities: errors and reliability by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vltr_eval.report.document import read_count, read_number
from vltr_eval.report.names import CALIBRATION_METRICS

_COLUMNS = ("count", "mean_score", "frequency")


@dataclass(frozen=True, eq=False)
class Reliability:
    """The calibration of the cells of a group of classes, each cell being one yes-or-no prediction.

    Attributes:
        count: The number of cells in each bin.
        mean_score: The mean of their scores; NaN in an empty bin.
        frequency: The share of positives among them; NaN in an empty bin.
        values: ECE and Brier of all cells together, and classwise_ECE, the mean of the ECE of the classes.
    """

    count: tuple[int, ...]
    mean_score: tuple[float, ...]
    frequency: tuple[float, ...]
    values: dict[str, float]


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """Calibration errors and reliability of each group.

    Attributes:
        bins: The number of bins of equal width from 0 to 1. Bin k holds k / bins < score <= (k + 1) / bins, and the
            first one 0 as well.
        groups: The reliability of each group, "overall" first.
    """

    bins: int
    groups: dict[str, Reliability]

    def means(self) -> dict[str, dict[str, float]]:
        """Return the errors of each group."""
        return {name: group.values for name, group in self.groups.items()}

    def document(self) -> dict[str, Any]:
        """Return the JSON of this part of a report."""
        groups = {
            name: {**{column: getattr(group, column) for column in _COLUMNS}, **group.values}
            for name, group in self.groups.items()
        }
        return {"bins": self.bins, "groups": groups}

    @classmethod
    def from_document(cls, document: Mapping[str, Any], names: Sequence[str], bins: int) -> CalibrationResult:
        """Read the JSON of `document`. names: The groups of the report. bins: The number in its settings."""
        if document["bins"] != bins:
            raise ValueError(f"{document['bins']!r} bins where the settings have {bins}")
        groups = {name: _read_group(document["groups"][name], bins) for name in names}
        return cls(bins, groups)


def _read_group(values: Mapping[str, Any], bins: int) -> Reliability:
    columns = {name: tuple(values[name]) for name in _COLUMNS}
    for name, column in columns.items():
        if len(column) != bins:
            raise TypeError(f"{len(column)} values of {name} for {bins} bins")
    return Reliability(
        count=tuple(map(read_count, columns["count"])),
        mean_score=tuple(map(read_number, columns["mean_score"])),
        frequency=tuple(map(read_number, columns["frequency"])),
        values={metric.name: read_number(values[metric.name]) for metric in CALIBRATION_METRICS},
    )
