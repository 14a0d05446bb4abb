// The kernel of bootstrap_lists.hpp for one instruction set. Each rank_scan_*.cpp includes it.
#pragma once

#include "cpu/bootstrap_lists.hpp"
#include "cpu/survivors.inl"

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

template <class T>
void list_tile(const ListPlan<LaneOf<T>>& plan, const Tile& tile, std::int64_t first_col, std::int64_t cols,
               ListWorker<LaneOf<T>>& worker) {
  using Lane = LaneOf<T>;
  const Thresholds<Lane>& thresholds = *plan.thresholds;
  constexpr std::int64_t kBuffer = kTileRows + 16;
  const Lane* const survivors = worker.survivors.data();
  const float* const survivor_rows = worker.rows.data();
  std::int64_t survived[kStripCols] = {};
  FirstNan no_nan;  // the scan before has looked for NaN
  find_survivors<T>(tile, plan.lowest, first_col, cols, worker.survivors.data(), worker.rows.data(), survived, no_nan);
  const RowMask* const known = plan.known.of(tile, first_col, first_col + cols, worker.known);
  if (known != nullptr) drop_unknown<Lane>(known, cols, worker.survivors.data(), worker.rows.data(), survived);

  alignas(64) std::uint32_t buckets[kBuffer];
  for (std::int64_t j = 0; j < cols; ++j) {
    const std::int64_t c = first_col + j;
    if (plan.begin[c + 1] == plan.begin[c]) continue;
    find_buckets(thresholds.tree.data() + thresholds.tree_offset[c], thresholds.count(c), survivors + j * kBuffer,
                 survived[j], buckets);
    std::int64_t* const next = plan.next + plan.next_offset[c];
    const std::int64_t last = plan.begin[c + 1] - 1;
    const float* const rows = survivor_rows + j * kBuffer;
    for (std::int64_t i = 0; i < survived[j]; ++i) {
      const auto row = static_cast<std::uint32_t>(tile.first_row) + bit_cast<std::uint32_t>(rows[i]);
      const std::int64_t at = next[buckets[i]]++;
      plan.units[at < last ? at : last] = plan.unit_of == nullptr ? row : plan.unit_of[row];
    }
  }
}

#define VLTR_KERNEL(T)                                                                            \
  template void list_tile<T>(const ListPlan<LaneOf<T>>&, const Tile&, std::int64_t, std::int64_t, \
                             ListWorker<LaneOf<T>>&);
VLTR_FOR_EACH_ELEMENT(VLTR_KERNEL)
#undef VLTR_KERNEL

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
