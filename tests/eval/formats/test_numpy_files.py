"""Tests of .npy and .npz: every dtype that numpy and scipy write, and headers that promise what is not there."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from vltr_eval._base.files import InputError
from vltr_eval.formats.numpy_files import read_npy, read_npz
from vltr_eval.formats.roles import COUNTS, LABELS, SCORES
from vltr_eval.formats.sources import expand_one

PREDS = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
TRUTH = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]], np.uint8)
NUMBERS = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(spec: str, role=SCORES):
    source = expand_one(spec)
    return (read_npy if source.suffix == ".npy" else read_npz)(source, role)


def complaint(spec: str, role=SCORES) -> str:
    """The message of the InputError that reading must raise: one line that begins with the file's name."""
    with pytest.raises(InputError) as caught:
        read(spec, role)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(spec.partition("::")[0])
    return message.partition(": ")[2]


def npy_bytes(array, version=None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array), version)
    return stream.getvalue()


def npy_with_header(header: str, data: bytes = b"", version: int = 1) -> bytes:
    text = header.encode("utf-8")
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + data


def header_of(shape: str, descr: str = "'<f4'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


def write_npz(name: str, members: dict[str, bytes], compression=zipfile.ZIP_STORED) -> str:
    with zipfile.ZipFile(name, "w", compression) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return name


def savez(name: str = "p.npz", **arrays) -> str:
    np.savez(name, **arrays)
    return name


# .npy: right values


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_header_version_is_read(version):
    Path("p.npy").write_bytes(npy_bytes(PREDS, version))
    np.testing.assert_array_equal(read("p.npy").array, PREDS)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("code", NUMBERS)
def test_every_numeric_dtype_and_byte_order_is_read(code, byteorder, order):
    dtype = np.dtype(code).newbyteorder(byteorder)
    array = np.asarray(np.arange(12).reshape(4, 3) % 5, dtype, order)
    np.save("p.npy", array)
    np.savez("p.npz", preds=array)
    for table in (read("p.npy"), read("p.npz")):
        assert table.array.dtype == np.dtype(code)
        assert table.array.dtype.isnative
        assert table.num_rows == 4
        np.testing.assert_array_equal(table.array, array)


def test_npy_in_native_order_is_mapped_read_only():
    np.save("p.npy", PREDS)
    array = read("p.npy").array
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable


def test_misaligned_npy_is_read_aligned():
    Path("p.npy").write_bytes(npy_with_header(header_of("(4, 3)") + " ", PREDS.tobytes()))
    array = read("p.npy").array
    assert array.flags.aligned
    np.testing.assert_array_equal(array, PREDS)


def test_header_of_python_2_is_read():
    Path("p.npy").write_bytes(npy_with_header(header_of("(4L, 3L)") + "\n", PREDS.tobytes()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read("p.npy").array, PREDS)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (2, 2, 2)])
def test_other_shapes_are_left_as_they_are(shape):
    np.save("p.npy", np.zeros(shape))
    np.savez("p.npz", np.zeros(shape))
    assert read("p.npy").array.shape == shape
    assert read("p.npz").array.shape == shape


# .npy: sentences


@pytest.mark.parametrize(
    ("array", "ending"),
    [
        (np.zeros(3, np.complex64), "got complex64; save its real part"),
        (np.array(["a", "b"]), "got str32"),
        (np.array([b"a"]), "got bytes8"),
        (np.zeros(2, "datetime64[s]"), "got datetime64[s]"),
        (np.zeros(2, "timedelta64[ms]"), "got timedelta64[ms]"),
        (
            np.zeros(2, [("a", "f4"), ("\u00e9", "i4")]),
            "got a structured dtype with the fields a, \u00e9; save one of its fields",
        ),
        (np.zeros(2, np.longdouble), f"got {np.dtype(np.longdouble).name}; save array.astype(np.float64)"),
        (
            np.zeros(2, "V2"),
            "got void16; numpy writes bfloat16 in this way; save array.astype(np.float32)",
        ),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, np.ndarray) else "",
)
def test_other_dtypes_are_named_with_a_remedy(array, ending):
    Path("p.npy").write_bytes(npy_bytes(array, (3, 0)))
    assert complaint("p.npy") == f"expected scores of bool, integer or float dtype, {ending}"


