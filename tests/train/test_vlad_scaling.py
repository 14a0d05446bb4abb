"""VLAD's sums and their scaling in the core: the formula in loops, gradients by torch in float64, bits, and memory."""

from __future__ import annotations

import copy
import math
import pickle
import weakref

import numpy as np
import pytest
import torch
from devices import DEVICES, EMULATED, on_device, to_host, torch_on_device
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import forward_ad

from vltr_eval._base import _core
from vltr_eval._base.arrays import borrow
from vltr_train.ops.memory import Memory
from vltr_train.ops.vlad import LargeLinear, score_frames, vlad

LEAST = 1e-12
SHAPES = [(1, 1, 1), (3, 5, 1), (2, 33, 7), (9, 16, 64), (17, 70, 5), (1, 100, 600), (0, 4, 3)]
THREADED = [(65, 130, 7), (33, 64, 40)]  # several items of work, and more of it than the calling thread does alone
KINDS = [(centers, factors, whole) for centers in (False, True) for factors in (False, True) for whole in (False, True)]


def make(shape: tuple[int, int, int], *, centers: bool, factors: bool, seed: int = 0) -> dict[str, np.ndarray | None]:
    """Make inputs of the core. Some clusters of sums are 0, and some are shorter than the least length."""
    rng = np.random.default_rng(seed)
    rows, dims, clusters = shape
    sums = rng.standard_normal(shape, np.float32)
    sums *= rng.choice(np.float32([1, 1, 1, 0, 1e-14]), (rows, 1, clusters))
    return {
        "sums": sums,
        "mass": rng.random((rows, clusters), np.float32) + np.float32(0.5) if centers else None,
        "centers": rng.standard_normal((dims, clusters), np.float32) if centers else None,
        "factors": rng.random((dims, clusters), np.float32) + np.float32(0.1) if factors else None,
    }


def in_core(given: dict[str, np.ndarray | None], *, whole: bool, device: str = "cpu", threads: int = 2):
    """Return the scaled sums and the lengths."""
    put = {name: None if value is None else on_device(value.copy(), device) for name, value in given.items()}
    lengths = on_device(np.zeros(given["sums"].shape[::2]), device)
    _core.scale_vlad(*(lend(value) for value in put.values()), whole, lend(lengths), threads)
    return to_host(put["sums"]), to_host(lengths)


def gradient_in_core(given, gradient: np.ndarray, *, whole: bool, device: str = "cpu", threads: int = 2):
    """Return the gradients of sums, mass, centers and the logarithms of factors."""
    vectors, lengths = in_core(given, whole=whole, device=device, threads=threads)
    rows, _, clusters = vectors.shape
    weights = [None if given[name] is None else given[name] for name in ("mass", "centers", "factors")]
    outs = [
        np.full_like(vectors, np.nan),
        *(None if weight is None else np.full_like(weight, np.nan) for weight in weights),
    ]
    scratch = np.zeros((rows, 3, clusters), np.float32)
    inputs = [vectors, gradient, *weights]
    put = [None if value is None else on_device(value, device) for value in (*inputs, lengths, scratch, *outs)]
    _core.scale_vlad_gradient(*map(lend, put[:5]), whole, *map(lend, put[5:]), threads)
    return [None if value is None else to_host(value) for value in put[7:]]


def lend(array):
    return None if array is None else borrow("array", array).core


def slow_scaling(given: dict[str, np.ndarray | None], whole: bool) -> np.ndarray:
    """The formula for one number after another, in float64."""
    out = np.zeros(given["sums"].shape)
    for r, row in enumerate(given["sums"].astype(float)):
        for k in range(row.shape[1]):
            for d in range(row.shape[0]):
                x = row[d, k]
                if given["centers"] is not None:
                    x -= float(given["mass"][r, k]) * float(given["centers"][d, k])
                if given["factors"] is not None:
                    x *= float(given["factors"][d, k])
                out[r, d, k] = x
            out[r, :, k] /= max(math.sqrt(sum(x * x for x in out[r, :, k])), LEAST)
        if whole:
            out[r] /= max(math.sqrt(sum(x * x for x in out[r].flat)), LEAST)
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("centers", "factors", "whole"), KINDS)
def test_scaled_sums_are_the_formula_in_loops(shape, centers, factors, whole):
    given = make(shape, centers=centers, factors=factors)
    found, lengths = in_core(given, whole=whole)
    np.testing.assert_allclose(found, slow_scaling(given, whole), rtol=2e-4, atol=3e-6)
    assert lengths.shape == (shape[0], shape[2])


