"""Rows of published tables as presets of methods.

The numbers stand in `vltr_train.papers`. The name of a preset is BACKBONE or BACKBONE-WORD-WORD, and `WORDS` are the
settings that a word stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from vltr_eval._base.arguments import unknown_name
from vltr_train.method import Preset
from vltr_train.papers import PrintedRow, printed_rows

__all__ = ["published"]

WORDS: Mapping[str, Mapping[str, Any]] = {
    "netvlad": {"aggregator": "netvlad"},
    # "Agg" in MOVE's tables is psa-codebook; there the published code clips the gradients of the classifier alone.
    **{
        word: {"aggregator": aggregator, "clip_scope": "classifier"}
        for word, aggregator in {"agg": "psa-codebook", "psa": "psa", "codebook": "codebook", "msa": "msa"}.items()
    },
    "charadeslt": {"aggregator": "nextvlad", "test_frames": 200},  # 200 frames are all that a video has there
    "charadesegolt": {"aggregator": "nextvlad", "test_frames": 200},
    "ava": {"train_frames": 1, "test_frames": 1, "dropout": 0.3},  # one vector for each box
}
"""Settings of words in the names of presets. For any other word, the method gives the settings to `published`."""

VIDEOLT_COLUMNS = ("All", "Head", "Medium", "Tail", "Acc@1", "Acc@5")
"""The columns of `Preset.printed` for rows on VideoLT."""

COLUMNS = {
    "minikinetics": ("All", "Acc@1"),
    "charadeslt": ("All", "Head", "Medium", "Tail"),
    "charadesegolt": ("All", "Head", "Medium", "Tail"),
    "ava": ("SAP", "SAP tail", "SAP head", "All"),
}
"""The columns of `Preset.printed` for rows on other data sets."""


def published(
    method: str,
    *rows: str,
    only: str = "*",
    without: str = "",
    official: Mapping[str, Any] = MappingProxyType({}),
    printed: Iterable[PrintedRow] | None = None,
    **settings: Any,
) -> dict[str, Preset]:
    """Make presets from the rows that papers print for a method.

    Args:
        method: The name of the method in the papers' files.
        rows: The names of the rows in the papers' tables.
        only: A pattern of names of presets, such as ``"*-agg*"``; other presets are left out.
        without: A pattern of names of presets that are left out.
        official: `Preset.official` of these presets.
        printed: The rows to choose from; by default the rows of all papers.
        **settings: Settings of these presets, beside those of `WORDS`.

    Returns:
        The presets by name, in the order of the papers' files.

    Raises:
        ValueError: No paper prints such a row for the method, or a further line of a preset is from a table that its
            first line does not name.

    Example:
        >>> published("focal", "focal loss", gamma=2.0)["i3d-ava"].printed
        (0.434, 0.411, 0.442, None)
    """
    lines = [line for line in (printed_rows() if printed is None else printed) if line.method == method]
    known = {line.row for line in lines}
    for row in rows:
        if row not in known:
            raise unknown_name("row", row, sorted(known))
    of_preset: dict[str, list[PrintedRow]] = {}
    for line in lines:
        if line.row in rows and fnmatchcase(line.preset, only) and not fnmatchcase(line.preset, without):
            of_preset.setdefault(line.preset, []).append(line)
    return {name: _preset(name, *found, official=official, settings=settings) for name, found in of_preset.items()}


def _preset(
    name: str, first: PrintedRow, *others: PrintedRow, official: Mapping[str, Any], settings: Mapping[str, Any]
) -> Preset:
    """The preset of a row: as it was printed first, and as other tables print it."""
    columns = COLUMNS.get(first.table.partition("-")[0])
    headings = columns or VIDEOLT_COLUMNS
    for other in others:
        if other.table not in first.repeated_in:
            raise ValueError(
                f"repeated_in: expected {other.table} among the tables that repeat {first.method}:{name} of "
                f"{first.table}, got {', '.join(first.repeated_in) or 'none'}"
            )
    return Preset(
        row=first.row,
        tables=(first.table, *first.repeated_in),
        backbone=first.features,
        printed=tuple(first.numbers.get(heading) for heading in headings),
        settings={key: value for word in name.split("-") for key, value in WORDS.get(word, {}).items()}
        | dict(settings),
        columns=columns,
        data=first.data,
        quoted={
            other.table: tuple(other.numbers[heading] for heading in headings if heading in other.numbers)
            for other in others
        },
        official=official,
    )
