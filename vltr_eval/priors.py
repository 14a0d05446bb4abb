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

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from vltr_eval.arrays import Matrix, read_numbers
from vltr_eval.findings import ClassInfo, Findings, means_by_group
from vltr_eval.groups import checked_train_counts
from vltr_eval.labels import Positives
from vltr_eval.metrics import average_precision
from vltr_eval.parts import Part
from vltr_eval.report import AP, Report, Shift, accuracy_at, shifted_name
from vltr_eval.sampled import positives_alone

__all__ = [
    "PRIORS",
    "PriorWeights",
    "check_at_hand",
    "prior_weights",
    "read_priors",
    "reweighted",
    "under_priors",
]

PRIORS = ("longtail", "uniform", "inverse")
"""Distributions that have a name."""

NEEDS_COUNTS = ("longtail", "inverse")

_MET = 1e-9  # total variation from p at which it counts as reached
_LEAST_SHARE = 1e-13  # what a smaller share of p counts as in raking; too little to be seen at _MET
_MOST_STEPS = 100  # of Newton's method, for one tau
_MOST_PRODUCTS = 1000  # with the Hessian, for one step
_MOST_PASSES = 4000  # over the labels in all; distributions that are not extreme take some hundred


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


def check_at_hand(priors: Mapping[str, np.ndarray], scores: Matrix) -> None:
    """Weights are made from labels, on the CPU, so scores must be there when any are wanted."""
    if priors and scores.place.device is not None:
        raise ValueError(f"prior: expected scores and labels in CPU memory, got scores on {scores.place}")


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
    return _checked(counts if prior == "longtail" else mirrored(counts), num_classes)


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


def mirrored(counts: np.ndarray) -> np.ndarray:
    """Each class has the count of the rank that mirrors its own, (C,) of (C,): SADE's inverse test sets, and MEDC's
    inverse expert.

    DIFFERS: there, of classes with equal counts, indices decide which gets what; here they get the same, the mean.
    """
    _, of_class, number = np.unique(counts, return_inverse=True, return_counts=True)
    mirrored = np.sort(counts)[::-1]
    return (np.add.reduceat(mirrored, np.cumsum(number) - number) / number)[of_class]


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
    sets = _LabelSets.of(positives)
    weight = sets.weights(asked)
    weights = np.ones(positives.num_rows)
    labelled = sets.of_row >= 0
    weights[labelled] = weight[sets.of_row[labelled]]
    shares = np.bincount(sets.classes, (sets.rows * weight)[sets.of_pair], len(asked))
    shares /= shares.sum()
    distance = float(np.abs(shares - asked / asked.sum()).sum() / 2)
    absent = float((prior * (positives.counts == 0) / prior.max()).sum())
    return PriorWeights(weights, shares, distance, absent / float((prior / prior.max()).sum()))


