"""The evaluation of PANNs: ``Evaluator``, ``forward`` and ``d_prime``.

    from vltr_eval.compat.panns import Evaluator                       # was: from evaluate import Evaluator

The originals are pytorch/evaluate.py, pytorch/pytorch_utils.py and utils/utilities.py of
qiuqiangkong/audioset_tagging_cnn (d2f4b8c1). Results are those of scikit-learn, which the original calls: a class
without positives has AP 0 and AUC NaN.

Most repositories of this field have their own copy of the loop, with other models and other keys, and call
``metrics.average_precision_score`` and ``metrics.roc_auc_score`` in it: GL-AT, the ConvNeXt of topel, PaSST and
EfficientAT among them. There one line switches:

    from vltr_eval.compat import sklearn as metrics                    # was: from sklearn import metrics

Two differences are deliberate. The warnings of undefined results come once a call, not once a class. ``evaluate`` keeps
the scores and labels of the clips alone, not the outputs of segments and frames, which it does not use.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vltr_eval.compat.ast import d_prime
from vltr_eval.compat.sklearn import average_precision_score, roc_auc_score

__all__ = ["Evaluator", "d_prime", "forward"]

_TIMED_BATCHES = 10  # between two lines about the time


class Evaluator:
    """Run a model on a data set and compute the metrics of each class, as evaluate.Evaluator.

    Args:
        model: A torch module that takes waveforms and returns a dictionary with ``clipwise_output`` (B, C).
        generator: The batches, for code of before 2020, which gives them here and calls ``evaluate()``.

    Example:
        >>> import torch
        >>> class Model(torch.nn.Linear):
        ...     def forward(self, waveform):
        ...         return {"clipwise_output": waveform}
        >>> batch = {"audio_name": ["a", "b"], "waveform": np.float32([[.9, .2], [.4, .3]]), "target": np.eye(2)}
        >>> statistics = Evaluator(Model(1, 1)).evaluate([batch])  # doctest: +ELLIPSIS
        0
         --- Inference time: ... s / 10 iterations ---
        >>> statistics["average_precision"], statistics["auc"]
        (array([1., 1.]), array([1., 1.]))
    """

    def __init__(self, model: Any, generator: Iterable[Mapping[str, Any]] | None = None) -> None:
        self.model = model
        self.generator = generator

    def evaluate(self, data_loader: Iterable[Mapping[str, Any]] | None = None) -> dict[str, Any]:
        """Return ``average_precision`` and ``auc``, each (C,) float64, or a float for one class.

        Args:
            data_loader: Batches with ``audio_name``, ``waveform`` and ``target`` (B, C).
        """
        if data_loader is None:
            data_loader = self.generator
        if data_loader is None:
            raise TypeError("data_loader: expected batches here or as generator= of the Evaluator, got None")
        outputs = _collect(self.model, data_loader, ("clipwise_output", "target"))
        target, scores = outputs["target"], outputs["clipwise_output"]
        return {
            "average_precision": average_precision_score(target, scores, average=None),
            "auc": roc_auc_score(target, scores, average=None),
        }


def forward(
    model: Any, generator: Iterable[Mapping[str, Any]], return_input: bool = False, return_target: bool = False
) -> dict[str, np.ndarray]:
    """Run a model on batches and return its outputs as arrays, as pytorch_utils.forward.

    It prints the number of each batch, and the time of every 10 batches.

    Args:
        model: See `Evaluator`.
        generator: See `Evaluator.evaluate`.
        return_input: Return ``waveform`` as well.
        return_target: Return ``target`` as well, where the batches have it.

    Returns:
        ``audio_name``, ``clipwise_output`` and, where the model returns them, ``segmentwise_output`` and
        ``framewise_output``, with the rows of all batches.

    Example:
        >>> import torch
        >>> class Model(torch.nn.Linear):
        ...     def forward(self, waveform):
        ...         return {"clipwise_output": waveform}
        >>> batch = {"audio_name": ["a", "b"], "waveform": np.float32([[.9, .2], [.4, .3]])}
        >>> forward(Model(1, 1), [batch])["audio_name"].tolist()  # doctest: +ELLIPSIS
        0
         --- Inference time: ... s / 10 iterations ---
        ['a', 'b']
    """
    wanted = ("audio_name", "clipwise_output", "segmentwise_output", "framewise_output")
    extra = (*(("waveform",) if return_input else ()), *(("target",) if return_target else ()))
    return _collect(model, generator, wanted + extra)


def _collect(model: Any, generator: Iterable[Mapping[str, Any]], wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The outputs of a model, and the entries of its batches, that are wanted: with the rows of all batches."""
    import torch

    device = next(model.parameters()).device
    found: dict[str, list[Any]] = {}
    start = time.time()
    for number, batch in enumerate(generator):
        sys.stdout.write(f"{number}\n")
        waveform = _to_device(batch["waveform"], device)
        with torch.no_grad():
            model.eval()
            outputs = model(waveform)
        values = {"audio_name": batch["audio_name"], "clipwise_output": outputs["clipwise_output"]}
        values |= {key: outputs[key] for key in ("segmentwise_output", "framewise_output") if key in outputs}
        values |= {key: batch[key] for key in ("waveform", "target") if key in batch}
        for key in wanted:
            if key in values:
                value = values[key].detach().cpu().numpy() if key.endswith("_output") else values[key]
                found.setdefault(key, []).append(value)
        if number % _TIMED_BATCHES == 0:
            sys.stdout.write(f" --- Inference time: {time.time() - start:.3f} s / 10 iterations ---\n")
            start = time.time()
    return {key: np.concatenate(parts, axis=0) for key, parts in found.items()}


def _to_device(values: Any, device: Any) -> Any:
    """The input of a model: float32 or int64 tensors on its device, and other values as they are."""
    import torch

    kinds = {"float": np.float32, "int": np.int64}
    dtype = next((dtype for kind, dtype in kinds.items() if kind in str(values.dtype)), None)
    if dtype is None:
        return values
    # A copy, because a model may write to its input. numpy makes it faster than torch, which wakes its threads.
    host = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
    return torch.from_numpy(np.array(host, dtype=dtype)).to(device)
