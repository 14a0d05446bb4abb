"""The drop-in for torcheval against torcheval: its own examples, random inputs, states and errors."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
with warnings.catch_warnings():  # of torch, about the torch.jit.script in torcheval
    warnings.simplefilter("ignore", DeprecationWarning)
    torcheval_metrics = pytest.importorskip("torcheval.metrics")
    original = pytest.importorskip("torcheval.metrics.functional")
ours = pytest.importorskip("vltr_eval.compat.torcheval")

FLOAT32 = 1e-6  # torcheval sums in float32
DTYPES = [torch.float16, torch.float32, torch.float64]
TARGETS = [torch.bool, torch.uint8, torch.int64, torch.float32]

EXAMPLES = [
    (
        [[0.75, 0.05, 0.35], [0.45, 0.75, 0.05], [0.05, 0.55, 0.75], [0.05, 0.65, 0.05]],
        [[1, 0, 1], [0, 0, 0], [0, 1, 1], [1, 1, 1]],
        [0.7500, 0.5833, 0.9167],
    ),
    ([[0.1, 0, 0], [0, 1, 0], [0.1, 0.2, 0.7], [0, 0, 1]], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]], [0.5, 1, 1]),
]


def assert_same(got, wanted):
    assert (got.dtype, got.device) == (wanted.dtype, wanted.device)
    torch.testing.assert_close(got, wanted, rtol=0, atol=FLOAT32)


def batch(rows, labels, seed, levels=0, dtype=torch.float32, target=torch.int64):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, labels, generator=generator)
    if levels:
        scores = (scores * levels).round() / levels
    positive = torch.rand(rows, labels, generator=generator) < torch.rand(labels, generator=generator)
    return scores.to(dtype), positive.to(target)


@pytest.mark.parametrize(("scores", "labels", "wanted"), EXAMPLES)
@pytest.mark.parametrize("average", ["macro", None, "none"])
def test_examples_of_torcheval(scores, labels, wanted, average):
    scores, labels, wanted = torch.tensor(scores), torch.tensor(labels), torch.tensor(wanted)
    got = ours.multilabel_auprc(scores, labels, average=average)
    assert_same(got, original.multilabel_auprc(scores, labels, average=average))
    torch.testing.assert_close(got, wanted.mean() if average == "macro" else wanted, rtol=0, atol=1e-4)


@given(
    rows=st.integers(1, 40),
    labels=st.integers(2, 6),
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([0, 1, 3]),
    dtype=st.sampled_from(DTYPES),
    target=st.sampled_from(TARGETS),
)
def test_equals_torcheval_on_random_inputs(rows, labels, seed, levels, dtype, target):
    scores, positive = batch(rows, labels, seed, levels, dtype, target)
    for average in ("macro", None):
        assert_same(
            ours.multilabel_auprc(scores, positive, labels, average=average),
            original.multilabel_auprc(scores, positive, labels, average=average),
        )


def test_only_one_is_positive():
    scores, _ = batch(30, 3, 0)
    target = torch.tensor([[1.0, 0.5, -1.0], [2.0, 1.0, 0.0], [0.0, 1.0, 1.0]]).repeat(10, 1)
    assert_same(
        ours.multilabel_auprc(scores, target, average=None), original.multilabel_auprc(scores, target, average=None)
    )


def test_absent_labels_are_zero_and_counted():
    scores, positive = batch(20, 4, 1)
    positive[:, 2] = 0
    assert ours.multilabel_auprc(scores, positive, average=None)[2] == 0
    assert_same(ours.multilabel_auprc(scores, positive), original.multilabel_auprc(scores, positive))


@pytest.mark.parametrize("average", ["macro", None])
def test_module_equals_torcheval_in_batches(average):
    mine = ours.MultilabelAUPRC(num_labels=5, average=average)
    theirs = torcheval_metrics.MultilabelAUPRC(num_labels=5, average=average)
    assert isinstance(mine, torcheval_metrics.MultilabelAUPRC)
    for seed in range(3):
        scores, positive = batch(7 + seed, 5, seed, levels=2)
        assert mine.update(scores, positive) is mine
        theirs.update(scores, positive)
        assert_same(mine.compute(), theirs.compute())
    assert mine.reset() is mine
    with pytest.raises(ValueError, match="at least one batch"):
        mine.compute()


def test_states_are_those_of_torcheval():
    mine, theirs = (library.MultilabelAUPRC(num_labels=4, average=None) for library in (ours, torcheval_metrics))
    first, second = batch(9, 4, 0), batch(5, 4, 1)
    mine.update(*first)
    theirs.load_state_dict(mine.state_dict())
    assert_same(mine.compute(), theirs.compute())
    other = ours.MultilabelAUPRC(num_labels=4, average=None).update(*second)
    whole = ours.MultilabelAUPRC(num_labels=4, average=None).update(*first).update(*second).compute()
    assert_same(mine.merge_state([other, theirs.reset()]).compute(), whole)
    mine._prepare_for_merge_state()
    assert_same(mine.compute(), whole)
    for same in (pickle.loads(pickle.dumps(mine)), copy.deepcopy(mine), mine.to("cpu")):
        assert_same(same.compute(), whole)


def test_batches_of_different_dtypes_are_promoted():
    mine, theirs = (library.MultilabelAUPRC(num_labels=4) for library in (ours, torcheval_metrics))
    for seed, dtype in enumerate(DTYPES):
        scores, positive = batch(9, 4, seed, dtype=dtype)
        mine.update(scores, positive)
        theirs.update(scores, positive)
    assert_same(mine.compute(), theirs.compute())


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((torch.zeros(3), torch.zeros(3)), {}),
        ((torch.zeros(3, 2), torch.zeros(2, 2)), {}),
        ((torch.zeros(3, 2), torch.zeros(3, 2), 3), {}),
        ((torch.zeros(3, 1), torch.zeros(3, 1)), {}),
        ((torch.zeros(3, 2), torch.zeros(3, 2)), {"average": "micro"}),
    ],
)
def test_errors_are_those_of_torcheval(arguments, options):
    for library in (ours, original):
        with pytest.raises(ValueError, match=r"."):
            library.multilabel_auprc(*arguments, **options)


def test_nan_names_row_and_class():
    scores, positive = batch(4, 3, 0)
    scores[2, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN at row 2, class 1"):
        ours.multilabel_auprc(scores, positive)


@pytest.mark.parametrize("infinite", [torch.inf, -torch.inf])
def test_equal_infinite_scores_are_one_threshold(infinite):
    scores = torch.tensor([[infinite, 0.1], [infinite, 0.2]])
    for first in (0, 1):
        positive = torch.tensor([[first, 0], [1 - first, 1]])
        assert ours.multilabel_auprc(scores, positive, average=None).tolist() == [0.5, 1.0]
