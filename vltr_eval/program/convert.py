"""The command ``vltr-eval convert``: scores or labels from one container to another."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vltr_eval._base.files import OutputError, PendingFile
from vltr_eval._base.progress import Progress, part_of
from vltr_eval._base.terminal import OK, ProgressBar, add_command
from vltr_eval.formats import FORMS, LabelPairs, read_class_names, read_ids, read_labels, read_scores
from vltr_eval.formats.content import Content, Narrowing, dtype_of, narrowed
from vltr_eval.formats.sources import is_url
from vltr_eval.formats.writers import CHUNKED, KEYED, WRITERS, Layout, Writer, writer_of
from vltr_eval.program.options import parse_names, parse_yes_or_no, whole_number
from vltr_eval.program.outputs import files_of, note

_DESCRIPTION = """\
Write scores, or labels with --labels, in another container, chosen by the suffix of OUT. Row ids and class names go
along where the container holds them; the program says what it cannot hold. Files larger than memory are fine."""

_DTYPES = ("float16", "float32", "float64")


def add(commands: Any) -> None:
    parser = add_command(commands, "convert", run, _DESCRIPTION)
    parser.add_argument(
        "inputs", nargs="+", metavar="IN", help="a file of any format that is read, FILE::KEY, or its row shards"
    )
    parser.add_argument("output", metavar="OUT", help=f"the file to write: {' '.join(WRITERS)}")
    parser.add_argument("--labels", action="store_true", help="IN holds labels, not scores")
    parser.add_argument(
        "--dtype",
        choices=_DTYPES,
        help="write scores in this dtype; if it is narrower, the largest difference and the new ties are counted",
    )
    parser.add_argument("--key", metavar="NAME", help="name of the array in OUT (default: scores or labels)")
    parser.add_argument(
        "--chunk-rows",
        type=whole_number(1),
        metavar="N",
        help="rows of a chunk (.zarr), of a compressed chunk (.h5, which is not compressed otherwise), of a row group "
        "(.parquet) or of a batch (.arrow)",
    )
    parser.add_argument(
        "--ids", metavar="COLUMN|FILE", help="row ids: a column of IN, or a file with an id for each row"
    )
    parser.add_argument("--columns", type=parse_names, metavar="NAME,...", help="the columns that are classes")
    parser.add_argument(
        "--exclude-columns", "--exclude", type=parse_names, default=(), metavar="NAME,...", help="columns to leave out"
    )
    parser.add_argument(
        "--header",
        type=parse_yes_or_no,
        metavar="yes|no",
        help="whether a first line that can be a header or a row is a header",
    )
    parser.add_argument("--label-form", choices=FORMS, metavar="FORM", help="how to read labels (default: by rule)")
    parser.add_argument("--class-names", metavar="FILE", help="names of the classes, in class order")
    parser.add_argument(
        "--num-classes", type=whole_number(1), metavar="C", help="number of classes of labels that do not tell it"
    )


def run(args: argparse.Namespace) -> int:
    _check(args)
    writer = writer_of(args.output)
    with ProgressBar(sys.stderr, enabled=not args.quiet) as progress:
        if Path(args.output).suffix.lower() == ".zarr":
            with _new_folder(args.output) as (folder, put_in_place):
                _convert(args, writer, lambda write: write(folder), progress)
                put_in_place()
        else:
            with PendingFile(args.output) as pending:
                _convert(args, writer, pending.write, progress)
    return OK


def _check(args: argparse.Namespace) -> None:
    suffix = Path(args.output).suffix.lower()
    if args.key is not None and suffix not in KEYED:
        args.refuse(
            f"argument --key: expected an output with named arrays ({' '.join(sorted(KEYED))}), got {args.output}"
        )
    if args.chunk_rows is not None and suffix not in CHUNKED:
        args.refuse(
            f"argument --chunk-rows: expected an output with chunks ({' '.join(sorted(CHUNKED))}), got {args.output}"
        )
    if args.labels and args.dtype is not None:
        args.refuse("argument --dtype: expected scores, got --labels")
    if not args.labels and (args.label_form is not None or args.num_classes is not None):
        args.refuse("argument --labels: give it as well, since --label-form and --num-classes are about labels")
    if is_url(args.output):
        args.refuse(f"argument OUT: expected a path, got a URL, {args.output}; write a file and copy it")
    target = os.path.realpath(args.output)
    if any(os.path.realpath(file) == target for spec in args.inputs for file in files_of(spec)):
        args.refuse(f"{args.output} is an input and cannot be an output as well")


def _convert(args: argparse.Namespace, writer: Writer, put: Callable[..., None], progress: ProgressBar) -> None:
    """Read, narrow and write; ``put`` is called with a function that writes to a temporary path."""
    content, notes = _read(args, part_of(progress, 0.0, 0.3))
    effect = None
    if args.dtype is not None:
        content, effect = narrowed(content, np.dtype(args.dtype), part_of(progress, 0.3, 0.5))
    layout = Layout(Path(args.output).suffix.lower(), args.key, args.chunk_rows)
    found: list[str] = []

    def write(path: Path) -> None:
        found.extend(writer(content, path, layout, part_of(progress, 0.5, 1.0)))

    put(write)
    progress.wipe()
    for text in (*notes, *found, *([] if effect is None else [_said(effect, args.dtype)])):
        note(args, f"vltr-eval: note: {text}")
    note(args, f"{args.output}: {_described(content)}")


def _read(args: argparse.Namespace, progress: Progress | None) -> tuple[Content, tuple[str, ...]]:
    spec = args.inputs[0] if len(args.inputs) == 1 else args.inputs
    names = None if args.class_names is None else read_class_names(args.class_names)
    is_file = args.ids is not None and os.path.isfile(args.ids)
    how = {"ids": None if is_file else args.ids, "columns": args.columns, "exclude": args.exclude_columns}
    how |= {"header": args.header, "class_names": names if args.labels or names is None else names.names}
    read: Any
    if args.labels:
        read = read_labels(spec, num_classes=args.num_classes, label_form=args.label_form, progress=progress, **how)
    else:
        read = read_scores(spec, progress=progress, **how)
    values = read.values
    shards = values if isinstance(values, list) else [values]
    pairs = values if isinstance(values, LabelPairs) else None
    class_names = read.class_names
    if names is not None:
        total = pairs.num_classes if pairs is not None else shards[0].shape[1] if len(shards[0].shape) == 2 else None
        if total not in (None, len(names.names)):
            raise ValueError(f"{args.class_names}: {len(names.names)} names, but {args.inputs[0]} has {total} classes")
        class_names = class_names or tuple(names.names)
    ids = read.ids
    if is_file:
        ids = read_ids(args.ids)
        if len(ids) != read.num_rows:
            raise ValueError(f"{args.ids}: expected one id for each of {read.num_rows} rows, got {len(ids)}")
    if pairs is not None:
        total = args.num_classes or (None if class_names is None else len(class_names))
        pairs = replace(pairs, num_classes=pairs.num_classes or total)
        content = Content(read.name, "labels", [], pairs, ids, class_names, np.dtype(np.uint8))
    else:
        role = "labels" if args.labels else "scores"
        content = Content(read.name, role, shards, None, ids, class_names, dtype_of(shards[0]))
    return content, read.notes


def _said(effect: Narrowing, dtype: str) -> str:
    if not effect.changed:
        return f"{dtype} holds every number exactly"
    ties = f"{effect.new_ties:,} new tie{'' if effect.new_ties == 1 else 's'}"
    return f"{dtype} changes {effect.changed:,} numbers by at most {effect.largest:.3g} and makes {ties} within classes"


def _described(content: Content) -> str:
    """The output in one line."""
    rows = f"{content.num_rows:,} rows"
    if content.pairs is not None:
        return f"{rows}, {len(content.pairs.rows):,} labels"
    shape = f"{content.num_rows:,} x {content.shape[1]:,}" if content.is_matrix else rows
    return shape if str(content.dtype) == "bfloat16" else f"{shape} {content.dtype}"


@contextmanager
def _new_folder(path: str) -> Any:
    """A temporary folder beside a path, and the function that moves it there; it is removed if it is not moved.

    Raises:
        OutputError: Something has that name already, or the folder cannot be made.
    """
    import shutil  # not above, as the next: few outputs are folders
    import tempfile

    target = Path(path)
    if target.exists():
        raise OutputError(f"{path}: cannot be written (it is there already; remove it first)")
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".unfinished", dir=target.parent))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
    content = folder / target.name

    def put_in_place() -> None:
        try:
            os.rename(content, target)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from None

    try:
        yield content, put_in_place
    finally:
        shutil.rmtree(folder, ignore_errors=True)
