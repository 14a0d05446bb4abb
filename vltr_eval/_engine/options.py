"""The options of an evaluation: their names, types, defaults and meaning."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypedDict, cast

import numpy as np

from vltr_eval._base.arguments import check_seed, unknown_keyword
from vltr_eval._base.groups import DEFAULT_BOUNDS
from vltr_eval._base.progress import Progress
from vltr_eval._engine.hits import check_topk
from vltr_eval._engine.inputs import Inputs, read_inputs
from vltr_eval._engine.results import ClassInfo
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
    bounds: tuple[float, float]
    class_names: Sequence[str] | str | os.PathLike[str] | None
    absent: str
    interval: float | None


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
        bounds: (high, low). Head classes have more than high training samples, tail classes at most low.
        class_names: C names, in class order. `evaluate` also takes a file of them. Files and data frames with named
            columns are matched to these names.
        absent: "nan" leaves classes without positives out of every mean. "zero" counts their AP and SAP as 0, as the
            published VideoLT code does.
        interval: Level of the intervals to report, such as 0.95; None for none. It adds a pass over the scores. See
            "Intervals" in docs/evaluate.md.

    Example:
        >>> EvalOptions().topk, EvalOptions(topk=(1,)).sap
        ((1, 5), 15)
    """

    sap: int | str | None = 15
    seed: int = 0
    topk: Iterable[int] | None = (1, 5)
    train_counts: Sequence[float] | Mapping[str, float] | np.ndarray | str | os.PathLike[str] | None = None
    bounds: tuple[float, float] = DEFAULT_BOUNDS
    class_names: Sequence[str] | str | os.PathLike[str] | None = None
    absent: str = "nan"
    interval: float | None = None

    @classmethod
    def from_keywords(cls, options: Mapping[str, Any], function: Callable[..., Any]) -> EvalOptions:
        """Return the options that came as keyword arguments of a function.

        Raises:
            TypeError: A name is no option; the message has the nearest keyword of the function. Only
                `vltr_eval.evaluate` takes clusters.
        """
        known = [option.name for option in fields(cls)]
        for name in options:
            if name == "clusters":
                raise TypeError(
                    "clusters: expected vltr_eval.evaluate, which has the rows of a cluster in one process, "
                    f"got {function.__qualname__}"
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
        class_info = ClassInfo.checked(num_classes, train_counts, self.bounds, class_names)
        sap = int(self.sap) if isinstance(self.sap, np.integer) else self.sap
        topk = check_topk(() if self.topk is None else self.topk, "topk")
        settings = Settings(sap, check_seed(self.seed), topk, class_info.bounds, self.absent, self.interval)
        return settings, class_info


def read_with_options(
    scores: Any, labels: Any, chosen: EvalOptions, reading: Mapping[str, Any], progress: Progress | None = None
) -> tuple[Inputs, Settings, ClassInfo]:
    """Read scores and labels, and what the options say of the classes, which may be in files.

    Args:
        scores: See `vltr_eval.evaluate`.
        labels: See there.
        chosen: The options.
        reading: The keywords of `read_inputs` but ``class_names``.
        progress: Called with the fraction that is read of files.
    """
    names = chosen.class_names
    inputs = read_inputs(
        scores,
        labels,
        class_names=read_class_names(names) if isinstance(names, (str, os.PathLike)) else names,
        progress=progress,
        **reading,
    )
    num_classes = inputs.scores.num_classes
    train_counts: Any = chosen.train_counts
    if isinstance(train_counts, (str, os.PathLike)):
        known = None if inputs.class_names is None else ClassNames.from_names(inputs.class_names)
        train_counts = read_train_counts(train_counts, num_classes, known)
    chosen = replace(chosen, train_counts=train_counts, class_names=inputs.class_names)
    return inputs, *chosen.checked(num_classes)


def share_of_reading(*sides: Any) -> float:
    """Return the share of a call's time in which it reads scores and labels.

    Arrays in memory and .npy files, which are mapped, take no time.
    """
    files = [side if isinstance(side, (list, tuple)) else [side] for side in sides if is_spec(side)]
    is_mapped = all(os.fspath(file).endswith(".npy") for part in files for file in part)
    return 0.0 if is_mapped else _OF_READING


_OF_READING = 0.5


def _keywords(function: Callable[..., Any]) -> list[str]:
    """The keyword-only parameters of a function."""
    import inspect  # only for the message of an error

    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
