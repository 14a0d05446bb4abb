"""MEID: both experts and their losses against textbook loops, and what each of its switches and stages changes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from small_methods import COUNTS, TASK, B, C, D, T, begin, make, make_batch, make_batches

from vltr_train.data.loader import Batch
from vltr_train.method import Task
from vltr_train.methods.meid import MEID, Distillation, MEIDConfig, motion_features
from vltr_train.samplers import ClassSampler, InstanceSampler
from vltr_train.settings import build_config

HEAD, TAIL = [0, 1], [6, 7, 8, 9]  # of COUNTS
CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # float32 against loops in float64


def meid(seed=0, task=TASK, **settings) -> MEID:
    """With statistics that a training could have left, which differ from those of a batch, and logits that show."""
    method = make("meid", task=task, seed=seed, **{"attention_dim": 5, "neck_dim": 4} | settings)
    for name, value in method.named_buffers():
        if name.endswith("running_mean"):
            value.normal_()
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
    for expert in method.model.values():
        expert.classifier.classifier.weight.data *= 6
    return method


def arrays_of(method) -> dict[str, np.ndarray]:
    return {name: value.double().numpy() for name, value in method.model.state_dict().items()}


# The textbook: loops over clips, frames and classes


def linear(arrays, name, vector):
    return [
        sum(w * x for w, x in zip(row, vector, strict=True)) + b
        for row, b in zip(arrays[f"{name}.weight"], arrays[f"{name}.bias"], strict=True)
    ]


def normalised(arrays, name, clips, norm, training):
    frames = [frame for clip in clips for frame in clip]
    if norm == "l2":
        return [[frame / np.sqrt(sum(x * x for x in frame)) for frame in clip] for clip in clips]
    weight, bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]
    if norm == "ln":
        rows = [
            [(frame - sum(frame) / D) / np.sqrt(sum((frame - sum(frame) / D) ** 2) / D + 1e-5) for frame in clip]
            for clip in clips
        ]
    else:
        mean = sum(frames) / len(frames) if training else arrays[f"{name}.running_mean"]
        variance = (
            sum((frame - mean) ** 2 for frame in frames) / len(frames) if training else arrays[f"{name}.running_var"]
        )
        rows = [[(frame - mean) / np.sqrt(variance + 1e-5) for frame in clip] for clip in clips]
    return [[row * weight + bias for row in clip] for clip in rows]


def embedded(arrays, name, clips, norm="bn", training=False):
    return [
        [np.array([max(0.0, x) for x in linear(arrays, f"{name}.linear", frame)]) for frame in clip]
        for clip in normalised(arrays, f"{name}.norm", clips, norm, training)
    ]


def attention(arrays, name, clip, kind="sigmoid", relu=True):
    scores = []
    for frame in clip:
        hidden = [max(0.0, x) if relu else x for x in linear(arrays, f"{name}.layers.0", frame)]
        scores += linear(arrays, f"{name}.layers.2", hidden)
    if kind == "sigmoid":
        return [1 / (1 + np.exp(-score)) for score in scores]
    return [len(clip) * np.exp(score) / sum(np.exp(scores)) for score in scores]


def motion(clip):
    rows = [clip[n + 1] - clip[n] for n in range(len(clip) - 1)]
    return [*rows, sum(clip) / len(clip)]


def times(weights, clip, weighted_mean=False):
    mean = sum(weights) / len(weights) if weighted_mean else 1
    return [weight / mean * frame for weight, frame in zip(weights, clip, strict=True)]


def frames_of_first(arrays, clips, config, training=False, name="expert1"):
    """Return the aggregated features and the attention."""
    frames = embedded(arrays, f"{name}.embedding", clips, config.norm, training)
    if config.attention == "none":
        return frames, [None] * len(clips)
    shares = [attention(arrays, f"{name}.attention", clip, config.attention, config.attention_relu) for clip in clips]
    return [times(*pair, config.weighted_mean) for pair in zip(shares, frames, strict=True)], shares


def frames_of_second(arrays, clips, shares, config, training=False):
    frames = embedded(arrays, "expert2.embedding", clips, config.norm, training)
    if config.selection:
        frames = [
            times([1 / (share + config.beta) for share in of_clip], clip, config.weighted_mean)
            for of_clip, clip in zip(shares, frames, strict=True)
        ]
    if not config.motion:
        return frames
    moving = embedded(arrays, "expert2.motion", [motion(clip) for clip in clips], config.norm, training)
    return [
        [np.array(linear(arrays, "expert2.fusion", [*one, *other])) for one, other in zip(*pair, strict=True)]
        for pair in zip(frames, moving, strict=True)
    ]


def classified(arrays, name, clips):
    return np.array([linear(arrays, f"{name}.classifier.classifier", sum(clip) / len(clip)) for clip in clips])


def textbook(method, clips, training=()):
    """Logits of each expert. training: those whose batch statistics are the batch's."""
    arrays, config = arrays_of(method), method.config
    clips = list(clips.double().numpy())
    frames, shares = frames_of_first(arrays, clips, config, "expert1" in training)
    logits = [classified(arrays, "expert1", frames)]
    if config.second_expert == "complementary":
        frames = frames_of_second(arrays, clips, shares, config, "expert2" in training)
        logits.append(classified(arrays, "expert2", frames))
    if config.second_expert == "copy":
        frames, _ = frames_of_first(arrays, clips, config, "expert2" in training, "expert2")
        logits.append(classified(arrays, "expert2", frames))
    return logits


