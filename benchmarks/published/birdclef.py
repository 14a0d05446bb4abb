"""BirdCLEF's metrics from their definitions: scikit-learn on padded frames, and on the columns with positives."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

__all__ = ["padded_cmap", "score"]


def padded_cmap(solution: Any, submission: Any, padding_factor: int = 5) -> float:
    """The mean of AP over classes, with rows of ones behind both frames."""
    ones = pd.DataFrame([[1] * solution.shape[1]] * padding_factor, columns=solution.columns)
    labels, scores = (pd.concat([frame, ones]).reset_index(drop=True) for frame in (solution, submission))
    return float(average_precision_score(labels.values, scores.values, average="macro"))


def score(solution: Any, submission: Any, row_id_column_name: str) -> float:
    """The mean of ROC-AUC over the classes with positives."""
    labels, scores = (frame.drop(columns=row_id_column_name) for frame in (solution, submission))
    scored = list(labels.columns[labels.sum() > 0])
    return float(roc_auc_score(labels[scored].values, scores[scored].values, average="macro"))
