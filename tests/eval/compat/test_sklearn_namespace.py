"""compat.sklearn in place of sklearn.metrics: its names, the check of arguments, weights of any dtype, roc_curve."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils._param_validation import InvalidParameterError

from vltr_eval.compat import sklearn as ours

LABELS, SCORES = [0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8]
MATRIX = np.eye(4, dtype=int)
KINDS = (ValueError, TypeError, ZeroDivisionError, InvalidParameterError)


def outcome(function, *args, **kwargs):
    """Return (result, kinds of the error or None, categories of warnings)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result, kinds = function(*args, **kwargs), None
        except KINDS as error:
            result, kinds = None, [isinstance(error, kind) for kind in KINDS]
    return result, kinds, {w.category for w in caught if issubclass(w.category, UserWarning)}


def assert_same(name, *args, **kwargs):
    mine, theirs = (outcome(getattr(module, name), *args, **kwargs) for module in (ours, sklearn.metrics))
    assert mine[1] == theirs[1]
    if theirs[1] is None:
        assert mine[2] == theirs[2]
        assert isinstance(mine[0], type(theirs[0]) if isinstance(theirs[0], (tuple, np.ndarray)) else float)
        for one, other in zip(*(r[0] if isinstance(r[0], tuple) else (r[0],) for r in (mine, theirs)), strict=True):
            assert np.asarray(one).dtype == np.asarray(other).dtype
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12, equal_nan=True)


# Names


def test_other_names_are_those_of_the_original():
    from vltr_eval.compat.sklearn import accuracy_score, f1_score

    assert f1_score is sklearn.metrics.f1_score
    assert accuracy_score is sklearn.metrics.accuracy_score
    assert ours.pairwise is sklearn.metrics.pairwise
    assert set(sklearn.metrics.__all__) <= set(dir(ours))
    assert set(ours.__all__) <= set(dir(ours))
    with pytest.raises(AttributeError, match=r"has no attribute 'f2_score', and sklearn\.metrics has none"):
        _ = ours.f2_score
    with pytest.raises(ImportError, match="cannot import name 'f2_score'"):
        from vltr_eval.compat.sklearn import f2_score  # noqa: F401
    assert not hasattr(ours, "__wrapped__")


def test_other_names_without_the_original_name_it():
    program = """
import sys
sys.modules["sklearn"] = None
from vltr_eval.compat import sklearn as metrics
assert "roc_curve" in dir(metrics) and "f1_score" not in dir(metrics)
assert not hasattr(metrics, "_private")
for how in ("metrics.f1_score", "exec('from vltr_eval.compat.sklearn import f1_score')"):
    try:
        eval(how)
    except ImportError as error:
        assert str(error).startswith("f1_score: is not native and needs scikit-learn, which is not installed"), error
    else:
        raise AssertionError(how)
try:
    metrics.top_k_accuracy_score([0, 1], [0.2, 0.3], k=0)
except metrics.InvalidParameterError as error:
    assert isinstance(error, ValueError) and isinstance(error, TypeError)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", ours.__all__)
def test_functions_can_be_pickled_and_copied(name):
    function = getattr(ours, name)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        dumped = pickle.dumps(function, protocol)
        assert pickle.loads(dumped) is function
        assert pickle._loads(pickle._dumps(function, protocol)) is function
    assert copy.deepcopy(function) is function
    assert function.__module__ == "vltr_eval.compat.sklearn"
    assert inspect.getmodule(function) is ours


def test_a_metric_as_scoring_gets_the_advice_of_the_original():
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import check_scoring, make_scorer
    from sklearn.model_selection import cross_val_score

    model = LogisticRegression()
    for name in ours.__all__:
        with pytest.raises(ValueError, match="make_scorer"):
            check_scoring(model, scoring=getattr(ours, name))
    inputs = np.random.default_rng(0).normal(size=(60, 2))
    labels = (inputs[:, 0] + inputs[:, 1] > 0).astype(int)
    scorers = (make_scorer(module.roc_auc_score, response_method="predict_proba") for module in (ours, sklearn.metrics))
    mine, theirs = (cross_val_score(model, inputs, labels, scoring=scorer) for scorer in scorers)
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)


def test_arrays_of_other_libraries_come_back_where_the_original_gives_them():
    program = """
