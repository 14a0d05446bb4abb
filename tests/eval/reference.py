"""Textbook versions of every metric, one class at a time, from the definitions. They share no code with vltr_eval.

scores and labels (0/1) are sequences of one class: Python numbers, so that integers of any size compare exactly.
Slow on purpose: sorting, pair counting, enumeration of every subset and every order.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np

# The one absolute tolerance of the suite, for values in [0, 1]. Counts and bit-equal results are compared exactly.
WITNESS = 1e-12


def assert_same_bits(actual, expected) -> None:
    """Assert equal shape, dtype kind and values; NaN equals NaN."""
    np.testing.assert_array_equal(actual, expected, strict=True)


def assert_agrees(actual, expected) -> None:
    """Assert that two different computations of a number in [0, 1] agree within ATOL; NaN equals NaN."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=WITNESS)


def numbers(column) -> list:
    """Return a column of any array as Python numbers."""
    return np.asarray(column).tolist()


def assert_same_table(actual, expected) -> None:
    """Assert that two rank tables have the same bits in every field."""
    assert actual.num_rows == expected.num_rows
    for name in ("indptr", "thresholds", "tp", "fp", "tied"):
        assert_same_bits(getattr(actual, name), getattr(expected, name))


def table_rows(table, class_index: int) -> list[tuple]:
    """Return (threshold, tp, fp, tied) of one class of a RankTable, in the form of `rank_table`."""
    part = slice(table.indptr[class_index], table.indptr[class_index + 1])
    return list(zip(*(getattr(table, name)[part].tolist() for name in ("thresholds", "tp", "fp", "tied")), strict=True))


def rank_table(scores, labels) -> list[tuple]:
    """Return (threshold, tp, fp, tied) at each distinct score of a positive, descending: sort, then go tie by tie."""
    ranked = sorted(zip(scores, labels, strict=True), key=lambda pair: pair[0], reverse=True)
    rows, tp, fp = [], 0, 0
    for score, tie in itertools.groupby(ranked, key=lambda pair: pair[0]):
        hits = [bool(label) for _, label in tie]
        tp, fp = tp + sum(hits), fp + len(hits) - sum(hits)
        if any(hits):
            rows.append((score, tp, fp, len(hits) - sum(hits)))
    return rows


def average_precision(scores, labels, weights=None) -> float:
    """Return sum_k (R_k - R_{k-1}) P_k over the distinct scores, descending; NaN if the positives' weights are 0."""
    weights = [1] * len(scores) if weights is None else [Fraction(weight) for weight in weights]
    total = sum(weight for weight, label in zip(weights, labels, strict=True) if label)
    if total == 0:
        return math.nan
    ranked = sorted(zip(scores, labels, weights, strict=True), key=lambda row: row[0], reverse=True)
    area, hits, seen = [], 0, 0
    for _, tie in itertools.groupby(ranked, key=lambda row: row[0]):
        tie = list(tie)
        new = sum(weight for _, label, weight in tie if label)
        hits, seen = hits + new, seen + sum(weight for _, _, weight in tie)
        if new:
            area.append(float(Fraction(new, total)) * float(Fraction(hits, seen)))
    return math.fsum(area)


def calibrated_average_precision(scores, labels, prevalence: float) -> float:
    """Return AP with precision pi TPR / (pi TPR + (1 - pi) FPR)."""
    positives, negatives = sum(map(bool, labels)), len(labels) - sum(map(bool, labels))
    if positives == 0:
        return math.nan
    area, before = 0.0, 0
    for _, tp, fp, _ in rank_table(scores, labels):
        hit = prevalence * tp / positives
        miss = (1 - prevalence) * fp / negatives if negatives else 0.0
        area += (tp - before) / positives * hit / (hit + miss)
        before = tp
    return area


