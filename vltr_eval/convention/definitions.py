"""The published conventions: each with its definition, its rules, and the code that uses it.

Sources are paths of public repositories at a commit, or ranges of versions of packages. They were read and run; the
tests hold the numbers that the originals print.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vltr_eval.convention.measures import (
    Measure,
    above_zero,
    d_prime,
    difficult_misused,
    first_rows,
    over_cells,
    over_classes,
    over_rows,
    padded,
    roc,
    sampled,
    top_of_rows,
    unlabelled_last,
)

__all__ = [
    "ABSENT_RULES",
    "CONVENTIONS",
    "FAMILIES",
    "SQUASH_RULES",
    "TIE_RULES",
    "Convention",
    "Use",
]

FAMILIES = {
    "step": "Mean over classes of the area under the step curve",
    "weighted": "Mean over classes, weighted by positives",
    "micro": "All cells in one list",
    "rows": "Mean over rows",
    "envelope": "Precision made non-increasing in recall",
    "curves": "Other curves",
    "binned": "Fixed thresholds",
    "padded": "Rows of padding",
    "multi-class": "One label a row, one class against the rest",
    "roc": "ROC curve",
    "sampled": "Balanced samples of negatives",
}

ABSENT_RULES = {
    "zero": "counts as 0",
    "half": "counts as 0.5",
    "one": "counts as 1",
    "left out": "is left out of the mean",
    "nan": "makes the mean NaN",
    "error": "raises",
    "padding": "has positives from the padding, so it counts",
    "negatives": "only adds negatives",
    "weight 0": "has weight 0",
}

TIE_RULES = {
    "joined": "equal scores are one threshold",
    "rows": "the lower row first, as a stable sort leaves it",
    "reversed": "the higher row first, as a stable sort that is then reversed",
    "torch": "the lower row first in up to 16 rows; in more, torch.sort on a CPU leaves the order open",
    "worst": "negatives first",
    "unstable": "an unstable sort decides, so the value depends on the sort and the CPU",
    "shuffled": "shuffled with a fixed seed",
}

SQUASH_RULES = {
    "none": "no sigmoid",
    "outside": "a sigmoid if a score is below 0 or above 1",
    "always": "a sigmoid always",
    "softmax outside": "a softmax if a score is below 0 or above 1",
}


@dataclass(frozen=True)
class Use:
    """Code that uses a convention.

    Attributes:
        name: The function or metric.
        source: Repository, path and commit, or a package and its versions.
        percent: Whether it prints percent.
        note: A quirk; "" for none.
    """

    name: str
    source: str
    percent: bool = False
    note: str = ""

    @property
    def project(self) -> str:
        """The repository without its owner, or the package with its versions."""
        first, *others = self.source.split(",")[0].split()
        if "/" in first:
            return first.partition("@")[0].partition("/")[2]
        return " ".join([first, *(word for word in others if "/" not in word)])


@dataclass(frozen=True)
class Convention:
    """A definition of one number, as published code computes it.

    Attributes:
        key: Its short name.
        title: A few words.
        family: A key of `FAMILIES`.
        definition: One sentence.
        absent: The rule of classes without positives, a key of `ABSENT_RULES`; of rows for the family "rows".
        ties: The rule of equal scores, a key of `TIE_RULES`.
        squash: The rule of the sigmoid, a key of `SQUASH_RULES`.
        used_by: The code that uses it.
        measure: Computes the value.
        min_positives: The positives that a class needs to count.
    """

    key: str
    title: str
    family: str
    definition: str
    absent: str
    ties: str
    squash: str
    used_by: tuple[Use, ...]
    measure: Measure
    min_positives: int = 1


def _step(absent: str, ties: str, uses: Iterable[Use], squash: str = "none", min_positives: int = 1) -> Convention:
    how = {
        "joined": "ties joined",
        "rows": "ties in row order",
        "torch": "ties of torch.sort",
        "reversed": "ties in reversed row order",
    }
    words = how.get(ties, "negatives first" if ties == "worst" else "unstable ties")
    key = f"step-{'rows' if ties == 'torch' else ties}-{absent.replace(' ', '-')}"
    title = f"step AP, {words}, an absent class {ABSENT_RULES[absent].replace(' of the mean', '')}"
    if squash != "none":
        key, title = f"{key}-sigmoid", f"{title}, sigmoid if outside 0..1"
    if min_positives > 1:
        key, title = f"{key}-{min_positives}-positives", f"{title}, at least {min_positives} positives"
    if ties == "joined":
        definition = "The sum of precision times the rise of recall over distinct scores, averaged over classes."
    else:
        definition = "The mean of the precision at each positive of a class, averaged over classes."
    if min_positives > 1:
        definition = definition[:-1] + f" with at least {min_positives} positives."
    measure = over_classes(
        lambda values, order: values.step(order),
        ties=ties,
        absent=absent,
        squash=squash,
        min_positives=min_positives,
    )
    return Convention(key, title, "step", definition, absent, ties, squash, tuple(uses), measure, min_positives)


def _of_classes(
    key: str, title: str, family: str, definition: str, curve: object, uses: Iterable[Use], **rules: object
) -> Convention:
    """A mean over classes of another curve; rules are those of `over_classes`."""
    measure = over_classes(curve, **rules)  # type: ignore[arg-type]  # rules of several kinds
    absent, ties, squash = (str(rules.get(name, default)) for name, default in _DEFAULTS)
    return Convention(key, title, family, definition, absent, ties, squash, tuple(uses), measure)


_DEFAULTS = (("absent", "zero"), ("ties", "joined"), ("squash", "none"))

_TORCHMETRICS = "torchmetrics >= 1.4.0"
_BIRDSET = "DBD-research-group/BirdSet birdset/modules/metrics/multilabel.py@86a0777c"
_ML_GCN = "Megvii-Nanjing/ML-GCN util.py@5517d6ff"
_MMPRETRAIN = "open-mmlab/mmpretrain mmpretrain/evaluation/metrics/multi_label.py@ee7f2e88"
_MMACTION = "open-mmlab/mmaction2 mmaction/evaluation/functional/accuracy.py@4d6c9347"
_PERCH = "google-research/perch chirp/models/metrics.py@b216270c"
_CHARADES = "gsig/charades-algorithms pytorch/utils/map.py@927794cd"
_PYVIDEO = "gsig/PyVideoResearch metrics/utils.py@46307b1a"
_ACTIVITYNET = "activitynet/ActivityNet Evaluation"
_VOC = "rbgirshick/py-faster-rcnn lib/datasets/voc_eval.py@781a917b"
_YOUTUBE = "google/youtube-8m eval_util.py@e6f6bf68"
_TREC = Use("trec_eval map, a class as a query", "usnistgov/trec_eval@f4253652", note="prints 4 digits")
_AST = "YuanGongND/ast src/utilities/stats.py@31088be8"
_PANNS = "qiuqiangkong/audioset_tagging_cnn pytorch/evaluate.py@d2f4b8c1"

_SIGMOID_NOTE = "the sigmoid is decided by each call of update, so a batch inside 0..1 has none"

CONVENTIONS: tuple[Convention, ...] = (
    _step(
        "zero",
        "joined",
        [
            Use("average_precision_score, macro", "scikit-learn >= 1.1.0", note="warns of an absent class"),
            Use("multilabel_auprc", "torcheval 0.0.7"),
            Use("Evaluator, mAP", _PANNS, note="the model ends in a sigmoid"),
            Use("calculate_stats, mAP", _AST, note='float32 sigmoid before; its log line "Avg Precision" is no AP'),
        ],
    ),
    _step(
        "left out",
        "joined",
        [
            Use("get_map", "facebookresearch/SlowFast slowfast/utils/meters.py@287ec007", note="0.0 if a score is NaN"),
            Use("mean_average_precision", _MMACTION),
            Use("mAP of vltr_eval", "vltr_eval.evaluate"),
        ],
    ),
    _step("nan", "joined", [Use("average_precision_score, macro", "scikit-learn 0.19 to 1.0.2", note="recall is 0/0")]),
    _step(
        "one",
        "joined",
        [Use("average_precision, mean over classes", "lightgbm 4.7.0 src/metric/binary_metric.hpp")],
    ),
    _step(
        "zero",
        "joined",
        [
            Use("multilabel_average_precision, macro", _TORCHMETRICS, note=_SIGMOID_NOTE),
            Use("cmAP and cmAP5", _BIRDSET, note="with torchmetrics >= 1.4.0; the mask of cmAP5 has no effect"),
        ],
        squash="outside",
    ),
    _step(
        "left out",
        "joined",
        [
            Use("multilabel_average_precision, macro", "torchmetrics 0.11 to 1.3.2", note="warns of an absent class"),
            Use("cmAP and cmAP5", _BIRDSET, note="with torchmetrics 1.2.0, which it pins"),
        ],
        squash="outside",
    ),
    _step(
        "zero",
        "torch",
        [
            Use("APMeter", "torchnet 0.0.4, pytorch/tnt torchnet/meter/apmeter.py", note="casts scores to float32"),
            Use("mAPMeter", "17Skye17/VideoLT ops/apmeter.py@1732d5cf", note="sigmoid in the model"),
            Use("mAPMeter", "wjun0830/MOVE VideoLT/ops/apmeter.py@7928daae", note="the file of VideoLT"),
            Use(
                "average_precision_per_class",
                "LAION-AI/CLIP_benchmark clip_benchmark/metrics/zeroshot_classification.py@48de38c1",
                note="half-precision logits tie",
            ),
            Use("AveragePrecision", _MMPRETRAIN, percent=True, note="leaves unknown cells (-1) out"),
        ],
    ),
    _step(
        "error",
        "torch",
        [
            Use(
                "AveragePrecisionMeter",
                _ML_GCN,
                percent=True,
                note="ZeroDivisionError; with difficult_examples=True it leaves label 0 out and -1 is negative",
            )
        ],
    ),
    Convention(
        "difficult-misused",
        "ML-GCN with difficult_examples=True and labels of 0 and 1",
        "step",
        "Every negative counts as difficult and is left out, so each class has AP 1.",
        "error",
        "rows",
        "none",
        (Use("AveragePrecisionMeter(difficult_examples=True)", _ML_GCN, percent=True, note="always 100.000"),),
        difficult_misused,
    ),
    _step("one", "rows", [Use("map@N, a class as a query", "xgboost 3.2.0", note="N at least the rows")]),
    Convention(
        "step-rows-one-32",
        "step AP of the first 32 rows, ties in row order, an absent class counts as 1",
        "step",
        "The precision at positives of the first 32 rows, divided by the positives or 32, averaged over classes.",
        "one",
        "rows",
        "none",
        (Use("map, a class as a query", "xgboost 3.2.0", note="rank objectives cut at 32 unless map@N is given"),),
        first_rows(32),
    ),
    _step(
        "zero",
        "reversed",
        [_TREC, Use("map, a class as a query", "pytrec_eval-terrier 0.5.11", note="the higher document id first")],
    ),
    _step("left out", "reversed", [Use("cmap, macro", _PERCH, note="float32")]),
    _step(
        "left out",
        "reversed",
        [Use("cmap, sample_threshold=4", _PERCH, note="the meaning of cmAP5 in BirdSet")],
        min_positives=5,
    ),
    _step(
        "zero",
        "unstable",
        [Use("map, a class as a query", "ranx 0.3.21", note="numba's sort keeps the row order of short lists alone")],
    ),
    _step("zero", "worst", [Use("MAP, a class as a query", "catboost 1.2.10")]),
    _of_classes(
        "step-epsilon",
        "step AP over P + 1e-8, unstable ties, an absent class counts as 0",
        "step",
        "The precision at each positive, summed and divided by the positives plus 1e-8, averaged over classes.",
        lambda values, order: values.plus_epsilon(ties=order),
        [
            Use("mAP", "Alibaba-MIIL/ASL src/helper_functions/helper_functions.py@8c9e0bd8", percent=True),
            Use(
                "mAP",
                "Alibaba-MIIL/ML_Decoder src_files/helper_functions/helper_functions.py@8a9e984f",
                percent=True,
                note="sigmoid before",
            ),
        ],
        absent="zero",
        ties="unstable",
    ),
    _step(
        "left out",
        "unstable",
        [
            Use("cmap, macro", "google-research/perch-hoplite perch_hoplite/agile/metrics.py@bfac8d0b"),
            Use("map", _PYVIDEO, note="nanmean"),
        ],
    ),
    _step(
        "nan",
        "unstable",
        [
            Use("map", _CHARADES),
            Use(
                "getClassificationMAP",
                "sujoyp/wtalc-pytorch classificationMAP.py@81ea9826",
                percent=True,
                note="float32 precision",
            ),
        ],
    ),
    Convention(
        "charades-nan",
        "step AP, rows without labels last, an absent class makes it NaN",
        "step",
        "Rows without labels get the score -inf; then the mean of the precision at each positive, over classes.",
        "nan",
        "unstable",
        "none",
        (Use("charades_map", _CHARADES, note="as the official Charades_v1_classify.m"),),
        unlabelled_last("nan"),
    ),
    Convention(
        "charades-left-out",
        "step AP, rows without labels last, an absent class is left out",
        "step",
        "Rows without labels get the score -inf; then the mean of the precision at each positive, over classes.",
        "left out",
        "unstable",
        "none",
        (Use("charades_map", _PYVIDEO, note="nanmean"),),
        unlabelled_last("left out"),
    ),
    Convention(
        "youtube8m-map",
        "YouTube-8M MAP over the best cells of each row",
        "step",
        "Only the 20 best classes of each row are ranked; precision at positives, divided by all positives.",
        "left out",
        "shuffled",
        "none",
        (Use("MAP", _YOUTUBE, note="random.seed(0) shuffles equal scores"),),
        top_of_rows(pooled=False),
    ),
    Convention(
        "retrieval-above-zero",
        "step AP, positives of score 0 or less are negatives",
        "step",
        "A positive with a score of at most 0 becomes a negative; then the mean of the precision at each positive.",
        "zero",
        "unstable",
        "none",
        (Use("retrieval_average_precision, a class as a query", "torchmetrics 1.9.0", note="torch.topk orders ties"),),
        above_zero,
    ),
    # Weighted
    _of_classes(
        "weighted",
        "step AP weighted by positives",
        "weighted",
        "The step AP of each class, averaged with the positives of the class as weights.",
        lambda values, order: values.step(order),
        [Use("average_precision_score, weighted", "scikit-learn >= 0.19")],
        absent="weight 0",
        weighted=True,
    ),
    _of_classes(
        "weighted-sigmoid",
        "step AP weighted by positives, sigmoid if outside 0..1",
        "weighted",
        "The step AP of each class, averaged with the positives of the class as weights.",
        lambda values, order: values.step(order),
        [Use("multilabel_average_precision, weighted", "torchmetrics 1.9.0")],
        absent="weight 0",
        squash="outside",
        weighted=True,
    ),
    _of_classes(
        "weighted-unstable",
        "step AP weighted by positives, unstable ties",
        "weighted",
        "The mean of the precision at each positive of a class, averaged with the positives as weights.",
        lambda values, order: values.step(order),
        [Use("sum of w_ap of map", _PYVIDEO, note="the WAP of the official Charades script")],
        absent="weight 0",
        ties="unstable",
        weighted=True,
    ),
    # Micro
    Convention(
        "micro",
        "micro AP",
        "micro",
        "All cells are one binary problem with one step AP.",
        "negatives",
        "joined",
        "none",
        (Use("average_precision_score, micro", "scikit-learn >= 0.19"),),
        over_cells(lambda values: float(values.step()[0])),
    ),
    Convention(
        "micro-sigmoid",
        "micro AP, sigmoid if outside 0..1",
        "micro",
        "All cells are one binary problem with one step AP.",
        "negatives",
        "joined",
        "outside",
        (
            Use("multilabel_average_precision, micro", "torchmetrics 1.9.0"),
            Use("mAP", _BIRDSET, note="named mAP"),
        ),
        over_cells(lambda values: float(values.step()[0]), "outside"),
    ),
    Convention(
        "youtube8m-gap",
        "YouTube-8M GAP over the best cells of each row",
        "micro",
        "The 20 best cells of each row in one list; precision at positives, divided by all positives.",
        "negatives",
        "shuffled",
        "none",
        (Use("GAP@20", _YOUTUBE, note="the Kaggle metric; micro AP if there are at most 20 classes"),),
        top_of_rows(pooled=True),
    ),
    # Rows
    Convention(
        "rows-zero",
        "step AP of each row, a row without labels counts as 0",
        "rows",
        "The step AP of a row over its classes, averaged over rows.",
        "zero",
        "joined",
        "none",
        (Use("average_precision_score, samples", "scikit-learn >= 1.1.0"),),
        over_rows("joined", "zero"),
    ),
    Convention(
        "rows-nan",
        "step AP of each row, a row without labels makes it NaN",
        "rows",
        "The step AP of a row over its classes, averaged over rows.",
        "nan",
        "joined",
        "none",
        (
            Use("average_precision_score, samples", "scikit-learn 0.19 to 1.0.2"),
            Use("mmit_mean_average_precision", _MMACTION, note="the mAP of Multi-Moments in Time"),
        ),
        over_rows("joined", "nan"),
    ),
    Convention(
        "rows-one",
        "LRAP: label ranking average precision",
        "rows",
        "The mean over a row's labels of labels ranked at or above it, by rank, averaged over rows.",
        "one",
        "joined",
        "none",
        (Use("label_ranking_average_precision_score", "scikit-learn 1.9.1"),),
        over_rows("joined", "one"),
    ),
    Convention(
        "rows-one-sigmoid",
        "LRAP, sigmoid if outside 0..1",
        "rows",
        "The mean over a row's labels of labels ranked at or above it, by rank, averaged over rows.",
        "one",
        "joined",
        "outside",
        (Use("multilabel_ranking_average_precision", "torchmetrics 1.9.0"),),
        over_rows("joined", "one", "outside"),
    ),
    Convention(
        "rows-reversed",
        "step AP of each row, the higher class first",
        "rows",
        "The mean of the precision at each label of a row over its classes, averaged over rows.",
        "zero",
        "reversed",
        "none",
        (
            Use("map_", _PERCH, note="float32"),
            Use("trec_eval map, a row as a query", "usnistgov/trec_eval@f4253652", note="prints 4 digits"),
            Use("map, a row as a query", "pytrec_eval-terrier 0.5.11"),
        ),
        over_rows("reversed", "zero"),
    ),
    Convention(
        "rows-unstable",
        "step AP of each row, unstable ties",
        "rows",
        "The mean of the precision at each label of a row over its classes, averaged over rows.",
        "zero",
        "unstable",
        "none",
        (Use("map, a row as a query", "ranx 0.3.21", note="numba's sort keeps the class order of short lists alone"),),
        over_rows("unstable", "zero"),
    ),
    # Envelope
    _of_classes(
        "envelope-left-out",
        "envelope AP, an absent class is left out",
        "envelope",
        "The area under the precision made non-increasing in recall, averaged over classes.",
        lambda values, order: values.envelope(order),
        [
            Use("AVA, mAP", f"{_ACTIVITYNET}/ava/metrics.py@82304fa9", note="nanmean; box matching comes before"),
            Use("classification AP", f"{_ACTIVITYNET}/eval_classification.py@82304fa9", note="classes of the labels"),
        ],
        absent="left out",
        ties="unstable",
    ),
    _of_classes(
        "envelope-nan",
        "envelope AP, an absent class makes it NaN",
        "envelope",
        "The area under the precision made non-increasing in recall, averaged over classes.",
        lambda values, order: values.envelope(order),
        [
            Use("voc_ap, VOC 2010 and later", _VOC),
            Use("voc12_mAP", "HCPLab-SYSU/SSGRL utils/metrics.py@ea47ccb2", note="scores from a text file"),
            Use("voc_mAP", "SlongLiu/query2labels lib/utils/metric.py@55eb0506", percent=True, note="sigmoid before"),
        ],
        absent="nan",
        ties="unstable",
    ),
    _of_classes(
        "voc07",
        "VOC 2007 11-point AP",
        "envelope",
        "The mean of the highest precision at recalls of at least 0, 0.1, ..., 1, averaged over classes.",
        lambda values, order: values.interpolated(11, order),
        [Use("voc_ap(use_07_metric=True)", _VOC, note="np.arange makes .3, .6 and .7 a bit larger")],
        absent="zero",
        ties="unstable",
    ),
    _of_classes(
        "coco101",
        "COCO 101-point AP",
        "envelope",
        "The mean of the highest precision at recalls of at least 0, 0.01, ..., 1, averaged over classes.",
        lambda values, order: values.interpolated(101, order),
        [Use("COCOeval, AP50", "pycocotools 2.0.11", note="a cell as one box; mergesort keeps the row order")],
        absent="left out",
        ties="rows",
    ),
    # Other curves
    _of_classes(
        "trapezoid-half",
        "trapezoid: auc(recall, precision), an absent class counts as 0.5",
        "curves",
        "The area under straight lines between the points of precision and recall, averaged over classes.",
        lambda values, order: values.trapezoid(),
        [Use("auc of precision_recall_curve", "scikit-learn >= 1.1.0")],
        absent="half",
    ),
    _of_classes(
        "trapezoid-nan",
        "trapezoid, an absent class makes it NaN",
        "curves",
        "The area under straight lines between the points of precision and recall, averaged over classes.",
        lambda values, order: values.trapezoid(),
        [
            Use("average_precision_score, macro", "scikit-learn <= 0.18.2", note="the same name as the step AP"),
            Use("auc of precision_recall_curve", "scikit-learn <= 1.0.2"),
        ],
        absent="nan",
    ),
    _of_classes(
        "trapezoid-error",
        "trapezoid, an absent class raises",
        "curves",
        "The area under straight lines between the points of precision and recall, averaged over classes.",
        lambda values, order: values.trapezoid(),
        [Use("PRAUC, mean over classes", "catboost 1.2.10", note="CatBoostError")],
        absent="error",
    ),
    _of_classes(
        "davis-goadrich",
        "Davis and Goadrich's interpolation between distinct scores",
        "curves",
        "The area under the curve on which true and false positives grow linearly, averaged over classes.",
        lambda values, order: values.davis_goadrich(),
        [Use("aucpr, mean over classes", "xgboost 3.2.0 src/metric/auc.h", note="NaN without negatives, too")],
        absent="nan",
        full="nan",
    ),
    _of_classes(
        "davis-goadrich-sigmoid",
        "Davis and Goadrich's interpolation after a sigmoid",
        "curves",
        "The area under the curve on which true and false positives grow linearly, averaged over classes.",
        lambda values, order: values.davis_goadrich(),
        [Use("aucpr, objective binary:logistic", "xgboost 3.2.0 src/metric/auc.h")],
        absent="nan",
        full="nan",
        squash="always",
    ),
    _of_classes(
        "keras",
        "Davis and Goadrich's interpolation between 200 thresholds",
        "binned",
        "The area under the interpolated curve at 200 thresholds from 0 to 1, averaged over classes.",
        lambda values, order: values.davis_goadrich_binned(200),
        [Use('AUC(curve="PR", multi_label=True)', "keras 3.15.1", note="logits are binned as they are")],
        absent="zero",
    ),
    Convention(
        "keras-micro",
        "Davis and Goadrich's interpolation between 200 thresholds, all cells",
        "binned",
        "All cells are one binary problem; the area under its interpolated curve at 200 thresholds.",
        "negatives",
        "joined",
        "none",
        (Use('AUC(curve="PR")', "keras 3.15.1", note="the default, multi_label=False"),),
        over_cells(lambda values: float(values.davis_goadrich_binned(200)[0])),
    ),
    # Binned
    _of_classes(
        "binned-100-sigmoid",
        "step AP at 100 thresholds, sigmoid if outside 0..1",
        "binned",
        "The step sum over 100 equally spaced thresholds from 0 to 1, averaged over classes.",
        lambda values, order: values.binned(100),
        [Use("multilabel_average_precision(thresholds=100)", "torchmetrics 1.9.0", note="0 in every version")],
        absent="zero",
        squash="outside",
    ),
    _of_classes(
        "binned-200-sigmoid",
        "step AP at 200 thresholds, sigmoid if outside 0..1",
        "binned",
        "The step sum over 200 equally spaced thresholds from 0 to 1, averaged over classes.",
        lambda values, order: values.binned(200),
        [Use("multilabel_average_precision(thresholds=200)", "torchmetrics 1.9.0")],
        absent="zero",
        squash="outside",
    ),
    _of_classes(
        "binned-100",
        "step AP at 100 thresholds",
        "binned",
        "The step sum over 100 equally spaced thresholds from 0 to 1, averaged over classes.",
        lambda values, order: values.binned(100),
        [Use("multilabel_binned_auprc(threshold=100)", "torcheval 0.0.7", note="logits are binned as they are")],
        absent="zero",
    ),
    Convention(
        "binned-100-micro-sigmoid",
        "micro AP at 100 thresholds, sigmoid if outside 0..1",
        "binned",
        "All cells are one binary problem; the step sum over 100 equally spaced thresholds.",
        "negatives",
        "joined",
        "outside",
        (Use('multilabel_average_precision(thresholds=100, average="micro")', "torchmetrics 1.9.0"),),
        over_cells(lambda values: float(values.binned(100)[0]), "outside"),
    ),
    # Padded
    Convention(
        "padded",
        "padded cmAP: 5 rows of ones added",
        "padded",
        "Five rows with score 1 and every label are added; then step AP, averaged over classes.",
        "padding",
        "joined",
        "none",
        (
            Use("padded_cmap", "Kaggle BirdCLEF 2023, evaluation page"),
            Use("padded_cmap", "jhuus/HawkEars core/metrics.py"),
        ),
        padded("none", 1.0, True),
    ),
    Convention(
        "padded-sigmoid",
        "padded cmAP, sigmoid if outside 0..1",
        "padded",
        "Five rows with score 1 and every label are added; then step AP, averaged over classes.",
        "padding",
        "joined",
        "outside",
        (Use("pcmAP", _BIRDSET, note="pads before the sigmoid"),),
        padded("outside", 1.0, True),
    ),
    Convention(
        "padded-zeros",
        "padded cmAP, copies of 2026: 5 rows of zeros added",
        "padded",
        "Five rows with score 0 and no label are added; then step AP, averaged over classes with positives.",
        "left out",
        "joined",
        "none",
        (Use("padded_cmap", "copies in Kaggle repositories of 2026", note="the name of another metric"),),
        padded("none", 0.0, False),
    ),
    # Multi-class
    _of_classes(
        "last-label-left-out",
        "step AP of the last label, an absent class is left out",
        "multi-class",
        "The highest class of a row's labels is its only one, other rows are left out; step AP, averaged over classes.",
        lambda values, order: values.step(order),
        [Use("multiclass_average_precision, macro", "torchmetrics 1.9.0", note="not the rule of its multilabel form")],
        absent="left out",
        squash="softmax outside",
        view=lambda m: m.last_label(softmax=True),
    ),
    _of_classes(
        "last-label-error",
        "step AP of the last label, an absent class raises",
        "multi-class",
        "The highest class of a row's labels is its only one, other rows are left out; step AP, averaged over classes.",
        lambda values, order: values.step(order),
        [Use("average_precision_score of class numbers, macro", "scikit-learn 1.9.1")],
        absent="error",
        full="error",
        view=lambda m: m.last_label(softmax=False),
    ),
    _of_classes(
        "last-label-zero",
        "step AP of the last label, an absent class counts as 0",
        "multi-class",
        "The highest class of a row's labels is its only one, other rows are left out; step AP, averaged over classes.",
        lambda values, order: values.step(order),
        [Use("multiclass_auprc, macro", "torcheval 0.0.7")],
        absent="zero",
        view=lambda m: m.last_label(softmax=False),
    ),
    # ROC
    Convention(
        "roc-auc-nan",
        "ROC-AUC, an absent class makes it NaN",
        "roc",
        "The probability that a positive scores above a negative, averaged over classes.",
        "nan",
        "joined",
        "none",
        (
            Use("roc_auc_score, macro", "scikit-learn >= 1.6.0", note="so does a class without negatives"),
            Use("Evaluator, mAUC", _PANNS, note="with scikit-learn >= 1.6.0"),
            Use("calculate_stats, mAUC", _AST, note="with scikit-learn >= 1.6.0"),
        ),
        roc("nan"),
    ),
    Convention(
        "roc-auc-error",
        "ROC-AUC, an absent class raises",
        "roc",
        "The probability that a positive scores above a negative, averaged over classes.",
        "error",
        "joined",
        "none",
        (Use("roc_auc_score, macro", "scikit-learn <= 1.5.2", note="so does a class without negatives"),),
        roc("error"),
    ),
    Convention(
        "roc-auc-left-out",
        "ROC-AUC, an absent class is left out",
        "roc",
        "The probability that a positive scores above a negative, averaged over classes.",
        "left out",
        "joined",
        "none",
        (Use("ROC-AUC of vltr_eval", "vltr_eval.evaluate"),),
        roc("left out"),
    ),
    Convention(
        "d-prime",
        "d' of the mean ROC-AUC",
        "roc",
        "The square root of 2 times the normal quantile of the mean ROC-AUC, not the mean of d'.",
        "nan",
        "joined",
        "none",
        (Use("d_prime of the mean AUC", _AST, note="the mean of the classes' d' is another number"),),
        d_prime,
    ),
    # Sampled
    Convention(
        "sampled",
        "sampled AP, 15 trials",
        "sampled",
        "The mean over trials of step AP on all positives and as many random negatives, averaged over classes.",
        "left out",
        "joined",
        "none",
        (Use("sampled_average_precision", "arXiv 1904.12993", note="seed 0 here; other draws differ"),),
        sampled(exact=False),
    ),
    Convention(
        "sampled-exact",
        "sampled AP, its closed form",
        "sampled",
        "The limit of sampled AP for infinitely many trials, averaged over classes.",
        "left out",
        "joined",
        "none",
        (Use("expected_sampled_average_precision", "vltr_eval.evaluate"),),
        sampled(exact=True),
    ),
)
