"""Numbers as they are printed: their digits, fraction or percent, and the values that they can stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

__all__ = ["PrintedNumber", "Reading", "read_number"]

_FLOAT32_ERROR = 1e-6
"""Values of originals that compute in float32 differ by less. More digits than that are not compared."""

ROUNDED, TRUNCATED, INSIDE = "rounded", "truncated", "inside the tie interval"


@dataclass(frozen=True)
class Reading:
    """One meaning of a printed number.

    Attributes:
        kind: "fraction" or "percent".
        value: The number as a fraction.
        unit: The value of a unit of its last digit, as a fraction.
    """

    kind: str
    value: float
    unit: float

    def agrees(self, value: float) -> str:
        """Return "rounded" if a value is printed so, "truncated" if it is so without rounding, or ""."""
        if abs(value - self.value) <= max(0.5 * self.unit * (1 + 1e-9), _FLOAT32_ERROR):
            return ROUNDED
        return TRUNCATED if 0 <= value - self.value < self.unit else ""

    def lies_between(self, low: float, high: float) -> bool:
        """Whether a value of an interval can be printed so."""
        slack = max(0.5 * self.unit, _FLOAT32_ERROR)
        return low - slack <= self.value <= high + slack


@dataclass(frozen=True)
class PrintedNumber:
    """A number that somebody printed.

    Attributes:
        text: The text.
        readings: Its meanings; none for NaN.
    """

    text: str
    readings: tuple[Reading, ...]

    @property
    def is_nan(self) -> bool:
        return not self.readings


def read_number(number: Any) -> PrintedNumber:
    """Read a printed number.

    Args:
        number: Text such as "0.372", "37.2", "37.20 %" or "nan", or a number. A number has the digits of its repr.

    Returns:
        The number. Without a % it is read as a fraction and as percent.

    Raises:
        ValueError: Text that is no number, or a number below 0 or above 100.
        TypeError: Neither text nor a number.

    Example:
        >>> [(reading.kind, reading.value, reading.unit) for reading in read_number("37.20 %").readings]
        [('percent', 0.372, 0.0001)]
    """
    from decimal import Decimal, InvalidOperation  # not above: few programs look for a number

    if isinstance(number, bool) or not (isinstance(number, str) or hasattr(number, "__float__")):
        raise TypeError(f"find: expected a number or its text, got {type(number).__name__}")
    text = number.strip() if isinstance(number, str) else _shortest(number)
    digits, is_percent = (text[:-1].rstrip(), True) if text.endswith("%") else (text, False)
    try:
        decimal = Decimal(digits)
    except InvalidOperation:
        decimal = None
    if decimal is None or "_" in digits:
        raise ValueError(f"find: expected a number such as 0.372, 37.2 or 37.20 %, got {text!r}")
    if decimal.is_nan():
        return PrintedNumber(text, ())
    if not 0 <= decimal <= 100:
        raise ValueError(f"find: expected a number from 0 to 1, or percent up to 100, got {text!r}")
    exponent = decimal.as_tuple().exponent
    unit = Decimal(1).scaleb(min(int(exponent), 0))
    percent = Reading("percent", float(decimal / 100), float(unit / 100))
    if is_percent:
        return PrintedNumber(text, (percent,))
    return PrintedNumber(text, (Reading("fraction", float(decimal), float(unit)), percent))


def _shortest(number: Any) -> str:
    """The shortest text that gives the number in its own precision, without trailing zeros that nobody printed."""
    text = str(number)  # numpy's scalars and Python's numbers print their shortest digits
    try:
        value = float(text)
    except ValueError:  # a tensor, say
        value = float(number)
        text = repr(value)
    return "nan" if math.isnan(value) else text