def distilled(arrays, name, logits, over="units", distance="mean", head=HEAD, tail=TAIL):
    necks = [
        [linear(arrays, f"{name}.distillation.{neck}_neck", [row[c] for c in classes]) for row in logits]
        for neck, classes in (("head", head), ("tail", tail))
    ]
    variances = []
    for neck in necks:
        groups = neck if over == "units" else zip(*neck, strict=True)
        variances.append([sum((x - sum(g) / len(g)) ** 2 for x in g) / len(g) for g in map(list, groups)])
    gaps = [(one - other) ** 2 for one, other in zip(*variances, strict=True)]
    return sum(gaps) / (len(gaps) if distance == "mean" else 1)


def focal(logits, targets, gamma, classes=None):
    """classes: what videos were drawn for, where their other labels are masked."""
    total = 0.0
    for row, (zs, ys) in enumerate(zip(logits, targets, strict=True)):
        for c, (z, y) in enumerate(zip(zs, ys, strict=True)):
            if classes is not None and y == 1 and c != classes[row]:
                continue
            p = 1 / (1 + np.exp(-z))
            p = p if y == 1 else 1 - p
            total -= (1 - p) ** gamma * np.log(p)
    return total / logits.size


# Parts


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("norm", ["bn", "ln", "l2"])
def test_frame_embedding(norm, training):
    method, clips = meid(norm=norm).train(training), make_batch().features
    part = method.model["expert1"].embedding
    if norm != "l2":
        torch.nn.init.uniform_(part.norm.weight, 0.5, 2)
        torch.nn.init.normal_(part.norm.bias)
    expected = embedded(arrays_of(method), "expert1.embedding", list(clips.double().numpy()), norm, training)
    np.testing.assert_allclose(part(clips).detach().numpy(), expected, **CLOSE)


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_frame_attention(kind, relu):
    method, clips = meid(attention=kind, attention_relu=relu), make_batch().features
    found = method.model["expert1"].attention(clips).detach().numpy()
    arrays = arrays_of(method)
    expected = [attention(arrays, "expert1.attention", clip, kind, relu) for clip in clips.double().numpy()]
    np.testing.assert_allclose(found, expected, **CLOSE)
    assert found.shape == (B, T)
    assert found.std() > 0.01
    if kind == "softmax":
        np.testing.assert_allclose(found.mean(1), 1, rtol=1e-6)


@pytest.mark.parametrize("num_frames", [1, 2, T])
def test_motion_has_a_row_for_each_frame_and_the_mean_last(num_frames):
    clips = make_batch().features[:, :num_frames]
    expected = [motion(clip) for clip in clips.double().numpy()]
    found = motion_features(clips).numpy()
    assert found.shape == clips.shape
    np.testing.assert_allclose(found, expected, **CLOSE)


