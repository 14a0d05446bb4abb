"""The meters of ML-GCN and ADD-GCN: recorded outputs of the originals, their definition in a loop, and their quirks.

Recorded with ML-GCN's util.py@5517d6ff, torch 2.13.0 and numpy 2.4.6. 12 rows: torch.sort keeps their order there.
"""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import mlgcn as published
from small_inputs import LABELS_A, LABELS_B, LABELS_C, A, B, C

from vltr_eval.compat import addgcn
from vltr_eval.compat.mlgcn import AveragePrecisionMeter

INPUTS = {
    "A": (A, LABELS_A),
    "B": (B, LABELS_B),
    "B3": (B[:, :3], LABELS_B[:, :3]),
    "C": (C, LABELS_C),
    "C(s)": (torch.sigmoid(torch.from_numpy(C.astype(np.float32))).numpy(), LABELS_C),
}
VALUES = {
    "A": [0.6988095045089722, 0.800000011920929, 0.8909090757369995, 0.9166666865348816],
    "B3": [0.6988095045089722, 0.7784090638160706, 0.8909090757369995],
    "C": [0.46957671642303467, 0.6220238208770752, 0.5392857193946838, 0.887499988079071],
    "C(s)": [0.6787037253379822, 0.9166666865348816, 0.5192857384681702, 0.8928571343421936],
}
OVERALL = {
    "A": [5 / 12, 1.0, 0.5882352941176471, 5 / 12, 1.0, 0.5882352941176471],
    "B": [0.3333333333333333, 1.0, 0.5, 0.33333333333333337, np.nan, np.nan],
    "B3": [0.4444444444444444, 1.0, 0.6153846153846153, 0.4444444444444445, 1.0, 0.6153846153846154],
    "C": [0.5625, 0.9473684210526315, 0.7058823529411765, 0.5629960317460317, 0.9583333333333334, 0.7092979024019128],
    "C(s)": [0.3958333333333333, 1.0, 0.5671641791044776, 0.3958333333333333, 1.0, 0.5671641791044776],
}
OVERALL_TOP2 = {
    "A": [0.625, 0.75, 0.6818181818181818, 0.6261904761904762, 0.7928571428571429, 0.6997363374880153],
    "B3": [0.5, 0.75, 0.6, 0.4947089947089947, 0.7547619047619047, 0.5976729883145298],
    "C": [0.5416666666666666, 0.6842105263157895, 0.6046511627906976, 0.5428571428571429, 0.7125, 0.6162162162162163],
}
DIFFICULT = {"A": 86.6004467010498, "B3": 82.95402526855469, "C": 65.23313522338867, "C(s)": 76.6478180885315}


def filled(scores, targets, difficult=False, size=5):
    meter = AveragePrecisionMeter(difficult)
    for start in range(0, len(scores), size):
        meter.add(scores[start : start + size], targets[start : start + size])
    return meter


# Recorded


@pytest.mark.parametrize("name", VALUES)
def test_values_are_the_recorded_ones(name):
    assert filled(*INPUTS[name]).value().tolist() == VALUES[name]


@pytest.mark.parametrize("name", OVERALL)
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
def test_overall_numbers_are_the_recorded_ones(name):
    result = filled(*INPUTS[name]).overall()
    assert type(result) is tuple
    assert {type(number) for number in result} == {np.float64}
    np.testing.assert_array_equal(result, OVERALL[name])


@pytest.mark.parametrize("name", OVERALL_TOP2)
def test_overall_numbers_of_two_predictions_are_the_recorded_ones(name):
    np.testing.assert_array_equal(filled(*INPUTS[name]).overall_topk(2), OVERALL_TOP2[name])


@pytest.mark.parametrize("name", DIFFICULT)
def test_difficult_cells_have_no_rank(name):
    scores, labels = INPUTS[name]
    targets = np.where(labels == 1, 1, -1)
    targets[[4, 2], [0, 1]] = 0
    if name != "B3":
        targets[9, 3] = 0
    assert 100 * filled(scores, targets, difficult=True).value().mean().item() == DIFFICULT[name]


