// The drop-one effect of each row on the metrics of groups of classes.
#pragma once

#include "core/rank_table.hpp"
#include "cpu/effect_tables.hpp"
#include "cpu/positives.hpp"

namespace vltr::cpu {

struct RowEffects {
  LargeArray<std::int64_t> sums;  // (N, groups, metrics), in units of 2^-exponent
  Array<int> exponents;           // (metrics)
};

// A table in borrowed memory, with its thresholds.
struct ScoredTable {
  TableColumns columns;
  const RankTable* thresholds;  // only its offset and thresholds
};

// scores, positives: all rows of the table, or some. groups: of each class, below num_groups. metrics: at most 4.
// Throws BadValue for the first NaN, and std::invalid_argument where the table is not that of the positives.
RowEffects row_effects(const Matrix& scores, const Positives& positives, const ScoredTable& table,
                       Span<const std::int64_t> groups, std::int64_t num_groups, Span<const EffectMetric> metrics,
                       double prevalence, const Runner& runner);

[[noreturn]] void throw_other_table();

}  // namespace vltr::cpu
