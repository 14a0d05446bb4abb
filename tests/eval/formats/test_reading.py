"""Files in, arrays out; and for every file that cannot be read, one sentence that names it."""

from __future__ import annotations

import builtins
import io as stdlib_io
import json
import pickle
import struct
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vltr_eval import formats
from vltr_eval.formats import InputError, read_train_counts


def read_scores(spec):
    return formats.read_scores(spec).values


def read_labels(*args):
    return formats.read_labels(*args).values


def read_class_names(*args):
    return list(formats.read_class_names(*args).names)


SCORES = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
LABELS = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]], np.uint8)


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name: str, content: str | bytes) -> str:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def save_npy(name: str, array, **options) -> str:
    np.save(name, array, **options)
    return name


def save_npz(name: str, **arrays) -> str:
    np.savez(name, **arrays)
    return name


def dense(pairs, num_classes: int = 3) -> np.ndarray:
    labels = np.zeros((pairs.num_rows, num_classes), np.uint8)
    labels[pairs.rows, pairs.classes] = 1
    return labels


def complaint(read, *args) -> str:
    """The message of the InputError that the call must raise: one line, naming the file first."""
    with pytest.raises(InputError) as caught:
        read(*args)
    message = str(caught.value)
    assert "\n" not in message
    return message


# .npy


def test_npy_is_mapped_read_only():
    scores = read_scores(save_npy("p.npy", SCORES))
    assert isinstance(scores, np.memmap)
    assert not scores.flags.writeable
    np.testing.assert_array_equal(scores, SCORES)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u1", "i8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_keeps_dtype_and_order(dtype, order):
    array = np.asarray(SCORES * 8, dtype, order=order)
    read = read_scores(save_npy("p.npy", array))
    assert read.dtype == array.dtype
    assert read.flags.f_contiguous == array.flags.f_contiguous
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (0,)])
def test_npy_may_be_empty(shape):
    assert read_scores(save_npy("p.npy", np.empty(shape, np.float32))).shape == shape


def test_npy_of_newer_header_version():
    with open("p.npy", "wb") as file:
        np.lib.format.write_array(file, SCORES, version=(2, 0))
    np.testing.assert_array_equal(read_scores("p.npy"), SCORES)


def test_missing_file():
    assert complaint(read_scores, "nowhere.npy") == "nowhere.npy: no such file"
    assert complaint(read_labels, "nowhere.lst") == "nowhere.lst: no such file"
    assert complaint(read_train_counts, "nowhere.lst") == "nowhere.lst: no such file"
    assert complaint(read_class_names, "nowhere.txt") == "nowhere.txt: no such file"


def test_directory_gets_a_sentence(tmp_path):
    (tmp_path / "d.npy").mkdir()
    assert complaint(read_scores, "d.npy") == "d.npy: cannot be read (Is a directory)"


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".csv", ".pt", ".parquet"])
def test_missing_or_empty_file_of_any_format(suffix):
    if suffix == ".pt":
        pytest.importorskip("torch")
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    assert complaint(read_scores, f"nowhere{suffix}") == f"nowhere{suffix}: no such file"
    write(f"empty{suffix}", "")
    if suffix != ".csv":
        expected = "expected a file of torch.save" if suffix == ".pt" else "not a "
        assert complaint(read_scores, f"empty{suffix}").startswith(f"empty{suffix}: {expected}")


def test_truncated_npy_says_what_is_missing():
    content = Path(save_npy("p.npy", SCORES)).read_bytes()
    write("p.npy", content[:-5])
    assert complaint(read_scores, "p.npy") == (
        "p.npy: truncated: the header promises 48 bytes of data, but 43 are there"
    )


@pytest.mark.parametrize("kept", [0, 3, 8, 30])
def test_npy_cut_in_its_header(kept):
    content = Path(save_npy("p.npy", SCORES)).read_bytes()
    write("p.npy", content[:kept])
    assert complaint(read_scores, "p.npy") == "p.npy: not a .npy array, or its header is damaged"


def test_npy_with_foreign_magic():
    assert "not a .npy array" in complaint(read_scores, write("p.npy", "id,score\n1,2\n" * 50))


