// The inner operation of row effects: one tile of rows in all classes, compiled for each instruction set.
#pragma once

#include "cpu/effect_tables.hpp"
#include "cpu/rank_scan_tile.hpp"

namespace vltr::cpu {

// The rows whose sums have the base of a class. The rest is done in tiles, where as few rows as possible are changed.
enum class BaseOf : std::uint8_t {
  kAllKnown,  // all rows, as they know the class
  kAllRows,   // all rows: a tile takes it from those that do not know the class
  kNoRow      // none: a tile gives it to those that know the class
};

// The inputs of all tiles.
template <class Lane>
struct EffectPlan {
  const Thresholds<Lane>* thresholds;  // of all classes of the tables
  const EffectTables* tables;
  // (K, width) the entries of negatives above each threshold, side by side. Those of negatives that equal it differ
  // only in metrics that count ties as one half. Without them the entries that a tile reads are half as many.
  const std::int64_t* above;
  const std::int64_t* correction;  // (K, width) the entries of positives minus `above`
  bool ties_differ;
  const Positives* positives;
  const std::int64_t* first_positive;  // (tiles + 1, C) the first positive of each class in each tile
  const std::int64_t* group;           // (C)
  KnownRows known;
  const BaseOf* base_of;  // (C), or null if all cells are known
};

// The sums and the scratch memory of one worker.
template <class Lane>
struct EffectWorker {
  AlignedLanes<std::int64_t> sums;  // (groups, kTileRows, width) of the tile, without the bases
  AlignedLanes<Lane> survivors;     // kStripCols x (kTileRows + 16)
  AlignedLanes<float> rows;         // the rows of the survivors within their tile, as bits
  // A positive of a strip: an entry to add to a sum. It is fetched when it is found, and added after the strip.
  struct Correction {
    std::int64_t* sum;
    const std::int64_t* entry;
  };
  Array<Correction> corrections;
  Array<RowMask> known;
  FirstNan nan;
  bool has_stranger = false;  // a positive whose score is no threshold of its class
};

// Adds the effects of the rows of a tile.
template <class Lane>
using EffectTile = void (*)(const EffectPlan<Lane>& plan, const Tile& tile, std::int64_t tile_index, std::int64_t cols,
                            EffectWorker<Lane>& worker);

// The kernel of this processor (simd.hpp).
template <class T>
EffectTile<LaneOf<T>> effect_tile_kernel();

#define VLTR_DECLARE_KERNEL(isa)                                                                                     \
  namespace isa {                                                                                                    \
  template <class T>                                                                                                 \
  void effect_tile(const EffectPlan<LaneOf<T>>&, const Tile&, std::int64_t, std::int64_t, EffectWorker<LaneOf<T>>&); \
  }
VLTR_FOR_EACH_ISA(VLTR_DECLARE_KERNEL)
#undef VLTR_DECLARE_KERNEL

}  // namespace vltr::cpu
