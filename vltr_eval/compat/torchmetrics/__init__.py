"""Drop-in for torchmetrics: AP and AUROC of all tasks, multiclass accuracy, sampled AP, running AP and whole reports.

Arguments, inputs, states, shapes, dtypes and numbers are those of torchmetrics 1.9; classes are subclasses of the
installed torchmetrics', so that collections, Lightning, `state_dict` and checkpoints take one for the other. The
deliberate differences:

- `compute` counts in the list of batches as it is, without joining or sorting it.
- Under torch.distributed `compute` exchanges the scores of positives and sums counts; other scores stay where they are.
  `sync` and `sync_context`, a ``dist_sync_fn``, and ``thresholds`` of the multilabel metrics go torchmetrics' own way.
- Cells of ``ignore_index`` are unknown labels: each label leaves its own out. A label whose cells are all ignored has
  no positives, where torchmetrics raises an IndexError (Lightning-AI/torchmetrics#2685).
- `forward` copies no batch that came before, so that a step costs the same all through an epoch.
- A NaN score is a ValueError that names row and class. One warning says how many labels have no AP or AUROC.
- ``squash=False`` ranks scores as they are. By default, as torchmetrics does, a sigmoid is applied to each batch with a
  value outside 0 to 1, so that the batch size may matter and large logits may tie.

`AveragePrecision`, `AUROC` and `Accuracy` choose a class by ``task``, and `average_precision`, `auroc` and `accuracy` a
function. The numbers are native for AP and AUROC of every task and for multiclass accuracy. torchmetrics' own class
does the rest: binary and multilabel accuracy, ``thresholds``, and ``max_fpr``.

The tasks differ in one convention, as in torchmetrics. A class without positives has AP 0 and counts in multilabel
averages. It is NaN and left out of multiclass ones, unless every target is class 0.

Functions need torch, classes torchmetrics as well: 1.9, or one with the same numbers (1.0 leaves labels without
positives out of macro averages).
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("vltr_eval.compat.torchmetrics needs torch: pip install torch") from error

from vltr_eval.compat.torchmetrics.binary import (
    BinaryAUROC,
    BinaryAveragePrecision,
    binary_auroc,
    binary_average_precision,
)
from vltr_eval.compat.torchmetrics.class_accuracy import MulticlassAccuracy, multiclass_accuracy
from vltr_eval.compat.torchmetrics.long_tail import LongTailMetrics
from vltr_eval.compat.torchmetrics.multiclass import (
    MulticlassAUROC,
    MulticlassAveragePrecision,
    multiclass_auroc,
    multiclass_average_precision,
)
from vltr_eval.compat.torchmetrics.multilabel import (
    MultilabelAUROC,
    MultilabelAveragePrecision,
    SampledAveragePrecision,
    multilabel_auroc,
    multilabel_average_precision,
)
from vltr_eval.compat.torchmetrics.running import RunningAveragePrecision
from vltr_eval.compat.torchmetrics.tasks import AUROC, Accuracy, AveragePrecision, accuracy, auroc, average_precision

__all__ = [
    "AUROC",
    "Accuracy",
    "AveragePrecision",
    "BinaryAUROC",
    "BinaryAveragePrecision",
    "LongTailMetrics",
    "MulticlassAUROC",
    "MulticlassAccuracy",
    "MulticlassAveragePrecision",
    "MultilabelAUROC",
    "MultilabelAveragePrecision",
    "RunningAveragePrecision",
    "SampledAveragePrecision",
    "accuracy",
    "auroc",
    "average_precision",
    "binary_auroc",
    "binary_average_precision",
    "multiclass_accuracy",
    "multiclass_auroc",
    "multiclass_average_precision",
    "multilabel_auroc",
    "multilabel_average_precision",
]
