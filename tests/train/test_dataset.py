"""Data sets: lists and frames that belong together, and what is said where they do not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from vltr_eval.formats import InputError
from vltr_train.data.dataset import DatasetLists, TestSplit, TrainSplit, ValSplit, open_dataset
from vltr_train.data.frame_store import FrameStore, StoreWriter, VideoFolder
from vltr_train.data.label_lists import LabelList

DIM = 4
LISTS = DatasetLists(
    "toy",
    (2, 1),
    ("river", "making dolls", "crowd"),
    LabelList.from_lists(["a", "b", "c", "d"], [[0], [0, 1], [0], [2]], 3),
    LabelList.from_lists(["e"], [[2]], 3),
    LabelList.from_lists(["f", "g"], [[1], [0, 2]], 3),
)
VIDEOS = {name: np.full((length, DIM), length, "f4") for length, name in enumerate("gfedcba", start=1)}


def write_files(folder, names=tuple(VIDEOS)):
    folder.mkdir(exist_ok=True)
    for name in names:
        np.save(folder / f"{name}.npy", VIDEOS[name])


def write_store(folder, names=tuple(VIDEOS)):
    with StoreWriter(folder, names, [len(VIDEOS[name]) for name in names], DIM) as writer:
        for number, name in enumerate(names):
            writer.write(number, VIDEOS[name])
        writer.finish()


@pytest.mark.parametrize("layout", ["packed", "packed in features", "files", "files elsewhere", "packed elsewhere"])
def test_frames_are_found_and_belong_to_their_labels(tmp_path, layout):
    folder, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    LISTS.write(folder)
    target = elsewhere if "elsewhere" in layout else folder if layout == "packed" else folder / "features"
    (write_store if "packed" in layout else write_files)(target)
    dataset = open_dataset(folder, features=elsewhere if "elsewhere" in layout else None)
    assert isinstance(dataset.frames, FrameStore if "packed" in layout else VideoFolder)
    assert (dataset.name, dataset.bounds, dataset.num_classes, dataset.dim) == ("toy", (2, 1), 3, DIM)
    assert dataset.class_names == LISTS.class_names
    assert dataset.train_counts.tolist() == [3, 1, 1]
    assert [type(split) for split in (dataset.train, dataset.validate, dataset.test)] == [
        TrainSplit,
        ValSplit,
        TestSplit,
    ]
    assert (len(dataset.train), dataset.train.num_classes, dataset.train.lengths.tolist()) == (4, 3, [7, 6, 5, 4])
    for split in (dataset.train, dataset.validate, dataset.test):
        clips = split.frames.gather(split.videos, np.zeros((len(split), 1), np.int64))
        assert clips[:, 0, 0].tolist() == [len(VIDEOS[name]) for name in split.labels.ids]


def test_only_the_training_list_must_be_there(tmp_path):
    (tmp_path / "train.lst").write_text("a 0\nb 2\n")
    write_files(tmp_path / "features")
    dataset = open_dataset(tmp_path)
    assert (dataset.validate, dataset.test, dataset.num_skipped) == (None, None, 0)
    assert dataset.class_names == ("class0000", "class0001", "class0002")
    assert (dataset.name, dataset.bounds) == (tmp_path.name, (500, 100))
    (tmp_path / "test.lst").write_text("c 4\n")
    dataset = open_dataset(tmp_path)
    assert dataset.num_classes == dataset.train.num_classes == dataset.test.num_classes == 5


def test_lists_come_back_as_they_were_written(tmp_path):
    LISTS.write(tmp_path)
    back = DatasetLists.read(tmp_path)
    assert replace(back, train=LISTS.train, validate=LISTS.validate, test=LISTS.test).ids == LISTS.ids
    assert (back.name, back.bounds, back.class_names) == (LISTS.name, LISTS.bounds, LISTS.class_names)
    for split, labels in LISTS.splits.items():
        np.testing.assert_array_equal(back.splits[split].multi_hot(), labels.multi_hot())
    assert DatasetLists.read(tmp_path, name="other", bounds=(9, 3)).bounds == (9, 3)


@pytest.mark.parametrize("write", [write_store, write_files])
def test_videos_without_features_are_named_or_left_out(tmp_path, write):
    LISTS.write(tmp_path)
    write(tmp_path / "features", tuple("afgd"))
    with pytest.raises(InputError, match=r"train.lst: no features of b, and of 2 videos in all"):
        open_dataset(tmp_path)
    with pytest.raises(InputError, match=r"validate.lst: none of its 1 videos has features that can be used"):
        open_dataset(tmp_path, skip_missing=True)
    (tmp_path / "validate.lst").unlink()
    dataset = open_dataset(tmp_path, skip_missing=True)
    assert (dataset.num_skipped, dataset.train.labels.ids) == (2, ("a", "d"))
    assert dataset.train_counts.tolist() == [1, 0, 1]
    assert dataset.train.lengths.tolist() == [7, 4]


def test_counts_that_are_not_those_of_the_list_are_refused(tmp_path):
    LISTS.write(tmp_path)
    (tmp_path / "count-labels-train.lst").write_text("river 0 3.0\ndolls 1 2.0\ncrowd 2 1.0\n")
    with pytest.raises(InputError, match=r"expected 1 for class 1 \(dolls\) as in train.lst, got 2"):
        open_dataset(tmp_path)
    (tmp_path / "count-labels-train.lst").write_text("river 0 3.0\ndolls 1 1.0\n")
    with pytest.raises(InputError, match=r"train.lst: line 4: expected classes from 0 to 1, got 2"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "card",
    [
        "[]",
        "nonsense",
        json.dumps({"format": 2, "name": "toy", "bounds": [2, 1]}),
        json.dumps({"format": 1, "name": "toy", "bounds": [1, 2]}),
        json.dumps({"format": 1, "name": "toy"}),
    ],
)
def test_a_card_that_cannot_be_read_is_refused(tmp_path, card):
    LISTS.write(tmp_path)
    (tmp_path / "dataset.json").write_text(card)
    with pytest.raises(InputError, match=r"dataset.json: not the card of a data set"):
        open_dataset(tmp_path)


def test_folders_that_hold_no_data_set_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"not a data set, it has no train.lst"):
        open_dataset(tmp_path)
    LISTS.write(tmp_path)
    with pytest.raises(InputError, match="features: no frames there"):
        open_dataset(tmp_path)
    (tmp_path / "features").mkdir()
    with pytest.raises(InputError, match=r"features: no .npy of any video of the lists"):
        open_dataset(tmp_path)


def test_a_video_of_two_splits_is_refused(tmp_path):
    LISTS.write(tmp_path)
    DatasetLists.read(tmp_path)
    first = (tmp_path / "train.lst").read_text().split()[0]
    with (tmp_path / "test.lst").open("a") as stream:
        stream.write(f"{first} 0\n")
    with pytest.raises(InputError, match=rf"test.lst: expected videos of this split alone, got {first} of train.lst"):
        DatasetLists.read(tmp_path)


def test_videolts_videofolder_lists_take_the_place_of_missing_ones(tmp_path):
    (tmp_path / "train.lst").write_text("a 0\nb 2\n")
    (tmp_path / "val_videofolder.txt").write_text("multiple/e 9 0,2,\n")
    (tmp_path / "test_videofolder.txt").write_text("river/f 9 1,\n")
    lists = DatasetLists.read(tmp_path)
    assert (lists.validate.ids, lists.validate.classes.tolist()) == (("e",), [0, 2])
    assert (lists.test.ids, lists.test.classes.tolist()) == (("f",), [1])
    (tmp_path / "test.lst").write_text("g 1\n")
    assert DatasetLists.read(tmp_path).test.ids == ("g",)


def test_data_sets_are_shown_in_one_line(tmp_path):
    LISTS.write(tmp_path)
    write_store(tmp_path)
    dataset = open_dataset(tmp_path)
    store = f"FrameStore('{tmp_path}', 7 videos, 28 frames of 4 features, float16)"
    assert repr(dataset) == f"Dataset('toy', 3 classes, 4 train, 1 validate, 2 test, {store})"
    assert repr(dataset.validate) == "ValSplit(1 videos, 3 classes)"
    assert repr(LISTS) == "DatasetLists('toy', 3 classes, 4 train, 1 validate, 2 test)"


@pytest.mark.parametrize("text", ["", "[1]", '{"format": 1}', '{"format": 1, "name": "x", "bounds": 3}', "[" * 99_999])
def test_a_damaged_card_is_one_sentence(tmp_path, text):
    LISTS.write(tmp_path)
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.json: not the card of a data set"):
        DatasetLists.read(tmp_path)
