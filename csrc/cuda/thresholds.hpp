// The thresholds of every class in device memory: the scores of its positives, ascending.
#pragma once

#include "cuda/positives.hpp"
#include "cuda/rank_table.hpp"
#include "cuda/unknown.hpp"

namespace vltr::cuda {

// `sorted` has every positive's score, ascending in each class; minus zero becomes zero. The thresholds are these
// scores, with repetitions, or those given by the caller.
template <class Lane>
struct Thresholds {
  DeviceArray<Lane> sorted;
  DeviceArray<Lane> given;
  DeviceArray<std::int64_t> given_offset;
  const std::int64_t* offset = nullptr;  // (classes + 1) into keys
  const Lane* keys = nullptr;
  std::int64_t count = 0;
  std::int64_t longest = 0;  // the thresholds of the class that has most
};

// The scores of the positives in the order of positives.row; minus zero becomes zero. A NaN becomes zero, and
// *first_nan is lowered to its flat index.
template <class Lane>
DeviceArray<Lane> gather_scores(const Matrix& scores, const Positives& positives, const Stream& stream,
                                unsigned long long* first_nan);

// Takes the scores of gather_scores(). If `given` (descending, as in a table) is not null, *missing_class becomes the
// first class for which it lacks a score.
template <class Lane>
Thresholds<Lane> make_thresholds(DeviceArray<Lane> scores, const Positives& positives, const RankTable* given,
                                 unsigned long long* missing_class);

// The table from the thresholds and their buckets. A threshold has two buckets: rows equal to it, and rows above it but
// below the next. If buckets is null, no rows were counted, and fp and tied are 0. unknown: the cells that were not
// counted, or null.
template <class Lane>
DeviceRankTable make_table(const Thresholds<Lane>& thresholds, const Positives& positives, const UnknownBits* unknown,
                           const std::uint32_t* buckets);

// The distinct scores of the positives; ranks exchange them. Throws BadValue with the matrix's first NaN if one is NaN.
DeviceRankTable positive_scores(const Matrix& scores, const Positives& positives, const Stream& stream);

}  // namespace vltr::cuda
