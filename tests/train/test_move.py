"""MOVE: a step by plain loops over samples, frames and heads, the published numbers, and what each setting changes."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_methods import COUNTS, TASK, B, C, D, T, begin, make, make_batch

from vltr_train import losses
from vltr_train.data.loader import Batch
from vltr_train.method import Task
from vltr_train.methods import find_method, move
from vltr_train.settings import build_config

HEADS = 4


@pytest.fixture
def draws(monkeypatch):
    """Record the draws of each step and the targets of its loss, as lists in the order of the steps."""
    seen = SimpleNamespace(masks=[], labels=[], shares=[], partners=[], targets=[])
    masks, randperm, bce = move.dynamic_frame_masks, torch.randperm, losses.bce

    class Beta(torch.distributions.Beta):
        def sample(self, shape=()):
            seen.shares.append((self.concentration1.item(), super().sample(shape)))
            return seen.shares[-1][1]

    def noted_masks(targets, *rest, **options):
        seen.labels.append(targets.clone())
        found = masks(targets, *rest, **options)
        seen.masks.append(found.clone())
        return found

    def noted_partners(count, **options):
        seen.partners.append(randperm(count, **options))
        return seen.partners[-1]

    monkeypatch.setattr(move, "Beta", Beta)
    monkeypatch.setattr(move, "dynamic_frame_masks", noted_masks)
    monkeypatch.setattr(torch, "randperm", noted_partners)
    monkeypatch.setattr(losses, "bce", lambda z, y, *rest: seen.targets.append(y) or bce(z, y, *rest))
    return seen


def without_dropout(method):
    for module in method.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return method


# The step by its definition


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    raised = np.exp(x - x.max())
    return raised / raised.sum()


def batch_norm(rows, weights, name):
    return (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def prototypes(w, clips, queries, keys):
    """PSA: of each sample and view, with keys and values of all frames. queries and keys: (B, V, T)."""
    found = []
    for clip, asking, keeping in zip(clips, queries, keys, strict=True):
        for mask, kept in zip(asking, keeping, strict=True):
            query = np.mean([frame for frame, chosen in zip(clip, mask, strict=True) if chosen], axis=0)
            asked = w["query.weight"] @ query
            heads = []
            for head in range(HEADS):
                part = slice(head * D // HEADS, (head + 1) * D // HEADS)
                scores = np.array([asked[part] @ (w["key.weight"] @ frame)[part] for frame in clip])
                scores = np.where(kept, scores / np.sqrt(D / HEADS), -1e9)
                values = [(w["value.weight"] @ frame)[part] for frame in clip]
                heads.append(sum(share * value for share, value in zip(softmax(scores), values, strict=True)))
            added = w["output.weight"] @ np.concatenate(heads) + query
            normal = (added - added.mean()) / np.sqrt(added.var() + 1e-6)
            found.append(normal * w["norm.weight"] + w["norm.bias"])
    return np.reshape(found, (*queries.shape[:2], -1))


def codes(w, clips, masks):
    """The codebook: frames are assigned all together, and summed of each sample and view. masks: (B, V, T)."""
    frames = batch_norm(clips.reshape(-1, D), w, "input_norm")
    scores = batch_norm(frames @ w["assignment.weight"].T, w, "assignment_norm")
    shares = np.array([softmax(row) for row in scores]).reshape(*clips.shape[:2], -1)
    vectors = []
    for clip, share, views in zip(frames.reshape(clips.shape), shares, masks, strict=True):
        for mask in views:
            sums = np.zeros_like(w["gate"])
            for frame, of_clusters, kept in zip(clip, share, mask, strict=True):
                sums += kept * of_clusters[:, None] * (frame - w.get("centers", 0))
            sums *= sigmoid(w["gate"])
            sums /= np.linalg.norm(sums, axis=1, keepdims=True)
            vectors.append((sums / np.linalg.norm(sums)).T.ravel())
    hidden = batch_norm(np.array(vectors) @ w["hidden.0.weight"].T, w, "hidden.1").clip(0, 6)
    return hidden.reshape(*masks.shape[:2], -1)


def zeroed_codes(w, clips, masks):
    """The codebook of the published code: a clip for each view, with zeros for the frames that its mask leaves out."""
    frames = batch_norm(clips.reshape(-1, D), w, "input_norm").reshape(clips.shape)
    copies = []
    for view in range(masks.shape[1]):
        for clip, mask in zip(frames, masks[:, view], strict=True):
            copies.append([frame if kept else np.zeros(D) for frame, kept in zip(clip, mask, strict=True)])
    copies = np.array(copies)
    scores = batch_norm(copies.reshape(-1, D) @ w["assignment.weight"].T, w, "assignment_norm")
    vectors = []
    for clip, rows in zip(copies, scores.reshape(len(copies), T, -1), strict=True):
        sums = sigmoid(w["gate"]) * sum(np.outer(softmax(row), frame) for row, frame in zip(rows, clip, strict=True))
        sums /= np.linalg.norm(sums, axis=1, keepdims=True)
        vectors.append((sums / np.linalg.norm(sums)).T.ravel())
    hidden = batch_norm(np.array(vectors) @ w["hidden.0.weight"].T, w, "hidden.1").clip(0, 6)
    return hidden.reshape(masks.shape[1], len(clips), -1).swapaxes(0, 1)


def textbook_masks(config, drawn):
    """Frames of the queries, of the keys, and of the codebook, (B, views, T) each."""
    if not config.extrapolation:
        return [np.ones((B, 1, T), bool)] * 3
    queries, keys, codebooks = np.zeros((B, 2, T), bool), np.ones((B, 2, T), bool), np.ones((B, 2, T), bool)
    for i in range(B):
        if config.minikinetics_code and i > 0:
            queries[i, 0, 0] = queries[i, 1, 1] = True
            continue
        queries[i], codebooks[i] = drawn[i, :2], drawn[i, 3:]
        own = {"keep": drawn[i, 2], "drop": ~drawn[i, 2], "none": np.ones(T, bool), "view": drawn[i, :2]}
        keys[i] = own[config.psa_key_mask]
    return queries, keys, codebooks


def textbook_loss(method, batch, draws):
    """The loss of the step that drew this."""
    config = method.config
    w = {name: value.double().numpy() for name, value in method.model.state_dict().items()}
    part = lambda start: {name[len(start) :]: value for name, value in w.items() if name.startswith(start)}  # noqa: E731
    clips, targets = batch.features.double().numpy(), batch.targets.double().numpy()
    queries, keys, views = textbook_masks(config, draws.masks[-1].numpy() if draws.masks else None)
    found = []
    if "psa" in config.aggregator:
        found.append(prototypes(part("aggregator.psa."), clips, queries, keys))
    if "codebook" in config.aggregator:
        encode = zeroed_codes if config.codebook_masking == "zero" else codes
        found.append(encode(part("aggregator.codebook."), clips, views))
    vectors = np.concatenate(found, axis=2)
    shares = [np.broadcast_to(share.double().numpy().reshape(-1), B) for _, share in draws.shares]
    if config.extrapolation:
        beyond = 1 + shares.pop(0)
        vectors = np.array([beyond[i] * vectors[i, 0] + (1 - beyond[i]) * vectors[i, 1] for i in range(B)])
    else:
        vectors = vectors[:, 0]
    if config.interpolation:
        (own,), partner = shares, draws.partners[-1].tolist()
        tau = (COUNTS - COUNTS.min()) / (COUNTS.max() - COUNTS.min())
        mixed, labels = [], []
        for i, j in enumerate(partner):
            mixed.append(own[i] * vectors[i] + (1 - own[i]) * vectors[j])
            label = own[i] * targets[i] + (1 - own[i]) * targets[j]
            if config.label_calibration:
                label = np.minimum(label * (1 - tau + config.calibration_bias), 1)
            labels.append(label)
        vectors, targets = np.array(mixed), np.array(labels)
    total = 0.0
    for vector, target in zip(vectors, targets, strict=True):
        hidden = np.maximum(w["aggregator.hidden.0.weight"] @ vector + w["aggregator.hidden.0.bias"], 0)
        p = sigmoid(w["classifier.weight"] @ hidden + w["classifier.bias"])
        total -= np.mean(target * np.log(p) + (1 - target) * np.log(1 - p))
    return total / B


STEPS = [
    {},
    {"psa_key_mask": "drop"},
    {"psa_key_mask": "keep"},
    {"psa_key_mask": "none"},
    {"codebook_masking": "zero"},
    {"codebook_masking": "zero", "psa_key_mask": "drop", "detach_codebook_input": True},
    {"aggregator": "psa-codebook-centers"},
    {"mix_granularity": "sample"},
    {"aggregator": "psa"},
    {"aggregator": "codebook", "detach_codebook_input": True},
    {"extrapolation": False},
    {"interpolation": False},
    {"label_calibration": False},
    {"calibration_bias": 0.9, "lower_bound": 1.0, "extrapolation_alpha": 0.3, "interpolation_alpha": 5.0},
    {"extrapolation": False, "interpolation": False, "aggregator": "psa"},
    {"minikinetics_code": True},
    {"minikinetics_code": True, "psa_key_mask": "drop", "detach_codebook_input": True, "codebook_masking": "zero"},
]


def sensitive(**settings):
    """In whose loss it tells what vectors are."""
    method = without_dropout(make("move", **settings))
    with torch.no_grad():
        method.model.aggregator.hidden[0].weight *= 5
        method.model.classifier.weight *= 5
    torch.manual_seed(1)
    return begin(method)


@pytest.mark.parametrize("settings", STEPS, ids=str)
def test_a_step_is_that_of_the_textbook(settings, draws):
    method, batch = sensitive(**settings), make_batch()
    loss = method(batch)
    assert loss.item() == pytest.approx(textbook_loss(method, batch, draws), rel=2e-5)
    loss.backward()
    assert all((p.grad is not None) == p.requires_grad for p in method.parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {"psa_key_mask": "drop"},
        {"psa_key_mask": "keep"},
        {"psa_key_mask": "none"},
        {"codebook_masking": "zero"},
        {"aggregator": "psa-codebook-centers"},
        {"mix_granularity": "sample"},
        {"extrapolation": False},
        {"interpolation": False},
        {"label_calibration": False},
        {"calibration_bias": 0.6},
        {"lower_bound": 5.0},
        {"extrapolation_alpha": 1.0},
        {"interpolation_alpha": 0.1},
        {"minikinetics_code": True},
    ],
    ids=str,
)
def test_each_setting_tells_in_the_loss(settings):
    plain, other = (sensitive(**options)(make_batch()).item() for options in ({}, settings))
    assert abs(plain - other) > 5e-4 * plain  # by far more than the textbook may be off


# Numbers of the published code


def videolt(num_classes=3, **settings):
    """The classes are VideoLT's largest, its smallest, and one of the mean count; 60 frames."""
    counts = np.array([1912, 44, 196])[:num_classes]
    return begin(make("move", Task(num_classes, D, counts, (500, 100)), train_frames=60, **settings))


