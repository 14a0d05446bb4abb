"""mmpretrain's multi-label metrics: recorded outputs of the original, their definition, and their quirks.

Recorded: open-mmlab/mmpretrain mmpretrain/evaluation/metrics/multi_label.py at ee7f2e88 with torch 2.13. Instances need
mmengine: see tests/recipes/test_mmengine.py.
"""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import small_inputs as small
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import mmpretrain as published

from vltr_eval.compat.mmpretrain import AveragePrecision, MultiLabelMetric

FLOAT32 = 2e-5  # in percent; the original sums in float32


def tensors(scores, labels):
    return torch.tensor(np.array(scores), dtype=torch.float32), torch.tensor(np.array(labels))


def difficult(labels):
    """Labels with three unknown cells."""
    labels = labels.clone()
    labels[[0, 4, 7], [1, 0, 2]] = -1
    return labels


INPUTS = {
    "A": tensors(small.A, small.LABELS_A),
    "B": tensors(small.B, small.LABELS_B),
    "B reversed": tensors(small.B[::-1], small.LABELS_B[::-1]),
    "C": tensors(small.C, small.LABELS_C),
    "sigmoid of C": tensors(1 / (1 + np.exp(-small.C.astype(np.float32))), small.LABELS_C),
}


# AveragePrecision


@pytest.mark.parametrize(
    ("name", "mean", "of_classes", "with_unknown", "half"),
    [
        ("A", 82.65962982, [69.88095856, 80.0, 89.09090424, 91.66667175], 84.10946655, 82.6875),
        ("B", 59.20319366, [69.88095856, 77.84091187, 89.09090424, 0.0], 60.88029099, 59.1875),
        ("B reversed", 61.07147980, [75.86167908, 84.09091187, 84.33333588, 0.0], 60.17872238, 61.09375),
        ("C", 62.95965958, [46.95767212, 62.20238113, 53.92857361, 88.75], 65.23313904, 62.9375),
        ("sigmoid of C", 75.18783569, [67.87037659, 91.66667175, 51.92857361, 89.28571320], 76.05258179, None),
    ],
)
def test_small_inputs_give_the_recorded_ap(name, mean, of_classes, with_unknown, half):
    pred, target = INPUTS[name]
    found = AveragePrecision.calculate(pred, target)
    assert (found.dtype, found.shape) == (torch.float32, ())
    assert found.item() == pytest.approx(mean, abs=FLOAT32)
    assert AveragePrecision.calculate(pred, target, None).tolist() == pytest.approx(of_classes, abs=FLOAT32)
    unknown = difficult(target)
    assert AveragePrecision.calculate(pred, unknown).item() == pytest.approx(with_unknown, abs=FLOAT32)
    if half is not None:
        found = AveragePrecision.calculate(pred.half(), target)
        assert (found.dtype, found.item()) == (torch.float16, half)


def slow_ap(scores, labels):
    """AP of a class in exact arithmetic; equal scores rank by their row."""
    known = [(float(score), float(label)) for score, label in zip(scores, labels, strict=True) if label > -1]
    order = sorted(range(len(known)), key=lambda row: (-known[row][0], row))
    hits, total = 0, Fraction(0)
    for rank, row in enumerate(order, 1):
        if known[row][1] == 1:
            hits += 1
            total += Fraction(hits, rank)
    return float(100 * total / hits) if hits else 0.0


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 6),
    st.sampled_from([2, 10, 10**6]),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    st.sampled_from([torch.int64, torch.int8, torch.float32]),
)
def test_ap_equals_the_definition_with_ties_by_row(seed, num_rows, num_classes, levels, dtype, label_dtype):
    rng = np.random.default_rng(seed)
    pred = torch.from_numpy(rng.integers(levels, size=(num_rows, num_classes)) / levels).to(dtype)
    target = rng.choice([0, 1, -1, 2], p=[0.5, 0.3, 0.1, 0.1], size=(num_rows, num_classes))
    target[0] = 0  # no class of unknown cells alone
    target = torch.from_numpy(target).to(label_dtype)
    found = AveragePrecision.calculate(pred, target, None)
    expected = [slow_ap(pred[:, c].float(), target[:, c]) for c in range(num_classes)]
    assert found.dtype == dtype
    assert found.tolist() == pytest.approx(expected, abs=FLOAT32, rel=2**-7 if dtype == torch.bfloat16 else 1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 6))
def test_ap_equals_the_published_loop_without_ties(seed, num_rows, num_classes):
    rng = np.random.default_rng(seed)
    pred = torch.from_numpy(rng.permuted(np.tile(np.arange(num_rows)[:, None], num_classes), axis=0)).float()
    target = torch.from_numpy((rng.random(pred.shape) < 0.4).astype(int))
    for average in ("macro", None):
        found = AveragePrecision.calculate(pred, target, average)
        expected = published.AveragePrecision.calculate(pred, target, average)
        torch.testing.assert_close(found, expected, rtol=0, atol=FLOAT32)


def test_arrays_and_lists_are_tensors():
    pred, target = INPUTS["A"]
    expected = AveragePrecision.calculate(pred, target)
    assert AveragePrecision.calculate(pred.numpy(), target.numpy()) == expected
    assert AveragePrecision.calculate(pred.tolist(), target.tolist()) == expected
    found = AveragePrecision.calculate(pred.requires_grad_(), target)
    assert found == expected
    assert not found.requires_grad


def test_integer_scores_give_ap_without_decimals():
    pred, target = INPUTS["A"]
    found = AveragePrecision.calculate((pred * 10000).long(), target, None)
    assert (found.dtype, found.tolist()) == (torch.int64, [0, 0, 0, 0])
    with pytest.raises(RuntimeError, match="mean"):
        AveragePrecision.calculate((pred * 10000).long(), target)


