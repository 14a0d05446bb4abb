"""Reports: the values of `evaluate` against slow references, and their text, JSON and CSV."""

from __future__ import annotations

import csv
import json
import math
import pickle
import subprocess
import sys
from dataclasses import replace
from statistics import mean, stdev

import numpy as np
import pytest

from vltr_eval._evaluate import evaluate
from vltr_eval.report.report import Report
from vltr_eval.report.settings import Settings

TRAIN_COUNTS = [900, 700, 300, 200, 101, 100, 60, 10]


def _example(*, ties=False, absent=(), seed=0, num_rows=60):
    """Return scores and labels (N, 8): classes of very different size, rows with several labels and with none."""
    rng = np.random.default_rng(seed)
    share = np.array([0.5, 0.4, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05])
    labels = rng.random((num_rows, 8)) < share
    labels[0], labels[1] = True, False
    labels[:, list(absent)] = False
    scores = (rng.normal(size=labels.shape) + labels).astype(np.float32)
    return (np.round(scores, 1) if ties else scores), labels


# ---------------------------------------------------------------------------------------------------------------------
# References, written from the definitions
# ---------------------------------------------------------------------------------------------------------------------


def _reference_ap(scores, labels):
    """Return the AP of one class: for each positive, precision among all rows that score at least as high."""
    if not labels.any():
        return math.nan
    return mean(float(labels[scores >= threshold].mean()) for threshold in scores[labels])


def _reference_rank(scores, labels):
    """Return the 0-based rank of the best label of one row; the lower class index wins a tie."""
    order = sorted(range(len(scores)), key=lambda c: (-scores[c], c))
    return min((order.index(c) for c in np.flatnonzero(labels)), default=None)


def _reference_mean(values, convention="nan"):
    kept = (
        [0.0 if math.isnan(v) else v for v in values]
        if convention == "zero"
        else [v for v in values if not math.isnan(v)]
    )
    return mean(kept) if kept else math.nan


