// The gathers and draws of vltr_train on a device. csrc/core/frame_core.hpp defines each of them. Each is one
// asynchronous launch on the stream. To refuse a bad index or length, as on the CPU, a call would have to wait. Here
// bad inputs spoil only the outputs that depend on them, and nothing is read out of bounds.
#pragma once

#include "core/frame_core.hpp"
#include "cuda/device.hpp"

namespace vltr::cuda {

// All outputs of a sample are NaN if its partner is not one of the mixed samples or its given beta is not in [0, 1].
void frame_stack(const FrameStack& request, const Stream& stream);

// Samples with NaN outputs in frame_stack() are left out of the sums.
void frame_stack_gradient(const FrameStackGradient& request, const Stream& stream);

// A frame that does not exist gives a row of NaN.
void gather_frames(const FrameGather& request, const Stream& stream);

// A video without frames gives -1 in its whole row.
void sample_frames(const FrameSample& request, const Stream& stream);

void dynamic_frame_masks(const FrameMasks& request, const Stream& stream);

}  // namespace vltr::cuda
