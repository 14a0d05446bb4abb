"""Published label tables that need more than the general rules: which rows are labels, and several rows an id.

    OpenImages human-imagelabels: ``ImageID,Source,LabelName,Confidence``; 1 is verified present, 0 verified absent
    AudioSet strong: ``segment_id,start_time_seconds,end_time_seconds,label``; a line for each event

AudioSet's weak lists, FSD50K, Charades, Kinetics and EPIC-KITCHENS follow the general rules: an id column and one
labels column. Sources: storage.googleapis.com/openimages, research.google.com/audioset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vltr_eval.formats.roles import plain
from vltr_eval.formats.table import NUMBER, TEXT, Column, LabelPairs, Table

OPEN_IMAGES = {"imageid", "labelname", "confidence"}
COUNT_AS_ABSENT = ", and count as absent"
AUDIOSET_STRONG = {"segment_id", "start_time_seconds", "end_time_seconds", "label"}


def unfold(table: Table) -> tuple[Table, bool]:
    """Return the table with its id and labels columns alone, and whether an id may have several rows."""
    names = [plain(column.name or "") for column in table.columns]
    if set(names) >= OPEN_IMAGES:
        return _open_images(table, names), True
    if set(names) >= AUDIOSET_STRONG:
        return _only(table, [names.index("segment_id"), names.index("label")]), True
    return table, False


def listed(table: Table) -> tuple[Table, bool] | None:
    """Return the table of all cells that someone verified, positive or not, as `unfold` does; None without such."""
    names = [plain(column.name or "") for column in table.columns]
    if set(names) >= OPEN_IMAGES:
        return _only(table, [names.index("imageid"), names.index("labelname")]), True
    if table.known is not None and table.pairs is not None:
        known = table.known
        return replace(table, pairs=LabelPairs(table.num_rows, None, known.rows, known.values)), False
    if table.known is not None:
        return replace(table, lists=table.known), False
    return None


def _only(table: Table, positions: Sequence[int], labels: np.ndarray | None = None) -> Table:
    columns = (Column("id", TEXT), Column("labels", TEXT))
    values = [_text(table, position) for position in positions]
    if labels is not None:
        values[1] = labels
    return Table(
        table.source, table.num_rows, columns, read_column=lambda position: values[position], notes=table.notes
    )


def _text(table: Table, position: int) -> np.ndarray:
    """A column as text, also where all its ids or class names are digits."""
    values = table.read_column(position)
    if table.columns[position].kind == TEXT:
        return np.asarray(values)
    if table.columns[position].kind == NUMBER and values.dtype.kind in "iu":
        return np.array(list(map(str, values.tolist())), object)
    raise table.error(
        f"column {table.column_names[position]}: expected text, got {table.columns[position].kind} values"
    )


def _open_images(table: Table, names: list[str]) -> Table:
    position = names.index("confidence")
    if table.columns[position].kind != NUMBER:
        raise table.error(f"column {table.column_names[position]}: expected 0 or 1, got {table.columns[position].kind}")
    confidence = table.read_column(position)
    odd = np.flatnonzero((confidence != 0) & (confidence != 1))
    if len(odd):
        raise table.error(
            f"row {odd[0]}: expected a Confidence of 1 (verified present) or 0 (verified absent), got "
            f"{confidence[odd[0]]}; machine-made labels are no ground truth"
        )
    labels = _text(table, names.index("labelname")).copy()
    labels[confidence == 0] = ""  # a row without a label, so that its image stays
    absent = int(np.count_nonzero(confidence == 0))
    only = _only(table, [names.index("imageid"), names.index("labelname")], labels)
    return only.with_notes(
        f"{table.name}: {absent:,} labels are verified absent; labels without a line are unknown{COUNT_AS_ABSENT}"
    )
