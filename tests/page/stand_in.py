"""Pages by the contract of the document, made without `vltr_eval.page`."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from pathlib import Path
from typing import Any

import numpy as np

from vltr_eval import rank_table

ASSETS = Path(__file__).parents[2] / "vltr_eval" / "page" / "assets"
LIMIT = 5
BINS = 32
MOST_POINTS = 48


def packed(values: Any, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()


def curves_of(scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    table = rank_table(scores, labels)
    indptr, recall, precision, threshold = [0], [], [], []
    for c in range(scores.shape[1]):
        begin, end = table.indptr[c], table.indptr[c + 1]
        tp, fp = table.tp[begin:end].astype(float), table.fp[begin:end].astype(float)
        if len(tp):
            p, r = tp / (tp + fp), tp / tp[-1]
            kept = np.unique(np.linspace(0, len(tp) - 1, min(MOST_POINTS, len(tp))).astype(int))
            kept = np.unique([*kept, int(np.argmax(2 * p * r / (p + r)))])
            recall += list(r[kept])
            precision += list(p[kept])
            threshold += list(table.thresholds[begin:end][kept])
        indptr.append(len(recall))
    return {
        "indptr": packed(indptr, "<i4"),
        "recall": packed(np.rint(np.array(recall) * 65535), "<u2"),
        "precision": packed(np.rint(np.array(precision) * 65535), "<u2"),
        "threshold": packed(threshold, "<f4"),
        "dtype": "f4",
    }


def details_of(name: str, scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    classes = scores.shape[1]
    low, high = scores.min(axis=0), scores.max(axis=0)
    positives, negatives = np.zeros((2, classes, BINS), np.uint32)
    missed_rows, false_rows = np.full((2, classes, LIMIT), -1)
    missed_scores, false_scores = np.zeros((2, classes, LIMIT))
    for c in range(classes):
        column, is_positive = scores[:, c], labels[:, c].astype(bool)
        edges = np.linspace(low[c], high[c], BINS + 1)
        positives[c] = np.histogram(column[is_positive], edges)[0]
        negatives[c] = np.histogram(column[~is_positive], edges)[0]
        for chosen, sign, rows, values in (
            (is_positive, 1, missed_rows, missed_scores),
            (~is_positive, -1, false_rows, false_scores),
        ):
            found = np.flatnonzero(chosen)
            found = found[np.argsort(sign * column[found], kind="stable")][:LIMIT]
            rows[c, : len(found)], values[c, : len(found)] = found, column[found]
    return {
        "name": name,
        "curves": curves_of(scores, labels),
        "histograms": {
            "bins": BINS,
            "low": packed(low, "<f4"),
            "high": packed(high, "<f4"),
            "positives": packed(positives, "<u4"),
            "negatives": packed(negatives, "<u4"),
        },
        "mistakes": {
            "limit": LIMIT,
            "missed": {"rows": packed(missed_rows, "<i4"), "scores": packed(missed_scores, "<f4")},
            "false": {"rows": packed(false_rows, "<i4"), "scores": packed(false_scores, "<f4")},
        },
    }


def document(kind: str, title: str, **parts: Any) -> dict[str, Any]:
    return {
        "schema": "vltr-eval/page/1",
        "kind": kind,
        "title": title,
        "report": None,
        "comparison": None,
        "headings": {},
        "group_names": ["overall", "head", "medium", "tail"],
        "partitions": {"": ["head", "medium", "tail"]},
        "details": [],
        "ids": None,
        "training": None,
        **parts,
    }


def page_of(doc: dict[str, Any]) -> str:
    data = json.dumps(doc).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    script, style = (ASSETS / "page.js").read_text(), (ASSETS / "page.css").read_text()

    def hashed(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    policy = (
        f"default-src 'none'; img-src data:; script-src {hashed(script)}; style-src {hashed(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(doc['title'])}</title><style>{style}</style></head><body>"
        f'<main id="app"><h1>{html.escape(doc["title"])}</h1></main>'
        f'<script type="application/json" id="vltr-data">{data}</script><script>{script}</script></body></html>\n'
    )