def _check(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Results of evaluate
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convention", ["nan", "zero"])
@pytest.mark.parametrize("ties", [False, True])
def test_map_of_groups_is_the_mean_over_their_classes(ties, convention):
    scores, labels = _example(ties=ties, absent=(2, 7))
    report = evaluate(scores, labels, train_counts=TRAIN_COUNTS, absent=convention)
    by_class = [_reference_ap(scores[:, c], labels[:, c]) for c in range(8)]
    groups = {"": range(8), "_head": [0, 1], "_medium": [2, 3, 4], "_tail": [5, 6, 7]}
    for suffix, members in groups.items():
        _check(report.metrics()["mAP" + suffix], _reference_mean([by_class[c] for c in members], convention))
    assert [group.num_classes for group in report.groups] == [8, 2, 3, 3]
    assert [group.num_undefined for group in report.groups] == [2, 0, 1, 1]
    assert report.absent_classes == [2, 7]
    expected = [0.0 if convention == "zero" and math.isnan(ap) else ap for ap in by_class]
    _check(report.classes["AP"], expected)


def test_accuracy_counts_rows_overall_and_positives_by_class():
    scores, labels = _example(ties=True)
    report = evaluate(scores, labels, topk=(1, 3, 100), train_counts=TRAIN_COUNTS)
    ranks = [_reference_rank(scores[row], labels[row]) for row in range(len(scores))]
    for k in (1, 3, 100):
        labelled = [rank < k for rank in ranks if rank is not None]
        by_class = [mean(float(ranks[row] < k) for row in np.flatnonzero(labels[:, c])) for c in range(8)]
        _check(report.metrics()[f"Acc@{k}"], mean(map(float, labelled)))
        _check(report.classes[f"Acc@{k}"], by_class)
        _check(report.metrics()[f"Acc@{k}_tail"], mean(by_class[5:]))
    assert report.metrics()["Acc@100"] == 1
    assert report.rows_without_labels == sum(rank is None for rank in ranks) > 0


@pytest.mark.parametrize("convention", ["nan", "zero"])
def test_sap_of_groups_is_mean_and_spread_of_each_trials_mean(convention):
    from vltr_eval import sampled_average_precision

    scores, labels = _example(absent=(2,))
    report = evaluate(scores, labels, sap=7, seed=3, train_counts=TRAIN_COUNTS, absent=convention)
    trials = sampled_average_precision(scores, labels, trials=7, seed=3, return_trials=True).trials
    for group, members in {"": range(8), "_medium": [2, 3, 4]}.items():
        means = [_reference_mean([trial[c] for c in members], convention) for trial in trials]
        _check(report.metrics()["SAP" + group], mean(means))
        _check(report.metrics()["SAP_std" + group], stdev(means))
    defined = [c for c in range(8) if c != 2]
    _check(np.array(report.classes["SAP"])[defined], trials[:, defined].mean(axis=0))
    _check(np.array(report.classes["SAP_std"])[defined], [stdev(trials[:, c]) for c in defined])


def test_chance_of_sap_matches_the_published_numbers():
    labels = np.zeros((300, 4), bool)
    for c, count in enumerate((1, 5, 10, 32)):
        labels[:count, c] = True
    scores = np.random.default_rng(0).random(labels.shape)
    _check(np.round(evaluate(scores, labels, sap="exact").classes["SAP_chance"], 3), [0.750, 0.607, 0.568, 0.530])


def test_exact_sap_and_ap_of_the_enumerated_ranking():
    report = evaluate(np.arange(6.0)[::-1, None], np.array([[0], [1], [0], [0], [1], [0]]), sap="exact")
    _check(report.metrics()["mAP"], 0.45)
    _check(report.metrics()["expected_SAP"], 2 / 3)


def test_tie_rate_and_interval_bracket_map():
    scores, labels = _example(ties=True)
    report = evaluate(scores, labels)
    tied = [
        bool((scores[~labels[:, c], c] == scores[row, c]).any())
        for c in range(8)
        for row in np.flatnonzero(labels[:, c])
    ]
    _check(report.tie_rate, mean(map(float, tied)))
    lower, upper = report.mAP_tie_interval
    assert lower < report.metrics()["mAP"] < upper
    for name, bound in (("AP_tie_lower", lower), ("AP_tie_upper", upper)):
        _check(mean(report.classes[name]), bound)


def test_distinct_scores_have_no_ties():
    scores = np.random.default_rng(0).permutation(400).reshape(50, 8).astype(np.float64)
    report = evaluate(scores, _example(num_rows=50)[1])
    assert report.tie_rate == 0
    assert report.mAP_tie_interval == (report.metrics()["mAP"],) * 2


def test_roc_auc_is_undefined_without_negatives():
    scores, labels = _example()
    labels[:, 3] = True
    report = evaluate(scores, labels, train_counts=TRAIN_COUNTS, absent="zero")
    assert math.isnan(report.classes["ROC_AUC"][3])
    assert report.classes["AP"][3] == report.classes["SAP"][3] == report.classes["expected_SAP"][3] == 1
    _check(report.metrics()["ROC_AUC"], np.nanmean(report.classes["ROC_AUC"]))


def test_an_empty_group_is_nan():
    report = evaluate(*_example(), train_counts=[5] * 8)
    values = report.metrics()
    assert all(math.isnan(value) for name, value in values.items() if name.endswith(("_head", "_medium")))
    for name in report.settings.metric_names():
        if not name.startswith(("SAP_std", "Acc@")):
            _check(values[f"{name}_tail"], values[name])


def test_no_positives_at_all_is_nan_everywhere():
    scores, labels = _example()
    report = evaluate(scores, np.zeros_like(labels))
    assert all(map(math.isnan, report.metrics().values()))
    assert report.rows_without_labels == len(scores)
    assert Report.from_json(report.to_json()) == report


def test_report_ignores_the_order_of_rows_and_classes():
    scores, labels = _example(ties=True, absent=(2,))
    counts = np.array(TRAIN_COUNTS)
    rng = np.random.default_rng(1)
    rows, classes = rng.permutation(len(scores)), rng.permutation(8)
    options = {"sap": "exact", "topk": ()}  # trials draw rows by index, Acc@k breaks ties by class index
    plain = evaluate(scores, labels, train_counts=counts, **options)
    shuffled = evaluate(scores[rows][:, classes], labels[rows][:, classes], train_counts=counts[classes], **options)
    assert plain.metrics() == shuffled.metrics() or json.dumps(plain.metrics()) == json.dumps(shuffled.metrics())


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_report_does_not_depend_on_threads_or_shards(threads):
    scores, labels = _example(ties=True)
    expected = evaluate(scores, labels, threads=1)
    assert evaluate(scores, labels, threads=threads) == expected
    assert evaluate([scores[:17], scores[17:18], scores[18:]], labels, threads=threads) == expected


def test_settings_choose_the_metrics():
    scores, labels = _example()
    plain = evaluate(scores, labels, sap=None, topk=())
    assert list(plain.metrics()) == ["mAP", "ROC_AUC"]
    assert list(evaluate(scores, labels, sap="exact", topk=(2,)).metrics()) == [
        "mAP",
        "expected_SAP",
        "SAP_chance",
        "ROC_AUC",
        "Acc@2",
    ]
    everything = evaluate(scores, labels, train_counts=TRAIN_COUNTS)
    names = ["mAP", "SAP", "SAP_std", "expected_SAP", "SAP_chance", "ROC_AUC", "Acc@1", "Acc@5"]
    assert list(everything.metrics()) == [
        f"{name}{group}" for group in ("", "_head", "_medium", "_tail") for name in names
    ]
    assert everything.settings.metric_names(group.name for group in everything.groups) == list(everything.metrics())
    assert everything.metrics()["mAP"] == plain.metrics()["mAP"]


def test_a_single_trial_has_no_spread():
    report = evaluate(*_example(), sap=1)
    assert math.isnan(report.metrics()["SAP_std"])
    assert not math.isnan(report.metrics()["SAP"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sap": 0}, 'sap: expected a number of trials from 1 to 2147483647, "exact" or None, got 0'),
        ({"sap": 2**31}, "sap: expected a number of trials from 1 to 2147483647"),
        ({"sap": np.int64(2**31)}, "sap: expected a number of trials from 1 to 2147483647"),
        ({"sap": True}, "sap: expected a number of trials"),
        ({"sap": "all"}, "sap: expected a number of trials"),
        ({"absent": "skip"}, 'absent: expected "nan" or "zero", got \'skip\''),
        ({"topk": (1, 0)}, "expected positive integers, got 0"),
        ({"seed": -1}, "seed: expected an integer from 0"),
        ({"train_counts": [1, 2]}, "train_counts: 2 classes, but scores has 8"),
        ({"train_counts": TRAIN_COUNTS, "bounds": (1, 2)}, "bounds: expected high >= low >= 0"),
        ({"train_counts": TRAIN_COUNTS, "bounds": (math.inf, 100)}, "bounds: expected .*, both finite numbers, got"),
        ({"bounds": (math.inf, 100)}, "bounds: expected .*, both finite numbers, got"),
        ({"bounds": ("500", "100")}, "bounds: expected .*, both finite numbers, got"),
        ({"class_names": ["one"]}, "class_names: 1 names, but scores has 8 classes"),
    ],
)
def test_evaluate_refuses_bad_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        evaluate(*_example(), **options)


# ---------------------------------------------------------------------------------------------------------------------
# Text, JSON and CSV
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def report():
    names = ["swim", "run, fast", 'say "hi"', "d", "e", "f", "g", "h"]
    return evaluate(*_example(ties=True, absent=(2,)), sap=3, train_counts=TRAIN_COUNTS, class_names=names)


def test_json_round_trips_to_an_equal_report(report):
    text = report.to_json()
    again = Report.from_json(text)
    assert again == report
    assert hash(again) == hash(report)
    assert again.to_json() == text
    assert again.to_text(per_class=True) == report.to_text(per_class=True)
    assert again.settings == report.settings
    assert Report.from_json(text.encode()) == report


def test_json_holds_names_users_look_for(report):
    document = json.loads(report.to_json())
    assert document["schema"] == "vltr-eval/report/1"
    assert document["signature"] == report.signature
    assert document["metrics"]["mAP_tail"] == report.metrics()["mAP_tail"]
    assert document["groups"]["medium"] == {"num_classes": 3, "num_undefined": 1}
    assert document["classes"]["AP"][2] is None
    assert document["absent_classes"] == [2]


def test_json_is_the_same_bytes_in_another_process(report, tmp_path):
    scores, labels = _example(ties=True, absent=(2,))
    np.savez(tmp_path / "example.npz", scores=scores, labels=labels)
    program = (
        "import sys, numpy as np; from vltr_eval import evaluate; f = np.load(sys.argv[1]);"
        f"sys.stdout.write(evaluate(f['scores'], f['labels'], sap=3, train_counts={TRAIN_COUNTS}).to_json())"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "example.npz"], capture_output=True, text=True, check=True
    ).stdout
    assert found == evaluate(scores, labels, sap=3, train_counts=TRAIN_COUNTS).to_json()


