"""The drop-in for torchmetrics against torchmetrics: its examples, random inputs, states, collections, Lightning."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from programs import run_two_ranks

import vltr_eval

torch = pytest.importorskip("torch")
torchmetrics = pytest.importorskip("torchmetrics")
theirs = pytest.importorskip("torchmetrics.classification")
functional = pytest.importorskip("torchmetrics.functional.classification")
ours = pytest.importorskip("vltr_eval.compat.torchmetrics")

FLOAT32 = 2e-6  # torchmetrics sums in float32
AVERAGES = ["macro", "weighted", "micro", None]
MULTILABEL = ["MultilabelAveragePrecision", "MultilabelAUROC"]
FUNCTIONS = {"MultilabelAveragePrecision": "multilabel_average_precision", "MultilabelAUROC": "multilabel_auroc"}

ABSENT = "ignore:No (positive|negative) samples:UserWarning"

EXAMPLE = (
    torch.tensor([[0.75, 0.05, 0.35], [0.45, 0.75, 0.05], [0.05, 0.55, 0.75], [0.05, 0.65, 0.05]]),
    torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 1], [1, 1, 1]]),
)


def assert_same(got, wanted):
    assert (got.dtype, got.device) == (wanted.dtype, wanted.device)
    torch.testing.assert_close(got, wanted, rtol=0, atol=FLOAT32)


def batch(rows, labels, seed, *, levels=0, dtype=torch.float32, target=torch.int64, more=(), logits=True):
    """Scores and labels with every kind of class: rare, absent and always positive ones; ``levels`` makes ties."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, labels, *more, generator=generator)
    if levels:
        scores = (scores * levels).round() / levels
    rates = torch.linspace(-0.2, 1.2, labels).reshape(labels, *(1 for _ in more))
    positive = torch.rand(rows, labels, *more, generator=generator) < rates
    return (scores if logits else scores.sigmoid()).to(dtype), positive.to(target)


def batches(count=4, labels=5, **options):
    return [batch(6 + seed, labels, seed, **options) for seed in range(count)]


def updated(metric, parts):
    for part in parts:
        metric.update(*part)
    return metric


# Multilabel metrics


@pytest.mark.parametrize("name", MULTILABEL)
@pytest.mark.parametrize("thresholds", [None, 5])
@pytest.mark.parametrize("average", [*AVERAGES, "none"])
def test_examples_of_torchmetrics(name, thresholds, average):
    arguments = {"num_labels": 3, "average": average, "thresholds": thresholds}
    wanted = getattr(functional, FUNCTIONS[name])(*EXAMPLE, **arguments)
    assert_same(getattr(ours, FUNCTIONS[name])(*EXAMPLE, **arguments), wanted)
    assert_same(getattr(ours, name)(**arguments)(*EXAMPLE), wanted)


def test_documented_values():
    values = ours.multilabel_average_precision(*EXAMPLE, num_labels=3, average=None)
    torch.testing.assert_close(values, torch.tensor([0.75, 0.5833, 0.9167]), rtol=0, atol=1e-4)
    values = ours.multilabel_auroc(*EXAMPLE, num_labels=3, average=None)
    torch.testing.assert_close(values, torch.tensor([0.625, 0.5, 0.8333]), rtol=0, atol=1e-4)


@pytest.mark.filterwarnings(ABSENT)
@given(
    rows=st.integers(1, 30),
    labels=st.integers(2, 6),
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([0, 1, 3]),
    dtype=st.sampled_from([torch.float16, torch.float32, torch.float64]),
    target=st.sampled_from([torch.bool, torch.uint8, torch.int64]),
    more=st.sampled_from([(), (3,), (2, 2)]),
    logits=st.booleans(),
)
def test_functions_equal_torchmetrics(rows, labels, seed, levels, dtype, target, more, logits):
    scores, positive = batch(rows, labels, seed, levels=levels, dtype=dtype, target=target, more=more, logits=logits)
    for name in FUNCTIONS.values():
        for average in AVERAGES:
            got = getattr(ours, name)(scores, positive, labels, average)
            wanted = getattr(functional, name)(scores, positive, labels, average)
            assert_same(got, wanted.to(got.dtype))  # of a constant curve theirs keeps the dtype of the scores


