// The rows that classes know, tile by tile, and the rows that are no negatives of a class.
#pragma once

#include "core/unknown.hpp"
#include "cpu/matrix.hpp"
#include "cpu/positives.hpp"
#include "cpu/row_mask.hpp"

namespace vltr::cpu {

// Masks of the known rows of a tile, from lists or bits.
class KnownRows {
 public:
  explicit KnownRows(const UnknownCells* unknown) : unknown_(unknown) {}
  explicit KnownRows(const Matrix& scores) : unknown_(scores.unknown) {}

  bool all() const { return unknown_ == nullptr; }

  // The masks of columns first_col to end_col - 1, or null if all cells of these rows and columns are known. Bit i of a
  // mask is row first_row + i, and bits from `rows` on are 0. rows: at most kTileRows. The masks are in `scratch`,
  // which the next call overwrites.
  const RowMask* of(std::int64_t first_row, std::int64_t rows, std::int64_t first_col, std::int64_t end_col,
                    Array<RowMask>& scratch) const {
    if (unknown_ == nullptr) return nullptr;
    return fill(first_row, rows, first_col, end_col, scratch) ? scratch.data() : nullptr;
  }
  const RowMask* of(const Tile& tile, std::int64_t first_col, std::int64_t end_col, Array<RowMask>& scratch) const {
    return of(tile.first_row, tile.rows, first_col, end_col, scratch);
  }

 private:
  bool fill(std::int64_t first_row, std::int64_t rows, std::int64_t first_col, std::int64_t end_col,
            Array<RowMask>& scratch) const;

  const UnknownCells* unknown_;
};

// The unknown cells of a class.
inline std::int64_t unknown_count(const UnknownCells* unknown, std::int64_t c) {
  return unknown == nullptr ? 0 : unknown->count[c];
}

// The rows that each class of a matrix knows.
inline ClassRows class_rows(std::int64_t rows, const UnknownCells* unknown) {
  return {rows, unknown == nullptr ? nullptr : unknown->count.data()};
}
inline ClassRows class_rows(const Matrix& scores) { return class_rows(scores.rows, scores.unknown); }

// The unknown rows of a class, ascending. They are in `scratch` if the cells are bits.
Span<const std::uint32_t> unknown_rows(const UnknownCells* unknown, std::int64_t c, Array<std::uint32_t>& scratch);

// The rows that are not negatives of a class, which are its positives and its unknown rows: ascending. They are in
// `scratch` if the class has unknown rows, and in `positives` otherwise.
Span<const std::uint32_t> excluded_rows(const Positives& positives, const UnknownCells* unknown, std::int64_t c,
                                        Array<std::uint32_t>& scratch);

}  // namespace vltr::cpu
