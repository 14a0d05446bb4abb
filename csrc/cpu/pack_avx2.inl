// Sixteen floats in two AVX2 registers. The other lanes use the plain pack.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#define VLTR_ISA avx2
#define VLTR_TARGET "avx2,fma,f16c,bmi,bmi2,popcnt"
#include "cpu/pack_generic.inl"

#include "cpu/target_begin.inl"
namespace vltr::cpu::avx2 {

// For each mask of eight lanes, the permutation that moves them to the front.
struct CompressTable {
  alignas(32) std::uint32_t order[256][8];
};
constexpr CompressTable make_compress_table() {
  CompressTable table{};
  for (int mask = 0; mask < 256; ++mask) {
    int count = 0;
    for (std::uint32_t lane = 0; lane < 8; ++lane) {
      if (mask >> lane & 1) table.order[mask][count++] = lane;
    }
  }
  return table;
}
inline constexpr CompressTable kCompress = make_compress_table();

template <>
struct Pack<float> {
  __m256 low, high;

  static Pack load(const float* ptr) { return {_mm256_loadu_ps(ptr), _mm256_loadu_ps(ptr + 8)}; }
  static Pack broadcast(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  template <class T>
  static Pack load_elements(const std::byte* ptr) {
    if constexpr (std::is_same_v<T, float>) {
      return load(reinterpret_cast<const float*>(ptr));
    } else if constexpr (std::is_same_v<T, Float16>) {
      return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(ptr))),
              _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(ptr + 16)))};
    } else {
      alignas(32) float lane[16];
      for (int i = 0; i < 16; ++i) lane[i] = to_lane(load_element<T>(ptr + i * sizeof(T)));
      return load(lane);
    }
  }
  template <int kPredicate>
  std::uint32_t compare(const Pack& other) const {
    const int first = _mm256_movemask_ps(_mm256_cmp_ps(low, other.low, kPredicate));
    const int second = _mm256_movemask_ps(_mm256_cmp_ps(high, other.high, kPredicate));
    return static_cast<std::uint32_t>(first | second << 8);
  }
  std::uint32_t nan_mask(const Pack& other) const { return compare<_CMP_UNORD_Q>(other); }
  std::uint32_t greater(const Pack& other) const { return compare<_CMP_GT_OQ>(other); }
  std::uint32_t greater_equal(const Pack& other) const { return compare<_CMP_GE_OQ>(other); }
  int compress_store(float* ptr, std::uint32_t mask) const {
    const __m256i first = _mm256_load_si256(reinterpret_cast<const __m256i*>(kCompress.order[mask & 0xFF]));
    const __m256i second = _mm256_load_si256(reinterpret_cast<const __m256i*>(kCompress.order[mask >> 8]));
    _mm256_storeu_ps(ptr, _mm256_permutevar8x32_ps(low, first));
    _mm256_storeu_ps(ptr + __builtin_popcount(mask & 0xFF), _mm256_permutevar8x32_ps(high, second));
    return __builtin_popcount(mask);
  }
};

inline void transpose(__m256 (&rows)[8]) {
  __m256 a[8];
  __m256 b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    a[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xEE);
    b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
    rows[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
  }
}

// 16 x 16 floats, as four 8 x 8 quarters.
inline void transpose(Pack<float> (&packs)[16]) {
  __m256 quarter[4][8];
  for (int i = 0; i < 8; ++i) {
    quarter[0][i] = packs[i].low;
    quarter[1][i] = packs[i].high;
    quarter[2][i] = packs[i + 8].low;
    quarter[3][i] = packs[i + 8].high;
  }
  for (auto& rows : quarter) transpose(rows);
  for (int i = 0; i < 8; ++i) {
    packs[i] = {quarter[0][i], quarter[2][i]};
    packs[i + 8] = {quarter[1][i], quarter[3][i]};
  }
}

inline int keys_reached(const float* node, float score) {
  return __builtin_popcount(Pack<float>::broadcast(score).greater_equal(Pack<float>::load(node)));
}

}  // namespace vltr::cpu::avx2
#include "cpu/target_end.inl"
