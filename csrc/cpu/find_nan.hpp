#pragma once

#include "cpu/positives.hpp"

namespace vltr::cpu {

// Throws BadValue at the first NaN of the matrix, in row order.
void throw_if_nan(const Matrix& scores, const Runner& runner);

}  // namespace vltr::cpu
