// Sixteen lanes in plain C++: the fallback on every processor, and the reference for the tests of the SIMD packs.
//
// Each pack_*.inl defines VLTR_ISA, the namespace of its instruction set, and opens it; rank_scan_tile.inl, included
// after it, adds the kernels. pack_avx2.inl includes this file for the lanes that it does not define.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/draw_core.hpp"
#include "core/tree_core.hpp"

#if !defined(VLTR_ISA)
#define VLTR_ISA generic
#endif

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

template <class Lane>
struct Pack {
  Lane lane[16];

  static Pack load(const Lane* ptr) {
    Pack pack;
    for (int i = 0; i < 16; ++i) pack.lane[i] = ptr[i];
    return pack;
  }
  static Pack broadcast(Lane value) {
    Pack pack;
    for (int i = 0; i < 16; ++i) pack.lane[i] = value;
    return pack;
  }
  template <class T>
  static Pack load_elements(const std::byte* ptr) {
    Pack pack;
    for (int i = 0; i < 16; ++i) pack.lane[i] = to_lane(load_element<T>(ptr + i * sizeof(T)));
    return pack;
  }
  // The lanes in which either pack is NaN.
  std::uint32_t nan_mask(const Pack& other) const {
    std::uint32_t mask = 0;
    for (int i = 0; i < 16; ++i)
      mask |= static_cast<std::uint32_t>(lane[i] != lane[i] || other.lane[i] != other.lane[i]) << i;
    return mask;
  }
  std::uint32_t greater(const Pack& other) const {
    std::uint32_t mask = 0;
    for (int i = 0; i < 16; ++i) mask |= static_cast<std::uint32_t>(lane[i] > other.lane[i]) << i;
    return mask;
  }
  std::uint32_t greater_equal(const Pack& other) const {
    std::uint32_t mask = 0;
    for (int i = 0; i < 16; ++i) mask |= static_cast<std::uint32_t>(lane[i] >= other.lane[i]) << i;
    return mask;
  }
  // Writes the lanes in `mask` one after another. Up to 16 lanes behind them may be overwritten.
  int compress_store(Lane* ptr, std::uint32_t mask) const {
    int count = 0;
    for (int i = 0; i < 16; ++i) {
      ptr[count] = lane[i];
      count += static_cast<int>(mask >> i & 1u);
    }
    return count;
  }
};

template <class Lane>
void transpose(Pack<Lane> (&packs)[16]) {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < i; ++j) {
      const Lane swapped = packs[i].lane[j];
      packs[i].lane[j] = packs[j].lane[i];
      packs[j].lane[i] = swapped;
    }
  }
}

// The number of a node's 16 ascending keys that are <= score. An unreachable NaN key does not count.
template <class Lane>
int keys_reached(const Lane* node, Lane score) {
  int count = 0;
  for (int i = 0; i < kNodeKeys; ++i) count += node[i] <= score;
  return count;
}

// Other instruction sets search small classes in registers; this one does not.
template <class Lane>
bool find_buckets_of_few(const Lane*, std::int64_t, const Lane*, std::int64_t, std::uint32_t*) {
  return false;
}

// For each of sixteen rows, the number of classes that rank before its best label.
class BeatenCounts {
 public:
  void start(const std::int32_t* best_class) {
    std::copy(best_class, best_class + 16, best_class_);
    std::fill(count_, count_ + 16, 0);
  }
  // Adds column c of the sixteen rows, in those that know the class. A class ranks before if it scores more, or the
  // same with a lower index.
  template <class Lane>
  void add(const Pack<Lane>& column, const Pack<Lane>& best, std::int32_t c, std::uint32_t known) {
    const std::uint32_t greater = column.greater(best) & known;
    const std::uint32_t greater_equal = column.greater_equal(best) & known;
    for (int i = 0; i < 16; ++i) {
      count_[i] += static_cast<std::int32_t>((best_class_[i] > c ? greater_equal : greater) >> i & 1u);
    }
  }
  void store(std::int32_t* counts) const { std::copy(count_, count_ + 16, counts); }

 private:
  std::int32_t best_class_[16];
  std::int32_t count_[16];
};

// Sixteen halves of points of the draw's permutation (core/draw_core.hpp).
struct Halves {
  std::uint32_t lane[16];

  static Halves load(const std::uint32_t* ptr) {
    Halves halves;
    std::copy(ptr, ptr + 16, halves.lane);
    return halves;
  }
  void store(std::uint32_t* ptr) const { std::copy(lane, lane + 16, ptr); }
  void rotate(const Halves& other, std::uint32_t key, std::uint32_t radix) {
    for (int i = 0; i < 16; ++i) lane[i] = rotate_half(lane[i], other.lane[i], key, radix);
  }
};

// Counts, up to 255 each, of the trials that have a bit in a mark.
struct SpreadBits {
  std::uint64_t bytes[256];
  constexpr SpreadBits() : bytes() {
    for (std::uint64_t mark = 0; mark < 256; ++mark) {
      for (int bit = 0; bit < 8; ++bit) bytes[mark] |= (mark >> bit & 1u) << (8 * bit);
    }
  }
};
inline constexpr SpreadBits kSpreadBits;

template <class Mark>
struct MarkCounts {
  std::uint64_t counts[sizeof(Mark)];

  void clear() { std::fill(counts, counts + sizeof(Mark), std::uint64_t{0}); }
  void add(Mark mark) {
    for (std::size_t i = 0; i < sizeof(Mark); ++i) counts[i] += kSpreadBits.bytes[mark >> (8 * i) & 0xFFu];
  }
  void store(std::uint8_t* bytes) const {
    std::copy_n(reinterpret_cast<const std::uint8_t*>(counts), sizeof(counts), bytes);
  }
};

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
