"""`evaluate_topk` and its report."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltr_eval._base.groups import DEFAULT_BOUNDS, Bounds, checked_train_counts, class_groups
from vltr_eval._base.progress import Progress, part_of
from vltr_eval._base.text_table import Column, Table
from vltr_eval._base.version import __version__
from vltr_eval._engine.hits import check_topk
from vltr_eval.ranked_lists.bounds import ListBounds, bounds_of, check_unlisted
from vltr_eval.ranked_lists.lists import LabelledLists, RankedLists, label_lists
from vltr_eval.ranked_lists.metrics import class_recall, pooled_average_precision, propensities, row_metrics
from vltr_eval.report.logged import logged, safe_names_of

__all__ = ["TopKReport", "evaluate_topk"]

SCHEMA = "vltr_eval.topk/1"
OVERALL = "overall"
_BOUNDED = ("mAP_lower", "mAP_upper", "ROC_AUC_lower", "ROC_AUC_upper")


@dataclass(frozen=True, eq=False, repr=False)
class TopKReport:
    """The metrics of ranked lists.

    Attributes:
        settings: The settings of the evaluation, for JSON and the signature.
        counts: Numbers of rows, classes, pairs and labels, and of what was left out.
        by_k: For each metric its value at each k: Acc, P, nDCG, recall, and with propensities PSP and PSnDCG.
        pooled: GAP@20 and micro_AP; empty for lists without scores.
        groups: For each group of classes, "overall" first: its sizes, bounds of mAP and ROC-AUC, and macro recall@k.
        classes: Columns of single classes: (C,) arrays.
        notes: Sentences about the inputs.
    """

    settings: dict[str, Any]
    counts: dict[str, int]
    by_k: dict[str, dict[int, float]]
    pooled: dict[str, float]
    groups: dict[str, dict[str, float]]
    classes: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<TopKReport {self.signature}>"

    def __str__(self) -> str:
        return self.to_text()

    @property
    def signature(self) -> str:
        """The metrics and conventions in one line, to paste beside a number."""
        settings, counts = self.settings, self.counts
        unlisted = settings["unlisted"]
        limit = "unlisted<=lowest-of-row" if unlisted is None else f"unlisted<={unlisted:g}"
        parts = [
            f"topk:{','.join(map(str, settings['k']))}",
            "ties:lower-class",
            f"rows:{counts['labelled_rows']}/{counts['rows']}",
            "short-lists:no-label",
            f"GAP:{settings['gap_depth']}" if self.pooled else "scores:none",
            f"bounds:{limit}" if self.pooled else "",
            f"classes:{counts['defined_classes']}/{counts['classes']}",
            f"unknown:{counts['unknown_cells']}" if counts["unknown_cells"] else "",
            "" if settings["propensity"] is None else "psp:A{:g}/B{:g}/N{}".format(*settings["propensity"]),
            "" if settings["bounds"] is None else f"groups:{_bounds_in_words(settings['bounds'])}",
            f"vltr:{__version__}",
        ]
        return "|".join(part for part in parts if part)

    def metrics(self, prefix: str = "", *, style: str = "as_is") -> dict[str, float]:
        """Return the numbers by flat names: ``{"Acc@1": ..., "GAP@20": ..., "mAP_lower_head": ..., ...}``.

        Args:
            prefix: Text in front of every name.
            style: "as_is", or "safe" for names that every logger takes, such as ``Acc_at_1``; see `Report.metrics`.

        Raises:
            ValueError: The style does not exist, or two names are the same as safe names.
        """
        found = {f"{name}@{k}": value for name, values in self.by_k.items() for k, value in values.items()}
        found |= self.pooled
        for group, values in self.groups.items():
            suffix = "" if group == OVERALL else f"_{group}"
            means = {name: value for name, value in values.items() if not name.startswith("num_")}
            found |= {f"{name}{suffix}": value for name, value in means.items()}
        return logged(found, prefix, safe_names_of(style, plain_names=False))

    def document(self) -> dict[str, Any]:
        """Return the report as JSON values, without single classes."""
        return {
            "schema": SCHEMA,
            "version": __version__,
            "signature": self.signature,
            "settings": self.settings,
            "counts": self.counts,
            "metrics": self.metrics(),
            "groups": {
                name: {key: int(values[key]) for key in ("num_classes", "num_undefined")}
                for name, values in self.groups.items()
            },
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """Write the report as JSON; undefined numbers are null."""
        return json.dumps(_without_nan(self.document()), indent=1, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """Write the table of single classes as CSV; undefined values are empty."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["class", *self.classes])
        columns = [[_csv_cell(value) for value in column.tolist()] for column in self.classes.values()]
        writer.writerows(zip(range(self.counts["classes"]), *columns, strict=True))
        return stream.getvalue()

    def to_text(self, *, width: int | None = 80, bold: bool = False) -> str:
        """Write the report as text."""
        counts = self.counts
        lists = "no pairs"
        if counts["rows"]:
            lists = f"{counts['pairs']:,} listed pairs, {counts['shortest_list']:,} to {counts['longest_list']:,} a row"
        lines = [f"{counts['rows']:,} rows, {counts['classes']:,} classes, {lists}, {counts['labels']:,} labels"]
        if counts["unlabelled_rows"]:
            lines.append(f"{counts['unlabelled_rows']:,} rows without labels are left out of the metrics at k")
        if counts["unknown_cells"]:
            lines.append(f"{counts['unknown_cells']:,} unknown cells are left out")
        for k in self.settings["k"]:
            short = counts[f"lists_shorter_than_{k}"]
            if short:
                lines.append(f"{short:,} lists are shorter than {k}: their missing places hold no label")
        ks = self.settings["k"]
        columns = [Column("k", [str(k) for k in ks])]
        columns += [Column(f"{name}@k", [_cell(values[k]) for k in ks]) for name, values in self.by_k.items()]
        tables = [Table("", columns).to_text(width=width, bold=bold)]
        if self.pooled:
            lines_of_pairs = [f"{name} {_cell(value)}" for name, value in self.pooled.items()]
            tables.append(", ".join(lines_of_pairs) + " (pairs of all rows in one list)\n")
        tables.append(self._group_text(width=width, bold=bold))
        tail = [f"note: {note}" for note in self.notes] + [f"signature: {self.signature}"]
        return "\n".join(lines) + "\n\n" + "\n".join(tables) + "\n" + "\n".join(tail) + "\n"

    def _group_text(self, *, width: int | None, bold: bool) -> str:
        groups = self.groups
        columns = [
            Column("", list(groups), is_name=True),
            Column("classes", [f"{int(values['num_classes']):,}" for values in groups.values()]),
            Column("undefined", [f"{int(values['num_undefined']):,}" for values in groups.values()]),
        ]
        notes = []
        if self.pooled:
            for name in ("mAP", "ROC_AUC"):
                pairs = [(values[f"{name}_lower"], values[f"{name}_upper"]) for values in groups.values()]
                cells = [f"{_cell(low)}..{_cell(high)}" for low, high in pairs]
                columns.append(Column(name.replace("_", "-"), cells))
            unlisted = self.settings["unlisted"]
            limit = "the lowest listed score of their row" if unlisted is None else f"{unlisted:g}"
            notes = [
                f"mAP and ROC-AUC depend on unlisted scores, which are at most {limit}: lower and upper bound",
                f"the bounds of AP are attained in {self.counts['ap_lower_attained']:,} (lower) and "
                f"{self.counts['ap_upper_attained']:,} (upper) of {self.counts['defined_classes']:,} classes",
            ]
        for k in self.settings["k"]:
            values = [_cell(values[f"macro_recall@{k}"]) for values in groups.values()]
            columns.append(Column(f"macro recall@{k}", values, f"recall@{k}", rank=1))
        return Table("", columns, notes).to_text(width=width, bold=bold)


