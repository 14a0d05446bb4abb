// The training layer's gathers and draws on CPU threads; csrc/core/frame_core.hpp says what each computes.
//
// All inputs are checked before any output is written: BadValue names the argument and its place.
#pragma once

#include "core/frame_core.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

// BadValue of "partner": not one of the mixed samples; of "beta": not from [0, 1].
void frame_stack(const FrameStack& request, const Runner& runner);

// Of features and betas that frame_stack has accepted; a sample that it would not takes no part.
void frame_stack_gradient(const FrameStackGradient& request, const Runner& runner);

// BadValue of "videos", "offsets" (at a video that is asked for) or "frame_indices".
void gather_frames(const FrameGather& request, const Runner& runner);

// BadValue of "lengths".
void sample_frames(const FrameSample& request, const Runner& runner);

void dynamic_frame_masks(const FrameMasks& request, const Runner& runner);

}  // namespace vltr::cpu