@pytest.mark.parametrize("distance", ["mean", "sum"])
@pytest.mark.parametrize("over", ["units", "batch"])
def test_distillation_compares_variances_of_necks(over, distance):
    method, logits = meid(variance_over=over, distance=distance), torch.randn(B, C) * 3
    for name in ("expert1", "expert2"):
        found = method.model[name].distillation(logits)
        expected = distilled(arrays_of(method), name, logits.double().numpy(), over, distance)
        np.testing.assert_allclose(found.item(), expected, rtol=1e-4)


def test_distillation_moves_the_logits_of_head_and_tail_unless_those_of_head_are_detached():
    for detached in (False, True):
        part, logits = Distillation(MEIDConfig(detach_head=detached), HEAD, TAIL), torch.randn(B, C).requires_grad_()
        part(logits).backward()
        moved = [c for c in range(C) if logits.grad[:, c].any()]
        assert moved == (TAIL if detached else HEAD + TAIL)
        assert all(parameter.grad.any() for parameter in part.parameters())  # both necks learn


# Experts


VARIANTS = [
    {},
    {"weighted_mean": True},
    {"attention": "softmax", "norm": "ln", "beta": 0.3},
    {"attention": "none", "selection": False},
    {"selection": False},
    {"motion": False},
    {"motion": False, "selection": False, "norm": "l2"},
    {"second_expert": "copy"},
    {"second_expert": "none", "weighted_mean": True},
]


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_predictions_are_the_first_experts_and_then_the_sum(settings):
    method, clips = meid(**settings), make_batch().features
    expected = textbook(method, clips)
    for number, stage in enumerate(method.stages()):
        method.begin_stage(stage)
        found = method.eval().predict(clips).detach().numpy()
        np.testing.assert_allclose(found, sum(expected[: number + 1]), **CLOSE)
    assert number + 1 == len(expected)


@pytest.mark.parametrize("aggregator", ["netvlad", "nextvlad"])
def test_what_other_aggregators_are_given(aggregator):
    """The frames of Eq. 4 and 11, each by itself."""
    method, clips = meid(aggregator=aggregator), make_batch(num_rows=3).features
    begin(method, stage=1).eval()
    given = {}
    for name, expert in method.model.items():
        expert.classifier.register_forward_pre_hook(lambda _, inputs, name=name: given.update({name: inputs[0]}))
    logits = method.predict(clips)
    arrays, rows = arrays_of(method), list(clips.double().numpy())
    first, shares = frames_of_first(arrays, rows, method.config)
    second = frames_of_second(arrays, rows, shares, method.config)
    for name, frames in (("expert1", first), ("expert2", second)):
        assert given[name].shape == (3, T, D)
        np.testing.assert_allclose(given[name].detach().numpy(), frames, **CLOSE)
    torch.testing.assert_close(
        logits, sum(expert.classifier(given[name]) for name, expert in method.model.items()), rtol=0, atol=0
    )


def test_less_attention_is_more_selection():
    """beta bounds how much more."""
    method, clips = meid(motion=False), make_batch().features
    expert = method.model["expert2"].eval()
    seen = []
    expert.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    shares = torch.tensor([0.0, 0.01, 0.25, 0.5, 0.75, 1.0]).expand(B, T)
    expert(clips, shares)
    gains = seen[0] / expert.embedding(clips)
    for n, gain in enumerate((2, 1 / 0.51, 4 / 3, 1, 0.8, 2 / 3)):
        kept = gains[:, n][~gains[:, n].isnan()]
        torch.testing.assert_close(kept, torch.full_like(kept, gain))


def test_dropout_is_the_aggregators_own_unless_said():
    for settings, expected in (({}, 0.5), ({"aggregator": "netvlad"}, 0), ({"dropout": 0.25}, 0.25)):
        for expert in meid(**{"dropout": None} | settings).model.values():
            rates = [part.p for part in expert.modules() if isinstance(part, torch.nn.Dropout)]
            assert rates == [expected]


