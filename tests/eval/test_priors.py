"""Test sets under other class distributions: row weights, and the results of `evaluate` with them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import assert_agrees, assert_same_bits
from scipy.optimize import minimize
from sklearn.metrics import average_precision_score

import vltr_eval
from vltr_eval import evaluate, prior_weights
from vltr_eval.priors import raking
from vltr_eval.report.names import name_under_prior
from vltr_eval.report.report import Report

TRAIN_COUNTS = [900, 600, 300, 200, 90, 8]
PRIORS = ("longtail", "uniform", "inverse")

REACHED = 1e-9
"""Total variation up to which a distribution is promised to be met where it can be."""


def example(num_rows=200, *, seed=0, ties=True):
    """Return scores and labels (N, 6): rows with several labels and with none, and single-label rows of each class."""
    rng = np.random.default_rng(seed)
    labels = rng.random((num_rows, 6)) < [0.3, 0.25, 0.2, 0.15, 0.1, 0.08]
    labels[:8] = np.eye(8, 6, dtype=bool)  # each class once alone, and two rows without labels
    scores = rng.normal(size=labels.shape) + labels
    return (scores.round(1) if ties else scores).astype(np.float32), labels


def shares_of(labels, weights) -> list[float]:
    """Return the share of each class among all weighted labels, by loops over rows."""
    totals = [math.fsum(weights[row] for row in range(len(labels)) if labels[row][c]) for c in range(len(labels[0]))]
    return [total / math.fsum(totals) for total in totals]


# ---------------------------------------------------------------------------------------------------------------------
# One label a row: the closed form
# ---------------------------------------------------------------------------------------------------------------------

INDICES = [0] * 12 + [1] * 7 + [2] * 5 + [3]


@pytest.mark.parametrize(
    ("prior", "frequencies"),
    [
        ("longtail", [100, 50, 10, 3]),
        ("uniform", [1, 1, 1, 1]),
        ("inverse", [3, 10, 50, 100]),
        (np.array([0.25, 0.125, 0.5, 0.125]), [2, 1, 4, 1]),
        ([0, 2, 0, 1], [0, 2, 0, 1]),
    ],
)
def test_one_label_a_row_has_the_closed_form(prior, frequencies):
    found = prior_weights(np.array(INDICES), prior, train_counts=[100, 50, 10, 3])
    expected = [frequencies[c] / sum(frequencies) * len(INDICES) / INDICES.count(c) for c in INDICES]
    np.testing.assert_allclose(found.weights, expected, rtol=1e-14)
    np.testing.assert_allclose(found.shares, np.divide(frequencies, sum(frequencies)), rtol=1e-14)
    assert found.total_variation < 1e-15
    assert found.left_out == 0


@pytest.mark.parametrize(
    ("train_counts", "expected"),
    [
        ([100, 50, 10, 3], [3, 10, 50, 100]),
        ([3, 100, 10, 50], [100, 3, 50, 10]),
        ([100, 10, 10, 1], [1, 10, 10, 100]),
        ([5, 2, 5, 9], [5, 9, 5, 2]),
        ([5, 5, 2, 1], [1.5, 1.5, 5, 5]),  # ranks 0 and 1 share the values of ranks 3 and 2
        ([4, 4, 4, 4], [4, 4, 4, 4]),
        ([7, 0, 0, 0], [0, 7 / 3, 7 / 3, 7 / 3]),
    ],
)
def test_inverse_reverses_the_ranks_and_equal_counts_share(train_counts, expected):
    found = prior_weights(np.array(INDICES), "inverse", train_counts=train_counts)
    np.testing.assert_allclose(found.shares, np.divide(expected, sum(expected)), rtol=1e-14)


def test_integer_weights_equal_repeated_rows():
    """AP, Acc@k and their means are equal to the bit, with ties and with rows without labels."""
    rng = np.random.default_rng(3)
    classes = rng.permutation([0] * 16 + [1] * 8 + [2] * 8 + [None] * 6)
    labels = np.array([[c == k for k in range(3)] for c in classes])
    scores = (rng.normal(size=labels.shape) + labels).round(1).astype(np.float32)
    times = np.array([{0: 1, 1: 4, 2: 2, None: 2}[c] for c in classes])  # half of it: weights with a mean of 1
    options = {"train_counts": [700, 300, 20], "sap": None, "topk": (1, 2)}
    found = evaluate(scores, labels, prior={"p": [2, 4, 2]}, **options)
    repeated = evaluate(np.repeat(scores, times, axis=0), np.repeat(labels, times, axis=0), **options)
    assert_same_bits(prior_weights(labels, [2, 4, 2]).weights, times / 2)
    for name in ("AP", "Acc@1", "Acc@2"):
        assert found.classes[f"p/{name}"] == repeated.classes[name]
        assert found.classes[f"p/{name}"] != found.classes[name] or name != "AP"
    for name, value in repeated.metrics().items():
        if not name.startswith("ROC_AUC"):
            assert found.metrics()[f"p/{name}"] == value


# ---------------------------------------------------------------------------------------------------------------------
# Several labels a row: raking
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", PRIORS)
def test_labels_are_distributed_as_stated(prior):
    _, labels = example()
    found = prior_weights(labels, prior, train_counts=TRAIN_COUNTS)
    frequencies = {"longtail": TRAIN_COUNTS, "uniform": [1] * 6, "inverse": TRAIN_COUNTS[::-1]}[prior]
    target = np.divide(frequencies, sum(frequencies))
    shares = shares_of(labels.tolist(), found.weights.tolist())
    assert np.abs(shares - target).sum() / 2 <= REACHED
    assert found.total_variation <= REACHED
    np.testing.assert_allclose(found.shares, shares, rtol=1e-12)
    unlabelled = ~labels.any(axis=1)
    assert unlabelled.sum() > 2
    assert (found.weights[unlabelled] == 1).all()
    assert found.weights.mean() == pytest.approx(1, abs=1e-14)


def test_weights_are_means_over_the_labels_of_a_factor_of_each_class():
    """This form makes them the solution: no other weights of this form have these shares."""
    _, labels = example()
    labelled = labels.any(axis=1)
    found = prior_weights(labels, "inverse", train_counts=TRAIN_COUNTS)
    logs = np.log(found.weights[labelled])
    means = labels[labelled] / labels[labelled].sum(axis=1, keepdims=True)
    factors, *_ = np.linalg.lstsq(means, logs, rcond=None)
    np.testing.assert_allclose(means @ factors, logs, rtol=0, atol=1e-9)


def test_weights_are_those_of_the_least_divergence():
    """Compare with a general minimiser of sum v log(v / v0) over the rows' shares v of all pairs."""
    labels = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]])
    sizes = labels.sum(axis=1)
    before, target = sizes / sizes.sum(), np.array([0.15, 0.35, 0.5])
    best = minimize(
        lambda v: float((v * np.log(v / before)).sum()),
        before,
        jac=lambda v: np.log(v / before) + 1,
        bounds=[(1e-9, 1)] * len(before),
        constraints={"type": "eq", "fun": lambda v: labels.T @ (v / sizes) - target},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    expected = best.x / sizes / (best.x / sizes).mean()
    found = prior_weights(labels, target).weights
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # the precision of SLSQP
    assert np.ptp(found) > 1


def test_a_factor_of_ten_for_all_labels_of_a_row_is_ten():
    labels = np.zeros((60, 4), bool)
    labels[range(50), np.arange(50) % 2] = True
    labels[50:52, 2] = labels[52:54, 3] = labels[54:, 2:] = True
    q = labels.sum(axis=0)
    weights = prior_weights(labels, q * [1, 1, 10, 10]).weights
    np.testing.assert_allclose(weights[50:] / weights[0], 10, rtol=1e-7)


def test_an_unreachable_prior_gives_the_nearest_and_its_distance():
    """Class 1 occurs with class 0 only: AB 4/7 and C 3/7 are nearest to the shares .2, .4, .4."""
    labels = [[0]] * 20 + [[0, 1]] * 10 + [[2]] * 30
    found = prior_weights(labels, [0.2, 0.4, 0.4])
    assert_close = {"rtol": 0, "atol": 1e-3}  # it stops when the distance no longer falls
    np.testing.assert_allclose(found.shares, [2 / 7, 2 / 7, 3 / 7], **assert_close)
    np.testing.assert_allclose(found.total_variation, 0.8 / 7, **assert_close)
    np.testing.assert_allclose(found.weights[:20], 0, **assert_close)
    shares = shares_of([[c in row for c in range(3)] for row in labels], found.weights.tolist())
    np.testing.assert_allclose(found.shares, shares, rtol=1e-12)
    report = evaluate(np.random.default_rng(0).random((60, 3)), labels, prior={"p": [0.2, 0.4, 0.4]})
    distance = report.prior_results[0].total_variation
    assert distance == found.total_variation
    assert f"p: the labels allow it to be met to a total variation of {distance:.4f}\n" in str(report)


def test_one_more_sweep_does_not_lower_the_distance():
    """No move of mass between two label sets lowers the chi-square distance noticeably."""
    rng = np.random.default_rng(5)
    labels = rng.random((40, 6)) < 0.3
    labels[:, 5] = labels[:, 4]
    labels = labels[labels.any(axis=1)]
    prior = np.array([1, 3, 5, 9, 20, 50]) / 88
    found = prior_weights(labels, prior)
    assert found.total_variation > 0.1
    pairs = found.weights * labels.sum(axis=1)

    def distance(pairs):
        shares = np.array(shares_of(labels.tolist(), (pairs / labels.sum(axis=1)).tolist()))
        return float(((shares - prior) ** 2 / prior).sum())

    least = distance(pairs)
    for source in range(len(pairs)):
        for target in range(len(pairs)):
            moved = pairs.copy()
            moved[target] += moved[source] / 2
            moved[source] /= 2
            assert distance(moved) > least * (1 - 1e-3)


# ---------------------------------------------------------------------------------------------------------------------
# Classes that are absent or have a share of 0
# ---------------------------------------------------------------------------------------------------------------------


def test_absent_classes_are_left_out_and_the_rest_renormalised():
    found = prior_weights([[0], [0], [0], [2]], [3, 2, 1, 2], num_classes=4)
    assert_agrees(found.shares, [0.75, 0, 0.25, 0])
    assert_agrees(found.weights, [1, 1, 1, 1])
    assert_agrees(found.left_out, 0.5)
    text = str(evaluate(np.eye(4), [[0], [0], [0], [2]], prior={"mine": [3, 2, 1, 2]}))
    assert "\nmine: 50.00% of it is of absent classes and left out\n" in text


def test_a_class_of_no_share_has_no_weight_and_no_ap():
    scores, labels = example()
    found = prior_weights(labels, [1, 1, 1, 1, 1, 0])
    assert (found.weights[labels[:, 5]] == 0).all()
    assert found.total_variation <= REACHED
    report = evaluate(scores, labels, prior={"p": [1, 1, 1, 1, 1, 0]}, train_counts=TRAIN_COUNTS)
    assert np.isnan([report.classes["p/AP"][5], report.classes["p/Acc@1"][5]]).all()
    assert [group.num_undefined for group in report.prior_results[0].groups] == [1, 0, 0, 1]
    assert_agrees(report.metrics()["p/mAP"], np.mean(report.classes["p/AP"][:5]))
    zero = evaluate(scores, labels, prior={"p": [1, 1, 1, 1, 1, 0]}, absent="zero")
    assert_agrees(zero.metrics()["p/mAP"], np.sum(report.classes["p/AP"][:5]) / 6)


# ---------------------------------------------------------------------------------------------------------------------
# Laws
# ---------------------------------------------------------------------------------------------------------------------


@st.composite
def cases(draw):
    """Draw labels (N, C) bool with a positive, and a prior (C,) above 0 for a present class."""
    num_rows, num_classes = draw(st.integers(1, 25)), draw(st.integers(1, 5))
    row = st.lists(st.booleans(), min_size=num_classes, max_size=num_classes)
    labels = np.array(draw(st.lists(row, min_size=num_rows, max_size=num_rows)))
    prior = np.array(draw(st.lists(st.integers(1, 50), min_size=num_classes, max_size=num_classes)))
    assume(labels.any())
    return labels, prior


@given(cases(), st.randoms(use_true_random=False))
def test_row_order_changes_no_bit(case, rng):
    labels, prior = case
    order = rng.sample(range(len(labels)), len(labels))
    found, moved = prior_weights(labels, prior), prior_weights(labels[order], prior)
    assert_same_bits(moved.weights, found.weights[order])
    assert_same_bits(moved.shares, found.shares)
    scores = np.random.default_rng(0).integers(0, 4, labels.shape)
    reports = [evaluate(scores[rows], labels[rows], prior={"p": prior}, sap=None) for rows in (slice(None), order)]
    assert reports[0] == reports[1]


@given(cases(), st.integers(-30, 30))
def test_the_sum_of_a_prior_changes_nothing(case, exponent):
    labels, prior = case
    assert_same_bits(prior_weights(labels, prior * 2.0**exponent).weights, prior_weights(labels, prior).weights)


@given(cases())
def test_weights_have_mean_one_and_the_reported_shares(case):
    labels, prior = case
    found = prior_weights(labels, prior)
    assert (found.weights >= 0).all()
    assert_agrees(found.weights.mean(), 1)
    assert_agrees(found.shares, shares_of(labels.tolist(), found.weights.tolist()))
    target = np.where(labels.any(axis=0), prior, 0)
    assert_agrees(found.total_variation, np.abs(found.shares - target / target.sum()).sum() / 2)
    # The distance never exceeds that of the unweighted set.
    before = ((np.array(shares_of(labels.tolist(), [1] * len(labels))) - target / target.sum()) ** 2)[target > 0]
    after = ((found.shares - target / target.sum()) ** 2)[target > 0]
    assert (after / target[target > 0]).sum() <= (before / target[target > 0]).sum() + 1e-12


@given(cases())
def test_the_distribution_of_the_set_itself_changes_nothing(case):
    labels, _ = case
    np.testing.assert_allclose(prior_weights(labels, labels.sum(axis=0)).weights, 1, rtol=1e-9)


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 5))
def test_uniform_changes_no_bit_of_a_balanced_set(num_classes, each, unlabelled):
    labels = np.concatenate(
        [np.repeat(np.eye(num_classes, dtype=bool), each, axis=0)] + [[[False] * num_classes]] * unlabelled
    )
    assert (prior_weights(labels, "uniform").weights == 1).all()
    report = evaluate(np.random.default_rng(0).integers(0, 9, labels.shape), labels, prior="uniform", topk=(1,))
    for name in ("AP", "Acc@1"):
        np.testing.assert_array_equal(report.classes[f"uniform/{name}"], report.classes[name])
    assert report.metrics()["uniform/Acc@1"] == report.metrics()["Acc@1"]
    assert report.prior_results[0].effective_rows == num_classes * each


