"""The baselines and FrameStack: that a step learns, what each has by default, and each one's own rules."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import frame_reference
import numpy as np
import pytest
import torch
from small_methods import COUNTS, B, C, D, T, begin, make, make_batch

import vltr_eval
from vltr_train import losses
from vltr_train.aggregators import CLUSTERED
from vltr_train.data.loader import Batch
from vltr_train.method import Task
from vltr_train.methods import find_method
from vltr_train.samplers import ClassSampler, InstanceSampler
from vltr_train.settings import build_config

BASELINES = ("bce", "focal", "cb_loss", "ldam_drw", "eql", "cbs", "srs", "mixup", "crt", "framestack")


# Properties that VideoLT's methods share


@pytest.mark.parametrize(
    ("name", "aggregator"),
    [(name, "nonlinear") for name in BASELINES] + [("crt", "netvlad"), ("framestack", "netvlad")],
)
def test_steps_lower_the_loss(name, aggregator):
    method = begin(make(name, aggregator=aggregator), stage=0)
    batch = make_batch(num_rows=16)
    taken = []
    for _ in range(15):
        loss = method(batch)
        method.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in method.parameters():
                parameter -= 0.01 * parameter.grad.sign()  # any descent will do, and Adam takes seconds to import
        taken.append(loss.item())
    assert np.mean(taken[-3:]) < 0.9 * np.mean(taken[:3])
    method.end_epoch()


def test_dropout_is_the_aggregators_own_unless_said():
    assert make("bce", dropout=None).model.aggregator.dropout.p == 0.5
    assert make("bce", dropout=None, aggregator="netvlad").model.aggregator.hidden[3].p == 0.0
    assert make("bce", dropout=0.25, aggregator="netvlad").model.aggregator.hidden[3].p == 0.25


# Settings of the scripts and losses of VideoLT's published code; cRT's epochs are those of its own paper.
SCRIPTS = {
    "aggregator": "nonlinear",
    "epochs": 100,
    "batch_size": 128,
    "lr": 1e-4,
    "lr_steps": (30, 60),
    "lr_decay": 0.1,
    "clip_norm": 20.0,
    "train_frames": 60,
    "test_frames": 150,
    "frame_sampling": "with_replacement",
    "eval_every": 5,
    "precision": "float32",
    "seed": 2021,
}
OWN = {
    "focal": {"gamma": 1.0},
    "cb_loss": {"cb_beta": 0.9999, "cb_axis": "column"},
    "ldam_drw": {
        "scale": 30.0,
        "largest_margin": 0.5,
        "summed_margins": True,
        "drw_epoch": 50,
        "cb_beta": 0.9999,
    },
    "eql": {"eql_gamma": 1.76e-3},
    "cbs": {"mask_other_positives": True, "over_classes": "sum"},
    "srs": {"mask_other_positives": True, "over_classes": "sum"},
    "mixup": {"alpha": 1.0, "mix": "frames"},
    "crt": {"classifier_epochs": 10, "features_mode": "eval"},
    "framestack": {
        "ratio": 0.5,
        "warm_epochs": 1,
        "beta": "rap",
        "constant_beta": 0.5,
        "loss": "focal",
        "gamma": 1.0,
        "rap_source": "clean_train_mode",
        "rap_scores": "logits",
        "multilabel_rap": "sum",
        "eps_scale": "code",
        "order": "partner_first",
    },
}


@pytest.mark.parametrize("name", BASELINES)
def test_defaults_are_the_published_ones(name):
    config = dataclasses.asdict(find_method(name).Config())
    expected = SCRIPTS | OWN.get(name, {})
    assert {key: config[key] for key in expected} == expected


# Losses


def test_each_loss_is_that_of_its_function():
    batch = make_batch()
    for name, options, expected in (
        ("bce", {}, losses.bce),
        ("focal", {"gamma": 2.0}, lambda z, y: losses.focal(z, y, 2.0)),
        ("cb_loss", {}, lambda z, y: losses.bce(z, y, losses.class_balanced_weights(COUNTS))),
        ("cb_loss", {"cb_beta": 0.9}, lambda z, y: losses.bce(z, y, losses.class_balanced_weights(COUNTS, 0.9))),
        (
            "ldam_drw",
            {"scale": 3.0, "largest_margin": 0.9, "summed_margins": False, "cb_beta": 0.9, "drw_epoch": 1},
            lambda z, y: losses.ldam(
                z, y, losses.ldam_margins(COUNTS, 0.9), 3.0, losses.class_balanced_weights(COUNTS, 0.9), summed=False
            ),
        ),
        ("framestack", {"ratio": 0.0, "gamma": 2.0}, lambda z, y: losses.focal(z, y, 2.0)),
        ("framestack", {"ratio": 0.0, "loss": "bce"}, losses.bce),
        ("eql", {"eql_gamma": 1.0}, lambda z, y: losses.eql(z, y, torch.arange(C) >= 6, 1.0)),
        ("cbs", {}, lambda z, y: losses.resampled_bce(z, y, batch.classes)),
        ("srs", {"over_classes": "mean"}, lambda z, y: losses.resampled_bce(z, y, batch.classes) / C),
        ("crt", {"over_classes": "mean"}, lambda z, y: losses.resampled_bce(z, y, batch.classes) / C),
        *(
            (
                name,
                {"mask_other_positives": False},
                lambda z, y: losses.resampled_bce(z, y, batch.classes, mask_other_positives=False),
            )
            for name in ("cbs", "srs", "crt")
        ),
    ):
        method = begin(make(name, **options))
        torch.testing.assert_close(method(batch), expected(method.predict(batch.features), batch.targets))


def test_cb_loss_of_rows_sums_their_labels_weights():
    method, batch = begin(make("cb_loss", cb_axis="sample")), make_batch()
    weights, logits = losses.class_balanced_weights(COUNTS).numpy(), method.predict(batch.features)
    rows = [sum(weights[c] for c in range(C) if batch.targets[b, c] == 1) for b in range(B)]
    per_row = losses.bce(logits, batch.targets, reduction="none").mean(1).detach().numpy()
    assert method(batch).item() == pytest.approx(np.mean(per_row * rows), rel=1e-5)


def test_ldam_reweights_from_its_epoch_on_and_for_good():
    method, batch = make("ldam_drw"), make_batch()
    margins, weights = losses.ldam_margins(COUNTS), losses.class_balanced_weights(COUNTS)
    for epoch in (0, 49, 50, 99, 100, 119):
        begin(method, epoch=epoch)
        expected = losses.ldam(
            method.predict(batch.features), batch.targets, margins, weight=weights if epoch >= 50 else None
        )
        torch.testing.assert_close(method(batch), expected)
        method.end_epoch()


# Samplers


def test_sampling_methods_draw_by_their_law():
    (cbs,), (srs,) = (make(name).stages()[0].samplers for name in ("cbs", "srs"))
    assert cbs.probabilities_of(COUNTS).tolist() == pytest.approx([1 / C] * C)
    least, most = srs.probabilities_of(np.array([44, 1912]))
    assert least / most == pytest.approx(0.00050436 / 0.00332476, rel=1e-4)  # VideoLT's smallest and largest class


@pytest.mark.parametrize("name", [name for name in BASELINES if name not in ("cbs", "srs", "crt")])
def test_other_methods_visit_each_video_once(name):
    (stage,) = make(name).stages()
    assert [type(sampler) for sampler in stage.samplers] == [InstanceSampler]
    assert stage.epochs == 100


# cRT


def test_crt_learns_a_new_classifier_on_a_frozen_trunk():
    method = make("crt", aggregator="netvlad", classifier_epochs=3)
    first, second = method.stages()
    assert (second.name, second.epochs, type(second.samplers[0])) == ("classifier", 3, ClassSampler)
    method.train()
    method.begin_stage(first)
    old = {name: value.clone() for name, value in method.state_dict().items()}
    method.begin_stage(second)
    assert not torch.equal(method.model.classifier.weight, old["model.classifier.weight"])
    method.train()  # as an engine does before each epoch
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    batch = make_batch()
    before = method(batch)
    before.backward()
    with torch.no_grad():
        for parameter in trained:
            parameter -= 0.01 * parameter.grad
    assert method(batch) < before
    assert [id(x) for x in trained] == [id(x) for x in method.model.classifier.parameters()]
    assert method.model.classifier.training
    assert not any(module.training for module in method.model.aggregator.modules())
    for name, value in method.state_dict().items():  # running statistics included
        assert torch.equal(value, old[name]) == ("aggregator" in name), name


def test_crt_in_train_mode_moves_statistics_and_no_weight():
    """As the published code, which sets all networks to train mode and gives the features no gradient."""
    method = make("crt", aggregator="netvlad", features_mode="train", dropout=0.5)
    torch.manual_seed(0)
    begin(method, stage=1)
    trunk, batch = method.model.aggregator, make_batch()
    weights, statistics = dict(trunk.named_parameters()), {n: x.clone() for n, x in trunk.named_buffers()}
    method(batch).backward()
    assert all(module.training for module in method.modules())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in weights.values())
    assert all(parameter.grad is not None for parameter in method.model.classifier.parameters())
    # One step of torch's batch normalisation, by its definition: a tenth of the way to the unbiased statistics.
    rows = batch.features.double().numpy().reshape(-1, D)
    moved = trunk.input_norm
    np.testing.assert_allclose(
        moved.running_mean, 0.9 * statistics["input_norm.running_mean"].numpy() + rows.mean(0) / 10, 1e-4
    )
    expected = 0.9 * statistics["input_norm.running_var"].numpy() + rows.var(0, ddof=1) / 10
    np.testing.assert_allclose(moved.running_var, expected, rtol=1e-4)
    assert method(batch).item() != method(batch).item()  # by the dropout of the features


def test_crt_official_features_are_in_train_mode():
    assert build_config(find_method("crt"), protocol="official").features_mode == "train"
    assert build_config(find_method("crt")).features_mode == "eval"


def test_crt_begins_its_classifier_anew_by_the_seed_of_its_stage():
    method, found = make("crt"), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        method.begin_stage(method.stages()[1])
        found.append([value.detach().clone() for value in method.model.classifier.parameters()])
    first, again, other = found
    for number in range(2):
        assert torch.equal(first[number], again[number])
        assert not torch.equal(first[number], other[number])


def test_crt_balances_in_its_second_stage_alone():
    method = make("crt")
    method.begin_stage(method.stages()[0])
    batch, plain = make_batch(), make_batch(classes=False)
    logits = method.predict(batch.features)
    torch.testing.assert_close(method(plain), losses.bce(logits, batch.targets))
    torch.testing.assert_close(method(batch), losses.resampled_bce(logits, batch.targets, batch.classes))


# mixup


def seen_by(method, batch, monkeypatch) -> tuple[torch.Tensor, torch.Tensor]:
    """The clips that a step gives the model first, and the targets of its loss."""
    monkeypatch.setattr(method.model, "embed", lambda features: features)  # what is mixed are then the features
    clips, targets = [], []
    hook = method.model.register_forward_pre_hook(lambda _, inputs: clips.append(inputs[0].clone()))
    name = "focal" if getattr(method.config, "loss", "bce") == "focal" else "bce"
    original = getattr(losses, name)
    monkeypatch.setattr(losses, name, lambda z, y, *rest: targets.append(y) or original(z, y, *rest))
    method(batch)
    hook.remove()
    return clips[0], targets[0]


def test_mixup_mixes_frames_and_labels_alike(monkeypatch):
    method, batch = begin(make("mixup")), make_batch()
    features, targets = seen_by(method, batch, monkeypatch)
    pairs = set()
    for row in range(B):
        fits = []
        for other in range(B):
            gap = batch.features[row] - batch.features[other]
            share = (((features[row] - batch.features[other]) * gap).sum() / gap.square().sum()).item()
            share = 1.0 if other == row else share
            mixed = share * batch.features[row] + (1 - share) * batch.features[other]
            if torch.allclose(mixed, features[row], atol=1e-5):
                labels = share * batch.targets[row] + (1 - share) * batch.targets[other]
                torch.testing.assert_close(targets[row], labels, atol=1e-5, rtol=0)
                fits.append((other, round(share, 4)))
        assert len(fits) == 1
        pairs.add(fits[0])
    assert sorted(other for other, _ in pairs) == list(range(B))  # a permutation
    assert len({share for other, share in pairs if share != 1.0}) == 1  # one share a batch


def test_mixup_shares_are_beta_distributed(monkeypatch):
    shares = []
    original = torch.lerp
    monkeypatch.setattr(torch, "lerp", lambda a, b, share: shares.append(share.item()) or original(a, b, share))
    method, batch = begin(make("mixup", alpha=0.2)), make_batch()
    with torch.no_grad():
        for _ in range(200):
            method(batch)
    assert min(shares) >= 0
    assert max(shares) <= 1
    assert np.mean(shares) == pytest.approx(0.5, abs=0.08)
    assert np.var(shares) == pytest.approx(1 / (4 * (2 * 0.2 + 1)), abs=0.025)  # of Beta(a, a)


def test_mixup_of_vectors_mixes_what_was_pooled(monkeypatch):
    """Mixing means of frames is mixup of frames; mixing the outputs of a model is not."""
    batch = make_batch()
    for aggregator, alike in (("mean", True), ("nonlinear", False)):
        losses_taken = []
        for mix in ("frames", "vectors"):
            method = begin(make("mixup", aggregator=aggregator, mix=mix))
            torch.manual_seed(4)
            losses_taken.append(method(batch).item())
        assert (abs(losses_taken[0] - losses_taken[1]) < 1e-6) == alike
    method = begin(make("mixup", aggregator="netvlad", mix="vectors")).eval()
    mixed, targets = [], []
    classify, bce = method.model.classify, losses.bce
    monkeypatch.setattr(method.model, "classify", lambda vectors: mixed.append(vectors) or classify(vectors))
    monkeypatch.setattr(losses, "bce", lambda z, y: targets.append(y) or bce(z, y))
    torch.manual_seed(4)
    method(batch)
    vectors = method.model.aggregator.pool(method.model.embed(batch.features)).detach()
    torch.manual_seed(4)
    share, partner = torch.distributions.Beta(1.0, 1.0).sample().item(), torch.randperm(B).tolist()
    assert sorted(partner) != partner
    for row, other in enumerate(partner):
        torch.testing.assert_close(mixed[0][row].detach(), share * vectors[row] + (1 - share) * vectors[other])
        labels = share * batch.targets[row] + (1 - share) * batch.targets[other]
        torch.testing.assert_close(targets[0][row], labels)


# FrameStack


def clip_task(num_classes=C) -> Task:
    return Task(num_classes, D, np.arange(1, num_classes + 1), (500, 100))


def framestack(rap=None, **settings):
    method = make("framestack", **settings)
    if rap is not None:
        method.rap.copy_(torch.as_tensor(rap))
    return method


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize(("ratio", "num_mixed"), [(0.0, 0), (0.5, 4), (0.9, 7), (1.0, 8)])
def test_first_rows_are_mixed_after_the_warm_epoch(monkeypatch, ratio, num_mixed, epoch):
    method, batch = begin(framestack(np.linspace(0.1, 0.9, C), ratio=ratio), epoch=epoch), make_batch()
    num_mixed *= epoch
    features, targets = seen_by(method, batch, monkeypatch)
    assert torch.equal(features[num_mixed:], batch.features[num_mixed:])
    assert torch.equal(targets[num_mixed:], batch.targets[num_mixed:])
    assert torch.equal(features[:num_mixed], batch.features[:num_mixed]) == (num_mixed == 0)


@pytest.mark.parametrize(
    "options", [{}, {"multilabel_rap": "mean", "eps_scale": "paper", "order": "own_first"}], ids=["code", "paper"]
)
def test_mixed_rows_are_those_of_the_textbook(monkeypatch, options):
    method, batch = begin(framestack(np.linspace(0.1, 0.9, C), ratio=1.0, **options)), make_batch()
    partners, draw = [], torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda n, **kw: partners.append(draw(n, **kw)) or partners[-1])
    features, targets = seen_by(method, batch, monkeypatch)
    inputs = (x.numpy() for x in (batch.features, batch.targets, method.rap, partners[0]))
    expected = frame_reference.frame_stack(*inputs, T, **options)
    np.testing.assert_array_equal(features.numpy(), expected[0])
    np.testing.assert_array_equal(targets.numpy(), expected[1])


@pytest.mark.parametrize(
    ("rap", "beta", "from_partner"),
    [((0.2, 0.4, 0.001), 0.99834, 59), ((0.0, 0.0, 0.0), 0.5, 30), ((0.003, 0.003, 0.004), 0.5, 30)],
)
def test_published_shares_of_frames(monkeypatch, rap, beta, from_partner):
    """A video of classes 0 and 1 with one of class 2, at a clip of 60 frames and VideoLT's 1,004 classes."""
    values = np.zeros(1004, np.float32)
    values[:3] = rap
    method = begin(framestack(values, task=clip_task(1004), train_frames=60, ratio=1.0))
    features = torch.arange(60.0).repeat(2, 1)[:, :, None].repeat(1, 1, D)
    features[1] += 100
    targets = torch.zeros(2, 1004)
    targets[0, :2] = targets[1, 2] = 1
    monkeypatch.setattr(torch, "randperm", lambda n, **kw: torch.arange(n).flip(0))
    clips, labels = seen_by(method, Batch(features, targets, torch.arange(2)), monkeypatch)
    assert (clips[0, :, 0] >= 100).sum() == from_partner
    assert clips[0, from_partner, 0] == 0  # its own frames come last
    assert labels[0, :3].tolist() == pytest.approx([1 - beta, 1 - beta, beta], abs=1e-5)