def test_bfloat16_that_numpy_saved_is_refused_with_the_cast():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    np.save("p.npy", PREDS.astype(ml_dtypes.bfloat16))
    assert complaint("p.npy").endswith("numpy writes bfloat16 in this way; save array.astype(np.float32)")


def test_objects_are_refused_with_a_way_out():
    objects = np.empty(2, object)
    objects[:] = [[1, 2], [3]]
    np.save("l.npy", objects, allow_pickle=True)
    assert complaint("l.npy", LABELS) == (
        "holds Python objects, which are never unpickled; save an array of numbers, "
        "or labels as a JSON file with one list of class indices a row"
    )


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (f"({2**62}, 3)", f"truncated: the header promises {2**62 * 12} bytes of data, but 48 are there"),
        (f"({2**80},)", f"truncated: the header promises {2**82} bytes of data, but 48 are there"),
        ("(-4, 3)", "expected a shape of whole numbers >= 0 in the header, got (-4, 3)"),
        ("(-4, -3)", "expected a shape of whole numbers >= 0 in the header, got (-4, -3)"),
        ("(True, 12)", "expected a shape of whole numbers >= 0 in the header, got (True, 12)"),
        ("(4.0, 3)", "not a .npy array, or its header is damaged"),
        ("[4, 3]", "not a .npy array, or its header is damaged"),
        ("'43'", "not a .npy array, or its header is damaged"),
        (f"({2**62}, 0)", f"expected an array with values, got the empty shape ({2**62}, 0)"),
        (
            "(0, " + "100, " * 31 + ")",
            "expected an array with values, got the empty shape (0, " + "100, " * 30 + "100)",
        ),
        ("(" + "1, " * 40 + ")", "expected an array of 1 or 2 dimensions, got 40"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_impossible_shapes_are_refused(shape, message, suffix):
    content = npy_with_header(header_of(shape), PREDS.tobytes())
    if suffix == ".npy":
        Path("p.npy").write_bytes(content)
    else:
        write_npz("p.npz", {"preds.npy": content}, zipfile.ZIP_DEFLATED)
    assert complaint(f"p{suffix}") == message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x04\x00" + b"\0" * 100,
        b"id,score\n1,2\n" * 20,
        npy_with_header("{'descr': '<f4'}"),
        npy_with_header(header_of("(4, 3)", "'no dtype'")),
        npy_with_header(header_of("(4, 3)", "3")),
        npy_with_header("(" * 5000),
        npy_with_header("-" * 9000 + "1"),
        npy_with_header("\u00e9" * 50, version=3)[:-1],
        npy_with_header(header_of("(4, 3)"), version=2)[:40],
    ],
)
def test_foreign_bytes_are_no_npy(content):
    Path("p.npy").write_bytes(content)
    assert complaint("p.npy") == "not a .npy array, or its header is damaged"


def test_header_beyond_any_length_is_refused():
    Path("p.npy").write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1))
    assert complaint("p.npy") == "expected a header of at most 10,000 bytes, got 4,294,967,295; save numbers"


def test_bytes_behind_the_array_are_refused():
    Path("p.npy").write_bytes(npy_bytes(PREDS) + PREDS[:1].tobytes())
    assert complaint("p.npy") == (
        "expected 48 bytes of data as its header says, got 60; was the file appended to, or written by two processes?"
    )


def test_second_array_in_one_npy_is_refused():
    with open("p.npy", "wb") as stream:
        np.save(stream, PREDS)
        np.save(stream, TRUTH)
    assert complaint("p.npy") == (
        "expected one array, got another one behind it; save each array in its own file, or all with np.savez"
    )


def test_missing_bytes_are_counted():
    Path("p.npy").write_bytes(npy_bytes(PREDS)[:-5])
    assert complaint("p.npy") == "truncated: the header promises 48 bytes of data, but 43 are there"


