"""Tests of .safetensors and .pt: all that torch and safetensors write, and files that promise what is not there."""

from __future__ import annotations

import io
import json
import pickle
import re
import struct
import sys
import tracemalloc
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from vltr_eval._base.files import InputError
from vltr_eval.formats.roles import LABELS, SCORES
from vltr_eval.formats.sources import expand_one
from vltr_eval.formats.tensors import read_pt, read_safetensors

torch = pytest.importorskip("torch")

PREDS = torch.arange(12, dtype=torch.float32).reshape(4, 3) / 8
TRUTH = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]])
NUMBERS = [
    *("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"),
    *(name for name in ("uint16", "uint32", "uint64") if hasattr(torch, name)),
]
OLD_TORCH = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6)
needs_new_torch = pytest.mark.skipif(OLD_TORCH, reason="torch before 2.6 saves and loads fewer kinds of tensors")
# Making sparse, nested and quantized tensors warns; reading them must not, see `read`.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(spec: str, role=SCORES):
    source = expand_one(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a reader gives no warnings
        return (read_pt if source.suffix == ".pt" else read_safetensors)(source, role)


def complaint(spec: str, role=SCORES) -> str:
    """The message of the InputError that reading must raise: one line that begins with the file's name."""
    with pytest.raises(InputError) as caught:
        read(spec, role)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(spec.partition("::")[0])
    return message.partition(": ")[2]


def save(content, name: str = "p.pt", **options) -> str:
    torch.save(content, name, **options)
    return name


# .safetensors


def save_safetensors(tensors, metadata=None, name: str = "p.safetensors") -> str:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(tensors, name, metadata)
    return name


def craft(header, data: bytes = b"", length: int | None = None) -> str:
    text = (header if isinstance(header, str) else json.dumps(header)).encode("utf-8")
    Path("p.safetensors").write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return "p.safetensors"


def entry(dtype="F32", shape=(2, 1), offsets=(0, 8)) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize("dtype", NUMBERS)
def test_safetensors_of_every_numeric_dtype_are_read(dtype):
    tensor = (torch.arange(12).reshape(4, 3) % 5).to(getattr(torch, dtype))
    table = read(save_safetensors({"preds": tensor, "other": tensor.flatten().clone()}, {"made by": "hand"}))
    assert table.num_rows == 4
    assert str(table.array.dtype).removeprefix("torch.") == dtype
    array = table.array.double() if torch.is_tensor(table.array) else table.array
    np.testing.assert_array_equal(np.asarray(array, np.float64), tensor.double().numpy())


def test_bfloat16_without_ml_dtypes_is_a_torch_tensor(monkeypatch):
    name = save_safetensors({"preds": PREDS.bfloat16()})
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    array = read(name).array
    assert array.dtype == torch.bfloat16
    assert torch.equal(array, PREDS.bfloat16())
    monkeypatch.setitem(sys.modules, "torch", None)
    assert complaint(name) == 'reading it needs torch; pip install "vltr[bfloat16]"'


def test_safetensors_are_mapped_read_only_and_aligned():
    array = read(save_safetensors({"preds": PREDS})).array
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable
    craft({"preds": entry()}, struct.pack("<2f", 1, 2), None)
    text = Path("p.safetensors").read_bytes()
    odd = craft(json.dumps({"preds": entry()}) + " " * (1 + len(text) % 2), struct.pack("<2f", 1, 2))
    assert read(odd).array.flags.aligned
    np.testing.assert_array_equal(read(odd).array, [[1], [2]])


def test_safetensors_given_for_both_arguments_are_split_by_names():
    name = save_safetensors({"preds": TRUTH.clone(), "truth": TRUTH.flip(0).contiguous(), "step": torch.tensor(3)})
    np.testing.assert_array_equal(read(name).array, TRUTH)
    np.testing.assert_array_equal(read(name, LABELS).array, TRUTH.flip(0))
    save_safetensors({"preds": PREDS})
    assert "cannot tell which array holds the labels" in complaint("p.safetensors", LABELS)


def test_integer_ids_beside_the_tensor_are_read():
    name = save_safetensors({"preds": PREDS, "video_ids": torch.tensor([7, 5, 3, 1], dtype=torch.int32)})
    ids = read(name).ids
    assert (ids.tolist(), ids.dtype) == ([7, 5, 3, 1], np.int64)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "complex64"])
