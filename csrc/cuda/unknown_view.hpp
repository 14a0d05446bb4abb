// The bits of unknown cells as a kernel argument.
//
// A word has 32 rows of one class, and the words of neighbouring classes are neighbours. A warp that reads 32 classes
// of a row, or 32 rows of a class, then reads at most 128 bytes for up to 32 rows. Words that are neighbours down a
// class would be as many bytes, but each lane of a row-major scan would read another cache line.
#pragma once

#include <cstdint>

#include "core/platform.hpp"

namespace vltr::cuda {

constexpr std::int64_t kRowsOfWord = 32;

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

}  // namespace vltr::cuda
