// The scaling of VLAD's sums on a device, as csrc/core/vlad_core.hpp defines it. Calls are asynchronous on the stream.
#pragma once

#include "core/vlad_core.hpp"
#include "cuda/device.hpp"

namespace vltr::cuda {

void scale_vlad(const VladScaling& request, const Stream& stream);

void scale_vlad_gradient(const VladScalingGradient& request, const Stream& stream);

}  // namespace vltr::cuda
