"""Public objects are shown in one short line, whatever they hold."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from vltr_train import frame_stack
from vltr_train.data.frame_store import StoreWriter
from vltr_train.data.loader import Batch, Loader
from vltr_train.data.pack import PackSource, PackSummary
from vltr_train.data.synth import PROFILES, make_world
from vltr_train.method import Stage
from vltr_train.methods import all_methods
from vltr_train.samplers import InstanceSampler


def test_the_data_set_and_its_parts_are_one_line(tiny, tiny_folder):
    loader = Loader(tiny.train, sampler=InstanceSampler(), batch_size=64, num_frames=8)
    for shown in (tiny, tiny.train, tiny.frames, tiny.train.labels, loader, next(loader.epoch(0))):
        assert "\n" not in repr(shown)
        assert len(repr(shown)) < 250
        assert repr(shown).startswith(f"{type(shown).__name__}(")


def test_sizes_are_those_of_the_object(tmp_path):
    world = make_world(scale=0.001, dim=5)
    videos, labels = len(world.labels), len(world.labels.classes)
    assert repr(world) == (
        f"SyntheticWorld('synthetic-videolt', LabelList({videos:,} videos, {labels:,} labels, 32 classes), "
        "5 features, seed 0)"
    )
    assert repr(PROFILES["ava"]) == "Profile(60 classes, {'train': 211000, 'test': 57000}, 36 frames)"
    skipped = tuple((f"v{number}", "no such file") for number in range(5000))
    assert repr(PackSummary(7, 1000, 8000, skipped)) == "PackSummary(7 videos, 1,000 frames, 5,000 videos left out)"
    batch = Batch(torch.zeros(4, 3, 2), torch.zeros(4, 9), torch.arange(4))
    assert repr(batch) == "Batch(features (4, 3, 2), 9 classes, cpu)"
    with StoreWriter(tmp_path, ["a", "b"], [1, 1], 2) as writer:
        assert repr(writer) == f"StoreWriter('{tmp_path}', 0 of 2 videos finished)"
    stage = Stage(epochs=3, batch_size=64, rate=lambda progress: 0.1, clip_norm=None)
    assert repr(stage) == "Stage('train', 3 epochs, batches of 64)"
    stacked = frame_stack(np.ones((2, 4, 3), "f4"), np.eye(2, dtype="f4"), np.ones(2, "f4"), [1, 0], 4)
    assert repr(stacked) == "StackedClips(features (2, 4, 3), targets (2, 2), beta (2,))"


@pytest.mark.parametrize("name", all_methods())
def test_a_configuration_shows_the_settings_that_were_changed(name):
    kind = all_methods()[name].Config
    assert repr(kind()) == f"{kind.__name__}()"
    assert repr(kind(seed=5, epochs=7)) == f"{kind.__name__}(epochs=7, seed=5)"


def test_a_source_shows_its_lists(tmp_path):
    from vltr_train.data.dataset import DatasetLists
    from vltr_train.data.label_lists import LabelList

    lists = DatasetLists("toy", (1, 0), ("x",), LabelList.from_lists(["a"], [[0]], 1))
    assert repr(PackSource(lists, tmp_path)) == (
        f"PackSource(lists=DatasetLists('toy', 1 classes, 1 train), features={tmp_path!r}, note='')"
    )
