"""A report as a metric of torchmetrics: its numbers, its own reset, collections, copies and processes."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
from programs import run_two_ranks

import vltr_eval

torch = pytest.importorskip("torch")
torchmetrics = pytest.importorskip("torchmetrics")
ours = pytest.importorskip("vltr_eval.compat.torchmetrics")

OPTIONS = {"sap": "exact", "topk": (1,), "train_counts": [900, 200, 50, 5]}


def batches(rows=40, seed=0, size=7):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, 4, generator=generator)
    labels = (torch.rand(rows, 4, generator=generator) < 0.4).long()
    return list(zip(scores.split(size), labels.split(size), strict=True))


def expected(parts, prefix=""):
    scores, labels = (torch.cat(both) for both in zip(*parts, strict=True))
    return vltr_eval.evaluate(scores, labels, **OPTIONS).metrics(prefix)


def assert_numbers(found, wanted):
    assert {name: value.item() for name, value in found.items()} == {
        name: float(np.float32(value)) for name, value in wanted.items()
    }


def updated(metric, parts):
    for part in parts:
        metric.update(*part)
    return metric


def test_numbers_are_those_of_the_report_and_updates_begin_anew():
    metric = ours.LongTailMetrics(4, prefix="val/", **OPTIONS)
    assert isinstance(metric, torchmetrics.Metric)
    first, second = batches(), batches(25, 1)
    found = updated(metric, first).compute()
    assert_numbers(found, expected(first, "val/"))
    assert metric.compute() is found  # torchmetrics keeps the result
    assert metric.report.num_rows == 40
    assert metric.report.metrics("val/") == expected(first, "val/")
    # Nothing reset the metric; its own next update does.
    assert_numbers(updated(metric, second).compute(), expected(second, "val/"))
    metric.reset()  # as trainers do
    assert metric.evaluator.num_rows == 0
    assert_numbers(updated(metric, first).compute(), expected(first, "val/"))


def test_rows_can_be_kept_over_several_computes():
    metric = ours.LongTailMetrics(4, keep_rows=True, **OPTIONS)
    parts = batches()
    for end in range(1, len(parts) + 1):
        metric.update(*parts[end - 1])
        assert_numbers(metric.compute(), expected(parts[:end]))


def test_forward_gives_the_numbers_of_its_batch_alone():
    metric, parts = ours.LongTailMetrics(4, **OPTIONS), batches()
    for scores, labels in parts:
        assert_numbers(metric(scores, target=labels), expected([(scores, labels)]))
    assert_numbers(metric.compute(), expected(parts))


def test_names_and_classes_follow_the_arguments():
    metric = ours.LongTailMetrics(4, prefix="a@b/", style="safe", per_class=["num_positives"], **OPTIONS)
    found = updated(metric, batches()).compute()
    assert list(found) == list(metric.report.metrics("a@b/", style="safe", per_class=["num_positives"]))
    assert "a_at_b/Acc_at_1" in found
    assert {value.dtype for value in found.values()} == {torch.float32}
    with pytest.raises(TypeError, match="no_such_option"):
        ours.LongTailMetrics(4, no_such_option=1)
    with pytest.raises(TypeError, match=r"^prefx: expected .*; did you mean prefix\?$"):
        ours.LongTailMetrics(4, prefx="val/")


def test_ids_count_a_repeated_row_once():
    scores, labels = batches(6, size=6)[0]
    metric = ours.LongTailMetrics(4, **OPTIONS)
    metric.update(scores, labels, ids=range(6))
    metric.update(scores[:2], labels[:2], ids=[0, 1])
    assert_numbers(metric.compute(), expected([(scores, labels)]))


def test_a_collection_flattens_the_numbers():
    parts = batches()
    collection = torchmetrics.MetricCollection(
        {"report": ours.LongTailMetrics(4, **OPTIONS), "ap": ours.MultilabelAveragePrecision(4)}, prefix="val_"
    )
    found = updated(collection, parts).compute()
    assert set(found) == {"val_ap", *(f"val_{name}" for name in expected(parts))}
    assert found["val_ap"] == found["val_mAP"]


def test_copies_merges_and_states_have_the_rows():
    parts = batches()
    metric = updated(ours.LongTailMetrics(4, **OPTIONS), parts[:3])
    assert dict(metric.state_dict()) == {}
    for one in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert_numbers(updated(one, parts[3:]).compute(), expected(parts))
    other = updated(ours.LongTailMetrics(4, **OPTIONS), parts[3:])
    other.merge_state(metric)
    assert_numbers(other.compute(), expected(parts))
    with pytest.raises(ValueError, match="incoming_state: expected LongTailMetrics"):
        other.merge_state(ours.MultilabelAveragePrecision(4))
    metric.persistent(True)
    file = io.BytesIO()
    torch.save(torch.nn.ModuleDict({"val": metric}).state_dict(), file)
    file.seek(0)
    loaded = torch.nn.ModuleDict({"val": ours.LongTailMetrics(4, **OPTIONS)})
    loaded.load_state_dict(torch.load(file))
    assert_numbers(updated(loaded["val"], parts[3:]).compute(), expected(parts))


RANK = """
import sys, os, torch
import torch.distributed as dist
from vltr_eval.compat.torchmetrics import LongTailMetrics

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
generator = torch.Generator().manual_seed(0)
scores = torch.randn(30, 4, generator=generator)
labels = (torch.rand(30, 4, generator=generator) < 0.4).long()
options = {"sap": "exact", "topk": (1,)}
alone = LongTailMetrics(4, sync_on_compute=False, **options)
alone.update(scores, labels)
wanted = {name: value.item() for name, value in alone.compute().items()}
for split in (13, 30):  # the second rank has no rows at last
    metric = LongTailMetrics(4, **options)
    own = slice(0, split) if rank == 0 else slice(split, 30)
    if len(scores[own]):
        metric.update(scores[own], labels[own])
    found = {name: value.item() for name, value in metric.compute().items()}
    if found != wanted:
        raise AssertionError(f"{found} is not {wanted}")
step = LongTailMetrics(4, dist_sync_on_step=True, **options)
own = slice(0, 13) if rank == 0 else slice(13, 30)
if {name: value.item() for name, value in step(scores[own], labels[own]).items()} != wanted:
    raise AssertionError("the value of a step")
dist.barrier()
dist.destroy_process_group()
print("fine", flush=True)
os._exit(0)  # gloo's threads outlive groups that are still referred to, and abort a teardown of Python
"""


def test_processes_get_the_numbers_of_all_rows(tmp_path):
    run_two_ranks(RANK, str(tmp_path / "store"), options=("-W", "ignore"))
