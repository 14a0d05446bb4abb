// Average precision with a weight for each row, as in scikit-learn: weights replace counts.
#pragma once

#include "cuda/unknown.hpp"

namespace vltr::cuda {

// sample_weight (N, 1) of any element type. NaN for a class whose positives have a total weight of zero. The same bits
// as on the CPU, because weights are summed as 128-bit integers (core/weight_core.hpp). Throws BadValue at a NaN score,
// and BadValue("sample_weight", row, 0) at a weight that is negative or not finite. unknown: cells that are left out,
// or null. Waits for the stream.
Array<double> weighted_average_precision(const Matrix& scores, const Positives& positives, const UnknownBits* unknown,
                                         const Matrix& sample_weight, const Stream& stream);

}  // namespace vltr::cuda
