"""The front door of reading: a spec becomes tables, tables become scores and labels, and these are aligned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval._base.progress import part_of
from vltr_eval.formats import class_files, label_lists, published
from vltr_eval.formats.align import (
    Aligned,
    ClassNames,
    align,
    order_label_shard,
    order_shards,
    settle_labels,
)
from vltr_eval.formats.column_roles import Options, columns_of, matching_columns
from vltr_eval.formats.frames import is_frame, table_of_frame
from vltr_eval.formats.local_files import local_file
from vltr_eval.formats.meaning import Labels, Scores, labels_of, scores_of, settle_headers
from vltr_eval.formats.roles import COUNTS, IDS, LABELS, MASK, SCORES, Role, has_role
from vltr_eval.formats.sources import Source, Spec, check_regular, expand, expand_one, is_spec, listing, quote, reading
from vltr_eval.formats.table import BOOL, LIST, MATRIX, NUMBER, TEXT, LabelPairs, Lists, Table
from vltr_eval.formats.unknown_marks import KNOWN, UNKNOWN, CellMask, split_unknown

if TYPE_CHECKING:
    from vltr_eval.formats.tfrecord import SegmentRatings

__all__ = [
    "read_class_names",
    "read_ids",
    "read_labelmap",
    "read_labels",
    "read_pair",
    "read_prior",
    "read_scores",
    "read_table",
    "read_train_counts",
    "read_youtube8m_segments",
]

Progress = Callable[[float], None]


def read_scores(
    spec: Spec,
    *,
    ids: str | None = None,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    header: bool | None = None,
    class_names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Read a file of scores, or several files as row shards.

    .npy, .safetensors and .pt are memory-mapped; .npz, .parquet, .csv, .tsv, .json and .jsonl are read into memory. The
    dtype is the file's (text is float64). .pt gives torch CPU tensors, everything else numpy arrays.

    Args:
        spec: A path, a glob pattern, or a list of these; ``FILE::KEY`` picks one array of a file with several.
        ids: The name of the column with the row ids, where names do not tell it.
        columns: Names, patterns, positions or ranges (``3:``) of the columns that are classes.
        exclude: The same, of columns to leave out.
        header: Whether a first line of a text file that can be a header or a row is a header.
        class_names: Names that are known to be classes, so that none of them is suspected to be an id.
        progress: Called with the share of the bytes that have been read.

    Returns:
        `Scores`: ``values`` is one (N, C) or (N,) array, or a list of row shards; ``class_names``, ``ids`` and
        ``notes`` are what the files say beside.

    Raises:
        InputError: A file that is missing, truncated, foreign, of another shape or in doubt, and shards that disagree.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "preds.csv"
        >>> _ = file.write_text("id,cat,dog\\nv1,0.9,0.1\\nv2,0.2,0.7\\n")
        >>> scores = read_scores(file)
        >>> scores.values.tolist(), scores.class_names, scores.ids.tolist()
        ([[0.9, 0.1], [0.2, 0.7]], ('cat', 'dog'), ['v1', 'v2'])
    """
    options = _options(ids=ids, columns=columns, exclude=exclude, header=header)
    tables = _tables_of("scores", spec, SCORES, options, progress)
    _check_excluded(tables, options.exclude)
    return _scores_of_tables(tables, options, class_names or ())