class _LabelSets(NamedTuple):
    """The S different sets of labels that rows have, in an order that does not depend on that of the rows.

    Rows of one set have one weight. of_row: (N,) the set of each row, -1 without labels; rows, sizes: (S,) how many
    rows and labels each has; classes, of_pair: of each label of each set, and the set.
    """

    of_row: np.ndarray
    rows: np.ndarray
    sizes: np.ndarray
    classes: np.ndarray
    of_pair: np.ndarray

    @classmethod
    def of(cls, positives: Positives) -> _LabelSets:
        by_row = np.argsort(positives.rows, kind="stable")  # and by class within a row
        classes = np.repeat(np.arange(positives.num_classes), positives.counts)[by_row]
        sizes = positives.labels_per_row()
        starts = np.cumsum(sizes) - sizes
        of_row = np.full(positives.num_rows, -1)
        found: list[tuple[np.ndarray, np.ndarray]] = []  # sets of one size: their classes, their rows
        for size in np.unique(sizes[sizes > 0]).tolist():
            rows = np.flatnonzero(sizes == size)
            members = classes[starts[rows][:, None] + np.arange(size)]
            distinct, number, counts = np.unique(members, axis=0, return_inverse=True, return_counts=True)
            of_row[rows] = number.reshape(-1) + sum(len(counts) for _, counts in found)
            found.append((distinct, counts))
        sizes = np.concatenate([np.full(*members.shape) for members, _ in found])
        return cls(
            of_row,
            np.concatenate([counts for _, counts in found]),
            sizes,
            np.concatenate([members.reshape(-1) for members, _ in found]),
            np.repeat(np.arange(len(sizes)), sizes),
        )

    def weights(self, asked: np.ndarray) -> np.ndarray:
        """(S,) float64, 1 in the mean over the rows. asked: (C,) of any sum."""
        num_rows = int(self.rows.sum())
        if len(self.classes) == len(self.rows):
            return asked[self.classes] * num_rows / (self.rows * asked[self.classes].sum())
        out = np.zeros(len(self.rows))
        kept = np.minimum.reduceat(asked[self.classes], np.cumsum(self.sizes) - self.sizes) > 0
        if not kept.any():
            raise ValueError("prior: expected shares above 0 for all labels of some row, got 0 for one in every row")
        p = asked / asked.sum()
        mass = _Raking(self.only(kept), np.where(p > 0, np.maximum(p, _LEAST_SHARE), 0.0)).solve()
        out[kept] = mass / (self.rows * self.sizes)[kept]
        return out * (num_rows / (out * self.rows).sum())

    def only(self, kept: np.ndarray) -> _LabelSets:
        """Some of the sets. kept: (S,) bool."""
        sizes, classes = self.sizes[kept], self.classes[kept[self.of_pair]]
        return _LabelSets(self.of_row, self.rows[kept], sizes, classes, np.repeat(np.arange(len(sizes)), sizes))


class _Raking:
    """The least change of the sets' masses (their shares of all pairs) that gives classes the shares p.

    It is the dual that is solved, log sum_s m_s exp(mean of theta over s) - p theta, with m the masses as they are, by
    Newton's method, the products with its Hessian by conjugate gradients: time and memory O(pairs) a product. A term
    tau / 2 sum_c p_c theta_c^2 bounds theta where p is out of reach, and makes the solution exact to tau |theta|; tau
    falls until p is reached, or until no nearer to it. Sums are numpy's, not a BLAS's, whose bits depend on threads.
    """

    def __init__(self, sets: _LabelSets, p: np.ndarray) -> None:
        self._sets, self._p = sets, p
        self._starts = np.cumsum(sets.sizes) - sets.sizes
        mass = (sets.rows * sets.sizes).astype(np.float64)
        self._mass = mass / mass.sum()
        self._passes_left = _MOST_PASSES

    def solve(self) -> np.ndarray:
        """(S,) masses, of sum 1: converged, or the nearest found when the passes are used up."""
        theta, before = np.zeros(len(self._p)), math.inf
        for tau in 10.0 ** -np.arange(13):
            theta, mass = self._minimise(theta, tau)
            off = self._by_class(mass) - self._p
            distance = float((off[self._p > 0] ** 2 / self._p[self._p > 0]).sum())
            reached = np.abs(off).sum() / 2 <= _MET or (tau < 1e-2 and distance > 0.9 * before)
            if reached or self._passes_left <= 0:
                break
            before = distance
        return mass

    def _minimise(self, theta: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray]:
        value, mass = self._at(theta, tau)
        for _ in range(_MOST_STEPS):
            step, decrease = self._newton_step(theta, mass, tau)
            if not decrease > 1e-22 or self._passes_left <= 0:
                break
            length = 1.0
            moved = self._at(theta - step, tau)
            while decrease > 1e-9 and moved[0] > value - 1e-4 * length * decrease and length > 1e-9:
                length /= 2
                moved = self._at(theta - length * step, tau)
            theta = theta - length * step
            value, mass = moved
        return theta, mass

    def _at(self, theta: np.ndarray, tau: float) -> tuple[float, np.ndarray]:
        """What is minimised, and the masses there."""
        tilt = self._by_set(theta)
        top = tilt.max()
        mass = self._mass * np.exp(tilt - top)
        total = mass.sum()
        return float(top + np.log(total) - _dot(self._p, theta) + tau / 2 * _dot(self._p, theta**2)), mass / total

    def _newton_step(self, theta: np.ndarray, mass: np.ndarray, tau: float) -> tuple[np.ndarray, float]:
        """The step, and twice the decrease that it promises: conjugate gradients, scaled by the Hessian's diagonal."""
        shares = self._by_class(mass)
        ridge = tau * self._p
        gradient = shares - self._p + ridge * theta
        scale = np.where(self._p > 0, shares + ridge, 1.0)
        step, left = np.zeros_like(theta), gradient.copy()
        ahead = left / scale
        size = first = _dot(left, ahead)
        for _ in range(_MOST_PRODUCTS):
            if size <= 1e-12 * first or self._passes_left <= 0:
                break
            product = self._by_class(mass * self._by_set(ahead)) - shares * _dot(shares, ahead) + ridge * ahead
            curvature = _dot(ahead, product)
            if not curvature > 0:  # lost in rounding
                break
            length = size / curvature
            step += length * ahead
            left -= length * product
            scaled = left / scale
            size, last = _dot(left, scaled), size
            ahead = scaled + size / last * ahead
        return step, _dot(gradient, step)

    def _by_set(self, values: np.ndarray) -> np.ndarray:
        """(S,) means over the classes of each set, of (C,)."""
        self._passes_left -= 1
        return np.add.reduceat(values[self._sets.classes], self._starts) / self._sets.sizes

    def _by_class(self, mass: np.ndarray) -> np.ndarray:
        """(C,) shares of the classes, of (S,) masses."""
        return np.bincount(self._sets.classes, (mass / self._sets.sizes)[self._sets.of_pair], len(self._p))


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum())


