// The training layer's gathers and draws on a device; csrc/core/frame_core.hpp says what each computes. Each is one
// launch on the stream and waits for nothing. What the CPU refuses by name cannot be refused without waiting, so here a
// bad index or length only spoils what depends on it, and nothing is read out of bounds.
#pragma once

#include "core/frame_core.hpp"
#include "cuda/device.hpp"

namespace vltr::cuda {

// A sample whose partner is none of the mixed samples, or whose given beta is not from [0, 1]: NaN in all its outputs.
void frame_stack(const FrameStack& request, const Stream& stream);

// Such a sample takes no part.
void frame_stack_gradient(const FrameStackGradient& request, const Stream& stream);

// A frame that is not there: a row of NaN.
void gather_frames(const FrameGather& request, const Stream& stream);

// A video without frames: -1 throughout.
void sample_frames(const FrameSample& request, const Stream& stream);

void dynamic_frame_masks(const FrameMasks& request, const Stream& stream);

}  // namespace vltr::cuda
