"""The metrics for mmengine: its Evaluator, its Runner, several ranks. The recipe of docs/trackers.md runs as it stands.

Recorded numbers are those of the originals: mmaction/evaluation/metrics/acc_metric.py of open-mmlab/mmaction2 at
4d6c9347, and mmpretrain/evaluation/metrics of open-mmlab/mmpretrain at ee7f2e88, in mmengine 0.10.7.
"""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mmengine imports deprecated modules of torch
    from mmengine.dataset import DefaultSampler
    from mmengine.evaluator import Evaluator
    from mmengine.model import BaseModel
    from mmengine.registry import METRICS
    from mmengine.runner import Runner
    from mmengine.structures import BaseDataElement

import vltr_eval
from vltr_eval.compat.mmaction2 import AccMetric
from vltr_eval.compat.mmengine import LongTailMetric
from vltr_eval.compat.mmpretrain import AveragePrecision, MultiLabelMetric, VOCAveragePrecision, VOCMultiLabelMetric

PAGE = (Path(__file__).parents[2] / "docs" / "trackers.md").read_text(encoding="utf-8")
(RECIPE,) = re.findall(r"^## mmengine\n.*?^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NUM_CLASSES, TRAIN_COUNTS = 6, [900, 800, 300, 200, 50, 40]

pytestmark = pytest.mark.filterwarnings("ignore")  # those of mmengine


def rows(count=40, seed=0):
    """Return scores and labels of several classes, with ties; the last class never occurs."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, NUM_CLASSES)) < 0.4).astype(np.float32)
    labels[:, -1] = 0
    return (rng.normal(size=labels.shape).round(1) + labels).astype(np.float32), labels


def samples_of(scores, labels, how="gt_score"):
    """Return data samples as mmpretrain packs them ("gt_score", "indices"), and mmaction2 ("indices", "floats")."""
    found = []
    for number, (score, label) in enumerate(zip(torch.from_numpy(scores), torch.from_numpy(labels), strict=True)):
        sample = BaseDataElement(metainfo={"sample_idx": number}, pred_score=score)
        if how == "indices":
            sample.gt_label = label.nonzero().reshape(-1)
        else:
            sample.set_data({"gt_score" if how == "gt_score" else "gt_label": label})
        found.append(sample)
    return found


def evaluated(metric, samples, size=None, batch=7):
    evaluator = Evaluator(metric)
    for start in range(0, len(samples), batch):
        evaluator.process(samples[start : start + batch])
    return evaluator.evaluate(len(samples) if size is None else size)


def same(found, expected):
    assert list(found) == list(expected)
    np.testing.assert_array_equal(list(found.values()), list(expected.values()))


# LongTailMetric


OPTIONS = {"train_counts": TRAIN_COUNTS, "sap": 5, "seed": 3, "topk": (1, 3)}


@pytest.mark.parametrize("how", ["gt_score", "indices", "floats"])
@pytest.mark.parametrize("gather", ["evaluator", "mmengine"])
def test_long_tail_results_are_those_of_evaluate(how, gather):
    scores, labels = rows()
    expected = vltr_eval.evaluate(scores, labels, **OPTIONS).metrics("vltr/")
    metric = LongTailMetric(gather=gather, **OPTIONS)
    for _ in range(2):  # the second epoch starts without rows
        same(evaluated(metric, samples_of(scores, labels, how)), expected)
    assert metric.report.metrics("vltr/")["vltr/mAP"] == expected["vltr/mAP"]


@pytest.mark.parametrize("gather", ["evaluator", "mmengine"])
@pytest.mark.parametrize("size", [40, 39, 37])
def test_rows_above_the_size_are_left_out(gather, size):
    scores, labels = rows()
    expected = vltr_eval.evaluate(scores[:size], labels[:size], **OPTIONS).metrics("vltr/")
    same(evaluated(LongTailMetric(gather=gather, **OPTIONS), samples_of(scores, labels), size), expected)


def test_rows_before_the_last_batch_cannot_be_left_out():
    metric = LongTailMetric()
    with pytest.raises(ValueError, match='gather="mmengine"'):
        evaluated(metric, samples_of(*rows()), 30)
    evaluated(metric, samples_of(*rows()))  # and the next epoch is not affected


def test_ids_reduce_views_and_unknown_cells_are_left_out():
    scores, labels = rows(20)
    views = np.concatenate([scores, scores + 1])
    samples = samples_of(views, np.tile(labels, (2, 1)), "floats")
    for number, sample in enumerate(samples):
        sample.set_field(f"video {number % 20}", "video_id", field_type="metainfo")
    expected = vltr_eval.evaluate(scores, labels, sap=None).metrics("vltr/")
    found = evaluated(LongTailMetric(id_key="video_id", reduce="max", sap=None), samples)
    same(found, expected)
    labels[3, 2] = -1
    expected = vltr_eval.evaluate(scores, labels, unknown=-1, sap=None).metrics("vltr/")
    same(evaluated(LongTailMetric(unknown=-1, sap=None), samples_of(scores, labels)), expected)


def test_classes_of_the_dataset_are_the_class_names():
    metric = LongTailMetric(sap=None, topk=None, per_class="AP")
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = {"classes": tuple("abcdef")}
    evaluator.process(samples_of(*rows()))
    assert "vltr/per_class/AP/a" in evaluator.evaluate(40)


def test_bad_samples_and_options_are_errors():
    scores, labels = rows()
    with pytest.raises(ValueError, match="gather"):
        LongTailMetric(gather="gpu")
    with pytest.raises(TypeError, match="tokp"):
        LongTailMetric(tokp=(1,))
    with pytest.raises(ValueError, match="expected samples"):
        evaluated(LongTailMetric(), [])
    with pytest.raises(TypeError, match="pred_score"):
        evaluated(LongTailMetric(), [{"pred_score": {"rgb": torch.ones(3)}, "gt_label": torch.tensor([1])}])
    mixed = [*samples_of(scores[:2], labels[:2], "floats"), *samples_of(scores[2:4], labels[2:4], "indices")]
    with pytest.raises(TypeError, match="multi_hot"):
        evaluated(LongTailMetric(), mixed)
    scores[3, 1] = np.nan
    metric = LongTailMetric()
    with pytest.raises(ValueError, match="NaN"):
        evaluated(metric, samples_of(scores, labels))
    evaluated(metric, samples_of(*rows()))


def test_long_tail_metric_is_registered():
    assert METRICS.get("LongTailMetric") is LongTailMetric
    metric = METRICS.build({"type": "LongTailMetric", "prefix": "test", "train_counts": TRAIN_COUNTS})
    assert "test/mAP_tail" in evaluated(metric, samples_of(*rows()))


RANK_CODE = """
import sys
import numpy as np, torch, torch.distributed as dist
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from vltr_eval.compat.mmengine import LongTailMetric

rank, num_ranks, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{path}.store", rank=rank, world_size=num_ranks)
found = {}
for count, gather in ((count, gather) for count in (40, 7, 1) for gather in ("evaluator", "mmengine")):
    arrays = np.load(f"{path}.{count}.npz")
    scores, labels = map(torch.from_numpy, (arrays["scores"], arrays["labels"]))
    evaluator = Evaluator(LongTailMetric(gather=gather, sap=5, seed=3))
    rows = list(DefaultSampler(scores, shuffle=False))
    for start in range(0, len(rows), 3):
        evaluator.process([dict(pred_score=scores[row], gt_score=labels[row]) for row in rows[start : start + 3]])
    results = evaluator.evaluate(len(scores))
    found |= {f"{count} {gather} {name[5:]}": value for name, value in results.items()}
np.savez(f"{path}.rank{rank}.npz", **found)
dist.destroy_process_group()
"""


def test_every_rank_gets_the_numbers_of_one_process(tmp_path):
    """Two ranks repeat a sample if the number of samples is odd."""
    path = str(tmp_path / "case")
    expected = {}
    for count in (40, 7, 1):
        scores, labels = rows(count, seed=2)
        labels[0, 0] = 1
        np.savez(f"{path}.{count}.npz", scores=scores, labels=labels)
        for gather in ("evaluator", "mmengine"):
            expected |= vltr_eval.evaluate(scores, labels, sap=5, seed=3).metrics(f"{count} {gather} ")
    command = [sys.executable, "-c", RANK_CODE]
    processes = [subprocess.Popen([*command, str(rank), "2", path]) for rank in range(2)]
    assert [process.wait(timeout=100) for process in processes] == [0, 0]
    for rank in range(2):
        same({name: float(value) for name, value in np.load(f"{path}.rank{rank}.npz").items()}, expected)


def test_the_sampler_of_mmengine_is_the_one_that_the_metric_expects():
    """Sample i is on rank i % num_ranks, and repeated ones come last."""
    sampler = DefaultSampler(range(7), shuffle=False)
    for rank in range(3):
        sampler.rank, sampler.world_size = rank, 3
        sampler.num_samples, sampler.total_size = 3, 9
        assert [row % 7 for row in range(rank, 9, 3)] == list(sampler)


# The recipe


class Model(BaseModel):
    """A model whose scores are its inputs plus a weight."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(NUM_CLASSES))

    def forward(self, scores, label, mode):
        if mode == "loss":
            return {"loss": self.weight.square().sum()}
        return [
            BaseDataElement(pred_score=row, gt_label=one) for row, one in zip(scores + self.weight, label, strict=True)
        ]


def test_the_recipe_runs_in_a_runner(tmp_path):
    names = {"train_counts": TRAIN_COUNTS}
    exec(compile(RECIPE, "docs/trackers.md: mmengine", "exec"), names)
    scores, labels = rows()
    truth = labels.argmax(1)
    dataset = [
        {"scores": torch.from_numpy(score), "label": torch.tensor([label])}
        for score, label in zip(scores, truth, strict=True)
    ]
    loader = torch.utils.data.DataLoader(dataset, batch_size=7)
    runner = Runner(
        Model(),
        str(tmp_path),
        train_dataloader=loader,
        train_cfg={"by_epoch": True, "max_epochs": 1},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        val_dataloader=loader,
        val_cfg={},
        val_evaluator=names["val_evaluator"],
        default_hooks=names["default_hooks"],
        experiment_name="recipe",
        log_level="ERROR",
    )
    runner.train()
    assert [path.name for path in tmp_path.glob("best*")] == ["best_vltr_mAP_epoch_1.pth"]
    found = runner.val()
    expected = vltr_eval.evaluate(scores, truth[:, None].tolist(), train_counts=TRAIN_COUNTS).metrics("vltr/")
    same({name: value for name, value in found.items() if name.startswith("vltr/")}, expected)
    assert found["acc/top1"] == np.mean(scores.argmax(1) == truth)
    assert list(found)[:3] == ["acc/top1", "acc/top5", "acc/mean1"]


# AccMetric


RECORDED_ACC = {"acc/top1": 0.4166666666666667, "acc/top3": 0.8333333333333334, "acc/mean1": 0.4166666666666667}
RECORDED_MAP = [0.6727057839464039, 0.7135069444444445]


def one_label(count=12, num_classes=4, seed=5):
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.permuted(np.tile(np.arange(num_classes), (count, 1)), axis=1)).float()
    return [dict(pred_score=row, gt_label=torch.tensor([n % 3])) for n, row in enumerate(scores)]


