// Columns of a tile as lanes: the rows that reach the lowest threshold of a class as a mask, and their buckets.
//
// Two models meet here. Their rows are the same and their element types may differ, so the kernels take lanes.
#pragma once

#include <memory>

#include "cpu/rank_scan_tile.hpp"

namespace vltr::cpu {

// Sets the bits of the rows that reach `lowest`. lanes: kTileRows, of which the first `rows` count.
template <class Lane>
using ReachMask = void (*)(const Lane* lanes, std::int64_t rows, Lane lowest, RowMask& mask);

// Finds the buckets (tree_core.hpp) of the rows in a mask, which must reach the lowest threshold. Returns their number.
// scratch and buckets: kTileRows + 16.
template <class Lane>
using MaskedBuckets = std::int64_t (*)(const Lane* tree, std::int64_t keys, const Lane* lanes, std::int64_t rows,
                                       const RowMask& mask, Lane* scratch, std::uint32_t* buckets);

// The kernels of this processor (simd.hpp).
template <class Lane>
ReachMask<Lane> reach_mask_kernel();
template <class Lane>
MaskedBuckets<Lane> masked_buckets_kernel();

// Lanes from one column that read_columns() writes to the next.
constexpr std::int64_t kColumnStride = kTileRows + 16;

// Copies columns of rows of one shard to lanes, at most kTileRows rows. Returns true if a score is NaN.
template <class Lane>
bool read_columns(const Shard& shard, std::int64_t first_row, std::int64_t rows, std::int64_t col, std::int64_t cols,
                  std::int64_t element_bytes, CopyColumns<Lane> copy_columns, Lane* lanes) {
  // Row by row where rows are contiguous: a row of a strip is a few cache lines, and the next rows are fetched
  // meanwhile. They are a stride away, where no hardware prefetcher looks.
  const bool by_rows = shard.col_stride == element_bytes;
  const std::int64_t step = by_rows ? 16 : rows;
  bool has_nan = false;
  for (std::int64_t row = 0; row < rows; row += step) {
    const Tile tile{&shard, first_row + row, std::min(step, rows - row)};
    if (by_rows) {
      for (std::int64_t next = row + 16; next < std::min(row + 32, rows); ++next) {
        const std::byte* const first = shard.at(first_row + next, col);
        for (std::int64_t byte = 0; byte < cols * shard.col_stride; byte += 64) __builtin_prefetch(first + byte, 0, 2);
      }
    }
    for (std::int64_t j = 0; j < cols; j += 16) {
      has_nan |= copy_columns(tile, col + j, std::min<std::int64_t>(16, cols - j), kColumnStride,
                              lanes + j * kColumnStride + row);
    }
  }
  return has_nan;
}

// Reads scores of any element type, which the callers need not know. The thresholds are those of all classes of a
// table.
class LaneColumns {
 public:
  static constexpr std::int64_t kMostCols = 64;
  static std::unique_ptr<LaneColumns> make(const Matrix& scores, const RankTable& thresholds, int workers);
  virtual ~LaneColumns() = default;
  // Reads at most kMostCols columns for a worker. The rows must be of one shard, at most kTileRows.
  virtual void read(std::int64_t first_row, std::int64_t rows, std::int64_t col, std::int64_t cols, int worker) = 0;
  // Both take column j of those that the worker has read last.
  virtual void reach(std::int64_t j, int worker, RowMask& mask) const = 0;
  virtual std::int64_t find_buckets(std::int64_t j, int worker, const RowMask& mask, std::uint32_t* buckets) = 0;
  virtual bool has_nan() const = 0;
};

#define VLTR_DECLARE_KERNELS(isa)                                                                          \
  namespace isa {                                                                                          \
  template <class Lane>                                                                                    \
  void reach_mask(const Lane*, std::int64_t, Lane, RowMask&);                                              \
  template <class Lane>                                                                                    \
  std::int64_t masked_buckets(const Lane*, std::int64_t, const Lane*, std::int64_t, const RowMask&, Lane*, \
                              std::uint32_t*);                                                             \
  }
VLTR_FOR_EACH_ISA(VLTR_DECLARE_KERNELS)
#undef VLTR_DECLARE_KERNELS

}  // namespace vltr::cpu
