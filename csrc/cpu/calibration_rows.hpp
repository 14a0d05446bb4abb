// The rows of a tile summed in bins: the inner operation of calibration_sums().
#pragma once

#include <type_traits>

#include "core/matrix.hpp"
#include "cpu/simd.hpp"

namespace vltr::cpu {

constexpr std::int64_t kCalibrationRows = 1024;  // of a call at most; a packed word holds the sums of up to 4095
constexpr std::int64_t kCalibrationStrip = 128;  // classes of a call at most, whose words stay in the L1 cache

// 4096 <= 4096 + p <= 4097, where doubles are 2^-40 apart: their bits are those of 4096 plus p * 2^40, rounded.
constexpr double kCalibrationShift = 4096.0;
constexpr std::uint64_t kCalibrationShiftBits = 0x40B0000000000000u;
constexpr int kCalibrationCountBit = 52;  // of a packed word: the cells above it, the sum of their scores below it

template <class T>
double to_probability(T element) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<double>(element);
  } else {
    return static_cast<double>(to_lane(element));
  }
}

inline bool is_probability(double p) { return p >= 0.0 && p <= 1.0; }

inline std::uint64_t to_fixed_point(double p) {
  return bit_cast<std::uint64_t>(p + kCalibrationShift) - kCalibrationShiftBits;
}

inline std::int32_t calibration_bin(double p, double bins) {
  const double scaled = p * bins;
  const auto bin = static_cast<std::int32_t>(scaled);
  const std::int32_t lower = bin - (static_cast<double>(bin) == scaled ? 1 : 0);
  return lower < 0 ? 0 : lower;
}

// Adds rows of some classes: to words (classes, bins), packed, and the squares of the scores to squares (classes).
// known: (rows, kCalibrationStrip) 0xFF for the cells that are added and 0 for others, or null to add all. Returns
// false if a score is no probability; the sums are then of no use.
template <class T>
using SumProbabilities = bool (*)(const Shard& shard, std::int64_t first_row, std::int64_t rows, std::int64_t first_col,
                                  std::int64_t classes, std::int64_t bins, const std::uint8_t* known,
                                  std::uint64_t* words, std::uint64_t* squares);
template <class T>
SumProbabilities<T> sum_probabilities_kernel();

#define VLTR_DECLARE_KERNEL(isa)                                                                                   \
  namespace isa {                                                                                                  \
  template <class T>                                                                                               \
  bool sum_probabilities(const Shard& shard, std::int64_t first_row, std::int64_t rows, std::int64_t first_col,    \
                         std::int64_t classes, std::int64_t bins, const std::uint8_t* known, std::uint64_t* words, \
                         std::uint64_t* squares);                                                                  \
  }
VLTR_FOR_EACH_ISA(VLTR_DECLARE_KERNEL)
#undef VLTR_DECLARE_KERNEL

}  // namespace vltr::cpu
