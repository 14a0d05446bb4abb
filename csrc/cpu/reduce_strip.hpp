// The views of one video reduced in a strip of classes: the inner operation of reduce_rows().
#pragma once

#include <type_traits>

#include "core/matrix.hpp"
#include "cpu/simd.hpp"

namespace vltr::cpu {

constexpr std::int64_t kReduceStrip = 512;  // classes of a call at most, whose sums stay in the L1 cache

// One view: its score of the first class of a row, and the bytes between two classes.
struct View {
  const std::byte* data;
  std::int64_t col_stride;
};

// A call reduces classes [first_col, first_col + cols) of `count` views.
struct ReduceStrip {
  const View* views;
  std::int64_t count;
  std::int64_t first_col;
  std::int64_t cols;
};

template <class T>
struct ReduceKernels {
  // Writes sums. exact[j] is 0 where a score is not finite, or where the doubles of this kernel cannot hold the sum.
  void (*sum)(const ReduceStrip& strip, double* sum, unsigned char* exact);
  // Writes the largest scores. Returns false if a score is NaN.
  bool (*max)(const ReduceStrip& strip, std::byte* out);
  // Writes the largest score and the sum of e^(x - largest), each of `count` at most 1. Returns false at a NaN.
  bool (*exp_sum)(const ReduceStrip& strip, double* largest, double* sum);
};
template <class T>
ReduceKernels<T> reduce_kernels();

#define VLTR_DECLARE_KERNEL(isa)        \
  namespace isa {                       \
  template <class T>                    \
  ReduceKernels<T> reduce_kernels_of(); \
  }
VLTR_FOR_EACH_ISA(VLTR_DECLARE_KERNEL)
#undef VLTR_DECLARE_KERNEL

}  // namespace vltr::cpu