import numpy as np, sklearn, torch
from vltr_eval.compat import sklearn as ours
labels, scores = torch.tensor([0, 1, 0, 1]), torch.tensor([.1, .4, .35, .8])
assert type(ours.roc_curve(labels, scores)[0]) is np.ndarray
with sklearn.config_context(array_api_dispatch=True):
    for name in ("roc_curve", "precision_recall_curve"):
        mine, theirs = (
            getattr(module, name)(labels, scores, drop_intermediate=False) for module in (ours, sklearn.metrics)
        )
        for one, other in zip(mine, theirs, strict=True):
            assert type(one) is type(other) is torch.Tensor and torch.equal(one, other)
    matrix = torch.eye(4)[:, :2]
    mine, theirs = (module.average_precision_score(matrix, matrix, average=None) for module in (ours, sklearn.metrics))
    assert type(mine) is type(theirs)
    assert type(ours.roc_curve(labels.numpy(), scores.numpy())[0]) is np.ndarray
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "SCIPY_ARRAY_API": "1"})


# Arguments


ARGUMENTS = {
    "average": ["x", 1, ["macro"], True, b"macro"],
    "pos_label": [None, [1], 1j, (1,), object()],
    "max_fpr": [0, 1.5, -1, "a", np.nan, [0.5], 1j, True, np.float64(0.5), 1],
    "multi_class": ["x", None, 1, ["ovr"]],
    "labels": [4, "ab", b"ab", None],
    "k": [0, -1, 1.0, "a", None, True, np.int8(1), [1]],
    "normalize": ["False", 0, 1, None, np.bool_(False), 1.0],
    "drop_intermediate": ["a", 0, 1, None, np.bool_(True), [True]],
    "sample_weight": [5, "abcd", b"abcd", 1.5, np.float64(1)],
}


@pytest.mark.parametrize("name", ours.__all__)
def test_every_argument_is_checked_as_by_the_original(name):
    cases = {"label_ranking_average_precision_score": (MATRIX, MATRIX + 0.5)}
    args = cases.get(name, (LABELS, SCORES))
    for option in list(inspect.signature(getattr(ours, name)).parameters)[2:]:
        for value in ARGUMENTS[option]:
            assert_same(name, *args, **{option: value})
    for bad in (None, 5, "abcd", b"abcd", 1.5, np.float64(1)):
        assert_same(name, bad, args[1])
        assert_same(name, args[0], bad)


def test_a_bad_argument_is_named_with_its_value():
    for name, options, match in (
        ("top_k_accuracy_score", {"normalize": "False"}, "^normalize: expected a boolean, got 'False'$"),
        ("precision_recall_curve", {"drop_intermediate": "a"}, "^drop_intermediate: expected a boolean, got 'a'$"),
        (
            "average_precision_score",
            {"pos_label": None},
            "^pos_label: expected a number, a text or a boolean, got None$",
        ),
        ("roc_auc_score", {"sample_weight": 5}, "^sample_weight: expected an array or None, got 5$"),
    ):
        with pytest.raises(InvalidParameterError, match=match):
            getattr(ours, name)(LABELS, SCORES, **options)


def test_the_check_of_arguments_can_be_switched_off_as_in_the_original():
    with sklearn.config_context(skip_parameter_validation=True):
        assert_same("top_k_accuracy_score", LABELS, SCORES, k=1, normalize="False")


WEIGHTS = (
    np.array([1, 2, 3, 4], object),
    ["1", "2", "3", "4"],
    ["a"] * 4,
    [1, 2, 3, None],
    [1j] * 4,
    [1, 2, 3, np.nan],
    np.longdouble([1, 2, 3, 4]),
    [True, False, True, True],
    np.ones((4, 1)),
    np.zeros(4),
)


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
@pytest.mark.parametrize("name", ours.__all__)
def test_weights_of_any_dtype(name, weights):
    args = (LABELS, SCORES) if "ranking" not in name else (MATRIX, MATRIX + 0.5)
    with np.errstate(invalid="ignore"):
        assert_same(name, *args, sample_weight=weights)


def test_missing_cells_are_named_and_not_called_continuous():
    pd = pytest.importorskip("pandas")
    missing = pd.Series([0, 1, None, 1], dtype="Int64")
    masked = np.ma.masked_array(LABELS, [False, False, True, False])
    for name in set(ours.__all__) - {"label_ranking_average_precision_score"}:
        for labels in (missing, masked):
            with pytest.raises(ValueError, match=r"y_true: expected a number in every cell, got 1 missing, .* row 2"):
                getattr(ours, name)(labels, SCORES)
        with pytest.raises(ValueError, match="NaN"), np.errstate(invalid="ignore"):
            getattr(sklearn.metrics, name)(missing, SCORES)
    frame = pd.DataFrame({"a": pd.Series([0, 1, None], dtype="Int64"), "b": [0, 1, 1]})
    with pytest.raises(ValueError, match=r"y_true: expected a number in every cell, got 1 missing, .* row 2, column 0"):
        ours.average_precision_score(frame, np.ones((3, 2)))
    complete = pd.Series(LABELS, dtype="Int64"), pd.Series(SCORES, dtype="Float64")
    for name in ("average_precision_score", "roc_auc_score", "roc_curve"):
        assert_same(name, *complete)


