// The weights of bootstrap replicates: how often each unit (a row, or a cluster of rows) stands in a resampled data
// set.
//
//   Poisson      each unit has its own weight, Poisson(1), in each replicate: word `replicate % 4` of one Philox block
//   multinomial  each replicate draws as many units as there are, with replacement: 64 bits of a Philox block a draw
//
// Key     (seed, replicate, unit) or (seed, replicate, draw) through Philox: every device, thread and chunk has the
// same
//         weights, and all classes and models share them
// Domain  the last counter word is kBootstrapDomain, where the draws of sampled AP (draw_core.hpp) have 0
// Error   Poisson: each probability is within 2^-32 of e^-1 / k!, and a weight above 12, of probability 6.4e-11, never
//         occurs. Multinomial: each probability is within 2^-64 of 1 / units.
// Test    tests/eval/test_bootstrap.py (the laws, and the same integers by numpy)
#pragma once

#include "core/philox_core.hpp"

namespace vltr {

constexpr std::uint32_t kBootstrapDomain = 0x424F4F54u;

enum class Resampling : std::uint32_t { kPoisson = 0, kMultinomial = 1 };

// A weight is the number of these that a uniform 32-bit word reaches: element k is 2^32 P(X <= k), rounded.
constexpr int kMostPoissonWeight = 12;
constexpr std::uint32_t kPoissonTable[kMostPoissonWeight] = {0x5E2D58D9u, 0xBC5AB1B1u, 0xEB715E1Eu, 0xFB239797u,
                                                             0xFF1025F6u, 0xFFD90F3Cu, 0xFFFA8B72u, 0xFFFF540Cu,
                                                             0xFFFFED1Fu, 0xFFFFFE21u, 0xFFFFFFD5u, 0xFFFFFFFCu};

VLTR_HD std::uint32_t poisson_weight(std::uint32_t word) {
  std::uint32_t weight = 0;
  for (int k = 0; k < kMostPoissonWeight; ++k) weight += word >= kPoissonTable[k];
  return weight;
}

// The words of a unit in replicates 4 * group to 4 * group + 3.
VLTR_HD Philox bootstrap_words(std::uint64_t seed, std::uint32_t group, std::uint32_t unit) {
  return philox4x32({{unit, group, static_cast<std::uint32_t>(Resampling::kPoisson), kBootstrapDomain}},
                    static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

// The unit of a draw: the high part of units * bits.
VLTR_HD std::uint32_t drawn_unit(std::uint32_t units, std::uint32_t high, std::uint32_t low) {
  const std::uint64_t carry = (std::uint64_t{units} * low) >> 32;
  return static_cast<std::uint32_t>((std::uint64_t{units} * high + carry) >> 32);
}

// The units of draws 2 * pair and 2 * pair + 1 of a replicate.
struct DrawnUnits {
  std::uint32_t unit[2];
};
VLTR_HD DrawnUnits drawn_units(std::uint64_t seed, std::uint32_t replicate, std::uint32_t pair, std::uint32_t units) {
  const Philox random =
      philox4x32({{pair, replicate, static_cast<std::uint32_t>(Resampling::kMultinomial), kBootstrapDomain}},
                 static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
  return {{drawn_unit(units, random.word[0], random.word[1]), drawn_unit(units, random.word[2], random.word[3])}};
}

}  // namespace vltr
