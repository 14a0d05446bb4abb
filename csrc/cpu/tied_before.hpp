// Ties in row order: the negatives that a sort puts before a positive of the same score.
#pragma once

#include "core/rank_table.hpp"
#include "cpu/positives.hpp"

namespace vltr::cpu {

// For each positive whose score is one of the thresholds: the negatives of its class with the same score and a lower
// row number. Threshold k has the elements start[k] to start[k + 1] - 1, one for each of its positives, in row order.
// thresholds: descending in each class; only its offset and thresholds are read. Unknown cells are no negatives.
// ranges: scores from a threshold to below the next higher one count as equal. No positive may be below all.
//
// Throws BadValue at a NaN score, ScoresChanged if a threshold has another number of positives, and Cancelled.
Array<std::uint32_t> count_tied_before(const Matrix& scores, const Positives& positives, const RankTable& thresholds,
                                       Span<const std::int64_t> start, const Runner& runner, bool ranges = false);

}  // namespace vltr::cpu
