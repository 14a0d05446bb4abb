"""Gradients of torch through the core's linear maps."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["attach_gradient"]

# (values, partner, beta) -> values
LinearMap = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class _Linear(torch.autograd.Function):
    """made(), which forward(values, partner, beta) has given: its gradient is transpose, whose own is forward again,
    and so on for gradients of any order."""

    @staticmethod
    def forward(ctx, _values, made, partner, beta, forward, transpose):
        # Saved as torch wants it, so that a change of beta before the backward pass is an error there.
        ctx.save_for_backward(partner, beta)
        ctx.maps = forward, transpose
        return made()

    @staticmethod
    def backward(ctx, gradient):
        forward, transpose = ctx.maps
        gradient = _in_rows(gradient)
        result = transpose(gradient, *ctx.saved_tensors)
        return _Linear.apply(gradient, lambda: result, *ctx.saved_tensors, transpose, forward), *[None] * 5


def _in_rows(gradient: torch.Tensor) -> torch.Tensor:
    """A gradient of any layout as the core reads it: dense, in memory, the numbers of a frame one after another."""
    if gradient.layout != torch.strided:
        gradient = gradient.to_dense()
    gradient = gradient.resolve_neg()
    return gradient if gradient.stride(-1) == 1 else gradient.contiguous()  # that of a sum is one number expanded


def attach_gradient(
    result: torch.Tensor,
    values: torch.Tensor,
    partner: torch.Tensor,
    beta: torch.Tensor,
    forward: LinearMap,
    transpose: LinearMap,
) -> torch.Tensor:
    """result, which is ``forward(values, partner, beta)``, differentiable in values to any order.

    transpose: the transpose of ``forward``, both for a fixed partner and beta.
    """
    return _Linear.apply(values, lambda: result, partner, beta, forward, transpose)