def read_labels(
    spec: Spec,
    num_rows: int | None = None,
    num_classes: int | None = None,
    *,
    ids: str | None = None,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    header: bool | None = None,
    label_form: str | None = None,
    class_names: Sequence[str] | ClassNames | None = None,
    progress: Progress | None = None,
) -> Labels:
    """Read a file of labels, or several files as row shards, which are joined.

    Args:
        spec: As of `read_scores`; besides its formats scipy sparse .npz, .lst and ``path label`` lists.
        num_rows: N of the scores, None where it is not known yet.
        num_classes: C of the scores, None where it is not known yet.
        ids: The name of the column with the row ids, where names do not tell it.
        columns: Names, patterns, positions or ranges of the columns that are classes.
        exclude: The same, of columns to leave out.
        header: Whether a first line of a text file that can be a header or a row is a header.
        label_form: "dense", "indices", "lists", "names", "long" or "videofolder", where the file does not tell.
        class_names: The classes by name, in class order; needed where labels are names.
        progress: Called with the share of the bytes that have been read.

    Returns:
        `Labels`: ``values`` is a dense (N, C) array of 0/1, (N,) class indices, or `LabelPairs`.

    Raises:
        InputError: As `read_scores`, and a shape or class index that disagrees with the scores.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "labels.csv"
        >>> _ = file.write_text("id,labels\\nv1,dog;cat\\nv2,dog\\n")
        >>> labels = read_labels(file, class_names=["cat", "dog"])
        >>> labels.values.rows.tolist(), labels.values.classes.tolist()
        ([0, 0, 1], [0, 1, 1])
    """
    options = _options(ids=ids, columns=columns, exclude=exclude, header=header, label_form=label_form)
    names = _class_names(class_names)
    tables = _tables_of("labels", spec, LABELS, options, progress)
    _check_excluded(tables, options.exclude)
    if num_rows is not None:
        tables = settle_headers([Table("scores", num_rows)], tables, options)[1]
    labels = _labels_of_tables(tables, options, () if names is None else names.names)
    labels = settle_labels(labels, num_classes, names)
    if num_rows is not None and labels.num_rows != num_rows and labels.form != "long":
        raise InputError(f"{labels.name}: {labels.num_rows} rows of labels, but the scores have {num_rows} rows")
    return labels


def read_pair(
    scores: Any,
    labels: Any,
    *,
    ids: str | Sequence[Any] | np.ndarray | None = None,
    label_ids: str | Sequence[Any] | np.ndarray | None = None,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    header: bool | None = None,
    label_form: str | None = None,
    class_names: Sequence[str] | ClassNames | None = None,
    join: str = "exact",
    views: bool = False,
    mask: Any = None,
    unknown: Any = None,
    progress: Progress | None = None,
) -> Aligned:
    """Read scores and labels and bring them together: classes by name, rows by id.

    Args:
        scores: A spec, a data frame, or `Scores`.
        labels: A spec, a data frame or Series, or `Labels`.
        ids: Row ids of the scores: (N,) strings or integers, a file with one id a row, or the name of a column.
        label_ids: The same for the labels; the column of ``ids`` unless given.
        columns: As of `read_scores`; of the labels where they have these columns.
        exclude: Columns to leave out, of both.
        header: Whether a first line of text files that can be a header or a row is a header.
        label_form: As of `read_labels`.
        class_names: The names and the order of the classes.
        join: "exact": both sides must have the same ids; "inner": the rows that both have.
        views: Whether the rows of one id are views of one video. Rows then stay where they are.
        mask: Which labels are known: a spec of a file, a data frame, or a `CellMask` with the rows of the labels.
        unknown: The value of ``labels`` that marks an unknown cell, see `vltr_eval.formats.unknown_marks.read_marks`;
            or a spec of a file of a mask.
        progress: Called with the share of the bytes that have been read.

    Raises:
        InputError: As `read_scores` and `read_labels`, and names or ids that differ.
    """
    marks, mask = split_unknown(unknown, mask)
    names = _class_names(class_names)
    known = () if names is None else tuple(names.index_of)
    score_column, score_ids = _ids_of(ids)
    label_column, own_ids = _ids_of(label_ids)
    for_scores = _options(ids=score_column, columns=columns, exclude=exclude, header=header)
    shared_column = label_column or (score_column if label_ids is None else None)
    for_labels = _options(ids=shared_column, columns=columns, exclude=exclude, header=header, label_form=label_form)
    if marks is not None:
        for_labels = replace(for_labels, missing=marks.of_missing, unlisted=marks.unlisted)
    middle = 1.0 if progress is None else _shares([_size_of(scores), _size_of(labels)])[1]
    score_tables = _tables_of("scores", scores, SCORES, for_scores, part_of(progress, 0.0, middle))
    label_tables = _tables_of("labels", labels, LABELS, for_labels, part_of(progress, middle, 1.0))
    sides = (score_tables or [Table("scores", scores.num_rows)], label_tables or [Table("labels", labels.num_rows)])
    _check_excluded((*score_tables, *label_tables), for_scores.exclude)
    _check_ids_columns(ids=(score_column, score_tables + label_tables), label_ids=(label_column, label_tables))
    one, other, notes = settle_headers(*sides, for_scores)
    if score_tables:
        scores = _scores_of_tables(one, for_scores, known)
    if label_tables:
        for_labels = _for_labels(other, for_labels)
        labels = _labels_or_advice(other, for_labels, known or scores.class_names or ())
    if score_ids is not None:
        scores = replace(scores, ids=_checked_ids(_file_or("ids", ids), score_ids, scores.num_rows))
    if own_ids is not None:
        labels = replace(labels, ids=_checked_ids(_file_or("label_ids", label_ids), own_ids, labels.num_rows))
    if not views and (ids is not None or label_ids is not None) and (scores.ids is None or labels.ids is None):
        raise _ids_missing(scores if scores.ids is None else labels)
    aligned = align(scores, labels, names, join, views=views)
    aligned = replace(aligned, notes=(*notes, *aligned.notes))
    if labels.listed is not None:
        listed = labels.listed if own_ids is None else replace(labels.listed, ids=labels.ids)
        aligned = aligned.with_mask(listed, KNOWN, labels, names, join)
    elif marks is not None and marks.unlisted:
        raise InputError(
            f"{labels.name}: expected a list of verified labels for unknown='unlisted' (--unknown unlisted), such as "
            "OpenImages' ImageID,LabelName,Confidence, LVIS' instances or YouTube-8M's segments, got other labels"
        )
    if mask is not None:
        own, kind = _read_mask(mask, labels, for_labels, known or aligned.class_names or ())
        aligned = aligned.with_mask(own, kind, labels, names, join)
    return aligned


