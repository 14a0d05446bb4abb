"""Logit adjustment, balanced softmax, tau-normalisation and LWS, and that none of them changes a ranking by class."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from short_runs import short_fit
from small_methods import COUNTS, TASK, B, C, begin, make, make_batch

import vltr_eval
from vltr_train import losses
from vltr_train.method import Task
from vltr_train.methods.tau_norm import TAUS, normalised
from vltr_train.runs.tables import table
from vltr_train.samplers import ClassSampler, InstanceSampler

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

    def solve(loss):
        """The logits without offsets at the least loss, with a tiny ridge on the weights alone."""
        weight, bias = torch.zeros(6, 4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
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
            value = loss(x @ weight + bias, y) + 1e-4 * (weight**2).sum()
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


def test_offsets_under_a_softmax_are_absorbed_by_the_bias(regression):
    """The ranking by logits is the same; the softmax divides each row by its own sum, so that by chances is not."""
    labels, solve = regression
    offsets = losses.log_priors(labels.sum(0)).double()
    plain, shifted = (
        solve(losses.softmax_cross_entropy),
        solve(lambda z, y: losses.softmax_cross_entropy(z + offsets, y)),
    )
    back = shifted + offsets.numpy()
    np.testing.assert_allclose(back - back.mean(1, keepdims=True), plain - plain.mean(1, keepdims=True), atol=1e-5)


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
        method.tau.fill_(tau)
        scores = method.predict(batch.features).detach().numpy()
        hits = labels * (np.arange(C) == scores.argmax(1)[:, None])
        groups = [COUNTS > 500, (COUNTS > 100) & (COUNTS <= 500), COUNTS <= 100]
        overall = hits.sum() / labels.any(1).sum()
        found = vltr_eval.evaluate(scores, labels, topk=[1], train_counts=COUNTS, bounds=TASK.bounds).metrics()
        assert found["Acc@1"] == pytest.approx(overall)
        assert len(groups) == 3
        return np.mean([found[f"Acc@1_{group}"] for group in ("head", "medium", "tail")]), found["Acc@1"]

    by_groups, overall = zip(*map(accuracy, TAUS), strict=True)
    for tau_by, expected in (("groups", by_groups), ("overall", overall)):
        object.__setattr__(method.config, "tau_by", tau_by)
        method.calibrate(lambda: (method.predict(batch.features).detach(), batch.targets.numpy().astype(np.uint8)))
        assert method.tau.item() == pytest.approx(TAUS[int(np.argmax(expected))])
    assert len(set(by_groups)) > 1


def test_tau_of_the_settings_and_without_validation():
    fixed, chosen = make("tau_norm", tau=0.3), make("tau_norm")
    fixed.calibrate(lambda: pytest.fail("nothing is to be chosen"))
    chosen.calibrate(lambda: None)
    assert (fixed.tau.item(), chosen.tau.item()) == (pytest.approx(0.3), 1.0)


def test_tau_is_saved_with_the_best_checkpoint(tiny, tmp_path):
    run = short_fit("tau_norm", tiny, tmp_path / "run", select_on="test")
    saved = run.folder.load_checkpoint("best")["method"]["tau"]
    assert saved.item() == run.method.tau.item()
    assert saved.item() in torch.tensor(TAUS)
    baseline = short_fit("bce", tiny, tmp_path / "bce", select_on="test")
    for metric in ("mAP", "mAP_tail", "ROC_AUC"):  # in float32 the bias may have been rounded in
        ours, theirs = run.report.metrics()[metric], baseline.report.metrics()[metric]
        assert ours == pytest.approx(theirs, abs=1e-4)
    ours, theirs = (np.load(each.folder.path / "preds.npy") for each in (run, baseline))
    assert not np.allclose(ours, theirs)


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
        ("balanced_softmax", {}, "absorbs"),
        ("tau_norm", {}, "increasing"),
        ("lws", {}, "increasing"),
    ],
)
def test_rows_that_cannot_move_ap_have_a_note(name, settings, word):
    (note,) = make(name, **settings).notes()
    assert word in note
    assert "Acc@k" in note


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
