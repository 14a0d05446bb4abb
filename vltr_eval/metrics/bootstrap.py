"""The bootstrap: metrics of many resampled test sets, each by the weights of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arguments import check_seed, unknown_name
from vltr_eval._base.arrays import num_threads, read_numbers
from vltr_eval._base.progress import part_of
from vltr_eval._engine.hits import check_topk
from vltr_eval._engine.inputs import read_inputs
from vltr_eval._engine.rank_scan import NaNScore, rank_scan
from vltr_eval._engine.rank_table import means_of_defined
from vltr_eval.report.names import AP, EXPECTED_SAP, OVERALL, ROC_AUC, accuracy_at

__all__ = ["BootstrapResult", "bootstrap", "bootstrap_weights"]

METHODS = ("poisson", "multinomial")

_NAMES = {
    "average_precision": AP.name,
    "roc_auc": ROC_AUC.name,
    "expected_sampled_average_precision": EXPECTED_SAP.name,
}


@dataclass(frozen=True, eq=False)
class BootstrapResult:
    """Metrics of R replicates of a test set.

    A replicate is undefined (NaN) for a class if none of its rows has the class; ROC-AUC also if all of its rows have
    it. Means over classes leave undefined classes out, as the metric of a test set does.

    Do not take percentiles of one class as its interval. They cover far less than they promise where a class has few
    positives: an interval for 95 % covers 62 % at 3 positives and 82 to 86 % at 7 to 14, because every replicate
    repeats the same few rows. The replicates are meant for means over classes and for differences between models.

    Attributes:
        by_class: (R, C) float64 of each metric that was requested, by the name of its function.
        accuracy: (R,) float64 of Acc@k over the rows with a label, by k.
        class_accuracy: (R, C) float64 of Acc@k over the positive rows of each class, by k.
        replicates: The number of replicates R.
        seed: The seed of the weights.
        method: "poisson" or "multinomial".
    """

    by_class: dict[str, np.ndarray]
    accuracy: dict[int, np.ndarray]
    class_accuracy: dict[int, np.ndarray]
    replicates: int
    seed: int
    method: str

    def __repr__(self) -> str:
        names = [*(_NAMES[name] for name in self.by_class), *(accuracy_at(k).name for k in self.accuracy)]
        return f"<BootstrapResult of {self.replicates} replicates: {', '.join(names)}>"

    def means(self, groups: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Compute the mean of each metric over all classes and over groups of classes, in each replicate.

        The mean of Acc@k over all classes is that over the rows with a label. The mean over a group is that of its
        classes.

        Args:
            groups: Class indices of each group by its name, such as ``{"tail": [4, 7]}``.

        Returns:
            (R,) float64 of each mean by its flat name: ``mAP``, ``mAP_tail``, ``ROC_AUC``, ``Acc@1_tail``. NaN where
            no class of the group is defined.

        Raises:
            IndexError: A class index is out of range.
        """
        columns = {_NAMES[name]: values for name, values in self.by_class.items()}
        columns |= {accuracy_at(k).name: values for k, values in self.class_accuracy.items()}
        rates = {accuracy_at(k).name: values for k, values in self.accuracy.items()}
        found: dict[str, np.ndarray] = {}
        for group, members in {OVERALL: None, **(groups or {})}.items():
            for name, values in columns.items():
                flat = name if group == OVERALL else f"{name}_{group}"
                if group == OVERALL and name in rates:
                    found[flat] = rates[name]
                else:
                    part = values if members is None else values[:, np.asarray(members, dtype=np.intp)]
                    found[flat] = means_of_defined(part)
        return found

    def standard_errors(self, groups: Mapping[str, Any] | None = None) -> dict[str, float]:
        """Compute the standard error of each mean: the standard deviation of its replicates, with ddof 1.

        Args:
            groups: Class indices of each group by its name, as for `means`.

        Returns:
            The standard error of each mean by its flat name. Undefined replicates are left out; NaN for fewer than two
            others.

        Raises:
            IndexError: A class index is out of range.
        """
        errors = {}
        for name, values in self.means(groups).items():
            defined = values[~np.isnan(values)]
            errors[name] = float(np.std(defined, ddof=1)) if len(defined) > 1 else float("nan")
        return errors