def evaluate_topk(
    lists: RankedLists,
    labels: Any,
    *,
    k: int | Iterable[int] = (1, 3, 5),
    gap_depth: int = 20,
    unlisted: float | None = None,
    unknown: Any = None,
    train_counts: Any = None,
    bounds: Bounds = DEFAULT_BOUNDS,
    num_train_rows: int | None = None,
    propensity: Sequence[float] = (0.55, 1.5),
    join: str = "exact",
    threads: int | None = None,
    progress: Progress | None = None,
) -> TopKReport:
    """Evaluate ranked lists: exact metrics where lists determine them, bounds where unlisted scores matter.

    Args:
        lists: N rows, as `read_ranked_lists` or a constructor of `RankedLists` gives them.
        labels: Labels of the rows: `Labels` that were read, joined by id where both have ids, or any form of
            `vltr_eval.rank_table`.
        k: The values of k.
        gap_depth: The pairs of each row that count for GAP.
        unlisted: None for top-k lists; the highest score of an unlisted class for lists cut at a threshold. See
            `average_precision_bounds`.
        unknown: Cells that are neither positive nor negative, such as `LabelPairs`; they are left out.
        train_counts: (C,) training rows of each class, for groups and propensities.
        bounds: The bounds of the groups, or a preset.
        num_train_rows: The number of training rows. With ``train_counts`` it gives PSP@k and PSnDCG@k.
        propensity: A and B of `propensities`.
        join: "exact", "inner" or "position", for labels with ids.
        threads: CPU threads.
        progress: Called with the fraction done.

    Raises:
        ValueError: Labels, counts or cells that do not fit the lists.

    Example:
        >>> lists = RankedLists.from_arrays([[2, 0], [1, 2]], [[0.9, 0.5], [0.8, 0.7]], num_classes=3)
        >>> report = evaluate_topk(lists, [[0], [1]], k=[1, 2])
        >>> report.metrics()["P@1"], report.metrics()["GAP@20"]
        (0.5, 0.5)
    """
    ks, unlisted = check_topk(k), check_unlisted(unlisted)
    counts = None if train_counts is None else checked_train_counts(train_counts)
    labelled = label_lists(
        lists,
        labels,
        unknown=unknown,
        num_classes=None if counts is None else len(counts),
        join=join,
        threads=threads,
        progress=part_of(progress, 0.0, 0.2),
    )
    notes = list(labelled.notes)
    weights = None
    if counts is not None and num_train_rows is not None:
        weights = propensities(counts, num_train_rows, a=propensity[0], b=propensity[1])
    elif counts is not None:
        notes.append("PSP@k needs the number of training rows as well, num_train_rows= (--train-rows)")
    pooled, limits = {}, None
    if labelled.lists.scores is not None:
        for name, depth in ((f"GAP@{gap_depth}", gap_depth), ("micro_AP", None)):
            share = (0.2, 0.35) if depth else (0.35, 0.5)
            pooled[name] = pooled_average_precision(labelled, depth, threads, part_of(progress, *share))
        limits = bounds_of(labelled, unlisted, threads, part_of(progress, 0.5, 1.0))
    by_k = row_metrics(labelled, ks, weights)
    columns = _class_columns(labelled, ks, limits, counts)
    groups = {OVERALL: np.arange(labelled.lists.num_classes)}
    if counts is not None:
        groups |= class_groups(counts, bounds, num_classes=labelled.lists.num_classes)
    settings = {
        "k": list(ks),
        "gap_depth": gap_depth,
        "unlisted": unlisted,
        "bounds": None if counts is None else bounds if isinstance(bounds, str) else list(bounds),
        "propensity": None if weights is None else [*map(float, propensity), num_train_rows],
    }
    return TopKReport(
        settings=settings,
        counts=_counts(labelled, ks, limits),
        by_k=by_k,
        pooled=pooled,
        groups={name: _group_means(columns, members) for name, members in groups.items()},
        classes=columns,
        notes=tuple(notes),
    )


