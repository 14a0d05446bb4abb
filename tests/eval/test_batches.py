"""Streams and shard files, read twice, give the report of `evaluate` on all rows.

Streams that cannot be read twice are refused.
"""

from __future__ import annotations

import dataclasses
import re
import tracemalloc

import numpy as np
import pytest
import scipy.sparse
import torch
from cases import corner_labels, labels_by_id, make_case, slices
from devices import on_device
from hypothesis import given
from hypothesis import strategies as st
from ranks import Raised, group_of

import vltr_eval
from vltr_eval import LabelPairs, ShardFiles, evaluate, evaluate_batches
from vltr_eval._engine import counting

NUM_CLASSES = 6
CONVENTIONS = {"sap": 4, "topk": (1, 3)}


def epoch(num_rows=90, *, seed=0, levels=12):
    scores, _ = make_case(num_rows, NUM_CLASSES, seed=seed, levels=levels)
    labels = corner_labels(num_rows, seed=seed)
    return scores + labels, labels


def batched(scores, labels, sizes=(), ids=None, device="cpu") -> list[tuple]:
    columns = (scores, labels) if ids is None else (scores, labels, ids)
    return [
        tuple(on_device(column[part], device if i < 2 else "cpu") for i, column in enumerate(columns))
        for part in slices(len(scores), sizes)
    ]


def streamed(batches, **options):
    return evaluate_batches(batches, NUM_CLASSES, **{**CONVENTIONS, **options})


def at_once(scores, labels, ids=None, **options):
    if ids is not None:
        _, first = np.unique(ids, return_index=True)
        scores, labels = scores[first], labels[first]
    return evaluate(scores, labels, **{**CONVENTIONS, **options})


class Loader:
    """An iterable that counts how often it was iterated."""

    def __init__(self, batches) -> None:
        self.batches, self.times = batches, 0

    def __iter__(self):
        self.times += 1
        yield from self.batches


@pytest.fixture(autouse=True, params=[0, 400, None], ids=["no pile", "small piles", "one pile"])
def _piles(request, monkeypatch):
    """Set chunk sizes: one batch a chunk, a few batches copied into one, and all batches in one."""
    if request.param is not None:
        monkeypatch.setattr(vltr_eval.batches, "_PILE_BYTES", request.param)


# The report of all rows


@pytest.mark.parametrize("sizes", [[], [1], [32, 32], [0, 89, 0], [7] * 12, [1] * 89])
def test_streams_give_the_report_of_all_rows(device, sizes):
    scores, labels = epoch(seed=1)
    assert streamed(batched(scores, labels, sizes, device=device)) == at_once(scores, labels)


def test_streams_are_read_twice():
    scores, labels = epoch(seed=2)
    for options in (CONVENTIONS, {"sap": None, "topk": None}, {"sap": "exact"}, {"sap": 1000}):
        loader = Loader(batched(scores, labels, [40]))
        assert streamed(loader, **options) == at_once(scores, labels, **options)
        assert loader.times == 2


def test_functions_make_streams():
    scores, labels = epoch(seed=3)
    batches = batched(scores, labels, [40])
    for make in (lambda: batches, lambda: iter(batches), lambda: (batch for batch in batches)):
        assert streamed(make) == at_once(scores, labels)


def test_data_loaders_of_torch_are_streams():
    scores, labels = epoch(seed=4)
    data = torch.utils.data.TensorDataset(*map(torch.tensor, (scores, labels, np.arange(90)[::-1].copy())))
    loader = torch.utils.data.DataLoader(data, batch_size=25)
    assert streamed(loader) == at_once(scores[::-1], labels[::-1])


@pytest.mark.parametrize("dtype", [np.bool_, np.float16, np.float64, np.int64, np.uint64])
def test_scores_keep_their_dtype(device, dtype):
    scores, labels = epoch(seed=5)
    scores = (scores > 0 if dtype is np.bool_ else scores + 20).astype(dtype)
    assert streamed(batched(scores, labels, [50], device=device)) == at_once(scores, labels)


