"""The predictions of a trained method for a split: logits, and the report on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import vltr_eval.distributed
from vltr_eval import LabelPairs, Report
from vltr_eval._base.ranks import current_group
from vltr_train.context import RunContext
from vltr_train.data.dataset import Dataset, Split, open_dataset
from vltr_train.data.label_lists import LabelList
from vltr_train.data.loader import Loader
from vltr_train.method import Method, Task
from vltr_train.method_source import FoundMethod, check_code, resolve_method
from vltr_train.methods import find_method
from vltr_train.runs.run_folder import RunFolder
from vltr_train.settings import config_from_document

__all__ = [
    "class_average_precision",
    "evaluate_run",
    "load_weights",
    "predict",
    "score",
    "validation_logits",
    "write_report",
]

_TOPK = (1, 5)


@torch.no_grad()
def predict(
    method: Method,
    split: Split,
    context: RunContext | None = None,
    progress: Callable[[float], object] | None = None,
) -> tuple[np.ndarray, Tensor]:
    """Logits of a split, of evenly spaced frames: the rows of this rank (n,) int64, and theirs (n, C) float32 on the
    device. The method is in evaluation mode then. context: default the CPU, and this process alone.
    progress: called with the fraction of this rank's rows that is done.
    """
    config, context = method.config, context or RunContext()
    loader = Loader(split, batch_size=config.batch_size, num_frames=config.test_frames, **context.of_batches)
    method.eval()
    rows, logits = [np.empty(0, np.int64)], [torch.empty(0, split.num_classes, device=context.device)]
    done = 0
    for batch in loader.epoch(0):
        with context.autocast(config.precision):
            logits.append(method.predict(batch.features))
        rows.append(batch.rows.numpy())
        done += len(rows[-1])
        if progress is not None:
            progress(min(1.0, done * context.communicator.size / len(split)))
    return np.concatenate(rows), torch.cat(logits)


def score(method: Method, split: Split, dataset: Dataset, context: RunContext | None = None) -> Report:
    """mAP and Acc@k of a split, over all ranks, without sampled AP: what an epoch is judged by."""
    rows, logits = predict(method, split, context)
    return vltr_eval.distributed.evaluate(
        logits, _pairs(split.labels.select(rows)), sap=None, **_conventions(dataset, method.config.absent)
    )


def class_average_precision(
    method: Method, split: Split | None, dataset: Dataset, context: RunContext | None = None
) -> np.ndarray:
    """AP of each class over all ranks, (C,) float64: NaN where it has no positives, and throughout without a split."""
    if split is None:
        return np.full(dataset.num_classes, np.nan)
    rows, logits = predict(method, split, context)
    found = vltr_eval.distributed.evaluate(logits, _pairs(split.labels.select(rows)), sap=None)
    return np.array(found.classes["AP"])


def validation_logits(
    method: Method, dataset: Dataset, context: RunContext | None = None
) -> tuple[Tensor, np.ndarray] | None:
    """Logits and labels of this rank's rows of the validation split, (n, C) float32 and uint8; None without it."""
    split = dataset.validate
    if split is None:
        return None
    rows, logits = predict(method, split, context)
    return logits, split.labels.select(rows).multi_hot(dtype=np.uint8)


def write_report(
    method: Method,
    split: Split,
    dataset: Dataset,
    folder: RunFolder | None,
    context: RunContext,
    sap: int | str | None = 15,
    progress: Callable[[float], object] | None = None,
) -> Report | None:
    """The full report on a split, on the first rank (None on the others), which writes it into the folder beside the
    predictions and labels. progress: called with the fraction of the predictions that is done.
    """
    communicator = context.communicator
    rows, logits = predict(method, split, context, progress)
    local = (rows, logits.cpu().numpy())
    shares = communicator.all_to_all(lambda: [local if rank == 0 else None for rank in range(communicator.size)])
    if communicator.rank:
        return None
    whole = np.empty((len(split), split.num_classes), np.float32)
    for rows_of_rank, values in shares:
        whole[rows_of_rank] = values
    found = vltr_eval.evaluate(
        whole,
        _pairs(split.labels),
        sap=sap,
        class_names=dataset.class_names,
        **_conventions(dataset, method.config.absent),
    )
    if folder is not None:
        folder.save_predictions(whole, split.labels.multi_hot(dtype=np.uint8))
        folder.save_report(found)
    return found