def test_bad_arguments_of_ap_are_the_errors_of_the_original():
    pred, target = INPUTS["A"]
    with pytest.raises(AssertionError, match="Invalid `average` argument,"):
        AveragePrecision.calculate(pred, target, "micro")
    for other in (target[:5], target[:, 0], target[:, :2]):
        with pytest.raises(AssertionError, match="Both `pred` and `target`"):
            AveragePrecision.calculate(pred, other)
    for other in (5, "hi"):
        with pytest.raises(TypeError, match="is not an available argument"):
            AveragePrecision.calculate(pred, other)
    with pytest.raises(IndexError, match="none in class 0"):
        AveragePrecision.calculate(pred[:0], target[:0])
    unknown = target.clone()
    unknown[:, 2] = -1
    with pytest.raises(IndexError, match="none in class 2"):
        AveragePrecision.calculate(pred, unknown)
    pred = pred.clone()
    pred[3, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN at row 3, class 1"):
        AveragePrecision.calculate(pred, target)
    assert AveragePrecision.calculate(pred[:, :0], target[:, :0]).isnan()


# MultiLabelMetric


@pytest.mark.parametrize(
    ("name", "macro", "micro", "top2"),
    [
        (
            "A",
            [57.14286041, 77.85714722, 64.82684326, 20],
            [57.69230652, 75.0, 65.21739197, 20],
            [65.00000763, 79.28571320, 70.49826050, 20],
        ),
        (
            "C",
            [58.03571320, 95.83332825, 71.93640137, 19],
            [58.06451416, 94.73684692, 72.0, 19],
            [56.78571320, 71.25, 62.12121582, 19],
        ),
        (
            "sigmoid of C",
            [58.03571320, 95.83332825, 71.93640137, 19],
            [58.06451416, 94.73684692, 72.0, 19],
            [57.73809814, 73.33333588, 61.11111832, 19],
        ),
    ],
)
def test_small_inputs_give_the_recorded_precision_and_recall(name, macro, micro, top2):
    pred, target = INPUTS[name][0], difficult(INPUTS[name][1])
    for expected, options in ((macro, {"thr": 0.4}), (micro, {"thr": 0.4, "average": "micro"}), (top2, {"topk": 2})):
        found = MultiLabelMetric.calculate(pred, target, **options)
        assert [value.dtype for value in found] == [torch.float32] * 3 + [torch.int64]
        assert [value.item() for value in found] == pytest.approx(expected, abs=FLOAT32)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 30),
    st.integers(1, 6),
    st.sampled_from(["macro", "micro", None]),
    st.sampled_from([0, 0.3, 0.5]),
    st.sampled_from([torch.int64, torch.int8, torch.float32]),
)
def test_precision_and_recall_equal_the_definition(seed, num_rows, num_classes, average, thr, dtype):
    rng = np.random.default_rng(seed)
    pred = torch.from_numpy(rng.integers(10, size=(num_rows, num_classes)) / 10)
    target = torch.from_numpy(rng.choice([0, 1, -1], p=[0.6, 0.3, 0.1], size=pred.shape)).to(dtype)
    found = MultiLabelMetric.calculate(pred, target, average=average, thr=thr)
    expected = published.MultiLabelMetric.calculate(pred, target, average, thr)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=FLOAT32)


def test_a_class_listed_twice_is_the_label_2_of_the_original():
    """Its bits have no 1, so that it is never found; its support is 2."""
    found = MultiLabelMetric.calculate([[0, 0]], [[0, 0]], True, True, num_classes=2)
    assert [value.item() for value in found] == [0, 0, 0, 2]
    found = MultiLabelMetric.calculate(torch.ones(1, 1), torch.tensor([[3]]))
    assert [value.item() for value in found] == pytest.approx([100, 100 / 3, 50, 3], abs=FLOAT32)


def test_arguments_keep_their_values():
    pred, target = INPUTS["A"][0], difficult(INPUTS["A"][1])
    before = pred.clone(), target.clone()
    MultiLabelMetric.calculate(pred, target, thr=0.4)
    AveragePrecision.calculate(pred, target)
    assert torch.equal(pred, before[0])
    assert torch.equal(target, before[1])


def test_bad_arguments_of_precision_are_the_errors_of_the_original():
    pred, target = INPUTS["A"]
    with pytest.raises(AssertionError, match="Invalid `average` argument,"):
        MultiLabelMetric.calculate(pred, target, average="weighted")
    with pytest.raises(AssertionError, match="The size of pred"):
        MultiLabelMetric.calculate(pred, target[:5])
    with pytest.raises(AssertionError, match="num_classes"):
        MultiLabelMetric.calculate(pred, target, num_classes=5)
    with pytest.raises(AssertionError, match="num_classes"):
        MultiLabelMetric.calculate([[0]], [[0]], pred_indices=True, target_indices=True)
    with pytest.raises(AssertionError, match="target: expected"):
        MultiLabelMetric.calculate(pred, target[:, 0])
    with pytest.raises(TypeError, match="The `pred` and `target` must"):
        MultiLabelMetric.calculate(pred, 5)
    with pytest.raises(TypeError, match="<class 'str'> is not"):
        MultiLabelMetric.calculate(pred, "hi")


def test_calculate_works_without_mmengine_and_instances_do_not():
    code = """
import sys
sys.modules["mmengine"] = None
from vltr_eval.compat.mmpretrain import AveragePrecision
print(AveragePrecision.calculate([[.9], [.1]], [[1], [0]]))
AveragePrecision()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "tensor(100.)\n"
    assert done.stderr.splitlines()[-1] == "ImportError: AveragePrecision needs mmengine: pip install mmengine"