def test_other_safetensors_dtypes_are_named(dtype):
    code = {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "complex64": "C64"}[dtype]
    try:
        name = save_safetensors({"preds": PREDS.to(getattr(torch, dtype)), "x": PREDS})
    except KeyError:
        pytest.skip(f"this safetensors cannot write {dtype}")
    assert complaint(name) == (f"expected scores of bool, integer or float dtype, got {code}; save tensor.float()")
    np.testing.assert_array_equal(read(f"{name}::x").array, PREDS)


DAMAGED_HEADER = "not a .safetensors file: its header is damaged"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("[]", DAMAGED_HEADER),
        ("{", DAMAGED_HEADER),
        ("[" * 100_000, DAMAGED_HEADER),
        ('{"a": 1}', DAMAGED_HEADER),
        ('{"a": {}}', DAMAGED_HEADER),
        ('{"a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}, "a": 1}', DAMAGED_HEADER),
        ('{"a": {"dtype": "F32", "dtype": "I32", "shape": [2, 1], "data_offsets": [0, 8]}}', DAMAGED_HEADER),
        ('{"a": {"dtype": "F32", "shape": [1e999, 1], "data_offsets": [0, 8]}}', DAMAGED_HEADER),
        ('{"a": {"dtype": "F32", "shape": [2.0, 1], "data_offsets": [0, 8]}}', DAMAGED_HEADER),
        ('{"a": {"dtype": "F32", "shape": [NaN, 1], "data_offsets": [0, 8]}}', DAMAGED_HEADER),
        ('{"a": {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]}}', DAMAGED_HEADER),
        ('{"a": {"dtype": "F32", "shape": [2, true], "data_offsets": [0, 8]}}', DAMAGED_HEADER),
        ('{"a": {"dtype": "F32", "shape": ["2", 1], "data_offsets": [0, 8]}}', DAMAGED_HEADER),
        ('{"a": {"dtype": "F32", "shape": "21", "data_offsets": [0, 8]}}', DAMAGED_HEADER),
        ('{"a": {"dtype": "F32", "shape": {"2": 1}, "data_offsets": [0, 8]}}', DAMAGED_HEADER),
        ('{"a": {"dtype": ["F32"], "shape": [2, 1], "data_offsets": [0, 8]}}', DAMAGED_HEADER),
        ('{"a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0]}}', DAMAGED_HEADER),
        ('{"a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 1' + "0" * 5000 + "]}}", DAMAGED_HEADER),
        ("\u00e9", DAMAGED_HEADER),
        ({"a": entry(), "b": entry()}, "not a .safetensors file: the data of b are not behind those before it"),
        ({"a": entry(offsets=(4, 12))}, "not a .safetensors file: the data of a are not behind those before it"),
        ({"a": entry(offsets=(8, 0))}, "not a .safetensors file: the data of a are not behind those before it"),
        ({"a": entry(shape=(3, 1))}, "not a .safetensors file: a of shape (3, 1) does not fit its 8 bytes"),
        (
            {"a": entry(shape=(2**62, 2))},
            f"not a .safetensors file: a of shape ({2**62}, 2) does not fit its 8 bytes",
        ),
        (
            {"a": entry(shape=(2**40, 0), offsets=(0, 0))},
            f"expected an array with values, got the empty shape ({2**40}, 0)",
        ),
        ({"a": entry(shape=[1] * 40)}, "expected an array of 1 or 2 dimensions, got 40"),
        (
            {"a": entry(shape=(3, 1), offsets=(0, 12))},
            "truncated: the header promises 12 bytes of data, but 8 are there",
        ),
        ({"a": entry(shape=(1, 1), offsets=(0, 4))}, "expected 4 bytes of data as its header says, got 8"),
        ({}, "expected 0 bytes of data as its header says, got 8"),
    ],
)
def test_damaged_safetensors_headers_are_refused(header, message):
    assert complaint(craft(header, struct.pack("<2f", 1, 2))) == message


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**6])
def test_safetensors_header_longer_than_the_file_is_refused(length):
    assert complaint(craft({"a": entry()}, b"\0" * 8, length)) == "not a .safetensors file, or it is truncated"


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b"id,score\n1,2\n"])
def test_foreign_bytes_are_no_safetensors(content):
    Path("p.safetensors").write_bytes(content)
    assert complaint("p.safetensors") == "not a .safetensors file, or it is truncated"


def test_safetensors_header_is_bounded():
    craft("{" + " " * (5 << 20) + "}")
    assert complaint("p.safetensors") == "expected a header of at most 4,194,304 bytes, got 5,242,882"


