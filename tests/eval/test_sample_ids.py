"""Sample ids of every library are read as integers or strings and saved in states; other values are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vltr_eval._engine.sample_ids import id_kind, pack_ids, read_ids, unpack_ids

NAMES = ["v10", "v9", "", "\u00e9t\u00e9.mp4", "a\0", "\U0001f600", "\udcff"]


def pandas_series(names, **options):
    return pytest.importorskip("pandas").Series(names, **options)


def pyarrow_array(names, type="string"):
    pyarrow = pytest.importorskip("pyarrow")
    return pyarrow.array(names, getattr(pyarrow, type)())


STRINGS = {
    "a list": list,
    "a tuple": tuple,
    "numpy str": np.array,
    "numpy objects": lambda names: np.array(names, object),
    "numpy's own str in a list": lambda names: list(map(np.str_, names)),
    "bytes in a list": lambda names: [name.encode() for name in names],
    "numpy bytes": lambda names: np.array([name.encode() for name in names]),
    "a pandas series": pandas_series,
    "a pandas series of objects": lambda names: pandas_series(names, dtype=object),
    "a pandas category": lambda names: pandas_series(names, dtype="category"),
    "a pandas index": lambda names: pytest.importorskip("pandas").Index(names),
    "a polars series": lambda names: pytest.importorskip("polars").Series(names),
    "pyarrow": pyarrow_array,
    "pyarrow, large": lambda names: pyarrow_array(names, "large_string"),
    "pyarrow chunks": lambda names: pytest.importorskip("pyarrow").chunked_array([names[:1], names[1:]]),
    "a pyarrow dictionary": lambda names: pyarrow_array(names).dictionary_encode(),
}


@pytest.mark.parametrize("make", STRINGS.values(), ids=STRINGS.keys())
def test_strings_of_every_library_are_read(make):
    names = ["v10", "v9", "\u00e9t\u00e9.mp4", "v9"]
    ids = read_ids(make(names), 4)
    assert id_kind(ids) == "strings"
    assert ids.tolist() == names
    assert {type(name) for name in ids} == {str}


INTEGERS = {
    "a list": list,
    "numpy": lambda numbers: np.array(numbers, np.int16),
    "numpy objects": lambda numbers: np.array(numbers, object),
    "pandas": pandas_series,
    "pandas, may lack some": lambda numbers: pandas_series(numbers, dtype="Int64"),
    "polars": lambda numbers: pytest.importorskip("polars").Series(numbers),
    "pyarrow": lambda numbers: pyarrow_array(numbers, "int32"),
    "torch": lambda numbers: pytest.importorskip("torch").tensor(numbers),
}


@pytest.mark.parametrize("make", INTEGERS.values(), ids=INTEGERS.keys())
def test_integers_of_every_library_are_read(make):
    ids = read_ids(make([7, -3, 7]), 3)
    assert (id_kind(ids), ids.dtype, ids.tolist()) == ("integers", np.int64, [7, -3, 7])


@pytest.mark.parametrize("ids", [[], (), np.empty(0), np.empty(0, object), np.empty(0, "U3")])
def test_no_rows_have_no_ids(ids):
    assert read_ids(ids, 0).shape == (0,)


MIXED = "ids: expected integers alone or strings alone, got "
BAD = {
    "a number among strings": (["a", 3], TypeError, MIXED + "3 at row 1"),
    "a string among numbers": ([3, "a"], TypeError, MIXED + "3 at row 0"),
    "none among strings": (["a", None], TypeError, MIXED + "None at row 1"),
    "nan among objects": (np.array(["a", np.nan], object), TypeError, MIXED + "nan at row 1"),
    "none among numbers": ([3, None], TypeError, MIXED + "3 at row 0"),
    "a flag among numbers": (np.array([3, True], object), TypeError, MIXED + "3 at row 0"),
    "fractions": ([1.5, 2], TypeError, "ids: expected integers or strings, got float64"),
    "dates": (np.array(["2020-01-01"] * 2, "M8[D]"), TypeError, "ids: expected integers or strings, got datetime64[D]"),
    "one string": ("ab", ValueError, "ids: expected shape (2,) as scores has rows, got ()"),
    "rows of strings": ([["a"], ["b"]], ValueError, "ids: expected shape (2,) as scores has rows, got (2, 1)"),
    "ragged": ([[1], [2, 3]], ValueError, "ids: expected one id a row, got a ragged list"),
    "other bytes": (
        [b"a", b"\xff"],
        ValueError,
        "ids: expected bytes of UTF-8, got b'\\xff' at row 1; decode them",
    ),
    "huge": ([2**63, 2**63], ValueError, f"ids: expected integers below 2**63, got {2**63}"),
    "a mask": (
        np.ma.array([1, 2], mask=[True, False]),
        TypeError,
        "ids: expected an array without a mask, got a masked one; pass ids.filled(value)",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_ids_are_refused(what):
    ids, error, sentence = BAD[what]
    with pytest.raises(error) as raised:
        read_ids(ids, 2)
    assert str(raised.value) == sentence


@pytest.mark.parametrize("make", [pandas_series, pyarrow_array])
def test_a_missing_string_is_named_by_its_row(make):
    with pytest.raises(TypeError, match=r"^ids: expected integers alone or strings alone, got (None|nan) at row 1$"):
        read_ids(make(["a", None]), 2)


@pytest.mark.parametrize("names", [NAMES, [], [""], ["", ""]])
def test_packed_strings_are_restored(names):
    packed = pack_ids(np.array(names, object))
    assert {name: array.dtype for name, array in packed.items()} == {"id_bytes": np.uint8, "id_ends": np.int64}
    assert unpack_ids(packed, len(names)).tolist() == names


@given(st.lists(st.text()))
def test_packing_strings_loses_nothing(names):
    ids = np.empty(len(names), object)
    ids[:] = names
    assert unpack_ids(pack_ids(ids), len(names)).tolist() == names


def packed(**changes):
    return {**pack_ids(np.array(["ab", "c"], object)), **changes}


BAD_PACKED = {
    "too few": (
        packed(id_ends=np.array([3])),
        ValueError,
        "id_ends: expected shape (2,) as scores has rows, got (1,)",
    ),
    "falling": (
        packed(id_ends=np.array([4, 3])),
        ValueError,
        "id_ends: expected numbers that rise to the size of id_bytes, 3, got [4 3]",
    ),
    "negative": (
        packed(id_ends=np.array([-1, 3])),
        ValueError,
        "id_ends: expected numbers that rise to the size of id_bytes, 3, got [-1  3]",
    ),
    "bytes left over": (
        packed(id_ends=np.array([1, 2])),
        ValueError,
        "id_ends: expected numbers that rise to the size of id_bytes, 3, got [1 2]",
    ),
    "no UTF-8": (
        packed(id_bytes=np.array([97, 255, 99], np.uint8)),
        ValueError,
        "id_bytes: expected UTF-8, got b'a\\xff'",
    ),
    "wide bytes": (
        packed(id_bytes=np.array([97, 98, 99])),
        TypeError,
        "id_bytes: expected uint8, and integers as id_ends, got int64 and int64",
    ),
}


@pytest.mark.parametrize("what", BAD_PACKED)
def test_invalid_packed_strings_are_refused(what):
    arrays, error, sentence = BAD_PACKED[what]
    with pytest.raises(error) as raised:
        unpack_ids(arrays, 2)
    assert str(raised.value) == sentence
