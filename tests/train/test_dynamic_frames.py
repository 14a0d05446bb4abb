"""MOVE's dynamic frame sampler: its bounds by the published numbers, its masks by their definition."""

from __future__ import annotations

import frame_reference as reference
import ml_dtypes
import numpy as np
import pytest
from devices import on_device, to_host
from hypothesis import given
from hypothesis import strategies as st

from vltr_train import dynamic_frame_bounds, dynamic_frame_masks


def run(device, targets, bounds, num_frames, **options):
    if "samples" in options:
        options["samples"] = on_device(options["samples"], device)
    return to_host(dynamic_frame_masks(on_device(targets, device), on_device(bounds, device), num_frames, **options))


def test_bounds_are_the_published_ones():
    bounds = dynamic_frame_bounds([1912, 44, 196], 60)
    assert bounds[:2].tolist() == [60, 3]
    assert bounds[2] == pytest.approx(0.0814 * 60, abs=0.005)
    assert dynamic_frame_bounds(np.array([5, 5]), 60).tolist() == [3, 3]
    assert dynamic_frame_bounds([2, 0, 1], 10, lower=0).tolist() == [10, 0, 5]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([[1, 2]], 60), r"train_counts: expected shape \(C,\) of at least one class, got \(1, 2\)"),
        (([], 60), "train_counts: expected shape"),
        (([1, -1], 60), "train_counts: expected finite counts that are not negative"),
        (([1, np.nan], 60), "train_counts: expected finite counts"),
        ((["a"], 60), "train_counts: expected a bool, integer or float dtype"),
        (([1, 2], 0), "num_frames: expected an integer from 1"),
        (([1, 2], 10, 11), "lower: expected from 0 to num_frames, 10, got 11"),
        (([1, 2], 10, "a"), "lower: expected a number, got 'a'"),
    ],
)
def test_bad_counts_are_one_sentence(arguments, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        dynamic_frame_bounds(*arguments)


def test_counts_on_a_device_are_one_sentence(cuda):
    with pytest.raises(ValueError, match="train_counts: expected numbers in CPU memory, got an array on cuda:0"):
        dynamic_frame_bounds(on_device(np.array([1, 2]), cuda), 60)


@given(st.data())
def test_masks_are_those_of_the_definition(device, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    num_frames = data.draw(st.integers(1, 90))
    targets = (rng.random((2, 300)) < 0.01).astype(np.float32)
    bounds = rng.uniform(0, 1.5 * num_frames, 300)
    seed, epoch = data.draw(st.integers(0, 2**64 - 1)), data.draw(st.integers(0, 2**32 - 1))
    ids = np.array([data.draw(st.integers(-(2**63), 2**63 - 1)), 7])
    got = run(device, targets, bounds, num_frames, num_masks=3, seed=seed, epoch=epoch, samples=ids)
    assert (got.dtype, got.shape) == (bool, (2, 3, num_frames))
    for row in range(2):
        for mask in range(3):
            expected = reference.dynamic_frame_mask(targets[row], bounds, num_frames, mask, seed, epoch, int(ids[row]))
            assert got[row, mask].tolist() == expected.tolist()


def test_masks_never_change(device):
    """Runs depend on them: these numbers are a promise."""
    got = run(device, np.ones((1, 1), bool), np.float64([2]), 8, num_masks=2)
    assert got.astype(int).tolist() == [[[1, 1, 1, 0, 1, 1, 0, 0], [0, 1, 1, 0, 1, 0, 1, 1]]]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", ml_dtypes.bfloat16, "float32", "float64"])
def test_labels_of_any_dtype_mean_the_same(device, dtype):
    targets = np.eye(4, 3)
    bounds = np.float32([2, 9.5, 30])
    expected = run("cpu", targets, bounds, 30)
    assert np.array_equal(run(device, targets.astype(dtype), bounds, 30), expected)
    assert np.array_equal(run(device, np.asfortranarray(targets.astype(dtype)), bounds, 30), expected)


def test_frames_are_as_many_as_labels_allow(device):
    """Between the floor of the labels' mean bound and all, each number as often as any other."""
    targets = np.zeros((6, 4))
    targets[1, 0] = targets[2, 1] = targets[3, [0, 1]] = targets[4, 2] = 1
    targets[5, [0, 3]] = 1
    bounds = np.array([10.9, 60, 77, np.nan])
    sizes = run(device, targets, bounds, 60, num_masks=400).sum(axis=2)
    assert sizes.max(axis=1).tolist() == [60] * 6
    assert sizes.min(axis=1).tolist() == [1, 10, 60, 35, 60, 1]
    counts = np.bincount(sizes[3], minlength=61)[35:]
    assert counts.min() > 3
    assert counts.max() < 36  # 400 / 26 is 15


def test_frames_are_chosen_evenly():
    masks = dynamic_frame_masks(np.ones((2000, 1)), [3.0], 60)
    share = masks.mean(axis=(0, 1))
    assert share == pytest.approx(np.full(60, 31.5 / 60), abs=0.025)


def test_masks_are_independent():
    masks = dynamic_frame_masks(np.ones((3000, 1)), [30.0], 60, num_masks=2)
    chosen = masks[:, :, 17].astype(float)
    assert abs(np.corrcoef(chosen.T)[0, 1]) < 0.08


def test_a_mask_does_not_depend_on_the_batch_or_the_threads(device):
    targets, bounds, ids = np.eye(5, 2), np.array([3.0, 20.0]), np.arange(5) + 11
    together = run(device, targets, bounds, 60, samples=ids, threads=3)
    for row in range(5):
        alone = run(device, targets[row : row + 1], bounds, 60, samples=ids[row : row + 1])
        assert np.array_equal(alone[0], together[row])


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        ((np.zeros(3), [1.0], 60), {}, r"targets: expected shape \(B, C\), got \(3,\)"),
        ((np.zeros((1, 3)), [1.0], 60), {}, r"bounds: expected shape \(3,\) as targets has classes, got \(1,\)"),
        ((np.zeros((1, 1)), [1.0], 0), {}, "num_frames: expected an integer from 1 to 16777216, got 0"),
        ((np.zeros((1, 1)), [1.0], 9), {"num_masks": 0}, "num_masks: expected an integer from 1 to 4194304, got 0"),
        ((np.zeros((1, 1)), [1.0], 9), {"samples": [1, 2]}, r"samples: expected shape \(1,\), got \(2,\)"),
        ((np.zeros((1, 1)), [1.0], 9), {"epoch": -1}, "epoch: expected an integer from 0 to 4294967295, got -1"),
    ],
)
def test_what_does_not_fit_is_one_sentence(arguments, options, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        dynamic_frame_masks(*arguments, **options)
