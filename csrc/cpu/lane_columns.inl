// The kernels of lane_columns.hpp for one instruction set. Each rank_scan_*.cpp includes it.
#pragma once

#include "cpu/lane_columns.hpp"
#include "cpu/rank_scan_tile.inl"

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

template <class Lane>
void reach_mask(const Lane* lanes, std::int64_t rows, Lane lowest, RowMask& mask) {
  const Pack<Lane> least = Pack<Lane>::broadcast(lowest);
  for (std::int64_t row = 0; row < rows; row += 16) {
    const std::uint32_t reach = Pack<Lane>::load(lanes + row).greater_equal(least) & low_bits(rows - row);
    mask.block[row / 16] = static_cast<std::uint16_t>(reach);
  }
}

template <class Lane>
std::int64_t masked_buckets(const Lane* tree, std::int64_t keys, const Lane* lanes, std::int64_t rows,
                            const RowMask& mask, Lane* scratch, std::uint32_t* buckets) {
  std::int64_t count = 0;
  for (std::int64_t row = 0; row < rows; row += 16) {
    count += Pack<Lane>::load(lanes + row).compress_store(scratch + count, mask.block[row / 16]);
  }
  find_buckets(tree, keys, scratch, count, buckets);
  return count;
}

#define VLTR_KERNELS(Lane)                                                                                         \
  template void reach_mask<Lane>(const Lane*, std::int64_t, Lane, RowMask&);                                       \
  template std::int64_t masked_buckets<Lane>(const Lane*, std::int64_t, const Lane*, std::int64_t, const RowMask&, \
                                             Lane*, std::uint32_t*);
VLTR_KERNELS(float)
VLTR_KERNELS(double)
VLTR_KERNELS(std::int64_t)
#undef VLTR_KERNELS

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
