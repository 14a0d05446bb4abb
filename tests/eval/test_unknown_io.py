"""Labels that nobody knows: every way to say so gives the result of the loop that deletes them, class by class."""

from __future__ import annotations

import json

import numpy as np
import pytest
from programs import run_within

import vltr_eval
from vltr_eval import Evaluator, LabelPairs, Positives, ShardFiles, evaluate, evaluate_batches
from vltr_eval._engine.inputs import read_inputs
from vltr_eval._engine.label_marks import read_positives
from vltr_eval._engine.unknown import UnknownCells
from vltr_eval.formats.unknown_marks import read_marks
from vltr_eval.program.cli import main

RNG = np.random.default_rng(0)
ROWS, NAMES = 40, ("cat", "dog", "cow", "ant")
CLASSES = len(NAMES)
SCORES = RNG.random((ROWS, CLASSES)).round(2)
TRUTH = RNG.random((ROWS, CLASSES)) < 0.4
KNOWN = RNG.random((ROWS, CLASSES)) < 0.7
KNOWN[:, 3] = KNOWN[:, 3] & (np.arange(ROWS) % 2 == 0)
IDS = [f"v{row:02}" for row in range(ROWS)]
ORDER = RNG.permutation(ROWS)  # of the rows in files of labels
COLUMNS = (1, 3, 0, 2)  # and of their classes


def slow_average_precision(scores, positive):
    """AP by its definition: each threshold's precision weighs as much as the recall that it adds."""
    found = 0.0
    for threshold in sorted(set(scores[positive]), reverse=True):
        above = scores >= threshold
        found += (scores[positive] == threshold).sum() / positive.sum() * (positive[above].sum() / above.sum())
    return found if positive.any() else np.nan


def slow_loop(scores=SCORES, positive=TRUTH, known=KNOWN):
    """The AP of each class on the rows that know it."""
    return np.array(
        [slow_average_precision(scores[known[:, c], c], positive[known[:, c], c]) for c in range(scores.shape[1])]
    )


def cells_of(positives: Positives):
    """Which cells are positive and which are known, as (N, C) of bool."""
    positive = np.zeros((positives.num_rows, positives.num_classes), bool)
    known = np.ones_like(positive)
    positive[positives.rows, np.repeat(np.arange(positives.num_classes), positives.counts)] = True
    if positives.unknown is not None:
        rows, classes = positives.unknown.pairs()
        known[rows.astype(int), classes] = False
    return positive, known


def marked(kind=float, unknown=np.nan, absent=0, present=1):
    return np.where(KNOWN, np.where(TRUTH, present, absent), unknown).astype(kind)


# Files and frames: rows in another order, columns too.


def write_table(path, values, columns=COLUMNS, order=ORDER):
    lines = [",".join(["id", *(NAMES[c] for c in columns)])]
    for row in order:
        lines.append(",".join([IDS[row], *("" if v != v else f"{v:g}" for v in values[row, list(columns)])]))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def scores_file(tmp_path):
    return write_table(tmp_path / "scores.csv", SCORES, range(CLASSES), range(ROWS))


def frame_of(values, dtype=None):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(values[np.ix_(ORDER, COLUMNS)], columns=[NAMES[c] for c in COLUMNS])
    frame = frame if dtype is None else frame.astype(dtype)
    frame.insert(0, "id", [IDS[row] for row in ORDER])
    return frame


def frame_with_none():
    pandas = pytest.importorskip("pandas")
    frame = frame_of(marked())
    for name in NAMES:
        frame[name] = pandas.Series([None if v != v else int(v) for v in frame[name]], dtype=object)
    return frame


def parquet_of(tmp_path):
    pytest.importorskip("pyarrow")
    frame_with_none().to_parquet(tmp_path / "labels.parquet", index=False)
    return str(tmp_path / "labels.parquet")


def polars_frame():
    return pytest.importorskip("polars").from_pandas(frame_of(marked(), "Int64"))