@pytest.mark.parametrize("name", VALUES)
def test_negatives_of_minus_one_give_the_plain_value(name):
    scores, labels = INPUTS[name]
    value = filled(scores, np.where(labels == 1, 1, -1), difficult=True).value()
    assert value.tolist() == VALUES[name]


@pytest.mark.parametrize("name", VALUES)
def test_negatives_of_zero_are_all_difficult(name):
    """The misuse behind every printed mAP of 100.000."""
    assert 100 * filled(*INPUTS[name], difficult=True).value().mean().item() == 100.0


def test_overall_makes_negatives_difficult():
    """In the original, overall() changes the targets of the meter from -1 to 0; ADD-GCN's meter copies them first."""
    targets = np.where(LABELS_A == 1, 1, -1)
    meter, other = filled(A, targets, difficult=True), addgcn.AveragePrecisionMeter()
    other.add(A, targets, ["file"] * len(A))
    for each in (meter, other):
        assert each.value().tolist() == VALUES["A"]
        np.testing.assert_array_equal(each.overall(), OVERALL["A"])
        np.testing.assert_array_equal(each.overall_topk(2), OVERALL_TOP2["A"])
    assert meter.value().tolist() == [1.0] * 4
    assert other.value().tolist() == VALUES["A"]
    assert other.filenames == ["file"] * len(A)


# Against the definition


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.booleans(), st.sampled_from([2, 5, 1000]))
def test_values_are_those_of_the_definition(seed, num_rows, difficult, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-levels, levels, (num_rows, 3)).astype(np.float32)
    targets = rng.choice([-1, 0, 1], (num_rows, 3))
    targets[rng.integers(num_rows)] = 1
    ours, expected = filled(scores, targets, difficult), published.AveragePrecisionMeter(difficult)
    expected.add(scores, targets)
    assert ours.value().tolist() == expected.value().tolist()
    for c in range(3):
        one = AveragePrecisionMeter.average_precision(torch.from_numpy(scores[:, c]), ours.targets[:, c], difficult)
        assert np.float32(one) == expected.value()[c].item()
    with np.errstate(invalid="ignore"):  # a meter without hits has no F1
        np.testing.assert_allclose(ours.overall(), expected.overall(), rtol=1e-13)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 30))
def test_predictions_are_at_most_k_a_row(seed, k, num_rows):
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.tile(np.arange(-3.0, 3), (num_rows, 1)), axis=1)
    targets = rng.integers(0, 2, scores.shape)
    targets[0] = 1
    highest = np.where(scores >= np.sort(scores, 1)[:, [-k]], scores, -1)
    meter = filled(scores, targets)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(meter.overall_topk(k), meter.evaluation(highest, targets))


# Conventions


def test_scores_are_rounded_to_float32():
    """Two float64 scores become equal, so the order of rows decides."""
    close = np.array([[1.0], [1.0 + 2**-40]])
    assert filled(close, np.array([[0], [1]])).value().tolist() == [0.5]
    assert filled(close, np.array([[1], [0]])).value().tolist() == [1.0]
    tensor = torch.from_numpy(close[:, 0])
    assert AveragePrecisionMeter.average_precision(tensor, torch.tensor([0, 1])) == 1.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
@pytest.mark.parametrize("target_dtype", [torch.int8, torch.bool, torch.float32])
def test_batches_of_any_dtype_are_stored_as_published(dtype, target_dtype):
    scores, targets = torch.arange(-4, 4).reshape(4, 2), torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]])
    meter = filled(scores.to(dtype).requires_grad_(dtype.is_floating_point), targets.to(target_dtype), size=3)
    assert (meter.scores.dtype, meter.targets.dtype) == (torch.float32, torch.int64)
    assert torch.equal(meter.scores, scores.float())
    assert torch.equal(meter.targets, targets)
    assert meter.value().tolist() == filled(scores.float(), targets).value().tolist()
    assert AveragePrecisionMeter.average_precision(scores[:, 0].to(dtype), targets[:, 0], False) == 0.5


