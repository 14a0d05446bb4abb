"""Read .pkl: test results of mmaction2, mmengine and PySlowFast, and dicts or lists of arrays.

    list of dicts, one a row      mmengine's ``--dump``: pred_score, gt_label, ...
    list of arrays, one a row     mmaction 0.x: scores
    [array, array]                PySlowFast: scores and labels
    dict of arrays or lists       DistributionBalancedLoss: gt_labels, class_freq

No Python object is ever unpickled; `pickled_data` makes arrays, lists, dicts, sets, numbers and text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.arrays import Names, check_numbers, check_shape, with_names
from vltr_eval.formats.pickled_data import PickledArray, load_pickle
from vltr_eval.formats.roles import LABELS, SCORES, Role, choose
from vltr_eval.formats.sources import Source, listing
from vltr_eval.formats.table import Lists, Table

_SINGLE = (int, float, bool, type(None))
_MAX_REPEATED = 1 << 27  # numbers of rows that a file of any size may have

_ITEM = ".item"  # the dict that mmaction2 1.0 puts around each score and label


def read_pkl(source: Source, role: Role) -> Table:
    """Read one value of a pickle file, ``FILE::KEY`` or the one whose name says its role.

    Raises:
        InputError: No pickle of plain data, no value or several that could be meant, or rows of different sizes.
    """
    content = _plain(load_pickle(source))
    values = _named(source, content)
    if values is None:
        if source.key is not None:
            raise InputError(f"{source}: the file holds one unnamed value, so ::{source.key} cannot pick one")
        return _table_of(source, role, content)
    chosen = choose(source, role, {name: _num_dims(value) for name, value in values.items()})
    table = _table_of(source, role, values[chosen])
    beside = {name: names for name, value in values.items() if name != chosen and (names := _names_of(value))}
    return with_names(table, role, beside)


def read_groups(source: Source) -> dict[str, Any]:
    """Read a dict of sets of classes, such as DistributionBalancedLoss' class_split.pkl: the group of each class.

    Raises:
        InputError: No dict of sets of class indices, or a class in two groups.
    """
    content = load_pickle(source)
    if not isinstance(content, dict) or not content or not all(isinstance(name, str) for name in content):
        raise InputError(f"{source}: expected a dict of groups, each a set of class indices")
    groups: dict[str, Any] = {}
    for name, members in content.items():
        members = _plain(members)
        members = members.tolist() if isinstance(members, np.ndarray) else members
        if not isinstance(members, (set, frozenset, list, tuple)):
            raise InputError(f"{source}: expected a set of class indices in {name!r}, got {type(members).__name__}")
        for member in members:
            if type(member) is not int:
                raise InputError(f"{source}: expected class indices in {name!r}, got {type(member).__name__}")
            if str(member) in groups:
                raise InputError(
                    f"{source}: expected each class once, got {member} in {groups[str(member)]} and {name}"
                )
            groups[str(member)] = name
    return groups


def _plain(value: Any) -> Any:
    """The array of a `PickledArray`; other values as they are."""
    return value.value if isinstance(value, PickledArray) else value


def _named(source: Source, content: Any) -> dict[str, Any] | None:
    """The values of a file by their names; None for one value without a name."""
    if isinstance(content, dict):
        return {str(name): _plain(value) for name, value in content.items()}
    if not isinstance(content, (list, tuple)) or not content:
        return None
    if all(isinstance(row, dict) for row in content):
        return _columns(source, content)
    if len(content) == 2:
        one, other = map(_plain, content)
        if all(isinstance(value, np.ndarray) for value in (one, other)) and one.ndim == 2 and len(one) == len(other):
            return {"preds": one, "labels": other}
    return None


def _columns(source: Source, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The values of all rows by their names; those of a dict in a row as "outer.inner"."""
    found: dict[str, list[Any]] = {}
    for number, row in enumerate(rows):
        for name, value in _leaves(row):
            column = found.setdefault(name, [])
            if len(column) == number:
                column.append(value)
    lacking = {name: len(column) for name, column in found.items() if len(column) < len(rows)}
    if source.key in lacking:
        raise InputError(f"{source}: row {lacking[source.key]}: has no {source.key}")
    return {name: column for name, column in found.items() if name not in lacking}


