"""Batches: each holds what the draws say, whoever asks, with how many threads and ranks, and from wherever."""

from __future__ import annotations

import dataclasses
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from vltr_eval.formats import InputError
from vltr_train.data.dataset import TestSplit, TrainSplit, open_dataset
from vltr_train.data.label_lists import LabelList
from vltr_train.data.loader import Loader, derived_seed, resident_frames
from vltr_train.ops.frames import sample_frames
from vltr_train.samplers import ClassSampler, InstanceSampler

FRAMES = 5


@pytest.fixture(scope="module")
def few(tiny):
    """The first 50 training videos."""
    rows = np.arange(50)
    return dataclasses.replace(tiny.train, labels=tiny.train.labels.select(rows), videos=tiny.train.videos[rows])


@pytest.fixture(scope="module")
def unpacked(tiny, tiny_folder, tmp_path_factory):
    """The same data set, a file a video."""
    folder = tmp_path_factory.mktemp("unpacked")
    for path in [*tiny_folder.glob("*.lst"), tiny_folder / "dataset.json"]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "features").mkdir()
    store = tiny.frames
    for video, name in enumerate(store.ids):
        np.save(folder / "features" / f"{name}.npy", store.frames[store.offsets[video] : store.offsets[video + 1]])
    return open_dataset(folder)


def load(split, sampler=None, **options):
    return Loader(split, sampler=sampler, **{"batch_size": 8, "num_frames": FRAMES, "seed": 7} | options)


def frozen(batch):
    """A copy, which nothing overwrites."""
    classes = None if batch.classes is None else batch.classes.cpu().numpy()
    arrays = (batch.features.cpu().numpy().copy(), batch.targets.cpu().numpy(), batch.rows.numpy(), classes)
    return (*arrays, batch.weight)


def epoch_of(split, sampler=None, *, epoch=0, **options):
    return [frozen(batch) for batch in load(split, sampler, **options).epoch(epoch)]


def assert_same_batches(one, other):
    assert len(one) == len(other)
    for batch, wanted in zip(one, other, strict=True):
        for array, expected in zip(batch, wanted, strict=True):
            np.testing.assert_array_equal(array, expected)


def textbook(split, rows, positions, frames_of):
    """Clips and labels, video by video."""
    store = split.frames
    clips = np.empty((len(rows), FRAMES, store.dim), np.float32)
    targets = np.zeros((len(rows), split.num_classes), np.float32)
    for index, (row, position) in enumerate(zip(rows, positions, strict=True)):
        start, end = store.offsets[split.videos[row]], store.offsets[split.videos[row] + 1]
        clips[index] = store.frames[start:end][frames_of(end - start, position)]
        first, last = split.labels.offsets[row : row + 2]
        targets[index, split.labels.classes[first:last]] = 1
    return clips, targets


# Contents of a batch


@pytest.mark.parametrize("sampler", [InstanceSampler(), ClassSampler(), ClassSampler(0.5)], ids=repr)
@pytest.mark.parametrize(
    ("sampling", "meaning"),
    [
        ("with_replacement", {"replacement": True}),
        ("without_replacement", {"replacement": False}),
        ("uniform", {"mode": "uniform"}),
    ],
)
def test_training_batches_are_those_of_the_textbook(few, sampler, sampling, meaning):
    seed, stream, epoch = 11, 1, 3
    draw = sampler.draw(few.labels, seed, epoch, stream)

    def frames_of(length, position):
        how = {"seed": derived_seed(seed, stream), "epoch": epoch, "samples": [position]}
        return sample_frames([length], FRAMES, **how | meaning)[0]

    loader = load(few, sampler, seed=seed, stream=stream, frame_sampling=sampling)
    batches = list(map(frozen, loader.epoch(epoch)))
    assert [len(batch[2]) for batch in batches] == [8] * 6 + [2]
    assert (loader.num_batches, loader.num_rows) == (7, 50)
    position = 0
    for features, targets, rows, classes, weight in batches:
        positions = range(position, position + len(rows))
        clips, labels = textbook(few, rows, positions, frames_of)
        np.testing.assert_array_equal(rows, draw.rows[list(positions)])
        np.testing.assert_array_equal(features, clips)
        np.testing.assert_array_equal(targets, labels)
        assert (features.dtype, targets.dtype, weight) == (np.float32, np.float32, 1.0)
        if draw.classes is None:
            assert classes is None
        else:
            np.testing.assert_array_equal(classes, draw.classes[list(positions)])
            assert (labels[range(len(rows)), classes] == 1).all()
        position += len(rows)