def test_too_many_columns_get_the_hint_of_the_original():
    scores = np.full((3, 4), 0.25)
    for labels, kwargs in (([0, 1, 2], {}), ([0, 1, 1], {}), ([1, 1, 1], {})):
        with pytest.raises(ValueError, match=r"pass labels= with all known classes if y_true lacks some$"):
            ours.top_k_accuracy_score(labels, scores, **kwargs)
        with pytest.raises(ValueError, match="labels"):
            sklearn.metrics.top_k_accuracy_score(labels, scores, **kwargs)
    with pytest.raises(ValueError, match=r"a column for each of the 3 classes, got \(3, 4\)$"):
        ours.top_k_accuracy_score([0, 1, 2], scores, labels=[0, 1, 2])


def test_one_class_is_undefined_whatever_the_scores():
    for labels in ([1, 1, 1], [[0], [0], [0]], ["a", "a", "a"]):
        assert_same("roc_auc_score", labels, [[0.2, 0.8], [0.5, 0.5], [0.1, 0.9]])


# Curves


@st.composite
def binary(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, levels = draw(st.integers(1, 60)), draw(st.sampled_from([1, 2, 6, 1000]))
    dtype = draw(st.sampled_from(["float16", "float32", "float64", "int8", "uint8", "int64", "uint64", "bool"]))
    scores = rng.integers(0 if dtype[0] in "ub" else -levels, levels, rows, endpoint=True).astype(dtype)
    return (rng.random(rows) < draw(st.sampled_from([0, 0.2, 0.5, 1]))).astype(int), scores


@given(binary(), st.booleans(), st.sampled_from([None, 0, 1, 7]))
def test_curves_equal_the_originals(case, drop_intermediate, pos_label):
    for name in ("roc_curve", "precision_recall_curve"):
        assert_same(name, *case, drop_intermediate=drop_intermediate, pos_label=pos_label)
        assert_same(name, case[0].tolist(), case[1].tolist(), drop_intermediate=drop_intermediate)


def test_roc_curve_of_the_documented_example():
    fpr, tpr, thresholds = ours.roc_curve([1, 1, 2, 2], [0.1, 0.4, 0.35, 0.8], pos_label=2)
    assert fpr.tolist() == [0, 0, 0.5, 0.5, 1]
    assert tpr.tolist() == [0, 0.5, 0.5, 1, 1]
    assert thresholds.tolist() == [np.inf, 0.8, 0.4, 0.35, 0.1]
    assert_same("roc_curve", [1, 1, 2, 2], [0.1, 0.4, 0.35, 0.8], pos_label=2)


@pytest.mark.parametrize(
    ("labels", "pos_label"),
    [(["no", "yes", "no", "yes"], "yes"), ([-1, 1, -1, 1], None), ([0, 1, 2, 1], 2), ([5, 5, 7, 7], None)],
)
def test_roc_curve_of_labels_of_any_kind(labels, pos_label):
    assert_same("roc_curve", labels, SCORES, pos_label=pos_label)
    assert_same("roc_curve", np.array(labels)[:, None], np.array(SCORES)[:, None], pos_label=pos_label)
    assert_same("roc_curve", labels, SCORES, pos_label=pos_label, sample_weight=[1, 2, 0, 3])


def test_roc_curve_warns_of_each_rate_that_is_undefined():
    for labels, match in (
        ([1, 1], "^No negative samples in y_true, false"),
        ([0, 0], "^No positive samples in y_true"),
    ):
        with pytest.warns(UndefinedMetricWarning, match=match) as caught:
            ours.roc_curve(labels, [0.2, 0.4])
        assert len(caught) == 1


def test_curves_of_many_rows_equal_the_originals():
    rng = np.random.default_rng(5)
    labels = (rng.random(150_000) < 0.3).astype(np.uint8)
    scores = (rng.normal(size=150_000) + labels).astype(np.float32)
    for of_scores in (scores, np.round(scores * 100).astype(np.int16)):
        for drop_intermediate in (False, True):
            assert_same("roc_curve", labels, of_scores, drop_intermediate=drop_intermediate)
            assert_same("precision_recall_curve", labels, of_scores, drop_intermediate=drop_intermediate)