def test_object_array_is_never_unpickled():
    class Bomb:
        def __reduce__(self):
            return builtins.exec, ("raise SystemExit('unpickled')",)

    objects = np.empty((1, 1), object)
    objects[0, 0] = Bomb()
    np.save("p.npy", objects, allow_pickle=True)
    assert complaint(read_scores, "p.npy").startswith("p.npy: holds Python objects, which are never unpickled")
    np.savez("p.npz", scores=objects)
    assert complaint(read_scores, "p.npz").startswith("p.npz::scores: holds Python objects, which are never unpickled")


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.zeros((2, 2), complex), "complex128; save its real part"),
        (np.array([["a"]]), "str32"),
        (np.zeros(2, "f4,f4"), "a structured dtype with the fields f0, f1; save one of its fields"),
    ],
)
def test_dtype_that_is_no_number(array, dtype):
    assert complaint(read_scores, save_npy("p.npy", array)) == (
        f"p.npy: expected scores of bool, integer or float dtype, got {dtype}"
    )


@pytest.mark.parametrize("shape", [(), (2, 2, 2)])
def test_array_of_other_rank(shape):
    assert complaint(read_labels, save_npy("l.npy", np.zeros(shape))) == (
        f"l.npy: expected labels of 1 or 2 dimensions, got shape {shape}"
    )


def test_unknown_suffix_lists_the_formats():
    message = complaint(read_scores, write("p.xyz", pickle.dumps(1)))
    assert message.startswith("p.xyz: cannot read scores from a '.xyz' file; expected one of .npy, .npz")
    assert ".lst" not in message
    assert ".lst" in complaint(read_labels, write("labels", "0\n"))
    assert complaint(read_labels, "missing") == "missing: no such file"  # before the suffix is looked at


# .npz


def test_npz_takes_the_array_named_for_the_role():
    save_npz("both.npz", preds=SCORES, labels=LABELS, extra=SCORES)
    np.testing.assert_array_equal(read_scores("both.npz"), SCORES)
    np.testing.assert_array_equal(read_labels("both.npz"), LABELS)


def test_npz_takes_the_only_array_or_the_only_matrix():
    np.testing.assert_array_equal(read_scores(save_npz("p.npz", x=SCORES)), SCORES)
    np.testing.assert_array_equal(read_scores(save_npz("p.npz", ids=np.arange(4), x=np.asfortranarray(SCORES))), SCORES)


def test_npz_key_picks_an_array():
    save_npz("p.npz", a=SCORES, b=SCORES + 1)
    np.testing.assert_array_equal(read_scores("p.npz::b"), SCORES + 1)
    assert complaint(read_scores, "p.npz") == (
        "p.npz: cannot tell which array holds the scores; pick one as FILE::KEY (found a, b)"
    )
    assert complaint(read_scores, "p.npz::c") == "p.npz::c: no such array; the file holds a, b"


def test_npz_with_two_arrays_named_for_the_role_is_not_guessed():
    save_npz("p.npz", logits=SCORES, probs=SCORES)
    assert "cannot tell which array" in complaint(read_scores, "p.npz")


def test_key_of_a_format_without_keys():
    save_npy("p.npy", SCORES)
    assert complaint(read_scores, "p.npy::x") == "p.npy::x: a .npy file holds one array, so ::x cannot pick one"


def test_file_whose_name_has_the_key_separator():
    save_npy("a::b.npy", SCORES)
    np.testing.assert_array_equal(read_scores("a::b.npy"), SCORES)


