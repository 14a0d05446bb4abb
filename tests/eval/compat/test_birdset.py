"""BirdSet's metrics: recorded outputs of the originals, their quirks, the intended numbers, copies and processes.

The numbers come from birdset/modules/metrics/multilabel.py and multiclass.py of DBD-research-group/BirdSet at 86a0777c,
run with torchmetrics 1.9.0 and 1.2.0 and torch 2.13.0.
"""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
from programs import run_two_ranks
from small_inputs import LABELS_A, LABELS_B, LABELS_C, A, B, C

torch = pytest.importorskip("torch")
torchmetrics = pytest.importorskip("torchmetrics")
birdset = pytest.importorskip("vltr_eval.compat.birdset")

FLOAT32 = 2e-6  # torchmetrics sums in float32
INPUTS = {"A": (A, LABELS_A), "B": (B, LABELS_B), "C": (C, LABELS_C)}
MAKE = {
    "cmAP": lambda: birdset.cmAP(4),
    "cmAP5": lambda: birdset.cmAP5(4, sample_threshold=5),
    "mAP": lambda: birdset.mAP(4),
    "pcmAP": lambda: birdset.pcmAP(4),
}
RECORDED = {
    ("A", "cmAP"): 0.82659626,
    ("A", "cmAP5"): 0.82659626,
    ("A", "mAP"): 0.78519005,
    ("A", "pcmAP"): 0.94592959,
    ("B", "cmAP"): 0.57533872,
    ("B", "cmAP5"): 0.57533872,
    ("B", "mAP"): 0.57874656,
    ("B", "pcmAP"): 0.90190756,
    ("C", "cmAP"): 0.54308861,
    ("C", "cmAP5"): 0.54308861,
    ("C", "mAP"): 0.52717936,
    ("C", "pcmAP"): 0.64191544,
}
RECORDED_OF_1_2 = {("B", "cmAP"): 0.76711828, ("B", "cmAP5"): 0.76711828, ("B", "mAP"): 0.57874656}

pytestmark = pytest.mark.filterwarnings(
    "ignore:No positive samples:UserWarning", "ignore:.* labels are nan:UserWarning"
)


def tensors(name):
    scores, labels = INPUTS[name]
    return torch.from_numpy(scores).float(), torch.from_numpy(np.asarray(labels)).long()


@pytest.mark.parametrize(("name", "metric"), RECORDED)
def test_recorded_numbers_of_the_original(name, metric, monkeypatch):
    monkeypatch.setattr(birdset, "_leaves_absent_out", lambda: False)
    scores, labels = tensors(name)
    one = MAKE[metric]()
    assert one(scores, labels).item() == pytest.approx(RECORDED[name, metric], abs=FLOAT32)
    assert one.compute().item() == pytest.approx(RECORDED[name, metric], abs=FLOAT32)


@pytest.mark.parametrize(("name", "metric"), RECORDED_OF_1_2)
def test_absent_classes_are_left_out_before_torchmetrics_1_4(name, metric, monkeypatch):
    monkeypatch.setattr(torchmetrics, "__version__", "1.3.2")
    got = MAKE[metric]()(*tensors(name)).item()
    assert got == pytest.approx(RECORDED_OF_1_2[name, metric], abs=FLOAT32)
    monkeypatch.setattr(torchmetrics, "__version__", "1.4.0")
    assert MAKE[metric]()(*tensors(name)).item() == pytest.approx(RECORDED[name, metric], abs=FLOAT32)


