"""Raking: the least change of weights under which labels have a stated distribution."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vltr_eval._engine.labels import Positives

_MET = 1e-9  # total variation from p at which it counts as reached


_MOST_STEPS = 100  # of Newton's method, for one tau


_MOST_PRODUCTS = 1000  # with the Hessian, for one step


_MOST_PASSES = 4000  # over the labels in all; distributions that are not extreme take some hundred


class Raking:
    """The least change of the sets' masses (their shares of all pairs) that gives classes the shares p.

    It is the dual that is solved, log sum_s m_s exp(mean of theta over s) - p theta, with m the masses as they are, by
    Newton's method, the products with its Hessian by conjugate gradients: time and memory O(pairs) a product. A term
    tau / 2 sum_c p_c theta_c^2 bounds theta where p is out of reach, and makes the solution exact to tau |theta|; tau
    falls until p is reached, or until no nearer to it. Sums are numpy's, not a BLAS's, whose bits depend on threads.
    """

    def __init__(self, sets: LabelSets, p: np.ndarray) -> None:
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


_LEAST_SHARE = 1e-13  # what a smaller share of p counts as in raking; too little to be seen at _MET


class LabelSets(NamedTuple):
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
    def of(cls, positives: Positives) -> LabelSets:
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
        mass = Raking(self.only(kept), np.where(p > 0, np.maximum(p, _LEAST_SHARE), 0.0)).solve()
        out[kept] = mass / (self.rows * self.sizes)[kept]
        return out * (num_rows / (out * self.rows).sum())

    def only(self, kept: np.ndarray) -> LabelSets:
        """Some of the sets. kept: (S,) bool."""
        sizes, classes = self.sizes[kept], self.classes[kept[self.of_pair]]
        return LabelSets(self.of_row, self.rows[kept], sizes, classes, np.repeat(np.arange(len(sizes)), sizes))