def open_images(tmp_path):
    lines = [f"{IDS[r]},verification,{NAMES[c]},{int(TRUTH[r, c])}" for r, c in RNG.permutation(np.argwhere(KNOWN))]
    (tmp_path / "oi.csv").write_text("\n".join(["ImageID,Source,LabelName,Confidence", *lines]) + "\n")
    return str(tmp_path / "oi.csv")


def mixed():
    return np.where(RNG.random(KNOWN.shape) < 0.5, marked(), marked(unknown=-1))


def of_chexpert():
    return np.where(TRUTH | ~KNOWN, marked(unknown=-1), np.nan)


MARKED = {
    "csv of nan": lambda path: (write_table(path / "l.csv", marked()), "nan"),
    "csv of -1": lambda path: (write_table(path / "l.csv", marked(unknown=-1)), -1),
    "csv of both": lambda path: (write_table(path / "l.csv", mixed()), "-1,nan"),
    "csv of VOC": lambda path: (write_table(path / "l.csv", marked(unknown=0, absent=-1)), "voc"),
    "csv of CheXpert": lambda path: (write_table(path / "l.csv", of_chexpert()), "chexpert"),
    "frame": lambda path: (frame_of(marked()), "nan"),
    "frame of Int64": lambda path: (frame_of(marked(), "Int64"), "nan"),
    "frame of None": lambda path: (frame_with_none(), "nan"),
    "parquet": lambda path: (parquet_of(path), "nan"),
    "polars": lambda path: (polars_frame(), "nan"),
    "OpenImages": lambda path: (open_images(path), "unlisted"),
}


@pytest.mark.parametrize("form", MARKED)
def test_marks_in_files_and_frames(form, tmp_path, scores_file):
    labels, unknown = MARKED[form](tmp_path)
    positive, known = cells_of(read_inputs(scores_file, labels, unknown=unknown).positives())
    np.testing.assert_array_equal(known, KNOWN)
    np.testing.assert_array_equal(positive, TRUTH & KNOWN)


def test_lvis_instances(tmp_path):
    document = {
        "images": [
            {"id": int(r) + 5, "neg_category_ids": [10 + int(c) for c in np.flatnonzero(KNOWN[r] & ~TRUTH[r])]}
            for r in ORDER
        ],
        "annotations": [
            {"id": n, "image_id": int(r) + 5, "category_id": 10 + int(c)}
            for n, (r, c) in enumerate(np.argwhere(KNOWN & TRUTH).tolist() * 2)  # two objects of each category
        ],
        "categories": [{"id": 10 + c, "name": name} for c, name in enumerate(NAMES)][::-1],
    }
    file = tmp_path / "lvis.json"
    file.write_text(json.dumps(document))
    ids = np.arange(ROWS) + 5
    positive, known = cells_of(read_inputs(SCORES, file, ids=ids, unknown="unlisted").positives())
    np.testing.assert_array_equal(known, KNOWN)
    np.testing.assert_array_equal(positive, TRUTH & KNOWN)
    plain = read_inputs(SCORES, file, ids=ids)
    assert plain.positives().unknown is None
    assert "unknown, and count as absent" in plain.notes[0]
    assert plain.class_names == NAMES


def test_an_empty_column_is_unknown_throughout(tmp_path):
    values = marked()
    values[:, 1] = np.nan
    labels = write_table(tmp_path / "l.csv", values)
    scores = write_table(tmp_path / "s.csv", SCORES)
    assert read_inputs(scores, labels, unknown="nan").positives().unknown.counts[0] == ROWS  # COLUMNS begin with 1


def test_a_marked_class_index_makes_its_row_unknown():
    for labels, unknown in (([1, -1, 0], -1), (np.array([1, np.nan, 0]), "nan")):
        positives = read_positives(np.array(labels), 3, 3, unknown=unknown)
        positive, known = cells_of(positives)
        assert np.argwhere(positive).tolist() == [[0, 1], [2, 0]]
        assert known.tolist() == [[True] * 3, [False] * 3, [True] * 3]
    with pytest.raises(ValueError, match=r"^unknown: expected -1 or 'nan' for labels that are class indices, got"):
        read_positives(np.array([1, -1, 0]), 3, 3, unknown="voc")


