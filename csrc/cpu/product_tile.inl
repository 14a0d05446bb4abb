// The kernel of product.hpp for one instruction set. Each product_*.cpp includes it, after Lanes: a register of floats.

// Loops of a known number of steps, whose arrays then lie in registers.
#if defined(__clang__)
#define VLTR_UNROLL _Pragma("unroll")
#else
#define VLTR_UNROLL _Pragma("GCC unroll 16")
#endif

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

// The sums of a tile stay in registers: kRows x kVectors of them, beside a row of b.
template <int kRows, int kVectors>
void multiply_tile(std::int64_t depth, const float* __restrict a, const float* __restrict b, float* __restrict out,
                   std::int64_t stride, bool add) {
  Lanes sums[kRows][kVectors];
  VLTR_UNROLL
  for (int i = 0; i < kRows; ++i) {
    VLTR_UNROLL
    for (int v = 0; v < kVectors; ++v) sums[i][v] = Lanes::broadcast(0.0f);
  }
  for (std::int64_t k = 0; k < depth; ++k, a += kRows, b += kVectors * Lanes::kCount) {
    Lanes row[kVectors];
    VLTR_UNROLL
    for (int v = 0; v < kVectors; ++v) row[v] = Lanes::load(b + v * Lanes::kCount);
    VLTR_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const Lanes number = Lanes::broadcast(a[i]);
      VLTR_UNROLL
      for (int v = 0; v < kVectors; ++v) sums[i][v] = Lanes::multiply_add(number, row[v], sums[i][v]);
    }
  }
  VLTR_UNROLL
  for (int i = 0; i < kRows; ++i) {
    VLTR_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      float* const cells = out + i * stride + v * Lanes::kCount;
      (add ? Lanes::add(Lanes::load(cells), sums[i][v]) : sums[i][v]).store(cells);
    }
  }
}

ProductKernel product_kernel_of() {
  return {Lanes::kRows, Lanes::kVectors * Lanes::kCount, &multiply_tile<Lanes::kRows, Lanes::kVectors>};
}

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
#undef VLTR_UNROLL
