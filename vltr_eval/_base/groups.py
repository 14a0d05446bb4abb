"""Groups of classes: by how often each class occurs in the training set, and partitions of one's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from vltr_eval._base.arrays import read_numbers

GROUP_NAMES = ("head", "medium", "tail")

DEFAULT_BOUNDS = (500, 100)
"""VideoLT's bounds: head has more than 500 training videos, tail at most 100."""

Bounds = tuple[float, float] | str
"""Two numbers (high, low), or the name of a preset."""


class Preset(NamedTuple):
    """Cut-offs of training counts that a community reports by.

    Attributes:
        names: The names of the three groups, the most frequent classes first.
        bounds: (high, low): the first group has n > high, the last one n <= low.
    """

    names: tuple[str, str, str]
    bounds: tuple[float, float]


PRESETS = MappingProxyType(
    {
        "videolt": Preset(GROUP_NAMES, DEFAULT_BOUNDS),
        "few-shot": Preset(("many", "medium", "few"), (100, 19)),
        "lvis": Preset(("f", "c", "r"), (100, 10)),
    }
)
"""Presets by name. docs/groups.md has their sources.

few-shot has the limits of OLTR's paper: many has n > 100 and few n < 20. lvis has rare classes of 1 to 10 images,
common ones of 11 to 100, and frequent ones above.
"""

COUNTS_PARTITION = ""
"""The name of the partition by training counts."""


def class_groups(
    train_counts: Sequence[float] | np.ndarray,
    bounds: Bounds = DEFAULT_BOUNDS,
    *,
    num_classes: int | None = None,
) -> dict[str, np.ndarray]:
    """Split the classes into head, medium and tail by their number of training samples.

    train_counts: (C,) samples of each class in the *training* set, whatever set is evaluated.
    bounds: (high, low); head has n > high, medium low < n <= high, tail n <= low. Or a name of `PRESETS`, whose groups
        have other names.
    num_classes: C when it is known from elsewhere; another length of train_counts is then an error.
    Returns {"head": ..., "medium": ..., "tail": ...} with the ascending class indices of each; any may be empty.

    The bounds are inclusive below, as in VideoLT's code and text (its table headers print them the other way round).

    >>> {name: members.tolist() for name, members in class_groups([501, 500, 101, 100, 7]).items()}
    {'head': [0], 'medium': [1, 2], 'tail': [3, 4]}
    """
    counts = checked_train_counts(train_counts, num_classes)
    names, (high, low) = read_bounds(bounds)
    masks = (counts > high, (counts > low) & (counts <= high), counts <= low)
    return {name: np.flatnonzero(mask) for name, mask in zip(names, masks, strict=True)}


def read_bounds(bounds: Bounds) -> Preset:
    """Return the names of the groups and the numbers of bounds; numbers have the names head, medium and tail.

    Raises:
        ValueError: There is no such preset, or the numbers are not two ordered, finite ones.
    """
    if not isinstance(bounds, str):
        return Preset(GROUP_NAMES, checked_bounds(bounds))
    if bounds not in PRESETS:
        raise ValueError(f"bounds: expected two numbers (high, low) or one of {', '.join(PRESETS)}, got {bounds!r}")
    return PRESETS[bounds]


def preset_of(bounds: Bounds) -> str | None:
    """Return the name of the preset if its groups are not head, medium and tail."""
    return bounds if isinstance(bounds, str) and read_bounds(bounds).names != GROUP_NAMES else None


def flat_group_name(partition: str, group: str, num_partitions: int) -> str:
    """Return the name of a group in a report: with several partitions of one's own, the partition comes first.

    Example:
        >>> flat_group_name("genus", "birds", 1), flat_group_name("genus", "birds", 2)
        ('birds', 'genus:birds')
    """
    return group if num_partitions == 1 else f"{partition}:{group}"


def partition_groups(own: Mapping[str, Sequence[str | None]]) -> dict[str, dict[str, np.ndarray]]:
    """Return the classes of each group of each partition, by the name of the group in a report.

    Groups are in the order of their first class, so the order of lines in a file changes nothing.

    Args:
        own: The group of each class in each partition; None for a class in no group.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for partition, groups in own.items():
        members: dict[str, list[int]] = {}
        for index, group in enumerate(groups):
            if group is not None:
                members.setdefault(flat_group_name(partition, group, len(own)), []).append(index)
        found[partition] = {name: np.array(indices, np.int64) for name, indices in members.items()}
    return found


def checked_train_counts(train_counts: Sequence[float] | np.ndarray, num_classes: int | None = None) -> np.ndarray:
    """Train counts as (C,) int64; floats are accepted when whole, because VideoLT's count file writes ``1912.0``."""
    counts = read_numbers("train_counts", train_counts)
    if counts.dtype.kind not in "iuf":
        raise TypeError(f"train_counts: expected numbers, got dtype {counts.dtype}")
    if counts.ndim != 1:
        raise ValueError(f"train_counts: expected one number a class (C,), got shape {counts.shape}")
    if num_classes is not None and len(counts) != num_classes:
        raise ValueError(f"train_counts: {len(counts)} classes, but scores has {num_classes}")
    wrong = ~((counts >= 0) & (counts <= 2**62) & (counts == np.floor(counts)))  # NaN fails every comparison
    if wrong.any():
        index = int(np.argmax(wrong))
        raise ValueError(f"train_counts: expected whole numbers from 0 up, got {counts[index]} for class {index}")
    return counts.astype(np.int64)


def checked_bounds(bounds: Sequence[float]) -> tuple[float, float]:
    """Group bounds as (high, low), refused when they are not two ordered, finite numbers."""
    if len(bounds) != 2:
        raise ValueError(f"bounds: expected two numbers (high, low), got {len(bounds)}")
    high, low = (bound.item() if isinstance(bound, np.generic) else bound for bound in bounds)
    if not all(isinstance(bound, (int, float)) for bound in (high, low)) or not (math.inf > high >= low >= 0):
        raise ValueError(f"bounds: expected high >= low >= 0, both finite numbers, got ({high!r}, {low!r})")
    return high, low