# Losses of the stages


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gamma": 2.0, "distillation": 3.0, "variance_over": "batch"},
        {"distillation": 0.0},
        {"mask_other_positives": False},
        {"class_balanced": False},
        {"second_expert": "copy"},
        {"motion": False, "weighted_mean": True},
        {"attention_relu": False, "distance": "sum"},
    ],
    ids=str,
)
def test_losses_of_both_stages(settings):
    method = meid(**settings)
    config = method.config
    for stage, name in enumerate(("expert1", "expert2")):
        begin(method, stage)
        (batch,) = make_batches(method, stage, seed=stage)
        logits = textbook(method, batch.features, training=(name,))[: stage + 1]
        classes = None if batch.classes is None or not config.mask_other_positives else batch.classes.tolist()
        expected = focal(sum(logits), batch.targets.numpy(), config.gamma, classes)
        if config.distillation:
            term = distilled(arrays_of(method), name, logits[-1], config.variance_over, config.distance)
            assert config.distillation * term > 1e-3  # so that it shows
            expected += config.distillation * term
        np.testing.assert_allclose(method(batch).item(), expected, rtol=1e-4)


def test_other_labels_of_a_balanced_video_are_masked():
    """A video with a second label, by what it was drawn for."""
    settings = {"distillation": 0.0}
    masked, whole = (begin(meid(mask_other_positives=mask, **settings)) for mask in (True, False))
    batch = make_batch()
    several = batch.targets.sum(1) > 1
    assert several.any()
    other = Batch(batch.features, batch.targets.clone(), batch.rows, batch.classes)
    other.targets[:] = torch.eye(C)[batch.classes]
    with torch.no_grad():
        lost = whole(batch) - masked(batch)
        plain = whole(other) - masked(other)
    assert lost > 0.01
    assert plain.abs() < 1e-7


@pytest.mark.parametrize(
    "counts", [np.full(C, 200), np.full(C, 600), np.full(C, 3)], ids=["neither", "no tail", "no head"]
)
def test_nothing_is_distilled_without_head_and_tail(counts):
    method = meid(task=Task(C, D, counts, TASK.bounds))
    for stage, name in enumerate(("expert1", "expert2")):
        begin(method, stage)
        assert method.model[name].distillation is None
        (batch,) = make_batches(method, stage)
        logits = sum(textbook(method, batch.features, training=(name,))[: stage + 1])
        classes = None if batch.classes is None else batch.classes.tolist()
        expected = focal(logits, batch.targets.numpy(), 1.0, classes)
        np.testing.assert_allclose(method(batch).item(), expected, rtol=1e-4)


# Stages


def steps(method, stage, count=3):
    """Plain descent, and which parameters have a gradient."""
    begin(method, stage)
    trained = {name: parameter for name, parameter in method.named_parameters() if parameter.requires_grad}
    for seed in range(count):
        method.train()  # as an engine does before each epoch
        method.zero_grad()
        method(*make_batches(method, stage, seed)).backward()
        with_gradient = {name for name, parameter in method.named_parameters() if parameter.grad is not None}
        assert with_gradient == set(trained)
        with torch.no_grad():
            for parameter in trained.values():
                parameter -= 0.1 * parameter.grad
    return set(trained)


@pytest.mark.parametrize("settings", [*VARIANTS, {"detach_head": True}, {"distillation": 0.0}], ids=str)
def test_each_stage_trains_its_expert_alone(settings):
    """And all of it, as ranks want it; the other stays as it is, batch statistics and attention included."""
    method, clips = meid(dropout=0.5, **settings), make_batch(9).features
    for stage, (name, expert) in enumerate(method.model.items()):
        before = {key: value.clone() for key, value in method.model.state_dict().items()}
        attends = method.model["expert1"].attention is not None
        shares = method.model["expert1"].attention(clips) if attends else None
        assert steps(method, stage) == {f"model.{name}.{key}" for key, _ in expert.named_parameters()}
        moved = {key for key, value in method.model.state_dict().items() if not torch.equal(value, before[key])}
        assert all(key.startswith(name) for key in moved)
        still = {f"{name}.{key}" for key, _ in expert.named_parameters()} - moved
        assert all(key.endswith("layers.2.bias") for key in still)  # which a softmax does not see; all else learns
        assert any("running_mean" in key for key in moved) == (method.config.norm == "bn")
        if stage == 1 and attends:
            assert torch.equal(method.model["expert1"].attention(clips), shares)
            assert not any(part.training for part in method.model["expert1"].modules())


