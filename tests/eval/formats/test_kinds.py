"""Files as people have them give the right number or one sentence: never a wrong number with exit 0."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import average_precision_score

import vltr_eval
from vltr_eval import evaluate, mean_average_precision
from vltr_eval.formats import InputError, read_class_names, read_labels, read_scores, read_train_counts
from vltr_eval.program.cli import main

SCORES = np.array([[0.9, 0.2, 0.1], [0.3, 0.8, 0.25], [0.4, 0.7, 0.6], [0.35, 0.15, 0.5]])
INDICES = np.array([0, 0, 1, 2])
DENSE = (INDICES[:, None] == np.arange(3)).astype(int)
RIGHT = average_precision_score(DENSE, SCORES)
NAMES = ["cat", "dog", "owl"]
IDS = ["v3", "v1", "v0", "v2"]


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def frame(order=(0, 1, 2), columns=NAMES):
    return pd.DataFrame(SCORES[:, order], columns=[columns[k] for k in order])


def label_frame(order=(0, 1, 2)):
    return pd.DataFrame(DENSE[:, order], columns=[NAMES[k] for k in order])


def write(name, text):
    Path(name).write_text(text, encoding="utf-8")
    return name


def run(*arguments) -> float:
    """mAP of the program."""
    assert main([*map(str, arguments), "--json", "report.json", "--sap", "none", "--topk", "none"]) == 0
    return json.loads(Path("report.json").read_text())["metrics"]["mAP"]


def notes() -> str:
    return "\n".join(json.loads(Path("report.json").read_text())["notes"])


def refused(capsys, *arguments) -> str:
    """The one sentence with which the program refuses its inputs."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--sap", "none", "--topk", "none"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.fixture
def labels():
    np.save("labels.npy", INDICES)
    return "labels.npy"


@pytest.fixture
def preds():
    np.save("preds.npy", SCORES)
    return "preds.npy"


# Rows and columns that are no data (K1)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_the_index_of_pandas_is_no_class(labels, suffix, capsys):
    frame().to_csv(f"p{suffix}", sep="," if suffix == ".csv" else "\t")
    assert run(f"p{suffix}", labels) == RIGHT
    assert "is the index" in notes()
    assert "is the index" in capsys.readouterr().err


@pytest.mark.parametrize(
    "index",
    [
        pd.Index([4, 5, 6, 7], name="clip"),
        pd.Index([0.5, 1.5, 2.5, 3.5], name="time"),
        pd.MultiIndex.from_product([["a", "b"], [0, 1]], names=["video", "clip"]),
        pd.Index(IDS),
        pd.RangeIndex(4),
    ],
    ids=["integers", "floats", "several", "strings", "range"],
)
def test_the_index_of_parquet_is_no_class(labels, index):
    frame().set_index(index).to_parquet("p.parquet")
    assert run("p.parquet", labels) == RIGHT


def test_string_index_of_parquet_holds_the_ids():
    frame().set_index(pd.Index(IDS, name="video")).to_parquet("p.parquet")
    assert read_scores("p.parquet").ids.tolist() == IDS


def test_header_of_numbers_is_no_row():
    pd.DataFrame(SCORES).to_csv("p.csv", index=False)
    pd.Series(INDICES).to_csv("l.csv", index=False)
    assert run("p.csv", "l.csv") == RIGHT
    pd.DataFrame(DENSE).to_csv("d.csv", index=False)
    assert run("p.csv", "d.csv") == RIGHT
    pd.DataFrame(SCORES).to_csv("i.csv")
    assert run("i.csv", "l.csv") == RIGHT


def test_header_of_two_classes_is_told_by_the_rows_of_the_scores():
    scores, dense = SCORES[:, :2], DENSE[:, :2]
    np.save("p.npy", scores)
    pd.DataFrame(dense).to_csv("d.csv", index=False)
    assert run("p.npy", "d.csv") == average_precision_score(dense, scores)
    write("rows.csv", "".join(f"{a},{b}\n" for a, b in dense))
    assert run("p.npy", "rows.csv") == average_precision_score(dense, scores)


def test_header_that_may_be_a_row_is_refused_where_both_fit(capsys):
    write("p.csv", "0,1\n1,0\n0,1\n")
    write("l.csv", "0\n1\n0\n")
    assert "can be a header or a row" in refused(capsys, "p.csv", "l.csv")
    assert run("p.csv", "l.csv", "--header", "no") > 0


