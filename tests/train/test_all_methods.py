"""Every method: its description, its presets, and that no step of any stage waits for the device."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
import torch
from small_methods import begin, make, make_batches
from torch.utils._python_dispatch import TorchDispatchMode

from vltr_train.methods import all_methods
from vltr_train.papers import method_order
from vltr_train.runs.tables import COLUMNS, PRINTABLE

METHODS = all_methods()
PRESETS = [(name, preset) for name, kind in METHODS.items() for preset in kind.presets]


@pytest.mark.parametrize("name", METHODS)
def test_headers_say_where_a_method_is_from(name):
    header = sys.modules[f"vltr_train.methods.{name}"].__doc__
    for word in ("Paper: ", "Code: ", "Command: vltr-train fit " + name, "Expected: "):
        assert word in header, word
    for preset in METHODS[name].presets:
        assert preset.replace(".", "").replace("-", "").isalnum()
    command = next(line for line in header.splitlines() if line.startswith("Command: ")).split()[3]
    _, _, preset = command.partition(":")
    if METHODS[name].presets:
        printed = METHODS[name].presets[preset].printed
        shown = [f".{round(1000 * value):03d}" for value in printed if value is not None]
        assert all(number in header.split("Expected:")[1] for number in shown)
    assert METHODS[name].paper


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_presets_are_configurations(name, preset):
    kind, row = METHODS[name], METHODS[name].presets[preset]
    assert dataclasses.asdict(kind.Config(**row.settings)).items() >= dict(row.settings).items()
    columns = row.columns or tuple(COLUMNS)
    assert set(columns) <= set(PRINTABLE)
    assert len(row.printed) == len(columns)
    assert set(row.quoted) <= set(row.tables[1:])
    assert name in method_order()
    assert all(value is None or 0 < value < 1 for value in row.printed)
    assert row.backbone in ("ResNet50", "ResNet101", "TSM-R50", "I3D-R50")
    assert row.tables


# Classes in head, medium and tail, of the data of a table.
SIZES = {"videolt": (47, 617, 340), "charadeslt": (41, 81, 35), "charadesegolt": (43, 89, 25)}
# Papers print a mean of all classes that differs from the mean of their groups: by so much.
SLIPS = {
    ("framestack", "r101-netvlad-eta0.3"): 0.0025,
    ("medc", "r50-no-attention"): 0.0058,
    ("medc", "r101"): 0.0057,
    ("medc", "r101-no-attention"): 0.0111,
    ("medc", "r101-expert1"): 0.0033,
    ("medc", "r101-expert2"): 0.0125,
}


def _with_groups():
    for name, kind in METHODS.items():
        for preset, row in kind.presets.items():
            data = row.tables[0].partition("-")[0]
            if data in SIZES and row.columns in (None, tuple(COLUMNS)[:4]) and None not in row.printed[:4]:
                yield name, preset, SIZES[data]


@pytest.mark.parametrize(("name", "preset", "sizes"), list(_with_groups()))
def test_printed_means_are_those_of_their_groups(name, preset, sizes):
    """A mistyped number would break this."""
    whole, *groups = METHODS[name].presets[preset].printed[:4]
    expected = np.average(groups, weights=sizes)
    assert abs(whole - expected) < SLIPS.get((name, preset), 0.0016), expected


@pytest.mark.parametrize(
    ("table", "rows"),
    # The methods' rows: 7 of 2 backbones; 7 of 2 aggregators; 4 of 2; 3 of 2 backbones and 2 aggregators; 5 ratios.
    [
        *(("videolt-1", 14), ("videolt-2", 14), ("videolt-3", 8), ("videolt-4", 12), ("videolt-5", 5)),
        ("videolt-modelzoo", 16),
        # 2 backbones with 7 methods without and 8 with its aggregators; 2 and 8; 7 of 2 backbones at 4 ratios.
        *(("videolt-move-1", 30), ("videolt-move-2", 10), ("minikinetics-move-3", 56)),
        *(("videolt-move-4", 7), ("videolt-move-5", 3)),
        # 8 of 2 backbones and an aggregator with 2; 7 methods.
        *(("videolt-meid-2", 17), ("charadeslt-meid-3", 7), ("charadesegolt-meid-3", 7)),
        *(("videolt-meid-4", 3), ("videolt-meid-5", 4), ("videolt-meid-6", 3), ("videolt-meid-7", 3)),
        *(("videolt-medc-1", 16), ("videolt-medc-2", 12)),  # 8 and 6 of 2 backbones
        *(("ava-2", 4), ("ava-3", 3), ("ava-4", 3), ("ava-5", 3)),
    ],
)
def test_every_printed_row_has_a_preset(table, rows):
    found = [preset for kind in METHODS.values() for preset in kind.presets.values() if table in preset.tables]
    assert len(found) == rows


def test_rows_of_a_table_have_its_columns():
    """Rows that it repeats may have more."""
    for table in {table for name, preset in PRESETS for table in METHODS[name].presets[preset].tables}:
        rows = [row for kind in METHODS.values() for row in kind.presets.values() if table in row.tables]
        columns = [set(row.columns or COLUMNS) for row in rows]
        fewest = min(columns, key=len)
        assert all(fewest <= each for each in columns), table
        own = [each for each, row in zip(columns, rows, strict=True) if row.tables[0] == table]
        assert all(each == fewest for each in own), table


class _Waits(TorchDispatchMode):
    """Notes the operations for which the host would wait for a device."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "item", "is_nonzero", "equal", "_unique2")

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        masks = [index for index in (args[1] if name == "index" else ()) if index is not None]
        if name in self.NAMES or any(mask.dtype == torch.bool for mask in masks):
            self.seen.append(name)
        return function(*args, **(kwargs or {}))


