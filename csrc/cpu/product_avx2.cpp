// The product of matrices for AVX2.
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/product.hpp"

#define VLTR_ISA avx2
#define VLTR_TARGET "avx2,fma"
#include "cpu/target_begin.inl"
namespace vltr::cpu::avx2 {
namespace {

struct Lanes {
  static constexpr int kCount = 8;
  static constexpr int kRows = 6;  // 12 sums, a row of b in two registers, and a number of a
  static constexpr int kVectors = 2;
  __m256 lanes;

  static Lanes load(const float* ptr) { return {_mm256_loadu_ps(ptr)}; }
  static Lanes broadcast(float value) { return {_mm256_set1_ps(value)}; }
  static Lanes add(const Lanes& a, const Lanes& b) { return {_mm256_add_ps(a.lanes, b.lanes)}; }
  static Lanes multiply_add(const Lanes& a, const Lanes& b, const Lanes& sum) {
    return {_mm256_fmadd_ps(a.lanes, b.lanes, sum.lanes)};
  }
  void store(float* ptr) const { _mm256_storeu_ps(ptr, lanes); }
};

}  // namespace
}  // namespace vltr::cpu::avx2
#include "cpu/target_end.inl"

#include "cpu/product_tile.inl"
#endif
