"""A hook that looks at modules after they have been executed, and leaves no trace in them."""

from __future__ import annotations

import importlib.machinery
import sys
import threading
import types
from collections.abc import Callable, Sequence
from typing import Any

_FILE_LOADERS = (importlib.machinery.SourceFileLoader, importlib.machinery.SourcelessFileLoader)


class ModuleWatcher:
    """A finder that asks the other finders, and calls ``watch(module)`` when a module has been executed.

    The loader and the spec are those of the other finder. Only the loader's `exec_module` is replaced, and only until
    it is called; so a module, its reload and its submodules look as they do without the hook.
    """

    def __init__(self, watch: Callable[[types.ModuleType], None]) -> None:
        self.watch = watch
        self._finding = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec that the other finders give."""
        if getattr(self._finding, "name", None) == fullname or fullname.partition(".")[0] == "vltr_eval":
            return None  # another finder asks all finders, as this one does
        self._finding.name, before = fullname, getattr(self._finding, "name", None)
        try:
            spec = self._find_elsewhere(fullname, path, target)
        finally:
            self._finding.name = before
        if spec is not None and isinstance(spec.loader, _FILE_LOADERS):
            self._watch_once(spec.loader)
        return spec

    def _find_elsewhere(self, fullname: str, path: Any, target: Any) -> importlib.machinery.ModuleSpec | None:
        for finder in list(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: importlib.machinery.ModuleSpec | None = None if find is None else find(fullname, path, target)
            if spec is not None:
                return spec
        return None

    def _watch_once(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            vars(loader).pop("exec_module", None)
            execute(module)
            self.watch(module)

        loader.exec_module = exec_module
