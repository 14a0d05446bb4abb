"""RowStore returns rows unchanged from memory and files; files leave no trace; a failed call stores nothing."""

from __future__ import annotations

import errno
import os
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from cases import slices
from devices import on_device
from reference import assert_same_bits

from vltr_eval._base import _core
from vltr_eval._base.arrays import borrow, to_host
from vltr_eval._engine import row_store
from vltr_eval._engine.row_store import RowStore

DTYPES = [np.dtype(name) if name != "bfloat16" else np.dtype(ml_dtypes.bfloat16) for name in _core.DTYPES]


@pytest.fixture(autouse=True)
def files(monkeypatch) -> list[int]:
    """Return the sizes in bytes of the files that a test makes; they are small here."""
    made: list[int] = []
    allocate = getattr(os, "posix_fallocate", lambda file, _, size: os.ftruncate(file, size))

    def note(file: int, offset: int, size: int) -> None:
        allocate(file, offset, size)
        made.append(size)

    monkeypatch.setattr(os, "posix_fallocate", note, raising=False)
    monkeypatch.setattr(row_store, "_LEAST_FILE", 1 << 16)
    return made


def numbers(num_rows: int, num_classes: int = 3, dtype=np.float32) -> np.ndarray:
    """Return distinct rows."""
    return np.arange(num_rows * num_classes).reshape(num_rows, num_classes).astype(dtype)


def held(store: RowStore) -> np.ndarray:
    """Return the rows of a store, read from its shards."""
    return np.concatenate([to_host(shard).bits() for shards in store.shards() for shard in shards])


def fill(store: RowStore, rows: np.ndarray, sizes=(), device: str = "cpu") -> RowStore:
    for part in slices(len(rows), sizes):
        store.append(borrow("rows", on_device(rows[part], device)))
    return store


# Reads


@pytest.mark.parametrize("budget", [None, 0, 100, 10**6])
@pytest.mark.parametrize("num_rows", [None, 1, 40, 90, 1000])
@pytest.mark.parametrize("sizes", [[], [1], [0, 89, 0], [30, 30], [1] * 89])
def test_rows_are_returned_in_order(device, tmp_path, sizes, num_rows, budget):
    rows = numbers(90)
    store = RowStore(3, num_rows=num_rows, memory_budget=budget, spill_dir=tmp_path)
    fill(store, rows, sizes, device)
    assert len(store) == 90
    assert store.dtype == "float32"
    assert_same_bits(held(store), rows)
    assert_same_bits(store.bits(), rows)


@pytest.mark.parametrize("budget", [None, 0, 200])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_rows_keep_every_bit(device, dtype, budget):
    rows = np.random.default_rng(1).integers(0, 256, (50, 3 * dtype.itemsize), np.uint8)
    rows = (rows % 2 if dtype.kind == "b" else rows).view(dtype)
    store = fill(RowStore(3, memory_budget=budget), rows, [20], device)
    assert store.dtype == dtype.name
    assert_same_bits(held(store).view(np.uint8), rows.view(np.uint8))
    assert_same_bits(store.bits().view(np.uint8), rows.view(np.uint8))


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
}


@pytest.mark.parametrize("budget", [None, 200])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_batches_of_any_strides(device, layout, budget):
    rows = numbers(40)
    store = RowStore(3, memory_budget=budget)
    for part in slices(40, [15]):
        store.append(borrow("rows", on_device(layout(rows)[part], device)))
    assert_same_bits(held(store), np.ascontiguousarray(layout(rows)))


def test_unaligned_batches_are_read():
    rows = numbers(10)
    room = np.empty(rows.nbytes + 1, np.uint8)[1:].view(np.float32)
    unaligned = room.reshape(rows.shape)
    unaligned[...] = rows
    assert_same_bits(held(fill(RowStore(3), unaligned)), rows)


