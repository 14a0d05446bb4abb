"""Pickles of test results are read with the values that were written; everything but plain data is refused."""

from __future__ import annotations

import collections
import datetime
import io
import mmap
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vltr_eval
from vltr_eval.formats import InputError, read_ids, read_labels, read_pair, read_scores, read_train_counts
from vltr_eval.formats.group_files import read_group_file
from vltr_eval.formats.pickled_data import PickledArray, load_pickle
from vltr_eval.formats.sources import Source

PROTOCOLS = [2, 3, 4, 5]
SCORES = np.random.default_rng(0).random((30, 4)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 4, 30)
HOT = (np.random.default_rng(2).random((30, 4)) < 0.3).astype(np.float32)


def save(path: Path, value, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def load(path: Path):
    return unwrapped(load_pickle(Source(path)))


def unwrapped(value):
    """The same data with arrays in place of their holders."""
    if isinstance(value, PickledArray):
        return unwrapped(value.value)
    if isinstance(value, dict):
        return {key: unwrapped(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(unwrapped, value))
    return bytes(value) if isinstance(value, memoryview) else value


# Plain data


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**120), 2**120) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
        | st.sets(st.integers() | st.text(), max_size=4)
    ),
    max_leaves=12,
)


@given(value=PLAIN, protocol=st.sampled_from(PROTOCOLS))
def test_plain_data(tmp_path_factory, value, protocol):
    found = load(save(tmp_path_factory.mktemp("plain") / "x.pkl", value, protocol))
    assert found == value
    assert type(found) is type(value)


DTYPES = ["?", "i1", "u1", "<i2", "<u4", "<i8", ">i4", "<f2", "<f4", "<f8", ">f8", "S3", "U4"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_keep_their_values(tmp_path, dtype, protocol):
    array = (np.arange(24) % 5).reshape(2, 3, 4).astype(dtype)
    content = {
        "c": array,
        "f": np.asfortranarray(array),
        "view": array[:, ::2],
        "none": array[:0],
        "one": array[1, 1, 1],
    }
    found = load(save(tmp_path / "x.pkl", content, protocol))
    for name, value in content.items():
        assert np.array_equal(found[name], value)
        assert np.asarray(found[name]).shape == value.shape
        if value.ndim and value.dtype.isnative:
            assert found[name].dtype == value.dtype


TORCH = [torch.float16, torch.float32, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", [*TORCH, torch.bool, torch.bfloat16])
def test_tensors_keep_their_values(tmp_path, dtype, protocol):
    tensor = torch.arange(24).reshape(4, 6).to(dtype)
    content = [tensor, tensor.T, tensor[1:, ::2], tensor[0, 0], tensor[:0], torch.nn.Parameter(tensor.double())]
    found = load(save(tmp_path / "x.pkl", content, protocol))
    for value, expected in zip(found, content, strict=True):
        assert value.shape == tuple(expected.shape)
        assert value.astype(np.float64).tolist() == expected.double().tolist()


def test_arrays_are_views_of_the_file(tmp_path):
    path = save(tmp_path / "x.pkl", [torch.from_numpy(SCORES), SCORES])
    for value in load(path):
        base = value
        while isinstance(base, np.ndarray):
            base = base.base
        assert isinstance(base, (mmap.mmap, memoryview))
        assert not value.flags.writeable


def test_pickles_of_python_2(tmp_path):
    """Text and bytes of Python 2 are SHORT_BINSTRING; an array has its bytes as such text."""
    header = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85"
    dtype = b"cnumpy\ndtype\nU\x02i2K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    path = tmp_path / "x.pkl"
    path.write_bytes(header + dtype + b"\x89U\x04\x01\x00\xff\xfftb.")
    assert pickle.loads(path.read_bytes(), encoding="latin1").tolist() == [1, -1]
    assert load(path).tolist() == [1, -1]
    path.write_bytes(b"\x80\x02c__builtin__\nset\n](K\x05K\x07e\x85R.")
    assert load(path) == {5, 7}


# Everything else is refused by its name


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("harm"),))


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR."


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Harmful(), "pathlib.Path.touch"),
        (datetime.date(2026, 1, 1), "datetime.date"),
        (collections.Counter("aab"), "collections.Counter"),
        ({(1, 2): 3}, "a dict or a set whose keys are neither text nor numbers"),
        (2**200, "a whole number of more than 128 bits"),
        (np.array([1 + 2j]), "an array of dtype complex128"),
        (np.zeros(2, [("a", int)]), "a structured dtype"),
        (np.array([[object, 1]], object), "builtins.object"),
        (
            torch.sparse_coo_tensor([[0], [1]], [1.0], (2, 2), check_invariants=True),
            "torch._utils._rebuild_sparse_tensor",
        ),
        (torch.zeros(1).expand(3), "an expanded tensor"),
        (torch.zeros(2, dtype=torch.complex64), "torch.ComplexFloatStorage"),
        (print, "builtins.print"),
    ],
)
def test_other_objects_are_refused_by_their_name(tmp_path, monkeypatch, value, name):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "x.pkl", value, 4)
    with pytest.raises(InputError) as error:
        load_pickle(Source(path))
    sentence = f"{path}: expected a pickle of arrays, lists, dicts, sets, numbers and text, got "
    assert str(error.value).startswith(sentence)
    assert name.split(".")[-1] in str(error.value)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "content",
    [
        call("os", "system", b"U\x09echo harmx"),
        call("builtins", "bytearray", b"J\xff\xff\xff\x7f"),
        call("numpy", "ndarray", b"K\x01"),
        b"\x80\x02cposix\nsystem\n.",
        b"\x80\x02(U\x02lsios\nsystem\n.",
        b"\x80\x02U\x011Q.",
        b"\x80\x02]r\xff\xff\xff\x7f.",
        b"\x80\x02B\xff\xff\xff\x7f",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x80\x02c_codecs\nencode\nq\x00X\x04\x00\x00\x00aaaaX\x05\x00\x00\x00utf16\x86R.",
        b"\x80\x02" + b"(" * 1000,
        b"\x80\x02.",
        b"\x80\x02]",
        b"\x80\x02]]N}b.",
    ],
)
def test_harmful_pickles_are_refused_or_harmless(tmp_path, content):
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    try:
        assert load_pickle(Source(path)) == []
    except InputError as error:
        assert str(error).startswith(str(path))  # noqa: PT017


