// Counts at thresholds that are the same for all classes.
#pragma once

#include "core/rank_table.hpp"
#include "cpu/pool.hpp"
#include "core/matrix.hpp"

namespace vltr::cpu {

// The known cells of each class by the number of thresholds that they reach: (C, n + 1) row-major. If `pooled`, those
// of all classes together: (n + 1). thresholds: n lanes of the scores, ascending.
//
// Throws BadValue at a NaN score, and Cancelled.
Array<std::int64_t> count_at_common(const Matrix& scores, const LaneColumn& thresholds, bool pooled,
                                    const Runner& runner);

struct CommonCounts {
  Array<std::int64_t> of_classes;  // (C, m + 1) row-major, if m thresholds are of classes
  Array<std::int64_t> pooled;      // (n + 1)
};

// The same for the thresholds of classes, and for all thresholds with the cells of all classes together. of_classes
// (n + 1): how many of the first i thresholds are of classes.
CommonCounts count_at_both(const Matrix& scores, const LaneColumn& thresholds, Span<const std::int64_t> of_classes,
                           const Runner& runner);

}  // namespace vltr::cpu
