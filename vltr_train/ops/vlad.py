"""The sums of VLAD and their scaling, and the layers before and behind them, with gradients that copy nothing.

In float32 the core scales the sums where torch's product has put them, and its backward pass reads the scaled ones:
no other array of their size is kept. On the CPU the core multiplies for the large layer too. The core takes as many
threads as torch, `torch.get_num_threads()`.

Other dtypes and autocast run the same formula in torch. So do torch.compile, torch.jit.trace, the transforms of
torch.func and forward-mode derivatives, which cannot see into the core. A result in float32 is differentiated once; in
float64 there are derivatives of every order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual
from torch.autograd.function import once_differentiable
from torch.linalg import vector_norm

from vltr_eval._base import _core
from vltr_eval._base.arrays import borrow
from vltr_train.ops.memory import Memory

__all__ = ["LargeLinear", "score_frames", "vlad"]

_EPS = 1e-12  # the smallest divisor of a normalisation, as in torch's `normalize`
_FORWARD_ROWS = 256  # of inputs, from which the core multiplies faster than torch
_BACKWARD_ROWS = 8


def vlad(
    frames: Tensor,
    shares: Tensor,
    *,
    gate: Tensor | None = None,
    centers: Tensor | None = None,
    whole: bool = True,
    memory: Memory | None = None,
) -> Tensor:
    """Sum frames by cluster for V views, and scale the sums.

    v_k = sigmoid(gate_k) sum_t a_tk (x_t - c_k), each scaled to length 1, and then all K of a view together. A length
    below 1e-12 counts as 1e-12.

    Args:
        frames: (B, T, D), x.
        shares: (V, B, T, K), a: the share of each frame that belongs to each cluster.
        gate: (K, D); None for no factors.
        centers: (D, K), c; None for 0.
        whole: Whether the clusters of a view are scaled together too.
        memory: Where large tensors come from; None for new memory.

    Returns:
        (V, B, D x K), cluster k fastest.

    Raises:
        RuntimeError: The result is differentiated twice in float32.

    Source:
        Arandjelovic et al., CVPR 2016.

    Example:
        >>> vlad(torch.tensor([[[3.0, 4.0], [3.0, 4.0]]]), torch.ones(1, 1, 2, 1))
        tensor([[[0.6000, 0.8000]]])
    """
    arrays = [array for array in (frames, shares, gate, centers) if array is not None]
    if _in_core(*arrays) and min(frames.shape[-1], shares.shape[-1]) > 0:
        return _Vlad.apply(frames, shares, gate, centers, whole, Memory() if memory is None else memory)
    sums = frames.mT @ shares.to(frames.dtype)  # (V, B, D, K)
    if centers is not None:
        sums = sums - shares.sum(2, keepdim=True) * centers
    if gate is not None:
        sums = sums * gate.sigmoid().mT
    wide = torch.promote_types(sums.dtype, torch.float32)  # float16 has no number as small as the least length
    lengths = vector_norm(sums, dim=2, keepdim=True, dtype=wide)
    scales = 1 / lengths.clamp_min(_EPS)
    if whole:
        scales = scales / vector_norm(lengths * scales, dim=3, keepdim=True).clamp_min(_EPS)
    return (sums * scales).to(sums.dtype).flatten(2)


def _in_core(*arrays: Tensor) -> bool:
    """Whether the core can compute with these tensors, and nobody has to see how."""
    device = arrays[0].device
    return (
        all(array.dtype == torch.float32 and array.device == device for array in arrays)
        and (device.type == "cpu" or (device.type == "cuda" and hasattr(_core, "CudaMatrix")))
        and not torch.is_autocast_enabled(device.type)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and all(unpack_dual(array).tangent is None for array in arrays)
        and all(array.data_ptr() % array.element_size() == 0 for array in arrays)
    )


def _core_of(tensor: Tensor | None) -> Any:
    """Borrow a tensor for the core. The caller holds it until the core is done."""
    return None if tensor is None else borrow("tensor", tensor.detach()).core


class _Vlad(torch.autograd.Function):
    """`vlad` in the core. A product for each view needs no copy of frames, nor of the sums."""

    @staticmethod
    def forward(
        ctx: Any,
        frames: Tensor,
        shares: Tensor,
        gate: Tensor | None,
        centers: Tensor | None,
        whole: bool,
        memory: Memory,
    ) -> Tensor:
        frames, shares = frames.contiguous(), shares.contiguous()
        centers = None if centers is None else centers.contiguous()
        factors = None if gate is None else gate.sigmoid().mT.contiguous()
        mass = None if centers is None else shares.sum(2).flatten(0, 1)
        num_views, num_rows, _, num_clusters = shares.shape
        sums = memory.take((num_views, num_rows, frames.shape[2], num_clusters), frames)
        for view, out in zip(shares, sums, strict=True):
            torch.bmm(frames.mT, view, out=out)
        lengths = frames.new_empty(num_views * num_rows, num_clusters, dtype=torch.float64)
        _core.scale_vlad(
            _core_of(sums.flatten(0, 1)),
            _core_of(mass),
            _core_of(centers),
            _core_of(factors),
            whole,
            _core_of(lengths),
            torch.get_num_threads(),
        )
        vectors = sums.flatten(2)
        ctx.save_for_backward(frames, shares, mass, centers, factors, lengths, vectors)
        ctx.whole, ctx.memory = whole, memory
        return vectors

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        frames, shares, mass, centers, factors, lengths, vectors = ctx.saved_tensors
        num_clusters, rows = shares.shape[-1], (len(lengths), frames.shape[2], shares.shape[-1])
        # The core borrows memory, so a name holds each tensor until the call is over.
        gradient, coefficients = gradient.contiguous(), gradient.new_empty(len(lengths), 3, num_clusters)
        of_sums = ctx.memory.take(rows, gradient)
        of_mass, of_centers, of_factors = (
            None if weight is None else torch.empty_like(weight) for weight in (mass, centers, factors)
        )
        _core.scale_vlad_gradient(
            _core_of(vectors.view(rows)),
            _core_of(gradient.view(rows)),
            _core_of(mass),
            _core_of(centers),
            _core_of(factors),
            ctx.whole,
            _core_of(lengths),
            _core_of(coefficients),
            _core_of(of_sums),
            _core_of(of_mass),
            _core_of(of_centers),
            _core_of(of_factors),
            torch.get_num_threads(),
        )
        views = of_sums.unflatten(0, shares.shape[:2])
        of_frames = _frames_gradient(ctx.memory, frames, shares, views) if ctx.needs_input_grad[0] else None
        of_shares = _shares_gradient(frames, shares, views, of_mass) if ctx.needs_input_grad[1] else None
        of_gate = None if of_factors is None else (of_factors * (1 - factors)).mT
        return of_frames, of_shares, of_gate, of_centers, None, None


def _frames_gradient(memory: Memory, frames: Tensor, shares: Tensor, of_sums: Tensor) -> Tensor:
    """Return the gradient of frames (B, T, D) from that of the sums (V, B, D, K)."""
    out = memory.take(frames.shape, frames)
    for number, (view, of_view) in enumerate(zip(shares, of_sums, strict=True)):
        torch.baddbmm(out, view, of_view.mT, beta=int(number > 0), out=out)  # with 0, what is in out does not count
    return out


def _shares_gradient(frames: Tensor, shares: Tensor, of_sums: Tensor, of_mass: Tensor | None) -> Tensor:
    """Return the gradient of shares (V, B, T, K) from those of the sums (V, B, D, K) and of the mass (V x B, K)."""
    out = torch.empty_like(shares)
    for of_view, part in zip(of_sums, out, strict=True):
        torch.bmm(frames, of_view, out=part)
    return out if of_mass is None else out.add_(of_mass.unflatten(0, shares.shape[:2]).unsqueeze(2))


def score_frames(frames: Tensor, weight: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
    """Multiply frames by a weight, and return them for their other use.

    The gradient of the frames is the sum of those of both uses. It is added where it is computed, in lent memory:
    torch would keep both, and their sum in new memory.

    Args:
        frames: (N, D).
        weight: (K, D).
        memory: Where large tensors come from.

    Returns:
        The scores (N, K), and the frames (N, D).

    Raises:
        RuntimeError: The result is differentiated twice in float32.

    Example:
        >>> score_frames(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]), Memory())
        (tensor([[11.]]), tensor([[1., 2.]]))
    """
    if not _in_core(frames, weight):
        return frames @ weight.to(frames.dtype).T, frames
    return _Scores.apply(frames, weight, memory)


class _Scores(torch.autograd.Function):
    """`score_frames`. The frames that it returns are the same memory."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, weight: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(frames, weight)
        ctx.memory = memory
        return frames @ weight.T, frames.view_as(frames)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_scores: Tensor, of_frames: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        frames, weight = ctx.saved_tensors
        of_inputs = of_weight = None
        if ctx.needs_input_grad[0]:
            of_inputs = torch.addmm(of_frames, of_scores, weight, out=ctx.memory.take(frames.shape, frames))
        if ctx.needs_input_grad[1]:
            of_weight = of_scores.T @ frames
        return of_inputs, of_weight, None


