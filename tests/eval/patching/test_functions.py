"""The patch of functions: replaced in every module, put back exactly, counted, and never what is not known."""

from __future__ import annotations

import importlib.metadata
import inspect
import pickle
import random
import sys
import threading
import types

import numpy as np
import pytest

import vltr_eval
from vltr_eval.patching import VersionRefused
from vltr_eval.patching.known import LIBRARIES, Known, Library, libraries_of

metrics = pytest.importorskip("sklearn.metrics")
ranking = pytest.importorskip("sklearn.metrics._ranking")

ORIGINALS = {name: getattr(metrics, name) for name in ("average_precision_score", "roc_auc_score")}
RNG = np.random.default_rng(0)
LABELS, SCORES = RNG.random((60, 5)) < 0.3, RNG.random((60, 5))


def patch(**options):
    return vltr_eval.patch(**{"only": "sklearn", "quiet": True, **options})


@pytest.fixture
def client(monkeypatch):
    module = types.ModuleType("client_of_tests")
    module.first, module.ap, module.last = 1, ORIGINALS["average_precision_score"], 2
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def counts(patched):
    return {one.name.rpartition(".")[2]: one for one in patched.summary().functions}


def test_names_in_modules_are_replaced_and_put_back(client, names_of_all_modules):
    with patch():
        pass  # drop-ins are imported
    before, order = names_of_all_modules(), list(vars(client))
    patched = patch()
    assert client.ap is metrics.average_precision_score is ranking.average_precision_score
    assert client.ap is not ORIGINALS["average_precision_score"]
    changed = {key for key, value in names_of_all_modules().items() if before.get(key) != value}
    assert ("sklearn.metrics", "roc_auc_score") in changed
    known = {one.name for library in LIBRARIES if library.name == "sklearn" for one in library.functions}
    assert {name for _, name in changed} <= known | {"ap"}
    patched.unpatch()
    assert names_of_all_modules() == before
    assert list(vars(client)) == order


def test_a_name_bound_during_the_patch_is_put_back(client):
    with patch():
        client.later = metrics.roc_auc_score
    assert client.later is ORIGINALS["roc_auc_score"]


def test_numbers_are_those_of_the_original():
    with patch() as patched:
        value = metrics.average_precision_score(LABELS, SCORES, average=None)
    assert value == pytest.approx(ORIGINALS["average_precision_score"](LABELS, SCORES, average=None), abs=1e-12)
    one = counts(patched)["average_precision_score"]
    assert (one.calls, one.shape, one.cells, one.fallbacks, one.errors) == (1, (60, 5), 300, {}, 0)
    assert one.seconds > 0
    assert one.original_seconds > 0


def test_a_fallback_reaches_the_original_and_is_counted():
    weights = RNG.random(60)
    with patch() as patched:
        value = metrics.roc_auc_score(LABELS, SCORES, sample_weight=weights)
    assert value == ORIGINALS["roc_auc_score"](LABELS, SCORES, sample_weight=weights)
    one = counts(patched)["roc_auc_score"]
    assert one.fallbacks == {"sample_weight": 1}
    assert one.fallback_seconds > 0
    assert "fallback to the original: sklearn.metrics._ranking.roc_auc_score, 1 x sample_weight" in (
        patched.summary().to_text()
    )


def test_a_drop_in_that_is_called_directly_falls_back_too():
    from vltr_eval.compat.sklearn import roc_auc_score

    weights = RNG.random(60)
    with patch():
        value = roc_auc_score(LABELS, SCORES, sample_weight=weights)
    assert value == ORIGINALS["roc_auc_score"](LABELS, SCORES, sample_weight=weights)


def test_an_error_is_raised_and_counted():
    with patch() as patched, pytest.raises(ValueError, match="y_score"):
        metrics.roc_auc_score(LABELS, np.full_like(SCORES, np.nan))
    assert counts(patched)["roc_auc_score"].errors == 1


def test_the_replacement_looks_like_the_original():
    original = ORIGINALS["roc_auc_score"]
    with patch():
        ours = metrics.roc_auc_score
        assert inspect.signature(ours) == inspect.signature(original)
        assert (ours.__name__, ours.__module__, ours.__doc__) == (
            original.__name__,
            original.__module__,
            original.__doc__,
        )
        data = pickle.dumps(ours)
        assert pickle.loads(data) is ours
    assert pickle.loads(data) is original
    assert ours(LABELS, SCORES) == original(LABELS, SCORES)  # a name that was kept goes to the original


