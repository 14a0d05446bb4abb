"""Arrays of any library as tensors, without a copy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vltr_eval._base.arrays import borrow

__all__ = ["as_tensor"]

_UNSIGNED = ("uint16", "uint32", "uint64")  # torch has no arithmetic for them


def as_tensor(name: str, values: Any) -> Tensor:
    """View numbers as a tensor that shares their memory. A tensor comes back as it is, with its gradients.

    Fractions of a list become torch's default dtype. Unsigned integers of more than 8 bits become int64.

    Args:
        name: The name of the argument, for errors.
        values: A tensor, an array of numpy or of another library, on the CPU or a CUDA device, or a list of numbers.

    Raises:
        TypeError: There are no numbers that torch can hold.
        ValueError: The array has missing cells or strides that a tensor cannot have, or a list is ragged.

    Example:
        >>> as_tensor("logits", [[0.5, 1.0]])
        tensor([[0.5000, 1.0000]])
    """
    if isinstance(values, Tensor):
        return values
    array = borrow(name, values)
    if array.device.index is not None:
        if hasattr(values, "__dlpack__"):
            return torch.from_dlpack(values)
        return torch.as_tensor(values, device=f"cuda:{array.device.index}")
    if not array.is_aligned or min(array.strides, default=0) < 0:
        raise ValueError(
            f"{name}: expected the strides of a tensor, got {array.strides} bytes; pass np.ascontiguousarray({name})"
        )
    # torch warns of read-only memory. No function of this package writes into its inputs.
    bits = replace(array, writable=True).bits()
    if array.dtype == "bfloat16":
        return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)
    found = torch.from_numpy(bits.astype(np.int64) if array.dtype in _UNSIGNED else bits)
    is_list = isinstance(values, (list, tuple))
    return found.to(torch.get_default_dtype()) if is_list and found.is_floating_point() else found
