"""gather_frames: against numpy's own indexing and conversion, memory maps, outputs of the caller's, errors."""

from __future__ import annotations

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import torch
from devices import CudaArray, on_device, to_host, torch_on_device
from hypothesis import given
from hypothesis import strategies as st
from only_dlpack import OnlyDlpack

from vltr_train import gather_frames, sample_frames

FLOATS = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}


def make(dtype="float16", dims=5, seed=0):
    """A store of three videos (one has no frame), offsets, videos, picks."""
    rng = np.random.default_rng(seed)
    offsets = np.array([0, 4, 4, 11])
    videos = np.array([2, 0, 2, 0, 2])
    picks = np.array([rng.integers(0, offsets[v + 1] - offsets[v], 6) for v in videos])
    return rng.standard_normal((11, dims)).astype(FLOATS[dtype]), offsets, videos, picks


def expected(store, offsets, videos, picks, dtype):
    return store[offsets[videos][:, None] + picks].astype(FLOATS[dtype])


def run(device, *arrays, **options):
    return to_host(gather_frames(*(on_device(array, device) for array in arrays), **options))


@pytest.mark.parametrize("dims", [1, 7, 8, 1024])
@pytest.mark.parametrize("to", FLOATS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_every_dtype_becomes_every_other(device, dtype, to, dims):
    inputs = make(dtype, dims)
    if to == "bfloat16" != dtype and device == "cpu":  # numpy has no memory of that name to give
        out = np.empty((5, 6, dims), FLOATS[to])
        assert gather_frames(*inputs, out=out) is out
    else:
        out = run(device, *inputs, dtype=to)
    assert out.dtype == FLOATS[to]
    assert out.tobytes() == expected(*inputs, to).tobytes()


@pytest.mark.parametrize("to", ["float16", "bfloat16"])
def test_doubles_are_rounded_once(device, to):
    """Just above the middle of two neighbours; by way of float32 it would be the middle itself, and go to the even."""
    eps = 2.0**-11 if to == "float16" else 2.0**-8
    store = np.array([[1 + eps + 2.0**-40], [1 + eps], [1 + eps - 2.0**-40]])
    out = torch.empty(1, 3, 1, dtype=getattr(torch, to))
    picks = np.array([[0, 1, 2]])
    if device == "cpu":
        got = to_host(gather_frames(store, np.array([0, 3]), [0], picks, out=out))
    else:
        got = run(device, store, np.array([0, 3]), np.array([0]), picks, dtype=to)
    assert list(got[0, :, 0].astype(float)) == [1 + 2 * eps, 1, 1]


@given(st.data())
def test_any_picks_are_what_indexing_gives(device, data):
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    videos = np.array(data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=5)))
    count = data.draw(st.integers(1, 4))
    picks = np.array([[data.draw(st.integers(0, sizes[v] - 1)) for _ in range(count)] for v in videos])
    store = np.arange(offsets[-1] * 3, dtype=np.float32).reshape(-1, 3)
    got = run(device, store, offsets, videos, picks)
    assert np.array_equal(got, expected(store, offsets, videos, picks, "float32"))


def test_a_store_may_be_mapped_from_a_file(tmp_path):
    inputs = make(dims=700)
    np.save(tmp_path / "store.npy", inputs[0])
    store = np.load(tmp_path / "store.npy", mmap_mode="r")
    for threads in (1, 2, 5):
        got = gather_frames(store, *inputs[1:], dtype=torch.float32, threads=threads)
        assert np.array_equal(got, expected(*inputs, "float32"))


@pytest.mark.parametrize("index_dtype", ["uint8", "int16", "uint32", "int32", "int64", "uint64"])
def test_indices_of_any_integers_and_strides_are_taken(device, index_dtype):
    store, offsets, videos, picks = make()
    wide = np.zeros((22, 9), store.dtype)
    wide[::-2, 2:7] = store
    picks = np.asfortranarray(picks.astype(index_dtype))
    got = run(device, wide[::-2, 2:7], offsets, videos.astype(index_dtype).repeat(2)[::2], picks)
    assert got.tobytes() == expected(store, offsets, videos, picks.astype(int), "float16").tobytes()


