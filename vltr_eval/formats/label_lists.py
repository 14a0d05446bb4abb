"""Label files with an id and its classes a line: VideoLT's .lst, ``path label`` lists, and videofolder lists.

Lines, their fields parted by white space:

    <id>                                      a row without labels
    <id> <class>[,<class>...]                 VideoLT and MiniKinetics .lst, ImageNet-LT; a comma may end the line
    <id> <class> <class> ...                  COCO-LT (LMPT), mmaction2's multi-class lists
    <class>/<id> <frames> <class>,<class>,    VideoLT's test_videofolder.txt; ``multiple/<id>`` for several classes

Lines of an id and two or more whole numbers without a comma can be the third form or ``<id> <frames> <class> ...``:
nothing in the file says which, so `read_id_lists` refuses them unless ``form`` does.
"""

from __future__ import annotations

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.sources import Source, quote, reading
from vltr_eval.formats.table import Lists, Table

MAX_CLASSES = 2**31
"""An index from here on is a mistake, not a class."""


def lines_of(source: Source) -> list[str]:
    """The lines of a text file, without the empty ones at its end: index + 1 is the line number of an editor."""
    with reading(source):
        text = source.path.read_text(encoding="utf-8-sig")
    return text.rstrip().split("\n") if text.strip() else []


def only_digits(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def is_id_list(source: Source) -> bool:
    """Whether the first line is an id and then class indices alone."""
    with reading(source), open(source.path, encoding="utf-8-sig") as stream:
        fields = stream.readline(1 << 16).split()
    rest = "".join(fields[1:]).replace(",", "")
    return len(fields) >= 2 and only_digits(rest) and not _is_number(fields[0])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_id_lists(source: Source, form: str | None = None) -> Table:
    """Read lines of an id and its class indices; ids and lists of the table are set.

    Args:
        source: The file.
        form: "lists" (all numbers are classes) or "videofolder" (the first is a number of frames); None where the
            lines tell.

    Raises:
        InputError: A line that is none of these forms, or lines that can be two of them.
    """
    rows = [line.split() for line in lines_of(source)]
    if form is None:
        form = _form(source, rows)
    ids, tokens, lengths = [], [], np.zeros(len(rows), np.int64)
    for number, fields in enumerate(rows):
        if not fields:
            raise InputError(f"{source}: line {number + 1}: expected '<id> <class>[,<class>...]', got 0 fields")
        name, rest = fields[0], fields[1:]
        if form == "videofolder":
            if not rest or not only_digits(rest[0]):
                raise InputError(
                    f"{source}: line {number + 1}: expected '<class>/<id> <frames> <class>,...', "
                    f"got {quote(' '.join(fields))}"
                )
            name, rest = name.rpartition("/")[2] if _is_class_folder(name) else name, rest[1:]
        ids.append(name)
        found = [token for field in rest for token in field.removesuffix(",").split(",")]
        tokens += found
        lengths[number] = len(found)
    if not (tokens and all(map(_is_index, tokens))):
        raise InputError(_complaint(source, rows, lengths, tokens))
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    lists = Lists(indptr, np.array(list(map(int, tokens)), np.int64))
    return Table(source, len(rows), lists=lists, ids=np.array(ids, object), row_word="line")


def _is_index(token: str) -> bool:
    return only_digits(token) and len(token) <= 18


def _is_class_folder(name: str) -> bool:
    return name.count("/") == 1


def _form(source: Source, rows: list[list[str]]) -> str:
    """Tell the form of the lines from all of them."""
    longest = max(map(len, rows), default=0)
    if longest <= 2 or source.suffix == ".lst":
        wide = next((number for number, fields in enumerate(rows, start=1) if len(fields) > 2), None)
        if wide is not None and not any("," in field for field in rows[wide - 1][2:]):
            raise InputError(
                f"{source}: line {wide}: expected '<id> <class>[,<class>...]', got {len(rows[wide - 1])} fields"
            )
        return "lists" if wide is None else "videofolder"
    with_comma = [fields for fields in rows if any("," in field for field in fields[1:])]
    if with_comma and all(len(fields) == 3 and "," in fields[2] for fields in with_comma):
        return "videofolder"
    number = next(number for number, fields in enumerate(rows, start=1) if len(fields) > 2)
    raise InputError(
        f"{source}: line {number} can be '<id> <class> <class> ...' or '<id> <frames> <class> ...'; say which: "
        "label_form='lists' or 'videofolder' (--label-form)"
    )


def _complaint(source: Source, rows: list[list[str]], lengths: np.ndarray, tokens: list[str]) -> str:
    """The first error of lines, given as their fields."""
    expected = "'<id> <class>[,<class>...]'"
    for position, token in enumerate(tokens):
        if not _is_index(token):
            number = int(np.searchsorted(np.cumsum(lengths), position, side="right")) + 1
            return f"{source}: line {number}: expected a class index (0, 1, ...), got {quote(token)}"
    return f"{source}: expected lines {expected}, but no line has a class"
