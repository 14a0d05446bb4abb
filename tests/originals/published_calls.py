"""Calls of published code: each returns the number that the original gives for (N, C) scores and labels."""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
import torch
import torchmetrics.functional.classification as tm
import torchmetrics.functional.retrieval as tm_retrieval
from sklearn import metrics as sk

__all__ = ["ORIGINALS"]


def of_classes(function):
    """The mean over classes of a function of one class."""

    def mean(scores, labels):
        return float(np.mean([function(scores[:, c], labels[:, c]) for c in range(scores.shape[1])]))

    return mean


# scikit-learn


def sklearn_average_precision(average):
    return lambda scores, labels: sk.average_precision_score(labels, scores, average=average)


def sklearn_trapezoid(scores, labels):
    precision, recall, _ = sk.precision_recall_curve(labels, scores)
    return sk.auc(recall, precision)


def last_labels(scores, labels):
    """The labelled rows and the highest class of each."""
    rows = labels.any(axis=1)
    return scores[rows], labels.shape[1] - 1 - np.argmax(labels[rows][:, ::-1], axis=1)


def sklearn_multiclass(scores, labels):
    scores, classes = last_labels(scores, labels)
    return sk.average_precision_score(classes, scores, average="macro")


# torch


def tensors(scores, labels):
    return torch.tensor(scores, dtype=torch.float32), torch.tensor(labels, dtype=torch.int64)


def torchmetrics_multilabel(average, thresholds=None):
    def call(scores, labels):
        preds, target = tensors(scores, labels)
        options = {"num_labels": labels.shape[1], "average": average, "thresholds": thresholds}
        return float(tm.multilabel_average_precision(preds, target, **options))

    return call


def torchmetrics_ranking(scores, labels):
    preds, target = tensors(scores, labels)
    return float(tm.multilabel_ranking_average_precision(preds, target, num_labels=labels.shape[1]))


def torchmetrics_retrieval(scores, labels):
    preds, target = tensors(scores, labels)
    return float(tm_retrieval.retrieval_average_precision(preds, target))


def torchmetrics_multiclass(scores, labels):
    scores, classes = last_labels(scores, labels)
    preds, target = tensors(scores, classes)
    return float(tm.multiclass_average_precision(preds, target, num_classes=labels.shape[1], average="macro"))


def torcheval_multilabel(scores, labels):
    from torcheval.metrics import functional as te  # not above: its import warns

    return float(te.multilabel_auprc(*tensors(scores, labels), num_labels=labels.shape[1], average="macro"))


def torcheval_binned(scores, labels):
    from torcheval.metrics import functional as te  # not above: its import warns

    values, _ = te.multilabel_binned_auprc(*tensors(scores, labels), num_labels=labels.shape[1], threshold=100)
    return float(values)


def torcheval_multiclass(scores, labels):
    from torcheval.metrics import functional as te  # not above: its import warns

    scores, classes = last_labels(scores, labels)
    return float(te.multiclass_auprc(*tensors(scores, classes), num_classes=labels.shape[1], average="macro"))


# Keras


def keras_auc(multi_label):
    def call(scores, labels):
        import keras

        options = {"multi_label": True, "num_labels": labels.shape[1]} if multi_label else {}
        metric = keras.metrics.AUC(curve="PR", num_thresholds=200, **options)
        metric.update_state(np.float32(labels), np.float32(scores))
        return float(metric.result())

    return call


# Boosting: boosters without trees, whose predictions are the scores


def xgboost_metric(metric, objective):
    def call(scores, labels):
        import xgboost

        limit = f"map@{len(scores)}" if metric == "map@N" else metric
        data = xgboost.DMatrix(np.zeros((len(scores), 1)), label=labels, base_margin=np.float32(scores))
        if objective == "rank:map":
            data.set_group([len(scores)])
        options = {"objective": objective, "eval_metric": limit, "nthread": 1, "verbosity": 0}
        booster = xgboost.train(options, data, num_boost_round=0)
        return float(booster.eval(data).split(":")[-1])

    return call


def lightgbm_average_precision(scores, labels):
    import lightgbm

    options = {"objective": "binary", "metric": "average_precision", "verbose": -1, "num_threads": 1}
    data = lightgbm.Dataset(
        np.zeros((len(scores), 1)), label=labels, init_score=scores, params={"verbose": -1, "feature_pre_filter": False}
    )
    found = {}
    lightgbm.train(options, data, num_boost_round=1, valid_sets=[data], callbacks=[lightgbm.record_evaluation(found)])
    ((value,),) = [next(iter(metrics.values())) for metrics in found.values()]
    return value


# Information retrieval: a class, or a row, is a query


def queries(scores, labels):
    names = [f"d{row:03}" for row in range(scores.shape[0])]
    relevant = {f"q{c}": dict(zip(names, labels[:, c].tolist(), strict=True)) for c in range(labels.shape[1])}
    run = {f"q{c}": dict(zip(names, scores[:, c].tolist(), strict=True)) for c in range(labels.shape[1])}
    return relevant, run


def pytrec_map(scores, labels):
    import pytrec_eval

    relevant, run = queries(scores, labels)
    values = pytrec_eval.RelevanceEvaluator(relevant, {"map"}).evaluate(run)
    return float(np.mean([value["map"] for value in values.values()]))


