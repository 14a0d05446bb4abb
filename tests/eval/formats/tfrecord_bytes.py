"""TFRecord files written byte by byte: a slow encoder that shares nothing with the reader."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


def slow_crc32c(data: bytes) -> int:
    """CRC-32C, a bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = slow_crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def varint(value: int) -> bytes:
    value %= 2**64
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def part(field: int, content: bytes) -> bytes:
    return varint(8 * field + 2) + varint(len(content)) + content


def feature(value: Any, packed: bool = True) -> bytes:
    """tf.Feature of bytes, of an array of floats, or of a list of integers."""
    if isinstance(value, bytes):
        return part(1, part(1, value))
    if isinstance(value, np.ndarray):
        texts, kind, wire = [struct.pack("<f", number) for number in value.tolist()], 2, 5
    else:
        texts, kind, wire = [varint(int(number)) for number in value], 3, 0
    if packed:
        return part(kind, part(1, b"".join(texts)))
    return part(kind, b"".join(varint(8 + wire) + text for text in texts))


def features(values: Mapping[str, Any], packed: bool = True) -> bytes:
    return b"".join(part(1, part(1, name.encode()) + part(2, feature(value, packed))) for name, value in values.items())


def example(packed: bool = True, **values: Any) -> bytes:
    """tf.Example."""
    return part(1, features(values, packed))


def sequence(context: Mapping[str, Any], lists: Mapping[str, Sequence[Any]]) -> bytes:
    """tf.SequenceExample."""
    maps = b"".join(
        part(1, part(1, name.encode()) + part(2, b"".join(part(1, feature(step)) for step in steps)))
        for name, steps in lists.items()
    )
    return part(1, features(context)) + part(2, maps)


def write_records(path: Any, messages: Iterable[bytes], compress: Any = bytes) -> Any:
    path.write_bytes(compress(b"".join(map(record, messages))))
    return path
