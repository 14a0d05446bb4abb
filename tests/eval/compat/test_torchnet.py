"""The meters of torchnet and VideoLT against their definition in benchmarks/published, worked examples, and laws."""

from __future__ import annotations

import copy
import pickle
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import torchnet as published
from reference import WITNESS

from vltr_eval.compat import torchnet
from vltr_eval.compat.torchnet import APMeter, LTMeter, get_indices, mAPMeter

FLOAT32 = 2e-6  # the published meters sum in float32


def agrees(actual, expected) -> None:
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, rtol=0, atol=FLOAT32, equal_nan=True)


def untied(num_rows: int, num_classes: int, seed: int, prevalence: float = 0.3):
    """scores (N, C) float32 without ties within a class, targets (N, C) int64."""
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.tile(np.arange(num_rows, dtype=np.float32)[:, None], num_classes), axis=0)
    return torch.from_numpy(scores), torch.from_numpy((rng.random(scores.shape) < prevalence).astype(np.int64))


def filled(meter, scores, targets, weights=None, *, size: int = 7):
    for start in range(0, len(scores), size):
        part = slice(start, start + size)
        meter.add(scores[part], targets[part], *(() if weights is None else (weights[part],)))
    return meter


cases = st.builds(
    untied,
    st.integers(1, 60),
    st.integers(1, 8),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)


# Against the definition


@given(cases, st.integers(1, 70))
def test_values_are_the_published_ones(case, size):
    actual, expected = filled(APMeter(), *case, size=size), filled(published.APMeter(), *case)
    agrees(actual.value(), expected.value())


@given(cases)
def test_means_are_the_published_ones(case):
    num_classes = case[0].shape[1]
    indices = [list(range(0, num_classes, 2)), [], [num_classes - 1]]
    for name, arguments in (("mAPMeter", ()), ("LTMeter", (indices,))):
        actual = filled(getattr(torchnet, name)(*arguments), *case)
        expected = filled(getattr(published, name)(*arguments), *case)
        agrees(actual.avg(), expected.avg())
        agrees(actual.value(), torch.as_tensor(expected.value()))


@given(cases, st.integers(0, 2**32 - 1))
def test_weighted_values_are_the_published_ones(case, seed):
    weights = torch.from_numpy(np.random.default_rng(seed).uniform(0.1, 3, len(case[0])).astype(np.float32))
    actual = filled(APMeter(), *case, weights[:, None])
    agrees(actual.value(), filled(published.APMeter(), *case, weights).value())


def test_equal_weights_change_nothing():
    case = untied(50, 4, 3)
    weighted = filled(APMeter(), *case, np.full(50, 7.0))
    torch.testing.assert_close(weighted.value(), filled(APMeter(), *case).value(), rtol=0, atol=WITNESS)


@pytest.mark.parametrize("head", [500, 300])
def test_groups_are_the_published_ones(head):
    counts = [1912, 501, 500, 499, 301, 300, 101, 100, 99, 44]
    assert get_indices(counts, head=head, tail=100) == published.get_indices(counts, head, 100)


# Worked examples


def test_ap_of_a_worked_example():
    meter = APMeter()
    meter.add(torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5]), torch.tensor([1, 0, 1, 0, 1]))
    assert meter.value().tolist() == [torch.tensor(float((1 + Fraction(2, 3) + Fraction(3, 5)) / 3)).item()]


def test_weighted_ap_of_a_worked_example():
    """Precision 2/2 and (2 + 1)/(2 + 3 + 1), averaged over two positives whatever they weigh."""
    meter = APMeter()
    meter.add(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1]), np.array([2, 3, 1]))
    assert meter.value().tolist() == [0.75]


def test_a_positive_above_which_nothing_weighs_is_undefined():
    meter = APMeter()
    meter.add(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([[1, 0], [0, 1]]), np.array([0.0, 1.0]))
    np.testing.assert_array_equal(meter.value().numpy(), [np.nan, 1.0])


