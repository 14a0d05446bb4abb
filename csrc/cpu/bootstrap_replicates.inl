// The kernels of bootstrap_replicates.hpp for one instruction set; see rank_scan_tile.inl.
#pragma once

#include <algorithm>
#include <cstring>

#include "cpu/bootstrap_replicates.hpp"

#if !defined(VLTR_ISA)
#include "cpu/pack_generic.inl"
#endif
#if !defined(VLTR_REGISTER_BYTES)
#define VLTR_REGISTER_BYTES 16
#endif

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

// Wider vectors than the registers would be kept in memory.
constexpr int kRegister = VLTR_REGISTER_BYTES;
using Words = std::uint32_t __attribute__((vector_size(kRegister), may_alias));
using LongWords = std::uint64_t __attribute__((vector_size(kRegister), may_alias));
constexpr int kWords = kRegister / 4;

// The low and high halves of word * factor, lane by lane.
__attribute__((always_inline)) inline void multiply_wide(const Words& word, std::uint32_t factor, Words& low,
                                                         Words& high) {
  constexpr std::uint64_t kLow = 0xFFFFFFFFu;
  const LongWords pairs = reinterpret_cast<const LongWords&>(word);
  const LongWords even = (pairs & kLow) * factor;
  const LongWords odd = (pairs >> 32) * factor;
  const LongWords lows = (even & kLow) | odd << 32;
  const LongWords highs = even >> 32 | (odd & ~kLow);
  low = reinterpret_cast<const Words&>(lows);
  high = reinterpret_cast<const Words&>(highs);
}

