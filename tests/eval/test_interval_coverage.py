"""A small coverage study: intervals hold the expected metric, tests keep their size, and its files can be resumed."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import vltr_eval
from vltr_eval._engine.effects import class_variances
from vltr_eval._engine.rank_scan import rank_scan

SCRIPT = Path(__file__).parents[2] / "experiments" / "interval_coverage.py"


def load_study():
    spec = importlib.util.spec_from_file_location("interval_coverage", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look their module up
    path = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = path
    return module


study = load_study()
SMALL = dataclasses.replace(study.POPULATIONS["small"], num_rows=400, num_classes=40)
SETS, SEED = 100, 3
RULES = ("ap", "auc", "sap", "acc", "acc rows")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    study.simulate(SMALL, SETS, SEED, folder)
    return folder


@pytest.fixture(scope="module")
def small(work):
    return study.Study(SMALL, study.load(SMALL, SEED, work))


# The Monte Carlo standard error of one coverage is 2.2 %, and that of the mean over the groups a little less. Errors
# that are 30 % too small would cover 83 %, and errors that are twice too large 100 %.
@pytest.mark.parametrize("pair", ["A", "A-B", "A-C"])
@pytest.mark.parametrize("rule", RULES)
def test_intervals_of_means_and_differences_cover_the_expected_metric(small, rule, pair):
    covered = small.covers(rule, pair, truth=0.0 if pair == "A-B" else None)
    assert (covered.mean(axis=0) >= 0.89).all()
    assert 0.915 <= covered.mean() <= 0.985


def test_the_paired_error_of_a_difference_is_smaller_than_the_unpaired(small):
    for rule in RULES:
        unpaired = np.hypot(small.error(rule, "A"), small.error(rule, "C"))
        assert (np.sqrt((small.error(rule, "A-C") ** 2).mean(0)) < 0.8 * np.sqrt((unpaired**2).mean(0))).all()


@pytest.mark.parametrize("metric", ["ap", "auc", "sap", "acc"])
def test_intervals_of_classes_cover_the_expected_metric(small, metric):
    inside, width, size = small.one_class(metric)
    assert np.isnan(inside[size < 5]).all()
    assert not np.isnan(inside[size >= 5]).any()
    assert (width[size >= 5] > 0).all()
    for low, high in ((5, 9), (10, 29), (30, 1_000)):
        assert np.mean(inside[(size >= low) & (size <= high)]) >= 0.92


def test_the_class_table_makes_few_false_discoveries(small):
    null, size = study.class_table(small, "B")
    assert np.isnan(null[size < 10]).all()
    assert np.mean(null[size >= 10] <= 0.05) <= 0.07
    assert np.mean([(study.holm(p) <= 0.05).any() for p in null]) <= 0.1


def test_finished_sets_are_kept_and_do_not_depend_on_the_run(work, tmp_path, monkeypatch):
    study.simulate(SMALL, 20, SEED, tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [f"small-seed{SEED}-000000.npz", f"small-seed{SEED}-000010.npz"]
    (tmp_path / files[0]).unlink()
    made = []
    whole = study.measure
    monkeypatch.setattr(study, "measure", lambda *args, **options: made.append(0) or whole(*args, **options))
    study.simulate(SMALL, 20, SEED, tmp_path)
    assert len(made) == 10
    for name in files:
        with np.load(tmp_path / name) as one, np.load(work / name) as other:
            assert set(one) == set(other)
            for key in one:
                np.testing.assert_array_equal(one[key], other[key])


MEANS = {"ap": "mAP", "auc": "ROC_AUC", "sap": "expected_SAP", "acc": "Acc@1"}


def drawn(clustered):
    """A test set of which several classes have one positive, with its labels and the cluster of each row."""
    more = {"cluster_rows": 4, "purity": 0.4} if clustered else {}
    population = dataclasses.replace(SMALL, scale=0.08, **more)
    planted = study.Planted(population)
    test_set = planted.draw(np.random.Generator(np.random.SFC64(2)))
    positives = test_set.seen
    labels = np.zeros((population.num_rows, population.num_classes), bool)
    labels[positives.rows, np.repeat(np.arange(population.num_classes), positives.counts)] = True
    assert np.count_nonzero(positives.counts == 1) >= 2
    clusters = np.arange(population.num_rows) // 4 if clustered else None
    return planted, test_set, labels, clusters


@pytest.mark.parametrize("clustered", [False, True])
def test_errors_are_those_of_reports_and_comparisons(clustered):
    planted, test_set, labels, clusters = drawn(clustered)
    options = {"train_counts": planted.train, "sap": "exact", "clusters": clusters}
    report = vltr_eval.evaluate(test_set.a, labels, interval=0.95, **options)
    compared = vltr_eval.compare(test_set.a, test_set.b.copy(), labels=labels, **options).systems[0]
    found = study.measure(planted, test_set)
    form = "clustered error" if clustered else "error"
    for name, flat in MEANS.items():
        means = [flat, *(f"{flat}_{group}" for group in study.GROUPS[1:])]
        of_model, of_pair = found[f"{form} {name} A"], found[f"{form} {name} A-B"]
        if name == "acc":  # all rows, not all classes
            of_model[0], of_pair[0] = found[f"{form} acc rows A"][0], found[f"{form} acc rows A-B"][0]
        np.testing.assert_allclose(of_model, [report.metrics()[f"{mean}_se"] for mean in means], rtol=1e-9)
        np.testing.assert_allclose(of_pair, [compared.of(mean).error for mean in means], rtol=1e-9)


def test_the_mean_class_rate_over_all_classes_is_that_of_one_group():
    planted, test_set, labels, _ = drawn(clustered=False)
    report = vltr_eval.evaluate(test_set.a, labels, train_counts=np.full(len(planted.train), 1), interval=0.95)
    error = study.measure(planted, test_set)["error acc A"][0]
    assert error == pytest.approx(report.metrics()["Acc@1_tail_se"], rel=1e-9)


def test_errors_of_halves_are_those_of_reports():
    planted, test_set, labels, _ = drawn(clustered=False)
    matrices = study.Matrices("", (test_set.a, test_set.b), labels, planted.group)
    rows = np.arange(1, len(labels), 2)
    report = vltr_eval.evaluate(test_set.a[rows], labels[rows], train_counts=planted.train, sap="exact", interval=0.95)
    printed, found = report.metrics(), study.half_means(matrices, rows)
    for name in study.METRICS:
        means, errors = found[f"{study.NAMES[name]}, A"]
        names = [MEANS[name], *(f"{MEANS[name]}_{group}" for group in study.GROUPS[1:])]
        np.testing.assert_allclose(means, [printed[one] for one in names], rtol=1e-12)
        np.testing.assert_allclose(errors[0], [printed[f"{one}_se"] for one in names], rtol=1e-9)
        assert errors[1][3] < errors[0][3]


def test_the_table_of_halves_has_both_rules():
    planted, test_set, labels, _ = drawn(clustered=False)
    text = study.report_halves(study.Matrices("halves", (test_set.a, test_set.b), labels, planted.group), 4, 1)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 9
    assert all(line.count("|") == 12 for line in lines)
    for line in lines[2:]:  # a larger error makes smaller z
        printed, plain = (float(line.split("|")[column]) for column in (10, 11))
        assert printed < plain


def test_plain_effects_do_not_count_the_only_positive_of_a_class():
    planted, test_set, _, _ = drawn(clustered=False)
    found = study.measure(planted, test_set, alternatives=True)
    for name in ("ap", "auc", "acc"):
        assert found[f"error {name} plain A"] < found[f"error {name} A"][3]


def test_alternative_effects_are_the_influences():
    """Where the tail is one class, their squares add up to the variance that the core computes."""
    rng = np.random.default_rng(4)
    planted = study.Planted(SMALL)
    labels = rng.random((60, 1)) < 0.1
    scores = rng.normal(size=(60, 1)).astype(np.float32) + labels
    planted.group = np.array([2])
    positives = vltr_eval.Positives.from_labels(labels)
    p = int(labels.sum())
    table = rank_scan(scores, positives).table
    effects = study.alternative_effects(planted, scores, positives, rng.random(60) < 0.5)
    assert np.sum(effects["auc scaled"] ** 2) == pytest.approx(class_variances(table, "roc_auc")[0], abs=1e-12)
    of_ap = np.sum(effects["ap scaled"] ** 2) * (p - 1) / p
    assert of_ap == pytest.approx(class_variances(table, "average_precision")[0], abs=1e-12)


def test_tables_are_written_for_every_population_kind(tmp_path, monkeypatch):
    """The command makes all tables, of label noise and of clusters too, and only from finished sets."""
    kinds = {
        name: dataclasses.replace(population, num_rows=200, num_classes=12, scale=0.5)
        for name, population in study.POPULATIONS.items()
        if name in ("videolt", "noise", "clusters")
    }
    monkeypatch.setattr(study, "POPULATIONS", kinds)
    written = []
    monkeypatch.setattr(study.sys.stdout, "write", written.append)
    command = [
        "x",
        "--sets",
        "10",
        "--halvings",
        "0",
        "--draws",
        "50",
        "--work",
        str(tmp_path),
        "--populations",
        *kinds,
    ]
    monkeypatch.setattr(study.sys, "argv", command)
    study.main()
    text = "".join(written)
    for heading in ("Coverage of E_N by the means of A", "One class", "Type-I", "label noise", "clusters"):
        assert heading in text
