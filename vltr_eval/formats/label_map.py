"""Label maps: the names of classes by their ids, as text of a protocol buffer (.pbtxt)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vltr_eval._base.files import InputError

__all__ = ["read_labelmap"]

_MAX_BYTES = 2**26  # a class needs about 50 bytes, so this is over a million classes
_MAX_DEPTH = 16
_BLOCKS = ("item", "label")
_IDS = ("id", "label_id")
_MAX_SHOWN = 60

# The alternatives start with different characters and no repetition is inside another one, so matching takes linear
# time.
_STRING = r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'"""
_TOKEN = re.compile(
    rf"""\s*(?:
        (?P<comment>\#[^\n]*)
      | (?P<close>[}}>])
      | (?P<separator>[,;])
      | (?P<key>[A-Za-z_]\w*)\s*(?P<colon>:\s*)?(?:
            (?P<open>[{{<])
          | (?(colon)(?P<value>{_STRING}|[-+]?[\w.][\w.+-]*)|(?!))
        )
      | (?P<more>{_STRING})
    )""",
    re.VERBOSE | re.ASCII,
)
_NOT_SPACE = re.compile(r"\S", re.ASCII)
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)")
_ESCAPED = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True)) | {c: c for c in b"\"'\\?"}
_CLOSES = {"{": "}", "<": ">"}


def read_labelmap(path: str | os.PathLike[str]) -> dict[int, str]:
    """Read the name of each class by its id from blocks ``item { name: "..." id: N }``.

    The blocks of AVA's older lists, ``label { name: "..." label_id: N label_type: ... }``, are read too. Other fields
    of a block and comments (``#``) are skipped.

    DIFFERS from AVA's official script, which reads only lines that are indented by two spaces, skips all others without
    a message, and keeps escapes in names as they are.

    See `vltr_eval.formats.read_labelmap` for arguments and errors.
    """
    text = _read_text(path)
    if "{" not in text and "<" not in text:
        raise InputError(f'{path}: expected a label map of item {{ name: "..." id: N }}, got none')
    reader = _Reader(path, text)
    names: dict[int, str] = {}
    ids: dict[str, int] = {}
    for block in reader.blocks():
        number, name = reader.id_of(block), reader.name_of(block)
        if number in names:
            raise reader.error(block.start, f"class {number} is listed twice")
        if name in ids:
            raise reader.error(block.start, f"the name {name!r} is that of class {ids[name]} already")
        names[number] = name
        ids[name] = number
    if not names:
        raise InputError(f'{path}: expected a label map of item {{ name: "..." id: N }}, got none')
    return dict(sorted(names.items()))


def _read_text(path: str | os.PathLike[str]) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > _MAX_BYTES:
        raise InputError(f"{path}: expected a label map of at most {_MAX_BYTES:,} bytes, got a larger file")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected UTF-8 text, got binary data") from None


class _Block(NamedTuple):
    """One class: its field values as written, and where the block starts and ends in the text."""

    start: int
    end: int
    names: list[tuple[int, list[str]]]  # position, and the strings that are joined
    ids: list[tuple[int, str]]


