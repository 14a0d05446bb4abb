"""Dropout of one random word for several elements: its shares, its scale, and that it is torch's elsewhere."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from vltr_train.ops.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.25, 0.3, 0.5, 0.9, 1 / 256, 255 / 256])
def test_a_share_p_is_zeroed_and_the_rest_scaled(p):
    torch.manual_seed(0)
    out = Dropout(p)(torch.ones(400, 1003))
    dropped = (out == 0).double()
    # Five standard deviations, of all elements and of each position in the words that they share.
    assert abs(dropped.mean() - p) < 5 * (p * (1 - p) / out.numel()) ** 0.5 + 2**-17
    for position in range(8):
        assert abs(dropped.flatten()[position::8].mean() - p) < 5 * (8 * p * (1 - p) / out.numel()) ** 0.5 + 2**-17
    assert out[out != 0].unique().tolist() == pytest.approx([1 / (1 - p)], rel=2**-17 / (1 - p) + 1e-6)


def test_neighbours_are_independent():
    torch.manual_seed(1)
    dropped = (Dropout(0.5)(torch.ones(10**6)) == 0).double() - 0.5
    for distance in (1, 2, 3, 4, 7, 8):
        assert abs((dropped[:-distance] * dropped[distance:]).mean()) < 5 * 0.25 / 1000


def test_gradients_take_the_same_way():
    torch.manual_seed(2)
    features = torch.randn(7, 9, requires_grad=True)
    out = Dropout(0.5)(features)
    out.sum().backward()
    assert torch.equal(features.grad * features, out)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (5, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_shape_and_dtype_stay(shape, dtype):
    out = Dropout(0.25)(torch.ones(shape, dtype=dtype))
    assert (out.shape, out.dtype) == (shape, dtype)


def test_one_seed_gives_one_mask():
    masks = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        masks.append(Dropout(0.5)(torch.ones(100)))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_evaluation_and_the_ends_are_torchs():
    features = torch.randn(5)
    assert Dropout(0.5).eval()(features) is features
    assert torch.equal(Dropout(0)(features), features)
    assert torch.equal(Dropout(1)(features), torch.zeros(5))
