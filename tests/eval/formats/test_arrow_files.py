"""Arrow files, Feather files and folders of Hugging Face save_to_disk are read with the values that were written."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather, ipc

import vltr_eval
from vltr_eval.formats import InputError, LabelPairs, Scores, read_ids, read_labels, read_pair, read_scores

SCORES = np.random.default_rng(0).random((40, 3)).astype(np.float32)
LABELS = (np.random.default_rng(1).random((40, 3)) < 0.3).astype(np.int64)
IDS = [f"v{row}" for row in range(40)]
NAMES = ["cat", "dog", "owl"]
LISTS = [np.flatnonzero(row).tolist() for row in LABELS]


def columns(scores: np.ndarray) -> dict[str, pa.Array]:
    return {name: pa.array(scores[:, k]) for k, name in enumerate(NAMES)}


def fixed(scores: np.ndarray) -> dict[str, pa.Array]:
    return {"scores": pa.FixedSizeListArray.from_arrays(pa.array(scores.reshape(-1)), 3)}


def lists(scores: np.ndarray) -> dict[str, pa.Array]:
    offsets = pa.array(np.arange(0, scores.size + 1, 3), pa.int32())
    return {"scores": pa.ListArray.from_arrays(offsets, pa.array(scores.reshape(-1)))}


LAYOUTS = [columns, fixed, lists]


def write(path, table: pa.Table, *, stream: bool = False, compression: str | None = None, rows: int | None = None):
    options = ipc.IpcWriteOptions(compression=compression)
    with (
        pa.OSFile(str(path), "wb") as sink,
        (ipc.new_stream if stream else ipc.new_file)(sink, table.schema, options=options) as writer,
    ):
        writer.write_table(table, max_chunksize=rows)
    return path


def whole(scores) -> np.ndarray:
    return np.concatenate(scores.values) if isinstance(scores.values, list) else np.asarray(scores.values)


def is_view(array: np.ndarray) -> bool:
    """Whether the memory of an array is not numpy's own."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.base is not None


@pytest.mark.parametrize("rows", [None, 7])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint64"])
def test_scores_have_their_values(tmp_path, dtype, layout, stream, compression, rows):
    values = (SCORES * 100).astype(dtype)
    table = pa.table({"id": IDS, **layout(values)})
    scores = read_scores(write(tmp_path / "x.arrow", table, stream=stream, compression=compression, rows=rows))
    if layout is not lists or values.dtype.kind == "f":
        assert whole(scores).dtype == values.dtype
    assert (whole(scores) == values).all()
    assert scores.ids.tolist() == IDS
    assert scores.class_names == (tuple(NAMES) if layout is columns else None)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_plain_batch_is_mapped_without_a_copy(tmp_path, layout, stream):
    path = write(tmp_path / "x.arrow", pa.table({"id": IDS, **layout(SCORES)}), stream=stream)
    values = read_scores(path).values
    assert is_view(values)
    assert not values.flags.writeable
    before = pa.total_allocated_bytes()
    again = read_scores(path).values
    assert pa.total_allocated_bytes() == before
    assert (again == SCORES).all()


def test_a_choice_of_columns_is_mapped_where_they_lie_evenly(tmp_path):
    table = pa.table({"id": IDS, **columns(SCORES), "word": IDS, "emu": SCORES[:, 0]})
    path = write(tmp_path / "x.arrow", table)
    for chosen, expected in [(["cat", "owl"], True), (["cat", "dog", "owl"], True), (["cat", "dog", "emu"], False)]:
        values = read_scores(path, columns=chosen).values
        assert is_view(values) == expected
        assert (values == table.select(chosen).to_pandas().to_numpy()).all()