def test_stages_are_one_for_each_expert():
    first, second = meid(epochs=7, expert2_epochs=5, clip_norm=3.0).stages()
    assert [stage.name for stage in (first, second)] == ["expert1", "expert2"]
    assert [stage.epochs for stage in (first, second)] == [7, 5]
    assert [stage.clip_norm for stage in (first, second)] == [3.0, 3.0]
    for stage, rate in ((first, 1e-3), (second, 1e-4)):
        rates = [stage.rate(epoch) for epoch in (0, 29, 30, 59, 60, 99)]
        assert rates == pytest.approx([rate, rate, rate / 10, rate / 10, rate / 100, rate / 100])
    assert [type(stage.samplers[0]) for stage in (first, second)] == [InstanceSampler, ClassSampler]
    assert second.samplers[0].probabilities_of(COUNTS).tolist() == pytest.approx([1 / C] * C)
    first, second = meid(class_balanced=False).stages()
    assert isinstance(second.samplers[0], InstanceSampler)
    assert [stage.name for stage in meid(second_expert="none").stages()] == ["expert1"]


def test_a_loaded_method_knows_which_experts_predict():
    method, clips = meid(), make_batch().features
    alone, both = (begin(method, stage).eval().predict(clips) for stage in range(2))
    assert not torch.equal(alone, both)
    for stage, expected in enumerate((alone, both)):
        weights = begin(method, stage).state_dict()
        for loaded in (meid(seed=1), begin(meid(seed=1), 0), begin(meid(seed=1), 1)):
            loaded.load_state_dict(weights)
            assert torch.equal(loaded.eval().predict(clips), expected)
    assert torch.equal(make("meid").eval().num_experts, torch.tensor(1))  # before any stage


def test_gradients_are_clipped_of_what_trains():
    method = meid()
    for stage, expert in enumerate(method.model.values()):
        begin(method, stage)
        assert {id(x) for x in method.clipped()} == {id(x) for x in expert.parameters()}


def test_experts_are_compiled_apart():
    method = meid()
    assert method.compiled() == (method.model["expert1"], method.model["expert2"])
    assert len(meid(second_expert="none").compiled()) == 1


def test_logits_and_losses_are_float32_under_autocast():
    for stage in range(2):
        method = begin(meid(), stage)
        (batch,) = make_batches(method, stage)
        with torch.autocast("cpu", torch.bfloat16):
            logits, loss = method.predict(batch.features), method(batch)
        assert (logits.dtype, loss.dtype) == (torch.float32, torch.float32)
        assert len(logits.unique()) > 0.95 * logits.numel()
        loss.backward()
        assert all(x.grad.isfinite().all() for x in method.parameters() if x.requires_grad)
    part = method.model["expert2"].distillation
    with torch.autocast("cpu", torch.bfloat16):
        found = part(logits)
    assert torch.equal(found, part(logits))


# Settings


def parts(**settings):
    """Weights by their names, and their shapes."""
    return {name: value.shape for name, value in meid(**settings).model.state_dict().items()}


@pytest.mark.parametrize(
    ("settings", "lost"),
    [
        ({"distillation": 0.0}, ("expert1.distillation", "expert2.distillation")),
        ({"attention": "none", "selection": False}, ("expert1.attention",)),
        ({"motion": False}, ("expert2.motion", "expert2.fusion")),
        ({"second_expert": "none"}, ("expert2",)),
        ({"norm": "l2"}, ("expert1.embedding.norm", "expert2.embedding.norm", "expert2.motion.norm")),
        ({"selection": False}, ()),
        ({"class_balanced": False}, ()),
        ({"weighted_mean": True}, ()),
    ],
)
def test_switches_leave_out_what_they_say(settings, lost):
    whole = parts()
    assert parts(**settings) == {name: shape for name, shape in whole.items() if not name.startswith(lost or ("-",))}


