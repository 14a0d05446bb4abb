"""Mutate valid files: their bytes, the tokens of text, and the structure of containers.

The mutated file is damaged or merely different; `readings` judges the readers' results. Containers are opened, changed
inside and closed again with correct checksums and lengths, so that the reader sees the change.
"""

from __future__ import annotations

import ast
import io
import json
import re
import struct
import warnings
import zipfile
from random import Random
from typing import Any

from vltr_eval._base.records import crc32c

NUMBERS = (
    *("0", "-0", "1", "-1", "2", "7", "255", "256", "32768", "65536", "2147483647", "2147483648", "4294967296"),
    *("4611686018427387904", "9223372036854775807", "9223372036854775808", "18446744073709551616"),
    *("-9223372036854775809", "0.5", "1.0", "1e999", "-1e999", "nan", "NaN", "Infinity", "inf", "1e-320"),
    *("00", "007", "1_0", "0x10", "", "9" * 400),
)
WORDS = (
    *("", " ", "null", "true", "True", "[]", "{}", "a,b", "a;b", '"', "'", "\x00", "\ufeff", "\u00e9", "\u2028"),
    *("id", "label"),
)
DTYPES = (
    *("<f4", "<f8", ">f8", "<f2", "|u1", "|b1", "<i8", ">i4", "<c16", "|O", "|S4", "<U3", "<M8[s]", "|V2", "<f16"),
    *("f4,i4", "<U0"),
)
VALUES = (
    *(None, True, False, 0, 1, -1, 2**31, 2**53 + 1, 2**62, 2**63, 10**400, 0.5, -0.0, 1e300, float("nan")),
    *(float("inf"), "", "x", "0", "3", "NaN", [], [[]], {}, [0, 0], [True], [1.0], [None], ["x", 1]),
)
MEMBERS = (
    *("x", "labels.npy", "ids.npy", "format.npy", "archive/data/1", "data.pkl", "constants.pkl", "../x", "\u00e9\n"),
)
SIZES = (  # pickle opcodes that push a number
    *(b"K\x00", b"K\x01", b"K\x07", b"M\xff\xff", b"J\xff\xff\xff\x7f", b"J\xff\xff\xff\xff", b"J\x00\x00\x00\x80"),
    *(b"\x8a\x08" + (2**62).to_bytes(8, "little"), b"\x8a\x09" + b"\xff" * 8 + b"\x00"),
    *(b"N", b"\x88", b"G\x40\x00" + b"\x00" * 6),
)
SEPARATORS = (b"", b",", b";", b"\t", b"\n", b"\r\n", b"\r", b'"', b'""', b" ", b"|", b"[", b"]", b"}", b"\n\n")
HEADERS = ("(" * 300, "[0]*9**9", "\x00", "\u00e9", "{" * 90, "1+1j")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def mutate(rng: Random, kind: str, data: bytes) -> bytes:
    """Return the content of a file after one to three mutations of its format."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_OF_FORMAT[kind])(rng, data)
    return data


# Bytes


def flip_byte(rng: Random, data: bytes) -> bytes:
    if not data:
        return data
    position = rng.randrange(len(data))
    new = rng.choice((0, 0xFF, 0x80, data[position] ^ (1 << rng.randrange(8))))
    return data[:position] + bytes([new]) + data[position + 1 :]


def insert_bytes(rng: Random, data: bytes) -> bytes:
    position = rng.randint(0, len(data))
    return data[:position] + rng.randbytes(rng.choice((1, 1, 2, 8, 64))) + data[position:]


def delete_bytes(rng: Random, data: bytes) -> bytes:
    position = rng.randint(0, len(data))
    return data[:position] + data[position + rng.choice((1, 1, 2, 8, 64)) :]


def repeat_bytes(rng: Random, data: bytes) -> bytes:
    start = rng.randint(0, len(data))
    return data[:start] + data[start : start + rng.choice((1, 4, 32, 256))] * rng.choice((2, 3)) + data[start:]


def truncate(rng: Random, data: bytes) -> bytes:
    return data[: rng.randint(0, len(data))]


def splice(rng: Random, data: bytes) -> bytes:
    """Overwrite one piece of the file with another."""
    size = rng.choice((1, 4, 8, 64))
    one, other = rng.randint(0, len(data)), rng.randint(0, len(data))
    return data[:one] + data[other : other + size] + data[one + size :]


def extreme_word(rng: Random, data: bytes) -> bytes:
    """Write an extreme 32-bit or 64-bit word somewhere."""
    code, values = rng.choice((("<I", (0, 1, 0x7FFFFFFF, 0xFFFFFFFF)), ("<Q", (0, 1, 1 << 31, 1 << 62, (1 << 64) - 1))))
    word = struct.pack(code, rng.choice(values))
    position = rng.randint(0, max(0, len(data) - len(word)))
    return data[:position] + word + data[position + len(word) :]


BYTES = (flip_byte, flip_byte, insert_bytes, delete_bytes, repeat_bytes, truncate, splice, extreme_word)


# Text


def change_number(rng: Random, data: bytes) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return insert_bytes(rng, data)
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(NUMBERS).encode() + data[match.end() :]


def change_word(rng: Random, data: bytes) -> bytes:
    found = list(re.finditer(rb"[^\s,;|\t\"]+", data))
    if not found:
        return insert_bytes(rng, data)
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(WORDS).encode() + data[match.end() :]


def change_separator(rng: Random, data: bytes) -> bytes:
    found = list(re.finditer(rb"[,;|\t\n\" \[\]{}:]", data))
    if not found:
        return insert_bytes(rng, data)
    match = rng.choice(found)
    new = rng.choice(SEPARATORS)
    return data[: match.start()] + new + data[match.end() :]


def change_lines(rng: Random, data: bytes) -> bytes:
    """Drop, repeat, swap or quote lines, add blank lines or comments, or change the line ends."""
    lines = data.split(b"\n")
    position = rng.randrange(len(lines))
    match rng.randrange(7):
        case 0:
            del lines[position]
        case 1:
            lines.insert(position, lines[rng.randrange(len(lines))])
        case 2:
            other = rng.randrange(len(lines))
            lines[position], lines[other] = lines[other], lines[position]
        case 3:
            lines.insert(position, rng.choice((b"", b"   ", b"# comment", b",,,", b'"')))
        case 4:
            lines[position] = b",".join(b'"' + cell + b'"' for cell in lines[position].split(b","))
        case 5:
            lines = [line.rstrip(b"\r") + b"\r" for line in lines]
        case _:
            lines[position] += rng.choice((b",", b",x", b";", b" ", b"\t1", b"#"))
    return b"\n".join(lines)


TEXT = (*BYTES, *(change_number, change_word, change_separator, change_lines) * 3)


# JSON


def change_json(rng: Random, data: bytes) -> bytes:
    """Replace one value of a JSON document, or of one line of JSON lines."""
    lines = data.split(b"\n")
    position = rng.randrange(len(lines))
    for text, before, after in ((data, b"", b""), (lines[position], *_around(lines, position))):
        try:
            changed = _change_value(rng, json.loads(text))
        except (ValueError, RecursionError):
            continue
        return before + json.dumps(changed).encode() + after
    return change_number(rng, data)


def _around(lines: list[bytes], position: int) -> tuple[bytes, bytes]:
    return b"".join(line + b"\n" for line in lines[:position]), b"".join(b"\n" + line for line in lines[position + 1 :])


def _change_value(rng: Random, value: Any, depth: int = 0) -> Any:
    if not value or not isinstance(value, (list, dict)) or depth > 20 or rng.random() < 0.2:
        return _other_value(rng, value)
    if isinstance(value, list):
        position = rng.randrange(len(value))
        changed = [_change_value(rng, value[position], depth + 1)]
        before, after = value[:position], value[position + 1 :]
        return rng.choice((*[before + changed + after] * 4, before + after, value + changed))
    name = rng.choice(list(value))
    if rng.random() < 0.8:
        return {**value, name: _change_value(rng, value[name], depth + 1)}
    new_name = rng.choice(("", "id", "labels", "0", name + "x", "\u00e9"))
    return {new_name if known == name else known: own for known, own in value.items()}


def _other_value(rng: Random, value: Any) -> Any:
    return rng.choice((*VALUES, [value], {"a": value}))


def nest_json(rng: Random, data: bytes) -> bytes:
    depth = rng.choice((1, 2, 100, 5000))
    return b"[" * depth + data + b"]" * depth


def repeat_key(rng: Random, data: bytes) -> bytes:
    found = list(re.finditer(rb'"[^"]*"(?=\s*:)', data))
    if not found:
        return change_json(rng, data)
    match = rng.choice(found)
    return data[: match.start()] + match[0] + b": " + rng.choice((b"1", b"[1]", b'"x"')) + b", " + data[match.start() :]


JSON = (*TEXT, *(change_json,) * 16, nest_json, repeat_key)


# .npy


def change_npy(rng: Random, data: bytes) -> bytes:
    """Change the header, or the data behind it."""
    header, start = _npy_header(data)
    if header is None:
        return rng.choice(BYTES)(rng, data)
    shape = header.get("shape")
    shape = list(shape) if isinstance(shape, tuple) else []
    match rng.randrange(8):
        case 0:
            header["descr"] = rng.choice(DTYPES)
        case 1:
            header["fortran_order"] = rng.choice((True, False, None, 1))
        case 2 if shape:
            shape[rng.randrange(len(shape))] = rng.choice((0, 1, -1, 3, 2**31, 2**62, 2**64, 10**30, 2.0, "3", None))
        case 3:
            shape = rng.choice(([], [*shape, 1], shape[::-1], [1] * 40, [2**32, 2**32], [0, 2**62], [True, *shape[1:]]))
        case 4:
            header[rng.choice(("more", "shape ", 3))] = 1
        case 5:
            header.pop(rng.choice(list(header)))
        case 6:
            return _npy_bytes(rng, header, rng.choice(BYTES)(rng, data[start:]))
        case _:
            return _npy_bytes(rng, header, data[start:], rng.choice(HEADERS))
    if "shape" in header:
        header["shape"] = tuple(shape)
    return _npy_bytes(rng, header, data[start:])


def _npy_header(data: bytes) -> tuple[dict[Any, Any] | None, int]:
    width = 2 if data[6:7] == b"\x01" else 4
    start = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = ast.literal_eval(data[8 + width : start].decode("utf-8"))
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None, 0
    return (dict(header), start) if isinstance(header, dict) and header else (None, 0)


def _npy_bytes(rng: Random, header: dict[Any, Any], content: bytes, text: str | None = None) -> bytes:
    encoded = ((repr(header) if text is None else text) + "\n").encode("utf-8")
    version = rng.choice((1, 1, 1, 2, 3, 9))
    length = len(encoded).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + encoded + content


NPY = (*BYTES, *(change_npy,) * 8)


# Zip archives: .npz, .pt, rank tables


def change_zip(rng: Random, data: bytes) -> bytes:
    """Change one member inside, or swap, drop, rename, repeat, compress or add members."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info), info.compress_type) for info in archive.infolist()]
    except Exception:  # an archive that an earlier mutation damaged
        return rng.choice(BYTES)(rng, data)
    if not members:
        return rng.choice(BYTES)(rng, data)
    position, other = rng.randrange(len(members)), rng.randrange(len(members))
    name, content, method = members[position]
    match rng.choice((0, 0, 0, 0, 1, 2, 3, 4, 5, 6)):
        case 0:
            inner = NPY if content.startswith(b"\x93NUMPY") else PICKLE if name.endswith(".pkl") else BYTES
            members[position] = name, rng.choice(inner)(rng, content), method
        case 1:
            members[position], members[other] = (name, *members[other][1:]), (members[other][0], content, method)
        case 2:
            del members[position]
        case 3:
            members[position] = rng.choice(MEMBERS), content, method
        case 4:
            members.insert(position, members[other])
        case 5:
            new = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
            members[position] = name, content, new
        case _:
            more = rng.choice((b"", content, b"text"))
            members.append((rng.choice(("y.npy", "note.txt", "ids.npy")), more, zipfile.ZIP_STORED))
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")  # the name is there twice
        for member, content, method in members:
            archive.writestr(zipfile.ZipInfo(member), content, method)  # without the time, so that a case repeats
    return stream.getvalue()


