// Sums of probabilities in bins of equal width, for calibration errors.
//
// All sums are integers, so they have the same bits for any order of rows, threads and shards, and those of shards add
// up. A probability p counts as the integer nearest to p * 2^40 (ties to even), its square as that of the double p * p.
// So a mean of scores is exact to 2^-41, and a mean of squares to 2^-41 + 2^-54.
#pragma once

#include "cpu/pool.hpp"
#include "cpu/positives.hpp"

namespace vltr::cpu {

constexpr int kProbabilityBits = 40;
constexpr std::int64_t kMaxBins = 1000;

// The columns of a class: for each bin its cells, then for each bin the high and then the low part of the sum of its
// scores, then for each bin its positives, and last the sums of the squares and of the scores of positives, high and
// low part each. A sum is high * 2^32 + low.
inline std::int64_t calibration_columns(std::int64_t bins) { return 4 * bins + 4; }

// The sums of each class: (cols, calibration_columns(bins)). Bin k holds k < p * bins <= k + 1, and the first one 0 as
// well; the product is that of doubles. Throws BadValue at the first score, in row order, that is outside [0, 1].
Array<std::int64_t> calibration_sums(const Matrix& scores, const Positives& positives, std::int64_t bins,
                                     const Runner& runner);

}  // namespace vltr::cpu
