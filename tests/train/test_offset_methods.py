"""Logit adjustment, balanced softmax, tau-normalisation and LWS, and which of them can change a ranking by class."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from short_runs import short_fit
from small_methods import COUNTS, TASK, B, C, begin, make, make_batch

import vltr_eval
from vltr_train import engine, losses
from vltr_train.method import Task
from vltr_train.methods import find_method
from vltr_train.methods.tau_norm import TAUS, TauNorm, normalised
from vltr_train.runs.tables import table
from vltr_train.samplers import ClassSampler, InstanceSampler
from vltr_train.settings import build_config

N = 900
OF_VIDEOS = Task(TASK.num_classes, TASK.feature_dim, COUNTS, TASK.bounds, N)


def rank_metrics(scores, labels):
    """AP, ROC-AUC and exact SAP of each class: the metrics that depend on the ranking within a class alone."""
    rows = [vltr_eval.average_precision(scores, labels), vltr_eval.roc_auc(scores, labels)]
    return np.array([*rows, vltr_eval.expected_sampled_average_precision(scores, labels)])


def top1(scores, labels):
    return labels[np.arange(len(labels)), scores.argmax(1)].mean()


# The fact that decides what these methods can change


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """A run of the baseline, with its logits of the test split in float64."""
    run = short_fit("bce", tiny, tmp_path_factory.mktemp("runs") / "bce", epochs=8)
    preds, labels = (np.load(run.folder.path / f"{name}.npy") for name in ("preds", "labels"))
    return run, preds.astype(np.float64), labels


def test_increasing_maps_of_classes_change_accuracy_alone(trained):
    """Post-hoc adjustment, tau-normalisation and positive scales, on predictions of a trained model."""
    run, scores, labels = trained
    before, accuracy = rank_metrics(scores, labels), top1(scores, labels)
    linear = run.method.model.classifier
    bias, norms = linear.bias.detach().double().numpy(), linear.weight.detach().double().norm(dim=1).numpy()
    offsets = losses.log_odds(run.method.task.train_counts, run.method.task.total).double().numpy()
    scales = np.random.default_rng(0).uniform(0.3, 3, scores.shape[1])
    for mapped in (scores - offsets, scores - 2 * offsets, (scores - bias) / norms**0.7, scores * scales):
        np.testing.assert_array_equal(rank_metrics(mapped, labels), before)
        assert top1(mapped, labels) != accuracy
    assert np.isfinite(before).any(1).all()


@pytest.fixture(scope="module")
def regression():
    """Features and labels of 600 rows with four unequal classes, and a solver of logistic regression in float64."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((600, 6))
    truth = features @ rng.standard_normal((6, 4)) + [1.5, -1.5, -3.0, -4.0] + rng.logistic(size=(600, 4))
    labels = (truth > 0).astype(np.float64)
    x, y = torch.from_numpy(features), torch.from_numpy(labels)

    def solve(loss, ridge=1e-4, seed=None):
        """The logits without offsets at the least loss, with a tiny ridge on the weights alone."""
        weight, bias = torch.zeros(6, 4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
        if seed is not None:
            weight.normal_(0, 0.5, generator=torch.Generator().manual_seed(seed))
        parameters = [weight.requires_grad_(), bias.requires_grad_()]
        optimizer = torch.optim.LBFGS(
            parameters,
            max_iter=2000,
            tolerance_grad=1e-12,
            tolerance_change=1e-16,
            history_size=50,
            line_search_fn="strong_wolfe",
        )

        def closure():
            optimizer.zero_grad()
            value = loss(x @ weight + bias, y) + ridge * (weight**2).sum()
            value.backward()
            return value

        optimizer.step(closure)
        return (x @ weight + bias).detach().numpy()

    return labels, solve


@pytest.mark.parametrize("tau", [1.0, 2.0])
def test_offsets_under_a_sigmoid_are_absorbed_by_the_bias(regression, tau):
    labels, solve = regression
    offsets = tau * losses.log_odds(labels.sum(0), len(labels)).double()
    plain, shifted = solve(losses.bce), solve(lambda z, y: losses.bce(z + offsets, y))
    np.testing.assert_allclose(shifted + offsets.numpy(), plain, atol=1e-5)
    np.testing.assert_array_equal(rank_metrics(shifted, labels), rank_metrics(plain, labels))
    assert top1(shifted, labels) != top1(plain, labels)


def log_softmax(logits):
    return torch.from_numpy(logits).log_softmax(1).numpy()


def test_a_softmax_leaves_the_ranking_by_logits_open_and_fixes_that_by_probabilities(regression):
    """From other initial weights: the same loss, another AP by logits, and the same AP by log probabilities."""
    labels, solve = regression
    offsets, targets = losses.log_priors(labels.sum(0)).double(), torch.from_numpy(labels)
    for shift in (0, offsets):
        loss = lambda z, y, shift=shift: losses.softmax_cross_entropy(z + shift, y)  # noqa: E731
        found = [solve(loss, ridge=0.0, seed=seed) for seed in range(3)]
        values = [loss(torch.from_numpy(logits), targets).item() for logits in found]
        np.testing.assert_allclose(values, values[0], rtol=1e-9)
        by_logits, by_chances = (
            np.array([np.mean(vltr_eval.average_precision(scores, labels)) for scores in each])
            for each in (found, list(map(log_softmax, found)))
        )
        assert np.ptp(by_logits) > 0.01
        assert np.ptp(by_chances) < 1e-4
        assert len({top1(logits, labels) for logits in found}) == 1


def test_offsets_under_a_softmax_are_absorbed_but_for_a_number_of_each_row(regression):
    """That number changes AP by log probabilities, because it is the sum by which a row is divided."""
    labels, solve = regression
    offsets = losses.log_priors(labels.sum(0)).double()
    plain, shifted = (
        solve(losses.softmax_cross_entropy),
        solve(lambda z, y: losses.softmax_cross_entropy(z + offsets, y)),
    )
    back = shifted + offsets.numpy()
    np.testing.assert_allclose(back - back.mean(1, keepdims=True), plain - plain.mean(1, keepdims=True), atol=1e-5)
    plain, shifted = (vltr_eval.average_precision(log_softmax(logits), labels) for logits in (plain, shifted))
    assert np.abs(plain - shifted).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("balanced_softmax", {}),
        ("logit_adjustment", {"activation": "softmax"}),
        ("logit_adjustment", {"activation": "softmax", "post_hoc": True}),
    ],
)
def test_predictions_of_a_softmax_do_not_depend_on_a_number_for_each_video(name, settings):
    """The same vector in the weights of all classes changes neither the loss nor AP, and AP by logits would change."""
    method, batch = begin(make(name, **settings)), make_batch(num_rows=200)
    labels = batch.targets.numpy()
    at_classes = labels.any(0)

    def found():
        with torch.no_grad():
            scores, logits = method.predict(batch.features), method.model(batch.features)
            loss = method(batch).item()
        return loss, [vltr_eval.average_precision(each.numpy(), labels)[at_classes] for each in (scores, logits)]

    before, (by_scores, by_logits) = found()
    with torch.no_grad():
        method.model.classifier.weight += torch.randn(1, method.model.classifier.weight.shape[1])
    after, (scores_after, logits_after) = found()
    assert after == pytest.approx(before, rel=1e-5)
    np.testing.assert_allclose(scores_after, by_scores, atol=1e-3)
    assert np.abs(logits_after - by_logits).max() > 0.01
    scores = method.predict(batch.features)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(len(scores)))
    logits = method.model(batch.features) - (method.offsets if settings.get("post_hoc") else 0)
    assert torch.equal(scores.argmax(1), logits.argmax(1))


