"""The value of one convention."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vltr_eval.convention.definitions import Convention

__all__ = ["DIGITS", "ConventionValue"]

DIGITS = 5
"""Digits that text shows. Four do not tell the trapezoid, Keras and xgboost apart."""


@dataclass(frozen=True)
class ConventionValue:
    """The value of one convention on one input.

    Attributes:
        convention: The definition.
        low: The value; the lowest possible one if the original leaves the order of equal scores open.
        high: The highest possible value.
        joined: The value with equal scores as one threshold.
        why: The reason of a NaN: "nan: ..." or "error: ..."; "" if there is a value.
        in_rows: The value in row order, if there is an interval and the original keeps this order in some cases.
        variant: The number format to which scores were rounded before; "" for the scores as they are.
    """

    convention: Convention
    low: float
    high: float
    joined: float
    why: str = ""
    in_rows: float = math.nan
    variant: str = ""

    @property
    def key(self) -> str:
        """The name: that of the convention, with the number format."""
        return f"{self.convention.key}@{self.variant}" if self.variant else self.convention.key

    @property
    def is_interval(self) -> bool:
        """Whether equal scores leave the value open."""
        return self.high > self.low

    @property
    def value(self) -> float:
        """The value; NaN if there is none, or only an interval."""
        return math.nan if self.is_interval else self.low

    def __str__(self) -> str:
        if self.why:
            return self.why.partition(":")[0]
        low, high = f"{self.low:.{DIGITS}f}", f"{self.high:.{DIGITS}f}"
        if low == high:
            return low
        in_rows = "" if math.isnan(self.in_rows) else f" ({self.in_rows:.{DIGITS}f} in row order)"
        return f"{low}..{high}{in_rows}"
