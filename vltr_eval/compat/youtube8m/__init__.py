"""The metrics of YouTube-8M's starter code: its average precision calculators, and hit@1, PERR and GAP of eval_util.

    from vltr_eval.compat.youtube8m import AveragePrecisionCalculator, MeanAveragePrecisionCalculator
    from vltr_eval.compat import youtube8m as eval_util

AP@n is the sum of the precision at each positive among the n highest scores, over min(positives, n); positives are what
is above 0. Inputs and results are numpy arrays and numbers; inputs may be lists, or tensors in CPU memory.

Different on purpose:

- Ties. The originals shuffle the scores first, by seeding Python's global random generator, and so report one order of
  the ties. Here equal scores are one threshold, as everywhere in vltr_eval: all enter together, with the precision
  after the last of them. Where n falls among them, the places that are left hold the expected share of their positives.
  Among the classes of one row, equal scores rank by the lower class. So the order of rows and the split into batches
  change nothing, and nobody's random generator is touched. Without ties the numbers are the originals'.
- ``num_positives`` may be a numpy array, which the original cannot take.
- A NaN score is a ValueError; the originals leave its place to the sort.
- Labels whose sum over a class or a row is negative, as of -1 for no, are a ValueError wherever the sum is used; the
  originals refuse them in the calculators alone.
- A call that raises or is interrupted (Ctrl-C) has taken nothing, or all that it was given.
- PERR of no rows is NaN, as their hit@1; the original divides by zero.
"""

from __future__ import annotations

from vltr_eval.compat.youtube8m.calculators import (
    AveragePrecisionCalculator,
    EvaluationMetrics,
    MeanAveragePrecisionCalculator,
    calculate_gap,
    calculate_hit_at_one,
    calculate_precision_at_equal_recall_rate,
    top_k_by_class,
)

__all__ = [
    "AveragePrecisionCalculator",
    "EvaluationMetrics",
    "MeanAveragePrecisionCalculator",
    "calculate_gap",
    "calculate_hit_at_one",
    "calculate_precision_at_equal_recall_rate",
    "top_k_by_class",
]