# Masks


def masks(tmp_path):
    scipy = pytest.importorskip("scipy.sparse")
    cells = np.argwhere(~KNOWN)
    np.save(tmp_path / "known.npy", KNOWN[np.ix_(ORDER, COLUMNS)])
    np.savez(tmp_path / "both.npz", X=np.zeros((3, 3)), Y_mask=KNOWN[np.ix_(ORDER, COLUMNS)], Y_true=np.zeros((3, 3)))
    scipy.save_npz(tmp_path / "unknown.npz", scipy.csr_matrix(~KNOWN[np.ix_(ORDER, COLUMNS)]))
    listed = "".join(f"{IDS[r]},{NAMES[c]}\n" for r, c in cells)
    (tmp_path / "listed.csv").write_text("id,label\n" + listed)
    more = np.append(RNG.permutation(ROWS), 0)
    known = write_table(tmp_path / "known.csv", KNOWN.astype(int), (2, 1, 0, 3), more[:-1])
    with open(known, "a") as file:
        file.write("other,1,0,1,0\n")
    return {
        "columns with ids": known,
        "frame": frame_of(KNOWN),
        "array in the order of the labels": tmp_path / "known.npy",
        "array of an archive": tmp_path / "both.npz",
        "array in memory": KNOWN[np.ix_(ORDER, COLUMNS)],
        "sparse matrix of unknown cells": tmp_path / "unknown.npz",
        "sparse matrix in memory": scipy.csc_matrix(~KNOWN[np.ix_(ORDER, COLUMNS)]),
        "pair of arrays": np.nonzero(~KNOWN[np.ix_(ORDER, COLUMNS)]),
        "list of unknown cells": tmp_path / "listed.csv",
    }


def test_masks_are_joined_as_labels_are(tmp_path, scores_file):
    labels = write_table(tmp_path / "labels.csv", (TRUTH & KNOWN).astype(int))
    for form, mask in masks(tmp_path).items():
        positive, known = cells_of(read_inputs(scores_file, labels, mask=mask).positives())
        np.testing.assert_array_equal(known, KNOWN, err_msg=form)
        np.testing.assert_array_equal(positive, TRUTH & KNOWN, err_msg=form)


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        (LabelPairs(ROWS, CLASSES, np.array([-1]), np.array([0])), "mask: expected row numbers from 0 to 39, got -1"),
        ((np.array([40]), np.array([0])), "mask: expected row numbers from 0 to 39, got 40"),
        ((np.array([0, 1]), np.array([0])), r"mask: expected a class for each row, got shapes \(2,\) and \(1,\)"),
        ((np.array([0.5]), np.array([0])), "mask: expected integer row and class numbers, got float64 and int64"),
    ],
)
def test_cells_that_are_joined_by_id_are_checked(cells, sentence):
    ids = [str(row) for row in range(ROWS)]
    with pytest.raises((ValueError, TypeError), match=sentence):
        evaluate(SCORES, TRUTH, mask=cells, ids=ids, label_ids=ids[::-1])


def test_a_dense_mask_hides_whatever_label_stands_in_a_cell():
    for labels in (TRUTH, np.where(KNOWN, TRUTH, np.nan), np.where(KNOWN, TRUTH, 7), [TRUTH[:9], TRUTH[9:]]):
        positive, known = cells_of(read_inputs(SCORES, labels, mask=KNOWN).positives())
        np.testing.assert_array_equal(known, KNOWN)
        np.testing.assert_array_equal(positive, TRUTH & KNOWN)
    lists = [np.flatnonzero(row).tolist() for row in TRUTH]
    positive, known = cells_of(read_inputs(SCORES, lists, mask=KNOWN).positives())
    np.testing.assert_array_equal(positive, TRUTH & KNOWN)


