"""The options of an evaluation, beside its scores and labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vltr_eval._base.arguments import check_seed
from vltr_eval._base.groups import DEFAULT_BOUNDS
from vltr_eval._engine.hits import check_topk
from vltr_eval._engine.results import ClassInfo
from vltr_eval.report.settings import Settings


def read_options(
    num_classes: int,
    *,
    sap: int | str | None = 15,
    seed: int = 0,
    topk: Iterable[int] | None = (1, 5),
    train_counts: Sequence[float] | np.ndarray | None = None,
    bounds: tuple[float, float] = DEFAULT_BOUNDS,
    class_names: Sequence[str] | None = None,
    absent: str = "nan",
    **unknown: Any,
) -> tuple[Settings, ClassInfo]:
    """What may be asked of an evaluation beside scores and labels, checked. See `vltr_eval.evaluate`."""
    if unknown:
        known = "sap, seed, topk, train_counts, bounds, class_names, absent"
        raise TypeError(f"{next(iter(unknown))}: expected one of {known}, got an argument that there is not")
    class_info = ClassInfo.checked(num_classes, train_counts, bounds, class_names)
    sap = int(sap) if isinstance(sap, np.integer) else sap
    ks = check_topk(() if topk is None else topk, "topk")
    return Settings(sap, check_seed(seed), ks, class_info.bounds, absent), class_info
