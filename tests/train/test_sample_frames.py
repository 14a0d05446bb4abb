"""sample_frames: against the generator's definition, the published index rule, the laws of a draw, errors."""

from __future__ import annotations

import frame_reference as reference
import numpy as np
import pytest
import torch
from devices import on_device, to_host
from hypothesis import given
from hypothesis import strategies as st

from vltr_train import sample_frames

MODES = [{"mode": "uniform"}, {}, {"replacement": False}]


def run(device, lengths, num_frames, **options):
    if "samples" in options:
        options["samples"] = on_device(options["samples"], device)
    return to_host(sample_frames(on_device(np.asarray(lengths), device), num_frames, **options))


@pytest.mark.parametrize("options", MODES, ids=str)
@given(st.data())
def test_frames_are_those_of_the_definition(device, options, data):
    length = data.draw(st.integers(1, 300) | st.integers(1, 2**32 - 1))
    count, seed, epoch = (data.draw(st.integers(low, high)) for low, high in ((1, 70), (0, 2**64 - 1), (0, 2**32 - 1)))
    sample = data.draw(st.integers(-(2**63), 2**63 - 1))
    got = run(device, [length], count, **options, seed=seed, epoch=epoch, samples=np.array([sample]))
    full = {"mode": "random", "replacement": True} | options
    assert got.dtype == np.int64
    assert got[0].tolist() == reference.sample_frames(length, count, **full, seed=seed, epoch=epoch, sample=sample)


def test_drawn_frames_never_change(device):
    """Runs depend on them: these numbers are a promise."""
    assert run(device, [150, 40], 6).tolist() == [[0, 10, 37, 55, 63, 71], [2, 12, 14, 16, 30, 39]]
    assert run(device, [150], 6, replacement=False).tolist() == [[35, 44, 47, 73, 75, 81]]
    assert run(device, [150], 6, seed=1, epoch=2, samples=np.array([3])).tolist() == [[44, 83, 94, 100, 114, 126]]


def test_uniform_frames_are_the_published_ones(device):
    assert run(device, [150], 150, mode="uniform")[0].tolist() == list(range(150))
    for n in (1, 2, 100, 149, 151, 3330):
        truncated_linspace = np.linspace(0, n - 1, 150).astype(int)
        got = run(device, [n], 150, mode="uniform")[0]
        assert got.tolist() == [k * (n - 1) // 149 for k in range(150)] == truncated_linspace.tolist()
    assert run(device, [60, 1], 1, mode="uniform").tolist() == [[0], [0]]


@pytest.mark.parametrize("options", MODES, ids=str)
def test_a_draw_does_not_depend_on_the_batch(device, options):
    lengths, ids = np.array([150, 30, 150, 7]), np.array([5, 8, 5, 900])
    together = run(device, lengths, 60, samples=ids, **options)
    assert (np.diff(together) >= 0).all()
    assert together[0].tolist() == together[2].tolist()
    for row in range(4):
        alone = run(device, lengths[row : row + 1], 60, samples=ids[row : row + 1], **options, threads=2)
        assert alone[0].tolist() == together[row].tolist()


def test_epochs_seeds_and_samples_draw_anew():
    draws = [
        sample_frames([1000], 20, samples=[sample], seed=seed, epoch=epoch).tobytes()
        for sample in range(3)
        for seed in (0, 1, 2**32, 2**63)
        for epoch in range(3)
    ]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize("length", [1, 7, 59, 60, 61])
def test_distinct_frames_are_as_distinct_as_they_can_be(device, length):
    counts = np.bincount(run(device, [length], 60, replacement=False)[0], minlength=length)
    assert counts.sum() == 60
    assert set(counts) <= {60 // length, -(-60 // length)}


@pytest.mark.parametrize("options", MODES[1:], ids=str)
def test_frames_are_drawn_evenly(options):
    """12,000 draws of 150 frames: with replacement a frame comes 400 times +- 20, without 400 +- 18."""
    counts = np.bincount(sample_frames(np.full(1000, 150), 60, **options).ravel(), minlength=150)
    assert abs(counts - 400).max() < 90
    assert abs(counts - 400).mean() < 25


def test_half_of_150_frames_or_so_are_distinct_with_replacement():
    drawn = sample_frames(np.full(2000, 150), 60)
    assert np.mean([len(set(row)) for row in drawn.tolist()]) == pytest.approx(49.6, abs=0.2)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_lengths_of_any_integers_and_strides_are_taken(device, dtype):
    lengths = np.array([[100, 0], [3, 0], [60, 0]], dtype)[::-1, 0]
    assert np.array_equal(run(device, lengths, 9), run("cpu", lengths.astype(np.int64), 9))


def test_results_come_in_the_library_of_the_lengths():
    got = sample_frames(torch.tensor([10, 20]), 4)
    assert got.dtype == torch.int64
    assert got.tolist() == sample_frames([10, 20], 4).tolist()


def test_no_videos_have_no_frames():
    assert sample_frames([], 4).shape == (0, 4)


BAD = [
    (([5, 0], 3), {}, r"lengths: expected from 1 to 2\*\*32 - 1, got 0 at row 1"),
    (([5, -2], 3), {}, r"lengths: expected from 1 to 2\*\*32 - 1, got -2 at row 1"),
    (([2**32], 3), {}, r"lengths: expected from 1 to 2\*\*32 - 1, got 4294967296 at row 0"),
    (([5.0], 3), {}, "lengths: expected integers, got float64"),
    (([[5]], 3), {}, r"lengths: expected 1 dimension, got shape \(1, 1\)"),
    (([5], 0), {}, "num_frames: expected an integer from 1 to 16777216, got 0"),
    (([5], True), {}, "num_frames: expected an integer, got True"),
    (([5], 3), {"mode": "dense"}, "mode: expected 'uniform' or 'random', got 'dense'"),
    (([5], 3), {"replacement": "no"}, "replacement: expected True or False, got 'no'"),
    (([5], 3), {"seed": -1}, "seed: expected an integer from 0"),
    (([5], 3), {"epoch": 2**32}, "epoch: expected an integer from 0 to 4294967295, got 4294967296"),
    (([5], 3), {"samples": [1, 2]}, r"samples: expected shape \(1,\), got \(2,\)"),
    (([5], 3), {"samples": [0.5]}, "samples: expected integers, got float64"),
]


@pytest.mark.parametrize(("arguments", "options", "sentence"), BAD, ids=[sentence[:40] for *_, sentence in BAD])
def test_what_does_not_fit_is_one_sentence(arguments, options, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        sample_frames(*arguments, **options)


def test_videos_without_frames_get_none_on_a_device(cuda):
    got = run(cuda, [4, 0, -1, 2**32], 3)
    assert got[1:].tolist() == [[-1] * 3] * 3
    assert got[0].min() >= 0


def test_a_device_refuses_more_frames_than_it_can_rank(cuda):
    with pytest.raises(ValueError, match=r"^num_frames: expected .* 65536, got 65537$"):
        sample_frames(on_device(np.array([9]), cuda), 2**16 + 1)
    assert sample_frames(np.array([9]), 2**16 + 1).shape == (1, 2**16 + 1)
