"""The metrics of CLIP_benchmark (LAION-AI/CLIP_benchmark clip_benchmark/metrics/zeroshot_classification.py@48de38c1).

    from vltr_eval.compat.clip_benchmark import accuracy, average_precision_per_class

AP is the mean over a class's positives of the precision at their rank. A class without positives has AP 0, which counts
in the mean that the benchmark reports. Results are fractions.

Different on purpose:

- Equal scores rank in the order of their rows, as in a stable sort. The original's torch.sort keeps that order on the
  CPU for up to 16 rows (torch 2.13.0). Above, with ties its number depends on torch, and ours lies in the same tie
  interval. The benchmark's logits come from half precision, so they have ties.
- AP is summed in float64 before it is made float32.
- Targets other than 0 and 1 are a ValueError, and so is a NaN score; it names row and class.
- `average_precision_per_class` copies tensors on a GPU to CPU memory; the original works on the CPU alone. `accuracy`
  runs on numpy 2.4, where the original raises TypeError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vltr_eval.metrics.tie_orders import positive_ranks

try:
    import torch
except ImportError:
    raise ImportError("vltr_eval.compat.clip_benchmark needs torch: pip install torch") from None

__all__ = ["accuracy", "average_precision_per_class"]


def average_precision_per_class(scores: Any, targets: Any) -> Any:
    """AP of each class.

    Args:
        scores: (N, C) tensor of logits.
        targets: (N, C) tensor of 0 and 1.

    Returns:
        (C,) tensor of the default dtype in CPU memory; 0 for a class without positives.

    Raises:
        ValueError: A target is not 0 or 1, or a score is NaN.

    Example:
        >>> scores, targets = torch.tensor([[.9, .1], [.8, .2], [.7, .3]]), torch.tensor([[1, 0], [0, 1], [1, 0]])
        >>> average_precision_per_class(scores, targets)
        tensor([0.8333, 0.5000])
    """
    scores, targets = scores.detach().cpu(), targets.detach().cpu()
    values = torch.zeros(scores.size(1))
    if scores.numel():
        if scores.dtype in (torch.float16, torch.bfloat16):
            scores = scores.float()
        if targets.dtype in (torch.float16, torch.bfloat16):
            targets = targets.float()
        found = positive_ranks(scores.numpy(), targets.numpy(), order="rows").average_precision()
        values.copy_(torch.from_numpy(np.nan_to_num(found)))
    return values


def accuracy(output: Any, target: Any, topk: Sequence[int] = (1,)) -> list[float]:
    """Top-k accuracy for each k, as fractions in the order of ``topk``.

    Args:
        output: (N, C) tensor of logits.
        target: (N,) tensor of classes.
        topk: Values of k, at most C.

    Returns:
        A float for each k.

    Raises:
        ZeroDivisionError: There are no rows.

    Example:
        >>> accuracy(torch.tensor([[.9, .1], [.8, .2]]), torch.tensor([0, 1]), topk=(1, 2))
        [0.5, 1.0]
    """
    highest = output.topk(max(topk), 1, True, True).indices
    hits = (highest == target.view(-1, 1)).cpu().numpy()
    return [float(hits[:, :k].sum()) / len(target) for k in topk]
