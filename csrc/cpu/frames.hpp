// The gathers and draws of vltr_train on CPU threads. csrc/core/frame_core.hpp defines each of them.
//
// All inputs are checked before any output is written. BadValue has the argument's name and the cell of the bad value.
#pragma once

#include "core/frame_core.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

// Throws BadValue("partner") if a partner is not one of the mixed samples, BadValue("beta") if a beta is not in [0, 1].
void frame_stack(const FrameStack& request, const Runner& runner);

// Takes the partners and betas of a frame_stack() call. Samples that frame_stack() would refuse
// are left out of the sums.
void frame_stack_gradient(const FrameStackGradient& request, const Runner& runner);

// Throws BadValue("videos"), BadValue("offsets") at a requested video, or BadValue("frame_indices").
void gather_frames(const FrameGather& request, const Runner& runner);

// Throws BadValue("lengths") if a length is not in [1, kMaxRows].
void sample_frames(const FrameSample& request, const Runner& runner);

void dynamic_frame_masks(const FrameMasks& request, const Runner& runner);

}  // namespace vltr::cpu
