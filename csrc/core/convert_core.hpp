// Conversion between float16, bfloat16, float32 and float64: the nearest value of the other type, ties to even.
//
// In    a value of one of the four types
// Out   its value in another, rounded once, also from float64 to a 16-bit type; too large a value becomes infinity; a
//       NaN stays a NaN, with its sign and the highest bits of its payload
// Bits  the same on every device: processors convert NaN differently, so integer operations move its bits
// Test  csrc/tests/test_frames.cpp (every float16 and bfloat16, and every float32 between two neighbours)
#pragma once

#include "core/element.hpp"

namespace vltr {

VLTR_HD double widen(float value) {
  if (value == value) return static_cast<double>(value);
  const std::uint64_t bits = bit_cast<std::uint32_t>(value);
  return bit_cast<double>((bits & 0x80000000u) << 32 | std::uint64_t{0x7FF8} << 48 | (bits & 0x7FFFFFu) << 29);
}

VLTR_HD float narrow(double value) {
  if (value == value) return static_cast<float>(value);
  const std::uint64_t bits = bit_cast<std::uint64_t>(value);
  return bit_cast<float>(
      static_cast<std::uint32_t>(((bits >> 32) & 0x80000000u) | 0x7FC00000u | ((bits >> 29) & 0x7FFFFFu)));
}

// Rounds to odd: towards zero, and sets the last bit if the result is inexact. A second rounding, to a type with at
// least two bits less, then gives the same value as rounding the double once.
VLTR_HD float narrow_to_odd(double value) {
  const float nearest = narrow(value);
  const double back = static_cast<double>(nearest);
  if (back == value || value != value) return nearest;
  const std::uint32_t away_from_zero = (back > value) == (value > 0) ? 1 : 0;
  return bit_cast<float>((bit_cast<std::uint32_t>(nearest) - away_from_zero) | 1u);
}

// Selects a or b by masks. Compilers do not vectorise the code around a branch.
VLTR_HD std::uint32_t choose(bool first, std::uint32_t a, std::uint32_t b) {
  const std::uint32_t mask = 0u - static_cast<std::uint32_t>(first);
  return (a & mask) | (b & ~mask);
}

// The value of to_lane(), computed without a branch.
VLTR_HD float widen(Float16 value) {
  const std::uint32_t sign = (value.bits & 0x8000u) << 16;
  const std::uint32_t magnitude = (value.bits & 0x7FFFu) << 13;
  const std::uint32_t number = bit_cast<std::uint32_t>(bit_cast<float>(magnitude) * 0x1p112f);
  return bit_cast<float>(sign | choose(magnitude < 0x0F800000u, number, magnitude | 0x7F800000u));
}

VLTR_HD std::uint16_t float16_bits(float value) {
  const std::uint32_t bits = bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  // Below 2^-14 the result is subnormal. The last bit of 1/2 is worth 2^-24, so adding 1/2 rounds to that.
  const std::uint32_t small = bit_cast<std::uint32_t>(bit_cast<float>(magnitude) + 0.5f) - 0x3F000000u;
  const std::uint32_t normal = (magnitude + 0xC8000FFFu + ((magnitude >> 13) & 1u)) >> 13;
  const std::uint32_t nan = 0x7E00u | ((magnitude >> 13) & 0x3FFu);
  const std::uint32_t finite = choose(magnitude < 0x38800000u, small, normal);
  const std::uint32_t large = choose(magnitude > 0x7F800000u, nan, std::uint32_t{0x7C00});
  return static_cast<std::uint16_t>(sign | choose(magnitude < 0x47800000u, finite, large));
}

VLTR_HD std::uint16_t bfloat16_bits(float value) {
  const std::uint32_t bits = bit_cast<std::uint32_t>(value);
  const std::uint32_t nearest = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  const std::uint32_t nan = (bits >> 16) | 0x40u;
  return static_cast<std::uint16_t>(choose((bits & 0x7FFFFFFFu) > 0x7F800000u, nan, nearest));
}

// From a lane (float or double) to a float type; to_lane is the way back.
template <class To, class Lane>
VLTR_HD To from_lane(Lane value) {
  constexpr bool kFromDouble = std::is_same_v<Lane, double>;
  if constexpr (std::is_same_v<To, double>) {
    if constexpr (kFromDouble) {
      return value;
    } else {
      return widen(value);
    }
  } else if constexpr (std::is_same_v<To, float>) {
    if constexpr (kFromDouble) {
      return narrow(value);
    } else {
      return value;
    }
  } else {
    float single;
    if constexpr (kFromDouble) {
      single = narrow_to_odd(value);
    } else {
      single = value;
    }
    if constexpr (std::is_same_v<To, Float16>) {
      return Float16{float16_bits(single)};
    } else {
      return BFloat16{bfloat16_bits(single)};
    }
  }
}

template <class To, class From>
VLTR_HD To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_same_v<From, Float16>) {
    return from_lane<To>(widen(value));
  } else {
    return from_lane<To>(to_lane(value));
  }
}

}  // namespace vltr
