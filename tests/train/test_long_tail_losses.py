"""ASL, the distribution-balanced loss and offsets by prior, against loops and the numbers of their published code."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from vltr_train import losses

Z = [[2.0, -1.0, 0.5, -3.0], [-0.5, 1.5, -2.0, 0.25], [0.0, -0.75, 3.0, 1.0]]
Y = [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 1.0]]
SOFT = [[1.0, 0.0, 0.7, 0.0], [0.0, 1.0, 0.0, 0.3], [1.0, 0.0, 1.0, 0.5]]
ONE_LABEL = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
COUNTS, VIDEOS = np.array([500, 100, 20, 5]), 600
SIZE = 12  # numbers of a matrix


def inputs(targets=Y, logits=Z, dtype=torch.float64):
    return torch.tensor(logits, dtype=dtype, requires_grad=True), torch.tensor(targets, dtype=dtype)


def gradient_of(loss, logits):
    (found,) = torch.autograd.grad(loss, logits)
    return found.numpy()


# Asymmetric loss: numbers of Alibaba-MIIL/ASL, whose sum over all is `SIZE` times the mean


@pytest.mark.parametrize(
    ("powers", "expected"),
    [((4, 0, 0.05), 1.9136451), ((4, 1, 0.05), 0.72021401), ((2, 0, 0.0), 2.2504101), ((0, 0, 0.0), 4.0330791)],
)
def test_asymmetric_has_the_published_numbers(powers, expected):
    logits, targets = inputs()
    assert SIZE * losses.asymmetric(logits, targets, *powers).item() == pytest.approx(expected, rel=1e-7)
    half = losses.asymmetric(logits.half(), targets.half(), *powers)
    assert half.dtype == torch.float32
    assert SIZE * half.item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("focus_gradient", "expected"),
    [
        (
            False,
            [
                [-0.11920296, 0.00057841267, -0.37754065, 0],
                [0.0040222569, -0.18242556, 2.5870504e-06, 0.034720637],
                [-0.5, 0.0016074756, -0.047425866, -0.2689414],
            ],
        ),
        (
            True,
            [
                [-0.11920296, 0.0026179668, -0.37754065, 0],
                [0.017129675, -0.18242556, 1.2568633e-05, 0.12967068],
                [-0.5, 0.00707534, -0.047425866, -0.2689414],
            ],
        ),
    ],
)
def test_asymmetric_has_the_published_gradients(focus_gradient, expected):
    logits, targets = inputs()
    loss = losses.asymmetric(logits, targets, 4.0, 0.0, focus_gradient=focus_gradient)
    np.testing.assert_allclose(SIZE * gradient_of(loss, logits), expected, rtol=1e-5, atol=1e-10)


def test_asymmetric_elements_are_the_published_ones():
    expected = [
        [0.015130202, 0.00056779711, 0.17898332, 0],
        [0.0045671756, 0.036742937, 1.6447538e-06, 0.04939501],
        [0.34657359, 0.0016989997, 0.0023042969, 0.084249027],
    ]
    found = losses.asymmetric(*inputs(), 4.0, 1.0, reduction="none")
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize(("powers", "expected"), [((4, 0), 1.5494282), ((4, 1), 0.71590865)])
def test_asymmetric_mixes_logarithms_at_soft_targets(powers, expected):
    assert SIZE * losses.asymmetric(*inputs(SOFT), *powers).item() == pytest.approx(expected, rel=1e-6)


def test_asymmetric_without_powers_and_margin_is_bce():
    for targets in (Y, SOFT):
        logits, labels = inputs(targets)
        expected = losses.bce(logits, labels, reduction="none")
        torch.testing.assert_close(losses.asymmetric(logits, labels, 0.0, 0.0, 0.0, reduction="none"), expected)


def test_asymmetric_has_a_gradient_at_hopeless_positives():
    """The published code clamps the probability at 1e-8, so that its loss is 18.42 and its gradient 0 at -20."""
    logits, targets = inputs([[1.0, 0.0, 1.0, 0.0]], [[-20.0, 20.0, -15.0, 15.0]], torch.float32)
    loss = losses.asymmetric(logits, targets)
    assert 4 * loss.item() == pytest.approx(38.300758 + math.log(1e-8) + 20, rel=1e-6)
    # The published gradients of the negatives, 0 and 5.8257e-06, have 1 - p in float32: 0 and 3 * 2**-23.
    tails = [math.exp(-z) / (1 + math.exp(-z)) ** 2 * 0.95**4 / 0.05 for z in (20, 15)]
    assert tails[1] * 3 * 2**-23 * (1 + math.exp(15)) == pytest.approx(5.8257e-06, rel=1e-4)
    expected = [[-1, tails[0], -0.9999997, tails[1]]]
    np.testing.assert_allclose(4 * gradient_of(loss, logits), expected, rtol=1e-5)


@pytest.mark.parametrize("focus_gradient", [False, True])
@pytest.mark.parametrize("powers", [(4.0, 0.0, 0.05), (4.0, 1.0, 0.0), (0.5, 0.5, 0.05), (0.0, 0.0, 0.0)])
def test_asymmetric_has_finite_gradients_everywhere(powers, focus_gradient):
    logits = torch.tensor([[-200.0, -30.0, -1e-8, 0.0, 30.0, 200.0]]).repeat(3, 1).requires_grad_()
    targets = torch.tensor([[0.0], [0.5], [1.0]]).expand(3, 6)
    losses.asymmetric(logits, targets, *powers, focus_gradient=focus_gradient).backward()
    assert logits.grad.isfinite().all()


def test_asymmetric_leaves_the_callers_grad_mode():
    """The published code turns gradients on inside a caller's no_grad."""
    logits, targets = inputs()
    with torch.no_grad():
        assert not losses.asymmetric(logits, targets).requires_grad
        assert not torch.is_grad_enabled()


