"""torchmetrics' dispatchers, and binary and multiclass AP and AUROC, against torchmetrics."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import run_two_ranks

torch = pytest.importorskip("torch")
torchmetrics = pytest.importorskip("torchmetrics")
theirs = pytest.importorskip("torchmetrics.classification")
functional = pytest.importorskip("torchmetrics.functional.classification")
ours = pytest.importorskip("vltr_eval.compat.torchmetrics")

FLOAT32 = 2e-6  # torchmetrics sums in float32
CURVES = ["AveragePrecision", "AUROC"]
FUNCTIONS = {"AveragePrecision": "average_precision", "AUROC": "auroc", "Accuracy": "accuracy"}
NATIVE = {
    "AveragePrecision": ("binary", "multiclass", "multilabel"),
    "AUROC": ("binary", "multiclass", "multilabel"),
    "Accuracy": ("multiclass",),
}
SIZES = {"num_classes": 4, "num_labels": 4}

pytestmark = pytest.mark.filterwarnings(
    "ignore:No (positive|negative) samples:UserWarning", "ignore:Average precision score for one:UserWarning"
)


def assert_same(got, wanted):
    assert (got.dtype, got.device, got.shape) == (wanted.dtype, wanted.device, wanted.shape)
    torch.testing.assert_close(got, wanted, rtol=0, atol=FLOAT32, equal_nan=True)


def inputs(task, rows, seed, *, levels=0, logits=True, highest=4, ignored=None, dtype=torch.float32):
    """Scores and labels of a task; ``highest`` leaves classes out, ``levels`` makes ties."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, *(() if task == "binary" else (4,)), generator=generator)
    if levels:
        scores = (scores * levels).round() / levels
    if not logits:
        scores = scores.softmax(-1) if task == "multiclass" else scores.sigmoid()
    if task == "multiclass":
        labels = torch.randint(0, highest, (rows,), generator=generator)
    else:
        labels = (torch.rand(scores.shape, generator=generator) < highest / 8).long()
    if ignored is not None:
        labels[torch.rand(labels.shape, generator=generator) < 0.3] = ignored
        labels.flatten()[0] = 0
    return scores.to(dtype), labels


def value_of(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_are_those_of_torchmetrics(name):
    def signature(function):
        return [(one.name, one.default, one.kind) for one in inspect.signature(function).parameters.values()]

    assert signature(getattr(ours, name).__new__) == signature(getattr(torchmetrics, name).__new__)
    function = getattr(torchmetrics.functional, FUNCTIONS[name])
    assert signature(getattr(ours, FUNCTIONS[name])) == signature(function)
    assert issubclass(getattr(ours, name), getattr(torchmetrics, name))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_dispatchers_build_the_class_of_the_task(name, task):
    metric = getattr(ours, name)(task=task, **SIZES)
    original = getattr(torchmetrics, name)(task=task, **SIZES)
    assert isinstance(metric, type(original))
    assert type(metric).__name__ == type(original).__name__
    assert (type(metric) is not type(original)) == (task in NATIVE[name])
    assert {key: getattr(metric, key, None) for key in ("average", "top_k", "ignore_index", "validate_args")} == {
        key: getattr(original, key, None) for key in ("average", "top_k", "ignore_index", "validate_args")
    }
    parts = [inputs(task, rows, rows) for rows in (9, 4)]
    for one in (metric, original):
        for part in parts:
            one.update(*part)
    assert_same(metric.compute(), original.compute())
    scores, labels = (torch.cat(both) for both in zip(*parts, strict=True))
    function = FUNCTIONS[name]
    arguments = {"task": task, **SIZES}
    wanted = getattr(torchmetrics.functional, function)(scores, labels, **arguments)
    assert_same(getattr(ours, function)(scores, labels, **arguments), wanted)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("task", ["Multilabel", "MULTICLASS", "binary"])
def test_a_task_may_be_written_as_in_torchmetrics(name, task):
    assert (
        type(getattr(ours, name)(task, **SIZES)).__name__ == type(getattr(torchmetrics, name)(task, **SIZES)).__name__
    )


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "arguments",
    [
        {"task": "multi"},
        {"task": "multi-label"},
        {"task": None},
        {"task": "multiclass"},
        {"task": "multilabel", "num_classes": 3},
        {"task": "multiclass", "num_classes": 1},
        {"task": "multiclass", "num_classes": 3, "average": "samples"},
        {"task": "binary", "ignore_index": 0.5},
        {"task": "multiclass", "num_classes": 3, "no_such_argument": 1},
    ],
    ids=str,
)
def test_wrong_arguments_raise_what_torchmetrics_raises(name, arguments):
    kinds = []
    for library in (ours, torchmetrics):
        with pytest.raises(Exception, match=r".") as caught:
            getattr(library, name)(**arguments)
        kinds.append(caught.type)
    assert kinds[0] is kinds[1]