def test_groups_of_a_worked_example():
    meter = LTMeter([[2], [0, 1], []])
    meter.add(torch.tensor([[0.9, 0.9, 0.9], [0.1, 0.1, 0.1]]), torch.tensor([[1, 0, 0], [0, 1, 0]]))
    np.testing.assert_array_equal(meter.value().numpy(), [0.0, 0.75, np.nan])
    assert meter.avg().item() == 0.5


def test_groups_of_videolt_are_tail_medium_head():
    assert get_indices([501.0, 500.0, 101.0, 100.0, 44.0]) == [[3, 4], [1, 2], [0]]


# Calls of the published scripts (VideoLT base_main.py and base_test.py, MOVE's VideoLT and Imbalanced-MiniKinetics200)

COUNTS = "3DPainting 0 137.0\n3DPrinter 1 501.0\nACappella 2 87.0\nAccordion 3 500.0\nAdventure 4 100.0\n"


@pytest.mark.parametrize("as_path", [str, lambda path: path])
def test_groups_come_from_a_file_of_counts(tmp_path, as_path):
    (tmp_path / "train.lst").write_text(COUNTS)
    path = as_path(tmp_path / "train.lst")
    assert get_indices(path, head=500, tail=100) == get_indices(path) == [[2, 4], [0, 3], [1]]
    assert get_indices(path, 137, tail=87) == [[2], [0, 4], [1, 3]]


def test_files_without_counts_are_errors_as_published(tmp_path):
    (tmp_path / "train.lst").write_text("river 1912.0\n")
    with pytest.raises(IndexError):
        get_indices(str(tmp_path / "train.lst"))
    with pytest.raises(FileNotFoundError):
        get_indices(str(tmp_path / "none.lst"))


def test_scripts_that_name_the_groups_run_unchanged(tmp_path):
    """Validation as the scripts write it; the tensors stand for the outputs and targets of a model."""
    (tmp_path / "train.lst").write_text(COUNTS)
    indices = get_indices(str(tmp_path / "train.lst"), head=500, tail=100)
    scores, targets = untied(40, 5, 11)
    mAP = mAPMeter()
    LTmAP = LTMeter(indices)
    for prediction, target in zip(scores.split(16), targets.float().split(16), strict=True):
        mAP.add(prediction.cpu(), target)
        LTmAP.add(prediction.cpu(), target)
    head_map = LTmAP.value()["head"]
    medium_map = LTmAP.value()["medium"]
    tail_map = LTmAP.value()["tail"]
    line = f"Overall mAP = {mAP.avg():.3f} | Head = {head_map:.5f} | Medium = {medium_map:.5f} | Tail = {tail_map:.5f}"
    expected = filled(published.LTMeter(indices), scores, targets)
    tail, medium, head = expected.value()
    assert line == (
        f"Overall mAP = {float(expected.avg()):.3f} | Head = {float(head):.5f} | Medium = {float(medium):.5f}"
        f" | Tail = {float(tail):.5f}"
    )
    assert [LTmAP.tail.tolist(), LTmAP.medium.tolist(), LTmAP.head.tolist()] == indices


