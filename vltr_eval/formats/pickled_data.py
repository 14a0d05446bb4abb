"""Make the plain data of a pickle, and nothing else: arrays, lists, tuples, dicts, sets, numbers and text.

Python's unpickler is not used. Each opcode is followed here, nothing that a pickle names is looked up or imported, and
a name that is not in the list below is refused. Arrays of numpy and tensors of torch are views of the file where it
holds their bytes; torch is not needed.

The opcodes are those of protocols 2 to 5. A pickle of Python 2 has its text and its bytes as Latin-1 text.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.sources import Source, printable

_MAX_NAME = 1000
_MAX_DIMS = 32
_MAX_DIGITS = 16  # bytes of a whole number
_SPARE = 1 << 20  # bytes that may be copied beyond those of the file

# The dtype of a storage by the class that torch names.
_STORAGES = {
    **{"DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4"},
    **{"ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?", "BFloat16Storage": "bf"},
}
_KINDS = "biufSU"  # the kinds of dtypes that are made
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C


class RefusedError(ValueError):
    """A pickle holds something that is not made; the message names it."""


class Global:
    """A name in a pickle, "module.name"."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path


class PickledArray:
    """An array whose state follows its creation in the pickle.

    Attributes:
        value: The array; None until its state was there. An array of Python objects is the list of these.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any = None) -> None:
        self.value = value


class _DType:
    """A dtype of numpy, whose byte order follows its creation."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    @property
    def made(self) -> np.dtype:
        if self.code in ("O", "O8", "O4"):
            return np.dtype(object)
        dtype = np.dtype(self.order.replace("|", "=") + self.code)
        if dtype.kind not in _KINDS or (dtype.kind not in "SU" and dtype.itemsize > 8):
            raise RefusedError(f"an array of dtype {dtype.name}")
        return dtype


class _Storage:
    """The elements of a storage of torch."""

    __slots__ = ("values",)

    def __init__(self, values: np.ndarray) -> None:
        self.values = values


def load_pickle(source: Source) -> Any:
    """Make the data of a pickle file.

    Returns:
        Lists, tuples, dicts, sets, numbers, text, bytes, and a `PickledArray` for each array or tensor.

    Raises:
        InputError: No pickle, a damaged one, or one that names anything else; the sentence has the name.
    """
    if not source.size:
        raise InputError(f"{source}: not a pickle file: it is empty")
    with open(source.path, "rb") as stream:
        data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    if data[0] != 0x80:
        raise InputError(f"{source}: not a pickle file of protocol 2 or above")
    try:
        budget = _Budget(2 * len(data) + _SPARE)  # protocol 2 has bytes as text, which may be swapped as well
        return _Machine(data, _functions(budget), budget).run()
    except RefusedError as error:
        raise InputError(
            f"{source}: expected a pickle of arrays, lists, dicts, sets, numbers and text, got {printable(error)}"
        ) from error
    except (ValueError, TypeError, LookupError, struct.error, OverflowError, MemoryError, RecursionError) as error:
        raise InputError(f"{source}: not a whole pickle file, or it is damaged") from error


