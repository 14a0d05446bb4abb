"""MEDC's Gaussians, losses and laws against loops over frames, pairs and classes; and what its printed formulas do."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from small_methods import COUNTS, TASK, B, C, D, T, begin, make, make_batch, make_batches

from vltr_eval._base.long_tail import VIDEOLT_TRAIN_TAIL, tail_counts
from vltr_train.data.label_lists import LabelList
from vltr_train.methods import medc
from vltr_train.methods.medc import EXPERTS, MEDC, FrameMean, MEDCConfig, TemporalAttention
from vltr_train.samplers import InstanceSampler

WIDTH = 5  # d
VIDEOLT_COUNTS = tail_counts(VIDEOLT_TRAIN_TAIL)


def small(**settings):
    return make("medc", **{"embedding_dim": WIDTH} | settings)


def clips(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((B, T, D)))


def affine(layer, vector):
    """A Linear by its definition."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return np.array(
        [sum(w * x for w, x in zip(row, vector, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
    )


def softmax(scores):
    raw = [math.exp(score) for score in scores]
    return [value / sum(raw) for value in raw]


def frame_means(module, features):
    """mu of each clip: frames mapped, normalised by the statistics of all of them (or the running ones), averaged."""
    frames = features.numpy().reshape(-1, D)
    if isinstance(module.hidden, torch.nn.Sequential):
        frames = [np.maximum(affine(module.hidden[0], frame), 0) for frame in frames]
    mapped = np.array([affine(module.linear, frame) for frame in frames])
    norm = module.norm
    if module.training:
        mean, var = mapped.mean(0), ((mapped - mapped.mean(0)) ** 2).mean(0)
    else:
        mean, var = norm.running_mean.numpy(), norm.running_var.numpy()
    mapped = (mapped - mean) / np.sqrt(var + norm.eps) * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    return np.array([mapped[b * T : (b + 1) * T].mean(0) for b in range(B)])


@pytest.mark.parametrize("hidden", [False, True])
def test_mu_is_its_loops(hidden):
    torch.manual_seed(0)
    module = FrameMean(D, WIDTH, hidden=hidden).double()
    torch.nn.init.normal_(module.norm.weight)
    torch.nn.init.normal_(module.norm.bias)
    np.testing.assert_allclose(module(clips()).detach().numpy(), frame_means(module, clips()), rtol=1e-9, atol=1e-12)
    module.eval()  # by the statistics that the call above has moved
    found = module(clips(1)).detach().numpy()
    np.testing.assert_allclose(found, frame_means(module, clips(1)), rtol=1e-9, atol=1e-12)


def attended(module, features, mean):
    """sigma of each clip by Eq. 4, frame by frame; of the full attention the mean of what each frame finds."""
    spreads = []
    for clip, mu in zip(features.numpy(), mean.numpy(), strict=True):
        hidden = [affine(module.hidden[2], np.maximum(affine(module.hidden[0], x), 0)) for x in clip]
        away = [h - mu for h in hidden]
        queries, keys = ([affine(layer, a) for a in away] for layer in (module.query, module.key))
        values = [affine(module.value, abs(a)) for a in away]
        if module.full:
            rows = [softmax([q @ k / math.sqrt(WIDTH) for k in keys]) for q in queries]
        else:
            rows = [softmax([q @ k / math.sqrt(WIDTH) for q, k in zip(queries, keys, strict=True)])]
        found = [sum(share * value for share, value in zip(row, values, strict=True)) for row in rows]
        spreads.append(sum(found) / len(found))
    return np.array(spreads)


@pytest.mark.parametrize("full", [False, True])
def test_temporal_attention_is_its_loops(full):
    torch.manual_seed(1)
    module, mean = TemporalAttention(D, WIDTH, full=full).double(), clips(2)[:, 0, :WIDTH]
    for layer in (module.query, module.key):
        torch.nn.init.normal_(layer.weight)  # shares far from 1 / T
    found = module(clips(), mean).detach().numpy()
    np.testing.assert_allclose(found, attended(module, clips(), mean), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("attn", ["diag", "full", "none"])
def test_what_is_classified_is_mu_and_a_draw_of_sigma(attn):
    expert, features = small(attn=attn).model["uniform"], make_batch().features
    state = torch.get_rng_state()
    logits, mean, spread = expert(features)
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(mean.detach(), frame_means(expert.mean, features), **close)
    if attn == "none":
        expected = frame_means(expert.spread, features)
    else:
        expected = attended(expert.spread, features, mean.detach())
    np.testing.assert_allclose(spread.detach(), expected, **close)
    torch.set_rng_state(state)
    z = (mean + torch.randn(B, WIDTH) * spread).detach().numpy()
    np.testing.assert_allclose(logits.detach(), [affine(expert.classifier, row) for row in z], **close)


def pairwise_sorting(means, targets, similarity, temperature):
    """Eq. 3 with a minus, pair by pair."""
    of_video = []
    for i, own in enumerate(means):

        def score(j, own=own):
            length = np.linalg.norm(own) * np.linalg.norm(means[j]) if similarity == "cosine" else 1
            return own @ means[j] / length / temperature

        shared = [j for j in range(len(means)) if j != i and any(targets[i] * targets[j])]
        others = [j for j in range(len(means)) if j != i and j not in shared]
        against = sum(math.exp(score(k)) for k in others)
        terms = [-math.log(math.exp(score(j)) / (math.exp(score(j)) + against)) for j in shared]
        if terms:
            of_video.append(sum(terms) / len(terms))
    return sum(of_video) / len(of_video)


def means_and_targets(seed=0):
    """Eight videos: two pairs and a triple by shared classes, one of them in two, and one that shares none."""
    means = torch.from_numpy(np.random.default_rng(seed).standard_normal((8, WIDTH)))
    labels = [[0], [0, 1], [1], [2], [2, 3], [2], [5], [1, 4]]
    targets = torch.zeros(8, C, dtype=torch.float64)
    for row, classes in enumerate(labels):
        targets[row, classes] = 1
    return means, targets


@pytest.mark.parametrize(("similarity", "temperature"), [("cosine", 0.1), ("dot", 1.0)])
def test_sorting_loss_is_its_loops(similarity, temperature):
    means, targets = means_and_targets()
    options = {"similarity": similarity, "temperature": temperature}
    expected = pairwise_sorting(means.numpy(), targets.numpy(), **options)
    assert medc.sorting_loss(means, targets, **options).item() == pytest.approx(expected, rel=1e-6)
    assert medc.sorting_loss(means, targets, **options, literal=True).item() == pytest.approx(-expected, rel=1e-6)


@pytest.mark.parametrize("alike", [False, True])
def test_sorting_loss_without_positives_or_negatives_is_nothing(alike):
    means = means_and_targets()[0].float().requires_grad_()
    targets = torch.ones(8, C) if alike else torch.eye(8, C)
    loss = medc.sorting_loss(means, targets)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(means.grad, torch.zeros_like(means))


def test_sorting_loss_of_large_dot_products_is_finite():
    means = (300 * means_and_targets()[0].float()).requires_grad_()
    loss = medc.sorting_loss(means, means_and_targets()[1].float(), similarity="dot", temperature=1.0)
    loss.backward()
    assert loss.item() > 1e4
    assert means.grad.isfinite().all()


def after_steps(loss_of, values, rate, steps=30):
    """The values after some steps of gradient descent."""
    values = values.clone().requires_grad_()
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(loss_of(values), values)
        values = (values - rate * gradient).detach().requires_grad_()
    return values.detach()


def test_the_printed_sorting_loss_pushes_positives_apart():
    means, targets = means_and_targets()

    def nearness(vectors):
        """Mean cosine of pairs that share a class, less that of the others."""
        cosine = torch.nn.functional.normalize(vectors) @ torch.nn.functional.normalize(vectors).T
        shared = (targets @ targets.T > 0).double() - torch.eye(8)
        others = (targets @ targets.T == 0).double()
        return ((cosine * shared).sum() / shared.sum() - (cosine * others).sum() / others.sum()).item()

    for literal, sign in ((False, 1), (True, -1)):
        moved = after_steps(lambda x, literal=literal: medc.sorting_loss(x, targets, literal=literal), means, 0.05)
        assert sign * (nearness(moved) - nearness(means)) > 0.3
    # And with dot products it has no minimum.
    lost = [medc.sorting_loss(scale * means, targets, similarity="dot", literal=True).item() for scale in (1, 10, 100)]
    assert lost[0] > 50 * lost[1] > 2_500 * lost[2]
    assert lost[2] < -1e4


def test_classification_loss_is_its_loops():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((B, C)), (rng.random((B, C)) < 0.3).astype(float)
    offsets = rng.standard_normal(C)
    whole = printed = 0.0
    for b in range(B):
        for c in range(C):
            p = 1 / (1 + math.exp(-(x[b, c] + offsets[c])))
            printed -= y[b, c] * math.log(p) / B / C
            whole -= (y[b, c] * math.log(p) + (1 - y[b, c]) * math.log(1 - p)) / B / C
    inputs = [torch.from_numpy(array) for array in (x, y, offsets)]
    assert medc.classification_loss(*inputs).item() == pytest.approx(whole, rel=1e-9)
    assert medc.classification_loss(*inputs, literal=True).item() == pytest.approx(printed, rel=1e-9)


def test_the_printed_classification_loss_wants_every_class_everywhere():
    targets = torch.eye(C)
    for literal, worst in ((False, 0.5), (True, 0.99)):  # C classes alike: 1 / C of them is right
        bias = after_steps(
            lambda b, literal=literal: medc.classification_loss(b.expand(C, C), targets, literal=literal),
            torch.zeros(C),
            rate=100.0,
            steps=300,
        )
        if literal:
            assert bias.sigmoid().min() > worst
        else:
            assert bias.sigmoid().max() < worst


def test_region_loss_is_its_loops():
    rng = np.random.default_rng(4)
    sigma, y, gamma = rng.standard_normal((B, WIDTH)), (rng.random((B, C)) < 0.3).astype(float), rng.random(C)
    y[0] = 0
    whole = printed = 0.0
    for b in range(B):
        labels = [c for c in range(C) if y[b, c]]
        wanted = sum(gamma[c] for c in labels) / len(labels) if labels else 0
        for value in sigma[b]:
            whole += (value**2 - wanted) ** 2 / B / WIDTH
            printed += (value**2 - wanted) / B / WIDTH
    inputs = [torch.from_numpy(array) for array in (sigma, y, gamma)]
    assert medc.region_loss(*inputs).item() == pytest.approx(whole, rel=1e-9)
    assert medc.region_loss(*inputs, literal=True).item() == pytest.approx(printed, rel=1e-9)


def test_the_printed_region_loss_wants_no_region_at_all():
    sigma, gamma = torch.full((3, 1), 0.4), torch.tensor([0.04, 0.25, 0.81])
    moved = after_steps(lambda s: medc.region_loss(s, torch.eye(3), gamma), sigma, rate=0.5, steps=300)
    np.testing.assert_allclose(moved[:, 0], gamma.sqrt(), atol=1e-3)
    moved = after_steps(lambda s: medc.region_loss(s, torch.eye(3), gamma, literal=True), sigma, rate=0.5, steps=300)
    assert moved.abs().max() < 1e-6


def test_reversed_frequencies():
    counts = np.array([40, 3, 900, 12, 5])
    by_rank = sorted(range(5), key=lambda c: -counts[c])
    expected = np.empty(5)
    for rank, c in enumerate(by_rank):
        expected[c] = counts[by_rank[4 - rank]]
    np.testing.assert_array_equal(medc.class_weights("inverse", counts), expected)
    np.testing.assert_array_equal(medc.class_weights("longtail", counts), counts)
    np.testing.assert_array_equal(medc.class_weights("uniform", counts), np.ones(5))
    np.testing.assert_allclose(medc.class_weights("inverse", counts, "inverse_frequency"), 1 / counts)
    # No class of equal counts is preferred, and classes without videos are left out.
    np.testing.assert_array_equal(medc.class_weights("inverse", np.array([7, 0, 5, 5, 1])), [1, 0, 5, 5, 7])
    np.testing.assert_array_equal(medc.class_weights("inverse", np.array([9, 5, 5, 1])), [1, 5, 5, 9])
    np.testing.assert_array_equal(medc.class_weights("inverse", np.array([9, 9, 5, 1])), [3, 3, 9, 9])
    np.testing.assert_array_equal(medc.class_weights("uniform", np.array([7, 0])), [1, 0])
    np.testing.assert_array_equal(medc.class_weights("inverse", np.array([4, 0]), "inverse_frequency"), [0.25, 0])


@pytest.mark.parametrize(
    ("law", "shares"), [("rank_reversal", (0.013, 0.355, 0.633)), ("inverse_frequency", (0.009, 0.403, 0.588))]
)
def test_shares_of_head_medium_and_tail_on_videolt(law, shares):
    """Those of the published counts, which are interpolated here between the ends of the three groups."""
    weights = medc.class_weights("inverse", VIDEOLT_COUNTS, law)
    found = [weights[:47].sum(), weights[47:664].sum(), weights[664:].sum()] / weights.sum()
    np.testing.assert_allclose(found, shares, atol=5e-3)


def test_experts_draw_by_their_laws():
    """Each has a sampler of its own, of as many videos."""
    labels = LabelList.from_lists(
        [f"v{i}" for i in range(COUNTS.sum())], [[c] for c in range(C) for _ in range(COUNTS[c])], C
    )
    longtail, uniform, inverse = (s.draw(labels, seed=0, epoch=0) for s in small().stages()[0].samplers)
    assert len(longtail) == len(uniform) == len(inverse) == len(labels)
    np.testing.assert_array_equal(np.sort(longtail.rows), np.arange(len(labels)))
    np.testing.assert_allclose(np.bincount(uniform.classes) / len(labels), 1 / C, atol=0.03)
    np.testing.assert_allclose(np.bincount(inverse.classes) / len(labels), COUNTS[::-1] / COUNTS.sum(), atol=0.03)
    rare = small(inverse_law="inverse_frequency").stages()[0].samplers[2].draw(labels, seed=0, epoch=0)
    np.testing.assert_allclose(
        np.bincount(rare.classes, minlength=C) / len(labels), 1 / COUNTS / sum(1 / COUNTS), atol=0.03
    )


def test_regions_are_linear_in_what_an_expert_meets():
    experts = small().model
    least, most = COUNTS.min(), COUNTS.max()
    expected = [(n - least) / (most - least) for n in COUNTS]
    np.testing.assert_allclose(experts["longtail"].regions, expected, rtol=1e-6)
    np.testing.assert_allclose(experts["inverse"].regions, expected[::-1], rtol=1e-6)
    assert experts["uniform"].regions.tolist() == [0.5] * C
    experts = small(gamma_range=(0.1, 0.9), gamma_uniform=0.3).model
    np.testing.assert_allclose(experts["longtail"].regions, [0.1 + 0.8 * region for region in expected], rtol=1e-6)
    assert experts["uniform"].regions.tolist() == pytest.approx([0.3] * C)
    assert medc.class_regions(np.array([3.0, 0.0, 5.0])).tolist() == [0, 0, 1]


def logit(p):
    return math.log(p / (1 - p))


def test_offsets_are_bayes_rule():
    """Two classes, five kinds of videos: what is learnt at one prior, less the offset, is what holds at another."""
    rng = np.random.default_rng(0)
    kinds = rng.dirichlet(np.ones(5), 2)  # how often a class looks like each kind

    def posterior(kind, prior):
        joint = [prior[c] * kinds[c, kind] for c in (0, 1)]
        return joint[0] / sum(joint)

    counts = np.array([90, 10])
    for power, prior in ((1.0, (0.1, 0.9)), (2.0, (0.01 / 0.82, 0.81 / 0.82))):
        offset = medc.logit_offsets(counts, medc.class_weights("inverse", counts), power)[0].item()
        for kind in range(5):
            trained = logit(posterior(kind, (0.9, 0.1)))
            assert trained - offset == pytest.approx(logit(posterior(kind, prior)), rel=1e-5)


def test_offsets_of_many_classes():
    given, reversed_ = COUNTS / COUNTS.sum(), COUNTS[::-1] / COUNTS.sum()
    squared = reversed_**2 / sum(reversed_**2)
    experts = small(shared_batch=True).model
    assert experts["longtail"].offsets.tolist() == [0] * C
    np.testing.assert_allclose(experts["uniform"].offsets, [logit(p) - logit(1 / C) for p in given], rtol=1e-5)
    expected = [logit(p) - logit(q) for p, q in zip(given, squared, strict=True)]
    np.testing.assert_allclose(experts["inverse"].offsets, expected, rtol=1e-5)
    assert all(expert.offsets is None for expert in small().model.values())
    offsets = medc.logit_offsets(np.array([5, 0, 5]), np.array([1.0, 0, 3.0]))
    assert offsets.tolist() == pytest.approx([logit(0.5) - logit(0.25), 0, logit(0.5) - logit(0.75)])
    assert medc.logit_offsets(np.array([5, 0]), np.array([1.0, 0])).tolist() == [0, 0]


SETTINGS = [
    {},
    {"attn": "full", "lambdas": (0.5, 2.0, 3.0)},
    {"attn": "none", "phi": "mlp", "experts": ("inverse", "longtail")},
    {"shared_batch": True},
    {"literal": ("sorting", "classification", "region"), "similarity": "dot", "temperature": 1.0},
    {"learn_lambdas": True, "lambdas": (1.0, 2.0, 5.0)},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("mixed", [False, True])
def test_the_loss_is_the_sum_over_experts_and_parts(settings, mixed):
    """Under autocast too, where distributions come of 16 bits but nothing behind them is."""
    method = begin(small(**settings))
    batches = make_batches(method, 0)
    assert len(batches) == (1 if method.config.shared_batch else len(method.config.experts))
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        loss = method(*batches)
    torch.manual_seed(5)
    expected = 0.0
    weights = np.array(method.config.lambdas)
    if method.config.learn_lambdas:
        weights = weights / weights.sum()
    literal = {name: name in method.config.literal for name in medc.LITERAL}
    for i, name in enumerate(method.config.experts):
        expert, batch = method.model[name], batches[0 if method.config.shared_batch else i]
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            logits, mean, spread = expert(batch.features)
        assert logits.dtype == mean.dtype == spread.dtype == torch.float32
        options = {"similarity": method.config.similarity, "temperature": method.config.temperature}
        sorting = medc.sorting_loss(mean, batch.targets, **options, literal=literal["sorting"])
        shown = logits + expert.offsets if method.config.shared_batch else logits
        classes = medc.classification_loss(shown, batch.targets, literal=literal["classification"])
        region = medc.region_loss(spread, batch.targets, expert.regions, literal=literal["region"])
        expected += weights @ [sorting.item(), classes.item(), region.item()]
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("has_positives", [True, False])
def test_every_parameter_has_a_gradient(settings, has_positives):
    method = begin(small(**settings))
    batches = make_batches(method, 0)
    if not has_positives:
        for batch in batches:
            batch.targets.copy_(torch.eye(B, C))
    method(*batches).backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("experts", [EXPERTS, ("inverse",), ("longtail", "inverse")])
def test_experts_that_are_switched_off_are_not_made(experts):
    method = small(experts=experts)
    assert tuple(method.model) == experts
    samplers = method.stages()[0].samplers
    assert [isinstance(sampler, InstanceSampler) for sampler in samplers] == [name == "longtail" for name in experts]
    assert method(*make_batches(method, 0)).isfinite()


def test_learnt_lambdas_go_to_the_smallest_loss():
    method = begin(small(learn_lambdas=True, lambdas=(1.0, 1.0, 1.0), experts=("uniform",)))
    batches = make_batches(method, 0)
    assert method.log_lambdas.softmax(0).tolist() == pytest.approx([1 / 3] * 3)
    for _ in range(50):
        (gradient,) = torch.autograd.grad(method(*batches), method.log_lambdas)
        method.log_lambdas.data -= gradient
    sorting, _, region = method.log_lambdas.softmax(0).tolist()
    assert region > 0.9  # of these three the smallest by far at the start
    assert sorting < 0.05


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_prediction_is_the_mean_of_the_experts(average):
    method = small(average=average).eval()
    features = make_batch().features
    found = method.predict(features)
    by_expert = []
    for expert in method.model.values():
        means = frame_means(expert.mean, features)
        by_expert.append([affine(expert.classifier, mean) for mean in means])
    expected = np.mean(by_expert, 0)
    if average == "probabilities":
        p = np.mean(1 / (1 + np.exp(-np.array(by_expert))), 0)
        expected = np.log(p / (1 - p))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-4, atol=1e-5)


def test_logit_of_mean_probability_is_that_of_float64():
    logits = 4 * torch.from_numpy(np.random.default_rng(0).standard_normal((3, 50, C)))
    p = logits.sigmoid().mean(0)
    found = medc.logit_of_mean_probability(logits.float())
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, p.logit(), rtol=1e-5, atol=1e-6)


def test_logit_of_mean_probability_ranks_where_probabilities_round():
    for start in (20.0, 60.0, -115.0, -300.0):  # float32 has one probability for most of these
        logits = start + torch.arange(50.0).expand(3, 50) / 10 + torch.tensor([[0.0], [1.0], [2.0]])
        found = medc.logit_of_mean_probability(logits)
        assert len(logits.sigmoid().mean(0).unique()) < 10
        assert (found.diff() > 0).all()
    alone = torch.linspace(-80, 80, 999).unsqueeze(0)
    np.testing.assert_allclose(medc.logit_of_mean_probability(alone), alone[0], rtol=1e-6, atol=1e-6)


def test_predictions_of_several_draws():
    method = small(mc_samples=4, experts=("uniform", "inverse")).eval()
    features = make_batch().features
    found = method.predict(features)
    p = 0.0
    for expert in method.model.values():
        mean, spread = expert.gaussian(features)
        for noise in method.noise:
            p += expert.classifier(mean + noise * spread).double().sigmoid() / 8
    np.testing.assert_allclose(found.detach(), p.logit().detach(), rtol=1e-5, atol=1e-5)
    # The draws depend on the seed alone, not on the other rows of the batch.
    np.testing.assert_allclose(method.predict(features[3:4]).detach(), found[3:4].detach(), rtol=1e-5, atol=1e-5)
    assert torch.equal(small(mc_samples=4).noise, method.noise)
    other = MEDC(MEDCConfig(mc_samples=4, embedding_dim=WIDTH, seed=1), TASK)
    assert not torch.equal(other.noise, method.noise)
    small().load_state_dict(other.state_dict())  # a checkpoint does for any number of draws


def test_defaults_are_the_papers():
    config = MEDCConfig(**MEDC.presets["r101"].settings)
    assert (config.train_frames, config.frame_sampling, config.test_frames) == (150, "uniform", 150)
    assert (config.epochs, config.lr, config.batch_size) == (120, 1e-4, 128)
    alone = [MEDC.presets[f"r50-expert{i}"].settings["experts"] for i in (1, 2, 3)]
    assert alone == [("longtail",), ("uniform",), ("inverse",)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"experts": ()}, "experts: expected some of longtail, uniform, inverse, got none"),
        ({"experts": ("head",)}, "experts: expected different ones of longtail, uniform, inverse, got head"),
        ({"experts": ("uniform", "uniform")}, "experts: expected different ones of .*, got uniform, uniform"),
        ({"literal": ("mean",)}, "literal: expected different ones of sorting, classification, region, got mean"),
        ({"embedding_dim": 0}, "embedding_dim: expected at least 1, got 0"),
        ({"mc_samples": -1}, "mc_samples: expected at least 0, got -1"),
        ({"temperature": 0.0}, r"temperature: expected a positive number, got 0\.0"),
        ({"gamma_uniform": -0.5}, r"gamma_uniform: expected at least 0, got -0\.5"),
        ({"gamma_range": (0.5, 0.1)}, r"gamma_range: expected two numbers rising from 0 up, got \(0\.5, 0\.1\)"),
        ({"lambdas": (1.0, 1.0)}, r"lambdas: expected three numbers from 0 up, got \(1\.0, 1\.0\)"),
        ({"lambdas": (1.0, 1.0, 0.0), "learn_lambdas": True}, "lambdas: expected three positive numbers, got .*"),
        ({"aggregator": "netvlad"}, "aggregator: expected one of gaussian, got 'netvlad'"),
        ({"clip_scope": "classifier"}, "clip_scope: expected one of all, got 'classifier'"),
        ({"frame_sampling": "even"}, "frame_sampling: expected one of .*, uniform, got 'even'"),
        ({"attn": "half"}, "attn: expected one of diag, full, none, got 'half'"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        MEDCConfig(**settings)
