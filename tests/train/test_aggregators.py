"""Aggregators: published parameter counts, plain loops over frames, clusters and heads, masks, the dtype of logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vltr_train.aggregators import (
    AGGREGATORS,
    MSA,
    PSA,
    Attentive,
    Mean,
    NetVLAD,
    NeXtVLAD,
    NonLinear,
    VideoClassifier,
)

B, V, T, D, K, H, C = 5, 3, 7, 8, 3, 4, 9
EXACT = {"rtol": 1e-9, "atol": 1e-12}  # in float64


def clips(seed=0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((B, T, D), np.float32))


def masks(*shape: int, seed=3) -> torch.Tensor:
    """Masks keep three fifths of the frames; the first row keeps none and the second all."""
    mask = torch.from_numpy(np.random.default_rng(seed).random(shape) < 0.6)
    mask[0], mask[1] = False, True
    return mask


def array(values: torch.Tensor) -> np.ndarray:
    return values.detach().double().numpy()


def trained(module: nn.Module) -> nn.Module:
    """With normalisations as after some training."""
    for norm in module.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.LayerNorm)):
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.normal_(norm.bias)
        if isinstance(norm, nn.BatchNorm1d):
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.normal_(norm.running_mean)
    return module


def small_netvlad(**options) -> NetVLAD:
    torch.manual_seed(1)
    return trained(NetVLAD(D, clusters=K, hidden=H, **options))


COUNTS = {
    "mean": 0,
    "nonlinear": 6_253_548 - 2048 * 1004 - 1004,
    "netvlad": 135_515_244 - 1024 * 1004 - 1004,
    "netvlad-centers": 135_515_244 - 1024 * 1004 - 1004 + 64 * 2048,
    # The layers of NeXtVLAD, of which 44.44 M are published: expansion, attention, assignment and its norm, centers,
    # norm of the clusters, hidden layer and its norm, gate with a norm inside.
    "nextvlad": (2048 * 4096 + 4096)
    + (4096 * 8 + 8)
    + (4096 * 8 * 64 + 2 * 8 * 64)
    + 4096 // 8 * 64
    + 2 * (4096 // 8 * 64)
    + (4096 // 8 * 64 * 1024 + 2 * 1024)
    + (1024 * 128 + 2 * 128 + 128 * 1024),
    "msa": 16_781_312 + 2048 * 2048 + 2048,
    "psa": 16_781_312 + 2048 * 2048 + 2048,
    "codebook": 134_486_144 + 1024 * 2048 + 2048,
    "psa-codebook": 134_486_144 + 16_781_312 + 8_350_700 - 2048 * 1004 - 1004,
    "psa-codebook-centers": 134_486_144 + 16_781_312 + 8_350_700 - 2048 * 1004 - 1004 + 64 * 2048,
}


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize("name", AGGREGATORS)
def test_published_parameter_counts(name):
    with torch.device("meta"):
        model = VideoClassifier(AGGREGATORS[name](2048), 1004)
    assert count(model.aggregator) == COUNTS[name]
    assert count(model.classifier) == model.aggregator.out_dim * 1004 + 1004


def test_published_parameter_count_of_nextvlad():
    """The paper prints no more digits than these."""
    with torch.device("meta"):
        assert round(count(AGGREGATORS["nextvlad"](2048)) / 1e6, 2) == 44.44


def test_published_parameter_counts_of_the_parts_of_move():
    with torch.device("meta"):
        model = VideoClassifier(Attentive(2048), 1004)
    assert count(model.aggregator.codebook) == 134_486_144
    assert count(model.aggregator.psa) == 16_781_312
    assert count(model.aggregator.hidden, model.classifier) == 8_350_700


@pytest.mark.parametrize("masked", [False, True])
def test_mean_is_the_mean_of_frames(masked):
    module, features = Mean(D).eval(), clips()
    mask = masks(B, T) if masked else None
    expected = np.zeros((B, D))
    for row in range(B):
        kept = [t for t in range(T) if mask is None or mask[row, t]]
        for t in kept:
            expected[row] += array(features)[row, t] / len(kept)
    np.testing.assert_allclose(array(module(features, mask)), expected, rtol=1e-5, atol=1e-6)


def slow_nonlinear(module: NonLinear, frames: np.ndarray, kept: np.ndarray) -> np.ndarray:
    weight, bias = array(module.hidden.weight), array(module.hidden.bias)
    pooled = np.zeros((len(frames), len(bias)))
    for row in range(len(frames)):
        for t in np.flatnonzero(kept[row]):
            pooled[row] += np.maximum(weight @ frames[row, t] + bias, 0) / kept[row].sum()
    return pooled


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
    """Masks (B, V, T) give the same result as masks (B, V, hidden)."""
    num_rows, num_views, num_frames = mask.shape
    rows = normalized(features.reshape(-1, features.shape[-1]), module.input_norm, training)
    scores = normalized(rows @ array(module.assignment.weight).T, module.assignment_norm, training)
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    gate = 1 / (1 + np.exp(-array(module.gate)))
    centers = np.zeros_like(gate) if module.centers is None else array(module.centers)
    pooled = np.zeros((num_rows, num_views, *gate.T.shape))
    for b in range(num_rows):
        for v in range(num_views):
            for k in range(len(gate)):
                for t in range(num_frames):
                    if mask[b, v, t]:
                        pooled[b, v, :, k] += shares[b * num_frames + t, k] * (rows[b * num_frames + t] - centers[k])
                pooled[b, v, :, k] *= gate[k]
                pooled[b, v, :, k] /= max(np.linalg.norm(pooled[b, v, :, k]), 1e-12)
            pooled[b, v] /= max(np.linalg.norm(pooled[b, v]), 1e-12)
    hidden = pooled.reshape(num_rows * num_views, -1) @ array(module.hidden[0].weight).T
    return np.clip(normalized(hidden, module.hidden[1], training), 0, 6).reshape(num_rows, num_views, -1)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("residual_centers", [False, True])
def test_netvlad_is_its_loops(residual_centers, training, masked):
    module = small_netvlad(residual_centers=residual_centers).train(training)
    features = clips()
    mask = masks(B, T) if masked else None
    kept = np.ones((B, 1, T), bool) if mask is None else mask.numpy()[:, None]
    expected = slow_netvlad(module, array(features), kept, training)[:, 0]
    np.testing.assert_allclose(module(features, mask).detach().numpy(), expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("residual_centers", [False, True])
def test_views_of_netvlad_are_their_loops(residual_centers, training):
    """In training the statistics of the hidden layer are of all views together."""
    module = small_netvlad(residual_centers=residual_centers).double().train(training)
    features, mask = clips().double(), masks(B, V, T)
    views = module.encode(*module.assign(features), mask)
    expected = slow_netvlad(module, array(features), mask.numpy(), training)
    assert views.shape == (B, V, H)
    np.testing.assert_allclose(array(views), expected, **EXACT)


def test_netvlad_in_two_steps_is_the_same():
    module = small_netvlad().eval()
    mask = torch.arange(T) < torch.tensor([[1], [2], [3], [4], [5]])
    shared = module.assign(clips())
    assert torch.equal(module.encode(*shared, mask), module(clips(), mask))
    assert torch.equal(module.encode(*shared), module(clips()))


def test_views_of_netvlad_are_single_views():
    module = small_netvlad(residual_centers=True).double().eval()
    shared, mask = module.assign(clips().double()), masks(B, V, T)
    single = torch.stack([module.encode(*shared, mask[:, view]) for view in range(V)], 1)
    torch.testing.assert_close(module.encode(*shared, mask), single, **EXACT)


def slow_nextvlad(module: NeXtVLAD, features: np.ndarray, mask: np.ndarray, groups: int, training: bool) -> np.ndarray:
    num_rows, num_frames, dim = features.shape
    weights = {name: array(values) for name, values in module.named_parameters()}
    frames = features.reshape(-1, dim) @ weights["expansion.weight"].T + weights["expansion.bias"]
    attention = 1 / (1 + np.exp(-(frames @ weights["attention.weight"].T + weights["attention.bias"])))
    scores = normalized(frames @ weights["assignment.weight"].T, module.assignment_norm, training)
    part, clusters = weights["centers"].shape
    pooled = np.zeros((num_rows, part, clusters))
    for b in range(num_rows):
        for t in np.flatnonzero(mask[b]):
            for g in range(groups):
                group = frames[b * num_frames + t, g * part : (g + 1) * part]
                shares = np.exp(scores[b * num_frames + t, g * clusters : (g + 1) * clusters])
                shares *= attention[b * num_frames + t, g] / shares.sum()
                for k in range(clusters):
                    pooled[b, :, k] += shares[k] * (group - weights["centers"][:, k])
        for k in range(clusters):
            pooled[b, :, k] /= max(np.linalg.norm(pooled[b, :, k]), 1e-12)
    hidden = normalized(pooled.reshape(num_rows, -1), module.hidden[0], training) @ weights["hidden.2.weight"].T
    hidden = normalized(hidden, module.hidden[3], training)
    narrow = np.maximum(normalized(hidden @ weights["gate.0.weight"].T, module.gate[1], training), 0)
    return hidden / (1 + np.exp(-narrow @ weights["gate.3.weight"].T))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_nextvlad_is_its_loops(training, masked):
    torch.manual_seed(1)
    module = NeXtVLAD(D, dropout=0.0, clusters=K, hidden=H, groups=3, expansion=3, gating_reduction=2)
    module, features = trained(module).double().train(training), clips().double()
    mask = masks(B, T) if masked else None
    kept = np.ones((B, T), bool) if mask is None else mask.numpy()
    expected = slow_nextvlad(module, array(features), kept, 3, training)
    np.testing.assert_allclose(array(module(features, mask)), expected, **EXACT)


def test_nextvlad_of_few_frames_is_that_of_many():
    """With few frames the layers behind the expansion see expanded frames; with many they see the features."""
    torch.manual_seed(1)
    module = trained(NeXtVLAD(D, dropout=0.0, clusters=K, hidden=H, gating_reduction=2)).double().eval()
    features = clips().double()
    assert len(features[0]) < 2 * D < B * T
    alone = torch.cat([module(row) for row in features.split(1)])
    torch.testing.assert_close(module(features), alone, rtol=1e-10, atol=1e-12)


def test_gradients_of_nextvlad_are_those_of_its_layers_one_after_another():
    torch.manual_seed(1)
    module = trained(NeXtVLAD(D, dropout=0.0, clusters=K, hidden=H, gating_reduction=2)).double()
    features = clips().double()
    gradients = []
    for layers in (module._of_expanded, lambda layer, features, frames: layer(frames)):
        module._of_expanded = layers
        leaf = features.clone().requires_grad_()
        loss = (module(leaf) * torch.arange(1.0, H + 1)).sum()
        gradients.append(torch.autograd.grad(loss, (leaf, *module.parameters())))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_nextvlad_wants_groups_of_equal_width():
    with pytest.raises(ValueError, match=r"^groups: expected a divisor of expansion x D, which is 14, got 8$"):
        NeXtVLAD(7)


def test_attentive_wants_something_to_pool():
    with pytest.raises(ValueError, match=r"^psa, codebook: expected at least one of them, got neither$"):
        Attentive(D, psa=False, codebook=False)


def slow_attention(
    module: PSA, frames: np.ndarray, queries: np.ndarray, kept: np.ndarray, heads: int = 4
) -> np.ndarray:
    """Queries (B, Q, D) and, of each row of them, the frames that may be attended to, (B, T); dropout aside."""
    layers = (module.query, module.key, module.value, module.output)
    wq, wk, wv, wo = (array(layer.weight) for layer in layers)
    width = len(wq) // heads
    result = np.zeros_like(queries)
    for b in range(len(queries)):
        for q in range(queries.shape[1]):
            found = np.zeros(len(wq))
            for head in range(heads):
                rows = slice(head * width, (head + 1) * width)
                asked = wq[rows] @ queries[b, q]
                scores = [asked @ (wk[rows] @ frame) / np.sqrt(width) for frame in frames[b]]
                scores = np.where(kept[b], scores, -1e9)
                shares = np.exp(scores - scores.max())
                for share, frame in zip(shares / shares.sum(), frames[b], strict=True):
                    found[rows] += share * (wv[rows] @ frame)
            row = wo @ found + queries[b, q]
            row = (row - row.mean()) / np.sqrt(row.var() + 1e-6)
            result[b, q] = row * array(module.norm.weight) + array(module.norm.bias)
    return result


def small_attention(kind: type[PSA], dim: int = D) -> PSA:
    torch.manual_seed(1)
    module = trained(kind(dim)).double().eval()
    for layer in (module.query, module.key):
        layer.weight.data *= 3  # so that attention is far from uniform
    return module


@pytest.mark.parametrize("num_queries", [1, 2, T, T + 2])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dim", [D, 6, 2])  # which four heads need not divide
@pytest.mark.parametrize("kind", [PSA, MSA])
def test_attention_is_its_loops(kind, dim, masked, num_queries):
    """The result does not depend on the order of the products."""
    module, frames = small_attention(kind, dim), clips().double()[..., :dim]
    queries = torch.randn(B, num_queries, dim, dtype=torch.float64)
    mask = masks(B, T) if masked else None
    kept = np.ones((B, T), bool) if mask is None else mask.numpy()
    expected = slow_attention(module, array(frames), array(queries), kept)
    np.testing.assert_allclose(array(module.attend(frames, queries, mask)), expected, **EXACT)


@pytest.mark.parametrize("masked", [False, True])
def test_psa_asks_with_the_mean(masked):
    module, frames = small_attention(PSA), clips().double()
    mask = masks(B, T) if masked else None
    kept = np.ones((B, T), bool) if mask is None else mask.numpy()
    means = np.stack([array(frames)[b, kept[b]].sum(0) / max(kept[b].sum(), 1) for b in range(B)])
    expected = slow_attention(module, array(frames), means[:, None], kept)[:, 0]
    np.testing.assert_allclose(array(module(frames, mask)), expected, **EXACT)


@pytest.mark.parametrize("masked", [False, True])
def test_msa_is_nonlinear_behind_attention(masked):
    module, frames = small_attention(MSA), clips().double()
    mask = masks(B, T) if masked else None
    kept = np.ones((B, T), bool) if mask is None else mask.numpy()
    expected = slow_nonlinear(module.late, slow_attention(module, array(frames), array(frames), kept), kept)
    np.testing.assert_allclose(array(module(frames, mask)), expected, **EXACT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_blocked_frames_are_not_attended_to_and_of_blocked_clips_all_alike(dtype):
    """As the published code has it for the class "river" of VideoLT: 1 / 60."""
    scores = torch.randn(2, 3, 60).to(dtype) * 50
    mask = torch.tensor([[False] * 60, [False, True] * 30])
    shares = PSA(D).eval().weigh(scores, mask)
    assert torch.equal(shares[0], torch.full((3, 60), 1 / 60, dtype=dtype))
    assert (shares[1, :, ::2] == 0).all()
    torch.testing.assert_close(shares[1, :, 1::2], scores[1, :, 1::2].softmax(-1))


def test_dropout_of_attention_is_of_its_shares():
    module, scores = PSA(D, dropout=0.5), torch.randn(2, 50, 60)
    shares = module.weigh(scores)
    kept = shares != 0
    assert 0.4 < kept.float().mean() < 0.6
    torch.testing.assert_close(shares[kept], 2 * scores.softmax(-1)[kept])


@pytest.mark.parametrize("kind", [PSA, MSA])
def test_dropout_behind_attention_leaves_numbers_of_the_queries(kind):
    """So it comes after Wo, which mixes them, and before they are added."""
    module, frames, queries = small_attention(kind), clips().double(), torch.randn(B, 50, D, dtype=torch.float64)
    module.output_dropout.p = 0.5
    seen = []
    module.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach() - queries))
    module.attend(frames, queries)
    module.output_dropout.train()
    module.attend(frames, queries)
    whole, dropped = seen
    kept = dropped != 0
    assert whole.all()
    assert 0.4 < kept.double().mean() < 0.6
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])


def small_attentive(**options) -> Attentive:
    torch.manual_seed(1)
    return trained(Attentive(D, **options)).double().eval()


PARTS = pytest.mark.parametrize("parts", [{}, {"psa": False}, {"codebook": False}], ids=["both", "codebook", "psa"])


@PARTS
@pytest.mark.parametrize("key_mask", [None, masks(B, T, seed=5)], ids=["all keys", "some keys"])
def test_views_of_attentive_are_their_loops(key_mask, parts):
    module, frames = small_attentive(**parts), clips().double()
    query_masks, codebook_masks = masks(B, V, T, seed=6), masks(B, V, T, seed=7)
    expected = []
    if module.psa is not None:
        queries = np.zeros((B, V, D))
        for b in range(B):
            for v in range(V):
                kept = query_masks[b, v].numpy()
                queries[b, v] = array(frames)[b, kept].sum(0) / max(kept.sum(), 1)
        kept = np.ones((B, T), bool) if key_mask is None else key_mask.numpy()
        expected.append(slow_attention(module.psa, array(frames), queries, kept))
    if module.codebook is not None:
        expected.append(slow_netvlad(module.codebook, array(frames), codebook_masks.numpy(), False))
    views = module.views(frames, query_masks, key_mask, codebook_masks)
    np.testing.assert_allclose(array(views), np.concatenate(expected, -1), **EXACT)


@PARTS
def test_a_view_of_all_that_a_mask_keeps_is_the_pooled_vector(parts):
    module, frames, mask = small_attentive(**parts), clips().double(), masks(B, T)
    view = module.views(frames, mask[:, None], mask, mask[:, None])
    torch.testing.assert_close(view[:, 0], module.pool(frames, mask), **EXACT)


@PARTS
def test_classifier_of_attentive_is_its_loops(parts):
    """The number of vectors is free: clips, or views of clips."""
    model = VideoClassifier(small_attentive(**parts), C).double().eval()
    model.classifier.float()
    first, last = model.aggregator.hidden[0], model.classifier
    vectors = torch.randn(B, V, first.in_features, dtype=torch.float64)
    expected = np.zeros((B, V, C))
    for b in range(B):
        for v in range(V):
            hidden = np.maximum(array(first.weight) @ array(vectors)[b, v] + array(first.bias), 0)
            expected[b, v] = array(last.weight) @ hidden + array(last.bias)
    np.testing.assert_allclose(array(model.classify(vectors)), expected, rtol=1e-4, atol=1e-6)


def test_every_view_trains_all_of_attentive():
    module = Attentive(D)
    frames, mask = clips(), masks(B, V, T)
    views = module.views(frames, mask, mask[:, 0], mask)
    module.project(views).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_views_are_finite_under_autocast(precision):
    torch.manual_seed(0)
    model = VideoClassifier(Attentive(D), C)
    keys, mask = masks(B, T), masks(B, V, T)
    mask[0, :, :2] = True  # a view without frames has length 0, of which float16 has no gradient
    with torch.autocast("cpu", precision):
        logits = model.classify(model.aggregator.views(clips(), mask, keys, mask))
    logits.square().sum().backward()
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


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
    result = module(clips().requires_grad_())  # the mean has nothing else to train
    assert result.shape == (B, module.out_dim)
    result.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())
    assert not torch.equal(module(clips()), module(clips()))
    module.eval()
    assert torch.equal(module(clips()), module(clips()))


def test_default_dropout_is_the_published_one():
    """By an aggregator's option, and in the attention, where it is always the same."""
    assert NonLinear(D).dropout.p == Mean(D).dropout.p == NeXtVLAD(D).hidden[1].p == 0.5
    assert small_netvlad().hidden[3].p == 0
    both, msa = Attentive(D, dropout=0.25), MSA(D, dropout=0.25)
    assert Attentive(D).hidden[2].p == MSA(D).late.dropout.p == 0.5
    assert both.hidden[2].p == msa.late.dropout.p == 0.25
    assert both.codebook.hidden[3].p == 0
    for attention in (both.psa, msa):
        assert attention.attention_dropout.p == attention.output_dropout.p == 0.1


