// The options of a rank scan, the same on every device.
#pragma once

#include "core/rank_table.hpp"

namespace vltr {

// A metric of each class that a scan computes instead of the table.
enum class ClassMetric { kNone, kAveragePrecision, kRocAuc, kExpectedSampledAveragePrecision };

struct RankScanRequest {
  std::int64_t trials = 0;  // of sampled AP
  std::uint64_t seed = 0;
  bool ranks = false;
  // Thresholds to count against, instead of the scores of `positives`. Shards of one data set are counted against the
  // thresholds of all, and their counts are added.
  const RankTable* given = nullptr;
  ClassMetric metric = ClassMetric::kNone;
};

}  // namespace vltr
