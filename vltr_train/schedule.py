"""Sentences about a training before it starts: its stages, steps that it never reaches, and splits that are missing."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import torch

from vltr_train.data.dataset import Dataset
from vltr_train.method import Method, Stage, StepDecay

__all__ = ["describe_epoch", "describe_precision", "describe_schedule"]


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


def describe_precision(precision: str, device: torch.device) -> list[str]:
    """Return a sentence if a CPU computes a 16-bit precision without instructions for it, which is slow.

    Args:
        precision: "float32", "bfloat16" or "float16".
        device: The device of the training.
    """
    instructions = {
        "bfloat16": ("_is_avx512_bf16_supported", "_is_amx_tile_supported"),
        "float16": ("_is_amx_fp16_supported",),
    }
    checks = [getattr(torch.cpu, name, None) for name in instructions.get(precision, ())]
    known = [check for check in checks if check is not None]  # an older torch has fewer of them
    # Another architecture has other instructions.
    if device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64") or len(known) < len(checks):
        return []
    if not known or any(check() for check in known):
        return []
    return [f"precision: this CPU has no instructions for {precision}, so it may be slower than float32"]
