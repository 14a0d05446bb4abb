// 128-bit sums, and their conversion to the nearest double by integers, so that host and device agree.
#pragma once

#include "core/element.hpp"

namespace vltr {

// For sums that may need more than 64 bits.
__extension__ using Wide = unsigned __int128;

// The number of bits up to the highest one that is set.
VLTR_HD int bit_width(std::uint64_t value) {
#if defined(__CUDA_ARCH__)
  return 64 - __clzll(static_cast<long long>(value));
#else
  return value == 0 ? 0 : 64 - __builtin_clzll(value);
#endif
}

// Rounds to nearest, ties to even, as a processor converts integers.
VLTR_HD double to_double(Wide value) {
  const int shift = bit_width(static_cast<std::uint64_t>(value >> 64));
  // The highest 64 bits determine the result. The bits below them matter only if any is set; a
  // sticky last bit keeps that.
  const Wide highest_first = value << (64 - shift);
  const auto lost = static_cast<std::uint64_t>(highest_first);
  const std::uint64_t top = static_cast<std::uint64_t>(highest_first >> 64) | (lost != 0 ? 1u : 0u);
  return static_cast<double>(top) * bit_cast<double>(static_cast<std::uint64_t>(1023 + shift) << 52);
}

}  // namespace vltr