@pytest.mark.parametrize("name", ["row", "fold", "id", "video", "label"])
def test_a_column_beside_the_scores_is_no_class(labels, name, capsys):
    data = frame()
    data.insert(0, name, [7, 3, 5, 4])
    data.to_csv("p.csv", index=False)
    data.to_parquet("p.parquet")
    for file in ("p.csv", "p.parquet"):
        code = main([file, labels, "--sap", "none", "--topk", "none", "--json", "report.json"])
        if code == 0:
            assert json.loads(Path("report.json").read_text())["metrics"]["mAP"] == RIGHT
            assert name in notes()
        else:
            assert name in capsys.readouterr().err
        assert run(file, labels, "--exclude", name) == RIGHT
        assert run(file, labels, "--columns", "cat,dog,owl") == RIGHT
        assert run(file, labels, "--columns", "1:") == RIGHT


def test_unnamed_whole_numbers_in_front_of_fractions_are_refused(labels, capsys):
    np.savetxt("p.csv", np.column_stack([[10, 20, 30, 40], SCORES]), delimiter=",", fmt=["%d"] + ["%.6f"] * 3)
    assert "distinct whole numbers" in refused(capsys, "p.csv", labels)
    assert run("p.csv", labels, "--exclude", "0") == pytest.approx(RIGHT, abs=1e-12)


def test_a_counting_first_column_of_an_array_is_refused(labels, capsys):
    np.save("p.npy", np.column_stack([np.arange(4), SCORES]))
    assert "counts the rows" in refused(capsys, "p.npy", labels)
    assert run("p.npy", labels, "--exclude", "0") == RIGHT


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".safetensors"])
def test_an_array_of_the_other_role_is_no_candidate(suffix):
    arrays = {"preds": DENSE.astype(np.float32), "truth": DENSE[::-1].copy()}
    file = f"both{suffix}"
    if suffix == ".npz":
        np.savez(file, **arrays)
    elif suffix == ".pt":
        torch.save({name: torch.tensor(array) for name, array in arrays.items()}, file)
    else:
        pytest.importorskip("safetensors.numpy").save_file(arrays, file)
    assert run(file, file) == average_precision_score(arrays["truth"], arrays["preds"])


def test_whole_numbers_that_float64_cannot_hold_are_refused(labels, capsys):
    table = {"a": np.array([2**53, 2**53 + 1, 0, 1]), "b": SCORES[:, 1], "c": SCORES[:, 2]}
    pq.write_table(pa.table(table), "p.parquet")
    assert "a" in refused(capsys, "p.parquet", labels)
    pd.DataFrame(table).to_csv("p.csv", index=False)
    assert "column" in refused(capsys, "p.csv", labels)


def test_missing_scores_are_never_read_as_numbers():
    masked = np.ma.masked_array(SCORES, mask=SCORES > 0.85)
    with pytest.raises((TypeError, ValueError), match="missing"):
        evaluate(masked, DENSE)
    with pytest.raises((TypeError, ValueError), match=r"row 0.*cat|cat.*row 0"):
        evaluate(frame().astype("Float64").mask(SCORES > 0.85), DENSE)
    assert mean_average_precision(np.ma.masked_array(SCORES), DENSE) == RIGHT


# Names (K2)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_are_matched_by_name(suffix):
    def save(data, name):
        data.to_csv(name, index=False) if suffix == ".csv" else data.to_parquet(name)

    save(frame(), f"p{suffix}")
    save(label_frame((2, 0, 1)), f"l{suffix}")
    assert run(f"p{suffix}", f"l{suffix}") == RIGHT
    assert "reordered by name" in notes()
    save(frame((1, 2, 0)), f"p{suffix}")
    assert run(f"p{suffix}", f"l{suffix}") == RIGHT


def test_other_names_are_refused_by_the_first_that_differ(capsys):
    frame().to_csv("p.csv", index=False)
    label_frame().rename(columns={"dog": "wolf"}).to_csv("l.csv", index=False)
    error = refused(capsys, "p.csv", "l.csv")
    assert "'dog'" in error
    assert "'wolf'" in error


def test_columns_of_shards_are_matched_by_name():
    frame()[:2].to_csv("p_0.csv", index=False)
    frame((2, 1, 0))[2:].to_csv("p_1.csv", index=False)
    label_frame().to_csv("l.csv", index=False)
    assert run("p_0.csv", "p_1.csv", "l.csv") == RIGHT
    assert "p_1.csv: columns are reordered by name" in notes()


