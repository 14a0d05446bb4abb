"""AVA's text through the core against Python's own conversions, line by line."""

from __future__ import annotations

import csv
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vltr_eval._engine.boxes import order_boxes, read_box_text
from vltr_eval.compat.ava.files import read_boxes, read_images
from vltr_eval.formats import InputError

NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(-10, 10, allow_nan=False, places=9).map(str),
    st.sampled_from(["0902", "-0", ".5", "1.", "+.5", "+1e2", "1E-3", " 7", "7\t", "1_0", "0" * 30 + "1", "1e-400"]),
    st.from_regex(r"[-+]?[0-9]{1,25}(\.[0-9]{0,25})?(e[-+]?[0-9]{1,2})?", fullmatch=True),
)
NAMES = st.one_of(
    st.just("v"),  # often the name of the line before
    st.text(st.characters(exclude_characters='\r\n,"\x00', exclude_categories=["Cs"]), max_size=6),
    st.sampled_from(['"a,b"', '"say ""hi"""', 'a"b', '""', " v", "v " * 40, "\u6620\u753b"]),
)
CLASSES = st.sampled_from(["1", "80", "12.0", "1e1", "-3", "2147483647", "-2147483648"])
BOXES = st.tuples(NAMES, *[NUMBERS] * 5, CLASSES).flatmap(
    lambda row: st.sampled_from([row, (*row, "0.25"), (*row, "-1e3"), row[:2]])
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("text") / "boxes.csv"


@given(rows=st.lists(BOXES, max_size=12), end=st.sampled_from(["\n", "\r\n"]), blank=st.integers(0, 3))
def test_every_number_is_that_of_python(path, rows, end, blank):
    lines = [",".join(row) for row in rows]
    lines.insert(min(blank, len(lines)), "")
    path.write_bytes(end.join(lines).encode())
    found = read_boxes(path)
    expected = [next(csv.reader([line])) for line in lines if line]
    boxes = [row for row in expected if len(row) > 2]
    assert found.images.videos == [row[0] for row in boxes]
    assert found.empty.videos == [row[0] for row in expected if len(row) == 2]
    columns = (found.images.times[:, None], found.corners, found.classes[:, None], found.scores[:, None])
    numbers = [[float(field) for field in (*row[1:], "1")[:7]] for row in boxes]
    np.testing.assert_array_equal(np.hstack(columns), np.array(numbers).reshape(-1, 7))
    assert np.signbit(found.corners).tolist() == [[math.copysign(1, x) < 0 for x in row[1:5]] for row in numbers]
    assert found.empty.times.tolist() == [float(row[1]) for row in expected if len(row) == 2]
    assert list(found.lines) == [
        number for number, line in enumerate(lines, 1) if line.count(",") > 1 and len(next(csv.reader([line]))) > 2
    ]


@pytest.mark.parametrize("number", ["+-5", "0x10", "1e", "--1", ".", "-", "1 2", "1d3", "", "nan", "-inf", "1e999"])
def test_text_that_python_takes_for_no_finite_number_is_refused(path, number):
    path.write_text(f"v,1,0,0,1,1,3,.5\nv,1,0,{number},1,1,3,.5\n")
    with pytest.raises(InputError, match=r"line 2, column 4: expected a finite number"):
        read_boxes(path)


def plain_text(rows: int) -> bytes:
    """Lines of all widths, long enough for several parts of the core's work."""
    rng = np.random.default_rng(rows)
    lines = [
        f"v{i // 40:04d},{902 + i % 7},{','.join(map(repr, rng.random(4).tolist()))},{i % 80}" for i in range(rows)
    ]
    lines = [line + (f",{i / rows!r}" if i % 5 else "") for i, line in enumerate(lines)]
    return "\n".join([*lines, "w,1", "", lines[0]]).encode()


def columns_for(lines: int) -> tuple[np.ndarray, ...]:
    return tuple(np.zeros(shape, dtype) for shape, dtype in (
        (lines, np.int32), (lines, float), ((lines, 4), float), (lines, np.int32), (lines, float)
    ))  # fmt: skip


def test_threads_change_no_bit():
    text = plain_text(20_000)
    lines = text.count(b"\n") + 1
    results = []
    for threads in (1, 2, 5):
        columns = columns_for(lines)
        found = read_box_text(np.frombuffer(text, np.uint8), columns, threads=threads)
        assert (found.num_lines, found.num_boxes, found.unscored_line) == (lines, lines - 2, 0)
        assert found.names[:2] == [b"v0000", b"v0001"]
        assert found.names[-1] == b"w"
        results.append([*columns, found.box_lines, found.image_videos])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)
    rows = [line.split(b",") for line in text.split(b"\n") if line.count(b",") > 1]
    np.testing.assert_array_equal(results[0][2][: len(rows)], [[float(x) for x in row[2:6]] for row in rows])
    np.testing.assert_array_equal(results[0][5], [*range(20_000), 20_002])


