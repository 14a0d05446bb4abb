"""The accuracies of the OLTR family: recorded outputs, their definition in loops, scikit-learn's F1, and quirks.

Recorded with facebookresearch/classifier-balancing utils.py@f162adef and zhmiao/OpenLongTailRecognition-OLTR
utils.py@f50e375f, numpy 2.4.6.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import oltr as published
from sklearn.metrics import f1_score
from small_inputs import LABELS_A, LABELS_B, LABELS_C, A, B, C

from vltr_eval.compat.oltr import (
    F_measure,
    class_count,
    mic_acc_cal,
    shot_acc,
    weighted_mic_acc_cal,
    weighted_shot_acc,
)

TRAINED = np.repeat(np.arange(4), [150, 60, 15, 5])
# The highest score against the first label; rows without labels left out
INPUTS = {
    name: (scores[labels.any(1)].argmax(1), labels[labels.any(1)].argmax(1))
    for name, scores, labels in (("A", A, LABELS_A), ("B", B, LABELS_B), ("C", C, LABELS_C))
}
SHOTS = {
    "A": [0.2857142857142857, 0.0, 0.6666666666666666],
    "B": [0.2857142857142857, 0.0, 0.6666666666666666],
    "C": [0.16666666666666666, 1.0, 0.75],
}
CLASSES_C = [0.16666666666666666, 1.0, 0.5, 1.0]
ACCURACIES = {"A": 0.3333333333333333, "B": 0.36363636363636365, "C": 0.5}
F1 = {"A": 0.26666666666666666, "B": 0.26666666666666666, "C": 0.5214285714285714}


def loader(labels):
    return SimpleNamespace(dataset=SimpleNamespace(labels=labels))


# Recorded


@pytest.mark.parametrize("name", SHOTS)
@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
@pytest.mark.parametrize("train", [TRAINED, TRAINED.tolist(), loader(TRAINED.tolist()), loader(TRAINED)])
def test_groups_are_the_recorded_ones(name, kind, train):
    result = shot_acc(*map(kind, INPUTS[name]), train)
    assert {type(accuracy) for accuracy in result} == {np.float64}
    assert list(result) == SHOTS[name]


def test_classes_are_the_recorded_ones():
    *groups, each = shot_acc(*INPUTS["C"], TRAINED, acc_per_cls=True)
    assert groups == SHOTS["C"]
    assert type(each) is list
    assert {type(accuracy) for accuracy in each} == {np.float64}
    assert each == CLASSES_C


@pytest.mark.parametrize("name", ACCURACIES)
def test_accuracies_are_the_recorded_ones(name):
    for kind in (torch.from_numpy, np.asarray):
        preds, labels = map(kind, INPUTS[name])
        assert (type(mic_acc_cal(preds, labels)), mic_acc_cal(preds, labels)) == (float, ACCURACIES[name])
        assert F_measure(preds, labels) == pytest.approx(F1[name], rel=1e-15)


# Against the definition


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_classes = draw(st.integers(1, 9))
    preds, labels = rng.integers(0, num_classes, (2, draw(st.integers(1, 80))))
    train = np.repeat(np.arange(num_classes), rng.choice([0, 3, 19, 20, 21, 100, 101, 300], num_classes))
    return preds, labels, train


@given(cases())
def test_groups_are_those_of_the_definition(case):
    assert shot_acc(*case, acc_per_cls=True) == published.shot_acc(*case, acc_per_cls=True)
    assert shot_acc(*case, 50, 5) == published.shot_acc(*case, 50, 5)


@given(cases(), st.sampled_from([np.float32, np.float64, np.int64]))
@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_weighted_groups_are_those_of_the_definition(case, dtype):
    preds, labels, train = case
    weights = np.random.default_rng(len(preds)).integers(1, 9, len(preds)).astype(dtype)
    result = weighted_shot_acc(torch.from_numpy(preds), torch.from_numpy(labels), weights, loader(train))
    expected = published.weighted_shot_acc(preds, labels, weights, train)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    if dtype == np.float32:
        assert {type(accuracy) for accuracy in result if not np.isnan(accuracy)} <= {np.float32}


@given(cases())
def test_f_measures_are_those_of_scikit_learn(case):
    preds, labels, _ = case
    result = F_measure(torch.from_numpy(preds), torch.from_numpy(labels))
    assert type(result) is float
    assert result == pytest.approx(f1_score(labels, preds, average="macro"), rel=1e-13)


# Conventions


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_limits_are_those_of_each_codebase():
    """Counts of 101, 100, 20 and 19 training samples; all predictions of class c are right with share c / 4."""
    train = np.repeat(np.arange(4), [101, 100, 20, 19])
    labels = np.repeat(np.arange(4), 4)
    preds = np.where(np.tile(np.arange(4), 4) < labels, labels, -1)
    assert shot_acc(preds, labels, train) == (0.0, (0.25 + 0.5) / 2, 0.75)
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        many, median, low = shot_acc(preds, labels, train, published="OLTR")
    assert (many, low) == (0.125, 0.625)
    assert np.isnan(median)


def test_classes_without_training_samples_are_low_shot():
    assert shot_acc(np.array([7, 3]), np.array([7, 3]), np.array([3] * 50)) == (0.0, 1.0, 1.0)
    assert shot_acc(np.array([7]), np.array([7]), []) == (0.0, 0.0, 1.0)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_empty_groups_are_zero_or_warn():
    assert shot_acc(np.zeros(0, int), np.zeros(0, int), TRAINED, acc_per_cls=True) == (0.0, 0.0, 0.0, [])
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        result = weighted_shot_acc(np.array([0]), np.array([0]), np.array([2.0]), loader(TRAINED))
    np.testing.assert_array_equal(result, [1.0, np.nan, np.nan])


def test_mixed_labels_share_the_accuracy():
    preds, first, second = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]), torch.tensor([0, 0, 0])
    result = mic_acc_cal(preds, (first, second, 0.75))
    assert torch.is_tensor(result)
    assert result.item() == pytest.approx(0.75 * 2 / 3 + 0.25 / 3)
    with pytest.raises(AssertionError, match="got a tuple of 2"):
        mic_acc_cal(preds, (first, second))


def test_weighted_accuracies_keep_the_kind_of_weights():
    preds, labels, weights = np.array([0, 1, 1]), np.array([0, 0, 1]), np.float32([1, 2, 5])
    assert weighted_mic_acc_cal(preds, labels, weights) == np.float32(0.75)
    tensors = (torch.from_numpy(array) for array in (preds, labels, weights))
    assert torch.is_tensor(weighted_mic_acc_cal(*tensors))


def test_open_sets_are_counted_as_published():
    """2 true positives; a known class for -1, which one codebase counts as false positive; 1 of -1 accepted."""
    preds, labels = torch.tensor([0, 1, -1, 2, 1]), torch.tensor([0, 1, 2, -1, 0])
    for published_as, false_positives in (("classifier-balancing", 1), ("OLTR", 2)):
        precision, recall = 2 / (2 + false_positives), 2 / 3
        expected = 2 * precision * recall / (precision + recall + 1e-12)
        result = F_measure(preds, labels, openset=True, theta=0.1, published=published_as)
        assert (type(result), result) == (float, pytest.approx(expected, rel=1e-15))
    with pytest.raises(ZeroDivisionError):
        F_measure(torch.tensor([-1]), torch.tensor([-1]), openset=True)


def test_counts_of_classes_are_a_list():
    assert class_count(loader([5, 0, 5])) == [1, 2]


# Errors


def test_other_predictions_are_errors():
    with pytest.raises(TypeError, match="preds: expected a torch tensor or a numpy array, got <class 'list'>"):
        shot_acc([0], np.array([0]), TRAINED)
    with pytest.raises(IndexError, match=r"preds: expected shape \(2,\) as labels, got \(1,\)"):
        shot_acc(np.array([0]), np.array([0, 1]), TRAINED)
    with pytest.raises(AttributeError, match="dataset"):
        shot_acc(np.array([0]), np.array([0]), object())
    with pytest.raises(ValueError, match="published: expected one of classifier-balancing, OLTR, got 'oltr'"):
        shot_acc(np.array([0]), np.array([0]), TRAINED, published="oltr")
    with pytest.raises(ZeroDivisionError):
        mic_acc_cal(np.zeros(0), np.zeros(0))
