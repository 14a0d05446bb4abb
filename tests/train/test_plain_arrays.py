"""Losses and aggregators take arrays of any library and lists: the same numbers, no copy, and one sentence if not."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
from only_dlpack import OnlyDlpack

from vltr_train import losses
from vltr_train.aggregators import AGGREGATORS, CLUSTERED, VideoClassifier, make_aggregator
from vltr_train.ops.tensors import as_tensor

B, C = 4, 3
LOGITS = np.linspace(-3, 3, B * C).reshape(B, C)
TARGETS = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0]])
COUNTS = np.array([600, 40, 3])
DRAWN = np.array([0, 1, 2, 0])

# Each public function, with arrays for the arguments that are numbers.
CALLS = {
    "bce": {"logits": LOGITS, "targets": TARGETS, "weight": np.array([1.0, 2.0, 3.0])},
    "focal": {"logits": LOGITS, "targets": TARGETS},
    "class_balanced_weights": {"counts": COUNTS},
    "ldam_margins": {"counts": COUNTS},
    "ldam": {"logits": LOGITS, "targets": TARGETS, "margins": np.array([0.1, 0.2, 0.5])},
    "eql": {"logits": LOGITS, "targets": TARGETS, "tail": np.array([False, True, True])},
    "other_positives_mask": {"targets": TARGETS, "classes": DRAWN},
    "masked_sum": {"losses": LOGITS, "mask": TARGETS.astype(bool)},
    "mean_over_batch": {"losses": LOGITS},
    "resampled_bce": {"logits": LOGITS, "targets": TARGETS, "classes": DRAWN},
    "asymmetric": {"logits": LOGITS, "targets": TARGETS},
    "log_priors": {"counts": COUNTS},
    "log_odds": {"counts": COUNTS},
    "softmax_cross_entropy": {"logits": LOGITS, "targets": TARGETS},
    "rebalanced_weights": {"targets": TARGETS.astype(float), "counts": COUNTS},
    "distribution_balanced": {
        "logits": LOGITS,
        "targets": TARGETS,
        "weight": np.array([1.0, 2.0, 3.0]),
        "bias": np.array([0.1, 0.2, 0.3]),
    },
}
LOSSES = [name for name, arguments in CALLS.items() if "logits" in arguments]
FORMS = {
    "numpy": lambda array: array,
    "a list": lambda array: array.tolist(),
    "read-only": lambda array: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
    "strided": lambda array: np.repeat(array, 2, -1)[..., ::2],
    "DLPack": lambda array: OnlyDlpack(np.ascontiguousarray(array)),
}


def called(name, change, **options):
    torch.manual_seed(0)  # of eql
    return getattr(losses, name)(**{key: change(value) for key, value in CALLS[name].items()}, **options)


def test_every_public_loss_is_tried():
    assert set(CALLS) == set(losses.__all__)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("form", FORMS)
def test_arrays_and_lists_give_the_numbers_of_tensors(name, form):
    expected = called(name, torch.from_numpy)
    found = called(name, FORMS[form])
    assert isinstance(found, torch.Tensor)
    assert not found.requires_grad
    if form == "a list":  # fractions of a list are float32, as torch makes them
        torch.testing.assert_close(found, expected.to(found.dtype), rtol=1e-5, atol=1e-6)
    else:
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_flow_to_tensors_beside_arrays(name, dtype):
    logits = torch.tensor(LOGITS, dtype=dtype, requires_grad=True)
    arguments = {key: value for key, value in CALLS[name].items() if key != "logits"}
    torch.manual_seed(0)
    getattr(losses, name)(logits=logits, **arguments).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0
    of_tensors = torch.tensor(LOGITS, dtype=dtype, requires_grad=True)
    torch.manual_seed(0)
    getattr(losses, name)(logits=of_tensors, **{k: torch.from_numpy(v) for k, v in arguments.items()}).backward()
    assert torch.equal(logits.grad, of_tensors.grad)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64, np.uint16, np.uint64, np.float16, np.float64])
def test_targets_of_every_dtype_are_the_same_targets(dtype):
    logits = torch.from_numpy(LOGITS.astype(np.float32))
    expected = losses.bce(logits, torch.from_numpy(TARGETS).float(), reduction="none")
    found = losses.bce(logits, TARGETS.astype(dtype), reduction="none")
    torch.testing.assert_close(found.float(), expected)


def test_tensors_come_back_as_they_are_and_arrays_share_their_memory():
    tensor = torch.zeros(2, requires_grad=True)
    assert as_tensor("x", tensor) is tensor
    for array in (np.zeros((2, 3), np.float32), np.zeros((4, 6))[::2, ::3], np.zeros(3, np.int64), np.zeros(2, bool)):
        found = as_tensor("x", array)
        assert found.shape == array.shape
        array[...] = 1
        assert (found == 1).all()
    read_only = np.broadcast_to(np.float32(2), (2, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert as_tensor("x", read_only).tolist() == [[2.0] * 3] * 2
    assert as_tensor("x", np.zeros((0, 3))).shape == (0, 3)


def test_bfloat16_of_other_libraries_is_that_of_torch():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    found = as_tensor("x", np.array([1.5, -2.0], ml_dtypes.bfloat16))
    assert found.dtype == torch.bfloat16
    assert found.tolist() == [1.5, -2.0]


ZEROS = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("call", "kind", "sentence"),
    [
        (lambda: losses.bce(np.zeros(3), np.zeros(3)), ValueError, "logits: expected shape (B, C), got (3,)"),
        (
            lambda: losses.focal(ZEROS, np.zeros((3, 2))),
            ValueError,
            "targets: expected shape (2, 3) as logits, got (3, 2)",
        ),
        (
            lambda: losses.bce(ZEROS, ZEROS, np.ones(2)),
            ValueError,
            "weight: expected a shape that broadcasts to (2, 3), got (2,)",
        ),
        (
            lambda: losses.distribution_balanced(ZEROS, ZEROS, np.ones((1, 2, 3))),
            ValueError,
            "weight: expected a shape that broadcasts to (2, 3), got (1, 2, 3)",
        ),
        (
            lambda: losses.masked_sum(ZEROS, [True] * 4),
            ValueError,
            "mask: expected a shape that broadcasts to (2, 3), got (4,)",
        ),
        (
            lambda: losses.ldam(ZEROS, ZEROS, np.ones(2)),
            ValueError,
            "margins: expected shape (3,), one a class, got (2,)",
        ),
        (lambda: losses.eql(ZEROS, ZEROS, [[True]]), ValueError, "tail: expected shape (3,), one a class, got (1, 1)"),
        (
            lambda: losses.rebalanced_weights(ZEROS, np.ones(4)),
            ValueError,
            "counts: expected shape (3,), one a class, got (4,)",
        ),
        (
            lambda: losses.resampled_bce(ZEROS, ZEROS, [0, 3]),
            ValueError,
            "classes: expected 0 to 2, got 0 to 3",
        ),
        (
            lambda: losses.other_positives_mask(ZEROS, [0]),
            ValueError,
            "classes: expected shape (2,), one a row, got (1,)",
        ),
        (
            lambda: losses.other_positives_mask(ZEROS, [0.0, 1.0]),
            TypeError,
            "classes: expected integers, got float32",
        ),
        (
            lambda: losses.bce(torch.zeros(2, 3), torch.zeros(2, 3, device="meta")),
            ValueError,
            "targets: expected a tensor on cpu as logits, got one on meta; pass targets.to(logits.device)",
        ),
        (
            lambda: losses.bce(torch.zeros(2, 3, dtype=torch.complex64), ZEROS),
            TypeError,
            "logits: expected real numbers, got complex64",
        ),
        (lambda: losses.bce(1.0, ZEROS), TypeError, "logits: expected an array, got float"),
        (
            lambda: losses.bce([[1.0], [1.0, 2.0]], ZEROS),
            ValueError,
            "logits: expected rows of equal length, got",
        ),
        (lambda: losses.bce([["a"]], [[1]]), TypeError, "logits: expected a bool, integer or float dtype"),
        (
            lambda: losses.bce(np.ma.masked_array(ZEROS, mask=ZEROS == 0), ZEROS),
            ValueError,
            "logits: expected a number in every cell, got 6 missing",
        ),
        (
            lambda: losses.bce(ZEROS[::-1], ZEROS),
            ValueError,
            "logits: expected the strides of a tensor, got (-24, 8) bytes; pass np.ascontiguousarray(logits)",
        ),
        (lambda: losses.mean_over_batch(ZEROS, "max"), ValueError, "over_classes: expected 'sum' or 'mean', got 'max'"),
        (lambda: losses.log_priors([[1, 2]]), ValueError, "counts: expected (C,) numbers, got int64 of shape (1, 2)"),
        (lambda: losses.log_odds([]), ValueError, "counts: expected (C,) numbers, got float64 of shape (0,)"),
        (lambda: losses.ldam_margins([4, -1]), ValueError, "counts: expected numbers from 0 up, got -1 for class 1"),
        (
            lambda: losses.class_balanced_weights([4, np.nan]),
            ValueError,
            "counts: expected numbers from 0 up, got nan for class 1",
        ),
    ],
)
def test_bad_input_is_one_sentence(call, kind, sentence):
    with pytest.raises(kind, match="^" + re.escape(sentence)) as caught:
        call()
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------
# Aggregators
# ---------------------------------------------------------------------------------------------------------------------

T, D = 5, 8
FEATURES = np.random.default_rng(0).standard_normal((B, T, D), np.float32)
MASK = np.arange(T) < np.array([[1], [3], [5], [4]])


@pytest.mark.parametrize("name", AGGREGATORS)
def test_aggregators_take_arrays_and_lists(name):
    torch.manual_seed(0)
    module = make_aggregator(name, D).eval()
    model = VideoClassifier(module, C).eval()
    for network in (module, model):
        expected = network(torch.from_numpy(FEATURES), torch.from_numpy(MASK))
        assert torch.equal(network(FEATURES, MASK), expected)
        assert torch.equal(network(FEATURES.tolist(), MASK.tolist()), expected)
        assert torch.equal(network(FEATURES), network(torch.from_numpy(FEATURES)))


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        ((FEATURES[0],), ValueError, "features: expected shape (B, T, D) with frames, got (5, 8)"),
        ((FEATURES[:, :0],), ValueError, "features: expected shape (B, T, D) with frames, got (4, 0, 8)"),
        ((FEATURES.astype(int),), TypeError, "features: expected floats, got int64"),
        ((FEATURES, MASK.astype(int)), TypeError, "mask: expected bool, got int64"),
        ((FEATURES, MASK[:, :2]), ValueError, "mask: expected shape (4, 5) as features, got (4, 2)"),
        (("clips",), TypeError, "features: expected an array, got str"),
    ],
)
def test_clips_of_another_form_are_one_sentence(arguments, kind, sentence):
    module = make_aggregator("mean", D)
    for network in (module, VideoClassifier(module, C)):
        with pytest.raises(kind, match="^" + re.escape(sentence)):
            network(*arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "vlad"}, f"name: expected one of {', '.join(AGGREGATORS)}, got 'vlad'; did you mean netvlad?"),
        ({"name": "lstm"}, f"name: expected one of {', '.join(AGGREGATORS)}, got 'lstm'"),
        ({"name": ["mean"]}, f"name: expected one of {', '.join(AGGREGATORS)}, got ['mean']"),
        ({"dim": 0}, "dim: expected at least 1, got 0"),
        ({"dropout": 1.0}, "dropout: expected from 0 to below 1 or None, got 1.0"),
        ({"clusters": 4}, "clusters: expected None for mean, which has no clusters, got 4"),
        ({"name": "netvlad", "clusters": 0}, "clusters: expected at least 1 or None, got 0"),
    ],
)
def test_unknown_aggregators_and_numbers_are_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        make_aggregator(**{"name": "mean", "dim": 8, **arguments})


def test_the_clustered_aggregators_are_those_that_take_clusters():
    def num_weights(name, clusters):
        try:
            return sum(weight.numel() for weight in AGGREGATORS[name](D, clusters=clusters).parameters())
        except TypeError:  # no such argument
            return None

    assert {name for name in AGGREGATORS if num_weights(name, 2) != num_weights(name, 3)} == set(CLUSTERED)
