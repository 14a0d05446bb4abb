"""The functions and classes that have a drop-in: where they are, and the versions with which they were tested.

A library is an installed package. Its functions are known by the module that defines them, and replaced for tested
versions only. A copy is a function that people paste into their own repositories. It is known by its name and by the
fingerprint of its code, so that a changed copy stays as it is. `tools/fingerprint_copies.py` computes the fingerprints
from the public files that the table cites.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["LIBRARIES", "Known", "Library", "Source", "libraries_of"]


@dataclass(frozen=True)
class Source:
    """A public file with the code of a copy: a GitHub repository, a commit and a path, and the fingerprint."""

    repository: str
    commit: str
    path: str
    fingerprint: str


@dataclass(frozen=True)
class Known:
    """A function or class that has a drop-in."""

    name: str
    drop_in: str
    """Module and name below vltr_eval.compat, as "sklearn:roc_auc_score"."""
    home: str = ""
    """The module that defines it; empty for a copy, which may be anywhere."""
    sources: tuple[Source, ...] = ()
    """The public files whose code counts as this function."""
    helpers: tuple[str, ...] = ()
    """Functions of the same file that belong to its code."""
    feeds: tuple[str, ...] = ()
    """Methods of a class that take a batch."""
    results: tuple[str, ...] = ()
    """Methods of a class that compute."""
    silenced: tuple[str, ...] = ()
    """Globals through which the original writes; an estimate of its time does without them."""
    timed: bool = True
    """Whether the original may run once more for an estimate of its time."""

    @property
    def fingerprints(self) -> frozenset[str]:
        return frozenset(source.fingerprint for source in self.sources)


@dataclass(frozen=True)
class Library:
    """The known functions of one package, or of one family of copies."""

    name: str
    functions: tuple[Known, ...]
    distribution: str = ""
    """The name on the package index; empty for copies."""
    package: str = ""
    """The module whose import completes the home modules."""
    tested: tuple[str, str] = ("", "")
    """The first tested version, and the first one after the tested versions."""
    registries: tuple[str, ...] = ()
    """Dictionaries and scorers that hold functions: "module:name", or "module:name.*" for the objects in it."""


def _functions(home: str, module: str, names: Sequence[str]) -> tuple[Known, ...]:
    return tuple(Known(name, f"{module}:{name}", home) for name in names)


def _metrics(home: str, module: str, names: Sequence[str]) -> tuple[Known, ...]:
    """Classes with `update` and `compute`."""
    return tuple(
        Known(name, f"{module}:{name}", home, feeds=("update",), results=("compute",), timed=True) for name in names
    )


_SKLEARN = Library(
    "sklearn",
    (
        *_functions(
            "sklearn.metrics._ranking",
            "sklearn",
            (
                "average_precision_score",
                "label_ranking_average_precision_score",
                "precision_recall_curve",
                "roc_auc_score",
                "roc_curve",
                "top_k_accuracy_score",
            ),
        ),
    ),
    distribution="scikit-learn",
    package="sklearn.metrics",
    tested=("1.6", "1.10"),
    registries=("sklearn.metrics._scorer:_SCORERS.*",),
)

_TORCHMETRICS = Library(
    "torchmetrics",
    (
        *_metrics("torchmetrics.classification.average_precision", "torchmetrics", ("MultilabelAveragePrecision",)),
        *_metrics("torchmetrics.classification.auroc", "torchmetrics", ("MultilabelAUROC",)),
        *_metrics("torchmetrics.classification.accuracy", "torchmetrics", ("MulticlassAccuracy",)),
        *_functions(
            "torchmetrics.functional.classification.average_precision",
            "torchmetrics",
            ("multilabel_average_precision",),
        ),
        *_functions("torchmetrics.functional.classification.auroc", "torchmetrics", ("multilabel_auroc",)),
        *_functions("torchmetrics.functional.classification.accuracy", "torchmetrics", ("multiclass_accuracy",)),
    ),
    distribution="torchmetrics",
    package="torchmetrics",
    tested=("1.4", "1.10"),
)

_TORCHEVAL = Library(
    "torcheval",
    (
        *_metrics("torcheval.metrics.classification.auprc", "torcheval", ("MultilabelAUPRC",)),
        *_functions("torcheval.metrics.functional.classification.auprc", "torcheval", ("multilabel_auprc",)),
    ),
    distribution="torcheval",
    package="torcheval.metrics",
    tested=("0.0.7", "0.0.8"),
)

LIBRARIES: tuple[Library, ...] = (_SKLEARN, _TORCHMETRICS, _TORCHEVAL)


def libraries_of(names: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the names of libraries that ``only`` selects; all for None.

    Example:
        >>> libraries_of("sklearn,torcheval")
        ('sklearn', 'torcheval')
    """
    known = tuple(library.name for library in LIBRARIES)
    if names is None:
        return known
    words = [word.strip() for text in ([names] if isinstance(names, str) else names) for word in text.split(",")]
    unknown = sorted(set(words) - set(known))
    if unknown or not words:
        raise ValueError(f"only: expected some of {', '.join(known)}, got {', '.join(unknown) or 'none'}")
    return tuple(name for name in known if name in words)
