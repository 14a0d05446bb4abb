"""Exact evaluation of many-class, long-tailed, multi-label models at the speed of memory."""

from vltr_eval._base.build import build_info  # the first import, because it explains a missing core

# isort: split
from typing import TYPE_CHECKING, Any

from vltr_eval import distributed
from vltr_eval._base.ranks import RankFailure
from vltr_eval._base.version import __version__
from vltr_eval._engine.class_details import class_details
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.options import EvalOptions, EvalOptionsDict
from vltr_eval._engine.positive_ranks import PositiveRanks
from vltr_eval._engine.rank_table import PositiveScores, PrecisionRecallCurve, RankTable
from vltr_eval._engine.thresholds import Thresholds
from vltr_eval._evaluate import evaluate
from vltr_eval.batches import ShardFiles, evaluate_batches
from vltr_eval.comparison import Comparison, Evaluation, compare
from vltr_eval.convention.side_by_side import conventions
from vltr_eval.evaluator import Evaluator
from vltr_eval.formats import InputError, LabelPairs, Labels, Scores, read_labels, read_scores
from vltr_eval.metrics.bootstrap import BootstrapResult, bootstrap, bootstrap_weights
from vltr_eval.metrics.calibration import Calibration, calibration
from vltr_eval.metrics.effects import class_intervals, row_effects
from vltr_eval.metrics.rank_metrics import (
    average_precision,
    calibrated_average_precision,
    expected_sampled_average_precision,
    mean_average_precision,
    positive_scores,
    precision_at_recall,
    precision_recall_curve,
    rank_table,
    recall_at_precision,
    roc_auc,
    tie_interval,
    tie_rate,
)
from vltr_eval.metrics.reduction import ReducedRows, reduce_rows
from vltr_eval.metrics.running import RunningAP
from vltr_eval.metrics.sampled import SampledAP, sampled_average_precision, sap_subset
from vltr_eval.metrics.thresholds import choose_thresholds
from vltr_eval.metrics.tie_orders import positive_ranks
from vltr_eval.metrics.topk import topk_accuracy
from vltr_eval.page.details import ClassDetails
from vltr_eval.priors.weights import PriorWeights, prior_weights
from vltr_eval.report.report import Report

if TYPE_CHECKING:
    from vltr_eval.patching import patch, unpatch

__all__ = [
    "BootstrapResult",
    "Calibration",
    "ClassDetails",
    "Comparison",
    "EvalOptions",
    "EvalOptionsDict",
    "Evaluation",
    "Evaluator",
    "InputError",
    "LabelPairs",
    "Labels",
    "PositiveRanks",
    "PositiveScores",
    "Positives",
    "PrecisionRecallCurve",
    "PriorWeights",
    "RankFailure",
    "RankTable",
    "ReducedRows",
    "Report",
    "RunningAP",
    "SampledAP",
    "Scores",
    "ShardFiles",
    "Thresholds",
    "__version__",
    "average_precision",
    "bootstrap",
    "bootstrap_weights",
    "build_info",
    "calibrated_average_precision",
    "calibration",
    "choose_thresholds",
    "class_details",
    "class_intervals",
    "compare",
    "conventions",
    "distributed",
    "evaluate",
    "evaluate_batches",
    "expected_sampled_average_precision",
    "mean_average_precision",
    "patch",
    "positive_ranks",
    "positive_scores",
    "precision_at_recall",
    "precision_recall_curve",
    "prior_weights",
    "rank_table",
    "read_labels",
    "read_scores",
    "recall_at_precision",
    "reduce_rows",
    "roc_auc",
    "row_effects",
    "sampled_average_precision",
    "sap_subset",
    "tie_interval",
    "tie_rate",
    "topk_accuracy",
    "unpatch",
]


def __getattr__(name: str) -> Any:
    """Import the patch when it is first used, so that ``python -m vltr_eval.patch`` finds it not yet imported."""
    if name == "patch":
        import vltr_eval.patch as module

        return module
    if name == "unpatch":
        from vltr_eval.patching import unpatch

        return unpatch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
