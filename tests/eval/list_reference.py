"""Slow textbook versions of the metrics of ranked lists, on dictionaries and loops."""

from __future__ import annotations

import math
from itertools import product

import numpy as np


def ranking(row: dict[int, float]) -> list[int]:
    return sorted(row, key=lambda c: (-row[c], c))


def topk(rows: list[dict[int, float]], labels: list[set[int]], k: int, weight: list[float] | None = None) -> dict:
    """Acc, P, nDCG, recall, PSP and PSnDCG at k as their papers define them, over rows with labels."""
    sums = dict.fromkeys(("Acc", "P", "nDCG", "recall", "psp", "best_psp", "psdcg", "best_psdcg"), 0.0)
    total = 0
    for row, own in zip(rows, labels, strict=True):
        if not own:
            continue
        total += 1
        first = ranking(row)[:k]
        gains = [1 / math.log2(place + 2) if c in own else 0.0 for place, c in enumerate(first)]
        ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(own))))
        sums["Acc"] += any(c in own for c in first)
        sums["P"] += sum(c in own for c in first) / k
        sums["nDCG"] += sum(gains) / ideal
        sums["recall"] += sum(c in own for c in first) / len(own)
        if weight is not None:
            best = sorted((weight[c] for c in own), reverse=True)[:k]
            sums["psp"] += sum(weight[c] for c in first if c in own) / k
            sums["best_psp"] += sum(best) / k
            sums["psdcg"] += sum(weight[c] * gain for c, gain in zip(first, gains, strict=True)) / ideal
            sums["best_psdcg"] += sum(w / math.log2(place + 2) for place, w in enumerate(best)) / ideal
    found = {name: sums[name] / total if total else math.nan for name in ("Acc", "P", "nDCG", "recall")}
    if weight is not None:
        found["PSP"] = sums["psp"] / sums["best_psp"] if total else math.nan
        found["PSnDCG"] = sums["psdcg"] / sums["best_psdcg"] if total else math.nan
    return found


def pooled(rows: list[dict[int, float]], labels: list[set[int]], depth: int) -> float:
    pairs = [(row[c], c in own) for row, own in zip(rows, labels, strict=True) for c in ranking(row)[:depth]]
    total = sum(map(len, labels))
    precision = 0.0
    for score, hit in pairs:
        if hit:
            reached = [other for value, other in pairs if value >= score]
            precision += sum(reached) / len(reached)
    return precision / total if total else math.nan


def average_precision(scores: list[float], labels: list[bool]) -> float:
    found = 0.0
    for score, label in zip(scores, labels, strict=True):
        if label:
            reached = [own for value, own in zip(scores, labels, strict=True) if value >= score]
            found += sum(reached) / len(reached)
    return found / sum(labels)


def roc_auc(scores: list[float], labels: list[bool]) -> float:
    wins = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high, own in zip(scores, labels, strict=True)
        if own
        for low, other in zip(scores, labels, strict=True)
        if not other
    ]
    return sum(wins) / len(wins)


def completions(
    rows: list[dict[int, float]], limits: list[float], cls: int, unlisted_values: list[float]
) -> list[list[float]]:
    """All scores of one class in which each unlisted cell has one of the values up to the limit of its row."""
    choices = [
        [row[cls]] if cls in row else [value for value in unlisted_values if value <= limit]
        for row, limit in zip(rows, limits, strict=True)
    ]
    return [list(scores) for scores in product(*choices)]


def lists_of(rows: list[dict[int, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The arrays of compressed rows."""
    indptr = np.cumsum([0, *map(len, rows)])
    classes = np.array([c for row in rows for c in row], np.int64)
    return indptr, classes, np.array([score for row in rows for score in row.values()], np.float64)
