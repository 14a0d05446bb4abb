"""Faults that the fuzz harness found, and those of the same kind, each with its smallest file."""

from __future__ import annotations

import json
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch

import vltr_eval
from vltr_eval.formats import (
    InputError,
    read_class_names,
    read_ids,
    read_labels,
    read_pair,
    read_scores,
    read_train_counts,
    text,
)


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name: str, content: str | bytes) -> str:
    with open(name, "wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
    return name


def complaint(read, *arguments, **options) -> str:
    """The sentence that refuses a file."""
    with pytest.raises(InputError) as caught:
        read(*arguments, **options)
    message = str(caught.value)
    assert message.startswith(str(arguments[0]))
    assert message.isprintable()
    return message


def dense(labels) -> list[list[int]]:
    values = labels.values
    rows = np.zeros((values.num_rows, int(values.classes.max()) + 1), int)
    rows[values.rows, values.classes] = 1
    return rows.tolist()


# JSON


@pytest.mark.parametrize("numbers", [[1, 0.5, 2], [0.5, 1, 2], [0.5, 0.25, 2.0]])
def test_records_mix_whole_numbers_and_fractions(numbers):
    lines = "".join(json.dumps({"cat": number, "dog": 0.5}) + "\n" for number in numbers)
    assert read_scores(write("s.jsonl", lines)).values.tolist() == [[number, 0.5] for number in numbers]


def test_list_of_whole_numbers_and_fractions_is_exact():
    assert read_scores(write("s.json", "[[9007199254740992, 0.5], [1, 2]]")).values.tolist() == [[2.0**53, 0.5], [1, 2]]
    message = complaint(read_scores, write("s.json", "[[1, 0.5], [9007199254740993, 2]]"))
    assert message == (
        "s.json: row 1: expected numbers that float64 or int64 holds exactly for scores, got '9007199254740993'"
    )


@pytest.mark.parametrize("value", ["1" + "0" * 400, "null", '"x"', "true", "[1]"])
def test_value_that_is_no_exact_number_is_named(value):
    message = complaint(read_scores, write("s.json", f"[[1, 0.5], [2, {value}]]"))
    assert message.startswith("s.json: row 1: expected numbers that float64 or int64 holds exactly for scores, got ")


def test_ragged_rows_of_scores_are_named():
    message = complaint(read_scores, write("s.json", "[[1, 2], [1, 2], [3]]"))
    assert message == "s.json: expected equally many numbers in every row for scores, got 2 in row 0 and 1 in row 2"


def test_whole_numbers_beyond_float64_are_no_dense_labels():
    message = complaint(read_labels, write("l.json", f"[[0.5, 1{'0' * 400}]]"), 1, 2)
    assert message == "l.json: row 0: expected a class index (0, 1, ...), got 0.5"


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("l.json", '{"v1": [0], "v2": [1], "v1": [1]}', ""),
        ("l.json", '[{"id": "v1", "labels": [0], "labels": [1]}]', ""),
        ("l.jsonl", '{"id": "v1", "labels": [0]}\n{"id": "v2", "id": "v3", "labels": [0]}\n', "line 2: "),
    ],
)
def test_name_that_comes_twice_loses_no_row(name, content, where):
    message = complaint(read_labels, write(name, content))
    assert message.startswith(f"{name}: {where}expected each name once, got ")


def test_class_names_that_come_twice_are_refused():
    assert "expected each name once, got 'cat' twice" in complaint(
        read_class_names, write("n.json", '{"cat": 0, "cat": 1}')
    )
    assert "expected a list of class names" in complaint(read_class_names, write("n.json", '{"0": ["cat"]}'))


# Ids in .npy


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04" + b"\x00" * 40,
        b"\x93NUMPY\x01\x00\x10\x00{'descr': '<i8'\n",
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<i8', 'fortran_order': False, 'shape': (4611686018427387904,), }".ljust(118),
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<U0', 'fortran_order': False, 'shape': (4611686018427387904,), }".ljust(118),
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }".ljust(118)
        + b"\xff" * 4,
    ],
)
def test_damaged_ids_are_refused(content):
    complaint(read_ids, write("ids.npy", content))