def test_class_names_order_the_columns(labels):
    frame((2, 0, 1)).to_csv("p.csv", index=False)
    write("names.txt", "cat\ndog\nowl\n")
    assert run("p.csv", labels, "--class-names", "names.txt") == RIGHT
    assert "reordered by name" in notes()


def test_class_names_check_the_columns(labels, capsys):
    frame().to_csv("p.csv", index=False)
    write("names.txt", "cat\ndog\nfox\n")
    assert "'owl'" in refused(capsys, "p.csv", labels, "--class-names", "names.txt")


def test_counts_with_names_are_matched_by_name():
    frame((2, 0, 1)).to_csv("p.csv", index=False)
    label_frame().to_csv("l.csv", index=False)
    write("c.lst", "cat 0 700\ndog 1 5\nowl 2 200\n")
    run("p.csv", "l.csv", "--counts", "c.lst")
    classes = json.loads(Path("report.json").read_text())["classes"]
    assert dict(zip(classes["name"], classes["train_count"], strict=True)) == {"cat": 700, "dog": 5, "owl": 200}


# Row ids


def shuffled(data):
    return data.iloc[[2, 0, 3, 1]]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_are_joined_by_string_ids(kind):
    scores, truth = (data.set_index(pd.Index(IDS, name="video")) for data in (frame(), label_frame()))
    if kind == "csv":
        scores.to_csv("p.csv")
        shuffled(truth).to_csv("l.csv")
    else:
        scores.to_parquet("p.parquet")
        shuffled(truth).to_parquet("l.parquet")
    assert run(f"p.{kind}", f"l.{kind}") == RIGHT
    assert "joined" in notes()


def test_frames_with_a_string_index_are_joined_by_it():
    scores, truth = (data.set_index(pd.Index(IDS)) for data in (frame(), label_frame()))
    assert mean_average_precision(scores, shuffled(truth)) == RIGHT
    report = evaluate(scores, shuffled(truth))
    assert report.metrics()["mAP"] == RIGHT
    assert any("joined" in note for note in report.notes)


def test_integer_ids_are_joined(preds):
    write("ids.txt", "30\n10\n0\n20\n")
    write("l.csv", 'id,labels\n0,"1"\n10,"0"\n20,"2"\n30,"0"\n')
    assert run(preds, "l.csv", "--ids", "ids.txt") == RIGHT
    report = evaluate(SCORES, INDICES[[2, 1, 3, 0]], ids=[30, 10, 0, 20], label_ids=[0, 10, 20, 30])
    assert report.metrics()["mAP"] == RIGHT


def test_ids_may_be_a_named_column(labels):
    data = frame()
    data["clip"] = IDS
    data["name"] = list("abcd")
    data.to_csv("p.csv", index=False)
    write("l.lst", "v0 1\nv1 0\nv2 2\nv3 0\n")
    assert run("p.csv", "l.lst", "--ids", "clip", "--exclude", "name") == RIGHT


def test_ids_may_be_a_member_of_an_archive():
    np.savez("p.npz", preds=SCORES, ids=np.array(IDS))
    write("l.jsonl", "".join(json.dumps({"id": IDS[k], "labels": [int(INDICES[k])]}) + "\n" for k in (3, 0, 2, 1)))
    assert run("p.npz", "l.jsonl") == RIGHT


def test_missing_ids_are_named_and_may_be_left_out(preds, capsys):
    write("ids.txt", "\n".join(IDS))
    write("l.lst", "v0 1\nv1 0\nv3 0\nx1 2\nx2 2\nx3 1\nx4 1\n")
    error = refused(capsys, preds, "l.lst", "--ids", "ids.txt")
    assert "'v2'" in error
    assert "4 ids ('x1', 'x2', 'x3' and 1 more)" in error
    kept = [0, 1, 2]
    defined = [average_precision_score(DENSE[kept, c], SCORES[kept, c]) for c in (0, 1)]
    assert run(preds, "l.lst", "--ids", "ids.txt", "--join", "inner") == pytest.approx(np.mean(defined), abs=1e-12)
    assert "1 id ('v2')" in notes() or "1 scored rows" in notes()


def test_repeated_ids_are_named(preds, capsys):
    write("ids.txt", "v0\nv1\nv1\nv2\n")
    write("l.lst", "v0 1\nv1 0\nv2 0\nv3 2\n")
    assert "'v1'" in refused(capsys, preds, "l.lst", "--ids", "ids.txt")


