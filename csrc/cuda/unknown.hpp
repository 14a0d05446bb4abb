// Unknown cells in device memory: a bit for each cell of the matrix, so 1/32 of the memory of float32 scores.
#pragma once

#include "core/matrix.hpp"
#include "cuda/positives.hpp"

namespace vltr::cuda {

struct UnknownBits {
  std::int64_t rows = 0;
  std::int64_t classes = 0;
  Array<std::int64_t> count;  // of each class, in host memory
  DeviceArray<std::int64_t> device_count;
  DeviceArray<std::uint32_t> bits;  // (words, classes); see UnknownView

  std::int64_t words() const { return (rows + kRowsOfWord - 1) / kRowsOfWord; }
  const Stream& stream() const { return bits.stream(); }
  UnknownView view() const { return {bits.data(), classes, words()}; }
};

// The view of cells that may be null: all are known.
inline UnknownView view_of(const UnknownBits* unknown) { return unknown == nullptr ? UnknownView{} : unknown->view(); }

// Copies cells from host memory.
UnknownBits upload_unknown(const UnknownCells& cells, const Stream& stream);

// Finds the elements of labels that have one of the values `marks` (label_marks.hpp), and adds the cells of `others`,
// if not null. Waits for the stream to read the counts.
UnknownBits find_unknown(const Matrix& labels, unsigned marks, const UnknownBits* others, const Stream& stream);

// Finds the zeros of a mask of known cells. Throws BadValue("mask", row, col) at the first element that is neither 0
// nor 1. Waits for the stream.
UnknownBits read_mask(const Matrix& mask, const Stream& stream);

// The same cells as UnknownCells::bits. Waits for the stream.
Array<std::uint64_t> to_host(const UnknownBits& unknown);

// The first positive in row order that is an unknown cell: its flat index, or -1. Waits for the stream.
std::int64_t first_unknown_positive(const Positives& positives, const UnknownBits& unknown);

}  // namespace vltr::cuda