# .npz: which member


def test_one_npz_given_for_both_arguments_is_split_by_names():
    savez(preds=TRUTH, truth=TRUTH[::-1])
    np.testing.assert_array_equal(read("p.npz").array, TRUTH)
    np.testing.assert_array_equal(read("p.npz", LABELS).array, TRUTH[::-1])


def test_array_of_another_role_is_no_candidate():
    savez(preds=PREDS)
    assert "cannot tell which array holds the labels" in complaint("p.npz", LABELS)


def test_scalars_beside_the_array_are_no_candidates():
    savez(x=PREDS[:, 0], epoch=np.array(3))
    np.testing.assert_array_equal(read("p.npz").array, PREDS[:, 0])


@pytest.mark.parametrize("key", ["b", "b.npy"])
def test_key_picks_a_member_with_or_without_its_suffix(key):
    savez(a=PREDS, b=PREDS + 1)
    np.testing.assert_array_equal(read(f"p.npz::{key}").array, PREDS + 1)
    assert complaint("p.npz::c") == "no such array; the file holds a, b"


def test_members_without_the_suffix_are_read_and_others_ignored():
    write_npz("p.npz", {"preds": npy_bytes(PREDS), "readme.txt": b"numbers", "folder/": b""})
    np.testing.assert_array_equal(read("p.npz").array, PREDS)


def test_objects_in_another_member_do_not_matter():
    np.savez("p.npz", preds=PREDS, meta=np.array([{"a": 1}, None], object), names_of_runs=np.array(["x", "y"]))
    np.testing.assert_array_equal(read("p.npz").array, PREDS)


def test_objects_are_refused_when_their_name_is_that_of_the_role():
    lists = np.empty(4, object)
    lists[:] = [[0], [1, 2], [], [0]]
    savez(preds=PREDS, labels=lists)
    assert complaint("p.npz", LABELS).startswith("holds Python objects, which are never unpickled; save")
    np.testing.assert_array_equal(read("p.npz").array, PREDS)


def test_only_member_of_another_dtype_is_named():
    savez(x=np.array(["a", "b"]))
    assert complaint("p.npz") == "expected scores of bool, integer or float dtype, got str32"


def test_two_members_of_one_name_are_refused():
    with zipfile.ZipFile("p.npz", "w") as archive:
        archive.writestr("preds.npy", npy_bytes(PREDS))
        archive.writestr("preds", npy_bytes(PREDS + 1))
    assert complaint("p.npz") == "expected arrays of different names, got two of the name preds"
    with warnings.catch_warnings(), zipfile.ZipFile("q.npz", "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("preds.npy", npy_bytes(PREDS))
        archive.writestr("preds.npy", npy_bytes(PREDS + 1))
    assert complaint("q.npz") == "expected arrays of different names, got two of the name preds"


# .npz: ids and class names beside the array


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (np.array(["d", "c", "b", "\u00e9"]), ["d", "c", "b", "\u00e9"]),
        (np.array(["d", "c", "b", "a"], ">U3"), ["d", "c", "b", "a"]),
        (np.array([b"d", b"c", "\u00e9".encode(), b"a"]), ["d", "c", "\u00e9", "a"]),
        (np.array([7, 5, 3, 1], np.uint8), [7, 5, 3, 1]),
        (np.array([7, 5, -3, 1], ">i4"), [7, 5, -3, 1]),
        (np.array([2**64 - 1, 5, 3, 1], np.uint64), ["18446744073709551615", "5", "3", "1"]),
    ],
)
def test_ids_beside_the_array_are_read(ids, expected):
    np.savez_compressed("p.npz", video_ids=ids, preds=PREDS)
    found = read("p.npz").ids
    assert found.tolist() == expected
    assert found.dtype == (np.int64 if isinstance(expected[1], int) else object)


def test_ids_need_one_entry_a_row():
    savez(preds=PREDS, ids=np.arange(3), names=np.array(["a", "b"]))
    assert read("p.npz").ids is None


