// The unknown cells of dense labels, and of a mask of known cells.
#pragma once

#include "cpu/positives.hpp"

namespace vltr::cpu {

// Unknown cells in the form that takes less memory (unknown.hpp): lists, or bits if there are any words.
struct OwnedUnknown {
  Offsets offset;
  LargeArray<std::uint32_t> rows;
  LargeArray<std::uint64_t> bits;  // (C, ceil(N / 64)) words
};

struct LabelCells {
  OwnedPositives positives;
  OwnedUnknown unknown;
};

// The value of an unknown cell. An element type without that value has none.
enum class UnknownValue { kMinusOne, kNaN };

// Reads dense labels once. Throws BadValue at the first element that is neither 0 nor 1 nor the value.
LabelCells find_label_cells(const Matrix& labels, UnknownValue value, const Runner& runner);

// Finds the zeros of a mask of known cells. Throws BadValue at the first element that is neither 0 nor 1.
OwnedUnknown find_unknown(const Matrix& known, const Runner& runner);

}  // namespace vltr::cpu
