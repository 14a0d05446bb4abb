"""Figures for papers, drawn by matplotlib: ``pip install "vltr[plot]"``.

Each function takes data objects and the axes to draw on, ``ax=``, and returns the axes. Without axes it makes a figure
of one column. No function touches pyplot or changes matplotlib's settings. `save` writes files whose bytes are stable.
"""

from __future__ import annotations

from vltr_eval.plot.classes import ap_by_train_count, running_medians, sap_by_ap
from vltr_eval.plot.curves import precision_recall
from vltr_eval.plot.groups import group_bars, reliability
from vltr_eval.plot.output import FORMATS, save
from vltr_eval.plot.pairs import class_differences, class_scatter, group_outcomes, head_tail_trade
from vltr_eval.plot.training import learning_curves, training_figure

__all__ = [
    "FORMATS",
    "ap_by_train_count",
    "class_differences",
    "class_scatter",
    "group_bars",
    "group_outcomes",
    "head_tail_trade",
    "learning_curves",
    "precision_recall",
    "reliability",
    "running_medians",
    "sap_by_ap",
    "save",
    "training_figure",
]