@pytest.mark.filterwarnings(ABSENT)
@pytest.mark.parametrize("name", MULTILABEL)
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize(
    "options",
    [{}, {"logits": False}, {"levels": 2, "target": torch.bool}, {"more": (3,)}, {"dtype": torch.float16}],
    ids=["logits", "probabilities", "ties", "dimensions", "float16"],
)
def test_modules_equal_torchmetrics_in_batches(name, average, options):
    mine, original = (getattr(library, name)(5, average) for library in (ours, theirs))
    assert isinstance(mine, getattr(theirs, name))
    for part in batches(**options):
        assert_same(mine(*part), original(*part))
        assert_same(mine.compute(), original.compute())
    mine.reset()
    original.reset()
    for metric in (mine, original):
        updated(metric, batches(2, **options))
    assert_same(mine.compute(), original.compute())
    assert mine.update_count == original.update_count == 2


@pytest.mark.parametrize("name", MULTILABEL)
@pytest.mark.parametrize("arguments", [{"ignore_index": -1}, {"thresholds": 7}, {"thresholds": [0.1, 0.5, 0.9]}])
def test_thresholds_and_ignore_index_are_never_ignored(name, arguments):
    parts = batches(logits=False)
    for scores, positive in parts:
        positive[:, 1:4].random_(0, 2, generator=torch.Generator().manual_seed(0))
        positive[0, 0], positive[1, 0], positive[:2, 4] = 0, 1, torch.tensor([0, 1])
        if "ignore_index" in arguments:
            positive[scores < 0.2] = -1
    mine, original = (updated(getattr(library, name)(5, **arguments), parts) for library in (ours, theirs))
    assert_same(mine.compute(), original.compute())
    joined = (torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts]))
    assert_same(getattr(ours, FUNCTIONS[name])(*joined, 5, **arguments), original.compute())
    with pytest.raises(ValueError, match="squash"):
        getattr(ours, name)(5, squash=False, **arguments)


