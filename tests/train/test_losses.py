"""Losses against loops over rows and classes, and the numbers of VideoLT's published code."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from vltr_train import losses

B, C = 6, 8
COUNTS = np.array([1912, 44, 196, 100, 101, 500, 501, 60])  # VideoLT's largest and smallest class among them


def batch(soft=False, seed=0):
    rng = np.random.default_rng(seed)
    targets = (rng.random((B, C)) < 0.3).astype(np.float32)
    targets[0, :2] = 1
    if soft:
        targets *= rng.choice([0.25, 0.75, 1.0], (B, C)).astype(np.float32)
    return 3 * rng.standard_normal((B, C), np.float32), targets


def entropy(logit: float, target: float) -> float:
    """Binary cross entropy by its definition, in Python's floats."""
    p = 1 / (1 + math.exp(-logit))
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))


def check(loss, slow):
    """A loss of (logits, targets) is the loop over `slow(b, c)`, as a matrix and as a mean."""
    expected = np.array([[slow(b, c) for c in range(C)] for b in range(B)])
    matrix, mean = loss(reduction="none"), loss()
    assert mean.shape == ()
    np.testing.assert_allclose(matrix.numpy(), expected, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(mean.numpy(), expected.mean(), rtol=1e-6)


def bind(function, logits, targets, *arguments, **options):
    """The loss in float64, where the loops' numbers are not lost in rounding."""
    inputs = torch.from_numpy(logits).double(), torch.from_numpy(targets).double()
    return lambda **reduction: function(*inputs, *arguments, **options, **reduction)


@pytest.mark.parametrize("soft", [False, True])
def test_bce_is_its_loops(soft):
    x, y = batch(soft)
    check(bind(losses.bce, x, y), lambda b, c: entropy(x[b, c], y[b, c]))
    weight = torch.arange(1.0, C + 1)
    check(bind(losses.bce, x, y, weight), lambda b, c: (c + 1) * entropy(x[b, c], y[b, c]))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("soft", [False, True])
def test_focal_is_its_loops(soft, gamma):
    x, y = batch(soft)

    def slow(b, c):
        ell = entropy(x[b, c], y[b, c])
        return 0.25 * (1 - math.exp(-ell)) ** gamma * ell

    check(bind(losses.focal, x, y, gamma, 0.25), slow)


def test_focal_of_one_half():
    assert losses.focal(torch.zeros(1, 1), torch.zeros(1, 1)).item() == pytest.approx(0.346574, abs=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_has_finite_gradients_everywhere(gamma):
    logits = torch.tensor([[-200.0, -30.0, -1e-8, 0.0, 30.0, 200.0]]).repeat(3, 1).requires_grad_()
    losses.focal(logits, torch.tensor([[0.0], [1e-8], [1.0]]).expand(3, 6), gamma).backward()
    assert logits.grad.isfinite().all()


def test_class_balanced_weights_is_its_loops():
    beta = 0.9999
    raw = [(1 - beta) / (1 - math.prod([beta] * int(n))) for n in COUNTS]
    expected = np.array(raw) * C / sum(raw)
    weights = losses.class_balanced_weights(COUNTS)
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-5)
    # VideoLT's weights of its largest and smallest class, .069811 and 2.767304: their ratio needs no other count.
    assert (weights[0] / weights[1]).item() == pytest.approx(0.069811 / 2.767304, rel=1e-5)
    assert weights.sum().item() == pytest.approx(C, rel=1e-6)


def test_class_balanced_weights_without_videos_or_balance():
    assert torch.equal(losses.class_balanced_weights(np.array([0, 5])), losses.class_balanced_weights(np.array([1, 5])))
    assert losses.class_balanced_weights(COUNTS, 0.0).tolist() == [1.0] * C
    with pytest.raises(ValueError, match=r"^beta: expected from 0 to below 1, got 1\.0$"):
        losses.class_balanced_weights(COUNTS, 1.0)


def test_ldam_margins_are_the_published_ones():
    margins = losses.ldam_margins(COUNTS)
    assert margins[0].item() == pytest.approx(0.194743, abs=1e-6)
    assert margins[1].item() == 0.5
    assert margins[:2].sum().item() == pytest.approx(0.694743, abs=1e-6)  # of a video with both labels
    assert losses.ldam_margins(np.array([0, 16]), 1.0).tolist() == [1.0, 0.5]


@pytest.mark.parametrize("summed", [True, False])
@pytest.mark.parametrize("soft", [False, True])
def test_ldam_is_its_loops(soft, summed):
    x, y = batch(soft)
    x /= 10
    margins = 0.5 * (COUNTS / COUNTS.min()) ** -0.25

    def slow(b, c):
        others = [margins[k] for k in range(C) if y[b, k] >= 1 and (summed or k == c)]
        return (c + 1) * entropy(30 * (x[b, c] - (sum(others) if y[b, c] >= 1 else 0)), y[b, c])

    arguments = (losses.ldam_margins(COUNTS), 30.0, torch.arange(1.0, C + 1))
    check(bind(losses.ldam, x, y, *arguments, summed=summed), slow)


@pytest.mark.parametrize("gamma", [0.0, 1.0])
@pytest.mark.parametrize("soft", [False, True])
def test_eql_without_chance(soft, gamma):
    x, y = batch(soft)
    tail = COUNTS <= 100

    def slow(b, c):
        return (1 - gamma * tail[c] * (1 - y[b, c])) * entropy(x[b, c], y[b, c])

    check(bind(losses.eql, x, y, torch.from_numpy(tail), gamma), slow)


def test_eql_drops_its_share_of_tail_negatives():
    torch.manual_seed(0)
    logits, tail = torch.zeros(128, 1004), torch.arange(1004) < 340
    dropped = losses.eql(logits, torch.zeros_like(logits), tail, reduction="none") == 0
    assert not dropped[:, 340:].any()
    assert dropped[:, :340].float().mean().item() == pytest.approx(1.76e-3, abs=6e-4)
    kept = losses.eql(logits, torch.ones_like(logits), tail, 1.0, reduction="none")
    assert (kept > 0).all()


def test_other_positives_are_masked():
    targets = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 0]])
    mask = losses.other_positives_mask(targets, torch.tensor([0, 2]))
    assert mask.tolist() == [[1, 0, 1, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize("over_classes", ["sum", "mean"])
@pytest.mark.parametrize("masked", [True, False])
def test_resampled_bce_is_its_loops(masked, over_classes):
    x, y = batch()
    y[np.arange(B), np.arange(B)] = 1
    expected = 0.0
    for b in range(B):
        for c in range(C):
            if not masked or c == b or y[b, c] == 0:
                expected += entropy(x[b, c], y[b, c]) / B / (C if over_classes == "mean" else 1)
    options = {"mask_other_positives": masked, "over_classes": over_classes}
    got = losses.resampled_bce(torch.from_numpy(x), torch.from_numpy(y), torch.arange(B), **options)
    assert got.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        (lambda *batch: losses.focal(*batch, gamma=-1.0), "gamma: expected at least 0, got -1.0"),
        (lambda *batch: losses.focal(*batch, gamma=math.nan), "gamma: expected at least 0, got nan"),
        (lambda *batch: losses.focal(*batch, gamma="a"), "gamma: expected at least 0, got 'a'"),
        (lambda *batch: losses.focal(*batch, alpha=-1.0), "alpha: expected at least 0, got -1.0"),
        (lambda *batch: losses.eql(*batch, [1], gamma=2.0), "gamma: expected a probability from 0 to 1, got 2.0"),
        (lambda *_: losses.ldam_margins([1, 2], largest=-1.0), "largest: expected at least 0, got -1.0"),
        (lambda _, targets: losses.rebalanced_weights(targets, [1], mu=math.nan), "mu: expected at least 0, got nan"),
        (lambda *batch: losses.distribution_balanced(*batch, gamma=-1.0), "gamma: expected at least 0, got -1.0"),
    ],
)
def test_numbers_out_of_their_range_are_refused(loss, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        loss([[0.0]], [[1.0]])


def test_unknown_choices_are_refused():
    x = torch.zeros(1, 2)
    for loss in (losses.bce, losses.focal):
        with pytest.raises(ValueError, match=r"^reduction: expected 'mean' or 'none', got 'sum'$"):
            loss(x, x, reduction="sum")
    with pytest.raises(ValueError, match=r"^over_classes: expected 'sum' or 'mean', got 'max'$"):
        losses.resampled_bce(x, x, torch.zeros(1, dtype=torch.int64), over_classes="max")