def test_distinct_ids_are_taken_of_several():
    savez(preds=PREDS, video_id=np.array(["v", "v", "w", "w"]), clip_id=np.array([0, 1, 2, 3]))
    table = read("p.npz")
    assert table.ids.tolist() == [0, 1, 2, 3]
    assert table.notes == ("row ids are those of clip_id, not of video_id",)


@pytest.mark.parametrize(
    ("ids", "kind"), [(np.array(["a", "b", "c", "d"], object), "Python objects"), (np.arange(4.0), "float64")]
)
def test_ids_that_cannot_be_read_are_refused_unless_a_key_is_given(ids, kind):
    savez(preds=PREDS, ids=ids)
    assert complaint("p.npz") == (
        f"expected row ids of text or whole numbers in ids, got {kind}; save ids.astype('U'), "
        "or pick the array as FILE::KEY to take its rows in their order"
    )
    table = read("p.npz::preds")
    assert table.ids is None
    assert table.notes == (f"the row ids in ids are not read, because they are {kind}",)


def test_ids_of_other_bytes_than_utf8_are_refused():
    savez(preds=PREDS, ids=np.array([b"\xff", b"a", b"b", b"c"]))
    assert complaint("p.npz").endswith("expected names in UTF-8, got other bytes; save .astype('U')")


@pytest.mark.parametrize("key", ["class_names", "classes", "label_names", "categories"])
def test_class_names_beside_the_array_are_read(key):
    savez(preds=PREDS, labels=TRUTH, **{key: np.array(["x", "y", "z"])})
    assert read("p.npz").class_names == ("x", "y", "z")
    assert read("p.npz", LABELS).class_names == ("x", "y", "z")


def test_class_names_of_label_indices_may_be_any_number():
    savez(labels=np.array([0, 2, 1, 0]), classes=np.array(["x", "y", "z", "w", "v"]))
    assert read("p.npz", LABELS).class_names == ("x", "y", "z", "w", "v")


def test_class_names_of_training_counts_are_read():
    savez(counts=np.array([5, 2, 1]), class_names=np.array(["x", "y", "z"]))
    assert read("p.npz", COUNTS).class_names == ("x", "y", "z")


def test_class_names_of_another_number_are_noted():
    savez(preds=PREDS, class_names=np.array(["x", "y"]))
    table = read("p.npz")
    assert table.class_names is None
    assert table.notes == ("class_names is not used: it has 2 entries for 3 classes",)


# .npz: damage


def test_member_longer_than_its_header_says_is_refused():
    write_npz("p.npz", {"preds.npy": npy_bytes(PREDS) + b"\0" * (1 << 24)}, zipfile.ZIP_DEFLATED)
    assert complaint("p.npz") == "expected 48 bytes of data as its header says, got more"


def test_member_shorter_than_its_header_says_is_refused():
    write_npz("p.npz", {"preds.npy": npy_bytes(PREDS)[:-4]})
    assert complaint("p.npz") == "truncated: the header promises 48 bytes of data, but 44 are there"


@pytest.mark.parametrize("compressed", [False, True])
def test_every_cut_and_every_flipped_byte_is_read_right_or_refused(compressed):
    (np.savez_compressed if compressed else np.savez)("p.npz", preds=PREDS, ids=np.array(["a", "b", "c", "d"]))
    content = Path("p.npz").read_bytes()
    cuts = [content[:kept] for kept in range(0, len(content), 7)]
    flips = [content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :] for at in range(len(content))]
    for changed in (*cuts, *flips):
        Path("q.npz").write_bytes(changed)
        try:
            array = read("q.npz").array
        except InputError:
            continue
        np.testing.assert_array_equal(array, PREDS)