def test_a_copy_is_another_first_expert():
    copy = parts(second_expert="copy")
    first, second = ({name[8:]: x for name, x in copy.items() if name[6] == number} for number in "12")
    assert first == second
    method = meid(second_expert="copy")
    one, other = (expert.embedding.linear.weight for expert in method.model.values())
    assert not torch.equal(one, other)


def test_defaults_are_those_of_the_paper():
    config = build_config(MEID)
    expected = {
        "aggregator": "mean",
        "lr": 1e-3,
        "expert2_lr": 1e-4,
        "epochs": 100,
        "expert2_epochs": 100,
        "lr_steps": (30, 60),
        "lr_decay": 0.1,
        "batch_size": 128,
        "clip_norm": 20.0,
        "frame_sampling": "without_replacement",
        "gamma": 1.0,
        "attention": "sigmoid",
        "distillation": 0.1,
        "beta": 0.5,
        "mask_other_positives": True,
        "attention_dim": 512,
        "neck_dim": 256,
        "train_frames": 60,
        "attention_relu": True,
        "distance": "mean",
    }
    assert {name: getattr(config, name) for name in expected} == expected
    for preset in ("r101-charadeslt", "r101-charadesegolt"):
        config = build_config(MEID, preset)
        assert (config.aggregator, config.mask_other_positives) == ("nextvlad", False)
        assert config.test_frames == 200


def test_ablations_change_one_thing_each():
    """Rows of Tables 4 to 7 differ from the whole method in these settings."""
    whole = dataclasses.asdict(build_config(MEID, "r50"))
    assert whole == dataclasses.asdict(MEIDConfig())
    rows = {
        "r50-e1-plain": {"second_expert": "none", "attention": "none", "distillation": 0.0},
        "r50-e1-attention": {"second_expert": "none", "distillation": 0.0},
        "r50-e1": {"second_expert": "none"},
        "r50-selection": {"motion": False, "class_balanced": False},
        "r50-selection-motion": {"class_balanced": False},
        "r50-e1-e1": {"second_expert": "copy", "class_balanced": False},
        "r50-beta0.3": {"beta": 0.3},
        "r50-beta0.7": {"beta": 0.7},
    }
    for preset, changes in rows.items():
        assert dataclasses.asdict(build_config(MEID, preset)) == whole | changes
    for number, names in {4: 3, 5: 4, 6: 3, 7: 3}.items():
        assert sum(f"videolt-meid-{number}" in preset.tables for preset in MEID.presets.values()) == names


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 0.0}, "beta: expected a positive number, got 0.0"),
        ({"expert2_lr": 0.0}, "expert2_lr: expected a positive number, got 0.0"),
        ({"expert2_epochs": 0}, "expert2_epochs: expected at least 1, got 0"),
        ({"neck_dim": 0}, "neck_dim: expected at least 1, got 0"),
        ({"attention_dim": 0}, "attention_dim: expected at least 1, got 0"),
        ({"distillation": -0.1}, "distillation: expected at least 0, got -0.1"),
        ({"gamma": -1.0}, "gamma: expected at least 0, got -1.0"),
        ({"aggregator": "nonlinear"}, "aggregator: expected one of mean, netvlad, nextvlad, got 'nonlinear'"),
        ({"clip_scope": "classifier"}, "clip_scope: expected one of all, got 'classifier'"),
        ({"distance": "max"}, "distance: expected one of mean, sum, got 'max'"),
        ({"norm": "gn"}, "norm: expected one of bn, ln, l2, got 'gn'"),
        (
            {"attention": "none"},
            "attention: expected sigmoid or softmax, by which selection=true selects, got 'none'",
        ),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        MEIDConfig(**settings)
    assert str(error.value) == message
