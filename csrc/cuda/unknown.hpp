// Unknown cells in device memory: a bit for each cell of the matrix, so 1/32 of the memory of float32 scores.
//
// A word has 32 rows of one class, and the words of neighbouring classes are neighbours. A warp that reads 32 classes
// of a row, or 32 rows of a class, then reads at most 128 bytes for up to 32 rows. Words that are neighbours down a
// class would be as many bytes, but each lane of a row-major scan would read another cache line.
#pragma once

#include "core/matrix.hpp"
#include "core/unknown_mark.hpp"
#include "cuda/positives.hpp"

namespace vltr::cuda {

constexpr std::int64_t kRowsOfWord = 32;

// The bits as a kernel argument.
struct UnknownView {
  const std::uint32_t* bits = nullptr;  // bit row % 32 of bits[row / 32 * classes + c]; bits after the last row are 0
  std::int64_t classes = 0;
  std::int64_t words = 0;  // of a class

  VLTR_HD bool has(std::int64_t row, std::int64_t c) const {
    return (bits[row / kRowsOfWord * classes + c] >> (row % kRowsOfWord) & 1u) != 0;
  }
  // Bit i is that of row `row + i`, for the next kRows rows or more. Bits of rows after the last are 0.
  template <int kRows>
  VLTR_HD std::uint32_t next_rows(std::int64_t row, std::int64_t c) const {
    const std::uint32_t* const word = bits + row / kRowsOfWord * classes + c;
    const auto shift = static_cast<unsigned>(row % kRowsOfWord);
    std::uint32_t found = word[0] >> shift;
    // Only if a shard begins within a word.
    if (shift > kRowsOfWord - kRows && row / kRowsOfWord + 1 < words) found |= word[classes] << (kRowsOfWord - shift);
    return found;
  }
};

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

// Finds the elements of labels that mark an unknown cell, or the zeros of a mask of known cells. Waits for the stream
// to read the counts.
UnknownBits find_unknown(const Matrix& labels, UnknownMark mark, const Stream& stream);

// The same cells as UnknownCells::bits. Waits for the stream.
Array<std::uint64_t> to_host(const UnknownBits& unknown);

// The first positive in row order that is an unknown cell: its flat index, or -1. Waits for the stream.
std::int64_t first_unknown_positive(const Positives& positives, const UnknownBits& unknown);

}  // namespace vltr::cuda