def test_batches_of_scores_are_row_shards_without_a_copy(tmp_path):
    path = write(tmp_path / "x.arrow", pa.table(fixed(SCORES)), stream=True, rows=7)
    values = read_scores(path).values
    assert [len(part) for part in values] == [7] * 5 + [5]
    assert all(map(is_view, values))
    report = vltr_eval.evaluate(values, LABELS, sap=15)
    assert report.to_json() == vltr_eval.evaluate(SCORES, LABELS, sap=15).to_json()


def test_files_of_several_batches_are_joined(tmp_path):
    for number in range(2):
        part = slice(20 * number, 20 * number + 20)
        write(tmp_path / f"x{number}.arrow", pa.table({"id": IDS[part], **fixed(SCORES[part])}), rows=7)
    scores = read_scores(tmp_path / "x*.arrow")
    assert (whole(scores) == SCORES).all()
    assert scores.ids.tolist() == IDS


def test_report_has_the_bytes_of_npy(tmp_path):
    order = np.random.default_rng(2).permutation(40)
    table = pa.table({"id": np.array(IDS)[order], **columns(SCORES[order])})
    scores = write(tmp_path / "p.feather", table, compression="zstd", rows=9)
    labels = write(tmp_path / "l.arrow", pa.table({"id": IDS, "labels": LISTS}), rows=11)
    pair = read_pair(scores, labels)
    found = vltr_eval.evaluate(pair.scores, pair.labels, sap=15, class_names=NAMES)
    expected = vltr_eval.evaluate(SCORES[order], LABELS[order], sap=15, class_names=NAMES)
    assert found.to_json() == expected.to_json()


def test_feather_of_version_1_is_refused(tmp_path):
    path = tmp_path / "x.feather"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            feather.write_feather(pa.table(columns(SCORES)), path, version=1)
        except (TypeError, ValueError, pa.ArrowException):  # a pyarrow that cannot write it
            path.write_bytes(b"FEA1" + bytes(100) + b"FEA1")
    with pytest.raises(InputError, match="is version 1 of Feather"):
        read_scores(path)


@pytest.mark.parametrize("table", [pa.table({}), pa.table({"a": pa.array([], pa.float32())})])
def test_files_without_rows(tmp_path, table):
    assert read_scores(write(tmp_path / "x.arrow", table)).num_rows == 0


def test_key_picks_a_column(tmp_path):
    path = write(tmp_path / "x.arrow", pa.table({"id": IDS, "one": lists(SCORES)["scores"], "label": LABELS[:, 0]}))
    assert (read_scores(f"{path}::one").values == SCORES).all()
    assert read_labels(f"{path}::label").values.tolist() == LABELS[:, 0].tolist()
    with pytest.raises(InputError, match="no such array"):
        read_scores(f"{path}::two")


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"ARROW1\0\0" + bytes(40), b"\xff\xff\xff\xff", b"a,b\n1,2\n"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.arrow"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.arrow: "):
        read_scores(path)


@pytest.mark.parametrize("stream", [False, True])
def test_cut_files_are_refused(tmp_path, stream):
    path = write(tmp_path / "x.arrow", pa.table({"id": IDS, **columns(SCORES)}), stream=stream, rows=7)
    content = path.read_bytes()
    for length in range(0, len(content) - 8, 17):
        path.write_bytes(content[:length])
        try:
            assert read_scores(path).num_rows < 40  # a stream may end behind a batch
            assert stream
        except InputError as error:
            assert str(error).startswith(str(path))  # noqa: PT017


@given(
    flips=st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=4), stream=st.booleans()
)
def test_damaged_files_are_read_or_refused(tmp_path_factory, flips, stream):
    path = tmp_path_factory.mktemp("any") / "x.arrow"
    write(path, pa.table({"id": IDS, **lists(SCORES)}), stream=stream)
    content = bytearray(path.read_bytes())
    for position, value in flips:
        content[position % len(content)] = value
    path.write_bytes(content)
    refusal = str(path)
    try:
        read_scores(path)
    except InputError as error:
        refusal = str(error)
    assert refusal.startswith(str(path))
    assert refusal.isprintable()


