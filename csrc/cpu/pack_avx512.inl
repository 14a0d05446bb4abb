// Sixteen lanes in AVX-512 registers: one register for float, two for double and int64.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/draw_core.hpp"
#include "core/tree_core.hpp"

#define VLTR_ISA avx512
#define VLTR_TARGET "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2,popcnt,lzcnt"
#include "cpu/target_begin.inl"
namespace vltr::cpu::avx512 {

template <class Lane>
struct Pack;

template <>
struct Pack<float> {
  __m512 lanes;

  static Pack load(const float* ptr) { return {_mm512_loadu_ps(ptr)}; }
  static Pack broadcast(float value) { return {_mm512_set1_ps(value)}; }
  template <class T>
  static Pack load_elements(const std::byte* ptr) {
    if constexpr (std::is_same_v<T, float>) {
      return {_mm512_loadu_ps(ptr)};
    } else if constexpr (std::is_same_v<T, Float16>) {
      return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(ptr)))};
    } else if constexpr (std::is_same_v<T, BFloat16>) {
      const __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(ptr)));
      return {_mm512_castsi512_ps(_mm512_slli_epi32(words, 16))};
    } else {
      alignas(64) float lane[16];
      for (int i = 0; i < 16; ++i) lane[i] = to_lane(load_element<T>(ptr + i * sizeof(T)));
      return load(lane);
    }
  }
  std::uint32_t nan_mask(const Pack& other) const { return _mm512_cmp_ps_mask(lanes, other.lanes, _CMP_UNORD_Q); }
  std::uint32_t greater(const Pack& other) const { return _mm512_cmp_ps_mask(lanes, other.lanes, _CMP_GT_OQ); }
  std::uint32_t greater_equal(const Pack& other) const { return _mm512_cmp_ps_mask(lanes, other.lanes, _CMP_GE_OQ); }
  // Compresses in a register and stores all of it, because a compress to memory is microcode on some processors.
  int compress_store(float* ptr, std::uint32_t mask) const {
    _mm512_storeu_ps(ptr, _mm512_maskz_compress_ps(static_cast<__mmask16>(mask), lanes));
    return __builtin_popcount(mask);
  }
};

template <>
struct Pack<double> {
  __m512d low, high;

  static Pack load(const double* ptr) { return {_mm512_loadu_pd(ptr), _mm512_loadu_pd(ptr + 8)}; }
  static Pack broadcast(double value) { return {_mm512_set1_pd(value), _mm512_set1_pd(value)}; }
  template <class T>
  static Pack load_elements(const std::byte* ptr) {
    if constexpr (std::is_same_v<T, double>) {
      return {_mm512_loadu_pd(ptr), _mm512_loadu_pd(ptr + 64)};
    } else {
      alignas(64) double lane[16];
      for (int i = 0; i < 16; ++i) lane[i] = to_lane(load_element<T>(ptr + i * sizeof(T)));
      return load(lane);
    }
  }
  template <int kPredicate>
  std::uint32_t compare(const Pack& other) const {
    const std::uint32_t first = _mm512_cmp_pd_mask(low, other.low, kPredicate);
    const std::uint32_t second = _mm512_cmp_pd_mask(high, other.high, kPredicate);
    return first | second << 8;
  }
  std::uint32_t nan_mask(const Pack& other) const { return compare<_CMP_UNORD_Q>(other); }
  std::uint32_t greater(const Pack& other) const { return compare<_CMP_GT_OQ>(other); }
  std::uint32_t greater_equal(const Pack& other) const { return compare<_CMP_GE_OQ>(other); }
  int compress_store(double* ptr, std::uint32_t mask) const {
    _mm512_storeu_pd(ptr, _mm512_maskz_compress_pd(static_cast<__mmask8>(mask), low));
    _mm512_storeu_pd(ptr + __builtin_popcount(mask & 0xFF),
                     _mm512_maskz_compress_pd(static_cast<__mmask8>(mask >> 8), high));
    return __builtin_popcount(mask);
  }
};

template <>
struct Pack<std::int64_t> {
  __m512i low, high;