def test_truncated_npz():
    content = Path(save_npz("p.npz", x=SCORES)).read_bytes()
    message = complaint(read_scores, write("p.npz", content[: len(content) // 2]))
    assert message == "p.npz: not a .npz archive, or it is truncated or damaged"


def test_npz_with_a_flipped_bit():
    content = bytearray(Path(save_npz("p.npz", x=SCORES)).read_bytes())
    content[content.index(SCORES.tobytes()) + 5] ^= 1
    assert "damaged" in complaint(read_scores, write("p.npz", bytes(content)))


def test_npz_member_shorter_than_its_header_says():
    stream = stdlib_io.BytesIO()
    np.save(stream, SCORES)
    with zipfile.ZipFile("p.npz", "w") as archive:
        archive.writestr("x.npy", stream.getvalue()[:-4])
    assert complaint(read_scores, "p.npz") == (
        "p.npz::x: truncated: the header promises 48 bytes of data, but 44 are there"
    )


# scipy sparse .npz


@pytest.mark.parametrize("layout", ["csr", "csc", "coo"])
def test_scipy_sparse_labels(layout):
    sparse = pytest.importorskip("scipy.sparse")
    sparse.save_npz("l.npz", sparse.coo_matrix(LABELS).asformat(layout))
    pairs = read_labels("l.npz", 4, 3)
    assert (pairs.num_rows, pairs.num_classes) == (4, 3)
    assert pairs.rows.dtype == pairs.classes.dtype == np.int64
    np.testing.assert_array_equal(dense(pairs), LABELS)


def csr_arrays(**changes):
    arrays = {
        "format": np.array(b"csr"),
        "shape": np.array([2, 3]),
        "data": np.array([1.0, 0.0, 1.0]),
        "indices": np.array([0, 1, 2], np.int32),
        "indptr": np.array([0, 2, 3], np.int32),
    }
    return arrays | changes


def test_sparse_labels_need_no_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    pairs = read_labels(save_npz("l.npz", **csr_arrays()), 2, 3)
    np.testing.assert_array_equal(dense(pairs), [[1, 0, 0], [0, 0, 1]])


def test_sparse_label_that_is_not_zero_or_one_names_row_and_class():
    save_npz("l.npz", **csr_arrays(data=np.array([1.0, 0.0, 0.3])))
    assert complaint(read_labels, "l.npz") == (
        "l.npz: expected labels 0 or 1, got 0.3 at row 1, class 2; a label that is added twice becomes 2"
    )


def test_sparse_label_stored_twice_is_refused():
    save_npz("l.npz", **csr_arrays(indices=np.array([1, 1, 2]), data=np.ones(3)))
    assert complaint(read_labels, "l.npz") == "l.npz: row 0: class 1 is listed twice"


def test_sparse_scores_are_refused():
    save_npz("l.npz", **csr_arrays())
    assert (
        complaint(read_scores, "l.npz")
        == "l.npz: a sparse matrix can hold labels, not scores; save it as a dense array"
    )


def test_sparse_labels_of_other_width():
    save_npz("l.npz", **csr_arrays())
    assert complaint(read_labels, "l.npz", 2, 4) == "l.npz: labels of 3 classes, but the scores have 4 classes"


@pytest.mark.parametrize(
    "changes",
    [
        {"format": np.array(b"bsr")},
        {"indices": np.array([0, 1, 3])},
        {"indices": np.array([0, -1, 2])},
        {"indptr": np.array([0, 2])},
        {"indptr": np.array([0, 4, 3])},
        {"indptr": np.array([0, 2, 9])},
        {"data": np.ones(2)},
        {"shape": np.array([2])},
        {"shape": np.array([-1, 3]), "indptr": np.array([], np.int32)},
    ],
)
def test_damaged_sparse_labels(changes):
    assert complaint(read_labels, save_npz("l.npz", **csr_arrays(**changes))).startswith("l.npz: ")


# .safetensors


def write_safetensors(name: str, header: dict, data: bytes, padding: int = 0) -> str:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8 + padding)
    return write(name, struct.pack("<Q", len(text)) + text + data)


def tensor(array: np.ndarray, code: str, begin: int = 0) -> dict:
    return {"dtype": code, "shape": list(array.shape), "data_offsets": [begin, begin + array.nbytes]}


@pytest.mark.parametrize(
    ("dtype", "code"), [("<f2", "F16"), ("<f4", "F32"), ("<f8", "F64"), ("<i8", "I64"), ("?", "BOOL")]
)
def test_safetensors_is_mapped_without_its_package(dtype, code, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    array = SCORES.astype(dtype)
    write_safetensors("p.safetensors", {"__metadata__": {"format": "pt"}, "x": tensor(array, code)}, array.tobytes())
    read = read_scores("p.safetensors")
    assert read.dtype == array.dtype
    assert isinstance(read, np.memmap)
    np.testing.assert_array_equal(read, array)


def test_safetensors_agrees_with_its_package():
    package = pytest.importorskip("safetensors.numpy")
    package.save_file({"scores": SCORES, "labels": LABELS}, "b.safetensors")
    np.testing.assert_array_equal(read_scores("b.safetensors"), SCORES)
    np.testing.assert_array_equal(read_labels("b.safetensors", 4, 3), LABELS)


def test_misaligned_safetensors_are_copied_into_place():
    write_safetensors("p.safetensors", {"x": tensor(SCORES, "F32")}, SCORES.tobytes(), padding=1)
    read = read_scores("p.safetensors")
    assert read.flags.aligned
    np.testing.assert_array_equal(read, SCORES)


def bfloat16_file() -> str:
    bits = (SCORES.view(np.uint32) >> 16).astype("<u2")
    return write_safetensors("p.safetensors", {"x": tensor(bits, "BF16")}, bits.tobytes())


def test_bfloat16_by_ml_dtypes():
    pytest.importorskip("ml_dtypes")
    read = read_scores(bfloat16_file())
    assert read.dtype.name == "bfloat16"
    np.testing.assert_array_equal(read.astype(np.float32), SCORES)


def test_bfloat16_by_torch(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    read = read_scores(bfloat16_file())
    assert read.dtype == torch.bfloat16
    np.testing.assert_array_equal(read.float().numpy(), SCORES)


def test_bfloat16_without_either_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert 'pip install "vltr[bfloat16]"' in complaint(read_scores, bfloat16_file())


@pytest.mark.parametrize(
    ("header", "data", "reason"),
    [
        ({"x": tensor(SCORES, "F32")}, SCORES.tobytes()[:-1], "truncated"),
        ({"x": tensor(SCORES, "F64")}, SCORES.tobytes(), "does not fit its 48 bytes"),
        ({"x": tensor(SCORES, "F8_E4M3")}, SCORES.tobytes(), "got F8_E4M3"),
        ({"x": {"dtype": "F32", "shape": [-4, -3], "data_offsets": [0, 48]}}, SCORES.tobytes(), "header is damaged"),
        ({"x": {"dtype": "F32"}}, b"", "header is damaged"),
        ({"x": 5}, b"", "header is damaged"),
        ([1, 2], b"", "header is damaged"),
        ({}, b"", "found no array"),
    ],
)
def test_damaged_safetensors(header, data, reason):
    assert reason in complaint(read_scores, write_safetensors("p.safetensors", header, data))


def test_foreign_safetensors():
    message = "p.safetensors: not a .safetensors file, or it is truncated"
    assert complaint(read_scores, write("p.safetensors", b"12345")) == message
    assert complaint(read_scores, write("p.safetensors", b"\x89HDF\r\n\x1a\n" + bytes(64))) == message


# .pt


@pytest.mark.parametrize("zipped", [True, False])
def test_pt_tensor(zipped):
    torch = pytest.importorskip("torch")
    torch.save(torch.from_numpy(SCORES).bfloat16(), "p.pt", _use_new_zipfile_serialization=zipped)
    read = read_scores("p.pt")
    assert read.dtype == torch.bfloat16
    np.testing.assert_array_equal(read.float().numpy(), SCORES)


def test_pt_dict_of_tensors():
    torch = pytest.importorskip("torch")
    torch.save(
        {"logits": torch.from_numpy(SCORES).requires_grad_(), "targets": torch.from_numpy(LABELS), "epoch": 3}, "b.pt"
    )
    assert not read_scores("b.pt").requires_grad
    np.testing.assert_array_equal(read_scores("b.pt").numpy(), SCORES)
    np.testing.assert_array_equal(read_labels("b.pt", 4, 3).numpy(), LABELS)
    assert complaint(read_scores, "b.pt::epoch") == "b.pt::epoch: no such array; the file holds logits, targets"


def test_pt_pickles_are_refused():
    torch = pytest.importorskip("torch")

    torch.save({"model": stdlib_io.BytesIO()}, "p.pt")
    refused = "objects other than tensors are never unpickled; save tensors only"
    assert complaint(read_scores, "p.pt").startswith(f"p.pt: holds _io.BytesIO, and {refused}")
    assert complaint(read_scores, write("p.pt", pickle.dumps(object()))).startswith("p.pt: ")


def test_pt_truncated():
    torch = pytest.importorskip("torch")
    torch.save(torch.from_numpy(SCORES), "p.pt")
    content = Path("p.pt").read_bytes()
    assert "not a readable .pt file" in complaint(read_scores, write("p.pt", content[:300]))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda torch: [1, 2], "expected a tensor or a dict of named tensors, got a list of 2 values"),
        (lambda torch: torch.eye(3).to_sparse(), "a sparse matrix can hold labels, not scores"),
    ],
)
def test_pt_of_something_else(make, reason):
    torch = pytest.importorskip("torch")
    torch.save(make(torch), "p.pt")
    assert complaint(read_scores, "p.pt").startswith(f"p.pt: {reason}")


def test_pt_complex():
    torch = pytest.importorskip("torch")
    torch.save(torch.zeros(2, 2, dtype=torch.complex64), "p.pt")
    assert complaint(read_scores, "p.pt").endswith("got torch.complex64; save its real part")


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("p.pt", "torch", "torch"), ("p.parquet", "pyarrow.parquet", "parquet")]
)
def test_missing_package_names_the_extra(name, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert complaint(read_scores, write(name, "x")) == (
        f'{name}: reading it needs {package.partition(".")[0]}; pip install "vltr[{extra}]"'
    )


# .parquet


def write_parquet(name: str, columns: dict, **options) -> str:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table(columns), name, **options)
    return name


