// exp() and log() of doubles from + - * / alone, so that every compiler, processor and instruction set gives the same
// bits. The functions of libm differ between platforms.
//
// Both are within 2 units of the last place of the true value on the range that they take.
//
// Test  csrc/tests/test_core.cpp, tests/eval/test_reduction.py
#pragma once

#include "core/element.hpp"

namespace vltr {

constexpr double kLn2High = 0x1.62e42feep-1;  // 32 bits, so that its product with a whole number below 2^21 is exact
constexpr double kLn2Low = 0x1.a39ef35793c76p-33;

// e^x for x from -700 to 0; 1 for 0. No branches, so that compilers vectorize a loop of it.
VLTR_HD double exp_of_negative(double x) {
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  constexpr double kRound = 0x1.8p+52;  // doubles of this size are whole numbers
  const double shifted = x * kLog2E + kRound;
  const double power = shifted - kRound;
  const double r = (x - power * kLn2High) - power * kLn2Low;  // |r| <= ln(2) / 2
  double p = 1.0 / 6227020800.0;                              // 1 / 13!
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  // The last bits of `shifted` are the power of two.
  return p * bit_cast<double>((bit_cast<std::uint64_t>(shifted) + 1023) << 52);
}

// ln(x) for positive normal x; 0 for 1.
VLTR_HD double log_of_positive(double x) {
  const auto bits = bit_cast<std::uint64_t>(x);
  auto power = static_cast<std::int64_t>(bits >> 52) - 1023;
  double f = bit_cast<double>((bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u);  // 1 <= f < 2
  if (f > 0x1.6a09e667f3bcdp+0) {                                                   // the square root of 2
    f *= 0.5;
    ++power;
  }
  // ln(f) = 2 artanh(s) = 2 (s + s^3/3 + s^5/5 + ...), where |s| < 0.172
  const double s = (f - 1.0) / (f + 1.0);
  const double z = s * s;
  double p = 1.0 / 23.0;
  p = p * z + 1.0 / 21.0;
  p = p * z + 1.0 / 19.0;
  p = p * z + 1.0 / 17.0;
  p = p * z + 1.0 / 15.0;
  p = p * z + 1.0 / 13.0;
  p = p * z + 1.0 / 11.0;
  p = p * z + 1.0 / 9.0;
  p = p * z + 1.0 / 7.0;
  p = p * z + 1.0 / 5.0;
  p = p * z + 1.0 / 3.0;
  const auto whole = static_cast<double>(power);
  return whole * kLn2High + (2.0 * s + (2.0 * s * z * p + whole * kLn2Low));
}

}  // namespace vltr
