"""Files and frames that once gave a wrong number: the right number, or one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

from vltr_eval import evaluate
from vltr_eval.formats import InputError
from vltr_eval.program.cli import main

RNG = np.random.default_rng(5)
INDICES = np.array([0, 2, 1, 0, 2, 1, 1, 0])
DENSE = (INDICES[:, None] == np.arange(3)).astype(int)
SCORES = np.round(RNG.random((8, 3)) + 0.35 * DENSE, 3)
RIGHT = average_precision_score(DENSE, SCORES)
NAMES = ["cat", "dog", "owl"]
ORDER = [4, 2, 7, 0, 1, 6, 3, 5]
IDS = [f"v{number}" for number in (5, 3, 7, 1, 0, 2, 6, 4)]
COUNTS = [700, 5, 200]


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def scores(index=None):
    return pd.DataFrame(SCORES, columns=NAMES, index=index)


def labels(index=None):
    return pd.DataFrame(DENSE, columns=NAMES, index=index)


def write(name, text):
    Path(name).write_text(text, encoding="utf-8")
    return name


def run(*arguments) -> float:
    """mAP of the program."""
    assert main([*map(str, arguments), "--json", "report.json", "--sap", "none", "--topk", "none"]) == 0
    return json.loads(Path("report.json").read_text())["metrics"]["mAP"]


def refused(capsys, *arguments) -> str:
    """The one sentence with which the program refuses its inputs."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json", "report.json", "--sap", "none", "--topk", "none"]) == 1
    return capsys.readouterr().err


def mean_ap(*arguments, **options) -> float:
    return evaluate(*arguments, sap=None, topk=None, **options).metrics()["mAP"]


# Columns


@pytest.mark.parametrize("name", ["fold", "split", "label", "score", "count"])
@pytest.mark.parametrize("position", [0, 1, 3])
def test_a_column_of_both_files_can_be_no_class(name, position, capsys):
    ours, theirs = scores(), labels()
    for data in (ours, theirs):
        data.insert(position, name, [0, 1] * 4)
    ours.to_csv("p.csv", index=False)
    theirs.to_csv("l.csv", index=False)
    assert f"column {name} does not look like a class" in refused(capsys, "p.csv", "l.csv")
    assert run("p.csv", "l.csv", "--exclude", name) == RIGHT


@pytest.mark.parametrize("position", [0, 1, 3])
def test_integer_ids_of_both_files_join_the_rows(position):
    ours, theirs = scores(), labels()
    for data in (ours, theirs):
        data.insert(position, "video", range(8))
    ours.to_csv("p.csv", index=False)
    theirs.iloc[ORDER].to_csv("l.csv", index=False)
    assert run("p.csv", "l.csv") == RIGHT
    pd.DataFrame({"video": range(8), "label": INDICES}).iloc[ORDER].to_csv("i.csv", index=False)
    assert run("p.csv", "i.csv") == RIGHT


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("pred", INDICES),
        ("confidence", SCORES.max(1)),
        ("loss", SCORES[:, 0]),
        ("group", [0, 1, 2, 3, 4, 0, 1, 2]),
        ("part", [0, 1] * 4),
        ("run", [3] * 8),
        ("second", np.arange(8) * 0.5),
    ],
)
def test_a_column_of_another_kind_is_no_class(name, values, capsys):
    np.save("l.npy", INDICES)
    data = scores()
    data.insert(0, name, values)
    data.to_csv("p.csv", index=False)
    data.to_parquet("p.parquet")
    for file in ("p.csv", "p.parquet"):
        assert f"column {name} " in refused(capsys, file, "l.npy")
        assert run(file, "l.npy", "--exclude", name) == RIGHT
    with pytest.raises(InputError, match=f"column {name} "):
        evaluate(data, INDICES)


def test_a_class_that_is_never_scored_is_a_class():
    data = scores().assign(owl=0)
    data.to_csv("p.csv", index=False)
    np.save("l.npy", INDICES)
    assert run("p.csv", "l.npy") == average_precision_score(DENSE, data.to_numpy(float))


def test_the_index_that_pandas_read_back_is_no_class():
    scores().to_csv("p.csv")
    with pytest.raises(InputError, match="Unnamed: 0"):
        evaluate(pd.read_csv("p.csv"), INDICES)