# Distribution-balanced loss: numbers of wutong16/DistributionBalancedLoss and of its repository's fork

WEIGHTS = [
    [0.26584238, 0.58077866, 1.0995075, 1.1],
    [0.60000008, 1.0996647, 1.1, 1.1],
    [0.22779077, 0.26753837, 0.59603179, 1.0973657],
]


def db_inputs(dtype=torch.float64, kappa=0.025):
    logits, targets = inputs(dtype=dtype)
    weight = losses.rebalanced_weights(targets, torch.tensor(COUNTS, dtype=dtype))
    offsets = kappa * np.log(COUNTS / (VIDEOS - COUNTS))
    return logits, targets, weight, torch.tensor(offsets, dtype=dtype)


def test_rebalanced_weights_are_the_published_ones():
    np.testing.assert_allclose(db_inputs()[2].numpy(), WEIGHTS, rtol=1e-6)


def test_distribution_balanced_has_the_published_numbers():
    expected = [
        [0.00086000288, 0.00084215298, 0.17607206, 8.1377e-09],
        [0.016359149, 0.016323585, 3.9247548e-06, 0.2921012],
        [0.073624194, 0.0014598988, 0.00016596362, 0.065377928],
    ]
    found = losses.distribution_balanced(*db_inputs(torch.float32), reduction="none").detach()
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5)
    assert losses.distribution_balanced(*db_inputs()).item() == pytest.approx(0.05359917, rel=1e-6)
    logits, *others = db_inputs(torch.float32)
    loss = losses.distribution_balanced(logits, *others)
    gradient = [
        [-0.00019430488, 0.00038197075, -0.029191151, 4.0627e-09],
        [0.0062148655, -0.0034353836, 1.93745e-06, 0.075412691],
        [-0.010723747, 0.00062544917, -3.971138e-05, -0.012306701],
    ]
    np.testing.assert_allclose(gradient_of(loss, logits), gradient, rtol=2e-5)
    assert logits.detach().tolist() == Z  # the published code writes into its logits


def test_parts_of_distribution_balanced_have_the_published_numbers():
    logits, targets, weight, offsets = db_inputs()
    paper = db_inputs(kappa=0.05)[3]
    for arguments, expected in (
        ((weight, paper), 0.050008641),
        ((weight, offsets, 2.0, 0.0, 1.0), 0.16764764),
        ((weight, None, 1.0), 0.083357684),
        ((weight, None, 1.0, 0.0, 1.0), 0.24821508),
        ((None, None, 1.0), 0.11085492),
        ((None, None, 1.0, 2.0, 0.5), 0.027713731),
        ((weight, paper, 2.0, 2.0, 0.5), 0.012502161),
    ):
        found = losses.distribution_balanced(logits, targets, *arguments).item()
        assert found == pytest.approx(expected, rel=1e-6), arguments
    # Without weights the fork does not divide negatives by lambda. The published code ends with a TypeError there.
    matrix = losses.distribution_balanced(logits, targets, None, paper, 2.0, 2.0, 0.5, reduction="none")
    assert (matrix * (targets + 2 * (1 - targets))).mean().item() == pytest.approx(0.021332709, rel=1e-6)
    voc = losses.rebalanced_weights(targets, torch.tensor(COUNTS).double(), mu=0.3)
    for kappa, expected in ((0.01, 0.049492314), (0.05, 0.03672143)):
        found = losses.distribution_balanced(*db_inputs(kappa=kappa)[:2], voc, db_inputs(kappa=kappa)[3], 5.0)
        assert found.item() == pytest.approx(expected, rel=1e-6)


