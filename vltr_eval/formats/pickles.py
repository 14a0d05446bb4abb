"""Follow the opcodes of a pickle without unpickling it: nothing that it names is looked up, imported or called.

`summarize` gives the classes that a pickle names and the storages that it promises. The message of `torch.load` blames
weights_only for every file that it refuses; the opcodes show the real cause, and how many bytes `torch.load` would
allocate. `build` makes the dicts, lists, tuples, numbers and strings of a pickle, and nothing else.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

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


@dataclass(frozen=True)
class PickledName:
    """A class or function that a pickle names, "module.name"."""

    path: str


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


def summarize(stream: Any) -> PickleSummary:
    """Follow the opcodes of the pickle where the stream stands, up to its end.

    Raises:
        ValueError: No pickle, or one that states a storage in another way than torch.save does.
    """
    machine = _Machine()
    machine.run(stream)
    return machine.summary


class UnknownObjectError(ValueError):
    """A pickle holds an object that is not made; the message names it."""


def build(
    stream: IO[bytes], functions: Mapping[str, Callable[..., Any]], load: Callable[[PickledName, str], Any]
) -> Any:
    """Make the value of the pickle where the stream stands, of any protocol that `torch.save` can write.

    Args:
        stream: The pickle.
        functions: Our own functions in place of those that the pickle calls, by the names that it gives them.
        load: Gives the storage of a class and a key.

    Returns:
        Dicts, lists, tuples, numbers, strings, `PickledName`, and the results of ``functions``.

    Raises:
        UnknownObjectError: The pickle holds anything else.
        ValueError: No pickle, or a damaged one.
    """
    return _Builder(functions, load).run(stream)


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "BININT", "BININT1", "BININT2", "INT"),
    *("LONG1", "LONG", "BINFLOAT", "FLOAT", "SHORT_BINBYTES", "BINBYTES", "SHORT_BINSTRING", "BINSTRING", "STRING"),
}
_TUPLES = {"EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_MAX_NAME = 1000
_OPAQUE = object()  # stands for every object that is not made


class _Machine:
    """The stack and the memo of a pickle; every object but tuples, literals and names is opaque."""

    def __init__(self) -> None:
        self.summary = PickleSummary()
        self._stack: list[Any] = []  # since the last mark
        self._outer: list[list[Any]] = []  # before each mark
        self._memo: dict[int, Any] = {}

    def run(self, stream: Any) -> Any:
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                self._step(opcode, argument)
            return self._stack[-1]
        except (IndexError, KeyError) as error:
            raise ValueError("an opcode without its operands") from error

    def _step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        kind = opcode.name
        if kind in _LITERALS:
            self._stack.append(argument)
        elif kind == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif kind in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif kind in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif kind in _CONSTANTS:
            self._stack.append(_CONSTANTS[kind])
        elif kind == "MARK":
            self._outer.append(self._stack)
            self._stack = []
        elif kind == "PROTO":
            self.summary.protocol = argument
        elif kind not in ("FRAME", "STOP"):
            results = self._apply(opcode, argument, self._operands(opcode))
            self._stack += results

    def _apply(self, opcode: pickletools.OpcodeInfo, argument: Any, operands: Sequence[Any]) -> list[Any]:
        """The objects that an opcode puts on the stack in place of its operands."""
        kind = opcode.name
        if kind in _TUPLES:
            return [tuple(operands)]
        if kind == "STACK_GLOBAL":
            return [self._name(*operands)]
        if kind == "GLOBAL":
            return [self._name(*argument.split(" ", 1))]
        if kind == "INST":
            self._name(*argument.split(" ", 1))
        if kind == "BINPERSID":
            return [self._storage(*operands)]
        return self._make(opcode, operands)

    def _operands(self, opcode: pickletools.OpcodeInfo) -> list[Any]:
        """Take the operands of an opcode from the stack: those before its mark, if it has one, then those behind it."""
        before = [operand.name for operand in opcode.stack_before]
        behind: list[Any] = []
        if "mark" in before:
            behind, self._stack = self._stack, self._outer.pop()
            del before[before.index("mark") :]
        position = len(self._stack) - len(before)
        if position < 0:
            raise IndexError
        operands = self._stack[position:]
        del self._stack[position:]
        return operands + behind

    def _name(self, module: Any, name: Any) -> PickledName:
        # The memo could repeat a long text in few bytes.
        if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > _MAX_NAME:
            raise ValueError("a name in an unknown form")
        path = f"{module}.{name}"
        self.summary.names.append(path)
        return PickledName(path)

    def _storage(self, stated: Any) -> Any:
        """Note the bytes of a storage, stated as ("storage", its class, its key, its device, its elements)."""
        if not isinstance(stated, tuple) or len(stated) < 5 or stated[0] != "storage":
            raise ValueError("a storage in an unknown form")
        kind, key, count = stated[1], stated[2], stated[4]
        if not isinstance(kind, PickledName) or not isinstance(key, str) or type(count) is not int:
            raise ValueError("a storage in an unknown form")
        element_size = _ELEMENT_SIZES.get(kind.path.rpartition(".")[2])
        if element_size is None or count < 0:
            raise ValueError("a storage of an unknown class")
        num_bytes = count * element_size
        if self.summary.storages.setdefault(key, num_bytes) != num_bytes:
            raise ValueError("a storage of two sizes")
        return self._load(kind, key)

    def _load(self, kind: PickledName, key: str) -> Any:
        return _OPAQUE

    def _make(self, opcode: pickletools.OpcodeInfo, operands: Sequence[Any]) -> list[Any]:
        return [_OPAQUE] * len(opcode.stack_after)


class _Builder(_Machine):
    """A machine that makes lists and dicts too, and calls our functions."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]], load: Callable[[PickledName, str], Any]) -> None:
        super().__init__()
        self._functions = functions
        self._loader = load

    def _load(self, kind: PickledName, key: str) -> Any:
        return self._loader(kind, key)

    def _make(self, opcode: pickletools.OpcodeInfo, operands: Sequence[Any]) -> list[Any]:
        kind = opcode.name
        if kind in ("EMPTY_LIST", "LIST"):
            return [list(operands)]
        if kind in ("APPEND", "APPENDS") and type(operands[0]) is list:
            operands[0].extend(operands[1:])
            return [operands[0]]
        if kind in ("EMPTY_DICT", "DICT"):
            return [_fill({}, operands)]
        if kind in ("SETITEM", "SETITEMS") and type(operands[0]) is dict:
            return [_fill(operands[0], operands[1:])]
        if kind == "REDUCE" and isinstance(operands[0], PickledName) and isinstance(operands[1], tuple):
            function = self._functions.get(operands[0].path)
            if function is None:
                raise UnknownObjectError(operands[0].path)
            return [function(*operands[1])]
        raise UnknownObjectError("storages as text" if kind == "PERSID" else f"the opcode {kind}")


def _fill(target: dict[Any, Any], pairs: Sequence[Any]) -> dict[Any, Any]:
    keys, values = pairs[::2], pairs[1::2]
    # The hash of a tuple of tuples can take longer than anybody waits; the text of a long number is an error.
    if not all(type(key) is str or (type(key) is int and abs(key) < 2**63) for key in keys):
        raise UnknownObjectError("a dict whose keys are neither text nor whole numbers")
    target.update(zip(keys, values, strict=True))
    return target