def test_torch_scores_need_no_conversion():
    scores, labels = epoch(seed=6)
    for dtype in (torch.bfloat16, torch.float16):
        tensor = torch.tensor(scores).to(dtype)
        batches = [(tensor[part], torch.tensor(labels[part])) for part in slices(90, [40])]
        assert streamed(batches) == at_once(tensor, labels)


def test_every_batch_may_have_labels_of_another_form(device):
    scores, labels = epoch(70, seed=7)
    forms = (
        lambda rows: rows,
        lambda rows: rows.astype(np.float32),
        scipy.sparse.csr_matrix,
        lambda rows: [np.flatnonzero(row).tolist() for row in rows],
        lambda rows: LabelPairs(*rows.shape, *np.nonzero(rows)),
        torch.tensor,
        lambda rows: on_device(rows, device),
    )
    batches = [
        (on_device(scores[part], device), make(labels[part]))
        for part, make in zip(slices(70, [10] * 6), forms, strict=True)
    ]
    assert streamed(batches) == at_once(scores, labels)


def test_batches_may_be_on_several_devices(cuda):
    scores, labels = epoch(seed=8)
    batches = [
        batch
        for i, part in enumerate(slices(90, [20] * 4))
        for batch in batched(scores[part], labels[part], device=("cpu", cuda)[i % 2])
    ]
    assert streamed(batches) == at_once(scores, labels)


def test_columns_are_batches_of_one_class():
    scores, labels = epoch(seed=9)
    column, flags = scores[:, 2], labels[:, 2]
    assert evaluate_batches(batched(column, flags, [0, 40]), 1) == evaluate(column, flags)


@pytest.mark.parametrize("sizes", [[], [30, 0, 30], [1] * 89])
def test_the_first_row_of_a_repeated_sample_is_counted(device, sizes):
    scores, labels = epoch(seed=10, levels=200)
    ids = np.random.default_rng(10).integers(-20, 30, 90)
    labels = labels_by_id(labels, ids)
    report = streamed(batched(scores, labels, sizes, ids, device))
    assert report == at_once(scores, labels, ids)
    assert report.num_rows == len(np.unique(ids))


@pytest.mark.parametrize("sizes", [[], [30, 0, 30], [1] * 89])
def test_batches_may_have_strings_as_ids(sizes):
    scores, labels = epoch(seed=20, levels=200)
    numbers = np.random.default_rng(20).integers(10, 70, 90)
    labels = labels_by_id(labels, numbers)
    names = np.array([f"v{number}" for number in numbers], object)
    assert streamed(batched(scores, labels, sizes, names)) == at_once(scores, labels, numbers)


@pytest.mark.parametrize("sizes", [[], [30, 0, 30], [1] * 89])
@pytest.mark.parametrize("ids", [np.arange(90) % 80, np.array([f"v{number % 80:02}" for number in range(90)], object)])
def test_a_sample_with_different_labels_is_named(sizes, ids):
    scores, labels = epoch(seed=21)
    labels = labels_by_id(labels, ids)
    labels[7] = labels[87] = False
    labels[7, [2, 4]] = labels[87, 5] = True
    (name,) = ids[7:8].tolist()
    sentence = f"ids: sample {name!r} came twice with different labels: [2, 4] and [5]; correct the labels, or "
    with pytest.raises(ValueError, match="^" + re.escape(sentence)):
        streamed(batched(scores, labels, sizes, ids))


def test_ids_may_be_none():
    scores, labels = epoch(seed=11)
    batches = [(*batch, None) for batch in batched(scores, labels, [40])]
    assert streamed(batches) == at_once(scores, labels)


def test_conventions_are_those_of_evaluate():
    scores, labels = epoch(seed=12)
    conventions = {
        "sap": "exact",
        "topk": None,
        "train_counts": [900, 300, 10, 50, 600, 101],
        "bounds": (400, 50),
        "class_names": list("abcdef"),
        "absent": "zero",
    }
    batches = batched(scores, labels, [40])
    assert evaluate_batches(batches, NUM_CLASSES, threads=2, **conventions) == evaluate(scores, labels, **conventions)
    assert evaluate_batches(batches, NUM_CLASSES) == evaluate(scores, labels)