def test_group_means_are_a_tensor_and_a_dictionary():
    value = filled(LTMeter([[0], [1, 2], [3]]), *untied(30, 4, 12)).value()
    for result in (value, copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        plain = result.as_subclass(torch.Tensor)
        assert repr(result) == repr(plain)
        assert dict(result) == dict(zip(["tail", "medium", "head"], plain, strict=True))
        assert dict(result.items()) == dict(result)
        assert list(result.values()) == plain.tolist()
        assert "head" in result
        assert "rare" not in result
        assert result[2] == result["head"]
        assert result.dtype == torch.float32
        assert type(result * 2) is type(result.mean()) is type(result["tail"]) is type(result[1:]) is torch.Tensor
    with pytest.raises(KeyError, match="rare"):
        value["rare"]
    assert type(LTMeter([[0], [1]]).value()) is torch.Tensor


# Conventions


def test_an_empty_meter_has_the_value_zero():
    for meter in (APMeter(), mAPMeter()):
        assert type(meter.value()) is int
        assert meter.value() == 0
    assert mAPMeter().avg() == 0
    np.testing.assert_array_equal(LTMeter([[0], []]).value().numpy(), [0.0, np.nan])


def test_batches_without_rows_are_nothing():
    meter = APMeter()
    meter.add(torch.empty(0, 3), torch.empty(0, 3))
    assert meter.value() == 0


@pytest.mark.parametrize(("prevalence", "expected"), [(0.0, 0.0), (1.0, 1.0)])
@pytest.mark.parametrize("num_rows", [1, 9])
def test_absent_classes_are_zero_and_full_ones_are_one(num_rows, prevalence, expected):
    meter = filled(mAPMeter(), *untied(num_rows, 3, 0, prevalence))
    assert meter.value().tolist() == [expected] * 3
    assert meter.avg().item() == expected


def test_reset_forgets_everything():
    meter = filled(mAPMeter(), *untied(20, 3, 0))
    meter.value()
    meter.reset()
    assert meter.value() == 0
    case = untied(10, 5, 1)
    torch.testing.assert_close(filled(meter, *case).value(), filled(mAPMeter(), *case).value(), rtol=0, atol=0)


def test_values_follow_what_is_added_after_them():
    scores, targets = untied(30, 4, 5)
    meter = filled(mAPMeter(), scores[:10], targets[:10])
    meter.value()
    filled(meter, scores[10:], targets[10:])
    torch.testing.assert_close(meter.value(), filled(mAPMeter(), scores, targets).value(), rtol=0, atol=0)


def test_batches_may_be_overwritten_after_they_were_added():
    scores, targets = untied(30, 4, 6)
    expected = filled(APMeter(), scores, targets).value()
    for output, target in ((scores.clone(), targets.clone()), (scores.numpy().copy(), targets.numpy().copy())):
        meter = filled(APMeter(), output, target)
        output[:], target[:] = 0, 0
        torch.testing.assert_close(meter.value(), expected, rtol=0, atol=0)


def test_outputs_that_need_gradients_are_taken():
    scores, targets = untied(12, 3, 7)
    meter = filled(APMeter(), scores.requires_grad_(), targets)
    assert not meter.value().requires_grad


# Inputs


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize("target_dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_any_dtype_is_taken_as_it_is(dtype, target_dtype):
    scores, targets = untied(40, 3, 8)
    meter = filled(APMeter(), scores.to(dtype), targets.to(target_dtype))
    torch.testing.assert_close(meter.value(), filled(APMeter(), scores, targets).value(), rtol=0, atol=0)


def test_bfloat16_scores_may_be_weighted():
    scores, targets = untied(40, 3, 8)
    weights = np.linspace(0.5, 1, 40)
    meter = filled(APMeter(), scores.bfloat16(), targets, weights)
    torch.testing.assert_close(meter.value(), filled(APMeter(), scores, targets, weights).value(), rtol=0, atol=0)


def test_float64_scores_are_not_rounded():
    meter = APMeter()
    meter.add(np.array([1.0, 1.0 + 2**-40]), np.array([0, 1]))
    assert meter.value().tolist() == [1.0]


def test_columns_and_matrices_of_one_class_may_alternate():
    scores, targets = untied(9, 1, 9)
    meter = APMeter()
    meter.add(scores[:4, 0], targets[:4])
    meter.add(scores[4:], targets[4:, 0])
    torch.testing.assert_close(meter.value(), filled(APMeter(), scores, targets).value(), rtol=0, atol=0)


# Ties


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 40))
def test_the_order_of_rows_and_batches_changes_no_bit(seed, levels, size):
    rng = np.random.default_rng(seed)
    scores, targets = rng.integers(0, levels, (40, 3)).astype(np.float32), rng.random((40, 3)) < 0.3
    order = rng.permutation(40)
    expected = filled(APMeter(), scores, targets, size=40).value()
    torch.testing.assert_close(
        filled(APMeter(), scores[order], targets[order], size=size).value(), expected, rtol=0, atol=0
    )