ZIP = (*BYTES, *(change_zip,) * 16)


# Pickles in .pt


def change_pickle(rng: Random, data: bytes) -> bytes:
    """Replace a number that an opcode pushes: a size, a stride, an offset or a memo index."""
    found = list(re.finditer(rb"[KMJ]", data))
    if not found:
        return rng.choice(BYTES)(rng, data)
    position = rng.choice(found).start()
    width = {b"K": 1, b"M": 2, b"J": 4}[data[position : position + 1]]
    new = rng.choice(SIZES)
    return data[:position] + new + data[position + 1 + width :]


PICKLE = (*BYTES, *(change_pickle,) * 8)


# .safetensors


def change_safetensors(rng: Random, data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header, content = data[8 : 8 + length], data[8 + length :]
    changed = rng.choice((change_json, change_json, change_number, change_word, repeat_key, *BYTES))(rng, header)
    return len(changed).to_bytes(8, "little") + changed + content


SAFETENSORS = (*BYTES, *(change_safetensors,) * 10)


# .parquet


def change_footer(rng: Random, data: bytes) -> bytes:
    """Change the footer and store its new length."""
    if len(data) < 12:
        return rng.choice(BYTES)(rng, data)
    length = int.from_bytes(data[-8:-4], "little")
    start = max(0, len(data) - 8 - length)
    footer = rng.choice(BYTES)(rng, data[start:-8])
    return data[:start] + footer + len(footer).to_bytes(4, "little") + data[-4:]


PARQUET = (*BYTES, *(change_footer,) * 8)

# TFRecord


def change_record(rng: Random, data: bytes) -> bytes:
    """Mutate the message of the first record, behind right checksums."""
    if len(data) < 16:
        return rng.choice(BYTES)(rng, data)
    end = 12 + int.from_bytes(data[:8], "little")
    message = rng.choice(BYTES)(rng, data[12:end])
    length = len(message).to_bytes(8, "little")
    return length + _masked_checksum(length) + message + _masked_checksum(message) + data[end + 4 :]


def _masked_checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return ((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


TFRECORD = (*BYTES, *(change_record,) * 20)


_OF_FORMAT = {
    "npy": NPY,
    "zip": ZIP,
    "legacy_pt": PICKLE,
    "safetensors": SAFETENSORS,
    "parquet": PARQUET,
    "arrow": BYTES,
    "pickle": PICKLE,
    "tfrecord": TFRECORD,
    "text": TEXT,
    "json": JSON,
}