@pytest.mark.parametrize(("settings", "shares"), [({"constant_beta": 0.25}, None), ({}, "counts")])
def test_other_shares_than_by_rap(monkeypatch, settings, shares):
    kind = "constant" if shares is None else "frequency"
    method, batch = begin(framestack(beta=kind, ratio=1.0, **settings)), make_batch()
    monkeypatch.setattr(torch, "randperm", lambda n, **kw: torch.arange(n).flip(0))
    _, targets = seen_by(method, batch, monkeypatch)
    for row in range(B):
        own, partner = batch.targets[row].numpy(), batch.targets[B - 1 - row].numpy()
        beta = 0.25 if shares is None else (own @ COUNTS) / (own @ COUNTS + partner @ COUNTS)
        np.testing.assert_allclose(targets[row].numpy(), (1 - beta) * own + beta * partner, atol=1e-6)
    before = method.rap.clone()
    method.end_epoch()
    assert torch.equal(method.rap, before)


def test_a_single_row_is_not_stacked_with_itself(monkeypatch):
    method, batch = begin(framestack(np.ones(C))), make_batch(num_rows=3)
    assert torch.equal(seen_by(method, batch, monkeypatch)[0], batch.features)


@pytest.mark.parametrize("source", ["clean_train_mode", "clean_eval_mode", "reuse"])
@pytest.mark.parametrize("epoch", [0, 1])
def test_rap_is_the_ap_of_clean_predictions(source, epoch):
    """Without dropout and batch statistics all sources see the same."""
    method = begin(framestack(np.linspace(0.1, 0.9, C), rap_source=source), epoch=epoch)
    batches = [make_batch(seed) for seed in range(3)] + [make_batch(9, num_rows=5)]
    for batch in batches:
        method(batch)
        assert method.model.training
    scores = torch.cat([method.predict(batch.features).detach() for batch in batches]).numpy()
    labels = torch.cat([batch.targets for batch in batches]).numpy()
    method.end_epoch()
    expected = vltr_eval.average_precision(scores, labels, absent="zero")
    np.testing.assert_allclose(method.rap.numpy(), expected, atol=1e-7)
    assert torch.equal(method.state_dict()["rap"], method.rap)
    method.begin_epoch(epoch + 1, 4 * B)
    method(batches[0])
    method.end_epoch()  # of the new epoch's rows alone
    expected = vltr_eval.average_precision(scores[:B], labels[:B], absent="zero")
    np.testing.assert_allclose(method.rap.numpy(), expected, atol=1e-7)


