// Average precision with a weight for each row, as scikit-learn defines it: weights in the place of counts.
#pragma once

#include "cpu/positives.hpp"

namespace vltr::cpu {

// weights (N), finite and not negative. NaN for a class whose positives weigh nothing.
// Weights are summed as 128-bit integers scaled to the largest weight: in any order the same bits, and exact for
// weights down to 2^-37 of it. Throws as scan() does.
std::vector<double> weighted_average_precision(const Matrix& scores, const Positives& positives, const double* weights,
                                               const Runner& runner);

}  // namespace vltr::cpu