# ---------------------------------------------------------------------------------------------------------------------
# The report
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", PRIORS)
def test_report_against_scikit_learn_and_loops(prior):
    scores, labels = example()
    report = evaluate(scores, labels, prior=prior, train_counts=TRAIN_COUNTS, topk=(1, 3))
    weights = prior_weights(labels, prior, train_counts=TRAIN_COUNTS).weights
    by_class = [average_precision_score(labels[:, c], scores[:, c], sample_weight=weights) for c in range(6)]
    assert_agrees(report.classes[f"{prior}/AP"], by_class)
    for suffix, members in {"": range(6), "_head": [0, 1], "_medium": [2, 3], "_tail": [4, 5]}.items():
        assert_agrees(report.metrics()[f"{prior}/mAP{suffix}"], np.mean([by_class[c] for c in members]))
    for k in (1, 3):
        hit = [
            any(labels[row, c] for c in sorted(range(6), key=lambda c: (-scores[row, c], c))[:k])
            for row in range(len(labels))
        ]
        labelled = [row for row in range(len(labels)) if labels[row].any()]
        rate = sum(weights[row] * hit[row] for row in labelled) / sum(weights[row] for row in labelled)
        assert_agrees(report.metrics()[f"{prior}/Acc@{k}"], rate)
        rates = [
            sum(weights[row] * hit[row] for row in np.flatnonzero(labels[:, c])) / weights[labels[:, c]].sum()
            for c in range(6)
        ]
        assert_agrees(report.classes[f"{prior}/Acc@{k}"], rates)
        assert_agrees(report.metrics()[f"{prior}/Acc@{k}_tail"], np.mean(rates[4:]))
    (shift,) = report.prior_results
    own = weights[labelled]
    assert shift.effective_rows == pytest.approx(own.sum() ** 2 / (own**2).sum(), rel=1e-12)
    assert_agrees(report.classes[f"{prior}/share"], shares_of(labels.tolist(), weights.tolist()))
    effective = [weights[labels[:, c]].sum() ** 2 / (weights[labels[:, c]] ** 2).sum() for c in range(6)]
    np.testing.assert_allclose(report.classes[f"{prior}/effective_positives"], effective, rtol=1e-12)