def published_ap(scores: torch.Tensor, labels: torch.Tensor) -> list[float]:
    """AP as VideoLT's meter: rows in descending order of scores, the earlier one first among equal ones."""
    found = []
    for c in range(labels.shape[1]):
        ranked = sorted(range(len(scores)), key=lambda row, c=c: -scores[row, c].item())  # stable
        hits, total = 0, 0.0
        for rank, row in enumerate(ranked, start=1):
            if labels[row, c] == 1:
                hits += 1
                total += hits / rank
        found.append(total / max(hits, 1))
    return found


@pytest.mark.parametrize("scale", [1.0, 30.0, 400.0], ids=["distinct", "few ties", "saturated"])
def test_published_rap_ranks_rounded_probabilities_by_row(scale):
    found = {}
    for kind in ("logits", "probabilities"):
        method = begin(framestack(rap_scores=kind), epoch=0)
        with torch.no_grad():
            method.model.classifier.weight *= scale
        batches = [make_batch(seed) for seed in range(6)]
        for batch in batches:
            method(batch)
        logits = torch.cat([method.predict(batch.features).detach() for batch in batches])
        labels = torch.cat([batch.targets for batch in batches])
        method.end_epoch()
        found[kind] = method.rap.numpy()
    probabilities = torch.sigmoid(logits)
    np.testing.assert_allclose(found["probabilities"], published_ap(probabilities, labels), atol=1e-6)
    expected = vltr_eval.average_precision(logits.numpy(), labels.numpy(), absent="zero")
    np.testing.assert_allclose(found["logits"], expected, atol=1e-6)
    has_ties = any(len(column.unique()) < len(column) for column in probabilities.T)
    assert has_ties == (scale > 1)
    assert (abs(found["logits"] - found["probabilities"]).max() > 1e-3) == has_ties


