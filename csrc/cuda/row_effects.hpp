// The effect of each row on the metrics of groups of classes, in device memory: the same integers as on the CPU.
#pragma once

#include "core/rank_table.hpp"
#include "cuda/unknown.hpp"

namespace vltr::cuda {

// The effects of a row on the metrics of each class, as integers, in host memory. An entry has `width` integers: those
// of the metrics, and zeros. A threshold has two buckets, as in a rank scan: rows equal to it, and rows above it but
// below the next. Thresholds ascend in each class.
struct EffectTables {
  const RankTable* thresholds;  // of these rows, or of more; K in total
  std::int64_t metrics;
  std::int64_t width;                 // 1, 2 or 4
  Span<const std::int64_t> negative;  // (2 K, width): of a negative in each bucket, minus the base
  Span<const std::int64_t> positive;  // (K, width): of a positive at each threshold, minus the base
  Span<const std::int64_t> base;      // (C, width): of a row that reaches no threshold
  Span<const std::int64_t> group;     // (C): 0 to groups - 1
  std::int64_t groups;
};

// (N, groups, metrics): for each row and group, the sum of its effects over the classes of the group that it knows.
// unknown: null if each row knows all classes. Throws BadValue at the first NaN score, and MissingThreshold at a
// positive whose score is no threshold. Waits for the stream.
Array<std::int64_t> row_effects(const Matrix& scores, const Positives& positives, const UnknownBits* unknown,
                                const EffectTables& tables, const Stream& stream);

}  // namespace vltr::cuda
