// The scaling of VLAD's sums on CPU threads, as csrc/core/vlad_core.hpp defines it.
#pragma once

#include "core/vlad_core.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

void scale_vlad(const VladScaling& request, const Runner& runner);

void scale_vlad_gradient(const VladScalingGradient& request, const Runner& runner);

}  // namespace vltr::cpu
