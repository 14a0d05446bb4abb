"""Copies and pickles are independent objects with equal content, or are refused; no address is shared."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import torch
from cases import make_case
from devices import on_device, to_host, torch_on_device
from reference import assert_same_bits, assert_same_table

from vltr_eval import Positives, RankTable, RunningAP, average_precision, positive_scores, rank_table
from vltr_eval._base import _core
from vltr_eval._base.arrays import borrow, borrow_matrix


def pickled(value):
    return pickle.loads(pickle.dumps(value))


WAYS = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": pickled}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


@every_way
def test_objects_that_borrow_memory_are_not_copied(device, way):
    array = on_device(np.zeros((3, 4)), device)
    for borrowed in (borrow("scores", array), borrow_matrix("scores", array)):
        with pytest.raises(TypeError, match=rf"^{type(borrowed).__name__}: expected what owns memory to be copied or "):
            way(borrowed)


# Results on a device become results in CPU memory


@every_way
def test_tables_on_cuda_are_copied_to_cpu_memory(cuda, way):
    scores, labels = make_case(50, 4, seed=1)
    twin = way(rank_table(on_device(scores, cuda), on_device(labels, cuda)))
    assert type(twin) is RankTable
    assert_same_table(twin, rank_table(scores, labels))


def test_tables_of_shards_on_cuda_are_merged_after_pickling(cuda):
    scores, labels = make_case(50, 4, seed=2)
    shards = [(on_device(scores[part], cuda), on_device(labels[part], cuda)) for part in np.split(np.arange(50), [20])]
    merged = pickled(positive_scores(*shards[0])).merge(pickled(positive_scores(*shards[1])))
    first, second = (pickled(rank_table(*shard, thresholds=merged)) for shard in shards)
    assert_same_table(first.merge(second), rank_table(scores, labels))


@every_way
def test_positives_on_cuda_are_copied_to_cpu_memory(cuda, way):
    scores, labels = make_case(50, 4, seed=3)
    twin = way(Positives.from_labels(on_device(labels, cuda), 50, 4))
    assert type(twin) is Positives
    assert_same_bits(average_precision(scores, twin), average_precision(scores, labels))


def test_results_on_cuda_are_shown_without_a_copy_to_cpu_memory(cuda):
    scores, labels = (on_device(array, cuda) for array in make_case(50, 4, seed=4))
    table, positives = rank_table(scores, labels), Positives.from_labels(labels, 50, 4)
    assert repr(table) == "<RankTable of 50 rows of float32 scores on a CUDA device>"
    assert repr(positives) == "<Positives of 50 rows and 4 classes on cuda:0>"
    assert "_on_host" not in vars(table)
    assert "_on_host" not in vars(positives)


# RunningAP


def tensors(scores, labels, device):
    return (torch_on_device(torch.tensor(array), device) for array in (scores, labels))


def assert_independent(running: RunningAP, twin: RunningAP, device: str) -> None:
    """Assert that both have the 30 rows of case 5, and that a change of one leaves the other alone."""
    scores, labels = make_case(40, 7, seed=5)
    expected = average_precision(scores[:30], labels[:30], absent="zero")
    assert (len(twin), twin.num_classes, twin.capacity) == (30, 7, 40)
    assert_same_bits(to_host(twin.compute()), expected)
    twin.update(*tensors(scores[30:], labels[30:], device))
    assert_same_bits(to_host(twin.compute()), average_precision(scores, labels, absent="zero"))
    twin.reset()
    twin.update(*tensors(-scores, labels, device))
    assert_same_bits(to_host(running.compute()), expected)


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_a_running_ap_is_copied_with_its_rows(device, way):
    scores, labels = make_case(40, 7, seed=5)
    running = RunningAP(7, 40)
    running.update(*tensors(scores[:30], labels[:30], device))
    twin = way(running)
    assert type(twin.compute()) is type(running.compute())
    assert_independent(running, twin, device)


def test_a_running_ap_is_pickled_with_its_rows():
    scores, labels = make_case(40, 7, seed=5)
    running = RunningAP(7, 40)
    running.update(*tensors(scores[:30], labels[:30], "cpu"))
    assert_independent(running, pickled(running), "cpu")


@pytest.mark.parametrize("dtype", [np.float64, ml_dtypes.bfloat16, np.uint64])
@every_way
def test_a_running_ap_of_numpy_arrays_keeps_their_dtype(way, dtype):
    scores, labels = make_case(40, 7, seed=6)
    scores = (scores * 9 + 50).astype(dtype)
    running = RunningAP(7, 40, threads=2)
    running.update(scores[:9], labels[:9])
    twin = way(running)
    twin.update(scores[9:], labels[9:])
    assert_same_bits(twin.compute(), average_precision(scores, labels, absent="zero"))


def test_only_the_filled_rows_are_pickled():
    for make in (np.zeros, torch.zeros):
        running = RunningAP(10, 1_000_000)
        running.update(make((3, 10)), make((3, 10)))
        assert len(pickle.dumps(running)) < 10_000


@every_way
def test_an_empty_running_ap_is_copied(way):
    scores, labels = make_case(9, 7, seed=7)
    running = RunningAP(7, 40)
    for _ in range(2):  # before its first update and after a reset
        twin = way(running)
        twin.update(scores, labels)
        assert_same_bits(twin.compute(), average_precision(scores, labels, absent="zero"))
        running.update(-scores, labels)
        running.reset()


def test_another_process_has_separate_rows(tmp_path):
    running = RunningAP(100, 2000)
    running.update(np.tile(np.arange(1000.0)[:, None], 100), np.tile(np.arange(1000)[:, None] > 900, 100))
    (tmp_path / "running.pkl").write_bytes(pickle.dumps(running))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).compute().mean())"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "running.pkl"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1.0\n"), done.stderr


def test_a_bad_label_on_cuda_is_not_lost_by_a_copy(cuda):
    scores, labels = make_case(9, 7, seed=8)
    labels = labels.astype(np.float32)
    labels[4, 2] = 0.5
    running = RunningAP(7, 40)
    running.update(*tensors(scores, labels, cuda))
    with pytest.raises(ValueError, match=r"^labels: .*, got another value at row 4 of all updates, class 2$"):
        copy.deepcopy(running).compute()


def test_a_running_ap_in_memory_of_vltr_on_cuda_is_not_copied(cuda):
    running = RunningAP(7, 40)
    running.update(*(on_device(array, cuda) for array in make_case(9, 7, seed=9)))
    assert isinstance(running._rows.scores.owner, _core.DeviceArray)
    for way in WAYS.values():
        with pytest.raises(TypeError, match=r"^RunningAP: expected rows in a library that slices its arrays, got "):
            way(running)
