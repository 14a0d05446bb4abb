// Sampled AP with many trials, class by class: where a class is drawn from more often than it has rows, its column is
// read and searched once, and the trials look up the result.
#pragma once

#include "cpu/draws.hpp"
#include "cpu/scan.hpp"

namespace vltr::cpu {

// Whether all draws are few enough to be laid out for the scanning pass (an eighth of the matrix's bytes, or 32 MiB).
bool draws_fit_in_pass(const Matrix& scores, const Positives& positives, int trials);

// (trials, C) row-major. Scratch: up to 32 MiB, or one column of counts a thread where that is more.
template <class T>
std::vector<double> sample_columns(const Matrix& scores, const Positives& positives,
                                   const Thresholds<LaneOf<T>>& thresholds, const RankTable& table, int trials,
                                   std::uint64_t seed, const Runner& runner);

}  // namespace vltr::cpu
