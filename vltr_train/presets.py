"""Rows of published tables as presets, whose names say what they are of: BACKBONE, or BACKBONE-WORD-WORD."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from vltr_train.method import Preset

__all__ = ["COMPARED", "published"]

BACKBONES = {"r50": "ResNet50", "r101": "ResNet101", "tsm": "TSM-R50", "i3d": "I3D-R50"}

WORDS = {
    "netvlad": {"aggregator": "netvlad"},
    # "Agg" in MOVE's tables is psa-codebook; there the published code clips the gradients of the classifier alone.
    **{
        word: {"aggregator": aggregator, "clip_scope": "classifier"}
        for word, aggregator in {"agg": "psa-codebook", "psa": "psa", "codebook": "codebook", "msa": "msa"}.items()
    },
    "charadeslt": {"aggregator": "nextvlad", "test_frames": 200},  # all that a video has there
    "charadesegolt": {"aggregator": "nextvlad", "test_frames": 200},
    "ava": {"train_frames": 1, "test_frames": 1, "dropout": 0.3},  # one vector a box
}
"""Settings of words in the names of presets. Other words set nothing here; `published` gets their settings."""

VARIANTS = {f"mk{ratio}": f"minikinetics-{ratio}" for ratio in ("0.01", "0.02", "0.05", "0.1")}
"""The variant of a data set that a word stands for."""

COLUMNS = {
    "minikinetics": ("All", "Acc@1"),
    "charadeslt": ("All", "Head", "Medium", "Tail"),
    "charadesegolt": ("All", "Head", "Medium", "Tail"),
    "ava": ("SAP", "SAP tail", "SAP head", "All"),
}
"""Columns that are printed of a data set, where they differ from those of VideoLT's tables."""

COMPARED = ("videolt-1", "videolt-modelzoo", "videolt-move-1", "videolt-medc-1")
"""The tables that all have VideoLT's rows of ResNet features."""

TABLES = {
    "r50": (*COMPARED, "videolt-meid-2"),
    "r101": (*COMPARED, "videolt-meid-2"),
    "r50-agg": ("videolt-move-1",),
    "r101-agg": ("videolt-move-1",),
    "tsm": ("videolt-2",),
    "tsm-netvlad": ("videolt-2",),
    "tsm-agg": ("videolt-move-2",),
    **{
        f"{start}-{word}": ("minikinetics-move-3",)
        for start in ("r50", "r101", "r50-agg", "r101-agg")
        for word in VARIANTS
    },
    "r101-charadeslt": ("charadeslt-meid-3",),
    "r101-charadesegolt": ("charadesegolt-meid-3",),
}
"""Where the row of a method stands that the papers compare theirs with, by the name of its preset."""


def published(
    row: str,
    printed: Mapping[str, tuple[float | None, ...]],
    tables: Mapping[str, tuple[str, ...]] | tuple[str, ...] = MappingProxyType({}),
    quoted: Mapping[str, Mapping[str, tuple[float, ...]]] = MappingProxyType({}),
    official: Mapping[str, Any] = MappingProxyType({}),
    **settings: Any,
) -> dict[str, Preset]:
    """Presets of one method by their names: what papers call a row, and what they print in it on each kind of data.

    printed, tables, quoted: `Preset.printed` and so on, by the names of presets. tables: of those that are not where
    `TABLES` says; or the same for all. official: `Preset.official` of all. settings: of all, beside those that `WORDS`
    says.
    """
    presets = {}
    for name, numbers in printed.items():
        backbone, *words = name.split("-")
        its_tables = tables if isinstance(tables, tuple) else {**TABLES, **tables}[name]
        presets[name] = Preset(
            row=row,
            tables=its_tables,
            backbone=BACKBONES[backbone],
            printed=numbers,
            settings={key: value for word in words for key, value in WORDS.get(word, {}).items()} | settings,
            columns=COLUMNS.get(its_tables[0].partition("-")[0]),
            data="".join(VARIANTS.get(word, "") for word in words),
            quoted=quoted.get(name, {}),
            official=official,
        )
    return presets
