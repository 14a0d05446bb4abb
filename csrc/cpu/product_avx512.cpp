// The product of matrices for AVX-512.
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/product.hpp"

#define VLTR_ISA avx512
#define VLTR_TARGET "avx512f,avx2,fma"
#include "cpu/target_begin.inl"
namespace vltr::cpu::avx512 {
namespace {

struct Lanes {
  static constexpr int kCount = 16;
  static constexpr int kRows = 13;  // 26 sums, a row of b in two registers, and numbers of a from memory
  static constexpr int kVectors = 2;
  __m512 lanes;

  static Lanes load(const float* ptr) { return {_mm512_loadu_ps(ptr)}; }
  static Lanes broadcast(float value) { return {_mm512_set1_ps(value)}; }
  static Lanes add(const Lanes& a, const Lanes& b) { return {_mm512_add_ps(a.lanes, b.lanes)}; }
  static Lanes multiply_add(const Lanes& a, const Lanes& b, const Lanes& sum) {
    return {_mm512_fmadd_ps(a.lanes, b.lanes, sum.lanes)};
  }
  void store(float* ptr) const { _mm512_storeu_ps(ptr, lanes); }
};

}  // namespace
}  // namespace vltr::cpu::avx512
#include "cpu/target_end.inl"

#include "cpu/product_tile.inl"
#endif
