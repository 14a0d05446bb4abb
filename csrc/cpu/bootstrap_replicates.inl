// The kernels of bootstrap_replicates.hpp for one instruction set; see rank_scan_tile.inl.
#pragma once

#include <algorithm>
#include <cstring>

#include "cpu/bootstrap_replicates.hpp"

#if !defined(VLTR_ISA)
#include "cpu/pack_generic.inl"
#endif

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

// Sixteen Philox blocks side by side, each of one unit and four replicates.
struct PhiloxLanes {
  alignas(64) std::uint32_t word[4][16];

  void run(std::uint32_t key0, std::uint32_t key1) {
    for (int round = 0; round < 10; ++round) {
      for (int i = 0; i < 16; ++i) {
        const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * word[0][i];
        const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * word[2][i];
        word[0][i] = static_cast<std::uint32_t>(product1 >> 32) ^ word[1][i] ^ key0;
        word[1][i] = static_cast<std::uint32_t>(product1);
        word[2][i] = static_cast<std::uint32_t>(product0 >> 32) ^ word[3][i] ^ key1;
        word[3][i] = static_cast<std::uint32_t>(product0);
      }
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
  }
};

void draw_poisson(std::uint64_t seed, std::uint32_t first_group, int lanes, std::int64_t first_unit, std::int64_t units,
                  std::uint8_t* weights) {
  const auto key0 = static_cast<std::uint32_t>(seed);
  const auto key1 = static_cast<std::uint32_t>(seed >> 32);
  const int groups = lanes / 4;  // of four replicates: 4, 16 or 64
  const int shift = groups == 4 ? 2 : groups == 16 ? 4 : 6;
  const std::int64_t blocks = units * groups;
  for (std::int64_t first = 0; first < blocks; first += 16) {
    PhiloxLanes random;
    for (int i = 0; i < 16; ++i) {
      const auto block = static_cast<std::uint32_t>(first - (first >> shift << shift)) + static_cast<std::uint32_t>(i);
      random.word[0][i] = static_cast<std::uint32_t>(first_unit + (first >> shift)) + (block >> shift);
      random.word[1][i] = first_group + (block & static_cast<std::uint32_t>(groups - 1));
      random.word[2][i] = static_cast<std::uint32_t>(Resampling::kPoisson);
      random.word[3][i] = kBootstrapDomain;
    }
    random.run(key0, key1);
    alignas(64) std::uint32_t packed[16] = {};
    for (int k = 3; k >= 0; --k) {
      alignas(64) std::uint32_t weight[16] = {};
      for (int step = 0; step < kMostPoissonWeight; ++step) {
        for (int i = 0; i < 16; ++i) weight[i] += random.word[k][i] >= kPoissonTable[step];
      }
      for (int i = 0; i < 16; ++i) packed[i] = packed[i] << 8 | weight[i];
    }
    const auto filled = static_cast<std::size_t>(std::min<std::int64_t>(16, blocks - first));
    std::memcpy(weights + 4 * first, packed, 4 * filled);
  }
}

using Bytes16 = std::uint8_t __attribute__((vector_size(16), may_alias));
using Bytes64 = std::uint8_t __attribute__((vector_size(64), aligned(16), may_alias));

// The sums of a block of kVectors * sizeof(Bytes) lanes, which stay in registers as bytes until they could overflow.
// Units at and after `count` are only fetched ahead of their use, if they are before `end`.
template <class Bytes, int kVectors>
void sum_lanes(const WeightBlock& block, const std::uint32_t* units, std::int64_t count, const std::uint32_t* end,
               std::uint32_t* sums) {
  constexpr int kLanes = kVectors * static_cast<int>(sizeof(Bytes));
  constexpr int kAhead = 8;
  for (int i = 0; i < kLanes; ++i) sums[i] = 0;
  for (std::int64_t first = 0; first < count; first += block.rows_per_byte) {
    const std::int64_t last = std::min<std::int64_t>(count, first + block.rows_per_byte);
    Bytes sum[kVectors];
    for (int v = 0; v < kVectors; ++v) sum[v] = Bytes{};
    for (std::int64_t i = first; i < last; ++i) {
      const std::uint8_t* const row = block.weights + std::int64_t{units[i]} * kLanes;
      if (units + i + kAhead < end) {
        const std::uint8_t* const ahead = block.weights + std::int64_t{units[i + kAhead]} * kLanes;
        for (int byte = 0; byte < kLanes; byte += 64) __builtin_prefetch(ahead + byte);
      }
      for (int v = 0; v < kVectors; ++v) {
        sum[v] += *reinterpret_cast<const Bytes*>(row + v * static_cast<int>(sizeof(Bytes)));
      }
    }
    alignas(64) std::uint8_t bytes[kLanes];
    for (int v = 0; v < kVectors; ++v) {
      std::memcpy(bytes + v * static_cast<int>(sizeof(Bytes)), &sum[v], sizeof(Bytes));
    }
    for (int i = 0; i < kLanes; ++i) sums[i] += bytes[i];
  }
}

template <class Bytes, int kVectors>
void resample_lanes(const WeightBlock& block, const ResampledClass& cls, const double* total,
                    const ResampledMetrics& out) {
  constexpr int kLanes = kVectors * static_cast<int>(sizeof(Bytes));
  const std::uint32_t* const end = cls.units + (cls.keys == 0 ? 0 : cls.tp[cls.keys - 1] + cls.fp[cls.keys - 1]);
  const std::int64_t all_positives = cls.keys == 0 ? 0 : cls.tp[cls.keys - 1];
  alignas(64) std::uint32_t above[kLanes];
  alignas(64) std::uint32_t equal[kLanes];
  alignas(64) std::uint32_t gained[kLanes];
  alignas(64) double positives[kLanes];
  alignas(64) double negatives[kLanes];
  alignas(64) double hits[kLanes] = {};
  alignas(64) double misses[kLanes] = {};
  alignas(64) double area[kLanes] = {};
  alignas(64) double twice_wins[kLanes] = {};
  alignas(64) double expected[kLanes] = {};
  sum_lanes<Bytes, kVectors>(block, cls.positives, all_positives, cls.positives + all_positives, gained);
  for (int i = 0; i < kLanes; ++i) {
    positives[i] = gained[i];
    negatives[i] = total[i] - positives[i];
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
      sum_lanes<Bytes, kVectors>(block, units, rows_above, end, above);
      for (int i = 0; i < kLanes; ++i) misses[i] += above[i];
    }
    sum_lanes<Bytes, kVectors>(block, positive, count, cls.positives + all_positives, gained);
    if (tied != 0) {
      sum_lanes<Bytes, kVectors>(block, units + rows_above, count + tied, end, equal);
      for (int i = 0; i < kLanes; ++i) equal[i] -= gained[i];
      for (int i = 0; i < kLanes; ++i) misses[i] += equal[i];
    }
    for (int i = 0; i < kLanes; ++i) {
      const double gain = gained[i];
      const double tie = tied != 0 ? static_cast<double>(equal[i]) : 0.0;
      hits[i] += gain;
      const double summand = gain * (hits[i] / (hits[i] + misses[i]));
      area[i] += gained[i] == 0 ? 0.0 : summand;
      twice_wins[i] += gain * (2.0 * (negatives[i] - misses[i]) + tie);
    }
    if (out.expected_sap != nullptr) {
      for (int i = 0; i < kLanes; ++i) {
        if (gained[i] == 0) continue;
        const auto n = static_cast<std::int64_t>(negatives[i]);
        const std::int64_t draws = sap_draws(static_cast<std::int64_t>(positives[i]), n);
        expected[i] += static_cast<double>(gained[i]) * expected_precision(static_cast<std::int64_t>(hits[i]), n,
                                                                           static_cast<std::int64_t>(misses[i]), draws);
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
      return sum_lanes<Bytes64, 1>(block, units, count, units + count, sums);
    default:
      return sum_lanes<Bytes64, 4>(block, units, count, units + count, sums);
  }
}

void resample_class(const WeightBlock& block, const ResampledClass& cls, const double* total,
                    const ResampledMetrics& out) {
  switch (block.lanes) {
    case 16:
      return resample_lanes<Bytes16, 1>(block, cls, total, out);
    case 64:
      return resample_lanes<Bytes64, 1>(block, cls, total, out);
    default:
      return resample_lanes<Bytes64, 4>(block, cls, total, out);
  }
}

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