def torch_scaling(sums, mass, centers, factors, whole):
    """The formula as torch's own functions compute it."""
    values = sums
    if centers is not None:
        values = values - mass.unsqueeze(1) * centers
    if factors is not None:
        values = values * factors
    values = nn.functional.normalize(values, dim=1)
    return nn.functional.normalize(values.flatten(1), dim=1).view(values.shape) if whole else values


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("centers", "factors", "whole"), KINDS)
def test_gradients_are_those_of_torch_in_float64(shape, centers, factors, whole):
    given = make(shape, centers=centers, factors=factors)
    given["sums"][np.abs(given["sums"]) < 1e-10] = 0  # torch's gradient at a length below the least is tested below
    gradient = np.random.default_rng(1).standard_normal(shape, np.float32)
    leaves = [None if value is None else torch.from_numpy(value).double().requires_grad_() for value in given.values()]
    torch_scaling(*leaves, whole).backward(torch.from_numpy(gradient).double())
    found = gradient_in_core(given, gradient, whole=whole)
    expected = [None if leaf is None else leaf.grad.numpy() for leaf in leaves]
    if factors:
        expected[3] = expected[3] * given["factors"]  # the core has that of the logarithm
    for got, wanted in zip(found, expected, strict=True):
        assert (got is None) == (wanted is None)
        if got is not None:
            scale = np.abs(wanted).max(initial=0.1)
            np.testing.assert_allclose(got / scale, wanted / scale, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("whole", [False, True])
def test_gradients_of_clusters_below_the_least_length_are_those_of_torch(whole):
    sums = np.random.default_rng(0).standard_normal((2, 5, 3), np.float32)
    sums[:, :, 1] *= np.float32(1e-14)
    sums[1] *= np.float32(1e-13)
    gradient = np.ones_like(sums)
    leaf = torch.from_numpy(sums).double().requires_grad_()
    torch_scaling(leaf, None, None, None, whole).backward(torch.from_numpy(gradient).double())
    given = {"sums": sums, "mass": None, "centers": None, "factors": None}
    found = gradient_in_core(given, gradient, whole=whole)[0]
    # Squares of numbers near 1e-24 are rounded in float32, so lengths far below the least have few correct digits.
    np.testing.assert_allclose(found, leaf.grad.numpy(), rtol=1e-3, atol=1e-3 * np.abs(leaf.grad.numpy()).max())


@pytest.mark.parametrize("shape", SHAPES + THREADED)
@pytest.mark.parametrize(("centers", "factors", "whole"), KINDS)
def test_bits_are_those_of_one_thread_on_every_device(device, shape, centers, factors, whole):
    given = make(shape, centers=centers, factors=factors, seed=2)
    gradient = np.random.default_rng(3).standard_normal(shape, np.float32)
    expected = [*in_core(given, whole=whole, threads=1), *gradient_in_core(given, gradient, whole=whole, threads=1)]
    for threads in (2, 5):
        options = {"whole": whole, "device": device, "threads": threads}
        found = [*in_core(given, **options), *gradient_in_core(given, gradient, **options)]
        for got, wanted in zip(found, expected, strict=True):
            assert (got is None) == (wanted is None)
            assert got is None or got.tobytes() == wanted.tobytes()


def test_a_cluster_with_a_nan_is_all_nan():
    given = make((2, 4, 3), centers=False, factors=False)
    given["sums"][:] = 1
    given["sums"][1, 2, 1] = np.nan
    found, _ = in_core(given, whole=False)
    assert np.isnan(found[1, :, 1]).all()
    assert np.isfinite(np.delete(found[1], 1, axis=1)).all()
    assert np.isfinite(found[0]).all()


def test_core_refuses_elements_that_are_not_aligned():
    given = make((2, 4, 3), centers=True, factors=True)
    moved = np.zeros(given["mass"].nbytes + 1, np.uint8)[1:].view(np.float32).reshape(given["mass"].shape)
    with pytest.raises(ValueError, match="tensors: expected elements at multiples of their size"):
        _core.scale_vlad(
            lend(given["sums"]), lend(moved), lend(given["centers"]), None, True, lend(np.zeros((2, 3))), 1
        )


@pytest.mark.skipif("cuda" not in DEVICES, reason="needs a device")
def test_core_refuses_tensors_on_two_devices():
    given = make((2, 4, 3), centers=False, factors=True)
    sums, factors, lengths = lend(on_device(given["sums"], "cuda")), given["factors"], np.zeros((2, 3))
    with pytest.raises(ValueError, match="tensors: expected all on one device"):
        _core.scale_vlad(sums, None, None, lend(factors), True, lend(on_device(lengths, "cuda")), 1)


@pytest.mark.parametrize("name", ["mass", "centers", "factors"])
def test_core_refuses_weights_of_another_shape(name):
    given = make((2, 4, 3), centers=True, factors=True)
    given[name] = given[name][:, :2].copy()
    with pytest.raises(ValueError, match=name):
        in_core(given, whole=True)


# The whole operation


def slow_vlad(frames: Tensor, shares: Tensor, gate: Tensor | None, centers: Tensor | None, whole: bool) -> Tensor:
    """One cluster of one view of one clip after another."""
    views = []
    for view in shares:
        rows = []
        for clip, share in zip(frames, view, strict=True):
            found = []
            for k in range(share.shape[1]):
                middle = 0 if centers is None else centers[:, k]
                summed = sum(share[t, k] * (clip[t] - middle) for t in range(len(clip)))
                found.append(summed if gate is None else summed / (1 + (-gate[k]).exp()))
            rows.append(torch.stack(found, 1))
        views.append(torch_scaling(torch.stack(rows), None, None, None, whole).flatten(1))
    return torch.stack(views)


def leaves_of(seed: int, views: int, rows: int, frames: int, dims: int, clusters: int, gated: bool, centered: bool):
    rng = np.random.default_rng(seed)
    shares = rng.random((views, rows, frames, clusters), np.float32)
    shares *= rng.random((views, rows, frames, 1)) < 0.7  # masked frames; sometimes all of a clip
    arrays = (
        rng.standard_normal((rows, frames, dims), np.float32),
        shares,
        rng.standard_normal((clusters, dims), np.float32) if gated else None,
        rng.standard_normal((dims, clusters), np.float32) if centered else None,
    )
    return [None if array is None else torch.from_numpy(array).requires_grad_() for array in arrays]


SIZES = st.integers(1, 4)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), SIZES, SIZES, SIZES, st.integers(1, 40), SIZES, *[st.booleans()] * 3)
def test_views_and_all_gradients_are_those_of_loops(seed, views, rows, frames, dims, clusters, gated, centered, whole):
    leaves = leaves_of(seed, views, rows, frames, dims, clusters, gated, centered)
    exact = [None if leaf is None else leaf.detach().double().requires_grad_() for leaf in leaves]
    out = vlad(leaves[0], leaves[1], gate=leaves[2], centers=leaves[3], whole=whole)
    expected = slow_vlad(*exact, whole)
    torch.testing.assert_close(out.double(), expected, rtol=1e-3, atol=1e-5)
    lengths = torch.stack([part.norm(dim=1) for part in expected.detach().unflatten(2, (dims, clusters)).unbind(0)])
    assert (lengths <= 1 + 1e-9).all()
    if dims == 1:
        return  # a cluster is 1, -1 or 0, so gradients are rounding errors of 0
    gradient = torch.from_numpy(np.random.default_rng(seed).standard_normal(tuple(out.shape)))
    out.backward(gradient.float())
    expected.backward(gradient)
    shortest = min_length(exact, views)
    for leaf, wanted in zip(leaves, exact, strict=True):
        if leaf is not None:
            size = wanted.grad.abs().max().item() + 1 / shortest
            torch.testing.assert_close(leaf.grad.double() / size, wanted.grad / size, rtol=1e-3, atol=2e-5)


