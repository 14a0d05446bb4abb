// Average precision with a weight for each row, as scikit-learn defines it: weights in the place of counts.
#pragma once

#include "cuda/positives.hpp"

namespace vltr::cuda {

// sample_weight (N, 1) of any element type. NaN for a class whose positives weigh nothing. The bits of the CPU: weights
// are summed as 128-bit integers (core/weight_core.hpp). Throws BadValue at a NaN score, or at a weight
// ("sample_weight", row, 0) that is negative or not finite. Waits for the stream.
std::vector<double> weighted_average_precision(const Matrix& scores, const Positives& positives,
                                               const Matrix& sample_weight, const Stream& stream);

}  // namespace vltr::cuda