def test_members_hidden_by_a_flipped_byte_are_missed():
    """One byte of the list of members makes the first one's comment so long that zipfile sees no other."""
    sparse.save_npz("l.npz", sparse.csr_matrix(TRUTH))
    content = bytearray(Path("l.npz").read_bytes())
    first = content.index(b"PK\x01\x02")
    following = content.index(b"PK\x01\x02", first + 4)
    content[first + 32 : first + 34] = struct.pack("<H", len(content) - 22 - following)
    Path("l.npz").write_bytes(content)
    with zipfile.ZipFile("l.npz") as archive:
        assert len(archive.namelist()) == 1
    assert complaint("l.npz", LABELS) == "not a .npz archive, or it is truncated or damaged"


def test_archive_with_a_comment_is_read():
    savez(preds=PREDS)
    with zipfile.ZipFile("p.npz", "a") as archive:
        archive.comment = b"made by hand"
    np.testing.assert_array_equal(read("p.npz").array, PREDS)


def test_encrypted_member_is_named():
    content = bytearray(Path(savez(preds=PREDS)).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    Path("p.npz").write_bytes(content)
    assert complaint("p.npz") == "expected an archive without a password, got an encrypted preds.npy"


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_named(compression):
    write_npz("p.npz", {"preds.npy": npy_bytes(PREDS)}, compression)
    assert complaint("p.npz") == (
        "expected arrays as np.savez or np.savez_compressed writes them, "
        f"got preds.npy compressed by method {compression}"
    )


def test_foreign_file_is_no_npz():
    Path("p.npz").write_bytes(npy_bytes(PREDS))
    assert complaint("p.npz") == "not a .npz archive, or it is truncated or damaged"


# Sparse matrices


def dense(pairs) -> np.ndarray:
    labels = np.zeros((pairs.num_rows, pairs.num_classes), np.uint8)
    labels[pairs.rows, pairs.classes] = 1
    return labels


@pytest.mark.parametrize("code", NUMBERS[:-3] + NUMBERS[-2:])
@pytest.mark.parametrize("kind", ["csr_matrix", "csc_matrix", "coo_matrix", "csr_array", "csc_array", "coo_array"])
def test_sparse_labels_of_every_kind_and_dtype_are_read(kind, code):
    sparse.save_npz("l.npz", getattr(sparse, kind)(TRUTH.astype(code)))
    table = read("l.npz", LABELS)
    assert table.num_rows == 4
    np.testing.assert_array_equal(dense(table.pairs), TRUTH)


def test_sparse_labels_keep_ids_and_class_names():
    arrays = dict(np.load(_sparse_file(sparse.csr_matrix(TRUTH))))
    savez("l.npz", **arrays, ids=np.array(["a", "b", "c", "d"]), class_names=np.array(["x", "y", "z"]))
    table = read("l.npz", LABELS)
    assert table.ids.tolist() == ["a", "b", "c", "d"]
    assert table.class_names == ("x", "y", "z")


def _sparse_file(matrix) -> str:
    sparse.save_npz("s.npz", matrix)
    return "s.npz"


@pytest.mark.parametrize("layout", ["bsr", "dia"])
def test_other_sparse_layouts_are_refused_with_the_call(layout):
    name = _sparse_file(sparse.coo_matrix(TRUTH).asformat(layout))
    assert complaint(name, LABELS) == (f"expected a sparse matrix in csr, csc or coo form, got {layout}; save .tocsr()")


def test_sparse_scores_are_refused():
    name = _sparse_file(sparse.csr_matrix(PREDS))
    assert complaint(name) == "a sparse matrix can hold labels, not scores; save it as a dense array"


@pytest.mark.parametrize("kind", ["coo_array", "csr_array"])
def test_sparse_of_one_dimension_is_refused(kind):
    matrix = getattr(sparse, kind)(np.array([0, 1, 1]))
    if matrix.ndim != 1:
        pytest.skip("this scipy has no sparse arrays of one dimension")
    name = _sparse_file(matrix)
    assert complaint(name, LABELS) == ("expected a sparse matrix of 2 dimensions, got 1; save it as a dense array")


def _without_none(arrays: dict) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in arrays.items() if value is not None}