def test_patches_count():
    original = ORIGINALS["roc_auc_score"]
    outer, inner = patch(), patch()
    metrics.roc_auc_score(LABELS, SCORES)
    outer.unpatch()  # in any order
    assert metrics.roc_auc_score is not original
    metrics.roc_auc_score(LABELS, SCORES)
    inner.unpatch()
    assert metrics.roc_auc_score is original
    assert (counts(outer)["roc_auc_score"].calls, counts(inner)["roc_auc_score"].calls) == (1, 2)
    assert outer.unpatch().functions[0].calls == 1  # has no further effect
    assert vltr_eval.unpatch() is None


def test_unpatch_ends_the_last_patch():
    first, second = patch(), patch(only="torcheval")
    assert vltr_eval.unpatch().functions == []
    assert metrics.roc_auc_score is not ORIGINALS["roc_auc_score"]
    assert vltr_eval.unpatch().functions == []
    assert metrics.roc_auc_score is ORIGINALS["roc_auc_score"]
    assert (first.libraries, second.libraries) == (("sklearn",), ("torcheval",))


def test_only_takes_known_names():
    assert libraries_of(["torcheval", "sklearn"]) == ("sklearn", "torcheval")
    assert libraries_of(None) == tuple(library.name for library in LIBRARIES)
    with pytest.raises(ValueError, match=r"^only: expected some of sklearn, .*, got scikit$"):
        patch(only="scikit")
    with pytest.raises(ValueError, match="got none"):
        patch(only=[])


@pytest.fixture
def old_version(monkeypatch):
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "1.7.2" if name == "scikit-learn" else version(name)
    )


def test_a_named_library_of_another_version_is_refused(old_version):
    with pytest.raises(
        VersionRefused, match=r"^only: scikit-learn 1\.7\.2 was not tested; expected 1\.9 or later, below 1\.10"
    ):
        patch()
    assert metrics.roc_auc_score is ORIGINALS["roc_auc_score"]


def test_a_library_of_another_version_is_left_alone(old_version):
    with patch(only=None) as patched:
        assert metrics.roc_auc_score is ORIGINALS["roc_auc_score"]
    assert patched.summary().left_alone["sklearn"].startswith("scikit-learn 1.7.2 was not tested")


def test_any_version_covers_another_version(old_version):
    with patch(any_version=True):
        assert metrics.roc_auc_score is not ORIGINALS["roc_auc_score"]


@pytest.mark.parametrize(
    ("version", "is_refused"), [("1.8.9", True), ("1.9", False), ("1.9.1", False), ("1.10.0rc1", True), ("x", True)]
)
def test_versions_compare_by_number(monkeypatch, version, is_refused):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    if is_refused:
        with pytest.raises(VersionRefused):
            patch()
    else:
        patch().unpatch()


def test_what_something_else_has_replaced_is_left_alone(monkeypatch):
    def roc_auc_score(*args):
        return args

    monkeypatch.setattr(ranking, "roc_auc_score", roc_auc_score)
    with patch():
        assert ranking.roc_auc_score is roc_auc_score
        assert metrics.average_precision_score is not ORIGINALS["average_precision_score"]


def test_scorers_go_through_the_patch():
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import _scorer, get_scorer, make_scorer
    from sklearn.model_selection import cross_val_score

    X, y = SCORES, LABELS[:, 0].astype(int)
    expected = cross_val_score(LogisticRegression(), X, y, scoring="average_precision", cv=3)
    original = _scorer._SCORERS["average_precision"]._score_func
    with patch() as patched:
        by_name = cross_val_score(LogisticRegression(), X, y, scoring="average_precision", cv=3)
        scorer = make_scorer(metrics.average_precision_score, response_method="predict_proba")
        made = cross_val_score(LogisticRegression(), X, y, scoring=scorer, cv=3)
        assert get_scorer("roc_auc")._score_func is metrics.roc_auc_score
    assert counts(patched)["average_precision_score"].calls == 6
    np.testing.assert_allclose(by_name, expected, atol=1e-12)
    np.testing.assert_allclose(made, expected, atol=1e-12)
    assert _scorer._SCORERS["average_precision"]._score_func is original


def test_threads_patch_and_call_at_once():
    expected = ORIGINALS["average_precision_score"](LABELS, SCORES)
    wrong = []

    def work():
        for _ in range(3):
            with patch():
                value = metrics.average_precision_score(LABELS, SCORES)
                if abs(value - expected) > 1e-12:
                    wrong.append(value)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert metrics.average_precision_score is ORIGINALS["average_precision_score"]


