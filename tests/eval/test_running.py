"""RunningAP: batches give the AP of the whole epoch, on each device; a refused batch changes nothing."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import reference
import torch
from cases import make_case
from devices import LEGACY_STREAM, THREAD_STREAM, CudaArray, on_device, to_host, torch_on_device
from reference import assert_agrees, assert_same_bits

import vltr_eval.distributed
import vltr_eval.metrics.running
from vltr_eval import RunningAP, average_precision
from vltr_eval._base import _core
from vltr_eval._base.arrays import empty_like

SCORE_DTYPES = [np.bool_, np.int8, np.uint16, np.int32, np.int64, np.uint64, np.float16, np.float32, np.float64]
SCORE_DTYPES += [ml_dtypes.bfloat16]
LABEL_DTYPES = [np.bool_, np.uint8, np.int8, np.int32, np.int64, np.float16, np.float32, np.float64, ml_dtypes.bfloat16]


def slow_running_ap(batches) -> np.ndarray:
    """Return the AP of each class over all rows of the epoch, by definition; 0 without positives."""
    scores, labels = (np.concatenate(parts).astype(np.float64) for parts in zip(*batches, strict=True))
    return np.nan_to_num(reference.per_class(reference.average_precision, scores, labels))


def split(scores, labels, sizes):
    """Return batches of the given sizes; the last has the remaining rows."""
    ends = np.cumsum(sizes)
    return list(zip(np.split(scores, ends), np.split(labels, ends), strict=True))


def epoch(num_rows=90, num_classes=7, **options):
    scores, labels = make_case(num_rows, num_classes, **options)
    labels[:, 3] = False
    return scores, labels


def run(batches, device, capacity=90, num_classes=7) -> RunningAP:
    running = RunningAP(num_classes, capacity)
    for scores, labels in batches:
        running.update(on_device(scores, device), on_device(labels, device))
    return running


@pytest.mark.parametrize("levels", [None, 8])
@pytest.mark.parametrize("sizes", [[], [1], [32, 32], [0, 89, 0], [1] * 89])
def test_batches_give_the_ap_of_the_epoch(device, sizes, levels):
    scores, labels = epoch(seed=1, levels=levels)
    batches = split(scores, labels, sizes)
    running = run(batches, device)
    result = to_host(running.compute())
    assert_agrees(result, slow_running_ap(batches))
    assert_same_bits(result, average_precision(scores, labels, absent="zero"))
    assert result[3] == 0
    assert len(running) == running.num_rows == 90


@pytest.mark.parametrize("num_classes", [1, 5, 31, 32, 33, 300])
@pytest.mark.parametrize("num_rows", [1, 8, 9, 700])
def test_batches_of_any_shape(device, num_rows, num_classes):
    scores, labels = make_case(num_rows, num_classes, seed=2)
    running = run(split(scores, labels, [num_rows // 3]), device, num_rows, num_classes)
    assert_same_bits(to_host(running.compute()), average_precision(scores, labels, absent="zero"))


@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_scores_keep_their_dtype(device, dtype):
    scores, labels = epoch(seed=3)
    scores = np.clip(np.round(scores * 20) + 50, 0, 100)
    scores = (scores > 50 if dtype is np.bool_ else scores).astype(dtype)
    running = run(split(scores, labels, [40]), device)
    assert_same_bits(to_host(running.compute()), average_precision(scores, labels, absent="zero"))


@pytest.mark.parametrize("dtype", LABEL_DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_labels_are_of_any_dtype(device, dtype):
    scores, labels = epoch(seed=4)
    running = run([(scores[:50], labels[:50].astype(dtype)), (scores[50:], labels[50:])], device)
    assert_same_bits(to_host(running.compute()), average_precision(scores, labels, absent="zero"))


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_batches_of_any_strides(device, layout):
    scores, labels = epoch(seed=5)
    running = run([(layout(scores), layout(labels))], device)
    assert_same_bits(to_host(running.compute()), average_precision(layout(scores), layout(labels), absent="zero"))


def test_batches_may_change_after_an_update(device):
    scores, labels = epoch(seed=6)
    running = RunningAP(7, 90)
    batch, flags = scores.copy(), labels.copy()
    running.update(batch, flags)
    batch[:], flags[:] = 0, True
    assert_same_bits(to_host(running.compute()), average_precision(scores, labels, absent="zero"))


def test_absent_classes_are_zero_or_nan(device):
    running = run([epoch(seed=7)], device)
    zero, nan = to_host(running.compute()), to_host(running.compute(absent="nan"))
    assert (zero[3], np.isnan(nan).nonzero()[0].tolist()) == (0, [3])
    with pytest.raises(ValueError, match=r"^absent: expected 'nan' or 'zero', got 'one'$"):
        running.compute(absent="one")


def test_updates_may_follow_compute(device):
    scores, labels = epoch(seed=8)
    running = run([(scores[:30], labels[:30])], device)
    assert_same_bits(to_host(running.compute()), average_precision(scores[:30], labels[:30], absent="zero"))
    running.update(on_device(scores[30:], device), on_device(labels[30:], device))
    assert_same_bits(to_host(running.compute()), average_precision(scores, labels, absent="zero"))


def test_a_reset_begins_a_new_epoch(device):
    running = run([epoch(seed=9)], device)
    running.reset()
    assert len(running) == 0
    with pytest.raises(ValueError, match=r"^compute: expected at least one row from update\(\), got none$"):
        running.compute()
    for dtype in (np.float32, np.float64):  # the same memory, and other memory
        scores, labels = epoch(seed=10)
        running.update(on_device(scores.astype(dtype), device), on_device(labels, device))
        assert_same_bits(to_host(running.compute()), average_precision(scores, labels, absent="zero"))
        running.reset()


def test_rows_equal_the_updates(device):
    scores, labels = epoch(seed=8)
    running = RunningAP(7, 100)
    tensor, flags = (torch_on_device(torch.tensor(array), device) for array in (scores, labels))
    for part in (slice(0, 30), slice(30, len(scores))):
        running.update(tensor[part], flags[part])
    taken = running.rows()
    assert_same_bits(to_host(taken[0]), scores)
    assert_same_bits(to_host(taken[1]), labels.astype(bool))
    table = vltr_eval.distributed.rank_table(*taken)  # this process is the only rank
    assert_same_bits(table.average_precision(absent="zero"), to_host(running.compute()))
    running.reset()
    with pytest.raises(ValueError, match=r"^rows: expected at least one row from update\(\), got none$"):
        running.rows()


def test_results_are_of_the_library_of_the_scores(device):
    scores, labels = epoch(seed=11)
    running = RunningAP(7, 90)
    tensor, flags = (torch_on_device(torch.tensor(array), device) for array in (scores, labels))
    for part in (slice(0, 33), slice(33, 90)):
        running.update(tensor[part], flags[part])
    result = running.compute()
    assert isinstance(result, torch.Tensor)
    assert (result.device, result.dtype, result.shape) == (tensor.device, torch.float64, (7,))
    assert_same_bits(to_host(result), average_precision(scores, labels, absent="zero"))


def test_torch_bfloat16_needs_no_conversion(device):
    scores, labels = epoch(seed=12)
    tensor = torch.tensor(scores).to(torch.bfloat16)
    running = RunningAP(7, 90)
    running.update(torch_on_device(tensor.requires_grad_(), device), torch_on_device(torch.tensor(labels), device))
    assert_same_bits(to_host(running.compute()), average_precision(tensor, labels, absent="zero"))


def test_lists_are_batches():
    running = RunningAP(2, 3)
    running.update([[0.9, 0.1], [0.8, 0.2]], [[1, 0], [0, 0]])
    running.update([[0.7, 0.3]], [[1, 0]])
    assert running.compute().tolist() == [pytest.approx(5 / 6, abs=1e-15), 0]


# Refused batches change nothing


def assert_refused(running, scores, labels, error, sentence):
    """Assert that the update raises and that the rows stay as before."""
    before, rows = to_host(running.compute()), len(running)
    with pytest.raises(error, match=sentence):
        running.update(scores, labels)
    assert len(running) == rows
    assert_same_bits(to_host(running.compute()), before)


def test_more_rows_than_the_capacity_are_refused(device):
    scores, labels = epoch(seed=13)
    running = run([(scores[:80], labels[:80])], device)
    batch, flags = on_device(scores[:11], device), on_device(labels[:11], device)
    assert_refused(
        running, batch, flags, ValueError, r"^scores: expected at most 10 more rows for a capacity of 90, got 11$"
    )
    running.update(on_device(scores[80:], device), on_device(labels[80:], device))
    assert_same_bits(to_host(running.compute()), average_precision(scores, labels, absent="zero"))


def test_other_shapes_are_refused(device):
    scores, labels = (on_device(array, device) for array in epoch(9, 7, seed=14))
    running = RunningAP(7, 90)
    running.update(scores, labels)
    narrow, column, short = (on_device(np.zeros(s, np.float32), device) for s in ((9, 6), (9,), (8, 7)))
    assert_refused(running, narrow, labels, ValueError, r"^scores: expected shape \(B, 7\), got \(9, 6\)$")
    assert_refused(running, column, labels, ValueError, r"^scores: expected shape \(B, 7\), got \(9,\)$")
    assert_refused(running, scores, short, ValueError, r"^labels: expected shape \(9, 7\) as scores, got \(8, 7\)$")


def test_another_dtype_is_refused(device):
    scores, labels = epoch(9, 7, seed=15)
    running = run([(scores, labels)], device)
    other = on_device(scores.astype(np.float16), device)
    sentence = r"^scores: expected float32 \(.*\) as in earlier updates, got float16 \(.*\)$"
    assert_refused(running, other, on_device(labels, device), ValueError, sentence)


def test_another_device_than_cuda_is_refused(cuda):
    scores, labels = epoch(9, 7, seed=16)
    for one, other in (("cpu", cuda), (cuda, "cpu")):
        running = run([(scores, labels)], one)
        sentence = r"^scores: expected float32 \(.*\) as in earlier updates, got float32 \(.*\)$"
        assert_refused(running, on_device(scores, other), on_device(labels, other), ValueError, sentence)
        sentence = r"^labels: expected an array .* as scores, got one "
        assert_refused(running, on_device(scores, one), on_device(labels, other), ValueError, sentence)


@pytest.mark.parametrize("value", [2, 0.5, -1, np.nan])
def test_a_label_other_than_0_and_1_is_named(device, value):
    scores, labels = epoch(seed=17)
    running = run([(scores[:50], labels[:50])], device)
    bad = labels[50:].astype(np.float32)
    bad[31, 6] = bad[5, 4] = bad[5, 6] = value
    batch, flags = on_device(scores[50:], device), on_device(bad, device)
    if device == "cpu":
        named = rf"^labels: expected 0 or 1, got {float(value)} at row 5, class 4 of the batch$"
        assert_refused(running, batch, flags, ValueError, named)
        running.update(scores[50:], labels[50:])
    else:  # an update does not wait for the device, so it cannot know
        running.update(batch, flags)
        for _ in range(2):
            with pytest.raises(ValueError, match=r"^labels: .*, got another value at row 55 of all updates, class 4$"):
                running.compute()
        running.reset()
        running.update(on_device(scores, device), on_device(labels, device))
    assert_same_bits(to_host(running.compute()), average_precision(scores, labels, absent="zero"))


def test_the_first_of_many_bad_labels_is_named(device):
    scores, labels = np.zeros((3000, 40), np.float32), np.full((3000, 40), 7, np.uint8)
    labels[:1234] = labels[1234, :21] = 0
    running = RunningAP(40, 3000)

    def update_and_compute():
        running.update(on_device(scores, device), on_device(labels, device))
        running.compute()

    with pytest.raises(ValueError, match=r"row 1234.*, class 21"):
        update_and_compute()


def test_nan_scores_are_named_by_row_of_the_epoch(device):
    scores, labels = epoch(seed=18)
    scores[70, 2] = np.nan
    running = run(split(scores, labels, [50]), device)
    with pytest.raises(ValueError, match=r"^scores: expected numbers, got NaN at row 70, class 2$"):
        running.compute()


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (2**32, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_sizes_are_positive_integers(value, error):
    with pytest.raises(error, match=r"^num_classes: expected "):
        RunningAP(value, 3)
    with pytest.raises(error, match=r"^capacity: expected "):
        RunningAP(3, value)


def test_threads_are_checked_in_the_constructor():
    with pytest.raises(ValueError, match=r"^threads: expected an integer from 1 to 4096, got 0$"):
        RunningAP(3, 3, threads=0)


# Streams and memory


def test_batches_of_other_cuda_streams_are_synchronized(cuda, monkeypatch):
    calls = []
    wait_for = _core.wait_for
    monkeypatch.setattr(_core, "wait_for", lambda *call: calls.append(call) or wait_for(*call))
    scores, labels = epoch(seed=19)
    running = RunningAP(7, 90)
    for rows, streams in (
        (slice(0, 30), (LEGACY_STREAM, LEGACY_STREAM)),
        (slice(30, 60), (LEGACY_STREAM, THREAD_STREAM)),
        (slice(60, 90), (THREAD_STREAM, LEGACY_STREAM)),
    ):
        parts = zip((scores[rows], labels[rows]), streams, strict=True)
        running.update(*(CudaArray(array, stream=stream) for array, stream in parts))
    joined, back = (0, LEGACY_STREAM, THREAD_STREAM), (0, THREAD_STREAM, LEGACY_STREAM)
    assert calls == [joined, back, back, joined, back]
    assert_same_bits(to_host(running.compute()), average_precision(scores, labels, absent="zero"))


def test_updates_take_no_new_memory(device):
    scores, labels = epoch(seed=20)
    running = run([(scores[:30], labels[:30])], device)
    before = running._rows.scores.address, running._rows.labels.address
    running.update(on_device(scores[30:], device), on_device(labels[30:], device))
    running.reset()
    running.update(on_device(scores, device), on_device(labels, device))
    assert (running._rows.scores.address, running._rows.labels.address) == before


def test_too_large_a_capacity_is_a_memory_error_and_nothing_is_lost(device):
    running = RunningAP(2**16, 2**32 - 1)
    wide = [on_device(np.zeros((1, 2**16), dtype), device) for dtype in (np.float64, bool)]
    for _ in range(2):
        with pytest.raises(MemoryError):
            running.update(*wide)
        assert len(running) == 0
        running.reset()


@pytest.mark.parametrize("made_before", [0, 1, 2])
def test_an_update_may_be_repeated_after_a_memory_error(device, monkeypatch, made_before):
    scores, labels = epoch(seed=21)
    running = run([(scores.astype(np.float64), labels)], device)
    running.reset()
    made = []

    def make(*arguments):
        if len(made) == made_before:
            raise MemoryError
        made.append(empty_like(*arguments))
        return made[-1]

    batch, flags = on_device(scores, device), on_device(labels, device)
    with monkeypatch.context() as patch:
        patch.setattr(vltr_eval.metrics.running, "empty_like", make)
        with pytest.raises(MemoryError):
            running.update(batch, flags)
    assert len(running) == 0
    running.update(batch, flags)
    assert_same_bits(to_host(running.compute()), average_precision(scores, labels, absent="zero"))