  static Pack load(const std::int64_t* ptr) { return {_mm512_loadu_si512(ptr), _mm512_loadu_si512(ptr + 8)}; }
  static Pack broadcast(std::int64_t value) { return {_mm512_set1_epi64(value), _mm512_set1_epi64(value)}; }
  template <class T>
  static Pack load_elements(const std::byte* ptr) {
    alignas(64) std::int64_t lane[16];
    for (int i = 0; i < 16; ++i) lane[i] = to_lane(load_element<T>(ptr + i * sizeof(T)));
    return load(lane);
  }
  std::uint32_t nan_mask(const Pack&) const { return 0; }
  std::uint32_t greater(const Pack& other) const {
    const std::uint32_t first = _mm512_cmpgt_epi64_mask(low, other.low);
    return first | static_cast<std::uint32_t>(_mm512_cmpgt_epi64_mask(high, other.high)) << 8;
  }
  std::uint32_t greater_equal(const Pack& other) const {
    const std::uint32_t first = _mm512_cmpge_epi64_mask(low, other.low);
    return first | static_cast<std::uint32_t>(_mm512_cmpge_epi64_mask(high, other.high)) << 8;
  }
  int compress_store(std::int64_t* ptr, std::uint32_t mask) const {
    _mm512_storeu_si512(ptr, _mm512_maskz_compress_epi64(static_cast<__mmask8>(mask), low));
    _mm512_storeu_si512(ptr + __builtin_popcount(mask & 0xFF),
                        _mm512_maskz_compress_epi64(static_cast<__mmask8>(mask >> 8), high));
    return __builtin_popcount(mask);
  }
};

// 16 x 16 floats: pairs, quads, then 128-bit lanes are exchanged, four rounds of sixteen two-register shuffles.
inline void transpose(Pack<float> (&packs)[16]) {
  __m512 a[16];
  __m512 b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_ps(packs[i].lanes, packs[i + 1].lanes);
    a[i + 1] = _mm512_unpackhi_ps(packs[i].lanes, packs[i + 1].lanes);
  }
  for (int i = 0; i < 16; i += 4) {
    b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xEE);
    b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) {
    a[i] = _mm512_shuffle_f32x4(b[i], b[i + 4], 0x88);
    a[i + 4] = _mm512_shuffle_f32x4(b[i], b[i + 4], 0xDD);
    a[i + 8] = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0x88);
    a[i + 12] = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0xDD);
  }
  for (int i = 0; i < 4; ++i) {
    packs[i].lanes = _mm512_shuffle_f32x4(a[i], a[i + 8], 0x88);
    packs[i + 8].lanes = _mm512_shuffle_f32x4(a[i], a[i + 8], 0xDD);
    packs[i + 4].lanes = _mm512_shuffle_f32x4(a[i + 4], a[i + 12], 0x88);
    packs[i + 12].lanes = _mm512_shuffle_f32x4(a[i + 4], a[i + 12], 0xDD);
  }
}

// 8 x 8 words of 64 bits.
inline void transpose(__m512d (&rows)[8]) {
  __m512d a[8];
  __m512d b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm512_unpacklo_pd(rows[i], rows[i + 1]);
    a[i + 1] = _mm512_unpackhi_pd(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    b[i] = _mm512_shuffle_f64x2(a[i], a[i + 2], 0x88);
    b[i + 2] = _mm512_shuffle_f64x2(a[i], a[i + 2], 0xDD);
    b[i + 4] = _mm512_shuffle_f64x2(a[i + 4], a[i + 6], 0x88);
    b[i + 6] = _mm512_shuffle_f64x2(a[i + 4], a[i + 6], 0xDD);
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm512_shuffle_f64x2(b[i], b[i + 4], 0x88);
    rows[i + 4] = _mm512_shuffle_f64x2(b[i], b[i + 4], 0xDD);
  }
}

