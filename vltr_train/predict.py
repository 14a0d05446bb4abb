"""What a trained method says of a split: logits, and the report on them."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import vltr_eval.distributed
from vltr_eval.exchange import Alone, Group, current_group
from vltr_eval.labels import LabelPairs
from vltr_eval.report import Report
from vltr_train.dataset import Dataset, Split
from vltr_train.label_lists import LabelList
from vltr_train.loader import Loader, resident_frames
from vltr_train.method import Method, Task, find_method
from vltr_train.run_folder import RunFolder
from vltr_train.settings import config_from_document

__all__ = ["autocast", "choose_device", "evaluate_run", "predict", "score", "write_report"]

_TOPK = (1, 5)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The context of a forward pass in "float32", "bfloat16" or "float16"."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


@torch.no_grad()
def predict(
    method: Method,
    split: Split,
    *,
    device: torch.device | str = "cpu",
    resident: Tensor | None = None,
    threads: int | None = None,
    exchange: Alone | Group | None = None,
) -> tuple[np.ndarray, Tensor]:
    """Logits of a split, of evenly spaced frames: the rows of this rank (n,) int64, and theirs (n, C) float32 on the
    device. The method is in evaluation mode then.
    """
    exchange = exchange or current_group()
    config, device = method.config, torch.device(device)
    loader = Loader(
        split,
        batch_size=config.batch_size,
        num_frames=config.test_frames,
        device=device,
        rank=exchange.rank,
        size=exchange.size,
        resident=resident,
        threads=threads,
    )
    method.eval()
    rows, logits = [np.empty(0, np.int64)], []
    for batch in loader.epoch(0):
        with autocast(device, config.precision):
            logits.append(method.predict(batch.features))
        rows.append(batch.rows.numpy())
    return np.concatenate(rows), torch.cat(logits) if logits else torch.empty(0, split.num_classes, device=device)


def score(method: Method, split: Split, dataset: Dataset, **how: Any) -> Report:
    """mAP and Acc@k of a split, over all ranks, without sampled AP: what an epoch is judged by. how: of `predict`."""
    rows, logits = predict(method, split, **how)
    return vltr_eval.distributed.evaluate(
        logits, _pairs(split.labels.only(rows)), sap=None, **_conventions(dataset, method.config.absent)
    )


def write_report(
    method: Method,
    split: Split,
    dataset: Dataset,
    folder: RunFolder | None,
    *,
    sap: int | str | None = 15,
    exchange: Alone | Group | None = None,
    **where: Any,
) -> Report | None:
    """The full report on a split, on the first rank (None on the others), which writes it into the folder beside the
    predictions and labels. where: device, resident, threads of `predict`.
    """
    exchange = exchange or current_group()
    rows, logits = predict(method, split, exchange=exchange, **where)
    own = (rows, logits.cpu().numpy())
    shares = exchange.scatter(lambda: [own if rank == 0 else None for rank in range(exchange.size)])
    if exchange.rank:
        return None
    whole = np.empty((len(split), split.num_classes), np.float32)
    for places, values in shares:
        whole[places] = values
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
    run: str | os.PathLike[str],
    dataset: Dataset,
    *,
    split: str = "test",
    sap: int | str | None = 15,
    out: str | os.PathLike[str] | None = None,
    device: torch.device | str | None = None,
    store: str = "auto",
    threads: int | None = None,
) -> Report | None:
    """The report on a split of the checkpoint that a run has selected, on the first rank. out: a folder for the
    predictions, labels and report; the run itself is left as it is.
    """
    folder = RunFolder.open(run)
    kind = find_method(folder.document["method"])
    config = config_from_document(kind.Config, folder.document["settings"])
    rows = getattr(dataset, split)
    if rows is None:
        raise ValueError(f"split: expected one that the data set has, got {split!r}")
    place = choose_device(device)
    method = kind(config, Task(dataset.num_classes, dataset.dim, dataset.train_counts, dataset.bounds))
    state = folder.load_checkpoint("best")["method"]
    for name, value in method.state_dict().items():
        if name not in state or state[name].shape != value.shape:
            raise ValueError(
                f"{run}: expected a run on {dataset.num_classes} classes of {dataset.dim} features as the data"
            )
    method.load_state_dict(state)
    target = None
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
        target = RunFolder(Path(out), {}, [])
    resident = resident_frames(dataset.frames, place, store)
    return write_report(
        method.to(place), rows, dataset, target, sap=sap, device=place, resident=resident, threads=threads
    )


def choose_device(device: torch.device | str | None) -> torch.device:
    """The device of this name, of which "cuda" is this process's GPU; by default that, where there is one.

    A GPU becomes the current one, as nccl and page-locked memory want it.
    Raises ValueError for what is no device, or not there.
    """
    try:
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise ValueError(f"device: expected cpu, cuda or cuda:N, got {device!r}") from None
    if place.type != "cuda":
        return place
    index = int(os.environ.get("LOCAL_RANK", 0)) if place.index is None else place.index
    if index >= torch.cuda.device_count():
        raise ValueError(f"device: expected one of the {torch.cuda.device_count()} GPUs here, got cuda:{index}")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def _pairs(labels: LabelList) -> LabelPairs:
    rows = np.repeat(np.arange(len(labels)), np.diff(labels.offsets))
    return LabelPairs(len(labels), labels.num_classes, rows, labels.classes)


def _conventions(dataset: Dataset, absent: str) -> dict[str, Any]:
    return {
        "topk": [k for k in _TOPK if k <= dataset.num_classes],
        "absent": absent,
        "train_counts": dataset.train_counts,
        "bounds": dataset.bounds,
    }
