"""Head, medium and tail classes from training counts."""

from __future__ import annotations

import numpy as np
import pytest

from vltr_eval._base.groups import class_groups


def _sizes(counts, *bounds):
    return [len(members) for members in class_groups(counts, *bounds).values()]


def test_groups_follow_the_bounds_of_the_published_code():
    groups = class_groups([501, 500, 101, 100, 0, 1912])
    assert list(groups) == ["head", "medium", "tail"]
    assert groups["head"].tolist() == [0, 5]
    assert groups["medium"].tolist() == [1, 2]
    assert groups["tail"].tolist() == [3, 4]


def test_groups_partition_the_classes():
    counts = np.random.default_rng(0).integers(0, 1000, 300)
    members = np.concatenate(list(class_groups(counts).values()))
    assert sorted(members.tolist()) == list(range(300))


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.float32, np.float64])
def test_groups_accept_whole_numbers_of_any_dtype(dtype):
    assert _sizes(np.array([600, 300, 5], dtype)) == [1, 1, 1]


def test_groups_take_other_bounds():
    assert _sizes([300, 41, 40, 2], (100, 20)) == [1, 2, 1]
    assert _sizes([300, 41, 40, 2], (40, 40)) == [2, 0, 2]


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ([1, -2], "train_counts: expected whole numbers from 0 up, got -2 for class 1"),
        ([1.5, 2], "train_counts: expected whole numbers from 0 up, got 1.5 for class 0"),
        ([1, np.nan], "train_counts: expected whole numbers from 0 up, got nan for class 1"),
        ([1, np.inf], "train_counts: expected whole numbers from 0 up, got inf for class 1"),
        ([[1, 2]], r"train_counts: expected one number a class \(C,\), got shape \(1, 2\)"),
    ],
)
def test_groups_refuse_invalid_counts(counts, sentence):
    with pytest.raises(ValueError, match=sentence):
        class_groups(counts)


def test_groups_refuse_words():
    with pytest.raises(TypeError, match="train_counts: expected numbers, got dtype"):
        class_groups(["many", "few"])


def test_groups_refuse_another_number_of_classes():
    with pytest.raises(ValueError, match="train_counts: 2 classes, but scores has 3"):
        class_groups([1, 2], num_classes=3)


@pytest.mark.parametrize("bounds", [(100, 500), (5, -1), (500,), (500, 100, 20), (np.nan, 3)])
def test_groups_refuse_bounds_that_are_not_ordered(bounds):
    with pytest.raises(ValueError, match="bounds: expected"):
        class_groups([1, 2], bounds)


@pytest.mark.parametrize(
    ("preset", "names", "group_of"),
    [
        # OLTR's shot_acc: many has more than 100 training images, few fewer than 20.
        ("few-shot", ["many", "medium", "few"], lambda n: "many" if n > 100 else "few" if n < 20 else "medium"),
        # LVIS: rare classes are in 1 to 10 training images, common ones in 11 to 100.
        ("lvis", ["f", "c", "r"], lambda n: "r" if n <= 10 else "c" if n <= 100 else "f"),
        ("videolt", ["head", "medium", "tail"], lambda n: "head" if n > 500 else "tail" if n <= 100 else "medium"),
    ],
)
def test_presets_are_the_cut_offs_of_their_communities(preset, names, group_of):
    counts = [1, 9, 10, 11, 12, 18, 19, 20, 21, 99, 100, 101, 102, 499, 500, 501, 502]
    groups = class_groups(counts, preset)
    assert list(groups) == names
    found = {index: name for name, members in groups.items() for index in members.tolist()}
    assert [found[index] for index in range(len(counts))] == [group_of(count) for count in counts]


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match=r"^bounds: expected two numbers \(high, low\) or one of videolt, few-shot"):
        class_groups([1, 2], "few_shot")