def test_many_batches_are_merged_as_they_come(monkeypatch):
    scores, labels = epoch(400, seed=13, levels=1000)
    monkeypatch.setattr(counting, "_LEAST_MERGE", 10)
    assert streamed(batched(scores, labels, [1] * 399)) == at_once(scores, labels)


def test_streams_without_any_label():
    scores, labels = epoch(seed=14)
    assert streamed(batched(scores, labels & False, [40])) == at_once(scores, labels & False)


@pytest.mark.any_device
@given(st.data())
def test_no_split_of_a_stream_changes_a_bit(data):
    num_rows = data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    scores = rng.integers(0, data.draw(st.sampled_from([2, 9, 100])), (num_rows, NUM_CLASSES)).astype(np.int8)
    labels = rng.random(scores.shape) < data.draw(st.sampled_from([0.05, 0.3, 0.8]))
    ids = rng.integers(0, data.draw(st.sampled_from([1, num_rows, 2**62])), num_rows)
    ids = ids if data.draw(st.booleans()) else None
    labels = labels_by_id(labels, ids)
    sizes = data.draw(st.lists(st.integers(0, 12), max_size=6))
    assert streamed(batched(scores, labels, sizes, ids)) == at_once(scores, labels, ids)


def test_memory_holds_few_batches():
    num_classes, num_batches = 1000, 100

    def batches():
        rng = np.random.default_rng(15)
        for _ in range(num_batches):  # 1 MiB each
            yield rng.random((262, num_classes), np.float32), rng.integers(0, num_classes, 262)

    tracemalloc.start()
    try:
        report = evaluate_batches(batches, num_classes, sap=2)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20  # two chunks of 16 MiB, and a batch
    finally:
        tracemalloc.stop()
    assert report.num_rows == num_batches * 262


# Errors


@pytest.mark.parametrize(
    ("batches", "sentence"),
    [
        (
            iter([]),
            "batches: expected what can be gone through twice, got list_iterator; pass a function that ",
        ),
        (map(len, []), "batches: expected what can be gone through twice, got map; pass a function that makes it anew"),
        ((x for x in ()), "batches: expected what can be gone through twice, got generator; pass a function that "),
        (7, "batches: expected an iterable or a function, got int"),
        (None, "batches: expected an iterable or a function, got NoneType"),
    ],
    ids=["iterator", "map", "generator", "number", "nothing"],
)
def test_streams_that_cannot_be_read_twice_are_refused(batches, sentence):
    with pytest.raises(TypeError, match="^" + re.escape(sentence)):
        streamed(batches)


def second_time(first, second):
    """Return a function that makes one stream the first time and another the second."""
    times = iter((first, second))
    return lambda: next(times)


def changed(batches, place, column, value):
    """Return the batches with one value of one batch changed."""
    batches = [tuple(array.copy() for array in batch) for batch in batches]
    batches[place[0]][column][place[1:]] = value
    return batches


AGAIN = {
    "a batch is missing": lambda batches: batches[:-1],
    "there is one more": lambda batches: [*batches, batches[0]],
    "all are missing": lambda batches: [],
    "the order is another": lambda batches: batches[::-1],
    "a label is another": lambda batches: changed(batches, (1, 3, 0), 1, True),
    "the score of a positive is another": lambda batches: changed(batches, (2, 5, 5), 0, 99),
    "ids are strings": lambda batches: [(*rest, [f"v{id}" for id in ids]) for *rest, ids in batches],
    "an id is another": lambda batches: changed(batches, (1, 2), 2, 1000),
    "a dtype is another": lambda batches: [(scores.astype(np.float64), *rest) for scores, *rest in batches],
    "the ids are missing": lambda batches: [batch[:2] for batch in batches],
    "the last row is missing": lambda batches: [
        *batches[:-1],
        tuple(column[:-1] for column in batches[-1]),
    ],
}


