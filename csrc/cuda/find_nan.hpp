#pragma once

#include "core/errors.hpp"
#include "core/matrix.hpp"
#include "cuda/device.hpp"

namespace vltr::cuda {

// Throws BadValue at the first NaN of the matrix, in row order. Waits for the stream.
void throw_if_nan(const Matrix& scores, const Stream& stream);

}  // namespace vltr::cuda
