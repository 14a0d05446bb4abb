"""Files of ranked lists, and of the labels and counts that come with them.

    .csv         ``ID,CLASS SCORE CLASS SCORE ...`` a line (YouTube-8M's ``VideoId,LabelConfidencePairs``), or
                 ``ID,CLASS CLASS ...``, the best first (iNaturalist's ``id,predicted``), below a header
    .txt         ``N C`` in the first line, then ``CLASS:SCORE CLASS:SCORE ...`` (pyxclib, the XML repository)
    .npz         a scipy.sparse CSR matrix, or arrays ``classes`` and ``scores`` (N, k), perhaps ``ids``

Every failure is an `InputError` of one sentence that begins with the file's name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval._base.progress import Progress, part_of
from vltr_eval._engine.ranked_lists import PAIRS, RANKS, SPARSE, BrokenText, ListText, parse_text
from vltr_eval.formats.align import ClassNames
from vltr_eval.formats.meaning import Labels
from vltr_eval.formats.numpy_files import read_arrays
from vltr_eval.formats.reading import read_labels, read_train_counts
from vltr_eval.formats.sources import Source, check_regular, expand_one, listing, quote, reading
from vltr_eval.formats.table import LabelPairs
from vltr_eval.ranked_lists.lists import RankedLists

__all__ = ["LIST_FORMS", "read_cells", "read_counts", "read_list_labels", "read_ranked_lists"]

LIST_FORMS = {"pairs": PAIRS, "ranks": RANKS}
"""The forms of the lists in a CSV file, by the names that users give."""

_HEADERS = {"labelconfidencepairs": PAIRS, "predicted": RANKS}

_EXPECTED = {
    PAIRS: "ID,CLASS SCORE CLASS SCORE ...",
    RANKS: "ID,CLASS CLASS ...",
    SPARSE: "CLASS:SCORE CLASS:SCORE ...",
}

_REMEDIES = {
    1: "one comma, between the id and the list",
    2: "an id before the comma",
    3: "a class index (0, 1, ...)",
    4: "a number as score",
    5: "a score behind each class",
    6: "a closing quotation mark",
}


def read_ranked_lists(
    spec: str | os.PathLike[str],
    num_classes: int | None = None,
    *,
    form: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> RankedLists:
    """Read the ranked lists of a file.

    Args:
        spec: A .csv, .txt or .npz file, as the module describes.
        num_classes: C, for files that do not state it; None for the largest index plus 1.
        form: "pairs" for lines of classes and scores, "ranks" for classes alone; None tells by the header, or by the
            first line that has a fraction as every second number.
        threads: CPU threads.
        progress: Called with the fraction done.

    Raises:
        InputError: A file that is missing, damaged or of another form; the message has the line.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "submission.csv"
        >>> _ = file.write_text("VideoId,LabelConfidencePairs\\nab12,3 0.9 17 0.25\\ncd34,3 0.5\\n")
        >>> lists = read_ranked_lists(file)
        >>> lists.ids.tolist(), lists.classes.tolist(), lists.scores.tolist()
        (['ab12', 'cd34'], [3, 17, 3], [0.9, 0.25, 0.5])
    """
    source = expand_one(spec)
    if form is not None and form not in LIST_FORMS:
        raise ValueError(f"form: expected one of {', '.join(LIST_FORMS)}, got {form!r}")
    with reading(source):
        check_regular(source)
        if source.suffix == ".npz":
            return _read_npz(source, num_classes, threads, progress)
        if source.suffix == ".txt":
            found, shape = _read_sparse_text(source, threads, part_of(progress, 0.0, 0.7))
            stated = shape[1] if num_classes is None else num_classes
            return _lists_of(source, found, None, stated, threads, part_of(progress, 0.7, 1.0))
        if source.suffix == ".csv":
            return _read_csv(source, num_classes, form, threads, progress)
    raise InputError(f"{source}: cannot read ranked lists from a {source.suffix!r} file; expected .csv, .txt or .npz")


def _lists_of(
    source: Source,
    found: ListText,
    ids: np.ndarray | None,
    num_classes: int | None,
    threads: int | None,
    progress: Progress | None,
) -> RankedLists:
    scores = found.scores if len(found.scores) == len(found.classes) and len(found.scores) else None
    if not len(found.classes):
        scores = np.zeros(0)
    return RankedLists.from_lists(
        found.indptr, found.classes, scores, num_classes, ids=ids, name=str(source), threads=threads, progress=progress
    )


# ---------------------------------------------------------------------------------------------------------------------
# Text
# ---------------------------------------------------------------------------------------------------------------------


def _bytes_of(source: Source) -> np.ndarray:
    """The bytes of a file, mapped."""
    if source.size == 0:
        raise InputError(f"{source}: expected ranked lists, got an empty file")
    return np.memmap(source.path, np.uint8, "r")


def _first_line(text: np.ndarray, start: int = 0) -> tuple[bytes, int]:
    """The line from a byte on, without its end, and where the next one begins."""
    for size in (1 << 12, 1 << 20, len(text)):
        head = text[start : start + size].tobytes()
        end = head.find(b"\n")
        if end >= 0 or start + size >= len(text):
            end = len(head) if end < 0 else end
            return head[:end].rstrip(b"\r"), min(start + end + 1, len(text))
    raise AssertionError


def _parse(
    source: Source, text: np.ndarray, form: int, first_line: int, threads: int | None, progress: Progress | None
) -> ListText:
    try:
        return parse_text(text, form, threads, progress)
    except BrokenText as error:
        wrong = text[error.first : error.first + min(error.length, 60)].tobytes().decode("utf-8", "replace")
        line, kind = error.line + first_line + 1, error.kind
    hint = "; is it a list of ranks? form='ranks' (--list-form ranks) reads it" if form == PAIRS and kind == 5 else ""
    raise InputError(
        f"{source}: line {line}: expected {_REMEDIES[kind]} as in {_EXPECTED[form]}, got {quote(wrong)}{hint}"
    )


def _read_csv(
    source: Source, num_classes: int | None, form: str | None, threads: int | None, progress: Progress | None
) -> RankedLists:
    text = _bytes_of(source)
    start = 3 if text[:3].tobytes() == b"\xef\xbb\xbf" else 0
    header, after = _first_line(text, start)
    names = [name.strip().strip('"').lower() for name in header.decode("utf-8").split(",")]
    if names == ["class", "segments"]:
        raise InputError(
            f"{source}: expected a list of classes for each row, got a list of segments for each class; read the "
            "submission of pairs from which it was made"
        )
    cells = header.partition(b",")[2].replace(b'"', b"").split()
    has_header = not cells or not cells[0].isdigit()
    code = LIST_FORMS[form] if form is not None else _HEADERS.get(names[-1] if len(names) == 2 else "")
    body = after if has_header else start
    if code is None:
        code = _form_of_line(source, _first_line(text, body)[0])
    found = _parse(source, text[body:], code, int(has_header), threads, part_of(progress, 0.0, 0.6))
    ids = _ids_of(text[body:], found)
    return _lists_of(source, found, ids, num_classes, threads, part_of(progress, 0.7, 1.0))


def _form_of_line(source: Source, line: bytes) -> int:
    """The form of a first line below a header that does not tell it."""
    words = line.partition(b",")[2].replace(b'"', b"").split()
    if len(words) % 2 == 0 and words and all(not word.isdigit() for word in words[1::2]):
        return PAIRS
    if words and not all(word.isdigit() for word in words) and len(words) % 2 == 0:
        return PAIRS  # some scores are written as whole numbers
    if words and all(word.isdigit() for word in words) and len(words) % 2:
        return RANKS
    shown = quote(line.decode("utf-8", "replace"))
    raise InputError(
        f"{source}: expected lists of classes and scores or of classes alone, got {shown}, which can be both; give "
        "form='pairs' or form='ranks' (--list-form)"
    )


def _ids_of(text: np.ndarray, found: ListText) -> np.ndarray:
    data = memoryview(text)  # type: ignore[arg-type]  # an array is a buffer
    ends = (found.id_first + found.id_length).tolist()
    return np.array(
        [str(data[first:end], "utf-8") for first, end in zip(found.id_first.tolist(), ends, strict=True)], object
    )


def _is_sparse_text(source: Source) -> bool:
    """Whether a file is of the XML repository's form: two whole numbers, then lines of CLASS:SCORE."""
    if source.suffix != ".txt":
        return False
    with reading(source):
        check_regular(source)
        if source.size == 0:
            return False
        text = _bytes_of(source)
        words = _first_line(text)[0].split()
        if len(words) != 2 or not all(word.isdigit() for word in words):
            return False
        head = text[: 1 << 20].tobytes().partition(b"\n")[2]
        first = next(iter(head.split()), b"0:1")
        return b":" in first