# save_to_disk


def save(folder, table: pa.Table, *, features=None, shards: int = 2, rows: int = 7, state=None, in_schema: bool = True):
    """A folder as datasets 5.2 writes it: streams of batches, state.json and dataset_info.json."""
    folder.mkdir(parents=True)
    info = {"citation": "", "description": "", "features": features or {}, "homepage": "", "license": ""}
    if in_schema:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features or {}}})})
    names = [f"data-{number:05d}-of-{shards:05d}.arrow" for number in range(shards)]
    per_shard = -(-table.num_rows // shards)
    for number, name in enumerate(names):
        write(folder / name, table.slice(number * per_shard, per_shard), stream=True, rows=rows)
    described = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": None}
    (folder / "state.json").write_text(json.dumps({**described, **(state or {})}))
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


LABEL = {"names": NAMES, "_type": "ClassLabel"}
FEATURES = {"id": {"dtype": "string", "_type": "Value"}, "labels": {"feature": LABEL, "_type": "List"}}


def dense(labels) -> np.ndarray:
    assert isinstance(labels.values, LabelPairs)
    found = np.zeros((labels.num_rows, 3), np.int64)
    found[labels.values.rows, labels.values.classes] = 1
    return found


@pytest.mark.parametrize("in_schema", [True, False])
@pytest.mark.parametrize("kind", ["List", "Sequence", "LargeList"])
def test_saved_labels_have_names(tmp_path, kind, in_schema):
    features = {**FEATURES, "labels": {"feature": LABEL, "_type": kind}}
    folder = save(tmp_path / "set", pa.table({"id": IDS, "labels": LISTS}), features=features, in_schema=in_schema)
    labels = read_labels(folder)
    assert labels.class_names == tuple(NAMES)
    assert (dense(labels) == LABELS).all()
    assert read_ids(folder).tolist() == IDS


def test_saved_scores_are_row_shards(tmp_path):
    folder = save(tmp_path / "set", pa.table({"id": IDS, **fixed(SCORES)}))
    scores = read_scores(folder)
    assert len(scores.values) == 6
    assert all(map(is_view, scores.values))
    pair = read_pair(folder, save(tmp_path / "labels", pa.table({"id": IDS[::-1], "labels": LISTS[::-1]})))
    found = vltr_eval.evaluate(pair.scores, pair.labels, sap=15)
    assert found.to_json() == vltr_eval.evaluate(SCORES, LABELS, sap=15).to_json()


def test_splits_of_a_saved_dict(tmp_path):
    for split, part in (("train", slice(0, 30)), ("test", slice(30, 40))):
        save(tmp_path / "set" / split, pa.table({"id": IDS[part], "labels": LISTS[part]}), features=FEATURES)
    (tmp_path / "set" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    assert (dense(read_labels(f"{tmp_path}/set::test", label_form="indices")) == LABELS[30:]).all()
    assert (dense(read_labels(f"{tmp_path}/set/test::labels")) == LABELS[30:]).all()
    for spec in (tmp_path / "set", f"{tmp_path}/set::dev"):
        with pytest.raises(InputError, match="expected one of the splits train, test; pick one as FOLDER::SPLIT"):
            read_labels(spec)


def test_indices_of_old_versions_pick_the_rows(tmp_path):
    order = np.random.default_rng(3).permutation(40)[:25].astype(np.uint64)
    state = {"_indices_data_files": [{"filename": "indices.arrow"}]}
    table = pa.table({"id": IDS, "labels": LISTS, **columns(SCORES)})
    folder = save(tmp_path / "set", table, features=FEATURES, state=state)
    write(folder / "indices.arrow", pa.table({"indices": order}), stream=True, rows=4)
    labels = read_labels(f"{folder}::labels")
    assert (dense(labels) == LABELS[order]).all()
    assert labels.ids.tolist() == [IDS[row] for row in order]
    assert (read_scores(folder, columns=NAMES, exclude=["labels"]).values == SCORES[order]).all()
    write(folder / "indices.arrow", pa.table({"indices": order + 40}), stream=True)
    with pytest.raises(InputError, match="its indices are not row numbers below 40"):
        read_labels(folder)


@pytest.mark.parametrize(("label", "complaint"), [(-1, "got -1"), (None, "got a null"), (3, "3")])
def test_a_label_that_is_no_class_is_refused(tmp_path, label, complaint):
    features = {"label": LABEL}
    folder = save(tmp_path / "set", pa.table({"label": pa.array([0, label, 1], pa.int64())}), features=features)
    with pytest.raises(ValueError, match=complaint):
        vltr_eval.evaluate(SCORES[:3], read_pair(Scores(SCORES[:3]), folder).labels)


@pytest.mark.parametrize("label", [-1, None])
def test_a_row_that_nobody_knows_is_left_out_of_every_class(tmp_path, label):
    table = pa.table({"label": pa.array([0, label, 1, 2, 1], pa.int64())})
    folder = save(tmp_path / "set", table, features={"label": LABEL})
    pq.write_table(table, tmp_path / "x.parquet")
    scores, known = SCORES[:5, :3], [0, 2, 3, 4]
    expected = vltr_eval.evaluate(scores[known], np.array([0, 1, 2, 1]), sap=None).metrics()
    for path in (folder, tmp_path / "x.parquet"):
        for unknown in (-1 if label == -1 else "nan", "-1,nan"):
            report = vltr_eval.evaluate(scores, path, unknown=unknown, sap=None)
            assert (report.num_unknown, report.metrics()) == (3, expected)
        option = r"unknown=-1 \(--unknown -1\)" if label == -1 else r"unknown='nan' \(--unknown nan\)"
        with pytest.raises(ValueError, match=option):
            vltr_eval.evaluate(scores, path)


@pytest.mark.parametrize("values", [[0, 1, -1, 1], [0, 1, None, 1]])
def test_columns_of_classes_have_unknown_cells(tmp_path, values):
    table = pa.table({"a": pa.array(values, pa.int8()), "b": pa.array([1, 0, 1, 0], pa.int8())})
    value = {"dtype": "int8", "_type": "Value"}
    folder = save(tmp_path / "set", table, features={"a": value, "b": value})
    known = np.array([[True, True], [True, True], [False, True], [True, True]])
    labels = np.array([[0, 1], [1, 0], [0, 1], [1, 0]])
    report = vltr_eval.evaluate(SCORES[:4, :2], folder, unknown=-1 if -1 in values else "nan")
    assert report.num_unknown == 1
    assert report.metrics() == vltr_eval.evaluate(SCORES[:4, :2], labels, mask=known).metrics()


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("state.json", "{", "not a whole JSON file"),
        ("state.json", "[]", "expected a JSON object"),
        ("state.json", "{}", "expected the names of files"),
        ("state.json", '{"_data_files": [{"filename": "../x.arrow"}]}', "expected names of files of this folder"),
        ("state.json", '{"_data_files": [{"filename": "y.arrow"}]}', "no such file"),
        ("dataset_dict.json", "{}", "expected the names of splits"),
        ("dataset_dict.json", '{"splits": [".."]}', "expected the names of splits"),
    ],
)
def test_damaged_folders_are_refused(tmp_path, name, content, complaint):
    folder = save(tmp_path / "set", pa.table({"labels": LISTS}))
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=complaint):
        read_labels(folder)


def test_files_of_other_columns_are_refused(tmp_path):
    folder = save(tmp_path / "set", pa.table({"labels": LISTS}))
    write(folder / "data-00001-of-00002.arrow", pa.table({"label": LABELS[:, 0]}), stream=True)
    with pytest.raises(InputError, match="has other columns or types than data-00000-of-00002"):
        read_labels(folder)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="Is a directory"):
        read_scores(tmp_path)
