"""The documents of the tests: real reports and comparisons of small planted sets."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from stand_in import details_of, document, packed

import vltr_eval

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


def report_document(names: list[str], **options: Any) -> dict[str, Any]:
    data = planted()
    report = vltr_eval.evaluate(
        data["scores"],
        data["labels"],
        train_counts=data["train_counts"],
        interval=0.95,
        prior=["inverse"],
    )
    content = json.loads(report.to_json())
    content["classes"] = {"name": names, **content["classes"]}
    return document(
        "report",
        options.pop("title", "planted scores"),
        report=content,
        details=[details_of("scores", data["scores"], data["labels"])],
        ids={str(row): f"clip_{row:05d}" for row in range(ROWS)},
        **options,
    )


def with_extras(doc: dict[str, Any]) -> dict[str, Any]:
    """Add the sections that only some reports have, and one that the page does not know."""
    report = doc["report"]
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
    means = {name: value for name, value in report["metrics"].items() if name.startswith("mAP")}
    report["slices"] = {
        "time <b>": {
            "<i>night</i>": {"num_rows": 321, "groups": report["groups"], "metrics": means},
            "day": {"num_rows": 1179, "groups": report["groups"], "metrics": means},
        }
    }
    report["something_new"] = {"unknown": [1, 2, {"deep": None}]}
    return doc


def hostile_names() -> list[str]:
    return [*HOSTILE_NAMES, *(f"class {c}" for c in range(len(HOSTILE_NAMES), CLASSES))]


def comparison_document(num_systems: int = 1, names: list[str] | None = None) -> dict[str, Any]:
    data = planted()
    rng, labels, counts = data["rng"], data["labels"], data["train_counts"]
    clipped = data["scores"].clip(1e-6, 1 - 1e-6)
    logit = np.log(clipped / (1 - clipped))
    shift = np.where(counts > 300, -0.9, 0.9)
    others = [
        (1 / (1 + np.exp(-(logit + labels * shift * (k + 1) + rng.normal(0, 0.5, logit.shape))))).astype(np.float32)
        for k in range(num_systems)
    ]
    systems = ["bce", "focal", "reweighted"][: num_systems + 1]
    compared = vltr_eval.compare(data["scores"], *others, labels=labels, train_counts=counts, names=systems)
    content = json.loads(compared.to_json())
    for system in content["systems"].values():
        system["classes"] = {"name": names or class_names(), **system["classes"]}
    details = [
        details_of(name, scores, labels) for name, scores in zip(systems, [data["scores"], *others], strict=True)
    ]
    return document("comparison", "focal against bce", comparison=content, details=details)


def training_document(num_runs: int, seed: int = 0) -> dict[str, Any]:
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
    return document("training", "runs/bce", training={"runs": runs})


def large_document(classes: int = 20_000) -> dict[str, Any]:
    """Make a report of many classes with curves and histograms, without an evaluation."""
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
    points, bins = 16, 16
    falling = np.sort(rng.random((classes, points)), axis=1)[:, ::-1]
    details = {
        "name": "scores",
        "curves": {
            "indptr": packed(np.arange(classes + 1) * points, "<i4"),
            "recall": packed(np.tile(np.linspace(0.05, 1, points), classes) * 65535, "<u2"),
            "precision": packed(falling * 65535, "<u2"),
            "threshold": packed(falling, "<f4"),
            "dtype": "f4",
        },
        "histograms": {
            "bins": bins,
            "low": packed(np.zeros(classes), "<f4"),
            "high": packed(np.ones(classes), "<f4"),
            "positives": packed(rng.integers(0, 9, classes * bins), "<u4"),
            "negatives": packed(rng.integers(0, 999, classes * bins), "<u4"),
        },
        "mistakes": None,
    }
    return document("report", f"{classes:,} classes", report=report, details=[details])


def document_in(page: Any) -> dict[str, Any]:
    """Return the document that a page of the browser holds."""
    return json.loads(page.evaluate("document.getElementById('vltr-data').textContent"))


def class_names() -> list[str]:
    return [f"activity {c:02d}" for c in range(CLASSES)]


def without(doc: dict[str, Any], *columns: str) -> dict[str, Any]:
    """Return a report without some columns of its classes."""
    doc = json.loads(json.dumps(doc))
    for column in columns:
        del doc["report"]["classes"][column]
    return doc


def all_documents() -> dict[str, dict[str, Any]]:
    report = report_document(class_names())
    bare = without(report, "name", "group", "train_count")
    bare["report"]["settings"]["bounds"] = None
    bare |= {"details": [], "partitions": {}, "group_names": ["overall"], "ids": None}
    return {
        "report": with_extras(json.loads(json.dumps(report))),
        "bare": bare,
        "hostile": with_extras(report_document(hostile_names(), title="<script>globalThis.hacked = 1</script>")),
        "comparison": comparison_document(),
        "systems": comparison_document(2, hostile_names()),
        "training": training_document(1),
        "runs": training_document(3),
        "large": large_document(),
    }