def clips_of(*classes, num_classes=3):
    targets = torch.zeros(len(classes), num_classes)
    for row, c in enumerate(classes):
        targets[row, c] = 1
    features = torch.randn(len(classes), 60, D, generator=torch.Generator().manual_seed(0))
    return Batch(features, targets, torch.arange(len(classes)))


def test_bounds_and_factors_are_the_published_ones():
    method = videolt()
    assert method.bounds.tolist() == pytest.approx([60, 3, 4.88], abs=0.005)
    assert method.factors.tolist() == pytest.approx([0.5, 1.5, 1.4186], abs=5e-5)


def test_frames_are_as_many_as_classes_allow(draws):
    method, batch = videolt(), clips_of(0, 1, 2)
    for _ in range(60):
        method(batch)
    sizes = torch.cat([masks.sum(2) for masks in draws.masks], dim=1)  # of 60 steps of 5 draws
    assert sizes.max(1).values.tolist() == [60, 60, 60]
    assert sizes.min(1).values.tolist() == [60, 3, 4]


def attention(method, batch) -> torch.Tensor:
    """Return the output of a step's PSA for its scores: (B, views x heads, T)."""
    seen = []
    hook = method.model.aggregator.psa.attention_dropout.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    method(batch)
    hook.remove()
    return seen[0].detach()