def test_ids_with_another_extension_are_refused_with_a_hint(preds, capsys):
    write("ids.txt", "\n".join(f"videos/{name}.mp4" for name in IDS))
    write("l.lst", "v0 1\nv1 0\nv2 2\nv3 0\n")
    assert "without folder and extension they agree" in refused(capsys, preds, "l.lst", "--ids", "ids.txt")


def test_rows_in_another_order_without_ids_are_a_finding():
    rng = np.random.default_rng(0)
    truth = rng.random((2000, 20)) < 0.1
    scores = truth + rng.normal(size=truth.shape) * 0.3
    np.save("p.npy", scores)
    np.save("l.npy", truth)
    np.save("s.npy", truth[rng.permutation(2000)])
    run("p.npy", "l.npy")
    assert notes() == ""
    run("p.npy", "s.npy")
    assert "same order" in notes()


# Label forms (K3)


def vectors(kind):
    make = {"numpy": np.asarray, "torch": torch.tensor}[kind]
    return [make(column) for column in SCORES.T], [make(column) for column in DENSE.T]


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_lists_of_vectors_are_refused_with_both_ways_to_say_it(kind):
    scores, truth = vectors(kind)
    with pytest.raises(ValueError, match="concat"):
        mean_average_precision(scores, truth)
    rows = [torch.tensor(row) for row in SCORES]
    with pytest.raises(ValueError, match="stack"):
        mean_average_precision(rows, DENSE)


