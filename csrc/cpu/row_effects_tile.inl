// The kernel of row_effects_tile.hpp for one instruction set. Each rank_scan_*.cpp includes it.
#pragma once

#include "cpu/row_effects_tile.hpp"
#include "cpu/survivors.inl"

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

// Adds the entries of buckets to the sums of rows, which differ from each other.
template <int kWidth>
void add_effects(const std::uint32_t* buckets, const float* rows, std::int64_t count, const std::int64_t* entries,
                 std::int64_t* sums) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t* const entry = entries + static_cast<std::int64_t>(buckets[i]) * kWidth;
    std::int64_t* const sum = sums + static_cast<std::int64_t>(bit_cast<std::uint32_t>(rows[i])) * kWidth;
    std::int64_t added[kWidth];
    for (int w = 0; w < kWidth; ++w) added[w] = sum[w] + entry[w];
    for (int w = 0; w < kWidth; ++w) sum[w] = added[w];
  }
}

// Gives the positives of a class the entries of positives in place of those of negatives.
template <class Lane>
void correct_positives(const EffectPlan<Lane>& plan, const Tile& tile, std::int64_t c, const std::uint32_t* buckets,
                       const float* rows, std::int64_t count, std::int64_t* sums, EffectWorker<Lane>& worker) {
  const EffectTables& tables = *plan.tables;
  const Span<const std::uint32_t> positives = plan.positives->rows_of(c);
  const std::int64_t first_key = plan.thresholds->offset.first(c);
  const auto end_row = static_cast<std::uint32_t>(tile.first_row + tile.rows);
  const auto* positive =
      std::lower_bound(positives.begin(), positives.end(), static_cast<std::uint32_t>(tile.first_row));
  for (; positive != positives.end() && *positive < end_row; ++positive) {
    const std::uint32_t row = *positive - static_cast<std::uint32_t>(tile.first_row);
    const float* const found = std::lower_bound(rows, rows + count, row, [](float bits, std::uint32_t number) {
      return bit_cast<std::uint32_t>(bits) < number;
    });
    if (found == rows + count || bit_cast<std::uint32_t>(*found) != row || buckets[found - rows] % 2 != 0) {
      worker.has_stranger = true;
      continue;
    }
    const std::uint32_t bucket = buckets[found - rows];
    const std::int64_t* const of_negative = tables.negative.data() + (2 * first_key + bucket) * tables.width;
    const std::int64_t* const of_positive = tables.positive.data() + (first_key + bucket / 2) * tables.width;
    for (std::int64_t w = 0; w < tables.width; ++w) sums[row * tables.width + w] += of_positive[w] - of_negative[w];
  }
}

template <class T>
void effect_strip(const EffectPlan<LaneOf<T>>& plan, const Tile& tile, std::int64_t col, std::int64_t cols,
                  EffectWorker<LaneOf<T>>& worker) {
  using Lane = LaneOf<T>;
  constexpr std::int64_t kBuffer = kTileRows + 16;
  const Thresholds<Lane>& thresholds = *plan.thresholds;
  const EffectTables& tables = *plan.tables;
  std::int64_t survived[kStripCols] = {};
  find_survivors<T>(tile, thresholds.lowest.data(), col, cols, worker.survivors.data(), worker.rows.data(), survived,
                    worker.nan);

  alignas(64) std::uint32_t buckets[kBuffer];
  for (std::int64_t j = 0; j < cols; ++j) {
    const std::int64_t c = col + j;
    if (thresholds.count(c) == 0) continue;
    find_buckets(thresholds.tree.data() + thresholds.tree_offset[c], thresholds.count(c),
                 worker.survivors.data() + j * kBuffer, survived[j], buckets);
    const float* const rows = worker.rows.data() + j * kBuffer;
    std::int64_t* const sums = worker.sums.data() + plan.group[c] * kTileRows * tables.width;
    const auto add = tables.width == 1 ? add_effects<1> : tables.width == 2 ? add_effects<2> : add_effects<4>;
    add(buckets, rows, survived[j], tables.negative.data() + 2 * thresholds.offset.first(c) * tables.width, sums);
    correct_positives(plan, tile, c, buckets, rows, survived[j], sums, worker);
  }
}

template <class T>
void effect_tile(const EffectPlan<LaneOf<T>>& plan, const Tile& tile, std::int64_t cols,
                 EffectWorker<LaneOf<T>>& worker) {
  for (std::int64_t col = 0; col < cols; col += kStripCols) {
    effect_strip<T>(plan, tile, col, std::min<std::int64_t>(kStripCols, cols - col), worker);
  }
}

#define VLTR_KERNEL(T) \
  template void effect_tile<T>(const EffectPlan<LaneOf<T>>&, const Tile&, std::int64_t, EffectWorker<LaneOf<T>>&);
VLTR_FOR_EACH_ELEMENT(VLTR_KERNEL)
#undef VLTR_KERNEL

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