def test_in_float32_increasing_maps_change_ap_by_rounding():
    rng = np.random.default_rng(6)
    scores = rng.standard_normal((20_000, 20), dtype=np.float32)
    labels = (rng.random(scores.shape) < 0.02).astype(np.uint8)
    before = vltr_eval.average_precision(scores, labels)
    norms = np.linspace(0.3, 3, 20, dtype=np.float32)
    gaps = [
        np.abs(vltr_eval.average_precision(mapped, labels) - before).max()
        for mapped in (scores / norms**0.7, scores - 7 * norms)
    ]
    assert 0 < max(gaps) < 1e-5


def test_weights_of_rows_are_not_absorbed(regression):
    """R-BCE moves AP at the optimum too, which offsets cannot."""
    labels, solve = regression
    weight = losses.rebalanced_weights(torch.from_numpy(labels), torch.from_numpy(labels.sum(0)))
    assert (
        rank_metrics(solve(lambda z, y: losses.bce(z, y, weight)), labels) != rank_metrics(solve(losses.bce), labels)
    ).any()


# Each method's own rules


def test_offset_losses_are_those_of_their_functions():
    batch = make_batch()
    odds, shares = losses.log_odds(COUNTS, N), losses.log_priors(COUNTS)
    softmax = losses.softmax_cross_entropy
    for name, options, expected in (
        ("logit_adjustment", {}, lambda z, y: losses.bce(z + odds, y)),
        ("logit_adjustment", {"tau": 0.5}, lambda z, y: losses.bce(z + 0.5 * odds, y)),
        ("logit_adjustment", {"activation": "softmax"}, lambda z, y: softmax(z + shares, y)),
        ("balanced_softmax", {}, lambda z, y: softmax(z + shares, y)),
        ("balanced_softmax", {"activation": "sigmoid"}, lambda z, y: losses.bce(z + losses.log_odds(COUNTS), y)),
        ("balanced_softmax", {"activation": "sigmoid", "prior": "videos"}, lambda z, y: losses.bce(z + odds, y)),
        (
            "balanced_softmax",
            {"activation": "sigmoid", "over_classes": "sum"},
            lambda z, y: C * losses.bce(z + losses.log_odds(COUNTS), y),
        ),
    ):
        method = begin(make(name, OF_VIDEOS, **options))
        torch.testing.assert_close(method(batch), expected(method.predict(batch.features), batch.targets))


