// Weighted AP of dense classes.
#pragma once

#include "cpu/positives.hpp"

namespace vltr::cpu {

// Writes weighted AP of the given classes to out[w * C + c]. weights (weightings, N), and exponents (weightings) of the
// largest weight of each weighting. Scratch: 64 MiB, or the words and weights of one class if they are more. Returns
// false, and leaves the output undefined, if a score of these classes is NaN.
template <class T>
bool weigh_dense_classes(const Matrix& scores, const Positives& positives, const Array<std::int64_t>& classes,
                         const double* weights, const Array<int>& exponents, const Runner& runner, double* out);

}  // namespace vltr::cpu