def by_row(function):
    return lambda scores, labels: function(scores.T, labels.T)


# Detection: a cell is one box of its image


def coco_ap50(scores, labels):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        box = {"bbox": [0, 0, 10, 10], "area": 100, "iscrowd": 0}
        cells = [{"image_id": row + 1, "category_id": c + 1, **box} for row, c in np.argwhere(labels).tolist()]
        truth.dataset = {
            "images": [{"id": row + 1} for row in range(len(labels))],
            "categories": [{"id": c + 1} for c in range(labels.shape[1])],
            "annotations": [{"id": number + 1, **cell} for number, cell in enumerate(cells)],
        }
        truth.createIndex()
        found = truth.loadRes(
            [
                {"image_id": row + 1, "category_id": c + 1, "bbox": [0, 0, 10, 10], "score": float(scores[row, c])}
                for row in range(scores.shape[0])
                for c in range(scores.shape[1])
            ]
        )
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    return float(precision[precision > -1].mean())


def padded(function, score, positive):
    """A function of an input with five more rows."""

    def call(scores, labels):
        rows = (5, scores.shape[1])
        return function(
            np.concatenate([scores, np.full(rows, score)]), np.concatenate([labels, np.full(rows, int(positive))])
        )

    return call


def quiet(function):
    """The original without its warnings."""

    def call(scores, labels):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(scores, labels)

    return call


# The originals by the names of the convention and of the function, with the labels that they take: "all", "present" if
# no class is absent, "both" if each class has negatives as well, "several" classes, or "multi-class" if each class is
# the last label of some row.
ORIGINALS = {
    ("step-joined-zero", "scikit-learn macro"): (sklearn_average_precision("macro"), "all"),
    ("step-joined-zero", "torcheval multilabel_auprc"): (torcheval_multilabel, "several"),
    ("micro", "scikit-learn micro"): (sklearn_average_precision("micro"), "all"),
    ("weighted", "scikit-learn weighted"): (sklearn_average_precision("weighted"), "all"),
    ("rows-zero", "scikit-learn samples"): (sklearn_average_precision("samples"), "several"),
    ("rows-one", "scikit-learn LRAP"): (
        lambda scores, labels: sk.label_ranking_average_precision_score(labels, scores),
        "several",
    ),
    ("trapezoid-half", "scikit-learn auc"): (of_classes(sklearn_trapezoid), "all"),
    ("last-label-error", "scikit-learn multi-class"): (sklearn_multiclass, "multi-class"),
    ("roc-auc-nan", "scikit-learn roc_auc_score"): (
        lambda scores, labels: sk.roc_auc_score(labels, scores, average="macro"),
        "all",
    ),
    ("padded", "scikit-learn padded"): (padded(sklearn_average_precision("macro"), 1.0, True), "all"),
    ("step-joined-zero-sigmoid", "torchmetrics macro"): (torchmetrics_multilabel("macro"), "several"),
    ("micro-sigmoid", "torchmetrics micro"): (torchmetrics_multilabel("micro"), "several"),
    ("weighted-sigmoid", "torchmetrics weighted"): (torchmetrics_multilabel("weighted"), "several"),
    ("binned-100-sigmoid", "torchmetrics 100"): (torchmetrics_multilabel("macro", 100), "several"),
    ("binned-200-sigmoid", "torchmetrics 200"): (torchmetrics_multilabel("macro", 200), "several"),
    ("binned-100-micro-sigmoid", "torchmetrics micro 100"): (torchmetrics_multilabel("micro", 100), "several"),
    ("padded-sigmoid", "torchmetrics padded"): (padded(torchmetrics_multilabel("macro"), 1.0, True), "several"),
    ("rows-one-sigmoid", "torchmetrics ranking"): (torchmetrics_ranking, "several"),
    ("retrieval-above-zero", "torchmetrics retrieval"): (of_classes(torchmetrics_retrieval), "all"),
    ("last-label-left-out", "torchmetrics multi-class"): (torchmetrics_multiclass, "several"),
    ("binned-100", "torcheval binned"): (torcheval_binned, "several"),
    ("last-label-zero", "torcheval multi-class"): (torcheval_multiclass, "several"),
    ("keras", "Keras"): (keras_auc(True), "several"),
    ("keras-micro", "Keras, one list"): (keras_auc(False), "all"),
    ("davis-goadrich", "xgboost aucpr"): (of_classes(xgboost_metric("aucpr", "binary:logitraw")), "both"),
    ("davis-goadrich-sigmoid", "xgboost aucpr logistic"): (
        of_classes(xgboost_metric("aucpr", "binary:logistic")),
        "both",
    ),
    ("step-rows-one-32", "xgboost map"): (of_classes(xgboost_metric("map", "rank:map")), "all"),
    ("step-rows-one", "xgboost map@N"): (of_classes(xgboost_metric("map@N", "rank:map")), "all"),
    ("step-joined-one", "LightGBM"): (of_classes(lightgbm_average_precision), "all"),
    ("step-reversed-zero", "pytrec_eval"): (pytrec_map, "all"),
    ("rows-reversed", "pytrec_eval by row"): (by_row(pytrec_map), "all"),
    ("coco101", "pycocotools"): (coco_ap50, "all"),
}
ORIGINALS = {name: (quiet(function), scope) for name, (function, scope) in ORIGINALS.items()}