@given(
    name=st.sampled_from(CURVES),
    task=st.sampled_from(["binary", "multiclass"]),
    rows=st.integers(1, 25),
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([0, 1, 3]),
    logits=st.booleans(),
    highest=st.integers(1, 4),
    ignored=st.sampled_from([None, -1, 255]),
    average=st.sampled_from(["macro", "weighted", "none", None]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_functions_and_classes_equal_torchmetrics(
    name, task, rows, seed, levels, logits, highest, ignored, average, dtype
):
    scores, labels = inputs(
        task, rows, seed, levels=levels, logits=logits, highest=highest, ignored=ignored, dtype=dtype
    )
    arguments = {"task": task, "ignore_index": ignored, "average": average, **SIZES}
    wanted = value_of(lambda: getattr(torchmetrics.functional, FUNCTIONS[name])(scores, labels, **arguments))
    got = value_of(lambda: getattr(ours, FUNCTIONS[name])(scores, labels, **arguments))
    assert_same(got, wanted.to(got.dtype))  # of a constant curve theirs keeps the dtype of the scores
    metrics = [getattr(library, name)(**arguments) for library in (ours, torchmetrics)]
    for metric in metrics:
        metric.update(scores, labels)
        metric.update(scores[:1], labels[:1])
    got, wanted = (value_of(metric.compute) for metric in metrics)
    assert_same(got, wanted.to(got.dtype))
    for state in ("preds", "target"):
        for one, other in zip(*(getattr(metric, state) for metric in metrics), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_absent_classes_are_left_out_unless_all_targets_are_class_zero():
    scores = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1]])
    for targets, values, mean in (([0, 0, 1], [1, 1, torch.nan], 1), ([0, 0, 0], [1, 0, 0], 1 / 3)):
        targets = torch.tensor(targets)
        for library in (functional, ours):
            got = value_of(lambda one=library, y=targets: one.multiclass_average_precision(scores, y, 3, None))
            torch.testing.assert_close(got, torch.tensor(values, dtype=torch.float32), equal_nan=True)
            got = value_of(lambda one=library, y=targets: one.multiclass_average_precision(scores, y, 3))
            assert got.item() == pytest.approx(mean)
    with pytest.warns(UserWarning, match=r"one or more classes was `nan`\. .* macro-average: 1 of 3 labels"):
        ours.multiclass_average_precision(scores, torch.tensor([0, 0, 1]), 3)


