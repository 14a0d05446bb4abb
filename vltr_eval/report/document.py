"""A report as JSON and CSV."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from vltr_eval.report.means import Group, Slice
from vltr_eval.report.names import OVERALL, Metric, grouped_name, interval_names


def flat_means(groups: Sequence[Group], metrics: Sequence[Metric]) -> dict[str, float]:
    """Return the means of groups by their flat names, each with its standard error and interval if it has them."""
    means: dict[str, float] = {}
    for group in groups:
        for metric in metrics:
            name = grouped_name(metric, group.name)
            means[name] = group.values[metric.name]
            if metric.name in group.intervals:
                ends = group.errors[metric.name], *group.intervals[metric.name]
                means |= dict(zip(interval_names(name), ends, strict=True))
    return means


def group_sizes(groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """Return the sizes of the groups for JSON, where the means stand apart."""
    return {
        group.name: {"num_classes": group.num_classes, "num_undefined": group.num_undefined}
        | ({"partition": group.partition} if group.partition else {})
        for group in groups
    }


def read_groups(
    sizes: Mapping[str, Any],
    metrics: Sequence[Metric],
    values: Mapping[str, Any],
    prefix: str = "",
    estimated: Sequence[Metric] = (),
) -> tuple[Group, ...]:
    """Read groups from the output of `group_sizes` and `flat_means`. estimated: the metrics with an interval."""
    groups = []
    for name, counts in sizes.items():
        means = {metric.name: read_number(values[prefix + grouped_name(metric, name)]) for metric in metrics}
        ends = {
            metric.name: [read_number(values[key]) for key in interval_names(prefix + grouped_name(metric, name))]
            for metric in estimated
        }
        groups.append(
            Group(
                name,
                read_count(counts["num_classes"]),
                read_count(counts["num_undefined"]),
                means,
                errors={key: error for key, (error, _, _) in ends.items()},
                intervals={key: (low, high) for key, (_, low, high) in ends.items()},
                partition=read_text(counts.get("partition", "")),
            )
        )
    if [group.name for group in groups[:1]] != [OVERALL]:
        raise TypeError(f"groups without {OVERALL!r} as the first")
    return tuple(groups)


def slices_in_json(slices: Sequence[Slice], metrics: Sequence[Metric]) -> dict[str, dict[str, Any]]:
    """Return slices for JSON: by partition and name, as the report itself has its groups and metrics."""
    found: dict[str, dict[str, Any]] = {}
    for part in slices:
        found.setdefault(part.partition, {})[part.name] = {
            "num_rows": part.num_rows,
            "groups": group_sizes(part.groups),
            "metrics": flat_means(part.groups, metrics),
        }
    return found


def read_slices(
    document: Mapping[str, Any], metrics: Sequence[Metric], estimated: Sequence[Metric]
) -> tuple[Slice, ...]:
    """Read slices from the output of `slices_in_json`. estimated: the metrics with an interval."""
    return tuple(
        Slice(
            name,
            partition,
            read_count(entry["num_rows"]),
            read_groups(entry["groups"], metrics, entry["metrics"], estimated=estimated),
        )
        for partition, entries in document.items()
        for name, entry in entries.items()
    )


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def read_number(value: Any) -> float:
    """Read a JSON value as a number; null is NaN. All readers of this module raise TypeError for other values."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -math.inf < value < math.inf:
        raise TypeError(f"{value!r} where a number belongs")
    return value  # an int stays one, so that the JSON of the report stays the same


def read_count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} where a count belongs")
    return value


def read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where text belongs")
    return value


def read_text_or_none(value: Any) -> str | None:
    return None if value is None else read_text(value)


def read_partitions(value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Read the names of partitions and of their groups."""
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} where partitions belong")
    return tuple((name, read_texts(groups)) for name, groups in value.items())


def read_texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} where a list of texts belongs")
    return tuple(map(read_text, value))


_COLUMN_READERS: dict[str, Callable[[Any], Any]] = {
    "name": read_text,
    "group": read_text,
    "num_positives": read_count,
    "num_negatives": read_count,
    "num_positive_clusters": read_count,
    "num_unknown": read_count,
}


def read_column(name: str, values: Any, num_classes: int, partitions: Collection[str] = ()) -> tuple[Any, ...]:
    """Read a column of the per-class table from JSON. partitions: the columns with the group of each class, or null."""
    reader = read_text_or_none if name in partitions else _COLUMN_READERS.get(name, read_number)
    column = tuple(map(reader, values))
    if len(column) != num_classes:
        raise TypeError(f"{len(column)} values of {name} for {num_classes} classes")
    return column


def _without_nan(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if is_nan(value) else value


def render_json(value: Any, levels: int = 2, indent: str = "") -> str:
    """Write JSON with a line for each entry of the outer objects and none within an array.

    A report of 1,004 classes stays readable that way.
    """
    import json  # not above: the text of a report needs none

    if not isinstance(value, dict) or levels == 0:
        return json.dumps(_without_nan(value), allow_nan=False)
    inner = indent + "  "
    entries = (f"{inner}{json.dumps(key)}: {render_json(item, levels - 1, inner)}" for key, item in value.items())
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}"


def csv_table(columns: Mapping[str, Sequence[Any]]) -> str:
    """Write columns of one length as CSV; undefined values are empty."""
    import csv  # not above: the text of a report needs none

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow(["" if is_nan(value) else value for value in row])
    return text.getvalue()