@pytest.mark.parametrize("make", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_ragged_index_arrays_are_lists(make):
    rows = [[0, 1], [], [1], [2]]
    lists = [make(row, dtype=np.int64 if make is np.array else torch.int64) for row in rows]
    dense = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert mean_average_precision(SCORES, lists) == average_precision_score(dense, SCORES)
    evaluator = vltr_eval.Evaluator(3, sap=None)
    evaluator.update(SCORES, lists)
    assert evaluator.compute().metrics()["mAP"] == average_precision_score(dense, SCORES)


def test_an_empty_array_among_index_arrays_is_a_row_without_labels():
    lists = [np.array([0, 1]), np.array([]), np.array([1]), np.array([2])]
    dense = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert mean_average_precision(SCORES, lists) == average_precision_score(dense, SCORES)


def test_one_hot_rows_of_two_classes_are_refused(capsys):
    np.save("p.npy", SCORES[:2, :2])
    write("l.json", "[[1, 0], [0, 1]]")
    assert "label_form" in refused(capsys, "p.npy", "l.json")
    assert run("p.npy", "l.json", "--label-form", "dense") == average_precision_score([[1, 0], [0, 1]], SCORES[:2, :2])
    with pytest.raises(ValueError, match=r"np\.array"):
        mean_average_precision(SCORES[:2, :2], [[1, 0], [0, 1]])


def test_one_hot_rows_of_three_classes_are_dense(preds):
    write("l.json", json.dumps(DENSE.tolist()))
    assert run(preds, "l.json") == RIGHT
    write("b.json", json.dumps(DENSE.astype(bool).tolist()))
    assert run(preds, "b.json") == RIGHT
    assert mean_average_precision(SCORES, DENSE.tolist()) == RIGHT


@pytest.mark.parametrize(
    "make",
    [
        lambda rows: np.fromiter((list(row) for row in rows), object, len(rows)),
        lambda rows: pd.Series(rows),
        lambda rows: pl.Series(rows),
        lambda rows: pa.array(rows),
        lambda rows: pd.DataFrame({"labels": rows}),
    ],
    ids=["object array", "pandas", "polars", "arrow", "frame"],
)
def test_columns_of_lists_are_class_indices(make):
    rows = [[0], [0], [1], [2]]
    assert mean_average_precision(SCORES, make(rows)) == RIGHT


# Label files as they lie about


LABEL_FILES = {
    "semicolons.csv": 'id,labels\nv3,"0"\nv1,"0"\nv0,"1"\nv2,"2"\n',
    "bars.csv": "id,labels\nv3,0|1\nv1,0\nv0,1\nv2,2\n",
    "spaces.csv": "id,label\nv3,0 1\nv1,0\nv0,1\nv2,2\n",
    "commas.csv": 'id,labels\nv3,"0,1"\nv1,0\nv0,1\nv2,2\n',
    "python.csv": "id,labels\nv3,\"['cat', 'dog']\"\nv1,['cat']\nv0,['dog']\nv2,['owl']\n",
    "names.csv": 'id,labels\nv3,"cat;dog"\nv1,cat\nv0,dog\nv2,owl\n',
    "audioset.csv": "# Segments csv created\n# num_ytids=4\n# YTID, start_seconds, end_seconds, positive_labels\n"
    'v3, 0.000, 10.000, "cat,dog"\nv1, 0.000, 10.000, "cat"\nv0, 5.000, 15.000, "dog"\nv2, 0.000, 9.000, "owl"\n',
    "lines.jsonl": '{"id": "v3", "labels": [0, 1]}\n{"id": "v1", "labels": [0]}\n{"id": "v0", "labels": [1]}\n'
    '{"id": "v2", "labels": [2]}\n',
    "dict.json": '{"v3": [0, 1], "v1": [0], "v0": [1], "v2": [2]}',
    "named.json": '{"v3": ["cat", "dog"], "v1": ["cat"], "v0": ["dog"], "v2": ["owl"]}',
    "records.json": '[{"video": "v3", "tags": ["cat"]}, {"video": "v1", "tags": ["cat"]}, '
    '{"video": "v0", "tags": ["dog"]}, {"video": "v2", "tags": ["owl"]}]',
    "ast.json": '{"data": [{"video_id": "v3", "wav": "a", "labels": "cat,dog"}, {"video_id": "v1", "wav": "a", '
    '"labels": "cat"}, {"video_id": "v0", "wav": "a", "labels": "dog"}, '
    '{"video_id": "v2", "wav": "a", "labels": "owl"}]}',
    "videofolder.txt": "multiple/v3 40 0,1,\ncat/v1 12 0,\ndog/v0 9 1,\nowl/v2 11 2,\n",
    "list.txt": "v3 0\nv1 0\nv0 1\nv2 2\n",
    "several.txt": "v3 0,1\nv1 0\nv0 1\nv2 2\n",
    "bool.csv": "id,cat,dog,owl\nv3,True,True,False\nv1,True,False,False\nv0,False,True,False\nv2,False,False,True\n",
    "quoted.csv": '"id","cat","dog","owl"\n"v3","1","1","0"\n"v1","1","0","0"\n"v0","0","1","0"\n"v2","0","0","1"\n',
    "openimages.csv": "ImageID,Source,LabelName,Confidence\nv3,verification,cat,1\nv3,verification,dog,1\n"
    "v1,verification,cat,1\nv1,verification,owl,0\nv0,verification,dog,1\nv2,verification,owl,1\n",
    "strong.tsv": "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\nv3\t0.0\t1.0\tcat\nv3\t0.5\t1.0\tdog\n"
    "v3\t1.5\t2.0\tcat\nv1\t0\t1\tcat\nv0\t0\t1\tdog\nv2\t0\t1\towl\n",
}


@pytest.mark.parametrize("name", LABEL_FILES)
def test_label_files_are_read_and_joined(name):
    frame().set_index(pd.Index(IDS, name="id")).to_csv("p.csv")
    write(name, LABEL_FILES[name])
    dense = DENSE.copy()
    dense[0, 1] = 0 if name in ("semicolons.csv", "records.json", "list.txt") else 1
    assert run("p.csv", name) == pytest.approx(average_precision_score(dense, SCORES), abs=1e-15)
    if name in ("lines.jsonl", "commas.csv", "several.txt"):
        lines = LABEL_FILES[name].splitlines(keepends=True)
        head = 1 if name.endswith(".csv") else 0
        write(f"r{name}", "".join([*lines[:head], *reversed(lines[head:])]))
        assert run("p.csv", f"r{name}") == pytest.approx(average_precision_score(dense, SCORES), abs=1e-15)


def test_charades_lists_have_each_class_once():
    header = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"
    rows = [
        'v3,A,Home,6,7,Yes,"a, b",x;y,"d","c000 1.0 2.0;c000 3.5 9.1",30.2\n',
        "v1,A,Home,6,7,Yes,s,x,d,c000 0.00 5.10,12.0\n",
        "v0,A,Home,6,7,Yes,s,x,d,c001 11.90 21.20;c001 0.00 12.60,12.0\n",
        "v2,A,Home,6,7,Yes,s,x,d,,12.0\n",
    ]
    write("Charades_v1_test.csv", header + "".join(rows))
    labels = read_labels("Charades_v1_test.csv", 4, 3)
    assert labels.ids.tolist() == IDS
    assert sorted(zip(labels.values.rows, labels.values.classes, strict=True)) == [(0, 0), (1, 0), (2, 1)]


def test_names_that_no_class_has_are_refused(capsys):
    frame().set_index(pd.Index(IDS, name="id")).to_csv("p.csv")
    write("l.csv", "id,labels\nv3,cat\nv1,cats\nv0,dog\nv2,owl\n")
    assert "'cats'" in refused(capsys, "p.csv", "l.csv")


def test_lists_that_can_be_frames_or_classes_are_refused(preds, capsys):
    write("l.txt", "a/v3 2 0\na/v1 1 0\nb/v0 2 1\nc/v2 1 2\n")
    assert "videofolder" in refused(capsys, preds, "l.txt")
    assert run(preds, "l.txt", "--label-form", "videofolder") == RIGHT


def test_parquet_lists_with_names_of_huggingface():
    labels = {"_type": "List", "feature": {"_type": "ClassLabel", "names": NAMES[::-1]}}
    feature = {"info": {"features": {"labels": labels}}}
    table = pa.table({"id": IDS, "labels": [[2], [2], [1], [0]]})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(feature)}), "l.parquet")
    frame().set_index(pd.Index(IDS, name="id")).to_csv("p.csv")
    assert run("p.csv", "l.parquet") == RIGHT
    assert "reordered by name" in notes()