@pytest.mark.parametrize("weights", [None, [1.0] * 6])
def test_equal_scores_are_one_threshold(weights):
    """Six equal scores, two positives: the published meter gives 1 or 0.27 by the order of rows."""
    meter = APMeter()
    meter.add(np.full(6, 0.5), np.array([1, 1, 0, 0, 0, 0]), weights)
    assert meter.value().tolist() == [torch.tensor(1 / 3).item()]


# Errors

OUTPUT, TARGET = torch.rand(4, 3), torch.zeros(4, 3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((OUTPUT, TARGET - 1), "target: expected 0 or 1, got -1.0 at row 0, class 0; -1 often marks an unknown label"),
        ((OUTPUT, TARGET + 0.5), "target: expected 0 or 1, got 0.5 at row 0, class 0"),
        ((OUTPUT, TARGET[:3]), r"target: expected shape \(4, 3\) as output, got \(3, 3\)"),
        ((OUTPUT, torch.zeros(4).long()), r"target: expected shape \(4, 3\) as output, got \(4, 1\)"),
        ((OUTPUT[None], TARGET[None]), r"output: expected shape \(B, C\) or \(B,\), got \(1, 4, 3\)"),
        ((OUTPUT[:, :0], TARGET[:, :0]), r"output: expected shape \(B, C\) or \(B,\), got \(4, 0\)"),
        ((OUTPUT, TARGET, torch.ones(3)), r"weight: expected shape \(4,\) as output has rows, got \(3,\)"),
        ((OUTPUT, TARGET, -torch.ones(4)), "weight: expected finite weights that are not negative, got -1.0 at row 0"),
        ((OUTPUT, TARGET, torch.full((4,), torch.inf)), "weight: expected finite weights"),
    ],
)
def test_bad_batches_are_errors_and_change_nothing(arguments, sentence):
    meter = APMeter()
    with pytest.raises(ValueError, match=sentence):
        meter.add(*arguments)
    assert meter.value() == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((OUTPUT[:, :2], TARGET[:, :2]), r"output: expected shape \(B, 3\), got \(4, 2\)"),
        ((OUTPUT.double(), TARGET), "output: expected float32 as in earlier updates, got float64"),
        ((OUTPUT, TARGET, torch.ones(4)), "weight: expected one for every batch or for none, got it for some"),
    ],
)
def test_batches_unlike_earlier_ones_are_errors(arguments, sentence):
    meter = APMeter()
    meter.add(OUTPUT, TARGET)
    with pytest.raises(ValueError, match=sentence):
        meter.add(*arguments)
    assert meter.value().tolist() == [0.0] * 3


@pytest.mark.parametrize("weights", [None, np.ones(4)])
def test_nan_scores_are_errors_that_name_row_and_class(weights):
    output = OUTPUT.clone()
    output[3, 1] = torch.nan
    meter = filled(APMeter(), output, TARGET, weights, size=2)
    with pytest.raises(ValueError, match="scores: expected numbers, got NaN at row 3, class 1"):
        meter.value()


def test_batches_must_be_arrays():
    with pytest.raises(TypeError, match="target: expected a torch tensor or a numpy array, got list"):
        APMeter().add(OUTPUT, TARGET.tolist())


def test_groups_must_be_lists_of_classes():
    with pytest.raises(ValueError, match="indices: expected a list of class indices for each group, got 3"):
        LTMeter([3])
    meter = LTMeter([[7]])
    meter.add(OUTPUT, TARGET)
    with pytest.raises(IndexError):
        meter.value()


def test_without_torch_there_is_one_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "vltr_eval.compat.torchnet")
    with pytest.raises(ImportError, match="install torch"):
        import vltr_eval.compat.torchnet  # noqa: F401