# .pt: right values


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_pt_of_every_numeric_dtype_is_read(dtype, zipped):
    tensor = (torch.arange(12).reshape(4, 3) % 5).to(getattr(torch, dtype))
    if not zipped and dtype in ("uint16", "uint32", "uint64"):
        save(tensor, _use_new_zipfile_serialization=False)
        assert complaint("p.pt").startswith("holds a dtype that torch cannot load from the container of torch before")
        return
    table = read(save(tensor, _use_new_zipfile_serialization=zipped))
    assert table.num_rows == 4
    assert table.array.dtype == tensor.dtype
    assert torch.equal(table.array, tensor)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3])
def test_both_loadable_protocols_are_read(protocol, zipped):
    save({"preds": PREDS}, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert torch.equal(read("p.pt").array, PREDS)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "tensor",
    [
        torch.nn.Parameter(PREDS.clone()),
        PREDS.clone().requires_grad_(),
        PREDS.T.contiguous().T,
        torch.arange(100.0).reshape(10, 10)[2:6, 3:9:2],
        torch.view_as_complex(torch.arange(8.0).reshape(4, 2)).conj().imag,
        PREDS[:0],
        torch.tensor(3.0),
        PREDS[None],
    ],
    ids=["parameter", "requires_grad", "transposed", "strided", "negative", "empty", "scalar", "three dimensions"],
)
def test_views_of_a_storage_keep_their_values(tensor, zipped):
    array = read(save(tensor, _use_new_zipfile_serialization=zipped)).array
    assert not array.requires_grad
    assert not array.is_neg()
    assert array.shape == tensor.shape
    np.testing.assert_array_equal(array.numpy(), tensor.detach().resolve_neg().numpy())


def test_pt_given_for_both_arguments_is_split_by_names():
    save({"epoch": 3, "loss": torch.tensor(0.5), "preds": TRUTH, "truth": TRUTH.flip(0)})
    assert torch.equal(read("p.pt").array, TRUTH)
    assert torch.equal(read("p.pt", LABELS).array, TRUTH.flip(0))
    assert torch.equal(read("p.pt::truth").array, TRUTH.flip(0))
    save({"preds": PREDS})
    assert "cannot tell which array holds the labels" in complaint("p.pt", LABELS)


def test_dict_in_a_dict_is_searched_by_its_own_names():
    save({"epoch": 3, "test": {"preds": PREDS, "labels": TRUTH, "ids": ["a", "b", "c", "d"]}, "ids": [1, 2, 3, 4]})
    table = read("p.pt")
    assert torch.equal(table.array, PREDS)
    assert table.ids.tolist() == ["a", "b", "c", "d"]
    assert torch.equal(read("p.pt", LABELS).array, TRUTH)
    assert torch.equal(read("p.pt::test.labels").array, TRUTH)
    save({"test": {"preds": PREDS}})
    assert "cannot tell which array holds the labels" in complaint("p.pt", LABELS)
    save({"val": {"preds": PREDS}, "test": {"preds": PREDS}})
    assert complaint("p.pt") == (
        "cannot tell which array holds the scores; pick one as FILE::KEY (found val.preds, test.preds)"
    )


def test_two_values_of_one_name_are_refused():
    assert complaint(save({"1": PREDS, 1: PREDS + 1})) == "expected values of different names, got one name twice"


@pytest.mark.parametrize(
    ("ids", "expected", "dtype"),
    [
        (["a", "b", "c", "\u00e9"], ["a", "b", "c", "\u00e9"], object),
        ([7, 5, 3, 1], [7, 5, 3, 1], np.int64),
        (torch.tensor([7, 5, 3, 1], dtype=torch.int16), [7, 5, 3, 1], np.int64),
    ],
)
def test_lists_beside_the_tensor_are_ids_and_class_names(ids, expected, dtype):
    table = read(save({"preds": PREDS, "video_ids": ids, "class_names": ["x", "y", "z"]}))
    assert (table.ids.tolist(), table.ids.dtype) == (expected, dtype)
    assert table.class_names == ("x", "y", "z")


@pytest.mark.parametrize("ids", [["a", 1, "b", "c"], [1, 2, 3, 2**70], [0.5, 1.5, 2.5, 3.5]])
def test_lists_that_are_no_ids_are_refused(ids):
    message = complaint(save({"preds": PREDS, "ids": ids}))
    assert message.startswith("expected row ids of text or whole numbers in ids, got a list of ")
    assert read("p.pt::preds").ids is None


def test_lists_of_class_indices_are_labels():
    save({"preds": PREDS, "labels": [[0], [1, 2], [], [0]]})
    lists = read("p.pt", LABELS).lists
    assert [lists.of(row) for row in range(4)] == [[0], [1, 2], [], [0]]
    assert torch.equal(read("p.pt").array, PREDS)


