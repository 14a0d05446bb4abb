"""Parquet files and tables in arrow's memory format: each type is read as it is, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vltr_eval._base.files import InputError
from vltr_eval.formats import arrow, columns
from vltr_eval.formats.roles import LABELS, SCORES
from vltr_eval.formats.sources import Source
from vltr_eval.formats.table import BOOL, LIST, MATRIX, NUMBER, OTHER, TEXT, Lists

pa = pytest.importorskip("pyarrow", minversion="18")  # for the types that are newer than the reader's needs
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(autouse=True)
def _work_in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=[2, 2**16])
def _rows_at_a_time(request, monkeypatch):
    """Rows in one batch or in several."""
    monkeypatch.setattr(arrow, "_MAX_ROWS", request.param)


def read(table, *, key=None, role=LABELS, **options):
    """The message of the reader about a table that is written first."""
    if table is not None:
        pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), "p.parquet", **options)
    return arrow.read_parquet(Source(Path("p.parquet"), key), role)


def complaint(call, *args, **options) -> str:
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows_of(lists: Lists) -> list[list]:
    assert isinstance(lists, Lists)
    return [lists.of(row) for row in range(lists.num_rows)]


def one_column(values, kind=None) -> tuple[str, str]:
    (column,) = read({"a": pa.array(values, kind) if kind is not None else values}).columns
    return column.kind, column.dtype


# Numbers


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
)
def test_numbers_keep_their_dtype(dtype):
    table = read({"a": np.array([1, 0, 100], dtype), "b": np.array([3, 7, 9], dtype)})
    assert [(column.name, column.kind, column.dtype) for column in table.columns] == [
        ("a", NUMBER, dtype),
        ("b", NUMBER, dtype),
    ]
    matrix = table.read_matrix([1, 0])
    assert matrix.dtype == dtype
    np.testing.assert_array_equal(matrix, [[3, 1], [7, 0], [9, 100]])
    assert table.read_column(0).dtype == dtype
    np.testing.assert_array_equal(table.read_column(0), [1, 0, 100])


def test_bools_are_no_numbers():
    table = read({"a": [True, False], "b": np.array([0.5, 0.25], np.float32)})
    assert (table.columns[0].kind, table.columns[0].dtype) == (BOOL, "bool")
    assert table.read_column(0).dtype == bool
    assert table.read_matrix([0]).dtype == bool
    assert table.read_matrix([0, 1]).dtype == np.float32
    np.testing.assert_array_equal(table.read_matrix([0, 1]), np.float32([[1, 0.5], [0, 0.25]]))


@pytest.mark.parametrize("sign", [1, -1])
def test_whole_numbers_that_float64_rounds_are_refused(sign):
    table = read({"a": [sign * (2**53 + 1), 0], "b": [0.5, 1.0], "c": [1, 2], "d": [0, sign * 2**62]})
    assert complaint(table.read_matrix, [0, 1, 2, 3]) == (
        "p.parquet: expected columns that one number type holds exactly, got whole numbers above 2**53 (int64) in "
        "columns a, d, beside float64 in column b; store all columns in one type"
    )
    np.testing.assert_array_equal(table.read_column(0), [sign * (2**53 + 1), 0])
    assert table.read_matrix([0, 2, 3]).tolist() == [[sign * (2**53 + 1), 1, 0], [0, 2, sign * 2**62]]


@pytest.mark.parametrize("other", [pa.float32(), pa.float64(), pa.uint64()])
def test_whole_numbers_that_float64_holds_are_united(other):
    table = read({"a": pa.array([2**53, -(2**53)]), "b": pa.array([1, 2], other)})
    matrix = table.read_matrix([0, 1])
    assert matrix.dtype == np.float64
    assert [list(map(int, row)) for row in matrix.tolist()] == [[2**53, 1], [-(2**53), 2]]


def test_signed_beside_unsigned_is_refused_where_it_rounds():
    table = read({"a": pa.array([2**64 - 1], pa.uint64()), "b": pa.array([-1])})
    assert "above 2**53 (uint64) in columns a, beside int64 in column b" in complaint(table.read_matrix, [0, 1])


@pytest.mark.parametrize(
    ("first", "second", "united"),
    [("float16", "float32", "float32"), ("float32", "float64", "float64"), ("float16", "int16", "float32"),
     ("float32", "int32", "float64"), ("int8", "uint8", "int16"), ("int32", "uint32", "int64")],
)  # fmt: skip
def test_unlike_columns_unite_without_rounding(first, second, united):
    top = [np.finfo(d).max if d.startswith("f") else np.iinfo(d).max for d in (first, second)]
    table = read({"a": np.array([top[0]], first), "b": np.array([top[1]], second)})
    matrix = table.read_matrix([0, 1])
    assert matrix.dtype == united
    assert matrix.astype(object).tolist() == [[float(top[0]), float(top[1])]]


@pytest.mark.usefixtures("_rows_at_a_time")
@pytest.mark.parametrize("row_group_size", [3, 4, 1000])
def test_null_numbers_are_named_by_row_and_column(row_group_size):
    table = read({"a": [1.0] * 8, "b": [1, 2, 3, 4, 5, None, None, 8]}, row_group_size=row_group_size)
    assert complaint(table.read_matrix, [0, 1]) == "p.parquet: row 5, column b: expected a number, got a null"
    assert complaint(table.read_column, 1) == "p.parquet: row 5, column b: expected a number, got a null"
    np.testing.assert_array_equal(table.read_matrix([0]), np.ones((8, 1)))


def test_nan_of_arrow_is_a_number():
    assert np.isnan(read(pa.table({"a": pa.array([np.nan])})).read_column(0)).all()


# Text


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), "string")])
def test_text_of_any_layout_is_text(kind):
    table = arrow.table_of_arrow("ids", pa.table({"a": pa.array(["v2", "v1", "v2"], pa.string()).cast(kind)}))
    assert (table.columns[0].kind, table.columns[0].dtype) == (TEXT, "")
    assert table.read_column(0).dtype == object
    assert table.read_column(0).tolist() == ["v2", "v1", "v2"]


@pytest.mark.usefixtures("_rows_at_a_time")
def test_null_text_is_named_by_its_row():
    table = read({"id": pa.array(["v1", None]), "c": pa.array(["x", None]).dictionary_encode()})
    assert complaint(table.read_column, 0) == "p.parquet: row 1, column id: expected text, got a null"
    assert complaint(table.read_column, 1) == "p.parquet: row 1, column c: expected text, got a null"


def test_text_that_is_not_utf8_is_refused():
    offsets = pa.array([0, 1], pa.int32()).buffers()[1]
    text = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(b"\xff")])
    assert complaint(read({"id": text}).read_column, 0) == "p.parquet: column id: expected UTF-8 text, got other bytes"


@pytest.mark.usefixtures("_rows_at_a_time")
def test_dictionaries_of_numbers_are_numbers():
    table = read({"a": pa.array([7, 5, 7]).dictionary_encode()})
    assert (table.columns[0].kind, table.columns[0].dtype) == (NUMBER, "int64")
    assert table.read_matrix([0]).tolist() == [[7], [5], [7]]


def test_runs_are_decoded():
    table = arrow.table_of_arrow("p", pa.table({"a": pa.RunEndEncodedArray.from_arrays([2, 3], [0.5, 0.25])}))
    assert (table.columns[0].kind, table.columns[0].dtype) == (NUMBER, "float64")
    assert table.read_column(0).tolist() == [0.5, 0.5, 0.25]


# Lists and matrices


def tensors(values: np.ndarray):
    return pa.FixedShapeTensorArray.from_numpy_ndarray(values)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: pa.FixedSizeListArray.from_arrays(x.reshape(-1), x.shape[1]),
        tensors,
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.usefixtures("_rows_at_a_time")
def test_cells_of_one_length_are_a_matrix(make, dtype):
    x = np.arange(6_000).reshape(2_000, 3).astype(dtype)
    table = read({"id": [f"v{row}" for row in range(2_000)], "scores": make(x)}, row_group_size=700)
    assert [(column.kind, column.dtype) for column in table.columns] == [(TEXT, ""), (MATRIX, dtype)]
    matrix = table.read_column(1)
    assert matrix.dtype == dtype
    np.testing.assert_array_equal(matrix, x)


def test_bools_of_one_length_are_a_matrix():
    table = read({"hot": pa.array([[True, False], [False, False]], pa.list_(pa.bool_(), 2))})
    assert (table.columns[0].kind, table.columns[0].dtype) == (MATRIX, "bool")
    assert table.read_column(0).tolist() == [[True, False], [False, False]]


@pytest.mark.usefixtures("_rows_at_a_time")
def test_nulls_of_a_matrix_are_named():
    kind = pa.list_(pa.float32(), 2)
    table = arrow.table_of_arrow("p", pa.table({"a": pa.array([[1, 2], None], kind)}))
    assert complaint(table.read_column, 0) == "p: row 1, column a: expected 2 numbers, got a null"
    table = arrow.table_of_arrow("p", pa.table({"a": pa.array([[1, 2], [3, 4], [5, None]], kind)}))
    assert complaint(table.read_column, 0) == "p: row 2, column a: expected a number, got a null"


def test_matrices_of_a_slice_are_its_rows():
    whole = pa.table({"a": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int64(), 2)), "l": [[1], [2, 3], [4]]})
    table = arrow.table_of_arrow("p", whole.slice(1))
    assert table.read_column(0).tolist() == [[3, 4], [5, 6]]
    assert rows_of(table.read_column(1)) == [[2, 3], [4]]


@pytest.mark.parametrize("list_of", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view])
@pytest.mark.parametrize(
    ("item", "rows", "dtype"),
    [
        (pa.int64(), [[3, 1], [], [2]], "int64"),
        (pa.uint8(), [[3, 1], [], [2]], "int64"),
        (pa.float32(), [[0.5, 1], [], [2]], "float32"),
        (pa.bool_(), [[True], [], [False]], "bool"),
        (pa.string(), [["b", "a"], [], ["c"]], "object"),
    ],
)
def test_lists_of_any_layout_are_lists(list_of, item, rows, dtype):
    table = arrow.table_of_arrow("p", pa.table({"a": pa.array(rows, list_of(item))}))
    assert table.columns[0].kind == LIST
    lists = table.read_column(0)
    assert lists.values.dtype == dtype
    assert (rows_of(lists), lists.num_null) == (rows, 0)


def test_lists_of_categories_are_text():
    names = pa.array(["b", "a", "b"]).dictionary_encode()
    table = read({"a": pa.ListArray.from_arrays([0, 2, 2, 3], names)})
    assert rows_of(table.read_column(0)) == [["b", "a"], [], ["b"]]


def test_categories_of_string_views_are_text():
    names = pa.DictionaryArray.from_arrays(pa.array([1, 0, 1], pa.uint32()), pa.array(["a", "b"], pa.string_view()))
    assert arrow.table_of_arrow("p", pa.table({"a": names})).read_column(0).tolist() == ["b", "a", "b"]


def test_text_of_one_length_is_a_list():
    table = read({"a": pa.array([["x", "y"], ["z", "x"]], pa.list_(pa.string(), 2))})
    assert (table.columns[0].kind, rows_of(table.read_column(0))) == (LIST, [["x", "y"], ["z", "x"]])


@pytest.mark.usefixtures("_rows_at_a_time")
def test_null_lists_are_empty_and_counted():
    rows = [None, [1], [], None, [2, 3]]
    lists = read({"a": rows}, row_group_size=2).read_column(0)
    assert rows_of(lists) == [[], [1], [], [], [2, 3]]
    assert lists.num_null == 2


def test_values_under_a_null_list_are_left_out():
    array = pa.ListArray.from_arrays([0, 2, 3], pa.array([8, 9, 1]), mask=pa.array([True, False]))
    assert rows_of(arrow.table_of_arrow("p", pa.table({"a": array})).read_column(0)) == [[], [1]]


def test_empty_lists_alone_are_lists():
    lists = read({"a": pa.array([[], []])}).read_column(0)
    assert (rows_of(lists), lists.values.dtype) == ([[], []], np.int64)


@pytest.mark.usefixtures("_rows_at_a_time")
def test_nulls_in_lists_are_named_by_row():
    table = read({"a": [[1], [], [2, 3, None]], "b": [["x"], [None], []]}, row_group_size=2)
    assert (
        complaint(table.read_column, 0) == "p.parquet: row 2, column a: expected a class index or a number, got a null"
    )
    assert complaint(table.read_column, 1) == "p.parquet: row 1, column b: expected a class name, got a null"


def test_class_indices_beyond_int64_are_refused():
    table = read({"a": pa.array([[2**63]], pa.list_(pa.uint64()))})
    assert complaint(table.read_column, 0) == f"p.parquet: column a: expected class indices, got {2**63}"


# Types that nothing here can use


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (pa.array([{"b": 1}]), "struct<b: int64>"),
        (pa.array([1], pa.decimal128(10, 2)), "decimal128(10, 2)"),
        (pa.array([1], pa.timestamp("us")), "timestamp[us]"),
        (pa.array([b"x"]), "binary"),
        (pa.array([b"x"], pa.binary(1)), "fixed_size_binary[1]"),
        (pa.array([None]), "null"),
        (pa.array([[[1]]]), "list<item: list<item: int64>>"),
        (pa.array([[("k", 1)]], pa.map_("string", "int64")), "map<string, int64>"),
        (pa.array([[[1]]], pa.list_(pa.list_(pa.int64()), 1)), "fixed_size_list<item: list<item: int64>>[1]"),
        (tensors(np.zeros((1, 2, 3), np.float32)), "arrow.fixed_shape_tensor of shape [2, 3]"),
    ],
    ids=str,
)  # fmt: skip
def test_other_types_are_refused_when_read(array, dtype):
    table = arrow.table_of_arrow("p", pa.table({"a": array, "b": [0.5]}))
    assert (table.columns[0].kind, table.columns[0].dtype) == (OTHER, dtype)
    assert complaint(table.read_column, 0) == (f"p: column a: expected numbers, text or lists of them, got {dtype}")
    assert table.read_matrix([1]).tolist() == [[0.5]]


def test_unknown_extensions_are_no_numbers():
    field = pa.field("a", pa.int64(), metadata={"ARROW:extension:name": "example.period"})
    table = read(pa.table([pa.array([3])], pa.schema([field])))
    assert (table.columns[0].kind, table.columns[0].dtype) == (OTHER, "example.period")


def test_a_type_that_pyarrow_cannot_convert_is_named(monkeypatch):
    def refuse(array):
        raise pa.ArrowNotImplementedError("no kernel\nfor it")

    monkeypatch.setattr("pyarrow.compute.list_value_length", refuse)
    assert complaint(read({"a": [[1]]}).read_column, 0) == (
        f"p.parquet: column a: pyarrow {pa.__version__} cannot convert list<element: int64> (no kernel)"
    )


# The index of pandas


def index_of(frame) -> list[tuple[str, str, list]]:
    frame.to_parquet("p.parquet")
    table = read(None)
    assert [column.name for column in table.columns if not column.is_index] == ["dog", "cat"]
    return [
        (column.name, column.kind, list(table.read_column(position)))
        for position, column in enumerate(table.columns)
        if column.is_index
    ]


@pytest.mark.parametrize(
    ("index", "found"),
    [
        ({"data": ["v3", "v1"], "name": "video"}, [("video", TEXT, ["v3", "v1"])]),
        ({"data": ["v3", "v3"]}, [("__index_level_0__", TEXT, ["v3", "v3"])]),
        ({"data": [7, 3], "name": "video"}, [("video", NUMBER, [7, 3])]),
        ({"data": [0.5, 2.0], "name": "start"}, [("start", NUMBER, [0.5, 2.0])]),
        ({"data": range(2)}, []),
        ({"data": range(100, 104, 2)}, [("__index_level_0__", NUMBER, [100, 102])]),
        ({"data": range(1, -1, -1), "name": "row"}, [("row", NUMBER, [1, 0])]),
    ],
)
def test_the_declared_index_is_no_class(index, found):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"dog": [0.5, 0.25], "cat": [0.125, 1]}, index=pandas.Index(**index))
    assert index_of(frame) == found


def test_each_level_of_an_index_is_declared():
    pandas = pytest.importorskip("pandas")
    index = pandas.MultiIndex.from_tuples([("v1", 3), ("v2", 0)], names=["video", None])
    frame = pandas.DataFrame({"dog": [0.5, 0.25], "cat": [0.125, 1]}, index=index)
    assert index_of(frame) == [("video", TEXT, ["v1", "v2"]), ("__index_level_1__", NUMBER, [3, 0])]


def test_the_name_of_an_index_is_enough():
    """Polars drops the metadata of pandas when it writes the columns again."""
    table = read({"a": [0.5], "__index_level_0__": [3], "__index_level_x__": [4]})
    assert [column.is_index for column in table.columns] == [False, True, False]


@pytest.mark.parametrize(
    "metadata",
    [
        {"index_columns": [{"kind": "range", "name": None, "start": 5, "stop": 9, "step": 1}]},  # of more rows
        {"index_columns": [{"kind": "range", "name": None, "start": 5, "stop": 7, "step": 0}]},
        {"index_columns": [{"kind": "range", "name": None, "start": None, "stop": 7, "step": 1}]},
        {"index_columns": ["gone"]},
        {"index_columns": None},
        [],
        {},
    ],
)
def test_metadata_of_another_frame_are_left_aside(metadata):
    table = read(pa.table({"a": [0.5, 1]}).replace_schema_metadata({"pandas": json.dumps(metadata)}))
    assert [(column.name, column.is_index) for column in table.columns] == [("a", False)]


@pytest.mark.parametrize("key", ["pandas", "huggingface"])
def test_metadata_that_are_no_json_are_left_aside(key):
    table = read(pa.table({"a": [0.5, 1]}).replace_schema_metadata({key: b"\xff{"}))
    assert (len(table.columns), table.class_names, table.notes) == (1, None, ())


# The class names of HF datasets


def with_features(columns: dict, **features) -> pa.Table:
    return pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


CLASSES = {"names": ["dog", "cat"], "_type": "ClassLabel"}


@pytest.mark.parametrize(
    "feature",
    [
        {"feature": CLASSES, "_type": "List"},
        {"feature": CLASSES, "_type": "LargeList"},
        {"feature": CLASSES, "length": -1, "_type": "Sequence"},
        [CLASSES],
    ],
)
def test_class_names_of_lists_are_found(feature):
    table = read(with_features({"tags": [[0], [1, 0], None]}, tags=feature, id={"dtype": "string", "_type": "Value"}))
    assert table.class_names == ("dog", "cat")
    assert rows_of(table.read_column(0)) == [[0], [1, 0], []]


def test_class_names_of_one_label_are_found():
    assert read(with_features({"label": [0, 1]}, label=CLASSES)).class_names == ("dog", "cat")


def test_unlike_class_names_are_noted():
    other = {"names": ["indoor", "outdoor"], "_type": "ClassLabel"}
    table = with_features({"fine": [0], "coarse": [0]}, fine=CLASSES, coarse=other)
    found = read(table)
    assert found.class_names is None
    assert found.notes == ("columns fine, coarse state different class names, so none are used; pick one as FILE::KEY",)
    assert read(table, key="coarse").class_names == ("indoor", "outdoor")
    assert read(table, key="coarse").notes == ()


@pytest.mark.parametrize("features", [{"a": {"_type": "ClassLabel"}}, {"gone": CLASSES}, {"a": [1, 2]}, [], None])
def test_features_without_class_names_state_none(features):
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    assert read(pa.table({"a": [1]}).replace_schema_metadata(metadata)).class_names is None


# Which columns of a file


def test_key_picks_a_column_and_keeps_the_ids():
    table = read({"video_id": ["v1"], "scores": [0.5], "labels": [1], "__index_level_0__": [4]}, key="labels")
    assert [column.name for column in table.columns] == ["video_id", "labels", "__index_level_0__"]
    assert table.read_column(1).tolist() == [1]
    assert table.read_column(2).tolist() == [4]


def test_key_of_no_column_is_refused():
    assert complaint(read, {"a": [1], "b": [2]}, key="c") == "p.parquet::c: no such array; the file holds a, b"


def test_columns_of_one_name_are_refused_by_name():
    table = pa.table([[1], [2], [3]], names=["a", "b", "a"])
    assert complaint(read, table) == (
        "p.parquet: expected columns of different names, got 'a' in columns 0, 2; rename them"
    )
    assert complaint(arrow.table_of_arrow, "scores", table).startswith("scores: expected columns of different names")
    assert read(table, key="b").read_column(0).tolist() == [2]
    empty = pa.table([[1], [2]], names=["", ""])
    assert complaint(read, empty) == (
        "p.parquet: expected at most one column with an empty name, got several; rename them"
    )


def test_a_dot_in_a_name_is_no_field():
    table = read(pa.table([pa.array([{"b": 1}]), pa.array([5]), pa.array([6])], names=["a", "a.b", "c"]))
    assert table.read_matrix([2, 1]).tolist() == [[6, 5]]
    assert table.read_column(1).tolist() == [5]


# Files


def test_rows_are_streamed_into_the_matrix():
    rng = np.random.default_rng(0)
    x = rng.random((20_001, 300), np.float32)
    pq.write_table(pa.table({f"c{k}": x[:, k] for k in range(300)}), "p.parquet", row_group_size=7_000)
    shares = []
    table = arrow.read_parquet(Source(Path("p.parquet")), SCORES, progress=shares.append)
    chosen = [*range(299, -1, -1)]
    matrix = table.read_matrix(chosen)
    np.testing.assert_array_equal(matrix, x[:, ::-1])
    assert matrix.flags.f_contiguous
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) > 3
    np.testing.assert_array_equal(table.read_matrix([]), np.empty((20_001, 0)))


@pytest.mark.usefixtures("_rows_at_a_time")
@pytest.mark.parametrize("position", range(4))
def test_each_kind_of_column_tells_its_progress(position):
    fixed = pa.array([[0.5, 1]] * 10, pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"a": [0.5] * 10, "t": ["x"] * 10, "l": [[1]] * 10, "m": fixed}), "p.parquet")
    shares = []
    arrow.read_parquet(Source(Path("p.parquet")), SCORES, progress=shares.append).read_column(position)
    assert shares == ([1.0] if arrow._MAX_ROWS > 10 else [0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_file_without_rows_is_read():
    table = read({"a": pa.array([], pa.float32()), "l": pa.array([], pa.list_(pa.int64())), "t": pa.array([], "string"),
                  "m": pa.array([], pa.list_(pa.float32(), 3))})  # fmt: skip
    assert table.num_rows == 0
    assert table.read_matrix([0]).shape == (0, 1)
    assert rows_of(table.read_column(1)) == []
    assert table.read_column(2).tolist() == []
    assert table.read_column(3).shape == (0, 3)


DAMAGED = "p.parquet: not a .parquet file, or it is truncated or damaged"


def test_foreign_and_cut_files_are_called_damaged():
    pq.write_table(pa.table({"a": np.arange(100.0)}), "p.parquet")
    whole = Path("p.parquet").read_bytes()
    footer = int.from_bytes(whole[-8:-4], "little")
    for content in (
        b"",
        b"a,b\n1,2\n",
        whole[:-1],
        whole[: len(whole) // 2],
        whole[: -footer - 8] + b"\xff" * 20 + whole[-footer + 12 :],
    ):
        Path("p.parquet").write_bytes(content)
        assert complaint(read, None) == DAMAGED
    named = read({"caption": [1]}) and Path("p.parquet").read_bytes()
    Path("p.parquet").write_bytes(named.replace(b"caption", b"cap\xffion"))
    assert complaint(read, None) == DAMAGED
    Path("p.parquet").write_bytes(whole[:4] + b"\xff" * 100 + whole[104:])
    assert complaint(read(None).read_column, 0) == DAMAGED
    assert complaint(read(None).read_matrix, [0]) == DAMAGED


def test_missing_files_and_folders_are_named():
    assert complaint(read, None) == "p.parquet: no such file"
    Path("p.parquet").mkdir()
    assert complaint(read, None) == "p.parquet: cannot be read (Is a directory)"


def test_a_false_number_of_rows_is_refused():
    """The footer writes 100 as the zigzag number 200, field 3 of the file; 8,000 has as many bytes."""
    pq.write_table(pa.table({"a": np.arange(100.0)}), "p.parquet")
    whole = Path("p.parquet").read_bytes()
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    false, stated = b"\x16\x80\x7d", b"\x16\xc8\x01"
    first = whole.index(stated, start)
    Path("p.parquet").write_bytes(whole[:first] + false + whole[first + 3 :])
    assert complaint(read, None) == "p.parquet: damaged: states 8,000 rows, but its row groups have 100"
    Path("p.parquet").write_bytes(whole[:start] + whole[start:].replace(stated, false))
    assert pq.ParquetFile("p.parquet").metadata.num_rows == 8_000
    sentence = "p.parquet: truncated or damaged: states 8,000 rows, but 100 are there"
    assert complaint(read(None).read_matrix, [0]) == sentence
    assert complaint(read(None).read_column, 0) == sentence


def test_more_rows_than_memory_are_refused(monkeypatch):
    monkeypatch.setattr(columns, "_physical_memory", lambda: 2**20)
    table = read({"a": np.zeros(100_000), "b": np.zeros(100_000)})
    assert Path("p.parquet").stat().st_size < 10_000
    assert complaint(table.read_matrix, [0, 1]) == (
        "p.parquet: states 100,000 x 2 values of float64, 1,600,000 bytes, which this machine's memory cannot hold; "
        "split the file, or it is damaged"
    )
    assert table.read_column(0).shape == (100_000,)


def test_without_pyarrow_the_extra_is_named(monkeypatch):
    pq.write_table(pa.table({"a": [1]}), "p.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    assert complaint(read, None) == 'p.parquet: reading it needs pyarrow; pip install "vltr[parquet]"'