def test_stored_batches_do_not_follow_their_source():
    scores, targets = torch.rand(6, 2), torch.ones(6, 2, dtype=torch.int64)
    meter = filled(scores, targets, size=2)
    expected = scores.clone()
    scores[:], targets[:] = 0, 0
    assert torch.equal(meter.scores, expected)
    assert meter.targets.all()


def test_meters_grow_reset_and_copy():
    rng = np.random.default_rng(0)
    scores, targets = rng.normal(size=(300, 3)).astype(np.float32), rng.integers(0, 2, (300, 3))
    meter = filled(scores, targets, size=7)
    np.testing.assert_array_equal(meter.scores.numpy(), scores)
    for same in (copy.deepcopy(meter), pickle.loads(pickle.dumps(meter))):
        same.add(scores[:9], targets[:9])
        assert same.scores.shape == (309, 3)
    assert meter.scores.shape == (300, 3)
    meter.reset()
    assert meter.value() == 0
    assert meter.overall() == 0
    meter.add(scores[:8, 0], targets[:8, 0])
    assert meter.scores.shape == (8, 1)


def test_stored_tensors_may_be_replaced():
    """Forks gather the rows of all ranks into meter.scores and meter.targets before value()."""
    scores, targets = torch.rand(3, 8), torch.ones(3, 8, dtype=torch.int64)
    meter = AveragePrecisionMeter()
    meter.scores, meter.targets = scores.T[2:], targets.T[2:]
    meter.add(torch.zeros(1, 3), torch.zeros(1, 3))
    assert torch.equal(meter.scores, torch.cat([scores.T[2:], torch.zeros(1, 3)]))
    assert meter.targets.sum() == 18


def test_empty_meters_have_no_predictions_to_rank():
    meter = AveragePrecisionMeter()
    meter.add(torch.empty(0, 3), torch.empty(0, 3))
    assert type(meter.value()) is int
    assert (meter.value(), meter.overall()) == (0, 0)
    with pytest.raises(ValueError, match="not enough values to unpack"):
        AveragePrecisionMeter().overall_topk(1)


# Errors


def test_absent_classes_cannot_be_divided_by():
    with pytest.raises(ZeroDivisionError, match="target: expected a positive of each class, got none of class 3"):
        filled(B, LABELS_B).value()
    with pytest.raises(ZeroDivisionError):
        AveragePrecisionMeter.average_precision(torch.ones(2), torch.zeros(2))


def test_nan_scores_are_errors_that_name_them():
    scores = A.copy()
    scores[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN at row 3, class 1"):
        filled(scores, LABELS_A).value()


@pytest.mark.parametrize(
    ("output", "target", "error", "sentence"),
    [
        (torch.ones(2, 3, 1), torch.ones(2, 3), AssertionError, "output: expected 1 or 2 dimensions"),
        (torch.ones(2, 3), torch.ones(2, 3, 1), AssertionError, "target: expected 1 or 2 dimensions"),
        (torch.ones(2, 2), torch.ones(2, 2), AssertionError, "target: expected 3 classes as before, got 2"),
        (torch.ones(2, 3), torch.ones(1, 3), ValueError, r"target: expected shape \(2, 3\) as output, got \(1, 3\)"),
        ([[1.0]], torch.ones(1, 1), TypeError, "ndarray"),
    ],
)
def test_batches_that_do_not_fit_are_errors(output, target, error, sentence):
    meter = filled(torch.zeros(4, 3), torch.ones(4, 3))
    with pytest.raises(error, match=sentence):
        meter.add(output, target)
    assert meter.scores.shape == (4, 3)