def test_evaluation_sees_every_row_in_order_at_even_spaces(few):
    batches = epoch_of(few)
    rows = np.concatenate([batch[2] for batch in batches])
    np.testing.assert_array_equal(rows, np.arange(50))
    clips, labels = textbook(few, rows, rows, lambda n, _: [k * (n - 1) // (FRAMES - 1) for k in range(FRAMES)])
    np.testing.assert_array_equal(np.concatenate([batch[0] for batch in batches]), clips)
    np.testing.assert_array_equal(np.concatenate([batch[1] for batch in batches]), labels)
    assert all(batch[3] is None for batch in batches)


@pytest.mark.parametrize(
    ("batch_size", "size", "sizes"),
    # of 50 rows; in training a last batch with fewer than two rows a rank is dropped
    [(8, 1, [8] * 6 + [2]), (7, 1, [7] * 7), (49, 1, [49]), (48, 2, [48]), (46, 2, [46, 4]), (100, 2, [50])],
)
def test_a_last_batch_that_is_too_small_is_dropped_in_training_alone(few, batch_size, size, sizes):
    ranks = [load(few, InstanceSampler(), batch_size=batch_size, rank=rank, size=size) for rank in range(size)]
    found = [[len(batch.rows) for batch in loader.epoch(0)] for loader in ranks]
    assert [sum(parts) for parts in zip(*found, strict=True)] == sizes
    assert {loader.num_batches for loader in ranks} == {len(sizes)}
    assert [loader.num_rows for loader in ranks] == list(map(sum, found))
    assert min(map(min, found)) >= 2
    kept = [rows for rank in range(size) for batch in epoch_of(few, batch_size=batch_size, rank=rank, size=size)
            for rows in batch[2]]  # fmt: skip
    assert sorted(kept) == list(range(50))


# Dependence on seed, epoch and ranks


@pytest.mark.parametrize("sampler", [InstanceSampler(), ClassSampler(), None], ids=repr)
@pytest.mark.parametrize("size", [2, 3])
def test_ranks_together_have_the_batches_of_one_process(few, sampler, size):
    alone = epoch_of(few, sampler, epoch=2, batch_size=14)
    shares = [epoch_of(few, sampler, epoch=2, batch_size=14, rank=rank, size=size) for rank in range(size)]
    assert [len(whole[2]) for whole in alone] == [14, 14, 14, 8]
    for whole, *parts in zip(alone, *shares, strict=True):
        for index in range(3 if whole[3] is None else 4):
            np.testing.assert_array_equal(np.concatenate([part[index] for part in parts]), whole[index])
        assert [part[4] for part in parts] == [len(part[2]) * size / len(whole[2]) for part in parts]
        assert sum(part[4] for part in parts) == pytest.approx(size)


def test_more_ranks_than_rows_leave_some_without(tiny):
    three = dataclasses.replace(tiny.test, labels=tiny.test.labels.select(np.arange(3)), videos=tiny.test.videos[:3])
    found = [epoch_of(three, rank=rank, size=5) for rank in range(5)]
    assert [row for batches in found for batch in batches for row in batch[2]] == [0, 1, 2]
    assert sum(not batches for batches in found) == 2


def test_seed_epoch_and_stream_decide(few):
    draws = [epoch_of(few, InstanceSampler(), **key) for key in ({}, {"seed": 8}, {"epoch": 1}, {"stream": 1})]
    assert_same_batches(draws[0], epoch_of(few, InstanceSampler()))
    for index, one in enumerate(draws):
        for other in draws[:index]:
            assert [batch[2].tolist() for batch in one] != [batch[2].tolist() for batch in other]
    by_place = [np.concatenate([batch[0] for batch in epoch_of(few, epoch=epoch)]) for epoch in (0, 1)]
    np.testing.assert_array_equal(*by_place)  # evaluation draws nothing


def test_a_video_gets_other_frames_each_time(few):
    """Also where the order is the same: the frames' draws are not the sampler's."""
    clips = []
    for how in ({}, {"epoch": 1}, {"seed": 8}, {"stream": 1}):
        by_row = {}
        for features, _, rows, *_ in epoch_of(few, InstanceSampler(), **how):
            by_row |= dict(zip(rows.tolist(), features, strict=True))
        clips.append(np.stack([by_row[row] for row in range(50)]))
    for index, one in enumerate(clips):
        assert all((one != other).any(axis=(1, 2)).mean() > 0.9 for other in clips[:index])


@pytest.mark.parametrize("sampler", [ClassSampler(), None], ids=repr)
def test_threads_change_nothing(few, sampler):
    assert_same_batches(epoch_of(few, sampler, threads=1), epoch_of(few, sampler, threads=7))


@pytest.mark.parametrize("sampler", [ClassSampler(), None], ids=repr)
def test_a_file_a_video_gives_the_batches_of_the_packed_store(tiny, unpacked, sampler):
    for split in ("train", "validate"):
        one, other = getattr(tiny, split), getattr(unpacked, split)
        assert_same_batches(epoch_of(one, sampler, batch_size=64), epoch_of(other, sampler, batch_size=64))


@pytest.mark.parametrize("is_resident", [False, True])
@pytest.mark.parametrize("sampler", [ClassSampler(), None], ids=repr)
def test_batches_are_the_same_on_every_device(few, torch_device, sampler, is_resident):
    resident = resident_frames(few.frames, torch_device, "device" if is_resident else "host")
    loader = load(few, sampler, device=torch_device, resident=resident)
    found = []
    for batch in loader.epoch(1):
        assert batch.features.device.type == batch.targets.device.type == torch_device
        assert batch.rows.device.type == "cpu"
        assert (batch.features.dtype, batch.targets.dtype) == (torch.float32, torch.float32)
        found.append(frozen(batch))
    assert_same_batches(found, epoch_of(few, sampler, epoch=1))


# Batches made ahead


@pytest.mark.parametrize("waits", [False, True])
def test_a_batch_stays_what_it_is_until_the_next_is_asked_for(few, waits):
    loader = load(few, InstanceSampler(), batch_size=4)
    expected = [frozen(batch) for epoch in range(2) for batch in loader.epoch(epoch)]
    addresses, found = set(), []
    for epoch in range(2):
        for batch in loader.epoch(epoch):
            before = frozen(batch)
            if waits:
                time.sleep(0.01)  # the thread has made what it may
            assert_same_batches([before], [frozen(batch)])
            addresses.add(batch.features.data_ptr())
            found.append(before)
    assert_same_batches(found, expected)
    assert len(addresses) == 3  # one in use, two ahead


def test_batches_are_made_ahead_and_no_further(few, monkeypatch):
    made = []
    gather = type(few.frames).gather
    monkeypatch.setattr(
        type(few.frames),
        "gather",
        lambda self, videos, *rest, **how: made.append(1) or gather(self, videos, *rest, **how),
    )
    batches = load(few).epoch(0)
    assert made == []
    next(batches)
    for _ in range(200):
        time.sleep(0.005)
        if len(made) == 3:
            break
    time.sleep(0.05)
    assert len(made) == 3
    batches.close()


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("vltr-loader")]


@pytest.mark.parametrize("taken", [0, 1, 4, 7])
def test_an_epoch_may_be_abandoned(few, taken):
    loader = load(few, InstanceSampler())
    batches = loader.epoch(0)
    for _ in range(taken):
        next(batches)
    batches.close()
    assert loader_threads() == []
    assert_same_batches(list(map(frozen, loader.epoch(1))), epoch_of(few, InstanceSampler(), epoch=1))


def test_an_error_of_the_thread_is_the_callers(unpacked, monkeypatch):
    loader = load(unpacked.validate)
    expected = list(map(frozen, loader.epoch(0)))
    name = unpacked.validate.labels.ids[20]  # in the third batch
    path = unpacked.frames.folder / f"{name}.npy"
    content = path.read_bytes()
    path.unlink()
    found = []
    try:
        with pytest.raises(InputError, match=f"{name}.npy: no such file"):
            found.extend(map(frozen, loader.epoch(0)))
        assert loader_threads() == []
    finally:
        path.write_bytes(content)
    assert_same_batches(list(map(frozen, loader.epoch(0))), expected)  # it goes on where the file is there again


# Frames on the device


def test_frames_stay_where_they_are_unless_a_device_has_room(tiny, unpacked):
    assert resident_frames(tiny.frames, "cpu") is None
    assert resident_frames(tiny.frames, "cpu", "host") is None
    assert resident_frames(unpacked.frames, "cpu") is None
    resident = resident_frames(tiny.frames, "cpu", "device")
    np.testing.assert_array_equal(resident.numpy(), tiny.frames.frames)
    assert resident.dtype == torch.float16


def test_frames_are_put_on_a_gpu_with_room(tiny, gpu, monkeypatch):
    assert resident_frames(tiny.frames, gpu).is_cuda
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (tiny.frames.frames.nbytes, 0))
    assert resident_frames(tiny.frames, gpu) is None


