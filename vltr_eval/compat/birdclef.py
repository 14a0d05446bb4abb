"""Drop-in for the metrics of Kaggle's BirdCLEF competitions: padded cmAP (2023) and macro ROC-AUC (2024 and later).

`padded_cmap` is the function of the evaluation page of BirdCLEF 2023, which public notebooks and repositories copy. It
takes two pandas frames, or two arrays as in the copies without pandas. `score` is the metric code of BirdCLEF 2024 and
later (``metric/birdclef-roc-auc``) with ``safe_call_score`` of ``kaggle-metric-utilities``.

Quirks of the originals, which are kept:

- The pages' function pads with rows of ones. They rank highest among probabilities, but somewhere among logits.
- A class without positives has about the AP of its padding, and counts. Random scores are therefore far above the share
  of positives.
- `padded_cmap` compares columns by position if both frames have the same names. It takes the row id column away only
  if its name is ``row_id``.
- `score` takes the column of row ids away from the frames of the caller, not from copies. It chooses columns by name.
- A class without positives has no part in `score`. If every row is a positive of a class, the result is that of
  scikit-learn: NaN with a warning, or an error up to version 1.5.

Other functions of the name pad with rows of zeros that are negatives, as several repositories of 2026 do. That is
another metric: the mean of AP over the classes with positives.

`padded_cmap` and `score` have scikit-learn's rules for labels, scores and warnings; see `vltr_eval.compat.sklearn`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vltr_eval.compat import sklearn

__all__ = ["HostVisibleError", "ParticipantVisibleError", "padded_cmap", "score"]


class ParticipantVisibleError(Exception):
    """An error that Kaggle shows to participants."""


class HostVisibleError(Exception):
    """An error that Kaggle shows to hosts of a competition only."""


def padded_cmap(solution: Any, submission: Any, padding_factor: int = 5) -> float:
    """Return the mean over classes of AP, where rows of ones are added as positives of every class.

    Args:
        solution: (N, C) labels of 0/1: a pandas frame, perhaps with a column ``row_id``, or an array.
        submission: (N, C) scores in the same order of rows and columns.
        padding_factor: The number of rows of ones.

    Returns:
        A float. NumPy's warnings and scikit-learn's kinds of errors are those of ``average_precision_score``.

    Raises:
        ValueError: The shapes or the names of columns differ, labels are no 0/1, or a score is NaN or infinite.

    Example:
        >>> labels = np.array([[1, 0], [0, 0], [0, 1]])
        >>> round(padded_cmap(labels, np.array([[.75, .05], [.45, .75], [.05, .55]]), padding_factor=1), 4)
        0.9167
    """
    if hasattr(solution, "columns") and hasattr(submission, "columns"):
        solution, submission = (frame.drop(columns="row_id", errors="ignore") for frame in (solution, submission))
        if set(solution.columns) != set(submission.columns):
            # pandas would put NaN where a frame has no column, which scikit-learn refuses.
            other = set(solution.columns) ^ set(submission.columns)
            raise ValueError(f"submission: expected the columns of solution, got different ones: {sorted(other)}")
    if len(solution) != len(submission):
        raise ValueError(f"submission: expected {len(solution)} rows as solution, got {len(submission)}")
    labels, scores = _padded(solution, padding_factor), _padded(submission, padding_factor)
    return float(sklearn.average_precision_score(labels, scores, average="macro"))


def _padded(cells: Any, padding_factor: int) -> np.ndarray:
    cells = np.asarray(cells)
    return np.concatenate((cells, np.ones((padding_factor, *cells.shape[1:]), np.uint8)))


def score(solution: Any, submission: Any, row_id_column_name: str) -> float:
    """Return the mean of ROC-AUC over the classes with positives.

    Args:
        solution: A pandas frame of labels of 0/1, a column for each class, and a column of row ids.
        submission: A pandas frame of scores with the same columns, and rows in the same order.
        row_id_column_name: The name of the column of row ids. It is deleted from both frames of the caller, so that a
            second call with the same frames is a KeyError, as in the original.

    Returns:
        A float.

    Raises:
        ParticipantVisibleError: A column of the submission holds no numbers, or scikit-learn refuses the numbers by a
            message without digits.
        KeyError: A column is missing.
        AssertionError: No class has a positive.

    Example:
        >>> import pandas as pd
        >>> solution = pd.DataFrame({"id": ["a", "b", "c"], "owl": [1, 0, 0], "wren": [0, 0, 0]})
        >>> submission = pd.DataFrame({"id": ["a", "b", "c"], "owl": [.6, .7, .1], "wren": [.2, .3, .4]})
        >>> score(solution, submission, "id")
        0.5
    """
    import pandas as pd

    is_numeric = pd.api.types.is_numeric_dtype
    del solution[row_id_column_name]
    del submission[row_id_column_name]
    if not is_numeric(submission.values):
        types = {name: submission[name].dtype for name in submission.columns if not is_numeric(submission[name])}
        raise ParticipantVisibleError(f"Invalid submission data types found: {types}")
    sums = solution.sum(axis=0)
    scored = list(sums[sums > 0].index.values)
    if not scored:
        raise AssertionError("solution: expected a class with positives, got none")
    labels, scores = solution[scored].values, submission[scored].values
    try:
        return _roc_auc(labels, scores)
    except Exception as error:
        message = str(error)
        if type(error).__name__ == "HostVisibleError":
            raise HostVisibleError(message) from error
        if type(error).__name__ == "ParticipantVisibleError" or _may_be_shown(message, labels):
            raise ParticipantVisibleError(message) from error
        raise


def _roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    try:
        found = float(sklearn.roc_auc_score(labels, scores, average="macro"))
    except ValueError:
        # The words of scikit-learn decide who may see an error.
        try:
            from sklearn.metrics import roc_auc_score
        except ImportError:
            roc_auc_score = None
        if roc_auc_score is None:
            raise
        found = float(roc_auc_score(labels, scores, average="macro"))
    return found


def _may_be_shown(message: str, labels: np.ndarray) -> bool:
    """Whether a message cannot reveal labels: it has no digits and, beside bool labels, neither "true" nor "false"."""
    if not (labels.dtype == bool or np.issubdtype(labels.dtype, np.number)) or any(map(str.isnumeric, message)):
        return False
    return labels.dtype != bool or not ("true" in message.lower() or "false" in message.lower())