def _read_sparse_text(
    source: Source, threads: int | None, progress: Progress | None
) -> tuple[ListText, tuple[int, int]]:
    text = _bytes_of(source)
    header, after = _first_line(text)
    words = header.split()
    if len(words) != 2 or not all(word.isdigit() for word in words):
        shown = quote(header.decode("utf-8", "replace"))
        raise InputError(f"{source}: line 1: expected the numbers of rows and classes, got {shown}")
    shape = int(words[0]), int(words[1])
    found = _parse(source, text[after:], SPARSE, 1, threads, progress)
    if len(found.indptr) - 1 != shape[0]:
        raise InputError(
            f"{source}: expected {shape[0]} rows as its first line says, got {len(found.indptr) - 1}; is it truncated?"
        )
    return found, shape


# ---------------------------------------------------------------------------------------------------------------------
# Arrays
# ---------------------------------------------------------------------------------------------------------------------


def _read_npz(source: Source, num_classes: int | None, threads: int | None, progress: Progress | None) -> RankedLists:
    members, known = read_arrays(source, _MEMBERS)
    progress = part_of(progress, 0.6, 1.0)
    if "indptr" in members:
        return _lists_of_csr(source, members, num_classes, threads, progress)
    classes = members.get("classes", members.get("indices"))
    if classes is None or "scores" not in members:
        raise InputError(
            f"{source}: expected a CSR matrix of scipy.sparse.save_npz, or arrays classes and scores of shape (N, k), "
            f"got {listing(known, 6) or 'no array'}"
        )
    ids = members.get("ids")
    if ids is not None and ids.dtype.kind in "US":
        ids = np.array([value.decode() if isinstance(value, bytes) else value for value in ids.tolist()], object)
    try:
        return RankedLists.from_arrays(classes, members["scores"], num_classes, ids=ids)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source}: {error}") from None


