"""Evaluate a score matrix and its labels, both numpy arrays, and read the means of head, medium and tail classes.

Run: python examples/evaluate_arrays.py

The training counts decide the group of each class. The sampled AP (SAP) is the mean of 15 draws here; its closed form
is `expected_SAP`. The data are random: a class with many training videos gets better scores.
"""

import numpy as np

import vltr_eval

NUM_VIDEOS, NUM_CLASSES = 3000, 40


def make_data(seed=0):
    """Scores (N, C) float32, labels (N, C) of 0/1, and training counts (C,) from 1000 down to 20."""
    rng = np.random.default_rng(seed)
    train_counts = np.geomspace(1000, 20, NUM_CLASSES).astype(int)
    labels = rng.random((NUM_VIDEOS, NUM_CLASSES)) < train_counts / train_counts.sum()
    labels[np.arange(NUM_VIDEOS), np.arange(NUM_VIDEOS) % NUM_CLASSES] = True
    quality = np.log10(train_counts)
    scores = rng.standard_normal((NUM_VIDEOS, NUM_CLASSES)) + quality * labels
    return scores.astype(np.float32), labels.astype(np.uint8), train_counts


def main():
    scores, labels, train_counts = make_data()
    report = vltr_eval.evaluate(scores, labels, train_counts=train_counts, bounds=(500, 100), sap=15, seed=0)
    print(report)

    print("\nThe same numbers by name, for a logger:")
    metrics = report.metrics()
    for group in ("head", "medium", "tail"):
        print(f"{group:6}  mAP {metrics[f'mAP_{group}']:.4f}  SAP {metrics[f'SAP_{group}']:.4f}")

    precision = vltr_eval.average_precision(scores, labels)
    print(f"\nAP of the first and the last class: {precision[0]:.4f} {precision[-1]:.4f}")


if __name__ == "__main__":
    main()