def test_the_threshold_of_cmap5_has_no_effect_but_that_of_cmap_has():
    scores, labels = tensors("A")  # 7, 5, 5 and 3 positives
    for threshold in (0, 1, 4, 7):
        assert birdset.cmAP5(4, threshold)(scores, labels).item() == pytest.approx(0.82659626, abs=FLOAT32)
    assert birdset.cmAP5(4, 8)(scores, labels).isnan()
    assert birdset.cmAP(4, min_positives=4)(scores, labels).item() == pytest.approx(0.79657286, abs=FLOAT32)
    assert birdset.cmAP(4, min_positives=7)(scores, labels).item() == pytest.approx(
        torchmetrics.functional.average_precision(scores[:, 0], labels[:, 0], "binary").item(), abs=FLOAT32
    )
    assert birdset.cmAP(4, min_positives=8)(scores, labels).isnan()
    for wrong in (-1, True, 0.5):
        with pytest.raises(ValueError, match="min_positives"):
            birdset.cmAP(4, min_positives=wrong)
    with pytest.raises(ValueError, match="min_positives"):
        birdset.cmAP(4, 5, min_positives=1)


def test_padding_goes_into_each_call_and_into_no_update():
    scores, labels = tensors("A")
    halves = list(zip(scores.split(6), labels.split(6), strict=True))
    called, updated, once = birdset.pcmAP(4), birdset.pcmAP(4), birdset.pcmAP(4, pad_once=True)
    for half in halves:
        called(*half)
        updated.update(*half)
        once.update(*half)
    assert sum(map(len, called.preds)) == 12 + 2 * 5
    assert called.compute().item() == pytest.approx(0.97323978, abs=FLOAT32)
    assert updated.compute().item() == pytest.approx(0.82659626, abs=FLOAT32)
    assert once.compute().item() == pytest.approx(RECORDED["A", "pcmAP"], abs=FLOAT32)
    for half in halves:
        once(*half)
    assert sum(map(len, once.preds)) == 24
    with pytest.raises(ValueError, match="pad_once"):
        birdset.pcmAP(4, thresholds=5, pad_once=True)


def test_cmap_decides_the_sigmoid_for_each_batch_and_cmap5_once():
    scores = torch.tensor([[0.2, 0.9], [0.6, 0.1], [0.75, 2.5], [0.1, 0.4]])  # the second half are logits
    labels = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]])
    for metric, recorded in ((birdset.cmAP(2), 0.75), (birdset.cmAP5(2, 2), 0.79166669)):
        for start in (0, 2):
            metric.update(scores[start : start + 2], labels[start : start + 2])
        assert metric.compute().item() == pytest.approx(recorded, abs=FLOAT32)


@pytest.mark.parametrize(
    ("options", "counted"),
    [({}, 11), ({"topk": 2}, 11), ({"include_nocalls": True, "threshold": 0.7}, 12)],
    ids=str,
)
def test_top_k_accuracy_counts_rows_with_labels(options, counted):
    scores, labels = tensors("B")  # row 10 has no labels, and 0.6 as its highest score
    metric = birdset.TopKAccuracy(**options)
    for part in (slice(5), slice(5, None)):
        metric.update(scores[part], labels[part])
    hits = 0
    for row, positive in zip(scores.tolist(), labels.tolist(), strict=True):
        best = sorted(range(4), key=lambda c, row=row: -row[c])[: options.get("topk", 1)]
        hits += any(positive[c] for c in best)
        hits += options.get("include_nocalls", False) and not any(positive) and max(row) < options["threshold"]
    assert (metric.correct.item(), metric.total.item()) == (hits, counted)
    assert metric.compute().item() == pytest.approx(hits / counted)
    assert birdset.TopKAccuracy()(scores[10:11], labels[10:11]).isnan()
    with pytest.raises(RuntimeError):
        birdset.TopKAccuracy(5)(scores, labels)