def test_training_labels_serve_as_counts(preds, labels):
    write("train.lst", "a 0,2\nb 0\nc 0\n")
    assert read_train_counts("train.lst", 3).tolist() == [3, 0, 1]
    write("train.csv", 'id,labels\na,"0;2"\nb,0\nc,0\n')
    assert read_train_counts("train.csv", 3).tolist() == [3, 0, 1]
    np.save("train.npy", DENSE)
    assert read_train_counts("train.npy", 3).tolist() == DENSE.sum(axis=0).tolist()
    run(preds, labels, "--counts", "train.lst")
    assert json.loads(Path("report.json").read_text())["classes"]["train_count"] == [3, 0, 1]


def test_class_names_may_be_published_tables():
    write("class_labels_indices.csv", 'index,mid,display_name\n0,/m/a,"Speech, man"\n1,/m/b,Dog\n2,/m/c,Owl\n')
    names = read_class_names("class_labels_indices.csv", 3)
    assert names.names == ("Speech, man", "Dog", "Owl")
    assert names.index_of["/m/b"] == 1
    np.save("p.npy", SCORES)
    rows = [("v3", "/m/a,/m/b"), ("v1", "/m/a"), ("v0", "/m/b"), ("v2", "/m/c")]
    head = "# a\n# b\n# YTID, start_seconds, end_seconds, positive_labels\n"
    write("l.csv", head + "".join(f'{name}, 0.0, 10.0, "{mids}"\n' for name, mids in rows))
    dense = DENSE.copy()
    dense[0, 1] = 1
    assert run("p.npy", "l.csv", "--class-names", "class_labels_indices.csv") == average_precision_score(dense, SCORES)


# Python takes paths


def test_python_takes_paths(preds):
    write("l.csv", "cat,dog,owl\n" + "".join(",".join(map(str, row)) + "\n" for row in DENSE))
    assert evaluate(preds, "l.csv").metrics()["mAP"] == RIGHT
    assert mean_average_precision(Path(preds), Path("l.csv")) == RIGHT
    report = evaluate(vltr_eval.read_scores(preds), vltr_eval.read_labels("l.csv"), class_names=NAMES)
    assert report.metrics()["mAP"] == RIGHT


@pytest.mark.parametrize(
    "make", [lambda: pl.DataFrame(frame()), lambda: pa.table(frame()), frame], ids=["polars", "arrow", "pandas"]
)
def test_frames_of_any_library_are_read(make):
    assert mean_average_precision(make(), INDICES) == RIGHT


@pytest.mark.parametrize("writer", ["npy", "csv", "parquet", "pt", "safetensors", "jsonl"])
def test_formats_of_one_table_give_the_same_bytes(writer, labels):
    scores = SCORES.astype(np.float64)
    file = f"p.{writer}"
    if writer == "npy":
        np.save(file, scores)
    elif writer == "csv":
        pd.DataFrame(scores).to_csv(file, index=False, header=False)
    elif writer == "parquet":
        pd.DataFrame(scores, columns=list("012")).to_parquet(file)
    elif writer == "pt":
        torch.save(torch.tensor(scores), file)
    elif writer == "jsonl":
        write(file, "".join(json.dumps(row) + "\n" for row in scores.tolist()))
    else:
        pytest.importorskip("safetensors.numpy").save_file({"preds": scores}, file)
    np.save("reference.npy", scores)
    run("reference.npy", labels)
    expected = Path("report.json").read_bytes()
    run(file, labels)
    assert Path("report.json").read_bytes() == expected