@pytest.mark.parametrize("name", CURVES)
def test_absent_positives_give_zero_and_a_warning_in_binary_tasks(name):
    scores = torch.tensor([0.3, 0.6])
    for labels in (torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.int64)):
        wanted = value_of(lambda y=labels: getattr(functional, f"binary_{FUNCTIONS[name]}")(scores, y))
        got = value_of(lambda y=labels: getattr(ours, f"binary_{FUNCTIONS[name]}")(scores, y))
        assert got.item() == wanted.item()
    with pytest.warns(UserWarning, match="No positive samples"):
        getattr(ours, f"binary_{FUNCTIONS[name]}")(scores, torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_thresholds_and_partial_auroc_are_torchmetrics_own(name, task):
    parts = [inputs(task, 9, seed, logits=False) for seed in range(2)]
    cases = [{"thresholds": 7}, {"thresholds": [0.1, 0.5]}]
    cases += [{"max_fpr": 0.4}] if (name, task) == ("AUROC", "binary") else []
    for case in cases:
        metrics = [getattr(library, name)(task=task, **SIZES, **case) for library in (ours, torchmetrics)]
        for metric in metrics:
            for part in parts:
                metric.update(*part)
        assert torch.equal(metrics[0].compute(), metrics[1].compute())
        arguments = {"task": task, **SIZES, **case}
        got, wanted = (
            getattr(library, FUNCTIONS[name])(*parts[0], **arguments) for library in (ours, torchmetrics.functional)
        )
        assert torch.equal(got, wanted)


BAD = {
    "binary": [
        (torch.rand(3), torch.zeros(2, dtype=torch.int64)),
        (torch.rand(3), torch.zeros(3)),
        (torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)),
        (torch.rand(3), torch.full((3,), 2)),
    ],
    "multiclass": [
        (torch.rand(3, 4), torch.zeros(2, dtype=torch.int64)),
        (torch.rand(3, 4), torch.zeros(3)),
        (torch.zeros(3, 4, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)),
        (torch.rand(3, 5), torch.zeros(3, dtype=torch.int64)),
        (torch.rand(3, 4), torch.zeros(3, 4, dtype=torch.int64)),
        (torch.rand(6, 4), torch.arange(6)),
    ],
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize(("task", "case"), [(task, case) for task in BAD for case in range(len(BAD[task]))])
def test_bad_inputs_raise_what_torchmetrics_raises(name, task, case):
    size = [] if task == "binary" else [4]

    def kind(call):
        try:
            call()
        except (ValueError, RuntimeError) as error:
            return type(error)
        return None

    kinds = [
        [
            kind(lambda one=functions: getattr(one, f"{task}_{FUNCTIONS[name]}")(*BAD[task][case], *size)),
            kind(lambda one=classes: getattr(one, task.title() + name)(*size).update(*BAD[task][case])),
        ]
        for functions, classes in ((functional, theirs), (ours, ours))
    ]
    assert kinds[0] == kinds[1]
    assert kinds[0][0] is not None
    # torchmetrics' BinaryAUROC checks its arguments only, whatever `validate_args` says.
    assert (kinds[0][1] is None) == ((name, task) == ("AUROC", "binary"))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("name", CURVES)
def test_copies_pickles_and_states_are_exchanged(name, task):
    metric, original = (getattr(library, name)(task=task, **SIZES) for library in (ours, torchmetrics))
    part = inputs(task, 11, 3)
    for one in (metric, original):
        one.persistent(True)
        one.update(*part)
    for one in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert_same(one.compute(), metric.compute())
    fresh = getattr(ours, name)(task=task, **SIZES)
    fresh.load_state_dict(original.state_dict())
    fresh._update_count = 1
    assert_same(fresh.compute(), original.compute())
    collection = torchmetrics.MetricCollection([getattr(ours, one)(task=task, **SIZES) for one in CURVES])
    collection.update(*part)
    collection.update(*part)  # both metrics share the batches from here on
    assert collection[type(metric).__name__].compute().item() == pytest.approx(
        getattr(ours, FUNCTIONS[name])(*map(torch.cat, zip(part, part, strict=True)), task=task, **SIZES).item()
    )
    with pytest.raises(ValueError, match="at least one row"):
        value_of(getattr(ours, name)(task=task, **SIZES).compute)
    scores = part[0].clone()
    scores[0] = torch.nan
    with pytest.raises(ValueError, match="NaN at row 0"):
        getattr(ours, FUNCTIONS[name])(scores, part[1], task=task, **SIZES)


RANK = """
import os, sys, warnings
import torch
import torch.distributed as dist
import torchmetrics.metric
from vltr_eval.compat import torchmetrics as ours

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
warnings.simplefilter("ignore")
generator = torch.Generator().manual_seed(0)
scores = torch.randn(30, 5, generator=generator).mul(3).round().div(3)
classes = torch.randint(0, 4, (30,), generator=generator)
zeros = torch.zeros_like(classes)


def refuse(*_, **__):
    raise RuntimeError("predictions were gathered")


torchmetrics.metric.gather_all_tensors = refuse
for name in ("AveragePrecision", "AUROC"):
    for task, preds, target in (
        ("binary", scores[:, 0], (classes == 0).long()),
        ("multiclass", scores, classes),
        ("multiclass", scores, zeros),
    ):
        for average in ("macro", None):
            for split in (13, 30):  # at last the second process has no rows
                make = lambda **o: getattr(ours, name)(task=task, num_classes=5, average=average, **o)
                one, whole = make(), make(sync_on_compute=False)
                own = slice(0, split) if rank == 0 else slice(split, 30)
                if len(preds[own]):
                    one.update(preds[own].sigmoid(), target[own])
                whole.update(preds.sigmoid(), target)
                got, wanted = one.compute(), whole.compute()
                if not torch.equal(got.nan_to_num(-1), wanted.nan_to_num(-1)):
                    raise AssertionError(f"{name} {task} {average}: {got} is not {wanted}")
dist.barrier()
dist.destroy_process_group()
print("fine", flush=True)
os._exit(0)  # gloo's threads outlive groups that are still referred to, and abort a teardown of Python
"""


def test_processes_compute_together_without_gathering(tmp_path):
    run_two_ranks(RANK, str(tmp_path / "store"))


@pytest.mark.parametrize("average", ["macro", "weighted", None])
def test_targets_of_class_0_alone_warn_as_torchmetrics(average):
    scores, target = torch.tensor([[0.7, 0.3], [0.6, 0.4]]), torch.tensor([0, 0])
    for library in (functional, ours):
        with pytest.warns(UserWarning, match="^No positive samples found in target"):
            library.multiclass_average_precision(scores, target, 2, average)
        metric = (theirs if library is functional else ours).MulticlassAveragePrecision(2, average)
        metric.update(scores, target)
        with pytest.warns(UserWarning, match="^No positive samples found in target"):
            metric.compute()


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("validate_args", [True, False])
def test_negative_classes_are_errors_as_in_torchmetrics(name, validate_args):
    scores, target = torch.tensor([[0.7, 0.3], [0.6, 0.4]]), torch.tensor([0, -1])
    for library in (functional, ours):
        with pytest.raises(RuntimeError):
            getattr(library, f"multiclass_{FUNCTIONS[name]}")(scores, target, 2, None, validate_args=validate_args)
        metric = getattr(theirs if library is functional else ours, f"Multiclass{name}")(
            2, None, validate_args=validate_args
        )
        metric.update(scores, target)
        with pytest.raises(RuntimeError):
            metric.compute()