def all_labelled():
    scores, labels = rows(seed=7)
    labels[labels.sum(1) == 0, 0] = 1
    return scores, labels


def test_acc_metric_has_the_recorded_results():
    found = evaluated(AccMetric(metric_options={"top_k_accuracy": {"topk": (1, 3)}}), one_label())
    assert {name: float(value) for name, value in found.items()} == RECORDED_ACC
    multi = samples_of(*all_labelled(), "floats")
    found = evaluated(AccMetric(("mean_average_precision", "mmit_mean_average_precision"), prefix="val"), multi)
    assert list(found) == ["val/mean_average_precision", "val/mmit_mean_average_precision"]
    np.testing.assert_allclose(list(found.values()), RECORDED_MAP, atol=1e-14, rtol=0)


def test_acc_metric_fuses_rgb_and_pose():
    samples = one_label()
    for number, sample in enumerate(samples):
        sample["pred_score"] = {"rgb": sample["pred_score"], "pose": samples[number - 1]["gt_label"].expand(4).float()}
    before = copy.deepcopy(samples)
    found = evaluated(AccMetric("mean_class_accuracy"), samples)
    assert list(found) == [
        *("acc/rgb_mean1", "acc/pose_mean1"),
        *("acc/RGBPose_1:1_mean1", "acc/RGBPose_2:1_mean1", "acc/RGBPose_1:2_mean1"),
    ]
    assert float(found["acc/rgb_mean1"]) == RECORDED_ACC["acc/mean1"]
    assert isinstance(samples[0]["pred_score"]["rgb"], torch.Tensor)
    assert torch.equal(samples[3]["pred_score"]["rgb"], before[3]["pred_score"]["rgb"])