def coo(**changes) -> str:
    arrays = {"format": b"coo", "shape": [3, 4], "row": [0, 1, 2], "col": [1, 0, 3], "data": [1, 1, 1]}
    return savez(
        "l.npz", **{name: np.asarray(value) for name, value in (arrays | changes).items() if value is not None}
    )


def csr(**changes) -> str:
    arrays = {"format": "csr", "shape": [2, 3], "indptr": [0, 1, 3], "indices": [1, 0, 2], "data": [1.0, 1.0, 1.0]}
    return savez(
        "l.npz", **{name: np.asarray(value) for name, value in (arrays | changes).items() if value is not None}
    )


@pytest.mark.parametrize("values", [[True, True, True], [1, 1, 1], [1.0, 1.0, 1.0]])
def test_ones_of_every_type_are_labels(values):
    pairs = read(csr(data=values), LABELS).pairs
    assert (pairs.num_rows, pairs.num_classes) == (2, 3)
    assert list(zip(pairs.rows.tolist(), pairs.classes.tolist(), strict=True)) == [(0, 1), (1, 0), (1, 2)]


def test_explicit_zeros_are_left_out():
    pairs = read(csr(data=[1, 0, 1]), LABELS).pairs
    assert list(zip(pairs.rows.tolist(), pairs.classes.tolist(), strict=True)) == [(0, 1), (1, 2)]


@pytest.mark.parametrize("changes", [{}, {"format": None}, {"format": None, "fill_value": 0}])
def test_coordinates_in_one_array_are_read(changes):
    """As scipy writes sparse arrays of other dimensions, and as the package sparse writes all of them."""
    name = coo(row=None, col=None, coords=[[0, 1, 2], [1, 0, 3]], **changes)
    assert read(name, LABELS).pairs.classes.tolist() == [1, 0, 3]


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (csr, {"data": [1.0, 0.3, 1.0]}, "expected labels 0 or 1, got 0.3 at row 1, class 0"),
        (csr, {"data": [1.0, np.nan, 1.0]}, "expected labels 0 or 1, got nan at row 1, class 0"),
        (csr, {"data": [1, 1, 2]}, "expected labels 0 or 1, got 2 at row 1, class 2"),
        (csr, {"data": ["1", "1", "1"]}, "expected labels 0 or 1, got values of dtype str32"),
        (csr, {"data": [1j, 1, 1]}, "expected labels 0 or 1, got values of dtype complex128"),
        (csr, {"data": [1, 1]}, "a damaged csr matrix: 2 values at 3 places"),
        (csr, {"indices": [1, 2, 2]}, "row 1: class 2 is listed twice"),
        (coo, {"row": [1, 0, 1], "col": [3, 0, 3]}, "row 1: class 3 is listed twice"),
        (csr, {"indices": [1.0, 0.0, 2.0]}, "a damaged csr matrix: expected indices of one dimension and an integer"),
        (csr, {"indices": [True, False, True]}, "a damaged csr matrix: expected indices of one dimension"),
        (csr, {"indices": [1, 0, 3]}, "a damaged csr matrix: an index is outside its shape"),
        (csr, {"indices": [1, -1, 2]}, "a damaged csr matrix: an index is outside its shape"),
        (csr, {"indptr": [0, 3, 1]}, "a damaged csr matrix: indptr does not fit"),
        (csr, {"indptr": np.array([0, 3, 1], np.uint64)}, "a damaged csr matrix: indptr does not fit"),
        (csr, {"indptr": [0, 1, 2]}, "a damaged csr matrix: indptr does not fit"),
        (csr, {"indptr": [0, 1, 2**62]}, "a damaged csr matrix: an index is outside its shape"),
        (csr, {"indptr": np.empty(0, int)}, "a damaged csr matrix: indptr does not fit"),
        (csr, {"indptr": None}, "a damaged csr matrix: the array indptr is missing"),
        (csr, {"shape": [2**62, 3]}, "a damaged csr matrix: indptr does not fit"),
        (csr, {"shape": [2, 2**62]}, "expected at most 2,147,483,648 rows and 2,147,483,648 classes, got"),
        (csr, {"shape": [-2, 3]}, "a damaged csr matrix: indptr does not fit"),
        (coo, {"shape": [2**62, 4]}, "expected at most 2,147,483,648 rows and 2,147,483,648 classes, got"),
        (coo, {"shape": [3, -4]}, "expected at most 2,147,483,648 rows and 2,147,483,648 classes, got"),
        (csr, {"shape": [2.0, 3.0]}, "a damaged csr matrix: its shape is no list of whole numbers"),
        (csr, {"shape": "23"}, "a damaged csr matrix: its shape is no list of whole numbers"),
        (csr, {"shape": [2, 3, 4]}, "expected a sparse matrix of 2 dimensions, got 3"),
        (csr, {"format": 3}, "expected a sparse matrix in csr, csc or coo form, got an array of int64; save .tocsr()"),
        (csr, {"format": ["csr", "coo"]}, "expected a sparse matrix in csr, csc or coo form, got an array of str96"),
        (csr, {"format": "lil"}, "expected a sparse matrix in csr, csc or coo form, got lil; save .tocsr()"),
        (csr, {"data": np.array([None, 1, 1], object)}, "holds Python objects"),
        (
            coo,
            {"coords": [[0, 1, 2], [1, 0, 3]], "fill_value": 1},
            "expected a sparse matrix with the fill value 0, got",
        ),
        (coo, {"coords": [0, 1, 2]}, "a damaged coo matrix: coords has shape (3,)"),
        (csr, {"indices": [[1], [0], [2]]}, "a damaged csr matrix: its arrays do not have one dimension"),
    ],
)
def test_damaged_sparse_matrices_are_refused(make, changes, message):
    assert complaint(make(**changes), LABELS).startswith(message)


