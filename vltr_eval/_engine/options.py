"""The options of an evaluation: their names, types, defaults and meaning."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypedDict, cast

import numpy as np

from vltr_eval._base.arguments import check_seed, unknown_keyword
from vltr_eval._base.groups import DEFAULT_BOUNDS, Bounds
from vltr_eval._base.progress import Progress
from vltr_eval._engine.applied_thresholds import read_thresholds
from vltr_eval._engine.hits import check_topk
from vltr_eval._engine.inputs import Inputs, ReadingOptions, read_inputs
from vltr_eval._engine.results import ClassInfo
from vltr_eval._engine.thresholds import Thresholds
from vltr_eval.formats import ClassNames, is_spec, read_class_names, read_train_counts
from vltr_eval.report.settings import Settings

if TYPE_CHECKING:
    from typing_extensions import Unpack
elif sys.version_info >= (3, 11):
    from typing import Unpack
else:

    class Unpack:  # so that annotations can be evaluated on Python 3.10, too
        def __class_getitem__(cls, item: Any) -> Any:
            return item


__all__ = ["EvalOptions", "EvalOptionsDict", "Unpack", "read_with_options"]


class EvalOptionsDict(TypedDict, total=False):
    """The options as keyword arguments, for editors and type checkers; `EvalOptions` describes them."""

    sap: int | str | None
    seed: int
    topk: Iterable[int] | None
    train_counts: Sequence[float] | Mapping[str, float] | np.ndarray | str | os.PathLike[str] | None
    bounds: Bounds
    class_names: Sequence[str] | str | os.PathLike[str] | None
    absent: str
    interval: float | None
    groups: Any
    thresholds: Thresholds | str | os.PathLike[str] | np.ndarray | Sequence[float] | float | None
    allow_same_set: bool
    calibration: int | None


@dataclass(frozen=True, eq=False)
class EvalOptions:
    """The options that every evaluation takes as keyword arguments, with their defaults.

    `evaluate`, `Evaluator`, `evaluate_batches` and `vltr_eval.distributed.evaluate` take them.

    Args:
        sap: Number of SAP trials to draw, "exact" for the closed form alone, None for no SAP.
        seed: Seed of the SAP trials, an integer from 0 to 2**64 - 1.
        topk: The values of k for Acc@k, None for no Acc@k.
        train_counts: (C,) number of training samples of each class: numbers, a mapping from class names to numbers, or
            a pandas Series. They add the means over head, medium and tail classes. `evaluate` also takes a file of
            them, or of training labels.
        bounds: (high, low). Head classes have more than high training samples, tail classes at most low. Or a
            preset with its own names of groups: "few-shot" (many, medium, few), "lvis" (f, c, r) or "videolt".
        class_names: C names, in class order. `evaluate` also takes a file of them. Files and data frames with named
            columns are matched to these names.
        absent: "nan" leaves classes without positives out of every mean. "zero" counts their AP and SAP as 0, as the
            published VideoLT code does.
        interval: Level of the intervals to report, such as 0.95; None for none. It adds a pass over the scores. See
            "Intervals" in docs/evaluate.md.
        groups: Groups of one's own, beside those of the counts or without counts: C group names in class order, a
            mapping from classes to groups, a pandas Series or data frame, or a mapping from the names of several
            partitions to any of these. None, NaN and "" put a class in no group. `evaluate` also takes a file. See
            docs/groups.md.
        thresholds: Thresholds at which precision, recall and F1 are also reported: `Thresholds` of a validation set, a
            file of them, (C,) numbers, or one number. See docs/thresholds.md.
        allow_same_set: Whether the labels may be those on which the thresholds were chosen, where precision, recall and
            F1 are optimistic. The report then says so.
        calibration: Number of bins of the calibration errors to report, such as 15; None for none. The scores must be
            probabilities. See docs/thresholds.md.

    Example:
        >>> EvalOptions().topk, EvalOptions(topk=(1,)).sap
        ((1, 5), 15)
    """

    sap: int | str | None = 15
    seed: int = 0
    topk: Iterable[int] | None = (1, 5)
    train_counts: Sequence[float] | Mapping[str, float] | np.ndarray | str | os.PathLike[str] | None = None
    bounds: Bounds = DEFAULT_BOUNDS
    class_names: Sequence[str] | str | os.PathLike[str] | None = None
    absent: str = "nan"
    interval: float | None = None
    groups: Any = None
    thresholds: Thresholds | str | os.PathLike[str] | np.ndarray | Sequence[float] | float | None = None
    allow_same_set: bool = False
    calibration: int | None = None

    @classmethod
    def from_keywords(cls, options: Mapping[str, Any], function: Callable[..., Any]) -> EvalOptions:
        """Return the options that came as keyword arguments of a function.

        Raises:
            TypeError: A name is no option; the message has the nearest keyword of the function. Only
                `vltr_eval.evaluate` takes clusters and slices.
        """
        known = [option.name for option in fields(cls)]
        for name in options:
            if name == "clusters":
                raise TypeError(
                    "clusters: expected vltr_eval.evaluate, which has the rows of a cluster in one process, "
                    f"got {function.__qualname__}"
                )
            if name == "slices":
                raise TypeError(
                    f"slices: expected vltr_eval.evaluate, which has all rows of a slice, got {function.__qualname__}; "
                    "evaluate the rows of each slice by themselves"
                )
            if name == "reduce":
                raise TypeError(
                    "reduce: expected vltr_eval.evaluate or Evaluator, which have all views of a video, "
                    f"got {function.__qualname__}; give Evaluator a memory_budget if the rows do not fit in memory"
                )
            if name not in known:
                raise unknown_keyword(name, [*known, *_keywords(function)])
        return cls(**options)

    def checked(self, num_classes: int) -> tuple[Settings, ClassInfo]:
        """Return the settings of the report and the facts about the classes.

        Raises:
            ValueError: An option is out of range, or does not have one entry for each of ``num_classes`` classes.
            TypeError: An option has the wrong type.
        """
        # `evaluate` has read the files by now. Elsewhere a path is refused like any other text.
        train_counts = cast("Sequence[float] | None", self.train_counts)
        class_names = cast("Sequence[str] | None", self.class_names)
        class_info = ClassInfo.checked(num_classes, train_counts, self.bounds, class_names, self.groups)
        sap = int(self.sap) if isinstance(self.sap, np.integer) else self.sap
        topk = check_topk(() if self.topk is None else self.topk, "topk")
        settings = Settings(
            sap,
            check_seed(self.seed),
            topk,
            class_info.bounds,
            self.absent,
            self.interval,
            class_info.preset,
            class_info.own_partitions,
            calibration=self.calibration,
        )
        return add_thresholds(settings, class_info, num_classes, self.thresholds, allow_same_set=self.allow_same_set)


def add_thresholds(
    settings: Settings, class_info: ClassInfo, num_classes: int, thresholds: Any, *, allow_same_set: bool
) -> tuple[Settings, ClassInfo]:
    """Return the settings and facts of an evaluation that applies thresholds, if there are any.

    Raises:
        ValueError: They are not those of these classes, or the file has none.
        TypeError: They are no numbers.
    """
    if thresholds is None:
        return settings, class_info
    applied = read_thresholds(thresholds, num_classes, class_info.names, allow_same_set=allow_same_set)
    return replace(settings, thresholds=applied.fingerprint), replace(class_info, thresholds=applied)


def read_with_options(
    scores: Any,
    labels: Any,
    chosen: EvalOptions,
    reading: ReadingOptions,
    progress: Progress | None = None,
    *,
    threads: int | None = None,
) -> tuple[Inputs, Settings, ClassInfo]:
    """Read scores and labels, and what the options say of the classes, which may be in files.

    Args:
        scores: See `vltr_eval.evaluate`.
        labels: See there.
        chosen: The options.
        reading: The options of reading.
        progress: Called with the fraction that is read of files.
        threads: CPU threads, if rows are reduced.
    """
    names = chosen.class_names
    inputs = read_inputs(
        scores,
        labels,
        class_names=read_class_names(names) if isinstance(names, (str, os.PathLike)) else names,
        threads=threads,
        progress=progress,
        **vars(reading),
    )
    num_classes = inputs.scores.num_classes
    train_counts: Any = chosen.train_counts
    if isinstance(train_counts, (str, os.PathLike)):
        known = None if inputs.class_names is None else ClassNames.from_names(inputs.class_names)
        train_counts = read_train_counts(train_counts, num_classes, known)
    groups = chosen.groups
    if isinstance(groups, (str, os.PathLike)):
        from vltr_eval.formats.group_files import read_group_file  # not above: few evaluations have such a file

        groups = read_group_file(groups)
    chosen = replace(chosen, train_counts=train_counts, class_names=inputs.class_names, groups=groups)
    settings, class_info = chosen.checked(num_classes)
    return inputs, replace(settings, reduce=reading.reduce), class_info


def share_of_reading(*sides: Any, reduce: str | None = None) -> float:
    """Return the share of a call's time in which it reads scores and labels.

    Arrays in memory and .npy files, which are mapped, take no time unless their rows are reduced.
    """
    if reduce is not None:
        return _OF_REDUCING
    files = [side if isinstance(side, (list, tuple)) else [side] for side in sides if is_spec(side)]
    is_mapped = all(os.fspath(file).endswith(".npy") for part in files for file in part)
    return 0.0 if is_mapped else _OF_READING


_OF_READING = 0.5
_OF_REDUCING = 0.8


def _keywords(function: Callable[..., Any]) -> list[str]:
    """The keyword-only parameters of a function."""
    import inspect  # only for the message of an error

    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