def test_text_that_the_memo_repeats_does_not_fill_the_memory(tmp_path):
    text = b"X" + (10**6).to_bytes(4, "little") + b"a" * 10**6
    again = b"c_codecs\nencode\nh\x00U\x06latin1\x86R"
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02(" + text + b"q\x00" + again * 10**4 + b"l.")
    with pytest.raises(InputError, match="data that grow beyond the size of the file"):
        load_pickle(Source(path))


_MAKE = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
_DTYPE = b"cnumpy\ndtype\nU\x02%bK\x00K\x01\x87R(K\x03U\x01%bNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


@pytest.mark.parametrize(("opcode", "dtype", "order"), [(b"T", b"u1", b"|"), (b"B", b"i2", b">")])
def test_arrays_of_the_same_bytes_do_not_fill_the_memory(tmp_path, opcode, dtype, order):
    size = 10**6
    held = opcode + size.to_bytes(4, "little") + b"a" * size + b"q\x00" + _DTYPE % (dtype, order) + b"q\x01"
    count = size // int(dtype[1:])
    again = _MAKE + b"(K\x01J" + count.to_bytes(4, "little") + b"\x85h\x01\x89h\x00tb"
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02(" + held + again + b"l.")
    assert load_pickle(Source(path))[2].value.size == count
    path.write_bytes(b"\x80\x02(" + held + again * 100 + b"l.")
    with pytest.raises(InputError, match="data that grow beyond the size of the file"):
        load_pickle(Source(path))


def test_a_row_that_is_named_many_times_does_not_fill_the_memory(tmp_path):
    path = tmp_path / "x.pkl"
    row = np.zeros(10**6, np.float32)
    path.write_bytes(pickle.dumps([row] * 200))
    with pytest.raises(InputError, match="expected rows of about the size of the file, got 200,000,000 numbers in all"):
        read_scores(path)


@given(
    flips=st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=4),
    protocol=st.sampled_from(PROTOCOLS),
    cut=st.integers(1, 10**4),
)
def test_damaged_pickles_are_read_or_refused(tmp_path_factory, flips, protocol, cut):
    rows = [{"pred_score": torch.rand(3), "gt_label": torch.tensor([1]), "ids": np.arange(3)}]
    content = bytearray(pickle.dumps(rows, protocol))
    for position, value in flips:
        content[position % len(content)] = value
    path = tmp_path_factory.mktemp("any") / "x.pkl"
    path.write_bytes(content[:cut])
    refusal = str(path)
    try:
        read_scores(path)
    except InputError as error:
        refusal = str(error)
    assert refusal.startswith(str(path))
    assert refusal.isprintable()


def test_no_opcode_is_unknown_to_the_test():
    """Opcodes of binary pickles that are refused, so that a new one is a decision."""
    from vltr_eval.formats.pickled_data import _STEPS

    names = {code.name for code in pickletools.opcodes if code.proto >= 1 and ord(code.code) not in _STEPS}
    assert names == {
        *("POP_MARK", "OBJ", "EXT1", "EXT2", "EXT4", "LONG4", "NEWOBJ", "NEWOBJ_EX", "NEXT_BUFFER", "READONLY_BUFFER"),
    }


# Test results


def mmengine_rows(multi: bool = False):
    """A dump of mmengine's DumpResults: the scores of a batch are views of one tensor."""
    batches = [torch.from_numpy(SCORES[start : start + 8].copy()) for start in range(0, 30, 8)]
    scores = [row for batch in batches for row in batch]
    labels = torch.from_numpy(HOT) if multi else torch.from_numpy(LABELS)[:, None]
    return [
        {"num_classes": 4, "sample_id": f"v{k}", "pred_score": scores[k], "pred_label": scores[k].argmax()[None],
         "gt_label": labels[k]}
        for k in range(30)
    ]  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("multi", [False, True])
def test_results_of_mmengine_are_read(tmp_path, multi, protocol):
    path = save(tmp_path / "x.pkl", mmengine_rows(multi), protocol)
    assert (read_scores(path).values == SCORES).all()
    assert (read_labels(path).values == (HOT if multi else LABELS)).all()
    assert (read_scores(f"{path}::pred_score").values == SCORES).all()
    assert read_labels(f"{path}::gt_label").values.tolist() == (HOT if multi else LABELS).tolist()
    pair = read_pair(path, path)
    found = vltr_eval.evaluate(pair.scores, pair.labels, sap=15)
    assert found.to_json() == vltr_eval.evaluate(SCORES, HOT if multi else LABELS, sap=15).to_json()


def test_rows_have_the_id_that_the_dump_gives(tmp_path):
    rows = [{**row, "video_id": f"v{number}"} for number, row in enumerate(mmengine_rows())]
    assert read_scores(save(tmp_path / "x.pkl", rows)).ids.tolist() == [f"v{number}" for number in range(30)]


def test_mmaction2_of_version_1_0(tmp_path):
    rows = [
        {"pred_scores": {"item": row["pred_score"]}, "gt_labels": {"item": row["gt_label"]}} for row in mmengine_rows()
    ]
    path = save(tmp_path / "x.pkl", rows)
    assert (read_scores(path).values == SCORES).all()
    assert read_labels(path).values.tolist() == LABELS.tolist()


def test_scores_of_several_modalities_are_picked(tmp_path):
    rows = [{"pred_score": {"rgb": row["pred_score"], "pose": -row["pred_score"]}} for row in mmengine_rows()]
    path = save(tmp_path / "x.pkl", rows)
    with pytest.raises(InputError, match="pick one as FILE::KEY"):
        read_scores(path)
    assert (read_scores(f"{path}::pred_score.pose").values == -SCORES).all()


@pytest.mark.parametrize("make", [list, lambda rows: [row.tolist() for row in rows]])
def test_mmaction_of_version_0(tmp_path, make):
    assert (read_scores(save(tmp_path / "x.pkl", make(SCORES))).values == SCORES).all()


@pytest.mark.parametrize("labels", [LABELS, HOT])
def test_results_of_pyslowfast_are_read(tmp_path, labels):
    path = save(tmp_path / "x.pkl", [torch.from_numpy(SCORES), torch.from_numpy(labels)])
    pair = read_pair(path, path)
    found = vltr_eval.evaluate(pair.scores, pair.labels, sap=15)
    assert found.to_json() == vltr_eval.evaluate(SCORES, labels, sap=15).to_json()


def test_lists_of_class_indices(tmp_path):
    path = save(tmp_path / "x.pkl", {"gt_labels": [np.flatnonzero(row) for row in HOT]}, 2)
    assert read_labels(path, label_form="indices").values.rows.tolist() == np.nonzero(HOT)[0].tolist()


def test_distribution_balanced_loss(tmp_path):
    lists = list(HOT.astype(np.int64))
    counts = HOT.sum(0)
    content = {"gt_labels": lists, "class_freq": counts, "neg_class_freq": 30 - counts, "condition_prob": np.eye(4)}
    path = save(tmp_path / "class_freq.pkl", content, 2)
    assert (read_labels(path).values == HOT).all()
    assert read_train_counts(path).tolist() == counts.tolist()
    split = {"head": {np.int64(0)}, "middle": {np.int64(1), np.int64(3)}, "tail": {np.int64(2)}}
    groups = read_group_file(save(tmp_path / "class_split.pkl", split, 2))
    assert groups.matched(4, None) == {"groups": ("head", "middle", "tail", "middle")}


@pytest.mark.parametrize(
    ("split", "complaint"),
    [
        ({"head": {0, 1}, "tail": {1}}, "expected each class once, got 1 in head and tail"),
        ({"head": {"a"}}, "expected class indices in 'head', got str"),
        ({"head": 1}, "expected a set of class indices in 'head', got int"),
        ([1], "expected a dict of groups"),
    ],
)
def test_wrong_groups_are_refused(tmp_path, split, complaint):
    with pytest.raises(InputError, match=complaint):
        read_group_file(save(tmp_path / "x.pkl", split))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([np.zeros(3), np.zeros(4), np.zeros(3)], r"row 1: expected shape \(3,\) as in row 0, got \(4,\)"),
        ([np.zeros(3), np.zeros(3, int), np.zeros(3)], "row 1: expected float64 as in row 0, got int64"),
        ([np.zeros(3), 1.0, 2], "expected an array or a list of numbers in every row, got float, int, ndarray"),
        ([{"preds": np.zeros(3)}, {"other": 1}], "no array|cannot tell"),
        ([], "got an empty list"),
        ("text", "got a str"),
        ({"a": np.zeros((2, 3)), "b": np.zeros((2, 3))}, "pick one as FILE::KEY"),
    ],
)
def test_doubtful_content_is_refused(tmp_path, content, complaint):
    path = save(tmp_path / "x.pkl", content)
    with pytest.raises(InputError, match=complaint):
        read_scores(path)


def test_names_beside_an_array_are_its_ids_and_classes(tmp_path):
    ids = np.array([f"v{k}" for k in range(30)])
    path = save(tmp_path / "x.pkl", {"preds": SCORES, "video_id": ids, "class_names": list("abcd")})
    scores = read_scores(path)
    assert scores.ids.tolist() == ids.tolist()
    assert scores.class_names == tuple("abcd")


@pytest.mark.parametrize("content", [b"", b"v0\nv1\n", b"(lp0\n.", b"\x80\x09."])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pkl: not a .*pickle"):
        read_scores(path)


def test_a_list_of_text_that_is_called_pkl(tmp_path):
    """DistributionBalancedLoss' img_id.pkl is text, one id a line."""
    path = tmp_path / "img_id.pkl"
    path.write_text("000001\n000002\n")
    assert read_ids(path).tolist() == ["000001", "000002"]


def test_a_pickle_of_the_container_of_zip_is_no_plain_pickle(tmp_path):
    stream = io.BytesIO()
    torch.save(torch.zeros(2), stream)
    path = tmp_path / "x.pkl"
    path.write_bytes(stream.getvalue())
    with pytest.raises(InputError, match="not a pickle file"):
        read_scores(path)
