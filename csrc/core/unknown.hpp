// Cells of a matrix of scores that are neither positive nor negative of their class, and are left out of it.
//
// Few cells are listed, many are bits. Both are class by class, so a class without unknown cells costs nothing, and the
// rows of a class are read in order. A view: callers of the core lend their arrays.
#pragma once

#include <cstdint>

#include "core/span.hpp"

namespace vltr {

struct UnknownCells {
  std::int64_t rows = 0;
  Span<const std::int64_t> count{nullptr, 0};  // of each class

  // Class c has the rows listed[offset[c]] to listed[offset[c + 1] - 1], ascending. Empty if cells are bits.
  OffsetSpan offset{nullptr, 0};
  Span<const std::uint32_t> listed{nullptr, 0};

  // Bit row % 64 of bits[c * words + row / 64]; bits after the last row are 0. Null if cells are listed.
  const std::uint64_t* bits = nullptr;
  std::int64_t words = 0;

  std::int64_t classes() const { return count.size(); }
  // The cells of some classes, numbered from 0.
  UnknownCells of_classes(std::int64_t first, std::int64_t end) const {
    UnknownCells some = *this;
    some.count = {count.data() + first, end - first};
    if (bits == nullptr) {
      some.offset = {offset.data() + first, end - first + 1};
    } else {
      some.bits = bits_of(first);
    }
    return some;
  }
  VLTR_HD const std::uint64_t* bits_of(std::int64_t c) const { return bits + c * words; }
};

// The rows that a class knows: all, or those without its unknown cells. Metrics of a table take negatives from it.
struct ClassRows {
  std::int64_t all = 0;
  const std::int64_t* unknown = nullptr;  // of each class; null if there are none

  VLTR_HD std::int64_t operator[](std::int64_t c) const { return unknown == nullptr ? all : all - unknown[c]; }
};

}  // namespace vltr