@pytest.mark.parametrize(("labels", "expected"), [([1, 0, 0, 1], 0.75), ([0, 0, 1, 1], 0.4167)])
def test_rap_of_four_equal_scores_is_the_published_one(labels, expected):
    """The published meter gives these; with one threshold both are 0.5."""
    for kind, value in (("probabilities", expected), ("logits", 0.5)):
        method = begin(framestack(rap_scores=kind), epoch=0)
        method._running.update(torch.full((4, C), 0.5), torch.tensor(labels).unsqueeze(1).expand(4, C).contiguous())
        method.end_epoch()
        assert method.rap.tolist() == pytest.approx([value] * C, abs=5e-5)


def test_official_rap_is_that_of_the_published_code():
    assert build_config(find_method("framestack"), "r101", protocol="official").rap_scores == "probabilities"
    assert build_config(find_method("framestack"), "r101").rap_scores == "logits"


@pytest.mark.parametrize(
    ("source", "forwards", "training"),
    [("clean_train_mode", [B, B], True), ("clean_eval_mode", [B, B], False), ("reuse", [B, B // 2], True)],
)
def test_second_forward(source, forwards, training):
    """How many rows it has, in which mode, how often batch statistics move, and that gradients know nothing of it."""
    method, batch = begin(framestack(np.ones(C), rap_source=source, aggregator="netvlad")), make_batch()
    seen = []
    method.model.register_forward_hook(
        lambda module, inputs, result: seen.append((len(inputs[0]), module.training, result.requires_grad))
    )
    method(batch).backward()
    assert seen == [(forwards[0], True, True), (forwards[1], training, False)]
    assert method.model.aggregator.input_norm.num_batches_tracked == 1 + training
    assert all(parameter.grad is not None for parameter in method.parameters())
    method.eval()
    method(batch)
    assert not method.model.training  # as it was before


@pytest.mark.parametrize("settings", [{"ratio": 0.0}, {"beta": "constant"}, {"beta": "frequency"}])
def test_what_needs_no_rap_takes_none(settings):
    method = begin(framestack(**settings))
    calls = []
    method.model.register_forward_hook(lambda *_: calls.append(1))
    method(make_batch())
    method.end_epoch()
    assert len(calls) == 1


def test_gradients_flow_under_autocast_with_a_second_forward():
    method, batch = begin(framestack(np.ones(C))), make_batch()
    with torch.autocast("cpu", torch.bfloat16):
        loss = method(batch)
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in method.parameters())


def test_steps_share_the_memory_of_mixed_clips():
    method, batch = begin(framestack(np.ones(C), ratio=1.0, aggregator="netvlad")), make_batch()
    addresses = set()
    method.model.register_forward_pre_hook(lambda _, inputs: addresses.add(inputs[0].data_ptr()))
    for _ in range(3):
        method(batch).backward()
    assert len(addresses - {batch.features.data_ptr()}) == 1


def test_other_clip_lengths_where_all_rows_are_mixed(monkeypatch):
    method = begin(framestack(np.ones(C), ratio=1.0, clip_length=T - 2))
    assert seen_by(method, make_batch(), monkeypatch)[0].shape == (B, T - 2, D)


RANKS = """
import os, sys
import torch, torch.distributed as dist
sys.path.insert(0, {folder!r})
import small_methods, test_methods as t
rank, store = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
method = small_methods.begin(t.framestack(), epoch=0)
for seed in ((0, 1, 2), (3,))[rank]:
    method(small_methods.make_batch(seed))
method.end_epoch()
print(*method.rap.tolist(), sep=",", flush=True)
os._exit(0)  # gloo's threads abort a teardown of Python
"""


def test_rap_is_of_all_ranks(tmp_path):
    code = RANKS.format(folder=str(Path(__file__).parent))
    commands = [[sys.executable, "-W", "ignore", "-c", code, str(rank), str(tmp_path / "store")] for rank in range(2)]
    ranks = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) for command in commands]
    printed = [rank.communicate(timeout=100)[0] for rank in ranks]
    method = begin(framestack(), epoch=0)
    for seed in range(4):
        method(make_batch(seed))
    method.end_epoch()
    assert 0 < method.rap.mean() < 1
    for line in printed:
        assert [float(value) for value in line.split(",")] == method.rap.tolist()