def _counts(labelled: LabelledLists, ks: tuple[int, ...], limits: ListBounds | None) -> dict[str, int]:
    lists, per_row = labelled.lists, labelled.labels_per_row
    lengths = lists.lengths
    labelled_rows = int(np.count_nonzero(per_row))
    defined = labelled.positives.counts > 0
    found = {
        "rows": lists.num_rows,
        "labelled_rows": labelled_rows,
        "unlabelled_rows": lists.num_rows - labelled_rows,
        "classes": lists.num_classes,
        "defined_classes": int(np.count_nonzero(defined)),
        "pairs": len(lists.classes),
        "labels": len(labelled.label_classes),
        "listed_labels": len(labelled.hit_rows),
        "unknown_cells": 0 if labelled.unknown is None else len(labelled.unknown.rows),
        "shortest_list": int(lengths.min(initial=2**62)) if len(lengths) else 0,
        "longest_list": int(lengths.max(initial=0)),
    }
    found |= {f"lists_shorter_than_{k}": int(np.count_nonzero(lengths < k)) for k in ks}
    if limits is not None:
        for name in ("ap_lower_attained", "ap_upper_attained"):
            found[name] = int(np.count_nonzero(getattr(limits, name) & defined))
    return found


def _class_columns(
    labelled: LabelledLists, ks: tuple[int, ...], limits: ListBounds | None, counts: np.ndarray | None
) -> dict[str, np.ndarray]:
    columns = {} if counts is None else {"train_count": counts}
    columns["num_positives"] = labelled.positives.counts
    if limits is not None:
        columns |= {
            "AP_lower": limits.ap_lower,
            "AP_upper": limits.ap_upper,
            "ROC_AUC_lower": limits.auc_lower,
            "ROC_AUC_upper": limits.auc_upper,
        }
    return columns | {f"recall@{k}": class_recall(labelled, k) for k in ks}


def _group_means(columns: Mapping[str, np.ndarray], members: np.ndarray) -> dict[str, float]:
    found: dict[str, float] = {
        "num_classes": len(members),
        "num_undefined": int(np.count_nonzero(columns["num_positives"][members] == 0)),
    }
    for name in _BOUNDED:
        column = name.replace("mAP", "AP")
        if column in columns:
            found[name] = _mean(columns[column][members])
    for name, values in columns.items():
        if name.startswith("recall@"):
            found[f"macro_{name}"] = _mean(values[members])
    return found


def _mean(values: np.ndarray) -> float:
    """The mean of what is defined; NaN of nothing."""
    defined = values[values == values].tolist()
    return math.fsum(defined) / len(defined) if defined else math.nan


def _bounds_in_words(bounds: Any) -> str:
    return bounds if isinstance(bounds, str) else ",".join(f"{bound:g}" for bound in bounds)


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _csv_cell(value: Any) -> Any:
    return "" if isinstance(value, float) and math.isnan(value) else value


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