def test_the_rest_of_the_report_stays_as_it_is():
    scores, labels = example()
    plain = evaluate(scores, labels, train_counts=TRAIN_COUNTS)
    shifted = evaluate(scores, labels, train_counts=TRAIN_COUNTS, prior=PRIORS)
    assert plain.prior_results == ()
    assert "prior" not in plain.to_json() + plain.to_text() + plain.to_csv()
    assert {name: shifted.metrics()[name] for name in plain.metrics()} == plain.metrics()
    assert {name: shifted.classes[name] for name in plain.classes} == plain.classes
    assert shifted.to_text().startswith(plain.to_text().split("signature")[0])
    assert "|priors:longtail,uniform,inverse|" in shifted.signature


def test_text_has_a_line_for_each_distribution():
    scores, labels = example()
    text = evaluate(scores, labels, train_counts=TRAIN_COUNTS, prior=("inverse", "uniform")).to_text(width=None)
    _, table = text.split("under other class distributions\n")
    heading, *lines = table.splitlines()
    assert heading.split() == ["undefined", "mAP", "head", "medium", "tail", "Acc@1", "Acc@5", "effective", "rows"]
    assert [line.split("  ")[0] for line in lines] == ["as it is", "inverse", "uniform"]
    assert lines[0].split()[-1] == str(labels.any(axis=1).sum())
    per_class = evaluate(scores, labels, prior="uniform", topk=()).to_text(per_class=True)
    assert "\nas it is          0  " in per_class


