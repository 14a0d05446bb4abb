// The kernels of class_details.hpp for one instruction set. Each rank_scan_*.cpp includes it.
#pragma once

#include "cpu/class_details.hpp"
#include "cpu/rank_scan_tile.inl"

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

template <class Lane>
void lane_range(const Lane* lanes, std::int64_t rows, Lane& low, Lane& high) {
  // Sixteen of each, which a compiler holds in registers.
  Lane lows[16];
  Lane highs[16];
  std::fill(lows, lows + 16, lanes[0]);
  std::fill(highs, highs + 16, lanes[0]);
  std::int64_t row = 0;
  for (; row + 16 <= rows; row += 16) {
    for (int i = 0; i < 16; ++i) {
      const Lane lane = lanes[row + i];
      lows[i] = lane < lows[i] ? lane : lows[i];
      highs[i] = lane > highs[i] ? lane : highs[i];
    }
  }
  for (; row < rows; ++row) {
    lows[0] = lanes[row] < lows[0] ? lanes[row] : lows[0];
    highs[0] = lanes[row] > highs[0] ? lanes[row] : highs[0];
  }
  low = *std::min_element(lows, lows + 16);
  high = *std::max_element(highs, highs + 16);
}

template <class Lane>
std::int64_t greater_rows(const Lane* lanes, std::int64_t first, std::int64_t rows, Lane least, std::uint32_t* found) {
  const Pack<Lane> bound = Pack<Lane>::broadcast(least);
  std::int64_t count = 0;
  for (std::int64_t row = first; row < rows; row += 16) {
    std::uint32_t greater = Pack<Lane>::load(lanes + row).greater(bound) & low_bits(rows - row);
    for (; greater != 0; greater &= greater - 1) {
      found[count++] = static_cast<std::uint32_t>(row + __builtin_ctz(greater));
    }
  }
  return count;
}

template <class Lane>
void count_bins(const Lane* lanes, std::int64_t rows, const BinScale& scale, std::uint32_t* bins,
                std::uint32_t* counts) {
  const BinScale own = scale;  // a copy, which no write to `bins` can change
  for (std::int64_t row = 0; row < rows; ++row) {
    double place;
    if constexpr (std::is_integral_v<Lane>) {
      const std::uint64_t above = static_cast<std::uint64_t>(lanes[row]) - static_cast<std::uint64_t>(own.lowest);
      place = static_cast<double>(above) * own.scale;
    } else if constexpr (std::is_same_v<Lane, float>) {
      place = (static_cast<double>(lanes[row]) - own.low) * own.scale;
    } else {
      place = (lanes[row] * own.unit - own.low) * own.scale;
    }
    place = place > 0.0 ? place : 0.0;
    place = place < own.last ? place : own.last;
    bins[row] = static_cast<std::uint32_t>(static_cast<std::int32_t>(place));
  }
  add_counts(bins, rows, static_cast<std::int64_t>(own.last) + 1, counts);
}

#define VLTR_KERNELS(Lane)                                                                                 \
  template void lane_range<Lane>(const Lane*, std::int64_t, Lane&, Lane&);                                 \
  template std::int64_t greater_rows<Lane>(const Lane*, std::int64_t, std::int64_t, Lane, std::uint32_t*); \
  template void count_bins<Lane>(const Lane*, std::int64_t, const BinScale&, std::uint32_t*, std::uint32_t*);
VLTR_KERNELS(float)
VLTR_KERNELS(double)
VLTR_KERNELS(std::int64_t)
#undef VLTR_KERNELS

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