_MEMBERS = ("format", "shape", "indptr", "indices", "data", "classes", "scores", "ids")


def _lists_of_csr(
    source: Source,
    members: Mapping[str, np.ndarray],
    num_classes: int | None,
    threads: int | None,
    progress: Progress | None,
) -> RankedLists:
    layout = members["format"].item() if "format" in members and members["format"].shape == () else b"csr"
    layout = layout.decode("ascii", "replace") if isinstance(layout, bytes) else str(layout)
    if layout != "csr":
        raise InputError(f"{source}: expected a sparse matrix in CSR form, got {layout}; save .tocsr()")
    missing = [name for name in ("indices", "data", "shape") if name not in members]
    if missing:
        raise InputError(f"{source}: damaged: the array {missing[0]} of the sparse matrix is missing")
    sizes = members["shape"]
    if sizes.shape != (2,) or sizes.dtype.kind not in "iu" or members["indptr"].ndim != 1:
        raise InputError(f"{source}: damaged: expected the two sizes of a sparse matrix, got {sizes.tolist()}")
    shape: Sequence[Any] = sizes.tolist()
    if len(members["indptr"]) != shape[0] + 1:
        raise InputError(f"{source}: damaged: the shape {shape} does not fit {len(members['indptr'])} offsets")
    if num_classes is not None and num_classes != shape[1]:
        raise InputError(f"{source}: {shape[1]} classes, but expected {num_classes}")
    pairs = (members["indptr"], members["indices"], members["data"])
    return RankedLists.from_lists(*pairs, shape[1], name=str(source), threads=threads, progress=progress)


