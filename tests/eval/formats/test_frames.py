"""Data frames in memory: each column is read as it is, or refused in one sentence that names it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from vltr_eval._base.files import InputError
from vltr_eval.formats.frames import is_frame, table_of_frame
from vltr_eval.formats.table import BOOL, LIST, MATRIX, NUMBER, OTHER, TEXT, Lists


def complaint(call, *args) -> str:
    with pytest.raises(InputError) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows_of(lists: Lists) -> list[list]:
    assert isinstance(lists, Lists)
    return [lists.of(row) for row in range(lists.num_rows)]


def kinds_of(table) -> list[tuple]:
    return [(column.name, column.kind, column.dtype, column.is_index) for column in table.columns]


def content_of(table) -> list:
    return [
        rows_of(values) if isinstance(values, Lists) else list(values)
        for values in map(table.read_column, range(len(table.columns)))
    ]


@pytest.fixture
def pd():
    return pytest.importorskip("pandas")


@pytest.fixture
def pa():
    return pytest.importorskip("pyarrow", minversion="18")


@pytest.fixture
def pl():
    pytest.importorskip("pyarrow")
    return pytest.importorskip("polars")


@pytest.mark.parametrize(
    "value",
    [np.zeros((2, 2)), [[1]], "p.parquet", None, 3, {"a": [1]}, np.array([[1], [2, 3]], object), SimpleNamespace],
)
def test_arrays_and_lists_are_no_frames(value):
    assert not is_frame(value)


def test_types_are_no_frames(pd, pa):
    assert not is_frame(pd.DataFrame)
    assert not is_frame(pa.Table)


# pandas: numbers


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint64", "float16", "float32", "float64", "bool"])
def test_numbers_of_pandas_keep_their_dtype(pd, dtype):
    x = np.array([[1, 0], [0, 1], [1, 1]], dtype)
    table = table_of_frame("scores", pd.DataFrame(x, columns=["a", "b"]))
    assert (table.source, table.num_rows) == ("scores", 3)
    assert kinds_of(table) == [(name, BOOL if dtype == "bool" else NUMBER, dtype, False) for name in "ab"]
    for chosen in ([0, 1], [1, 0], [1]):
        assert table.read_matrix(chosen).dtype == dtype
        np.testing.assert_array_equal(table.read_matrix(chosen), x[:, chosen])
    np.testing.assert_array_equal(table.read_column(1), x[:, 1])


def test_neighbouring_columns_of_one_block_are_not_copied(pd):
    x = np.random.default_rng(0).random((5, 4))
    frame = pd.DataFrame(x, copy=False)
    table = table_of_frame("scores", frame)
    assert np.shares_memory(table.read_matrix([0, 1, 2, 3]), x)
    assert np.shares_memory(table.read_matrix([1, 2]), x)
    np.testing.assert_array_equal(table.read_matrix([1, 2]), x[:, 1:3])


def test_unlike_columns_of_pandas_unite_without_rounding(pd):
    frame = pd.DataFrame({"a": np.float32([0.5, 2]), "b": [2**53 + 1, 0], "c": [2**53, 1], "d": [True, False]})
    table = table_of_frame("scores", frame)
    assert complaint(table.read_matrix, [0, 1, 2]) == (
        "scores: expected columns that one number type holds exactly, got whole numbers above 2**53 (int64) in columns "
        "b, beside float32 in column a; store all columns in one type"
    )
    assert table.read_matrix([0, 2, 3]).tolist() == [[0.5, 2.0**53, 1], [2, 1, 0]]
    assert table.read_matrix([0, 3]).dtype == np.float32
    assert table.read_matrix([1, 2]).tolist() == [[2**53 + 1, 2**53], [0, 1]]


@pytest.mark.parametrize(
    ("dtype", "values", "kind", "own"),
    [
        ("Int64", [1, 2**53 + 1], NUMBER, "int64"),
        ("Float32", [1, 0.5], NUMBER, "float32"),
        ("UInt8", [1, 2], NUMBER, "uint8"),
        ("boolean", [True, False], BOOL, "bool"),
    ],
)
def test_dtypes_with_missing_values_are_numbers_where_none_is_missing(pd, dtype, values, kind, own):
    frame = pd.DataFrame({"a": pd.array([*values, None], dtype), "b": 0})
    table = table_of_frame("scores", frame[:2])
    assert kinds_of(table)[0] == ("a", kind, own, False)
    assert table.read_column(0).dtype == own
    assert table.read_column(0).tolist() == values
    assert table.read_matrix([0]).tolist() == [[value] for value in values]
    sentence = "scores: row 2, column a: expected a number, got a missing value"
    assert complaint(table_of_frame("scores", frame).read_column, 0) == sentence
    assert complaint(table_of_frame("scores", frame).read_matrix, [0, 1]) == sentence


def test_nan_of_pandas_is_a_number(pd):
    matrix = table_of_frame("scores", pd.DataFrame({"a": [0.5, np.nan]})).read_matrix([0])
    np.testing.assert_array_equal(matrix, [[0.5], [np.nan]])


def test_byte_order_is_made_native(pd):
    table = table_of_frame("scores", pd.DataFrame({"a": np.array([1, 2], ">f4"), "b": np.array([3, 4], ">f4")}))
    assert kinds_of(table)[0] == ("a", NUMBER, "float32", False)
    assert table.read_matrix([0, 1]).dtype.isnative
    assert table.read_matrix([0, 1]).tolist() == [[1, 3], [2, 4]]
    assert table.read_column(0).dtype.isnative


def test_sparse_columns_are_filled(pd):
    table = table_of_frame("labels", pd.DataFrame({"a": pd.arrays.SparseArray([0, 1, 0]), "b": [1, 0, 0]}))
    assert kinds_of(table)[0] == ("a", NUMBER, "int64", False)
    assert table.read_matrix([0, 1]).tolist() == [[0, 1], [1, 0], [0, 0]]


def test_names_that_are_no_text_are_written_as_text(pd):
    frame = pd.DataFrame([[1, 2, 3]], columns=[0, ("a", 1), None])
    assert [column.name for column in table_of_frame("scores", frame).columns] == ["0", "('a', 1)", "None"]


def test_columns_of_one_name_are_refused(pd):
    for name, names in (("a", ["a", "a"]), ("0", ["0", 0])):
        assert complaint(table_of_frame, "scores", pd.DataFrame([[1, 2]], columns=names)) == (
            f"scores: expected columns of different names, got {name!r} in columns 0, 1; rename them"
        )


# pandas: text, categories, objects


@pytest.mark.parametrize("dtype", [object, "str", "string", "category", "string[python]"])
def test_text_of_pandas_is_text(pd, dtype):
    series = pd.Series(["v2", "v1", "v2", None], dtype=dtype, name="id")
    table = table_of_frame("ids", series[:3])
    assert kinds_of(table) == [("id", TEXT, "", False)]
    assert table.read_column(0).dtype == object
    assert table.read_column(0).tolist() == ["v2", "v1", "v2"]
    missing = table_of_frame("ids", series)
    assert kinds_of(missing) == [("id", TEXT, "", False)]
    assert complaint(missing.read_column, 0) == "ids: row 3, column id: expected text, got a missing value"


def test_categories_are_read_as_their_values(pd):
    frame = pd.DataFrame({"a": pd.Categorical([7, 5, 7]), "b": pd.Categorical([0.5, None, 1])})
    table = table_of_frame("labels", frame)
    assert kinds_of(table) == [("a", NUMBER, "int64", False), ("b", NUMBER, "float64", False)]
    assert table.read_matrix([0]).tolist() == [[7], [5], [7]]
    assert complaint(table.read_column, 1) == "labels: row 1, column b: expected a number, got a missing value"


@pytest.mark.parametrize(
    ("values", "kind", "dtype"),
    [
        ([1, np.int32(2)], NUMBER, "int64"),
        ([1.5, 2.0], NUMBER, "float64"),
        ([1.5, 2], NUMBER, "float64"),
        ([True, False], BOOL, "bool"),
    ],
)
def test_objects_that_are_numbers_are_numbers(pd, values, kind, dtype):
    table = table_of_frame("scores", pd.DataFrame({"a": pd.Series(values, dtype=object)}))
    assert kinds_of(table) == [("a", kind, dtype, False)]
    assert table.read_column(0).dtype == dtype
    assert table.read_column(0).tolist() == values
    missing = table_of_frame("scores", pd.DataFrame({"a": pd.Series([*values, None], dtype=object)}))
    assert complaint(missing.read_matrix, [0]) == "scores: row 2, column a: expected a number, got a missing value"


def test_objects_that_float64_rounds_are_refused(pd):
    table = table_of_frame("scores", pd.DataFrame({"a": pd.Series([0.5, 2**53 + 1], dtype=object)}))
    assert complaint(table.read_column, 0) == (
        "scores: row 1, column a: expected a number that float64 holds exactly, as the column has fractions, got "
        "9007199254740993"
    )
    table = table_of_frame("scores", pd.DataFrame({"a": pd.Series([2**70], dtype=object)}))
    assert complaint(table.read_column, 0) == "scores: column a: expected whole numbers of at most 64 bits"


@pytest.mark.parametrize(
    ("values", "rows", "dtype"),
    [
        ([[2, 1], [], [3]], [[2, 1], [], [3]], "int64"),
        ([(2, 1), (), (3,)], [[2, 1], [], [3]], "int64"),
        ([{2, 1}, set(), frozenset({3})], [[1, 2], [], [3]], "int64"),
        ([{"b", "a"}, set(), {"c"}], [["a", "b"], [], ["c"]], ""),
        ([["b", "a"], [], ["c"]], [["b", "a"], [], ["c"]], ""),
        ([np.array([2, 1], np.int32), np.array([]), np.array([3], np.int32)], [[2, 1], [], [3]], "int64"),
        ([np.float32([0.5, 1]), np.float32([2, 3]), np.float32([4, 5])], [[0.5, 1], [2, 3], [4, 5]], "float32"),
        ([np.array([1], np.uint64), [2], np.array([], object)], [[1], [2], []], "int64"),
        ([[np.int64(2)], [1], [np.uint8(3)]], [[2], [1], [3]], "int64"),
        ([[0.5], [1.5], [2]], [[0.5], [1.5], [2.0]], "float64"),
        ([[True, False], [False, True], []], [[True, False], [False, True], []], "bool"),
        ([np.array(["x", "y"]), np.array([], "U1"), ["z"]], [["x", "y"], [], ["z"]], ""),
    ],
)
def test_lists_of_pandas_are_lists(pd, values, rows, dtype):
    frame = pd.DataFrame({"a": pd.Series(values, dtype=object)})
    table = table_of_frame("labels", frame)
    assert kinds_of(table) == [("a", LIST, dtype, False)]
    lists = table.read_column(0)
    assert lists.values.dtype == (dtype or object)
    assert (rows_of(lists), lists.num_null) == (rows, 0)


def test_missing_lists_are_empty_and_counted(pd):
    series = pd.Series([None, [1], np.nan, [], pd.NA, np.array([2, 3])], dtype=object)
    lists = table_of_frame("labels", series).read_column(0)
    assert rows_of(lists) == [[], [1], [], [], [], [2, 3]]
    assert lists.num_null == 3


@pytest.mark.parametrize("item", [None, float("nan")])
def test_missing_items_of_lists_are_named(pd, item):
    frame = pd.DataFrame({"a": [["x"], [], ["y", item]], "b": [[1, None], [2], [3]]})
    table = table_of_frame("labels", frame)
    sentence = "expected class indices or names in the list, got a missing value"
    assert complaint(table.read_column, 0) == f"labels: row 2, column a: {sentence}"
    assert complaint(table.read_column, 1) == f"labels: row 0, column b: {sentence}"


def test_lists_of_mixed_items_are_refused(pd):
    frame = pd.DataFrame({"a": [[1], ["x"]], "b": [[1, 2], [3]]})
    table = table_of_frame("labels", frame)
    assert complaint(table.read_column, 0) == (
        "labels: column a: expected lists of class indices, of numbers or of class names, got int and str"
    )
    assert rows_of(table.read_column(1)) == [[1, 2], [3]]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, "a"], "objects (mixed-integer)"),
        ([[1], "a"], "objects (mixed)"),
        ([[[1], [2]], [[3], [4]]], "objects (mixed)"),
        ([np.zeros((2, 2)), np.zeros((2, 2))], "objects (mixed)"),
        ([{"a": 1}, {"a": 2}], "objects (mixed)"),
        ([None, None], "objects (empty)"),
        ([b"x", b"y"], "objects (bytes)"),
    ],
)
def test_other_objects_are_refused_when_read(pd, values, dtype):
    table = table_of_frame("labels", pd.DataFrame({"a": pd.Series(values, dtype=object), "b": [1, 2]}))
    assert kinds_of(table)[0] == ("a", OTHER, dtype, False)
    assert complaint(table.read_column, 0) == f"labels: column a: expected numbers, text or lists of them, got {dtype}"
    assert table.read_matrix([1]).tolist() == [[1], [2]]


def test_other_dtypes_are_refused_when_read(pd):
    frame = pd.DataFrame(
        {"a": pd.to_datetime(["2020-01-01"]), "b": [1j], "c": pd.period_range("2020", periods=1, freq="M"),
         "d": pd.Categorical([pd.Timestamp("2020-01-01")]), "e": pd.interval_range(0, 1)}
    )  # fmt: skip
    table = table_of_frame("labels", frame)
    assert {column.kind for column in table.columns} == {OTHER}
    assert table.columns[1].dtype == "complex128"
    assert table.columns[2].dtype == "period[M]"
    for position in range(5):
        assert "expected numbers, text or lists of them, got" in complaint(table.read_column, position)


def test_dtypes_of_arrow_in_pandas_are_read(pd, pa):
    frame = pd.DataFrame(
        {
            "n": pd.array([1, 2], pd.ArrowDtype(pa.int32())),
            "t": pd.array(["x", "y"], pd.ArrowDtype(pa.string())),
            "l": pd.array([[1], None], pd.ArrowDtype(pa.list_(pa.int64()))),
            "m": pd.array([[0.5, 1], [2, 3]], pd.ArrowDtype(pa.list_(pa.float32(), 2))),
            "d": pd.array([1, 2], pd.ArrowDtype(pa.timestamp("us"))),
            "z": pd.array([1, None], pd.ArrowDtype(pa.int64())),
        }
    )
    table = table_of_frame("scores", frame)
    assert [column.kind for column in table.columns] == [NUMBER, TEXT, LIST, MATRIX, OTHER, NUMBER]
    assert table.columns[0].dtype == "int32"
    assert table.read_matrix([0]).tolist() == [[1], [2]]
    assert table.read_column(1).tolist() == ["x", "y"]
    assert rows_of(table.read_column(2)) == [[1], []]
    assert table.read_column(3).tolist() == [[0.5, 1], [2, 3]]
    assert complaint(table.read_column, 5) == "scores: row 1, column z: expected a number, got a null"


# pandas: the index


@pytest.mark.parametrize(
    ("index", "found"),
    [
        ({"data": range(2)}, []),
        ({"data": range(2), "name": "row"}, []),
        ({"data": [0, 1]}, []),
        ({"data": [0, 1], "name": "video"}, [("video", NUMBER, [0, 1])]),
        ({"data": [1, 0]}, [("__index_level_0__", NUMBER, [1, 0])]),
        ({"data": range(100, 102)}, [("__index_level_0__", NUMBER, [100, 101])]),
        ({"data": [0.0, 1.0]}, [("__index_level_0__", NUMBER, [0.0, 1.0])]),
        ({"data": ["v1", "v1"], "name": "video"}, [("video", TEXT, ["v1", "v1"])]),
        ({"data": ["v1", "v0"], "dtype": object}, [("__index_level_0__", TEXT, ["v1", "v0"])]),
        ({"data": ["v1", "v0"], "dtype": "category"}, [("__index_level_0__", TEXT, ["v1", "v0"])]),
    ],
)
@pytest.mark.parametrize("of_series", [False, True])
def test_an_index_that_says_something_is_a_column(pd, index, found, of_series):
    index = pd.Index(**index)
    frame = pd.Series([0.5, 1], index=index, name="a") if of_series else pd.DataFrame({"a": [0.5, 1]}, index=index)
    table = table_of_frame("scores", frame)
    assert kinds_of(table)[0] == ("a", NUMBER, "float64", False)
    assert [(column.name, column.kind, column.is_index) for column in table.columns[1:]] == [
        (name, kind, True) for name, kind, _ in found
    ]
    assert content_of(table)[1:] == [values for *_, values in found]
    assert table.read_matrix([0]).tolist() == [[0.5], [1]]


def test_levels_of_an_index_are_columns(pd):
    index = pd.MultiIndex.from_tuples([("v1", 3), ("v2", 0)], names=["video", None])
    table = table_of_frame("scores", pd.DataFrame({"a": [0.5, 1]}, index=index))
    assert kinds_of(table)[1:] == [("video", TEXT, "", True), ("__index_level_1__", NUMBER, "int64", True)]
    assert content_of(table) == [[0.5, 1], ["v1", "v2"], [3, 0]]


def test_an_index_with_the_name_of_a_column_is_renamed(pd):
    frame = pd.DataFrame({"video": ["v2", "v1"], "a": [0.5, 1]}).set_index("video", drop=False)
    assert [column.name for column in table_of_frame("scores", frame).columns] == ["video", "a", "__index_level_0__"]
    index = pd.MultiIndex.from_tuples([("v1", 3), ("v2", 0)], names=["video", "video"])
    table = table_of_frame("scores", pd.Series([0.5, 1], index=index))
    assert [column.name for column in table.columns] == [None, "video", "__index_level_1__"]
    assert content_of(table) == [[0.5, 1], ["v1", "v2"], [3, 0]]


@pytest.mark.parametrize("index", [["v2", "v1"], [4, 2], range(5, 7)])
def test_a_frame_and_its_file_are_one_table(pd, pa, index, tmp_path):
    from vltr_eval.formats.arrow import read_parquet
    from vltr_eval.formats.roles import LABELS
    from vltr_eval.formats.sources import Source

    frame = pd.DataFrame({"a": [1, 0], "t": ["x", "y"], "l": [[1, 2], []]}, index=index)
    frame.to_parquet(tmp_path / "p.parquet")
    own, of_file = table_of_frame("labels", frame), read_parquet(Source(tmp_path / "p.parquet"), LABELS)
    of_arrow = table_of_frame("labels", pa.Table.from_pandas(frame))
    assert kinds_of(own) == kinds_of(of_file) == kinds_of(of_arrow)
    assert content_of(own) == content_of(of_file) == content_of(of_arrow)


def test_arrays_and_indexes_of_pandas_are_one_column(pd):
    table = table_of_frame("labels", pd.array([1, None], "Int64"))
    assert kinds_of(table) == [(None, NUMBER, "int64", False)]
    assert complaint(table.read_column, 0) == "labels: row 1: expected a number, got a missing value"
    assert content_of(table_of_frame("ids", pd.Index(["v1", "v0"]))) == [["v1", "v0"]]


def test_a_series_without_a_name_has_none(pd):
    assert kinds_of(table_of_frame("labels", pd.Series([1, 2]))) == [(None, NUMBER, "int64", False)]
    assert kinds_of(table_of_frame("labels", pd.Series([1, 2], name=3)))[0][0] == "3"


def test_frames_without_rows_are_read(pd):
    table = table_of_frame("labels", pd.DataFrame({"a": np.zeros(0, np.float32), "b": pd.Series([], dtype=object)}))
    assert table.num_rows == 0
    assert table.read_matrix([0]).shape == (0, 1)
    assert content_of(table) == [[], []]


def test_pandas_needs_no_pyarrow(pd, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    frame = pd.DataFrame({"a": [0.5, 1], "l": [[1], [2, 3]], "c": pd.Categorical(["x", "y"])}, index=["v2", "v1"])
    assert content_of(table_of_frame("scores", frame)) == [[0.5, 1], [[1], [2, 3]], ["x", "y"], ["v2", "v1"]]


# Structured arrays


def test_fields_of_a_structured_array_are_columns():
    rows = np.array(
        [("v1", 0.5, 2, True, [1, 2]), ("v2", 0.25, 1, False, [3, 4])],
        [("id", "U4"), ("dog", ">f4"), ("cat", "i8"), ("seen", "?"), ("all", "f8", 2)],
    )
    assert is_frame(rows)
    assert is_frame(rows.view(np.recarray))
    table = table_of_frame("scores", rows)
    assert kinds_of(table) == [
        ("id", TEXT, "", False),
        ("dog", NUMBER, "float32", False),
        ("cat", NUMBER, "int64", False),
        ("seen", BOOL, "bool", False),
        ("all", MATRIX, "float64", False),
    ]
    assert table.read_matrix([1, 2, 3]).tolist() == [[0.5, 2, 1], [0.25, 1, 0]]
    assert table.read_column(0).tolist() == ["v1", "v2"]
    assert table.read_column(1).dtype == np.float32
    assert table.read_column(4).tolist() == [[1, 2], [3, 4]]


def test_fields_of_other_dtypes_are_refused_when_read():
    table = table_of_frame("scores", np.zeros(2, [("a", "S3"), ("b", "f4", (2, 2)), ("c", "O"), ("d", "f4")]))
    assert [column.kind for column in table.columns] == [OTHER, OTHER, OTHER, NUMBER]
    assert complaint(table.read_column, 0) == "scores: column a: expected numbers, text or lists of them, got |S3"
    assert "got float32 of shape (2, 2)" in complaint(table.read_column, 1)


def test_structured_arrays_of_other_shapes_are_refused():
    assert complaint(table_of_frame, "scores", np.zeros((2, 2), [("a", "f4")])) == (
        "scores: expected a structured array of one dimension, got shape (2, 2)"
    )
    masked = np.ma.zeros(2, [("a", "f4")])
    assert complaint(table_of_frame, "scores", masked) == (
        "scores: expected a structured array without a mask; fill the masked values first"
    )


# pyarrow and what exports its format


def test_arrow_data_are_frames(pa):
    table = pa.table({"id": ["v1", "v2"], "a": pa.array([0.5, 1], pa.float32()), "l": [[1], None]})
    exporter = SimpleNamespace(__arrow_c_stream__=table.__arrow_c_stream__)
    (batch,) = table.to_batches()
    struct = SimpleNamespace(__arrow_c_array__=batch.to_struct_array().__arrow_c_array__)
    for frame in (table, batch, table.to_reader(), exporter, struct):
        assert is_frame(frame)
        found = table_of_frame("scores", frame)
        assert kinds_of(found) == [
            ("id", TEXT, "", False),
            ("a", NUMBER, "float32", False),
            ("l", LIST, "int64", False),
        ]
        assert content_of(found) == [["v1", "v2"], [0.5, 1], [[1], []]]
        assert found.read_column(2).num_null == 1


def test_one_column_of_arrow_has_no_name(pa):
    array = pa.array([0.5, 1, None])
    for frame in (array, pa.chunked_array([array]), SimpleNamespace(__arrow_c_array__=array.__arrow_c_array__)):
        assert is_frame(frame)
        table = table_of_frame("scores", frame)
        assert kinds_of(table) == [(None, NUMBER, "float64", False)]
        assert complaint(table.read_column, 0) == "scores: row 2: expected a number, got a null"
    assert content_of(table_of_frame("scores", array[:2])) == [[0.5, 1]]
    assert table_of_frame("scores", pa.chunked_array([[1], [2]])).read_matrix([0]).tolist() == [[1], [2]]


def test_exporters_need_pyarrow(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    exporter = SimpleNamespace(__arrow_c_stream__=lambda requested_schema=None: None)
    assert complaint(table_of_frame, "scores", exporter) == (
        'scores: reading a SimpleNamespace of types needs pyarrow; pip install "vltr[parquet]"'
    )


def test_exporters_that_fail_are_named(pa):
    def refuse(requested_schema=None):
        raise pa.ArrowInvalid("no such format\nas this")

    frame = SimpleNamespace(__arrow_c_stream__=refuse)
    assert complaint(table_of_frame, "scores", frame) == (
        "scores: pyarrow cannot read this SimpleNamespace (no such format)"
    )
    assert complaint(table_of_frame, "scores", SimpleNamespace()) == (
        "scores: pyarrow cannot read this SimpleNamespace (it does not export arrow's format)"
    )


# polars


def test_columns_of_polars_are_read(pl):
    frame = pl.DataFrame(
        {
            "id": ["v1", "v2"],
            "a": pl.Series([0.5, 1], dtype=pl.Float32),
            "i": [1, 2],
            "b": [True, False],
            "c": pl.Series(["x", "y"], dtype=pl.Categorical),
            "e": pl.Series(["x", "y"], dtype=pl.Enum(["y", "x"])),
            "l": [[1], None],
            "t": pl.Series([["x"], []], dtype=pl.List(pl.Categorical)),
            "m": pl.Series([[0.5, 1], [2, 3]], dtype=pl.Array(pl.Float32, 2)),
        }
    )
    assert is_frame(frame)
    table = table_of_frame("scores", frame)
    assert kinds_of(table) == [
        ("id", TEXT, "", False),
        ("a", NUMBER, "float32", False),
        ("i", NUMBER, "int64", False),
        ("b", BOOL, "bool", False),
        ("c", TEXT, "", False),
        ("e", TEXT, "", False),
        ("l", LIST, "int64", False),
        ("t", LIST, "", False),
        ("m", MATRIX, "float32", False),
    ]
    assert content_of(table)[:8] == [
        ["v1", "v2"], [0.5, 1], [1, 2], [True, False], ["x", "y"], ["x", "y"], [[1], []], [["x"], []]
    ]  # fmt: skip
    assert table.read_column(8).tolist() == [[0.5, 1], [2, 3]]
    assert table.read_matrix([2, 1]).tolist() == [[1, 0.5], [2, 1]]


def test_types_of_polars_without_a_use_are_refused_when_read(pl):
    frame = pl.DataFrame(
        {
            "big": pl.Series([1]).cast(pl.Int128),
            "money": pl.Series([1]).cast(pl.Decimal(10, 2)),
            "object": pl.Series([object()], dtype=pl.Object),
            "struct": [{"a": 1}],
            "empty": [None],
            "a": [0.5],
        }
    )
    table = table_of_frame("scores", frame)
    assert [column.kind for column in table.columns] == [OTHER] * 5 + [NUMBER]
    assert table.columns[2].dtype == "Object"
    assert complaint(table.read_column, 0) == "scores: column big: expected numbers, text or lists of them, got Int128"
    assert table.read_matrix([5]).tolist() == [[0.5]]


def test_a_series_of_polars_is_one_column(pl):
    assert kinds_of(table_of_frame("labels", pl.Series([1, 2]))) == [(None, NUMBER, "int64", False)]
    table = table_of_frame("labels", pl.Series("tags", [[1], [], None]))
    assert kinds_of(table) == [("tags", LIST, "int64", False)]
    assert content_of(table) == [[[1], [], []]]
    assert complaint(table_of_frame("labels", pl.Series("n", [1, None])).read_column, 0) == (
        "labels: row 1, column n: expected a number, got a null"
    )


def test_a_frame_that_is_not_computed_is_refused(pl):
    lazy = pl.DataFrame({"a": [1]}).lazy()
    assert is_frame(lazy)
    assert complaint(table_of_frame, "scores", lazy) == (
        "scores: expected a data frame, got a LazyFrame, which has no rows yet; pass scores.collect()"
    )


def test_polars_needs_pyarrow(pl, monkeypatch):
    frame = pl.DataFrame({"a": [1]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert complaint(table_of_frame, "scores", frame) == (
        'scores: reading a DataFrame of polars needs pyarrow; pip install "vltr[parquet]"'
    )


# Other libraries


def test_narwhals_gives_its_native_frame(pd, monkeypatch):
    narwhals = pytest.importorskip("narwhals")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    frame = narwhals.from_native(pd.DataFrame({"a": [0.5, 1]}, index=["v2", "v1"]))
    assert is_frame(frame)
    assert content_of(table_of_frame("scores", frame)) == [[0.5, 1], ["v2", "v1"]]


def test_relations_of_duckdb_are_frames(pa):
    duckdb = pytest.importorskip("duckdb")
    relation = duckdb.sql("select 'v' || n as id, n::float / 4 as a, [n] as l from range(3) rows(n) order by n desc")
    assert is_frame(relation)
    assert content_of(table_of_frame("scores", relation)) == [["v2", "v1", "v0"], [0.5, 0.25, 0], [[2], [1], [0]]]


def test_datasets_are_frames_with_class_names(pa):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"l": datasets.Sequence(datasets.ClassLabel(names=["dog", "cat"]))})
    rows = datasets.Dataset.from_dict({"l": [[0], [1, 0], []]}, features=features).select([2, 1])
    assert is_frame(rows)
    table = table_of_frame("labels", rows)
    assert table.class_names == ("dog", "cat")
    assert content_of(table) == [[[], [1, 0]]]
