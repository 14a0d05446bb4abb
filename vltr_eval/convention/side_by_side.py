"""Every published convention of average precision on one input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vltr_eval._base.progress import part_of
from vltr_eval._engine.inputs import Inputs, read_inputs

if TYPE_CHECKING:
    from vltr_eval.convention.convention_value import ConventionValue
    from vltr_eval.convention.measures import Measures
    from vltr_eval.convention.result import Conventions

__all__ = ["conventions", "conventions_of"]

_LOGIT_OF_ONE = 24 * float(np.log(2.0))
"""From here on the sigmoid is 1 in float32."""

_LOGIT_OF_ZERO = -88.73
"""Below, it is 0 in float32."""

# The conventions whose value under other number formats is compared.
_OF_FORMATS = ("step-joined-zero", "step-joined-left-out")
_OF_SIGMOID = (*_OF_FORMATS, "step-rows-zero")


def conventions(
    scores: Any,
    labels: Any,
    *,
    find: Any = None,
    top_k: int = 20,
    sap: int = 15,
    class_names: Sequence[str] | None = None,
    mask: Any = None,
    unknown: Any = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    **reading: Any,
) -> Conventions:
    """Compute the mean average precision under every published convention, to answer "which mAP is this?".

    Each value has its definition, what it does with absent classes, ties and logits, and the code that uses it. An
    original that leaves equal scores to an unstable sort has an interval.

    Args:
        scores: (N, C) array, data frame or path; see `vltr_eval.evaluate`.
        labels: Labels of the rows; see there.
        find: A printed number such as "0.372", "37.2" or "37.20 %", or several: `Conventions.found` names the
            conventions that equal it within its digits.
        top_k: The best cells of each row that the metrics of YouTube-8M keep.
        sap: Trials of sampled AP.
        class_names: The names and the order of the classes, for files with names; see `vltr_eval.evaluate`.
        mask: Which labels are known; see `vltr_eval.evaluate`. Unknown cells are left out of every convention, also of
            those whose original has no such cells.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.
        progress: Called with the fraction done.
        **reading: Options of reading files: ``ids``, ``label_ids``, ``columns``, ``exclude``, ``header``,
            ``label_form``, ``join`` and ``reduce``; see `vltr_eval.evaluate`.

    Returns:
        The values.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, shapes that do not fit, no positives, or a ``find`` that is no
            number; the message says which.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> result = conventions(np.float32([[.9, .1], [.8, .2], [.7, .3]]), np.uint8([[1, 0], [0, 0], [1, 0]]))
        >>> result["step-joined-zero"].value, result["step-joined-left-out"].value
        (0.41666666666666663, 0.8333333333333333)
        >>> result.find("41.7").keys[:2]
        ('step-joined-zero', 'step-joined-zero-sigmoid')
    """
    numbers = _checked_numbers(find)
    inputs = read_inputs(
        scores,
        labels,
        class_names=class_names,
        mask=mask,
        unknown=unknown,
        threads=threads,
        progress=part_of(progress, 0.0, 0.1),
        **reading,
    )
    share = part_of(progress, 0.1, 1.0)
    return conventions_of(inputs, find=numbers, top_k=top_k, sap=sap, threads=threads, progress=share)


def conventions_of(
    inputs: Inputs,
    *,
    find: Sequence[Any] = (),
    top_k: int = 20,
    sap: int = 15,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Conventions:
    """Compute the conventions of inputs that were read. See `conventions`."""
    from vltr_eval._base.arguments import check_trials  # this and the next not above: other programs do not need them
    from vltr_eval.convention.convention_value import ConventionValue
    from vltr_eval.convention.definitions import CONVENTIONS
    from vltr_eval.convention.measures import Measures
    from vltr_eval.convention.result import Conventions

    if isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)) or top_k < 1:
        raise ValueError(f"top_k: expected a whole number from 1, got {top_k!r}")
    positives = inputs.positives(threads=threads)
    if not len(positives.rows):
        raise ValueError("labels: no positives in any class, so no metric is defined")
    measures = Measures(inputs.scores, positives, top_k=int(top_k), trials=check_trials(sap), threads=threads)
    facts = _facts(measures)
    values = []
    for number, convention in enumerate(CONVENTIONS):
        values.append(ConventionValue(convention, *convention.measure(measures)))
        if progress is not None:
            progress(0.8 * (number + 1) / len(CONVENTIONS))
    variants, notes = _other_formats(measures, values)
    notes = [*inputs.notes, *notes]
    result = Conventions((*values, *variants), facts, tuple(notes), (), _class_values(measures), positives.counts)
    if progress is not None:
        progress(1.0)
    return result.with_found(*find)


def _checked_numbers(find: Any) -> tuple[Any, ...]:
    """The numbers to find, checked before the work."""
    if find is None:
        return ()
    from vltr_eval.convention.printed import read_number

    numbers = tuple(find) if isinstance(find, (list, tuple)) else (find,)
    for number in numbers:
        read_number(number)
    return numbers


def _facts(m: Measures) -> dict[str, Any]:
    table, positives = m.raw.table, m.positives
    low, high = (_LOGIT_OF_ZERO, _LOGIT_OF_ONE) if m.is_outside else (0.0, 1.0)
    unknown = 0 if positives.unknown is None else int(positives.unknown.counts.sum())
    return {
        "rows": m.matrix.num_rows,
        "classes": m.num_classes,
        "labels": len(positives.rows),
        "absent_classes": len(m.absent),
        "full_classes": len(m.full),
        "unlabelled_rows": len(m.unlabelled),
        "unknown_cells": unknown,
        "tied_positives": int(table.tied_positives().sum()),
        "saturated": m.num_beyond(low, high),
        "outside": m.is_outside,
        "dtype": m.matrix.dtype,
        "top_k": m.top_k,
    }


def _other_formats(m: Measures, values: Sequence[ConventionValue]) -> tuple[list[ConventionValue], list[str]]:
    """Values of scores that are rounded first, where they differ, and a sentence about those that do not."""
    from vltr_eval.convention.convention_value import ConventionValue

    by_key = {value.key: value for value in values}
    found, same = [], []
    for name in m.formats:
        changed = False
        other = m.rounded(name)
        for key in _OF_SIGMOID if name == "sigmoid" else _OF_FORMATS:
            base = by_key[key]
            outcome = base.convention.measure(other)
            differs = max(abs(outcome.low - base.low), abs(outcome.high - base.high)) > 1e-12
            if differs and not outcome.why:
                found.append(ConventionValue(base.convention, *outcome, variant=name))
                changed = True
        if not changed:
            same.append(name)
    return found, [f"step AP is the same after rounding to {', '.join(same)}"] if same else []


def _class_values(m: Measures) -> dict[str, np.ndarray]:
    """The values of each class that `find` averages by other rules."""
    orders = {"threshold": "ties joined", "worst": "negatives first", "best": "positives first"}
    rows = {"rows": "row order", "reversed": "reversed row order"}
    found = {f"step AP, {words}": m.raw.step(order) for order, words in (orders | rows).items()}
    if m.is_outside:
        found |= {f"step AP after a sigmoid, {words}": m.squashed.step(order) for order, words in orders.items()}
    found |= {f"envelope AP, {words}": m.raw.envelope(order) for order, words in orders.items()}
    return found