# .pt: sparse and nested labels


def dense(pairs) -> np.ndarray:
    labels = np.zeros((pairs.num_rows, pairs.num_classes), np.uint8)
    labels[pairs.rows, pairs.classes] = 1
    return labels


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("layout", ["sparse_coo", "sparse_csr", "sparse_csc"])
def test_sparse_labels_of_every_layout_are_read(layout, dtype):
    tensor = TRUTH.to(torch.float32).to_sparse(layout=getattr(torch, layout)).to(getattr(torch, dtype))
    table = read(save({"labels": tensor}), LABELS)
    assert table.num_rows == 4
    np.testing.assert_array_equal(dense(table.pairs), TRUTH)


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
def test_label_that_is_stored_twice_is_refused(values):
    twice = torch.sparse_coo_tensor([[0, 0, 1], [1, 1, 2]], values, (2, 3))
    save(twice)
    if values[0]:
        assert complaint("p.pt", LABELS) == "row 0: class 1 is listed twice"
    else:
        np.testing.assert_array_equal(dense(read("p.pt", LABELS).pairs), [[0, 1, 0], [0, 0, 1]])
    if values[0]:
        assert complaint(save(twice.coalesce()), LABELS) == (
            "expected labels 0 or 1, got 2.0 at row 0, class 1; a label that is added twice becomes 2"
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.eye(4).to_sparse_bsr((2, 2)), "in torch.sparse_bsr; save tensor.to_dense()"),
        (lambda: torch.ones(3).to_sparse(), "got 1 dimensions in torch.sparse_coo; save tensor.to_dense()"),
        (lambda: torch.ones(2, 2, 2).to_sparse(), "got 3 dimensions in torch.sparse_coo; save tensor.to_dense()"),
        (lambda: torch.ones(2, 2).to_sparse(1), "a damaged coo matrix: its indices have shape (1, 2)"),
        (lambda: torch.eye(2).mul(0.5).to_sparse(), "expected labels 0 or 1, got 0.5 at row 0, class 0"),
        (
            lambda: torch.sparse_coo_tensor(torch.empty((2, 0), dtype=torch.int64), [], (2**40, 3)),
            "expected at most 2,147,483,648 rows and 2,147,483,648 classes, got a sparse matrix of shape",
        ),
    ],
)
def test_other_sparse_tensors_are_refused(make, message):
    assert message in complaint(save(make()), LABELS)


def test_sparse_scores_in_pt_are_refused():
    assert complaint(save(PREDS.to_sparse())) == (
        "a sparse matrix can hold labels, not scores; save it as a dense array"
    )


def test_sparse_indices_outside_the_shape_are_refused():
    unchecked = torch.sparse_coo_tensor([[0, 9], [1, 2]], [1.0, 1.0], (2, 3), check_invariants=False)
    message = complaint(save(unchecked), LABELS)
    assert message in (
        "a damaged coo matrix: an index is outside its shape",
        "not a readable .pt file of tensors, or it is truncated or damaged",  # newer torch looks, too
    )


@needs_new_torch
@pytest.mark.parametrize("layout", ["strided", "jagged"])
def test_nested_labels_are_lists(layout):
    rows = [torch.tensor([0]), torch.tensor([1, 2]), torch.tensor([], dtype=torch.int64), torch.tensor([0])]
    table = read(save({"labels": torch.nested.nested_tensor(rows, layout=getattr(torch, layout))}), LABELS)
    assert table.num_rows == 4
    assert [table.lists.of(row) for row in range(4)] == [[0], [1, 2], [], [0]]


@needs_new_torch
@pytest.mark.parametrize("layout", ["strided", "jagged"])
def test_nested_scores_are_refused_with_the_call(layout):
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=getattr(torch, layout))
    for role in (SCORES, LABELS):
        assert complaint(save(nested), role) == (
            "expected a tensor with one row length, got a nested tensor of torch.float32; "
            "save torch.nested.to_padded_tensor(tensor, 0.0)"
        )


@needs_new_torch
@pytest.mark.parametrize("offsets", [[0, 1, 900], [0, 4, 3], [-1, 1, 3], [0, 1, 1]])
def test_nested_rows_that_do_not_fit_the_values_are_refused(offsets):
    nested = torch.nested.nested_tensor([torch.tensor([0]), torch.tensor([1, 2])], layout=torch.jagged)
    own, other = (torch.tensor(values).numpy().tobytes() for values in ([0, 1, 3], offsets))
    rewrite(save(nested), lambda record, content: other if content == own else content)
    assert complaint("p.pt", LABELS) == "a damaged nested tensor: its rows do not fit its values"