def _read_mask(mask: Any, labels: Labels, for_labels: Options, class_names: Iterable[str]) -> tuple[Labels, str]:
    """A mask in the form of labels, and whether it has the cells that are known or those that are not.

    Columns of True and False, or of 1 and 0, say where labels are known. Lists and sparse matrices have the unknown
    cells.
    """
    if isinstance(mask, CellMask):
        return Labels(mask.cells, name=mask.name), mask.kind
    options = Options(for_labels.ids, for_labels.columns, for_labels.exclude, None, for_labels.header)
    tables = _tables_of("mask", mask, MASK, options, None)
    options = _for_labels(tables, options)
    found = _labels_of_tables(tables, replace(options, label_form=_form_of_mask(tables)), class_names)
    is_dense = hasattr(found.values, "shape") and getattr(found.values, "ndim", 2) == 2
    if not is_dense and found.ids is None and labels.ids is not None and found.num_rows != labels.num_rows:
        raise InputError(
            f"{found.name}: expected ids, or a line for each of {labels.num_rows} rows of labels, got none"
        )
    return found, KNOWN if is_dense else UNKNOWN


def _form_of_mask(tables: Sequence[Table]) -> str | None:
    """Lines of an id and a class list cells one by one, so that an id may have several lines."""
    return (
        "long" if all(table.columns and not table.positions({NUMBER, BOOL, LIST, MATRIX}) for table in tables) else None
    )


def read_train_counts(
    path: str | os.PathLike[str], num_classes: int | None = None, class_names: Sequence[str] | ClassNames | None = None
) -> np.ndarray:
    """Read the number of training examples of each class.

    Args:
        path: .lst with ``<name> <index> <count>`` a line, as VideoLT's count-labels-train.lst (``river 0 1912.0``), in
            any order; an array or table of one number a class; or a training label file, whose labels are counted.
        num_classes: C of the scores, None where it is not known.
        class_names: The classes of the evaluation: counts with names are matched by name.

    Returns:
        (C,) int64.

    Raises:
        InputError: A count that is not a whole number >= 0, or another number of classes.
    """
    source = expand_one(path)
    counts = class_files.class_numbers(source, _counts_table, num_classes, "counts", _class_names(class_names))
    whole = (counts >= 0) & (counts < 2**53) & (counts == np.floor(counts))
    if not whole.all():
        c = int(np.argmin(whole))
        raise InputError(f"{source}: expected whole numbers >= 0, got {counts[c]} for class {c}")
    return counts.astype(np.int64)


