"""scikit-learn's metrics: the ranking metrics from the rank table, and all others of scikit-learn itself.

    from vltr_eval.compat import sklearn as metrics                                  # was: from sklearn import metrics
    from vltr_eval.compat.sklearn import average_precision_score, roc_auc_score      # was: from sklearn.metrics import

The functions below have the names, arguments and results of scikit-learn. Every other name of sklearn.metrics, such as
``f1_score``, is scikit-learn's own, so the module replaces ``sklearn.metrics`` as a whole.

Native: binary, multilabel and multiclass labels, every average, ``pos_label``, ``max_fpr``, ``labels``, one-vs-rest,
``k``, ``normalize``, ``drop_intermediate``, and ``sample_weight`` but for ROC-AUC and the curves. For what is left
scikit-learn's own function is called: ``sample_weight`` of these three, weights that are negative or not real numbers,
``multi_class="ovo"``, label matrices of two values that are not 0 and 1, dtypes that are neither real numbers nor
strings, and arrays of other libraries with ``array_api_dispatch=True``. Where scikit-learn is not installed that is an
ImportError that names the option.

Bad values are errors of the same kinds with vltr's messages. Undefined results are those of scikit-learn since 1.6: AP
0 with a UserWarning, ROC-AUC NaN with an UndefinedMetricWarning. Errors and warnings are of scikit-learn's own classes
where scikit-learn has been imported. Two differences are deliberate: a warning comes once a call, not once a class, and
a masked cell of a masked array is an error, where scikit-learn reads the value under the mask. Tensors of torch may be
bfloat16 or require gradients.
"""

from __future__ import annotations

from typing import Any

from vltr_eval.compat.sklearn._curves import precision_recall_curve, roc_curve
from vltr_eval.compat.sklearn._original import InvalidParameterError, UndefinedMetricWarning
from vltr_eval.compat.sklearn._scores import (
    average_precision_score,
    label_ranking_average_precision_score,
    roc_auc_score,
    top_k_accuracy_score,
)

__all__ = [
    "average_precision_score",
    "label_ranking_average_precision_score",
    "precision_recall_curve",
    "roc_auc_score",
    "roc_curve",
    "top_k_accuracy_score",
]

# Pickles of errors and warnings name this module, as those of the functions do.
InvalidParameterError.__module__ = UndefinedMetricWarning.__module__ = __name__


def __getattr__(name: str) -> Any:
    """Return scikit-learn's own object for a name that is not here."""
    if not (name.startswith("__") and name.endswith("__")):
        try:
            import sklearn.metrics
        except ImportError:
            if not name.startswith("_"):  # tools look for such names, and take no ImportError
                raise ImportError(
                    f"{name}: is not native and needs scikit-learn, which is not installed; pip install scikit-learn"
                ) from None
        else:
            if hasattr(sklearn.metrics, name):
                return getattr(sklearn.metrics, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}, and sklearn.metrics has none")


def __dir__() -> list[str]:
    """The names here and those of scikit-learn where it is installed."""
    try:
        import sklearn.metrics
    except ImportError:
        return sorted(globals())
    return sorted({*globals(), *dir(sklearn.metrics)})