class _Budget:
    """Bytes that may be copied: the memo of a pickle could repeat a long text in few bytes."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise RefusedError("data that grow beyond the size of the file")


Functions = Mapping[str, Callable[..., Any]]


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, data: memoryview, functions: Functions, budget: _Budget, position: int = 0) -> None:
        self._data, self._functions, self._budget, self.position = data, functions, budget, position
        self._size = len(data)
        self._stack: list[Any] = []  # since the last mark
        self._outer: list[list[Any]] = []  # before each mark
        self._memo: dict[int, Any] = {}
        self.storage: Callable[[Any], Any] | None = None  # makes the storage that a persistent id states

    def run(self) -> Any:
        """Follow the opcodes to the end of the pickle."""
        data, steps = self._data, _STEPS
        while True:
            code = data[self.position]
            self.position += 1
            if code == 0x2E:  # STOP
                (value,) = self._stack
                return value
            step = steps.get(code)
            if step is None:
                raise RefusedError(f"the opcode {code:#x}")
            step(self)

    # Arguments

    def _take(self, count: int) -> memoryview:
        start = self.position
        self.position = end = start + count
        if end > self._size:
            raise ValueError("an opcode without its argument")
        return self._data[start:end]

    def _number(self, count: int) -> int:
        return int.from_bytes(self._take(count), "little")

    def _line(self) -> str:
        start = self.position
        found = bytes(self._data[start : start + _MAX_NAME])
        end = found.index(b"\n")
        self.position = start + end + 1
        return found[:end].decode()

    def _pop_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._outer.pop()
        return items

    # Opcodes

    def _frame(self) -> None:
        self._take(8)

    def _protocol(self) -> None:
        if not 2 <= self._number(1) <= 5:
            raise ValueError("an unknown protocol")

    def _mark(self) -> None:
        self._outer.append(self._stack)
        self._stack = []

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _global(self) -> None:
        self._push_global(self._line(), self._line())

    def _stack_global(self) -> None:
        name = self._stack.pop()
        self._push_global(self._stack.pop(), name)

    def _push_global(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str or len(module) + len(name) > _MAX_NAME:
            raise ValueError("a name in an unknown form")
        path = f"{module}.{name}"
        is_storage = module == "torch" and name in _STORAGES
        if not is_storage and path not in self._functions:
            raise RefusedError(path)
        self._stack.append(Global(path))

    def _reduce(self) -> None:
        arguments = self._stack.pop()
        function = self._stack.pop()
        if type(function) is not Global or type(arguments) is not tuple:
            raise ValueError("a call of no function")
        if function.path not in self._functions:
            raise RefusedError(f"a call of {function.path}")
        self._stack.append(self._functions[function.path](*arguments))

    def _build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if type(target) is _DType:
            # (version, byte order, ...); the fields of structured dtypes follow
            if state[1] not in ("<", ">", "=", "|") or state[3] is not None:
                raise RefusedError("an array of a structured dtype")
            target.order = state[1]
        elif type(target) is PickledArray:
            _, shape, dtype, is_fortran, content = state
            target.value = _array(content, dtype, shape, "F" if is_fortran else "C", self._budget)
        elif not (type(target) is dict and state in (None, {})):
            raise RefusedError(f"an object with a state, {type(target).__name__}")

    def _persistent(self) -> None:
        if self.storage is None:
            raise RefusedError("an object of another file")
        self._stack.append(self.storage(self._stack.pop()))

    def _dict(self) -> None:
        items = self._pop_mark()
        self._stack.append(_filled({}, items))

    def _set_item(self) -> None:
        value = self._stack.pop()
        key = self._stack.pop()
        _filled(_of(self._stack[-1], dict), [key, value])

    def _set_items(self) -> None:
        items = self._pop_mark()
        _filled(_of(self._stack[-1], dict), items)

    def _append(self) -> None:
        value = self._stack.pop()
        _of(self._stack[-1], list).append(value)

    def _appends(self) -> None:
        items = self._pop_mark()
        _of(self._stack[-1], list).extend(items)

    def _add_items(self) -> None:
        items = self._pop_mark()
        _of(self._stack[-1], set).update(map(_key, items))

    def _tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise ValueError("a tuple without its elements")
        self._stack[-count:] = [tuple(self._stack[-count:])]


def _of(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"expected a {kind.__name__}")
    return value


def _key(value: Any) -> Any:
    """A key of a dict or an element of a set: text or a number, whose hash takes no time."""
    if type(value) is PickledArray and np.ndim(value.value) == 0:
        value = value.value.item()
    if value is not None and type(value) not in (str, int, float, bool):
        raise RefusedError("a dict or a set whose keys are neither text nor numbers")
    return value


def _filled(target: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    target.update(zip(map(_key, items[::2]), items[1::2], strict=True))
    return target


def _push(make: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        value = make(machine)  # before the stack is looked at, which a mark replaces
        machine._stack.append(value)

    return step


def _put(size: int) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        machine._memo[machine._number(size)] = machine._stack[-1]

    return step


def _get(size: int) -> Callable[[_Machine], None]:
    return _push(lambda machine: machine._memo[machine._number(size)])


def _text(size: int, encoding: str = "utf-8") -> Callable[[_Machine], None]:
    errors = "surrogatepass" if encoding == "utf-8" else "strict"
    return _push(lambda machine: str(machine._take(machine._number(size)), encoding, errors))


def _bytes(size: int) -> Callable[[_Machine], None]:
    return _push(lambda machine: machine._take(machine._number(size)))


def _long(machine: _Machine) -> int:
    size = machine._number(1)
    if size > _MAX_DIGITS:
        raise RefusedError("a whole number of more than 128 bits")
    return int.from_bytes(machine._take(size), "little", signed=True)


_STEPS: dict[int, Callable[[_Machine], None]] = {
    **{0x80: _Machine._protocol, 0x95: _Machine._frame, 0x28: _Machine._mark, 0x94: _Machine._memoize},
    **{0x71: _put(1), 0x72: _put(4), 0x68: _get(1), 0x6A: _get(4)},
    **{0x4E: _push(lambda _: None), 0x88: _push(lambda _: True), 0x89: _push(lambda _: False)},
    **{0x4B: _push(lambda machine: machine._number(1)), 0x4D: _push(lambda machine: machine._number(2))},
    0x4A: _push(lambda machine: int.from_bytes(machine._take(4), "little", signed=True)),
    0x8A: _push(_long),
    0x47: _push(lambda machine: struct.unpack(">d", machine._take(8))[0]),
    **{0x58: _text(4), 0x8C: _text(1), 0x8D: _text(8), 0x54: _text(4, "latin-1"), 0x55: _text(1, "latin-1")},
    **{0x42: _bytes(4), 0x43: _bytes(1), 0x8E: _bytes(8), 0x96: _bytes(8)},
    **{0x5D: _push(lambda _: []), 0x7D: _push(lambda _: {}), 0x8F: _push(lambda _: set()), 0x29: _push(lambda _: ())},
    **{0x6C: _push(_Machine._pop_mark), 0x74: _push(lambda machine: tuple(machine._pop_mark()))},
    0x91: _push(lambda machine: frozenset(map(_key, machine._pop_mark()))),
    **{0x85: lambda machine: machine._tuple_of(1), 0x86: lambda machine: machine._tuple_of(2)},
    0x87: lambda machine: machine._tuple_of(3),
    **{0x61: _Machine._append, 0x65: _Machine._appends, 0x90: _Machine._add_items},
    **{0x64: _Machine._dict, 0x73: _Machine._set_item, 0x75: _Machine._set_items},
    **{0x63: _Machine._global, 0x93: _Machine._stack_global, 0x52: _Machine._reduce, 0x62: _Machine._build},
    0x51: _Machine._persistent,
}


# Our own functions by the names that a pickle gives them


def _functions(budget: _Budget) -> dict[str, Callable[..., Any]]:
    storages: dict[int, tuple[Any, _Storage]] = {}
    heads: set[bytes] = set()

    def encode(text: Any, encoding: Any = "latin1") -> memoryview:
        if encoding not in ("latin1", "latin-1"):
            raise RefusedError(f"text in the encoding {encoding!r}")
        budget.take(len(text))
        return memoryview(_of(text, str).encode("latin-1"))

    def make_set(values: Any = ()) -> set[Any]:
        budget.take(8 * len(values))
        return set(map(_key, values))

    def ordered(pairs: Any = ()) -> dict[Any, Any]:
        budget.take(8 * len(pairs))
        return _filled({}, [value for pair in pairs for value in _pair(pair)])

    def dtype(code: Any, align: Any = False, copy: Any = True) -> _DType:
        return _DType(_of(code, str))

    def reconstruct(kind: Any, shape: Any, code: Any) -> PickledArray:
        if type(kind) is not Global or kind.path != "numpy.ndarray":
            raise RefusedError("an array of a class of its own")
        return PickledArray()

    def from_buffer(content: Any, kind: Any, shape: Any, order: Any = "C") -> PickledArray:
        return PickledArray(_array(content, kind, shape, order, budget))

    def scalar(kind: Any, content: Any) -> Any:
        value = _array(content, kind, (), "C", budget)
        if isinstance(value, list):
            return value[0]
        budget.take(value.nbytes if value.dtype.kind in "SU" else 0)
        return value.item()

    def load_from_bytes(content: Any) -> _Storage:
        # A pickle can repeat its bytes by the memo; each of them is followed once.
        if id(content) not in storages:
            storages[id(content)] = (content, _legacy_storage(_of(content, memoryview), heads))
        return storages[id(content)][1]

    functions: dict[str, Callable[..., Any]] = {
        "_codecs.encode": encode,
        "collections.OrderedDict": ordered,
        "numpy.dtype": dtype,
        "numpy.ndarray": _refused("a call of numpy.ndarray"),
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_parameter": lambda value, grad, hooks: value,
        "torch.storage._load_from_bytes": load_from_bytes,
        "torch.Size": lambda shape: shape,
    }
    for module in ("numpy.core", "numpy._core"):
        functions[f"{module}.multiarray._reconstruct"] = reconstruct
        functions[f"{module}.multiarray.scalar"] = scalar
        functions[f"{module}.numeric._frombuffer"] = from_buffer
    for module in ("builtins", "__builtin__"):
        functions |= {f"{module}.set": make_set, f"{module}.frozenset": lambda values: frozenset(make_set(values))}
        functions[f"{module}.bytes"] = lambda: memoryview(b"")  # protocol 2 calls it for no bytes
    return functions


def _refused(text: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise RefusedError(text)

    return refuse


def _pair(value: Any) -> Any:
    if type(value) not in (list, tuple) or len(value) != 2:
        raise ValueError("expected a pair")
    return value


def _array(content: Any, kind: Any, shape: Any, order: Any, budget: _Budget) -> Any:
    """An array over bytes of the pickle; of Python objects, their list."""
    dtype = _of(kind, _DType).made
    sizes = _sizes(shape)
    if dtype.hasobject:
        if type(content) is not list or len(sizes) > 1:
            raise RefusedError("an array of Python objects")
        return content
    if type(content) is str or not dtype.isnative:
        budget.take(len(content))
    data = memoryview(content.encode("latin-1")) if type(content) is str else _of(content, memoryview)
    if len(data) != math.prod(sizes) * dtype.itemsize:
        raise ValueError("an array of another size than its bytes")
    if not len(data):
        return np.empty(sizes, dtype)
    array: np.ndarray = np.ndarray(sizes, dtype, data, order="F" if order == "F" else "C")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _sizes(shape: Any) -> tuple[int, ...]:
    sizes = _of(shape, tuple)
    if len(sizes) > _MAX_DIMS or not all(type(size) is int and 0 <= size < 2**63 for size in sizes):
        raise ValueError("an array of an unknown shape")
    return tuple(sizes)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> PickledArray:
    values = _of(storage, _Storage).values
    sizes, steps = _sizes(shape), _sizes(strides)
    if len(sizes) != len(steps) or type(offset) is not int or offset < 0:
        raise ValueError("a tensor of an unknown shape")
    if not math.prod(sizes):
        return PickledArray(np.empty(sizes, values.dtype))
    # numpy checks that the strides stay within the memory.
    steps = tuple(step * values.itemsize for step in steps)
    if any(step == 0 and size > 1 for step, size in zip(steps, sizes, strict=True)):
        raise RefusedError("an expanded tensor; save tensor.contiguous()")
    return PickledArray(np.ndarray(sizes, values.dtype, values, offset * values.itemsize, steps))


def _legacy_storage(data: memoryview, heads: set[bytes]) -> _Storage:
    """The storage in the container of torch before 1.6, in which torch pickles a tensor outside of `torch.save`.

    heads: the magic numbers, protocols and systems that were right; those of all tensors of a file are the same.
    """
    stated: list[tuple[str, str, int]] = []
    names: Functions = {}

    def note(identity: Any) -> Any:
        _, kind, key, _, count = _of(identity, tuple)[:5]
        stated.append((_of(kind, Global).path.rpartition(".")[2], _of(key, str), _of(count, int)))
        return None

    position = next((len(head) for head in heads if data[: len(head)] == head), 0)
    if not position:
        magic, position = _value(data, names, 0)
        _, position = _value(data, names, position)  # the protocol
        system, position = _value(data, names, position)
        if magic != _TORCH_MAGIC or type(system) is not dict:
            raise ValueError("not a storage of torch")
        if system.get("little_endian") is not True:
            raise RefusedError("a tensor of a machine of another byte order")
        heads.add(bytes(data[:position]))
    _, position = _value(data, names, position, note)
    keys, position = _value(data, names, position)
    if len(stated) != 1 or keys != [stated[0][1]]:
        raise ValueError("not a storage of torch")
    (kind, _, count) = stated[0]
    dtype = _bfloat16() if _STORAGES[kind] == "bf" else np.dtype(_STORAGES[kind])
    content = data[position + 8 :]
    if int.from_bytes(data[position : position + 8], "little") != count or len(content) != count * dtype.itemsize:
        raise ValueError("a storage of another size than its bytes")
    return _Storage(np.frombuffer(content, dtype) if count else np.empty(0, dtype))


def _value(
    data: memoryview, functions: Functions, position: int, storage: Callable[[Any], Any] | None = None
) -> tuple[Any, int]:
    """The value of the pickle at a position, and where it ends."""
    machine = _Machine(data, functions, _Budget(0), position)  # a storage names nothing that copies
    machine.storage = storage
    return machine.run(), machine.position


def _bfloat16() -> np.dtype:
    try:
        import ml_dtypes
    except ImportError:
        raise RefusedError('a bfloat16 tensor, which needs ml_dtypes; pip install "vltr[bfloat16]"') from None
    dtype: np.dtype = np.dtype(ml_dtypes.bfloat16)
    return dtype


def is_pickle(path: str | os.PathLike[str]) -> bool:
    """Whether a file starts as a pickle of protocol 2 or above does; some lists of text are called .pkl too."""
    with open(path, "rb") as stream:
        start = stream.read(2)
    return len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5