def test_rows_are_copies(device):
    rows = numbers(10)
    batch = on_device(rows.copy(), device)
    store = RowStore(3)
    store.append(borrow("rows", batch))
    borrow("rows", batch).core.assign(np.zeros((10, 3), np.float32))
    assert_same_bits(held(store), rows)
    copy = store.bits()
    copy[:] = 0
    assert_same_bits(held(store), rows)


def test_rows_are_not_moved(device):
    store = RowStore(512, num_rows=20)
    fill(store, numbers(3, 512), device=device)
    (first,), *_ = store.shards()
    fill(store, numbers(5000, 512), [1000] * 5, device)
    assert next(store.shards())[0].address == first.address


def test_a_store_may_append_its_rows_to_itself():
    rows = numbers(50)
    for budget in (None, 0, 200):
        store = fill(RowStore(3, memory_budget=budget), rows, [20])
        store.append(*(shard for shards in store.shards() for shard in shards))
        assert_same_bits(held(store), np.concatenate([rows, rows]))


def test_an_empty_store_has_no_dtype():
    store = RowStore(3, num_rows=5)
    assert (len(store), store.dtype, list(store.shards())) == (0, None, [])
    assert store.bits().shape == (0, 3)
    fill(store, numbers(0))
    assert (len(store), store.dtype, list(store.shards())) == (0, None, [])


# Memory and files


def test_a_known_number_of_rows_gets_one_chunk(device):
    store = fill(RowStore(3, num_rows=90), numbers(90), [1, 50], device)
    ((shard,),) = store.shards()
    assert shard.shape == (90, 3)