def read_prior(
    path: str | os.PathLike[str], num_classes: int | None = None, class_names: Sequence[str] | ClassNames | None = None
) -> np.ndarray:
    """Read a class distribution, (C,) of numbers from 0 up of any sum; formats and names as `read_train_counts`.

    Raises:
        InputError: A number that is negative or not finite, all numbers 0, or another number of classes.
    """
    source = expand_one(path)
    shares = class_files.class_numbers(source, _counts_table, num_classes, "shares", _class_names(class_names))
    bad = np.flatnonzero(~((shares >= 0) & (shares < np.inf)))
    if bad.size:
        raise InputError(f"{source}: expected finite numbers >= 0, got {shares[bad[0]]} for class {bad[0]}")
    if not shares.any():
        raise InputError(f"{source}: expected a share above 0 for some class, got none")
    return shares


def read_class_names(path: str | os.PathLike[str], num_classes: int | None = None) -> ClassNames:
    """Read the class names, in class order, with every name under which a class can be looked up.

    Args:
        path: One name a line, a training-count .lst, a table with an index column and names (AudioSet's
            class_labels_indices.csv), or JSON.
        num_classes: C of the scores, None where it is not known.

    Raises:
        InputError: An empty or repeated name, or another number of names.
    """
    return class_files.read_class_names(path, lambda source: read_table(source, LABELS, Options()), num_classes)


def read_labelmap(path: str | os.PathLike[str]) -> dict[int, str]:
    """Read the name of each class by its id from a label map of AVA (.pbtxt).

    Args:
        path: A text file (UTF-8) of blocks ``item { name: "..." id: N }``.

    Returns:
        The names by id, ids ascending.

    Raises:
        InputError: The file is missing, is no label map or is damaged; a block has no name or no id, or several; or two
            blocks have the same id or the same name.

    Example:
        >>> read_labelmap("ava_action_list_v2.2_for_activitynet_2019.pbtxt")[1]  # doctest: +SKIP
        'bend/bow (at the waist)'
    """
    from vltr_eval.formats import label_map

    return label_map.read_labelmap(path)


def read_youtube8m_segments(spec: Spec, *, progress: Progress | None = None) -> SegmentRatings:
    """Read the rated segments of YouTube-8M's validation files of 2019.

    Args:
        spec: A path, a glob pattern, or a list of these: TFRecord files of the frame level.
        progress: Called with the share of the bytes that is done.

    Returns:
        The ratings in the order of the files. Records without ratings give none.

    Raises:
        InputError: A file that is missing or damaged, or another number of start times or scores than of labels.

    Example:
        >>> ratings = read_youtube8m_segments("validate*.tfrecord")  # doctest: +SKIP
        >>> ratings.ids[0], ratings.classes[0], ratings.scores[0]  # doctest: +SKIP
        ('AbCd:35', 1088, 1.0)
    """
    from vltr_eval.formats import tfrecord

    return tfrecord.read_segments(spec, progress)


def read_ids(path: str | os.PathLike[str]) -> np.ndarray:
    """Read row ids: one a line, the ids of a .lst, a JSON list, an .npy of strings or integers, or the id column.

    Returns:
        (N,) objects of str, or int64.
    """
    source = local_file(path)
    if source.suffix == ".txt" or _is_text_pkl(source):
        with reading(source):
            check_regular(source)
            lines = [line.strip() for line in label_lists.lines_of(source)]
        if "" in lines:
            raise InputError(f"{source}: line {lines.index('') + 1}: expected an id, got an empty line")
        return np.array(lines, object)
    if source.suffix == ".npy":
        return _ids_of_npy(source)
    table = read_table(source, IDS, Options())
    if table.ids is not None:
        return table.ids
    if table.array is not None and table.array.ndim == 1:
        return _checked_ids(str(source), np.asarray(table.array), table.num_rows)
    named = [position for position, column in enumerate(table.columns) if has_role(column.name, IDS)]
    texts = table.positions({TEXT})
    for positions in (named, texts, table.positions({TEXT, NUMBER})):
        if len(positions) == 1:
            return _checked_ids(str(source), table.read_column(positions[0]), table.num_rows)
    raise InputError(f"{source}: expected one column of ids, got {len(table.columns)} columns")


