"""The multi-label mAP and the test meter of SlowFast (slowfast/utils/meters.py) under their own names.

    from vltr_eval.compat.slowfast import TestMeter, get_map      # was: from slowfast.utils.meters import

The numbers are those of facebookresearch/SlowFast at commit 287ec007, with their quirks:

- `get_map` leaves out classes whose labels are all 0, and takes the mean AP of the others. Equal scores are one
  threshold. A ValueError of scikit-learn is not raised: a NaN or infinite score in a class that counts, labels other
  than 0/1, or no class with positives prints a line, and the result is 0.0.
- Rows without labels keep their scores. The official Charades script ranks them last, so its mAP is another number.
- `TestMeter` adds the clips of a video in float32, in the order in which they come. With ``multi_label=True`` its
  scores start at -1e10, and adding a score to that changes nothing: with ``ensemble_method="sum"``, the default, all
  scores of a class stay equal and the mAP says nothing. Use ``ensemble_method="max"`` there, as SlowFast's Charades
  configurations do, or `vltr_eval.reduce_rows`.
- A number in ``stats`` is text with two decimals, in percent.

Different on purpose: text is logged under this module's name, and `TestMeter` copies clips of a CUDA device to CPU
memory. `get_map` needs numpy alone, and scikit-learn for labels that only scikit-learn can read. `TestMeter` needs
torch. `evaluate_ava` and `run_evaluation` of SlowFast's AVA evaluation are in `vltr_eval.compat.ava.slowfast`, and can
be imported from here.
"""

from __future__ import annotations

import datetime
import importlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vltr_eval.compat.sklearn import average_precision_score
from vltr_eval.metrics.rank_metrics import average_precision

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TestMeter", "get_map"]

_OF_AVA = ("evaluate_ava", "run_evaluation")
_logger = logging.getLogger(__name__)


