// Sampled AP with many trials, class by class. If a class has more draws than rows, it is cheaper to read and search
// its column once and to look up the result in each trial.
#pragma once

#include "cpu/draws.hpp"
#include "cpu/rank_scan.hpp"

namespace vltr::cpu {

// True if the list of all draws fits in an eighth of the matrix's bytes, or in 32 MiB. The rank
// scan then looks them up.
bool draws_fit_in_pass(const Matrix& scores, const Positives& positives, std::int64_t trials);

// (trials, C) row-major. Scratch: up to 32 MiB, or one column of counts per thread if that is more.
template <class T>
Array<double> sample_columns(const Matrix& scores, const Positives& positives, const Thresholds<LaneOf<T>>& thresholds,
                             const RankTable& table, std::int64_t trials, std::uint64_t seed, const Runner& runner);

}  // namespace vltr::cpu
