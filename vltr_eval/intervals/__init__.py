"""Intervals, tests and p-values from standard errors, with numpy and the standard library alone.

Nothing here knows scores or labels: the functions take values, errors and counts. The estimand of every interval is the
expected metric on a test set of this size.
"""

from __future__ import annotations

from vltr_eval._base.arguments import check_level
from vltr_eval.intervals.distributions import normal_p_value, normal_quantile, t_p_value, t_quantile
from vltr_eval.intervals.means import detectable, exact_sum, interval, jackknife_error
from vltr_eval.intervals.multiplicity import benjamini_hochberg, holm
from vltr_eval.intervals.one_class import MIN_POSITIVES, effective_n, wilson

__all__ = [
    "MIN_POSITIVES",
    "benjamini_hochberg",
    "check_level",
    "detectable",
    "effective_n",
    "exact_sum",
    "holm",
    "interval",
    "jackknife_error",
    "normal_p_value",
    "normal_quantile",
    "t_p_value",
    "t_quantile",
    "wilson",
]
