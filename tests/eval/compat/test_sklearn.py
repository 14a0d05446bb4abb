"""The scikit-learn drop-in against scikit-learn: every argument gives the same number, the same warning or an error."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import UndefinedMetricWarning

from vltr_eval.compat import sklearn as ours

NATIVE = (
    "average_precision_score",
    "label_ranking_average_precision_score",
    "precision_recall_curve",
    "roc_auc_score",
    "roc_curve",
    "top_k_accuracy_score",
)
TOLERANCE = dict(rtol=0, atol=1e-12, equal_nan=True)
AVERAGES = (None, "macro", "micro", "weighted", "samples")
SCORE_DTYPES = ("float16", "float32", "float64", "int8", "uint16", "int64", "bool")
LABEL_DTYPES = ("bool", "uint8", "int64", "float32")


def call(function, *args, **kwargs):
    """(result, categories of the warnings that tell of undefined metrics)"""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*args, **kwargs)
    return result, {w.category for w in caught if issubclass(w.category, UserWarning)}


def assert_same(name, *args, **kwargs):
    try:
        wanted, should_warn = call(getattr(sklearn.metrics, name), *args, **kwargs)
    except ValueError as error:
        if "Only one class present" in str(error):
            return  # an error until 1.6, and since then what ours does, which has a test of its own
        raise
    got, warned = call(getattr(ours, name), *args, **kwargs)
    assert warned == should_warn
    if not isinstance(wanted, tuple):
        assert np.shape(got) == np.shape(wanted)
        assert isinstance(got, np.ndarray if np.ndim(wanted) else float)
        got, wanted = (got,), (wanted,)
    for mine, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, **TOLERANCE)


def draw_scores(rng, shape, dtype, levels):
    if dtype == "bool":
        return rng.random(shape) < 0.5
    return rng.integers(0, levels, shape).astype(dtype)


@st.composite
def multilabel(draw, min_classes=2):
    """(labels, scores): few rows and classes, ties, absent and full classes, any dtype and memory order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 40)), draw(st.integers(min_classes, 6))
    labels = rng.random(shape) < rng.choice([0, 0.1, 0.5, 1], shape[1])
    scores = draw_scores(rng, shape, draw(st.sampled_from(SCORE_DTYPES)), draw(st.sampled_from([2, 5, 100])))
    order = draw(st.sampled_from("CF"))
    return np.array(labels, draw(st.sampled_from(LABEL_DTYPES)), order=order), np.array(scores, order=order)


