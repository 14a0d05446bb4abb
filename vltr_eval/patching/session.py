"""`patch` and `unpatch`: which functions are replaced now, and the order in which patches begin and end."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import importlib.metadata
import inspect
import os
import sys
import threading
import types
from collections.abc import Iterable
from typing import Any

from vltr_eval.patching import known as table
from vltr_eval.patching.fingerprints import Definition, definitions_of, fingerprint
from vltr_eval.patching.importing import ModuleWatcher
from vltr_eval.patching.known import Known, Library, libraries_of
from vltr_eval.patching.namespaces import names_of, namespaces, swap
from vltr_eval.patching.pristine import cannot_be_replaced
from vltr_eval.patching.replacements import Recorder, Replacement, by_object
from vltr_eval.patching.summary import Summary

__all__ = ["Patched", "VersionRefused", "patch", "unpatch"]


class VersionRefused(RuntimeError):
    """A named library is installed in a version with which its drop-ins were not tested."""


class Patched(contextlib.AbstractContextManager["Patched"]):
    """An active patch: what `patch` returns. Leaving its block ends it, as `unpatch` does.

    Attributes:
        libraries: The names of the libraries that it covers.
    """

    def __init__(self, libraries: tuple[str, ...], any_version: bool, verify: bool, quiet: bool) -> None:
        self.libraries = libraries
        self.any_version = any_version
        self.quiet = quiet
        self.left_alone: dict[str, str] = {}  # names with the reason
        self.process = os.getpid()
        self.recorder = Recorder(verify=verify)

    def summary(self) -> Summary:
        """Return the counts so far: calls, time, fallbacks with their reasons, and the time saved."""
        return Summary.of(self.recorder.counts, self.left_alone, verify=self.recorder.verify)

    def unpatch(self) -> Summary:
        """End this patch, and return its summary."""
        if _end(self) and not self.quiet:
            _say(self)
        return self.summary()

    def __exit__(self, *_: object) -> None:
        self.unpatch()


_lock = threading.RLock()
_active: list[Patched] = []
_replacements: dict[int, Replacement] = {}  # by the identity of the original, which stays alive here
_finished: set[str] = set()  # modules that have been executed while a patch was active


def patch(
    only: str | Iterable[str] | None = None, *, any_version: bool = False, verify: bool = False, quiet: bool = False
) -> Patched:
    """Replace the known functions of other libraries by their drop-ins until `unpatch`, or the end of a ``with``.

    Names in modules that are already imported change at once, and names in modules to come when they are imported.
    `unpatch` puts every name back. Patches count: a library is put back when the last patch that covers it ends.

    Args:
        only: The libraries to cover, as ``"sklearn,torchmetrics"`` or a list of names; by default all.
        any_version: Cover versions too with which the drop-ins were not tested.
        verify: Call the original as well, on every call, and report the largest difference and its time.
        quiet: Do not write the summary to stderr at the end.

    Returns:
        The patch, a context manager whose ``summary()`` has the counts.

    Raises:
        ValueError: ``only`` has a name that is not known.
        VersionRefused: A library that ``only`` names is installed in a version that was not tested. Without ``only``
            such a library is left as it is, and the summary says so.

    Example:
        >>> import vltr_eval, sklearn.metrics
        >>> with vltr_eval.patch(only="sklearn", quiet=True) as patched:
        ...     float(sklearn.metrics.average_precision_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]))
        0.8333333333333333
        >>> [(one.name, one.calls) for one in patched.summary().functions]
        [('sklearn.metrics._ranking.average_precision_score', 1)]
    """
    patched = Patched(libraries_of(only), any_version, verify, quiet)
    if only is not None and not any_version:
        for library in _libraries(patched.libraries):
            refusal = _refusal(library)
            if refusal:
                raise VersionRefused(f"only: {refusal}; any_version=True (--any-version) covers it")
    with _lock:
        if not _active:
            sys.meta_path.insert(0, _watcher)
        _active.append(patched)
    _refresh()
    return patched


def unpatch() -> Summary | None:
    """End the patch that began last, and return its summary; None if no patch is active.

    Example:
        >>> import vltr_eval
        >>> _ = vltr_eval.patch(only="torcheval", quiet=True)
        >>> vltr_eval.unpatch().functions
        []
    """
    with _lock:
        patched = _active[-1] if _active else None
    return None if patched is None else patched.unpatch()


def _end(patched: Patched) -> bool:
    """End a patch; False if it has ended before."""
    with _lock:
        if patched not in _active:
            return False
        _active.remove(patched)
        if not _active:
            sys.meta_path.remove(_watcher)
            _finished.clear()
        _assign_recorders()
        originals = {key: one.original for key, one in by_object.items() if not one.recorders}
        swap(namespaces(list(table.LIBRARIES)), originals)
    return True


def _say(patched: Patched) -> None:
    sys.stderr.write(patched.summary().to_text())
    sys.stderr.flush()


# Modules that are imported, now and later


def _watch(module: types.ModuleType) -> None:
    """Look at a module that has just been executed."""
    _finished.add(module.__name__)
    homes = {known.home for library in _libraries() for known in library.functions}
    if module.__name__ in homes or any(library.package == module.__name__ for library in _libraries()):
        _refresh()
    elif any(known.name in names_of(module) for known, _ in _copies(_libraries())):
        _refresh([module])


_watcher = ModuleWatcher(_watch)


def _refresh(modules: list[types.ModuleType] | None = None) -> None:
    """Replace what is known, in all modules; look for copies in the given modules, by default in all."""
    with _lock:
        active = list(_active)
    libraries = [library for library in table.LIBRARIES if any(library.name in patched.libraries for patched in active)]
    found: list[tuple[Library, Known, Any]] = []
    for library in libraries:
        if library.package:
            found += _installed(library, active)
    if modules is None:
        modules = [module for module in list(sys.modules.values()) if isinstance(module, types.ModuleType)]
    found += _found_copies(libraries, modules)
    for library, known, original in found:  # without the lock, because drop-ins import modules
        if id(original) not in _replacements:
            _add(library, known, original, active)
    with _lock:
        for _, _, original in found:
            _keep_if_needed(original, active)
        _assign_recorders()
        replacements = {key: one.object for key, one in _replacements.items() if one.recorders}
        if replacements:
            swap(namespaces(libraries), replacements)


def _add(library: Library, known: Known, original: Any, active: list[Patched]) -> None:
    module, _, name = known.drop_in.partition(":")
    try:
        drop_in = getattr(importlib.import_module(f"vltr_eval.compat.{module}"), name)
    except (ImportError, AttributeError) as error:
        for patched in active:
            patched.left_alone[f"{original.__module__}.{known.name}"] = str(error)
        return
    if drop_in is original or isinstance(original, type) != isinstance(drop_in, type):
        return
    if known.options:
        drop_in = functools.partial(drop_in, **dict(known.options))
    with _lock:
        if id(original) not in _replacements:
            replacement = Replacement(library.name, known, original, drop_in)
            _replacements[id(original)] = replacement


def _keep_if_needed(original: Any, active: list[Patched]) -> None:
    """Drop the replacement of a class whose existing subclasses would fail."""
    if isinstance(original, type) and id(original) in _replacements:
        reason = cannot_be_replaced(original, lambda one: id(one) in _replacements)
        if reason:
            del by_object[id(_replacements.pop(id(original)).object)]
            for patched in active:
                patched.left_alone[f"{original.__module__}.{original.__qualname__}"] = reason


def _assign_recorders() -> None:
    for one in _replacements.values():
        one.recorders = tuple(
            patched.recorder
            for patched in _active
            if one.library in patched.libraries and one.library not in patched.left_alone
        )


# Functions of installed packages


def _installed(library: Library, active: list[Patched]) -> list[tuple[Library, Known, Any]]:
    package = sys.modules.get(library.package)
    if package is None or not _is_complete(package):
        return []
    refusal = _refusal(library)
    for patched in active:
        if refusal and library.name in patched.libraries and not patched.any_version:
            patched.left_alone[library.name] = refusal
    found = []
    for known in library.functions:
        home = sys.modules.get(known.home)
        original = None if home is None else names_of(home).get(known.name)
        if original is not None and _is_own(original, known.home, known.name) and id(original) not in by_object:
            found.append((library, known, original))
    return found


def _is_complete(module: types.ModuleType) -> bool:
    """Whether a module has been executed to its end; an import within it may ask before."""
    if module.__name__ in _finished:
        return True
    return not getattr(getattr(module, "__spec__", None), "_initializing", False)


def _is_own(value: Any, home: str, name: str) -> bool:
    """Whether a module defines the value itself, so that nothing else has replaced it before."""
    return bool(
        isinstance(value, (types.FunctionType, type))
        and getattr(value, "__module__", None) == home
        and value.__qualname__ == name
    )


def _refusal(library: Library) -> str:
    """Return why a version is refused; "" for a tested version, and for a library that is not installed."""
    if not library.distribution:
        return ""
    try:
        version = importlib.metadata.version(library.distribution)
    except importlib.metadata.PackageNotFoundError:
        package = sys.modules.get(library.package.partition(".")[0])
        if package is None:
            return ""
        version = str(getattr(package, "__version__", "unknown"))
    low, high = library.tested
    if _numbers(low) <= _numbers(version) < _numbers(high):
        return ""
    return f"{library.distribution} {version} was not tested; expected {low} or later, below {high}"


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (1, 10) of 1.10.0rc1."""
    numbers = []
    for word in version.split("+")[0].split("."):
        digits = word[: len(word) - len(word.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != word:
            break
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


# Copies


def _found_copies(libraries: list[Library], modules: list[types.ModuleType]) -> list[tuple[Library, Known, Any]]:
    names: dict[str, list[tuple[Known, Library]]] = {}
    for known, library in _copies(libraries):
        names.setdefault(known.name, []).append((known, library))
    found = []
    for module in modules:
        values = names_of(module)
        candidates = [name for name in names if _is_own(values.get(name), module.__name__, name)]
        candidates = [name for name in candidates if id(values[name]) not in by_object]
        if not candidates:
            continue
        definitions = _definitions(module)
        for name in candidates:
            for known, library in names[name]:
                if _is_copy(known, definitions, values):
                    found.append((library, known, values[name]))
                    break
    return found


def _is_copy(known: Known, definitions: dict[str, Definition], values: dict[str, Any]) -> bool:
    names = (known.name, *known.helpers)
    if fingerprint(definitions, names) not in known.fingerprints:
        return False
    return all(_comes_from(values.get(name), definitions[name]) for name in names)


def _comes_from(value: Any, node: Definition) -> bool:
    """Whether a value is what its definition made, rather than an object of the same name."""
    code = getattr(value, "__code__", None)
    if code is None:
        return isinstance(value, type) or id(value) in by_object
    return id(value) in by_object or code.co_firstlineno in {node.lineno, *(one.lineno for one in node.decorator_list)}


def _definitions(module: types.ModuleType) -> dict[str, Definition]:
    try:
        return definitions_of(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}  # without its text a function cannot be recognised


def names_of_copies() -> set[str]:
    """Return the names of the copies that the active patches cover."""
    covered = {name for patched in _active for name in patched.libraries}
    return {known.name for known, library in _copies(_libraries(covered))}


def look_at_script() -> None:
    """Replace the copies that the running script has defined so far."""
    _refresh([sys.modules["__main__"]])


def _copies(libraries: Iterable[Library]) -> list[tuple[Known, Library]]:
    return [(known, library) for library in libraries for known in library.functions if known.sources]


def _libraries(names: Iterable[str] | None = None) -> list[Library]:
    return [library for library in table.LIBRARIES if names is None or library.name in set(names)]


# The end of the process


@atexit.register
def _say_at_exit() -> None:
    """Write the summaries of the patches that are active when the process ends."""
    for patched in reversed(list(_active)):
        if not patched.quiet and patched.process == os.getpid():
            _say(patched)


def _after_fork() -> None:
    """A child goes on with the patch; it has its own counts, and a lock that no other thread holds."""
    global _lock
    _lock = threading.RLock()
    for patched in _active:
        patched.recorder.lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