def test_marks_for_lists_of_classes_are_refused(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"labels": [[0], None, [1, 2]]}), tmp_path / "l.parquet")
    (tmp_path / "l.csv").write_text('labels\n"0"\n""\n"1;2"\n')
    for labels in ([[0], [], [1, 2]], LabelPairs(3, CLASSES, np.array([0, 2]), np.array([0, 1]))):
        with pytest.raises(ValueError, match=r"^unknown: expected .* in which 'nan' marks no cell; give"):
            read_positives(labels, 3, CLASSES, unknown="nan")
    for name in ("l.parquet", "l.csv"):
        with pytest.raises(ValueError, match=r"got lists of classes, in which '-1,nan' marks no cell; give"):
            evaluate(SCORES[:3], tmp_path / name, unknown="-1,nan")


def test_the_program_takes_a_mark_that_begins_with_a_dash(tmp_path, scores_file, capsys):
    labels = write_table(tmp_path / "l.csv", mixed())
    for words in (["--unknown", "-1,nan"], ["--unknown=-1,nan"]):
        assert main([str(scores_file), str(labels), *words, "--sap", "none", "--quiet"]) == 0
        assert f"unknown:{(~KNOWN).sum()}" in capsys.readouterr().out


def test_repeated_ids_advise_a_reduction():
    with pytest.raises(ValueError, match=r"more than once; reduce='mean' \(--reduce mean\) makes one row of the views"):
        evaluate(SCORES, TRUTH, ids=["v0"] * ROWS, label_ids=["v0"] * ROWS)