@pytest.mark.parametrize("name", MULTILABEL)
def test_absent_labels_are_zero_counted_and_warned_of(name):
    scores, positive = batch(20, 5, 0, logits=False)
    positive[:, 0], positive[:, 4] = 0, 1
    original = getattr(functional, FUNCTIONS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = [original(scores, positive, 5, average) for average in (None, "macro", "weighted")]
    with pytest.warns(UserWarning, match="No (positive|negative) samples") as caught:
        got = [getattr(ours, FUNCTIONS[name])(scores, positive, 5, average) for average in (None, "macro", "weighted")]
    for one, other in zip(got, wanted, strict=True):
        assert_same(one, other)
    assert got[0][0] == 0
    assert "1 of 5 labels" in str(caught[0].message)
    assert len(caught) == (3 if name == "MultilabelAveragePrecision" else 6)


BAD_INPUTS = {
    "shape": (torch.rand(3, 2), torch.ones(2, 2, dtype=torch.int64), 2, RuntimeError),
    "float labels": (torch.rand(3, 2), torch.ones(3, 2), 2, ValueError),
    "integer scores": (torch.ones(3, 2, dtype=torch.int64), torch.ones(3, 2, dtype=torch.int64), 2, ValueError),
    "labels of 2": (torch.rand(3, 2), torch.full((3, 2), 2), 2, RuntimeError),
    "number of labels": (torch.rand(3, 2), torch.ones(3, 2, dtype=torch.int64), 3, ValueError),
    "one label": (torch.rand(3, 1), torch.ones(3, 1, dtype=torch.int64), 1, ValueError),
}


@pytest.mark.parametrize("name", MULTILABEL)
@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs_raise_what_torchmetrics_raises(name, case):
    preds, target, num_labels, error = BAD_INPUTS[case]
    for library, modules in ((functional, theirs), (ours, ours)):
        with pytest.raises(error):
            getattr(library, FUNCTIONS[name])(preds, target, num_labels)
        with pytest.raises(error):
            getattr(modules, name)(num_labels).update(preds, target)


@pytest.mark.parametrize("name", MULTILABEL)
def test_bad_arguments_raise_what_torchmetrics_raises(name):
    for library, modules in ((functional, theirs), (ours, ours)):
        with pytest.raises(ValueError, match="thresholds"):
            getattr(library, FUNCTIONS[name])(*EXAMPLE, 3, thresholds="10")
        with pytest.raises(ValueError, match="average"):
            getattr(library, FUNCTIONS[name])(*EXAMPLE, 3, average="samples")
        with pytest.raises(ValueError, match="average"):
            getattr(modules, name)(3, average="samples")
        with pytest.raises(ValueError, match="sync_on_compute"):
            getattr(modules, name)(3, sync_on_compute=1)
        with pytest.raises(ValueError, match="no_such_argument"):
            getattr(modules, name)(3, no_such_argument=1)


@pytest.mark.parametrize("target", [EXAMPLE[1].float(), EXAMPLE[1] * 3 - 2, EXAMPLE[1] + 0.5])
def test_without_validation_one_is_positive(target):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same(
            ours.multilabel_auroc(EXAMPLE[0], target, 3, None, validate_args=False),
            functional.multilabel_auroc(EXAMPLE[0], target, 3, None, validate_args=False),
        )
        mine, original = (library.MultilabelAUROC(3, validate_args=False) for library in (ours, theirs))
        assert_same(mine(EXAMPLE[0], target), original(EXAMPLE[0], target))


@pytest.mark.parametrize("name", MULTILABEL)
def test_without_validation_the_number_of_labels_still_counts(name):
    with pytest.raises(ValueError, match="expected 2 labels"):
        getattr(ours, FUNCTIONS[name])(*EXAMPLE, 2, validate_args=False)
    with pytest.raises(ValueError, match="expected 2 labels"):
        getattr(ours, name)(2, validate_args=False).update(*EXAMPLE)


def test_nan_names_row_and_class():
    scores, positive = EXAMPLE[0].clone(), EXAMPLE[1]
    scores[2, 1] = torch.nan
    metric = updated(ours.MultilabelAveragePrecision(3), [EXAMPLE, (scores, positive)])
    with pytest.raises(ValueError, match="NaN at row 6, class 1"):
        metric.compute()


def test_compute_before_update_is_an_error():
    for library in (ours, theirs):
        with (
            pytest.warns(UserWarning, match="before the ``update``"),
            pytest.raises(ValueError, match=r"."),
        ):
            library.MultilabelAveragePrecision(3).compute()


def test_scores_as_they_are_do_not_saturate():
    logits, positive = torch.tensor([[96.0, 1.0], [97.0, 2.0], [98.0, 3.0]]), torch.tensor([[0, 0], [0, 1], [1, 1]])
    assert functional.multilabel_average_precision(logits, positive, 2, None)[0] < 0.5
    assert ours.multilabel_average_precision(logits, positive, 2, None)[0] < 0.5
    assert ours.multilabel_average_precision(logits, positive, 2, None, squash=False).tolist() == [1, 1]
    metric = ours.MultilabelAveragePrecision(2, None, squash=False)
    for row in range(3):  # whatever the batch size
        metric.update(logits[row : row + 1], positive[row : row + 1])
    assert metric.compute().tolist() == [1, 1]


@pytest.mark.filterwarnings(ABSENT)
def test_batches_of_different_dtypes_are_promoted():
    mine, original = (library.MultilabelAUROC(5, None) for library in (ours, theirs))
    for metric in (mine, original):
        metric.update(*batch(9, 5, 0, dtype=torch.float16, target=torch.bool, logits=False))
        metric.update(*batch(9, 5, 1, dtype=torch.float32, logits=False))
    assert_same(mine.compute(), original.compute())


# States, as torchmetrics keeps them


@pytest.mark.filterwarnings(ABSENT)
@pytest.mark.parametrize("name", MULTILABEL)
def test_states_are_those_of_torchmetrics(name):
    parts = batches()
    mine, original = (getattr(library, name)(5, None) for library in (ours, theirs))
    for metric in (mine, original):
        updated(metric, parts).persistent(True)
    assert mine.state_dict().keys() == original.state_dict().keys() == {"preds", "target"}
    wanted = original.compute()
    for source, library in ((mine, theirs), (original, ours), (mine, ours)):
        fresh = getattr(library, name)(5, None)
        fresh.load_state_dict(source.state_dict())
        fresh._update_count = 1  # which no state_dict of torchmetrics has
        assert_same(fresh.compute(), wanted)


METRICS = {
    "ap": lambda **options: ours.MultilabelAveragePrecision(5, None, **options),
    "auroc": lambda **options: ours.MultilabelAUROC(5, None, **options),
    "logits": lambda **options: ours.MultilabelAveragePrecision(5, None, squash=False, **options),
    "sampled": lambda **options: ours.SampledAveragePrecision(5, average=None, **options),
    "running": lambda **options: ours.RunningAveragePrecision(5, 100, **options),
}


def assert_equal(got, wanted):
    torch.testing.assert_close(got, wanted, rtol=0, atol=0, equal_nan=True)


@pytest.mark.filterwarnings(ABSENT)
@pytest.mark.parametrize("name", METRICS)
def test_copies_have_states_of_their_own(name):
    metric = updated(METRICS[name](), batches())
    wanted = metric.compute()
    copies = [pickle.loads(pickle.dumps(metric)), copy.deepcopy(metric), metric.clone()]
    metric.reset()
    for same in copies:
        assert_equal(same.compute(), wanted)
        same._computed = None
        assert_equal(same.to("cpu").compute(), wanted)
        assert_equal(updated(same, batches(1)).compute(), updated(METRICS[name](), [*batches(), *batches(1)]).compute())


@pytest.mark.filterwarnings(ABSENT)
@pytest.mark.parametrize("metric", METRICS)
def test_forward_gives_the_batch_and_keeps_the_rest(metric):
    stepped, whole = METRICS[metric](), METRICS[metric]()
    for part in batches():
        assert_equal(stepped(*part), updated(METRICS[metric](), [part]).compute())
        whole.update(*part)
    assert_equal(stepped.compute(), whole.compute())
    assert stepped.update_count == 4
    on_step = METRICS[metric](dist_sync_on_step=True, compute_on_cpu=True)
    for part in batches():
        on_step(*part)
    assert_equal(on_step.compute(), whole.compute())


@pytest.mark.filterwarnings(ABSENT)
@pytest.mark.parametrize("metric", METRICS)
def test_states_merge_as_in_torchmetrics(metric):
    parts = batches()
    first, second = updated(METRICS[metric](), parts[:1]), updated(METRICS[metric](), parts[1:])
    second.merge_state(first)
    assert_equal(second.compute(), updated(METRICS[metric](), parts).compute())


@pytest.mark.filterwarnings(ABSENT)
def test_forward_does_not_copy_earlier_batches():
    metric = METRICS["ap"]()
    scores, positive = batch(6, 5, 0, logits=False)
    metric(scores, positive)
    for part in batches():
        metric(*part)
    first = metric.preds[0]
    assert first.data_ptr() == scores.data_ptr()
    metric(*batch(6, 5, 1))
    assert metric.preds[0] is first  # nor is anything made anew for each of them


@pytest.mark.filterwarnings(ABSENT)
def test_no_graph_is_kept():
    scores, positive = batch(6, 5, 0)
    for metric in METRICS.values():
        metric = metric()
        value = metric(scores.clone().requires_grad_(), positive)
        assert not value.requires_grad
        assert not any(shard.requires_grad for state in metric.metric_state.values() for shard in state)


def test_metrics_add_up():
    first, second = ours.MultilabelAveragePrecision(3), ours.MultilabelAUROC(3)
    mean = (first + second) / 2
    mean.update(*EXAMPLE)
    wanted = sum(getattr(functional, name)(*EXAMPLE, 3) for name in FUNCTIONS.values()) / 2
    assert_same(mean.compute(), wanted)


# Collections and Lightning


@pytest.mark.filterwarnings(ABSENT)
def test_collection_shares_batches_and_gives_the_same():
    def collection(library):
        return torchmetrics.MetricCollection(
            {
                "ap": library.MultilabelAveragePrecision(5),
                "auroc": library.MultilabelAUROC(5, None),
                "curve": theirs.MultilabelPrecisionRecallCurve(5),
            }
        )

    mine, original = updated(collection(ours), batches()), updated(collection(theirs), batches())
    assert mine.compute_groups == {0: ["ap", "auroc", "curve"]}
    got, wanted = mine.compute(), original.compute()
    assert_same(got["ap"], wanted["ap"])
    assert_same(got["auroc"], wanted["auroc"])
    mine.reset()
    original.reset()
    assert_same(updated(mine, batches(2)).compute()["ap"], updated(original, batches(2)).compute()["ap"])


@pytest.mark.filterwarnings(ABSENT)
@pytest.mark.filterwarnings("ignore:.*are nan and left out:UserWarning")
def test_collection_never_mixes_squashed_batches_with_others():
    metrics = {name: make() for name, make in METRICS.items()}
    collection = torchmetrics.MetricCollection(dict(metrics))
    # The first batch looks the same to all of them, the second does not.
    parts = [batch(20, 5, 0, logits=False), batch(20, 5, 1, levels=2)]
    updated(collection, parts)
    assert sorted(map(sorted, collection.compute_groups.values())) == [
        ["ap", "auroc", "sampled"],
        ["logits"],
        ["running"],
    ]
    got = collection.compute()
    for name, make in METRICS.items():
        assert_equal(got[name], updated(make(), parts).compute())


@pytest.mark.filterwarnings(ABSENT)
def test_lightning_logs_metrics(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightning = pytest.importorskip("pytorch_lightning")

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(5, 5)
            self.ap = ours.MultilabelAveragePrecision(5)
            self.both = torchmetrics.MetricCollection([ours.MultilabelAUROC(5), ours.SampledAveragePrecision(5)])
            self.running = ours.RunningAveragePrecision(5, capacity=40)
            self.epochs = []

        def training_step(self, part, _):
            scores = self.layer(part[0])
            self.running.update(scores, part[1])
            return torch.nn.functional.binary_cross_entropy_with_logits(scores, part[1].float())

        def on_train_epoch_end(self):
            self.epochs.append(self.running.compute())
            self.running.reset()

        def validation_step(self, part, _):
            self.ap(part[0], part[1])
            self.log("ap", self.ap)
            self.both.update(part[0], part[1])
            self.log_dict(self.both)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    scores, positive = batch(40, 5, 0, levels=3, logits=False)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(scores, positive), batch_size=8)
    model = Model()
    quiet = {name: False for name in ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning|torch")
        warnings.filterwarnings("ignore", message=".*(does not have many workers|NaN|nan).*")
        trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, **quiet)
        trainer.fit(model, loader, loader)
    logged = trainer.callback_metrics
    assert_same(logged["ap"], functional.multilabel_average_precision(scores, positive, 5))
    assert_same(logged["MultilabelAUROC"], functional.multilabel_auroc(scores, positive, 5))
    assert 0 < logged["SampledAveragePrecision"] <= 1
    assert [epoch.shape for epoch in model.epochs] == [(5,), (5,)]
    assert not list(tmp_path.iterdir())


# Sampled AP and running AP


@pytest.mark.filterwarnings("ignore:.*are nan and left out:UserWarning")
@pytest.mark.parametrize("squash", [True, False])
def test_sampled_ap_is_that_of_vltr_eval(squash):
    parts = batches(logits=False)
    scores, positive = (torch.cat(column) for column in zip(*parts, strict=True))
    wanted = vltr_eval.sampled_average_precision(scores, positive, trials=7, seed=3).mean
    exact = vltr_eval.expected_sampled_average_precision(scores, positive)
    support = positive.sum(0).numpy()
    for values, options in ((wanted, {"trials": 7, "seed": 3}), (exact, {"exact": True})):
        assert np.isnan(values[0])
        averages = {
            None: values,
            "macro": np.nanmean(values),
            "weighted": np.nansum(values * support) / support.sum(),
        }
        for average, value in averages.items():
            metric = updated(ours.SampledAveragePrecision(5, average=average, squash=squash, **options), parts)
            np.testing.assert_allclose(metric.compute().numpy(), value, rtol=0, atol=FLOAT32)
    micro = updated(ours.SampledAveragePrecision(5, average="micro", exact=True), parts).compute()
    np.testing.assert_allclose(
        micro, vltr_eval.expected_sampled_average_precision(scores.reshape(-1), positive.reshape(-1))[0], atol=FLOAT32
    )
    assert 0 < updated(ours.SampledAveragePrecision(5, average="micro"), parts).compute() <= 1


@pytest.mark.parametrize("options", [{"trials": 0}, {"seed": -1}, {"average": "samples"}, {"squash": 1, "group": 2}])
def test_sampled_ap_checks_its_arguments(options):
    with pytest.raises(ValueError, match=r"trials|seed|average|group"):
        ours.SampledAveragePrecision(5, **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("target", [torch.bool, torch.int64, torch.float32])
def test_running_ap_is_that_of_vltr_eval(dtype, target):
    parts = batches(dtype=dtype, target=target, levels=4)
    rows = sum(len(scores) for scores, _ in parts)
    metric, running = ours.RunningAveragePrecision(5, rows), vltr_eval.RunningAP(5, rows)
    for _ in range(2):  # epochs
        for part in parts:
            metric.update(*part)
            running.update(*part)
            torch.testing.assert_close(metric.compute(), running.compute().float(), rtol=0, atol=1e-7)
        metric.reset()
        running.reset()


def test_running_ap_has_a_capacity():
    metric = ours.RunningAveragePrecision(3, capacity=6)
    metric.update(*EXAMPLE)
    for take in (metric.update, metric):
        with pytest.raises(ValueError, match="at most 2 more rows for a capacity of 6, got 4"):
            take(*EXAMPLE)
        assert len(metric.scores) == 1
    metric.reset()
    metric.update(*EXAMPLE)
    with pytest.raises(ValueError, match="capacity"):
        ours.RunningAveragePrecision(3, capacity=0)


def test_running_ap_is_zero_before_the_first_epoch():
    metric = ours.RunningAveragePrecision(3, capacity=6)
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert metric.compute().tolist() == [0, 0, 0]


@pytest.mark.parametrize("bad", [0.5, 2, -1, 256, torch.nan])
def test_running_ap_refuses_other_labels_when_it_computes(bad):
    target = EXAMPLE[1].float()
    target[2, 1] = bad
    metric = updated(ours.RunningAveragePrecision(3, capacity=8), [EXAMPLE, (EXAMPLE[0], target)])
    with pytest.raises(ValueError, match=r"labels: expected 0 or 1, got 2 at row 6, class 1"):
        metric.compute()


def test_running_ap_keeps_what_it_was_given():
    scores, positive = (part.clone() for part in EXAMPLE)
    metric = updated(ours.RunningAveragePrecision(3, 4), [(scores, positive)])
    scores.zero_()
    positive.zero_()
    assert_same(metric.compute(), functional.multilabel_average_precision(*EXAMPLE, 3, None))


@pytest.mark.parametrize(
    ("preds", "target"), [(torch.zeros(3), torch.zeros(3)), (torch.zeros(2, 3), torch.zeros(3, 3))]
)
def test_running_ap_checks_shapes(preds, target):
    with pytest.raises(ValueError, match=r"preds|target"):
        ours.RunningAveragePrecision(3, 4).update(preds, target)


# Multiclass accuracy


def classes(rows, num_classes, seed, *, more=(), levels=0, ignored=None):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, num_classes, *more, generator=generator)
    if levels:
        scores = (scores * levels).round() / levels
    target = torch.randint(0, max(1, num_classes - 1), (rows, *more), generator=generator)
    if ignored is not None:
        target[torch.rand(target.shape, generator=generator) < 0.3] = ignored
    return scores, target


ACCURACY_EXAMPLES = [
    ([2, 1, 0, 1], [2, 1, 0, 0]),
    ([[0.16, 0.26, 0.58], [0.22, 0.61, 0.17], [0.71, 0.09, 0.20], [0.05, 0.82, 0.13]], [2, 1, 0, 0]),
    ([[[0, 2], [1, 0], [1, 1]], [[0, 2], [1, 1], [2, 0]]], [[[0, 1], [2, 1], [0, 2]], [[1, 1], [2, 0], [1, 2]]]),
]


@pytest.mark.parametrize(("preds", "target"), ACCURACY_EXAMPLES)
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("multidim_average", ["global", "samplewise"])
def test_accuracy_examples_of_torchmetrics(preds, target, average, multidim_average):
    preds, target = torch.tensor(preds), torch.tensor(target)
    if multidim_average == "samplewise" and target.ndim == 1:
        preds, target = preds.unsqueeze(-1), target.unsqueeze(-1)
    options = {"average": average, "multidim_average": multidim_average}
    wanted = functional.multiclass_accuracy(preds, target, 3, **options)
    assert_same(ours.multiclass_accuracy(preds, target, 3, **options), wanted)
    assert_same(ours.MulticlassAccuracy(3, **options)(preds, target), wanted)


@given(
    rows=st.integers(1, 20),
    num_classes=st.integers(2, 6),
    top_k=st.integers(1, 6),
    average=st.sampled_from(AVERAGES),
    samplewise=st.booleans(),
    more=st.sampled_from([(), (3,), (2, 2)]),
    ignored=st.sampled_from([None, -100, 0, 255]),
    levels=st.sampled_from([0, 1]),
    seed=st.integers(0, 10**6),
    scored=st.booleans(),
)
def test_accuracy_equals_torchmetrics(
    rows, num_classes, top_k, average, samplewise, more, ignored, levels, seed, scored
):
    assume(top_k <= num_classes and (more or not samplewise) and (scored or top_k == 1))
    preds, target = classes(rows, num_classes, seed, more=more, levels=levels, ignored=ignored)
    if not scored:
        preds = preds.argmax(1)
    multidim_average = "samplewise" if samplewise else "global"
    options = {"average": average, "top_k": top_k, "multidim_average": multidim_average, "ignore_index": ignored}
    assert_same(
        ours.multiclass_accuracy(preds, target, num_classes, **options),
        functional.multiclass_accuracy(preds, target, num_classes, **options),
    )
    mine, original = (library.MulticlassAccuracy(num_classes, **options) for library in (ours, theirs))
    for metric in (mine, original):
        metric.update(preds, target)
        metric.update(preds[:1], target[:1])
    assert_same(mine.compute(), original.compute())
    for name in ("tp", "fp", "tn", "fn"):
        torch.testing.assert_close(getattr(mine, name), getattr(original, name), rtol=0, atol=0)


def test_accuracy_without_number_of_classes():
    preds, target = classes(20, 5, 0)
    for scores in (preds, preds.argmax(1)):
        wanted = functional.multiclass_accuracy(scores, target, average="micro")
        assert_same(ours.multiclass_accuracy(scores, target, average="micro"), wanted)
        assert_same(ours.MulticlassAccuracy(average="micro")(scores, target), wanted)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("top_k", [1, 2])
def test_accuracy_is_float32_whatever_the_default(average, top_k):
    preds, target = classes(20, 5, 0)
    torch.set_default_dtype(torch.float64)
    try:
        for library, modules in ((functional, theirs), (ours, ours)):
            value = library.multiclass_accuracy(preds, target, 5, average, top_k)
            assert value.dtype == modules.MulticlassAccuracy(5, top_k, average)(preds, target).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


ACCURACY_ERRORS = {
    "num_classes": (torch.rand(3, 4), torch.zeros(3, dtype=torch.int64), {"num_classes": None}),
    "one class": (torch.rand(3, 1), torch.zeros(3, dtype=torch.int64), {"num_classes": 1}),
    "top_k": (torch.rand(3, 4), torch.zeros(3, dtype=torch.int64), {"top_k": 5}),
    "average": (torch.rand(3, 4), torch.zeros(3, dtype=torch.int64), {"average": "samples"}),
    "multidim_average": (torch.rand(3, 4), torch.zeros(3, dtype=torch.int64), {"multidim_average": "rows"}),
    "ignore_index": (torch.rand(3, 4), torch.zeros(3, dtype=torch.int64), {"ignore_index": 0.5}),
    "integer scores": (torch.ones(3, 4, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), {}),
    "classes": (torch.rand(3, 5), torch.zeros(3, dtype=torch.int64), {}),
    "rows": (torch.rand(3, 4), torch.zeros(2, dtype=torch.int64), {}),
    "shapes": (torch.zeros(3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), {}),
    "dimensions": (torch.rand(3, 4, 2, 2), torch.zeros(3, 2, dtype=torch.int64), {}),
    "samplewise": (torch.rand(3, 4), torch.zeros(3, dtype=torch.int64), {"multidim_average": "samplewise"}),
}


@pytest.mark.parametrize("case", ACCURACY_ERRORS)
def test_accuracy_raises_what_torchmetrics_raises(case):
    preds, target, options = ACCURACY_ERRORS[case]
    options = {"num_classes": 4} | options
    for library, modules in ((functional, theirs), (ours, ours)):
        error = RuntimeError if case == "rows" and library is functional else ValueError
        with pytest.raises(error, match=r"."):
            library.multiclass_accuracy(preds, target, **options)
        with pytest.raises(error, match=r"."):
            modules.MulticlassAccuracy(**options).update(preds, target)


def test_accuracy_refuses_more_classes_than_there_are():
    labels = torch.arange(6)
    for library in (functional, ours):
        with pytest.raises(RuntimeError):
            library.multiclass_accuracy(labels, labels, 4)
        with pytest.raises((RuntimeError, IndexError)):
            library.multiclass_accuracy(torch.rand(6, 4), labels, 4)


def test_accuracy_in_a_collection():
    def collection(library):
        return torchmetrics.MetricCollection(
            {f"top{k}": library.MulticlassAccuracy(6, top_k=k, average="micro") for k in (1, 2, 5)}
        )

    parts = [classes(9, 6, seed) for seed in range(3)]
    got, wanted = (updated(collection(library), parts).compute() for library in (ours, theirs))
    assert got == wanted


# Processes

RANK = """
import os, sys, warnings
import torch
import torch.distributed as dist
import torchmetrics.metric
from vltr_eval.compat import torchmetrics as ours

rank, world, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
warnings.simplefilter("ignore")
alone = [dist.new_group([r]) for r in range(world)][rank]
gather = torchmetrics.metric.gather_all_tensors

generator = torch.Generator().manual_seed(0)
scores = torch.randn(60, 5, generator=generator).mul(3).round().div(3)
labels = (torch.rand(60, 5, generator=generator) < torch.tensor([0.0, 0.05, 0.3, 0.9, 1.0])).long()
batches = torch.arange(60).chunk(7)

METRICS = {
    "ap": lambda **o: ours.MultilabelAveragePrecision(5, None, **o),
    "ap weighted": lambda **o: ours.MultilabelAveragePrecision(5, "weighted", **o),
    "ap micro": lambda **o: ours.MultilabelAveragePrecision(5, "micro", **o),
    "auroc": lambda **o: ours.MultilabelAUROC(5, None, **o),
    "logits": lambda **o: ours.MultilabelAveragePrecision(5, None, squash=False, **o),
    "sampled": lambda **o: ours.SampledAveragePrecision(5, average=None, **o),
    "sampled weighted": lambda **o: ours.SampledAveragePrecision(5, average="weighted", **o),
    "sampled exact": lambda **o: ours.SampledAveragePrecision(5, exact=True, **o),
    "running": lambda **o: ours.RunningAveragePrecision(5, 100, **o),
}


def refuse(*_, **__):
    raise RuntimeError("predictions were gathered")


def fed(metric, parts):
    for part in parts:
        metric.update(scores[part], labels[part])
    return metric


def here(make, parts):
    return fed(make(sync_on_compute=False), parts).compute()


def expect_same(got, wanted, what):
    if not torch.equal(got.nan_to_num(-1), wanted.nan_to_num(-1)):
        raise AssertionError(f"{what}: {got} is not {wanted}")


def check(name, make, parts):
    own, everything = parts[rank], sum(parts, [])
    wanted = here(make, everything)
    torchmetrics.metric.gather_all_tensors = refuse
    metric = fed(make(), own)
    expect_same(metric.compute(), wanted, name)
    if own:
        expect_same(fed(make(process_group=alone), own).compute(), here(make, own), name)
        fed(metric, own[:1])  # goes on with its own rows
        expect_same(metric.compute(), here(make, [b for part in parts for b in [*part, *part[:1]]]), name)
        step = make(dist_sync_on_step=True)
        expect_same(step(scores[own[0]], labels[own[0]]), here(make, [part[0] for part in parts]), name)
    torchmetrics.metric.gather_all_tensors = gather
    if all(parts):  # for checkpoints of all processes' states
        synced = fed(make(), own)
        with synced.sync_context():
            rows = len(getattr(synced, synced._kept[0]))
        if rows != sum(len(batch) for batch in sum(parts, [])):
            raise AssertionError(f"{name}: sync_context gave {rows} rows")
    if own:
        calls = []
        given = fed(make(dist_sync_fn=lambda value, group=None: calls.append(1) or gather(value, group)), own)
        expect_same(given.compute(), wanted, name)
        if not calls:
            raise AssertionError(f"{name}: dist_sync_fn was ignored")


for name, make in METRICS.items():
    check(name, make, [list(batches[r::world]) for r in range(world)])
    wanted = here(make, batches)
    expect_same(fed(make(), [] if rank else batches).compute(), wanted, f"{name} with an empty rank")
    torn = fed(make(), batches)
    torn.update(torch.full((1, 5), torch.nan if rank else 0.5), labels[:1])
    try:
        torn.compute()
    except Exception as error:
        if "got NaN at row" not in str(error):
            raise
    else:
        raise AssertionError(f"{name}: a rank with a NaN did not stop the others")
dist.barrier()
dist.destroy_process_group()
print("fine", flush=True)
os._exit(0)  # gloo's threads outlive groups that are still referred to, and abort a teardown of Python
"""


def test_processes_compute_together_without_gathering(tmp_path):
    run_two_ranks(RANK, "2", str(tmp_path / "store"))


# Without torchmetrics

BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {blocked!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocker())
"""


def run_without(package, code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED.format(blocked=package) + code],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_functions_need_torch_alone():
    code = """
import torch
from vltr_eval.compat import torchmetrics as ours
preds, target = torch.tensor([[.75, .05], [.45, .75], [.05, .55]]), torch.tensor([[1, 0], [0, 0], [0, 1]])
print(ours.multilabel_average_precision(preds, target, 2).item(), ours.multilabel_auroc(preds, target, 2).item())
print(ours.multiclass_accuracy(preds, target[:, 0], 2, "micro").item() >= 0)
for call in (
    lambda: ours.MultilabelAveragePrecision(2),
    lambda: ours.RunningAveragePrecision(2, 3),
    lambda: ours.MulticlassAccuracy(2),
    lambda: ours.multilabel_auroc(preds, target, 2, thresholds=5),
):
    try:
        call()
    except ImportError as error:
        print(error)
"""
    done = run_without("torchmetrics", code)
    assert done.returncode == 0, done.stderr
    first, second, *errors = done.stdout.splitlines()
    assert (first, second) == ("0.75 0.75", "True")
    assert len(errors) == 4
    assert all("pip install" in error for error in errors)


def test_without_torch_the_error_says_so():
    done = run_without("torch", "import vltr_eval.compat.torchmetrics")
    assert "ImportError: vltr_eval.compat.torchmetrics needs torch: pip install torch" in done.stderr