# Refused arguments


def test_what_cannot_be_loaded_is_refused(tiny, unpacked, few):
    with pytest.raises(ValueError, match=r"^store: expected auto, host or device, got 'gpu'$"):
        resident_frames(tiny.frames, "cpu", "gpu")
    with pytest.raises(ValueError, match=r"^store: expected packed frames .*, got a file a video$"):
        resident_frames(unpacked.frames, "cpu", "device")
    with pytest.raises(ValueError, match=r"^batch_size: expected at least 2 rows for 1 ranks, got 1 of 50 rows$"):
        load(few, InstanceSampler(), batch_size=1)
    with pytest.raises(ValueError, match=r"^batch_size: expected at least 6 rows for 3 ranks, got 5 of 50 rows$"):
        load(few, InstanceSampler(), batch_size=5, size=3)
    with pytest.raises(ValueError, match=r"^batch_size: expected at least 2 rows for 1 ranks, got 8 of 1 rows$"):
        load(few, InstanceSampler(rows=[3]))
    assert [len(batch.rows) for batch in load(few, batch_size=1).epoch(0)] == [1] * 50


def test_seeds_of_other_purposes_differ():
    keys = [(5,), (5, 0), (5, 0, 0), (5, 1), (5, 0, 1), (5 + 2**32,), (5 + 2**32, 1), (0,), (0, 0)]
    assert len({derived_seed(*key) for key in keys}) == len(keys)
    assert all(0 <= derived_seed(*key) < 2**64 for key in keys)


@pytest.mark.parametrize(
    ("kind", "num_rows", "sampler", "steps", "last"),
    [(TrainSplit, 179_334, InstanceSampler(), 1_402, 6), (TestSplit, 51_239, None, 401, 39)],
    ids=["train", "test"],
)
def test_videolts_splits_have_the_published_steps(kind, num_rows, sampler, steps, last):
    rows = np.arange(num_rows)
    labels = LabelList.from_pairs(tuple(map(str, rows)), rows, rows % 1_004, 1_004)
    frames = SimpleNamespace(lengths=np.full(num_rows, 150), dtype="float16", dim=2048)
    loader = Loader(kind(labels, rows, frames), batch_size=128, num_frames=60, sampler=sampler)
    assert (loader.num_batches, loader.num_rows) == (steps, num_rows)
    assert num_rows - (steps - 1) * 128 == last