class LargeLinear(nn.Linear):
    """As `torch.nn.Linear` without a bias, for a weight of hundreds of megabytes.

    The gradients use the memory of the last step's, which `eval` frees. On the CPU the core makes the gradients of 8
    rows and more, and the result of 256 rows and more; it is faster there. It splits a sum only by its length, so the
    bits of these do not depend on the number of threads. Fewer rows, and inputs of other than two dimensions, are
    multiplied by torch.

    Args:
        in_features: The length of the inputs.
        out_features: The length of the outputs.
        memory: Where the gradients come from.
    """

    def __init__(self, in_features: int, out_features: int, memory: Memory) -> None:
        super().__init__(in_features, out_features, bias=False)
        self._memory = memory

    def forward(self, inputs: Tensor) -> Tensor:
        """Multiply inputs (R, in_features) by the weight."""
        if inputs.dim() != 2 or not _in_core(inputs, self.weight):
            return super().forward(inputs)
        return _LargeProduct.apply(inputs, self.weight, self._memory)

    def train(self, mode: bool = True) -> LargeLinear:
        if not mode:
            self._memory.clear()
        return super().train(mode)


class _LargeProduct(torch.autograd.Function):
    """The product of inputs (R, N) with a weight (H, N)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, memory: Memory) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.memory = memory
        out = inputs.new_empty(len(inputs), len(weight))
        return _product(inputs, weight.T, out, in_core=len(inputs) >= _FORWARD_ROWS)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        inputs, weight = ctx.saved_tensors
        in_core = len(inputs) >= _BACKWARD_ROWS
        of_inputs = of_weight = None
        if ctx.needs_input_grad[0]:
            of_inputs = _product(gradient, weight, ctx.memory.take(inputs.shape, inputs), in_core=in_core)
        if ctx.needs_input_grad[1]:
            of_weight = _product(gradient.T, inputs, ctx.memory.take(weight.shape, weight), in_core=in_core)
        return of_inputs, of_weight, None


def _product(a: Tensor, b: Tensor, out: Tensor, *, in_core: bool) -> Tensor:
    """Write the product of two matrices into memory, and return it."""
    if not in_core or a.device.type != "cpu":
        return torch.mm(a, b, out=out)
    _core.multiply(_core_of(a), _core_of(b), _core_of(out), torch.get_num_threads())
    return out
