"""The pages of the tests: real reports and comparisons of small planted sets."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import vltr_eval
from vltr_eval import ClassDetails
from vltr_eval.compat import ava
from vltr_eval.page import Curves, Histograms, Mistakes
from vltr_eval.page.document import Page
from vltr_eval.page.template import render_page

CLASSES, ROWS = 90, 1500

HOSTILE_NAMES = (
    "<script>globalThis.hacked = 1</script>",
    '"><img src=x onerror="globalThis.hacked = 1">',
    "</script><!-- <b>bold</b> -->",
    'it\'s a "quoted", name; with & marks',
    "=HYPERLINK(1)",
    "long " * 60,
    "w" * 300,
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 (abc) 12",
    "\u05e9\u05dc\u05d5\u05dd",
    "tricky \u202egnp.exe",
    "isolate \u2066never ended",
    "tab\tline\nnull\x00bell\x07\x7f\x9b",
    "separators \u2028 and \u2029",
    "\U0001f3b9 piano \u00e9\u4e2d\u6587",
    "__proto__",
    "constructor",
    "${7*7} {{7*7}} %s \\u003c",
    " ",
)


def planted(seed: int = 0, rows: int = ROWS, classes: int = CLASSES) -> dict[str, Any]:
    """Make scores of a long-tailed set, with an absent class, ties and training counts."""
    rng = np.random.default_rng(seed)
    counts = np.rint(1500 * np.exp(-5 * np.arange(classes) / classes)).astype(np.int64)
    labels = rng.random((rows, classes)) < np.maximum(counts / 1500 * 0.05, 0.004)
    labels[:, 7] = False
    skill = 0.5 + 0.5 * np.log(counts)
    logits = rng.normal(size=(rows, classes)) - 3 + labels * skill
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    scores[:, 3] = np.round(scores[:, 3], 1)
    order = rng.permutation(classes)
    return {"scores": scores[:, order], "labels": labels[:, order], "train_counts": counts[order], "rng": rng}


def report_page(names: list[str] | None = None) -> Page:
    """Return the page of an evaluation with intervals and another class distribution, as `Report.to_html` makes it."""
    data = planted()
    report = vltr_eval.evaluate(
        data["scores"],
        data["labels"],
        train_counts=data["train_counts"],
        class_names=names,
        interval=0.95,
        prior=["inverse"],
    )
    ids = [f"clip_{row:05d}" for row in range(ROWS)]
    details = vltr_eval.class_details(data["scores"], data["labels"], ids=ids, label_ids=ids)
    return page_of(report.to_html(details=details), [details])


def page_of(html: str, details: Sequence[ClassDetails] = ()) -> Page:
    """Return the page of a file, to change parts of it."""
    text = html.partition('id="vltr-data">')[2].partition("</script>")[0]
    doc = json.loads(text)
    return Page(
        kind=doc["kind"],
        title=doc["title"],
        report=None if doc["report"] is None else json.dumps(doc["report"]),
        comparison=None if doc["comparison"] is None else json.dumps(doc["comparison"]),
        headings=doc["headings"],
        partitions=doc["partitions"],
        details=details,
    )


def with_extras(page: Page, **changes: Any) -> Page:
    """Add the sections that only some reports have, and one that the page does not know."""
    report = json.loads(page.report or "")
    groups = list(report["groups"])
    bins = 10
    report["calibration"] = {
        "bins": bins,
        "groups": {
            group: {
                "count": [10 ** (6 - i // 2) for i in range(bins - 1)] + [0],
                "mean_score": [(i + 0.5) / bins for i in range(bins - 1)] + [None],
                "frequency": [((i + 0.5) / bins) ** 1.5 for i in range(bins - 1)] + [None],
                "ECE": 0.0123 + number,
                "Brier": None,
            }
            for number, group in enumerate(groups)
        },
    }
    report["thresholds"] = {
        "fingerprint": "0" * 64,
        "by": "f1",
        "beta": None,
        "at_least": None,
        "min_positives": 10,
        "num_own": 50,
        "num_pooled": 39,
        "num_none": 1,
        "same_set": True,
        "groups": {
            group: {name: 0.5 + 0.01 * number for name in ("OP", "OR", "OF1", "CP", "CR", "CF1", "macro_F1")}
            for number, group in enumerate(groups)
        },
    }
    for section in ("calibration", "thresholds"):
        for group, values in report[section]["groups"].items():
            end = "" if group == "overall" else f"_{group}"
            report["metrics"] |= {f"{k}{end}": v for k, v in values.items() if not isinstance(v, list)}
    means = {name: value for name, value in report["metrics"].items() if name.startswith(("mAP", "SAP"))}
    report["slices"] = {
        "time <b>": {
            "<i>night</i>": {"num_rows": 321, "groups": report["groups"], "metrics": means},
            "day": {"num_rows": 1179, "groups": report["groups"], "metrics": means},
        }
    }
    report["something_new"] = {"unknown": [1, 2, {"deep": None}]}
    return replace(page, report=json.dumps(report), **changes)


def with_own_groups(page: Page) -> Page:
    """Add a partition of the classes by a column of their own, with classes in none of its groups."""
    report = json.loads(page.report or "")
    report["classes"]["genus"] = [("birds", "fish", None)[c % 3] for c in range(CLASSES)]
    for group in ("genus:birds", "genus:fish"):
        report["groups"][group] = {"num_classes": CLASSES // 3, "num_undefined": 0, "partition": "genus"}
        own = {name: value for name, value in report["metrics"].items() if name.endswith("_tail")}
        report["metrics"] |= {f"{name.removesuffix('tail')}{group}": value for name, value in own.items()}
    partitions = {**page.partitions, "genus": ["genus:birds", "genus:fish"]}
    return replace(page, report=json.dumps(report), partitions=partitions)


def hostile_names() -> list[str]:
    return [*HOSTILE_NAMES, *(f"class {c}" for c in range(len(HOSTILE_NAMES), CLASSES))]


def comparison_html(
    num_systems: int = 1, names: list[str] | None = None, groups: Any = None, slices: Any = None
) -> str:
    """Return the page of one system or two beside a baseline."""
    data = planted()
    rng, labels, counts = data["rng"], data["labels"], data["train_counts"]
    clipped = data["scores"].clip(1e-6, 1 - 1e-6)
    logit = np.log(clipped / (1 - clipped))
    shift = np.where(counts > 300, -0.9, 0.9)
    others = [
        (1 / (1 + np.exp(-(logit + labels * shift * (k + 1) + rng.normal(0, 0.5, logit.shape))))).astype(np.float32)
        for k in range(num_systems)
    ]
    compared = vltr_eval.compare(
        data["scores"],
        *others,
        labels=labels,
        train_counts=counts,
        class_names=names,
        groups=groups,
        names=["bce", "focal", "reweighted"][: num_systems + 1],
        slices=slices,
    )
    return compared.to_html(details=[vltr_eval.class_details(one, labels) for one in [data["scores"], *others]])


def tiny_html() -> str:
    """Return the page of scores so near to zero that their differences have no reciprocal."""
    rng = np.random.default_rng(0)
    scores, labels = 1e-320 * rng.random((200, 1)), rng.random((200, 1)) < 0.3
    return vltr_eval.evaluate(scores, labels).to_html(details=vltr_eval.class_details(scores, labels))


def slices_of_rows() -> dict[str, list[str]]:
    """Return the slices of the planted rows in two partitions."""
    rows = range(len(planted()["labels"]))
    return {
        "<i>time</i>": ["day" if row % 3 else "<b>night</b>" for row in rows],
        "half": [str(row % 2) for row in rows],
    }


def training_page(num_runs: int, seed: int = 0) -> Page:
    rng = np.random.default_rng(seed)
    epochs = list(range(1, 21))
    runs = []
    for run in range(num_runs):
        columns: dict[str, Any] = {
            "loss": [0.7 * float(np.exp(-epoch / 8)) + 0.02 * float(rng.random()) for epoch in epochs],
            "lr": [3e-3 if epoch < 12 else 3e-4 for epoch in epochs],
        }
        for group, factor in (("", 1.0), ("_head", 1.2), ("_medium", 1.0), ("_tail", 0.6)):
            columns[f"validate_mAP{group}"] = [
                factor * 0.5 * (1 - float(np.exp(-epoch / (6 + run)))) if epoch % 2 == 0 else None for epoch in epochs
            ]
        runs.append({"name": f"bce seed {run}", "epochs": epochs, "columns": columns})
    return Page(kind="training", title="runs/bce", training={"runs": runs}, partitions={"": ["head", "medium", "tail"]})


def large_page(classes: int = 20_000) -> Page:
    """Make the page of a report of many classes, without an evaluation."""
    rng = np.random.default_rng(0)
    counts = np.rint(2000 * np.exp(-6 * np.arange(classes) / classes)).astype(int) + 1
    rng.shuffle(counts)
    ap = 1 / (1 + np.exp(-(0.6 * np.log(counts / 100) + rng.normal(0, 1, classes))))
    groups = np.where(counts > 500, "head", np.where(counts > 100, "medium", "tail"))

    def column(values: np.ndarray) -> list[float]:
        return [float(value) for value in values]

    columns: dict[str, Any] = {
        "name": [f"class number {c:05d}" for c in range(classes)],
        "group": groups.tolist(),
        "train_count": counts.tolist(),
        "num_positives": rng.integers(1, 200, classes).tolist(),
        "num_negatives": [50_000] * classes,
        "AP": column(ap),
        "AP_low": column(ap * 0.8),
        "AP_high": column(1 - (1 - ap) * 0.8),
    }
    for name in (
        *("SAP", "SAP_std", "expected_SAP", "expected_SAP_low", "expected_SAP_high", "SAP_chance"),
        *("ROC_AUC", "ROC_AUC_low", "ROC_AUC_high", "Acc@1", "Acc@5", "tie_rate", "AP_tie_lower", "AP_tie_upper"),
    ):
        columns[name] = column(np.clip(ap + rng.normal(0, 0.05, classes), 0, 1))
    sizes = {"overall": classes, **{group: int((groups == group).sum()) for group in ("head", "medium", "tail")}}
    metrics = {
        name if group == "overall" else f"{name}_{group}": 0.5
        for group in sizes
        for name in ("mAP", "SAP", "SAP_std", "expected_SAP", "SAP_chance", "ROC_AUC", "Acc@1", "Acc@5")
    }
    report = {
        "schema": "vltr-eval/report/1",
        "version": "0",
        "signature": "AP+SAP",
        "settings": {"bounds": [500, 100], "absent": "nan", "interval": 0.95},
        "notes": [],
        "num_rows": 50_000,
        "num_classes": classes,
        "num_labels": 100_000,
        "rows_without_labels": 0,
        "absent_classes": [],
        "tie_rate": 0.0,
        "mAP_tie_interval": [0.5, 0.5],
        "groups": {group: {"num_classes": size, "num_undefined": 0} for group, size in sizes.items()},
        "metrics": metrics,
        "classes": columns,
    }
    points, bins = 20, 32
    falling = np.sort(rng.random((classes, points)), axis=1)[:, ::-1].ravel()
    details = ClassDetails(
        Curves(
            indptr=np.arange(classes + 1) * points,
            thresholds=falling.astype(np.float32),
            tp=np.tile(np.arange(1, points + 1), classes),
            fp=rng.integers(0, 9, (classes, points)).cumsum(axis=1).ravel(),
        ),
        Histograms(
            low=np.zeros(classes),
            high=np.ones(classes),
            positives=rng.integers(0, 9, (classes, bins)).astype(np.uint32),
            negatives=rng.integers(0, 999, (classes, bins)).astype(np.uint32),
        ),
        Mistakes(
            *(rng.integers(0, 50_000, (classes, 5)), np.ones((classes, 5))),
            *(rng.integers(0, 50_000, (classes, 5)), np.ones((classes, 5))),
        ),
    )
    return Page(
        kind="report",
        title=f"Evaluation of {classes:,} classes",
        report=json.dumps(report),
        partitions={"": ["head", "medium", "tail"]},
        details=[details],
    )


def document_in(page: Any) -> dict[str, Any]:
    """Return the document that a page of the browser holds."""
    return json.loads(page.evaluate("document.getElementById('vltr-data').textContent"))


def class_names() -> list[str]:
    return [f"activity {c:02d}" for c in range(CLASSES)]


def bare_html() -> str:
    """Return the page of a report without names, training counts and details."""
    data = planted()
    return vltr_eval.evaluate(data["scores"], data["labels"], sap=None).to_html()


def boxes_html() -> str:
    """Return the page of a report on boxes: its classes have ids of their own, and it counts boxes."""
    rng = np.random.default_rng(0)
    truth, found = [], []
    for image in range(200):
        left, top = rng.random(2) / 2
        box = f"film,{902 + image},{left:.3f},{top:.3f},{left + 0.3:.3f},{top + 0.4:.3f}"
        for c in rng.choice(np.arange(1, 23, 2), 3, replace=False):
            truth.append(f"{box},{c}")
            found.append(f"{box},{c if rng.random() < 0.7 else 1},{rng.random():.3f}")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("found.csv", "truth.csv")]
        for path, lines in zip(paths, (found, truth), strict=True):
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return ava.evaluate(*paths, train_counts=[1500 // (k + 1) for k in range(11)]).to_html()


def all_pages() -> dict[str, str]:
    """Return the pages of the tests as HTML."""
    report = report_page(class_names())
    return {
        "report": render_page(with_extras(report)),
        "bare": bare_html(),
        "boxes": boxes_html(),
        "partitions": render_page(with_own_groups(report)),
        "hostile": render_page(
            with_extras(report_page(hostile_names()), title="<script>globalThis.hacked = 1</script>")
        ),
        "comparison": comparison_html(names=class_names()),
        "systems": comparison_html(2, hostile_names(), slices=slices_of_rows()),
        "own_groups": comparison_html(groups={"topic": [("sports", "music")[c % 2] for c in range(CLASSES)]}),
        "tiny": tiny_html(),
        "training": render_page(training_page(1)),
        "runs": render_page(training_page(3)),
        "large": render_page(large_page()),
    }
