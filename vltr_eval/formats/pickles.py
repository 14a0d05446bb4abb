"""Look into a pickle without unpickling it: the classes that it names, and the storages that it promises.

The message of `torch.load` blames weights_only for every file that it refuses. The opcodes of the pickle show the real
cause, and how many bytes `torch.load` would allocate.
"""

from __future__ import annotations

import pickletools
import re
from dataclasses import dataclass, field
from typing import Any, BinaryIO

# Bytes of one element by the class that torch names in a pickle; newer dtypes are stored as bytes.
_ELEMENT_SIZES = {
    **{"DoubleStorage": 8, "LongStorage": 8, "ComplexFloatStorage": 8, "ComplexDoubleStorage": 16},
    **{"FloatStorage": 4, "IntStorage": 4, "QInt32Storage": 4},
    **{"HalfStorage": 2, "BFloat16Storage": 2, "ShortStorage": 2},
    **{"ByteStorage": 1, "CharStorage": 1, "BoolStorage": 1, "QUInt8Storage": 1, "QInt8Storage": 1},
    **{"UntypedStorage": 1, "QUInt4x2Storage": 1, "QUInt2x4Storage": 1},
}
_KNOWN_MODULES = ("torch", "collections", "_codecs", "builtins", "__builtin__")
# Allocate by a number in the pickle; torch.save writes none of them.
_ALLOCATING = re.compile(r"(builtins|__builtin__)\.bytearray|torch\.(\w+\.)?\w+Tensor")


@dataclass
class PickleSummary:
    """The classes and storages that the opcodes of one pickle name.

    Attributes:
        protocol: The pickle protocol; 0 stands for 0 and 1.
        names: The classes and functions that it names, "module.name".
        storages: Number of bytes of each torch storage by its key.
    """

    protocol: int = 0
    names: list[str] = field(default_factory=list)
    storages: dict[str, int] = field(default_factory=dict)

    @property
    def foreign(self) -> list[str]:
        """The names that are neither torch's own nor of Python's containers; modules of a network are foreign."""
        return [
            name
            for name in dict.fromkeys(self.names)
            if name.split(".")[0] not in _KNOWN_MODULES
            or name.startswith("torch.nn.modules.")
            or _ALLOCATING.fullmatch(name)
        ]


def summarize(stream: BinaryIO) -> PickleSummary:
    """Read the opcodes of the pickle where the stream stands, up to its end.

    Raises:
        ValueError: No pickle, or one that states a storage in another way than torch.save does.
    """
    summary = PickleSummary()
    recent: list[Any] = []  # texts, names and integers since the last mark
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        kind = opcode.name
        if kind == "PROTO":
            summary.protocol = argument
        elif kind == "MARK":
            recent = []
        elif kind == "GLOBAL":
            recent.append(argument.replace(" ", "."))
            summary.names.append(recent[-1])
        elif kind == "STACK_GLOBAL":
            recent[-2:] = [".".join(map(str, recent[-2:]))]
            summary.names.append(recent[-1])
        elif kind in ("BINGET", "LONG_BINGET"):
            recent.append(memo.get(argument))
        elif kind in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = recent[-1] if recent else None
        elif kind == "MEMOIZE":
            memo[len(memo)] = recent[-1] if recent else None
        elif kind == "BINPERSID":
            key, num_bytes = _storage(recent)
            summary.storages[key] = num_bytes
        elif isinstance(argument, (str, int)):
            recent.append(argument)
        elif "TUPLE" in kind and kind != "TUPLE":
            recent.append(None)
    return summary


def _storage(recent: list[Any]) -> tuple[str, int]:
    """Key and bytes of a storage from ("storage", its class, its key, its device, its number of elements)."""
    if len(recent) < 5 or recent[0] != "storage" or not isinstance(recent[1], str) or not isinstance(recent[4], int):
        raise ValueError("a storage in an unknown form")
    element_size = _ELEMENT_SIZES.get(recent[1].rpartition(".")[2])
    if element_size is None or recent[4] < 0:
        raise ValueError("a storage of an unknown class")
    return str(recent[2]), recent[4] * element_size