def test_parquet_columns_become_a_matrix():
    big = np.random.default_rng(0).random((9_000, 3), np.float32)
    write_parquet("p.parquet", {str(c): big[:, c] for c in range(3)}, row_group_size=2_500)
    read = read_scores("p.parquet")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, big)


def test_parquet_promotes_mixed_columns_without_rounding():
    write_parquet("p.parquet", {"a": np.array([2**30 + 1], np.int32), "b": np.array([0.5], np.float32)})
    read = read_scores("p.parquet")
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, [[2**30 + 1, 0.5]])


def test_parquet_leaves_out_the_index_of_pandas():
    write_parquet("p.parquet", {"a": SCORES[:, 0], "__index_level_0__": np.arange(4)})
    assert read_scores("p.parquet").shape == (4,)


def test_parquet_key_picks_a_column():
    write_parquet("p.parquet", {"id": ["x", "y"], "label": [2, 0]})
    np.testing.assert_array_equal(read_labels("p.parquet::label"), [2, 0])
    assert read_labels("p.parquet").tolist() == [2, 0]
    assert complaint(read_labels, "p.parquet::x") == "p.parquet::x: no such array; the file holds id, label"


def test_parquet_null_names_row_and_column():
    write_parquet("p.parquet", {"a": [1.0, 2.0, None]})
    assert complaint(read_scores, "p.parquet") == "p.parquet: row 2, column a: expected a number, got a null"


