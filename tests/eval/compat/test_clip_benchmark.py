"""The metrics of CLIP_benchmark: recorded outputs of the original@48de38c1 (torch 2.13.0), definitions, and quirks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import clip_benchmark as published
from small_inputs import LABELS_A, LABELS_B, LABELS_C, A, B, C

from vltr_eval.compat.clip_benchmark import accuracy, average_precision_per_class

INPUTS = {
    "A": (A, LABELS_A),
    "B": (B, LABELS_B),
    "C": (C, LABELS_C),
    "C(s)": (torch.sigmoid(torch.from_numpy(C.astype(np.float32))).numpy(), LABELS_C),
}
VALUES = {
    "A": [0.6988095045089722, 0.800000011920929, 0.8909090757369995, 0.9166666865348816],
    "B": [0.6988095045089722, 0.7784091234207153, 0.8909090757369995, 0.0],
    "C": [0.46957671642303467, 0.6220238208770752, 0.5392857193946838, 0.887499988079071],
    "C(s)": [0.678703784942627, 0.9166666865348816, 0.5192857384681702, 0.8928571343421936],
}
FLOAT32 = 2e-7  # the original sums in float32


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.bool])
def test_values_are_the_recorded_ones(name, dtype):
    scores, labels = map(torch.from_numpy, INPUTS[name])
    result = average_precision_per_class(scores, labels.to(dtype))
    assert (result.dtype, result.device.type) == (torch.float32, "cpu")
    torch.testing.assert_close(result, torch.tensor(VALUES[name]), rtol=0, atol=FLOAT32)


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(0, 50)), draw(st.integers(1, 5))
    levels = draw(st.sampled_from([1, 3, 2000]))
    scores = torch.from_numpy(rng.integers(-levels, levels, shape).astype(np.float32))
    dtype = draw(st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
    return scores.to(dtype), torch.from_numpy((rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))).astype(int))


@given(cases())
def test_values_are_those_of_the_definition(case):
    expected = published.average_precision_per_class(*case)
    torch.testing.assert_close(average_precision_per_class(*case), expected, rtol=0, atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(2, 6))
def test_accuracies_are_those_of_the_definition(seed, num_rows, num_classes):
    rng = np.random.default_rng(seed)
    output = torch.from_numpy(rng.permuted(np.tile(np.arange(float(num_classes)), (num_rows, 1)), axis=1))
    target = torch.from_numpy(rng.integers(0, num_classes, num_rows))
    result = accuracy(output, target, topk=(2, 1))
    assert {type(value) for value in result} == {float}
    assert result == pytest.approx(published.accuracy(output, target, topk=(2, 1)))


def test_default_accuracy_is_one_number():
    (top1,) = accuracy(torch.tensor([[1.0, 0], [1, 0], [0, 1]]), torch.tensor([0, 1, 1]))
    assert top1 == 2 / 3


def test_gradients_and_default_dtypes_are_kept_apart():
    scores = torch.from_numpy(A).requires_grad_()
    assert not average_precision_per_class(scores, torch.from_numpy(LABELS_A)).requires_grad
    torch.set_default_dtype(torch.float64)
    try:
        assert average_precision_per_class(scores, torch.from_numpy(LABELS_A)).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_nan_scores_and_other_targets_are_errors():
    scores, targets = torch.from_numpy(A.copy()), torch.from_numpy(LABELS_A)
    with pytest.raises(ValueError, match="expected 0 or 1, got 2"):
        average_precision_per_class(scores, targets * 2)
    scores[3, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN at row 3, class 1"):
        average_precision_per_class(scores, targets)


def test_no_rows_have_no_accuracy():
    with pytest.raises(ZeroDivisionError):
        accuracy(torch.empty(0, 3), torch.empty(0, dtype=torch.int64))
