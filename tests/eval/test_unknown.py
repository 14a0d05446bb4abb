"""Unknown labels in the scan, the draws, the ranks and the engine that counts.

The reference: for each class delete the rows that do not know it, then compute what the textbook says.
"""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest
import reference
from cases import make_case
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import assert_agrees, assert_same_bits, assert_same_table, numbers

from vltr_eval import RankTable, sap_subset
from vltr_eval._base import _core
from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._base.build import build_info
from vltr_eval._engine.counting import Chunk, count_chunks
from vltr_eval._engine.draws import draw_rows, draws_per_trial
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_scan import find_positive_scores, rank_scan, scan_metric
from vltr_eval._engine.unknown import UnknownCells
from vltr_eval.report.settings import Settings

FORMS = ("lists", "bits")
TRIALS, SEED = 11, 5
METRICS = {
    "average_precision": reference.average_precision,
    "roc_auc": reference.roc_auc,
    "expected_sampled_average_precision": reference.expected_sap_by_hypergeometric,
}


def cells_of(known: np.ndarray, form: str) -> UnknownCells:
    """The unknown cells in one of the two forms, from the definition of each. known: (N, C) bool."""
    num_rows, num_classes = known.shape
    if form == "lists":
        lists = [np.flatnonzero(~known[:, c]) for c in range(num_classes)]
        indptr = np.concatenate([[0], np.cumsum([len(rows) for rows in lists])]).astype(np.int64)
        return UnknownCells(num_rows, num_classes, indptr, np.concatenate([*lists, []]).astype(np.uint32))
    words = np.zeros((num_classes, -(-num_rows // 64)), np.uint64)
    for row, c in np.argwhere(~known).tolist():
        words[c, row // 64] |= np.uint64(1 << row % 64)
    return UnknownCells(num_rows, num_classes, bits=words)


def labels_of(labels: np.ndarray, known: np.ndarray, form: str = "lists") -> Positives:
    return Positives.from_labels(np.ascontiguousarray(labels & known)).with_unknown(cells_of(known, form))


def masked_case(num_rows, num_classes, *, seed=0, share=0.3, levels=None, prevalence=0.2):
    """Scores, labels and known cells: class 0 is all known, 1 not at all, 2 to one row, 3 to all rows but one."""
    scores, labels = make_case(num_rows, num_classes, seed=seed, levels=levels, prevalence=prevalence)
    known = np.random.default_rng(seed + 1).random(labels.shape) >= share
    known[:, 0], known[:, 1], known[:, 2], known[:, 3] = True, False, False, True
    known[num_rows // 2, 2] = True
    known[num_rows // 3, 3] = False
    return scores, labels, known


def everything(scores, positives, *, threads=None):
    """All results of one scan, as arrays in a fixed order."""
    found = rank_scan(scores, positives, trials=TRIALS, seed=SEED, ranks=True, threads=threads)
    table = found.table
    columns = [table.indptr, table.thresholds, table.tp, table.fp, table.tied, table.num_negatives]
    metrics = [getattr(table, name)() for name in METRICS]
    metrics += [table.calibrated_average_precision(0.3), table.sampled_average_precision_chance()]
    metrics += [*table.tie_interval(), table.tie_rate(), table.tied_positives()]
    return [*columns, *metrics, *table.statistics, found.trials, found.ranks]


def assert_same_everything(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
@pytest.mark.parametrize("levels", [None, 6])
def test_every_metric_is_that_of_the_rows_that_a_class_knows(form, share, levels):
    scores, labels, known = masked_case(50, 7, share=share, levels=levels)
    found = rank_scan(scores, labels_of(labels, known, form), trials=TRIALS, seed=SEED)
    for c in range(scores.shape[1]):
        own, truth = numbers(scores[known[:, c], c]), numbers(labels[known[:, c], c])
        assert found.table.num_negatives[c] == len(truth) - sum(truth)
        assert reference.table_rows(found.table, c) == reference.rank_table(own, truth)
        for name, textbook in METRICS.items():
            assert_agrees(getattr(found.table, name)()[c], textbook(own, truth) if truth else np.nan)
        calibrated = reference.calibrated_average_precision(own, truth, 0.3)
        assert_agrees(found.table.calibrated_average_precision(0.3)[c], calibrated)
        alone = (
            rank_scan(scores[known[:, c], c], Positives.from_labels(labels[known[:, c], c][:, None])) if own else None
        )
        if alone is not None:
            table, name = found.table, "sampled_average_precision_chance"
            assert_same_bits(getattr(table, name)()[c : c + 1], getattr(alone.table, name)())
            for side in (0, 1):
                assert_same_bits(table.tie_interval()[side][c : c + 1], alone.table.tie_interval()[side])


@pytest.mark.any_device
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("num_rows", [70, 1500])
def test_each_trial_is_that_of_its_drawn_rows_and_draws_no_unknown_row(form, num_rows):
    scores, labels, known = masked_case(num_rows, 8, seed=3, share=0.4)
    positives = labels_of(labels, known, form)
    trials = rank_scan(scores, positives, trials=TRIALS, seed=SEED).trials
    for c in range(8):
        truth = labels[:, c] & known[:, c]
        num_negatives = int(np.count_nonzero(known[:, c] & ~truth))
        for trial in range(TRIALS):
            rows = sap_subset(positives, c, trial, SEED)
            assert known[rows, c].all()
            assert len(np.unique(rows)) == len(rows)
            assert np.isin(np.flatnonzero(truth), rows).all() or not truth.any()
            expected = min(num_negatives, int(truth.sum())) + int(truth.sum()) if truth.any() else 0
            assert len(rows) == expected
            of_rows = numbers(scores[rows, c]), numbers(truth[rows])
            assert_agrees(trials[trial, c], reference.average_precision(*of_rows) if truth.any() else np.nan)


def test_draws_number_the_negatives_that_are_left():
    """A class draws as one of its known rows alone, where these are the first rows of the matrix."""
    _, labels = make_case(900, 3, seed=1)
    known = np.ones_like(labels)
    known[600:] = False
    drawn = draw_rows(labels_of(labels, known), 0, 4, SEED)
    assert_same_bits(drawn, draw_rows(Positives.from_labels(labels[:600]), 0, 4, SEED))
    assert drawn.max() < 600


@pytest.mark.parametrize("form", FORMS)
def test_every_known_negative_is_drawn_equally_often(form):
    labels = np.zeros((40, 1), bool)
    labels[[3, 17, 39]] = True
    known = np.ones_like(labels)
    known[[0, 5, 18, 30, 38]] = False
    num_trials = 4000
    drawn = draw_rows(labels_of(labels, known, form), 0, num_trials, 0)
    negatives = np.flatnonzero(known & ~labels)
    counts = np.bincount(drawn, minlength=40)
    assert np.count_nonzero(counts) == len(negatives)
    assert counts[negatives].sum() == 3 * num_trials
    expected = 3 * num_trials / len(negatives)
    assert ((counts[negatives] - expected) ** 2 / expected).sum() < 70  # chi-square, 31 degrees of freedom: 1e-4


@pytest.mark.any_device
@pytest.mark.parametrize("form", FORMS)
def test_a_row_is_ranked_among_the_classes_that_it_knows(form):
    scores, labels, known = masked_case(120, 30, seed=4, levels=5, share=0.5)
    ranks = rank_scan(scores, labels_of(labels, known, form), ranks=True).ranks
    for row in range(len(scores)):
        own = known[row]
        expected = reference.best_label_rank(numbers(scores[row, own]), numbers(labels[row, own]))
        assert ranks[row] == (-1 if expected is None else expected)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "uint64", "float16", "float64"])
@pytest.mark.parametrize("path", ["search", "sort"])
def test_lists_and_bits_paths_and_dtypes_give_the_same_bits(dtype, path, monkeypatch):
    scores, labels, known = masked_case(2100, 35, seed=6, levels=9, share=0.2)
    scores = (scores - scores.min()).astype(dtype)
    expected = everything(scores, labels_of(labels, known, "lists"), threads=1)
    monkeypatch.setenv("VLTR_PATH", path)
    for layout in (np.ascontiguousarray, np.asfortranarray):
        for form in FORMS:
            for threads in (1, 3):
                found = everything(layout(scores), labels_of(labels, known, form), threads=threads)
                assert_same_everything(found, expected)


def test_instruction_sets_threads_and_shards_change_no_bit(monkeypatch):
    scores, labels, known = masked_case(2500, 300, seed=7, share=0.1, prevalence=0.02)
    positives = labels_of(labels, known, "bits")
    expected = everything(scores, positives, threads=1)
    for level in build_info()["simd_available"]:
        monkeypatch.setenv("VLTR_SIMD", level)
        for shards in (scores, [scores[:77], scores[77:1101], scores[1101:]]):
            for threads in (1, 2, 7):
                assert_same_everything(everything(shards, positives, threads=threads), expected)


@pytest.mark.parametrize("path", ["search", "sort"])
def test_a_metric_without_its_table_is_that_of_the_table(path, monkeypatch):
    monkeypatch.setenv("VLTR_PATH", path)
    scores, labels, known = masked_case(1300, 12, seed=8, levels=40)
    positives = labels_of(labels, known)
    table = rank_scan(scores, positives).table
    for name in METRICS:
        assert_same_bits(scan_metric(borrow_matrix("scores", scores), positives, name), getattr(table, name)())


def test_classes_whose_trials_draw_much_are_sampled_by_marks_with_the_same_bits(monkeypatch):
    """Trials of many draws walk the column once; the reference looks every draw up."""
    scores, labels, known = masked_case(6000, 4, seed=9, prevalence=0.3, share=0.3)
    scores, labels, known = scores[:, [0, 2]], labels[:, [0, 2]], known[:, [0, 2]]
    known[:, 1] = np.random.default_rng(3).random(6000) < 0.6
    trials = rank_scan(scores, labels_of(labels, known), trials=400, seed=SEED).trials
    for c in range(2):
        for trial in (0, 200, 399):
            rows = sap_subset(labels_of(labels, known), c, trial, SEED)
            assert_agrees(
                trials[trial, c], reference.average_precision(numbers(scores[rows, c]), numbers(labels[rows, c]))
            )


@pytest.mark.any_device
def test_a_mask_of_known_cells_alone_changes_nothing():
    scores, labels = make_case(300, 8)
    known = np.ones_like(labels)
    positives = Positives.from_labels(labels, mask=known)
    assert positives.unknown is None
    assert_same_everything(everything(scores, positives), everything(scores, Positives.from_labels(labels)))
    cells = UnknownCells.of_pairs(np.empty(0, int), np.empty(0, int), 300, 8)
    assert Positives.from_labels(labels).with_unknown(cells).unknown is None


@pytest.mark.any_device
@pytest.mark.parametrize("form", FORMS)
def test_nan_of_an_unknown_cell_is_an_error_still(form):
    scores, labels, known = masked_case(40, 5)
    scores[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"^scores: expected numbers, got NaN at row 7, class 1$"):
        rank_scan(scores, labels_of(labels, known, form))


@pytest.mark.any_device
@given(st.data())
@settings(max_examples=40)
def test_both_forms_agree_with_the_textbook(data):
    num_rows, num_classes = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 7))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    scores = rng.integers(0, data.draw(st.sampled_from([2, 5, 1000])), (num_rows, num_classes)).astype(np.float32)
    labels = rng.random(scores.shape) < data.draw(st.sampled_from([0.05, 0.5, 0.9]))
    known = rng.random(scores.shape) >= data.draw(st.sampled_from([0.02, 0.5, 0.97]))
    one, other = (everything(scores, labels_of(labels, known, form)) for form in FORMS)
    assert_same_everything(one, other)
    table = rank_scan(scores, labels_of(labels, known)).table
    for c in range(num_classes):
        of_known = numbers(scores[known[:, c], c]), numbers(labels[known[:, c], c])
        assert reference.table_rows(table, c) == reference.rank_table(*of_known)
        assert_agrees(table.roc_auc()[c], reference.roc_auc(*of_known) if of_known[1] else np.nan)


# Reading


@pytest.mark.any_device
@pytest.mark.parametrize("share", [0.01, 0.5])
@pytest.mark.parametrize(
    ("dtype", "value"), [("int8", -1), ("int64", -1), ("float32", -1), ("float32", "nan"), ("float16", "nan")]
)
@pytest.mark.parametrize("layout", ["C", "F", "strided", "shards"])
@pytest.mark.parametrize("shape", [(1000, 5), (333, 70), (40, 1), (70, 900)])
def test_dense_labels_give_positives_and_unknown_cells_in_one_pass(dtype, value, share, layout, shape):
    rng = np.random.default_rng(2)
    labels = rng.random(shape) < 0.2
    known = rng.random(shape) >= share
    known[7, 0] = False
    dense = np.where(known, labels, np.nan if value == "nan" else -1).astype(dtype)
    if layout == "F":
        dense = np.asfortranarray(dense)
    elif layout == "strided":
        dense = np.repeat(np.repeat(dense, 2, axis=0), 3, axis=1)[::2, ::3]
    given_labels = [dense[: shape[0] // 3], dense[shape[0] // 3 :]] if layout == "shards" else dense
    found = Positives.from_labels(given_labels, *shape, unknown=value, threads=2)
    expected = Positives.from_labels(labels & known)
    assert_same_bits(found.rows, expected.rows)
    assert_same_bits(found.indptr, expected.indptr)
    assert found.unknown.equals(cells_of(known, "lists"))


@pytest.mark.any_device
@pytest.mark.parametrize("share", [0.01, 0.5])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "float32"])
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_a_mask_leaves_its_zeros_out_whatever_the_label(dtype, share, layout):
    _, labels, known = masked_case(700, 20, share=share)
    found = Positives.from_labels(labels, mask=layout(known.astype(dtype)))
    assert_same_bits(found.rows, Positives.from_labels(labels & known).rows)
    assert found.unknown.equals(cells_of(known, "bits"))
    assert_same_bits(found.num_negatives, np.count_nonzero(known & ~labels, axis=0))


@pytest.mark.any_device
def test_a_mask_and_a_value_add_up():
    labels = np.int8([[1, -1, 0], [0, 1, 1]])
    mask = np.array([[1, 1, 0], [1, 0, 1]], bool)
    found = Positives.from_labels(labels, mask=mask, unknown=-1)
    assert found.counts.tolist() == [1, 0, 1]
    assert found.unknown.equals(cells_of(np.array([[1, 0, 0], [1, 0, 1]], bool), "lists"))


def test_sparse_labels_may_store_the_value_of_unknown_cells():
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.int8([[1, -1, 0], [0, 1, -1], [0, 0, 1]])
    found, expected = (Positives.from_labels(labels, unknown=-1) for labels in (sparse.csr_matrix(dense), dense))
    assert_same_bits(found.rows, expected.rows)
    assert found.unknown.equals(expected.unknown)


@pytest.mark.any_device
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unknown": 255}, "unknown: expected -1 or 'nan', got 255; pass mask= for another mark of unknown cells"),
        (
            {"mask": np.full((2, 2), 2)},
            "mask: expected 1 for a known cell and 0 for an unknown one, got 2 at row 0, class 0",
        ),
        ({"mask": np.ones((3, 2), bool)}, "mask: expected (2, 2) as labels, got (3, 2)"),
    ],
)
def test_wrong_masks_and_values_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Positives.from_labels(np.uint8([[1, 0], [0, 1]]), **arguments)


@pytest.mark.any_device
def test_a_label_that_is_neither_0_1_nor_the_value_is_named():
    with pytest.raises(ValueError, match=r"^labels: expected 0, 1 or -1 for an unknown cell, got 2 at row 1, class 0$"):
        Positives.from_labels(np.int8([[1, -1], [2, 1]]), unknown=-1)
    with pytest.raises(ValueError, match=r"^unknown: expected dense or sparse labels.* got class indices; pass mask=$"):
        Positives.from_labels([[0], [1, 0]], num_classes=3, unknown=-1)
    with pytest.raises(ValueError, match=r"^mask: expected cells that are not positive, got row 1, class 1$"):
        Positives.from_labels(np.eye(2, dtype=bool)).with_unknown(UnknownCells.of_pairs([1], [1], 2, 2))


def test_the_core_refuses_cells_of_another_matrix():
    matrix = borrow_matrix("scores", np.zeros((4, 2), np.float32))
    with pytest.raises(ValueError, match="4 rows and 2 classes"):
        matrix.core.leave_out(UnknownCells.of_pairs([1], [1], 5, 2).core)
    table = rank_scan(np.zeros((4, 2)), Positives.from_labels(np.eye(4, 2))).table
    with pytest.raises(ValueError, match="a count for each class"):
        _core.roc_auc(table.indptr, table.tp, table.fp, table.tied, 4, 1, np.int64([5, 0]))


# The forms of unknown cells


@given(st.data())
@settings(max_examples=40)
def test_unknown_cells_are_selected_joined_and_numbered_in_any_form(data):
    num_rows, num_classes = data.draw(st.integers(1, 150)), data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    known = rng.random((num_rows, num_classes)) >= data.draw(st.sampled_from([0.01, 0.5]))
    known[0, 0] = False
    kept = rng.random(num_rows) < 0.6
    kept[0] = True
    for form in FORMS:
        cells = cells_of(known, form)
        assert cells.select(kept).equals(cells_of(known[kept], "lists"))
        cut = num_rows // 3
        parts = [cells_of(known[:cut], form), cells_of(known[cut:], form)]
        assert UnknownCells.joined(parts, [cut, num_rows - cut]).equals(cells)
        order = rng.permutation(num_rows)
        assert cells.renumbered(np.argsort(order), num_rows).equals(cells_of(known[order], "bits"))
        rows, classes = rng.integers(0, num_rows, 50), rng.integers(0, num_classes, 50)
        assert_same_bits(cells.hold(rows, classes), ~known[rows, classes])
        assert pickle.loads(pickle.dumps(cells)).equals(cells)
        other = rng.random(known.shape) < 0.5
        assert cells.union(cells_of(other, "lists")).equals(cells_of(known & other, "bits"))


# Tables


@pytest.mark.any_device
def test_tables_keep_their_unknown_counts(tmp_path):
    scores, labels, known = masked_case(200, 6, seed=2)
    table = rank_scan(scores, labels_of(labels, known)).table
    table.save(tmp_path / "table.npz")
    loaded = RankTable.load(tmp_path / "table.npz")
    for other in (loaded, copy.deepcopy(table), pickle.loads(pickle.dumps(table)), table.select(table.tp > 0)):
        assert_same_table(other, table)
        assert_same_bits(other.unknown, np.count_nonzero(~known, axis=0))
        assert_same_bits(other.roc_auc(), table.roc_auc())


def test_a_table_file_without_unknown_cells_has_the_bytes_of_before(tmp_path):
    scores, labels = make_case(50, 3)
    table = rank_scan(scores, Positives.from_labels(labels)).table
    table.save(tmp_path / "table.npz")
    with np.load(tmp_path / "table.npz") as file:
        assert set(file) == {"format", "num_rows", "indptr", "thresholds", "tp", "fp", "tied"}
        assert str(file["format"]) == "vltr-eval/rank-table/1"


def test_damaged_unknown_counts_are_refused(tmp_path):
    scores, labels, known = masked_case(50, 4)
    table = rank_scan(scores, labels_of(labels, known)).table
    for damaged in (table.unknown + 50, -1 - table.unknown, table.unknown[1:], table.unknown.astype(np.int32)):
        bad = RankTable(table.num_rows, table.indptr, table.thresholds, table.tp, table.fp, table.tied, unknown=damaged)
        bad.save(tmp_path / "bad.npz")
        with pytest.raises(ValueError, match="expected the arrays of a rank table to fit together"):
            RankTable.load(tmp_path / "bad.npz")


@pytest.mark.any_device
@pytest.mark.parametrize("form", FORMS)
def test_tables_of_shards_merge_to_that_of_all_rows(form):
    scores, labels, known = masked_case(500, 9, seed=5, levels=30)
    cuts = [slice(0, 130), slice(130, 131), slice(131, 500)]
    shards = [(scores[cut], labels_of(labels[cut], known[cut], form)) for cut in cuts]
    found = [find_positive_scores(borrow_matrix("scores", own), positives) for own, positives in shards]
    thresholds = found[0].merge(*found[1:])
    tables = [rank_scan(own, positives, thresholds=thresholds).table for own, positives in shards]
    whole = rank_scan(scores, labels_of(labels, known)).table
    merged = tables[2].merge(tables[0], tables[1])
    assert_same_table(merged, whole)
    assert_same_bits(merged.unknown, whole.unknown)


# Chunks and streams


def chunks_of(scores, labels, known, cuts, ids=None):
    return [
        Chunk(
            borrow_matrix("scores", scores[cut]),
            labels_of(labels[cut], known[cut], FORMS[i % 2])
            if not known[cut].all()
            else Positives.from_labels(labels[cut]),
            None if ids is None else ids[cut],
            cut.start,
        )
        for i, cut in enumerate(cuts)
    ]


class Stream:
    """Chunks that can be gone through again and have no length, as those of batches."""

    def __init__(self, make):
        self.make = make

    def __iter__(self):
        return iter(self.make())


def assert_same_counts(actual, expected):
    assert_same_table(actual.table, expected.table)
    assert_same_bits(actual.table.unknown, expected.table.unknown)
    assert_same_bits(actual.trials, expected.trials)
    assert_same_bits(actual.hits.rows, expected.hits.rows)
    assert_same_bits(actual.hits.classes, expected.hits.classes)
    assert actual.hits.labelled == expected.hits.labelled


@pytest.mark.any_device
@pytest.mark.parametrize("share", [0.01, 0.5])
@pytest.mark.parametrize("stream", [False, True])
def test_chunks_and_streams_count_as_one_matrix(share, stream):
    scores, labels, known = masked_case(600, 12, seed=6, share=share)
    known[100:200] = True  # a chunk without unknown cells
    config = Settings(topk=(1, 3), sap=7, seed=3)
    expected = count_chunks(config, chunks_of(scores, labels, known, [slice(0, 600)]), 12)
    cuts = [slice(0, 100), slice(100, 200), slice(200, 555), slice(555, 600)]

    def make():
        return chunks_of(scores, labels, known, cuts)

    assert_same_counts(count_chunks(config, Stream(make) if stream else make(), 12), expected)


@pytest.mark.any_device
def test_sample_ids_count_rows_once_and_their_unknown_cells_are_labels():
    scores, labels, known = masked_case(300, 8, seed=7)
    config = Settings(topk=(1,), sap=4)
    ids = np.random.default_rng(1).permutation(300).astype(np.int64)
    again = np.concatenate([np.arange(300), [3, 17, 200]])
    order = np.argsort(ids)
    expected = count_chunks(config, chunks_of(scores[order], labels[order], known[order], [slice(0, 300)]), 8)
    cuts = [slice(0, 120), slice(120, 303)]
    chunks = chunks_of(scores[again], labels[again], known[again], cuts, ids[again])
    found = count_chunks(config, chunks, 8)
    assert found.repeated_rows == 3
    assert_same_counts(found, expected)
    differ = known[again].copy()
    differ[301, 0] = False
    rest = labels[again].copy()
    rest[301, 0] = rest[17, 0] = False
    with pytest.raises(ValueError, match=rf"^ids: sample {ids[17]} came twice with different labels: .*0 unknown"):
        count_chunks(config, chunks_of(scores[again], rest, differ, cuts, ids[again]), 8)


def test_a_stream_whose_unknown_cells_change_is_refused():
    scores, labels, known = masked_case(100, 5, seed=8)
    labels[:, 0] = False
    calls = []

    def make():
        now = known.copy()
        now[4, 0] = not calls
        calls.append(1)
        return chunks_of(scores, labels, now, [slice(0, 60), slice(60, 100)])

    with pytest.raises(ValueError, match=r"^batches: expected the same scores and labels in both passes"):
        count_chunks(Settings(), Stream(make), 5)


def count_of_rank(rank: int):
    """One rank's share, from a process of `ranks.group_of`."""
    from vltr_eval._base.ranks import current_group

    scores, labels, known = masked_case(400, 10, seed=9, share=0.5)
    known[:130] = True
    cuts = [slice(0, 130)] if rank == 0 else [slice(130, 200), slice(200, 400)]
    chunks = chunks_of(scores, labels, known, cuts)
    found = count_chunks(Settings(topk=(2,), sap=5, seed=1), chunks, 10, communicator=current_group())
    return found.table, found.trials, found.hits


@pytest.mark.any_device
def test_ranks_count_as_one_process():
    from ranks import group_of

    scores, labels, known = masked_case(400, 10, seed=9, share=0.5)
    known[:130] = True
    config = Settings(topk=(2,), sap=5, seed=1)
    expected = count_chunks(config, chunks_of(scores, labels, known, [slice(0, 400)]), 10)
    for table, trials, hits in group_of(2).run(count_of_rank):
        assert_same_table(table, expected.table)
        assert_same_bits(table.unknown, expected.table.unknown)
        assert_same_bits(trials, expected.trials)
        assert_same_bits(hits.rows, expected.hits.rows)


def test_the_draws_are_those_of_the_labels_that_are_known():
    """Positives and unknown cells alone determine the draws, whatever the scores are."""
    _, labels, known = masked_case(500, 6, seed=1)
    one, other = (labels_of(labels, known, form) for form in FORMS)
    assert_same_bits(draw_rows(one, 2, 3, 4), draw_rows(other, 2, 3, 4))
    counts = np.count_nonzero(labels & known, axis=0)
    negatives = np.count_nonzero(~labels & known, axis=0)
    assert_same_bits(draws_per_trial(one), np.where(counts < negatives, counts, 0))
