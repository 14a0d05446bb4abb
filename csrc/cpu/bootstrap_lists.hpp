// The inner operation that lists the rows of each bucket (tree_core.hpp): one tile of rows, compiled for each
// instruction set.
#pragma once

#include "cpu/rank_scan_tile.hpp"

namespace vltr::cpu {

// The inputs and outputs of all tiles. The lists of class c are [begin[c], begin[c + 1]) of `units`, and `next` has the
// element of the next row of each bucket.
template <class Lane>
struct ListPlan {
  const Thresholds<Lane>* thresholds;
  const Lane* lowest;               // (C + 16) first threshold, or unreachable for classes that are not listed
  const std::uint32_t* unit_of;     // (N) the unit of each row, or null if a row is its own unit
  const std::int64_t* begin;        // (C + 1)
  const std::int64_t* next_offset;  // (C) into next: 2 * thresholds elements of each class
  std::int64_t* next;
  std::uint32_t* units;
  KnownRows known;
};

// The scratch memory of one worker.
template <class Lane>
struct ListWorker {
  AlignedLanes<Lane> survivors;  // kStripCols x (kTileRows + 16)
  AlignedLanes<float> rows;
  Array<RowMask> known;
};

// Lists the rows of a tile in classes [first_col, first_col + cols), cols <= kStripCols. A row that belongs behind the
// lists of its class, because the scores have changed, overwrites the last element of the class.
template <class Lane>
using ListTile = void (*)(const ListPlan<Lane>& plan, const Tile& tile, std::int64_t first_col, std::int64_t cols,
                          ListWorker<Lane>& worker);

// The kernel of this processor (simd.hpp).
template <class T>
ListTile<LaneOf<T>> list_tile_kernel();

#define VLTR_DECLARE_KERNEL(isa)                                                                               \
  namespace isa {                                                                                              \
  template <class T>                                                                                           \
  void list_tile(const ListPlan<LaneOf<T>>&, const Tile&, std::int64_t, std::int64_t, ListWorker<LaneOf<T>>&); \
  }
VLTR_FOR_EACH_ISA(VLTR_DECLARE_KERNEL)
#undef VLTR_DECLARE_KERNEL

}  // namespace vltr::cpu
