"""A test set under another class distribution: its rows weighted, so that its labels are distributed as stated.

Legend: N rows, C classes, p the distribution that is asked for: shares of the (row, class) pairs of labels.

With one label a row the weight is in closed form p[c] / q[c], q being the shares of the set as it is. With several, it
is found by raking: of all weights under which the labels are distributed as p, those that make the least change,
measured as Kullback-Leibler divergence of the pairs. They are of the form exp(mean of theta[c] over the row's labels):
the geometric mean of a factor of each of its classes. (Rows in the place of pairs would multiply the factors, so that
three labels of a class each ten times as frequent would weigh a thousand, and not ten.) Rows without labels say nothing
of the distribution, and keep the mean weight, 1.

What p cannot be reached (a class that never comes alone cannot be more frequent than its companion) gets the nearest
that can, by chi-square, and is told how far away that is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vltr_eval._base.arrays import Matrix, read_numbers
from vltr_eval._base.groups import checked_train_counts
from vltr_eval._engine.inputs import positives_alone
from vltr_eval._engine.labels import Positives
from vltr_eval.priors.raking import LabelSets

__all__ = ["PRIORS", "PriorWeights", "prior_weights", "read_priors", "require_cpu", "reweighted"]

PRIORS = ("longtail", "uniform", "inverse")
"""Distributions that have a name."""

NEEDS_COUNTS = ("longtail", "inverse")


class PriorWeights(NamedTuple):
    """weights: (N,) float64, mean 1. shares: (C,) float64, how the weighted labels are distributed.

    total_variation: between the shares and what was asked for, 0 to 1; up to 1e-9 where it could be met. An extreme
    distribution that is not met within a fixed number of passes over the labels has a larger one too. left_out: the
    share that was asked for classes without positives; the others' were divided by what is left.
    """

    weights: np.ndarray
    shares: np.ndarray
    total_variation: float
    left_out: float

    def __repr__(self) -> str:
        shape = f"{len(self.weights)} rows and {len(self.shares)} classes"
        rest = f"total_variation={self.total_variation:.4g}, left_out={self.left_out:.4g}"
        return f"<PriorWeights of {shape}, {rest}>"


def prior_weights(
    labels: Any,
    prior: str | Sequence[float] | np.ndarray,
    *,
    train_counts: Sequence[float] | np.ndarray | None = None,
    num_classes: int | None = None,
) -> PriorWeights:
    """Weights of rows under which the labels of a set are distributed as stated, for any ``sample_weight=``.

    labels: any form that `rank_table` takes; lists and class indices need ``num_classes``, train counts or an array.
    prior: "longtail", as train_counts; "uniform"; "inverse", where the class of the r-th most training samples has the
    frequency of that of the r-th fewest (classes of equal train counts share theirs); or (C,) numbers from 0 up, of any
    sum. Classes without positives are left out of it. Raises ValueError where no weighted row would be left.

    The weights have the same bits for any order of the rows.

    >>> prior_weights([[0], [0], [0], [1]], "uniform", num_classes=2).weights
    array([0.66666667, 0.66666667, 0.66666667, 2.        ])
    """
    for known in (train_counts, None if isinstance(prior, str) else prior):
        num_classes = len(known) if num_classes is None and hasattr(known, "__len__") else num_classes
    positives = positives_alone(labels, num_classes)
    return reweighted(positives, _frequencies(prior, positives.num_classes, train_counts))


def read_priors(prior: Any, num_classes: int, train_counts: Any = None) -> dict[str, np.ndarray]:
    """What `evaluate` takes as ``prior``, as (C,) float64 by name: a name, several, numbers, or a mapping of these."""
    if prior is None:
        return {}
    if isinstance(prior, str):
        prior = (prior,)
    if isinstance(prior, (list, tuple)) and prior and all(isinstance(name, str) for name in prior):
        if len(set(prior)) < len(prior):
            raise ValueError(f"prior: expected different names, got {', '.join(prior)}")
        prior = dict(zip(prior, prior, strict=True))
    if not isinstance(prior, Mapping):
        prior = {"given": prior}
    for name in prior:
        if not isinstance(name, str) or not name or set(name) & set("/,|=\n"):
            raise ValueError(f"prior: expected names of letters and digits, got {name!r}")
        if name in PRIORS and not (isinstance(prior[name], str) and prior[name] == name):
            raise ValueError(
                f"prior: expected other names than {', '.join(PRIORS)} for numbers of one's own, got {name!r}"
            )
    return {name: _frequencies(value, num_classes, train_counts) for name, value in prior.items()}


def require_cpu(priors: Mapping[str, np.ndarray], scores: Matrix) -> None:
    """Weights are made from labels, on the CPU, so scores must be there when any are wanted."""
    if priors and scores.device.index is not None:
        raise ValueError(f"prior: expected scores and labels in CPU memory, got scores on {scores.device}")


def _frequencies(prior: Any, num_classes: int, train_counts: Any) -> np.ndarray:
    """(C,) float64 of one distribution, of any sum."""
    if not isinstance(prior, str):
        return _checked(read_numbers("prior", prior), num_classes)
    if prior not in PRIORS:
        raise ValueError(f"prior: expected one of {', '.join(PRIORS)} or a number for each class, got {prior!r}")
    if prior not in NEEDS_COUNTS:
        return np.ones(num_classes)
    if train_counts is None:
        raise ValueError(f"train_counts: expected the training samples of each class with prior {prior!r}, got None")
    counts = checked_train_counts(train_counts, num_classes).astype(np.float64)
    return _checked(counts if prior == "longtail" else reverse_by_rank(counts), num_classes)


def _checked(prior: np.ndarray, num_classes: int) -> np.ndarray:
    if prior.dtype.kind not in "biuf":
        raise TypeError(f"prior: expected real numbers, got {prior.dtype}")
    if prior.shape != (num_classes,):
        raise ValueError(f"prior: expected a number for each class ({num_classes},), got shape {prior.shape}")
    prior = prior.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(prior) & (prior >= 0)))
    if bad.size:
        raise ValueError(f"prior: expected finite numbers from 0 up, got {prior[bad[0]]} for class {bad[0]}")
    return prior


def reverse_by_rank(counts: np.ndarray) -> np.ndarray:
    """Each class has the count of the rank that mirrors its own, (C,) of (C,): SADE's inverse test sets, and MEDC's
    inverse expert.

    DIFFERS: there, of classes with equal counts, indices decide which gets what; here they get the same, the mean.
    """
    _, of_class, number = np.unique(counts, return_inverse=True, return_counts=True)
    descending = np.sort(counts)[::-1]
    return (np.add.reduceat(descending, np.cumsum(number) - number) / number)[of_class]


# ---------------------------------------------------------------------------------------------------------------------
# Weights
# ---------------------------------------------------------------------------------------------------------------------


def reweighted(positives: Positives, prior: np.ndarray) -> PriorWeights:
    """See `prior_weights`. prior: (C,) float64 of any sum."""
    asked = np.where(positives.counts > 0, prior, 0.0)
    if not asked.any():
        raise ValueError("prior: expected a share above 0 for a class that has positives, got none")
    # So that no sum of them overflows; exact, and what is above 0 stays so.
    scaled = np.ldexp(asked, -int(np.frexp(asked.max())[1]))
    asked = np.where(asked > 0, np.maximum(scaled, np.finfo(np.float64).tiny), 0.0)
    sets = LabelSets.of(positives)
    weight = sets.weights(asked)
    weights = np.ones(positives.num_rows)
    labelled = sets.of_row >= 0
    weights[labelled] = weight[sets.of_row[labelled]]
    shares = np.bincount(sets.classes, (sets.rows * weight)[sets.of_pair], len(asked))
    shares /= shares.sum()
    distance = float(np.abs(shares - asked / asked.sum()).sum() / 2)
    absent = float((prior * (positives.counts == 0) / prior.max()).sum())
    return PriorWeights(weights, shares, distance, absent / float((prior / prior.max()).sum()))
