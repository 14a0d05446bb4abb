"""Where a training method comes from: a name, a class, ``FILE.py:CLASS``, or ``PACKAGE.MODULE:CLASS``.

Code is loaded only from a file or a module that the caller names. A run folder records which code ran, and keeps copies
of its files. Nothing imports these unless the caller names them: a run folder may come from somebody else.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vltr_eval._base.arguments import unknown_name
from vltr_train.methods import all_names, check_method, find_method
from vltr_train.own_code import PREFIX, Code, code_of, import_file
from vltr_train.settings import check_defaults

if TYPE_CHECKING:
    from vltr_train.method import Method

__all__ = ["FoundMethod", "MethodName", "check_code", "read_name", "resolve_method"]

COPIES = "method"
"""The folder in a run folder that has copies of the code of a method from outside the package."""


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
        if source not in all_names() and Path(f"{source}.py").is_file():
            meant = ":".join([f"{source}.py", *rest])
            raise ValueError(f"method: expected a name or FILE.py:CLASS, got {text!r}; did you mean {meant}?")
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


def resolve_method(method: str | type[Method] | FoundMethod, preset: str | None = None) -> FoundMethod:
    """Return the method that a name or a class means.

    Args:
        method: A name of `all_methods`, a class, "FILE.py:CLASS" or "PACKAGE.MODULE:CLASS". Names may end in ":PRESET".
            A `FoundMethod` is returned again.
        preset: A preset, if the name has none.

    Raises:
        ValueError: There is no such method or preset, its code cannot be imported, or its class is not complete.
    """
    if isinstance(method, FoundMethod):
        return method if preset is None else replace(method, preset=preset)
    if not isinstance(method, str):
        return _of_class(_checked(method), preset)
    name = read_name(method)
    if name.preset is not None and preset is not None:
        raise ValueError(f"preset: expected one, got {name.preset!r} in the method's name and {preset!r}")
    preset = name.preset or preset
    if not name.is_outside:
        return FoundMethod(find_method(name.source), name.source, preset, None)
    return _of_class(_checked(_class_of(_import(name), name)), preset)


def check_code(given: FoundMethod, recorded: Any, where: str, *, resumes: bool = False) -> None:
    """Refuse a method whose code is not that of a run.

    Args:
        given: The method as the caller gives it.
        recorded: `Code.document` of the run, or None for a method of the package.
        where: The run folder.
        resumes: Whether the run shall go on, for which code that nothing can show to be the same is not enough.

    Raises:
        ValueError: The class or its code differs, or nothing shows that they are the same.
    """
    code = given.code
    if code is None and recorded is None:
        return
    if code is None or not isinstance(recorded, dict) or code.qualified_name != recorded.get("class"):
        names = (_shown(recorded), _shown(None if code is None else code.document))
        raise ValueError(f"{where}: expected {names[0]}, with which the run began, got {names[1]}")
    if resumes and None in (recorded.get("sha256"), code.document["sha256"]):
        raise ValueError(
            f"{where}: expected a class whose code is known to resume with it, got {code.qualified_name}, of which "
            "some is in no file; write it to a file, or train again with overwrite=True (--overwrite)"
        )
    part = code.difference(recorded)
    if part is not None:
        or_anew = ", or train the other code with overwrite=True (--overwrite)" if resumes else ""
        raise ValueError(
            f"{where}: expected the code of {code.qualified_name} with which the run began, got other code from "
            f"{code.origin} ({part} differs); give {where}/{COPIES}/{recorded.get('file')}:{code.qualified_name}, "
            f"the copy that the run keeps, after reading it{or_anew}"
        )


def _shown(document: Any) -> str:
    return f"the class {document.get('class')}" if isinstance(document, dict) else "a method of the package"


def _of_class(kind: type[Method], preset: str | None) -> FoundMethod:
    """The found method of a class; a class of the package has the name of its file."""
    built_in = kind.__module__.removeprefix("vltr_train.methods.")
    if built_in in all_names() and find_method(built_in) is kind:
        return FoundMethod(kind, built_in, preset, None)
    return FoundMethod(kind, kind.__name__, preset, code_of(kind))


def _import(name: MethodName) -> ModuleType:
    """Import the file or the module that the caller names. Its folder is on the path, as `python FILE` has it."""
    folder = Path(name.source).resolve().parent if name.is_file else Path(os.getcwd())
    with _import_errors(name.source), _folder_first(folder):
        return import_file(Path(name.source)) if name.is_file else importlib.import_module(name.source)


@contextmanager
def _folder_first(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def _import_errors(source: str) -> Iterator[None]:
    """Turn an error in the code of a method into one sentence that names the line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        reason = re.sub(rf"\b{PREFIX}\w+\.", "", " ".join(str(error).split()))  # the package of a file is our own name
        if "relative import" in reason:
            reason += "; a file of a package is PACKAGE.MODULE:CLASS, from the folder that has the package"
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
    if not own:
        raise ValueError(
            f"method: expected a subclass of vltr_train.Method in {name.source}, got a file without one; define it, "
            "with a forward that returns the loss of a step"
        )
    if len(own) > 1:
        *others, last = own
        raise ValueError(
            f"method: expected {name.source}:CLASS, got {name.source} without a class; "
            f"CLASS is {', '.join(others)} or {last}"
        )
    return next(iter(own.values()))


def _described(kind: Any) -> str:
    """An object that is no method, without the module of a file, whose name is internal, and without an address."""
    if isinstance(kind, type):
        return f"the class {kind.__qualname__}; write class {kind.__name__}(Method)"
    if callable(kind) and hasattr(kind, "__qualname__"):
        return f"the function {kind.__qualname__}; give a class"
    advice = "; give its class" if hasattr(type(kind), "forward") else ""
    return f"an object of the type {type(kind).__name__}{advice}"


def _checked(kind: Any) -> type[Method]:
    """Refuse what is no complete method, before a training makes a folder for it."""
    from vltr_train.method import Method, TrainConfig

    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise ValueError(f"method: expected a name or a subclass of vltr_train.Method, got {_described(kind)}")
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
    check_defaults(kind.Config)
    return kind