@needs_new_torch
def test_nested_rows_that_share_values_are_refused():
    class Nested:
        def __reduce__(self):
            sizes, strides, offsets = torch.tensor([[2], [2**40]]), torch.tensor([[1], [0]]), torch.tensor([0, 2])
            return (torch._utils._rebuild_nested_tensor, (torch.arange(3), sizes, strides, offsets))

    assert complaint(save(Nested()), LABELS) in (
        "a damaged nested tensor: its rows do not fit its values",
        "not a readable .pt file of tensors, or it is truncated or damaged",
    )


# .pt: sentences


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: [PREDS, TRUTH],
            "expected a tensor or a dict of named tensors, got a list of 2 values; "
            "save {'preds': preds, 'labels': labels}, or torch.cat(tensors) of batches",
        ),
        (
            lambda: "text",
            "expected a tensor or a dict of named tensors, got str; "
            "save {'preds': preds, 'labels': labels}, or torch.cat(tensors) of batches",
        ),
        (lambda: {"a": 1}, "cannot tell which array holds the scores; pick one as FILE::KEY (found no array)"),
        (
            lambda: torch.quantize_per_tensor(PREDS, 0.1, 0, torch.quint8),
            "expected scores of bool, integer or float dtype, got a quantized tensor; save tensor.dequantize()",
        ),
        (
            lambda: PREDS.to(torch.complex64),
            "expected scores of bool, integer or float dtype, got torch.complex64; save its real part",
        ),
        (
            lambda: PREDS.to(torch.float8_e4m3fn),
            "expected scores of bool, integer or float dtype, got torch.float8_e4m3fn; save it as float32",
        ),
        (lambda: PREDS.to("meta"), "expected a tensor with values, got one on the device meta"),
        (
            lambda: torch.ones(1).expand(2**40, 2**20),
            f"expected a tensor with its own values, got an expanded view of shape ({2**40}, {2**20}); "
            "save tensor.contiguous()",
        ),
        (lambda: torch.ones(0).expand(2**40, 0), f"expected an array with values, got the empty shape ({2**40}, 0)"),
        (
            lambda: torch.ones(7).unfold(0, 5, 1),
            "expected a tensor with its own values, got an expanded view of shape (3, 5); save tensor.contiguous()",
        ),
    ],
    ids=["list", "str", "no tensor", "quantized", "complex", "float8", "meta", "expanded", "empty", "overlapping"],
)
def test_other_contents_are_named_with_a_remedy(make, message):
    if OLD_TORCH and re.search("quantized|float8", message):
        pytest.skip("torch before 2.6 saves and loads fewer kinds of tensors")
    assert complaint(save(make())) == message


def test_key_of_an_unnamed_tensor_is_refused():
    save(PREDS)
    assert complaint("p.pt::x") == "the file holds one unnamed object, so ::x cannot pick one"


# Pickle protocols that torch's weights-only loader does not take

OTHER_PROTOCOLS = pytest.mark.parametrize("protocol", [1, 4, 5])


@OTHER_PROTOCOLS
@pytest.mark.parametrize("dtype", NUMBERS)
def test_every_dtype_of_other_protocols_is_read(dtype, protocol):
    tensor = (torch.arange(12).reshape(4, 3) % 5).to(getattr(torch, dtype))
    array = read(save({"preds": tensor}, pickle_protocol=protocol)).array
    assert array.dtype == tensor.dtype
    assert torch.equal(array, tensor)


@OTHER_PROTOCOLS
@pytest.mark.parametrize(
    "tensor",
    [
        PREDS,
        torch.nn.Parameter(PREDS.clone()),
        PREDS.T.contiguous().T,
        torch.arange(100.0).reshape(10, 10)[2:6, 3:9:2],
        PREDS[:0],
        torch.tensor(3.0),
        PREDS[None],
    ],
    ids=["plain", "parameter", "transposed", "strided", "empty", "scalar", "three dimensions"],
)
def test_views_of_other_protocols_keep_their_values(tensor, protocol):
    array = read(save(tensor, pickle_protocol=protocol)).array
    assert not array.requires_grad
    assert array.shape == tensor.shape
    np.testing.assert_array_equal(array.numpy(), tensor.detach().numpy())


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_every_protocol_gives_the_same_tables(protocol):
    content = OrderedDict(
        run={"preds": PREDS, "half": PREDS.bfloat16(), "best": 0.5, "sizes": PREDS.shape},
        ids=[*"abcd"],
        labels=[[1, 2], [], [0], [2]],
        note=None,
        done=True,
        seed=2**40,
    )
    content["also"] = content["run"]  # the memo of the pickle gives it twice
    save(content, pickle_protocol=protocol)
    assert torch.equal(read("p.pt::run.preds").array, PREDS)
    assert torch.equal(read("p.pt::also.half").array, PREDS.bfloat16())
    lists = read("p.pt::labels", LABELS).lists
    assert (lists.indptr.tolist(), lists.values.tolist()) == ([0, 2, 2, 3, 4], [1, 2, 0, 2])
    save({"preds": PREDS, "ids": [*"abcd"]}, pickle_protocol=protocol)
    assert read("p.pt").ids.tolist() == [*"abcd"]


