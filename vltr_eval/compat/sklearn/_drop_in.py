"""A function of scikit-learn, done here where it can be and by scikit-learn itself where not."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from vltr_eval.compat.sklearn._arguments import check_arguments
from vltr_eval.compat.sklearn._original import NotNative, config, is_foreign

__all__ = ["MODULE", "drop_in"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _ModuleName(str):
    """The name of our module, which scikit-learn takes for one of its own.

    scikit-learn knows a metric function by ``__module__.startswith("sklearn.metrics.")``. It then refuses the function
    as ``scoring=`` and advises ``make_scorer``. Otherwise it would call the function with an estimator.
    """

    __slots__ = ()

    def startswith(self, prefix: Any, *bounds: Any) -> bool:
        return prefix == "sklearn.metrics." or str(self).startswith(prefix, *bounds)

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)  # a pickle of the function has the name alone


MODULE = "vltr_eval.compat.sklearn"


def drop_in(function: _Function) -> _Function:
    """Check arguments as scikit-learn does, and call its function of the same name for options that are not native."""
    name = function.__name__
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if not config("skip_parameter_validation"):
            check_arguments(bound.arguments)
        try:
            if config("array_api_dispatch") and any(map(is_foreign, bound.arguments.values())):
                raise NotNative("array_api_dispatch=True")
            return function(*args, **kwargs)
        except NotNative as reason:
            option = str(reason)
        try:
            import sklearn.metrics
        except ImportError:
            raise ImportError(
                f"{name}: {option} is not native and needs scikit-learn, which is not installed; "
                "pip install scikit-learn"
            ) from None
        return getattr(sklearn.metrics, name)(*args, **kwargs)

    call.__module__ = _ModuleName(MODULE)
    return cast(_Function, call)
