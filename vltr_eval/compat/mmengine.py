"""A metric for mmengine, and so for mmaction2, mmpretrain and others: the long-tail report of `vltr_eval.evaluate`.

    val_evaluator = dict(type="vltr_eval.compat.mmengine.LongTailMetric", train_counts=counts)

Importing this module registers `LongTailMetric` in ``mmengine.registry.METRICS``; the full name above needs no import.
The module needs torch, and instances need mmengine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

try:
    import torch
except ImportError:
    raise ImportError("vltr_eval.compat.mmengine needs torch: pip install torch") from None

from vltr_eval.compat._mmengine import BaseMetric
from vltr_eval.compat._tensors import to_supported_device
from vltr_eval.evaluator import Evaluator

if TYPE_CHECKING:
    from vltr_eval.report.report import Report

__all__ = ["LongTailMetric"]


class LongTailMetric(BaseMetric):
    """The long-tail report in mmengine: mAP, means over head, medium and tail classes, SAP, ROC-AUC and Acc@k.

    Data samples have ``pred_score``, (C,) scores, and the labels of ``gt_score``, (C,) of 0/1, or else of ``gt_label``:
    class indices if they are integers, and (C,) of 0/1 if they are floats, as mmaction2 packs several labels.

    Scores stream into an `Evaluator` and stay on their device. Every rank gets the exact result over the samples of
    all ranks; samples that mmengine's sampler repeated are left out, as mmengine does. After `evaluate` the last report
    is in ``report``, with the numbers of each class and the writers of CSV and HTML.

    Args:
        collect_device: "cpu" or "gpu", the memory in which mmengine gathers; for ``gather="mmengine"`` alone.
        prefix: Text in front of the names, "vltr" by default: "vltr/mAP".
        gather: "evaluator" exchanges counts and the scores of positives. "mmengine" collects all scores on rank 0, as
            mmengine does, and leaves ``report`` there.
        multi_hot: Whether ``gt_label`` is (C,) of 0/1; by its dtype if None.
        id_key: The key of an id in the data samples, such as "video_id" for ``reduce="mean"``; see `Evaluator.update`.
        unknown: The value of labels of 0/1 that marks an unknown cell, such as -1 of VOC's difficult objects.
        per_class: Numbers of single classes to add; see `Report.metrics`.
        **options: Options of `Evaluator`, such as train_counts, sap, topk, groups and reduce. Without class_names those
            are the ``classes`` of the dataset.

    Raises:
        ValueError: An option is out of range.
        TypeError: An option does not exist.
        ImportError: mmengine is not installed.
    """

    default_prefix = "vltr"

    def __init__(
        self,
        collect_device: str = "cpu",
        prefix: str | None = None,
        *,
        gather: str = "evaluator",
        multi_hot: bool | None = None,
        id_key: str | None = None,
        unknown: float | None = None,
        per_class: bool | str | Sequence[str] = False,
        **options: Any,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if gather not in ("evaluator", "mmengine"):
            raise ValueError(f"gather: expected 'evaluator' or 'mmengine', got {gather!r}")
        if not options.keys() & {"train_counts", "class_names", "groups", "thresholds"}:  # these depend on the classes
            Evaluator(1, **options)  # raises now, and not after an epoch
        self.report: Report | None = None
        self._gather, self._multi_hot, self._id_key = gather, multi_hot, id_key
        self._unknown, self._per_class, self._options = unknown, per_class, options
        self._evaluator: Evaluator | None = None
        self._num_taken = 0  # rows that the evaluator has; the last batch waits, because its end may be repeated
        self._batch: list[dict[str, Any]] = []

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Take the scores and labels of a batch; ``data_batch`` is not used."""
        samples = [self._read(sample) for sample in data_samples]
        if self._gather == "mmengine":
            self.results.extend(samples)
            return
        self._update(self._batch)
        self._batch = samples

    def evaluate(self, size: int) -> dict[str, Any]:
        """The results over all ranks, on every rank.

        Args:
            size: Number of samples of the dataset. Further ones are repeated and left out.
        """
        if self._gather == "mmengine":
            return super().evaluate(size)
        rank, num_ranks = _dist_info()
        try:
            evaluator = self._made(self._batch)
            with evaluator:  # the ranks fail together
                num_own = max(0, -(-(size - rank) // num_ranks))  # sample i is on rank i % num_ranks
                if num_own < self._num_taken:
                    raise ValueError(
                        f"size: expected at least the {self._num_taken} samples of rank {rank} before its last batch, "
                        f'got {num_own} of {size}; use gather="mmengine" for samplers of another kind'
                    )
                self._update(self._batch[: num_own - self._num_taken])
                self.report = evaluator.compute()
        finally:
            self._evaluator, self._num_taken, self._batch = None, 0, []
        return self.report.metrics(f"{self.prefix}/" if self.prefix else "", per_class=self._per_class)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """The results of samples that mmengine has gathered."""
        evaluator = self._made(results, sync_on_compute=False)
        self._add(evaluator, results, range(len(results)))
        self.report = evaluator.compute()
        return self.report.metrics(per_class=self._per_class)

    def _read(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        scores = sample["pred_score"]
        if not isinstance(scores, torch.Tensor) or scores.ndim != 1:
            raise TypeError(f"pred_score: expected a tensor (C,), got {scores!r}; evaluate each of several by itself")
        if "gt_score" in sample:
            label, multi_hot = sample["gt_score"], True
        else:
            label = torch.as_tensor(sample["gt_label"])
            multi_hot = label.is_floating_point() if self._multi_hot is None else self._multi_hot
        labels = label.detach().clone() if multi_hot else label.reshape(-1).tolist()
        read = {"scores": scores.detach().clone(), "labels": labels}
        return read if self._id_key is None else read | {"id": sample[self._id_key]}

    def _made(self, samples: list[dict[str, Any]], **more: Any) -> Evaluator:
        """The evaluator; a new one for the classes of these samples if there is none."""
        if self._evaluator is not None:
            return self._evaluator
        if not samples:
            raise ValueError(f"{type(self).__name__}: expected samples before evaluate(), got none")
        num_classes = len(samples[0]["scores"])
        names = (self.dataset_meta or {}).get("classes")
        named = {"class_names": list(names)} if names is not None and len(names) == num_classes else {}
        return Evaluator(num_classes, **(named | self._options | more))

    def _update(self, samples: list[dict[str, Any]]) -> None:
        if samples:
            rank, num_ranks = _dist_info()
            self._evaluator = self._made(samples)
            numbers = range(self._num_taken * num_ranks + rank, 2**63 - 1, num_ranks)
            self._add(self._evaluator, samples, numbers)
            self._num_taken += len(samples)

    def _add(self, evaluator: Evaluator, samples: list[dict[str, Any]], numbers: range) -> None:
        """numbers: those of the samples in the dataset, which are their ids if they have no others."""
        (scores,) = to_supported_device([torch.stack([sample["scores"] for sample in samples])])
        labels: Any = [sample["labels"] for sample in samples]
        are_multi_hot = {isinstance(label, torch.Tensor) for label in labels}
        if len(are_multi_hot) > 1:
            raise TypeError(
                "gt_label: expected class indices, or 0/1, in all samples of a batch, got both; set multi_hot"
            )
        if are_multi_hot == {True}:
            labels = torch.stack(labels)
        ids = list(numbers[: len(samples)]) if self._id_key is None else [sample["id"] for sample in samples]
        evaluator.update(scores, labels, ids, unknown=self._unknown if True in are_multi_hot else None)


def _dist_info() -> tuple[int, int]:
    """The rank of this process, and the number of ranks."""
    from mmengine.dist import get_dist_info

    rank, num_ranks = get_dist_info()
    return rank, num_ranks


def _register() -> None:
    try:
        from mmengine.registry import METRICS
    except ImportError:
        return
    METRICS.register_module(module=LongTailMetric, force=True)  # again if the module is loaded again


_register()
