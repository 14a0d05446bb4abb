"""Weights of rows under which the labels of a test set have another class distribution.

`vltr_eval.priors.raking` has the method.
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

__all__ = ["PRIORS", "PriorWeights", "prior_weights", "read_priors", "require_cpu", "weightings_of"]

PRIORS = ("longtail", "uniform", "inverse")
"""Class distributions with a name."""

NEEDS_COUNTS = ("longtail", "inverse")
"""Class distributions that follow from train counts."""


class PriorWeights(NamedTuple):
    """Weights of rows, and the class distribution that they give.

    Attributes:
        weights: (N,) float64 with mean 1.
        shares: (C,) float64, the distribution of the weighted labels.
        total_variation: Distance from the requested distribution to ``shares``, 0 to 1. It is at most 1e-9 if the
            distribution can be reached. It is also larger if an extreme distribution takes more than a fixed number of
            passes over the labels.
        left_out: Share that the request gives to classes without positives. The shares of the others are divided by the
            rest.
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
    """Compute row weights under which the labels have another class distribution, for any ``sample_weight=``.

    The weights have the same bits for any order of the rows.

    Args:
        labels: Labels of N rows in any form that `rank_table` takes. Lists and class indices need ``num_classes``,
            ``train_counts`` or an array as ``prior``.
        prior: The distribution. "longtail" is that of ``train_counts``. "uniform" gives all classes the same share.
            "inverse" gives the class with the r-th most training samples the frequency of the class with the r-th
            fewest; classes with equal train counts share theirs. (C,) numbers from 0 up, of any sum, state it directly.
            Classes without positives are left out of it.
        train_counts: (C,) number of training samples of each class, for "longtail" and "inverse".
        num_classes: C, if nothing else has it.

    Returns:
        A `PriorWeights` with weights (N,) float64.

    Raises:
        ValueError: The distribution is unknown, has another number of classes or values below 0, or leaves no row with
            a weight.
        TypeError: The distribution has no real numbers.

    Example:
        >>> prior_weights([[0], [0], [0], [1]], "uniform", num_classes=2).weights
        array([0.66666667, 0.66666667, 0.66666667, 2.        ])

    Source:
        Raking, the weights of minimum Kullback-Leibler divergence; `vltr_eval.priors.raking` has the formula. "inverse"
        follows the inverse test sets of SADE (arXiv 2107.09249).
    """
    for known in (train_counts, None if isinstance(prior, str) else prior):
        if num_classes is None and known is not None and hasattr(known, "__len__"):
            num_classes = len(known)
    positives = positives_alone(labels, num_classes)
    shares = _frequencies(prior, positives.num_classes, train_counts)
    return weightings_of(positives, {"given": shares})["given"]


def read_priors(prior: Any, num_classes: int, train_counts: Any = None) -> dict[str, np.ndarray]:
    """Read the ``prior`` of `evaluate`: a name, several, numbers, or a mapping of these.

    Returns:
        The shares of each distribution, (C,) float64 of any sum, by name.

    Raises:
        ValueError: A name is unknown or not allowed, or numbers do not fit the classes.
        TypeError: The numbers are not real.
    """
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
    """Check that scores are in CPU memory if there are priors, because the weights are computed there.

    Raises:
        ValueError: The scores are on a device.
    """
    if priors and scores.device.index is not None:
        raise ValueError(f"prior: expected scores and labels in CPU memory, got scores on {scores.device}")


def _frequencies(prior: Any, num_classes: int, train_counts: Any) -> np.ndarray:
    """The shares of one distribution, (C,) float64 of any sum."""
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
    """Give the r-th most frequent class the count of the r-th rarest, (C,) to (C,).

    DIFFERS: SADE's inverse test sets and MEDC's inverse expert break ties of equal counts by class index; here classes
    with equal counts all get the mean.

    Example:
        >>> reverse_by_rank(np.array([900.0, 30.0, 10.0]))
        array([ 10.,  30., 900.])
    """
    _, of_class, number = np.unique(counts, return_inverse=True, return_counts=True)
    descending = np.sort(counts)[::-1]
    return (np.add.reduceat(descending, np.cumsum(number) - number) / number)[of_class]


def weightings_of(positives: Positives, priors: Mapping[str, np.ndarray]) -> dict[str, PriorWeights]:
    """Weight the rows of positives under each of the priors; see `prior_weights`.

    priors: (C,) float64 of any sum, by name.
    """
    if not priors:
        return {}
    if positives.unknown is not None and positives.unknown.counts.any():
        raise ValueError(
            f"prior: expected labels that are all known, got {int(positives.unknown.counts.sum())} unknown cells, "
            "whose classes have no frequency to weigh by; leave prior out, or the mask"
        )
    requested = {name: _requested(positives, prior) for name, prior in priors.items()}
    sets = LabelSets.from_positives(positives)
    return {name: _reweighted(positives, prior, requested[name], sets) for name, prior in priors.items()}


def _requested(positives: Positives, prior: np.ndarray) -> np.ndarray:
    """The shares of the classes that have positives, scaled so that no sum overflows: (C,)."""
    requested = np.where(positives.counts > 0, prior, 0.0)
    if not requested.any():
        raise ValueError("prior: expected a share above 0 for a class that has positives, got none")
    # Scale by a power of two; exact, and positive shares stay positive.
    scaled = np.ldexp(requested, -int(np.frexp(requested.max())[1]))
    return np.where(requested > 0, np.maximum(scaled, np.finfo(np.float64).tiny), 0.0)


def _reweighted(positives: Positives, prior: np.ndarray, requested: np.ndarray, sets: LabelSets) -> PriorWeights:
    weight = sets.weights(requested)
    weights = np.ones(positives.num_rows)
    labelled = sets.of_row >= 0
    weights[labelled] = weight[sets.of_row[labelled]]
    masses = np.bincount(sets.classes, (sets.rows * weight)[sets.of_pair], len(requested))
    shares = masses / masses.sum()
    distance = float(np.abs(shares - requested / requested.sum()).sum() / 2)
    absent = float((prior * (positives.counts == 0) / prior.max()).sum())
    return PriorWeights(weights, shares, distance, absent / float((prior / prior.max()).sum()))
