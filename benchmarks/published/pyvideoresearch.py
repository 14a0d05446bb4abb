"""The mAP of PyVideoResearch: that of Charades, where the mean is over the classes with positives."""

from __future__ import annotations

import numpy as np

from . import charades


def map(submission_array, gt_array):
    _, weighted, values = charades.map(submission_array, gt_array)
    return np.nanmean(values), weighted, values


def charades_map(submission_array, gt_array):
    _, weighted, values = charades.charades_map(submission_array, gt_array)
    return np.nanmean(values), weighted, values