@pytest.mark.parametrize("name", AGGREGATORS)
def test_logits_are_float32_under_autocast(name):
    torch.manual_seed(0)
    model = VideoClassifier(AGGREGATORS[name](D), C)
    seen = []
    model.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    features = clips().bfloat16() if name == "mean" else clips()  # of which no weight makes bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert model.aggregator(features).dtype == torch.bfloat16
        logits = model(features)
    assert logits.dtype == torch.float32
    assert seen == [torch.float32]
    assert (logits != logits.bfloat16().float()).any()


@pytest.mark.parametrize("name", AGGREGATORS)
def test_pooled_vectors_are_classified_as_their_clips(name):
    torch.manual_seed(0)
    model = VideoClassifier(AGGREGATORS[name](D), C).eval()
    pooled = model.aggregator.pool(model.embed(clips()), masks(B, T))
    assert torch.equal(model.classify(pooled), model(clips(), masks(B, T)))
    assert torch.equal(model(model.embed(clips()), masks(B, T), embedded=True), model(clips(), masks(B, T)))


# Running statistics of the normalisations of frames, and torch.compile


def moved(norm: nn.BatchNorm1d, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The running mean and variance after a step with values (N, channels), by their definition."""
    mean, var = array(norm.running_mean), array(norm.running_var)
    return 0.9 * mean + 0.1 * values.mean(0), 0.9 * var + 0.1 * values.var(0, ddof=1)


@pytest.mark.parametrize("name", ["netvlad", "nextvlad", "codebook"])
def test_running_statistics_of_frames_move_in_training_alone(name):
    torch.manual_seed(1)
    module = trained(AGGREGATORS[name](D, dropout=0.0, clusters=K))
    inner = module.codebook if name == "codebook" else module
    rows = array(clips()).reshape(-1, D)
    wanted = []
    if name == "nextvlad":
        frames = rows @ array(inner.expansion.weight).T + array(inner.expansion.bias)
    else:
        frames = normalized(rows, inner.input_norm, True)
        wanted.append((inner.input_norm, *moved(inner.input_norm, rows)))
    scores = frames @ array(inner.assignment.weight).T
    wanted.append((inner.assignment_norm, *moved(inner.assignment_norm, scores)))
    module.eval()(clips())
    assert all((norm.num_batches_tracked == 0).all() for norm, *_ in wanted)
    module.train()(clips())
    for norm, mean, var in wanted:
        assert norm.num_batches_tracked == 1
        np.testing.assert_allclose(array(norm.running_mean), mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(array(norm.running_var), var, rtol=1e-4, atol=1e-5)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    module.eval()(clips(1))
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize("name", ["netvlad", "netvlad-centers", "nextvlad"])
def test_a_compiled_vlad_has_the_values_and_gradients_of_the_core(name):
    found = []
    for compiled in (False, True):
        torch.manual_seed(1)
        module = trained(AGGREGATORS[name](D, dropout=0.0, clusters=K))
        if compiled:
            module.compile(backend="aot_eager")  # as `compile=true`, without a compiler of C++
        out = module(clips())
        loss = (out * torch.linspace(-1, 1, out.shape[1])).sum()
        found.append((out, *torch.autograd.grad(loss, list(module.parameters()))))
    for ours, theirs in zip(*found, strict=True):
        # Some gradients are rounding errors of 0, as that of a bias before a normalisation.
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5 + 1e-3 * float(ours.detach().abs().max()))