def test_errors_of_files_are_input_errors():
    write("l.json", "[[0], [true, 1]]")
    with pytest.raises(InputError, match=r"^l\.json: row 1: "):
        read_labels("l.json", 2, 3)


# Numbers as names, and positions


def test_classes_called_by_numbers_are_never_guessed(capsys):
    pd.DataFrame(SCORES, columns=["1", "2", "3"]).set_index(pd.Index(IDS, name="id")).to_csv("p.csv")
    write("l.csv", "id,labels\nv3,1\nv1,1\nv0,2\nv2,3\n")
    write("m.csv", "id,labels\nv3,1\nv1,1\nv0,2\nv2,0\n")
    error = refused(capsys, "p.csv", "m.csv")
    assert "indices from 0 or the names" in error
    assert run("p.csv", "l.csv", "--label-form", "names") == RIGHT
    assert run("p.csv", "m.csv", "--label-form", "lists") != RIGHT


def test_positions_in_another_order_are_put_in_order(preds, labels):
    pd.DataFrame(SCORES[:, [2, 0, 1]], columns=["2", "0", "1"]).to_csv("p.csv", index=False)
    assert run("p.csv", labels) == RIGHT
    pd.DataFrame(DENSE[:, [2, 0, 1]], columns=["2", "0", "1"]).to_parquet("l.parquet")
    assert run(preds, "l.parquet") == RIGHT


def test_lines_of_one_id_are_united_where_asked(preds, capsys):
    write("ids.txt", "\n".join(IDS))
    write("l.csv", "id,label\nv3,0\nv3,1\nv1,0\nv0,1\nv2,2\n")
    dense = DENSE.copy()
    dense[0, 1] = 1
    assert "label_form='long'" in refused(capsys, preds, "l.csv", "--ids", "ids.txt")
    assert run(preds, "l.csv", "--ids", "ids.txt", "--label-form", "long") == average_precision_score(dense, SCORES)
    assert "no ids" in refused(capsys, preds, "l.csv", "--label-form", "long")


def test_ids_can_be_left_out(capsys):
    frame().set_index(pd.Index([5, 7, 2, 9])).to_csv("p.csv")
    write("l.lst", "v3 0\nv1 0\nv0 1\nv2 2\n")
    assert "--join position" in refused(capsys, "p.csv", "l.lst")
    assert run("p.csv", "l.lst", "--join", "position") == RIGHT


def test_ascending_whole_numbers_in_front_of_whole_scores_are_refused(capsys):
    rng = np.random.default_rng(0)
    data = np.column_stack([np.arange(40) * 3 + 100, rng.integers(0, 99, (40, 3))])
    np.savetxt("p.csv", data, delimiter=",", fmt="%d")
    np.save("l.npy", rng.integers(0, 4, 40))
    assert "like ids" in refused(capsys, "p.csv", "l.npy")


def test_classes_with_one_name_can_be_shown_but_not_matched(preds, labels, capsys):
    write("names.txt", "ball\nball\nowl\n")
    assert run(preds, labels, "--class-names", "names.txt") == RIGHT
    frame().to_csv("p.csv", index=False)
    assert "'ball' twice" in refused(capsys, "p.csv", labels, "--class-names", "names.txt")


def test_true_and_false_as_text_are_labels(preds):
    label_frame().astype(bool).to_csv("l.csv", index=False)
    assert run(preds, "l.csv") == RIGHT


# Numbers of named classes


@pytest.mark.parametrize("named", ["scores", "labels"])
def test_counts_and_priors_follow_the_names_of_either_side(preds, labels, capsys, named):
    frame().to_csv("p.csv", index=False)
    label_frame().to_csv("l.csv", index=False)
    files = ("p.csv", labels) if named == "scores" else (preds, "l.csv")
    write("given.lst", "owl 0 5\ndog 1 7\ncat 2 2\n")
    write("foreign.lst", "ant 0 5\nbee 1 7\nfly 2 2\n")
    run(*files, "--counts", "given.lst", "--prior", "given.lst")
    report = json.loads(Path("report.json").read_text())
    assert report["classes"]["train_count"] == [2, 7, 5]
    expected = evaluate(SCORES, INDICES, sap=None, topk=None, prior=[2, 7, 5]).metrics()["given/mAP"]
    assert report["metrics"]["given/mAP"] == expected
    for option in ("--counts", "--prior"):
        assert "foreign.lst: expected the classes of the evaluation by name" in refused(
            capsys, *files, option, "foreign.lst"
        )