def test_a_mask_and_marks_add_up():
    half = np.random.default_rng(3).random(KNOWN.shape) < 0.5
    labels = np.where(KNOWN | half, TRUTH, -1)
    _, known = cells_of(read_inputs(SCORES, labels, mask=KNOWN | ~half, unknown=-1).positives())
    np.testing.assert_array_equal(known, KNOWN)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mask": KNOWN[:9]}, r"^mask: expected shape \(40, 4\) as scores has, got \(9, 4\)$"),
        ({"mask": KNOWN[:9], "labels": np.where(KNOWN, TRUTH, -1)}, r"^mask: expected shape \(40, 4\) as scores has"),
        ({"mask": KNOWN * 2}, r"^mask: expected True where a label is known and False elsewhere, got 2$"),
        ({"mask": (np.array([40]), np.array([0]))}, r"^mask: expected row numbers from 0 to 39, got 40$"),
        ({"mask": (np.array([0]), np.array([4]))}, r"^mask: expected class numbers from 0 to 3, got 4$"),
        ({"mask": LabelPairs(ROWS, CLASSES, *np.nonzero(TRUTH))}, r"^mask: expected cells that are not positive"),
        ({"mask": [1, 2]}, r"^mask: expected an \(N, C\) array that is True where a label is known, or"),
        ({"unknown": -2}, r"^unknown: expected -1, 'nan', .* or a file of a mask, got -2$"),
        ({"unknown": "VOC07"}, r"^unknown: expected -1, .* got 'VOC07'; there is no such file$"),
        ({"unknown": "unlisted"}, r"expected a list of verified labels for unknown='unlisted'"),
    ],
)
def test_errors_name_the_argument(options, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        read_inputs(SCORES, **{"labels": TRUTH, **options}).positives()


def test_errors_for_missing_labels_name_the_option(tmp_path, scores_file):
    with pytest.raises(ValueError, match=r"got an empty cell; if it is an unknown label, unknown='nan' "):
        evaluate(scores_file, write_table(tmp_path / "l.csv", marked()))
    with pytest.raises(ValueError, match=r"unknown=-1 \(--unknown -1\) leaves such cells out"):
        evaluate(SCORES, marked(unknown=-1))
    with pytest.raises(ValueError, match=r"unknown='nan' \(--unknown nan\) leaves such cells out"):
        evaluate(SCORES, marked())


def test_a_mask_that_lacks_a_row_is_refused(tmp_path, scores_file):
    labels = write_table(tmp_path / "labels.csv", TRUTH.astype(int))
    mask = write_table(tmp_path / "mask.csv", KNOWN.astype(int), range(CLASSES), range(1, ROWS))
    with pytest.raises(ValueError, match=r"mask.csv lacks 1 id \('v00'\) of .*scores.csv; a mask must have every row"):
        evaluate(scores_file, labels, mask=mask)


def test_marks_are_read_from_numbers_and_names():
    assert read_marks(-1) is read_marks("-1")
    assert read_marks(float("nan")) is read_marks("NaN")
    assert read_marks(None) is None


@pytest.mark.parametrize("share", [0.01, 0.6])
def test_parts_are_joined(share):
    rng = np.random.default_rng(1)
    lengths = [0, 3, 64, 70, 1]
    unknown = rng.random((sum(lengths), 3)) < share
    parts, start = [], 0
    for length in lengths:
        rows, classes = np.nonzero(unknown[start : start + length])
        cells = UnknownCells.of_pairs(rows, classes, length, 3) if len(rows) else None
        parts.append(cells)
        start += length
    found = UnknownCells.joined(parts, lengths)
    assert UnknownCells.joined([None, None], [3, 4]) is None
    for c in range(3):
        assert found.rows_of(c).tolist() == np.flatnonzero(unknown[:, c]).tolist()


@pytest.mark.parametrize("shares", [(0.01, 0.01), (0.01, 0.6), (0.6, 0.6)])
def test_a_union_has_the_cells_of_both(shares):
    rng = np.random.default_rng(2)
    flags = [rng.random((200, 4)) < share for share in shares]
    one, other = (UnknownCells.of_pairs(*np.nonzero(cells), 200, 4) for cells in flags)
    found = one.union(other)
    assert found.equals(other.union(one))
    assert [found.rows_of(c).tolist() for c in range(4)] == [
        np.flatnonzero(column).tolist() for column in (flags[0] | flags[1]).T
    ]


# Results


def test_every_door_gives_the_loop(tmp_path):
    expected = slow_loop()
    labels = marked(unknown=-1)
    for options in ({"unknown": -1}, {"mask": KNOWN}, {"mask": np.nonzero(~KNOWN)}):
        own = labels if "unknown" in options else TRUTH & KNOWN
        np.testing.assert_allclose(vltr_eval.average_precision(SCORES, own, **options), expected, rtol=1e-12)
        report = evaluate(SCORES, own, **options)
        np.testing.assert_allclose(report.classes["AP"], expected, rtol=1e-12)
        assert report.classes["num_unknown"] == tuple((~KNOWN).sum(axis=0).tolist())
        assert report.classes["num_negatives"] == tuple((KNOWN & ~TRUTH).sum(axis=0).tolist())
        evaluator = Evaluator(CLASSES)
        for start in range(0, ROWS, 9):
            some = slice(start, start + 9)
            evaluator.update(SCORES[some], labels[some], unknown=-1)
        assert evaluator.compute() == report
        batches = [(SCORES[:7], labels[:7]), (SCORES[7:], labels[7:])]
        assert evaluate_batches(batches, CLASSES, unknown=-1) == report
        assert vltr_eval.distributed.evaluate(SCORES, own, **options) == report
    files = [str(tmp_path / name) for name in ("s0.npy", "s1.npy", "l0.npy", "l1.npy")]
    for file, values in zip(files, (SCORES[:7], SCORES[7:], labels[:7], labels[7:]), strict=True):
        np.save(file, values)
    assert evaluate_batches(ShardFiles(files[:2], files[2:], unknown=-1), CLASSES) == report


def test_metric_functions_take_masks():
    for name in ("roc_auc", "expected_sampled_average_precision", "calibrated_average_precision", "tie_rate"):
        function = getattr(vltr_eval, name)
        by_class = [function(SCORES[KNOWN[:, c], c], TRUTH[KNOWN[:, c], c].astype(int))[0] for c in range(CLASSES)]
        np.testing.assert_array_equal(function(SCORES, TRUTH, mask=KNOWN), by_class, err_msg=name)


def test_an_evaluator_keeps_unknown_cells_in_its_state():
    for share in (0.02, 0.5):
        rng = np.random.default_rng(2)
        known = rng.random((200, 3)) >= share
        scores, labels = rng.random((200, 3)), rng.random((200, 3)) < 0.2
        evaluator, other = Evaluator(3), Evaluator(3)
        evaluator.update(scores[:90], labels[:90], mask=known[:90])
        other.update(scores[90:], labels[90:], mask=known[90:])
        evaluator.merge(other)
        state = evaluator.state_dict()
        assert state["format"] == "vltr-eval/evaluator/3"
        loaded = Evaluator(3)
        loaded.load_state_dict(state)
        assert loaded.compute() == evaluator.compute() == evaluate(scores, labels, mask=known)
    plain = Evaluator(3)
    plain.update(scores, labels)
    assert plain.state_dict()["format"] == "vltr-eval/evaluator/1"


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_a_state_without_its_unknown_cells_is_refused(share):
    rng = np.random.default_rng(2)
    known = rng.random((200, 3)) >= share
    evaluator = Evaluator(3)
    evaluator.update(rng.random((200, 3)), np.zeros((200, 3)), mask=known)
    state = evaluator.state_dict()
    for name in [name for name in state if name.startswith("unknown_")]:
        with pytest.raises(ValueError, match=r"state: expected what Evaluator\.state_dict gave"):  # not as negatives
            Evaluator(3).load_state_dict({other: state[other] for other in state if other != name})
        with pytest.raises((ValueError, TypeError)):
            Evaluator(3).load_state_dict(state | {name: np.zeros(3)})
    with pytest.raises(ValueError, match=r"state: expected what Evaluator\.state_dict gave"):
        Evaluator(3).load_state_dict(state | {"format": "vltr-eval/evaluator/1"})


def test_the_report_counts_unknown_labels():
    report = evaluate(SCORES, TRUTH, mask=KNOWN, class_names=NAMES)
    count = int((~KNOWN).sum())
    assert report.num_unknown == count
    assert f"|unknown:{count}|" in report.signature
    assert f"labels: {count} of 160 cells unknown ({count / 160:.1%}), in 4 classes" in str(report)
    assert "unknown" in report.to_text(per_class=True, width=None).split("\n\n")[-1].split("\n")[-6]
    assert json.loads(report.to_json())["num_unknown"] == count
    assert "num_unknown" in report.to_csv().split("\n")[0]
    assert "num_unknown" in report.to_html()
    assert vltr_eval.Report.from_json(report.to_json()) == report
    assert not [name for name in report.metrics() if "unknown" in name]
    plain = evaluate(SCORES, TRUTH)
    assert plain == evaluate(SCORES, TRUTH, mask=np.ones_like(KNOWN)) == evaluate(SCORES, TRUTH.astype(int), unknown=-1)
    assert "unknown" not in plain.to_json() + str(plain)


# The program


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "s.npy", SCORES)
    np.save(tmp_path / "new.npy", SCORES + TRUTH * 0.1)
    np.save(tmp_path / "l.npy", marked(np.int8, -1))
    np.save(tmp_path / "truth.npy", TRUTH)
    np.save(tmp_path / "mask.npy", KNOWN)
    return tmp_path


