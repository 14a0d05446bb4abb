"""The base class of the metrics for mmengine, and a stand-in where mmengine is not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

try:
    import torch
    from torch import Tensor
except ImportError:
    raise ImportError("vltr_eval.compat._mmengine needs torch: pip install torch") from None

if TYPE_CHECKING:

    class BaseMetric:
        default_prefix: str | None
        prefix: str | None
        results: list[Any]
        dataset_meta: dict[str, Any] | None

        def __init__(self, collect_device: str = "cpu", prefix: str | None = None) -> None: ...
        def evaluate(self, size: int) -> dict[str, Any]: ...
else:
    try:
        from mmengine.evaluator import BaseMetric
    except ImportError:

        class BaseMetric:
            """Stand-in for mmengine's class: static methods of its subclasses work, and instances need mmengine."""

            default_prefix = None

            def __new__(cls, *_: Any, **__: Any) -> NoReturn:
                raise ImportError(f"{cls.__name__} needs mmengine: pip install mmengine")


__all__ = ["BaseMetric", "to_numpy"]


def to_numpy(tensor: Tensor) -> Any:
    """A copy in CPU memory; numpy has no bfloat16, so that becomes float32."""
    copied = tensor.detach().cpu()
    return (copied.float() if copied.dtype == torch.bfloat16 else copied.clone()).numpy()