def bootstrap(
    scores: Any,
    labels: Any,
    *,
    replicates: int = 1000,
    seed: int = 0,
    method: str = "poisson",
    clusters: Any = None,
    metrics: Sequence[str] = ("average_precision", "roc_auc"),
    topk: int | Iterable[int] = (),
    mask: Any = None,
    unknown: Any = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> BootstrapResult:
    """Compute metrics in R bootstrap replicates of the test set, for all classes together.

    Each row, or each cluster of rows, gets a random weight in each replicate, shared by all classes. A replicate is the
    metric of a test set in which a row stands as often as its weight says, exactly. The weights depend on the seed, the
    replicate, and the number of the row or cluster alone, so two models with the same seed and rows are paired, on
    every machine and thread count. `bootstrap_weights` returns them, so that any library can check a replicate.

    Use it for means over classes and for differences between models. It gives no interval for one class;
    `BootstrapResult` has the reason.

    Args:
        scores: (N, C) array of any real dtype in CPU memory; see `rank_table`. Arrays on a device are an error; pass a
            copy in CPU memory, such as ``scores.cpu()``.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        replicates: The number of replicates R.
        seed: Seed of the weights, an integer from 0 to 2**64 - 1.
        method: "poisson" weighs each row by Poisson(1); "multinomial" draws N rows with replacement.
        clusters: (N,) names or numbers of the clusters of rows that are resampled as one, such as the video of each
            clip. None resamples single rows.
        metrics: Names of functions: ``average_precision``, ``roc_auc``, ``expected_sampled_average_precision``.
        topk: The values of k for Acc@k.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.
        progress: Called with the fraction done, from the calling thread.

    Returns:
        A `BootstrapResult`. It needs 8 R C bytes for each metric. The computation takes up to 128 MiB more. A class of
        millions of rows takes more than that: 20 bytes for each row and 100 for each of its positives.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, the shapes do not fit, or an option is out of range; the message
            has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> scores, labels = np.float32([[.9], [.8], [.7], [.2]]), np.uint8([[1], [0], [1], [0]])
        >>> result = bootstrap(scores, labels, replicates=3)
        >>> result.by_class["average_precision"].shape
        (3, 1)

    Source:
        Efron, "Bootstrap methods: another look at the jackknife", 1979; Hanley and MacGibbon, "Creating non-parametric
        bootstrap samples using Poisson frequencies", 2006.
    """
    count = _check_count("replicates", replicates, 1)
    names = _check_metrics(metrics)
    ks = check_topk(topk, "topk")
    method, seed = _check_method(method), check_seed(seed)
    if not names and not ks:
        raise ValueError("metrics: expected at least one metric, or topk, got none")
    inputs = read_inputs(scores, labels, mask=mask, unknown=unknown)
    matrix = inputs.scores
    if matrix.device.index is not None:
        raise ValueError(f"scores: expected an array in CPU memory, got one on {matrix.device}; pass scores.cpu()")
    positives = inputs.positives(threads=threads)
    units, num_units = _cluster_numbers(clusters, matrix.num_rows)
    ranks = None
    if ks:
        ranks = rank_scan(matrix, positives, ranks=True, threads=threads, progress=part_of(progress, 0.0, 0.05)).ranks
    known, offset, rows = positives.core_with(matrix)
    try:
        by_class, accuracy, class_accuracy = _core.bootstrap(
            known,
            offset,
            rows,
            units,
            num_units,
            count,
            method,
            seed,
            names,
            ranks,
            [min(k, 2**31 - 1) for k in ks],
            num_threads(threads),
            part_of(progress, 0.05 if ks else 0.0, 1.0),
        )
    except _core.BadValue as error:
        raise NaNScore(*error.args[1:]) from None
    return BootstrapResult(
        {name: by_class[name] for name in names},
        dict(zip(ks, accuracy, strict=True)),
        dict(zip(ks, class_accuracy, strict=True)),
        count,
        seed,
        method,
    )


def bootstrap_weights(
    num_rows: int,
    replicates: int,
    *,
    seed: int = 0,
    method: str = "poisson",
    clusters: Any = None,
    first: int = 0,
    threads: int | None = None,
) -> np.ndarray:
    """Return the weights of the rows in replicates of `bootstrap`: how often each row stands in the replicate.

    A metric of any library with these ``sample_weight`` is that of the replicate.

    Args:
        num_rows: The number of rows N.
        replicates: The number of replicates R.
        seed: Seed of the weights, an integer from 0 to 2**64 - 1.
        method: "poisson" or "multinomial", as in `bootstrap`.
        clusters: (N,) names or numbers of clusters; all rows of a cluster have one weight.
        first: The number of the first replicate.
        threads: Number of CPU threads; all cores if None.

    Returns:
        (R, N) uint8, the weights of replicates ``first`` to ``first + replicates - 1``.

    Raises:
        ValueError: A number is out of range.
        TypeError: The clusters are no array of numbers or text.

    Example:
        >>> bootstrap_weights(6, 2, seed=1).shape
        (2, 6)
    """
    rows = _check_count("num_rows", num_rows, 1, 2**32)
    count = _check_count("replicates", replicates, 1)
    start = _check_count("first", first, 0, 2**31 - count)
    units, num_units = _cluster_numbers(clusters, rows)
    weights = _core.bootstrap_weights(
        num_units, count, _check_method(method), check_seed(seed), start, num_threads(threads)
    )
    return weights if units is None else weights[:, units]


def _cluster_numbers(clusters: Any, num_rows: int) -> tuple[np.ndarray | None, int]:
    """Number the clusters in their sorted order: (N,) uint32 and how many there are; None for single rows."""
    if clusters is None:
        return None, num_rows
    names = np.asarray(clusters) if isinstance(clusters, (list, tuple)) else read_numbers("clusters", clusters)
    if names.dtype.kind == "O" and all(isinstance(name, str) for name in names.ravel()):
        names = names.astype(str)
    if names.dtype.kind not in "biuSU":
        raise TypeError(f"clusters: expected integers or text, got {names.dtype}; pass names.astype(str)")
    if names.shape != (num_rows,):
        raise ValueError(f"clusters: expected one for each row, shape ({num_rows},), got {names.shape}")
    known, numbers = np.unique(names, return_inverse=True)
    return np.ascontiguousarray(numbers.reshape(-1), dtype=np.uint32), len(known)


def _check_count(name: str, value: int, lowest: int, end: int = 2**31) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not lowest <= value < end:
        got = f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)
        raise ValueError(f"{name}: expected an integer from {lowest} to {end - 1}, got {got}")
    return int(value)


def _check_method(method: str) -> str:
    if method not in METHODS:
        raise unknown_name("method", str(method), METHODS)
    return method


def _check_metrics(metrics: Sequence[str]) -> list[str]:
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in names:
        if name not in _NAMES:
            raise unknown_name("metrics", str(name), _NAMES)
    return list(dict.fromkeys(names))