def test_verify_compares_every_call():
    weights = RNG.random(60)
    with patch(verify=True) as patched:
        metrics.average_precision_score(LABELS, SCORES)
        metrics.average_precision_score(LABELS, SCORES, sample_weight=weights)
    one = counts(patched)["average_precision_score"]
    assert 0 <= one.largest_difference < 1e-12
    assert one.disagreements == []
    assert one.original_seconds > 0
    assert "measured" in patched.summary().to_text()


# A library of the tests, whose original keeps what it was called with


LIBRARY = '''
import random
import numpy as np

seen = []

def score(labels, scores, factor=1):
    """Original."""
    seen.append(len(scores))
    random.random()
    np.random.rand()
    scores[:] = 0
    if len(scores) == 13:
        raise ValueError("13 rows")
    return {"mean": [float(np.mean(labels)) * factor], "name": "x"}

def unknown():
    return score
'''


@pytest.fixture
def library(table, write_module):
    write_module("library_of_tests", LIBRARY)
    results = {"result": {"mean": [0.5], "name": "x"}}

    def score(labels, scores, factor=1):
        return results["result"]

    table(
        Library("mine", (Known("score", "_of_tests:score", "library_of_tests"),), package="library_of_tests"),
        score=score,
    )
    import library_of_tests

    library_of_tests.results = results
    return library_of_tests


def test_an_estimate_takes_copies_of_slices(library):
    labels, scores = np.ones((100_000, 4)), np.ones((100_000, 4))
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with vltr_eval.patch(quiet=True) as patched:
        library.score(labels, scores)
        library.score(labels, scores)
    assert library.seen
    assert library.seen[0] == 512
    assert max(library.seen[:-2]) <= 100_000
    assert scores.all()
    assert random.getstate() == states[0]
    assert np.random.get_state()[2] == states[1][2]  # noqa: NPY002
    one = counts(patched)["score"]
    assert one.calls == 2
    assert one.original_seconds > 0
    calls = len(library.seen)
    with vltr_eval.patch(quiet=True):
        library.score(labels, scores)
    assert len(library.seen) == calls  # the estimate is made once


def test_an_original_that_raises_on_slices_has_no_estimate(library):
    with vltr_eval.patch(quiet=True) as patched:
        library.score(np.ones((13, 4)), np.ones((13, 4)))
    assert counts(patched)["score"].original_seconds is None
    assert counts(patched)["score"].saved_seconds is None


@pytest.mark.parametrize(
    ("ours", "difference", "sentence"),
    [
        ({"mean": [0.5], "name": "x"}, 0.5, None),
        ({"mean": [1.0], "name": "x"}, 0.0, None),
        ({"mean": [1.0, 2.0], "name": "x"}, 0.0, "expected 1 values"),
        ({"mean": [1.0], "name": "y"}, 0.0, "expected 'x', got 'y'"),
        ({"mean": [np.nan], "name": "x"}, 0.0, "expected NaN in the same places"),
        (3.0, 0.0, "expected a mapping"),
    ],
)
def test_verify_finds_a_difference(library, ours, difference, sentence):
    library.results["result"] = ours
    scores = np.ones((4, 2))
    with vltr_eval.patch(quiet=True, verify=True) as patched:
        assert library.score(np.ones((4, 2)), scores) is ours
    assert scores.all()  # the original has a copy
    one = counts(patched)["score"]
    assert one.largest_difference == difference
    assert (one.disagreements != []) == (sentence is not None)
    if sentence is not None:
        assert sentence in one.disagreements[0]
        assert f"NOT EQUAL: library_of_tests.score, {sentence}" in patched.summary().to_text()


def test_a_missing_drop_in_leaves_the_function(table, write_module):
    write_module("library_of_tests", LIBRARY)
    table(Library("mine", (Known("score", "_of_tests:other", "library_of_tests"),), package="library_of_tests"))
    import library_of_tests

    original = [library_of_tests.score]
    with vltr_eval.patch(quiet=True) as patched:
        assert library_of_tests.score is original[0]
    assert "other" in patched.summary().left_alone["library_of_tests.score"]


def test_the_summary_is_said_at_the_end(capsys):
    with patch(quiet=False):
        metrics.roc_auc_score(LABELS, SCORES)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vltr_eval.patch: 1 calls of 1 known functions, 0 fallbacks to the original; ")
    assert "an estimate" in err
    with patch():
        metrics.roc_auc_score(LABELS, SCORES)
    assert capsys.readouterr().err == ""
    with patch(only="torcheval", quiet=False):
        pass
    assert capsys.readouterr().err == "vltr_eval.patch: no known function was called\n"