def run(*arguments, code=0):
    """The output of the program, or of a failure what it says of it."""
    done = run_within(main, "vltr-eval", list(arguments))
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def test_commands_take_the_option(files, monkeypatch):
    monkeypatch.chdir(files)
    report = evaluate(SCORES, TRUTH, mask=KNOWN)
    for labels, unknown in (("l.npy", "-1"), ("truth.npy", "mask.npy")):
        assert run("s.npy", labels, "--unknown", unknown, "--json", "-", "--quiet") == report.to_json()
    text = run("s.npy", "l.npy", "--unknown=-1", "--per-class", "--sort", "num_unknown", "--quiet")
    assert "cells unknown" in text
    text = run("check", "s.npy", "l.npy", "--unknown", "-1")
    assert f"unknown cells: {int((~KNOWN).sum())} of 160" in text
    run("thresholds", "s.npy", "l.npy", "--unknown", "-1", "--quiet")
    text = run("compare", "s.npy", "new.npy", "--labels", "l.npy", "--unknown", "-1", "--json", "-", "--quiet")
    assert text == vltr_eval.compare("s.npy", "new.npy", labels="l.npy", unknown=-1).to_json()


def test_the_program_refuses_other_marks_and_keeps_its_mask(files, monkeypatch):
    monkeypatch.chdir(files)
    for wrong in ("-2", "none.npy"):
        assert "argument --unknown: expected -1, 'nan'" in run("s.npy", "l.npy", "--unknown", wrong, code=2)
    text = run("s.npy", "truth.npy", "--unknown", "mask.npy", "--json", "mask.npy", code=2)
    assert "mask.npy is an input" in text