def test_distribution_balanced_without_its_parts_is_bce():
    for targets in (Y, SOFT):
        logits, labels = inputs(targets)
        expected = losses.bce(logits, labels)
        torch.testing.assert_close(losses.distribution_balanced(logits, labels, None, None, 1.0, 0.0, 1.0), expected)


def test_rebalanced_weights_without_videos_or_labels_are_finite():
    """The published weights of every row are NaN if one class has no videos."""
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    weights = losses.rebalanced_weights(targets, torch.tensor([4.0, 0.0, 1.0]))
    assert torch.equal(weights, losses.rebalanced_weights(targets, torch.tensor([4.0, 1.0, 1.0])))
    assert weights.isfinite().all()
    assert weights[1].tolist() == pytest.approx([1.1] * 3)  # a row without labels


@pytest.mark.parametrize("soft", [False, True])
def test_distribution_balanced_is_its_loops(soft):
    rng = np.random.default_rng(0)
    z, y = 3 * rng.standard_normal((5, 4)), (rng.random((5, 4)) < 0.4).astype(float)
    if soft:
        y *= rng.choice([0.25, 0.75, 1.0], (5, 4))
    y[4] = 0
    bias = rng.standard_normal(4)
    expected = np.zeros((5, 4))
    for b in range(5):
        drawn = sum(y[b, k] / COUNTS[k] for k in range(4))
        for c in range(4):
            ratio = (1 / COUNTS[c]) / drawn if drawn else math.inf
            weight = 0.1 + (1 / (1 + math.exp(-10 * (ratio - 0.2))) if ratio < 50 else 1.0)
            p = 1 / (1 + math.exp(-(y[b, c] + 3 * (1 - y[b, c])) * (z[b, c] + bias[c])))
            entropy = -(y[b, c] * math.log(p) + (1 - y[b, c]) * math.log(1 - p))
            weight *= y[b, c] + (1 - y[b, c]) / 3
            expected[b, c] = 2 * (1 - math.exp(-entropy)) ** 2 * weight * entropy
    targets = torch.from_numpy(y)
    weights = losses.rebalanced_weights(targets, torch.tensor(COUNTS).double())
    arguments = (torch.from_numpy(z), targets, weights, torch.from_numpy(bias), 3.0)
    np.testing.assert_allclose(losses.distribution_balanced(*arguments, reduction="none").numpy(), expected, rtol=1e-9)


# Offsets by prior: numbers of BalancedMetaSoftmax, google-research/logit_adjustment and LiVT


def test_priors_are_the_published_ones():
    expected = [-0.22314355, -1.8325815, -3.4420194, -4.8283137]
    np.testing.assert_allclose(losses.log_priors(COUNTS).numpy(), expected, rtol=1e-6)
    livt = [1.3862944, -1.6582282, -3.4094961, -4.8202815]
    np.testing.assert_allclose(losses.log_odds(COUNTS).numpy(), livt, rtol=1e-6)
    videos = [1.6094378, -1.6094379, -3.367296, -4.7791238]
    np.testing.assert_allclose(losses.log_odds(COUNTS, VIDEOS).numpy(), videos, rtol=1e-6)


def test_priors_of_classes_with_no_and_all_videos_are_finite():
    assert torch.equal(losses.log_priors(np.array([0, 7])), losses.log_priors(np.array([1, 7])))
    assert losses.log_odds(np.array([0, 8, 4]), 8).tolist() == pytest.approx([-math.log(7), math.log(8), 0])


def test_a_total_below_a_count_is_refused():
    """Such a total is of another set than the counts, such as the packed part of a published one."""
    with pytest.raises(ValueError, match=r"^total: expected at least 10, the largest of the counts, got 5$"):
        losses.log_odds([10, 3], total=5)
    with pytest.raises(ValueError, match=r"^total: expected at least 10, the largest of the counts, got nan$"):
        losses.log_odds([10, 3], total=float("nan"))


def test_rows_without_labels_have_the_largest_weight_at_any_steepness():
    for beta in (0.0, 1e-3, 10.0):
        weights = losses.rebalanced_weights([[0, 0], [1, 0]], [1, 2], alpha=0.25, beta=beta)
        assert weights[0].tolist() == [1.25, 1.25]
        assert weights.isfinite().all()


