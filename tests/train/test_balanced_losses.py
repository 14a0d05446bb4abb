"""The methods of the asymmetric and the distribution-balanced loss: settings, samplers, and their functions."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from small_methods import COUNTS, TASK, C, begin, make, make_batch

from vltr_train import losses
from vltr_train.method import Task
from vltr_train.methods import find_method
from vltr_train.samplers import ClassSampler, InstanceSampler
from vltr_train.settings import build_config

N = 900
OF_VIDEOS = Task(TASK.num_classes, TASK.feature_dim, COUNTS, TASK.bounds, N)
WEIGHT = torch.tensor(COUNTS, dtype=torch.float32)


def rebalanced(targets, *arguments):
    return losses.rebalanced_weights(targets, WEIGHT, *arguments)


def test_balanced_losses_are_those_of_their_functions():
    batch, odds = make_batch(), losses.log_odds(COUNTS, N)
    db = losses.distribution_balanced
    for name, options, expected in (
        ("asl", {}, losses.asymmetric),
        ("asl", {"over_classes": "sum"}, lambda z, y: C * losses.asymmetric(z, y)),
        (
            "asl",
            {"gamma_negative": 2.0, "gamma_positive": 1.0, "margin": 0.1, "focus_gradient": True},
            lambda z, y: losses.asymmetric(z, y, 2.0, 1.0, 0.1, focus_gradient=True),
        ),
        ("asl", {"gamma_negative": 0.0, "margin": 0.0}, losses.bce),
        ("distribution_balanced", {}, lambda z, y: db(z, y, rebalanced(y), 0.025 * odds)),
        ("distribution_balanced", {"kappa_form": "paper"}, lambda z, y: db(z, y, rebalanced(y), 0.05 * odds)),
        (
            "distribution_balanced",
            {"alpha": 0.2, "beta": 5.0, "mu": 0.3, "negative_scale": 5.0, "kappa": 0.0, "gamma": 1.0},
            lambda z, y: db(z, y, rebalanced(y, 0.2, 5.0, 0.3), None, 5.0, 1.0),
        ),
        ("distribution_balanced", {"rebalance": False}, lambda z, y: db(z, y, None, 0.025 * odds)),
        ("distribution_balanced", {"tolerant": False, "focal": False}, lambda z, y: losses.bce(z, y, rebalanced(y))),
        (
            "distribution_balanced",
            {"rebalance": False, "tolerant": False},
            lambda z, y: 2 * losses.focal(z, y, 2.0),
        ),
    ):
        method = begin(make(name, OF_VIDEOS, **options))
        torch.testing.assert_close(method(batch), expected(method.predict(batch.features), batch.targets))


def test_official_asl_is_the_published_sum_but_for_the_size_of_the_batch():
    """(4, 0, .05) of the published code on Z and Y is 1.913645, the sum over three videos."""
    kind = find_method("asl")
    config = build_config(kind, protocol="official")
    assert (config.over_classes, config.clip_norm) == ("sum", None)
    assert (kind.Config().over_classes, kind.Config().clip_norm) == ("mean", 20.0)
    logits = torch.tensor([[2, -1, 0.5, -3], [-0.5, 1.5, -2, 0.25], [0, -0.75, 3, 1]])
    targets = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 1]])
    method = kind(config, Task(4, 4, np.array([500, 100, 20, 5]), TASK.bounds))
    method.model = torch.nn.Identity()
    batch = dataclasses.replace(make_batch(num_rows=3), features=logits.requires_grad_(), targets=targets)
    assert 3 * begin(method)(batch).item() == pytest.approx(1.913645, rel=1e-6)


@pytest.mark.parametrize("name", ["asl", "distribution_balanced", "balanced_softmax", "logit_adjustment"])
def test_classes_without_videos_and_rows_without_labels_train(name):
    counts = COUNTS.copy()
    counts[3] = 0
    method = begin(make(name, Task(C, TASK.feature_dim, counts, TASK.bounds, N)))
    batch = make_batch()
    batch.targets[0] = 0
    batch.targets[:, 3] = 0
    loss = method(batch)
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in method.parameters())


@pytest.mark.parametrize("name", ["asl", "distribution_balanced", "balanced_softmax", "logit_adjustment"])
def test_losses_are_float32_under_autocast(name):
    """Weights and logarithms too: their differences from a step in float32 are those of the aggregator alone."""
    method, batch = begin(make(name, OF_VIDEOS, aggregator="mean")), make_batch()
    plain = method(batch)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = method(batch)
    assert mixed.dtype == torch.float32
    assert mixed.item() == plain.item()  # the mean and the classifier are in float32 then


def test_distribution_balanced_draws_by_class_and_masks_no_label():
    (stage,) = make("distribution_balanced").stages()
    (sampler,) = stage.samplers
    assert isinstance(sampler, ClassSampler)
    assert sampler.probabilities_of(COUNTS).tolist() == pytest.approx([1 / C] * C)
    method, drawn, plain = begin(make("distribution_balanced")), make_batch(), make_batch(classes=False)
    assert method(drawn).item() == method(plain).item()
    (stage,) = make("distribution_balanced", class_balanced=False).stages()
    assert isinstance(stage.samplers[0], InstanceSampler)


def test_weights_without_balanced_videos_are_noted():
    assert make("distribution_balanced").notes() == []
    (note,) = make("distribution_balanced", class_balanced=False).notes()
    assert note.startswith("class_balanced: false")
    assert make("distribution_balanced", class_balanced=False, rebalance=False).notes() == []


def test_rebalanced_weights_equal_the_chances_of_a_draw():
    """r is the chance to be drawn for a class over the chance to be drawn, by the law of the sampler."""
    targets = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1]], np.float32)
    counts = targets.sum(0)
    chances = targets / counts / 3  # of row b for class c, by a class and then a row of it
    ratio = (1 / counts / 3) / chances.sum(1, keepdims=True)
    expected = 0.1 + 1 / (1 + np.exp(-10 * (ratio - 0.2)))
    found = losses.rebalanced_weights(torch.from_numpy(targets), torch.from_numpy(counts))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("asl", {"gamma_negative": -1.0}, "gamma_negative: expected at least 0, got -1.0"),
        ("asl", {"gamma_positive": -1.0}, "gamma_positive: expected at least 0, got -1.0"),
        ("asl", {"margin": 1.0}, "margin: expected from 0 to below 1, got 1.0"),
        ("asl", {"over_classes": "max"}, "over_classes: expected one of mean, sum, got 'max'"),
        ("distribution_balanced", {"negative_scale": 0.0}, "negative_scale: expected a positive number, got 0.0"),
        ("distribution_balanced", {"mu": -1.0}, "mu: expected at least 0, got -1.0"),
        ("distribution_balanced", {"kappa_form": "both"}, "kappa_form: expected one of code, paper, got 'both'"),
    ],
)
def test_bad_settings_of_balanced_losses_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make(name, **settings)
