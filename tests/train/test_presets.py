"""What the names of published rows say: the model and the data that a row is of, and the tables in which it stands."""

from __future__ import annotations

import pytest

from vltr_train.method import Preset
from vltr_train.presets import published


def test_names_say_what_rows_are_of():
    rows = published("mixup", {"r50": (0.1,) * 6, "tsm-netvlad": (0.2,) * 6, "r101-agg-mk0.05": (0.3, 0.4)}, alpha=0.2)
    assert rows["r50"] == Preset(
        row="mixup",
        tables=("videolt-1", "videolt-modelzoo", "videolt-move-1", "videolt-medc-1", "videolt-meid-2"),
        backbone="ResNet50",
        printed=(0.1,) * 6,
        settings={"alpha": 0.2},
    )
    assert rows["tsm-netvlad"].settings == {"aggregator": "netvlad", "alpha": 0.2}
    assert rows["r101-agg-mk0.05"] == Preset(
        row="mixup",
        tables=("minikinetics-move-3",),
        backbone="ResNet101",
        printed=(0.3, 0.4),
        settings={"aggregator": "psa-codebook", "clip_scope": "classifier", "alpha": 0.2},
        columns=("All", "Acc@1"),
        data="minikinetics-0.05",
    )


def test_rows_may_stand_elsewhere_and_be_quoted_otherwise():
    quoted = {"r101": {"move-1": (0.9,)}}
    rows = published("x", {"r50": (0.1,), "r101": (0.2,)}, {"r101": ("videolt-3", "move-1")}, quoted)
    assert rows["r101"].tables == ("videolt-3", "move-1")
    assert rows["r50"].tables[0] == "videolt-1"
    assert (rows["r101"].quoted, rows["r50"].quoted) == ({"move-1": (0.9,)}, {})
    rows = published("x", {"r101-own-word": (0.1,)}, ("videolt-9",), beta="own")
    assert (rows["r101-own-word"].tables, rows["r101-own-word"].settings) == (("videolt-9",), {"beta": "own"})


def test_a_row_without_a_table_is_an_error():
    with pytest.raises(KeyError, match="r101-word"):
        published("x", {"r101-word": (0.1,)})