class _Reader:
    """The tokens of one text, and errors with its line numbers."""

    def __init__(self, path: str | os.PathLike[str], text: str) -> None:
        self._path = path
        self._text = text.rstrip()

    def error(self, position: int, sentence: str) -> InputError:
        """The error of a sentence about a position in the text."""
        return InputError(f"{self._path}: line {self._text.count(chr(10), 0, position) + 1}: {sentence}")

    def blocks(self) -> Iterator[_Block]:
        """The blocks of the classes in their order."""
        text, size = self._text, len(self._text)
        opened: list[tuple[int, str]] = []  # start and closing bracket of each block that is open
        names: list[tuple[int, list[str]]] = []
        ids: list[tuple[int, str]] = []
        strings: list[str] | None = None  # those of the last field, which a further string continues
        position = 0
        while position < size:
            token = _TOKEN.match(text, position)
            if token is None:
                raise self._unexpected(position)
            kind, position = token.lastgroup, token.end()
            if kind == "value":
                key, value = token["key"], token["value"]
                start = token.start("key")
                if not opened:
                    raise self.error(start, f"expected item {{ or label {{, got {self._shown(start, position)}")
                strings = [value] if value[0] in "\"'" else None
                if len(opened) == 1:
                    if key == "name":
                        names.append((start, [value] if strings is None else strings))
                    elif key in _IDS:
                        ids.append((start, value))
            elif kind == "open":
                start = token.start("key")
                if not opened:
                    if token["key"] not in _BLOCKS:
                        raise self.error(start, f"expected item {{ or label {{, got {self._shown(start, position)}")
                    names, ids = [], []
                if len(opened) == _MAX_DEPTH:
                    raise self.error(start, f"expected at most {_MAX_DEPTH} blocks inside one another, got more")
                opened.append((start, _CLOSES[token["open"]]))
                strings = None
            elif kind == "close":
                if not opened or opened[-1][1] != token["close"]:
                    expected = f"expected {opened[-1][1]}" if opened else "expected item { or label {"
                    raise self.error(token.start("close"), f"{expected}, got {token['close']}")
                start, _ = opened.pop()
                if not opened:
                    yield _Block(start, position, names, ids)
                strings = None
            elif kind == "more":
                if strings is None:
                    raise self._unexpected(token.start("more"))
                strings.append(token["more"])
        if opened:
            raise self.error(opened[0][0], f"expected a closing {opened[0][1]} for this block, got the end of the file")

    def id_of(self, block: _Block) -> int:
        """The id of a class; a block must have one."""
        self._check_field(block, block.ids, "id")
        position, value = block.ids[0]
        if not (value.isdecimal() and value.isascii() and len(value) < 10):
            raise self.error(position, f"expected a whole number under 1,000,000,000 as id, got {value[:_MAX_SHOWN]}")
        return int(value)

    def name_of(self, block: _Block) -> str:
        """The name of a class; a block must have one."""
        self._check_field(block, block.names, "name")
        position, strings = block.names[0]
        if strings[0][0] not in "\"'":
            raise self.error(position, f"expected quotes around the name, got {strings[0][:_MAX_SHOWN]}")
        written = "".join(string[1:-1] for string in strings)
        name = self._without_escapes(position, written) if "\\" in written else written
        if not name.strip():
            raise self.error(position, "expected a name, got an empty one")
        return name

    def _check_field(self, block: _Block, values: Sequence[tuple[int, object]], what: str) -> None:
        if not values:
            raise self.error(
                block.start, f"expected a class with name and id, got {self._shown(block.start, block.end)}"
            )
        if len(values) > 1:
            raise self.error(values[1][0], f"expected one {what} in a block, got another; start a block for each class")

    def _without_escapes(self, position: int, written: str) -> str:
        def replaced(escape: re.Match[bytes]) -> bytes:
            code = escape[1]
            if code[:1] == b"x" and len(code) > 1:
                return bytes([int(code[1:], 16)])
            if code[0] in b"01234567":
                return bytes([int(code, 8) & 255])
            return bytes([_ESCAPED[code[0]]])

        try:
            return _ESCAPE.sub(replaced, written.encode()).decode()
        except (KeyError, UnicodeDecodeError):
            sentence = f"expected escapes of a protocol buffer in the name, got {written[:_MAX_SHOWN]}"
            raise self.error(position, sentence) from None

    def _unexpected(self, position: int) -> InputError:
        token = _NOT_SPACE.search(self._text, position)
        start = position if token is None else token.start()
        end = self._text.find("\n", start)
        shown = self._shown(start, len(self._text) if end < 0 else end)
        return self.error(start, f'expected name: "...", id: N or a bracket, got {shown}')

    def _shown(self, start: int, end: int) -> str:
        shown = " ".join(self._text[start : min(end, start + 4 * _MAX_SHOWN)].split())
        return shown if len(shown) <= _MAX_SHOWN else shown[:_MAX_SHOWN] + "..."