def _is_text_pkl(source: Source) -> bool:
    """Whether a file is called .pkl and holds lines of text, as DistributionBalancedLoss' img_id.pkl."""
    if source.suffix not in (".pkl", ".pickle"):
        return False
    from vltr_eval.formats.pickled_data import is_pickle

    with reading(source):
        check_regular(source)
        return not is_pickle(source.path)


def _ids_of_npy(source: Source) -> np.ndarray:
    from vltr_eval.formats import numpy_files

    with reading(source):
        check_regular(source)
        ids = numpy_files.read_names(source)
    return _checked_ids(str(source), ids, len(ids))


# ---------------------------------------------------------------------------------------------------------------------
# Steps
# ---------------------------------------------------------------------------------------------------------------------


def _options(
    *,
    ids: str | None,
    columns: Sequence[str] | None,
    exclude: Sequence[str],
    header: bool | None,
    label_form: str | None = None,
) -> Options:
    exclude = (exclude,) if isinstance(exclude, str) else tuple(map(str, exclude))
    if columns is not None:
        columns = (columns,) if isinstance(columns, str) else tuple(map(str, columns))
    return Options(ids, columns, exclude, label_form, header)


def _class_names(names: Sequence[str] | ClassNames | None) -> ClassNames | None:
    return names if names is None or isinstance(names, ClassNames) else ClassNames.from_names(names)


def _ids_of(ids: Any) -> tuple[str | None, np.ndarray | None]:
    """The column that ids name, or the ids themselves."""
    if ids is None:
        return None, None
    if isinstance(ids, (str, os.PathLike)):
        return (os.fspath(ids), None) if not os.path.isfile(ids) else (None, read_ids(ids))
    return None, ids


def _checked_ids(name: str, ids: Any, num_rows: int) -> np.ndarray:
    """Ids as objects of str or int64, one a row."""
    values = ids.to_numpy() if hasattr(ids, "to_numpy") else ids.tolist() if hasattr(ids, "tolist") else list(ids)
    values = np.asarray(values, None if isinstance(values, np.ndarray) else object)
    if values.shape != (num_rows,):
        got = len(values) if values.ndim == 1 else f"shape {values.shape}"
        raise InputError(f"{name}: expected one id for each of {num_rows} rows, got {got}")
    if values.dtype.kind in "iu" and values.dtype != np.uint64:
        return values.astype(np.int64)
    plain = [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]
    if all(type(value) is int for value in plain):
        fits = all(-(2**63) <= int(value) < 2**63 for value in plain)
        return np.array(plain, np.int64) if fits else np.array(list(map(str, plain)), object)
    wrong = next((row for row, value in enumerate(plain) if not isinstance(value, str)), None)
    if wrong is not None:
        raise InputError(f"{name}: expected strings or integers, got {plain[wrong]!r} in row {wrong}")
    return np.array(plain, object)


def _file_or(argument: str, ids: Any) -> str:
    """The name of ids in messages: their file, or the argument."""
    return os.fspath(ids) if isinstance(ids, (str, os.PathLike)) else argument


def _check_ids_columns(**named: tuple[str | None, Sequence[Table]]) -> None:
    """Raise InputError for a name that is no file and no column of any table where it should be."""
    for argument, (name, tables) in named.items():
        known = list(dict.fromkeys(column.name for table in tables for column in table.columns if column.name))
        if name is not None and tables and name not in known:
            has = f"; the columns are {listing(known, 6)}" if known else ""
            raise InputError(
                f"{argument}: expected a file or a column, got {name!r}{has} (--{argument.replace('_', '-')})"
            )


def _ids_missing(side: Scores | Labels) -> InputError:
    """The error for ids on one side alone."""
    option = "ids= (--ids)" if isinstance(side, Scores) else "label_ids= (--label-ids)"
    return InputError(f"{side.name}: expected ids on both sides to join rows by, got none; give {option}")


def _for_labels(tables: Sequence[Table], options: Options) -> Options:
    """``columns`` chooses the classes of the scores; labels follow where they have such columns."""
    if options.columns is None:
        return options
    names = {column.name for table in tables for column in table.columns}
    return options if names & set(options.columns) else replace(options, columns=None)