def test_few_effective_rows_are_noted():
    """Two rows of a rare class have nearly all of the weight."""
    labels = np.array([0] * 500 + [1] * 2)
    text = str(evaluate(np.random.default_rng(0).random((502, 2)), labels, prior={"p": [1, 99]}))
    assert "\np: rests on few rows, as 2.0 of 502 would\n" in text
    assert "rests on" not in str(evaluate(np.random.default_rng(0).random((502, 2)), labels, prior={"p": [99, 1]}))


@pytest.mark.parametrize("topk", [(1, 5), ()])
def test_json_is_read_back(topk):
    scores, labels = example()
    labels[:, 2] = False
    report = evaluate(scores, labels, train_counts=TRAIN_COUNTS, prior=PRIORS, topk=topk)
    again = Report.from_json(report.to_json())
    assert again == report
    assert again.to_text() == report.to_text()
    assert again.metrics().keys() == set(report.settings.metric_names(("overall", "head", "medium", "tail"), PRIORS))
    document = json.loads(report.to_json())
    assert document["metrics"]["inverse/mAP_tail"] == report.prior_results[2].groups[3].values["mAP"]
    assert document["shifts"]["uniform"]["left_out"] == pytest.approx(1 / 6)
    header = report.to_csv().splitlines()[0].split(",")
    assert {"inverse/AP", "longtail/share", "uniform/effective_positives"} <= set(header)


