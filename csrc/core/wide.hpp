// 128-bit sums, and the double nearest to one: converted by integers, so that host and device agree.
#pragma once

#include "core/element.hpp"

namespace vltr {

// For sums that 64 bits may not hold.
__extension__ using Wide = unsigned __int128;

// Rounded to nearest even, as a processor converts.
VLTR_HD double to_double(Wide value) {
  int shift = 0;
  for (std::uint64_t high = static_cast<std::uint64_t>(value >> 64); high != 0; high >>= 1) ++shift;
  // The highest 64 bits decide; below them it only matters whether any bit is set, which the lowest of the 64 may tell.
  const Wide lost = value & ((Wide{1} << shift) - 1);
  const std::uint64_t top = static_cast<std::uint64_t>(value >> shift) | (lost != 0 ? 1u : 0u);
  return static_cast<double>(top) * bit_cast<double>(static_cast<std::uint64_t>(1023 + shift) << 52);
}

}  // namespace vltr