def test_columns_without_room_are_refused():
    text = np.frombuffer(plain_text(10), np.uint8)
    with pytest.raises(ValueError, match="expected room for every line"):
        read_box_text(text, columns_for(5))
    short = (*columns_for(13)[:4], np.zeros(5))
    with pytest.raises(ValueError, match="score: expected a column of as many rows as the others"):
        read_box_text(text, short)


def test_names_that_are_no_text_are_refused_by_line(path):
    path.write_bytes(b"v,1,0,0,1,1,3,.5\n\xff,1,0,0,1,1,3,.5\n")
    with pytest.raises(InputError, match="line 2: expected UTF-8 text, got binary data"):
        read_boxes(path)
    path.write_bytes(b"v,1\n\xff,1\n")
    with pytest.raises(InputError, match="line 2: expected UTF-8 text, got binary data"):
        read_images(path)


def test_images_have_no_boxes(path):
    path.write_text("v,1\n\n w,2.5\nv,3\n")
    found = read_images(path)
    assert list(zip(found.videos, found.times.tolist(), strict=True)) == [("v", 1.0), (" w", 2.5), ("v", 3.0)]


@given(seed=st.integers(0, 10**6), limit=st.sampled_from([None, 1, 2, 5]))
def test_rows_are_ordered_as_by_a_sort_with_all_keys(seed, limit):
    rng = np.random.default_rng(seed)
    number, groups = int(rng.integers(0, 60)), int(rng.integers(1, 6))
    group = np.sort(rng.integers(0, groups, number))
    rows = np.argsort(rng.permutation(number))
    classes = rng.integers(1, 4, number).astype(np.int32)
    corners, scores = rng.integers(0, 2, (number, 4)).astype(float), rng.integers(0, 3, number) / 2
    offset = np.searchsorted(group, np.arange(groups + 1))
    got = order_boxes(rows, offset, classes, corners, scores, limit=limit, threads=2).tolist()
    expected = []
    for first, last in itertools.pairwise(offset):
        own = sorted(rows[first:last].tolist(), key=lambda r: (classes[r], *corners[r], scores[r], r))
        best = sorted(own, key=lambda r: -scores[r])[:limit]
        expected += [row for row in own if row in best]
    assert got == expected


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"rows": np.array([0, 3])}, "rows: expected row numbers below the number of boxes"),
        ({"rows": np.array([0, -1])}, "rows: expected row numbers below the number of boxes"),
        ({"indptr": np.array([0, 3])}, "offset: expected offsets of groups"),
        ({"corners": np.zeros((2, 4))}, "corners: expected four corners and a score for each class"),
    ],
)
def test_rows_outside_the_table_are_refused(changed, sentence):
    table = {
        "rows": np.array([0, 1]), "indptr": np.array([0, 2]), "classes": np.zeros(3, np.int32),
        "corners": np.zeros((3, 4)), "scores": np.zeros(3),
    }  # fmt: skip
    with pytest.raises(ValueError, match=sentence):
        order_boxes(**(table | changed))
