"""The classes of the installed torchmetrics, or stand-ins that say that it is missing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = [
    "Metric",
    "OriginalAUROC",
    "OriginalAccuracy",
    "OriginalAveragePrecision",
    "OriginalBinaryAUROC",
    "OriginalBinaryAveragePrecision",
    "OriginalMulticlassAUROC",
    "OriginalMulticlassAccuracy",
    "OriginalMulticlassAveragePrecision",
    "OriginalMultilabelAUROC",
    "OriginalMultilabelAveragePrecision",
    "original_class",
    "original_function",
    "warn",
]

if TYPE_CHECKING:
    from torchmetrics import Metric
    from torchmetrics.classification import AUROC as OriginalAUROC
    from torchmetrics.classification import Accuracy as OriginalAccuracy
    from torchmetrics.classification import AveragePrecision as OriginalAveragePrecision
    from torchmetrics.classification import BinaryAUROC as OriginalBinaryAUROC
    from torchmetrics.classification import BinaryAveragePrecision as OriginalBinaryAveragePrecision
    from torchmetrics.classification import MulticlassAccuracy as OriginalMulticlassAccuracy
    from torchmetrics.classification import MulticlassAUROC as OriginalMulticlassAUROC
    from torchmetrics.classification import MulticlassAveragePrecision as OriginalMulticlassAveragePrecision
    from torchmetrics.classification import MultilabelAUROC as OriginalMultilabelAUROC
    from torchmetrics.classification import MultilabelAveragePrecision as OriginalMultilabelAveragePrecision
    from torchmetrics.utilities import rank_zero_warn as warn
else:
    try:
        from torchmetrics import Metric
        from torchmetrics.classification import AUROC as OriginalAUROC
        from torchmetrics.classification import Accuracy as OriginalAccuracy
        from torchmetrics.classification import AveragePrecision as OriginalAveragePrecision
        from torchmetrics.classification import BinaryAUROC as OriginalBinaryAUROC
        from torchmetrics.classification import BinaryAveragePrecision as OriginalBinaryAveragePrecision
        from torchmetrics.classification import MulticlassAccuracy as OriginalMulticlassAccuracy
        from torchmetrics.classification import MulticlassAUROC as OriginalMulticlassAUROC
        from torchmetrics.classification import MulticlassAveragePrecision as OriginalMulticlassAveragePrecision
        from torchmetrics.classification import MultilabelAUROC as OriginalMultilabelAUROC
        from torchmetrics.classification import MultilabelAveragePrecision as OriginalMultilabelAveragePrecision
        from torchmetrics.utilities import rank_zero_warn as warn
    except ImportError:
        warn = warnings.warn

        class Metric:
            """Stand-in for torchmetrics' classes if torchmetrics is not installed."""

            def __new__(cls, *_: Any, **__: Any) -> NoReturn:
                raise ImportError(f"{cls.__name__} needs torchmetrics: pip install torchmetrics")

        OriginalAccuracy = Metric
        OriginalAUROC = Metric
        OriginalAveragePrecision = Metric
        OriginalBinaryAUROC = Metric
        OriginalBinaryAveragePrecision = Metric
        OriginalMulticlassAccuracy = Metric
        OriginalMulticlassAUROC = Metric
        OriginalMulticlassAveragePrecision = Metric
        OriginalMultilabelAUROC = Metric
        OriginalMultilabelAveragePrecision = Metric


def original_class(name: str) -> Any:
    """Return the class of torchmetrics.classification of that name.

    Raises:
        ImportError: torchmetrics is not installed.
    """
    try:
        from torchmetrics import classification
    except ImportError as error:
        raise ImportError(f"{name} needs torchmetrics: pip install torchmetrics") from error
    return getattr(classification, name)


def original_function(name: str, reason: str = "") -> Callable[..., Any]:
    """Return the function of torchmetrics.functional.classification of that name, for work that is passed on to it.

    Raises:
        ImportError: torchmetrics is not installed.
    """
    try:
        from torchmetrics.functional import classification
    except ImportError as error:
        raise ImportError(
            f"{name}: {reason or 'this function'} needs torchmetrics: pip install torchmetrics"
        ) from error
    found: Callable[..., Any] = getattr(classification, name)
    return found
