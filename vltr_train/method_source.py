"""Where a training method comes from: a name, a class, ``FILE.py:CLASS``, or ``PACKAGE.MODULE:CLASS``.

Code is loaded only from a file or a module that the caller names. A run folder records where its method came from and
keeps a copy of the file, and nothing ever imports these: a run folder may come from somebody else.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vltr_eval._base.arguments import unknown_name
from vltr_train.methods import all_names, check_method, find_method

if TYPE_CHECKING:
    from vltr_train.method import Method

__all__ = ["Code", "FoundMethod", "MethodName", "check_code", "read_name", "resolve_method"]

COPY = "method.py"
"""The file of a run folder that has a copy of the code of a method from outside the package."""


@dataclass(frozen=True)
class Code:
    """The code of a method from outside the package.

    Attributes:
        qualified_name: The name of the class in its module.
        origin: The file or the module that it was loaded from, to tell a reader; nothing loads it by this.
        text: The content of the file; of a class without a file the source of the class, or "" if there is none.
    """

    qualified_name: str
    origin: str
    text: str

    @property
    def document(self) -> dict[str, Any]:
        """The entry of config.json."""
        return {"class": self.qualified_name, "origin": self.origin, "sha256": self.sha256}

    @property
    def sha256(self) -> str | None:
        """The hash of the text in hexadecimal; None without a text."""
        return hashlib.sha256(self.text.encode()).hexdigest() if self.text else None


@dataclass(frozen=True)
class FoundMethod:
    """A method that can be trained.

    Attributes:
        kind: The class.
        name: Its name in run folders, tables and figures: that of the file of a built-in method, else of the class.
        preset: The preset, or None.
        code: Its code if the package does not have it, else None.
    """

    kind: type[Method]
    name: str
    preset: str | None
    code: Code | None

    @property
    def document(self) -> dict[str, Any]:
        """The entries of config.json."""
        of_code = {} if self.code is None else {"code": self.code.document}
        return {"method": self.name, "preset": self.preset, **of_code}


@dataclass(frozen=True)
class MethodName:
    """The parts of METHOD[:PRESET], FILE.py[:CLASS[:PRESET]] or PACKAGE.MODULE[:CLASS[:PRESET]].

    Attributes:
        source: METHOD, FILE.py or PACKAGE.MODULE.
        class_name: CLASS, or "" for the only method of the file or module.
        preset: PRESET, or None.
    """

    source: str
    class_name: str
    preset: str | None

    @property
    def is_file(self) -> bool:
        """Whether the source is a file."""
        return self.source.endswith(".py")

    @property
    def is_outside(self) -> bool:
        """Whether the method is not one of the package."""
        return self.is_file or "." in self.source or "/" in self.source


def read_name(text: str) -> MethodName:
    """Return the parts of the name of a method, without importing it.

    Raises:
        ValueError: There is no such method of the package, no such file, or too many parts.
    """
    source, *rest = text.split(":")
    name = MethodName(source, "", None)
    if not name.is_outside:
        if len(rest) > 1:
            raise ValueError(f"method: expected NAME:PRESET or FILE.py:CLASS:PRESET, got {text!r}")
        check_method(source)
        return MethodName(source, "", (rest or [""])[0] or None)
    if len(rest) > 2:
        raise ValueError(f"method: expected FILE.py:CLASS:PRESET, got {text!r}")
    if not name.is_file and "/" in source:
        raise ValueError(f"method: expected a file that ends in .py, got {source!r}")
    if name.is_file and not Path(source).is_file():
        raise ValueError(f"method: expected the file of a method, and there is no file {source!r}")
    class_name, preset = (*rest, "", "")[:2]
    return MethodName(source, class_name, preset or None)


def resolve_method(method: str | type[Method], preset: str | None = None) -> FoundMethod:
    """Return the method that a name or a class means.

    Args:
        method: A name of `all_methods`, a class, "FILE.py:CLASS" or "PACKAGE.MODULE:CLASS". Names may end in ":PRESET".
        preset: A preset, if the name has none.

    Raises:
        ValueError: There is no such method or preset, its code cannot be imported, or its class is not complete.
    """
    if not isinstance(method, str):
        return _of_class(_checked(method), preset)
    name = read_name(method)
    if name.preset is not None and preset is not None:
        raise ValueError(f"preset: expected one, got {name.preset!r} in the method's name and {preset!r}")
    preset = name.preset or preset
    if not name.is_outside:
        return FoundMethod(find_method(name.source), name.source, preset, None)
    module, text = _load_file(name.source) if name.is_file else (_import(name.source), None)
    return _of_class(_checked(_class_of(module, name)), preset, text)


def check_code(given: FoundMethod, recorded: Any, where: str) -> None:
    """Refuse a method whose code is not that of a run.

    Args:
        given: The method as the caller gives it.
        recorded: `Code.document` of the run, or None for a method of the package.
        where: The run folder.

    Raises:
        ValueError: The class or the content of its file differs.
    """
    here = None if given.code is None else given.code.document
    if here == recorded:
        return
    if here is None or not isinstance(recorded, dict) or here["class"] != recorded.get("class"):
        names = (_shown(recorded), _shown(here))
        raise ValueError(f"{where}: expected {names[0]}, with which the run began, got {names[1]}")
    if recorded.get("sha256") not in (None, here["sha256"]):
        raise ValueError(
            f"{where}: expected the code of {here['class']} with which the run began, got other code from "
            f"{here['origin']}; give {where}/{COPY}:{here['class']}, the copy that the run keeps, after reading it"
        )


def _shown(document: Any) -> str:
    return f"the class {document.get('class')}" if isinstance(document, dict) else "a method of the package"


def _of_class(kind: type[Method], preset: str | None, text: str | None = None) -> FoundMethod:
    """The found method of a class; a class of the package has the name of its file."""
    built_in = kind.__module__.removeprefix("vltr_train.methods.")
    if built_in in all_names() and find_method(built_in) is kind:
        return FoundMethod(kind, built_in, preset, None)
    file = _file_of(kind)
    if text is None:
        text = _source_of(kind) if file is None else file.read_text(encoding="utf-8", errors="replace")
    origin = kind.__module__ if file is None else str(file.resolve())
    return FoundMethod(kind, kind.__name__, preset, Code(kind.__qualname__, origin, text))


def _file_of(kind: type) -> Path | None:
    """The file of a class; None in a notebook or an interactive session."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return Path(file) if file and Path(file).is_file() else None