def __getattr__(name: str) -> Any:
    if name in _OF_AVA:
        return getattr(importlib.import_module("vltr_eval.compat.ava.slowfast"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_map(preds: Any, labels: Any) -> np.float64:
    """Mean AP over the classes that have positives, as slowfast.utils.meters.get_map.

    Args:
        preds: (N, C) array of scores.
        labels: (N, C) array of 0/1.

    Returns:
        A float64 of numpy, between 0 and 1. 0.0 after a printed line if scikit-learn would raise a ValueError; see the
        top of this module.

    Example:
        >>> get_map(np.array([[.9, .1], [.8, .2], [.7, .3]]), np.array([[1, 0], [0, 0], [1, 0]])).round(4)
        np.float64(0.8333)
    """
    _logger.info(f"Getting mAP for {preds.shape[0]} examples")
    values = _present_average_precision(preds, labels)
    if values is None:
        present = ~np.all(labels == 0, axis=0)
        # scikit-learn reads the values under a mask; ours raises an error there, which would become 0.0
        preds, labels = (
            np.ma.getdata(part) if isinstance(part, np.ma.MaskedArray) else part
            for part in (preds[:, present], labels[:, present])
        )
        values = np.zeros(1)
        try:
            values = np.asarray(average_precision_score(labels, preds, average=None))
        except ValueError:
            text = f"Average precision requires a sufficient number of samples{'in a batch':>23}"
            print(f"{text} which are missing in this sample.")  # noqa: T201  # as the original
    mean: np.float64 = np.float64(np.mean(values))
    return mean


def _present_average_precision(preds: Any, labels: Any) -> np.ndarray | None:
    """AP of the classes with positives. None for values that the original's way must judge, without these classes."""
    if type(preds) is not np.ndarray or type(labels) is not np.ndarray or preds.ndim != 2:
        return None
    if preds.shape != labels.shape or preds.dtype.kind not in "fiub":
        return None
    try:
        values = average_precision(preds, labels)
    except (TypeError, ValueError):
        return None
    values = values[~np.isnan(values)]
    return values if len(values) and np.isfinite(preds).all() else None


class TestMeter:
    """Gather the clips of each video and evaluate videos, as slowfast.utils.meters.TestMeter.

    A test loader gives ``num_clips`` clips of each video. Clip ``i`` belongs to video ``i // num_clips``. The result is
    in ``stats`` after `finalize_metrics`, and is logged as a line of JSON.

    Args:
        num_videos: Number of videos.
        num_clips: Number of clips of each video.
        num_cls: Number of classes.
        overall_iters: Number of batches, for the estimate of the time left.
        multi_label: Evaluate the mAP of `get_map`; otherwise top-k accuracies.
        ensemble_method: "sum" or "max", the reduction of the clips of a video. See the top of this module for "sum"
            with ``multi_label``.

    Example:
        >>> import torch
        >>> meter = TestMeter(num_videos=2, num_clips=2, num_cls=3, overall_iters=1)
        >>> scores = torch.tensor([[.6, .4, 0], [.2, .8, 0], [.1, .2, .7], [.5, .3, .2]])
        >>> meter.update_stats(scores, torch.tensor([1, 1, 0, 0]), torch.arange(4))
        >>> meter.finalize_metrics(ks=(1, 2))
        >>> meter.stats
        {'split': 'test_final', 'top1_acc': '50.00', 'top2_acc': '100.00'}
    """

    __test__ = False  # not a class of tests, for pytest

    def __init__(
        self,
        num_videos: int,
        num_clips: int,
        num_cls: int,
        overall_iters: int,
        multi_label: bool = False,
        ensemble_method: str = "sum",
    ) -> None:
        try:
            import torch
        except ImportError:
            raise ImportError("TestMeter needs torch: pip install torch") from None

        self.iter_timer, self.data_timer, self.net_timer = _Timer(), _Timer(), _Timer()
        self.num_clips = num_clips
        self.overall_iters = overall_iters
        self.multi_label = multi_label
        self.ensemble_method = ensemble_method
        self.video_preds: Tensor = torch.empty(num_videos, num_cls)
        self.video_labels: Tensor = (
            torch.empty(num_videos, num_cls) if multi_label else torch.empty(num_videos, dtype=torch.int64)
        )
        self.clip_count: Tensor = torch.empty(num_videos, dtype=torch.int64)
        self.topk_accs: list[float] = []
        self.stats: dict[str, str] = {}
        self.reset()

    def reset(self) -> None:
        """Remove all clips."""
        self.video_preds.fill_(-1e10 if self.multi_label else 0)
        self.video_labels.zero_()
        self.clip_count.zero_()

    def update_stats(self, preds: Tensor, labels: Tensor, clip_ids: Tensor) -> None:
        """Take a batch of clips.

        Args:
            preds: (B, C) scores.
            labels: (B,) class indices, or (B, C) of 0/1 with ``multi_label``.
            clip_ids: (B,) numbers of the clips.

        Raises:
            AssertionError: A clip has other labels than the clip of its video before it. The clips before it are taken.
            NotImplementedError: ``ensemble_method`` is neither "sum" nor "max".
        """
        import torch

        preds, labels = preds.detach().cpu(), labels.cpu()
        videos = torch.as_tensor(clip_ids).cpu().long()[: len(preds)] // self.num_clips
        videos = torch.where(videos < 0, videos + len(self.video_preds), videos)  # a list's index from its end
        if len(videos) < len(preds) or not bool(((videos >= 0) & (videos < len(self.video_preds))).all()):
            num_clips = self.num_clips * len(self.video_preds)
            raise IndexError(f"clip_ids: expected {len(preds)} numbers below {num_clips}, got {clip_ids}")
        count = self._num_consistent(labels, videos)
        if count and self.ensemble_method not in ("sum", "max"):
            raise NotImplementedError(f"Ensemble Method {self.ensemble_method} is not supported")
        self._take(preds[:count], labels[:count], videos[:count])
        if count < len(preds):
            raise AssertionError(f"clip {int(clip_ids[count])}: its labels differ from those of an earlier clip")

    def _num_consistent(self, labels: Tensor, videos: Tensor) -> int:
        """Number of clips before the first one whose labels are not those of the clip of its video before it."""
        import torch

        order = torch.argsort(videos, stable=True)
        sorted_labels = labels[order].float().reshape(len(order), -1)
        first = torch.ones(len(order), dtype=torch.bool)
        first[1:] = videos[order][1:] != videos[order][:-1]
        before = torch.cat([sorted_labels[:1], sorted_labels[:-1]])
        before[first] = self.video_labels[videos[order][first]].float().reshape(int(first.sum()), -1)
        differs = (before.sum(1) > 0) & (before != sorted_labels).any(1)
        return int(order[differs].min()) if bool(differs.any()) else len(order)

    def _take(self, preds: Tensor, labels: Tensor, videos: Tensor) -> None:
        import torch

        self.video_labels[videos] = labels.to(self.video_labels.dtype)
        if self.ensemble_method == "max":
            index = videos[:, None].expand(-1, preds.shape[1])
            self.video_preds.scatter_reduce_(0, index, preds.to(self.video_preds.dtype), "amax")
        elif preds.dtype == torch.float64:  # each sum is rounded from float64
            for video, row in zip(videos.tolist(), preds, strict=True):
                self.video_preds[video] += row
        else:
            self.video_preds.index_add_(0, videos, preds.to(self.video_preds.dtype))
        self.clip_count.index_add_(0, videos, torch.ones_like(videos))

    def iter_tic(self) -> None:
        """Start the time of an iteration."""
        self.iter_timer.reset()
        self.data_timer.reset()

    def data_toc(self) -> None:
        """End the time of loading, and start that of the network."""
        self.data_timer.pause()
        self.net_timer.reset()

    def iter_toc(self) -> None:
        """End the time of an iteration."""
        self.iter_timer.pause()
        self.net_timer.pause()

    def log_iter_stats(self, cur_iter: int) -> None:
        """Log the number of an iteration, its time and the estimate of the time left."""
        seconds = self.iter_timer.seconds()
        left = datetime.timedelta(seconds=int(seconds * (self.overall_iters - cur_iter)))
        _log_json({"split": "test_iter", "cur_iter": str(cur_iter + 1), "eta": str(left), "time_diff": seconds})

    def finalize_metrics(self, ks: Sequence[int] = (1, 5)) -> None:
        """Evaluate the videos into ``stats`` and log it. Videos without all their clips are a logged warning.

        Args:
            ks: Each k of the top-k accuracies, which are not used with ``multi_label``.
        """
        wrong = self.clip_count != self.num_clips
        if bool(wrong.any()):
            _logger.warning(
                f"clip count Ids={wrong.nonzero().T} = {self.clip_count[wrong]} (should be {self.num_clips})"
            )
        self.stats = {"split": "test_final"}
        if self.multi_label:
            percent = f"{get_map(self.video_preds.numpy(), self.video_labels.numpy()) * 100.0:.2f}"
            self.stats |= {"map": percent, "top1_acc": percent, "top5_acc": percent}
        else:
            best = self.video_preds.topk(max(ks), dim=1).indices
            hits = best == self.video_labels[:, None]
            for k in ks:
                accuracy = hits[:, :k].float().sum() / len(hits) * 100.0
                self.stats[f"top{k}_acc"] = f"{accuracy:.2f}"
        _log_json(self.stats)


class _Timer:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._start = time.perf_counter()
        self._end: float | None = None

    def pause(self) -> None:
        if self._end is None:
            self._end = time.perf_counter()

    def seconds(self) -> float:
        return (time.perf_counter() if self._end is None else self._end) - self._start


def _log_json(stats: Mapping[str, str | float]) -> None:
    """Log a line that readers of SlowFast's logs look for: sorted keys, floats with five decimals."""
    cells = (
        f"{json.dumps(key)}: {f'{value:.5f}' if isinstance(value, float) else json.dumps(value)}"
        for key, value in sorted(stats.items())
    )
    _logger.info(f"json_stats: {{{', '.join(cells)}}}")