@OTHER_PROTOCOLS
@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_sparse_labels_of_other_protocols_are_read(layout, protocol):
    sparse = {"coo": TRUTH.to_sparse, "csr": TRUTH.to_sparse_csr, "csc": TRUTH.to_sparse_csc}[layout]()
    save(sparse, pickle_protocol=2)
    expected = read("p.pt", LABELS).pairs
    pairs = read(save(sparse, pickle_protocol=protocol), LABELS).pairs
    assert len(pairs.rows) == int(TRUTH.sum())
    np.testing.assert_array_equal(pairs.rows, expected.rows)
    np.testing.assert_array_equal(pairs.classes, expected.classes)


@pytest.mark.parametrize(
    ("protocol", "make", "found"),
    [
        (0, lambda: PREDS, "storages as text"),
        (1, lambda: PREDS.to("meta"), "torch._utils._rebuild_meta_tensor_no_storage"),
        (4, lambda: torch.nested.nested_tensor([PREDS[0], PREDS[1]]), "torch._utils._rebuild_nested_tensor"),
        (5, lambda: torch.quantize_per_tensor(PREDS, 0.1, 0, torch.quint8), "torch.QUInt8Storage"),
        (5, lambda: torch.view_as_complex(torch.ones(4, 2)).conj().imag, "a lazily negated or conjugated view"),
        (5, lambda: {"preds": PREDS, (0, 1): 2}, "a dict whose keys are neither text nor whole numbers"),
        (5, lambda: {"preds": PREDS, "done": {1, 2}}, "the opcode EMPTY_SET"),
        (5, lambda: {"preds": PREDS, "mask": bytearray(b"ab")}, "the opcode BYTEARRAY8"),
        (5, lambda: {"preds": PREDS, "seed": 1 << 3000}, "the opcode LONG4"),
    ],
    ids=["protocol 0", "meta", "nested", "quantized", "negative", "tuple key", "set", "bytearray", "long number"],
)
def test_what_other_protocols_cannot_hold_is_named(protocol, make, found):
    shown = protocol if protocol > 1 else "0 or 1"
    assert complaint(save(make(), pickle_protocol=protocol)) == (
        f"expected plain tensors in a pickle of protocol {shown}, got {found}; "
        "save it by torch.save(tensor, FILE) without pickle_protocol"
    )


@pytest.mark.parametrize("protocol", [0, 1, 4, 5])
def test_other_protocols_in_the_old_container_are_refused(protocol):
    save({"preds": PREDS}, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    assert complaint("p.pt").startswith("expected a file of torch.save, got ")


def pickled_as(pickled: bytes) -> str:
    """A .pt file of PREDS whose pickle is replaced."""
    return rewrite(save(PREDS), lambda record, content: pickled if record == "p/data.pkl" else content)


def global_(module: str, name: str) -> bytes:
    return b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name)) + b"\x93"


@pytest.mark.parametrize(
    ("module", "name"), [("posix", "getcwd"), ("os", "getcwd"), ("numpy", "eye"), ("json", "loads")]
)
def test_foreign_functions_are_refused_by_name(module, name):
    assert complaint(pickled_as(b"\x80\x05" + global_(module, name) + b")R.")) == (
        f"holds {module}.{name}, and objects other than tensors are never unpickled; "
        "save tensors only, torch.save(torch.as_tensor(array), FILE)"
    )