@pytest.mark.parametrize("option", ["--columns", "--exclude"])
def test_columns_that_no_file_has_are_named(option, capsys):
    scores().to_csv("p.csv", index=False)
    labels().to_csv("l.csv", index=False)
    assert "no column is 'dgo'" in refused(capsys, "p.csv", "l.csv", option, "cat,dgo,owl")


def test_columns_keep_the_order_of_the_file():
    np.save("p.npy", SCORES)
    np.save("l.npy", INDICES)
    scores().to_csv("p.csv", index=False)
    assert run("p.npy", "l.npy", "--columns", "2,0,1") == RIGHT
    assert run("p.csv", "l.npy", "--columns", "owl,cat,dog") == RIGHT


@pytest.mark.parametrize("option", ["columns", "exclude"])
def test_columns_of_arrays_are_never_ignored(option):
    with pytest.raises(ValueError, match=f"^{option}: .*index the arrays"):
        evaluate(SCORES, DENSE, **{option: ["0", "1"]})


def test_an_unknown_join_is_refused():
    with pytest.raises(ValueError, match=r"^join: expected one of"):
        evaluate(SCORES, DENSE, join="outer")


# Rows


INDEXES = {
    "counting": pd.RangeIndex(8),
    "named": pd.Index(range(8), name="clip"),
    "levels": pd.MultiIndex.from_product([[0, 1], range(4)]),
    "named levels": pd.MultiIndex.from_product([["a", "b"], range(4)], names=["video", "clip"]),
    "strings": pd.Index(IDS),
    "floats": pd.Index(np.arange(8) / 2),
}


@pytest.mark.parametrize("name", INDEXES)
def test_rows_are_joined_by_any_index(name):
    ours, theirs = scores(INDEXES[name]), labels(INDEXES[name]).iloc[ORDER]
    if name != "named levels":  # in CSV they are columns as others
        ours.to_csv("p.csv")
        theirs.to_csv("l.csv")
        assert run("p.csv", "l.csv") == RIGHT
    if name not in ("counting", "named"):  # pandas and parquet have these indices where nobody gave one
        ours.to_parquet("p.parquet")
        theirs.to_parquet("l.parquet")
        assert run("p.parquet", "l.parquet") == RIGHT
        assert mean_ap(ours, theirs) == RIGHT


@pytest.mark.parametrize("truth", [labels().iloc[ORDER], pd.Series(INDICES).iloc[ORDER]], ids=["frame", "series"])
def test_a_shuffled_index_beside_rows_without_ids_is_refused(truth):
    for given in (scores(), SCORES):
        with pytest.raises(InputError, match="0 to 7 in another order"):
            evaluate(given, truth)
        assert mean_ap(given, truth, ids=range(8), label_ids=ORDER) == RIGHT
    assert mean_ap(SCORES[ORDER], truth, join="position") == RIGHT


def test_keys_that_number_the_rows_are_not_left_out(capsys):
    np.save("p.npy", SCORES)
    write("l.json", json.dumps({str(row): [int(INDICES[row])] for row in ORDER}))
    assert "0 to 7 in another order" in refused(capsys, "p.npy", "l.json")


def test_repeated_ids_are_refused_even_in_one_order():
    with pytest.raises(InputError, match="each id once"):
        evaluate(SCORES, DENSE, ids=["a"] * 8, label_ids=["a"] * 8)


def test_ids_beyond_int64_are_compared_whole():
    ids = np.arange(8, dtype=np.uint64) + np.uint64(2**63)
    assert mean_ap(SCORES, DENSE[ORDER], ids=ids, label_ids=ids[ORDER]) == RIGHT


def test_an_index_that_cannot_be_ids_is_named():
    with pytest.raises(InputError, match=r"is the index, and ids of datetime64.*exclude="):
        evaluate(scores(pd.date_range("2020", periods=8, name="day")), DENSE)


def test_repeated_keys_of_json_are_refused(capsys):
    np.save("p.npy", SCORES)
    body = ",".join(f'"{known}":[{index}]' for known, index in zip([*IDS, IDS[0]], [*INDICES, 1], strict=True))
    assert "'v5' twice" in refused(capsys, "p.npy", write("l.json", "{" + body + "}"))