def test_reports_differ_when_a_number_does(report):
    assert report != replace(report, tie_rate=report.tie_rate / 2)
    assert report != report.to_json()
    assert report == replace(report)


def test_a_report_pickles(report):
    assert pickle.loads(pickle.dumps(report)) == report


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "report: expected JSON"),
        ("[]", "report: expected schema 'vltr-eval/report/1', got None"),
        ('{"schema": "vltr-eval/report/2"}', "got 'vltr-eval/report/2'"),
        ('{"schema": "vltr-eval/report/1"}', "report: key 'settings' is missing"),
        ('{"schema": "vltr-eval/report/1", "settings": 3}', "report: expected the values of schema"),
    ],
)
def test_from_json_refuses_other_text(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        Report.from_json(text)


def _changed(path, value):
    def change(document):
        *parents, last = path
        for key in parents:
            document = document[key]
        document[last] = value

    return change


MALFORMED = [None, [], {}, 3, -1, "words", True, [None], [[]], {"overall": 3}, 1e999]
PARTS = [
    ("settings",), ("settings", "sap"), ("settings", "seed"), ("settings", "topk"), ("settings", "bounds"),
    ("settings", "absent"),
    ("version",), ("num_rows",), ("num_classes",), ("rows_without_labels",), ("tie_rate",), ("mAP_tie_interval",),
    ("groups",), ("groups", "tail"), ("groups", "tail", "num_classes"), ("metrics",), ("metrics", "mAP"),
    ("classes",), ("classes", "num_positives"), ("classes", "AP"), ("classes", "name"), ("classes", "train_count"),
]  # fmt: skip


@pytest.mark.parametrize("path", PARTS, ids=".".join)
@pytest.mark.parametrize("value", MALFORMED, ids=repr)
def test_from_json_gives_a_whole_report_or_a_value_error(report, path, value):
    document = json.loads(report.to_json())
    _changed(path, value)(document)
    try:
        found = Report.from_json(json.dumps(document))
    except ValueError:
        return
    assert Report.from_json(found.to_json()) == found
    assert found.to_text(per_class=True)
    assert found.to_csv()
    assert repr(found)


@pytest.mark.parametrize("path", [("groups",), ("classes",), ("metrics",), ("settings",), ("groups", "tail")])
def test_from_json_refuses_a_list_for_an_object(report, path):
    document = json.loads(report.to_json())
    _changed(path, [])(document)
    with pytest.raises(ValueError, match="report: expected the values of schema"):
        Report.from_json(json.dumps(document))


def test_from_json_refuses_deep_nesting():
    with pytest.raises(ValueError, match="report: expected JSON"):
        Report.from_json("[" * 200_000)


def test_signature_has_the_given_bounds():
    report = evaluate(*_example(), train_counts=TRAIN_COUNTS, bounds=(1234567, 0.1234567891))
    assert "|groups:train>1234567,>0.1234567891|" in report.signature
    assert Report.from_json(report.to_json()).signature == report.signature


def test_signature_names_the_settings(report):
    assert report.signature == (
        "AP+SAP+ROC-AUC+Acc@1,5|ties:threshold|absent:nan|classes:7/8|sap:3/seed:0|groups:train>500,>100|"
        f"vltr:{report.version}"
    )
    plain = evaluate(*_example(), sap=None, topk=(), absent="zero")
    assert plain.signature == f"AP+ROC-AUC|ties:threshold|absent:zero|classes:8/8|vltr:{plain.version}"
    assert "|sap:exact|" in evaluate(*_example(), sap="exact").signature


def test_text_is_aligned_and_complete(report):
    lines = report.to_text(width=None).splitlines()
    assert " ".join(lines[0].split()) == "classes undefined mAP SAP +- std exact SAP chance SAP ROC-AUC Acc@1 Acc@5"
    assert [line.split()[0] for line in lines[1:5]] == ["overall", "head", "medium", "tail"]
    assert len({len(line) for line in lines[:5]}) == 1
    assert f"{report.metrics()['mAP_tail']:.4f}" in lines[4]
    assert "absent: no positives in 1 of 8 classes, left out of means: 2" in report.to_text()
    assert lines[-1] == f"signature: {report.signature}"
    assert str(report) == report.to_text()
    assert report.to_text().isascii()


def test_text_is_bold_only_on_request(report):
    assert "\033" not in report.to_text(per_class=True)
    bold = report.to_text(per_class=True, bold=True)
    assert bold.replace("\033[1m", "").replace("\033[0m", "") == report.to_text(per_class=True)
    assert bold.count("\033[1m") == 2


def test_text_lists_every_class_on_request(report):
    lines = report.to_text(per_class=True, width=None).splitlines()
    first = next(position for position, line in enumerate(lines) if line.split()[:1] == ["class"])
    rows = lines[first + 1 :]
    assert len(rows) == 8
    assert rows[2].split()[:1] == ["2"]
    assert rows[2].split()[-7:] == ["-"] * 7
    assert "nan" not in rows[2]
    assert "run, fast" in rows[1]


def test_csv_has_a_line_for_each_class(report, tmp_path):
    path = tmp_path / "classes.csv"
    assert report.to_csv(path) is None
    assert path.read_bytes().decode() == report.to_csv()
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [str(c) for c in range(8)]
    assert [row["name"] for row in rows] == list(report.classes["name"])
    assert rows[2]["AP"] == ""
    assert float(rows[3]["AP"]) == report.classes["AP"][3]
    assert rows[7]["group"] == "tail"


def test_per_class_is_a_frame(report):
    pandas = pytest.importorskip("pandas")
    frame = report.per_class()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == list(report.classes)
    assert len(frame) == 8
    _check(frame["AP"].mean(), report.metrics()["mAP"])
    assert frame.groupby("group")["train_count"].sum().to_dict() == {"head": 1600, "medium": 601, "tail": 170}


def test_per_class_without_pandas_names_the_package(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r'pip install "vltr\[pandas\]"'):
        report.per_class()


def test_evaluating_imports_numpy_alone():
    program = (
        "import sys, numpy as np, vltr_eval.program.cli; from vltr_eval import evaluate;"
        "evaluate(np.eye(3), np.eye(3)).to_text();"
        "print(sorted({'pandas', 'scipy', 'torch', 'sklearn', 'pyarrow'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_settings_are_hashable_plain_values():
    assert len({Settings(), Settings(), Settings(sap="exact")}) == 2
