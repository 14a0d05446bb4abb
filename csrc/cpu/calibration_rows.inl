// The kernel of calibration_rows.hpp for one instruction set. Each calibration_*.cpp includes it.
#pragma once

#include <algorithm>

#include "cpu/calibration_rows.hpp"

#if !defined(VLTR_ISA)
#include "cpu/pack_generic.inl"
#endif

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

constexpr std::int64_t kTurnedRows = 16;  // rows of class-major scores that are turned at a time

// Adds a row: the score of each class. known: of the row, see calibration_rows.hpp.
template <bool kHasUnknown>
bool add_probabilities(const double* row, std::int64_t classes, std::int64_t bins, const std::uint8_t* known,
                       std::uint64_t* words, std::uint64_t* squares) {
  std::uint64_t word[kCalibrationStrip];
  std::int32_t bin[kCalibrationStrip];
  const auto width = static_cast<double>(bins);
  std::int32_t bad = 0;
  for (std::int64_t j = 0; j < classes; ++j) {
    const bool valid = row[j] >= 0.0 && row[j] <= 1.0;
    const double p = valid ? row[j] : 0.0;  // so that the conversion to an integer below is defined
    bad |= valid ? 0 : 1;
    word[j] = bit_cast<std::uint64_t>(p + kCalibrationShift) +
              ((std::uint64_t{1} << kCalibrationCountBit) - kCalibrationShiftBits);
    std::uint64_t square = bit_cast<std::uint64_t>(p * p + kCalibrationShift) - kCalibrationShiftBits;
    if constexpr (kHasUnknown) {
      const std::uint64_t mask = 0 - static_cast<std::uint64_t>(known[j] & 1);
      word[j] &= mask;
      square &= mask;
    }
    squares[j] += square;
    const double scaled = p * width;
    const auto reached = static_cast<std::int32_t>(scaled);
    const std::int32_t lower = reached - (static_cast<double>(reached) == scaled ? 1 : 0);
    bin[j] = lower < 0 ? 0 : lower;
  }
  if (bad != 0) return false;
  for (std::int64_t j = 0; j < classes; ++j, words += bins) words[bin[j]] += word[j];
  return true;
}

template <class T, bool kHasUnknown>
bool sum_tile(const Shard& shard, std::int64_t first_row, std::int64_t rows, std::int64_t first_col,
              std::int64_t classes, std::int64_t bins, const std::uint8_t* known, std::uint64_t* words,
              std::uint64_t* squares) {
  const auto known_of = [=](std::int64_t r) { return kHasUnknown ? known + r * kCalibrationStrip : nullptr; };
  const std::byte* row = shard.at(first_row, first_col);
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
  double values[kTurnedRows][kCalibrationStrip];
  if (shard.col_stride == kSize) {
    for (std::int64_t r = 0; r < rows; ++r, row += shard.row_stride) {
      // In a loop of its own, which compilers vectorize.
      for (std::int64_t j = 0; j < classes; ++j) values[0][j] = to_probability(load_element<T>(row + j * kSize));
      if (!add_probabilities<kHasUnknown>(values[0], classes, bins, known_of(r), words, squares)) return false;
    }
    return true;
  }
  for (std::int64_t first = 0; first < rows; first += kTurnedRows) {
    const std::int64_t count = std::min(kTurnedRows, rows - first);
    for (std::int64_t j = 0; j < classes; ++j) {
      const std::byte* cell = row + first * shard.row_stride + j * shard.col_stride;
      for (std::int64_t r = 0; r < count; ++r, cell += shard.row_stride) {
        values[r][j] = to_probability(load_element<T>(cell));
      }
    }
    for (std::int64_t r = 0; r < count; ++r) {
      if (!add_probabilities<kHasUnknown>(values[r], classes, bins, known_of(first + r), words, squares)) return false;
    }
  }
  return true;
}

template <class T>
bool sum_probabilities(const Shard& shard, std::int64_t first_row, std::int64_t rows, std::int64_t first_col,
                       std::int64_t classes, std::int64_t bins, const std::uint8_t* known, std::uint64_t* words,
                       std::uint64_t* squares) {
  return known == nullptr ? sum_tile<T, false>(shard, first_row, rows, first_col, classes, bins, known, words, squares)
                          : sum_tile<T, true>(shard, first_row, rows, first_col, classes, bins, known, words, squares);
}

#define VLTR_KERNEL(T)                                                                                     \
  template bool sum_probabilities<T>(const Shard&, std::int64_t, std::int64_t, std::int64_t, std::int64_t, \
                                     std::int64_t, const std::uint8_t*, std::uint64_t*, std::uint64_t*);
VLTR_FOR_EACH_ELEMENT(VLTR_KERNEL)
#undef VLTR_KERNEL

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