def test_keys_that_are_drawn_are_kept_or_dropped(draws):
    batch = clips_of(0, 1)
    kept, dropped = (attention(videolt(psa_key_mask=kind), batch) for kind in ("keep", "drop"))
    assert (dropped[0] == np.float32(1 / 60)).all()  # all frames of the largest class are drawn, and so blocked
    assert not (kept[0] == np.float32(1 / 60)).any()
    keeps, drops = (masks[1, 2] for masks in draws.masks)
    assert 3 <= keeps.sum() < 60
    assert ((kept[1] > 0) == keeps).all()
    assert ((dropped[1] > 0) == ~drops).all()


def test_a_view_attends_to_the_frames_of_its_query(draws):
    of_views = attention(videolt(psa_key_mask="view"), clips_of(0, 1)).unflatten(1, (2, HEADS))
    for view in range(2):
        for head in range(HEADS):
            assert ((of_views[:, view, head] > 0) == draws.masks[0][:, view]).all()
    assert not torch.equal(draws.masks[0][1, 0], draws.masks[0][1, 1])


def test_zeros_change_the_codebook_by_its_batch_statistics_alone(draws):
    """With fixed statistics the zeros add nothing, so both kinds of masking agree."""
    found = {}
    for frozen in (False, True):
        for masking in ("drop", "zero"):
            method = sensitive(aggregator="codebook", codebook_masking=masking)
            method.aggregator.codebook.assignment_norm.train(not frozen)
            found[frozen, masking] = method(make_batch()).item()
    assert found[True, "drop"] == pytest.approx(found[True, "zero"], rel=2e-6)
    assert abs(found[False, "drop"] - found[False, "zero"]) > 1e-4 * found[False, "drop"]
    assert all(torch.equal(masks, draws.masks[0]) for masks in draws.masks)