def roc_auc(scores, labels) -> float:
    """Return the share of (positive, negative) pairs in the right order, from every pair; a tie counts one half."""
    positives = [score for score, label in zip(scores, labels, strict=True) if label]
    negatives = [score for score, label in zip(scores, labels, strict=True) if not label]
    if not positives or not negatives:
        return math.nan
    twice = sum(2 * (p > n) + (p == n) for p in positives for n in negatives)
    return float(Fraction(twice, 2 * len(positives) * len(negatives)))


def expected_sap_by_enumeration(scores, labels) -> float:
    """Return the mean AP over all C(n, d) subsets of d = min(P, n) negatives, each with all positives."""
    positives = [i for i, label in enumerate(labels) if label]
    negatives = [i for i, label in enumerate(labels) if not label]
    if not positives:
        return math.nan
    values = []
    for drawn in itertools.combinations(negatives, min(len(positives), len(negatives))):
        rows = [*positives, *drawn]
        values.append(average_precision([scores[i] for i in rows], [labels[i] for i in rows]))
    return math.fsum(values) / len(values)


def hypergeometric(total: int, marked: int, draws: int) -> dict[int, Fraction]:
    """Return the probability of each number of marked items among ``draws`` from ``total``, as exact fractions."""
    all_draws = math.comb(total, draws)
    low, high = max(0, draws + marked - total), min(draws, marked)
    return {
        h: Fraction(math.comb(marked, h) * math.comb(total - marked, draws - h), all_draws)
        for h in range(low, high + 1)
    }


def expected_sap_by_hypergeometric(scores, labels) -> float:
    """Return the same mean in exact fractions; the drawn negatives above a threshold are hypergeometric."""
    positives, negatives = sum(map(bool, labels)), len(labels) - sum(map(bool, labels))
    if positives == 0:
        return math.nan
    total, before = Fraction(0), 0
    for _, tp, fp, _ in rank_table(scores, labels):
        law = hypergeometric(negatives, fp, min(positives, negatives))
        total += (tp - before) * sum(chance * Fraction(tp, tp + h) for h, chance in law.items())
        before = tp
    return float(total / positives)


def chance_of_balanced_ap(positives: int, negatives: int) -> float:
    """Return the expected AP of a random order of P positives and min(P, n) negatives: the mean over every order."""
    size = positives + min(positives, negatives)
    values = []
    for hits in itertools.combinations(range(size), positives):
        values.append(math.fsum((i + 1) / (position + 1) for i, position in enumerate(hits)) / positives)
    return math.fsum(values) / len(values)


def ap_of_every_order(scores, labels) -> list[float]:
    """Return the AP of each order of the rows within their ties, with the precision after every single row."""
    ranked = sorted(zip(scores, labels, strict=True), key=lambda pair: pair[0], reverse=True)
    ties = [[bool(label) for _, label in tie] for _, tie in itertools.groupby(ranked, key=lambda pair: pair[0])]
    values = []
    for order in itertools.product(*(set(itertools.permutations(tie)) for tie in ties)):
        hits, precisions = 0, []
        for position, label in enumerate(itertools.chain.from_iterable(order), start=1):
            hits += label
            if label:
                precisions.append(hits / position)
        values.append(math.fsum(precisions) / hits)
    return values


def best_label_rank(row_scores, row_labels) -> int | None:
    """Return the 0-based rank of a row's best label among its classes by score; the lower index wins a tie."""
    order = sorted(range(len(row_scores)), key=lambda c: (-row_scores[c], c))
    return next((position for position, c in enumerate(order) if row_labels[c]), None)


def topk_accuracy(scores, labels, k: int) -> float:
    """Return the share of the labelled rows that have a label among their k best classes."""
    positions = [best_label_rank(numbers(s), numbers(y)) for s, y in zip(scores, labels, strict=True) if any(y)]
    return sum(position < k for position in positions) / len(positions) if positions else math.nan


def per_class(metric, scores, labels, *arguments) -> np.ndarray:
    """Return a metric of this file for each column of two matrices, (C,) float64."""
    scores, labels = np.asarray(scores), np.asarray(labels)
    return np.array([metric(numbers(scores[:, c]), numbers(labels[:, c]), *arguments) for c in range(scores.shape[1])])
