// Sampled AP of a class whose trials draw a large part of its negatives.
//
// A trial marks its draws in a grid of bits, one column for each left half of the permutation. Rounds that move whole
// rows or columns of the grid are table look-ups or shifts of bits, so half of the hashes are saved. If a trial draws
// more than half of the negatives, it marks those that it does not draw. The grids of up to 64 trials are then
// transposed: each negative gets a word with one bit for each trial. One walk over the negatives, by descending score,
// counts the marks of all these trials at once.
//
// Bytes  n bits for each trial, twice, and n bits more; the caller chooses the number of trials of a call
// Test   csrc/tests/test_cpu.cpp (each trial by its definition; the pass of the rank scan)
#pragma once

#include "core/draw_core.hpp"
#include "core/rank_table.hpp"
#include "core/sap_core.hpp"
#include "cpu/simd.hpp"
#include "core/large_array.hpp"

namespace vltr::cpu {

// A class, and its negatives in descending order of score.
struct MarkedClass {
  const std::uint32_t* by_score;  // (fp[keys - 1]) numbers of negatives; those below all thresholds are not needed
  const std::int64_t* tp;         // (keys) as in the rank table
  const std::int64_t* fp;
  std::int64_t keys;
  std::uint32_t negatives;
  std::uint32_t draws;  // of each trial
  std::uint32_t cls;
  std::uint64_t seed;
};

// Memory of one worker, which keeps it from class to class.
class MarkScratch {
 public:
  struct Sizes {
    std::int64_t columns;  // left halves, rounded up to 8
    std::int64_t words;    // of a column
  };
  static Sizes sizes(const KeyedPermutation& permutation) {
    return {(std::int64_t{permutation.left_radix} + 7) / 8 * 8, (std::int64_t{permutation.right_radix} + 63) / 64};
  }
  // Makes room for a class and a number of trials at once.
  void prepare(const KeyedPermutation& permutation, std::int64_t lanes) {
    const Sizes size = sizes(permutation);
    const std::int64_t cells = std::int64_t{permutation.left_radix} * permutation.right_radix;
    if (size.columns * size.words > grid_words_) {
      grid_words_ = size.columns * size.words;
      grid_.assign(grid_words_, 0);
    }
    grow(planes_, plane_words_, lanes * size.columns * size.words);
    grow(marks_, mark_words_, (cells * lanes / 8 + 7) / 8 + 8);
    const std::int64_t left = permutation.left_radix;
    const std::int64_t right = permutation.right_radix;
    right_steps_.resize(left + 16);
    left_steps_.resize(2 * right + 32);
    last_steps_.resize(left + 16);
    lefts_.resize(kBuffer + right + 64);
    rights_.resize(kBuffer + right + 64);
    doubled_.resize(2 * size.words + 4);
  }

  static constexpr std::int64_t kBuffer = 2048;

  std::uint64_t* grid() { return grid_.data(); }  // all zero between trials
  std::uint64_t* planes() { return planes_.data(); }
  std::uint64_t* marks() { return marks_.data(); }
  std::uint32_t* right_steps() { return right_steps_.data(); }
  std::uint32_t* left_steps() { return left_steps_.data(); }
  std::uint32_t* last_steps() { return last_steps_.data(); }
  std::uint32_t* lefts() { return lefts_.data(); }
  std::uint32_t* rights() { return rights_.data(); }
  std::uint64_t* doubled() { return doubled_.data(); }

 private:
  static void grow(LargeArray<std::uint64_t>& array, std::int64_t& size, std::int64_t wanted) {
    if (wanted <= size) return;
    size = 0;
    array.resize(wanted);
    size = wanted;
  }
  Array<std::uint64_t> grid_;
  LargeArray<std::uint64_t> planes_;
  LargeArray<std::uint64_t> marks_;
  std::int64_t grid_words_ = 0;
  std::int64_t plane_words_ = 0;
  std::int64_t mark_words_ = 0;
  Array<std::uint32_t> right_steps_;
  Array<std::uint32_t> left_steps_;
  Array<std::uint32_t> last_steps_;
  Array<std::uint32_t> lefts_;
  Array<std::uint32_t> rights_;
  Array<std::uint64_t> doubled_;
};

// The AP of trials first .. first + count - 1, count <= 64. That of trial first + i goes to out[i * stride].
using AverageMarked = void (*)(const MarkedClass& marked, std::int64_t first, std::int64_t count, MarkScratch& scratch,
                               double* out, std::int64_t stride);
AverageMarked average_marked_kernel();

// sampled_average_precisions() of the core.
using AverageCounted = void (*)(const std::int64_t* tp, const std::int32_t* drawn, std::int64_t count, double* ap);
AverageCounted average_counted_kernel();

#define VLTR_DECLARE_KERNELS(isa)                                                                           \
  namespace isa {                                                                                           \
  void average_marked(const MarkedClass&, std::int64_t, std::int64_t, MarkScratch&, double*, std::int64_t); \
  void average_counted(const std::int64_t*, const std::int32_t*, std::int64_t, double*);                    \
  }
VLTR_FOR_EACH_ISA(VLTR_DECLARE_KERNELS)
#undef VLTR_DECLARE_KERNELS

}  // namespace vltr::cpu