def test_rebalanced_weights_have_no_gradient():
    targets = torch.tensor([[1.0, 0.5]], requires_grad=True)
    assert not losses.rebalanced_weights(targets, [8, 2]).requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_counts_of_16_bit_targets_are_not_rounded(dtype):
    """200,000 is infinite in float16, and 1,003 is 1,004 in bfloat16."""
    counts = [200_000, 1_003, 100_000]
    expected = losses.rebalanced_weights(torch.eye(3) + torch.eye(3).roll(1, 0), counts)
    targets = (torch.eye(3) + torch.eye(3).roll(1, 0)).to(dtype)
    for values in (counts, np.array(counts), torch.tensor(counts)):
        found = losses.rebalanced_weights(targets, values)
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)


@pytest.mark.parametrize("wrong", [-5.0, float("nan"), float("inf")])
def test_counts_that_are_none_are_refused_by_the_weights(wrong):
    for counts in ([5, wrong], np.array([5, wrong])):
        with pytest.raises(ValueError, match=rf"^counts: expected numbers from 0 up, got {wrong} for class 1$"):
            losses.rebalanced_weights([[1, 1]], counts)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda *batch: losses.asymmetric(*batch, margin=-0.1), "margin: expected from 0 to below 1, got -0.1"),
        (lambda *batch: losses.asymmetric(*batch, margin=1.0), "margin: expected from 0 to below 1, got 1.0"),
        (lambda *batch: losses.asymmetric(*batch, -1.0), "gamma_negative: expected at least 0, got -1.0"),
        (
            lambda *batch: losses.asymmetric(*batch, gamma_positive=float("nan")),
            "gamma_positive: expected at least 0, got nan",
        ),
        (
            lambda *batch: losses.distribution_balanced(*batch, negative_scale=0.0),
            "negative_scale: expected a positive number, got 0.0",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(*inputs())


def test_balanced_softmax_has_the_published_numbers():
    logits, targets = inputs(ONE_LABEL)
    shifted = logits + losses.log_priors(COUNTS).double()
    rows = losses.softmax_cross_entropy(shifted, targets, reduction="none")
    np.testing.assert_allclose(rows.detach().numpy(), [0.018772671, 0.52888632, 4.2601366], rtol=1e-6)
    assert losses.softmax_cross_entropy(shifted, targets).item() == pytest.approx(1.6025985, rel=1e-6)
    half = losses.softmax_cross_entropy(logits + 0.5 * losses.log_priors(COUNTS).double(), targets)
    assert half.item() == pytest.approx(1.1316556, rel=1e-6)


def test_balanced_bce_has_the_published_numbers():
    """Bal-BCE of LiVT, whose loss is the sum over classes."""
    gradient = [
        [-0.010908862, 0.021827893, -0.31610462, 0.00013378249],
        [0.23604162, -0.1798249, 0.0014846554, 0.0034163054],
        [-0.066666663, 0.027515801, -0.20032234, -0.32618287],
    ]
    for targets, expected in ((Y, 3.3851755), (ONE_LABEL, 2.7409427)):
        logits, labels = inputs(targets)
        loss = 4 * losses.bce(logits + losses.log_odds(COUNTS), labels)
        assert loss.item() == pytest.approx(expected, rel=1e-6)
        if targets is Y:
            np.testing.assert_allclose(gradient_of(loss, logits), gradient, rtol=1e-4)
    for tau, expected in ((0, 0.33608991), (0.5, 0.45626345), (1, 0.84564626), (2, 1.9414912)):
        logits, labels = inputs()
        found = losses.bce(logits + tau * losses.log_odds(COUNTS, VIDEOS), labels)
        assert found.item() == pytest.approx(expected, rel=1e-6)


def test_softmax_cross_entropy_shares_a_video_among_its_labels():
    logits, targets = inputs([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.25]])
    logs = [[z - math.log(sum(map(math.exp, row))) for z in row] for row in Z]
    expected = [-(logs[0][0] + logs[0][1]) / 2, 0, -(0.5 * logs[2][0] + 0.25 * logs[2][3])]
    rows = losses.softmax_cross_entropy(logits, targets, reduction="none")
    np.testing.assert_allclose(rows.detach().numpy(), expected, rtol=1e-12)
    assert np.isfinite(gradient_of(rows.sum(), logits)).all()


def test_unknown_reductions_of_these_losses_are_refused():
    logits, targets = inputs()
    for loss in (losses.asymmetric, losses.distribution_balanced, losses.softmax_cross_entropy):
        with pytest.raises(ValueError, match=r"^reduction: expected 'mean' or 'none', got 'sum'$"):
            loss(logits, targets, reduction="sum")