def test_damaged_parquet():
    content = Path(write_parquet("p.parquet", {"a": np.arange(1000)})).read_bytes()
    message = "p.parquet: not a .parquet file, or it is truncated or damaged"
    assert complaint(read_scores, write("p.parquet", content[:-9])) == message
    assert complaint(read_scores, write("p.parquet", "hello, world")) == message


# .csv, .tsv, .txt


@pytest.mark.parametrize("header", ["", "a,b,c\n", "\ufeffa,b,c\n"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv_gives_the_matrix(header, newline):
    text = header + "0.5,1,-2e3\n1,inf,3\n"
    read = read_scores(write("p.csv", text.replace("\n", newline)))
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, [[0.5, 1, -2000], [1, np.inf, 3]])


def test_tsv_and_txt():
    np.testing.assert_array_equal(read_scores(write("p.tsv", "a\tb\n1\t2\n")), [[1, 2]])
    np.testing.assert_array_equal(read_scores(write("p.txt", "1 2\n3  4\n")), [[1, 2], [3, 4]])


def test_csv_of_one_column_is_class_indices_for_labels():
    write("l.csv", "label\n2\n0\n")
    labels = read_labels("l.csv")
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, [2, 0])
    np.testing.assert_array_equal(read_scores("l.csv"), [2.0, 0.0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1,2\n3,x\n", "line 2, column 2: expected a number, got 'x'"),
        ("1,2\n3,\n", "line 2, column 2: expected a number, got an empty cell"),
        ("a,b\n1,2\n1,2,3\n", "line 3: expected 2 columns as in the lines above, got 3"),
        ("1,2\n\n3\n", "line 3: expected 2 columns as in the lines above, got 1"),
        ("id,0.5\n1,2\n", "line 1, column 1: expected a number, got 'id'"),
        ("1,2\n1," + "y" * 99 + "\n", f"line 2, column 2: expected a number, got '{'y' * 40}...'"),
    ],
)
def test_csv_complaint_names_line_and_column(text, reason):
    assert complaint(read_scores, write("p.csv", text)) == f"p.csv: {reason}"