@pytest.mark.parametrize("array", [np.zeros((2, 2), int), np.array(3), np.array([0.5]), np.array([1j])])
def test_array_that_is_no_list_of_ids_is_refused(array):
    np.save("ids.npy", array)
    assert "expected strings or integers of one dimension" in complaint(read_ids, "ids.npy")


@pytest.mark.parametrize("ids", [np.array(["v1", "v\u00e9"]), np.array([b"v1", b"v2"]), np.array([3, 1], ">i4")])
def test_ids_of_npy_are_right(ids):
    np.save("ids.npy", ids)
    expected = [value.decode() if isinstance(value, bytes) else value for value in ids.tolist()]
    assert read_ids("ids.npy").tolist() == expected


# Messages are one printable line


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\u2028", "\ufeff", "\u202e"])
def test_character_of_a_file_is_escaped(character):
    write("l.json", json.dumps([[0], [f"a{character}b"]]))
    assert complaint(read_labels, "l.json", 2, 3).isprintable()
    assert InputError(f"file: {character}").args == (f"file: {character!r}".replace("'", ""),)


# Names beside arrays


def test_ids_of_an_unknown_dtype_are_named():
    data = safetensors.numpy.save({"preds": np.ones((2, 2)), "ids": np.arange(2)})
    header = data[8 : 8 + int.from_bytes(data[:8], "little")].replace(b'"I64"', b'"I7"')
    content = len(header).to_bytes(8, "little") + header + data[8 + int.from_bytes(data[:8], "little") :]
    message = complaint(read_scores, write("s.safetensors", content))
    assert "expected row ids of text or whole numbers in ids, got I7" in message