def test_memory_fills_up_to_the_budget_and_files_take_the_rest(device, files):
    store = RowStore(3, memory_budget=12 * 30)
    fill(store, numbers(30), [10, 10], device)
    assert not files
    fill(store, numbers(1), device=device)
    assert files == [(1 << 16) // 12 * 12]
    fill(store, numbers(10_000), [4000, 4000], device)
    assert len(files) == 2  # of the size of the batch that was too large


def test_a_batch_over_the_budget_goes_to_a_file(files):
    fill(RowStore(3, memory_budget=12 * 29), numbers(30))
    assert files == [(1 << 16) // 12 * 12]


def test_the_rest_of_a_known_number_of_rows_gets_one_file(files):
    fill(RowStore(3, num_rows=9000, memory_budget=12 * 1000), numbers(9000), [100] * 89)
    assert files == [8000 * 12]


def test_memory_of_many_rows_is_bounded(tmp_path):
    store = RowStore(512, memory_budget=4 << 20, spill_dir=tmp_path)
    rows = numbers(512, 512)  # 1 MiB
    batch = borrow("rows", rows)
    tracemalloc.start()
    try:
        for _ in range(64):
            store.append(batch)
        held_bytes, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(store) == 64 * 512
    assert held_bytes <= most_bytes < 5 << 20


def test_files_have_no_name(tmp_path, files):
    store = fill(RowStore(3, memory_budget=0, spill_dir=tmp_path), numbers(50))
    assert files
    assert os.listdir(tmp_path) == []
    assert_same_bits(held(store), numbers(50))
    del store
    assert os.listdir(tmp_path) == []


def test_rows_of_several_devices_keep_their_order(cuda):
    rows = numbers(70)
    store = fill(RowStore(3, memory_budget=12 * 40), rows[:30], device=cuda)
    fill(store, rows[30:50])
    fill(store, rows[50:], device=cuda)
    devices = [shards[0].device.index for shards in store.shards()]
    assert devices == [0, None]
    assert_same_bits(held(store), rows)
    mixed = RowStore(3)
    for i, part in enumerate(slices(70, [10] * 6)):
        fill(mixed, rows[part], device=("cpu", cuda)[i % 2])
    assert [shards[0].device.index for shards in mixed.shards()] == [None, 0, None, 0, None, 0, None]
    assert_same_bits(mixed.bits(), rows)


# Clear


def test_clear_keeps_memory_of_a_known_number_of_rows(device):
    store = fill(RowStore(3, num_rows=40), numbers(60), [25], device)
    ((first, _),) = store.shards()
    store.clear()
    assert (len(store), store.dtype, list(store.shards())) == (0, None, [])
    fill(store, numbers(40) + 7, device=device)
    ((shard,),) = store.shards()
    assert shard.address == first.address
    assert_same_bits(held(store), numbers(40) + 7)


def test_clear_keeps_the_file_of_a_known_number_of_rows(device, files):
    store = fill(RowStore(3, num_rows=40, memory_budget=0), numbers(40), device=device)
    store.clear()
    fill(store, numbers(40) + 7, device=device)
    assert files == [40 * 12]
    assert_same_bits(held(store), numbers(40) + 7)


@pytest.mark.parametrize("num_rows", [None, 40])
@pytest.mark.parametrize("budget", [None, 0])
def test_rows_of_another_dtype_may_follow_a_clear(device, num_rows, budget):
    store = RowStore(3, num_rows=num_rows, memory_budget=budget)
    for dtype in (np.float32, np.int8, np.float64, np.float64):
        fill(store, numbers(40, dtype=dtype), [30], device)
        assert_same_bits(held(store), numbers(40, dtype=dtype))
        store.clear()


def test_rows_of_another_device_may_follow_a_clear(cuda):
    store = RowStore(3, num_rows=40)
    for device in (cuda, "cpu", cuda):
        fill(store, numbers(40), [30], device)
        assert_same_bits(held(store), numbers(40))
        store.clear()


# Failures


def no_room(file: int, offset: int, size: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("before", [0, 10])
def test_a_full_disk_changes_nothing(device, tmp_path, monkeypatch, before):
    rows = numbers(100)
    store = fill(RowStore(3, memory_budget=12 * 20, spill_dir=tmp_path), rows[:before], device=device)
    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", no_room)
        with pytest.raises(OSError, match=r"No space left on device for \d+ bytes of scores: '.*'$") as raised:
            store.append(borrow("rows", on_device(rows[before:], device)))
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(tmp_path)
    assert os.listdir(tmp_path) == []
    assert len(store) == before
    fill(store, rows[before:], device=device)
    assert_same_bits(held(store), rows)


def test_a_full_disk_names_the_folder_of_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(OSError, match=f"'{tmp_path}'$"):
        fill(RowStore(3, memory_budget=0), numbers(5))


def test_several_batches_are_stored_together_or_not_at_all(monkeypatch):
    rows = numbers(40)
    store = fill(RowStore(3, memory_budget=12 * 20), rows[:10])
    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(OSError, match="No space"):
        store.append(borrow("rows", rows[10:20]), borrow("rows", rows[20:]))
    assert_same_bits(held(store), rows[:10])


def test_a_missing_folder_is_named(tmp_path):
    store = RowStore(3, memory_budget=0, spill_dir=tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="none"):
        fill(store, numbers(3))
    assert len(store) == 0


def test_a_failed_allocation_changes_nothing(device, monkeypatch):
    def none(*_):
        raise MemoryError("none left")

    store = fill(RowStore(512), numbers(10, 512), device=device)
    with monkeypatch.context() as patched:
        patched.setattr(row_store, "empty_bits", none)
        patched.setattr(row_store, "empty_like", none)
        with pytest.raises(MemoryError, match="none left"):
            fill(store, numbers(5000, 512), device=device)
    assert_same_bits(held(store), numbers(10, 512))


def test_a_cleared_store_that_fails_keeps_its_memory(monkeypatch):
    store = fill(RowStore(3, num_rows=40, memory_budget=12 * 40), numbers(40))
    store.clear()
    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(OSError, match="No space"):
        fill(store, numbers(40, dtype=np.float64))
    assert store.dtype is None
    fill(store, numbers(40))
    assert_same_bits(held(store), numbers(40))


def test_systems_without_fallocate_use_files(monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    assert_same_bits(held(fill(RowStore(3, memory_budget=0), numbers(50), [20])), numbers(50))