# Forms that the labels do not have


@pytest.mark.parametrize("form", ["lists", "indices", "names", "long", "videofolder"])
def test_dense_labels_are_of_no_other_form(preds, capsys, form):
    label_frame().to_csv("l.csv", index=False)
    assert run(preds, "l.csv", "--label-form", "dense") == RIGHT
    error = refused(capsys, preds, "l.csv", "--label-form", form)
    assert f"l.csv: expected labels of the form '{form}', got a column for each of 3 classes" in error
    with pytest.raises(ValueError, match=f"^labels: expected labels of the form '{form}', got a column for each of 3"):
        evaluate(SCORES, DENSE, label_form=form)


def test_class_indices_are_not_dense(preds, labels, capsys):
    assert run(preds, labels, "--label-form", "indices") == RIGHT
    error = refused(capsys, preds, labels, "--label-form", "dense")
    assert "labels.npy: expected labels of the form 'dense', got one column of class indices" in error
    with pytest.raises(ValueError, match=r"^labels: expected labels of the form 'dense', got one column of class"):
        evaluate(SCORES, INDICES, label_form="dense")
    assert evaluate(SCORES, [[k] for k in INDICES], label_form="indices").metrics()["mAP"] == RIGHT
    with pytest.raises(ValueError, match=r"^labels: expected one class index in every row, got 3 in row 0"):
        evaluate(SCORES, DENSE.tolist(), label_form="indices")


# Ids that are misspelled


def test_ids_that_are_no_file_and_no_column_are_refused(preds, capsys):
    data = label_frame()
    data.insert(0, "video", IDS)
    data.to_csv("l.csv", index=False)
    frame().set_index(pd.Index(IDS)).to_csv("p.csv")
    assert run("p.csv", "l.csv", "--ids", "video") == RIGHT
    error = refused(capsys, "p.csv", "l.csv", "--ids", "vidoe")
    assert "ids: expected a file or a column, got 'vidoe'; the columns are cat, dog, owl, video (--ids)" in error
    error = refused(capsys, "p.csv", "l.csv", "--label-ids", "vidoe")
    assert "label_ids: expected a file or a column, got 'vidoe'; the columns are video, cat" in error
    write("ids.txt", "v3\nv1\n")
    assert "ids.txt: expected one id for each of 4 rows, got 2" in refused(capsys, preds, "l.csv", "--ids", "ids.txt")
    assert "give ids= (--ids)" in refused(capsys, preds, "l.csv", "--label-ids", "video")


def test_a_key_picks_the_labels_column_of_a_table(preds):
    write("l.csv", "narration_id,verb_class,noun_class\na,0,2\nb,0,1\nc,1,1\nd,2,0\n")
    assert run(preds, "l.csv::verb_class") == RIGHT


# Options that arrays do not have


@pytest.mark.parametrize("options", [{"columns": ["1:"]}, {"exclude": ["0"]}, {"exclude": "0"}])
def test_columns_of_arrays_are_not_ignored(options, labels):
    name = next(iter(options))
    for targets in (DENSE, labels):
        with pytest.raises(
            ValueError, match=rf"^{name}: expected scores in a file or a data frame, got ndarray; index"
        ):
            evaluate(SCORES, targets, **options)


def test_unknown_joins_are_refused_for_arrays_too():
    with pytest.raises(ValueError, match=r"^join: expected one of exact, inner, position, got 'left'"):
        evaluate(SCORES, DENSE, join="left")


def test_check_says_what_was_joined_and_doubts_nothing(capsys):
    frame().set_index(pd.Index(IDS)).to_csv("p.csv")
    label_frame().set_index(pd.Index(IDS)).iloc[::-1].to_csv("l.csv")
    main(["check", "p.csv", "l.csv"])
    found = capsys.readouterr().out
    assert "note        l.csv: rows are joined to those of p.csv by id\n" in found
    assert "verdict     fit for evaluation\n" in found
