"""Paired comparisons of systems on the same test rows, and evaluations that are kept for them."""

from __future__ import annotations

from vltr_eval.comparison.differences import BestOfMean, MeanDifference, Outcomes
from vltr_eval.comparison.evaluation import Evaluation
from vltr_eval.comparison.result import Comparison, SystemComparison
from vltr_eval.comparison.systems import compare

__all__ = ["BestOfMean", "Comparison", "Evaluation", "MeanDifference", "Outcomes", "SystemComparison", "compare"]
