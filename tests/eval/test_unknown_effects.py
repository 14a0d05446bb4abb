"""Effects, intervals, resampling, calibration, thresholds and comparisons of labels with unknown cells.

The reference is the same for all: for each class delete the rows that do not know it, then compute.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from cases import make_case
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import assert_same_bits
from sklearn.metrics import average_precision_score, brier_score_loss
from test_effects import DROP, PREVALENCE, dropped_one_by_one, values_of

import vltr_eval
from vltr_eval import rank_table
from vltr_eval._base import _core
from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._engine.applied_thresholds import count_predicted, read_thresholds
from vltr_eval._engine.calibration import Calibration
from vltr_eval._engine.class_details import details_of
from vltr_eval._engine.effects import METRICS, class_variances, clustered_variances, paired_variances, row_effects
from vltr_eval._engine.fingerprints import label_fingerprint
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_scan import rank_scan
from vltr_eval._engine.unknown import UnknownCells
from vltr_eval.comparison import compare
from vltr_eval.comparison.evaluation import Evaluation
from vltr_eval.intervals import jackknife_error
from vltr_eval.metrics.thresholds import pooled_table
from vltr_eval.priors.weights import weightings_of

FORMS = ("lists", "bits")
SHARES = (0.1, 0.4, 0.9)


def unknown_cells(known: np.ndarray, form: str = "lists") -> UnknownCells:
    """The cells that are not known, in one of the two forms. known: (N, C) bool."""
    num_rows, num_classes = known.shape
    if form == "bits":
        flags = np.zeros((num_classes, -(-num_rows // 64) * 64), np.uint8)
        flags[:, :num_rows] = ~known.T
        words = np.packbits(flags, axis=1, bitorder="little").view("<u8").astype(np.uint64)
        return UnknownCells(num_rows, num_classes, bits=words)
    classes, rows = np.nonzero(~known.T)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(classes, minlength=num_classes))]).astype(np.int64)
    return UnknownCells(num_rows, num_classes, indptr, rows.astype(np.uint32))


def labels_of(labels: np.ndarray, known: np.ndarray | None, form: str = "lists") -> Positives:
    whole = Positives.from_labels(np.ascontiguousarray(labels if known is None else labels & known))
    return whole if known is None else whole.with_unknown(unknown_cells(known, form))


def masked_case(num_rows, num_classes, seed, share, levels=None):
    """Scores, 0/1 labels and known cells. One class is all known, and one is known to few rows."""
    scores, labels = make_case(num_rows, num_classes, seed=seed, levels=levels)
    rng = np.random.default_rng(seed + 1)
    known = rng.random(labels.shape) >= share
    known[:, 0] = True
    if num_classes > 1:
        known[num_rows // 8 :, 1] = False
    return scores, labels.astype(np.uint8), known


def deleted(c, known, *arrays):
    """The rows of class c alone that know it, of each array."""
    rows = known[:, c]
    return [np.ascontiguousarray(array[rows, c : c + 1]) for array in arrays]


def effects_of(scores, positives, groups=None, metrics=METRICS):
    matrix = borrow_matrix("scores", scores)
    groups = np.arange(matrix.num_classes) if groups is None else groups
    table = rank_scan(matrix, positives).table
    return row_effects(matrix, positives, table, groups, metrics, prevalence=PREVALENCE)


@pytest.mark.parametrize("levels", [None, 4])
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("metric", METRICS)
def test_the_effect_of_a_row_is_that_of_the_rows_that_know_the_class_and_0_elsewhere(metric, share, levels):
    scores, labels, known = masked_case(40, 5, seed=3, share=share, levels=levels)
    effects = values_of(effects_of(scores, labels_of(labels, known), metrics=[metric]))[:, :, 0]
    for c in range(labels.shape[1]):
        expected = np.zeros(len(scores))
        own_scores, own_labels = deleted(c, known, scores, labels)
        expected[known[:, c]] = dropped_one_by_one(metric, own_scores[:, 0], own_labels[:, 0])
        np.testing.assert_allclose(effects[:, c], expected, rtol=0, atol=DROP)
        assert (effects[~known[:, c], c] == 0).all()


@pytest.mark.parametrize("share", SHARES)
def test_effects_have_the_same_bits_from_lists_and_bits_and_in_chunks(share):
    scores, labels, known = masked_case(2500, 130, seed=4, share=share)
    groups = np.arange(130) % 3
    matrix = borrow_matrix("scores", scores)
    expected = effects_of(scores, labels_of(labels, known), groups)
    found = effects_of(scores, labels_of(labels, known, "bits"), groups)
    assert_same_bits(found.sums, expected.sums)
    for threads in (1, 2):
        positives = labels_of(labels, known, "bits")
        table = rank_scan(matrix, positives).table
        parts = []
        for first, stop in ((0, 700), (700, 1749), (1749, 2500)):
            kept = np.zeros(2500, bool)
            kept[first:stop] = True
            part = row_effects(
                borrow_matrix("scores", scores[first:stop]),
                positives.select(kept),
                table,
                groups,
                METRICS,
                prevalence=PREVALENCE,
                threads=threads,
            )
            parts.append(part.sums)
        assert_same_bits(np.concatenate(parts), expected.sums)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("metric", METRICS)
def test_variances_are_those_of_the_class_with_its_unknown_rows_deleted(metric, share, form):
    scores, labels, known = masked_case(2100, 20, seed=5, share=share, levels=300)
    other = scores + np.random.default_rng(6).normal(size=scores.shape).astype(scores.dtype)
    clusters = np.random.default_rng(7).integers(0, 150, len(scores))
    positives = labels_of(labels, known, form)
    matrices = [borrow_matrix("scores", array) for array in (scores, other)]
    tables = [rank_scan(matrix, positives).table for matrix in matrices]
    single = class_variances(tables[0], metric, prevalence=PREVALENCE)
    clustered = clustered_variances(matrices[0], positives, tables[0], metric, clusters, prevalence=PREVALENCE)
    models = (matrices[0], tables[0], matrices[1], tables[1], positives, metric)
    paired = paired_variances(*models, prevalence=PREVALENCE)
    both = paired_variances(*models, clusters=clusters, prevalence=PREVALENCE)
    assert np.isfinite(paired).sum() > 10
    for c in range(labels.shape[1]):
        own_a, own_b, own_labels = deleted(c, known, scores, other, labels)
        own = labels_of(own_labels, None)
        own_matrices = [borrow_matrix("scores", array) for array in (own_a, own_b)]
        own_tables = [rank_scan(matrix, own).table for matrix in own_matrices]
        of_rows = clusters[known[:, c]]
        own_models = (own_matrices[0], own_tables[0], own_matrices[1], own_tables[1], own, metric)
        expected = [
            class_variances(own_tables[0], metric, prevalence=PREVALENCE),
            clustered_variances(own_matrices[0], own, own_tables[0], metric, of_rows, prevalence=PREVALENCE),
            paired_variances(*own_models, prevalence=PREVALENCE),
            paired_variances(*own_models, clusters=of_rows, prevalence=PREVALENCE),
        ]
        for found, alone in zip((single, clustered, paired, both), expected, strict=True):
            assert_same_bits(found[c : c + 1], alone)


def test_a_table_of_another_mask_is_refused():
    scores, labels, known = masked_case(50, 4, seed=8, share=0.3)
    matrix = borrow_matrix("scores", scores)
    masked, plain = labels_of(labels, known), labels_of(labels & known, None)
    table = rank_scan(matrix, plain).table
    with pytest.raises(ValueError, match=r"table: expected the rank table of labels with \d+ unknown cells of class 1"):
        clustered_variances(matrix, masked, table, "average_precision", np.arange(50))
    with pytest.raises(ValueError, match="count it with the same mask"):
        row_effects(matrix, masked, table, np.arange(4), METRICS)


def test_the_core_refuses_models_of_two_masks():
    scores, labels, known = masked_case(50, 4, seed=8, share=0.3)
    matrix = borrow_matrix("scores", scores)
    one, other = labels_of(labels, known), labels_of(labels, known)
    table = rank_scan(matrix, one).table
    columns = (table.indptr, table.thresholds, table.tp, table.fp, table.tied)
    known_a, offset, rows = one.core_with(matrix)
    known_b, *_ = other.core_with(matrix)
    with pytest.raises(ValueError, match="scores_b: expected the unknown cells of scores_a"):
        _core.paired_variances(known_a, columns, known_b, columns, offset, rows, None, 0, 0, 0.5, 1, None)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", SHARES)
def test_a_replicate_is_that_of_the_class_with_its_unknown_rows_deleted(share, form, clustered):
    scores, labels, known = masked_case(300, 6, seed=9, share=share, levels=40)
    clusters = np.random.default_rng(2).integers(0, 60, 300) if clustered else None
    names = ("average_precision", "roc_auc", "expected_sampled_average_precision")
    options = {"seed": 5, "clusters": clusters, "method": "multinomial" if clustered else "poisson"}
    positives = labels_of(labels, known, form)
    found = vltr_eval.bootstrap(scores, positives, replicates=20, metrics=names, **options).by_class
    weights = vltr_eval.bootstrap_weights(300, 20, **options)
    for c in range(6):
        own_scores, own_labels = deleted(c, known, scores, labels)
        for replicate, weight in enumerate(weights[:, known[:, c]]):
            repeated = np.repeat(own_scores, weight, axis=0), np.repeat(own_labels, weight, axis=0)
            if not len(repeated[0]):
                assert all(np.isnan(found[name][replicate, c]) for name in names)
                continue
            table = rank_table(*repeated)
            for name in names:
                assert_same_bits(found[name][replicate, c : c + 1], getattr(table, name)())


@pytest.mark.parametrize("path", ["search", "sort"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("num_rows", [60, 5000])
def test_weighted_ap_leaves_unknown_cells_out(num_rows, form, path, monkeypatch):
    monkeypatch.setenv("VLTR_PATH", path)
    scores, labels, known = masked_case(num_rows, 4, seed=10, share=0.3, levels=2000)
    labels[:, 3] = np.random.default_rng(4).random(num_rows) < 0.5  # above 1,024 thresholds, with 5,000 rows
    weights = np.random.default_rng(3).integers(0, 9, num_rows) / 4.0
    found = vltr_eval.average_precision(scores, labels_of(labels, known, form), sample_weight=weights)
    for c in range(4):
        own_scores, own_labels = deleted(c, known, scores, labels)
        own_weights = weights[known[:, c]]
        alone = vltr_eval.average_precision(own_scores, own_labels, sample_weight=own_weights)
        assert_same_bits(found[c : c + 1], alone)
        if own_weights @ own_labels[:, 0] > 0:
            expected = average_precision_score(own_labels[:, 0], own_scores[:, 0], sample_weight=own_weights)
            assert found[c] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", SHARES)
def test_calibration_leaves_unknown_cells_out(share, form, layout):
    num_rows, num_classes = 1300, 140
    rng = np.random.default_rng(11)
    scores = np.asarray(rng.random((num_rows, num_classes)), np.float32, order=layout)
    labels = (rng.random(scores.shape) < scores).astype(np.uint8)
    known = rng.random(scores.shape) >= share
    known[:, 7] = False  # a class that no row knows
    found = vltr_eval.calibration(scores, labels_of(labels, known, form), bins=10)
    gaps, squares = 0.0, 0.0
    for c in range(num_classes):
        own_scores, own_labels = deleted(c, known, scores, labels)
        if c == 7:
            assert np.isnan(found.ece[c])
            assert np.isnan(found.brier[c])
            continue
        alone = vltr_eval.calibration(own_scores, own_labels, bins=10)
        assert_same_bits(found.sums[c : c + 1], alone.sums)
        assert found.ece[c] == alone.ece[0]
        expected = brier_score_loss(own_labels[:, 0], own_scores[:, 0].astype(np.float64))
        assert found.brier[c] == pytest.approx(expected, abs=1e-9)
        squares += alone.brier[0] * len(own_labels)
        gaps += alone.ece[0] * len(own_labels)
    together = found.of_classes(np.arange(num_classes)).values
    assert together["Brier"] == pytest.approx(squares / known.sum(), abs=1e-12)
    assert together["ECE"] <= gaps / known.sum()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", SHARES)
def test_details_of_classes_leave_unknown_cells_out(share, form):
    scores, labels, known = masked_case(2300, 70, seed=12, share=share, levels=500)
    matrix = borrow_matrix("scores", scores)
    positives = labels_of(labels, known, form)
    found = details_of(matrix, positives, rank_scan(matrix, positives).table)
    for c in range(70):
        own_scores, own_labels = deleted(c, known, scores, labels)
        own, own_matrix = labels_of(own_labels, None), borrow_matrix("scores", own_scores)
        alone = details_of(own_matrix, own, rank_scan(own_matrix, own).table)
        numbers = np.append(np.flatnonzero(known[:, c]), -1)
        for name in ("missed_rows", "false_rows"):
            expected = numbers[getattr(alone.mistakes, name)[0]]
            np.testing.assert_array_equal(getattr(found.mistakes, name)[c], expected)
        for name in ("low", "high", "positives", "negatives"):
            assert_same_bits(getattr(found.histograms, name)[c], getattr(alone.histograms, name)[0])


@pytest.mark.parametrize("form", FORMS)
def test_thresholds_are_chosen_and_applied_without_unknown_cells(form):
    scores, labels, known = masked_case(1500, 9, seed=13, share=0.4, levels=60)
    positives = labels_of(labels, known, form)
    chosen = vltr_eval.choose_thresholds(scores, positives, min_positives=1, pool_by="overall")
    matrix = borrow_matrix("scores", scores)
    predicted = count_predicted(matrix, read_thresholds(chosen, 9).for_scores(matrix.dtype), unknown=positives.unknown)
    for c in range(9):
        own_scores, own_labels = deleted(c, known, scores, labels)
        if not own_labels.any():
            assert chosen.chosen[c] == "none"
            continue
        alone = vltr_eval.choose_thresholds(own_scores, own_labels, min_positives=1, pool_by="overall")
        assert chosen.values[c] == alone.values[0]
        assert predicted[c] == np.count_nonzero(own_scores >= alone.values[0])


@pytest.mark.parametrize("form", FORMS)
def test_a_pool_has_the_known_cells_of_its_classes(form, monkeypatch):
    monkeypatch.setattr("vltr_eval.metrics.thresholds._BLOCK_BYTES", 1 << 10)  # several blocks, from any row
    scores, labels, known = masked_case(500, 5, seed=14, share=0.4, levels=30)
    known[100:300] = False  # blocks without a known cell
    members = np.array([0, 2, 4])
    table = pooled_table(borrow_matrix("scores", scores), labels_of(labels, known, form), members)
    cells = known[:, members]
    expected = rank_table(scores[:, members][cells][:, None], labels[:, members][cells][:, None])
    assert table.num_rows == cells.sum()
    for name in ("thresholds", "tp", "fp", "tied"):
        assert_same_bits(getattr(table, name), getattr(expected, name))


@pytest.mark.parametrize("metric", ["average_precision", "roc_auc"])
def test_the_effect_on_a_mean_is_over_the_classes_that_the_row_knows(metric):
    scores, labels, known = masked_case(60, 5, seed=15, share=0.3)
    found = vltr_eval.metrics.effects.row_effects(scores, labels_of(labels, known), metric=metric)["overall"]

    def mean(rows):
        values = []
        for c in range(5):
            own = rows & known[:, c]
            if labels[own, c].any() and not labels[own, c].all():
                table = rank_table(scores[own, c : c + 1], labels[own, c : c + 1])
                values.append(getattr(table, metric)()[0])
        return np.mean(values)

    whole = np.ones(60, bool)
    for row in range(60):
        left = whole.copy()
        left[row] = False
        assert found[row] == pytest.approx(mean(left) - mean(whole), abs=1e-10)


@given(st.integers(0, 2**32 - 1), st.integers(2, 80), st.integers(1, 5), st.sampled_from(SHARES))
@settings(max_examples=30, deadline=None)
def test_neither_form_nor_the_order_of_rows_changes_a_bit(seed, num_rows, num_classes, share):
    scores, labels, known = masked_case(num_rows, num_classes, seed, share, levels=5)
    order = np.random.default_rng(seed).permutation(num_rows)
    expected = effects_of(scores, labels_of(labels, known))
    for form in FORMS:
        found = effects_of(scores[order], labels_of(labels[order], known[order], form))
        assert_same_bits(found.sums, np.ascontiguousarray(expected.sums[order]))
        assert_same_bits(found.exponents, expected.exponents)


def test_fingerprints_have_the_mask_whatever_its_form():
    _, labels, known = masked_case(200, 5, seed=16, share=0.3)
    labels = labels & known
    plain = label_fingerprint(labels_of(labels, None))
    masked = label_fingerprint(labels_of(labels, known))
    assert masked == label_fingerprint(labels_of(labels, known, "bits")) != plain
    assert label_fingerprint(labels_of(labels, np.ones_like(known))) == plain
    order = np.random.default_rng(1).permutation(200)
    shuffled = labels_of(labels[order], known[order])
    assert label_fingerprint(shuffled, np.argsort(order)) == masked != label_fingerprint(shuffled)


OPTIONS = {"sap": None, "topk": (1,), "train_counts": [200, 50, 5, 60, 1, 7]}


def test_an_evaluation_keeps_the_mask_and_is_compared_with_its_own_alone(tmp_path):
    scores, labels, known = masked_case(400, 6, seed=17, share=0.3)
    labels = labels & known
    new = scores + 0.3 * labels
    found = {}
    for name, cells, form in (("mask", known, "lists"), ("bits", known, "bits"), ("plain", None, "lists")):
        evaluation = Evaluation.from_predictions(scores, labels_of(labels, cells, form), **OPTIONS)
        evaluation.save(tmp_path / name)
        found[name] = evaluation
    assert (tmp_path / "mask").read_bytes() == (tmp_path / "bits").read_bytes()
    loaded = Evaluation.load(tmp_path / "mask")
    assert_same_bits(loaded.table.num_negatives, found["mask"].table.num_negatives)
    assert_same_bits(loaded.table.roc_auc(), found["mask"].table.roc_auc())
    better = Evaluation.from_predictions(new, labels_of(labels, known), **OPTIONS)
    from_files = compare(tmp_path / "mask", better)
    at_once = compare(scores, new, labels=labels_of(labels, known), **OPTIONS)
    for one, other in zip(from_files.systems[0].means, at_once.systems[0].means, strict=True):
        assert repr(one) == repr(other)  # with NaN
    with pytest.raises(
        ValueError, match=r"expected the 0 unknown cells of .*, got [1-9][0-9]*; evaluate both with the"
    ):
        compare(found["plain"], better)
    row = np.flatnonzero(~known[:, 2])[0]
    other_row = np.flatnonzero(known[:, 2] & (labels[:, 2] == 0))[0]
    moved = known.copy()
    moved[row, 2], moved[other_row, 2] = True, False
    elsewhere = Evaluation.from_predictions(scores, labels_of(labels, moved), **OPTIONS)
    with pytest.raises(ValueError, match="expected the labels of"):
        compare(elsewhere, better)


def test_evaluations_without_unknown_cells_are_the_files_of_before(tmp_path):
    scores, labels, known = masked_case(200, 6, seed=18, share=0.3)
    plain = Evaluation.from_predictions(scores, labels, **OPTIONS)
    known[:] = True
    masked = Evaluation.from_predictions(scores, labels_of(labels, known), **OPTIONS)
    plain.save(tmp_path / "plain")
    masked.save(tmp_path / "masked")
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "masked").read_bytes()
    with np.load(tmp_path / "plain") as archive:
        assert str(archive["format"]) == "vltr-eval/evaluation/1"
        assert "unknown" not in archive


def test_single_classes_are_compared_on_the_rows_that_know_them():
    scores, labels, known = masked_case(500, 4, seed=19, share=0.4)
    new = scores + np.random.default_rng(5).normal(size=scores.shape).astype(np.float32)
    options = {"sap": None, "topk": None}
    found = compare(scores, new, labels=labels_of(labels, known, "bits"), **options).systems[0].classes
    for c in range(4):
        own_scores, own_new, own_labels = deleted(c, known, scores, new, labels)
        if not own_labels.any():
            continue
        alone = compare(own_scores, own_new, labels=own_labels, **options).systems[0].classes
        for name in ("difference", "error"):
            np.testing.assert_equal(found[name][c], alone[name][0])
        for name in ("low", "high", "p_value"):  # quantiles of all classes at once may differ in the last bit
            np.testing.assert_allclose(found[name][c], alone[name][0], rtol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_a_slice_has_the_means_of_its_rows_alone(form):
    scores, labels, known = masked_case(300, 5, seed=23, share=0.3)
    scene = np.random.default_rng(1).choice(["day", "night"], 300)
    options = {"topk": (1,), "sap": 3, "interval": 0.95}
    report = vltr_eval.evaluate(scores, labels_of(labels, known, form), slices={"scene": scene}, **options)
    assert len(report.slices) == 2
    for part in report.slices:
        rows = scene == part.name
        alone = vltr_eval.evaluate(scores[rows], labels_of(labels[rows], known[rows]), **options)
        assert repr(part.groups) == repr(alone.groups)


def test_weights_of_another_class_distribution_refuse_unknown_cells():
    _, labels, known = masked_case(60, 3, seed=20, share=0.3)
    with pytest.raises(ValueError, match=r"prior: expected labels that are all known, got \d+ unknown cells"):
        weightings_of(labels_of(labels, known), {"given": np.ones(3)})


# Seven cells of ten are known at random. The Monte Carlo standard error of a coverage of 95 % in 200 sets is 1.5 %.
# Errors that are 30 % too small would cover 83 %: the limits are three standard errors and the normal approximation.
@pytest.mark.parametrize("metric", ["average_precision", "roc_auc"])
def test_intervals_cover_the_expected_mean_where_cells_are_unknown_at_random(metric):
    rng = np.random.default_rng(21)
    num_sets, num_rows, num_classes = 200, 300, 12
    shares = np.linspace(0.05, 0.3, num_classes)
    means, errors = [], []
    for _ in range(num_sets):
        labels = (rng.random((num_rows, num_classes)) < shares).astype(np.uint8)
        common = rng.normal(size=(num_rows, 1))  # classes depend on each other within a row
        scores = (rng.normal(size=labels.shape) + 0.7 * common + 1.2 * labels).astype(np.float32)
        positives = labels_of(labels, rng.random(labels.shape) >= 0.3)
        effects = vltr_eval.metrics.effects.row_effects(scores, positives, metric=metric)["overall"]
        means.append(np.nanmean(getattr(rank_table(scores, positives), metric)()))
        errors.append(jackknife_error(effects))
    covered = np.abs(np.array(means) - np.mean(means)) <= 1.96 * np.array(errors)
    assert 0.90 <= covered.mean() <= 0.99


def calls_of_the_core(scores, positives):
    """A call of every function of the core that reads scores of labels, by its name, as (name, results)."""
    matrix = borrow_matrix("scores", scores)
    known, offset, rows = positives.core_with(matrix)
    table = rank_scan(matrix, positives).table
    columns = (table.indptr, table.thresholds, table.tp, table.fp, table.tied)
    weights = np.linspace(0.5, 2.0, 2 * len(scores)).reshape(2, -1)
    clusters = (np.arange(len(scores)) // 2).astype(np.uint32)
    count = int(clusters.max()) + 1
    of_table = () if table.unknown is None else (table.unknown,)
    groups = np.arange(matrix.num_classes)
    start = np.concatenate([[0], np.cumsum(table.positives_at())])
    order = np.argsort(rows, kind="stable")
    classes = np.repeat(np.arange(matrix.num_classes, dtype=np.uint32), np.diff(offset))[order]
    by_row = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(scores)))])
    own = scores[rows[order], classes]
    low, high = (np.full(matrix.num_classes, value, np.float32) for value in (0.0, 1.0))
    return {
        "rank_scan": lambda: _core.rank_scan(known, offset, rows, 3, 1, True, None, 1, None),
        "scan_metric": lambda: _core.scan_metric(known, offset, rows, "roc_auc", 1),
        "positive_scores": lambda: _core.positive_scores(known, offset, rows, 1)[:2],
        "weighted_average_precision": lambda: _core.weighted_average_precision(known, offset, rows, weights[0], 1),
        "weighted_average_precisions": lambda: _core.weighted_average_precisions(known, offset, rows, weights, 1),
        "count_tied_before": lambda: _core.count_tied_before(known, offset, rows, columns[:2], start, 1, None),
        "count_at_common": lambda: _core.count_at_common(known, np.float32([0.3, 0.5]), False, 1, None),
        "count_at_both": lambda: _core.count_at_both(known, np.float32([0.3, 0.5]), np.int64([0, 1, 2]), 1, None),
        "count_in_rows": lambda: _core.count_in_rows(known, by_row, classes, own, 1, None),
        "top_of_rows": lambda: _core.top_of_rows(known, by_row, classes, 2, 0, 1, None),
        "calibration_sums": lambda: (
            Calibration(5, len(scores), _core.calibration_sums(known, offset, rows, 5, 1, None)).sums
        ),
        "score_curves": lambda: _core.score_curves(known, offset, rows, [(0, False, 0, 1)], 1, None),
        "class_extremes": lambda: _core.class_extremes(known, offset, rows, 3, 1, None),
        "score_histograms": lambda: _core.score_histograms(known, offset, rows, low, high, 6, 1, None),
        "row_effects": lambda: _core.row_effects(
            known, offset, rows, columns, len(scores), groups, len(groups), [0, 1, 2, 3], 0.5, 1, None, *of_table
        ),
        "clustered_variances": lambda: _core.clustered_variances(
            known, columns, offset, rows, clusters, count, 1, 0.5, 1, None
        ),
        "paired_variances": lambda: _core.paired_variances(
            known, columns, known, columns, offset, rows, clusters, count, 1, 0.5, 1, None
        ),
        "bootstrap": lambda: _core.bootstrap(
            known, offset, rows, None, len(scores), 4, "poisson", 1, ["roc_auc", "average_precision"], None, [], 1, None
        ),
    }


NO_LABELS = {
    "find_positives": "its matrix has the labels",
    "find_label_cells": "its matrix has the labels",
    "find_unknown": "its matrix has the mask",
    "count_reached": "it reads single cells that the caller lists",
    "read_floor": "it measures how fast a matrix is read",
    "reduce_rows": "it makes scores of scores, and the labels of its rows are compared in Python",
}


def flat(found):
    if isinstance(found, dict):
        found = [found[name] for name in sorted(found)]
    if isinstance(found, (tuple, list)):
        return [array for one in found for array in flat(one)]
    return [] if found is None else [np.asarray(found)]


def same(one, other):
    pairs = zip(flat(one), flat(other), strict=True)
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)


def test_every_function_of_the_core_respects_the_mask():
    scores, labels, known = masked_case(160, 6, seed=22, share=0.4)
    scores = np.float32(np.argsort(np.argsort(scores, axis=0), axis=0) / 200)  # probabilities
    labels = labels & known
    changed = scores.copy()
    changed[~known] = 1 - changed[~known]
    masked, plain = labels_of(labels, known), labels_of(labels, None)
    takes_scores = {
        name
        for name, function in inspect.getmembers(_core, callable)
        if "_core.Matrix" in (getattr(function, "__doc__", "") or "") and not inspect.isclass(function)
    }
    before, after = calls_of_the_core(scores, masked), calls_of_the_core(changed, masked)
    assert takes_scores - set(NO_LABELS) == set(before)
    ignored, trivial = [], []
    for name in before:
        if not same(before[name](), after[name]()):
            ignored.append(name)
        if name not in ("positive_scores", "paired_variances") and same(
            calls_of_the_core(scores, plain)[name](), calls_of_the_core(changed, plain)[name]()
        ):
            trivial.append(name)  # the changed scores do not matter even without a mask
    assert (ignored, trivial) == ([], [])
