// The kernel of weighted_tile.hpp for one instruction set. Each rank_scan_*.cpp includes it.
#pragma once

#include "cpu/survivors.inl"
#include "cpu/weighted_tile.hpp"

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

// Adds the weights of rows to the sums of their thresholds. kWeightings is 0 for a number known at run time.
template <int kWeightings>
void add_weights(const std::uint32_t* buckets, const float* rows, std::int64_t count, const Wide* weights,
                 std::int64_t weightings, Wide* sums) {
  const std::int64_t width = kWeightings == 0 ? weightings : kWeightings;
  for (std::int64_t i = 0; i < count; ++i) {
    const Wide* const weight = weights + bit_cast<std::uint32_t>(rows[i]) * width;
    Wide* const sum = sums + static_cast<std::int64_t>(buckets[i] / 2) * width;
    for (std::int64_t w = 0; w < width; ++w) sum[w] += weight[w];
  }
}

template <class T>
void weighted_strip(const WeightedPlan<LaneOf<T>>& plan, const Tile& tile, std::int64_t col, std::int64_t cols,
                    WeightedWorker<LaneOf<T>>& worker) {
  using Lane = LaneOf<T>;
  constexpr std::int64_t kBuffer = kTileRows + 16;
  const Thresholds<Lane>& thresholds = *plan.thresholds;
  Lane* const survivors = worker.survivors.data();
  float* const survivor_rows = worker.rows.data();
  std::int64_t survived[kStripCols] = {};
  find_survivors<T>(tile, plan.lowest, col, cols, survivors, survivor_rows, survived, worker.nan);
  const RowMask* const known = plan.known.of(tile, col, col + cols, worker.known);
  if (known != nullptr) drop_unknown<Lane>(known, cols, survivors, survivor_rows, survived);

  alignas(64) std::uint32_t buckets[kBuffer];
  const Wide* const weights = plan.weights + tile.first_row * plan.weightings;
  for (std::int64_t j = 0; j < cols; ++j) {
    const std::int64_t c = col + j;
    if (plan.offset->length(c) == 0) continue;
    find_buckets(thresholds.tree.data() + thresholds.tree_offset[c], thresholds.count(c), survivors + j * kBuffer,
                 survived[j], buckets);
    const auto add = plan.weightings == 1   ? add_weights<1>
                     : plan.weightings == 2 ? add_weights<2>
                     : plan.weightings == 3 ? add_weights<3>
                                            : add_weights<0>;
    add(buckets, survivor_rows + j * kBuffer, survived[j], weights, plan.weightings,
        worker.sums.data() + plan.offset->first(c) * plan.weightings);
  }
}

template <class T>
void weighted_tile(const WeightedPlan<LaneOf<T>>& plan, const Tile& tile, std::int64_t first_col, std::int64_t end_col,
                   WeightedWorker<LaneOf<T>>& worker) {
  for (std::int64_t col = first_col; col < end_col; col += kStripCols) {
    weighted_strip<T>(plan, tile, col, std::min<std::int64_t>(kStripCols, end_col - col), worker);
  }
}

#define VLTR_KERNEL(T)                                                                                    \
  template void weighted_tile<T>(const WeightedPlan<LaneOf<T>>&, const Tile&, std::int64_t, std::int64_t, \
                                 WeightedWorker<LaneOf<T>>&);
VLTR_FOR_EACH_ELEMENT(VLTR_KERNEL)
#undef VLTR_KERNEL

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
