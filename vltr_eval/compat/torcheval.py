"""Drop-in for torcheval: `multilabel_auprc` and `MultilabelAUPRC`, which are step-wise average precision.

Arguments, states and numbers are those of torcheval 0.0.7; the class is a subclass of torcheval's. The deliberate
differences:

- A NaN score raises a ValueError that names row and class.
- Equal infinite scores are one threshold, like all other equal scores; torcheval lets the order of rows decide.
- The class counts in its list of batches without joining it.

The function needs torch, the class torcheval as well.
"""

from __future__ import annotations

import warnings
from typing import Any, NoReturn

from vltr_eval._engine.rank_table import mean_of_defined
from vltr_eval.metrics.rank_metrics import rank_table

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise ImportError("vltr_eval.compat.torcheval needs torch: pip install torch") from error

from vltr_eval.compat._tensors import one_dtype, to_supported_device

try:
    with warnings.catch_warnings():  # of torch, about the torch.jit.script that torcheval uses
        warnings.simplefilter("ignore", DeprecationWarning)
        from torcheval.metrics import MultilabelAUPRC as OriginalMultilabelAUPRC
except ImportError:

    class OriginalMultilabelAUPRC:  # type: ignore[no-redef]  # the stand-in has the name of the import
        """Stand-in for torcheval's class if torcheval is not installed."""

        def __new__(cls, *_: Any, **__: Any) -> NoReturn:
            raise ImportError(f"{cls.__name__} needs torcheval: pip install torcheval")


__all__ = ["MultilabelAUPRC", "multilabel_auprc"]


def _auprc(inputs: list[Tensor], targets: list[Tensor], average: str | None) -> Tensor:
    labels = [target if target.dtype == torch.bool else target == 1 for target in targets]
    scores = one_dtype([shard.detach() for shard in inputs])
    values = rank_table(to_supported_device(scores), to_supported_device(labels)).average_precision(absent="zero")
    result = mean_of_defined(values) if average == "macro" else values
    return torch.as_tensor(result, dtype=torch.get_default_dtype(), device=inputs[0].device)


def multilabel_auprc(
    input: Tensor, target: Tensor, num_labels: int | None = None, *, average: str | None = "macro"
) -> Tensor:
    """`torcheval.metrics.functional.multilabel_auprc`, with its arguments and numbers.

    Args:
        input: (N, C) scores of any real dtype.
        target: (N, C) of any dtype; 1 is positive and every other value negative.
        num_labels: C, at least 2; by default that of input.
        average: "macro", or None or "none" for each label.

    Returns:
        A scalar, or (C,), of torch's default dtype on the device of input. A label without positives is 0 and counts
        in the mean.

    Raises:
        ValueError: A shape or an argument that torcheval refuses, or a NaN score.

    Example:
        >>> input, target = torch.tensor([[.75, .05], [.45, .75], [.05, .55]]), torch.tensor([[1, 0], [0, 0], [0, 1]])
        >>> multilabel_auprc(input, target, average=None)
        tensor([1.0000, 0.5000])
    """
    if input.ndim != 2:
        raise ValueError(f"input: expected shape (N, C), got {tuple(input.shape)}")
    num_labels = input.shape[1] if num_labels is None else num_labels
    if average not in ("macro", "none", None):
        raise ValueError(f"average: expected 'macro', 'none' or None, got {average!r}")
    if num_labels < 2:
        raise ValueError(f"num_labels: expected at least 2, got {num_labels}")
    if input.shape != target.shape:
        raise ValueError(f"target: expected shape {tuple(input.shape)} as input, got {tuple(target.shape)}")
    if input.shape[1] != num_labels:
        raise ValueError(f"input: expected {num_labels} labels, got {input.shape[1]}")
    return _auprc([input], [target], average)


class MultilabelAUPRC(OriginalMultilabelAUPRC):
    """`torcheval.metrics.MultilabelAUPRC`, with its arguments, states and numbers; see `multilabel_auprc`.

    Args:
        num_labels: C, at least 2.
        average: "macro", or None or "none" for a value of each label.
        device: The device where batches are kept, by default the CPU.

    Example:
        >>> metric = MultilabelAUPRC(num_labels=2, average=None)
        >>> _ = metric.update(torch.tensor([[.75, .05], [.45, .75]]), torch.tensor([[1, 0], [0, 0]]))
        >>> metric.update(torch.tensor([[.05, .55]]), torch.tensor([[0, 1]])).compute()
        tensor([1.0000, 0.5000])
    """

    @torch.inference_mode()
    def update(self, input: Tensor, target: Tensor) -> MultilabelAUPRC:
        """Takes a batch: all of it, or nothing where the call is interrupted (Ctrl-C)."""
        del self.inputs[len(self.targets) :]  # scores whose labels an interrupt kept away
        return super().update(input, target)

    @torch.inference_mode()
    def compute(self) -> Tensor:
        """The metric of all batches since the last `reset`; ValueError where there are none."""
        if not self.targets:
            raise ValueError("compute: expected at least one batch from update(), got none")
        return _auprc(self.inputs[: len(self.targets)], self.targets, self.average)
