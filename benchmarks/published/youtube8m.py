"""The metrics of YouTube-8M's starter code, written plainly from their definition, with its loops.

A calculator keeps (score, actual) pairs, the highest ``top_n`` of them in a heap. AP@n sums the precision at each
positive (actual above 0) among the n highest scores, over min(positives, n). The caller passes the number of
positives, or the calculator counts them. It shuffles the scores by Python's global random generator, seeded with 0,
before it sorts them.
"""

from __future__ import annotations

import heapq
import random

import numpy as np


class AveragePrecisionCalculator:
    def __init__(self, top_n=None):
        self.top_n = top_n
        self.clear()

    def clear(self):
        self.heap = []
        self.num_accumulated_positives = 0

    @property
    def heap_size(self):
        return len(self.heap)

    def accumulate(self, predictions, actuals, num_positives=None):
        counted = sum(actual > 1e-5 for actual in actuals)
        self.num_accumulated_positives += counted if num_positives is None else num_positives
        for pair in zip(predictions, actuals, strict=True):
            if self.top_n is None or len(self.heap) < self.top_n:
                heapq.heappush(self.heap, pair)
            elif pair[0] > self.heap[0][0]:
                heapq.heapreplace(self.heap, pair)

    def peek_ap_at_n(self):
        if not self.heap:
            return 0
        predictions, actuals = zip(*self.heap, strict=True)
        return self.ap_at_n(predictions, actuals, self.top_n, self.num_accumulated_positives)

    @staticmethod
    def ap(predictions, actuals):
        return AveragePrecisionCalculator.ap_at_n(predictions, actuals, None)

    @staticmethod
    def ap_at_n(predictions, actuals, n=20, total_num_positives=None):
        random.seed(0)
        order = random.sample(range(len(predictions)), len(predictions))
        order.sort(key=lambda i: predictions[i], reverse=True)
        positives = sum(actual > 0 for actual in actuals) if total_num_positives is None else total_num_positives
        if positives == 0:
            return 0
        hits, total = 0, 0.0
        for rank, i in enumerate(order[:n], start=1):
            if actuals[i] > 0:
                hits += 1
                total += hits / rank
        return total / (positives if n is None else min(positives, n))


class MeanAveragePrecisionCalculator:
    def __init__(self, num_class, filter_empty_classes=True, top_n=None):
        self.filter_empty_classes = filter_empty_classes
        self.calculators = [AveragePrecisionCalculator(top_n) for _ in range(num_class)]

    def accumulate(self, predictions, actuals, num_positives=None):
        if num_positives is None:
            num_positives = [None] * len(self.calculators)
        for calculator, *lists in zip(self.calculators, predictions, actuals, num_positives, strict=True):
            calculator.accumulate(*lists)

    def clear(self):
        for calculator in self.calculators:
            calculator.clear()

    def is_empty(self):
        return all(calculator.heap_size == 0 for calculator in self.calculators)

    def peek_map_at_n(self):
        return [
            calculator.peek_ap_at_n()
            for calculator in self.calculators
            if calculator.num_accumulated_positives > 0 or not self.filter_empty_classes
        ]


class EvaluationMetrics:
    def __init__(self, num_class, top_k, top_n=None):
        self.top_k = top_k
        self.map_calculator = MeanAveragePrecisionCalculator(num_class, top_n=top_n)
        self.global_ap_calculator = AveragePrecisionCalculator()
        self.clear()

    def clear(self):
        self.sums = {"hit_at_one": 0.0, "perr": 0.0, "loss": 0.0}
        self.num_examples = 0
        self.map_calculator.clear()
        self.global_ap_calculator.clear()

    def accumulate(self, predictions, labels, loss):
        means = {
            "hit_at_one": calculate_hit_at_one(predictions, labels),
            "perr": calculate_precision_at_equal_recall_rate(predictions, labels),
            "loss": np.mean(loss),
        }
        scores, actuals, num_positives = top_k_by_class(predictions, labels, self.top_k)
        self.map_calculator.accumulate(scores, actuals, num_positives)
        self.global_ap_calculator.accumulate(_joined(scores), _joined(actuals), sum(num_positives))
        self.num_examples += len(labels)
        for name, value in means.items():
            self.sums[name] += value * len(labels)
        return means

    def get(self):
        averages = {f"avg_{name}": value / self.num_examples for name, value in self.sums.items()}
        averages["aps"] = self.map_calculator.peek_map_at_n()
        averages["gap"] = self.global_ap_calculator.peek_ap_at_n()
        return averages


def calculate_hit_at_one(predictions, actuals):
    best = np.argmax(predictions, axis=1)
    return np.mean(actuals[np.arange(len(actuals)), best], dtype=np.float64)


def calculate_precision_at_equal_recall_rate(predictions, actuals):
    total = 0.0
    for scores, labels in zip(predictions, actuals, strict=True):
        num_labels = int(labels.sum())
        if num_labels:
            highest = np.argpartition(scores, -num_labels)[-num_labels:]
            total += sum(float(labels[c]) for c in highest if scores[c] > 0) / num_labels
    return total / len(actuals)


def calculate_gap(predictions, actuals, top_k=20):
    calculator = AveragePrecisionCalculator()
    scores, labels, num_positives = top_k_by_class(predictions, actuals, top_k)
    calculator.accumulate(_joined(scores), _joined(labels), sum(num_positives))
    return calculator.peek_ap_at_n()


def top_k_by_class(predictions, labels, k=20):
    num_classes = predictions.shape[1]
    scores_of, labels_of = [[] for _ in range(num_classes)], [[] for _ in range(num_classes)]
    for scores, row in zip(predictions, labels, strict=True):
        for c in np.argpartition(scores, -min(k, num_classes))[-min(k, num_classes) :]:
            scores_of[c].append(scores[c])
            labels_of[c].append(row[c])
    return scores_of, labels_of, [float(labels[:, c].sum()) for c in range(num_classes)]


def _joined(lists):
    return [value for part in lists for value in part]