def _check_excluded(tables: Iterable[Table], exclude: Sequence[str]) -> None:
    """Raise InputError where ``exclude`` names a column that no file has."""
    if not exclude:  # the columns of an array are made for this check alone
        return
    tables = [table for side in tables for table in (side, side.first_line) if table is not None]
    columns = {name: None for table in tables for name in columns_of(table).column_names}
    for item in exclude:
        if not any(matching_columns(columns_of(table), [item]) for table in tables):
            raise InputError(f"exclude: no column is {quote(item)}; the columns are {listing(columns, 6)}")


def _read_tables(spec: Spec, role: Role, options: Options, progress: Progress | None) -> list[Table]:
    sources = expand(spec)
    ends = _shares([source.size for source in sources]) if progress is not None else [0.0] * (len(sources) + 1)
    return [
        read_table(source, role, options, part_of(progress, ends[number], ends[number + 1]))
        for number, source in enumerate(sources)
    ]


def _tables_of(name: str, value: Any, role: Role, options: Options, progress: Progress | None) -> list[Table]:
    """The tables of a spec or a data frame; none of what was read already."""
    if is_spec(value) or (isinstance(value, (list, tuple)) and not value):
        return _read_tables(value, role, options, progress)
    if is_frame(value):
        return [table_of_frame(name, value)]
    if isinstance(value, (Scores, Labels)):
        return []
    raise TypeError(f"{name}: expected a path, a list of paths or a data frame, got {type(value).__name__}")


def _shares(sizes: Sequence[int]) -> list[float]:
    """Return where the parts of a whole begin, by their sizes, and where the last one ends."""
    total = sum(sizes) or 1
    return [sum(sizes[:number]) / total for number in range(len(sizes))] + [1.0]


def _size_of(value: Any) -> int:
    """Return the bytes of the files of a spec; 0 for what is read already."""
    return sum(source.size for source in expand(value)) if is_spec(value) else 0


def _scores_of_tables(tables: Sequence[Table], options: Options, class_names: Iterable[str]) -> Scores:
    shards = [scores_of(table, options, class_names) for table in tables]
    notes = [note for shard in shards for note in shard.notes]
    shards = order_shards(shards, notes)
    if len(shards) == 1:
        return replace(shards[0], notes=tuple(notes))
    _check_shards_agree(shards)
    name = f"{shards[0].name} and {len(shards) - 1} more"
    # Row shards are matrices: a list of columns could also be the rows of one matrix.
    parts = [part for shard in shards for part in shard.shards]
    values = [part[:, None] if part.ndim == 1 else part for part in parts]
    return Scores(values, shards[0].class_names, _joined_ids(shards), tuple(notes), name)


def _refuse_partial_ids(shards: Sequence[Scores | Labels]) -> None:
    """Raise InputError where some shards have text ids and others have none."""
    named = next((shard for shard in shards if shard.ids is not None and shard.ids.dtype == object), None)
    if named is not None:
        lacking = next(shard for shard in shards if shard.ids is None)
        raise InputError(f"{lacking.name}: expected row ids as in {named.name}, got none; store them in all or in none")


def _joined_ids(shards: Sequence[Scores | Labels]) -> np.ndarray | None:
    """The ids of all shards; an index that counts the rows serves beside whole numbers. None where a shard has none."""
    if all(shard.ids is None for shard in shards):
        return None
    parts = [np.arange(shard.num_rows) if shard.ids is None and shard.counts_rows else shard.ids for shard in shards]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        _refuse_partial_ids(shards)
        return None
    if len({part.dtype for part in found}) > 1:
        found = [np.array(list(map(str, part.tolist())), object) for part in found]
    return np.concatenate(found)


def _check_shards_agree(shards: Sequence[Scores | Labels]) -> None:
    """Row shards of one matrix have the same dtype and columns."""
    for shard in shards:
        for own, first in zip(_form(shard.values), _form(shards[0].values), strict=True):
            if own != first:
                raise InputError(f"{shard.name}: {own}, but {shards[0].name} has {first}")


def _form(values: Any) -> tuple[str, str]:
    """The properties that row shards must have in common, in words."""
    values = values[0] if isinstance(values, list) else values
    columns = f"{values.shape[1]} columns" if values.ndim == 2 else "no columns"
    return columns, str(values.dtype)