@pytest.mark.parametrize(
    ("module", "name"), [("torch", "get_num_threads"), ("builtins", "dict"), ("torch.hub", "get_dir")]
)
def test_functions_of_known_modules_are_not_called(module, name):
    assert complaint(pickled_as(b"\x80\x05" + global_(module, name) + b")R.")) == (
        f"expected plain tensors in a pickle of protocol 5, got {module}.{name}; "
        "save it by torch.save(tensor, FILE) without pickle_protocol"
    )


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x05.",  # no value
        b"\x80\x05h\x07.",  # a memo that was never filled
        b"\x80\x05\x86.",  # a tuple of two from nothing
        b"\x80\x05K\x01K\x02\x93.",  # a name of two numbers
        b"\x80\x05\x8d" + (2**40).to_bytes(8, "little") + b"ab.",  # a text longer than the file
        b"\x80\x05\x8cstorageQ.",  # a storage that is no tuple
    ],
)
def test_opcodes_that_do_not_fit_are_refused(pickled):
    tracemalloc.start()
    try:
        assert complaint(pickled_as(pickled)) == UNREADABLE
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x0ct", b"K\x0bt"),  # the elements of the storage
        (b"QK\x00K\x04K\x03\x86", b"QK\x01K\x04K\x03\x86"),  # the offset
        (b"QK\x00K\x04K\x03\x86", b"QK\x00K\x05K\x03\x86"),  # the shape
        (b"K\x03K\x01\x86", b"K\x04K\x01\x86"),  # the strides
        (b"K\x03K\x01\x86", b"K\x03K\x01\x85"),  # too few strides
        (b"K\x03K\x01\x86", b"J" + (-3).to_bytes(4, "little", signed=True) + b"K\x01\x86"),  # a negative stride
    ],
)
def test_views_outside_their_storage_are_refused(old, new):
    with zipfile.ZipFile(save(PREDS, pickle_protocol=5)) as archive:
        pickled = archive.read("p/data.pkl")
    pickled = pickled[:2] + pickled[11:]  # without the frame, whose length would change; `\x94` fills the memo
    pickled = pickled.replace(b"\x86\x94", b"\x86")
    assert pickled.count(old) == 1
    assert torch.equal(read(pickled_as(pickled)).array, PREDS)
    message = complaint(pickled_as(pickled.replace(old, new)))
    assert message == UNREADABLE or message.startswith("damaged: the pickle promises 44 bytes in record data/0")


@pytest.mark.parametrize("protocol", [2, 5])
def test_storage_of_two_sizes_is_refused(protocol):
    with zipfile.ZipFile(save({"preds": PREDS, "labels": PREDS + 1}, pickle_protocol=protocol)) as archive:
        pickled = archive.read("p/data.pkl")
    key = b"\x8c\x011" if protocol == 5 else b"X\x01\0\0\x001"
    count = b"K\x0ct"
    assert pickled.count(key) == 1
    at = pickled.rindex(count)
    changed = (pickled[:at] + b"K\x0dt" + pickled[at + 3 :]).replace(key, key[:-1] + b"0")
    assert complaint(pickled_as(changed)) == UNREADABLE


@pytest.mark.parametrize("protocol", [2, 5])
def test_other_byte_order_is_never_misread(protocol):
    swapped = lambda record, content: b"big" if record == "p/byteorder" else content  # noqa: E731
    message = complaint(rewrite(save(TRUTH.to(torch.uint16), pickle_protocol=protocol), swapped))
    assert message == "holds a dtype that torch cannot load from a machine of another byte order; save float32"
    rewrite(save(torch.tensor([[1, 256]], dtype=torch.int16), pickle_protocol=protocol), swapped)
    if protocol == 2:
        assert read("p.pt").array.tolist() == [[256, 1]]
    else:
        assert "protocol 5, got numbers of another byte order" in complaint("p.pt")


def test_other_protocols_are_mapped_from_the_file():
    save({"preds": torch.zeros(1 << 22)}, pickle_protocol=5)
    array = read("p.pt").array
    with open("/proc/self/maps") as maps:
        assert any("p.pt" in line for line in maps)
    assert not array.any()


@pytest.mark.parametrize("protocol", [2, 5])
def test_objects_in_pt_are_named(protocol):
    pandas = pytest.importorskip("pandas")
    for content, named in (
        (PREDS.numpy(), "numpy."),
        ({"preds": PREDS, "best": np.float64(0.5)}, "numpy."),
        ({"preds": pandas.DataFrame({"a": [1]})}, "pandas."),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ):
        message = complaint(save(content, pickle_protocol=protocol))
        assert message.startswith(f"holds {named}")
        assert message.endswith(
            ", and objects other than tensors are never unpickled; "
            "save tensors only, torch.save(torch.as_tensor(array), FILE)"
        )


