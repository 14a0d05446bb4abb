"""The AveragePrecisionMeter of ADD-GCN (Yejin0111/ADD-GCN util.py@b7653fe6): ML-GCN's, with the names of files.

    from vltr_eval.compat.addgcn import AveragePrecisionMeter

`vltr_eval.compat.mlgcn` lists the conventions. Three things are not as there: 0 is difficult by default, `add` takes
the names of the files, and `overall` leaves the targets of the meter unchanged, so `value` may come after it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

try:
    import torch  # noqa: F401
except ImportError:
    raise ImportError("vltr_eval.compat.addgcn needs torch: pip install torch") from None

from vltr_eval.compat import mlgcn

__all__ = ["AveragePrecisionMeter"]


class AveragePrecisionMeter(mlgcn.AveragePrecisionMeter):
    """Average precision of each class, and precision, recall and F1 at a score of 0.

    Attributes:
        filenames: The names of the files of all rows.

    Example:
        >>> meter = AveragePrecisionMeter()
        >>> meter.add(torch.tensor([[2.0], [1], [-1]]), torch.tensor([[1], [-1], [1]]), ["a.jpg", "b.jpg", "c.jpg"])
        >>> meter.value(), meter.filenames
        (tensor([0.8333]), ['a.jpg', 'b.jpg', 'c.jpg'])
    """

    def __init__(self, difficult_examples: bool = True) -> None:
        super().__init__(difficult_examples)

    def reset(self) -> None:
        """Remove everything that was added."""
        super().reset()
        self.filenames: list[str] = []

    def add(self, output: Any, target: Any, filename: list[str]) -> None:  # type: ignore[override]
        """Add a batch and the names of its files; see `vltr_eval.compat.mlgcn.AveragePrecisionMeter.add`."""
        super().add(output, target)
        self.filenames += filename

    def _targets_without_minus_one(self) -> np.ndarray:
        targets: np.ndarray = self.targets.clone().cpu().numpy()
        targets[targets == -1] = 0
        return targets