# Each community's own loop, written again.


def test_voc_as_ml_gcn_skips_difficult_examples():
    """AveragePrecisionMeter of ML-GCN: labels of -1, 0 and 1 in the order of scores, those of 0 skipped."""
    rng = np.random.default_rng(4)
    scores, codes = rng.permutation(300).reshape(100, 3) / 300, rng.choice([-1, 0, 1], (100, 3), p=[0.7, 0.1, 0.2])
    expected = []
    for c in range(3):
        positives = seen = 0
        total = 0.0
        for row in np.argsort(-scores[:, c]):
            if codes[row, c] == 0:
                continue
            seen += 1
            if codes[row, c] == 1:
                positives += 1
                total += positives / seen
        expected.append(total / positives)
    np.testing.assert_allclose(evaluate(scores, codes, unknown="voc").classes["AP"], expected, rtol=1e-12)


def slow_auc(scores, positive):
    pairs = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    return sum(pairs) / len(pairs)


def test_chexpert_policies():
    """An empty cell is absent. -1 is left out (U-Ignore), absent (U-Zeros) or present (U-Ones)."""
    rng = np.random.default_rng(5)
    findings = rng.choice([1, 0, -1, np.nan], (80, 2), p=[0.3, 0.2, 0.2, 0.3])
    scores = rng.random((80, 2))
    policies = {"ignore": None, "zeros": 0, "ones": 1}
    for policy, value in policies.items():
        expected = []
        for c in range(2):
            kept = [(s, f == 1 or (f == -1 and value == 1)) for s, f in zip(scores[:, c], findings[:, c], strict=True)
                    if not (f == -1 and value is None)]  # fmt: skip
            expected.append(slow_auc(*map(np.array, zip(*kept, strict=True))))
        labels = findings if value is None else np.where(findings == -1, value, findings)
        found = vltr_eval.roc_auc(scores, labels, unknown="chexpert")
        np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=policy)


def test_openmic_masks_rows_of_each_class():
    """modeling-baseline.ipynb: for each instrument, the rows of Y_mask alone, positive from 0.5."""
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(6)
    mask = rng.random((200, 4)) < 0.3
    truth = np.where(mask, rng.random((200, 4)), 0.5)
    scores = rng.random((200, 4))
    expected = [metrics.average_precision_score(truth[mask[:, c], c] >= 0.5, scores[mask[:, c], c]) for c in range(4)]
    np.testing.assert_allclose(vltr_eval.average_precision(scores, truth >= 0.5, mask=mask), expected, rtol=1e-12)


