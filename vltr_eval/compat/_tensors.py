"""How drop-ins for torch hand their batches of tensors to vltr_eval."""

from __future__ import annotations

import functools
from typing import Any

from vltr_eval._base.arrays import cuda_is_usable

try:
    import torch
    from torch import Tensor
except ImportError:
    raise ImportError("vltr_eval.compat._tensors needs torch: pip install torch") from None

__all__ = ["on_one_device", "one_dtype", "to_supported_device"]


def one_dtype(batches: list[Tensor]) -> list[Tensor]:
    """Batches of different dtypes, promoted as torch.cat would promote them."""
    dtype = functools.reduce(torch.promote_types, (batch.dtype for batch in batches))
    return [batch.to(dtype) for batch in batches]


def to_supported_device(batches: list[Tensor]) -> list[Tensor]:
    """Batches where they are or, where this build has no kernels for their device, copied to CPU memory.

    The rest of vltr_eval copies nothing without a request; a drop-in works wherever its original works.
    """
    return [batch if _is_in_reach(batch) else batch.cpu() for batch in batches]


def on_one_device(batches: list[Any]) -> list[Any]:
    """Batches where they are or, if they are on different devices, all in CPU memory, where numpy arrays are."""
    if len({str(getattr(batch, "device", "cpu")) for batch in batches}) == 1:
        return batches
    return [batch.cpu() if hasattr(batch, "cpu") else batch for batch in batches]


def _is_in_reach(batch: Tensor) -> bool:
    kind = batch.device.type
    return kind == "cpu" or (kind == "cuda" and cuda_is_usable() and not torch.version.hip)