def min_length(leaves: list[Tensor | None], views: int) -> float:
    """The shortest cluster before scaling, which gradients are divided by."""
    frames, shares, gate, centers = (None if leaf is None else leaf.detach() for leaf in leaves)
    sums = frames.mT @ shares
    if centers is not None:
        sums = sums - shares.sum(2, keepdim=True) * centers
    if gate is not None:
        sums = sums * gate.sigmoid().mT
    lengths = sums.norm(dim=2)
    return float(lengths[lengths > 0].min()) if (lengths > 0).any() else 1.0


@pytest.mark.parametrize("whole", [False, True])
def test_gradcheck_passes_in_float64(whole):
    leaves = [leaf.detach().double().requires_grad_() for leaf in leaves_of(4, 2, 3, 4, 5, 3, True, True)]
    assert torch.autograd.gradcheck(lambda x, a, g, c: vlad(x, a, gate=g, centers=c, whole=whole), leaves)


def test_leaves_without_gradient_get_none_and_the_others_the_same():
    leaves = leaves_of(5, 2, 3, 4, 6, 3, True, False)
    vlad(leaves[0], leaves[1], gate=leaves[2]).square().sum().backward()
    frames = leaves[0].detach()
    others = [leaf.detach().requires_grad_() for leaf in leaves[1:3]]
    vlad(frames, others[0], gate=others[1]).square().sum().backward()
    assert frames.grad is None
    assert all(torch.equal(other.grad, leaf.grad) for other, leaf in zip(others, leaves[1:3], strict=True))