@pytest.mark.parametrize(
    "change",
    [
        lambda shift: shift.pop("effective_rows"),
        lambda shift: shift.update(total_variation="x"),
        lambda shift: shift.update(groups={}),
    ],
)
def test_a_damaged_prior_result_is_refused(change):
    scores, labels = example()
    document = json.loads(evaluate(scores, labels, prior="uniform").to_json())
    change(document["shifts"]["uniform"])
    with pytest.raises(ValueError, match=r"^report: "):
        Report.from_json(json.dumps(document))


def test_all_forms_of_a_prior_are_equal():
    scores, labels = example()
    options = {"sap": None, "train_counts": TRAIN_COUNTS}
    report = evaluate(scores, labels, prior="inverse", **options)
    assert evaluate(scores, labels, prior=["inverse"], **options) == report
    assert evaluate(scores, labels, prior={"inverse": "inverse"}, **options) == report
    given = evaluate(scores, labels, prior=TRAIN_COUNTS[::-1], **options)
    assert given.metrics()["given/mAP"] == report.metrics()["inverse/mAP"]
    shards = evaluate([scores[:70], scores[70:]], labels, prior="inverse", **options)
    assert shards == report
    lists = [np.flatnonzero(row).tolist() for row in labels]
    assert_same_bits(prior_weights(lists, TRAIN_COUNTS).weights, prior_weights(labels, TRAIN_COUNTS).weights)


