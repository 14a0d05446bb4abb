// The effect of each row on the metrics of groups of classes, in device memory: the same integers as on the CPU.
#pragma once

#include "core/rank_table.hpp"
#include "cuda/positives.hpp"

namespace vltr::cuda {

constexpr int kMostMetrics = 4;

// The effects of one row on `metrics` metrics, as integers of one unit for each metric. A threshold has two buckets, as
// in a rank scan: rows equal to it, and rows above it but below the next; thresholds ascend in each class. All arrays
// are in host memory.
struct EffectTables {
  const RankTable* thresholds;        // of the whole data set, which has these scores or contains them; K in total
  int metrics;                        // 1 to kMostMetrics
  std::int64_t groups;                // of classes
  Span<const std::int64_t> group;     // (C): 0 to groups - 1
  Span<const std::int64_t> below;     // (C, metrics): of a negative below all thresholds of the class
  Span<const std::int64_t> negative;  // (2 K, metrics): of a negative in each bucket
  Span<const std::int64_t> positive;  // (K, metrics): of a positive at each threshold
};

// (N, groups, metrics): for each row and group, the sum of its effects over the classes of the group. Throws BadValue
// at the first NaN score, and MissingThreshold at a positive whose score is no threshold. Waits for the stream.
Array<std::int64_t> row_effects(const Matrix& scores, const Positives& positives, const EffectTables& tables,
                                const Stream& stream);

}  // namespace vltr::cuda
