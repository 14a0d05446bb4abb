"""Raking: the weights of rows nearest to equal under which the labels have a requested distribution.

Legend: N rows, C classes, S different sets of labels, p the requested shares of the (row, class) pairs of labels.

With one label per row the weight has a closed form: p[c] / q[c], where q are the shares of the unweighted set. With
several labels per row, raking finds it. Among all weights under which the labels have distribution p, it takes those
with the smallest Kullback-Leibler divergence from the unweighted pairs. They have the form
exp(mean of theta[c] over the row's labels), the geometric mean of one factor per class. (Raking rows instead of pairs
would multiply the factors: a row with three classes that are each ten times as frequent would weigh a thousand, not
ten.) Rows without labels have no influence on the distribution and keep the mean weight, 1.

Some p cannot be reached: a class that never occurs alone cannot be more frequent than its companion. The nearest
reachable distribution by chi-square is then used, and its distance is reported.

Source: Deming and Stephan, "On a least squares adjustment of a sampled frequency table when the expected marginal
totals are known", 1940, is the origin of raking.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vltr_eval._engine.labels import Positives

_REACHED = 1e-9  # total variation from p below which p counts as reached
_MOST_STEPS = 100  # Newton steps for one tau
_MOST_PRODUCTS = 1000  # products with the Hessian for one step
_MOST_PASSES = 4000  # passes over the labels in all; distributions that are not extreme take some hundred
_SMALL = 8  # labels of a set up to which means are taken column by column, in the order of np.add.reduceat
_LEAST_SHARE = 1e-13  # replaces smaller shares of p; too small to be visible at _REACHED


class Raking:
    """Finds the masses of the sets (their shares of all pairs) nearest to the unweighted ones that give shares p.

    It minimises the dual, log sum_s m_s exp(mean of theta over s) - p theta, where m are the unweighted masses, by
    Newton's method. Conjugate gradients solve for each step; a product with the Hessian takes O(pairs) time and memory.
    A term tau / 2 sum_c p_c theta_c^2 bounds theta where p is out of reach, and makes the solution exact to
    tau |theta|. tau falls until p is reached, or until the result comes no nearer to it. Sums are numpy's, because the
    bits of a BLAS depend on threads.
    """

    def __init__(self, sets: LabelSets, p: np.ndarray) -> None:
        self._sets, self._p = sets, p
        # Sets are in the order of their sizes. For each small size: the first class of each set, the second, and so on.
        starts = np.cumsum(sets.sizes) - sets.sizes
        self._blocks: list[tuple[slice, np.ndarray]] = []
        for size in range(1, _SMALL + 1):
            start, stop = np.searchsorted(sets.sizes, [size, size + 1]).tolist()
            if start < stop:
                classes = sets.classes[starts[start] :][: size * (stop - start)].reshape(-1, size)
                self._blocks.append((slice(start, stop), np.ascontiguousarray(classes.T)))
        self._num_small = int(np.searchsorted(sets.sizes, _SMALL + 1))
        self._large_starts = starts[self._num_small :]
        mass = (sets.rows * sets.sizes).astype(np.float64)
        self._mass = mass / mass.sum()
        self._passes_left = _MOST_PASSES

    def solve(self) -> np.ndarray:
        """Compute the (S,) masses, with sum 1: converged, or the nearest when no passes are left."""
        theta, before = np.zeros(len(self._p)), math.inf
        for tau in 10.0 ** -np.arange(13):
            theta, mass = self._minimise(theta, tau)
            off = self._by_class(mass) - self._p
            distance = float((off[self._p > 0] ** 2 / self._p[self._p > 0]).sum())
            reached = np.abs(off).sum() / 2 <= _REACHED or (tau < 1e-2 and distance > 0.9 * before)
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
        """The value of the dual, and the masses there."""
        tilt = self._by_set(theta)
        top = tilt.max()
        mass = self._mass * np.exp(tilt - top)
        total = mass.sum()
        return float(top + np.log(total) - _dot(self._p, theta) + tau / 2 * _dot(self._p, theta**2)), mass / total

    def _newton_step(self, theta: np.ndarray, mass: np.ndarray, tau: float) -> tuple[np.ndarray, float]:
        """The Newton step and twice its predicted decrease, by conjugate gradients scaled by the Hessian's diagonal."""
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
            if not curvature > 0:  # rounding error
                break
            length = size / curvature
            step += length * ahead
            left -= length * product
            scaled = left / scale
            size, last = _dot(left, scaled), size
            ahead = scaled + size / last * ahead
        return step, _dot(gradient, step)

    def _by_set(self, values: np.ndarray) -> np.ndarray:
        """The (S,) means of (C,) values over the classes of each set."""
        self._passes_left -= 1
        sums = np.empty(len(self._sets.sizes))
        for sets, classes in self._blocks:
            sums[sets] = values[classes[0]]
            if len(classes) > 1:
                sums[sets] += sum(values[column] for column in classes[1:])
        if self._large_starts.size:
            first = self._large_starts[0]
            values = values[self._sets.classes[first:]]
            sums[self._num_small :] = np.add.reduceat(values, self._large_starts - first)
        means: np.ndarray = sums / self._sets.sizes
        return means

    def _by_class(self, mass: np.ndarray) -> np.ndarray:
        """The (C,) shares of the classes under (S,) masses."""
        return np.bincount(self._sets.classes, (mass / self._sets.sizes)[self._sets.of_pair], len(self._p))


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum())