def evaluate_run(
    run: RunFolder | str | os.PathLike[str],
    dataset: Dataset | str | os.PathLike[str],
    *,
    method: str | type[Method] | None = None,
    split: str = "test",
    sap: int | str | None = 15,
    out: str | os.PathLike[str] | None = None,
    device: torch.device | str | None = None,
    store: str = "auto",
    threads: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> Report | None:
    """Evaluate the selected checkpoint of a run on a split; the run folder is not changed.

    Args:
        run: The run, or its folder.
        dataset: A data set with the classes of the training, or the folder of one.
        method: The class of the run, or "FILE.py:CLASS", if it is from outside the package. Code is never loaded only
            because a run folder names it.
        split: "train", "validate" or "test".
        sap: The number of trials of sampled AP, or "exact"; None leaves it out.
        out: A folder for predictions, labels and report.
        device: Default: a GPU if there is one.
        store: "auto", "host" or "device": see `resident_frames`.
        threads: Threads of the core.
        progress: Called with the fraction of the predictions that is done.

    Returns:
        The report on the first rank, None on the others.

    Raises:
        ValueError: The run, the method, the classes, the split or the weights do not fit, or ``out`` holds a run.

    Example:
        >>> evaluate_run("runs/framestack", "data").metrics()["mAP"]      # doctest: +SKIP
    """
    if out is not None and RunFolder.is_at(out):
        raise ValueError(f"out: expected a folder without a run, whose own report stays, got {str(out)!r}")
    folder = RunFolder.of(run)
    dataset = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    folder.check_classes(dataset.class_names)
    kind = _method_of(folder, method).kind
    config = config_from_document(kind.Config, folder.document["settings"])
    rows = getattr(dataset, split) if split in ("train", "validate", "test") else None
    if rows is None:
        raise ValueError(f"split: expected one that the data set has, got {split!r}")
    context = RunContext.choose(dataset, current_group(), device=device, store=store, threads=threads)
    model = kind(config, Task.of(dataset)).to(context.device)
    load_weights(model, folder.load_checkpoint("best"), folder.checkpoint_file("best"))
    target = None
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
        target = RunFolder(Path(out), {}, [])
    seen = progress if context.communicator.rank == 0 else None
    return write_report(model, rows, dataset, target, context, sap, seen)


def _method_of(folder: RunFolder, method: str | type[Method] | None) -> FoundMethod:
    """The method of a run: by its name if the package has it, else as the caller gives it. A run folder may name a
    file as well, so its own name is one of the package and nothing else.
    """
    recorded = folder.document.get("code")
    name = folder.document["method"]
    if recorded is not None and method is None:
        origin = folder.value("code", "origin")
        raise ValueError(
            f"{folder.path}: expected method= (--method FILE.py:{name}), because {name} is no method of the package; "
            f"it was in {origin}, and code is never loaded only because a run folder names it"
        )
    found = FoundMethod(find_method(name), name, None, None) if method is None else resolve_method(method)
    check_code(found, recorded, str(folder.path))
    if recorded is None and found.name != name:
        raise ValueError(f"{folder.path}: expected the method {name} of the run, got {found.name}")
    return found


def load_weights(method: Method, state: Mapping[str, Any], file: Path) -> None:
    """Give a method the weights of a checkpoint that is of this file. Raises ValueError that names the first weight
    that does not fit.
    """
    weights = state.get("method")
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(f"{file}: expected the weights of a method under the key 'method', got none")
    for name, value in method.state_dict().items():
        there = tuple(weights[name].shape) if name in weights else "none"
        if there != tuple(value.shape):
            raise ValueError(
                f"{file}: expected {name} of shape {tuple(value.shape)}, for these data and this version, got {there}"
            )
    method.load_state_dict(weights)


def _pairs(labels: LabelList) -> LabelPairs:
    return LabelPairs(len(labels), labels.num_classes, labels.rows, labels.classes)


def _conventions(dataset: Dataset, absent: str) -> dict[str, Any]:
    return {
        "topk": [k for k in _TOPK if k <= dataset.num_classes],
        "absent": absent,
        "train_counts": dataset.train_counts,
        "bounds": dataset.bounds,
    }