def _labels_of_tables(tables: Sequence[Table], options: Options, class_names: Iterable[str]) -> Labels:
    shards = []
    for table in tables:
        verified = published.listed(table) if options.unlisted else None
        table, is_long = published.unfold(table)
        own = replace(options, label_form="long") if is_long and options.label_form is None else options
        found = labels_of(table, own, class_names)
        shards.append(found if verified is None else _with_listed(found, labels_of(verified[0], own, class_names)))
    if len(shards) == 1:
        return shards[0]
    joined = _join_labels(shards)
    listed = [shard.listed for shard in shards if shard.listed is not None]
    return replace(joined, listed=_join_labels(listed) if len(listed) == len(shards) else None)


def _labels_or_advice(tables: Sequence[Table], options: Options, class_names: Iterable[str]) -> Labels:
    """Labels of tables; the error for a missing cell names the option that takes it as unknown."""
    try:
        return _labels_of_tables(tables, options, class_names)
    except InputError as error:
        if options.missing or not str(error).endswith(("an empty cell", "a null", "a missing value")):
            raise
        advice = "if it is an unknown label, unknown='nan' (--unknown nan) leaves the cell out"
        raise InputError(f"{error}; {advice}") from None


def _with_listed(labels: Labels, listed: Labels) -> Labels:
    """Labels beside all cells that were verified, which no longer count as absent where they are not listed."""
    notes = tuple(note.replace(published.COUNT_AS_ABSENT, "") for note in labels.notes)
    return replace(labels, notes=notes, listed=listed)


def _join_labels(shards: Sequence[Labels]) -> Labels:
    """Row shards of labels as one."""
    notes = [note for shard in shards for note in shard.notes]
    if any(isinstance(shard.values, Lists) for shard in shards):  # a shard with one class a row has a plain column
        shards = [_as_lists(shard) for shard in shards]
    if not all(isinstance(shard.values, np.ndarray) and shard.values.ndim == 2 for shard in shards):
        shards = [order_label_shard(shard, shards[0], notes) for shard in shards]
    first = shards[0]
    are_arrays = all(hasattr(shard.values, "shape") for shard in shards)
    odd = [s for s in shards if type(s.values) is not type(first.values) or _classes_of(s) != _classes_of(first)]
    if odd and not are_arrays:
        raise InputError(f"{odd[0].name}: labels of another form or number of classes than {first.name}")
    if are_arrays:
        _check_shards_agree(shards)
        if first.values.ndim == 2:
            shards = order_shards(shards, notes)
            first = shards[0]
        values: Any = np.concatenate([np.asarray(shard.values) for shard in shards])
    elif isinstance(first.values, LabelPairs):
        starts = np.cumsum([0, *(shard.num_rows for shard in shards)])
        rows = [shard.values.rows + start for shard, start in zip(shards, starts[:-1], strict=True)]
        classes = np.concatenate([shard.values.classes for shard in shards])
        values = LabelPairs(int(starts[-1]), first.values.num_classes, np.concatenate(rows), classes)
    elif isinstance(first.values, Lists):
        ends = np.cumsum([0, *(len(shard.values.values) for shard in shards)])
        tails = [shard.values.indptr[1:] + end for shard, end in zip(shards, ends[:-1], strict=True)]
        values = Lists(
            np.concatenate([np.zeros(1, np.int64), *tails]), np.concatenate([shard.values.values for shard in shards])
        )
    else:
        values = replace(first.values, cells=np.concatenate([shard.values.cells for shard in shards]))
    name = f"{first.name} and {len(shards) - 1} more"
    return replace(first, values=values, ids=_joined_ids(shards), notes=tuple(notes), name=name, counts_rows=False)


def _as_lists(labels: Labels) -> Labels:
    """One class index a row as lists of one; other labels as they are."""
    values = labels.values
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iu":
        return labels
    return replace(labels, values=Lists(np.arange(len(values) + 1), values.astype(np.int64)))


def _classes_of(labels: Labels) -> int | None:
    return labels.values.num_classes if isinstance(labels.values, LabelPairs) else None


# ---------------------------------------------------------------------------------------------------------------------
# One file
# ---------------------------------------------------------------------------------------------------------------------

