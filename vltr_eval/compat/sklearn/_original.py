"""The library itself: scikit-learn where it is installed, and stand-ins for its classes where it is not loaded."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np

__all__ = [
    "InvalidParameterError",
    "NotNative",
    "UndefinedMetricWarning",
    "config",
    "invalid_parameter",
    "is_foreign",
    "warn_no_positives",
    "warn_undefined",
]


class UndefinedMetricWarning(UserWarning):
    """Stands in for the class of this name in scikit-learn, where that has not been imported."""


class InvalidParameterError(ValueError, TypeError):
    """Stands in for scikit-learn's error for an argument of a type or value that is not taken."""


class NotNative(Exception):
    """An option that only scikit-learn's function supports; the message names it."""


def invalid_parameter(message: str) -> ValueError:
    """The error for an argument that is not taken, of scikit-learn's class if that has been imported."""
    module = sys.modules.get("sklearn.utils._param_validation")
    kind: type[ValueError] = getattr(module, "InvalidParameterError", InvalidParameterError)
    return kind(message)


def config(name: str) -> bool:
    """A setting of scikit-learn: False unless a program that uses scikit-learn has set it."""
    sklearn = sys.modules.get("sklearn")
    return sklearn is not None and bool(sklearn.get_config().get(name, False))


def is_foreign(array: Any) -> bool:
    """Whether scikit-learn would compute with the library of an array, with ``array_api_dispatch``."""
    return not isinstance(array, np.ndarray) and any(
        hasattr(array, name) for name in ("__array_namespace__", "__dlpack__")
    )


def warn_no_positives() -> None:
    warnings.warn("No positive class found in y_true, recall is set to one for all thresholds.", stacklevel=2)


def warn_undefined(message: str) -> None:
    # Code that names scikit-learn's class has imported it; importing it here would take longer than the metric.
    exceptions = sys.modules.get("sklearn.exceptions")
    warnings.warn(message, getattr(exceptions, "UndefinedMetricWarning", UndefinedMetricWarning), stacklevel=2)