def test_labels_are_calibrated_and_at_most_one(draws, monkeypatch):
    monkeypatch.setattr(torch, "randperm", lambda count, **_: torch.arange(count))
    videolt()(clips_of(0, 1, 2))
    videolt(label_calibration=False)(clips_of(0, 1, 2))
    videolt(interpolation=False)(clips_of(0, 1, 2))
    calibrated, *plain = draws.targets
    assert calibrated.tolist() == [[0.5, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert all(torch.equal(targets, torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])) for targets in plain)


def test_mixed_labels_are_calibrated_by_class(draws, monkeypatch):
    monkeypatch.setattr(torch, "randperm", lambda count, **_: torch.arange(count).flip(0))
    videolt()(clips_of(0, 1))
    (_, _), (_, own) = draws.shares
    own = own.item()
    expected = [[0.5 * own, min(1.5 * (1 - own), 1), 0], [0.5 * (1 - own), min(1.5 * own, 1), 0]]
    assert draws.targets[0].tolist() == [pytest.approx(row) for row in expected]


def test_minikinetics_code_samples_one_clip_by_the_labels_of_all(draws):
    method, batch = videolt(minikinetics_code=True), clips_of(0, 1, 1, 2)
    seen = []
    views = method.model.aggregator.views
    method.model.aggregator.views = lambda *args, **options: seen.append(views(*args, **options)) or seen[-1]
    for _ in range(80):
        method(batch)
    sizes = torch.cat([masks.sum(2) for masks in draws.masks], dim=1)
    assert sizes.shape == (1, 400)
    assert (sizes.min(), sizes.max()) == (int((60 + 3 + 3 + 4.882) / 4), 60)
    of_codebook = seen[0][:, :, D:]
    assert [torch.equal(row[0], row[1]) for row in of_codebook] == [False, True, True, True]


# Draws


@pytest.mark.parametrize(("granularity", "shape"), [("batch", ()), ("sample", (B, 1))])
def test_shares_are_of_a_batch_or_of_each_clip(draws, granularity, shape):
    begin(make("move", mix_granularity=granularity))(make_batch())
    assert [alpha for alpha, _ in draws.shares] == [2, 1]
    assert [share.shape for _, share in draws.shares] == [shape, shape]
    assert all(len(share.unique()) == share.numel() for _, share in draws.shares)


def test_steps_and_epochs_have_masks_of_their_own_that_a_seed_repeats(draws):
    method, batch = make("move"), make_batch()
    for seed in (5, 5, 6):  # as the engine seeds an epoch and a rank
        torch.manual_seed(seed)
        begin(method)
        for _ in range(2):
            method(batch)
        method.end_epoch()
    drawn = [masks.numpy().tobytes() for masks in draws.masks]
    assert drawn[:2] == drawn[2:4]
    assert len(set(drawn)) == 4