# Shards


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_shards_with_numbers_as_names_are_matched(suffix):
    data = pd.DataFrame(SCORES, columns=["0", "1", "2"])
    for number, part in enumerate((data[:4], data[4:][["2", "0", "1"]])):
        part.to_csv(f"p_{number}.csv", index=False) if suffix == ".csv" else part.to_parquet(f"p_{number}.parquet")
    np.save("l.npy", INDICES)
    assert run(f"p_*{suffix}", "l.npy") == RIGHT


def test_shards_without_names_are_never_put_before_named_ones(capsys):
    scores()[:4].to_csv("p_0.csv", index=False, header=False)
    scores()[4:][["owl", "cat", "dog"]].to_csv("p_1.csv", index=False)
    np.save("l.npy", INDICES)
    assert "expected names of columns" in refused(capsys, "p_*.csv", "l.npy")


def test_an_index_goes_on_over_shards():
    scores()[4:].to_csv("p_0.csv")
    scores()[:4].to_csv("p_1.csv")
    labels().to_csv("l.csv")
    assert run("p_*.csv", "l.csv") == RIGHT


def test_shards_of_label_lists_are_matched_by_class_names():
    def save(name, rows, names):
        known = {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"}
        metadata = {"huggingface": json.dumps({"info": {"features": {"labels": known}}})}
        lists = pa.array([[names.index(NAMES[index])] for index in rows], pa.list_(pa.int64()))
        pq.write_table(pa.table({"labels": lists}).replace_schema_metadata(metadata), name)

    save("l_0.parquet", INDICES[:4], ["owl", "cat", "dog"])
    save("l_1.parquet", INDICES[4:], NAMES)
    assert mean_ap(scores(), ["l_0.parquet", "l_1.parquet"]) == RIGHT


def test_shards_of_one_and_of_several_labels_are_joined():
    several = DENSE.copy()
    several[0, 1] = 1
    write("l_0.csv", "id,labels\nv5,0;1\nv3,2\nv7,1\nv1,0\n")
    write("l_1.csv", "id,labels\nv0,2\nv2,1\nv6,1\nv4,0\n")
    assert mean_ap(scores(), ["l_0.csv", "l_1.csv"]) == average_precision_score(several, SCORES)


# Training counts and distributions


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.csv", "class,train_count\nowl,200\ncat,700\ndog,5\n"),
        ("c.csv", "label,num_samples\nowl,200\ncat,700\ndog,5\n"),
        ("c.csv", ",0\nowl,200\ncat,700\ndog,5\n"),
        ("c.csv", ",count\n2,200\n0,700\n1,5\n"),
        ("c.csv", "class_id,count\n2,200\n0,700\n1,5\n"),
        ("c.json", '{"owl": 200, "cat": 700, "dog": 5}'),
        ("c.json", '{"2": 200, "0": 700, "1": 5}'),
    ],
)
def test_counts_in_any_order_are_matched(name, text):
    scores().to_csv("p.csv", index=False)
    labels().to_csv("l.csv", index=False)
    run("p.csv", "l.csv", "--counts", write(name, text))
    assert json.loads(Path("report.json").read_text())["classes"]["train_count"] == COUNTS


@pytest.mark.parametrize(
    "counts",
    [
        {"owl": 200, "cat": 700, "dog": 5},
        pd.Series({"owl": 200, "cat": 700, "dog": 5}),
        pd.Series([0] * 700 + [2] * 200 + [1] * 5).value_counts(),
    ],
    ids=["dict", "series", "value counts"],
)
def test_counts_in_memory_are_matched(counts):
    assert list(evaluate(scores(), DENSE, sap=None, train_counts=counts).classes["train_count"]) == COUNTS


def test_counts_of_names_without_class_names_are_refused():
    with pytest.raises(ValueError, match="class_names="):
        evaluate(SCORES, DENSE, train_counts={"owl": 200, "cat": 700, "dog": 5})


def test_a_table_of_classes_is_no_list_of_samples(capsys):
    scores().to_csv("p.csv", index=False)
    labels().to_csv("l.csv", index=False)
    write("c.csv", "class,train,test\ncat,700,1\ndog,5,2\nowl,200,3\n")
    assert "call it count" in refused(capsys, "p.csv", "l.csv", "--counts", "c.csv")


