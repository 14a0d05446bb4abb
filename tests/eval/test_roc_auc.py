"""ROC-AUC against counting every pair and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
from cases import corner_labels, make_case
from reference import assert_agrees, assert_same_bits
from sklearn.metrics import roc_auc_score

from vltr_eval import rank_table, roc_auc

pytestmark = pytest.mark.any_device


@pytest.mark.parametrize("levels", [None, 2, 7])
@pytest.mark.parametrize("shape", [(2, 4), (33, 5), (200, 3)])
def test_roc_auc_is_the_counted_pairs_to_the_last_bit(simd, shape, levels):
    scores, labels = make_case(*shape, seed=1, levels=levels)
    assert_same_bits(roc_auc(scores, labels), reference.per_class(reference.roc_auc, scores, labels))


@pytest.mark.parametrize("levels", [None, 2, 7, 100])
def test_roc_auc_agrees_with_sklearn(levels):
    scores, labels = make_case(3000, 5, seed=2, levels=levels)
    assert_agrees(roc_auc(scores, labels), [roc_auc_score(labels[:, c], scores[:, c]) for c in range(5)])


def test_roc_auc_without_positives_or_negatives_is_nan():
    labels = corner_labels(30)
    values = roc_auc(np.random.default_rng(3).random(labels.shape), labels)
    assert np.isnan(values).tolist() == [True, False, False, False, False, True]


@pytest.mark.parametrize(
    ("scores", "expected"), [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], 0.0), ([5, 5, 5, 5], 0.5), ([1, 2, 2, 3], 0.875)]
)
def test_roc_auc_by_hand(scores, expected):
    assert roc_auc(np.array(scores), np.array([0, 0, 1, 1]))[0] == expected


def test_roc_auc_of_negated_scores_is_the_complement():
    scores, labels = make_case(100, 4, seed=4, levels=5)
    assert_agrees(roc_auc(scores, labels) + roc_auc(-scores, labels), np.ones(4))


def test_roc_auc_of_one_row_is_nan():
    assert math.isnan(roc_auc(np.array([1.0]), np.array([1]))[0])


def test_table_method_and_function_agree():
    scores, labels = make_case(100, 4, seed=5)
    assert_same_bits(rank_table(scores, labels).roc_auc(), roc_auc(scores, labels))
