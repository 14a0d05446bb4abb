"""Evaluation under another class distribution: weights of rows, and the results under them."""

from __future__ import annotations

from vltr_eval.priors.weights import PriorWeights, mirrored, prior_weights

__all__ = ["PriorWeights", "mirrored", "prior_weights"]