def test_archive_with_one_name_twice_is_refused():
    np.save("a.npy", np.ones((2, 2)))
    with zipfile.ZipFile("s.npz", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.write("a.npy", "preds")
        archive.writestr("preds", b"no array")
    assert "expected arrays of different names, got two of the name preds" in complaint(read_scores, "s.npz")


def test_signalling_nan_gives_no_warning():
    scores = np.frombuffer(np.array([0x7FA00000, 0x3F000000] * 8, np.uint32).tobytes(), np.float32).reshape(8, 2)
    np.save("s.npy", scores)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(read_scores("s.npy").values[:, 0]).all()


# Text


def test_byte_order_mark_inside_a_file_is_kept(monkeypatch):
    write("s.csv", "\ufeffid,cat,dog\n\ufeffv1,0.5,1.5\nv2,0.25,1.25\n")
    plain = read_scores("s.csv")
    monkeypatch.setattr(text, "_ARROW_FROM", 0)
    assert read_scores("s.csv").ids.tolist() == plain.ids.tolist() == ["\ufeffv1", "v2"]


@pytest.mark.parametrize("rows", ["", "1,x,2,0.5\n"])
def test_open_images_with_other_columns_is_refused(rows):
    write("l.csv", "ImageID,Source,LabelName,Confidence\n" + rows)
    complaint(read_labels, "l.csv", class_names=["2", "3"])


def test_open_images_may_have_numbers():
    labels = read_labels(write("l.csv", "ImageID,Source,LabelName,Confidence\n7,x,3,1\n8,x,2,1\n"))
    assert (labels.ids.tolist(), dense(labels)) == (["7", "8"], [[0, 0, 0, 1], [0, 0, 1, 0]])


def test_long_form_takes_no_fractions():
    write("l.csv", "id,label\nv1,0.5\nv1,1\n")
    assert "for label_form='long'" in complaint(read_labels, "l.csv", label_form="long", ids="id")


def test_ids_that_are_no_whole_numbers_stay_apart():
    ids = [2.0**53, 2.0**53 + 2, float("inf")]
    frame = pd.DataFrame({"cat": [0.5, 1.5, 2.5], "dog": [1.5, 0.25, 0.5]}, index=pd.Index(ids, name="id"))
    aligned = read_pair(frame, pd.DataFrame({"cat": [0, 1, 1], "dog": [1, 0, 0]}, index=frame.index))
    assert len(set(aligned.ids.tolist())) == 3


# Counts


def counts(content: str, name: str = "c.csv", **options) -> list[int]:
    return read_train_counts(write(name, content), **options).tolist()


def test_counts_of_a_json_object_are_matched_by_name():
    assert counts('{"dog": 3, "cat": 5}', "c.json", class_names=["cat", "dog"]) == [5, 3]
    assert "lacks" in complaint(read_train_counts, write("c.json", '{"dog": 3, "owl": 5}'), class_names=["cat", "dog"])


@pytest.mark.parametrize("header", ["index", "class", "class_id", "label"])
def test_counts_are_ordered_by_class_index(header):
    assert counts(f"{header},count\n1,30\n0,20\n2,10\n") == [20, 30, 10]
    for indices in ((0, 2, 3), (0, 0, 1), (5, 6, 7)):
        write("c.csv", f"{header},count\n" + "".join(f"{index},{9 - index}\n" for index in indices))
        assert "expected each class index once" in complaint(read_train_counts, "c.csv")


def test_training_labels_of_one_class_a_row_are_counted():
    assert counts("id,label\nv0,0\nv1,2\nv2,2\n") == [1, 0, 2]
    assert counts("id,label\nv0,0\nv1,2\nv2,2\n", num_classes=4) == [1, 0, 2, 0]
    assert "class index 2, but the scores have 2 classes" in complaint(read_train_counts, "c.csv", 2)


@pytest.mark.parametrize("content", ["[[[1]]]", "[[0.5], [1]]", "[[0, 0]]", '[["a", 1]]', "[[-1]]"])
def test_lists_that_are_no_labels_are_no_counts(content):
    complaint(read_train_counts, write("c.json", content))


# Reports


@pytest.mark.parametrize("interval", [[], [0.5], [0.1, 0.2, 0.3], "ab", {"a": 1}])
def test_report_with_other_values_is_refused(interval):
    report = vltr_eval.evaluate(np.array([[0.5], [0.25]]), np.array([[1], [0]]), sap=None, topk=None)
    document = json.loads(report.to_json())
    document["mAP_tie_interval"] = interval
    with pytest.raises(ValueError, match=r"^report: expected the values of schema"):
        vltr_eval.Report.from_json(json.dumps(document))


def test_infinities_in_a_first_column_give_no_warning(tmp_path):
    data = np.column_stack([np.full(8, np.inf), np.linspace(0, 1, 8)])
    pd.DataFrame(data, columns=["a", "b"]).to_parquet(tmp_path / "p.parquet")
    np.testing.assert_array_equal(vltr_eval.read_scores(tmp_path / "p.parquet").values, data)


def test_class_names_beside_infinities_keep_their_order(tmp_path):
    (tmp_path / "n.csv").write_text("weight,name\ninf,cat\ninf,dog\n")
    assert vltr_eval.formats.read_class_names(tmp_path / "n.csv").names == ("cat", "dog")


def test_the_stride_of_an_axis_of_one_element_may_be_any_number():
    scores = torch.rand(4, 1).as_strided((4, 1), (1, 2**62))
    labels = [[1], [0], [0], [1]]
    expected = vltr_eval.average_precision(scores.clone(), np.array(labels))
    np.testing.assert_array_equal(vltr_eval.average_precision(scores, np.array(labels)), expected)


def test_errors_of_a_report_are_one_printable_line():
    text = vltr_eval.evaluate(np.eye(3), np.eye(3)).to_json().replace('"sap"', '"a\\u2028b"', 1)
    with pytest.raises(ValueError, match=r"^report: ") as raised:
        vltr_eval.Report.from_json(text)
    assert str(raised.value).isprintable()
