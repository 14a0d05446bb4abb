// 128-bit sums, and their conversion to the nearest double by integers, so that host and device agree.
#pragma once

#include "core/element.hpp"

namespace vltr {

// For sums that may need more than 64 bits.
__extension__ using Wide = unsigned __int128;

// Rounds to nearest, ties to even, as a processor converts integers.
VLTR_HD double to_double(Wide value) {
  int shift = 0;
  for (std::uint64_t high = static_cast<std::uint64_t>(value >> 64); high != 0; high >>= 1) ++shift;
  // The highest 64 bits determine the result. The bits below them matter only if any is set; a
  // sticky last bit keeps that.
  const Wide lost = value & ((Wide{1} << shift) - 1);
  const std::uint64_t top = static_cast<std::uint64_t>(value >> shift) | (lost != 0 ? 1u : 0u);
  return static_cast<double>(top) * bit_cast<double>(static_cast<std::uint64_t>(1023 + shift) << 52);
}

}  // namespace vltr