def test_balanced_accuracy_divides_by_predictions():
    scores = torch.eye(6)[[0, 0, 0, 1, 2, 2]]
    targets = torch.tensor([0, 1, 0, 1, 3, 2])
    metric = birdset.BalancedAccuracy(num_classes=6)
    metric.update(scores[:2], targets[:2])
    metric.update(scores[2:], targets[2:])
    value = (2 / 3 + 1 + 1 / 2) / 3
    assert metric.compute().item() == pytest.approx(value)
    adjusted = birdset.BalancedAccuracy(True, num_classes=6)
    assert adjusted(scores, targets).item() == pytest.approx((value - 1 / 6) / (1 - 1 / 6))
    ranking = -torch.arange(6.0).repeat(6, 1)  # class 5 is never among the first five
    assert birdset.BalancedAccuracyTop5(num_classes=6)(
        ranking, torch.tensor([0, 4, 5, 5, 1, 2])
    ).item() == pytest.approx(4 / 6)
    with pytest.raises(TypeError):
        birdset.BalancedAccuracy()


@pytest.mark.parametrize("metric", MAKE)
def test_copies_states_and_collections_take_them(metric):
    parts = [tuple(part) for part in zip(*(tensor.split(5) for tensor in tensors("A")), strict=True)]
    one = MAKE[metric]()
    one.persistent(True)
    for part in parts[:2]:
        one.update(*part)
    fresh = MAKE[metric]()
    fresh.load_state_dict(one.state_dict())
    fresh._update_count = 2
    others = [copy.deepcopy(one), pickle.loads(pickle.dumps(one)), fresh]
    for other in [one, *others]:
        other.update(*parts[2])
    assert {other.compute().item() for other in others} == {one.compute().item()}
    collection = torchmetrics.MetricCollection({name: make() for name, make in MAKE.items()})
    for part in parts:
        collection.update(*part)
    assert collection.compute()[metric].item() == pytest.approx(one.compute().item())
    one.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((ValueError, RuntimeError)):
            one.compute()


def test_cmap5_keeps_no_second_copy_and_checks_in_compute():
    scores, labels = tensors("A")
    metric = birdset.cmAP5(4, 5)
    for _ in range(2):
        metric.update(scores, labels)
        metric.compute()
        metric._computed = None
    assert metric.multilabel_ap.preds == []
    assert repr(metric) == "cmAP5(\n  (multilabel_ap): MultilabelAveragePrecision()\n)"
    metric.update(scores, labels.float())  # is taken, as in the original
    with pytest.raises(ValueError, match="target"):
        metric.compute()


def test_a_nan_names_its_row_and_class():
    scores, labels = tensors("A")
    scores[3, 1] = torch.nan
    for make in MAKE.values():
        with pytest.raises(ValueError, match=r"NaN at row 3, class 1|NaN at row 13, class 0"):
            make()(scores, labels)


RANK = """
import sys, os, warnings, torch
import torch.distributed as dist
from vltr_eval.compat import birdset

warnings.simplefilter("ignore")
rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
generator = torch.Generator().manual_seed(0)
scores = torch.rand(30, 4, generator=generator)
labels = (torch.rand(30, 4, generator=generator) < 0.4).long()
own = slice(0, 13) if rank == 0 else slice(13, 30)
makes = {
    "cmAP": lambda **o: birdset.cmAP(4),
    "min": lambda **o: birdset.cmAP(4, min_positives=12),
    "mAP": lambda **o: birdset.mAP(4),
    "cmAP5": lambda **o: birdset.cmAP5(4, 5),
    "once": lambda **o: birdset.pcmAP(4, pad_once=True),
    "top": lambda **o: birdset.TopKAccuracy(2),
}
for name, make in makes.items():
    one, whole = make(), make()
    one.update(scores[own], labels[own])
    whole.update(scores, labels)
    whole.sync_on_compute = False
    whole._to_sync = False
    got, wanted = one.compute(), whole.compute()
    if not torch.equal(got, wanted):
        raise AssertionError(f"{name}: {got} is not {wanted}")
dist.barrier()
dist.destroy_process_group()
print("fine", flush=True)
os._exit(0)  # gloo's threads outlive groups that are still referred to, and abort a teardown of Python
"""


def test_processes_compute_together(tmp_path):
    run_two_ranks(RANK, str(tmp_path / "store"))
