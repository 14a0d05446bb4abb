// The thresholds of every class in device memory: scores of its positives, ascending.
#pragma once

#include "cuda/positives.hpp"
#include "cuda/rank_table.hpp"

namespace vltr::cuda {

// `sorted` holds every positive's score, ascending in each class, minus zero made zero. The thresholds are these, a
// score as often as it occurs, or those given by the caller.
template <class Lane>
struct Thresholds {
  DeviceArray<Lane> sorted;
  DeviceArray<Lane> given;
  DeviceArray<std::int64_t> given_offset;
  const std::int64_t* offset = nullptr;  // (classes + 1) into keys
  const Lane* keys = nullptr;
  std::int64_t count = 0;
};

// Scores of the positives in the order of positives.row, minus zero made zero. A NaN becomes zero and is noted in
// *first_nan, in row order among the positives.
template <class Lane>
DeviceArray<Lane> gather_scores(const Matrix& scores, const Positives& positives, const Stream& stream,
                                unsigned long long* first_nan);

// Takes the scores of `gather_scores`. Where `given` (descending, as a table) is not null, missing_class becomes the
// first class of which it lacks a score.
template <class Lane>
Thresholds<Lane> make_thresholds(DeviceArray<Lane> scores, const Positives& positives, const RankTable* given,
                                 unsigned long long* missing_class);

// The table of thresholds and, where rows were counted, their buckets (two of a threshold: equal to it, and above it
// but below the next). Null buckets: no rows were counted, and fp and tied are those of none.
template <class Lane>
DeviceRankTable make_table(const Thresholds<Lane>& thresholds, const Positives& positives,
                           const std::uint32_t* buckets);

// The distinct scores of the positives: what shards exchange. Throws BadValue at a NaN, with the first place of all.
DeviceRankTable positive_scores(const Matrix& scores, const Positives& positives, const Stream& stream);

}  // namespace vltr::cuda