def test_label_written_twice_becomes_two_in_scipy_and_is_refused():
    twice = sparse.coo_matrix((np.ones(2), ([0, 0], [1, 1])), (2, 3))
    assert complaint(_sparse_file(twice), LABELS) == "row 0: class 1 is listed twice"
    assert complaint(_sparse_file(twice.tocsr()), LABELS) == (
        "expected labels 0 or 1, got 2.0 at row 0, class 1; a label that is added twice becomes 2"
    )


# Memory


def _promises() -> dict[str, bytes]:
    huge = npy_with_header(header_of(f"({2**40},)", "'<f8'"), b"\0" * 64)
    return {
        "huge.npy": huge,
        "empty.npy": npy_with_header(header_of(f"({2**40}, 0)")),
        "long.npy": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 100,
    }


@pytest.mark.parametrize("name", sorted(_promises()))
def test_promised_sizes_are_not_allocated(name):
    content = _promises()[name]
    Path(name).write_bytes(content)
    write_npz("p.npz", {f"preds{name[-4:]}": content}, zipfile.ZIP_DEFLATED)
    for spec in (name, "p.npz"):
        assert _peak_of_refusal(spec, SCORES) < 4 * len(content) + (1 << 23)


def test_bomb_in_an_npz_is_not_inflated():
    write_npz("p.npz", {"preds.npy": npy_bytes(PREDS) + b"\0" * (1 << 26)}, zipfile.ZIP_DEFLATED)
    assert _peak_of_refusal("p.npz", SCORES) < 1 << 23


@pytest.mark.parametrize("make", [coo, csr])
def test_sparse_shape_is_not_allocated(make):
    assert _peak_of_refusal(make(shape=[2**62, 4]), LABELS) < 1 << 23
    sparse.save_npz("l.npz", sparse.coo_matrix((np.ones(1), ([0], [5])), (2**30, 2**30)))
    tracemalloc.start()
    try:
        pairs = read("l.npz", LABELS).pairs
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()
    assert (pairs.num_rows, pairs.num_classes, pairs.rows.tolist(), pairs.classes.tolist()) == (2**30, 2**30, [0], [5])


def _peak_of_refusal(spec: str, role) -> int:
    tracemalloc.start()
    try:
        complaint(spec, role)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
