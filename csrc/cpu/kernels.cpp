// The one place that chooses kernels by instruction set.
#include "cpu/columns.hpp"
#include "cpu/draws.hpp"
#include "cpu/simd.hpp"

namespace vltr::cpu {

#if defined(__x86_64__)
#define VLTR_CHOOSE(kernel)   \
  switch (simd_level()) {     \
    case Simd::kAvx512:       \
      return &avx512::kernel; \
    case Simd::kAvx2:         \
      return &avx2::kernel;   \
    case Simd::kGeneric:      \
      break;                  \
  }                           \
  return &generic::kernel;
#else
#define VLTR_CHOOSE(kernel) return &generic::kernel;
#endif

template <class T>
ScanTile<LaneOf<T>> scan_tile_kernel() {
  VLTR_CHOOSE(scan_tile<T>)
}
template <class T>
ReachColumns<LaneOf<T>> reach_columns_kernel(){VLTR_CHOOSE(reach_columns<T>)} DrawNumbers
    draw_numbers_kernel(){VLTR_CHOOSE(draw_numbers)}

#define VLTR_KERNELS(T)                               \
  template ScanTile<LaneOf<T>> scan_tile_kernel<T>(); \
  template ReachColumns<LaneOf<T>> reach_columns_kernel<T>();
VLTR_FOR_EACH_ELEMENT(VLTR_KERNELS)
#undef VLTR_KERNELS

}  // namespace vltr::cpu
