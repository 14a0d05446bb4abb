// The options of a rank scan, the same on every device.
#pragma once

#include "core/rank_table.hpp"

namespace vltr {

struct RankScanRequest {
  std::int64_t trials = 0;  // of sampled AP
  std::uint64_t seed = 0;
  bool ranks = false;
  // Thresholds to count against, instead of the scores of `positives`. Shards of one data set are counted against the
  // thresholds of all, and their counts are added.
  const RankTable* given = nullptr;
};

}  // namespace vltr
