"""Unknown labels on a CUDA device: every result of a class is that of the rows that know it.

The textbook deletes the unknown rows of each class and then computes. test_unknown.py does so for every function on any
device; these inputs are those that the kernels treat differently from each other.
"""

from __future__ import annotations

import pickle

import ml_dtypes
import numpy as np
import pytest
import reference
from cases import make_case
from devices import on_device
from reference import assert_agrees, assert_same_bits

from vltr_eval import average_precision
from vltr_eval._base import _core
from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._engine.effects import METRICS, row_effects
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_scan import rank_scan
from vltr_eval._engine.unknown import DeviceUnknownCells, UnknownCells

DTYPES = [np.dtype(name) if name != "bfloat16" else np.dtype(ml_dtypes.bfloat16) for name in _core.DTYPES]
FORMS = ["lists", "bits"]


def moved(array, device):
    return [on_device(part, device) for part in array] if isinstance(array, list) else on_device(array, device)


def some_known(shape, *, seed, share=0.6) -> np.ndarray:
    """Return which cells are known: classes differ, and two of them know all rows and none."""
    random = np.random.default_rng(seed)
    known = random.random(shape) < np.clip(random.normal(share, 0.2, shape[1]), 0, 1)
    if shape[1] > 2:
        known[:, 1], known[:, 2] = True, False
    return known


def cells_of(known, form) -> UnknownCells:
    """Return the unknown cells, as lists or as bits whichever are smaller."""
    listed = UnknownCells(known.shape[0], known.shape[1], *lists_of(~known))
    return listed if form == "lists" else listed._as_bits()


def lists_of(cells) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.concatenate([[0], np.cumsum(np.count_nonzero(cells, axis=0))])
    return indptr.astype(np.int64), np.nonzero(cells.T)[1].astype(np.uint32)


def positives_of(labels, known, form="lists") -> Positives:
    return Positives(*labels.shape, *lists_of((labels == 1) & known)).with_unknown(cells_of(known, form))


def scan(cuda, scores, labels, known, form="lists", **options):
    return rank_scan(moved(scores, cuda), positives_of(labels, known, form), **options)


def columns(scores, labels, known):
    """Yield scores and labels of the rows that know a class, as Python numbers, for each class."""
    scores = np.concatenate(scores) if isinstance(scores, list) else scores
    for c in range(labels.shape[1]):
        rows = known[:, c]
        yield scores[rows, c].tolist(), labels[rows, c].tolist()


def check_tables(table, scores, labels, known) -> None:
    for c, column in enumerate(columns(scores, labels, known)):
        assert reference.table_rows(table, c) == reference.rank_table(*column)