// 16 x 16 words of 64 bits, as four 8 x 8 quarters.
inline void transpose(Pack<double> (&packs)[16]) {
  __m512d quarter[4][8];
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

inline void transpose(Pack<std::int64_t> (&packs)[16]) {
  Pack<double> words[16];
  for (int i = 0; i < 16; ++i) words[i] = {_mm512_castsi512_pd(packs[i].low), _mm512_castsi512_pd(packs[i].high)};
  transpose(words);
  for (int i = 0; i < 16; ++i) packs[i] = {_mm512_castpd_si512(words[i].low), _mm512_castpd_si512(words[i].high)};
}

template <class Lane>
int keys_reached(const Lane* node, Lane score) {
  return __builtin_popcount(Pack<Lane>::broadcast(score).greater_equal(Pack<Lane>::load(node)));
}

// Searches sixteen scores at once among up to kNodes * 16 <= 128 keys in registers: a binary search in which
// a look-up is a permutation of two registers. Returns the bucket of each score (tree_core.hpp). All scores
// must reach the first key.
template <int kNodes>
struct KeyRegisters {
  __m512 key[kNodes];

  KeyRegisters(const float* leaves, std::int64_t nodes) {
    for (int i = 0; i < kNodes; ++i)
      key[i] = i < nodes ? _mm512_loadu_ps(leaves + 16 * i) : _mm512_set1_ps(unreachable<float>());
  }
  __m512 first_of(int node) const { return _mm512_broadcastss_ps(_mm512_castps512_ps128(key[node])); }
  // The keys at 5-bit indices within the pair of registers that `upper` and `odd` select for each lane.
  __m512 look_up(__m512i index, __mmask16 upper, __mmask16 odd) const {
    if constexpr (kNodes == 1) {
      return _mm512_permutexvar_ps(index, key[0]);
    } else if constexpr (kNodes == 2) {
      return _mm512_permutex2var_ps(key[0], index, key[1]);
    } else if constexpr (kNodes == 4) {
      return _mm512_mask_blend_ps(odd, _mm512_permutex2var_ps(key[0], index, key[1]),
                                  _mm512_permutex2var_ps(key[2], index, key[3]));
    } else {
      const __m512 low = _mm512_mask_blend_ps(odd, _mm512_permutex2var_ps(key[0], index, key[1]),
                                              _mm512_permutex2var_ps(key[2], index, key[3]));
      const __m512 high = _mm512_mask_blend_ps(odd, _mm512_permutex2var_ps(key[4], index, key[5]),
                                               _mm512_permutex2var_ps(key[6], index, key[7]));
      return _mm512_mask_blend_ps(upper, low, high);
    }
  }
  __m512i buckets(__m512 score) const {
    __m512i index = _mm512_setzero_si512();
    __mmask16 upper = 0;
    __mmask16 odd = 0;
    if constexpr (kNodes == 8) {
      upper = _mm512_cmp_ps_mask(score, first_of(4), _CMP_GE_OQ);
      const __m512 middle = _mm512_mask_blend_ps(upper, first_of(2), first_of(6));
      odd = _mm512_cmp_ps_mask(score, middle, _CMP_GE_OQ);
    } else if constexpr (kNodes == 4) {
      odd = _mm512_cmp_ps_mask(score, first_of(2), _CMP_GE_OQ);
    }
    for (int step = kNodes == 1 ? 8 : 16; step > 0; step /= 2) {
      const __m512i next = _mm512_or_si512(index, _mm512_set1_epi32(step));
      index = _mm512_mask_mov_epi32(index, _mm512_cmp_ps_mask(score, look_up(next, upper, odd), _CMP_GE_OQ), next);
    }
    const __mmask16 equal = _mm512_cmp_ps_mask(score, look_up(index, upper, odd), _CMP_EQ_OQ);
    index = _mm512_mask_or_epi32(index, odd, index, _mm512_set1_epi32(32));
    index = _mm512_mask_or_epi32(index, upper, index, _mm512_set1_epi32(64));
    const __m512i twice = _mm512_slli_epi32(index, 1);
    return _mm512_mask_add_epi32(twice, static_cast<__mmask16>(~equal), twice, _mm512_set1_epi32(1));
  }
};

template <int kNodes>
void find_in_registers(const float* leaves, std::int64_t nodes, const float* scores, std::int64_t count,
                       std::uint32_t* buckets) {
  const KeyRegisters<kNodes> registers(leaves, nodes);
  for (std::int64_t i = 0; i < count; i += 16)
    _mm512_storeu_si512(buckets + i, registers.buckets(_mm512_loadu_ps(scores + i)));
}

// Finds the buckets if the class has at most 128 thresholds; returns false if it has more.
inline bool find_buckets_of_few(const float* tree, std::int64_t keys, const float* scores, std::int64_t count,
                                std::uint32_t* buckets) {
  const std::int64_t nodes = nodes_for(keys);
  const float* leaves = tree + (nodes > 1 ? kNodeKeys : 0);
  if (nodes > 8) return false;
  if (nodes == 1) {
    find_in_registers<1>(leaves, nodes, scores, count, buckets);
  } else if (nodes == 2) {
    find_in_registers<2>(leaves, nodes, scores, count, buckets);
  } else if (nodes <= 4) {
    find_in_registers<4>(leaves, nodes, scores, count, buckets);
  } else {
    find_in_registers<8>(leaves, nodes, scores, count, buckets);
  }
  return true;
}

template <class Lane>
bool find_buckets_of_few(const Lane*, std::int64_t, const Lane*, std::int64_t, std::uint32_t*) {
  return false;
}

// For each of sixteen rows, the number of classes that rank before its best label.
class BeatenCounts {
 public:
  void start(const std::int32_t* best_class) {
    best_class_ = _mm512_loadu_si512(best_class);
    count_ = _mm512_setzero_si512();
  }
  // Adds column c of the sixteen rows, in those that know the class. A class ranks before if it scores more, or the
  // same with a lower index.
  template <class Lane>
  void add(const Pack<Lane>& column, const Pack<Lane>& best, std::int32_t c, std::uint32_t known) {
    const std::uint32_t earlier = _mm512_cmpgt_epi32_mask(best_class_, _mm512_set1_epi32(c));
    const std::uint32_t before = (column.greater(best) | (column.greater_equal(best) & earlier)) & known;
    count_ = _mm512_mask_add_epi32(count_, static_cast<__mmask16>(before), count_, _mm512_set1_epi32(1));
  }
  void store(std::int32_t* counts) const { _mm512_storeu_si512(counts, count_); }

 private:
  // Set by start(). An implicit constructor would not be compiled for this instruction set.
  __m512i best_class_;
  __m512i count_;
};

// Sixteen halves of points of the draw's permutation. rotate() is rotate_half() of core/draw_core.hpp in each lane.
struct Halves {
  __m512i lanes;

  static Halves load(const std::uint32_t* ptr) { return {_mm512_loadu_si512(ptr)}; }
  void store(std::uint32_t* ptr) const { _mm512_storeu_si512(ptr, lanes); }
  void rotate(const Halves& other, std::uint32_t key, std::uint32_t radix) {
    const __m512i wide_radix = _mm512_set1_epi32(static_cast<int>(radix));
    __m512i hash = _mm512_add_epi32(other.lanes, _mm512_set1_epi32(static_cast<int>(key)));
    hash = _mm512_xor_si512(hash, _mm512_srli_epi32(hash, 16));
    hash = _mm512_mullo_epi32(hash, _mm512_set1_epi32(static_cast<int>(0x85EBCA6Bu)));
    hash = _mm512_xor_si512(hash, _mm512_srli_epi32(hash, 13));
    hash = _mm512_mullo_epi32(hash, _mm512_set1_epi32(static_cast<int>(0xC2B2AE35u)));
    hash = _mm512_xor_si512(hash, _mm512_srli_epi32(hash, 16));
    const __m512i even = _mm512_mul_epu32(hash, wide_radix);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(hash, 32), wide_radix);
    const __m512i step = _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
    const __m512i sum = _mm512_add_epi32(lanes, step);
    lanes = _mm512_min_epu32(sum, _mm512_sub_epi32(sum, wide_radix));  // below the radix, the difference wraps
  }
};

// Counts, up to 255 each, of the trials that have a bit in a mark.
template <class Mark>
struct MarkCounts {
  __m512i counts;

  void clear() { counts = _mm512_setzero_si512(); }
  void add(Mark mark) {
    if constexpr (sizeof(Mark) == 8) {
      counts = _mm512_mask_add_epi8(counts, mark, counts, _mm512_set1_epi8(1));
    } else if constexpr (sizeof(Mark) == 4) {
      const __m256i low = _mm512_castsi512_si256(counts);
      counts = _mm512_castsi256_si512(_mm256_mask_add_epi8(low, mark, low, _mm256_set1_epi8(1)));
    } else {
      const __m128i low = _mm512_castsi512_si128(counts);
      counts = _mm512_castsi128_si512(_mm_mask_add_epi8(low, mark, low, _mm_set1_epi8(1)));
    }
  }
  void store(std::uint8_t* bytes) const {
    _mm512_mask_storeu_epi8(bytes, ~__mmask64{0} >> (64 - 8 * sizeof(Mark)), counts);
  }
};

}  // namespace vltr::cpu::avx512
#include "cpu/target_end.inl"