def test_acc_metric_refuses_what_the_original_refuses():
    with pytest.raises(TypeError, match="metric_list"):
        AccMetric(["top_k_accuracy"])
    with pytest.raises(AssertionError, match="metric_list"):
        AccMetric("accuracy")
    with pytest.raises(TypeError, match="topk"):
        evaluated(AccMetric(metric_options={"top_k_accuracy": {"topk": [1]}}), one_label())


def test_results_do_not_hold_the_memory_of_a_batch():
    batch = torch.zeros(1000, 10)
    metric = AccMetric()
    metric.process(None, [dict(pred_score=batch[0], gt_label=torch.tensor([1]))])
    assert len(pickle.dumps(metric.results)) < 1000


# mmpretrain's metrics


RECORDED_MMPRETRAIN = [
    (lambda: AveragePrecision(), {"multi-label/mAP": 70.83333587646484}),
    (lambda: AveragePrecision(None), {"multi-label/AP_classwise": [83.33333587646484, 100.0, 50.0, 50.0]}),
    (lambda: AveragePrecision(prefix="x"), {"x/mAP": 70.83333587646484}),
    (lambda: VOCAveragePrecision(), {"multi-label/mAP": 83.33333587646484}),
    (lambda: VOCAveragePrecision(difficult_as_positive=True), {"multi-label/mAP": 83.33333587646484}),
    (lambda: VOCAveragePrecision(difficult_as_positive=False), {"multi-label/mAP": 70.83333587646484}),
    (
        lambda: MultiLabelMetric(),
        {"multi-label/precision": 62.5, "multi-label/recall": 50.0, "multi-label/f1-score": 50.0},
    ),
    (
        lambda: MultiLabelMetric(thr=0.25, topk=1, items=["recall", "support"]),
        {"multi-label/recall_thr-0.25": 62.5, "multi-label/support_thr-0.25": 7},
    ),
    (
        lambda: MultiLabelMetric(topk=1, average=None),
        {
            "multi-label/precision_top1_classwise": [100.0, 100.0, 0.0, 100.0],
            "multi-label/recall_top1_classwise": [50.0, 50.0, 0.0, 50.0],
            "multi-label/f1-score_top1_classwise": [66.66666412353516, 66.66666412353516, 0.0, 66.66666412353516],
        },
    ),
    (
        lambda: MultiLabelMetric(thr=0, average="micro"),
        {
            "multi-label/precision_topNone_micro": 43.75,
            "multi-label/recall_topNone_micro": 100.0,
            "multi-label/f1-score_topNone_micro": 60.869564056396484,
        },
    ),
    (
        lambda: VOCMultiLabelMetric(),
        {"multi-label/precision": 75.0, "multi-label/recall": 50.0, "multi-label/f1-score": 58.33333206176758},
    ),
]


def test_multi_label_metrics_have_the_recorded_results():
    scores = torch.tensor([[0.8, 0.1, 0, 0.6], [0.2, 0.2, 0.7, 0], [0.1, 0.9, 0.6, 0.1], [0, 0, 0.2, 0.3]])
    labels, difficult = [[0], [1, 3], [0, 1, 2], [3]], [[0], [2], [1], []]
    samples = [
        dict(pred_score=score, gt_label=torch.tensor(label), gt_label_difficult=hard)
        for score, label, hard in zip(scores, labels, difficult, strict=True)
    ]
    for make, expected in RECORDED_MMPRETRAIN:
        found = evaluated(make(), samples)
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=2e-5), name
    with pytest.raises(AssertionError, match="items"):
        MultiLabelMetric(items=["mAP"])
