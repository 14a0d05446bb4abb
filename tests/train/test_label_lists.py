"""Label lists against plain loops, the published construction of MiniKinetics, and what is said of broken files."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vltr_eval.formats import InputError
from vltr_train.data.label_lists import (
    MINIKINETICS_CLASS_ORDER,
    LabelList,
    read_ava,
    read_class_counts,
    read_minikinetics,
    read_videofolder,
    read_videolt_list,
    write_class_counts,
    write_videolt_list,
)

NUM_CLASSES = 6
label_rows = st.lists(st.lists(st.integers(0, NUM_CLASSES - 1), unique=True, max_size=4), min_size=1, max_size=12)


def make(rows):
    return LabelList.from_lists([f"v{i}" for i in range(len(rows))], rows, NUM_CLASSES)


@given(label_rows, st.data())
def test_multi_hot_counts_and_by_class_equal_loops(rows, data):
    labels = make(rows)
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8))
    expected = np.zeros((len(picked), NUM_CLASSES))
    for number, row in enumerate(picked):
        expected[number, rows[row]] = 1
    targets = labels.multi_hot(np.array(picked, np.int64))
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets, expected)
    np.testing.assert_array_equal(labels.counts(), labels.multi_hot(dtype=bool).sum(0))
    offsets, members = labels.by_class()
    for c in range(NUM_CLASSES):
        assert members[offsets[c] : offsets[c + 1]].tolist() == [i for i, row in enumerate(rows) if c in row]


@given(label_rows, st.data())
def test_only_keeps_rows_in_the_given_order(rows, data):
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), unique=True))
    part = make(rows).select(np.array(picked, np.int64))
    assert part.ids == tuple(f"v{row}" for row in picked)
    assert [part.classes[a:b].tolist() for a, b in zip(part.offsets, part.offsets[1:], strict=False)] == [
        sorted(rows[row]) for row in picked
    ]


@given(label_rows.filter(any))
def test_lists_come_back_from_their_file(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("lists") / "train.lst"
    labels = make(rows)
    write_videolt_list(path, labels)
    back = read_videolt_list(path, NUM_CLASSES)
    assert back.ids == labels.ids
    np.testing.assert_array_equal(back.offsets, labels.offsets)
    np.testing.assert_array_equal(back.classes, labels.classes)
    assert read_videolt_list(path).num_classes == 1 + max(map(max, filter(None, rows)))


def test_published_lines_are_read(tmp_path):
    path = tmp_path / "train.lst"
    path.write_text("-1aB_x 12,3\n_Zz-9 0\n\n")
    labels = read_videolt_list(path)
    assert labels.ids == ("-1aB_x", "_Zz-9")
    assert labels.classes.tolist() == [3, 12, 0]
    assert labels.num_classes == 13


@pytest.mark.parametrize("line", ["a 2147483647", "a 0,65536"])
def test_a_class_that_no_list_needs_is_refused(tmp_path, line):
    """Each class gets a name and counts: 2^31 of them take all memory."""
    (tmp_path / "train.lst").write_text(f"{line}\nb 1\n")
    with pytest.raises(
        InputError, match=r"train\.lst: expected classes below 65536 where no class names are given, got"
    ):
        read_videolt_list(tmp_path / "train.lst")
    (tmp_path / "train.lst").write_text("a 65535\n")
    assert read_videolt_list(tmp_path / "train.lst").num_classes == 65536


def test_more_labels_allow_more_classes(tmp_path):
    """A list of each class once has as many classes as labels, however many these are."""
    (tmp_path / "train.lst").write_text("".join(f"v{c} {c}\n" for c in range(70_000)))
    assert read_videolt_list(tmp_path / "train.lst").num_classes == 70_000


def test_videofolder_lines_are_read(tmp_path):
    (tmp_path / "test_videofolder.txt").write_text("multiple/a 150 2,0,\nriver/b-_1 7 1,\nriver/c 9 1\n")
    labels = read_videofolder(tmp_path / "test_videofolder.txt")
    assert labels.ids == ("a", "b-_1", "c")
    assert labels.multi_hot().tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]
    assert read_videofolder(tmp_path / "test_videofolder.txt", 9).num_classes == 9


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected lines '<folder>/<id> <frames> <class>,...', got none"),
        ("x/a 1\n", "line 1: expected '<folder>/<id> <frames> <class>,...', got 'x/a 1'"),
        ("x/a 1 2,\nx/b 1 b,\n", "line 2: expected '<folder>/<id> <frames> <class>,...', got 'x/b 1 b,'"),
        ("x/a 1 99999999999999999999,\n", "line 1: expected '<folder>/<id> <frames> <class>,...', got"),
        ("x/a 1 2147483647,\n", "expected classes below 65536 where no class names are given, got 2147483647"),
        ("x/a 1 2,\ny/a 1 2,\n", "ids: expected each video once, got a twice"),
        ("x/a 1 2,2,\n", "labels: expected each class once a video, got 2 twice of a"),
    ],
)
def test_wrong_videofolder_lines_are_named(tmp_path, text, sentence):
    path = tmp_path / "test_videofolder.txt"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        read_videofolder(path)
    assert str(refused.value).startswith(f"{path}: {sentence}")


def test_label_lists_are_shown_in_one_line():
    assert repr(make([[0, 1], [2]])) == "LabelList(2 videos, 3 labels, 6 classes)"


def test_counts_come_back_from_their_file(tmp_path):
    path = tmp_path / "count-labels-train.lst"
    write_class_counts(path, ["river", "bend/bow (at the waist)"], np.array([1912, 0]))
    assert path.read_text().splitlines()[0] == "river 0 1912.0"
    names, counts = read_class_counts(path)
    assert names == ["river", "bend/bow (at the waist)"]
    assert counts.tolist() == [1912, 0]


@pytest.mark.parametrize(
    ("text", "num_classes", "sentence"),
    [
        ("a 0\nb 1\na 2\n", None, "line 3: video a is listed already"),
        ("a 0\nb 1,7\n", 5, "line 2: expected classes from 0 to 4, got 7"),
        ("a 0\nb x\n", None, "line 2: expected a class index (0, 1, ...), got 'x'"),
        ("a 0\nb 1,1\n", None, "line 2: class 1 is listed twice"),
        ("a 0 1\n", None, "line 1: expected '<id> <class>[,<class>...]', got 3 fields"),
    ],
)
def test_what_is_wrong_with_a_list_is_said_with_its_line(tmp_path, text, num_classes, sentence):
    path = tmp_path / "train.lst"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_videolt_list(path, num_classes)
    assert str(error.value) == f"{path}: {sentence}"


@pytest.mark.parametrize(
    ("ids", "rows", "sentence"),
    [
        (["a"], [[6]], "labels: expected classes from 0 to 5, got 6 of a"),
        (["a"], [[-1]], "labels: expected classes from 0 to 5, got -1 of a"),
        (["a", "b"], [[0], [1, 1]], "labels: expected each class once a video, got 1 twice of b"),
        (["a", "a"], [[0], [1]], "ids: expected each video once, got a twice"),
        (["a", "b"], [[0]], "labels: expected one list for each of 2 ids, got 1"),
    ],
)
def test_what_is_wrong_with_labels_is_said(ids, rows, sentence):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        LabelList.from_lists(ids, rows, NUM_CLASSES)
    assert str(error.value) == sentence


def test_ids_and_names_that_no_line_can_hold_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected ids without white space, got 'a b'"):
        write_videolt_list(tmp_path / "x.lst", LabelList.from_lists(["a b"], [[0]], 1))
    with pytest.raises(ValueError, match="expected class names of one line"):
        write_class_counts(tmp_path / "x.lst", ["a\nb"], np.array([1]))
    assert not list(tmp_path.iterdir())


# MiniKinetics


@pytest.fixture(scope="module")
def minikinetics_lists(tmp_path_factory):
    """Lists of the published sizes (123 to 399 a class), their classes in mixed lines: (folder, class of each line)."""
    folder = tmp_path_factory.mktemp("minikinetics")
    sizes = np.round(np.linspace(399, 398, 200) * np.linspace(1, 123 / 398, 200) ** 0.3).astype(int)
    sizes[-1] = 123
    rng = np.random.default_rng(0)
    classes = rng.permutation(np.repeat(MINIKINETICS_CLASS_ORDER, sizes))
    lines = [f"video{i:06d}_000001_000011 {c}\n" for i, c in enumerate(classes)]
    (folder / "train.lst").write_text("".join(lines))
    (folder / "val.lst").write_text("".join(f"val{i:04d} {c}\n" for i, c in enumerate([7, 57, 185, 7])))
    return folder, classes


@pytest.mark.parametrize(
    ("imbalance", "total", "smallest", "groups"),
    [
        (0.01, 17170, 3, (13, 86, 101)),
        (0.02, 19995, 7, (15, 101, 84)),
        (0.05, 25287, 19, (19, 133, 48)),
        (0.1, 31152, 39, (25, 172, 3)),
    ],
)
def test_minikinetics_has_the_published_sizes(minikinetics_lists, imbalance, total, smallest, groups):
    folder, classes = minikinetics_lists
    train, test = read_minikinetics(folder / "train.lst", folder / "val.lst", imbalance)
    counts = train.counts()
    assert (len(train), counts[0], counts[-1]) == (total, 399, smallest)
    assert ((counts > 300).sum(), ((counts > 40) & (counts <= 300)).sum(), (counts <= 40).sum()) == groups
    assert counts.tolist() == [int(399 * imbalance ** (k / 199)) for k in range(200)]
    first = np.flatnonzero(classes == MINIKINETICS_CLASS_ORDER[-1])[:smallest]
    offsets, rows = train.by_class()
    assert [train.ids[row] for row in rows[offsets[199] :]] == [f"video{i:06d}_000001_000011" for i in first]
    assert list(train.ids) == sorted(train.ids)  # the order of the file
    assert test.classes.tolist() == [0, 1, 199, 0]


def test_minikinetics_order_is_the_published_one():
    assert sorted(MINIKINETICS_CLASS_ORDER) == list(range(200))
    digest = hashlib.md5(json.dumps(MINIKINETICS_CLASS_ORDER).encode(), usedforsecurity=False).hexdigest()
    assert digest == "f15f955b7819c87c8effaffde9f34a75"  # of the list that the published code makes


def test_minikinetics_refuses_other_lists(tmp_path):
    train, val = tmp_path / "train.lst", tmp_path / "val.lst"
    val.write_text("b 1\n")
    train.write_text("a 7\nb 57\nc 57\n")
    with pytest.raises(InputError, match="published list: class 57 has 2 videos, class 7 only 1"):
        read_minikinetics(train, val, 0.1)
    train.write_text("a 7\nb 57,3\n")
    with pytest.raises(InputError, match=r"train.lst: line 2: expected one class, got 2"):
        read_minikinetics(train, val, 0.1)
    with pytest.raises(ValueError, match="imbalance: expected above 0 and at most 1, got 100"):
        read_minikinetics(train, val, 100)


# AVA

AVA_LINES = """\
-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,80,1
-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,9,1
-5KQ66BBWC4,0902,0.226,0.032,0.366,0.497,12,0
-5KQ66BBWC4,0903,0.077,0.151,0.283,0.811,9,1
-5KQ66BBWC4,0903,0.077,0.151,0.283,0.811,9,1
"""


def test_ava_boxes_get_their_actions(tmp_path):
    path = tmp_path / "ava_train_v2.2.csv"
    path.write_text(AVA_LINES)
    labels = read_ava(path)
    assert labels.ids == ("-5KQ66BBWC4_0902_1", "-5KQ66BBWC4_0902_0", "-5KQ66BBWC4_0903_1")
    assert (labels.num_classes, labels.classes.tolist()) == (80, [8, 79, 11, 8])
    some = read_ava(path, {80: "watch", 9: "lie"})
    assert (some.num_classes, some.classes.tolist(), some.offsets.tolist()) == (2, [0, 1, 0], [0, 2, 2, 3])


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("v,0902,0,0,1,1,81,0", "line 6: expected an action from 1 to 80, got 81"),
        ("v,0902,0,0,1,1,3", "line 6: expected <video>,<timestamp>,<x1>,<y1>,<x2>,<y2>,<action>,<person>, got 'v,0902"),
    ],
)
def test_what_is_wrong_with_ava_is_said_with_its_line(tmp_path, line, sentence):
    path = tmp_path / "ava.csv"
    path.write_text(AVA_LINES + line + "\n")
    with pytest.raises(InputError) as error:
        read_ava(path)
    assert str(error.value).startswith(f"{path}: {sentence}")
