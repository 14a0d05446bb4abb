"""The functions and classes that stand in for the originals while a patch is active."""

from __future__ import annotations

import copy
import copyreg
import functools
import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from vltr_eval.patching.counting import Counts, Originals, difference, inside, reason_of, size_of
from vltr_eval.patching.estimates import BUDGET, Cost, Parts, estimate, silent, with_columns
from vltr_eval.patching.known import Known
from vltr_eval.patching.pristine import pristine

_ARGUMENTS = "_vltr_arguments"  # of a new object, until the time of the original has been estimated
_SHADOW = "_vltr_original"  # an object of the original class that receives the same batches, to verify ours
_ROWS_OF_OBJECTS = 8192  # the batch of an object is repeated for so many rows, because an evaluation has many batches
_LARGER = 4  # times the rows of the call that was timed: then the original is timed again
_ROWS = "_vltr_size"  # rows and classes since the last reset


class Recorder:
    """The counts of one patch."""

    def __init__(self, *, verify: bool) -> None:
        self.verify = verify
        self.counts: dict[str, Counts] = {}
        self.lock = threading.Lock()

    def of(self, name: str) -> Counts:
        return self.counts.setdefault(name, Counts())


class Replacement:
    """An original and the object that stands in for it. The object is made once, so that it keeps its identity."""

    def __init__(self, library: str, known: Known, original: Any, drop_in: Any) -> None:
        self.library, self.known, self.original, self.drop_in = library, known, original, drop_in
        self.title = f"{original.__module__}.{original.__qualname__}"
        self.recorders: tuple[Recorder, ...] = ()  # of the active patches
        self._cost: Cost | None = None
        self._timed_rows = 0
        self._costs_due = known.timed
        self._budget = BUDGET
        self.object = self._make_class() if isinstance(original, type) else self._make_function()
        by_object[id(self.object)] = self

    @property
    def verifies(self) -> bool:
        return any(recorder.verify for recorder in self.recorders)

    # Functions

    def _make_function(self) -> Callable[..., Any]:
        @functools.wraps(self.original)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            return self._call(args, kwargs)

        return replacement

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if inside.known is not None or inside.is_original:
            return self._call_below(args, kwargs)
        if not self.recorders:
            return self.original(*args, **kwargs)
        size = size_of(args, kwargs)
        if self._cost_is_due(size[0]):
            self._estimate_call(args, kwargs, size)
        given = copy.deepcopy((args, kwargs)) if self.verifies else None
        result = self._counted(size, lambda: self.drop_in(*args, **kwargs))
        if given is not None:
            self._verify(result, lambda: self.original(*given[0], **given[1]))
        return result

    def _estimate_call(self, args: tuple[Any, ...], kwargs: dict[str, Any], size: tuple[int, int]) -> None:
        original = silent(self.original, self.known.silenced)
        names, parts = list(kwargs), Parts([*args, *kwargs.values()], *size)

        def prepare(rows: int, columns: int) -> Callable[[], object]:
            cut = [with_columns(value, size[1], columns) for value in parts(rows, columns)]
            return functools.partial(original, *cut[: len(args)], **dict(zip(names, cut[len(args) :], strict=True)))

        average = kwargs.get("average", "")
        has_columns = self.known.has_columns and parts.has_columns and average != "samples"
        self._estimate(prepare, *size, has_columns=has_columns, is_pooled=average == "micro")
        if self._cost is not None and has_columns and self.known.takes_columns and average != "micro":
            self._cost.copying = parts.copying(self.known.takes_columns == "its own")

    def _call_below(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call from an original, or from a drop-in, which then falls back: the original in either case."""
        if inside.is_original:
            return self.original(*args, **kwargs)
        reason = reason_of(self.original, args, kwargs)
        if inside.known is not self.known:
            reason = f"{self.known.name} with {reason}"
        return self._fall_back(reason, lambda: self.original(*args, **kwargs))

    def _fall_back(self, reason: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        try:
            with Originals():
                return call()
        finally:
            inside.fallbacks.append((reason, time.perf_counter() - start))

    # Classes

    def _make_class(self) -> type:
        original, drop_in, known = self.original, self.drop_in, self.known
        namespace: dict[str, Any] = {
            "__module__": original.__module__,
            "__qualname__": original.__qualname__,
            "__doc__": original.__doc__,
        }
        if "__slots__" in vars(drop_in):
            namespace["__slots__"] = ()
        made: Any = None

        def define(name: str, method: Callable[..., Any]) -> None:
            parent = getattr(drop_in, name, None)
            if parent is not None:
                namespace[name] = functools.wraps(parent)(method)

        def initialise(this: Any, *args: Any, **kwargs: Any) -> None:
            super(made, this).__init__(*args, **kwargs)
            self._begin(this, args, kwargs)

        def feed(name: str) -> Callable[..., Any]:
            return lambda this, *args, **kwargs: self._feed(made, this, name, args, kwargs)

        def result(name: str) -> Callable[..., Any]:
            return lambda this, *args, **kwargs: self._result(made, this, name, args, kwargs)

        def reset(this: Any, *args: Any, **kwargs: Any) -> Any:
            vars(this).pop(_ROWS, None)
            if _SHADOW in vars(this):
                vars(this)[_SHADOW].reset()
            return super(made, this).reset(*args, **kwargs)  # type: ignore[misc]  # define() needs that there is one

        define("__init__", initialise)
        define("reset", reset)
        for name in known.feeds:
            define(name, feed(name))
        for name in known.results:
            define(name, result(name))
        kind: Any = type(drop_in)
        made = _metaclass(kind)(original.__name__, (drop_in,), namespace)
        _replacements[made] = self
        replacement: type = made
        return replacement

    def _begin(self, this: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if inside.known is not None or inside.is_original or not self.recorders:
            return
        if self._costs_due:
            vars(this)[_ARGUMENTS] = args, kwargs
        if self.verifies and not issubclass(self.drop_in, self.original):
            with Originals():
                vars(this)[_SHADOW] = self._pristine()(*args, **kwargs)

    def _pristine(self) -> Any:
        """The original class, as it works without a patch."""
        return pristine(self.original, original_of)

    def _feed(self, made: type, this: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        method = getattr(super(made, this), name)
        if inside.known is not None or inside.is_original or not self.recorders:
            return method(*args, **kwargs)
        rows, classes = size_of(args, kwargs)
        arguments = vars(this).pop(_ARGUMENTS, None)
        if arguments is not None and self._cost_is_due(rows):
            self._estimate_object(arguments, name, args, kwargs, (rows, classes))
        if _SHADOW in vars(this):
            given = copy.deepcopy((args, kwargs))
            with Originals():
                getattr(vars(this)[_SHADOW], name)(*given[0], **given[1])
        if getattr(this, "_exact", True) is False:
            with Originals():
                value = method(*args, **kwargs)
        else:
            value = self._timed(lambda: method(*args, **kwargs))
        fed = vars(this).get(_ROWS, (0, 0))
        vars(this)[_ROWS] = fed[0] + rows, max(fed[1], classes)
        return value

    def _estimate_object(
        self,
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        size: tuple[int, int],
    ) -> None:
        rows, classes = size
        names, parts, kind = list(kwargs), Parts([*args, *kwargs.values()], *size), self._pristine()

        def prepare(kept: int, columns: int) -> Callable[[], object]:
            cut = parts(min(rows, kept), columns)
            given, named = arguments
            twin = kind(
                *(with_columns(value, classes, columns) for value in given),
                **{key: with_columns(value, classes, columns) for key, value in named.items()},
            )

            def call() -> None:
                for _ in range(-(-kept // rows)):  # one batch again, because an evaluation has many
                    getattr(twin, name)(*cut[: len(args)], **dict(zip(names, cut[len(args) :], strict=True)))
                getattr(twin, self.known.results[0])()

            return call

        self._estimate(
            prepare, max(rows, _ROWS_OF_OBJECTS), classes, has_columns=self.known.has_columns and parts.has_columns
        )

    def _result(self, made: type, this: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        method = getattr(super(made, this), name)
        if inside.known is not None or inside.is_original or not self.recorders:
            return method(*args, **kwargs)
        size = vars(this).get(_ROWS, (0, 0))
        if getattr(this, "_exact", True) is False:  # our class hands this work to the class that it extends
            options = [name for name in ("thresholds", "max_fpr") if getattr(this, name, None) is not None]
            reason = ", ".join(options) or "its arguments"
            return self._counted(size, lambda: self._fall_back(reason, lambda: method(*args, **kwargs)))
        value = self._counted(size, lambda: method(*args, **kwargs))
        if self.verifies:
            shadow = vars(this).get(_SHADOW)
            if shadow is not None:
                self._verify(value, lambda: getattr(shadow, name)(*args, **kwargs))
            elif issubclass(self.drop_in, self.original):  # with the same states
                self._verify(value, lambda: getattr(self.original, name)(this, *args, **kwargs))
        return value

    # Counts

    def _timed(self, call: Callable[[], Any]) -> Any:
        inside.known, inside.fallbacks = self.known, []
        start = time.perf_counter()
        try:
            return call()
        finally:
            seconds = time.perf_counter() - start
            inside.known = None
            for counts in self._all_counts():
                counts.seconds += seconds - sum(spent for _, spent in inside.fallbacks)

    def _counted(self, size: tuple[int, int], call: Callable[[], Any]) -> Any:
        returned = False
        try:
            value = self._timed(call)
            returned = True
            return value
        finally:
            fallbacks = inside.fallbacks
            for counts in self._all_counts():
                counts.calls += 1
                counts.errors += not returned
                counts.cells += size[0] * size[1]
                if len(counts.shapes) < 2:
                    counts.shapes.add(size)
                for reason, seconds in fallbacks:
                    counts.fallbacks[reason] = counts.fallbacks.get(reason, 0) + 1
                    counts.fallback_seconds += seconds
                if returned and not fallbacks:
                    estimated = None if self._cost is None else self._cost(*size)
                    counts.estimated_calls += estimated is not None
                    counts.unknown_calls += estimated is None
                    counts.estimated += estimated or 0.0

    def _all_counts(self) -> Iterable[Counts]:
        for recorder in self.recorders:
            with recorder.lock:
                yield recorder.of(self.title)

    def _cost_is_due(self, rows: int) -> bool:
        """Whether the original is to be timed: at the first call, and at one that is much larger than those before."""
        if self._cost is not None and rows > _LARGER * self._timed_rows and self._budget > BUDGET / 4:
            self._costs_due = True
        due, self._costs_due = self._costs_due and not self.verifies, False
        return due

    def _estimate(
        self,
        prepare: Callable[[int, int], Callable[[], object]],
        rows: int,
        classes: int,
        *,
        has_columns: bool,
        is_pooled: bool = False,
    ) -> None:
        start = time.perf_counter()
        with Originals():
            self._cost = estimate(
                prepare, rows, classes, has_columns=has_columns, is_pooled=is_pooled, budget=self._budget
            )
        self._timed_rows = rows
        self._budget -= time.perf_counter() - start

    def _verify(self, ours: Any, call: Callable[[], Any]) -> None:
        start = time.perf_counter()
        try:
            with Originals():
                original = call()
        except Exception as error:
            gap: float | str = f"the original raised {type(error).__name__}: {error}"
        else:
            gap = difference(ours, original)
        seconds = time.perf_counter() - start
        for counts in self._all_counts():
            counts.verified += 1
            counts.verified_seconds += seconds
            if isinstance(gap, str):
                counts.disagreements = [*counts.disagreements, gap][:3]
            else:
                counts.largest_difference = max(counts.largest_difference, gap)


_replacements: dict[type, Replacement] = {}


def original_of(value: Any) -> Any:
    """Return the original of an object that stands in for one; other objects as they are."""
    replacement = by_object.get(id(value))
    return value if replacement is None else replacement.original


by_object: dict[int, Replacement] = {}  # by the identity of the object that stands in, which stays alive here


@functools.cache
def _metaclass(base: type[type]) -> type[type]:
    """A metaclass for which objects of the original class are instances, and which pickles by the original's name."""

    class OfOriginal(base):  # type: ignore[valid-type,misc]  # the metaclass of the drop-in
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            replacement = _replacements.get(cls)
            if replacement is not None and inside.is_original:  # an original that makes objects of another one
                return replacement.original(*args, **kwargs)
            return super().__call__(*args, **kwargs)

        @property
        def __signature__(cls) -> inspect.Signature:
            signature = inspect.signature(getattr(cls, "__init__"))  # noqa: B009  # mypy refuses cls.__init__
            return signature.replace(parameters=list(signature.parameters.values())[1:])

        def __instancecheck__(cls, instance: Any) -> bool:
            replacement = _replacements.get(cls)
            return bool(super().__instancecheck__(instance)) or (
                replacement is not None and replacement.original in type(instance).__mro__
            )

        def __subclasscheck__(cls, subclass: type) -> bool:
            replacement = _replacements.get(cls)
            return bool(super().__subclasscheck__(subclass)) or (
                replacement is not None and replacement.original in subclass.__mro__
            )

    copyreg.pickle(OfOriginal, _reduce)
    return OfOriginal


def _reduce(cls: type) -> str | tuple[Any, ...]:
    """Pickle the class by the name of the original, which loads without vltr."""
    replacement = _replacements.get(cls)
    found = getattr(sys.modules.get(cls.__module__), cls.__name__, None)
    if replacement is None or found is cls:
        return cls.__qualname__
    return copy.copy, (replacement.original,)  # a copy of a class is the class; the patch has ended