class LabelSets(NamedTuple):
    """The S different sets of labels that rows have, in an order that does not depend on that of the rows.

    Rows with the same set have the same weight.

    Attributes:
        of_row: (N,) set of each row, -1 for a row without labels.
        rows: (S,) number of rows of each set.
        sizes: (S,) number of labels of each set.
        classes: Class of each label of each set, set after set.
        of_pair: Set of each of these labels.
    """

    of_row: np.ndarray
    rows: np.ndarray
    sizes: np.ndarray
    classes: np.ndarray
    of_pair: np.ndarray

    @classmethod
    def from_positives(cls, positives: Positives) -> LabelSets:
        """Find the sets of labels."""
        labels = positives.rows.astype(np.int64) * positives.num_classes
        labels += np.repeat(np.arange(positives.num_classes), positives.counts)
        labels.sort()  # by row, and by class within a row
        classes = labels % positives.num_classes
        sizes = positives.labels_per_row()
        starts = np.cumsum(sizes) - sizes
        of_row = np.full(positives.num_rows, -1)
        by_size: list[tuple[np.ndarray, np.ndarray]] = []  # classes and row counts of the sets of one size
        for size in np.unique(sizes[sizes > 0]).tolist():
            rows = np.flatnonzero(sizes == size)
            members = classes[starts[rows][:, None] + np.arange(size)]
            distinct, number, counts = _distinct(members, positives.num_classes)
            of_row[rows] = number + sum(len(counts) for _, counts in by_size)
            by_size.append((distinct, counts))
        sizes = np.concatenate([np.full(*members.shape) for members, _ in by_size])
        return cls(
            of_row,
            np.concatenate([counts for _, counts in by_size]),
            sizes,
            np.concatenate([members.reshape(-1) for members, _ in by_size]),
            np.repeat(np.arange(len(sizes)), sizes),
        )

    def weights(self, shares: np.ndarray) -> np.ndarray:
        """Compute the weight of each set, (S,) float64 with mean 1 over the rows.

        Args:
            shares: (C,) requested shares p, of any sum.

        Raises:
            ValueError: Every row has a class of share 0.
        """
        num_rows = int(self.rows.sum())
        if len(self.classes) == len(self.rows):  # one label per row
            closed: np.ndarray = shares[self.classes] * num_rows / (self.rows * shares[self.classes].sum())
            return closed
        out = np.zeros(len(self.rows))
        kept = np.minimum.reduceat(shares[self.classes], np.cumsum(self.sizes) - self.sizes) > 0
        if not kept.any():
            raise ValueError("prior: expected shares above 0 for all labels of some row, got 0 for one in every row")
        p = shares / shares.sum()
        mass = Raking(self.select(kept), np.where(p > 0, np.maximum(p, _LEAST_SHARE), 0.0)).solve()
        out[kept] = mass / (self.rows * self.sizes)[kept]
        scaled: np.ndarray = out * (num_rows / (out * self.rows).sum())
        return scaled

    def select(self, kept: np.ndarray) -> LabelSets:
        """Select sets. kept: (S,) bool."""
        sizes, classes = self.sizes[kept], self.classes[kept[self.of_pair]]
        return LabelSets(self.of_row, self.rows[kept], sizes, classes, np.repeat(np.arange(len(sizes)), sizes))


def _distinct(members: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct rows in lexicographic order, the number of each row among them, and how often each occurs.

    It is np.unique(axis=0), but sorts integers that hold as many classes as fit.
    """
    codes, most = np.zeros(len(members), np.int64), 1  # codes are below `most` and in the order of the rows so far
    for column in members.T:
        if most > 2**62 // num_classes:
            codes, most = np.unique(codes, return_inverse=True)[1], len(members)
        codes, most = codes * num_classes + column, most * num_classes
    _, number, counts = np.unique(codes, return_inverse=True, return_counts=True)
    example = np.empty(len(counts), np.int64)
    example[number] = np.arange(len(members))
    return members[example], number, counts