// philox4x32() on kWords counters.
__attribute__((always_inline)) inline void philox_lanes(Words (&word)[4], std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    Words low[2];
    Words high[2];
    multiply_wide(word[0], 0xD2511F53u, low[0], high[0]);
    multiply_wide(word[2], 0xCD9E8D57u, low[1], high[1]);
    word[0] = high[1] ^ word[1] ^ key0;
    word[1] = low[1];
    word[2] = high[0] ^ word[3] ^ key1;
    word[3] = low[0];
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

// kWords Philox blocks at a time, each of one unit and four replicates.
void draw_poisson(std::uint64_t seed, std::uint32_t first_group, int lanes, std::int64_t first_unit, std::int64_t units,
                  std::uint8_t* weights) {
  const auto groups = static_cast<std::uint32_t>(lanes) / 4;  // of four replicates: 4, 16 or 64
  const int shift = groups == 4 ? 2 : groups == 16 ? 4 : 6;
  const std::int64_t blocks = units * groups;
  Words number = {};
  for (int i = 0; i < kWords; ++i) number[i] = static_cast<std::uint32_t>(i);
  for (std::int64_t first = 0; first < blocks; first += kWords) {
    const Words block = number + (static_cast<std::uint32_t>(first) & (groups - 1));
    Words word[4] = {(block >> shift) + static_cast<std::uint32_t>(first_unit + (first >> shift)),
                     (block & (groups - 1)) + first_group, Words{} + static_cast<std::uint32_t>(Resampling::kPoisson),
                     Words{} + kBootstrapDomain};
    philox_lanes(word, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
    Words packed = {};
    for (int k = 0; k < 4; ++k) {
      Words weight = {};
      for (const std::uint32_t least : kPoissonTable) weight -= __builtin_convertvector(word[k] >= least, Words);
      packed |= weight << (8 * k);
    }
    const auto filled = static_cast<std::size_t>(std::min<std::int64_t>(kWords, blocks - first));
    if (filled == kWords) {
      std::memcpy(weights + 4 * first, &packed, sizeof(packed));
    } else {
      std::memcpy(weights + 4 * first, &packed, 4 * filled);
    }
  }
}

using Bytes16 = std::uint8_t __attribute__((vector_size(16), may_alias));
using Bytes = std::uint8_t __attribute__((vector_size(kRegister), aligned(16), may_alias));

// The sums of a block of kVectors * sizeof(Vector) lanes, which stay in registers as bytes until they could overflow.
// Units at and after `count` are only fetched ahead of their use, if they are before `end`.
template <class Vector, int kVectors>
void sum_lanes(const WeightBlock& block, const std::uint32_t* units, std::int64_t count, const std::uint32_t* end,
               std::uint32_t* sums) {
  constexpr int kLanes = kVectors * static_cast<int>(sizeof(Vector));
  constexpr int kAhead = 8;
  for (int i = 0; i < kLanes; ++i) sums[i] = 0;
  for (std::int64_t first = 0; first < count; first += block.rows_per_byte) {
    const std::int64_t last = std::min<std::int64_t>(count, first + block.rows_per_byte);
    Vector sum[kVectors];
    for (int v = 0; v < kVectors; ++v) sum[v] = Vector{};
    for (std::int64_t i = first; i < last; ++i) {
      const std::uint8_t* const row = block.weights + std::int64_t{units[i]} * kLanes;
      if (units + i + kAhead < end) {
        const std::uint8_t* const ahead = block.weights + std::int64_t{units[i + kAhead]} * kLanes;
        for (int byte = 0; byte < kLanes; byte += 64) __builtin_prefetch(ahead + byte);
      }
      for (int v = 0; v < kVectors; ++v) {
        sum[v] += *reinterpret_cast<const Vector*>(row + v * static_cast<int>(sizeof(Vector)));
      }
    }
    alignas(64) std::uint8_t bytes[kLanes];
    for (int v = 0; v < kVectors; ++v) {
      std::memcpy(bytes + v * static_cast<int>(sizeof(Vector)), &sum[v], sizeof(Vector));
    }
    for (int i = 0; i < kLanes; ++i) sums[i] += bytes[i];
  }
}

using Doubles = double __attribute__((vector_size(kRegister), may_alias));
using Mask = std::int64_t __attribute__((vector_size(kRegister), may_alias));
constexpr int kDoubles = kRegister / 8;

__attribute__((always_inline)) inline bool any_lane(const Mask& mask) {
  std::int64_t any = 0;
  for (int i = 0; i < kDoubles; ++i) any |= mask[i];
  return any != 0;
}

// The levels (sap_level) of kDoubles replicates of a class, calculated when they are first used.
struct LevelLanes {
  Doubles negatives;
  Doubles draws;
  Doubles* level;  // up and down of each level, 2 * (kSapLevels + 1)
  int known = 0;

  __attribute__((always_inline)) inline const Doubles* at(int k) {
    for (; known <= k; ++known) {
      const double number = known;
      const Doubles left = negatives - 2.0 * number;
      const Doubles up = (negatives + 1.0 - number) * (draws - number) / ((left + 1.0) * left);
      const Doubles down = number * ((negatives + 1.0 - draws - number) / ((left + 2.0) * (left + 1.0)));
      level[2 * known] = left > 0.0 ? up : Doubles{};
      level[2 * known + 1] = left >= 0.0 ? down : Doubles{};
    }
    return level + 2 * k;
  }
};

// expected_precision() of the core in kDoubles lanes, with the same operations in each. Lanes outside `wanted` get any
// value.
__attribute__((always_inline)) inline void expected_precision_lanes(const Doubles& hits, const Doubles& misses,
                                                                    const Mask& wanted, LevelLanes& levels,
                                                                    Doubles& precision) {
  Mask active = wanted;
  const Doubles unmarked = levels.negatives - misses + 1.0;
  Doubles up = levels.at(0)[0] * misses;
  Doubles lower = Doubles{} + 1.0;
  Doubles lower_denominator = hits + up;
  Doubles upper = Doubles{} + 1.0;
  Doubles upper_denominator = hits;
  Doubles product = Doubles{} + 1.0 / kSapTolerance;
  for (int k = 1; k <= kSapLevels; ++k) {
    const Doubles* const level = levels.at(k);
    const Doubles down = level[1] * (unmarked - static_cast<double>(k));
    product *= up * down;
    upper_denominator = hits * lower_denominator + down * upper_denominator;
    active &= ~__builtin_convertvector(product <= upper_denominator * lower, Mask);
    if (!any_lane(active)) break;
    upper = hits * lower + down * upper;
    up = level[0] * (misses - static_cast<double>(k));
    lower = active ? up * lower + upper : lower;
    lower_denominator = active ? up * lower_denominator + upper_denominator : lower_denominator;
  }
  precision = hits * lower / lower_denominator;
}

template <class Vector, int kVectors>
void resample_lanes(const WeightBlock& block, const ResampledClass& cls, const double* total,
                    const ResampledMetrics& out) {
  constexpr int kLanes = kVectors * static_cast<int>(sizeof(Vector));
  const std::uint32_t* const end = cls.units + (cls.keys == 0 ? 0 : cls.tp[cls.keys - 1] + cls.fp[cls.keys - 1]);
  const std::int64_t all_positives = cls.keys == 0 ? 0 : cls.tp[cls.keys - 1];
  alignas(64) std::uint32_t above[kLanes];
  alignas(64) std::uint32_t equal[kLanes];
  alignas(64) std::uint32_t gained[kLanes];
  alignas(64) double gains[kLanes];
  alignas(64) double positives[kLanes];
  alignas(64) double negatives[kLanes];
  alignas(64) double hits[kLanes] = {};
  alignas(64) double misses[kLanes] = {};
  alignas(64) double area[kLanes] = {};
  alignas(64) double twice_wins[kLanes] = {};
  alignas(64) double expected[kLanes] = {};
  sum_lanes<Vector, kVectors>(block, cls.positives, all_positives, cls.positives + all_positives, gained);
  for (int i = 0; i < kLanes; ++i) {
    positives[i] = gained[i];
    negatives[i] = total[i] - positives[i];
  }
  LevelLanes levels[kLanes / kDoubles];
  for (int v = 0; v < kLanes / kDoubles && out.expected_sap != nullptr; ++v) {
    const Doubles p = *reinterpret_cast<const Doubles*>(positives + v * kDoubles);
    const Doubles n = *reinterpret_cast<const Doubles*>(negatives + v * kDoubles);
    levels[v].negatives = n;
    levels[v].draws = p < n ? p : n;  // sap_draws()
    levels[v].level = reinterpret_cast<Doubles*>(out.levels) + v * 2 * (kSapLevels + 1);
  }
  const std::uint32_t* units = cls.units;
  const std::uint32_t* positive = cls.positives;
  std::int64_t before = 0;  // positives that reach a higher threshold
  std::int64_t reached = 0;
  for (std::int64_t k = 0; k < cls.keys; ++k) {
    const std::int64_t count = cls.tp[k] - before;
    const std::int64_t tied = cls.tied[k];
    const std::int64_t rows = cls.tp[k] + cls.fp[k] - reached;
    const std::int64_t rows_above = rows - count - tied;
    if (rows_above != 0) {
      sum_lanes<Vector, kVectors>(block, units, rows_above, end, above);
      for (int i = 0; i < kLanes; ++i) misses[i] += above[i];
    }
    sum_lanes<Vector, kVectors>(block, positive, count, cls.positives + all_positives, gained);
    if (tied != 0) {
      sum_lanes<Vector, kVectors>(block, units + rows_above, count + tied, end, equal);
      for (int i = 0; i < kLanes; ++i) equal[i] -= gained[i];
      for (int i = 0; i < kLanes; ++i) misses[i] += equal[i];
    }
    for (int i = 0; i < kLanes; ++i) {
      const double gain = gained[i];
      gains[i] = gain;
      const double tie = tied != 0 ? static_cast<double>(equal[i]) : 0.0;
      hits[i] += gain;
      const double summand = gain * (hits[i] / (hits[i] + misses[i]));
      area[i] += gained[i] == 0 ? 0.0 : summand;
      twice_wins[i] += gain * (2.0 * (negatives[i] - misses[i]) + tie);
    }
    if (out.expected_sap != nullptr) {
      for (int v = 0; v < kLanes / kDoubles; ++v) {
        const Doubles gain = *reinterpret_cast<const Doubles*>(gains + v * kDoubles);
        const Mask active = __builtin_convertvector(gain != 0.0, Mask);
        if (!any_lane(active)) continue;
        Doubles& sum = *reinterpret_cast<Doubles*>(expected + v * kDoubles);
        Doubles precision;
        expected_precision_lanes(*reinterpret_cast<const Doubles*>(hits + v * kDoubles),
                                 *reinterpret_cast<const Doubles*>(misses + v * kDoubles), active, levels[v],
                                 precision);
        sum = active ? sum + gain * precision : sum;
      }
    }
    units += rows;
    positive += count;
    before = cls.tp[k];
    reached += rows;
  }
  for (int i = 0; i < kLanes; ++i) {
    const bool defined = positives[i] != 0.0;
    if (out.average_precision != nullptr) {
      out.average_precision[i] = defined ? area[i] / positives[i] : undefined();
    }
    if (out.roc_auc != nullptr) {
      out.roc_auc[i] =
          defined && negatives[i] != 0.0 ? twice_wins[i] / 2.0 / (positives[i] * negatives[i]) : undefined();
    }
    if (out.expected_sap != nullptr) out.expected_sap[i] = defined ? expected[i] / positives[i] : undefined();
  }
}

void sum_units(const WeightBlock& block, const std::uint32_t* units, std::int64_t count, std::uint32_t* sums) {
  switch (block.lanes) {
    case 16:
      return sum_lanes<Bytes16, 1>(block, units, count, units + count, sums);
    case 64:
      return sum_lanes<Bytes, 64 / kRegister>(block, units, count, units + count, sums);
    default:
      return sum_lanes<Bytes, kMostBlockLanes / kRegister>(block, units, count, units + count, sums);
  }
}

void resample_class(const WeightBlock& block, const ResampledClass& cls, const double* total,
                    const ResampledMetrics& out) {
  switch (block.lanes) {
    case 16:
      return resample_lanes<Bytes16, 1>(block, cls, total, out);
    case 64:
      return resample_lanes<Bytes, 64 / kRegister>(block, cls, total, out);
    default:
      return resample_lanes<Bytes, kMostBlockLanes / kRegister>(block, cls, total, out);
  }
}

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
