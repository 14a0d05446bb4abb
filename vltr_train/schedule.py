"""Sentences about a training before it starts: its stages, steps that it never reaches, and splits that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vltr_train.data.dataset import Dataset
from vltr_train.method import Method, Stage, StepDecay

__all__ = ["describe_epoch", "describe_schedule"]


def describe_schedule(method: Method, stages: Sequence[Stage], dataset: Dataset, epochs_done: int) -> list[str]:
    """Describe a training that is about to start or to resume, one sentence a line.

    Args:
        method: The method, whose `Method.notes` are among the sentences.
        stages: All its stages in order.
        dataset: The data set, whose missing splits are named.
        epochs_done: The epochs of all stages together that a resumed training has done.

    Returns:
        The stages with their epochs first; then learning rate steps behind the end of a stage, notes of the method,
        and how a missing split changes the result.
    """
    total = sum(stage.epochs for stage in stages)
    parts = ", ".join(f"{stage.name} {_epochs(stage.epochs)}" for stage in stages)
    sums = f"; {total:,} epochs in all" if len(stages) > 1 else ""
    resumed = f"; resumed after {_epochs(epochs_done)}" if epochs_done else ""
    lines = [f"stages: {parts}{sums}{resumed}"]
    for stage in stages:
        steps = stage.rate.steps if isinstance(stage.rate, StepDecay) else ()
        late = [str(step) for step in steps if step >= stage.epochs]
        if late:
            lines.append(
                f"lr_steps: {', '.join(late)} never reached, because stage {stage.name} ends after "
                f"{_epochs(stage.epochs)}; its lr ends at {stage.rate(stage.epochs - 1):g}"
            )
    lines += method.notes()
    select_on = method.config.select_on
    if dataset.validate is None and select_on == "validate":
        lines.append("no validation split: the weights of the last epoch are used")
    if dataset.test is None:
        report = "the report is on the validation split" if dataset.validate is not None else "there is no report"
        lines.append(f"no test split: {report}")
    return lines


def _epochs(number: int) -> str:
    return f"{number:,} epoch" + "s" * (number != 1)


def describe_epoch(line: dict[str, Any]) -> str:
    """Return the results of an epoch as a line to print."""
    judged = "".join(f", {name} {line[name]:.4f}" for name in ("mAP", "mAP_tail") if name in line)
    return f"epoch {line['epoch']} ({line['stage']}): loss {line['loss']:.5f}{judged}, {line['seconds']:.1f} s"