def test_large_results_are_streamed_unharmed():
    store, offsets, _, _ = make("float32", 2047)
    videos = np.full(400, 2)
    picks = sample_frames(np.full(400, 7), 6)
    got = gather_frames(store, offsets, videos, picks)
    assert got.tobytes() == expected(store, offsets, videos, picks, "float32").tobytes()


def test_results_come_in_the_library_of_the_store():
    inputs = make()
    got = gather_frames(*(torch.from_numpy(array) for array in inputs), dtype="bfloat16")
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, torch.from_numpy(expected(*inputs, "float16")).to(torch.bfloat16))


def test_a_result_may_be_written_where_the_caller_says(device):
    inputs = make()
    room = on_device(np.zeros((5, 6, 5), np.float32), device)
    assert gather_frames(*(on_device(array, device) for array in inputs), out=room) is room
    assert np.array_equal(to_host(room), expected(*inputs, "float32"))


def test_an_output_is_not_touched_by_a_refused_call():
    store, offsets, videos, picks = make()
    picks[-1, -1] = 7
    room = np.full((5, 6, 5), 3, np.float32)
    with pytest.raises(ValueError, match="frame_indices"):
        gather_frames(store, offsets, videos, picks, out=room)
    assert (room == 3).all()


def test_autograd_notices_that_an_output_has_changed(device):
    inputs = [on_device(array, device) for array in make("float32")]
    room = torch_on_device(torch.zeros(5, 6, 5), device)
    weights = torch_on_device(torch.ones(5, 6, 5), device).requires_grad_()
    loss = (weights * room).sum()
    gather_frames(*inputs, out=room)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    with torch.no_grad():
        gather_frames(*inputs, out=weights)
    assert torch.equal(weights, room)
    with torch.inference_mode():
        gather_frames(*inputs, out=torch_on_device(torch.zeros(5, 6, 5), device))


@pytest.mark.parametrize("name", ["store", "out"])
def test_gradients_are_refused(device, name):
    store, offsets, videos, picks = (torch_on_device(torch.from_numpy(array), device) for array in make("float32"))
    arrays = {"store": store, "out": torch_on_device(torch.zeros(5, 6, 5), device)}
    arrays[name].requires_grad_()
    with pytest.raises(ValueError, match=f"{name}: expected an array without gradient, got one that requires it"):
        gather_frames(offsets=offsets, videos=videos, frame_indices=picks, **arrays)
    with torch.no_grad():
        gather_frames(offsets=offsets, videos=videos, frame_indices=picks, **arrays)


def test_an_output_on_a_device_that_is_read_only_is_refused(cuda):
    inputs = [on_device(array, cuda) for array in make()]
    with pytest.raises(ValueError, match="out: expected an array that can be written, got a read-only one"):
        gather_frames(*inputs, out=CudaArray(READ_ONLY, read_only=True))


def test_nothing_may_be_asked_for():
    store, offsets, _, _ = make()
    assert gather_frames(store, offsets, [], np.zeros((0, 6), int)).shape == (0, 6, 5)
    assert gather_frames(store, offsets, np.zeros(0, int), np.zeros((0, 6), int)).shape == (0, 6, 5)


def test_page_locked_memory_needs_a_device():
    if torch.cuda.is_available():
        assert gather_frames(*make(), pin_memory=True).is_pinned()
    else:
        with pytest.raises(ValueError, match=r"pin_memory: expected a CUDA device, .* got none"):
            gather_frames(*make(), pin_memory=True)