def _leaves(row: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    leaves = []
    for name, value in row.items():
        if isinstance(value, dict):
            leaves += [(f"{name}.{key}".removesuffix(_ITEM), _plain(leaf)) for key, leaf in value.items()]
        else:
            leaves.append((str(name), _plain(value)))
    return leaves


def _num_dims(value: Any) -> int:
    """The dimensions of a value as `choose` counts them; a list of text has one."""
    if isinstance(value, np.ndarray):
        return value.ndim
    if isinstance(value, (list, tuple)) and value:
        first = _plain(value[0])
        return 2 if isinstance(first, (list, tuple)) or (isinstance(first, np.ndarray) and first.ndim) else 1
    return 0


def _names_of(value: Any) -> Names | None:
    """A list of text or of whole numbers, or an array of these, that may be names."""
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "SUiu":
        if value.dtype.kind in "iu":
            return Names("integer", len(value), lambda: value)
        texts = [text.decode("latin-1") if isinstance(text, bytes) else text for text in value.tolist()]
        return Names("text", len(texts), lambda: np.array(texts, object))
    if not isinstance(value, (list, tuple)) or not value:
        return None
    kinds = {type(entry) for entry in value}
    if kinds == {str}:
        return Names("text", len(value), lambda: np.array(value, object))
    if kinds == {int} and min(value) >= -(2**63) and max(value) < 2**63:
        return Names("integer", len(value), lambda: np.array(value, np.int64))
    return None


def _table_of(source: Source, role: Role, value: Any) -> Table:
    """The table of an array, or of a list with one value a row."""
    if isinstance(value, (list, tuple)) and value:
        value = _stacked(source, role, [_plain(row) for row in value])
        if isinstance(value, Lists):
            return Table(source, value.num_rows, lists=value)
    if not isinstance(value, np.ndarray):
        what = "an empty list" if value in ([], ()) else f"a {type(value).__name__}"
        raise InputError(f"{source}: expected an array, or a list with an array a row, got {what}")
    check_numbers(source, role, value.dtype)
    check_shape(source, value.shape)
    return Table(source, len(value) if value.ndim else 1, array=np.require(value, requirements="A"))


def _stacked(source: Source, role: Role, rows: Sequence[Any]) -> Any:
    """The values of all rows as an array, or as lists of class indices where they are these."""
    kinds = {type(row) for row in rows}
    if kinds <= {int, float, bool}:
        return np.array(rows)
    numbers = sum(row.size if isinstance(row, np.ndarray) else len(row) for row in rows if not isinstance(row, _SINGLE))
    if numbers > max(_MAX_REPEATED, 16 * source.size):  # a pickle can name one row many times, in two bytes each
        raise InputError(f"{source}: expected rows of about the size of the file, got {numbers:,} numbers in all")
    if kinds <= {list, tuple}:
        lists = Lists.from_rows([[_plain(value) for value in row] for row in rows])
        return lists if role is not SCORES else _rectangle(source, lists)
    if kinds != {np.ndarray}:
        names = listing(sorted(kind.__name__ for kind in kinds))
        raise InputError(f"{source}: expected an array or a list of numbers in every row, got {names}")
    shapes = {row.shape for row in rows}
    dtypes = {row.dtype for row in rows}
    if len(dtypes) > 1:
        at = next(number for number, row in enumerate(rows) if row.dtype != rows[0].dtype)
        raise InputError(f"{source}: row {at}: expected {rows[0].dtype} as in row 0, got {rows[at].dtype}")
    is_whole = rows[0].dtype.kind in "iu"
    if role is LABELS and is_whole and shapes <= {(), (1,)}:  # one class a row
        return np.array([int(row.reshape(())) for row in rows], np.int64)
    if role is LABELS and is_whole and all(len(shape) == 1 for shape in shapes) and not _is_dense(rows, shapes):
        return Lists.from_rows([row.tolist() for row in rows])
    if len(shapes) > 1:
        at = next(number for number, row in enumerate(rows) if row.shape != rows[0].shape)
        raise InputError(f"{source}: row {at}: expected shape {rows[0].shape} as in row 0, got {rows[at].shape}")
    return np.stack(rows)


def _is_dense(rows: Sequence[np.ndarray], shapes: set[Any]) -> bool:
    """Whether equally long rows of 0 and 1 cannot be lists of class indices, since some row has a number twice."""
    if len(shapes) > 1:
        return False
    matrix = np.stack(rows)
    is_bits = ((matrix == 0) | (matrix == 1)).all()
    return bool(is_bits and ((matrix == 0).sum(1) > 1).any() | ((matrix == 1).sum(1) > 1).any())


def _rectangle(source: Source, lists: Lists) -> np.ndarray:
    lengths = lists.lengths
    if lists.values.dtype == object or (lengths != lengths[0]).any():
        raise InputError(f"{source}: expected equally many numbers in every row for scores")
    return lists.values.reshape(len(lengths), -1)