@pytest.mark.parametrize("sap", [None, 3])
@pytest.mark.parametrize("again", AGAIN.values(), ids=AGAIN.keys())
def test_a_stream_that_differs_the_second_time_is_refused(device, again, sap):
    scores, labels = epoch(seed=16)
    batches = batched(scores, labels, [30, 30], np.arange(90)[::-1])
    first, second = (
        [tuple(on_device(column, device if i < 2 else "cpu") for i, column in enumerate(batch)) for batch in stream]
        for stream in (batches, again(batches))
    )
    assert streamed(lambda: first, sap=sap) == at_once(scores[::-1], labels[::-1], sap=sap)
    with pytest.raises(
        ValueError,
        match=r"^batches: expected the same scores and labels in both passes, got different ones in the "
        r"second$",
    ):
        streamed(second_time(first, second), sap=sap)


def test_a_function_that_gives_the_same_iterator_is_refused():
    scores, labels = epoch(seed=17)
    batches = iter(batched(scores, labels, [30]))
    with pytest.raises(ValueError, match=r"^batches: expected the same scores and labels in both passes"):
        streamed(lambda: batches)


@pytest.mark.parametrize("batches", [[], [(np.empty((0, NUM_CLASSES)), [])] * 3])
def test_streams_without_rows_are_refused(batches):
    with pytest.raises(ValueError, match=r"^scores: expected at least one row, got none$"):
        streamed(batches)


def bad_batches():
    scores, labels = epoch(4)
    ids = np.arange(4)
    return {
        "one thing": (scores, TypeError, "expected (scores, labels) or (scores, labels, ids), got ndarray"),
        "a triple and more": (
            (scores, labels, ids, ids),
            TypeError,
            "expected (scores, labels) or (scores, labels, ids), got 4 values",
        ),
        "a name": ("ab", TypeError, "expected (scores, labels) or (scores, labels, ids), got str"),
        "a number": (
            (np.float32(1), labels, ids),
            ValueError,
            "scores: expected an (N, C) matrix or an (N,) column",
        ),
        "fewer classes": ((scores[:, :5], labels, ids), ValueError, "scores: expected 6 classes, got 5"),
        "too few labels": ((scores, labels[1:], ids), ValueError, "labels: 3 rows, but scores has 4"),
        "labels alone": ((scores[:0], labels, ids), ValueError, "labels: 4 rows, but scores has 0"),
        "soft labels": ((scores, labels * 0.5, ids), ValueError, "labels: expected 0 or 1, got 0.5 at row 0, class 3"),
        "text": (("abc", labels, ids), TypeError, "scores: expected an array, got str"),
        "too few ids": ((scores, labels, ids[1:]), ValueError, "ids: expected shape (4,) as scores has rows, got (3,)"),
        "fractions as ids": ((scores, labels, ids * 0.5), TypeError, "ids: expected integers or strings, got float64"),
    }


@pytest.mark.parametrize("what", bad_batches())
def test_a_bad_batch_is_named_by_its_number(what):
    batch, error, sentence = bad_batches()[what]
    good = (*epoch(5), np.arange(5))
    with pytest.raises(error, match="^" + re.escape(f"batch 2: {sentence}")):
        streamed([good, good, batch])


def test_batches_agree_in_dtype_and_ids():
    scores, labels = epoch()
    with pytest.raises(ValueError, match=r"^scores: expected float32 as before, got float64$"):
        streamed([(scores, labels), (scores.astype(np.float64), labels)])
    for first, second in (((), (np.arange(90),)), ((np.arange(90),), ())):
        with pytest.raises(ValueError, match=r"^ids: expected sample ids with all rows or with none, got them with "):
            streamed([(scores, labels, *first), (scores, labels, *second)])
    with pytest.raises(ValueError, match=r"^ids: expected integers as before, got strings$"):
        streamed([(scores, labels, np.arange(90)), (scores, labels, list(map(str, range(90))))])


@pytest.mark.parametrize("with_ids", [False, True])
@pytest.mark.parametrize("place", [(0, 1), (57, 5), (89, 0)])
def test_nan_is_named_by_its_row_of_all(device, place, with_ids):
    scores, labels = epoch(seed=18)
    scores[place] = np.nan
    ids = np.arange(90)[::-1] if with_ids else None
    sentence = f"scores: expected numbers, got NaN at row {place[0]}, class {place[1]}"
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        streamed(batched(scores, labels, [0, 30, 30], ids, device))