# The input of the published numbers: logits, the label of each row, and training videos of each class.
Z = torch.tensor([[2, -1, 0.5, -3], [-0.5, 1.5, -2, 0.25], [0, -0.75, 3, 1]])
ONE_LABEL = torch.eye(4)[[0, 1, 3]]
OF_Z = Task(4, 4, np.array([500, 100, 20, 5]), TASK.bounds, 600)


def official_loss(name, **settings):
    """The loss under the official protocol on the input of the published numbers, and the configuration."""
    kind = find_method(name)
    method = kind(build_config(kind, settings=settings, protocol="official"), OF_Z)
    method.model = torch.nn.Identity()
    batch = dataclasses.replace(make_batch(num_rows=3), features=Z.clone().requires_grad_(), targets=ONE_LABEL)
    return begin(method)(batch).item(), method.config


def test_official_losses_are_the_published_numbers():
    """The published functions gave these: google-research, BalancedMetaSoftmax, and LiVT with its smoothing of 0.1."""
    found, config = official_loss("logit_adjustment")
    assert found == pytest.approx(1.6025985, rel=1e-6)
    assert config.activation == "softmax"
    found, config = official_loss("balanced_softmax")
    assert found == pytest.approx(1.6025985, rel=1e-6)
    assert config.clip_norm is None
    assert official_loss("balanced_softmax", activation="sigmoid")[0] == pytest.approx(2.9254115, rel=1e-6)
    assert official_loss("balanced_softmax", activation="sigmoid", smoothing=0.0)[0] == pytest.approx(
        2.7409427, rel=1e-6
    )


def test_smoothing_is_off_by_default_and_spares_the_softmax():
    batch = make_batch()
    method = begin(make("balanced_softmax", OF_VIDEOS, activation="sigmoid", smoothing=0.2))
    logits = method.predict(batch.features) + losses.log_odds(COUNTS)
    torch.testing.assert_close(method(batch), losses.bce(logits, 0.8 * batch.targets + 0.2 / C))
    assert method.config.smoothing > type(method.config)().smoothing == 0
    plain, smoothed = (begin(make("balanced_softmax", OF_VIDEOS, smoothing=share))(batch) for share in (0.0, 0.2))
    assert torch.equal(plain, smoothed)


