"""The multi-label mAP and the test meter of SlowFast, written plainly from their definition.

`get_map` selects the columns with a label, and takes the mean of scikit-learn's AP of each. `TestMeter` adds one clip
after another to the row of its video.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import average_precision_score


def get_map(preds, labels):
    chosen = np.any(labels != 0, axis=0)
    try:
        return np.mean(average_precision_score(labels[:, chosen], preds[:, chosen], average=None))
    except ValueError:
        return 0.0


class TestMeter:
    __test__ = False  # not a class of tests, for pytest

    def __init__(self, num_videos, num_clips, num_cls, overall_iters, multi_label=False, ensemble_method="sum"):
        self.num_clips, self.multi_label, self.ensemble_method = num_clips, multi_label, ensemble_method
        self.video_preds = torch.full((num_videos, num_cls), -1e10 if multi_label else 0.0)
        self.video_labels = torch.zeros((num_videos, num_cls) if multi_label else num_videos)
        if not multi_label:
            self.video_labels = self.video_labels.long()
        self.clip_count = torch.zeros(num_videos, dtype=torch.long)

    def update_stats(self, preds, labels, clip_ids):
        for score, label, clip in zip(preds, labels, clip_ids.tolist(), strict=True):
            video = clip // self.num_clips
            if self.video_labels[video].sum() > 0:
                assert torch.equal(self.video_labels[video].float(), label.float())
            self.video_labels[video] = label
            if self.ensemble_method == "sum":
                self.video_preds[video] += score
            else:
                self.video_preds[video] = torch.maximum(self.video_preds[video], score)
            self.clip_count[video] += 1

    def finalize_metrics(self, ks=(1, 5)):
        self.stats = {"split": "test_final"}
        if self.multi_label:
            percent = f"{100 * get_map(self.video_preds.numpy(), self.video_labels.numpy()):.2f}"
            self.stats.update(map=percent, top1_acc=percent, top5_acc=percent)
            return
        top = torch.topk(self.video_preds, max(ks)).indices
        for k in ks:
            found = (top[:, :k] == self.video_labels[:, None]).float().sum()
            self.stats[f"top{k}_acc"] = f"{found / len(top) * 100:.2f}"