@st.composite
def multiclass(draw, names=(3, 5, 6, 9)):
    """(labels, probabilities, classes): three classes or more are there."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes = np.array(names)
    labels = rng.permutation(np.append(classes, rng.choice(classes, draw(st.integers(0, 30)))))
    scores = rng.integers(1, draw(st.sampled_from([3, 100])), (len(labels), len(classes))).astype(float)
    return labels, scores / scores.sum(axis=1, keepdims=True), classes


# The originals' own examples


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("average_precision_score", ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), {}),
        (
            "average_precision_score",
            ([0, 0, 1, 1, 2, 2], np.array([[7, 2, 1], [4, 3, 3], [1, 8, 1], [2, 3, 5], [4, 4, 2], [1, 2, 7]]) / 10),
            {},
        ),
        ("precision_recall_curve", ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), {}),
        ("label_ranking_average_precision_score", ([[1, 0, 0], [0, 0, 1]], [[0.75, 0.5, 1], [1, 0.2, 0.1]]), {}),
        (
            "top_k_accuracy_score",
            ([0, 1, 2, 2], [[0.5, 0.2, 0.2], [0.3, 0.4, 0.2], [0.2, 0.4, 0.3], [0.7, 0.2, 0.1]]),
            {"k": 2},
        ),
        (
            "top_k_accuracy_score",
            ([0, 1, 2, 2], [[0.5, 0.2, 0.2], [0.3, 0.4, 0.2], [0.2, 0.4, 0.3], [0.7, 0.2, 0.1]]),
            {"k": 2, "normalize": False},
        ),
    ],
)
def test_documented_examples(name, args, kwargs):
    assert_same(name, *args, **kwargs)


def test_documented_examples_of_roc_auc_with_a_model():
    from sklearn.datasets import load_iris, make_multilabel_classification
    from sklearn.linear_model import LogisticRegression
    from sklearn.multioutput import MultiOutputClassifier

    inputs, labels = load_iris(return_X_y=True)
    scores = LogisticRegression(solver="newton-cg", random_state=0).fit(inputs, labels).predict_proba(inputs)
    for multi_class in ("ovr", "ovo"):
        assert_same("roc_auc_score", labels, scores, multi_class=multi_class)
    inputs, labels = make_multilabel_classification(random_state=0)
    model = MultiOutputClassifier(LogisticRegression(random_state=0)).fit(inputs, labels)
    scores = np.transpose([column[:, 1] for column in model.predict_proba(inputs)])
    assert_same("roc_auc_score", labels, scores, average=None)


@pytest.mark.parametrize("name", NATIVE)
def test_signatures_are_the_originals(name):
    mine, theirs = (inspect.signature(getattr(module, name)).parameters for module in (ours, sklearn.metrics))
    assert [(p.kind, p.default) for p in mine.values()] == [(p.kind, p.default) for p in theirs.values()]
    assert list(mine)[2:] == list(theirs)[2:]
    assert list(mine)[:2] == ["y_true", "y_score"]


# Laws: equal to the original


@given(multilabel(), st.sampled_from(AVERAGES))
def test_multilabel_indicators(case, average):
    assert_same("average_precision_score", *case, average=average)
    assert_same("roc_auc_score", *case, average=average)


@given(multilabel(), st.sampled_from(AVERAGES), st.integers(0, 2**32 - 1))
def test_multilabel_with_weights(case, average, seed):
    weights = np.random.default_rng(seed).integers(0, 4, len(case[0])).astype(float)
    weights[0] = 2.5
    if case[0].dtype != bool:  # the original cannot add booleans up with weights
        assert_same("average_precision_score", *case, average=average, sample_weight=weights)
    assert_same("roc_auc_score", *case, average=average, sample_weight=weights)


def test_weights_may_be_a_column():
    labels, scores, weights = np.eye(4), np.ones((4, 4)), np.arange(1.0, 5)
    flat, column = (ours.average_precision_score(labels, scores, sample_weight=w) for w in (weights, weights[:, None]))
    assert flat == column


@given(multilabel(), st.sampled_from(AVERAGES), st.sampled_from([1e-3, 0.1, 0.25, 0.5, 0.99, 1, 1.0]))
def test_partial_roc_auc(case, average, max_fpr):
    assert_same("roc_auc_score", *case, average=average, max_fpr=max_fpr)


@given(multilabel(), st.booleans(), st.booleans())
def test_binary_labels(case, as_column, drop_intermediate):
    labels, scores = (array[:, :1] if as_column else array[:, 0] for array in case)
    assert_same("average_precision_score", labels, scores)
    assert_same("average_precision_score", labels, scores, sample_weight=np.arange(1, len(labels) + 1))
    assert_same("roc_auc_score", labels, scores)
    assert_same("precision_recall_curve", labels, scores, drop_intermediate=drop_intermediate)


@given(multiclass(), st.sampled_from(AVERAGES), st.booleans())
def test_multiclass_labels(case, average, weighted):
    labels, scores, classes = case
    weights = np.arange(1, len(labels) + 1) / 2 if weighted else None
    assert_same("average_precision_score", labels, scores, average=average, sample_weight=weights)
    if average != "samples":
        assert_same(
            "roc_auc_score", labels, scores, average=average, sample_weight=weights, multi_class="ovr", labels=classes
        )
    if average in ("macro", "weighted") and not weighted:
        assert_same("roc_auc_score", labels, scores, average=average, multi_class="ovo")


@given(multilabel(min_classes=1), st.sampled_from(["dense", "csr", "coo"]), st.booleans())
def test_label_ranking_average_precision(case, form, weighted):
    labels, scores = case
    if scores.dtype.kind in "bu":
        scores = scores.astype(float)  # the original negates scores, which turns the order of unsigned ones around
    if form != "dense":
        labels = scipy.sparse.csr_matrix(labels).asformat(form)
    weights = np.arange(1.0, len(scores) + 1) if weighted else None
    if scores.shape[1] == 1 and form != "dense":
        return  # one sparse column fails in some versions
    assert_same("label_ranking_average_precision_score", labels, scores, sample_weight=weights)


@given(multiclass(), st.integers(1, 6), st.booleans(), st.booleans(), st.booleans())
def test_top_k_accuracy(case, k, normalize, weighted, give_labels):
    labels, scores, classes = case
    weights = np.arange(1.0, len(labels) + 1) if weighted else None
    options = dict(k=k, normalize=normalize, sample_weight=weights, labels=classes if give_labels else None)
    assert_same("top_k_accuracy_score", labels, np.round(scores, 1), **options)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("scores", [[0.2, 0.7, 0.5, 0.6], [-0.2, 0.7, 0.0, 2.6]])
def test_top_k_accuracy_of_two_labels(k, scores):
    assert_same("top_k_accuracy_score", ["a", "b", "b", "a"], scores, k=k)
    assert_same("top_k_accuracy_score", [1, 1, 1, 1], scores, k=k, labels=[0, 1], normalize=False)
    with pytest.raises(ValueError, match="labels: "):
        ours.top_k_accuracy_score([1, 1, 1, 1], scores, k=k)


def test_top_k_accuracy_of_few_labels_that_are_there():
    scores = np.float32([[0.1, 0.2, 0.3], [0.3, 0.3, 0.1]])
    assert_same("top_k_accuracy_score", [2, 0], scores, k=1, labels=[0, 1, 2])


@pytest.mark.parametrize(
    ("labels", "pos_label"),
    [
        (["no", "yes", "no", "yes"], "yes"),
        (np.array(["no", "yes", "no", "yes"], object), "no"),
        ([0, 1, 0, 1], 0),
        ([-1, 1, -1, 1], 1),
        ([False, True, False, True], True),
        ([2.0, 7.0, 2.0, 7.0], 7),
        ([2, 2, 2, 2], 2),
        ([0, 0, 0, 0], 1),
    ],
)
def test_labels_and_pos_label_of_any_kind(labels, pos_label):
    scores = [0.3, 0.2, 0.1, 0.9]
    assert_same("average_precision_score", labels, scores, pos_label=pos_label)
    assert_same("precision_recall_curve", labels, scores, pos_label=pos_label)
    assert_same("roc_auc_score", labels, scores)


def test_curve_of_one_label_among_many_and_of_labels_that_need_no_pos_label():
    assert_same("precision_recall_curve", [0, 1, 2, 1], [0.3, 0.2, 0.1, 0.9], pos_label=2)
    for labels in ([0, 1, 0, 1], [-1, 1, 1, 1], [0, 0, 0, 0], [-1, -1, -1, -1], [1, 1, 1, 1]):
        assert_same("precision_recall_curve", labels, [0.3, 0.2, 0.1, 0.9])


def test_label_matrices_of_other_values_go_through_the_original():
    labels, scores = np.array([[-1, 1], [1, -1], [1, 1]]), np.float32([[0.3, 0.2], [0.1, 0.9], [0.4, 0.5]])
    for name in ("average_precision_score", "roc_auc_score", "label_ranking_average_precision_score"):
        assert_same(name, labels, scores)


# Forms of arrays


@pytest.mark.parametrize("name", ["average_precision_score", "roc_auc_score", "label_ranking_average_precision_score"])
def test_forms_of_arrays(name):
    pd = pytest.importorskip("pandas")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    labels, scores = rng.random((30, 4)) < 0.3, rng.normal(size=(30, 4)).astype(np.float32)
    function, wanted = getattr(ours, name), getattr(sklearn.metrics, name)(labels, scores)
    wide = np.zeros((60, 8), np.float32)
    wide[::2, ::-2] = scores
    for y_true, y_score in (
        (labels.astype(int).tolist(), scores.tolist()),
        (pd.DataFrame(labels), pd.DataFrame(scores)),
        (torch.tensor(labels), torch.tensor(scores, requires_grad=True)),
        (np.asfortranarray(labels), scores),
        (labels, wide[::2, ::-2]),
        (labels, scores.astype(">f8")),
    ):
        assert function(y_true, y_score) == pytest.approx(wanted, abs=1e-12)
    coarse = torch.tensor(scores).bfloat16()
    assert function(labels, coarse) == pytest.approx(
        getattr(sklearn.metrics, name)(labels, coarse.float().numpy()), abs=1e-12
    )


# Warnings and errors


def test_one_warning_for_all_absent_classes():
    labels, scores = np.zeros((4, 3), int), np.zeros((4, 3))
    with pytest.warns(UserWarning, match="^No positive class found in y_true") as caught:
        assert ours.average_precision_score(labels, scores, average=None).tolist() == [0, 0, 0]
    assert len(caught) == 1
    with pytest.warns(UndefinedMetricWarning, match="^Only one class is present in y_true") as caught:
        assert np.isnan(ours.roc_auc_score(labels, scores, average=None)).all()
    assert len(caught) == 1


LABELS, SCORES = [[1, 0], [0, 1], [1, 1]], [[0.3, 0.2], [0.1, 0.9], [0.4, 0.5]]
MULTICLASS, PROBABILITIES = [0, 1, 2], np.full((3, 3), 1 / 3)


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "match"),
    [
        ("average_precision_score", (LABELS, SCORES), {"average": "mean"}, "average: "),
        ("average_precision_score", (LABELS, SCORES), {"pos_label": 0}, "pos_label: "),
        ("average_precision_score", (MULTICLASS, PROBABILITIES), {"pos_label": 2}, "pos_label: "),
        ("average_precision_score", ([0, 1, 1], [1, 2, 3]), {"pos_label": 5}, "pos_label: "),
        ("average_precision_score", (["a", "b", "b"], [1, 2, 3]), {}, "pos_label: "),
        ("average_precision_score", (MULTICLASS, np.full((3, 4), 0.25)), {}, "y_score: "),
        ("average_precision_score", ([0.1, 0.9, 0.4], [1, 2, 3]), {}, "continuous format is not supported"),
        ("average_precision_score", ([0, np.nan, 1], [1, 2, 3]), {}, "y_true: "),
        ("average_precision_score", ([0, np.inf, 1], [1, 2, 3]), {}, "y_true: "),
        ("average_precision_score", ([[0, 0.5], [1, 0], [1, 1]], SCORES), {}, "y_true: expected 0 and 1"),
        ("average_precision_score", ([[0, 2], [1, 0], [1, 1]], SCORES), {}, "multiclass-multioutput"),
        ("average_precision_score", ([[0, np.nan], [1, 0], [1, 1]], SCORES), {}, "y_true: "),
        ("average_precision_score", (LABELS[:2], SCORES), {}, "y_true: "),
        ("average_precision_score", (LABELS, [1, 2, 3]), {}, "y_score: "),
        ("average_precision_score", ([0, 1, 1], SCORES), {}, "y_score: "),
        ("average_precision_score", ([], []), {}, "y_score: "),
        ("average_precision_score", (LABELS, SCORES), {"sample_weight": [1, 2]}, "sample_weight: "),
        ("average_precision_score", (LABELS, SCORES), {"sample_weight": [1, 2, np.nan]}, "sample_weight: "),
        ("average_precision_score", (LABELS, SCORES), {"sample_weight": SCORES}, "sample_weight: "),
        ("roc_auc_score", (LABELS, SCORES), {"average": "mean"}, "average: "),
        ("roc_auc_score", (LABELS, SCORES), {"max_fpr": 0}, "max_fpr: "),
        ("roc_auc_score", (LABELS, SCORES), {"max_fpr": 1.5}, "max_fpr: "),
        ("roc_auc_score", (LABELS, SCORES), {"multi_class": "ova"}, "multi_class: "),
        ("roc_auc_score", (MULTICLASS, PROBABILITIES), {}, "multi_class: "),
        ("roc_auc_score", (MULTICLASS, PROBABILITIES), {"multi_class": "ovr", "max_fpr": 0.5}, "max_fpr: "),
        ("roc_auc_score", (MULTICLASS, PROBABILITIES), {"multi_class": "ovr", "average": "samples"}, "average: "),
        ("roc_auc_score", (MULTICLASS, PROBABILITIES * 2), {"multi_class": "ovr"}, "y_score: expected probabilities"),
        ("roc_auc_score", (MULTICLASS, PROBABILITIES[:, :2]), {"multi_class": "ovr"}, "y_score: "),
        ("roc_auc_score", (MULTICLASS, PROBABILITIES), {"multi_class": "ovr", "labels": [0, 2, 1]}, "labels: "),
        ("roc_auc_score", (MULTICLASS, PROBABILITIES), {"multi_class": "ovr", "labels": [0, 1, 1]}, "labels: "),
        ("roc_auc_score", (MULTICLASS, PROBABILITIES), {"multi_class": "ovr", "labels": [0, 1, 3]}, "labels: "),
        ("roc_auc_score", ([0.1, 0.9, 0.4], [1, 2, 3]), {}, "continuous format is not supported"),
        ("precision_recall_curve", (LABELS, SCORES), {}, "y_true: "),
        ("precision_recall_curve", ([0, 1, 2], [1, 2, 3]), {}, "pos_label: "),
        ("precision_recall_curve", ([5, 5, 7], [1, 2, 3]), {}, "pos_label: "),
        ("precision_recall_curve", (["a", "b", "b"], [1, 2, 3]), {}, "pos_label: "),
        ("precision_recall_curve", ([0, 1, 1], SCORES), {}, "y_score: "),
        ("label_ranking_average_precision_score", ([0, 1, 1], [1, 2, 3]), {}, "y_true: "),
        ("label_ranking_average_precision_score", (LABELS, PROBABILITIES), {}, "y_true: "),
        ("label_ranking_average_precision_score", (LABELS, SCORES), {"sample_weight": [1]}, "sample_weight: "),
        ("top_k_accuracy_score", (LABELS, SCORES), {}, "y_true: "),
        ("top_k_accuracy_score", (MULTICLASS, PROBABILITIES), {"k": 0}, "k: "),
        ("top_k_accuracy_score", (MULTICLASS, PROBABILITIES), {"labels": [0, 2, 1]}, "labels: "),
        ("top_k_accuracy_score", ([0, 1, 5], PROBABILITIES), {"labels": [0, 1, 2]}, "labels: "),
        ("top_k_accuracy_score", (MULTICLASS, [1, 2, 3]), {}, "y_score: "),
        ("top_k_accuracy_score", ([0, 1, 1], PROBABILITIES), {"k": 1}, "y_score: "),
    ],
)
def test_bad_arguments_are_errors(name, args, kwargs, match):
    with pytest.raises(ValueError, match=match):
        getattr(ours, name)(*args, **kwargs)
    with pytest.raises((ValueError, IndexError)):
        call(getattr(sklearn.metrics, name), *args, **kwargs)


@pytest.mark.parametrize("kind", [ValueError, TypeError])
@pytest.mark.parametrize("name", ["average_precision_score", "roc_auc_score"])
def test_sparse_labels_are_refused_as_by_the_original(name, kind):
    labels = scipy.sparse.csr_matrix(LABELS)
    with pytest.raises(kind, match=r"y_true: expected a dense array, .*; pass y_true.toarray\(\)"):
        getattr(ours, name)(labels, SCORES)
    with pytest.raises(kind):
        getattr(sklearn.metrics, name)(labels, SCORES)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", NATIVE)
def test_scores_that_are_not_finite(name, dtype, bad):
    scores = np.arange(12, dtype=dtype).reshape(4, 3)
    scores[2, 1] = bad
    labels = np.eye(4, 3, dtype=int)
    if name == "top_k_accuracy_score":
        labels = [0, 1, 2, 2]
    if name == "precision_recall_curve":
        labels, scores = [0, 1, 0, 1], scores[:, 1]
    where = "row 2$" if name == "precision_recall_curve" else "row 2, class 1$"
    with pytest.raises(ValueError, match=f"y_score: expected finite numbers, got .* at {where}"):
        getattr(ours, name)(labels, scores)


def test_big_matrices_are_looked_at_to_the_end():
    scores = np.zeros((3, 1 << 17), np.float32)
    for order in ("C", "F"):
        bad = np.array(scores, order=order)
        bad[2, -1] = np.inf
        with pytest.raises(ValueError, match="y_score: expected finite numbers, got inf at row 2, class 131071"):
            ours.average_precision_score(np.eye(*bad.shape, dtype=np.uint8), bad)


# Without scikit-learn


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "option"),
    [
        ("roc_auc_score", (LABELS, SCORES), {"sample_weight": [1, 2, 3]}, "sample_weight"),
        ("roc_auc_score", (MULTICLASS, PROBABILITIES), {"multi_class": "ovo"}, "multi_class='ovo'"),
        ("precision_recall_curve", ([0, 1, 1], [1, 2, 3]), {"sample_weight": [1, 2, 3]}, "sample_weight"),
        ("average_precision_score", (LABELS, SCORES), {"sample_weight": [1, -2, 3]}, "a negative sample_weight"),
        ("average_precision_score", ([[-1, 1], [1, 1]], [[1, 2], [3, 4]]), {}, r"y_true with the values \[-1, 1\]"),
        ("average_precision_score", (LABELS, np.array(SCORES, object)), {}, r"y_score of dtype \|O"),
    ],
)
def test_what_is_not_native_names_what_it_needs(monkeypatch, name, args, kwargs, option):
    assert_same(name, *args, **kwargs)
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(ImportError, match=rf"^{name}: {option} is not native and needs scikit-learn"):
        getattr(ours, name)(*args, **kwargs)


def test_nothing_is_imported_and_warnings_have_a_class_of_our_own():
    program = """
import sys, warnings
sys.modules["sklearn"] = None
from vltr_eval.compat.sklearn import *
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert roc_auc_score([1, 1], [.2, .3]) != 0
    assert average_precision_score([0, 0], [.2, .3]) == 0
assert [w.category.__name__ for w in caught] == ["UndefinedMetricWarning", "UserWarning"], caught
assert not {"scipy", "torch", "pandas"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