# ---------------------------------------------------------------------------------------------------------------------
# Findings
# ---------------------------------------------------------------------------------------------------------------------


def under_priors(
    report: Report,
    found: Findings,
    about: ClassInfo,
    part: Part,
    weightings: Mapping[str, PriorWeights],
    *,
    threads: int | None = None,
) -> Report:
    """The report, and beside it AP and Acc@k of the same rows under each weighting.

    found: what was counted of the part alone. Sums of weights are correctly rounded, so that no order of rows moves a
    bit.
    """
    shifts, columns = [], {}
    for name, weighting in weightings.items():
        shift, by_class = _shift(name, weighting, found, about, part, threads)
        shifts.append(shift)
        columns |= {shifted_name(name, column): tuple(values) for column, values in by_class.items()}
    return replace(report, shifts=tuple(shifts), classes=report.classes | columns)


def _shift(
    name: str, weighting: PriorWeights, found: Findings, about: ClassInfo, part: Part, threads: int | None
) -> tuple[Shift, dict[str, Sequence[float]]]:
    settings, positives, weights = found.settings, part.positives, weighting.weights
    of_positive = weights[positives.rows]
    total = _sums(of_positive, positives.indptr)
    by_class = {
        AP: average_precision(part.scores, positives, absent=settings.absent, sample_weight=weights, threads=threads)
    }
    labelled = weights[positives.labels_per_row() > 0]
    rates = {}
    for k in settings.topk:
        hit = (found.ranks >= 0) & (found.ranks < k)
        by_class[accuracy_at(k)] = _ratio(_sums(of_positive * hit[positives.rows], positives.indptr), total)
        rates[accuracy_at(k).name] = float(_ratio(_sum(weights[hit]), _sum(labelled)))
    overall, *groups = means_by_group(about, by_class, total == 0, None)
    overall = replace(overall, values=overall.values | rates)
    shift = Shift(
        name,
        effective_rows=_sum(labelled) ** 2 / _sum(labelled**2),
        total_variation=weighting.total_variation,
        left_out=weighting.left_out,
        groups=(overall, *groups),
    )
    columns = {metric.class_name: values.tolist() for metric, values in by_class.items()}
    columns["share"] = weighting.shares.tolist()
    columns["effective_positives"] = _ratio(total**2, _sums(of_positive**2, positives.indptr)).tolist()
    return shift, columns


def _sum(values: np.ndarray) -> float:
    return math.fsum(values.tolist())


def _sums(values: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """(C,) sums of the values of each class."""
    listed = values.tolist()
    return np.array([math.fsum(listed[start:stop]) for start, stop in pairwise(indptr.tolist())])


def _ratio(part: Any, whole: Any) -> np.ndarray:
    """part / whole, NaN of nothing."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