# ---------------------------------------------------------------------------------------------------------------------
# Several distributions
# ---------------------------------------------------------------------------------------------------------------------


def test_several_distributions_give_the_bits_of_one_at_a_time():
    scores, labels = example(ties=False)
    priors = {**{name: name for name in PRIORS}, "own": [3, 1, 2, 5, 1, 1], "first": [6, 1, 1, 1, 1, 1]}
    together = evaluate(scores, labels, train_counts=TRAIN_COUNTS, prior=priors)
    for i, (name, prior) in enumerate(priors.items()):
        alone = evaluate(scores, labels, train_counts=TRAIN_COUNTS, prior={name: prior})
        assert together.prior_results[i].groups[0].values == alone.prior_results[0].groups[0].values
        assert together.prior_results[i].effective_rows == alone.prior_results[0].effective_rows
        assert alone.classes.items() <= together.classes.items()
        weights = prior_weights(labels, prior, train_counts=TRAIN_COUNTS).weights
        ap = vltr_eval.average_precision(scores, labels, sample_weight=weights)
        assert_same_bits(np.array(alone.classes[name_under_prior(name, "AP")]), ap)


@given(st.data())
def test_sets_of_labels_are_those_of_the_rows(data):
    """Rows with the same labels have the same set, and sets are in the order of their sizes and classes."""
    num_classes = data.draw(st.sampled_from([1, 3, 12, 100_000]))
    classes = st.lists(st.integers(0, num_classes - 1), max_size=min(num_classes, 12), unique=True)
    rows = data.draw(st.lists(classes, min_size=1, max_size=12))
    assume(any(rows))
    found = raking.LabelSets.from_positives(
        vltr_eval.Positives.from_labels(rows, num_classes=num_classes, form="lists")
    )
    starts = np.cumsum(found.sizes) - found.sizes
    sets = [tuple(found.classes[start:][:size].tolist()) for start, size in zip(starts, found.sizes, strict=True)]
    labels = [tuple(sorted(classes)) for classes in rows]
    assert sets == sorted({classes for classes in labels if classes}, key=lambda classes: (len(classes), classes))
    assert found.rows.tolist() == [labels.count(classes) for classes in sets]
    assert [sets[i] if i >= 0 else () for i in found.of_row.tolist()] == labels


# ---------------------------------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prior", "error", "sentence"),
    [
        (
            "tail",
            ValueError,
            r"^prior: expected one of longtail, uniform, inverse or a number for each class, got 'tail'$",
        ),
        ("inverse", ValueError, r"^train_counts: expected the training samples .* with prior 'inverse', got None$"),
        ([1, 2], ValueError, r"^prior: expected a number for each class \(3,\), got shape \(2,\)$"),
        ([[1, 2, 3]], ValueError, r"^prior: expected a number for each class \(3,\), got shape \(1, 3\)$"),
        ([1, -2, 3], ValueError, r"^prior: expected finite numbers from 0 up, got -2\.0 for class 1$"),
        ([1, 2, math.nan], ValueError, r"^prior: expected finite numbers from 0 up, got nan for class 2$"),
        ([math.inf, 2, 3], ValueError, r"^prior: expected finite numbers from 0 up, got inf for class 0$"),
        ([1j, 2, 3], TypeError, r"^prior: expected real numbers, got complex128$"),
        ([0, 0, 5], ValueError, r"^prior: expected a share above 0 for a class that has positives, got none$"),
        ([], ValueError, r"^prior: expected a number for each class \(3,\), got shape \(0,\)$"),
        (("uniform", "uniform"), ValueError, r"^prior: expected different names, got uniform, uniform$"),
        ({"a/b": "uniform"}, ValueError, r"^prior: expected names of letters and digits, got 'a/b'$"),
        ({"a=b": "uniform"}, ValueError, r"^prior: expected names of letters and digits, got 'a=b'$"),
        (
            {"uniform": [1, 2, 3]},
            ValueError,
            r"^prior: expected other names than longtail, uniform, inverse for numbers of one's own, got 'uniform'$",
        ),
        ({3: "uniform"}, ValueError, r"^prior: expected names of letters and digits, got 3$"),
    ],
)
def test_wrong_priors_are_refused(prior, error, sentence):
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    with pytest.raises(error, match=sentence):
        evaluate(np.zeros((3, 3)), labels, prior=prior)