def check_ranks(ranks, scores, labels, known) -> None:
    for row_scores, row_labels, row_known, rank in zip(scores, labels, known, ranks.tolist(), strict=True):
        expected = reference.best_label_rank(row_scores[row_known].tolist(), row_labels[row_known].tolist())
        assert rank == (-1 if expected is None else expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("order", "CF")
def test_every_dtype(cuda, dtype, order):
    scores, labels = make_case(150, 35, seed=1, levels=30)
    lowest = 0.0 if dtype.kind in "bu" else -100.0
    scores = np.clip(scores * 4, lowest, 100).astype(dtype).copy(order)
    known = some_known(labels.shape, seed=1)
    found = scan(cuda, scores, labels, known, ranks=True)
    check_tables(found.table, scores.astype(np.float64), labels, known)
    check_ranks(found.ranks, scores.astype(np.float64), labels, known)


@pytest.mark.parametrize("num_rows", [1, 7, 31, 32, 33, 64, 65, 257, 1030])
@pytest.mark.parametrize("num_classes", [1, 2, 31, 33, 70])
@pytest.mark.parametrize("form", FORMS)
def test_any_shape(cuda, num_rows, num_classes, form):
    scores, labels = make_case(num_rows, num_classes, seed=2, levels=50)
    known = some_known(labels.shape, seed=2)
    found = scan(cuda, scores, labels, known, form, ranks=True)
    check_tables(found.table, scores, labels, known)
    check_ranks(found.ranks, scores, labels, known)


LAYOUTS = {
    "rows backwards": lambda scores: scores[::-1],
    "classes backwards in column order": lambda scores: np.asfortranarray(scores)[:, ::-1],
    "a window": lambda scores: np.pad(scores, 5)[5:-5, 5:-5],
    "row shards that begin within words": lambda scores: np.split(scores, [3, 3, 200, 231]),
    "shards of several layouts": lambda scores: [scores[:90], np.asfortranarray(scores[90:])],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(cuda, layout):
    scores, labels = make_case(330, 45, seed=3, levels=60)
    known = some_known(labels.shape, seed=3)
    laid = LAYOUTS[layout](scores)
    whole = np.concatenate(laid) if isinstance(laid, list) else laid
    found = scan(cuda, laid, labels, known, ranks=True)
    check_tables(found.table, whole, labels, known)
    check_ranks(found.ranks, whole, labels, known)


@pytest.mark.parametrize("prevalence", [0.2, 0.9])
def test_metrics_of_the_table(cuda, prevalence):
    scores, labels = make_case(60, 12, seed=4, levels=20, prevalence=prevalence)
    known = some_known(labels.shape, seed=4)
    known[:, 3] &= labels[:, 3] == 1  # known positives alone
    known[:, 4] &= labels[:, 4] == 0
    table = scan(cuda, scores, labels, known).table
    for name, textbook in (
        ("average_precision", reference.average_precision),
        ("roc_auc", reference.roc_auc),
        ("expected_sampled_average_precision", reference.expected_sap_by_hypergeometric),
    ):
        expected = [textbook(*column) for column in columns(scores, labels, known)]
        assert_agrees(getattr(table, name)(), expected)
    expected = [reference.calibrated_average_precision(*column, 0.3) for column in columns(scores, labels, known)]
    assert_agrees(table.calibrated_average_precision(0.3), expected)


def test_chance_of_sampled_average_precision(cuda):
    scores, labels = make_case(16, 40, seed=13)
    known = some_known(labels.shape, seed=13)
    counts = [[int(((labels[:, c] == value) & known[:, c]).sum()) for value in (1, 0)] for c in range(40)]
    expected = [reference.chance_of_balanced_ap(*pair) if pair[0] else np.nan for pair in counts]
    assert_agrees(scan(cuda, scores, labels, known).table.sampled_average_precision_chance(), expected)


def test_a_class_of_many_thresholds(cuda):
    # More than 4,096 thresholds, for which a block computes a metric.
    scores, labels = make_case(9_000, 3, seed=5, prevalence=0.7)
    known = some_known(labels.shape, seed=5, share=0.9)
    known[:, 2] = known[:, 0]
    table = scan(cuda, scores, labels, known).table
    check_tables(table, scores, labels, known)
    assert_agrees(table.roc_auc(), [reference_auc(*column) for column in columns(scores, labels, known)])


def reference_auc(scores, labels) -> float:
    """Return the area by ranks; the pair counting of the textbook takes too long for many rows."""
    order = np.argsort(scores, kind="stable")
    ranked = np.asarray(scores)[order]
    middle = (np.searchsorted(ranked, scores, "left") + np.searchsorted(ranked, scores, "right") + 1) / 2
    is_positive = np.asarray(labels) == 1
    count = int(is_positive.sum())
    return (middle[is_positive].sum() - count * (count + 1) / 2) / (count * (len(labels) - count))


def drawn_rows(labels, known, c, trial, seed) -> np.ndarray:
    """Return the rows of the negatives that a trial draws, from the definition of their numbers.

    Negative i is row i if that row is a negative. The other numbers go in order to the negatives from row n on.
    """
    is_negative = (labels[:, c] == 0) & known[:, c]
    positives, n = int(((labels[:, c] == 1) & known[:, c]).sum()), int(is_negative.sum())
    if positives >= n:
        return np.flatnonzero(is_negative)
    displaced = iter(n + np.flatnonzero(is_negative[n:]))
    row_of = np.array([i if is_negative[i] else next(displaced) for i in range(n)])
    last_rows = np.arange(n, n + positives, dtype=np.uint32)  # so that the rows of draws are their numbers
    return row_of[_core.draw_negatives(last_rows, n + positives, c, trial, seed)]


@pytest.mark.parametrize("share", [0.1, 0.6, 0.97])
@pytest.mark.parametrize("num_rows", [40, 300, 1500])
@pytest.mark.parametrize("form", FORMS)
def test_trials_draw_known_negatives_alone(cuda, share, num_rows, form):
    scores, labels = make_case(num_rows, 9, seed=6, levels=200, prevalence=0.15)
    known = some_known(labels.shape, seed=6, share=share)
    trials = scan(cuda, scores, labels, known, form, trials=3, seed=8).trials
    for c in range(9):
        positives = np.flatnonzero((labels[:, c] == 1) & known[:, c])
        for trial in range(3):
            rows = np.concatenate([positives, drawn_rows(labels, known, c, trial, 8)]).astype(int)
            assert_agrees(
                trials[trial, c], reference.average_precision(scores[rows, c].tolist(), labels[rows, c].tolist())
            )


def test_trials_of_many_positives(cuda):
    # More than 1,024 thresholds, whose draws a block counts.
    scores, labels = make_case(6_000, 2, seed=7, prevalence=0.3)
    known = some_known(labels.shape, seed=7, share=0.8)
    trials = scan(cuda, scores, labels, known, trials=2).trials
    for c in range(2):
        positives = np.flatnonzero((labels[:, c] == 1) & known[:, c])
        assert len(positives) > 1024
        for trial in range(2):
            rows = np.concatenate([positives, drawn_rows(labels, known, c, trial, 0)])
            assert_agrees(
                trials[trial, c], reference.average_precision(scores[rows, c].tolist(), labels[rows, c].tolist())
            )


def test_all_known_is_the_same_as_no_mask(cuda):
    scores, labels = make_case(200, 20, seed=8, levels=50)
    plain = rank_scan(on_device(scores, cuda), Positives(*labels.shape, *lists_of(labels == 1)), trials=3, ranks=True)
    nothing = UnknownCells(200, 20, np.zeros(21, np.int64), np.empty(0, np.uint32))
    positives = Positives(*labels.shape, *lists_of(labels == 1), nothing)
    masked = rank_scan(on_device(scores, cuda), positives, trials=3, ranks=True)
    reference.assert_same_table(masked.table, plain.table)
    assert_same_bits(masked.trials, plain.trials)
    assert_same_bits(masked.ranks, plain.ranks)


def test_a_nan_in_an_unknown_cell_is_an_error(cuda):
    scores, labels = make_case(50, 5, seed=9)
    known = np.ones_like(labels, bool)
    known[30, 2], labels[30, 2], scores[30, 2] = False, 0, np.nan
    with pytest.raises(ValueError, match="got NaN at row 30, class 2"):
        scan(cuda, scores, labels, known)


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("num_rows", [33, 150, 700])
def test_effects_of_one_class(cuda, num_rows, order):
    scores, labels = make_case(num_rows, 1, seed=10, levels=40)
    known = some_known(labels.shape, seed=10)
    labels[:2], known[:2] = [[1], [0]], True
    rows = known[:, 0]
    expected = effects_of("cpu", scores[rows], labels[rows], np.ones_like(known[rows]))
    found = effects_of(cuda, scores.copy(order), labels, known)
    assert expected.sums.any()
    assert_same_bits(found.exponents, expected.exponents)
    assert_same_bits(found.sums[rows], expected.sums)
    assert not found.sums[~rows].any()


def effects_of(device, scores, labels, known, groups=None):
    matrix = borrow_matrix("scores", moved(scores, device))
    positives = positives_of(labels, known)
    groups = np.zeros(matrix.num_classes, np.int64) if groups is None else groups
    return row_effects(matrix, positives, rank_scan(moved(scores, device), positives).table, groups, METRICS)


@pytest.mark.parametrize("order", "CF")
def test_effects_are_those_of_the_cpu(cuda, order):
    scores, labels = make_case(330, 45, seed=11, levels=60)
    known = some_known(labels.shape, seed=11)
    groups = np.arange(45) % 3
    expected = effects_of("cpu", scores, labels, known, groups)
    found = effects_of(cuda, scores.copy(order), labels, known, groups)
    assert expected.sums.any()
    assert_same_bits(found.sums, expected.sums)
    assert_same_bits(found.exponents, expected.exponents)


@pytest.mark.parametrize("order", "CF")
def test_weighted_average_precision(cuda, order):
    scores, labels = make_case(120, 10, seed=12, levels=30)
    known = some_known(labels.shape, seed=12)
    weights = np.random.default_rng(12).integers(0, 5, 120).astype(np.float32)
    matrix = borrow_matrix("scores", on_device(scores.copy(order), cuda))
    column = borrow_matrix("sample_weight", on_device(weights, cuda))
    found = _core.weighted_average_precision(*positives_of(labels, known).core_with(matrix), column.core, 1)
    for c in range(10):
        rows = known[:, c]
        expected = reference.average_precision(
            scores[rows, c].tolist(), labels[rows, c].tolist(), weights[rows].astype(float).tolist()
        )
        assert_agrees(found[c], expected)


def marked(labels, known, dtype, mark) -> np.ndarray:
    """Return labels in which a value marks unknown cells."""
    return np.where(known, labels, mark).astype(dtype)


MARKS = [(np.int8, -1), (np.int64, -1), (np.float32, -1), (np.float16, np.nan), (np.float64, np.nan)]


def check_read(positives, labels, known) -> None:
    for c in range(labels.shape[1]):
        assert positives.rows_of(c).tolist() == np.flatnonzero((labels[:, c] == 1) & known[:, c]).tolist()
        assert positives.unknown.rows_of(c).tolist() == np.flatnonzero(~known[:, c]).tolist()
    assert_same_bits(positives.unknown.counts, np.count_nonzero(~known, axis=0))
    assert_same_bits(positives.num_negatives, ((labels == 0) & known).sum(0))


@pytest.mark.parametrize(("dtype", "mark"), MARKS)
@pytest.mark.parametrize("layout", ["C", "F", "every third row", "row shards"])
@pytest.mark.parametrize("num_rows", [31, 333])
def test_marks_in_labels_on_the_device(cuda, dtype, mark, layout, num_rows):
    _, labels = make_case(num_rows, 37, seed=14)
    known = some_known(labels.shape, seed=14)
    read = marked(labels, known, dtype, mark)
    laid = {
        "C": read,
        "F": np.asfortranarray(read),
        "every third row": np.repeat(read, 3, 0)[::3],
        "row shards": np.split(read, [7, 7, 25]),
    }[layout]
    value = "nan" if mark != mark else -1
    positives = Positives.from_labels(moved(laid, cuda), num_rows, 37, unknown=value)
    assert isinstance(positives.unknown, DeviceUnknownCells)  # nothing has been copied to the host
    check_read(positives, labels, known)
    check_read(pickle.loads(pickle.dumps(positives)), labels, known)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.parametrize("order", "CF")
def test_masks_of_labels_on_the_device(cuda, dtype, where, order):
    _, labels = make_case(150, 33, seed=15)
    known = some_known(labels.shape, seed=15)
    read = np.where(known, labels, 0.5).astype(np.float32)  # what a mask hides is not read
    read[~known & (labels == 1)] = 1
    mask = known.astype(dtype).copy(order)
    mask = mask if where == "cpu" else on_device(mask, cuda)
    positives = Positives.from_labels(on_device(read, cuda), 150, 33, mask=mask)
    check_read(positives, labels, known)


def test_a_mask_and_marks_together(cuda):
    _, labels = make_case(100, 20, seed=16)
    one, other = some_known(labels.shape, seed=16), some_known(labels.shape, seed=17)
    read = on_device(marked(labels, one, np.int8, -1), cuda)
    check_read(Positives.from_labels(read, 100, 20, mask=on_device(other, cuda), unknown=-1), labels, one & other)


def test_unknown_cells_on_the_device_are_used_there(cuda):
    scores, labels = make_case(150, 33, seed=18, levels=40)
    known = some_known(labels.shape, seed=18)
    scores_there = on_device(scores, cuda)
    positives = Positives.from_labels(on_device(marked(labels, known, np.int8, -1), cuda), 150, 33, unknown=-1)
    found = rank_scan(scores_there, positives, trials=2, ranks=True)
    expected = rank_scan(scores_there, positives_of(labels, known), trials=2, ranks=True)
    reference.assert_same_table(found.table, expected.table)
    assert_same_bits(found.trials, expected.trials)
    assert_same_bits(found.ranks, expected.ranks)
    assert "bits" not in vars(positives.unknown)
    assert "_on_host" not in vars(positives)


def test_cells_on_the_device_are_selected_and_joined(cuda):
    labels = make_case(131, 5, seed=4)[1]
    mask = np.random.default_rng(4).random(labels.shape) < 0.7
    kept = np.random.default_rng(5).random(131) < 0.6
    here = Positives.from_labels(labels, mask=mask)
    there = Positives.from_labels(on_device(labels, cuda), mask=on_device(mask, cuda))
    assert type(there.unknown) is not type(here.unknown)
    assert there.select(kept).unknown.equals(here.select(kept).unknown)
    assert there.unknown.union(here.select(np.ones(131, bool)).unknown).equals(here.unknown)


def test_labels_without_unknown_cells(cuda):
    _, labels = make_case(40, 6, seed=19)
    there = on_device(labels.astype(np.int8), cuda)
    for options in ({"unknown": -1}, {"mask": on_device(np.ones((40, 6), bool), cuda)}):
        assert Positives.from_labels(there, 40, 6, **options).unknown is None


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        (0.5, {"unknown": -1}, "labels: expected 0, 1 or -1 for an unknown cell, got 0.5 at row 17, class 3"),
        (np.nan, {"unknown": -1}, "got nan at row 17, class 3"),
        (-1, {"unknown": "nan"}, "labels: expected 0, 1 or nan for an unknown cell, got -1.0 at row 17, class 3"),
        (-1, {}, "labels: expected 0 or 1, got -1.0 at row 17, class 3; -1 often marks an unknown label"),
    ],
)
def test_other_values_are_named(cuda, value, options, message):
    _, labels = make_case(40, 6, seed=20)
    read = labels.astype(np.float32)
    read[17, 3] = read[30, 1] = value
    with pytest.raises(ValueError, match=message):
        Positives.from_labels(on_device(read, cuda), 40, 6, **options)