def test_a_second_derivative_is_an_error():
    leaves = leaves_of(6, 1, 2, 3, 4, 2, True, False)
    loss = vlad(leaves[0], leaves[1], gate=leaves[2]).pow(3).sum()
    (first,) = torch.autograd.grad(loss, leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_autocast_keeps_the_formula_of_torch():
    leaves = leaves_of(7, 2, 3, 4, 8, 3, True, False)
    with torch.autocast("cpu", torch.bfloat16):
        out = vlad(leaves[0], leaves[1], gate=leaves[2])
    torch.testing.assert_close(out.float(), vlad(leaves[0], leaves[1], gate=leaves[2]), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("shape", [(1, 2, 3, 4, 0), (1, 2, 3, 0, 2), (1, 2, 0, 4, 2), (1, 0, 3, 4, 2)])
def test_empty_sizes_give_the_same_in_every_dtype(shape):
    leaves = leaves_of(8, *shape, False, False)
    out = vlad(leaves[0], leaves[1])
    assert torch.equal(out.double(), vlad(leaves[0].double(), leaves[1].double()))
    out.sum().backward()
    assert all((leaf.grad == 0).all() for leaf in leaves[:2])


def test_a_clip_without_frames_is_zero_in_float16():
    leaves = leaves_of(9, 1, 2, 3, 4, 2, True, False)
    shares = leaves[1].detach().half()
    shares[:, 0] = 0
    out = vlad(leaves[0].detach().half(), shares, gate=leaves[2].detach().half())
    assert out.dtype == torch.float16
    assert (out[:, 0] == 0).all()
    assert torch.isfinite(out).all()


LAYERS = {
    dtype: LargeLinear(4, 3, Memory()).requires_grad_(False).to(dtype) for dtype in (torch.float32, torch.float64)
}
LAYERS[torch.float64].load_state_dict(LAYERS[torch.float32].state_dict())
BY_JIT = pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")
# Functions of a vector of 24 numbers, in float32 or float64.
OPERATIONS = {
    "vlad": lambda x: vlad(x.view(2, 3, 4), x.view(1, 2, 3, 4).sigmoid()),
    "scores": lambda x: torch.cat([part.flatten() for part in score_frames(x.view(6, 4), x.view(6, 4), Memory())]),
    "linear": lambda x: LAYERS[x.dtype](x.view(6, 4).square()),
}


@pytest.mark.parametrize("name", OPERATIONS)
@BY_JIT
def test_transforms_of_torch_see_the_formula(name):
    operation = OPERATIONS[name]
    x = torch.linspace(-1, 2, 24)
    wide = x.double().requires_grad_()
    (expected,) = torch.autograd.grad(operation(wide).square().sum(), wide)
    torch.testing.assert_close(torch.func.grad(lambda v: operation(v).square().sum())(x), expected.float())
    many = torch.func.vmap(operation)(torch.stack([x, 2 * x]))
    torch.testing.assert_close(many, torch.stack([operation(x), operation(2 * x)]))
    tangent = torch.ones_like(x)
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(operation(forward_ad.make_dual(x, tangent))).tangent
    wanted = torch.func.jvp(operation, (wide.detach(),), (tangent.double(),))[1]
    torch.testing.assert_close(found, wanted.float())


@pytest.mark.parametrize("name", OPERATIONS)
@BY_JIT
def test_traces_hold_the_formula(name):
    operation, x = OPERATIONS[name], torch.linspace(-1, 2, 24)
    traced = torch.jit.trace(operation, x)
    torch.testing.assert_close(traced(2 * x), operation(2 * x))


@pytest.mark.parametrize("name", ["vlad", "linear"])
def test_operations_on_a_device_are_those_in_cpu_memory(device, name):
    if device == "cuda" and EMULATED:
        pytest.skip("NOT TESTED on the emulator: results of torch are not in its memory")
    rng = np.random.default_rng(10)
    arrays = {
        "vlad": [rng.random(size, np.float32) for size in ((3, 4, 5), (2, 3, 4, 6), (6, 5), (5, 6))],
        "linear": [rng.random((8, *LARGE[:1]), np.float32)],
    }[name]
    found = []
    for kind in ("cpu", device):
        torch.manual_seed(0)
        leaves = [torch_on_device(torch.from_numpy(array.copy()), kind).requires_grad_() for array in arrays]
        if name == "vlad":
            out = vlad(leaves[0], leaves[1], gate=leaves[2], centers=leaves[3])
        else:
            layer = LargeLinear(*LARGE, Memory())
            layer.weight = nn.Parameter(torch_on_device(layer.weight.detach(), kind))
            leaves.append(layer.weight)
            out = layer(leaves[0])
        out.square().sum().backward()
        found.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for got, wanted in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(to_host(got), to_host(wanted), rtol=1e-4, atol=1e-5)


# Scores of frames


@pytest.mark.parametrize("used", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_and_frames_have_the_gradients_of_two_uses(used, dtype):
    torch.manual_seed(0)
    frames = torch.randn(7, 5, dtype=dtype, requires_grad=True)
    weight = torch.randn(3, 5, dtype=dtype, requires_grad=True)
    plain = [leaf.detach().clone().requires_grad_() for leaf in (frames, weight)]
    weights = torch.randn(7, 3, dtype=dtype), torch.randn(7, 5, dtype=dtype)
    ours, theirs = score_frames(frames, weight, Memory()), (plain[0] @ plain[1].T, plain[0])
    for leaves, outs in (((frames, weight), ours), (plain, theirs)):
        parts = [out.square() * scale for out, scale, use in zip(outs, weights, used, strict=True) if use]
        grads = torch.autograd.grad(sum(part.sum() for part in parts), leaves, allow_unused=True)
        for leaf, grad in zip(leaves, grads, strict=True):
            leaf.grad = torch.zeros_like(leaf) if grad is None else grad
    assert torch.equal(ours[1], frames)
    torch.testing.assert_close(ours[0], theirs[0])
    torch.testing.assert_close(frames.grad, plain[0].grad)
    torch.testing.assert_close(weight.grad, plain[1].grad)


def test_a_gradient_of_the_frames_that_somebody_keeps_is_not_changed():
    frames = torch.ones(4, 3, requires_grad=True)
    scores, same = score_frames(frames, torch.ones(2, 3), Memory())
    same.retain_grad()
    (scores.sum() + 2 * same.sum()).backward()
    assert torch.equal(same.grad, torch.full((4, 3), 2.0))
    assert torch.equal(frames.grad, torch.full((4, 3), 4.0))


def test_frames_without_gradient_get_none():
    weight = torch.ones(2, 3, requires_grad=True)
    scores, same = score_frames(torch.ones(4, 3), weight, Memory())
    (scores.sum() + same.sum()).backward()
    assert torch.equal(weight.grad, torch.full((2, 3), 4.0))


# The large layer and its memory

LARGE = (512, 1024)  # of float32: more than the least block


def test_the_large_layer_is_torchs_linear():
    torch.manual_seed(0)
    ours = LargeLinear(*LARGE, Memory())
    theirs = nn.Linear(*LARGE, bias=False)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    inputs = [torch.randn(6, LARGE[0]) for _ in range(2)]
    for layer in (ours, theirs):
        for values in inputs:  # the second step adds to the gradients
            layer(values.requires_grad_()).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("shape", [(LARGE[0],), (2, 3, LARGE[0]), (0, LARGE[0])])
def test_the_large_layer_takes_inputs_of_any_rank(shape):
    torch.manual_seed(0)
    layer, inputs = LargeLinear(*LARGE, Memory()), torch.randn(shape)
    torch.testing.assert_close(layer(inputs), nn.functional.linear(inputs, layer.weight))


@pytest.mark.parametrize(("num_rows", "products"), [(1, 0), (7, 0), (8, 2), (255, 2), (256, 3)])
def test_the_core_multiplies_where_it_is_faster(monkeypatch, num_rows, products):
    calls, multiply = [], _core.multiply
    monkeypatch.setattr(_core, "multiply", lambda *arguments: (calls.append(1), multiply(*arguments)))
    torch.manual_seed(0)
    layer, inputs = LargeLinear(40, 30, Memory()), torch.randn(num_rows, 40, requires_grad=True)
    layer(inputs).square().sum().backward()
    assert len(calls) == products
    found = inputs.grad.clone(), layer.weight.grad.clone()
    expected = torch.autograd.grad(nn.functional.linear(inputs, layer.weight).square().sum(), (inputs, layer.weight))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_bits_that_the_core_makes_do_not_depend_on_threads():
    torch.manual_seed(0)
    layer, inputs = LargeLinear(*LARGE, Memory()), torch.randn(256, LARGE[0])
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            values = inputs.clone().requires_grad_()
            out = layer(values)
            found.append((out, *torch.autograd.grad(out.square().sum(), (values, layer.weight))))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_the_gradient_of_a_weight_is_its_memory_itself_and_comes_back():
    layer = LargeLinear(*LARGE, Memory())
    addresses = []
    for _ in range(3):
        layer(torch.randn(8, LARGE[0])).sum().backward()
        addresses.append(layer.weight.grad.data_ptr())
        layer.weight.grad = None
    assert len(set(addresses)) == 1


def test_a_gradient_that_somebody_keeps_is_not_written_again():
    layer = LargeLinear(*LARGE, Memory())
    layer(torch.ones(4, LARGE[0])).sum().backward()
    kept = layer.weight.grad[:3]  # a view holds the memory too
    layer.weight.grad = None
    before = kept.clone()
    layer(torch.zeros(4, LARGE[0])).sum().backward()
    assert torch.equal(kept, before)
    assert layer.weight.grad.abs().max() == 0


def test_memory_is_lent_to_one_tensor_at_a_time():
    memory, like = Memory(), torch.zeros(1)
    first, second = memory.take(LARGE, like), memory.take(LARGE, like)
    assert first.data_ptr() != second.data_ptr()
    address = first.data_ptr()
    del first
    smaller = memory.take((LARGE[0] - 1, LARGE[1]), like)
    assert smaller.data_ptr() == address
    assert smaller.shape == (LARGE[0] - 1, LARGE[1])
    assert memory.take((3,), torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


def test_the_smallest_block_that_is_enough_is_lent():
    memory, like = Memory(), torch.zeros(1)
    large, small = memory.take((4, *LARGE), like), memory.take(LARGE, like)
    address = small.data_ptr()
    del large, small
    taken = memory.take(LARGE, like)
    assert taken.data_ptr() == address


def test_a_small_tensor_keeps_no_large_block():
    memory, like = Memory(), torch.zeros(1)
    large = memory.take((4, *LARGE), like)
    address = large.data_ptr()
    del large
    small = memory.take(LARGE, like)
    half = memory.take((2, *LARGE), like)
    assert small.data_ptr() != address
    assert half.data_ptr() == address


def test_blocks_that_nobody_needs_are_freed():
    memory, like = Memory(), torch.zeros(1)
    memory.take((4, *LARGE), like)
    freed = weakref.ref(memory._free[0][1])
    for _ in range(31):
        memory.take(LARGE, like)
    assert freed() is not None
    for _ in range(2):
        memory.take(LARGE, like)
    assert freed() is None
    assert len(memory._free) == 1


def test_eval_frees_the_memory_of_the_large_layer():
    memory = Memory()
    layer = nn.Sequential(LargeLinear(*LARGE, memory))
    layer(torch.randn(8, LARGE[0])).sum().backward()
    layer.zero_grad(set_to_none=True)
    assert memory._free
    layer.train()
    assert memory._free
    layer.eval()
    assert not memory._free


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda memory: pickle.loads(pickle.dumps(memory))])
def test_copies_of_a_memory_share_nothing(copied):
    memory, like = Memory(), torch.zeros(1)
    address = memory.take(LARGE, like).data_ptr()
    taken = copied(memory).take(LARGE, like)
    assert taken.data_ptr() != address
    assert memory.take(LARGE, like).data_ptr() == address