READ_ONLY = np.zeros((5, 6, 5), np.float32)
READ_ONLY.flags.writeable = False
BAD = [
    ({"store": np.zeros((11, 5), np.int8)}, "store: expected float16, bfloat16, float32 or float64, got int8"),
    ({"store": np.zeros(11)}, r"store: expected shape \(F, D\) without a 0, got \(11,\)"),
    (
        {"store": np.zeros((11, 10))[:, ::2]},
        r"store: expected the numbers of a frame one after another, got .* 16",
    ),
    ({"offsets": np.array([0, 4, 4, 11], np.int32)}, r"offsets: expected int64 of shape \(V \+ 1,\)"),
    ({"offsets": np.array([0])}, r"offsets: expected int64 of shape \(V \+ 1,\)"),
    ({"offsets": np.array([0, 4, 4, 12])}, "offsets: expected rows rising within 0 to 11, got 4 to 12 of video 2"),
    ({"offsets": np.array([0, 4, 8, 4])}, "offsets: expected rows rising within 0 to 11, got 8 to 4 of video 2"),
    ({"offsets": np.array([-1, 4, 4, 11])}, "offsets: expected rows rising within 0 to 11, got -1 to 4 of video 0"),
    ({"videos": np.array([2, 0, 3, 0, 2])}, "videos: expected from 0 to 2, got 3 at row 2"),
    ({"videos": np.array([2, -1, 3, 0, 2])}, "videos: expected from 0 to 2, got -1 at row 1"),
    ({"videos": np.array([2, 0, 2, 1, 2])}, "frame_indices: expected from 0 to -1 for video 1"),
    ({"videos": np.zeros(4, int)}, r"videos: expected shape \(5,\) as frame_indices has rows, got \(4,\)"),
    ({"videos": np.zeros(5)}, "videos: expected integers, got float64"),
    (
        {"frame_indices": np.full((5, 6), 4)},
        "frame_indices: expected from 0 to 3 for video 0, got 4 at row 1, col.* 0",
    ),
    ({"frame_indices": np.zeros(5, int)}, r"frame_indices: expected 2 dimensions, got shape \(5,\)"),
    ({"dtype": "int32"}, "dtype: expected float16, bfloat16, float32 or float64, got int32"),
    ({"dtype": object()}, "dtype: expected float16"),
    ({"out": np.zeros((5, 6, 5)), "dtype": "float64"}, "out: expected neither dtype nor pin_memory beside it"),
    ({"out": np.zeros((5, 6, 4))}, r"out: expected floats of shape \(5, 6, 5\), got float64 of shape \(5, 6, 4\)"),
    ({"out": np.zeros((5, 6, 10))[:, :, ::2]}, "out: expected an array in C order"),
    ({"out": READ_ONLY}, "out: expected an array that can be written, got a read-only one"),
    ({"out": OnlyDlpack(READ_ONLY)}, "out: expected an array that can be written, got a read-only one"),
]


@pytest.mark.parametrize(("changes", "sentence"), BAD, ids=[sentence[:40] for _, sentence in BAD])
def test_what_does_not_fit_is_one_sentence(changes, sentence):
    arguments = dict(zip(("store", "offsets", "videos", "frame_indices"), make(), strict=True)) | changes
    with pytest.raises((ValueError, TypeError), match=sentence) as caught:
        gather_frames(**arguments)
    assert "\n" not in str(caught.value)


def test_a_dtype_that_numpy_lacks_is_one_sentence():
    """It learns the name bfloat16 from ml_dtypes."""
    code = """
import numpy as np, vltr_train
try:
    vltr_train.gather_frames(np.zeros((1, 1)), np.array([0, 1]), [0], [[0]], dtype="bfloat16")
except TypeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd="/")
    assert done.stdout == "dtype: expected one that numpy has, got bfloat16; pass out= of that dtype\n", done.stderr


def test_frames_that_are_not_there_are_nan_on_a_device(cuda):
    store, offsets, videos, picks = make(dims=9)
    videos[:] = [2, 3, -1, 1, 0]
    picks[:] = 1
    picks[4] = [0, 1, 2, 3, 4, -1]
    got = run(cuda, store, offsets, videos, picks, dtype="float32")
    assert np.isnan(got).all(axis=2).tolist() == [[False] * 6, *[[True] * 6] * 3, [False] * 4 + [True] * 2]
    offsets[3] = 12
    assert np.isnan(run(cuda, store, offsets, videos, picks)[0]).all()


def test_an_unaligned_out_is_refused():
    store, out = np.zeros((4, 2), np.float16), np.zeros(2 * 2 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(1, 2, 2)
    with pytest.raises(ValueError, match=r"^out: expected elements at multiples of their size, got"):
        gather_frames(store, [0, 4], [0], [[0, 1]], out=out)
