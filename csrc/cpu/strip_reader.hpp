// Reads a strip of a tile as buckets: for each class, the rows that reach its lowest threshold and their buckets.
#pragma once

#include <algorithm>
#include <memory>

#include "cpu/rank_scan_tile.hpp"

namespace vltr::cpu {

// The strip that a worker has read, column by column. A score whose row is not listed reaches no threshold.
struct Strip {
  static constexpr std::int64_t kColumn = kTileRows + 16;

  AlignedLanes<std::uint32_t> buckets;  // kStripCols x kColumn, see tree_core.hpp
  AlignedLanes<float> row_bits;         // the same; rows within the tile, ascending
  std::int64_t counts[kStripCols] = {};
  FirstNan nan;

  // The rows and buckets of one column.
  struct Column {
    const std::uint32_t* buckets;
    const float* row_bits;
    std::int64_t count;

    std::int64_t row(std::int64_t i) const { return static_cast<std::int64_t>(bit_cast<std::uint32_t>(row_bits[i])); }
    // The bucket of a row, or 1 if it reaches no threshold. A positive of the table has an even one.
    std::uint32_t bucket_of(std::uint32_t row_of_tile) const {
      const float* const end = row_bits + count;
      const float* const found = std::lower_bound(row_bits, end, row_of_tile, [](float bits, std::uint32_t row) {
        return bit_cast<std::uint32_t>(bits) < row;
      });
      return found == end || bit_cast<std::uint32_t>(*found) != row_of_tile ? 1 : buckets[found - row_bits];
    }
  };
  Column column(std::int64_t j) const {
    return {buckets.data() + j * kColumn, row_bits.data() + j * kColumn, counts[j]};
  }
};

// The positives of a class whose rows are in a tile.
inline Span<const std::uint32_t> positives_in(const Positives& positives, std::int64_t c, std::int64_t first_row,
                                              std::int64_t rows) {
  const Span<const std::uint32_t> all = positives.rows_of(c);
  const auto* const first = std::lower_bound(all.begin(), all.end(), static_cast<std::uint32_t>(first_row));
  const auto* end = first;
  while (end != all.end() && *end < first_row + rows) ++end;
  return {first, end - first};
}

// lanes: scratch memory, kStripCols x kColumn.
template <class Lane>
using ReadStrip = void (*)(const Thresholds<Lane>& thresholds, const Tile& tile, std::int64_t col, std::int64_t cols,
                           Lane* lanes, Strip& strip);

// The kernel of this processor (simd.hpp).
template <class T>
ReadStrip<LaneOf<T>> read_strip_kernel();

// Reads scores of any element type, which the callers need not know. The thresholds are those of all classes of a
// table.
class StripReader {
 public:
  static std::unique_ptr<StripReader> make(const Matrix& scores, const RankTable& thresholds, int workers);
  virtual ~StripReader() = default;
  // The rows must be of one shard, at most kTileRows, and `col` a multiple of 16.
  virtual void read(std::int64_t first_row, std::int64_t rows, std::int64_t col, std::int64_t cols, int worker) = 0;
  const Strip& strip(int worker) const { return strips_[worker]; }
  void throw_if_nan_was_read() const;

 protected:
  explicit StripReader(int workers) : strips_(workers) {}
  Array<Strip> strips_;
};

#define VLTR_DECLARE_KERNEL(isa)                                                                              \
  namespace isa {                                                                                             \
  template <class T>                                                                                          \
  void read_strip(const Thresholds<LaneOf<T>>&, const Tile&, std::int64_t, std::int64_t, LaneOf<T>*, Strip&); \
  }
VLTR_FOR_EACH_ISA(VLTR_DECLARE_KERNEL)
#undef VLTR_DECLARE_KERNEL

}  // namespace vltr::cpu
