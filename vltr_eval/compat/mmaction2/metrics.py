"""mmaction2's AccMetric for mmengine, over the functions of `vltr_eval.compat.mmaction2`."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

try:
    import torch  # noqa: F401  # mmengine gives its tensors
except ImportError:
    raise ImportError("vltr_eval.compat.mmaction2.metrics needs torch: pip install torch") from None

from vltr_eval.compat._mmengine import BaseMetric, to_numpy
from vltr_eval.compat.mmaction2.accuracy import (
    get_weighted_score,
    mean_average_precision,
    mean_class_accuracy,
    mmit_mean_average_precision,
    top_k_accuracy,
)

__all__ = ["AccMetric"]

_OF_ONE_NUMBER = {
    "mean_class_accuracy": ("mean1", mean_class_accuracy),
    "mean_average_precision": ("mean_average_precision", mean_average_precision),
    "mmit_mean_average_precision": ("mmit_mean_average_precision", mmit_mean_average_precision),
}
_FUSIONS = {"1:1": (1, 1), "2:1": (2, 1), "1:2": (1, 2)}  # of RGBPoseConv3D's two scores


class AccMetric(BaseMetric):
    """Accuracies and mean AP of action recognition, as mmaction.evaluation.AccMetric.

    Data samples are dictionaries with ``pred_score``, (C,) scores or a dictionary of them, and ``gt_label``: one class
    index, or (C,) of 0/1. mmengine gathers them over ranks and drops those that a sampler repeated.

    Args:
        metric_list: A name or a tuple of names: "top_k_accuracy", "mean_class_accuracy", "mean_average_precision" and
            "mmit_mean_average_precision". Their results are "top1" and "top5", "mean1", and the last two names.
        collect_device: "cpu" or "gpu", the memory in which mmengine gathers.
        metric_options: ``{"top_k_accuracy": {"topk": (1, 5)}}``, the values of k.
        prefix: Text in front of the names, "acc" by default: "acc/top1".

    Raises:
        TypeError: ``metric_list`` is neither a name nor a tuple, or k neither an integer nor a tuple.
        AssertionError: A name that does not exist.
        ImportError: mmengine is not installed.
    """

    default_prefix = "acc"

    def __init__(
        self,
        metric_list: str | tuple[str, ...] = ("top_k_accuracy", "mean_class_accuracy"),
        collect_device: str = "cpu",
        metric_options: dict[str, dict[str, Any]] | None = {"top_k_accuracy": {"topk": (1, 5)}},  # noqa: B006  # copied
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not isinstance(metric_list, (str, tuple)):
            raise TypeError(f"metric_list: expected a name or a tuple of names, got {metric_list!r}")
        self.metrics = (metric_list,) if isinstance(metric_list, str) else metric_list
        names = ("top_k_accuracy", *_OF_ONE_NUMBER)
        for name in self.metrics:
            assert name in names, f"metric_list: expected names among {', '.join(names)}, got {name!r}"
        self.metric_options = metric_options

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Take the scores and labels of a batch; ``data_batch`` is not used."""
        for sample in data_samples:
            scores, label = sample["pred_score"], sample["gt_label"]
            is_dict = isinstance(scores, dict)
            self.results.append(
                {
                    "pred": {name: to_numpy(part) for name, part in scores.items()} if is_dict else to_numpy(scores),
                    "label": label.item() if label.size(0) == 1 else to_numpy(label),
                }
            )

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        """The results of all samples, by name. Scores in a dictionary have its names in front: "rgb_top1"."""
        labels = [result["label"] for result in results]
        first = results[0]["pred"]
        if not isinstance(first, dict):
            return self.calculate([result["pred"] for result in results], labels)
        parts = {name: [result["pred"][name] for result in results] for name in first}
        if parts.keys() == {"rgb", "pose"}:
            fused = {
                f"RGBPose_{name}": get_weighted_score([parts["rgb"], parts["pose"]], weights)
                for name, weights in _FUSIONS.items()
            }
            parts |= fused
        return {
            f"{part}_{name}": value
            for part, scores in parts.items()
            for name, value in self.calculate(scores, labels).items()
        }

    def calculate(self, preds: list[np.ndarray], labels: list[Any]) -> dict[str, Any]:
        """The results of some scores and their labels."""
        found: dict[str, Any] = OrderedDict()
        options: Any = copy.deepcopy(self.metric_options)
        for name in self.metrics:
            if name == "top_k_accuracy":
                topk = options.setdefault(name, {}).setdefault("topk", (1, 5))
                if not isinstance(topk, (int, tuple)):
                    raise TypeError(f"topk: expected an integer or a tuple of integers, got {topk!r}")
                chosen = (topk,) if isinstance(topk, int) else topk
                found |= {
                    f"top{k}": value for k, value in zip(chosen, top_k_accuracy(preds, labels, chosen), strict=True)
                }
            else:
                key, function = _OF_ONE_NUMBER[name]
                found[key] = function(preds, labels)
        return found