# ---------------------------------------------------------------------------------------------------------------------
# Labels, counts and unknown cells
# ---------------------------------------------------------------------------------------------------------------------


def read_list_labels(
    spec: str | os.PathLike[str],
    *,
    ids: str | None = None,
    label_form: str | None = None,
    class_names: Sequence[str] | ClassNames | None = None,
    num_classes: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Labels:
    """Read labels for ranked lists: all files of `read_labels`, and the text files of the XML repository.

    Raises:
        InputError: As `read_labels`, and a label with a value other than 1.
    """
    source = expand_one(spec)
    if _is_sparse_text(source):
        pairs = _read_label_text(source, threads, progress)
        return Labels(pairs, name=str(source), row_word="line")
    return read_labels(
        spec, None, num_classes, ids=ids, label_form=label_form, class_names=class_names, progress=progress
    )


def _read_label_text(source: Source, threads: int | None, progress: Progress | None) -> LabelPairs:
    with reading(source):
        found, shape = _read_sparse_text(source, threads, progress)
    wrong = np.flatnonzero(found.scores != 1)
    rows = np.repeat(np.arange(shape[0]), np.diff(found.indptr))
    if wrong.size:
        raise InputError(
            f"{source}: line {rows[wrong[0]] + 2}: expected labels of value 1, got {found.scores[wrong[0]]:g} for "
            f"class {found.classes[wrong[0]]}; are these scores?"
        )
    return LabelPairs(shape[0], shape[1], rows, found.classes.astype(np.int64))


def read_counts(
    path: str | os.PathLike[str], class_names: ClassNames | None = None, threads: int | None = None
) -> tuple[np.ndarray, int | None]:
    """Read the training rows of each class, and their total number where the file is a sparse label matrix.

    Raises:
        InputError: As `read_train_counts`.
    """
    source = expand_one(path)
    pairs: Any = None
    if _is_sparse_text(source):
        pairs = _read_label_text(source, threads, None)
    elif source.suffix == ".npz" and source.key is None:
        with reading(source):
            check_regular(source)
            is_sparse = "indptr" in read_arrays(source, ())[1]
        pairs = read_labels(path).values if is_sparse else None
    if not isinstance(pairs, LabelPairs):
        return read_train_counts(path, None, class_names), None
    return np.bincount(pairs.classes, minlength=pairs.num_classes or 0), pairs.num_rows


def read_cells(path: str | os.PathLike[str], num_rows: int) -> LabelPairs:
    """Read (row, class) pairs of one line each, as ``filter_labels_test.txt`` of the XML repository has them.

    Raises:
        InputError: A line without two whole numbers, or a row beyond the lists.
    """
    source = expand_one(path)
    with reading(source):
        check_regular(source)
        lines = source.path.read_bytes().splitlines()
    cells = []
    for number, line in enumerate(lines):
        words = line.split()
        if not words:
            continue
        is_cell = len(words) == 2 and all(word.isdigit() and len(word) < 19 for word in words)
        if not is_cell or int(words[0]) >= num_rows:
            shown = quote(line.decode("utf-8", "replace"))
            raise InputError(f"{source}: line {number + 1}: expected a row below {num_rows} and a class, got {shown}")
        cells.append((int(words[0]), int(words[1])))
    pairs = np.unique(np.array(cells, np.int64).reshape(-1, 2), axis=0)
    return LabelPairs(num_rows, None, pairs[:, 0], pairs[:, 1])
