// Unknown cells as Python lends them: numpy arrays that live as long as the view of them.
#pragma once

#include "bindings/bindings.hpp"
#include "core/unknown.hpp"

namespace vltr {

class LentUnknownCells {
 public:
  using WordArray = NumberArray<std::uint64_t>;

  // Lists: an offset for each class and one more, and rows that rise within each class.
  LentUnknownCells(std::int64_t num_rows, const IntArray& offset, const RowArray& rows);
  // Bits: (C, ceil(N / 64)) words.
  LentUnknownCells(std::int64_t num_rows, const WordArray& bits);

  const UnknownCells& cells() const { return cells_; }
  IntArray counts() const { return counts_; }
  // Raises ValueError unless these are cells of a matrix of that shape.
  void check_fits(std::int64_t rows, std::int64_t classes) const;

 private:
  IntArray counts_;
  IntArray offset_;
  RowArray rows_;
  WordArray bits_;
  UnknownCells cells_;
};

// The rows that the classes of a table know. unknown: (C,) the unknown cells of each class, or None for none; the
// memory stays numpy's. Raises ValueError unless the counts are from 0 to the rows.
ClassRows to_class_rows(std::int64_t num_rows, const std::optional<IntArray>& unknown, std::int64_t num_classes);

}  // namespace vltr