def test_post_hoc_adjustment_subtracts_what_training_adds():
    batch = make_batch()
    method = begin(make("logit_adjustment", OF_VIDEOS, post_hoc=True, tau=2.0))
    logits = method.model(batch.features)
    torch.testing.assert_close(method(batch), losses.bce(logits, batch.targets))
    torch.testing.assert_close(method.predict(batch.features), logits - 2 * losses.log_odds(COUNTS, N))


def test_predictions_keep_the_prior_of_the_training():
    """On data with other counts the checkpoint's offsets are used."""
    trained, other = (make("logit_adjustment", task, post_hoc=True) for task in (OF_VIDEOS, TASK))
    assert not torch.equal(trained.offsets, other.offsets)
    other.load_state_dict(trained.state_dict())
    assert torch.equal(trained.offsets, other.offsets)


def test_a_task_without_a_number_of_videos_sums_the_counts():
    assert (TASK.total, OF_VIDEOS.total) == (COUNTS.sum(), N)


def test_counts_of_a_task_are_of_one_set():
    expected = "num_videos: expected at least 600, the videos of the most frequent class, got 300; pass the counts of"
    with pytest.raises(ValueError, match=f"^{expected}"):
        Task(C, 8, COUNTS, TASK.bounds, 300)
    with pytest.raises(ValueError, match=r"^published_counts: expected shape \(10,\), one a class, got \(9,\)$"):
        Task(C, 8, COUNTS, published_counts=COUNTS[1:])
    task = Task(C, 8, COUNTS // 3, TASK.bounds, 300, COUNTS)
    assert (task.total, task.group_counts.tolist()) == (300, COUNTS.tolist())
    assert TASK.group_counts is TASK.train_counts


@pytest.fixture(scope="module")
def tasks(tiny):
    """The same videos, alone and as a part of a set with other counts."""
    published = tiny.train_counts * np.arange(1, tiny.num_classes + 1)
    return Task.of(tiny), Task.of(dataclasses.replace(tiny, published_counts=published))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("logit_adjustment", {}),
        ("logit_adjustment", {"activation": "softmax"}),
        ("balanced_softmax", {}),
        ("balanced_softmax", {"activation": "sigmoid"}),
        ("balanced_softmax", {"activation": "sigmoid", "prior": "videos"}),
        ("distribution_balanced", {}),
        ("cb_loss", {}),
        ("ldam_drw", {}),
        ("framestack", {"beta": "frequency"}),
        ("move", {}),
        ("medc", {"shared_batch": True, "embedding_dim": 4}),
    ],
)
def test_priors_and_weights_are_of_the_videos_that_are_trained_on(tasks, name, settings):
    """Published counts make the groups. A prior of them would not be that of the videos that a method sees."""
    alone, part = (dict(make(name, task, **settings).named_buffers()) for task in tasks)
    assert alone.keys() == part.keys() != set()
    for key, values in alone.items():
        assert torch.equal(values, part[key]), key


def test_the_prior_of_a_packed_part_predicts_the_share_of_each_class(tiny):
    part = Task.of(dataclasses.replace(tiny, published_counts=tiny.train_counts * 4))
    offsets = make("logit_adjustment", part).offsets.double().sigmoid().numpy()
    np.testing.assert_allclose(offsets, tiny.train.labels.multi_hot().mean(0), rtol=1e-5)


def test_weights_for_a_sampler_have_its_counts(tiny):
    """r of R-BCE is a ratio of chances of the sampler, which draws the videos that are there."""
    part = Task.of(dataclasses.replace(tiny, published_counts=tiny.train_counts * 4))
    assert make("distribution_balanced", part).counts.tolist() == tiny.train.labels.counts().tolist()


