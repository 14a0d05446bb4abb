"""Two-stage transfer of AVA: what is head, what features are learnt from, and the new classifier."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from short_runs import fit_with_stops, same, short_fit
from small_methods import COUNTS, TASK, B, C, D, begin, make, make_batch

from vltr_train import aggregators
from vltr_train.method import Task
from vltr_train.methods import all_methods, find_method
from vltr_train.samplers import ClassSampler, InstanceSampler
from vltr_train.settings import build_config

NAME = "ava_two_stage"
BY_COUNT = [True] * 6 + [False] * 4  # of TASK: 600, 501, 500, 300, 150 and 101 videos are more than 100


def judged(train, validate, **settings):
    """A method after its first stage, of which these are the APs; and what it says."""
    method = begin(make(NAME, **settings), stage=0)
    found = {"train": np.array(train, float), "validate": np.array(validate, float)}
    said = method.end_stage(method.stages()[0], found.__getitem__)
    return method, said


# ---------------------------------------------------------------------------------------------------------------------
# Head and tail
# ---------------------------------------------------------------------------------------------------------------------

VALIDATE = [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
TRAIN = [0.6, 0.4, 0.5, 0.9, 0.5, 0.49, 0.7, 0.2, 0.51, 0.56]


@pytest.mark.parametrize(
    ("margin", "head"),
    [
        (0.0, [1, 0, 1, 1, 1, 0, 1, 0, 1, 1]),
        (0.05, [1, 0, 0, 1, 0, 0, 1, 0, 0, 1]),
        (-0.05, [1, 0, 1, 1, 1, 1, 1, 0, 1, 1]),
    ],
)
def test_head_is_what_the_judge_fits_better_than_it_generalises(margin, head):
    method, said = judged(TRAIN, VALIDATE, margin=margin)
    assert method.head.tolist() == [bool(value) for value in head]
    assert method.rule == "criterion"
    assert said == f"head: {sum(head)} of 10 classes by AP in training less AP in validation, at least {margin:g}"


def test_classes_that_a_split_lacks_are_judged_by_their_counts():
    train, validate = list(TRAIN), list(VALIDATE)
    train[1] = validate[6] = train[9] = validate[9] = math.nan
    method, _ = judged(train, validate)
    assert method.head.tolist() == [True, True, True, True, True, False, False, False, True, False]
    assert method.rule == "criterion"


NOT = "head: 6 of 10 classes by more than 100 training videos: "


@pytest.mark.parametrize(
    ("train", "validate", "settings", "said"),
    [
        (VALIDATE, VALIDATE, {}, "is below 0 in 0 of 10 classes, where 1 to 9 were expected$"),
        (VALIDATE, VALIDATE, {"least_tail": 0.0}, "is below 0 in 0 of 10 classes, where 1 to 9"),
        (TRAIN, VALIDATE, {"least_tail": 0.31}, "is below 0 in 3 of 10 classes, where 4 to 9"),
        (TRAIN, [0.95] * 10, {}, "is below 0 in 10 of 10 classes, where 1 to 9"),
        (TRAIN, [math.nan] * 10, {}, "no class has an AP in training and in validation$"),
    ],
)
def test_a_criterion_that_tells_nothing_gives_way_to_counts_and_says_so(train, validate, settings, said):
    method, sentence = judged(train, validate, **settings)
    assert method.head.tolist() == BY_COUNT
    assert method.rule == "count"
    assert sentence.startswith(NOT)
    assert re.search(said, sentence)


def test_as_few_tail_classes_as_are_wanted_are_believed():
    assert judged(TRAIN, VALIDATE, least_tail=0.3)[0].rule == "criterion"  # it is three of ten


@pytest.mark.parametrize(
    ("settings", "names", "rule"),
    [
        ({}, ["judge", "features", "classifier"], "count"),
        ({"head_rule": "count"}, ["features", "classifier"], "count"),
        ({"stage1": "all"}, ["features", "classifier"], "all"),
        ({"stage1": "all", "head_rule": "count"}, ["features", "classifier"], "all"),
    ],
)
def test_what_needs_no_judge_has_none(settings, names, rule):
    method = make(NAME, **settings)
    assert [stage.name for stage in method.stages()] == names
    assert method.rule == rule
    assert method.head.tolist() == ([True] * C if rule == "all" else BY_COUNT)


def test_other_stages_judge_nothing():
    method = make(NAME)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    for stage in method.stages()[1:]:
        assert method.end_stage(stage, pytest.fail) is None
    assert same(dict(method.state_dict()), before)


def test_what_was_judged_is_kept_with_the_weights():
    method, _ = judged(TRAIN, VALIDATE)
    other = make(NAME)
    other.load_state_dict(method.state_dict())
    assert (other.rule, other.head.tolist()) == ("criterion", method.head.tolist())
    np.testing.assert_array_equal(other.stages()[1].samplers[0].classes, method.head)
    assert not method.head[1]
    again = {"train": np.array(TRAIN), "validate": np.where(np.arange(C) == 1, math.nan, VALIDATE)}
    method.end_stage(method.stages()[0], again.__getitem__)
    assert method.head[1]  # by its count, which is another memory than what was judged


def test_the_judge_sees_all_of_training_and_validation_and_nothing_of_the_test(tiny, tmp_path, monkeypatch):
    kind, asked = find_method(NAME), []
    end = kind.end_stage

    def spy(self, stage, average_precision):
        def ask(split):
            asked.append((stage.name, split))
            found[split] = average_precision(split)
            return found[split]

        found = {}
        said = end(self, stage, ask)
        if found:
            gap = found["train"] - found["validate"]
            expected.extend(bool(value >= 0) for value in gap)
            assert not np.isnan(gap).any()
        return said

    expected = []
    monkeypatch.setattr(kind, "end_stage", spy)
    run = short_fit(NAME, tiny, tmp_path / "run")
    assert asked == [("judge", "train"), ("judge", "validate")]
    assert run.method.head.tolist() == expected
    assert run.method.rule == "criterion"


def test_without_validation_videos_counts_judge(tiny, tmp_path):
    run = short_fit(NAME, dataclasses.replace(tiny, validate=None), tmp_path / "run")
    assert run.method.rule == "count"
    assert run.method.head.tolist() == [bool(count > tiny.bounds[1]) for count in tiny.train_counts]


# ---------------------------------------------------------------------------------------------------------------------
# Features
# ---------------------------------------------------------------------------------------------------------------------


def entropy(logit, target):
    """Binary cross entropy of a number."""
    p = 1 / (1 + math.exp(-logit))
    return -math.log(p) if target else -math.log(1 - p)


def loss_by_hand(method, batch, columns, divisor):
    logits = method.predict(batch.features).double().tolist()
    rows = [sum(entropy(logits[b][c], batch.targets[b, c] == 1) for c in columns) for b in range(B)]
    return sum(rows) / B / divisor


@pytest.mark.parametrize(
    ("settings", "stage", "columns", "divisor"),
    [
        ({}, "judge", range(C), C),
        ({}, "features", [0, 2, 3, 4, 6, 8, 9], 7),
        ({"head_rule": "count"}, "features", range(6), 6),
        ({"stage1": "all"}, "features", range(C), C),
        ({}, "classifier", range(C), 1),
        ({"stage2_balance": False}, "classifier", range(C), 1),
    ],
)
def test_losses_are_of_the_columns_of_their_stage(settings, stage, columns, divisor):
    names = [one.name for one in make(NAME, **settings).stages()]
    method = judged(TRAIN, VALIDATE)[0] if settings == {} else make(NAME, **settings)
    begin(method, stage=names.index(stage))
    batch = make_batch(classes=stage == "classifier")
    loss = method(batch)
    assert loss.item() == pytest.approx(loss_by_hand(method, batch, columns, divisor), rel=1e-5)
    loss.backward()
    moved = method.model.classifier[-1].weight.grad.abs().sum(1) > 0
    assert moved.tolist() == [c in columns for c in range(C)]


def rows_seen(monkeypatch):
    """The rows of the training split that each stage is given, in order."""
    kind, seen = find_method(NAME), {}
    forward = kind.forward

    def spy(self, batch):
        seen.setdefault(self._stage, []).append((batch.rows.tolist(), batch.features.shape[1]))
        return forward(self, batch)

    monkeypatch.setattr(kind, "forward", spy)
    return seen


def test_features_are_learnt_from_videos_with_a_head_label_alone(tiny, tmp_path, monkeypatch):
    seen = rows_seen(monkeypatch)
    run = short_fit(NAME, tiny, tmp_path / "run", epochs=1, judge_epochs=1)
    head, labels = run.method.head.tolist(), tiny.train.labels
    expected = [
        row
        for row in range(len(labels))
        if any(head[c] for c in labels.classes[labels.offsets[row] : labels.offsets[row + 1]])
    ]
    assert 0 < len(expected) < len(labels)
    visited = {name: [row for rows, _ in batches for row in rows] for name, batches in seen.items()}
    assert sorted(visited["features"]) == expected
    assert sorted(visited["judge"]) == list(range(len(labels)))
    assert len(visited["classifier"]) == 2 * len(labels)


def test_all_videos_teach_features_of_all_classes():
    (sampler,) = make(NAME, stage1="all").stages()[0].samplers
    assert (sampler.rows, sampler.classes) == (None, None)


def test_features_are_begun_anew_by_the_seed_of_their_stage():
    method = make(NAME, aggregator="netvlad")
    begin(method, stage=0)(make_batch())  # moves batch statistics
    states = [{name: value.clone() for name, value in method.model.state_dict().items()}]
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        begin(method, stage=1)
        states.append({name: value.clone() for name, value in method.model.state_dict().items()})
    before, first, again, other = states
    assert same(first, again)
    new = make(NAME, aggregator="netvlad", seed=5).model.state_dict()
    drawn = {name for name, value in new.items() if value.unique().numel() > 1}
    assert len(drawn) == 5  # clusters, gates, what comes behind them, and weight and bias of the classifier
    for name, value in first.items():
        for one in (before, other, new):
            assert not (torch.equal(value, one[name]) and name in drawn), name
        assert torch.equal(value, new[name]) == (name not in drawn), name


# ---------------------------------------------------------------------------------------------------------------------
# The classifier
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def at_the_classifier(monkeypatch):
    """The weights as the last stage finds them, before it begins anything anew."""
    kind, found = find_method(NAME), {}
    start = kind.begin_stage

    def spy(self, stage):
        if stage.name == "classifier":
            found.update({name: value.clone() for name, value in self.state_dict().items()})
        start(self, stage)

    monkeypatch.setattr(kind, "begin_stage", spy)
    return found


@pytest.mark.parametrize(("aggregator", "stage2"), [("netvlad", "linear"), ("nonlinear", "all")])
def test_the_trunk_of_the_last_stage_is_frozen_to_the_bit(tiny, tmp_path, at_the_classifier, aggregator, stage2):
    run = short_fit(NAME, tiny, tmp_path / "run", aggregator=aggregator, stage2=stage2, epochs=1, judge_epochs=1)
    now = run.folder.load_checkpoint("checkpoint")["method"]
    trunk = [name for name in now if "aggregator" in name]
    assert len(trunk) >= 2
    for name in trunk:  # batch statistics included
        assert torch.equal(now[name], at_the_classifier[name]) == (stage2 == "linear"), name
    for name in set(now) - set(trunk):
        assert torch.equal(now[name], at_the_classifier[name]) == (name in ("head", "by_criterion")), name


@pytest.mark.parametrize("stage2", ["linear", "all"])
def test_the_classifier_is_begun_anew_by_the_seed_of_its_stage(stage2):
    method = make(NAME, stage2=stage2)
    states = [{name: value.clone() for name, value in method.model.classifier.state_dict().items()}]
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        begin(method)
        states.append({name: value.clone() for name, value in method.model.classifier.state_dict().items()})
    before, first, again, other = states
    assert same(first, again)
    for name in ("1.weight", "1.bias"):
        assert not torch.equal(first[name], before[name])
        assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize("stage2", ["linear", "all"])
def test_the_last_stage_trains_what_it_says(stage2):
    method = begin(make(NAME, aggregator="netvlad", stage2=stage2))
    method.train()
    trained = {name for name, value in method.named_parameters() if value.requires_grad}
    linear = {"model.classifier.1.weight", "model.classifier.1.bias"}
    assert trained == (linear if stage2 == "linear" else {name for name, _ in method.named_parameters()})
    assert all(module.training == (stage2 == "all") for module in method.model.aggregator.modules())
    method(make_batch()).backward()
    assert {name for name, value in method.named_parameters() if value.grad is not None} == trained


def test_dropout_comes_before_the_last_layer_in_all_stages():
    assert find_method(NAME).Config().dropout == 0.3
    method, batch = make(NAME, dropout=0.25), make_batch(num_rows=4096)
    seen = []
    method.model.classifier[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    for stage in range(3):
        begin(method, stage=stage)
        method(batch)
        whole = method.model.aggregator(batch.features).detach()  # it has no dropout of its own
        kept = seen[-1] != 0
        torch.testing.assert_close(seen[-1], torch.where(kept, whole / 0.75, 0))
        assert (~kept & (whole != 0)).sum() / (whole != 0).sum() == pytest.approx(0.25, abs=0.02)
    method.eval()
    method.predict(batch.features)
    assert torch.equal(seen[-1], whole)


def test_rates_of_the_paper_are_the_official_ones():
    config = build_config(find_method(NAME), "i3d-ava", {"protocol": "official"})
    stage = find_method(NAME)(config, TASK).stages()[-1]
    assert (stage.rate(0), stage.rate(stage.epochs), stage.clip_norm) == pytest.approx((1e-3, 1e-4, None))
    assert (config.select_on, config.classifier_videos) == ("test", "duplicated")


def test_a_duplicated_set_has_as_many_videos_as_the_most_frequent_class_in_each():
    """Count them: duplicate the videos of each class one by one, until it has as many as the most frequent one."""
    most, videos = int(COUNTS.max()), 0
    for count in COUNTS.tolist():
        duplicated = list(range(count))
        while len(duplicated) < most:
            duplicated.append(duplicated[-count])
        videos += len(duplicated)
    expected = round(videos / COUNTS.sum())  # epochs of as many draws as there are videos, of one label each
    assert expected > 1
    for epochs in (1, 3):
        settings = {"classifier_videos": "duplicated", "classifier_epochs": epochs}
        stage = make(NAME, **settings).stages()[-1]
        assert stage.epochs == epochs * expected
        assert [stage.rate(at * stage.epochs) for at in (0, 0.5, 1)] == pytest.approx([0.1, 0.055, 0.01])
        assert make(NAME, stage2_balance=False, **settings).stages()[-1].epochs == epochs
    with_empty = Task(C, D, np.array([600, 0, 0, 0, 0, 0, 0, 0, 0, 600]), (500, 100))
    assert make(NAME, with_empty, classifier_videos="duplicated").stages()[-1].epochs == 1


@pytest.mark.parametrize("videos", [int(COUNTS.sum()), int(COUNTS.sum()) // 2, 700])
def test_a_duplicated_set_has_its_labels_over_those_of_a_video(videos):
    """Its steps are C n_max over the mean labels of a video and the batch size, to the nearest epoch."""
    task = Task(C, D, COUNTS, (500, 100), videos)
    stage = make(NAME, task, classifier_videos="duplicated", classifier_batch_size=100).stages()[-1]
    labels_of_a_video = COUNTS.sum() / videos
    expected = C * COUNTS.max() / labels_of_a_video / 100
    of_an_epoch = videos / 100
    assert stage.epochs * of_an_epoch == pytest.approx(expected, abs=of_an_epoch / 2)


def test_videolt_duplicated_takes_ten_epochs_of_its_videos():
    counts = np.full(1004, 194)
    counts[[0, -1]] = 1912, 44
    counts[1:-1] += np.arange(1002) < 196_798 - counts.sum()  # the published sum, largest and smallest
    assert counts.sum() == 196_798
    stage = make(NAME, Task(1004, D, counts, (500, 100)), classifier_videos="duplicated").stages()[-1]
    assert stage.epochs == round(1004 * 1912 / 196_798) == 10


@pytest.mark.parametrize(("settings", "kind"), [({}, ClassSampler), ({"stage2_balance": False}, InstanceSampler)])
def test_the_last_stage_is_the_papers_but_for_its_rate(settings, kind):
    stage = make(NAME, clip_norm=3.0, batch_size=7, **settings).stages()[-1]
    assert (stage.epochs, stage.batch_size, stage.clip_norm) == (1, 1000, 5.0)
    (sampler,) = stage.samplers
    assert type(sampler) is kind
    if kind is ClassSampler:
        assert sampler.probabilities_of(TASK.train_counts).tolist() == pytest.approx([1 / C] * C)
    else:
        assert (sampler.rows, sampler.classes) == (None, None)
    optimizer = stage.optimizer([torch.nn.Parameter(torch.zeros(1))], lr=stage.rate(0))
    assert type(optimizer) is torch.optim.SGD
    assert {key: optimizer.defaults[key] for key in ("lr", "momentum", "weight_decay", "dampening", "nesterov")} == {
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 0,
        "dampening": 0,
        "nesterov": False,
    }


@pytest.mark.parametrize(("epochs", "batch_size", "steps"), [(1, 100, 8), (2, 240, 6), (3, 1000, 3)])
def test_the_rate_falls_linearly_with_every_step(tiny, tmp_path, monkeypatch, epochs, batch_size, steps):
    """717 videos; a batch of more than there are is all of them."""
    rates, step = [], torch.optim.SGD.step
    monkeypatch.setattr(
        torch.optim.SGD, "step", lambda self, *rest: rates.append(self.param_groups[0]["lr"]) or step(self, *rest)
    )
    changes = {"classifier_epochs": epochs, "classifier_batch_size": batch_size, "stage1": "all", "epochs": 1}
    changes["classifier_videos"] = "videos"
    short_fit(NAME, tiny, tmp_path / "run", protocol="official", **changes)
    assert rates == pytest.approx([1e-3 - (1e-3 - 1e-4) * number / steps for number in range(steps)])


def test_other_stages_are_as_the_configuration_says():
    method = make(NAME, lr=0.5, lr_steps=(2,), epochs=7, judge_epochs=4, batch_size=9, clip_norm=3.0)
    judge, features, _ = method.stages()
    assert (judge.epochs, features.epochs) == (4, 7)
    for stage in (judge, features):
        assert (stage.batch_size, stage.clip_norm, stage.rate(1), stage.rate(2)) == (9, 3.0, 0.5, 0.05)


# ---------------------------------------------------------------------------------------------------------------------
# Whole runs
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregator", [name for name in aggregators.AGGREGATORS if name != "mean"])
def test_every_trunk_learns_from_single_frames(aggregator):
    """In each stage some steps down the slope of one batch."""
    method, batch = make(NAME, aggregator=aggregator), make_batch(num_rows=32)
    batch.features = batch.features[:, :1]
    for stage in range(3):
        begin(method, stage=stage)
        optimizer = torch.optim.Adam([value for value in method.parameters() if value.requires_grad], 1e-2)
        found = []
        for _ in range(10):
            optimizer.zero_grad()
            loss = method(batch)
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        assert found[-1] < 0.95 * found[0]


def test_boxes_of_one_vector_are_data_as_any(tiny, tmp_path, monkeypatch):
    seen = rows_seen(monkeypatch)
    run = short_fit(NAME, tiny, tmp_path / "run", **find_method(NAME).presets["i3d-ava"].settings)
    assert {frames for batches in seen.values() for _, frames in batches} == {1}
    assert run.folder.load_report().metrics()["SAP"] > 0.5


@pytest.mark.parametrize("settings", [{"stage1": "all"}, {"stage2": "all"}, {"stage2_balance": False}])
def test_variants_resume_to_the_bit(tiny, tmp_path, monkeypatch, settings):
    run = short_fit(NAME, tiny, tmp_path / "run", epochs=2, **settings)
    fit_with_stops(monkeypatch, "before each checkpoint", NAME, tiny, tmp_path / "stopped", epochs=2, **settings)
    other = type(run.folder).open(tmp_path / "stopped")
    assert same(run.folder.load_checkpoint("checkpoint"), other.load_checkpoint("checkpoint"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stage1": "tail"}, "stage1: expected one of head, all, got 'tail'"),
        ({"stage2": "head"}, "stage2: expected one of linear, all, got 'head'"),
        ({"head_rule": "given"}, "head_rule: expected one of criterion, count, got 'given'"),
        ({"aggregator": "mean"}, "aggregator: expected one of nonlinear, .*, got 'mean'"),
        ({"judge_epochs": 0}, "judge_epochs: expected at least 1, got 0"),
        ({"classifier_epochs": 0}, "classifier_epochs: expected at least 1, got 0"),
        ({"classifier_batch_size": 0}, "classifier_batch_size: expected at least 1, got 0"),
        ({"classifier_lr": 0.0}, "classifier_lr: expected a positive number, got 0.0"),
        ({"classifier_last_lr": -1.0}, "classifier_last_lr: expected a positive number, got -1.0"),
        ({"classifier_clip_norm": 0.0}, "classifier_clip_norm: expected a positive number or none, got 0.0"),
        ({"least_tail": 1.5}, "least_tail: expected from 0 to 1, got 1.5"),
        (
            {"task": dataclasses.replace(TASK, bounds=(900, 600))},
            "stage1: expected a class of more than 600 training videos to be head, got none",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make(NAME, **settings)
    if "task" in settings:
        assert make(NAME, stage1="all", **settings).head.all()


# ---------------------------------------------------------------------------------------------------------------------
# Printed rows
# ---------------------------------------------------------------------------------------------------------------------

SETTINGS_OF = {
    "ours": {},
    "1st stage all": {"stage1": "all"},
    "2nd stage all": {"stage2": "all"},
    "original distribution": {"stage2_balance": False},
    "baseline": {},
    "balancing": {"mask_other_positives": False, "over_classes": "mean"},
    "focal loss": {"gamma": 2.0},
}
PRINTED = {
    "ava-2": {
        "baseline": (47.8, 47.7, 47.8),
        "balancing": (41.9, 47.6, 40.2),
        "focal loss": (43.4, 41.1, 44.2),
        "ours": (49.1, 53.9, 47.7),
    },
    "ava-3": {"baseline": (47.8, 47.7, 47.8), "1st stage all": (47.4, 51.8, 46.1), "ours": (49.1, 53.9, 47.7)},
    "ava-4": {"baseline": (47.8, 47.7, 47.8), "2nd stage all": (47.3, 50.9, 46.2), "ours": (49.1, 53.9, 47.7)},
    "ava-5": {"baseline": (47.8, 47.7, 47.8), "original distribution": (41.6, 35.1, 43.5), "ours": (49.1, 53.9, 47.6)},
}


@pytest.mark.parametrize("table", PRINTED)
def test_every_row_of_the_papers_tables_is_a_preset(table):
    rows = {
        preset.row: preset
        for kind in all_methods().values()
        for preset in kind.presets.values()
        if table in preset.tables
    }
    assert rows.keys() == PRINTED[table].keys()
    for row, preset in rows.items():
        assert preset.columns == ("SAP", "SAP tail", "SAP head", "All")
        printed = preset.quoted.get(table, preset.printed)
        assert [round(100 * value, 1) for value in printed[:3]] == list(PRINTED[table][row])
        whole, tail, head = preset.printed[:3]
        assert (46 * head + 14 * tail) / 60 == pytest.approx(whole, abs=0.001)  # classes of the head and of the tail
        assert preset.settings == {"train_frames": 1, "test_frames": 1, "dropout": 0.3} | SETTINGS_OF[row]


@pytest.mark.parametrize(("method", "mean_ap"), [("bce", 0.167), ("cbs", 0.113), ("focal", None), (NAME, 0.176)])
def test_mean_ap_is_printed_beside(method, mean_ap):
    assert find_method(method).presets["i3d-ava"].printed[3] == mean_ap