def test_a_prior_that_no_row_can_have_is_an_error():
    sentence = r"^prior: expected shares above 0 for all labels of some row, got 0 for one in every row$"
    with pytest.raises(ValueError, match=sentence):
        prior_weights(np.ones((2, 2)), [1, 0])


def test_lists_need_the_number_of_classes():
    with pytest.raises(ValueError, match=r"^num_classes: expected the number of classes"):
        prior_weights([[0], [1]], "uniform")


def test_train_counts_are_checked():
    with pytest.raises(ValueError, match=r"^train_counts: 2 classes, but scores has 3$"):
        prior_weights(np.eye(3), "inverse", train_counts=[1, 2])


def test_other_evaluations_take_no_prior():
    batches = [(np.zeros((2, 2)), [[0], [1]])]
    with pytest.raises(TypeError, match=r"^prior: expected one of sap, "):
        vltr_eval.evaluate_batches(batches, 2, prior="uniform")
    with pytest.raises(TypeError, match=r"^prior: expected one of sap, "):
        vltr_eval.distributed.evaluate(*batches[0], prior="uniform")
    with pytest.raises(TypeError, match="prior"):
        vltr_eval.Evaluator(2, prior="uniform")


def test_scores_on_a_device_refuse_a_prior(cuda):
    from devices import on_device

    scores, labels = example()
    with pytest.raises(ValueError, match=r"^prior: expected scores and labels in CPU memory, got scores on cuda:0$"):
        evaluate(on_device(scores, cuda), on_device(labels, cuda), prior="uniform")


# ---------------------------------------------------------------------------------------------------------------------
# Extreme distributions
# ---------------------------------------------------------------------------------------------------------------------

EXTREMES = [0.0, 5e-324, 1e-308, 1e-150, 1e-20, 1e-13, 1.0, 3.0, 1e150, 1.7976931348623157e308]


@given(st.data())
def test_extreme_distributions_give_finite_weights_and_their_distance(data):
    num_classes = data.draw(st.integers(1, 6))
    prior = data.draw(st.lists(st.sampled_from(EXTREMES), min_size=num_classes, max_size=num_classes))
    row = st.lists(st.booleans(), min_size=num_classes, max_size=num_classes)
    labels = np.array(data.draw(st.lists(row, min_size=1, max_size=12)))
    assume((labels & (np.array(prior) > 0)).any())
    assume(any(row.any() and all(share > 0 for share in np.array(prior)[row]) for row in labels))
    found = prior_weights(labels, prior)
    assert np.isfinite(found.weights).all()
    assert found.weights.mean() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(found.shares, shares_of(labels, found.weights), atol=1e-12)
    target = np.where(labels.any(axis=0), prior, 0.0)
    target = target / target.max()
    assert found.total_variation == pytest.approx(np.abs(found.shares - target / target.sum()).sum() / 2, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "prior", "shares"),
    [
        ([[1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [1e-300, 1.0, 1e300], [0, 0, 1]),
        ([[1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [1.0, 1e-16, 1.0], [0.5, 0, 0.5]),
        ([[1, 1], [1, 0], [0, 1]], [5e-324, 1e308], [0, 1]),
    ],
)
def test_extreme_distributions_that_rows_can_have_are_reached(labels, prior, shares):
    found = prior_weights(np.array(labels), prior)
    assert found.total_variation < REACHED
    np.testing.assert_allclose(found.shares, shares, atol=REACHED)


def test_extreme_distributions_end_after_a_fixed_number_of_passes(monkeypatch):
    """Rows with half of 50 classes cannot reach shares that fall by a factor of ten from class to class."""
    passes = []
    by_set = raking.Raking._by_set
    monkeypatch.setattr(raking.Raking, "_by_set", lambda *arguments: passes.append(1) or by_set(*arguments))
    labels = np.random.default_rng(0).random((300, 50)) < 0.5
    found = prior_weights(labels, 10.0 ** -np.arange(50))
    assert 1000 < len(passes) < 4100
    assert 0.8 < found.total_variation < 1
    assert np.isfinite(found.weights).all()
