// The product of two matrices of float32: that of VLAD's large layer and its gradients.
//
// Each number of the result is the sum over depth in rising order, in blocks of kDepthOfSum that are then added in
// rising order. So its bits depend neither on the number of threads nor on the sizes of the matrices. Where the
// processor has FMA, a step of a sum is rounded once, else twice.
//
// Test  csrc/tests/test_vlad.cpp, tests/train/test_product.py
#pragma once

#include <cstdint>

#include "cpu/pool.hpp"
#include "cpu/simd.hpp"

namespace vltr::cpu {

constexpr std::int64_t kDepthOfSum = 256;

// Element (i, j) is data[i * row_stride + j * col_stride].
struct FloatMatrix {
  const float* data;
  std::int64_t row_stride;
  std::int64_t col_stride;
};

struct Product {
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t depth;
  FloatMatrix a;  // (rows, depth)
  FloatMatrix b;  // (depth, cols)
  float* out;     // (rows, cols) in C order
};

void multiply(const Product& request, const Runner& runner);

// The kernel of one instruction set. It computes a tile of rows x cols from `depth` columns of a and rows of b, which
// lie one after another: out = a b, or out += a b if `add`. stride: the floats between two rows of out.
struct ProductKernel {
  int rows;
  int cols;
  void (*tile)(std::int64_t depth, const float* a, const float* b, float* out, std::int64_t stride, bool add);
};
ProductKernel product_kernel();

#define VLTR_DECLARE_KERNEL(isa)     \
  namespace isa {                    \
  ProductKernel product_kernel_of(); \
  }
VLTR_FOR_EACH_ISA(VLTR_DECLARE_KERNEL)
#undef VLTR_DECLARE_KERNEL

}  // namespace vltr::cpu
