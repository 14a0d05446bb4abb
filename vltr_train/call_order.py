"""The order in which a loop calls a method: a stage begins, then each epoch begins, takes its steps, and ends.

A class is checked only for the calls that it overrides, so a loss alone needs none of them. One that overrides the
beginning or the end of an epoch needs both, as neither is found missing without the other. The checks read two
attributes of the method, and no tensor. They find a call that was left out where another call or a step shows it: not
the batches of another stage, and not one epoch that has the steps of several.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["CALLS", "CallOrder", "check_loss", "noting_call"]

CALLS = ("begin_stage", "begin_epoch", "end_epoch")
"""The methods of a class that a loop has to call, if the class overrides them."""

EPOCH = frozenset({"begin_epoch", "end_epoch"})


def noting_call(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of a class, which then notes on the method that it was called."""
    name = function.__name__

    @wraps(function)
    def call(self: nn.Module, *args: Any, **options: Any) -> Any:
        order = _order_of(self)
        if order is not None and name != "end_epoch":
            order.check_end(self)
        result = function(self, *args, **options)
        if order is not None:
            order.note(name)
        return result

    call._notes_call = True  # type: ignore[attr-defined]
    return call


class CallOrder:
    """A hook before the forward pass that raises if a call of the loop is missing.

    Args:
        kind: The class of the method.
        base: The class whose functions do nothing.
    """

    def __init__(self, kind: type, base: type) -> None:
        # By the mark of `noting_call`: a tool that replaces a function of a class, to time it, notes nothing.
        needed = {name for name in CALLS if _defined_below(kind, base, name)}
        self.needed = needed | EPOCH if needed & EPOCH else needed
        self.in_stage = self.in_epoch = self.has_steps = False

    def note(self, name: str) -> None:
        """Note a call of the loop."""
        self.in_stage = self.in_stage or name == "begin_stage"
        self.in_epoch, self.has_steps = name == "begin_epoch", False

    def check_end(self, method: nn.Module) -> None:
        """Raise if an epoch or a stage begins after steps of an epoch that did not end."""
        if self.has_steps and "end_epoch" in self.needed:
            raise _missing(method, "end_epoch()", "after the steps of an epoch, before the next begins")

    def __call__(self, method: nn.Module, batches: Any) -> None:
        if not method.training or not self.needed:
            return
        if "begin_stage" in self.needed and not self.in_stage:
            raise _missing(method, "begin_stage(stage)", "before the first step, with a stage of stages()")
        if "begin_epoch" in self.needed and not self.in_epoch:
            raise _missing(method, "begin_epoch(epoch, num_rows)", "before the steps of each epoch")
        if not self.has_steps:
            self.has_steps = True


def check_loss(method: nn.Module, batches: Any, loss: Any) -> None:
    """Raise if a forward pass in training did not return a scalar with a gradient, a hook after it."""
    if not method.training:
        return
    name = f"{type(method).__name__}.forward"
    if not (isinstance(loss, Tensor) and loss.ndim == 0):
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"{name}: expected a scalar loss, the mean over the rows, got {got}")
    # A caller under no_grad needs none.
    if torch.is_grad_enabled() and not loss.requires_grad:
        raise ValueError(
            f"{name}: expected a loss with a gradient, got one without; compute it from self.model, without detach(), "
            "item() or no_grad()"
        )


def _order_of(method: nn.Module) -> CallOrder | None:
    hooks = method._forward_pre_hooks.values()
    return next((hook for hook in hooks if isinstance(hook, CallOrder)), None)


def _defined_below(kind: type, base: type, name: str) -> bool:
    """Whether a class or one of its bases overrides a function of the base class."""
    functions = (vars(each).get(name) for each in kind.__mro__ if each is not base and issubclass(each, base))
    return any(getattr(function, "_notes_call", False) for function in functions)


def _missing(method: nn.Module, call: str, when: str) -> RuntimeError:
    kind = type(method).__name__
    return RuntimeError(f"{kind}: expected a call of {call} {when}, got none; `Method` lists the calls of a loop")
