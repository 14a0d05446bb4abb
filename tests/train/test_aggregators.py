"""Aggregators: the published parameter counts, plain loops over frames and clusters, masks, and the dtype of logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vltr_train.aggregators import AGGREGATORS, NetVLAD, NonLinear, VideoClassifier

B, T, D, K, H, C = 5, 7, 6, 3, 4, 9


def clips(seed=0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((B, T, D), np.float32))


def small_netvlad(**options) -> NetVLAD:
    torch.manual_seed(1)
    module = NetVLAD(D, clusters=K, hidden=H, **options)
    for norm in (module.input_norm, module.assignment_norm, module.hidden[1]):  # as after some training
        for values in (norm.weight, norm.running_var):
            torch.nn.init.uniform_(values, 0.5, 2)
        for values in (norm.bias, norm.running_mean):
            torch.nn.init.normal_(values)
    return module


@pytest.mark.parametrize(("name", "expected"), [("nonlinear", 6_253_548), ("netvlad", 135_515_244)])
def test_published_parameter_counts(name, expected):
    with torch.device("meta"):
        model = VideoClassifier(AGGREGATORS[name](2048), 1004)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_nonlinear_is_the_mean_of_the_logits_of_frames():
    torch.manual_seed(0)
    model = VideoClassifier(NonLinear(D), C).eval()
    first, last = model.aggregator.hidden, model.classifier
    w1, b1, w2, b2 = (x.detach().double().numpy() for x in (first.weight, first.bias, last.weight, last.bias))
    features = clips()
    expected = np.zeros((B, C))
    for row in range(B):
        for frame in features[row].double().numpy():
            expected[row] += (w2 @ np.maximum(w1 @ frame + b1, 0) + b2) / T
    np.testing.assert_allclose(model(features).detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def normalized(values: np.ndarray, norm: torch.nn.BatchNorm1d, training: bool) -> np.ndarray:
    """Batch normalisation of (rows, channels) by its formula."""
    mean, var, weight, bias = (
        x.detach().double().numpy() for x in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    if training:
        mean, var = values.mean(0), values.var(0)
    return (values - mean) / np.sqrt(var + norm.eps) * weight + bias


def slow_netvlad(module: NetVLAD, features: np.ndarray, mask: np.ndarray, training: bool) -> np.ndarray:
    rows = normalized(features.reshape(-1, D), module.input_norm, training)
    scores = normalized(rows @ module.assignment.weight.detach().double().numpy().T, module.assignment_norm, training)
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    gate = 1 / (1 + np.exp(-module.gate.detach().double().numpy()))
    centers = np.zeros((K, D)) if module.centers is None else module.centers.detach().double().numpy()
    pooled = np.zeros((B, D, K))
    for b in range(B):
        for k in range(K):
            for t in range(T):
                if mask[b, t]:
                    pooled[b, :, k] += shares[b * T + t, k] * (rows[b * T + t] - centers[k])
            pooled[b, :, k] *= gate[k]
            pooled[b, :, k] /= max(np.linalg.norm(pooled[b, :, k]), 1e-12)
        pooled[b] /= max(np.linalg.norm(pooled[b]), 1e-12)
    hidden = pooled.reshape(B, -1) @ module.hidden[0].weight.detach().double().numpy().T
    return np.clip(normalized(hidden, module.hidden[1], training), 0, 6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("residual_centers", [False, True])
def test_netvlad_is_its_loops(residual_centers, training, masked):
    module = small_netvlad(residual_centers=residual_centers).train(training)
    features = clips()
    mask = torch.from_numpy(np.random.default_rng(3).random((B, T)) < 0.6) if masked else None
    kept = np.ones((B, T), bool) if mask is None else mask.numpy()
    expected = slow_netvlad(module, features.double().numpy(), kept, training)
    np.testing.assert_allclose(module(features, mask).detach().numpy(), expected, rtol=2e-4, atol=2e-5)


def test_netvlad_in_two_steps_is_the_same():
    module = small_netvlad().eval()
    mask = torch.arange(T) < torch.tensor([[1], [2], [3], [4], [5]])
    shared = module.assign(clips())
    assert torch.equal(module.encode(*shared, mask), module(clips(), mask))
    assert torch.equal(module.encode(*shared), module(clips()))


@pytest.mark.parametrize("name", AGGREGATORS)
def test_masked_frames_do_not_matter(name):
    torch.manual_seed(0)
    module = AGGREGATORS[name](D).eval()
    features, mask = clips(), torch.arange(T).expand(B, T) < 4
    changed = features.clone()
    changed[:, 4:] = 100.0
    assert torch.equal(module(features, mask), module(changed, mask))
    torch.testing.assert_close(module(features, mask), module(features[:, :4]))
    torch.testing.assert_close(module(features, torch.ones_like(mask)), module(features))
    assert module(features, torch.zeros_like(mask)).isfinite().all()  # of a clip without frames, too


@pytest.mark.parametrize("name", AGGREGATORS)
def test_every_aggregator_has_dropout_and_trains_all_of_itself(name):
    torch.manual_seed(0)
    module = AGGREGATORS[name](D, dropout=0.5)
    result = module(clips())
    assert result.shape == (B, module.out_dim)
    result.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())
    assert not torch.equal(module(clips()), module(clips()))
    module.eval()
    assert torch.equal(module(clips()), module(clips()))


def test_default_dropout_is_the_published_one():
    assert NonLinear(D).dropout.p == 0.5
    assert small_netvlad().hidden[3].p == 0


@pytest.mark.parametrize("name", AGGREGATORS)
def test_logits_are_float32_under_autocast(name):
    torch.manual_seed(0)
    model = VideoClassifier(AGGREGATORS[name](D), C)
    seen = []
    model.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert model.aggregator(clips()).dtype == torch.bfloat16
        logits = model(clips())
    assert logits.dtype == torch.float32
    assert seen == [torch.float32]
    assert (logits != logits.bfloat16().float()).any()
