"""The metrics of pyxclib (kunaldahiya/pyxclib xclib/evaluation/xc_metrics.py@5d130862), without numba and Cython.

    from vltr_eval.compat import pyxclib as xc_metrics

Precision, nDCG and recall at 1 to k, their propensity-scored forms, hits and AUC of extreme classification.
Predictions are a sparse matrix, a dense array of scores of all classes, an array of class indices in order, or a
dictionary of class indices and scores. The conventions are kept:

- Rows without labels count, with 0 in all metrics.
- Values of the label matrix are not made 0 and 1: they weigh the hits.
- A propensity-scored metric is a ratio of means: that of the predictions over the best that the labels allow.
- nDCG divides by the best DCG of min(k, labels) places, and is float32.

Different on purpose:

- Of equal scores, the higher class ranks first in a sparse matrix, and the lower one (in a dictionary, the first one)
  elsewhere. The originals use unstable sorts: with ties their number depends on numpy, numba and the CPU, and ours lies
  in the same tie interval.
- A NaN score is a ValueError, and so is a class that a row of a sparse matrix has twice.
- Labels may be dense and in any sparse format. The original's documentation says so, but it takes CSR alone.
- ``use_cython`` chooses between two implementations of one function in the original; here both values give the same.
- `Metrics` with ``remove_invalid`` leaves a dictionary of predictions unchanged. The original removes rows from it.

Left out: jaccard_similarity, recall_at_k, recall_at_gt and micro_recall_at_gt.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from vltr_eval.ranked_lists import RankedLists

try:
    import scipy.sparse as sp
except ImportError:
    raise ImportError("vltr_eval.compat.pyxclib needs scipy: pip install scipy") from None

__all__ = ["Metrices", "Metrics", "auc", "compatible_shapes", "compute_inv_propesity", "format", "hits", "ndcg"]
__all__ += ["precision", "psndcg", "psprecision", "psrecall", "recall"]


def precision(X: Any, true_labels: Any, k: int = 5, sorted: bool = False, use_cython: bool = False) -> np.ndarray:
    """Precision at 1 to k.

    Args:
        X: Predictions of N rows: a sparse (N, C) matrix of scores; a float array (N, C) of scores; an integer array
            (N, at least k) of class indices, the best first; or ``{"indices": (N, K), "scores": (N, K)}``.
        true_labels: (N, C) labels, sparse or dense.
        k: The largest number of places.
        sorted: Whether class indices are in order; expected for an integer array.
        use_cython: Changes nothing.

    Returns:
        (k,) float64.

    Raises:
        AssertionError: Shapes that do not fit, fewer than k columns, or unsorted class indices.
        NotImplementedError: Predictions of another kind.
        ValueError: A score is NaN.

    Example:
        >>> precision(np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7]]), np.array([[1, 0, 0], [0, 0, 1]]), k=2)
        array([0.5, 0.5])
    """
    indices, labels, _, _ = _prepared(X, true_labels, None, k, sorted)
    return _precision(_weights_of(indices, labels), k)


def psprecision(
    X: Any, true_labels: Any, inv_psp: Any, k: int = 5, sorted: bool = False, use_cython: bool = False
) -> np.ndarray:
    """Propensity-scored precision at 1 to k: (k,) float64.

    Args:
        X: As for `precision`.
        true_labels: As for `precision`.
        inv_psp: (C,) inverse propensities; see `compute_inv_propesity`.
        k: As for `precision`.
        sorted: As for `precision`.
        use_cython: Changes nothing.

    Example:
        >>> scores, labels = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7]]), np.array([[1, 0, 0], [0, 0, 1]])
        >>> psprecision(scores, labels, np.array([1.0, 2, 3]), k=2).tolist()
        [0.25, 1.0]
    """
    indices, labels, best, inverse = _prepared(X, true_labels, inv_psp, k, sorted)
    return _ratio(
        _precision(_weights_of(indices, labels, inverse), k), _precision(_weights_of(best, labels, inverse), k)
    )


def ndcg(X: Any, true_labels: Any, k: int = 5, sorted: bool = False, use_cython: bool = False) -> np.ndarray:
    """nDCG at 1 to k: (k,) float32; see `precision` for the arguments.

    Example:
        >>> ndcg(np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7]]), np.array([[1, 0, 0], [0, 0, 1]]), k=2).round(3)
        array([0.5  , 0.815], dtype=float32)
    """
    indices, labels, _, _ = _prepared(X, true_labels, None, k, sorted)
    return _ndcg(_weights_of(indices, labels), _ideal_dcg(labels, k), k)


def psndcg(
    X: Any, true_labels: Any, inv_psp: Any, k: int = 5, sorted: bool = False, use_cython: bool = False
) -> np.ndarray:
    """Propensity-scored nDCG at 1 to k: (k,) float32; see `psprecision` for the arguments.

    Example:
        >>> scores, labels = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7]]), np.array([[1, 0, 0], [0, 0, 1]])
        >>> psndcg(scores, labels, np.array([1.0, 2, 3]), k=2).round(3)
        array([0.25 , 0.723], dtype=float32)
    """
    indices, labels, best, inverse = _prepared(X, true_labels, inv_psp, k, sorted)
    ideal = _ideal_dcg(labels, k)
    return _ratio(
        _ndcg(_weights_of(indices, labels, inverse), ideal, k), _ndcg(_weights_of(best, labels, inverse), ideal, k)
    )


def recall(X: Any, true_labels: Any, k: int = 5, sorted: bool = False, use_cython: bool = False) -> np.ndarray:
    """Recall at 1 to k: (k,) float64; see `precision` for the arguments.

    Example:
        >>> recall(np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7]]), np.array([[1, 0, 1], [0, 0, 1]]), k=2)
        array([0.25, 0.75])
    """
    indices, labels, _, _ = _prepared(X, true_labels, None, k, sorted)
    return _recall(_weights_of(indices, labels), labels)


def psrecall(
    X: Any, true_labels: Any, inv_psp: Any, k: int = 5, sorted: bool = False, use_cython: bool = False
) -> np.ndarray:
    """Propensity-scored recall at 1 to k: (k,) float64; see `psprecision` for the arguments.

    Example:
        >>> scores, labels = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7]]), np.array([[1, 0, 0], [0, 0, 1]])
        >>> psrecall(scores, labels, np.array([1.0, 2, 3]), k=2).tolist()
        [0.25, 1.0]
    """
    indices, labels, best, inverse = _prepared(X, true_labels, inv_psp, k, sorted)
    return _ratio(
        _recall(_weights_of(indices, labels, inverse), labels), _recall(_weights_of(best, labels, inverse), labels)
    )


def hits(X: Any, true_labels: Any, k: int = 5, sorted: bool = False, use_cython: bool = False) -> np.ndarray:
    """Share of the rows with a label among the first 1 to k: (k,) float64; see `precision` for the arguments.

    Example:
        >>> hits(np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7]]), np.array([[1, 0, 1], [0, 0, 1]]), k=2)
        array([0.5, 1. ])
    """
    indices, labels, _, _ = _prepared(X, true_labels, None, k, sorted)
    found = np.clip(np.cumsum(_weights_of(indices, labels), axis=1), 0, 1)
    return np.ravel(np.mean(found, axis=0))


def auc(X: Any, true_labels: Any, k: int, sorted: bool = False, use_cython: bool = False) -> Any:
    """Mean over rows of the AUC among the first k places, a float64; see `precision` for the arguments.

    Example:
        >>> float(auc(np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7]]), np.array([[1, 0, 1], [0, 0, 1]]), k=3))
        0.5
    """
    indices, labels, _, _ = _prepared(X, true_labels, None, k, sorted)
    relevant = _weights_of(indices, labels)
    above = np.cumsum(relevant, axis=1)
    positives = above[:, -1]
    pairs = np.multiply(positives, k - positives)
    pairs[pairs == 0] = 1
    return np.mean(np.sum(np.multiply(above, 1 - relevant), axis=1) / pairs)


def compute_inv_propesity(labels: Any, A: float, B: float) -> np.ndarray:
    """Inverse propensities of Jain et al. (KDD 2016): (C,) float64.

    Args:
        labels: (N, C) labels of the training set, sparse or dense.
        A: 0.5 for Wikipedia, 0.6 for Amazon, otherwise 0.55.
        B: 0.4 for Wikipedia, 2.6 for Amazon, otherwise 1.5.

    Example:
        >>> compute_inv_propesity(np.array([[1, 0], [1, 0], [1, 1], [0, 0]]), 0.55, 1.5).round(3)
        array([1.279, 1.386])
    """
    num_rows = labels.shape[0]
    counts = np.ravel(np.sum(labels, axis=0))
    factor = (np.log(num_rows) - 1) * np.power(B + 1, A)
    return np.ravel(1.0 + factor * np.power(counts + B, -A))


def compatible_shapes(x: Any, y: Any) -> bool:
    """Whether two inputs have the same shape, or the same number of rows if they are of different kinds.

    Example:
        >>> compatible_shapes(np.zeros((2, 3)), {"indices": np.zeros((2, 5)), "scores": np.zeros((2, 5))})
        True
    """
    if (sp.issparse(x) and sp.issparse(y)) or (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
        return bool(x.shape == y.shape)
    if isinstance(x, dict):
        x, y = y, x
    if isinstance(y, dict):
        return bool(len(y["indices"]) == len(y["scores"]) == x.shape[0])
    return bool(x.shape[0] == y.shape[0])


def format(*args: Any, decimal_points: str = "%0.2f") -> str:
    """Metrics in percent, one on a line.

    Example:
        >>> print(format([0.5, 0.25], [1.0, 0.75]))
        50.00,25.00
        100.00,75.00
    """
    return "\n".join(",".join(decimal_points % (value * 100) for value in values) for values in args)


class Metrics:
    """Precision and nDCG of many predictions for the same labels, and with propensities their scored forms.

    Args:
        true_labels: (N, C) labels, sparse or dense.
        inv_psp: (C,) inverse propensities, or None.
        remove_invalid: Whether rows without labels are left out, of the predictions too.

    Example:
        >>> metrics = Metrics(np.array([[1, 0, 0], [0, 0, 1]]))
        >>> [values.round(3).tolist() for values in metrics.eval(np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7]]), K=1)]
        [[0.5], [0.5]]
    """

    def __init__(self, true_labels: Any, inv_psp: Any = None, remove_invalid: bool = False) -> None:
        self.true_labels = true_labels
        self.num_instances, self.num_labels = true_labels.shape
        self.remove_invalid = remove_invalid
        self.valid_idx = None
        if remove_invalid:
            self.valid_idx = np.flatnonzero(np.ravel(np.sum(true_labels, axis=1)) > 0)
            self.true_labels = true_labels[self.valid_idx]
            self.num_instances = self.valid_idx.size
        self.ndcg_denominator = np.cumsum(1 / np.log2(np.arange(1, self.num_labels + 1) + 1))
        self.inv_psp = None if inv_psp is None else np.ravel(inv_psp)

    def eval(self, pred_labels: Any, K: int = 5, sorted: bool = False, use_cython: bool = False) -> list[np.ndarray]:
        """Compute the metrics at 1 to K.

        Args:
            pred_labels: As X for `precision`.
            K: The largest number of places.
            sorted: As for `precision`.
            use_cython: Changes nothing.

        Returns:
            Precision (K,) float64 and nDCG (K,) float32; with propensities also PSP and PSnDCG.

        Raises:
            AssertionError: As for `precision`.
        """
        if self.valid_idx is not None:
            if isinstance(pred_labels, dict):
                pred_labels = {name: pred_labels[name][self.valid_idx] for name in ("indices", "scores")}
            else:
                pred_labels = pred_labels[self.valid_idx]
        indices, labels, best, inverse = _prepared(pred_labels, self.true_labels, self.inv_psp, K, sorted)
        ideal = self.ndcg_denominator[_sums(labels) - 1]
        flags = _weights_of(indices, labels)
        found = [_precision(flags, K), _ndcg(flags, ideal, K)]
        if inverse is None:
            return found
        flags, limits = np.multiply(inverse[indices], flags), _weights_of(best, labels, inverse)
        found += [_precision(flags, K) / _precision(limits, K), _ndcg(flags, ideal, K) / _ndcg(limits, ideal, K)]
        return found


class Metrices(Metrics):
    """The old name of `Metrics`, with a FutureWarning.

    Example:
        >>> warnings.simplefilter("ignore", FutureWarning)
        >>> Metrices(np.array([[1, 0], [0, 1]])).num_labels
        2
    """

    def __init__(self, true_labels: Any, inv_propensity_scores: Any = None, remove_invalid: bool = False) -> None:
        warnings.warn("Metrices() is deprecated; use Metrics().", category=FutureWarning, stacklevel=2)
        super().__init__(true_labels, inv_propensity_scores, remove_invalid)


def _prepared(X: Any, true_labels: Any, inv_psp: Any, k: int, sorted: bool) -> tuple[np.ndarray, Any, Any, Any]:
    """The k best classes of each row, the labels with a class C that no row has, and the same for propensities."""
    if not compatible_shapes(X, true_labels):
        raise AssertionError("X: expected predictions for each row of the labels, and for each class if both are alike")
    num_rows, num_classes = true_labels.shape
    indices = _best_classes(X, num_classes, k, sorted)
    labels = sp.csr_matrix(true_labels)
    best = None
    if inv_psp is not None:
        inverse = np.asarray(inv_psp)
        scaled = sp.csr_matrix((labels.data * inverse[labels.indices], labels.indices, labels.indptr), labels.shape)
        best = _best_of_sparse(scaled, num_classes, k)
        inv_psp = np.hstack([inverse, np.zeros(1)])
    wider = sp.csr_matrix((labels.data, labels.indices, labels.indptr), (num_rows, num_classes + 1), labels.dtype)
    return indices, wider, best, inv_psp


def _best_classes(X: Any, num_classes: int, k: int, sorted: bool) -> np.ndarray:
    """(N, k) class indices."""
    if sp.issparse(X):
        return _best_of_sparse(X.tocsr(), num_classes, k)
    if isinstance(X, np.ndarray) and X.dtype.kind in "iuf":
        _check_columns(X, k)
        if X.dtype.kind == "f":
            return _best_places(X, k)
        if not sorted:
            raise AssertionError("sorted: expected True with class indices")
        indices: np.ndarray = X[:, :k]
        return indices
    if isinstance(X, dict):
        indices, scores = X["indices"], X["scores"]
        if not compatible_shapes(indices, scores):
            raise AssertionError(f"X: expected scores of shape {indices.shape} as indices, got {scores.shape}")
        _check_columns(scores, k)
        return indices[:, :k] if sorted else np.take_along_axis(indices, _best_places(scores, k), axis=1)
    raise NotImplementedError("X: expected a sparse matrix, an array of scores or class indices, or a dictionary")


def _check_columns(X: np.ndarray, k: int) -> None:
    if X.shape[1] < k:
        raise AssertionError(f"X: expected at least k = {k} columns, got {X.shape[1]}")


def _best_places(scores: np.ndarray, k: int) -> np.ndarray:
    """The columns of the k highest scores of each row, the highest first, equal ones from left to right: (N, k)."""
    num_rows, columns = scores.shape
    if not num_rows:
        return np.zeros((0, k), np.int64)
    top = np.partition(scores, columns - k, axis=1)[:, columns - k :]
    if scores.dtype.kind == "f" and np.isnan(top).any():  # partition puts NaN last
        row, column = np.argwhere(np.isnan(scores))[0]
        raise ValueError(f"X: expected numbers, got NaN at row {row}, column {column}")
    limit = top[:, :1]
    chosen = scores >= limit
    crowded = np.flatnonzero(np.count_nonzero(chosen, axis=1) > k)
    if len(crowded):  # of those equal to the limit only the first are among the k
        at_limit = scores[crowded] == limit[crowded]
        free = k - np.count_nonzero(scores[crowded] > limit[crowded], axis=1)
        chosen[crowded] &= ~(at_limit & (np.cumsum(at_limit, axis=1) > free[:, None]))
    places = np.nonzero(chosen)[1].reshape(num_rows, k)
    order = np.argsort(-np.take_along_axis(scores, places, axis=1).astype(np.float64), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)


def _best_of_sparse(X: Any, num_classes: int, k: int) -> np.ndarray:
    """The k highest stored classes of each row, the highest first, equal ones from right to left; then C: (N, k)."""
    columns = X.shape[1]
    if X.data.dtype.kind == "f" and np.isnan(X.data).any():
        bad = np.flatnonzero(np.isnan(X.data))
        row = np.searchsorted(X.indptr, bad[0], side="right") - 1
        raise ValueError(f"X: expected numbers, got NaN at row {row}, column {X.indices[bad[0]]}")
    try:  # lists rank equal scores by the lower index, so the indices count from the right
        lists = RankedLists.from_lists(X.indptr, columns - 1 - X.indices, X.data, columns)
    except ValueError:
        raise ValueError("X: expected each class once in a row, got one twice") from None
    rows = np.repeat(np.arange(lists.num_rows), lists.lengths)
    place = np.arange(len(rows)) - np.repeat(lists.indptr[:-1], lists.lengths)
    listed = place < k
    indices = np.full((lists.num_rows, k), num_classes, np.int64)
    indices[rows[listed], place[listed]] = columns - 1 - lists.classes[listed]
    return indices


def _weights_of(indices: np.ndarray, labels: Any, inv_psp: Any = None) -> np.ndarray:
    """The label of each cell, times its inverse propensity: (N, k)."""
    rows = np.repeat(np.arange(len(indices)), indices.shape[1])
    values: np.ndarray = np.asarray(labels[rows, indices.ravel()]).reshape(indices.shape)
    return values if inv_psp is None else np.multiply(inv_psp[indices], values)


def _sums(labels: Any) -> np.ndarray:
    """The sum of the labels of each row: (N, 1) int32."""
    return np.asarray(labels.sum(axis=1), dtype=np.int32)


def _ideal_dcg(labels: Any, k: int) -> np.ndarray:
    """The best DCG of each row: (N, 1). Rows without labels get the largest one, and have no hits."""
    counts = _sums(labels)
    most = max(np.max(counts), k)
    values: np.ndarray = np.cumsum(1 / np.log2(np.arange(1, most + 1) + 1))[counts - 1]
    return values


def _ratio(metric: np.ndarray, best: np.ndarray) -> np.ndarray:
    values: np.ndarray = metric / best
    return values


def _precision(flags: np.ndarray, k: int) -> np.ndarray:
    return np.ravel(np.mean(np.multiply(np.cumsum(flags, axis=1), 1 / (np.arange(k) + 1)), axis=0))


def _ndcg(flags: np.ndarray, ideal: np.ndarray, k: int) -> np.ndarray:
    discount = 1 / np.log2(np.arange(k) + 2)
    gained = np.cumsum(np.multiply(flags, discount), axis=1)
    out = np.zeros(k, np.float32)
    for place, reachable in enumerate(np.cumsum(discount)):
        out[place] = np.mean(gained[:, place] * (1 / np.minimum(ideal[:, 0], reachable)))
    return out


def _recall(flags: np.ndarray, labels: Any) -> np.ndarray:
    total = np.asarray(labels.sum(axis=1))
    return np.ravel(np.mean(np.multiply(np.cumsum(flags, axis=1), 1 / np.where(total == 0, 1, total)), axis=0))
