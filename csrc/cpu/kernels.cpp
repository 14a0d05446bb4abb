// The choice of kernels by instruction set, made here alone.
#include "cpu/columns.hpp"
#include "cpu/draws.hpp"
#include "cpu/score_order.hpp"
#include "cpu/simd.hpp"
#include "cpu/trial_marks.hpp"

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
CopyColumns<LaneOf<T>> copy_columns_kernel() {
  return VLTR_CHOOSE(copy_columns<T>);
}

template <class Lane>
OrderPart<Lane> order_part_kernel() {
  return VLTR_CHOOSE(order_part<Lane>);
}

DrawNumbers draw_numbers_kernel() { return VLTR_CHOOSE(draw_numbers); }

AverageCounted average_counted_kernel() { return VLTR_CHOOSE(average_counted); }

AverageMarked average_marked_kernel() { return VLTR_CHOOSE(average_marked); }

#define VLTR_KERNELS(T)                                        \
  template RankScanTile<LaneOf<T>> rank_scan_tile_kernel<T>(); \
  template ReachColumns<LaneOf<T>> reach_columns_kernel<T>();  \
  template CopyColumns<LaneOf<T>> copy_columns_kernel<T>();
VLTR_FOR_EACH_ELEMENT(VLTR_KERNELS)
#undef VLTR_KERNELS
template OrderPart<float> order_part_kernel<float>();
template OrderPart<double> order_part_kernel<double>();
template OrderPart<std::int64_t> order_part_kernel<std::int64_t>();

}  // namespace vltr::cpu
