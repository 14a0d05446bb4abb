"""Thresholds: their choice on a validation set, their file, and precision, recall and F1 at them."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from devices import on_device
from hypothesis import given
from hypothesis import strategies as st

import vltr_eval
from vltr_eval import (
    Evaluation,
    Evaluator,
    Positives,
    Report,
    Thresholds,
    choose_thresholds,
    evaluate,
    evaluate_batches,
)
from vltr_eval._engine.applied_thresholds import _round_up, read_thresholds
from vltr_eval._engine.thresholds import ThresholdRule
from vltr_eval.metrics import thresholds as choosing
from vltr_eval.report.names import THRESHOLD_METRICS

MEANS = [metric.name for metric in THRESHOLD_METRICS]
RULES = [
    {"by": "f1"},
    {"by": "fbeta", "beta": 2},
    {"by": "fbeta", "beta": 0.5},
    {"by": "precision", "at_least": 0.6},
    {"by": "precision", "at_least": 1.0},
    {"by": "recall", "at_least": 0.5},
    {"by": "recall", "at_least": 1.0},
]
RULE_NAMES = ["-".join(map(str, rule.values())) for rule in RULES]


def textbook_choice(scores, labels, by="f1", beta=1, at_least=None):
    """Choose a threshold for one class from all distinct scores, by the definitions in fractions; None for none."""
    found = []
    for threshold in sorted(set(scores.tolist()), reverse=True):
        predicted = scores >= threshold
        tp, fp, fn = (int(np.sum(cells)) for cells in (predicted & labels, predicted & ~labels, ~predicted & labels))
        if tp == 0:
            continue
        precision, recall = Fraction(tp, tp + fp), Fraction(tp, tp + fn)
        weight = Fraction(beta) ** 2
        f_beta = (1 + weight) * precision * recall / (weight * precision + recall)
        if by in ("f1", "fbeta"):
            found.append((f_beta, threshold))
        elif by == "precision" and precision >= Fraction(at_least):
            found.append((recall, threshold))
        elif by == "recall" and recall >= Fraction(at_least):
            found.append((threshold, threshold))
    return max(found)[1] if found else None


def made(num_rows=300, num_classes=8, seed=0, dtype=np.float32, ties=False):
    """Return scores and labels of classes from frequent to rare; the last class is absent."""
    rng = np.random.default_rng(seed)
    labels = rng.random((num_rows, num_classes)) < np.geomspace(0.3, 0.006, num_classes)
    labels[:, -1] = False
    scores = labels + rng.normal(size=labels.shape)
    return (np.round(4 * scores) if ties else scores).astype(dtype), labels


# ---------------------------------------------------------------------------------------------------------------------
# Choosing
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
@pytest.mark.parametrize("ties", [False, True])
def test_each_class_gets_the_threshold_of_the_definition(rule, ties):
    scores, labels = made(ties=ties)
    found = choose_thresholds(scores, labels, min_positives=0, **rule)
    for c in range(8):
        expected = textbook_choice(scores[:, c], labels[:, c], **rule)
        assert found.chosen[c] == ("none" if expected is None else "own")
        assert found.values[c] == (np.inf if expected is None else expected)


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=20),
    st.sampled_from(RULES),
)
def test_the_rule_holds_for_any_small_class(rows, rule):
    scores, labels = np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows])
    found = choose_thresholds(scores[:, None], labels[:, None], min_positives=0, **rule)
    expected = textbook_choice(scores, labels, **rule)
    assert found.chosen == (("none",) if expected is None else ("own",))
    if expected is not None:
        assert found.values[0] == expected


def test_of_equal_f1_the_higher_threshold_is_chosen():
    scores, labels = np.float32([0.9, 0.8, 0.7, 0.6]), np.bool_([1, 0, 0, 1])
    # F1 is 2/3 at 0.9 (1 of 2 found) and at 0.6 (2 of 4 right).
    assert choose_thresholds(scores, labels, min_positives=0).values.tolist() == [np.float32(0.9)]


def pooled_choice(scores, labels, members, **rule):
    return textbook_choice(scores[:, members].ravel(), labels[:, members].ravel(), **rule)


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64"])
def test_classes_with_few_positives_share_the_threshold_of_their_cells(rule, dtype):
    scores, labels = made(dtype=dtype, ties=True)
    counts = labels.sum(axis=0)
    few = np.flatnonzero(counts < 25)
    found = choose_thresholds(scores, labels, min_positives=25, pool_by="overall", **rule)
    assert 2 < len(few) < 7
    expected = pooled_choice(scores, labels, few, **rule)
    for c in few:
        assert found.pools[c] == "overall"
        assert found.chosen[c] == ("none" if expected is None else "pooled")
        assert expected is None or found.values[c] == expected
    for c in np.setdiff1d(np.arange(8), few):
        assert (found.pools[c], found.chosen[c] == "own") == (None, found.chosen[c] != "none")


def test_each_group_has_its_own_pool():
    scores, labels = made()
    train_counts = [900, 900, 300, 300, 300, 50, 50, 50]
    found = choose_thresholds(scores, labels, min_positives=40, train_counts=train_counts)
    few = labels.sum(axis=0) < 40
    for name, classes in {"medium": [2, 3, 4], "tail": [5, 6, 7]}.items():
        members = [c for c in classes if few[c]]
        assert len(members) > 1
        expected = pooled_choice(scores, labels, members)
        assert [(found.pools[c], found.values[c]) for c in members] == [(name, expected)] * len(members)


def test_own_groups_are_pools_and_a_class_in_two_is_in_the_first():
    scores, labels = made()
    groups = {"kind": ["bird"] * 2 + [None] * 3 + ["fish"] * 3, "size": ["big"] * 4 + ["small"] * 4}
    found = choose_thresholds(scores, labels, min_positives=300, groups=groups)
    assert found.pools == ("kind:bird",) * 2 + ("size:big",) * 2 + ("size:small",) + ("kind:fish",) * 3
    assert found.values[2] == found.values[3] == pooled_choice(scores, labels, [2, 3])
    assert found.values[4] == pooled_choice(scores, labels, [4])
    report = evaluate(*made(seed=1), thresholds=found, groups=groups, sap=None, topk=None)
    assert list(report.thresholds.groups) == ["overall", "kind:bird", "kind:fish", "size:big", "size:small"]
    assert report.metrics()["OF1_size:big"] == report.thresholds.groups["size:big"]["OF1"]


def test_a_pool_without_positives_gets_the_threshold_of_all_classes_with_few():
    scores, labels = made()
    found = choose_thresholds(scores, labels, min_positives=40, pool_by={"rare": [5, 6], "absent": [7]})
    few = np.flatnonzero(labels.sum(axis=0) < 40)
    assert found.pools[7] == "overall"
    assert found.chosen[7] == "pooled"
    assert found.values[7] == pooled_choice(scores, labels, few)
    assert found.values[5] == found.values[6] == pooled_choice(scores, labels, [5, 6])


def test_without_any_positive_to_pool_a_class_is_never_predicted():
    scores, labels = made()
    for least in (0, 1):
        found = choose_thresholds(scores, labels, min_positives=least)
        assert found.chosen == ("own",) * 7 + ("none",)
        assert found.values[7] == np.inf


def test_blocks_of_a_pool_give_the_threshold_of_all_rows(monkeypatch):
    scores, labels = made(ties=True)
    whole = choose_thresholds(scores, labels, min_positives=300)
    monkeypatch.setattr(choosing, "_BLOCK_BYTES", 1000)
    assert choose_thresholds(scores, labels, min_positives=300).to_json() == whole.to_json()
    shards = [scores[:7], scores[7:200], np.asfortranarray(scores[200:])]
    assert choose_thresholds(shards, labels, min_positives=300).to_json() == whole.to_json()


def test_the_order_of_rows_and_threads_change_no_threshold():
    scores, labels = made()
    order = np.random.default_rng(1).permutation(len(scores))
    one, two = (choose_thresholds(scores[k], labels[k], threads=t) for k, t in ((slice(None), 1), (order, 2)))
    assert one.values.tolist() == two.values.tolist()
    assert one.pools == two.pools


def test_bfloat16_is_chosen_exactly():
    torch = pytest.importorskip("torch")
    scores, labels = made(ties=True)
    found = choose_thresholds(torch.from_numpy(scores).to(torch.bfloat16), labels)
    expected = choose_thresholds(scores, labels)
    assert (found.values.tolist(), found.dtype) == (expected.values.tolist(), "bfloat16")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "f2"}, r"^by: expected one of f1, fbeta, precision, recall, got 'f2'$"),
        ({"by": "fbeta"}, r"^beta: expected a number above 0 with by=\"fbeta\", got None$"),
        ({"by": "fbeta", "beta": -1}, r"^beta: expected a number above 0, got -1$"),
        ({"beta": 1.0}, r"^beta: expected None with by=\"f1\", got 1.0$"),
        ({"by": "recall"}, r"^at_least: expected a number above 0 with by=\"recall\", got None$"),
        ({"by": "precision", "at_least": 1.5}, r"^at_least: expected a number above 0 and up to 1, got 1.5$"),
        ({"at_least": 0.5}, r"^at_least: expected None with by=\"f1\", got 0.5$"),
        ({"min_positives": -1}, r"^min_positives: expected an integer from 0 up, got -1$"),
        ({"pool_by": "given"}, r"^pool_by: expected 'groups', 'overall' or a mapping, got 'given'$"),
        ({"pool_by": {"a": [8]}}, r"^pool_by: expected classes from 0 to 7, got 8 in 'a'$"),
        ({"pool_by": {"a": [1], "b": [1]}}, r"^pool_by: expected each class in one pool, got 1 in 'a' and in 'b'$"),
        ({"pool_by": {"a": 1}}, r"^pool_by: expected lists of class indices by name, got 1 for 'a'$"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        choose_thresholds(*made(), **options)


def test_a_nan_is_named_before_anything_is_chosen():
    scores, labels = made()
    scores[17, 7] = np.nan
    with pytest.raises(ValueError, match=r"got NaN at row 17, class 7$"):
        choose_thresholds(scores, labels)


# ---------------------------------------------------------------------------------------------------------------------
# The file
# ---------------------------------------------------------------------------------------------------------------------

LANES = {
    "float32": np.float32([0.1, -np.inf, 1e-45, 3.4028235e38, np.inf, -0.0]),
    "float16": np.float32([0.1, -np.inf, 6e-8, 65504, np.inf, -0.0]),
    "float64": np.float64([0.1, -np.inf, 5e-324, 1.7976931348623157e308, np.inf, 1 / 3]),
    "int32": np.float64([-(2**31), 2**31 - 1, 0, 1, 2, 3]),
    "int64": np.int64([-(2**63), 2**63 - 1, 0, 1, 2**53 + 1, 3]),
    "uint64": np.uint64([2**64 - 1, 2**63, 0, 1, 2**53 + 1, 3]),
}


def thresholds_of(values, dtype, **changes):
    chosen = ("own",) * (len(values) - 1) + ("none",)
    facts = {"rule": ThresholdRule(min_positives=3), "num_rows": 9, "label_fingerprints": ("0" * 64,)}
    return Thresholds(values, chosen, (None,) * len(values), dtype=dtype, **{**facts, **changes})


@pytest.mark.parametrize("dtype", LANES)
def test_a_file_gives_back_every_bit(tmp_path, dtype):
    saved = thresholds_of(LANES[dtype], dtype, class_names=tuple("abcde\u00e9"), id_fingerprint="1" * 64)
    saved.save(tmp_path / "thr.json")
    loaded = Thresholds.load(tmp_path / "thr.json")
    assert loaded.to_json() == saved.to_json()
    assert loaded.values.dtype == saved.values.dtype
    assert loaded.values[:-1].tobytes() == saved.values[:-1].tobytes()
    assert (loaded.rule, loaded.class_names, loaded.chosen) == (saved.rule, saved.class_names, saved.chosen)


def changed(name, value):
    document = json.loads(thresholds_of(LANES["float32"], "float32").to_json())
    document[name] = value
    return json.dumps(document)


DAMAGED = {
    "no json": "{",
    "another schema": changed("schema", "vltr-eval/report/1"),
    "a list": "[]",
    "dtype": changed("dtype", "complex64"),
    "length": changed("thresholds", [0.5]),
    "classes": changed("num_classes", 7),
    "not of float32": changed("thresholds", [0.1, 0, 0, 0, 0, None]),
    "a bool": changed("thresholds", [True, 0, 0, 0, 0, None]),
    "text": changed("thresholds", ["0.5", 0, 0, 0, 0, None]),
    "nan": changed("thresholds", [math.nan, 0, 0, 0, 0, None]),
    "none that is chosen": changed("thresholds", [None, 0, 0, 0, 0, None]),
    "chosen that is none": changed("thresholds", [0, 0, 0, 0, 0, 0]),
    "how": changed("chosen", ["own", "own", "own", "own", "guessed", "none"]),
    "own with a pool": changed("pools", ["tail", None, None, None, None, None]),
    "pools": changed("pools", [None]),
    "rule": changed("by", "f3"),
    "beta": changed("beta", 2.0),
    "min_positives": changed("min_positives", -1),
    "rows": changed("num_rows", -1),
    "fingerprint": changed("label_fingerprints", ["abc"]),
    "fingerprints": changed("label_fingerprints", "0" * 64),
    "names": changed("class_names", [1, 2, 3, 4, 5, 6]),
    "version": changed("version", None),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_refused_with_its_name(tmp_path, text):
    path = tmp_path / "thr.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"thr\.json: expected") as caught:
        Thresholds.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named(tmp_path):
    document = json.loads(thresholds_of(LANES["float32"], "float32").to_json())
    del document["pools"]
    (tmp_path / "thr.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="key 'pools' is missing"):
        Thresholds.load(tmp_path / "thr.json")


# ---------------------------------------------------------------------------------------------------------------------
# Comparison with scores of other dtypes
# ---------------------------------------------------------------------------------------------------------------------

EXTREMES = {
    "float16": np.float16([-np.inf, -65504, -1, -0.0, 0.1, 0.3, 1, 65504, np.inf]),
    "float32": np.float32([-np.inf, -3.4e38, -1, -0.0, 1e-45, 0.1, 0.3, 1, 16777216, 3.4e38, np.inf]),
    "float64": np.float64([-np.inf, -1.7e308, -1, -0.0, 5e-324, 0.1, 0.3, 1, 16777217, 1.7e308, np.inf]),
    "int8": np.int8([-128, -1, 0, 1, 127]),
    "int64": np.int64([-(2**63), -1, 0, 1, 2**24 + 1, 2**53 + 1, 2**63 - 1]),
    "uint64": np.uint64([0, 1, 2**24 + 1, 2**53 + 1, 2**63, 2**64 - 1]),
}


@pytest.mark.parametrize("scores", EXTREMES)
@pytest.mark.parametrize("thresholds", EXTREMES)
def test_thresholds_of_any_dtype_are_compared_exactly(scores, thresholds):
    """Python compares integers and floats exactly."""
    column, limits = EXTREMES[scores], EXTREMES[thresholds]
    matrix = np.repeat(column[:, None], len(limits), axis=1)
    labels = np.zeros(matrix.shape, bool)
    labels[0] = True
    report = evaluate(matrix, labels, sap=None, topk=None, thresholds=limits)
    expected = [sum(score >= limit for score in column.tolist()) for limit in limits.tolist()]
    reached = [bool(column.tolist()[0] >= limit) for limit in limits.tolist()]
    precision = [hit / count if count else 0.0 for hit, count in zip(reached, expected, strict=True)]
    assert report.classes["precision"] == tuple(precision)


@given(st.floats(allow_nan=False))
def test_rounding_up_gives_the_least_float32_that_is_no_lower(value):
    (rounded,), (exists,) = _round_up(np.array([value]), np.dtype(np.float32))
    assert exists
    assert float(rounded) >= value
    with np.errstate(over="ignore"):
        lower = float(np.nextafter(rounded, np.float32(-np.inf)))
    assert lower < value or rounded == -np.inf


# ---------------------------------------------------------------------------------------------------------------------
# Precision, recall and F1
# ---------------------------------------------------------------------------------------------------------------------


def of_sklearn(labels, predicted, classes):
    """The means of scikit-learn for some classes, with zero_division=0."""
    metrics = pytest.importorskip("sklearn.metrics")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            name: function(labels[:, classes], predicted[:, classes], average=average, zero_division=0)
            for name, function, average in (
                ("OP", metrics.precision_score, "micro"),
                ("OR", metrics.recall_score, "micro"),
                ("OF1", metrics.f1_score, "micro"),
                ("CP", metrics.precision_score, "macro"),
                ("CR", metrics.recall_score, "macro"),
                ("macro_F1", metrics.f1_score, "macro"),
            )
        }


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_values_are_those_of_scikit_learn(dtype):
    """With absent="zero", the means over classes are those of all classes with zero_division=0."""
    metrics = pytest.importorskip("sklearn.metrics")
    scores, labels = made(seed=1, dtype=dtype, ties=True)
    limits = np.quantile(scores, 0.8, axis=0)
    limits[0] = 1e9  # never predicted
    predicted = scores >= limits
    report = evaluate(scores, labels, sap=None, topk=None, thresholds=limits, absent="zero")
    expected = metrics.precision_recall_fscore_support(labels, predicted, average=None, zero_division=0)
    for name, column in zip(("precision", "recall", "F1"), expected, strict=False):
        assert report.classes[name] == tuple(column.tolist())
    means = report.metrics()
    for name, value in of_sklearn(labels, predicted, np.arange(8)).items():
        assert means[name] == pytest.approx(value, abs=1e-15, rel=0), name
    assert means["CF1"] == pytest.approx(2 * means["CP"] * means["CR"] / (means["CP"] + means["CR"]), abs=1e-15, rel=0)


def test_absent_classes_are_left_out_of_means_over_classes_by_default():
    scores, labels = made(seed=1)
    limits = np.quantile(scores, 0.8, axis=0)
    predicted = scores >= limits
    train_counts = [900, 900, 300, 300, 300, 50, 50, 50]
    report = evaluate(scores, labels, sap=None, topk=None, thresholds=limits, train_counts=train_counts)
    assert all(math.isnan(report.classes[name][7]) for name in ("precision", "recall", "F1"))
    for suffix, classes in {"": range(8), "_head": [0, 1], "_medium": [2, 3, 4], "_tail": [5, 6, 7]}.items():
        classes = np.array(classes)
        expected = of_sklearn(labels, predicted, classes)
        over_classes = of_sklearn(labels, predicted, classes[labels[:, classes].any(axis=0)])
        expected |= {name: over_classes[name] for name in ("CP", "CR", "macro_F1")}
        for name, value in expected.items():
            assert report.metrics()[name + suffix] == pytest.approx(value, abs=1e-15, rel=0), name + suffix


def test_an_empty_group_and_one_without_positives_are_undefined():
    scores, labels = made()
    report = evaluate(scores, labels, thresholds=0.5, train_counts=[900] * 7 + [50], sap=None, topk=None)
    assert all(math.isnan(report.metrics()[f"{name}_{group}"]) for name in MEANS for group in ("medium", "tail"))
    zero = evaluate(scores, labels, thresholds=0.5, train_counts=[900] * 7 + [50], sap=None, topk=None, absent="zero")
    assert all(zero.metrics()[f"{name}_tail"] == 0 for name in MEANS)
    assert all(math.isnan(zero.metrics()[f"{name}_medium"]) for name in MEANS)


def test_counts_are_those_of_the_chosen_thresholds():
    """At the thresholds chosen on a set, F1 on that set is the largest one."""
    scores, labels = made(ties=True)
    chosen = choose_thresholds(scores, labels, min_positives=0)
    report = evaluate(scores, labels, thresholds=chosen, allow_same_set=True)
    for threshold in np.unique(scores):
        other = evaluate(scores, labels, thresholds=float(threshold), sap=None, topk=None)
        assert all(a >= b for a, b in zip(report.classes["F1"][:-1], other.classes["F1"][:-1], strict=True))


def test_nothing_else_of_the_report_changes():
    scores, labels = made(ties=True)
    plain = evaluate(scores, labels, interval=0.9)
    report = evaluate(scores, labels, interval=0.9, thresholds=0.5, calibration=None)
    settings = replace(report.settings, thresholds=None)
    added = ("threshold", "precision", "recall", "F1")
    classes = {name: column for name, column in report.classes.items() if name not in added}
    assert replace(report, settings=settings, thresholds=None, classes=classes).to_json() == plain.to_json()
    assert not {"thresholds", "calibration"} & set(json.loads(plain.to_json()))


# ---------------------------------------------------------------------------------------------------------------------
# The report
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chosen():
    return choose_thresholds(*made(seed=7), train_counts=[900, 900, 300, 300, 300, 50, 50, 50], min_positives=20)


def test_a_report_survives_json(chosen):
    report = evaluate(*made(), thresholds=chosen, train_counts=[900, 900, 300, 300, 300, 50, 50, 50])
    again = Report.from_json(report.to_json())
    assert again == report
    assert again.to_text(per_class=True) == report.to_text(per_class=True)
    section = json.loads(report.to_json())["thresholds"]
    assert (section["by"], section["min_positives"], section["same_set"]) == ("f1", 20, False)
    assert list(section["groups"]) == ["overall", "head", "medium", "tail"]
    assert list(section["groups"]["tail"]) == MEANS
    assert report.metrics()["OF1_tail"] == section["groups"]["tail"]["OF1"]


def test_the_settings_know_the_names_of_the_report(chosen):
    report = evaluate(*made(), thresholds=chosen, train_counts=[900] * 8, class_names=list("abcdefgh"))
    groups = [group.name for group in report.groups]
    assert set(report.settings.metric_names(groups)) == set(report.metrics())
    columns = report.settings.class_columns(["name", "group", "train_count"])
    assert columns == ["class", *report.classes]


@pytest.mark.parametrize(
    ("name", "value"),
    [("groups", {}), ("same_set", 1), ("by", 3), ("num_own", -1), ("fingerprint", None), ("at_least", "0.5")],
)
def test_a_damaged_section_is_refused(chosen, name, value):
    document = json.loads(evaluate(*made(), thresholds=chosen).to_json())
    document["thresholds"][name] = value
    with pytest.raises(ValueError, match=r"^report: "):
        Report.from_json(json.dumps(document))


def test_settings_without_the_fingerprint_as_text_are_refused(chosen):
    document = json.loads(evaluate(*made(), thresholds=chosen).to_json())
    document["settings"]["thresholds"] = 5
    with pytest.raises(ValueError, match=r"^report: .* 5 where text belongs"):
        Report.from_json(json.dumps(document))


def test_the_text_says_how_the_thresholds_were_chosen(chosen):
    text = evaluate(*made(), thresholds=chosen).to_text(width=None)
    own, pooled = (chosen.chosen.count(how) for how in ("own", "pooled"))
    line = f"at thresholds: largest F1, own in {own} classes, pooled in {pooled} with fewer than 20 positives\n"
    assert line in text
    assert "at thresholds: given\n" in evaluate(*made(), thresholds=0.5).to_text()


def test_a_class_that_is_never_predicted_has_no_threshold():
    scores, labels = made(seed=7)
    never = choose_thresholds(scores, labels, by="precision", at_least=1.0, min_positives=0)
    scores[:] = np.inf
    _, labels = made()
    report = evaluate(scores, labels, thresholds=never, sap=None, topk=None)
    for how, threshold, recall in zip(never.chosen, report.classes["threshold"], report.classes["recall"], strict=True):
        assert math.isnan(threshold) == (how == "none")
        assert how != "none" or recall == 0 or math.isnan(recall)
    count = never.chosen.count("none")
    assert count > 0
    assert f"none in {count}, which are never predicted" in report.to_text(width=None)


# ---------------------------------------------------------------------------------------------------------------------
# The set on which they were chosen
# ---------------------------------------------------------------------------------------------------------------------


def by_evaluate(scores, labels, **options):
    return evaluate(scores, labels, **options)


def by_evaluator(scores, labels, **options):
    evaluator = Evaluator(scores.shape[1], **options)
    for part in (slice(0, 100), slice(100, None)):
        evaluator.update(scores[part], labels[part])
    return evaluator.compute()


def by_batches(scores, labels, **options):
    parts = [slice(first, first + 37) for first in range(0, len(scores), 37)]
    return evaluate_batches([(scores[part], labels[part]) for part in parts], scores.shape[1], **options)


def by_ids(scores, labels, **options):
    """An Evaluator whose samples come in another order, one of them twice."""
    order = np.random.default_rng(0).permutation(len(scores))
    order = np.concatenate([order, order[:1]])
    evaluator = Evaluator(scores.shape[1], **options)
    evaluator.update(scores[order], labels[order], ids=order)
    return evaluator.compute()


def by_ranks(scores, labels, **options):
    return vltr_eval.distributed.evaluate(scores, labels, **options)


def by_evaluation(scores, labels, **options):
    return Evaluation.from_predictions(scores, labels, **options).report


DOORS = [by_evaluate, by_evaluator, by_batches, by_ids, by_ranks, by_evaluation]


@pytest.mark.parametrize("door", DOORS)
def test_every_way_gives_the_same_report(door, chosen):
    scores, labels = made()
    options = {"thresholds": chosen, "calibration": 5, "sap": 3}
    scores = (1 / (1 + np.exp(-scores))).astype(np.float32)
    assert door(scores, labels, **options) == evaluate(scores, labels, **options)


@pytest.mark.parametrize("door", DOORS)
def test_the_labels_of_the_choice_are_refused(door, chosen):
    scores, labels = made(seed=7)
    with pytest.raises(ValueError, match=r"^thresholds: expected labels of another set .* optimistic"):
        door(scores, labels, thresholds=chosen)
    report = door(scores, labels, thresholds=chosen, allow_same_set=True)
    assert report.thresholds.same_set
    assert any("chosen on these labels" in note for note in report.notes)
    assert "chosen on these labels, so optimistic" in str(report)


def report_of_rank(rank, size, options, seed):
    """Evaluate a share of the rows, of which the last rank has none."""
    scores, labels = made(seed=seed)
    scores = (1 / (1 + np.exp(-scores))).astype(np.float32)
    first, end = (len(scores) * r // (size - 1) if r < size else len(scores) for r in (rank, rank + 1))
    return vltr_eval.distributed.evaluate(scores[first:end], labels[first:end], **options).to_json()


def test_ranks_give_the_report_of_one_process(chosen):
    pytest.importorskip("torch")
    from ranks import group_of

    scores, labels = made()
    options = {"thresholds": chosen, "calibration": 5, "sap": 3}
    expected = evaluate((1 / (1 + np.exp(-scores))).astype(np.float32), labels, **options).to_json()
    assert group_of(2).run(report_of_rank, 2, options, 0) == [expected] * 2
    for error in group_of(2).errors(report_of_rank, 2, options, 7):
        assert "thresholds: expected labels of another set" in error.message
    logits = {"calibration": 5, "thresholds": 0.5, "class_names": None}
    assert len(set(group_of(2).run(report_of_rank, 2, logits, 7))) == 1


def test_ranks_with_other_thresholds_fail_together():
    pytest.importorskip("torch")
    from ranks import group_of

    for error in group_of(2).errors(report_of_own_threshold):
        assert "settings: expected the same on all ranks" in error.message


def report_of_own_threshold(rank):
    """Evaluate with another threshold on each rank."""
    return vltr_eval.distributed.evaluate(*made(), thresholds=0.5 + rank, sap=None).to_json()


def test_other_labels_and_plain_numbers_have_no_note(chosen):
    scores, labels = made(seed=7)
    assert not evaluate(scores, labels, thresholds=chosen.values).thresholds.same_set
    labels[0, 0] = not labels[0, 0]
    report = evaluate(scores, labels, thresholds=chosen)
    assert not report.thresholds.same_set
    assert report.notes == ()


def test_the_labels_are_known_in_another_order_by_their_ids():
    scores, labels = made(seed=7)
    ids = np.random.default_rng(0).permutation(len(scores)).astype(str)
    found = choose_thresholds(scores, labels, ids=ids, label_ids=ids)
    order = np.random.default_rng(1).permutation(len(scores))
    with pytest.raises(ValueError, match="another set"):
        evaluate(scores[order], labels[order], ids=ids[order], label_ids=ids[order], thresholds=found)


def test_equal_labels_of_other_ids_are_another_set():
    scores, labels = made(seed=7)
    ids = np.array([f"val {n}" for n in range(len(scores))])
    others = np.array([f"test {n}" for n in range(len(scores))])
    found = choose_thresholds(scores, labels, ids=ids, label_ids=ids)
    report = evaluate(scores, labels, ids=others, label_ids=others, thresholds=found)
    assert not report.thresholds.same_set
    with pytest.raises(ValueError, match="another set"):
        evaluate(scores, labels, thresholds=found)


# ---------------------------------------------------------------------------------------------------------------------
# Thresholds that do not fit
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thresholds", "kind", "message"),
    [
        (np.zeros(7), ValueError, r"^thresholds: 7 classes, but scores has 8$"),
        (np.zeros((8, 1)), ValueError, r"^thresholds: expected one number a class \(C,\), got shape \(8, 1\)$"),
        ([0.5] * 7 + [math.nan], ValueError, r"^thresholds: expected numbers, got NaN for class 7$"),
        (np.zeros(8, bool), TypeError, r"^thresholds: expected numbers of at most 64 bits, got dtype bool$"),
        (["0.5"] * 8, TypeError, r"^thresholds: expected numbers of at most 64 bits, got dtype <U3$"),
        ("no_such.json", FileNotFoundError, "no_such"),
    ],
)
def test_thresholds_that_do_not_fit_are_refused(thresholds, kind, message):
    with pytest.raises(kind, match=message):
        evaluate(*made(), thresholds=thresholds)


def test_classes_of_other_names_are_refused():
    names = [f"class {c}" for c in range(8)]
    found = choose_thresholds(*made(seed=7), class_names=names)
    evaluate(*made(), thresholds=found)
    evaluate(*made(), thresholds=found, class_names=names)
    with pytest.raises(ValueError, match=r"^thresholds: .*got 'class 0' as class 0 instead of 'class 7'; choose"):
        evaluate(*made(), thresholds=found, class_names=names[::-1])


def test_names_that_shards_bring_are_checked(tmp_path, chosen):
    scores, labels = made()
    named = replace(chosen, class_names=tuple("abcdefgh"))
    for name, table in (("preds.csv", scores), ("labels.csv", labels.astype(int))):
        lines = [",".join("abcdefhg"), *(",".join(map(str, row)) for row in table.tolist())]
        (tmp_path / name).write_text("\n".join(lines))
    files = vltr_eval.ShardFiles(str(tmp_path / "preds.csv"), str(tmp_path / "labels.csv"))
    with pytest.raises(ValueError, match=r"^thresholds: .*got 'g' as class 6 instead of 'h'"):
        evaluate_batches(files, 8, thresholds=named)


def test_thresholds_of_integers_are_refused_for_floats(chosen):
    of_integers = choose_thresholds(*made(seed=7, dtype=np.int16, ties=True))
    with pytest.raises(ValueError, match=r"^thresholds: .* float scores .*float32.* chosen on int16 scores$"):
        evaluate(*made(), thresholds=of_integers)
    with pytest.raises(ValueError, match=r"^thresholds: .* integer scores .*int16.* chosen on float32 scores$"):
        evaluate(*made(dtype=np.int16, ties=True), thresholds=chosen)


def test_thresholds_of_float32_are_applied_to_float64(chosen):
    scores, labels = made()
    one, two = (evaluate(scores.astype(dtype), labels, thresholds=chosen) for dtype in (np.float32, np.float64))
    assert one == two


def test_a_comparison_takes_no_thresholds(chosen):
    scores, labels = made()
    with pytest.raises(TypeError, match=r"^thresholds: expected vltr_eval.evaluate, .* got vltr_eval.compare$"):
        vltr_eval.compare(scores, scores, labels=labels, thresholds=chosen)


def test_saved_evaluations_with_thresholds_are_compared(tmp_path, chosen):
    scores, labels = made()
    for name, options in (("plain", {}), ("applied", {"thresholds": chosen})):
        Evaluation.from_predictions(scores, labels, **options).save(tmp_path / f"{name}.npz")
    assert Evaluation.load(tmp_path / "applied.npz").report.thresholds is not None
    found = vltr_eval.compare(tmp_path / "applied.npz", tmp_path / "plain.npz")
    assert "thresholds" not in found.signature
    assert found.systems[0].of("mAP").difference == 0


def test_applied_thresholds_of_equal_values_have_one_fingerprint(chosen):
    one, two = (read_thresholds(chosen, 8) for _ in range(2))
    assert one.fingerprint == two.fingerprint != read_thresholds(chosen.values, 8).fingerprint


# ---------------------------------------------------------------------------------------------------------------------
# Devices and progress
# ---------------------------------------------------------------------------------------------------------------------


def test_a_device_gives_the_report_of_the_cpu(device, chosen):
    scores, labels = made()
    probabilities = (1 / (1 + np.exp(-scores))).astype(np.float32)
    positives = Positives.from_labels(labels)
    expected = evaluate(probabilities, labels, thresholds=chosen, calibration=7)
    assert evaluate(on_device(probabilities, device), positives, thresholds=chosen, calibration=7) == expected
    of_device = on_device(labels.astype(np.uint8), device)
    assert evaluate(on_device(probabilities, device), of_device, thresholds=chosen, calibration=7) == expected
    found = choose_thresholds(on_device(scores, device), of_device, min_positives=30)
    assert found.to_json() == choose_thresholds(scores, labels, min_positives=30).to_json()


def test_progress_rises_to_one(chosen):
    for call in (
        lambda progress: choose_thresholds(*made(), min_positives=30, progress=progress),
        lambda progress: evaluate(*made(), thresholds=chosen, progress=progress),
    ):
        seen = []
        call(seen.append)
        assert seen == sorted(seen)
        assert seen[-1] == 1.0


def test_positives_are_labels_too(chosen):
    scores, labels = made()
    assert evaluate(scores, Positives.from_labels(labels), thresholds=chosen) == evaluate(
        scores, labels, thresholds=chosen
    )


def test_a_path_is_read(tmp_path, chosen):
    chosen.save(Path(tmp_path) / "thr.json")
    for path in (tmp_path / "thr.json", str(tmp_path / "thr.json")):
        assert evaluate(*made(), thresholds=path) == evaluate(*made(), thresholds=chosen)
