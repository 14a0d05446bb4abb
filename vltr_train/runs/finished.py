"""A finished training, as `fit` returns it."""

from __future__ import annotations

from dataclasses import dataclass

from vltr_eval import Report
from vltr_train.method import Method
from vltr_train.runs.run_folder import RunFolder

__all__ = ["Run"]


@dataclass(frozen=True)
class Run:
    """A finished training, returned by `fit`.

    Attributes:
        folder: The run folder.
        method: The method with the selected weights, in evaluation mode.
        report: The report on the test split, or on the validation split without one. None without either split, and
            on ranks other than the first.
    """

    folder: RunFolder
    method: Method
    report: Report | None

    def __repr__(self) -> str:
        found = "no report" if self.report is None else f"mAP {self.report.metrics()['mAP']:.4f}"
        return f"Run({str(self.folder.path)!r}, {type(self.method).__name__}, {found})"

    def _repr_html_(self) -> str:
        return self.folder._repr_html_() + ("" if self.report is None else self.report._repr_html_())
