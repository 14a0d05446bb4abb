// Average precision with a weight for each row, as in scikit-learn: weights replace counts.
#pragma once

#include "cpu/positives.hpp"

namespace vltr::cpu {

// AP under several weightings of the rows, (weightings, C), in one pass over the scores. NaN for a class whose
// positives have a total weight of zero. Weights are summed as 128-bit integers (core/weight_core.hpp). Throws BadValue
// at the first row of which a weight, in weights (weightings, N), is negative or not finite, and the errors of
// rank_scan().
Array<double> weighted_average_precisions(const Matrix& scores, const Positives& positives, const double* weights,
                                          std::int64_t weightings, const Runner& runner);

// The same with one weighting: (C).
inline Array<double> weighted_average_precision(const Matrix& scores, const Positives& positives, const double* weights,
                                                const Runner& runner) {
  return weighted_average_precisions(scores, positives, weights, 1, runner);
}

}  // namespace vltr::cpu