_FORMATS = (
    ".npy",
    ".npz",
    ".h5",
    ".hdf5",
    ".zarr",
    ".zip",
    ".safetensors",
    ".pt",
    ".pth",
    ".pkl",
    ".pickle",
    ".parquet",
    ".arrow",
    ".feather",
    ".ipc",
    ".csv",
    ".tsv",
    ".txt",
    ".json",
    ".jsonl",
    ".ndjson",
)
_SEVERAL_ARRAYS = {".npz", ".safetensors", ".pt", ".pth", ".parquet", ".csv", ".tsv", ".json", ".jsonl", ".ndjson"}
_SEVERAL_ARRAYS |= {".h5", ".hdf5", ".zarr", ".zip", ".arrow", ".feather", ".ipc", ".pkl", ".pickle"}


def _counts_table(source: Source) -> Table:
    return read_table(source, LABELS if source.suffix == ".lst" else COUNTS, Options())


def read_table(source: Source, role: Role, options: Options, progress: Progress | None = None) -> Table:
    """Read one file into a `Table`; readers are imported when their format is met.

    Raises:
        InputError: A format that is not read, or a file that is not of its format.
    """
    if source.path.is_dir():
        from vltr_eval.formats import arrow_files

        if arrow_files.is_saved_dataset(source.path):
            return arrow_files.read_saved_dataset(source, role, progress=progress)
    if source.path.name.endswith((".tfrecord", ".tfrecords", ".tfrecord.gz", ".tfrecords.gz")):
        from vltr_eval.formats import tfrecord

        with reading(source):
            check_regular(source)
        return tfrecord.read_tfrecord(source, role, progress, rated_only=options.unlisted)
    if source.needs_copy:
        from vltr_eval.formats.copies import make_copy  # not above: few files are compressed or remote

        copied = make_copy(source, part_of(progress, 0.0, 0.5))
        try:
            return read_table(copied, role, options, part_of(progress, 0.5, 1.0))
        except BaseException:
            copied.copy.delete()  # the traceback would keep it
            raise
    suffix = source.suffix
    if suffix != ".zarr":  # a folder, perhaps a remote one
        with reading(source):
            check_regular(source)
    formats = (*_FORMATS, ".lst") if role is not SCORES else _FORMATS
    if suffix not in formats:
        raise InputError(
            f"{source}: cannot read {role.name} from a {suffix!r} file; expected one of {', '.join(formats)}"
        )
    if source.key is not None and suffix not in _SEVERAL_ARRAYS:
        raise InputError(f"{source}: a {suffix} file holds one array, so ::{source.key} cannot pick one")
    with reading(source):
        return _read(source, suffix, role, options, progress)


def _read(source: Source, suffix: str, role: Role, options: Options, progress: Progress | None) -> Table:
    if suffix in (".npy", ".npz"):
        from vltr_eval.formats import numpy_files

        return (numpy_files.read_npy if suffix == ".npy" else numpy_files.read_npz)(source, role)
    if suffix in (".h5", ".hdf5"):
        from vltr_eval.formats import hdf5

        return hdf5.read_h5(source, role, progress)
    if suffix in (".zarr", ".zip"):
        from vltr_eval.formats import zarr_files

        return zarr_files.read_zarr(source, role, progress)
    if suffix in (".safetensors", ".pt", ".pth"):
        from vltr_eval.formats import tensors

        return (tensors.read_safetensors if suffix == ".safetensors" else tensors.read_pt)(source, role)
    if suffix in (".pkl", ".pickle"):
        from vltr_eval.formats import pickle_files

        return pickle_files.read_pkl(source, role)
    if suffix == ".parquet":
        from vltr_eval.formats import arrow

        return arrow.read_parquet(source, role, progress=progress)
    if suffix in (".arrow", ".feather", ".ipc"):
        from vltr_eval.formats import arrow_files

        return arrow_files.read_arrow(source, role, progress=progress)
    if suffix in (".json", ".jsonl", ".ndjson"):
        from vltr_eval.formats import json_files

        return json_files.read_json(source) if suffix == ".json" else json_files.read_json_lines(source, progress)
    if suffix == ".lst" or (suffix == ".txt" and role is LABELS and label_lists.is_id_list(source)):
        form = options.label_form if options.label_form in ("lists", "videofolder") else None
        return label_lists.read_id_lists(source, form)
    from vltr_eval.formats import text

    return text.read_text(source, progress=progress)