def test_a_mask_that_is_none_is_named(cuda):
    _, labels = make_case(40, 6, seed=21)
    mask = np.ones((40, 6), np.float32)
    mask[20, 4], mask[33, 1] = 0.5, 2
    there = on_device(labels.astype(np.int8), cuda)
    with pytest.raises(ValueError, match=r"mask: expected 1 .* got 0.5 at row 20, class 4"):
        Positives.from_labels(there, 40, 6, mask=on_device(mask, cuda))
    with pytest.raises(ValueError, match=r"mask: expected \(40, 6\) as labels, got \(40, 5\)"):
        Positives.from_labels(there, 40, 6, mask=on_device(mask[:, :5], cuda))
    unsigned = np.full((40, 6), 255, np.uint8)  # a -1 that somebody stored in bytes
    with pytest.raises(ValueError, match="got 255 at row 0, class 0"):
        Positives.from_labels(on_device(unsigned, cuda), 40, 6, unknown=-1)


def test_an_unknown_positive_is_found(cuda):
    _, labels = make_case(70, 5, seed=22)
    row, column = 40, 2
    labels[row, column] = 1
    known = np.ones((70, 5), bool)
    known[row, column] = False
    matrix = borrow_matrix("labels", on_device(labels.astype(np.int8), cuda))
    cells = _core.upload_unknown(matrix.core, cells_of(known, "lists").core)
    assert cells.first_positive(_core.find_positives(matrix.core, 1, None)) == (row, column)
    assert cells.first_positive(_core.find_positives(matrix.core, 1, None, 0, cells)) is None


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_functions_take_marks_and_masks_of_labels_on_the_device(cuda, where):
    scores, labels = make_case(150, 33, seed=23, levels=40)
    known = some_known(labels.shape, seed=23)
    there = on_device(scores, cuda)
    expected = [reference.average_precision(*column) for column in columns(scores, labels, known)]
    hidden = on_device(np.where(known, labels, 0.5).astype(np.float32), cuda)
    mask = known if where == "cpu" else on_device(known, cuda)
    assert_agrees(average_precision(there, hidden, mask=mask), expected)
    plain, all_known = on_device(labels, cuda), np.ones_like(known)
    all_known = all_known if where == "cpu" else on_device(all_known, cuda)
    assert_same_bits(average_precision(there, plain, mask=all_known), average_precision(there, plain))
    three_codes = np.where(known, np.where(labels == 1, 1, np.nan), -1)  # CheXpert: a missing value is a negative
    assert_agrees(average_precision(there, on_device(three_codes, cuda), unknown="chexpert"), expected)
    difficult = np.where(known, np.where(labels == 1, 1, -1), 0).astype(np.int8)  # VOC
    assert_agrees(average_precision(there, on_device(difficult, cuda), unknown="voc"), expected)