def test_open_images_ranks_verified_cells(tmp_path, scores_file):
    """The images of a class are those that have a line for it."""
    labels = open_images(tmp_path)
    lines = [line.split(",") for line in (tmp_path / "oi.csv").read_text().split()][1:]
    expected = []
    for c, name in enumerate(NAMES):
        rows = {IDS.index(image): confidence == "1" for image, _, label, confidence in lines if label == name}
        expected.append(slow_average_precision(SCORES[list(rows), c], np.array(list(rows.values()))))
    found = evaluate(scores_file, labels, unknown="unlisted").classes["AP"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_lvis_ranks_images_of_positive_and_negative_sets(tmp_path):
    """The images of a category are those with it in their annotations or in neg_category_ids."""
    rng = np.random.default_rng(7)
    scores = rng.random((60, 3))
    images = [{"id": n, "neg_category_ids": rng.choice([1, 2, 3], rng.integers(3), False).tolist()} for n in range(60)]
    annotations = []
    for image in images:
        free = sorted({1, 2, 3} - set(image["neg_category_ids"]))
        annotations += [{"image_id": image["id"], "category_id": c} for c in free if rng.random() < 0.5]
    categories = [{"id": c, "name": str(c), "frequency": "f"} for c in (1, 2, 3)]
    (tmp_path / "lvis.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    expected = []
    for c in (1, 2, 3):
        positive = {a["image_id"] for a in annotations if a["category_id"] == c}
        negative = {image["id"] for image in images if c in image["neg_category_ids"]}
        rows = sorted(positive | negative)
        expected.append(slow_average_precision(scores[rows, c - 1], np.array([row in positive for row in rows])))
    found = evaluate(scores, tmp_path / "lvis.json", ids=np.arange(60), unknown="unlisted").classes["AP"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("average", ["macro", "weighted", "micro", None])
def test_torchmetrics_ignored_cells_are_unknown(average, monkeypatch):
    torch = pytest.importorskip("torch")
    original = pytest.importorskip("torchmetrics.functional.classification")
    from vltr_eval.compat import torchmetrics as ours

    scores = torch.from_numpy(SCORES).float()
    target = torch.from_numpy(marked(np.int64, -1))
    for name in ("multilabel_average_precision", "multilabel_auroc"):
        expected = getattr(original, name)(scores, target, CLASSES, average, ignore_index=-1)
        with monkeypatch.context() as patched:
            patched.setattr(original, name, None)  # the work is ours
            found = getattr(ours, name)(scores, target, CLASSES, average, ignore_index=-1)
        torch.testing.assert_close(found, expected)
    metric = ours.MultilabelAveragePrecision(CLASSES, average, ignore_index=-1)
    for rows in (slice(0, 7), slice(7, ROWS)):
        metric.update(scores[rows], target[rows])
    expected = original.multilabel_average_precision(scores, target, CLASSES, average, ignore_index=-1)
    torch.testing.assert_close(metric.compute(), expected)


@pytest.mark.filterwarnings("ignore:No positive")
@pytest.mark.filterwarnings("ignore:No negative")
def test_a_label_whose_cells_are_all_ignored_is_absent():
    """torchmetrics raises an IndexError (Lightning-AI/torchmetrics#2685)."""
    torch = pytest.importorskip("torch")
    from vltr_eval.compat import torchmetrics as ours

    target = torch.from_numpy(marked(np.int64, -1))
    target[:, 2] = -1
    scores = torch.from_numpy(SCORES).float()
    found = ours.multilabel_average_precision(scores, target, CLASSES, None, ignore_index=-1)
    expected = np.where(np.arange(CLASSES) == 2, 0, slow_loop(SCORES.astype(np.float32)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    with pytest.raises(RuntimeError, match=r"^target: expected 0 and 1, or -1 to be ignored, got \[-2, "):
        ours.multilabel_auroc(scores, torch.where(target == 1, -2, target), CLASSES, None, ignore_index=-1)


@pytest.mark.parametrize(("hidden", "unknown"), [(None, "nan"), (-1, -1)])
def test_a_hidden_class_label_of_hugging_face(hidden, unknown, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"id": ["a", "b", "c"], "label": pyarrow.array([1, hidden, 0], pyarrow.int64())})
    positives = read_inputs(np.eye(3), table, unknown=unknown).positives()
    assert positives.counts.tolist() == [1, 1, 0]
    assert [positives.unknown.rows_of(c).tolist() for c in range(3)] == [[1]] * 3
    (tmp_path / "labels.csv").write_text(f"id,label\na,1\nb,{'' if hidden is None else hidden}\nc,0\n")
    positives = read_inputs(np.eye(3), tmp_path / "labels.csv", unknown=unknown).positives()
    assert positives.unknown.counts.tolist() == [1] * 3