def _source_of(kind: type) -> str:
    """The source of a class without a file, which a notebook keeps; "" if there is none."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def _load_file(path: str) -> tuple[ModuleType, str]:
    """Import a file that the caller names; its content as well, which is what was imported."""
    file = Path(path).resolve()
    content = file.read_bytes()
    # One module for one content: two names of a class of this file are one class.
    name = f"_vltr_own_{hashlib.sha256(str(file).encode() + content).hexdigest()[:16]}"
    text = content.decode(errors="replace")
    if name in sys.modules:
        return sys.modules[name], text
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None:
        raise ValueError(f"method: expected a file of Python code, got {path!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look their module up
    try:
        with _import_errors(path), _folder_first(file.parent):
            exec(compile(content, str(file), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module, text


@contextmanager
def _folder_first(folder: Path) -> Iterator[None]:
    """The folder of the file is on the path while it is imported, as `python FILE` has it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _import(name: str) -> ModuleType:
    with _import_errors(name), _folder_first(Path(os.getcwd())):
        return importlib.import_module(name)


@contextmanager
def _import_errors(source: str) -> Iterator[None]:
    """Turn an error in the code of a method into one sentence that names the line."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"method: {source} cannot be imported ({type(error).__name__}: {reason})") from error


def _class_of(module: ModuleType, name: MethodName) -> Any:
    """The class that a name means in its module; without a class name the only method that the module defines."""
    from vltr_train.method import Method

    own = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    }
    if name.class_name:
        if name.class_name not in vars(module):
            raise unknown_name("method", name.class_name, own)
        return vars(module)[name.class_name]
    if len(own) != 1:
        found = ", ".join(own) or "none"
        raise ValueError(f"method: expected {name.source}:CLASS, one of the subclasses of Method there, got {found}")
    return next(iter(own.values()))


def _checked(kind: Any) -> type[Method]:
    """Refuse what is no complete method, before a training makes a folder for it."""
    from vltr_train.method import Method, TrainConfig

    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise ValueError(f"method: expected a name or a subclass of vltr_train.Method, got {kind!r}")
    if kind.forward is Method.forward:
        raise ValueError(f"method: expected {kind.__name__} to define forward, which returns the loss of a step")
    if not (isinstance(kind.Config, type) and issubclass(kind.Config, TrainConfig)):
        raise ValueError(f"method: expected {kind.__name__}.Config to be a subclass of Method.Config")
    for config in kind.Config.__mro__:
        if vars(config).get("__annotations__") and "__dataclass_fields__" not in vars(config):
            raise ValueError(
                f"method: expected @dataclass(frozen=True, kw_only=True) above {config.__name__}, "
                "without which its settings are not known"
            )
    return kind