def test_no_object_is_unpickled(tmp_path):
    class Runs:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    save({"preds": PREDS, "x": Runs()})
    assert complaint("p.pt").startswith("holds io.open, and objects other than tensors")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (pickle.dumps({"a": 1}, 2), "a plain pickle"),
        (pickle.dumps(np.eye(2), 5), "a plain pickle"),
        (b"\x93NUMPY", "another format"),
        (b"", "another format"),
    ],
)
def test_foreign_bytes_are_no_pt(content, kind):
    Path("p.pt").write_bytes(content)
    assert complaint("p.pt") == f"expected a file of torch.save, got {kind}; save torch.save(tensor, FILE)"


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_named():
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), "p.pt")
    assert complaint("p.pt") == "expected a file of torch.save, got a TorchScript model; save tensors only"


UNREADABLE = "not a readable .pt file of tensors, or it is truncated or damaged"


def test_other_zip_archives_are_no_pt():
    with zipfile.ZipFile("p.pt", "w") as archive:
        archive.writestr("a.txt", "a")
    assert complaint("p.pt") == UNREADABLE


def rewrite(name: str, change, compression=zipfile.ZIP_STORED) -> str:
    """Write a .pt file again, each record changed by ``change(name, content)``."""
    with zipfile.ZipFile(name) as archive:
        records = {record: archive.read(record) for record in archive.namelist()}
    with zipfile.ZipFile(name, "w", compression) as archive:
        for record, content in records.items():
            archive.writestr(record, change(record, content))
    return name


def test_compressed_records_are_refused():
    rewrite(save({"preds": PREDS}), lambda record, content: content, zipfile.ZIP_DEFLATED)
    assert complaint("p.pt") == (
        "expected records as torch.save writes them, got p/data.pkl compressed or encrypted; "
        "load the file with torch.load and save it with torch.save"
    )


@pytest.mark.parametrize("kept", [0, 44, 52])
def test_record_of_another_size_than_promised_is_refused(kept):
    change = lambda record, content: (content + b"\0" * 16)[:kept] if "/data/" in record else content  # noqa: E731
    rewrite(save({"preds": PREDS, "labels": PREDS + 1}), change)
    assert complaint("p.pt") == (f"damaged: the pickle promises 48 bytes in record data/0, but {kept} are there")


def test_promised_storages_are_not_allocated():
    with zipfile.ZipFile(save(PREDS)) as archive:
        pickled = archive.read("p/data.pkl")
    assert pickled.count(b"K\x0c") == 1  # the number of elements, one byte
    huge = pickled.replace(b"K\x0c", b"\x8a\x06" + (2**40).to_bytes(6, "little"))
    rewrite("p.pt", lambda record, content: huge if record == "p/data.pkl" else content)
    assert complaint("p.pt") == f"damaged: the pickle promises {2**42} bytes in record data/0, but 48 are there"

    save(PREDS, _use_new_zipfile_serialization=False)
    content = Path("p.pt").read_bytes()
    assert content.count(b"K\x0c") == 1
    content = content.replace(b"K\x0c", b"\x8a\x06" + (2**40).to_bytes(6, "little"))
    Path("p.pt").write_bytes(content)
    assert complaint("p.pt") == (
        f"truncated: the pickle promises {2**42} bytes of data, but the file has {len(content)}"
    )


@pytest.mark.parametrize("call", [b"cbuiltins\nbytearray\n", b"ctorch\nFloatTensor\n"])
def test_calls_that_allocate_are_refused(call):
    pickled = b"\x80\x02" + call + b"\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85R."
    rewrite(save(PREDS), lambda record, content: pickled if record == "p/data.pkl" else content)
    tracemalloc.start()
    try:
        assert "objects other than tensors are never unpickled" in complaint("p.pt")
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("zipped", [True, False])
def test_every_cut_of_a_pt_is_refused(zipped):
    content = Path(save({"preds": PREDS}, _use_new_zipfile_serialization=zipped)).read_bytes()
    for kept in range(0, len(content), 13):
        Path("q.pt").write_bytes(content[:kept])
        complaint("q.pt")


def test_pt_is_mapped_from_its_file():
    save({"preds": torch.zeros(1 << 22)})
    array = read("p.pt").array
    with open("/proc/self/maps") as maps:
        assert any("p.pt" in line for line in maps)
    assert not array.any()


def test_stream_of_opcodes_is_read_to_its_end():
    from vltr_eval.formats.pickles import summarize

    stream = io.BytesIO(pickle.dumps([np.float32, "text"], 5) + b"rest")
    summary = summarize(stream)
    assert (summary.protocol, summary.names, summary.storages) == (5, ["numpy.float32"], {})
    assert stream.read() == b"rest"
