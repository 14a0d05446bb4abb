"""Training of long-tailed video models on frame features: the fused gathers and draws of its methods."""

from vltr_train.frames import (
    FrameStack,
    dynamic_frame_bounds,
    dynamic_frame_masks,
    frame_stack,
    gather_frames,
    sample_frames,
)

__all__ = [
    "FrameStack",
    "dynamic_frame_bounds",
    "dynamic_frame_masks",
    "frame_stack",
    "gather_frames",
    "sample_frames",
]