VARIANTS = [
    *((name, {}) for name in METHODS),
    ("cb_loss", {"cb_axis": "sample"}),
    ("ldam_drw", {"drw_epoch": 0, "summed_margins": False}),
    ("cbs", {"mask_other_positives": False, "over_classes": "mean"}),
    ("mixup", {"mix": "vectors"}),
    ("move", {"minikinetics_code": True, "psa_key_mask": "drop", "detach_codebook_input": True}),
    ("move", {"minikinetics_code": True, "codebook_masking": "zero", "psa_key_mask": "none"}),
    ("move", {"aggregator": "psa-codebook-centers", "psa_key_mask": "keep"}),
    ("crt", {"features_mode": "train"}),
    ("lws", {"features_mode": "train"}),
    ("balanced_softmax", {"activation": "sigmoid", "smoothing": 0.1}),
    ("framestack", {"rap_scores": "probabilities"}),
    ("meid", {"attention_relu": False, "distance": "sum"}),
    ("move", {"extrapolation": False, "mix_granularity": "sample"}),
    ("move", {"aggregator": "psa"}),
    ("move", {"aggregator": "codebook"}),
    ("framestack", {"rap_source": "reuse", "loss": "bce"}),
    ("framestack", {"rap_source": "clean_eval_mode", "aggregator": "netvlad"}),
    ("framestack", {"beta": "constant"}),
    ("framestack", {"beta": "frequency"}),
    ("ava_two_stage", {"stage1": "all", "stage2": "all", "stage2_balance": False}),
    ("meid", {"second_expert": "copy"}),
    ("meid", {"attention": "softmax", "variance_over": "batch"}),
    ("medc", {"similarity": "dot"}),
    ("medc", {"shared_batch": True, "attn": "none", "learn_lambdas": True}),
    ("medc", {"attn": "full", "phi": "mlp", "literal": ("sorting", "classification", "region")}),
]


@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=str)
def test_no_step_waits_for_the_device(name, settings):
    settings = {"dropout": 0.5} | settings
    for stage in range(len(make(name, **settings).stages())):
        method = begin(make(name, **settings), stage=stage)
        batches = make_batches(method, stage)
        with _Waits() as waits:
            method(*batches).backward()
        assert waits.seen == []


def test_waits_would_be_seen():
    mask = torch.tensor([True, False])
    for wait in (mask.nonzero, mask.any().item, mask.unique, lambda: mask[mask], lambda: bool(mask[0])):
        with _Waits() as waits:
            wait()
        assert waits.seen