@pytest.mark.parametrize("text", ["", "\n", "a,b\n"])
def test_csv_without_rows_is_an_empty_matrix(text):
    assert read_scores(write("p.csv", text)).shape[0] == 0


def test_csv_of_binary_data():
    assert complaint(read_scores, write("p.csv", b"\xff\xfe\x00")) == "p.csv: expected UTF-8 text, got binary data"


# .lst


def test_lst_gives_pairs():
    pairs = read_labels(write("l.lst", "abc 0\n-x_y\t1,2\nz\nq1 0,\r\n"), 4, 3)
    assert (pairs.num_rows, pairs.num_classes) == (4, None)
    assert pairs.rows.dtype == pairs.classes.dtype == np.int64
    np.testing.assert_array_equal(dense(pairs), LABELS)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("b x", "line 2: expected a class index (0, 1, ...), got 'x'"),
        ("b 0,-1", "line 2: expected a class index (0, 1, ...), got '-1'"),
        ("b 1.0", "line 2: expected a class index (0, 1, ...), got '1.0'"),
        ("b 1_0", "line 2: expected a class index (0, 1, ...), got '1_0'"),
        ("b \u0663", "line 2: expected a class index (0, 1, ...), got '\u0663'"),
        ("b 0,,1", "line 2: expected a class index (0, 1, ...), got ''"),
        ("b ,", "line 2: expected a class index (0, 1, ...), got ''"),
        ("b " + "9" * 30, f"line 2: expected a class index (0, 1, ...), got '{'9' * 30}'"),
        ("b 99999999999", "line 2: class index 99999999999, but no index is that large"),
        ("b 1,2,1", "line 2: class 1 is listed twice"),
        ("b 1 2", "line 2: expected '<id> <class>[,<class>...]', got 3 fields"),
        ("", "line 2: expected '<id> <class>[,<class>...]', got 0 fields"),
        ("b 0,3", "line 2: class index 3, but the scores have 3 classes"),
    ],
)
def test_lst_complaint_names_line_and_token(line, reason):
    assert complaint(read_labels, write("l.lst", f"a 0\n{line}\nc 1\n"), 3, 3) == f"l.lst: {reason}"


@pytest.mark.parametrize("text", ["", "3\n1\n"])
def test_lst_without_any_class(text):
    assert complaint(read_labels, write("l.lst", text)) == (
        "l.lst: expected lines '<id> <class>[,<class>...]', but no line has a class"
    )


def test_lst_of_other_length():
    write("l.lst", "a 0\nb 1\n")
    assert complaint(read_labels, "l.lst", 3, 3) == "l.lst: 2 rows of labels, but the scores have 3 rows"


def test_lst_holds_no_scores():
    assert "cannot read scores from a '.lst' file" in complaint(read_scores, write("p.lst", "a 0\n"))


