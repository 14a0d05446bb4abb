// Row weights as 128-bit integers, scaled to the largest weight. Their sum has the same bits in any order. It is exact
// for weights down to 2^-37 of the largest.
//
// In    weight, finite and not negative (minus zero is zero); exponent_of(largest weight)
// Out   the weight, rounded down, in units in which the largest weight has kLargestBits bits: 2^32
//       of them are below 2^122
// Test  csrc/tests/test_core.cpp
#pragma once

#include "core/ap_core.hpp"

namespace vltr {

constexpr int kLargestBits = 90;

// weight = mantissa * 2^exponent
struct SplitWeight {
  std::uint64_t mantissa;
  int exponent;
};
VLTR_HD SplitWeight split_weight(double weight) {
  const auto bits = bit_cast<std::uint64_t>(weight);
  const auto field = static_cast<int>(bits >> 52) & 0x7FF;  // drops the sign bit, which minus zero has
  const std::uint64_t fraction = bits & ((std::uint64_t{1} << 52) - 1);
  return field == 0 ? SplitWeight{fraction, -1074} : SplitWeight{fraction | std::uint64_t{1} << 52, field - 1075};
}

// The smallest e with weight < 2^e.
VLTR_HD int exponent_of(double weight) {
  SplitWeight split = split_weight(weight);
  for (; split.mantissa != 0; split.mantissa >>= 1) ++split.exponent;
  return split.exponent;
}

VLTR_HD Wide scaled_weight(double weight, int largest_exponent) {
  const SplitWeight split = split_weight(weight);
  const int shift = kLargestBits + split.exponent - largest_exponent;
  return shift >= 0 ? Wide{split.mantissa} << shift : shift > -64 ? Wide{split.mantissa >> -shift} : Wide{0};
}

// A summand of weighted AP: the weight of the positives of a threshold, times the precision there. `hits` is the weight
// of the positives that reach it, and `at_least` that of all rows.
VLTR_HD double weighted_summand(Wide positive, Wide hits, Wide at_least) {
  return hits == 0 ? 0.0 : to_double(positive) * (to_double(hits) / to_double(at_least));
}

// Weighted AP from the sum of its summands.
VLTR_HD double mean_over_weights(double sum, Wide hits) { return hits == 0 ? undefined() : sum / to_double(hits); }

}  // namespace vltr
