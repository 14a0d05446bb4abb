// The inner operation of weighted AP for classes with few thresholds: one tile of rows, compiled for each instruction
// set.
#pragma once

#include "core/weight_core.hpp"
#include "cpu/rank_scan_tile.hpp"

namespace vltr::cpu {

// The inputs of all tiles. Sums have an element for each threshold and weighting, the weightings side by side.
template <class Lane>
struct WeightedPlan {
  const Thresholds<Lane>* thresholds;
  const Lane* lowest;     // (C, padded to a multiple of 16) first threshold, or unreachable for classes left out
  const Offsets* offset;  // (C + 1) thresholds in the sums; a class that is left out has none
  const Wide* weights;    // (N, weightings) scaled_weight()
  std::int64_t weightings;
  KnownRows known;
};

// The sums and the scratch memory of one worker.
template <class Lane>
struct WeightedWorker {
  Array<Wide> sums;              // weights of the rows whose highest threshold this is, thresholds ascending
  AlignedLanes<Lane> survivors;  // kStripCols x (kTileRows + 16)
  AlignedLanes<float> rows;      // the rows of the survivors within their tile, as bits
  Array<RowMask> known;
  FirstNan nan;
};

// Adds the rows of a tile in classes [first_col, end_col).
template <class Lane>
using WeightedTile = void (*)(const WeightedPlan<Lane>& plan, const Tile& tile, std::int64_t first_col,
                              std::int64_t end_col, WeightedWorker<Lane>& worker);

// The kernel of this processor (simd.hpp).
template <class T>
WeightedTile<LaneOf<T>> weighted_tile_kernel();

#define VLTR_DECLARE_KERNEL(isa)                                                              \
  namespace isa {                                                                             \
  template <class T>                                                                          \
  void weighted_tile(const WeightedPlan<LaneOf<T>>&, const Tile&, std::int64_t, std::int64_t, \
                     WeightedWorker<LaneOf<T>>&);                                             \
  }
VLTR_FOR_EACH_ISA(VLTR_DECLARE_KERNEL)
#undef VLTR_DECLARE_KERNEL

}  // namespace vltr::cpu
