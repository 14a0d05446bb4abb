"""Files of ranked lists, and the command that evaluates them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import run_within

from vltr_eval import InputError
from vltr_eval.program.cli import main
from vltr_eval.ranked_lists import RankedLists, evaluate_topk, read_ranked_lists
from vltr_eval.ranked_lists.files import read_cells, read_counts, read_list_labels

sparse = pytest.importorskip("scipy.sparse")

YOUTUBE8M = "VideoId,LabelConfidencePairs\n"


def write(tmp_path, text, name="lists.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows_of(lists: RankedLists) -> list[list[tuple[int, float]]]:
    scores = lists.scores if lists.scores is not None else np.zeros(len(lists.classes))
    pairs = list(zip(lists.classes.tolist(), scores.tolist(), strict=True))
    return [pairs[a:b] for a, b in zip(lists.indptr, lists.indptr[1:], strict=False)]


def test_a_submission_of_youtube8m(tmp_path):
    text = YOUTUBE8M + "ab12,3 0.25 17 1e-05 2 0.999999\nse:5,0 1\n\nzz,\n"
    lists = read_ranked_lists(write(tmp_path, text))
    assert rows_of(lists) == [[(2, 0.999999), (3, 0.25), (17, 1e-05)], [(0, 1.0)], []]
    assert lists.ids.tolist() == ["ab12", "se:5", "zz"]
    assert (lists.num_classes, lists.states_classes) == (18, False)


@pytest.mark.parametrize(
    "change", [lambda t: t.replace("\n", "\r\n"), lambda t: "\ufeff" + t, lambda t: t.rstrip("\n")]
)
def test_line_ends_and_marks_change_nothing(tmp_path, change):
    text = YOUTUBE8M + "a,1 0.5 2 0.25 \nb,0 0.125\n"
    lists = read_ranked_lists(write(tmp_path, change(text)))
    assert rows_of(lists) == [[(1, 0.5), (2, 0.25)], [(0, 0.125)]]
    assert lists.ids.tolist() == ["a", "b"]


def test_quoted_cells_and_another_header(tmp_path):
    text = 'Id,Prediction\n"a,1","4 0.5 2 0.75"\n007,1 0.5\n'
    lists = read_ranked_lists(write(tmp_path, text))
    assert lists.ids.tolist() == ["a,1", "007"]
    assert rows_of(lists)[0] == [(2, 0.75), (4, 0.5)]


def test_ranks_of_inaturalist_keep_their_order(tmp_path):
    lists = read_ranked_lists(write(tmp_path, "id,predicted\n12,7 0 3\n13,1 2 0\n"))
    assert lists.scores is None
    assert lists.classes.tolist() == [7, 0, 3, 1, 2, 0]


def test_an_unclear_header_needs_the_form(tmp_path):
    path = write(tmp_path, "id,list\na,1 2\n")
    with pytest.raises(InputError, match="which can be both; give form='pairs' or form='ranks'"):
        read_ranked_lists(path)
    assert rows_of(read_ranked_lists(path, form="pairs")) == [[(1, 2.0)]]
    assert read_ranked_lists(path, form="ranks").classes.tolist() == [1, 2]


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False) | st.floats(-1, 1), st.sampled_from(["%r", "%.17g", "%g", "%.6e", "%.25f", "%+.3f"]))
def test_scores_are_read_as_python_reads_them(tmp_path_factory, value, form):
    text = form % value
    lists = read_ranked_lists(write(tmp_path_factory.mktemp("lists"), f"{YOUTUBE8M}a,0 {text}\n"))
    assert lists.scores.tolist() == [float(text)]
    assert math.copysign(1, lists.scores[0]) == math.copysign(1, float(text))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a 1 0.5", "line 3: expected one comma, between the id and the list"),
        ("a,1 0.5,2 0.5", "line 3: expected a number as score .*got '0.5,2'"),
        (",1 0.5", "line 3: expected an id before the comma"),
        ("a,1.0 0.5", "line 3: expected a class index .*got '1.0'"),
        ("a,-1 0.5", "line 3: expected a class index .*got '-1'"),
        ("a,99999999999 0.5", "line 3: expected a class index"),
        ("a,1 0.5 2", "line 3: expected a score behind each class .*got '2'"),
        ("a,1 x", "line 3: expected a number as score .*got 'x'"),
        ("a,1 nan", "line 3: expected a number as score .*got 'nan'"),
        ("a,1 1e", "line 3: expected a number as score .*got '1e'"),
        ("a,1 .", "line 3: expected a number as score"),
        ('"a,1 0.5', "line 3: expected a closing quotation mark"),
        ('a,"1 0.5', "line 3: expected a closing quotation mark"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = write(tmp_path, f"{YOUTUBE8M}ok,1 0.5\n{line}\nlater,wrong\n")
    with pytest.raises(InputError, match=message) as caught:
        read_ranked_lists(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_repeated_class_is_named_with_its_id(tmp_path):
    path = write(tmp_path, f"{YOUTUBE8M}ok,1 0.5\na,1 0.5 0 1 1 0.25\n")
    with pytest.raises(InputError, match=r"row 1 \(id 'a'\): expected each class once, got class 1 twice"):
        read_ranked_lists(path)


def test_the_first_bad_line_of_a_large_file_is_named(tmp_path):
    lines = [f"row{n},{n % 7} 0.5 {n % 7 + 10} 0.25" for n in range(200_000)]
    lines[123_456] = "row,3 0.5 oops 1"
    lines[199_000] = "row,x"
    path = write(tmp_path, YOUTUBE8M + "\n".join(lines) + "\n")
    for threads in (1, 4):
        with pytest.raises(InputError, match="line 123458: expected a class index"):
            read_ranked_lists(path, threads=threads)
    lines[123_456] = lines[199_000] = "row,3 0.5"
    path.write_text(YOUTUBE8M + "\n".join(lines))
    lists = read_ranked_lists(path, threads=3)
    assert lists.num_rows == 200_000
    assert lists.ids[[0, 123_456, 199_999]].tolist() == ["row0", "row", "row199999"]
    assert len(lists.classes) == 2 * 200_000 - 2
    assert rows_of(lists)[150_000] == [(150_000 % 7, 0.5), (150_000 % 7 + 10, 0.25)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "got an empty file"),
        ("a.csv", "Class,Segments\n3,ab:0 cd:5\n", "expected a list of classes for each row"),
        ("a.npy", "x", "cannot read ranked lists from a '.npy' file"),
        ("a.npz", "no archive", "not a .npz archive"),
        ("a.txt", "1 x\n0:1\n", "line 1: expected the numbers of rows and classes, got '1 x'"),
        ("a.txt", "3 4\n0:1\n2:0.5\n", "expected 3 rows as its first line says, got 2"),
        ("a.txt", "1 4\n0:1 2\n", "line 2: expected a score behind each class"),
        ("a.txt", "1 4\n0:1 7:1\n", "row 0: expected class indices from 0 to 3, got 7"),
    ],
)
def test_other_files_are_refused_by_one_sentence(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        read_ranked_lists(write(tmp_path, text, name))
    with pytest.raises(InputError, match="no such file"):
        read_ranked_lists(tmp_path / "missing.csv")


def test_a_sparse_matrix_and_its_text(tmp_path):
    matrix = sparse.csr_matrix(([0.5, 0.75, 0.25], [3, 1, 0], [0, 2, 2, 3]), (3, 5))
    sparse.save_npz(tmp_path / "scores.npz", matrix)
    found = read_ranked_lists(tmp_path / "scores.npz")
    text = read_ranked_lists(write(tmp_path, "3 5\n1:0.75 3:0.5\n\n0:0.25\n", "scores.txt"))
    for lists in (found, text, RankedLists.from_csr(matrix)):
        assert rows_of(lists) == [[(1, 0.75), (3, 0.5)], [], [(0, 0.25)]]
        assert (lists.num_classes, lists.states_classes) == (5, True)
    sparse.save_npz(tmp_path / "csc.npz", matrix.tocsc())
    with pytest.raises(InputError, match="in CSR form, got csc; save"):
        read_ranked_lists(tmp_path / "csc.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": np.array(3)}, "expected the two sizes of a sparse matrix, got 3"),
        ({"shape": np.array([4, 5])}, "the shape .4, 5. does not fit 4 offsets"),
        ({"data": None}, "the array data of the sparse matrix is missing"),
        ({"indptr": np.array([0, 2, 9, 3])}, "expected offsets that rise from 0, got 9 before 3"),
        ({"indices": np.array([0, 1, 7])}, "row 2: expected class indices from 0 to 4, got 7"),
        ({"indices": np.array([0, 1])}, "expected .3,. integer classes"),
        ({"data": np.array(["a", "b", "c"])}, "scores"),
        ({"data": np.ones(2)}, "expected a score for each of 3 classes"),
    ],
)
def test_a_damaged_sparse_matrix_is_named(tmp_path, change, message):
    members = {"format": np.array(b"csr"), "shape": np.array([3, 5]), "indptr": np.array([0, 2, 2, 3])}
    members |= {"indices": np.array([0, 1, 2]), "data": np.ones(3)} | change
    path = tmp_path / "scores.npz"
    np.savez(path, **{name: value for name, value in members.items() if value is not None})
    with pytest.raises((InputError, TypeError), match=message) as caught:
        read_ranked_lists(path)
    assert "scores.npz" in str(caught.value)


def test_arrays_in_an_archive(tmp_path):
    np.savez(tmp_path / "top.npz", classes=[[4, 2], [0, -1]], scores=np.float32([[0.5, 1], [2, 0]]), ids=["a", "b"])
    lists = read_ranked_lists(tmp_path / "top.npz")
    assert rows_of(lists) == [[(2, 1.0), (4, 0.5)], [(0, 2.0)]]
    assert lists.ids.tolist() == ["a", "b"]
    np.savez(tmp_path / "other.npz", logits=np.eye(2))
    with pytest.raises(InputError, match=r"or arrays classes and scores of shape \(N, k\), got logits"):
        read_ranked_lists(tmp_path / "other.npz")


def test_labels_of_the_repository_of_extreme_classification(tmp_path):
    path = write(tmp_path, "3 5\n1:1 3:1\n\n0:1\n", "tst_X_Y.txt")
    labels = read_list_labels(path)
    assert labels.values.rows.tolist() == [0, 0, 2]
    assert labels.values.classes.tolist() == [1, 3, 0]
    counts, rows = read_counts(path)
    assert (counts.tolist(), rows) == ([1, 1, 0, 1, 0], 3)
    with pytest.raises(InputError, match=r"line 2: expected labels of value 1, got 0.5 for class 1; are these scores"):
        read_list_labels(write(tmp_path, "1 5\n1:0.5\n", "scores.txt"))


def test_cells_to_leave_out(tmp_path):
    cells = read_cells(write(tmp_path, "0 3\n2 1\n2 1\n", "filter.txt"), 3)
    assert (cells.rows.tolist(), cells.classes.tolist()) == ([0, 2], [3, 1])
    with pytest.raises(InputError, match="line 1: expected a row below 2 and a class, got '2 1'"):
        read_cells(write(tmp_path, "2 1\n", "filter.txt"), 2)


def run(*arguments):
    return run_within(main, "vltr-eval", list(arguments))


def files_of(tmp_path):
    write(tmp_path, YOUTUBE8M + "a,0 0.9 1 0.5\nb,1 0.8 2 0.25\nc,2 0.75 0 0.5\n", "lists.csv")
    write(tmp_path, "id,labels\nc,2\na,0 2\nb,1\n", "labels.csv")
    np.save(tmp_path / "counts.npy", np.array([900, 200, 5]))


def test_damaged_archives_are_input_errors(tmp_path):
    path = tmp_path / "scores.npz"
    sparse.save_npz(path, sparse.random(50, 30, 0.2, "csr", random_state=0))
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        wrong = bytearray(content)
        wrong[rng.integers(len(wrong))] ^= int(rng.integers(1, 256))
        path.write_bytes(wrong[: rng.integers(1, 2 * len(wrong))])
        for read in (read_ranked_lists, read_counts):
            try:
                read(path)
            except InputError as error:
                assert str(path) in str(error)  # noqa: PT017


@pytest.mark.parametrize("stated", [2**31, 10**12])
def test_classes_beyond_every_index_are_refused(tmp_path, stated):
    path = write(tmp_path, f"1 {stated}\n0:1\n", "lists.txt")
    with pytest.raises(InputError, match=f"expected from 0 to 2147483647 classes, got {stated}"):
        read_ranked_lists(path)


def test_a_class_that_no_integer_holds_is_refused(tmp_path):
    path = write(tmp_path, "0 99999999999999999999\n", "cells.txt")
    with pytest.raises(InputError, match="line 1: expected a row below 5 and a class"):
        read_cells(path, 5)


def test_the_command_gives_the_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files_of(tmp_path)
    done = run(
        *("topk", "lists.csv", "labels.csv", "--k", "1,2", "--counts", "counts.npy", "--train-rows", "1000"),
        *("--json", "out.json", "--csv", "out.csv", "--quiet"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    lists = read_ranked_lists(tmp_path / "lists.csv", 3)
    expected = evaluate_topk(lists, [{0, 2}, {1}, {2}], k=(1, 2), train_counts=[900, 200, 5], num_train_rows=1000)
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["metrics"] == json.loads(expected.to_json())["metrics"]
    assert found["metrics"]["P@1"] == 1.0
    assert {"mAP_lower_head", "PSP@2", "GAP@20", "macro_recall@1_tail"} <= set(found["metrics"])
    assert (tmp_path / "out.csv").read_text() == expected.to_csv()
    assert "GAP@20" in done.stdout
    assert "lower and upper bound" in done.stdout
    assert f"signature: {expected.signature}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--k", "none"], 2, "argument --k: expected numbers"),
        (["--train-rows", "100"], 2, "argument --train-rows: give --counts FILE as well"),
        (["--propensity", "1"], 2, "expected two positive numbers A,B"),
        (["--unlisted", "nan"], 2, "argument --unlisted: expected a number"),
        (["--label-form", "names"], 1, "labels.csv"),
        (["--unknown", "counts.npy"], 1, "counts.npy: line 1: expected a row below 3 and a class"),
    ],
)
def test_bad_arguments_are_one_sentence(tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    files_of(tmp_path)
    done = run("topk", "lists.csv", "labels.csv", *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_note_says_that_labels_without_ids_are_taken_in_order(tmp_path, capsys):
    (tmp_path / "s.csv").write_text("VideoId,LabelConfidencePairs\nb,1 0.5\na,0 0.5\n")
    np.save(tmp_path / "l.npy", np.eye(2, dtype=np.int8)[::-1])
    for words, expected in (([], 1), (["--join", "position"], 0)):
        assert main(["topk", str(tmp_path / "s.csv"), str(tmp_path / "l.npy"), "--k", "1", *words]) == 0
        said = capsys.readouterr().out
        assert said.count("l.npy has no ids, so its rows are taken in the order of the lists") == expected
