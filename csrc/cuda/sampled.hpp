// Sampled AP from the thresholds of a rank scan.
#pragma once

#include "cuda/thresholds.hpp"

namespace vltr::cuda {

// AP of each trial, (trials, C) row-major, with all classes and trials in one launch (classes of many positives in a
// second one). Only the scores of the drawn negatives are read. unknown: cells that are not drawn, or null.
template <class T>
DeviceArray<double> sample_trials(const Matrix& scores, const Positives& positives, const UnknownBits* unknown,
                                  const Thresholds<LaneOf<T>>& thresholds, const DeviceRankTable& table,
                                  std::int64_t trials, std::uint64_t seed, const Stream& stream);

}  // namespace vltr::cuda