@pytest.mark.parametrize(
    ("num_classes", "error", "sentence"),
    [
        (0, ValueError, "num_classes: expected an integer from 1 up, got 0"),
        ("6", TypeError, "num_classes: expected an integer, got '6'"),
    ],
)
def test_a_number_of_classes_is_an_integer(num_classes, error, sentence):
    with pytest.raises(error, match=f"^{sentence}$"):
        evaluate_batches([epoch()], num_classes)


def test_bad_conventions_are_named_before_the_stream_is_read():
    loader = Loader([epoch()])
    with pytest.raises(ValueError, match=r"^topk: expected positive integers, got 0$"):
        streamed(loader, topk=0)
    with pytest.raises(ValueError, match=r"^threads: expected an integer from 1 to 4096, got 0$"):
        streamed(loader, threads=0)
    assert loader.times == 0


def test_an_error_of_the_stream_reaches_the_caller():
    def failing():
        yield epoch()
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match=r"^the disk is gone$"):
        streamed(failing)


# Shard files


def write_shards(folder, scores, labels, sizes=(30, 30)):
    for i, part in enumerate(slices(len(scores), sizes)):
        np.save(folder / f"preds_{i + 8}.npy", scores[part])  # 8, 9, 10: in numeric order
        np.save(folder / f"labels_{i + 8}.npy", labels[part])


def test_shard_files_are_a_stream(tmp_path):
    scores, labels = epoch(seed=19)
    write_shards(tmp_path, scores, labels)
    files = ShardFiles(str(tmp_path / "preds_*.npy"), str(tmp_path / "labels_*.npy"))
    assert len(files) == 3
    for _ in range(2):
        assert streamed(files) == at_once(scores, labels)
    names = [[tmp_path / f"{kind}_{i}.npy" for i in (10, 8, 9)] for kind in ("preds", "labels")]
    order = np.r_[60:90, 0:60]
    assert streamed(ShardFiles(*names)) == at_once(scores[order], labels[order])
    assert streamed(ShardFiles(names[0][0], names[1][0])) == at_once(scores[60:], labels[60:])


def test_shard_files_of_every_format(tmp_path):
    scores, labels = epoch(seed=20)
    first, second, third = slices(90, [30, 30])
    np.savez(tmp_path / "a.npz", scores=scores[first], labels=labels[first], other=scores[first] * 2)
    torch.save(torch.tensor(scores[second]), tmp_path / "b.pt")
    scipy.sparse.save_npz(tmp_path / "b.npz", scipy.sparse.csr_matrix(labels[second]))
    np.save(tmp_path / "c.npy", scores[third])
    (tmp_path / "c.json").write_text(str([np.flatnonzero(row).tolist() for row in labels[third]]))
    files = ShardFiles(
        [f"{tmp_path}/a.npz::scores", tmp_path / "b.pt", tmp_path / "c.npy"],
        [f"{tmp_path}/a.npz::labels", tmp_path / "b.npz", tmp_path / "c.json"],
    )
    assert streamed(files) == at_once(scores, labels)


def test_a_column_of_class_indices_is_read_from_files(tmp_path):
    scores, _ = epoch(seed=21)
    classes = np.random.default_rng(21).integers(0, NUM_CLASSES, 90)
    write_shards(tmp_path, scores, classes)
    assert streamed(ShardFiles(f"{tmp_path}/preds_*", f"{tmp_path}/labels_*")) == at_once(scores, classes)


