"""Ranked lists: the highest scores of each row, as top-k lists and extreme classification have them.

lists     `RankedLists`, the data type, and its constructors
files     `read_ranked_lists`: submissions of YouTube-8M and Kaggle, sparse matrices, arrays
metrics   the metrics that lists determine: Acc@k, P@k, nDCG@k, recall@k, PSP@k, PSnDCG@k, GAP
bounds    bounds of AP and ROC-AUC, which depend on scores that lists leave out
report    `evaluate_topk` and its `TopKReport`
"""

from __future__ import annotations

from vltr_eval.ranked_lists.bounds import ListBounds, average_precision_bounds
from vltr_eval.ranked_lists.files import read_ranked_lists
from vltr_eval.ranked_lists.lists import RankedLists
from vltr_eval.ranked_lists.metrics import global_average_precision, propensities, topk_metrics
from vltr_eval.ranked_lists.report import TopKReport, evaluate_topk

__all__ = [
    "ListBounds",
    "RankedLists",
    "TopKReport",
    "average_precision_bounds",
    "evaluate_topk",
    "global_average_precision",
    "propensities",
    "read_ranked_lists",
    "topk_metrics",
]