# Refused arguments


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("framestack", {"ratio": 1.5}, "ratio: expected from 0 to 1, got 1.5"),
        ("framestack", {"constant_beta": -1}, "constant_beta: expected from 0 to 1, got -1"),
        ("framestack", {"warm_epochs": -1}, "warm_epochs: expected at least 0, got -1"),
        ("framestack", {"beta": "ap"}, "beta: expected one of rap, constant, frequency, got 'ap'"),
        (
            "framestack",
            {"clip_length": 16},
            "clip_length: expected the 6 of train_frames where ratio is below 1, got 16",
        ),
        ("framestack", {"clip_length": 0, "ratio": 1.0}, "clip_length: expected at least 1 or none, got 0"),
        ("framestack", {"gamma": -1.0}, "gamma: expected at least 0, got -1.0"),
        ("focal", {"gamma": -1.0}, "gamma: expected at least 0, got -1.0"),
        ("cb_loss", {"cb_beta": 1.0}, "cb_beta: expected from 0 to below 1, got 1.0"),
        ("ldam_drw", {"cb_beta": 1.0}, "cb_beta: expected from 0 to below 1, got 1.0"),
        ("mixup", {"alpha": 0}, "alpha: expected a positive number, got 0"),
        (
            "mixup",
            {"mix": "vectors", "compile": True},
            "compile: expected false with mix=vectors, whose steps call parts of the model, got true",
        ),
        ("move", {"compile": True}, "compile: expected false, as steps of move call parts of the model, got true"),
        ("mixup", {"mix": "labels"}, "mix: expected one of frames, vectors, got 'labels'"),
        ("eql", {"eql_gamma": 2}, "eql_gamma: expected from 0 to 1, got 2"),
        ("crt", {"classifier_epochs": 0}, "classifier_epochs: expected at least 1, got 0"),
        ("bce", {"clusters": 16}, "clusters: expected none with aggregator=nonlinear, got 16"),
        ("bce", {"clusters": 0, "aggregator": "netvlad"}, "clusters: expected at least 1 or none, got 0"),
        ("bce", {"dropout": 1.0}, "dropout: expected from 0 to below 1 or none, got 1.0"),
        ("cbs", {"over_classes": "max"}, "over_classes: expected one of sum, mean, got 'max'"),
    ],
)
def test_bad_settings_are_refused(name, settings, message):
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(").replace(".", r"\.") + "$"):
        make(name, **settings)


def test_the_nearest_method_is_named():
    with pytest.raises(ValueError, match=r"^method: .* got 'framestak'; did you mean framestack\?$"):
        find_method("framestak")


@pytest.mark.parametrize("aggregator", CLUSTERED)
def test_vlads_have_the_clusters_that_are_asked_for(aggregator):
    def count(clusters):
        return sum(
            parameter.numel() for parameter in make("bce", aggregator=aggregator, clusters=clusters).parameters()
        )

    assert count(None) == count(64) > count(32) == count(33) - (count(65) - count(64))
