// The choice of kernels by instruction set, made here alone.
#include "cpu/bootstrap_lists.hpp"
#include "cpu/bootstrap_replicates.hpp"
#include "cpu/calibration_rows.hpp"
#include "cpu/class_details.hpp"
#include "cpu/columns.hpp"
#include "cpu/dense_class.hpp"
#include "cpu/draws.hpp"
#include "cpu/lane_columns.hpp"
#include "cpu/product.hpp"
#include "cpu/reduce_strip.hpp"
#include "cpu/row_effects_tile.hpp"
#include "cpu/score_order.hpp"
#include "cpu/simd.hpp"
#include "cpu/trial_marks.hpp"
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
CopyColumns<LaneOf<T>> copy_columns_kernel() {
  return VLTR_CHOOSE(copy_columns<T>);
}

template <class Lane>
OrderPart<Lane> order_part_kernel() {
  return VLTR_CHOOSE(order_part<Lane>);
}

template <class T>
WeightedTile<LaneOf<T>> weighted_tile_kernel() {
  return VLTR_CHOOSE(weighted_tile<T>);
}

template <class T>
EffectTile<LaneOf<T>> effect_tile_kernel() {
  return VLTR_CHOOSE(effect_tile<T>);
}

template <class T>
SumProbabilities<T> sum_probabilities_kernel() {
  return VLTR_CHOOSE(sum_probabilities<T>);
}

template <class T>
ListTile<LaneOf<T>> list_tile_kernel() {
  return VLTR_CHOOSE(list_tile<T>);
}

template <class T>
ReduceKernels<T> reduce_kernels() {
  return VLTR_CHOOSE(reduce_kernels_of<T>)();
}

template <class Lane>
ReachMask<Lane> reach_mask_kernel() {
  return VLTR_CHOOSE(reach_mask<Lane>);
}

template <class Lane>
MaskedBuckets<Lane> masked_buckets_kernel() {
  return VLTR_CHOOSE(masked_buckets<Lane>);
}

template <class Lane>
LaneRange<Lane> lane_range_kernel() {
  return VLTR_CHOOSE(lane_range<Lane>);
}

template <class Lane>
GreaterRows<Lane> greater_rows_kernel() {
  return VLTR_CHOOSE(greater_rows<Lane>);
}

template <class Lane>
CountBins<Lane> count_bins_kernel() {
  return VLTR_CHOOSE(count_bins<Lane>);
}

DrawNumbers draw_numbers_kernel() { return VLTR_CHOOSE(draw_numbers); }

template <class Lane>
CountCells<Lane> count_cells_kernel() {
  return VLTR_CHOOSE(count_cells<Lane>);
}

template <class Lane>
ScatterWords<Lane> scatter_words_kernel() {
  return VLTR_CHOOSE(scatter_words<Lane>);
}

template <class Lane>
ScatterWeights<Lane> scatter_weights_kernel() {
  return VLTR_CHOOSE(scatter_weights<Lane>);
}

template <class Element>
SortWords<Element> sort_words_kernel() {
  return VLTR_CHOOSE(sort_words<Element>);
}

template <class Key>
AppendSteps<Key> append_steps_kernel() {
  return VLTR_CHOOSE(append_steps<Key>);
}

ProductKernel product_kernel() { return VLTR_CHOOSE(product_kernel_of)(); }

PrecisionSummands precision_summands_kernel() { return VLTR_CHOOSE(precision_summands); }

template <class Key>
SumWeights<Key> sum_weights_kernel() {
  return VLTR_CHOOSE(sum_weights<Key>);
}

template <class Key>
WeightedSummands<Key> weighted_summands_kernel() {
  return VLTR_CHOOSE(weighted_summands<Key>);
}

AverageCounted average_counted_kernel() { return VLTR_CHOOSE(average_counted); }

AverageMarked average_marked_kernel() { return VLTR_CHOOSE(average_marked); }

DrawPoisson draw_poisson_kernel() { return VLTR_CHOOSE(draw_poisson); }

SumUnits sum_units_kernel() { return VLTR_CHOOSE(sum_units); }

ResampleClass resample_class_kernel() { return VLTR_CHOOSE(resample_class); }

#define VLTR_KERNELS(T)                                        \
  template RankScanTile<LaneOf<T>> rank_scan_tile_kernel<T>(); \
  template ReachColumns<LaneOf<T>> reach_columns_kernel<T>();  \
  template CopyColumns<LaneOf<T>> copy_columns_kernel<T>();    \
  template WeightedTile<LaneOf<T>> weighted_tile_kernel<T>();  \
  template EffectTile<LaneOf<T>> effect_tile_kernel<T>();      \
  template SumProbabilities<T> sum_probabilities_kernel<T>();  \
  template ReduceKernels<T> reduce_kernels<T>();               \
  template ListTile<LaneOf<T>> list_tile_kernel<T>();
VLTR_FOR_EACH_ELEMENT(VLTR_KERNELS)
#undef VLTR_KERNELS
#define VLTR_KERNELS(Lane)                                \
  template CountCells<Lane> count_cells_kernel();         \
  template ScatterWords<Lane> scatter_words_kernel();     \
  template ScatterWeights<Lane> scatter_weights_kernel(); \
  template OrderPart<Lane> order_part_kernel();           \
  template ReachMask<Lane> reach_mask_kernel();           \
  template MaskedBuckets<Lane> masked_buckets_kernel();   \
  template LaneRange<Lane> lane_range_kernel();           \
  template GreaterRows<Lane> greater_rows_kernel();       \
  template CountBins<Lane> count_bins_kernel();
VLTR_KERNELS(float)
VLTR_KERNELS(double)
VLTR_KERNELS(std::int64_t)
#undef VLTR_KERNELS
#define VLTR_KERNELS(Key)                                  \
  template SortWords<Key> sort_words_kernel();             \
  template SortWords<PlacedWord<Key>> sort_words_kernel(); \
  template AppendSteps<Key> append_steps_kernel();         \
  template SumWeights<Key> sum_weights_kernel();           \
  template WeightedSummands<Key> weighted_summands_kernel();
VLTR_KERNELS(std::uint32_t)
VLTR_KERNELS(std::uint64_t)
#undef VLTR_KERNELS

}  // namespace vltr::cpu