def test_lst_of_videolt_size_is_fast():
    rng = np.random.default_rng(0)
    lines = [
        f"{i:011d} {c},{c + 500}" if i % 10 == 0 else f"{i:011d} {c}"
        for i, c in enumerate(rng.integers(0, 500, 51_239))
    ]
    write("l.lst", "\n".join(lines))
    started = time.perf_counter()
    pairs = read_labels("l.lst", 51_239, 1_004)
    assert time.perf_counter() - started < 1.0  # about 0.04 s; the bound leaves room for a busy machine
    assert len(pairs.rows) == 51_239 + 5_124


# .json


def test_json_lists():
    pairs = read_labels(write("l.json", "[[0], [1, 2], [], [0]]"), 4, 3)
    assert pairs.num_classes is None
    np.testing.assert_array_equal(dense(pairs), LABELS)


def test_json_flat_list_is_class_indices():
    np.testing.assert_array_equal(read_labels(write("l.json", "[2, 0]"), 2, 3), [2, 0])


def test_json_empty_list():
    assert read_labels(write("l.json", "[]")).num_rows == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[0], [1]", "not JSON: Expecting ',' delimiter at line 1, column 10"),
        ('{"a": [0]}', "1 rows of labels, but the scores have 2 rows"),
        ("7", "expected a list with one list of class indices a row, got a JSON int"),
        ("[[0], 1]", "row 1: expected a list with one list of class indices a row, got '1'"),
        ("[[0], [true]]", "row 1: expected a class index (0, 1, ...), got True"),
        ("[[0], [1.0]]", "row 0: expected a class index (0, 1, ...), got 0.0"),
        ("[[0], [-1]]", "row 1: expected a class index (0, 1, ...), got '-1'"),
        ("[[0], [99999999999999999999]]", "row 1: class index 99999999999999999999, but no index is that large"),
        ("[[1, 0, 0], [0]]", "row 0: class 0 is listed twice"),
        ("[[0], [3]]", "row 1: class index 3, but the scores have 3 classes"),
        ("[" * 100_000, "not JSON of class indices"),
        ("[[" + "9" * 5_000 + "]]", "not JSON of class indices"),
    ],
)
def test_json_complaint(text, reason):
    if "9" * 5_000 in text and not hasattr(sys, "get_int_max_str_digits"):
        pytest.skip("this Python reads integers of any length")
    assert complaint(read_labels, write("l.json", text), 2, 3) == f"l.json: {reason}"


# Row shards


def test_glob_is_in_natural_order():
    for i in (10, 2, 1):
        save_npy(f"shard_{i}.npy", np.full((1, 3), i, np.float32))
    shards = read_scores("shard_*.npy")
    assert [int(shard[0, 0]) for shard in shards] == [1, 2, 10]


def test_list_is_in_the_order_given():
    save_npy("b.npy", SCORES)
    save_npy("a.npy", SCORES + 1)
    save_npz("c.npz", x=SCORES + 2, y=SCORES)
    shards = read_scores(["b.npy", "a.npy", "c.npz::x"])
    assert [float(shard[0, 0]) for shard in shards] == [0, 1, 2]


def test_glob_of_one_file_is_no_list():
    save_npy("shard_1.npy", SCORES)
    np.testing.assert_array_equal(read_scores("shard_*.npy"), SCORES)
    np.testing.assert_array_equal(read_scores(["shard_1.npy"]), SCORES)


def test_glob_without_match():
    assert complaint(read_scores, "shard_*.npy") == "shard_*.npy: no file matches this pattern"
    assert complaint(read_scores, []) == "expected at least one file, got an empty list"


def test_file_whose_name_looks_like_a_pattern():
    save_npy("p[1].npy", SCORES)
    np.testing.assert_array_equal(read_scores("p[1].npy"), SCORES)


def test_score_shards_must_agree():
    save_npy("a.npy", SCORES)
    save_npy("b.npy", SCORES[:, :2])
    save_npy("c.npy", SCORES.astype(np.float64))
    assert complaint(read_scores, ["a.npy", "b.npy"]) == "b.npy: 2 columns, but a.npy has 3 columns"
    assert complaint(read_scores, ["a.npy", "c.npy"]) == "c.npy: float64, but a.npy has float32"


