// The drop-one effects of all classes of a rank table as integers, so that a row's sum over classes has the same bits
// in any order.
#pragma once

#include "core/effect_core.hpp"
#include "core/large_array.hpp"
#include "cpu/class_statistics.hpp"

namespace vltr::cpu {

// An entry has `width` integers: those of the metrics, and zeros. Integer i stands for i * 2^-exponent. A row's sum is
// the sum of the bases of all classes, and for each class of which it reaches a threshold, the entry of its bucket, or
// the entry of its threshold if it is a positive. All sums are below 2^47, whatever the row.
struct EffectTables {
  std::int64_t metrics = 0;
  std::int64_t width = 0;             // 1, 2 or 4
  LargeArray<std::int64_t> negative;  // (2 K, width) minus the base, by bucket (tree_core.hpp), class after class
  LargeArray<std::int64_t> positive;  // (K, width) minus the base, thresholds ascending in each class
  Array<std::int64_t> base;           // (C, width)
  Array<int> exponents;               // (metrics), functions of the table alone
};

// metrics: at most 4.
EffectTables effect_tables(const TableColumns& table, Span<const EffectMetric> metrics, double prevalence,
                           const Runner& runner);

// Class c of a table.
inline ClassCounts class_counts(const TableColumns& table, std::int64_t c) {
  const std::int64_t first = table.offset[c];
  return vltr::class_counts(table.tp + first, table.fp + first, table.tied + first, table.offset[c + 1] - first,
                            table.rows[c]);
}

}  // namespace vltr::cpu
