"""Dropout whose random numbers do not cost more than the model's arithmetic on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["Dropout"]


class Dropout(nn.Dropout):
    """As `torch.nn.Dropout`: zeroes elements with probability p in training, and scales the others by 1 / (1 - p).

    On the CPU torch draws a number for each element by itself. Here a draw of 64 bits decides eight of them where p is
    a multiple of 1 / 256, else four, with p to the nearest multiple of 2 ** -16; and the mask is made of arithmetic on
    these small integers, which is vectorised where comparisons are not. Several times faster.
    """

    def forward(self, features: Tensor) -> Tensor:
        """features: any shape and float dtype."""
        bits = 8 if self.p * 2**8 % 1 == 0 else 16
        level = round(self.p * 2**bits)  # of so many: the smallest number that is kept
        if not self.training or level in (0, 2**bits) or features.device.type != "cpu":
            return super().forward(features)
        words = torch.empty(-(-features.numel() * bits // 64), dtype=torch.int64).random_(-(2**63), None)
        numbers = words.view(torch.int8 if bits == 8 else torch.int16)[: features.numel()].view(features.shape)
        least = level - 2 ** (bits - 1)  # they are signed
        kept = numbers.clamp_(least - 1, least).sub_(least - 1)
        return _Masked.apply(features, kept, 2**bits / (2**bits - level))


class _Masked(torch.autograd.Function):
    """features x kept x scale, for kept of 0 and 1 in small integers: a byte or two an element is remembered."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return kept.to(features.dtype).mul_(features).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return kept.to(gradient.dtype).mul_(gradient).mul_(ctx.scale), None, None