def test_evaluation_sees_all_frames_and_draws_nothing(draws):
    method = begin(make("move", dropout=0.5)).eval()
    features = make_batch().features
    state = torch.get_rng_state()
    first = method.predict(features)
    assert torch.equal(torch.get_rng_state(), state)
    assert draws.masks == []
    for frame in range(T):
        changed = features.clone()
        changed[:, frame] += 1
        assert (method.predict(changed) != first).any(1).all()


# Settings


def test_defaults_are_the_published_ones():
    config = dataclasses.asdict(find_method("move").Config())
    expected = {
        "aggregator": "psa-codebook",
        "epochs": 100,
        "batch_size": 128,
        "lr": 1e-4,
        "lr_steps": (30, 60),
        "lr_decay": 0.1,
        "clip_norm": None,
        "train_frames": 60,
        "test_frames": 150,
        "lower_bound": 3.0,
        "calibration_bias": 0.5,
        "extrapolation_alpha": 2.0,
        "interpolation_alpha": 1.0,
        "mix_granularity": "batch",
        "psa_key_mask": "view",
        "codebook_masking": "drop",
    }
    assert {key: config[key] for key in expected} == expected


def test_official_protocol_is_the_published_code():
    kind = find_method("move")
    official = build_config(kind, "r101", protocol="official")
    assert (official.psa_key_mask, official.detach_codebook_input, official.select_on) == ("drop", True, "test")
    assert (official.codebook_masking, official.minikinetics_code) == ("zero", False)
    there = build_config(kind, "r50-mk0.01", ["protocol=official"])
    assert (there.minikinetics_code, there.psa_key_mask, there.codebook_masking) == (True, "drop", "zero")


def test_a_detached_codebook_normalises_by_statistics_alone():
    method = begin(make("move", detach_codebook_input=True))
    norm = method.model.aggregator.codebook.input_norm
    method(make_batch()).backward()
    assert norm.weight.grad is None
    assert norm.training
    assert norm.running_mean.abs().max() > 0
    assert (norm.weight.unique(), norm.bias.unique()) == (1, 0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"aggregator": "nonlinear"},
            "aggregator: expected one of psa-codebook, psa, codebook, psa-codebook-centers, got 'nonlinear'",
        ),
        ({"extrapolation_alpha": 0}, "extrapolation_alpha: expected a positive number, got 0"),
        ({"interpolation_alpha": -1.0}, "interpolation_alpha: expected a positive number, got -1.0"),
        ({"lower_bound": 7.0}, "lower_bound: expected from 0 to the 6 of train_frames, got 7.0"),
        ({"calibration_bias": -0.1}, "calibration_bias: expected at least 0, got -0.1"),
        ({"psa_key_mask": "invert"}, "psa_key_mask: expected one of view, drop, keep, none, got 'invert'"),
        ({"codebook_masking": "zeros"}, "codebook_masking: expected one of drop, zero, got 'zeros'"),
        ({"mix_granularity": "row"}, "mix_granularity: expected one of batch, sample, got 'row'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        make("move", **settings)


def test_presets_are_the_rows_of_its_tables():
    presets = find_method("move").presets
    tables = {}
    for name, preset in presets.items():
        for table in preset.tables:
            tables.setdefault(table, []).append((name, preset.data))
    assert {name: len(rows) for name, rows in tables.items()} == {
        "videolt-move-1": 2,
        "videolt-move-2": 1,
        "videolt-move-4": 3,
        "minikinetics-move-3": 8,
    }
    assert {data for _, data in tables["minikinetics-move-3"]} == {
        f"minikinetics-{ratio}" for ratio in (0.01, 0.02, 0.05, 0.1)
    }
    assert presets["r101-extrapolation"].settings == {"interpolation": False}
    assert presets["r101-interpolation"].settings == {"extrapolation": False}


def test_a_task_of_equal_counts_has_tail_classes_alone():
    method = make("move", Task(C, D, np.full(C, 9), TASK.bounds))
    assert method.bounds.tolist() == [3.0] * C
    assert method.factors.tolist() == [1.5] * C