def test_published_counts_make_the_groups(tasks):
    _, part = tasks
    is_tail = part.published_counts <= part.bounds[1]
    assert (is_tail != (part.train_counts <= part.bounds[1])).any()
    assert make("eql", part).tail.tolist() == is_tail.tolist()
    head = part.published_counts > part.bounds[1]
    assert make("ava_two_stage", part).head.tolist() == head.tolist()


NORMALISED = {
    0.5: [[1.3416407, 1.7888544], [0.6, 0.8], [1, 0], [0.13416407, 0.17888543]],
    0.7: [[0.97239393, 1.2965252], [0.6, 0.8], [1, 0], [0.24425431, 0.32567242]],
    1.0: [[0.6, 0.8], [0.6, 0.8], [1, 0], [0.6, 0.8]],
}


@pytest.mark.parametrize("tau", NORMALISED)
def test_normalised_weights_are_the_published_ones(tau):
    weight = torch.tensor([[3.0, 4.0], [0.6, 0.8], [1.0, 0.0], [0.03, 0.04]])
    np.testing.assert_allclose(normalised(weight, tau).numpy(), NORMALISED[tau], rtol=1e-6)
    assert torch.equal(normalised(torch.zeros(2, 3), tau), torch.zeros(2, 3))


def test_tau_norm_drops_the_bias_and_divides_by_norms():
    batch = make_batch()
    for tau in (0.0, 0.7):
        method = begin(make("tau_norm", tau=tau))
        linear = method.model.classifier
        plain = method.model(batch.features)
        torch.testing.assert_close(method(batch), losses.bce(plain, batch.targets))
        expected = (plain - linear.bias) / linear.weight.norm(dim=1) ** tau
        torch.testing.assert_close(method.predict(batch.features), expected)


def test_tau_is_chosen_by_the_accuracy_of_the_validation_set():
    method, batch = make("tau_norm"), make_batch(num_rows=200)
    with torch.no_grad():
        method.model.classifier.weight *= torch.linspace(0.2, 5, C).unsqueeze(1)
    labels = batch.targets.numpy()

    def accuracy(tau):
        """By hand: the share of hits among the positive rows of a class, then means over classes and groups."""
        method.tau.fill_(tau)
        scores = method.predict(batch.features).detach().numpy()
        is_hit = labels[np.arange(len(labels)), scores.argmax(1)] > 0
        of_class = np.array([is_hit[labels[:, c] > 0].mean() if labels[:, c].any() else np.nan for c in range(C)])
        groups = [COUNTS > 500, (COUNTS > 100) & (COUNTS <= 500), COUNTS <= 100]
        return np.mean([np.nanmean(of_class[group]) for group in groups]), is_hit.sum() / labels.any(1).sum()

    by_groups, overall = zip(*map(accuracy, TAUS), strict=True)
    for tau_by, expected in (("groups", by_groups), ("overall", overall)):
        object.__setattr__(method.config, "tau_by", tau_by)
        labels = batch.targets.numpy().astype(np.uint8)
        chosen = method.calibrate(lambda labels=labels: (method.predict(batch.features).detach(), labels))
        assert chosen == {"tau": TAUS[int(np.argmax(expected))]}
        assert method.tau.item() == pytest.approx(chosen["tau"])
    assert len(set(by_groups)) > 1


def test_tau_of_the_settings_and_without_validation():
    fixed, chosen = make("tau_norm", tau=0.3), make("tau_norm")
    assert fixed.calibrate(lambda: pytest.fail("nothing is to be chosen")) == {}
    assert chosen.calibrate(lambda: None) == {"tau": 1.0}
    assert (fixed.tau.item(), chosen.tau.item()) == (pytest.approx(0.3), 1.0)


def test_tau_is_saved_with_the_best_checkpoint(tiny, tmp_path):
    run = short_fit("tau_norm", tiny, tmp_path / "run", select_on="test")
    saved = run.folder.load_checkpoint("best")["method"]["tau"]
    assert saved.item() == run.method.tau.item()
    assert saved.item() in torch.tensor(TAUS)
    best = run.folder.load_checkpoint("best")["epoch"]
    (of_best,) = (line["tau"] for line in run.folder.epochs if line["epoch"] == best)
    assert of_best == pytest.approx(saved.item())
    baseline = short_fit("bce", tiny, tmp_path / "bce", select_on="test")
    for metric in ("mAP", "mAP_tail", "ROC_AUC"):  # in float32 the bias may have been rounded in
        ours, theirs = run.report.metrics()[metric], baseline.report.metrics()[metric]
        assert ours == pytest.approx(theirs, abs=1e-4)
    ours, theirs = (np.load(each.folder.path / "preds.npy") for each in (run, baseline))
    assert not np.allclose(ours, theirs)