def test_shard_files_match_classes_by_name_and_rows_by_id(tmp_path):
    scores, labels = epoch(seed=25)
    rng = np.random.default_rng(25)
    for number, start in enumerate(range(0, 90, 30)):
        for kind, values in (("preds", scores), ("labels", labels.astype(int))):
            rows, order = start + rng.permutation(30), rng.permutation(NUM_CLASSES)
            lines = [["id", *(f"class {c}" for c in order)], *([f"v{row}", *values[row, order]] for row in rows)]
            text = "".join(",".join(map(str, line)) + "\n" for line in lines)
            (tmp_path / f"{kind}_{number}.csv").write_text(text)
    found = streamed(ShardFiles(f"{tmp_path}/preds_*.csv", f"{tmp_path}/labels_*.csv"))
    assert found.metrics()["mAP"] == pytest.approx(at_once(scores, labels).metrics()["mAP"], abs=1e-12)
    (tmp_path / "labels_1.csv").write_text((tmp_path / "labels_1.csv").read_text().replace("class 3", "class x"))
    with pytest.raises(ValueError, match=r"labels_1\.csv: expected the classes of .*preds_0\.csv by name"):
        streamed(ShardFiles(f"{tmp_path}/preds_*.csv", f"{tmp_path}/labels_*.csv"))


def test_shard_files_may_be_empty(tmp_path):
    scores, labels = epoch(seed=22)
    write_shards(tmp_path, scores, labels, (0, 50))
    assert streamed(ShardFiles(f"{tmp_path}/preds_*", f"{tmp_path}/labels_*")) == at_once(scores, labels)


def test_bad_shard_files_are_named(tmp_path):
    scores, labels = epoch(seed=23)
    write_shards(tmp_path, scores, labels)
    preds, targets = f"{tmp_path}/preds_*.npy", f"{tmp_path}/labels_*.npy"
    with pytest.raises(ValueError, match=r"^labels: expected a file for each of 3 shards, got 1$"):
        ShardFiles(preds, f"{tmp_path}/labels_8.npy")
    with pytest.raises(ValueError, match=r"none_\*\.npy: no file matches this pattern$"):
        ShardFiles(f"{tmp_path}/none_*.npy", targets)
    np.save(tmp_path / "labels_9.npy", labels[30:59])
    with pytest.raises(ValueError, match=r"labels_9\.npy: 29 rows of labels, but the scores have 30 rows$"):
        streamed(ShardFiles(preds, targets))
    (tmp_path / "labels_9.npy").unlink()
    with pytest.raises(ValueError, match=r"labels_9\.npy: no such file$"):
        streamed(ShardFiles(preds, [f"{tmp_path}/labels_{i}.npy" for i in (8, 9, 10)]))


NAMES = tuple("abcdef")


def write_table(path, ids, values, names=NAMES, order=None):
    """Write a table of ids and named columns, optionally with its columns and rows in another order."""
    columns, rows = order or (range(len(names)), range(len(values)))
    columns, rows = list(columns), list(rows)
    table = {"video": [ids[row] for row in rows]} | {names[c]: values[rows, c] for c in columns}
    if path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(table), path)
    else:
        lines = [",".join(table), *(",".join(map(repr_of, row)) for row in zip(*table.values(), strict=True))]
        path.write_text("\n".join(lines) + "\n")
    return path


def repr_of(cell):
    return cell if isinstance(cell, str) else repr(cell.item())


def named_shards(folder, suffixes=(".csv", ".parquet", ".csv"), *, seed=30):
    """Return three shards of scores and labels, each with another order of columns and rows, and the whole."""
    scores, labels = epoch(seed=seed)
    scores, labels = scores.astype(np.float64), labels.astype(np.int64)
    ids, rng = [f"v{row:03d}" for row in range(90)], np.random.default_rng(seed)
    files = []
    for shard, suffix in enumerate(suffixes):
        part = slice(30 * shard, 30 * shard + 30)
        for kind, values in (("preds", scores[part]), ("labels", labels[part])):
            order = (rng.permutation(6), rng.permutation(30) if kind == "labels" else range(30))
            if shard == 0 and kind == "preds":
                order = (range(6), range(30))
            files.append(write_table(folder / f"{kind}_{shard}{suffix}", ids[part], values, order=order))
    return files[::2], files[1::2], scores, labels, ids


def without_notes(report):
    return dataclasses.replace(report, notes=())


