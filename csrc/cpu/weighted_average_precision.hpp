// Average precision with a weight for each row, as in scikit-learn: weights replace counts.
#pragma once

#include "cpu/positives.hpp"

namespace vltr::cpu {

// weights (N) must be finite and not negative. NaN for a class whose positives have a total weight of zero. Weights are
// summed as 128-bit integers (core/weight_core.hpp). Throws the errors of rank_scan().
Array<double> weighted_average_precision(const Matrix& scores, const Positives& positives, const double* weights,
                                         const Runner& runner);

}  // namespace vltr::cpu