@pytest.mark.parametrize("text", ["name,count\nowl,200\ncat,700\ndog,5\n", "owl,cat,dog\n200,700,5\n"])
def test_distributions_are_matched_by_name(text):
    scores().to_csv("p.csv", index=False)
    labels().to_csv("l.csv", index=False)
    values = []
    for shares in (np.array(COUNTS), text):
        path = "w.csv" if isinstance(shares, str) else "w.npy"
        np.save(path, shares) if path == "w.npy" else write(path, shares)
        run("p.csv", "l.csv", "--prior", path)
        values.append(json.loads(Path("report.json").read_text())["metrics"]["w/mAP"])
    assert values[0] == values[1]


# Forms of labels


@pytest.mark.parametrize(
    "names",
    [
        [[NAMES[index]] for index in INDICES],
        np.array([NAMES[index] for index in INDICES]),
        np.array([NAMES[index] for index in INDICES], object),
        pd.Series([NAMES[index] for index in INDICES]),
        pl.Series([NAMES[index] for index in INDICES]),
    ],
    ids=["lists", "array", "objects", "pandas", "polars"],
)
def test_names_in_memory_are_looked_up(names):
    assert mean_ap(SCORES, names, class_names=NAMES) == RIGHT
    assert mean_ap(scores(), names) == RIGHT


def test_sets_beside_files_are_class_indices():
    np.save("p.npy", SCORES[:, :2])
    assert mean_ap("p.npy", [{0, 1}] * 8) == 1.0
    assert mean_ap("p.npy", [[0, 1]] * 8, label_form="lists") == 1.0


def test_fields_of_json_may_begin_with_a_whole_number():
    rows = [
        {"id": known, "cat": row[0], "dog": row[1], "owl": row[2]}
        for known, row in zip(IDS, SCORES.tolist(), strict=True)
    ]
    rows[0] |= {"cat": 1, "dog": 2, "owl": 3}
    write("p.json", json.dumps(rows))
    np.save("l.npy", INDICES)
    assert run("p.json", "l.npy") == average_precision_score(DENSE, np.r_[[[1, 2, 3]], SCORES[1:]])


def test_two_text_columns_beside_ids_are_refused(capsys):
    scores().to_csv("p.csv", index=False)
    words = {"id": IDS, "verb": [NAMES[k] for k in INDICES], "noun": [NAMES[2 - k] for k in INDICES]}
    pd.DataFrame(words).to_csv("l.csv", index=False)
    assert "verb" in refused(capsys, "p.csv", "l.csv")
    assert run("p.csv", "l.csv", "--exclude", "noun") == RIGHT


@pytest.mark.parametrize("option", ["--ids", "--label-ids"])
def test_a_column_of_ids_that_no_file_has_is_named(option, capsys):
    for name, data in (("p.csv", scores()), ("l.csv", labels())):
        data.insert(0, "video", IDS)
        data.to_csv(name, index=False)
    assert "'vidoe'" in refused(capsys, "p.csv", "l.csv", option, "vidoe")


def test_row_ids_of_another_length_are_said_to_be_left_out():
    np.savez("p.npz", scores=SCORES, ids=np.array(IDS[:7]))
    np.save("l.npy", INDICES)
    assert run("p.npz", "l.npy") == RIGHT
    assert "the row ids in ids are not used: 7 for 8 rows" in Path("report.json").read_text()


def test_class_names_with_an_index_from_one_are_put_in_order():
    np.save("p.npy", SCORES)
    labels()[["owl", "cat", "dog"]].to_csv("l.csv", index=False)
    write("names.csv", "id,name\n3,owl\n1,cat\n2,dog\n")
    assert run("p.npy", "l.csv", "--class-names", "names.csv") == RIGHT


def test_shards_without_the_ids_of_others_are_refused(capsys):
    data = scores()
    data.insert(0, "video", IDS)
    data[:4].to_csv("p_0.csv", index=False)
    scores()[4:].to_csv("p_1.csv", index=False)
    labels(IDS).iloc[ORDER].to_csv("l.csv")
    assert "expected row ids as in p_0.csv" in refused(capsys, "p_*.csv", "l.csv")
