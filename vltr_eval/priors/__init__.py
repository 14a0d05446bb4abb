"""Evaluation under another class distribution: weights of rows, and results with these weights."""

from __future__ import annotations

from vltr_eval.priors.weights import PriorWeights, prior_weights, reverse_by_rank

__all__ = ["PriorWeights", "prior_weights", "reverse_by_rank"]
