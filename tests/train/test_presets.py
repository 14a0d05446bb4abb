"""Names of published rows: they give the model, the data and the tables of a row."""

from __future__ import annotations

import pytest

from vltr_train.method import Preset
from vltr_train.papers import read_rows
from vltr_train.presets import published

SIX = "All,Head,Medium,Tail,Acc@1,Acc@5"


def rows(*lines, columns=SIX, data=""):
    return read_rows([f"table,repeated_in,row,method,preset,features{data},{columns}", *lines])


def test_names_say_what_rows_are_of():
    printed = rows(
        "videolt-1,videolt-modelzoo videolt-move-1 videolt-medc-1 videolt-meid-2,mixup,mixup,r50,ResNet50"
        + ",0.1,0.1,0.1,0.1,0.1,0.1",
        "videolt-2,,mixup,mixup,tsm-netvlad,TSM-R50,0.2,0.2,0.2,0.2,0.2,0.2",
    )
    printed += rows(
        "minikinetics-move-3,,mixup,mixup,r101-agg-mk0.05,ResNet101,minikinetics-0.05,0.3,,,,0.4,", data=",data"
    )
    found = published("mixup", "mixup", printed=printed, alpha=0.2)
    assert found["r50"] == Preset(
        row="mixup",
        tables=("videolt-1", "videolt-modelzoo", "videolt-move-1", "videolt-medc-1", "videolt-meid-2"),
        backbone="ResNet50",
        printed=(0.1,) * 6,
        settings={"alpha": 0.2},
    )
    assert found["tsm-netvlad"].settings == {"aggregator": "netvlad", "alpha": 0.2}
    assert found["r101-agg-mk0.05"] == Preset(
        row="mixup",
        tables=("minikinetics-move-3",),
        backbone="ResNet101",
        printed=(0.3, 0.4),
        settings={"aggregator": "psa-codebook", "clip_scope": "classifier", "alpha": 0.2},
        columns=("All", "Acc@1"),
        data="minikinetics-0.05",
    )


def test_rows_may_stand_elsewhere_and_be_quoted_otherwise():
    printed = rows(
        "videolt-1,videolt-2,x,x,r50,ResNet50,0.1,,,,,",
        "videolt-3,move-1,x,x,r101,ResNet101,0.2,,,,,",
    ) + rows("move-1,,x,x,r101,ResNet101,0.9", columns="All")
    found = published("x", "x", printed=printed)
    assert found["r101"].tables == ("videolt-3", "move-1")
    assert found["r50"].tables[0] == "videolt-1"
    assert (found["r101"].quoted, found["r50"].quoted) == ({"move-1": (0.9,)}, {})
    printed = rows("videolt-9,,x,x,r101-own-word,ResNet101,0.1,,,,,")
    found = published("x", "x", printed=printed, beta="own")
    assert (found["r101-own-word"].tables, found["r101-own-word"].settings) == (("videolt-9",), {"beta": "own"})


def test_presets_are_chosen_by_row_and_name():
    lines = [f"videolt-1,,{row},x,{name},R,0.1,,,,," for row, name in (("a", "r50"), ("b", "r50-agg"), ("a", "r101"))]
    printed = rows(*lines, "videolt-1,,a,y,r50,R,0.1,,,,,")
    assert list(published("x", "b", "a", printed=printed)) == ["r50", "r50-agg", "r101"]
    assert list(published("x", "a", printed=printed, only="r5*")) == ["r50"]
    assert list(published("x", "a", "b", printed=printed, without="*-agg*")) == ["r50", "r101"]
    with pytest.raises(ValueError, match=r"^row: expected one of a, b, got 'mixup'$"):
        published("x", "mixup", printed=printed)


def test_a_row_without_a_table_is_an_error():
    with pytest.raises(ValueError, match=r"^paper, line 2: expected text in each of table, .*, got an empty table$"):
        rows(",,x,x,r101-word,ResNet101,0.1,,,,,")
    printed = rows("videolt-1,,x,x,r50,R,0.1,,,,,", "videolt-2,,x,x,r50,R,0.2,,,,,")
    with pytest.raises(ValueError, match=r"^repeated_in: expected videolt-2 .* x:r50 of videolt-1, got none$"):
        published("x", "x", printed=printed)