def test_columns_of_shards_are_matched_by_name_and_rows_by_id(tmp_path):
    preds, targets, scores, labels, _ = named_shards(tmp_path)
    report = streamed(ShardFiles(preds, targets))
    expected = at_once(scores, labels, class_names=NAMES)
    assert without_notes(report) == expected
    assert "preds_1.parquet: columns are reordered by name to those of preds_0.csv" in report.notes
    assert "labels_0.csv: rows are joined to those of preds_0.csv by id" in report.notes
    assert len(report.notes) == 6
    assert report.notes[-1] == "3 more notes of this kind about other shards"


def test_given_class_names_are_the_order_of_the_shards(tmp_path):
    preds, targets, scores, labels, _ = named_shards(tmp_path)
    order = [3, 0, 5, 1, 4, 2]
    names = [NAMES[c] for c in order]
    expected = at_once(scores[:, order], labels[:, order], class_names=names)
    assert without_notes(streamed(ShardFiles(preds, targets), class_names=names)) == expected
    assert without_notes(streamed(ShardFiles(preds, targets, class_names=names))) == expected
    assert without_notes(streamed(lambda: ShardFiles(preds, targets, class_names=NAMES), class_names=names)) == expected


def test_label_columns_are_matched_by_name_beside_arrays_of_scores(tmp_path):
    _, targets, scores, labels, ids = named_shards(tmp_path)
    order, arrays = list(range(6)), []
    write_table(targets[0], ids[:30], labels[:30])  # the first shard's columns are in the order of the arrays
    for shard in range(3):
        arrays.append(tmp_path / f"scores_{shard}.npy")
        np.save(arrays[-1], scores[30 * shard : 30 * shard + 30])
        if shard:
            rng = np.random.default_rng(shard)
            part = slice(30 * shard, 30 * shard + 30)
            write_table(targets[shard], ids[part], labels[part], order=(rng.permutation(order), range(30)))
    assert without_notes(streamed(ShardFiles(arrays, targets))) == at_once(scores, labels, class_names=NAMES)


def evaluate_local_shard(rank, preds, targets):
    return streamed(ShardFiles(preds[rank], targets[rank]))


def evaluate_shards_of_other_order(rank, preds, targets):
    return streamed(ShardFiles(preds[rank], targets[rank], class_names=NAMES[::-1] if rank else NAMES))


def test_ranks_whose_shards_order_classes_differently_are_refused(tmp_path):
    preds, targets, scores, labels, _ = named_shards(tmp_path, (".csv", ".csv"))
    write_table(preds[1], [f"v{row:03d}" for row in range(30, 60)], scores[30:60])
    expected = at_once(scores[:60], labels[:60], class_names=NAMES)
    ranks = group_of(2)
    first, second = ranks.run(evaluate_local_shard, preds, targets)
    assert first == second
    assert without_notes(first) == expected
    sentence = "class_names: expected one order of classes on all ranks, got several; pass class_names="
    assert ranks.errors(evaluate_shards_of_other_order, preds, targets) == [Raised("ValueError", sentence)] * 2


def test_shards_of_other_class_names_are_refused(tmp_path):
    preds, targets, scores, _, ids = named_shards(tmp_path)
    write_table(preds[1], ids[30:60], scores[30:60], names=tuple("abcdeg"))
    with pytest.raises(ValueError, match=r"preds_1\.parquet lacks 'f' and .*preds_0\.csv lacks 'g'$"):
        streamed(ShardFiles(preds, targets))


def test_an_id_that_a_shard_lacks_is_refused_unless_shared_rows_are_requested(tmp_path):
    preds, targets, scores, labels, ids = named_shards(tmp_path)
    write_table(targets[2], ids[61:90], labels[61:90])
    with pytest.raises(ValueError, match=r"labels_2\.csv lacks 1 id \('v060'\)"):
        streamed(ShardFiles(preds, targets))
    report = streamed(ShardFiles(preds, targets, join="inner"))
    kept = np.arange(90) != 60
    assert without_notes(report) == at_once(scores[kept], labels[kept], class_names=NAMES)


