"""Gradients of torch through the core's linear maps. The only module here that imports torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["apply_linear"]

# (values, partner, beta) -> values
LinearMap = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class _Linear(torch.autograd.Function):
    """values -> first(values), which is what ``forward`` would give; its gradient is ``transpose``, whose own is
    ``forward`` again, and so on for gradients of any order."""

    @staticmethod
    def forward(ctx, values, partner, beta, first, forward, transpose):
        result = first(values, partner, beta)
        # Saved as torch wants it, so that a change of theirs before the backward pass is an error there.
        ctx.save_for_backward(partner, beta)
        ctx.maps = forward, transpose
        return result

    @staticmethod
    def backward(ctx, gradient):
        forward, transpose = ctx.maps
        if gradient.stride(-1) != 1:  # that of a sum, say, is one number expanded
            gradient = gradient.contiguous()
        return _Linear.apply(gradient, *ctx.saved_tensors, transpose, transpose, forward), *[None] * 5


def apply_linear(
    values: torch.Tensor, partner: Any, beta: torch.Tensor, first: LinearMap, forward: LinearMap, transpose: LinearMap
) -> torch.Tensor:
    """``first(values, partner, beta)``, differentiable in values to any order.

    first: gives what ``forward`` gives once beta is known, and may fill beta, which it is the first to see.
    transpose: the transpose of ``forward``, both for a fixed partner and beta.
    """
    return _Linear.apply(values, torch.as_tensor(partner), beta, first, forward, transpose)
