// The inner operation of a rank scan: one tile of rows times a range of classes, compiled for each instruction set.
#pragma once

#include <atomic>

#include "core/draw_core.hpp"
#include "cpu/known_rows.hpp"
#include "cpu/simd.hpp"
#include "cpu/thresholds.hpp"

namespace vltr::cpu {

constexpr int kStripCols = 128;   // classes whose survivors are buffered side by side
constexpr int kRangeCols = 1024;  // classes of one work item

// A drawn negative: its number among all draws of the rank scan in (class, trial, draw) order, and its row and
// column within its item.
struct Draw {
  std::uint32_t slot;
  std::uint16_t row;
  std::uint16_t col;
};
static_assert(kTileRows <= 65536 && kRangeCols <= 65536, "row and col of a Draw must fit");

// The inputs of all tiles, and the outputs that belong to one row or one draw.
template <class Lane>
struct RankScanPlan {
  const Thresholds<Lane>* thresholds;
  KnownRows known{nullptr};

  // Ranks: the score and class of the best label of each row (class -1: none), and the number of classes that rank
  // before it. Null if ranks are not requested.
  const Lane* best_score = nullptr;
  const std::int32_t* best_class = nullptr;
  std::atomic<std::int32_t>* rank = nullptr;

  // Draws by item, ascending by slot in each. reached[slot] becomes the number of thresholds that the drawn score
  // reaches. Null if there are no draws.
  const Draw* draws = nullptr;
  const std::int64_t* draw_offset = nullptr;
  std::uint32_t* reached = nullptr;
};

// The first NaN that a worker has found so far, in row order.
struct FirstNan {
  std::int64_t row = -1;
  std::int64_t col = -1;

  void note(std::int64_t nan_row, std::int64_t nan_col) {
    if (row >= 0 && (row < nan_row || (row == nan_row && col <= nan_col))) return;
    row = nan_row;
    col = nan_col;
  }
};

// Throws BadValue if a worker has found a NaN.
template <class Worker>
void throw_first_nan(const Array<Worker>& workers) {
  FirstNan first;
  for (const Worker& worker : workers) {
    if (worker.nan.row >= 0) first.note(worker.nan.row, worker.nan.col);
  }
  if (first.row >= 0) throw BadValue("scores", first.row, first.col);
}

// The counts and the scratch memory of one worker.
template <class Lane>
struct RankScanWorker {
  Array<std::uint32_t> buckets;  // 2 * thresholds, see tree_core.hpp
  AlignedLanes<Lane> survivors;  // kStripCols x (kTileRows + 16)
  Array<RowMask> known;          // of a strip, if cells are unknown
  FirstNan nan;
};

// A tile of rows times a range of classes: the unit of scheduling. Items are numbered tile by tile, and
// range by range in each.
struct RankScanItem {
  Tile tile;
  std::int64_t index;
  std::int64_t first_col;
  std::int64_t end_col;
};
inline std::int64_t col_ranges(std::int64_t cols) { return (cols + kRangeCols - 1) / kRangeCols; }

template <class Lane>
using RankScanTile = void (*)(const RankScanPlan<Lane>&, const RankScanItem&, RankScanWorker<Lane>&);

// Copies columns of a tile, at most 16, to `lanes`, which are `stride` lanes apart. Returns true if a score is NaN.
template <class Lane>
using CopyColumns = bool (*)(const Tile& tile, std::int64_t first_col, std::int64_t cols, std::int64_t stride,
                             Lane* lanes);

// The number of thresholds that each score of columns [first_col, first_col + cols) reaches, cols <= 16. reached:
// column by column, N numbers each.
template <class Lane>
using ReachColumns = void (*)(const Matrix& scores, const Thresholds<Lane>& thresholds, std::int64_t first_col,
                              std::int64_t cols, std::uint32_t* reached);

// Writes permutation(0) .. permutation(draws - 1).
using DrawNumbers = void (*)(const KeyedPermutation& permutation, std::uint32_t draws, std::uint32_t* numbers);

// The kernels of this processor (simd.hpp).
template <class T>
RankScanTile<LaneOf<T>> rank_scan_tile_kernel();
template <class T>
CopyColumns<LaneOf<T>> copy_columns_kernel();
template <class T>
ReachColumns<LaneOf<T>> reach_columns_kernel();
DrawNumbers draw_numbers_kernel();

#define VLTR_DECLARE_KERNELS(isa)                                                                              \
  namespace isa {                                                                                              \
  template <class T>                                                                                           \
  void rank_scan_tile(const RankScanPlan<LaneOf<T>>&, const RankScanItem&, RankScanWorker<LaneOf<T>>&);        \
  template <class T>                                                                                           \
  bool copy_columns(const Tile&, std::int64_t, std::int64_t, std::int64_t, LaneOf<T>*);                        \
  template <class T>                                                                                           \
  void reach_columns(const Matrix&, const Thresholds<LaneOf<T>>&, std::int64_t, std::int64_t, std::uint32_t*); \
  void draw_numbers(const KeyedPermutation&, std::uint32_t, std::uint32_t*);                                   \
  }
VLTR_FOR_EACH_ISA(VLTR_DECLARE_KERNELS)
#undef VLTR_DECLARE_KERNELS

}  // namespace vltr::cpu