def test_ids_of_files_are_sample_ids_on_request(tmp_path):
    preds, targets, scores, labels, ids = named_shards(tmp_path)
    again = [ids[0], *ids[31:60]]  # the first row of the second shard is the first sample again
    write_table(preds[1], again, np.concatenate([scores[:1], scores[31:60]]))
    write_table(targets[1], again, np.concatenate([labels[:1], labels[31:60]]))
    rows = np.r_[0:30, 0, 31:90]
    assert without_notes(streamed(ShardFiles(preds, targets))) == at_once(scores[rows], labels[rows], class_names=NAMES)
    once = np.r_[0:30, 31:90]
    report = streamed(ShardFiles(preds, targets, sample_ids=True))
    assert without_notes(report) == at_once(scores[once], labels[once], class_names=NAMES)
    np.save(tmp_path / "preds_1.npy", scores[30:60])
    np.save(tmp_path / "labels_1.npy", labels[30:60])
    with pytest.raises(ValueError, match=r"preds_1\.npy: expected ids of the samples, got none; name their column"):
        streamed(
            ShardFiles([preds[0], tmp_path / "preds_1.npy"], [targets[0], tmp_path / "labels_1.npy"], sample_ids=1)
        )


def test_shards_of_one_class_may_be_columns_or_matrices(tmp_path):
    scores, labels = epoch(seed=31)
    scores, labels = scores[:, 0].astype(np.float32), labels[:, 0].astype(np.uint8)
    for shard, part in enumerate(slices(90, [30, 30])):
        np.save(tmp_path / f"preds_{shard}.npy", scores[part, None] if shard == 1 else scores[part])
        np.save(tmp_path / f"labels_{shard}.npy", labels[part, None] if shard == 2 else labels[part])
    files = ShardFiles(f"{tmp_path}/preds_*", f"{tmp_path}/labels_*")
    assert evaluate_batches(files, 1, sap=4, topk=None) == evaluate(scores, labels, sap=4, topk=None)


def test_unknown_options_of_reading_are_refused(tmp_path):
    preds, targets, *_ = named_shards(tmp_path)
    with pytest.raises(TypeError, match=r"^colums: expected one of columns, exclude, header, ids, join, label_form,"):
        ShardFiles(preds, targets, colums="a")


def test_a_path_is_no_stream_of_batches(tmp_path):
    with pytest.raises(TypeError, match=r"^batches: expected .* got a path; pass ShardFiles\(preds, labels\)$"):
        evaluate_batches(f"{tmp_path}/preds_*.npy", NUM_CLASSES)


@pytest.mark.parametrize("call", ["update", "rank_table", "batches"])
def test_the_error_on_a_path_or_a_frame_names_the_reading_function(call, tmp_path):
    pandas = pytest.importorskip("pandas")
    scores, labels = epoch(6)
    calls = {
        "update": lambda *batch: vltr_eval.Evaluator(NUM_CLASSES).update(*batch),
        "rank_table": vltr_eval.distributed.rank_table,
        "batches": lambda *batch: evaluate_batches([batch], NUM_CLASSES),
    }
    for name, array in (("scores", scores), ("labels", labels)):
        np.save(tmp_path / "array.npy", array)
        frame = pandas.DataFrame(array, columns=list(NAMES))
        path = tmp_path / "array.npy"
        read = {"scores": vltr_eval.read_scores, "labels": vltr_eval.read_labels}[name]
        for wrong in (str(path), path, [str(path)], frame):
            with pytest.raises(TypeError, match=rf"{name}: expected .*; pass vltr_eval\.read_{name}\(\w+\)\.values"):
                calls[call](*((wrong, labels) if name == "scores" else (scores, wrong)))
            right = read(wrong).values
            calls[call](*((right, labels) if name == "scores" else (scores, right)))


def test_a_shard_file_that_changes_is_refused(tmp_path):
    scores, labels = epoch(seed=24)
    write_shards(tmp_path, scores, labels)
    files = ShardFiles(f"{tmp_path}/preds_*.npy", f"{tmp_path}/labels_*.npy")

    def rewritten():
        yield from files
        np.save(tmp_path / "new.npy", scores[60:] + 1)
        (tmp_path / "new.npy").replace(tmp_path / "preds_10.npy")

    with pytest.raises(ValueError, match=r"^batches: expected the same scores and labels in both passes"):
        streamed(rewritten)
