"""The code of a method from outside the package: the record of what ran, and the import of a file that a caller names.

The record of a class is made when the class is, because its file may change afterwards. It has the bytes of the file
that defines the class, and those of the modules that this file imports from its folder, one by another.

A file is imported from the bytes of its record, into a package of its own. Thus two files may each import their own
`common`, and a changed file is another module. An `import` statement in it looks into the folder of the file first.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.util
import inspect
import linecache
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

__all__ = ["Code", "code_of", "import_file", "note_code"]

PACKAGE = "vltr_train."
PREFIX = "_vltr_own_"
NOT_OWN = frozenset(sys.stdlib_module_names) | {"vltr_train", "vltr_eval"}
INSTALLED = ("site-packages", "dist-packages")
PLAIN = (type(None), bool, int, float, complex, str, bytes)


class _File(NamedTuple):
    """A module of a folder: its name there, its file, and the content of it."""

    name: str
    path: Path
    content: bytes


class _Folder:
    """The modules of a folder, each read once. top: the only package of it that counts, or "" for every module."""

    def __init__(self, root: Path, top: str = "") -> None:
        self.root, self.top = root, top
        self.files: dict[str, _File | None] = {}

    def find(self, name: str) -> _File | None:
        """Return a module, or None if the folder has none of this name."""
        if name not in self.files:
            self.files[name] = self._read(name)
        return self.files[name]

    def _read(self, name: str) -> _File | None:
        top = name.partition(".")[0]
        if top in NOT_OWN or self.top not in ("", top) or (not self.top and self.root.name in INSTALLED):
            return None
        base = self.root.joinpath(*name.split("."))
        for path in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if path.is_file():
                return _File(name, path, path.read_bytes())
        return None

    def imported_by(self, file: _File) -> dict[str, bytes]:
        """The contents of the modules that a file imports from the folder, one by another, by their paths in it."""
        found: dict[str, bytes] = {}
        waiting = [file]
        while waiting:
            for name in _imports(waiting.pop()):
                module = self.find(name)
                if module is not None and module.path != file.path and self.path_of(module) not in found:
                    found[self.path_of(module)] = module.content
                    waiting.append(module)
        return found

    def path_of(self, file: _File) -> str:
        """The path of a file in the folder."""
        return file.path.relative_to(self.root).as_posix()


@lru_cache(maxsize=1024)
def _imports(file: _File) -> tuple[str, ...]:
    """The names of the modules that a file may import, each after its packages. Names of attributes are among them."""
    try:
        nodes = list(ast.walk(ast.parse(file.content)))
    except (SyntaxError, ValueError, RecursionError):  # the import itself will say so
        return ()
    package = file.name.split(".") if file.path.name == "__init__.py" else file.name.split(".")[:-1]
    names = [package]
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level <= len(package) + 1:
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = base + (node.module or "").split(".") * bool(node.module)
            names += [[*base, alias.name] for alias in node.names]
    return tuple(dict.fromkeys(".".join(name[:end]) for name in names for end in range(1, len(name) + 1)))


# ---------------------------------------------------------------------------------------------------------------------
# The record
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Code:
    """The code of a class from outside the package.

    Attributes:
        qualified_name: The name of the class in its module.
        origin: The file or the module that it was loaded from, to tell a reader; nothing loads it by this.
        file: The path of its file in the folder that its imports begin in.
        content: The content of its file; of a class in a notebook its source; None if there is no source.
        source: The source of the class alone, with those of its bases and its Config in the same file; None without.
        modules: The contents of the modules that its file imports from the folder, by their paths in it.
        values: Texts of the values that a class inside a function took from it, by name; None if one has no text.
        is_main: Whether the class is of a script or a notebook, and thus known by its source alone.
    """

    qualified_name: str
    origin: str
    file: str
    content: bytes | None
    source: bytes | None
    modules: Mapping[str, bytes]
    values: Mapping[str, str] | None
    is_main: bool

    @property
    def document(self) -> dict[str, Any]:
        """The entry of config.json; its sha256 is None if nothing could show that another class has the same code."""
        kind = "class" if self.is_main else "file"
        return {
            "class": self.qualified_name,
            "origin": self.origin,
            "file": self.file,
            "hashed": kind,
            "sha256": None if self.values is None else self.sha256(kind),
            "modules": {path: _sha256(content) for path, content in sorted(self.modules.items())},
            "values": dict(self.values or {}),
        }

    @property
    def copies(self) -> dict[str, bytes]:
        """The files to keep, by their paths."""
        return {**({} if self.content is None else {self.file: self.content}), **self.modules}

    def sha256(self, kind: str) -> str | None:
        """The hash of the "file" or of the source of the "class", in hexadecimal."""
        content = self.source if kind == "class" else self.content
        return None if content is None else _sha256(content)

    def difference(self, recorded: Mapping[str, Any]) -> str | None:
        """Name a part that differs from the entry of a config.json, or None. A part without a hash does not differ."""
        given = recorded.get("sha256")
        if given is not None and given != self.sha256(str(recorded.get("hashed", "file"))):
            return self.file
        if self.values is not None and recorded.get("values", {}) != self.values:
            return "a value that it took from a function"
        modules = recorded.get("modules")
        for path, hashed in modules.items() if isinstance(modules, dict) else ():
            if path not in self.modules or hashed != _sha256(self.modules[path]):
                return str(path)
        return None


class _Noted(NamedTuple):
    """The file of a class and its folder, when the class was made."""

    folder: _Folder
    file: _File
    modules: dict[str, bytes]


_noted: WeakKeyDictionary[type, _Noted | None] = WeakKeyDictionary()


def note_code(kind: type) -> None:
    """Note the file of a class that is being made, if it is from outside the package."""
    if not kind.__module__.startswith(PACKAGE):
        _noted[kind] = _read(kind)


def code_of(kind: Any) -> Code:
    """Return the record of a class of a method."""
    if kind not in _noted:
        _noted[kind] = _read(kind)
    noted, is_main = _noted[kind], kind.__module__ == "__main__"
    modules: dict[str, bytes] = {}
    for each in filter(None, map(_noted.get, kind.__mro__)):
        modules = {each.folder.path_of(each.file): each.file.content} | each.modules | modules
    same_module = [each for each in (*kind.__mro__, *kind.Config.__mro__) if each.__module__ == kind.__module__]
    texts = [_source_of(each, noted and noted.file.content) for each in dict.fromkeys(same_module)]
    source = "\n\n".join(filter(None, texts)).encode() if texts[0] else None
    file = f"{kind.__name__}.py" if noted is None else noted.folder.path_of(noted.file)
    modules.pop(file, None)
    return Code(
        qualified_name=kind.__qualname__,
        origin=kind.__module__ if noted is None else str(noted.file.path.resolve()),
        file=file,
        content=source if noted is None else noted.file.content,
        source=source,
        modules=modules,
        values=_taken_values(kind),
        is_main=is_main or noted is None,
    )


def _read(kind: type) -> _Noted | None:
    """The file of a class as it is now; None in a notebook or an interactive session."""
    prefix, _, name = kind.__module__.partition(".")
    if prefix in _folders:
        folder, file = _folders[prefix], _folders[prefix].find(name)
    else:
        module = sys.modules.get(kind.__module__)
        path = Path(getattr(module, "__file__", None) or "")
        if not path.is_file():
            return None
        name = getattr(getattr(module, "__spec__", None), "name", path.stem)
        parts = name.split(".") + ["__init__"] * (path.name == "__init__.py")
        root = path.parents[min(len(parts), len(path.parents)) - 1]
        folder = _Folder(root, parts[0] if len(parts) > 1 else "")
        try:
            file = _File(name, path, path.read_bytes())
        except OSError:
            return None
    return None if file is None else _Noted(folder, file, folder.imported_by(file))


def _source_of(kind: type, content: bytes | None) -> str | None:
    """The source of a class: in the content of its file, or in the cell of a notebook that has one of its functions."""
    if content is not None:
        return _segment(content.decode(errors="replace"), kind.__qualname__)
    for function in _functions(kind).values():
        text = "".join(linecache.getlines(function.__code__.co_filename))
        if text:
            return _segment(text, kind.__qualname__)
    return None


def _segment(text: str, qualified_name: str) -> str | None:
    """The lines of a class in the text of its file."""
    try:
        node: ast.AST = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    for name in qualified_name.replace("<locals>.", "").split("."):
        found = [each for each in ast.walk(node) if getattr(each, "name", None) == name and hasattr(each, "body")]
        if not found:
            return None
        node = found[-1]  # an earlier one of the name is gone
    if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return None
    first = min(each.lineno for each in (node, *node.decorator_list))
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno])


def _functions(kind: type) -> dict[str, FunctionType]:
    """The functions that a class defines itself, in it or by a decorator, by their names."""
    found = {}
    for name, value in vars(kind).items():
        value = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if isinstance(value, FunctionType):
            found[name] = inspect.unwrap(value)
    return found


def _taken_values(kind: type) -> dict[str, str] | None:
    """The values that classes inside a function took from it, as text; None if one of them has no plain text."""
    texts: dict[str, str | None] = {}
    for each in kind.__mro__:
        if "<locals>" in each.__qualname__ and not each.__module__.startswith(PACKAGE):
            for name, value in vars(each).items():
                if not name.startswith("__") and isinstance(value, (*PLAIN, tuple)):
                    texts[f"{each.__name__}.{name}"] = _text_of(value)
            for name, function in _functions(each).items():
                taken = {f"{name}({key})": value for key, value in _captured(function)}
                texts |= {key: _text_of(value) for key, value in taken.items()}
    return None if None in texts.values() else {key: str(text) for key, text in texts.items()}


def _captured(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The variables and the default arguments that a function has from where it was made."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if name != "__class__":  # of super()
            try:
                yield name, cell.cell_contents
            except ValueError:  # not yet set
                yield name, None
    yield from ((str(number), value) for number, value in enumerate(function.__defaults__ or ()))
    yield from (function.__kwdefaults__ or {}).items()


def _text_of(value: Any) -> str | None:
    """The text of plain values, and the name of modules, classes and functions, whose source is in a file."""
    if isinstance(value, tuple):
        texts = list(map(_text_of, value))
        return None if None in texts else f"({', '.join(map(str, texts))})"
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, (type, FunctionType)):
        return value.__qualname__
    return repr(value) if type(value) in PLAIN else None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# ---------------------------------------------------------------------------------------------------------------------
# The import of a file
# ---------------------------------------------------------------------------------------------------------------------

_folders: dict[str, _Folder] = {}
"""The folders of imported files, by the package that each file has for itself."""


def import_file(path: Path) -> ModuleType:
    """Import a file, or return its module if neither it nor a module that it imports from its folder has changed."""
    path = path.resolve()
    folder, name = _Folder(path.parent), path.stem.replace(".", "_")
    file = folder.files[name] = _File(name, path, path.read_bytes())
    parts = {str(path): file.content, **folder.imported_by(file)}
    prefix = PREFIX + _sha256(repr(sorted(parts.items())).encode())[:16]
    if prefix not in _folders:
        _folders[prefix] = folder
        package = sys.modules[prefix] = ModuleType(prefix)
        package.__path__ = []
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    try:
        return importlib.import_module(f"{prefix}.{name}")
    except BaseException:
        for module in [each for each in sys.modules if each.partition(".")[0] == prefix]:
            del sys.modules[module]
        del _folders[prefix]
        raise


class _Finder:
    """Finds the modules of own packages, and runs the bytes that were read."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        prefix, _, plain = name.partition(".")
        file = _folders[prefix].find(plain) if prefix in _folders and plain else None
        if file is None:
            return None
        inside = [str(file.path.parent)] if file.path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(name, file.path, loader=self, submodule_search_locations=inside)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Have the usual module made."""

    def exec_module(self, module: ModuleType) -> None:
        prefix, _, plain = module.__name__.partition(".")
        file = _folders[prefix].find(plain)
        if file is None:
            raise ImportError(f"{plain}: expected a module of {prefix}, got none", name=module.__name__)
        vars(module)["__builtins__"] = vars(builtins) | {"__import__": partial(_import, prefix, builtins.__import__)}
        exec(compile(file.content, str(file.path), "exec", dont_inherit=True), vars(module))


_finder: Any = _Finder()


def _import(
    prefix: str,
    usual: Callable[..., Any],
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    """The `import` statement of an own module, with the arguments of the usual one."""
    top = name.partition(".")[0]
    if level or top in NOT_OWN or _folders[prefix].find(top) is None:
        return usual(name, globals, locals, fromlist, level)
    found = usual(f"{prefix}.{name}", globals, locals, fromlist, 0)
    return found if fromlist else getattr(found, top)