def test_tau_is_chosen_before_an_epoch_is_evaluated(tiny, tmp_path, monkeypatch):
    used, score = [], engine.score

    def watched(method, *arguments):
        used.append(method.tau.item())
        return score(method, *arguments)

    monkeypatch.setattr(engine, "score", watched)
    monkeypatch.setattr(TauNorm, "calibrate", lambda method, _: method.tau.fill_(0.25) and {})
    short_fit("tau_norm", tiny, tmp_path / "run", epochs=2)
    assert set(used) == {0.25}


def test_lws_learns_scales_of_a_frozen_model():
    method = make("lws", aggregator="netvlad")
    first, second = method.stages()
    assert [type(stage.samplers[0]) for stage in (first, second)] == [InstanceSampler, ClassSampler]
    assert [second.rate(done) for done in (0, 2.5, 5)] == pytest.approx([0.2, 0.1, 0])
    method.train()
    method.begin_stage(first)
    assert not method.scales.requires_grad
    plain = make_batch(classes=False)
    torch.testing.assert_close(method(plain), losses.bce(method.model(plain.features), plain.targets))
    method.begin_stage(second)
    method.train()
    assert not any(module.training for module in method.model.modules())
    assert [parameter for parameter in method.parameters() if parameter.requires_grad] == [method.scales]
    batch = make_batch(num_rows=2 * B)
    with torch.no_grad():
        method.model.classifier.bias.fill_(1)  # too sure of all classes, which smaller scales correct
    logits = method.model(batch.features)
    torch.testing.assert_close(method(batch), losses.resampled_bce(logits, batch.targets, batch.classes))
    optimizer, taken = second.optimizer([method.scales], lr=0.05), []
    for _ in range(15):
        loss = method(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        taken.append(loss.item())
    assert taken[-1] < 0.95 * taken[0]
    torch.testing.assert_close(method.predict(batch.features), method.scales * logits)


def test_official_lws_has_the_published_batches_and_modes():
    """Batches of 512 in both stages (feat_uniform.yaml, cls_lws.yaml), no clipping, and all networks in train mode."""
    kind = find_method("lws")
    config = build_config(kind, protocol="official")
    assert (config.features_mode, config.batch_size, config.clip_norm) == ("train", 512, None)
    assert [(stage.batch_size, stage.clip_norm) for stage in kind(config, TASK).stages()] == [(512, None)] * 2
    assert config.select_on == "last"
    assert (kind.Config().features_mode, kind.Config().batch_size) == ("eval", 128)


def test_lws_in_train_mode_moves_statistics_and_learns_scales_alone():
    method = make("lws", aggregator="netvlad", features_mode="train", dropout=0.5)
    torch.manual_seed(0)
    begin(method, stage=1)
    norm, batch = method.model.aggregator.input_norm, make_batch()
    before = norm.running_mean.clone()
    method(batch).backward()
    assert all(module.training for module in method.modules())
    assert [name for name, value in method.named_parameters() if value.grad is not None] == ["scales"]
    rows = batch.features.double().numpy().reshape(-1, TASK.feature_dim)
    np.testing.assert_allclose(norm.running_mean, 0.9 * before.numpy() + rows.mean(0) / 10, 1e-4)
    assert method(batch).item() != method(batch).item()  # by the dropout of the frozen model


@pytest.mark.parametrize(("aggregator", "moves"), [("netvlad", True), ("nonlinear", False)])
def test_lws_in_train_mode_notes_metrics_that_statistics_change(aggregator, moves):
    notes = make("lws", aggregator=aggregator, features_mode="train", select_on="validate").notes()
    assert any("moves batch statistics" in note for note in notes) == moves
    assert any("increasing" in note for note in notes) == (not moves)


@pytest.mark.parametrize("scope", ["all", "classifier"])
def test_the_scales_of_lws_are_clipped_as_a_part_of_the_classifier(scope):
    method = make("lws", clip_scope=scope)
    first, second = method.stages()
    method.begin_stage(first)
    trained = method if scope == "all" else method.model.classifier
    expected = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    assert list(map(id, method.clipped())) == list(map(id, expected))
    method.begin_stage(second)
    assert list(map(id, method.clipped())) == [id(method.scales)]


def test_lws_reports_scales_that_reverse_a_class():
    method = make("lws")
    _, second = method.stages()
    with torch.no_grad():
        method.scales[:2] = torch.tensor([-0.5, 2.0])
    expected = "scales: -0.500 to 2.000; 1 are not positive, which reverses these classes"
    assert method.end_stage(second, lambda split: np.zeros(C)) == expected


def test_scales_leave_the_map_of_a_run_as_it_was(tiny, tmp_path):
    run = short_fit("lws", tiny, tmp_path / "run", scales_epochs=3)
    lines = run.folder.epochs
    assert run.method.scales.min() > 0
    assert run.method.scales.std() > 0.1
    assert len({line["mAP"] for line in lines[2:]}) == 1  # the last of stage "train", and those of stage "scales"
    assert len({line["Acc@1"] for line in lines[2:]}) > 1
    best = run.folder.load_checkpoint("best")
    assert best["epoch"] == lines[-1]["epoch"]


# Notes


@pytest.mark.parametrize(
    ("name", "settings", "word"),
    [
        ("logit_adjustment", {}, "absorbs"),
        ("logit_adjustment", {"post_hoc": True}, "increasing"),
        ("logit_adjustment", {"activation": "softmax"}, "softmax"),
        ("logit_adjustment", {"activation": "softmax", "post_hoc": True}, "softmax"),
        ("balanced_softmax", {}, "softmax"),
        ("balanced_softmax", {"activation": "sigmoid"}, "absorbs"),
        ("tau_norm", {}, "increasing"),
        ("lws", {}, "increasing"),
    ],
)
def test_rows_have_a_note_about_the_metrics_that_they_can_change(name, settings, word):
    (note,) = make(name, **settings).notes()
    assert word in note
    assert "Acc@k" in note
    assert ("change AP" in note) == (word == "softmax")


def test_lws_notes_a_selection_that_cannot_tell_epochs_apart():
    assert "select_on: validate cannot tell" in make("lws", select_on="validate").notes()[1]


def test_tables_show_the_notes_of_their_runs(tiny, tmp_path):
    run = short_fit("tau_norm", tiny, tmp_path / "run", epochs=1)
    assert run.folder.document["notes"] == run.method.notes()
    assert f"tau_norm: {run.method.notes()[0]}" in " ".join(table([run.folder]).split())


# Refused settings


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("logit_adjustment", {"tau": -1.0}, "tau: expected at least 0, got -1.0"),
        ("logit_adjustment", {"activation": "tanh"}, "activation: expected one of sigmoid, softmax, got 'tanh'"),
        ("balanced_softmax", {"prior": "rows"}, "prior: expected one of labels, videos, got 'rows'"),
        ("balanced_softmax", {"smoothing": 1.0}, "smoothing: expected from 0 to below 1, got 1.0"),
        ("tau_norm", {"tau": -0.1}, "tau: expected at least 0 or none, got -0.1"),
        ("tau_norm", {"tau_by": "test"}, "tau_by: expected one of groups, overall, got 'test'"),
        ("lws", {"scales_epochs": 0}, "scales_epochs: expected at least 1, got 0"),
        ("lws", {"scales_lr": 0.0}, "scales_lr: expected a positive number, got 0.0"),
        ("lws", {"scales_decay": -1.0}, "scales_decay: expected at least 0, got -1.0"),
    ],
)
def test_bad_settings_of_these_methods_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make(name, **settings)
