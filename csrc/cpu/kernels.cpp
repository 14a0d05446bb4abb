// The choice of kernels by instruction set, made here alone.
#include "cpu/columns.hpp"
#include "cpu/draws.hpp"
#include "cpu/simd.hpp"
#include "cpu/weighted_tile.hpp"

namespace vltr::cpu {

#if defined(__x86_64__)
#define VLTR_CHOOSE(kernel) choose(&generic::kernel, &avx2::kernel, &avx512::kernel)

namespace {

template <class Kernel>
Kernel choose(Kernel generic, Kernel avx2, Kernel avx512) {
  switch (simd_level()) {
    case Simd::kAvx512:
      return avx512;
    case Simd::kAvx2:
      return avx2;
    case Simd::kGeneric:
      break;
  }
  return generic;
}

}  // namespace
#else
#define VLTR_CHOOSE(kernel) &generic::kernel
#endif

template <class T>
RankScanTile<LaneOf<T>> rank_scan_tile_kernel() {
  return VLTR_CHOOSE(rank_scan_tile<T>);
}

template <class T>
ReachColumns<LaneOf<T>> reach_columns_kernel() {
  return VLTR_CHOOSE(reach_columns<T>);
}

template <class T>
WeightedTile<LaneOf<T>> weighted_tile_kernel() {
  return VLTR_CHOOSE(weighted_tile<T>);
}

DrawNumbers draw_numbers_kernel() { return VLTR_CHOOSE(draw_numbers); }

#define VLTR_KERNELS(T)                                        \
  template RankScanTile<LaneOf<T>> rank_scan_tile_kernel<T>(); \
  template ReachColumns<LaneOf<T>> reach_columns_kernel<T>();  \
  template WeightedTile<LaneOf<T>> weighted_tile_kernel<T>();
VLTR_FOR_EACH_ELEMENT(VLTR_KERNELS)
#undef VLTR_KERNELS

}  // namespace vltr::cpu