def test_label_shards_are_joined():
    save_npy("a.npy", LABELS[:1])
    save_npy("b.npy", LABELS[1:])
    np.testing.assert_array_equal(read_labels("[ab].npy", 4, 3), LABELS)
    write("a.lst", "a 0\nb 1,2\n")
    write("b.lst", "c\nd 0\n")
    np.testing.assert_array_equal(dense(read_labels(["a.lst", "b.lst"], 4, 3)), LABELS)
    assert complaint(read_labels, ["a.lst", "b.lst"], 5, 3) == (
        "a.lst and 1 more: 4 rows of labels, but the scores have 5 rows"
    )
    assert complaint(read_labels, ["a.lst", "a.npy"]) == (
        "a.npy: labels of another form or number of classes than a.lst"
    )


def test_dense_labels_of_other_shape():
    save_npy("l.npy", LABELS)
    assert complaint(read_labels, "l.npy", 5, 3) == "l.npy: 4 rows of labels, but the scores have 5 rows"
    assert complaint(read_labels, "l.npy", 4, 2) == "l.npy: labels of 3 classes, but the scores have 2 classes"


# Training counts and class names


def test_train_counts_of_videolt_are_in_class_order():
    write("counts.lst", "making dolls 1 44.0\nriver 0 1912.0\n")
    counts = read_train_counts("counts.lst", 2)
    assert counts.dtype == np.int64
    assert counts.tolist() == [1912, 44]
    assert read_class_names("counts.lst", 2) == ["river", "making dolls"]


@pytest.mark.parametrize("name", ["c.csv", "c.txt", "c.tsv", "c.npy"])
def test_train_counts_one_number_a_class(name):
    if name == "c.npy":
        save_npy(name, np.array([5, 7]))
    else:
        write(name, "5\n7.0\n")
    assert read_train_counts(name, 2).tolist() == [5, 7]


def test_train_counts_in_one_line():
    assert read_train_counts(write("c.csv", "5,7,0\n")).tolist() == [5, 7, 0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("5\n-7\n", "expected whole numbers >= 0, got -7.0 for class 1"),
        ("5\n0.5\n", "expected whole numbers >= 0, got 0.5 for class 1"),
        ("5\nnan\n", "expected whole numbers >= 0, got nan for class 1"),
        ("5\ninf\n", "expected whole numbers >= 0, got inf for class 1"),
        ("5\n", "1 counts, but the scores have 2 classes"),
        ("5,6\n7,8\n", "expected one number a class, got an array of shape (2, 2)"),
        ("5\nx\n", "line 2, column 1: expected a number, got 'x'"),
    ],
)
def test_train_counts_complaint(text, reason):
    assert complaint(read_train_counts, write("c.csv", text), 2) == f"c.csv: {reason}"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("tree 1", "line 2: expected '<name> <index> <count>', got 'tree 1'"),
        ("tree one 5.0", "line 2: expected '<name> <index> <count>', got 'tree one 5.0'"),
        ("tree 1 many", "line 2: expected '<name> <index> <count>', got 'tree 1 many'"),
        ("tree 2 5.0", "line 2: class index 2, but the file has 2 classes"),
        ("tree " + "9" * 5_000 + " 5.0", f"line 2: class index {'9' * 18}, but the file has 2 classes"),
        ("tree 0 5.0", "line 2: class index 0 is listed twice"),
    ],
)
def test_count_list_complaint(line, reason):
    write("c.lst", f"river 0 9.0\n{line}\n")
    assert complaint(read_train_counts, "c.lst", 2) == f"c.lst: {reason}"
    assert complaint(read_class_names, "c.lst", 2) == f"c.lst: {reason}"


def test_class_names_one_a_line():
    assert read_class_names(write("n.txt", "river\r\nmaking dolls\n"), 2) == ["river", "making dolls"]
    assert complaint(read_class_names, "n.txt", 3) == "n.txt: 2 names, but the scores have 3 classes"
    assert complaint(read_class_names, write("n.txt", "a\n\nb\n")) == (
        "n.txt: line 2: expected a class name, got an empty line"
    )
