// The inner operations of the bootstrap on a block of replicates: weights of units, and the metrics of one class.
//
// The weights of a block are a matrix of bytes, one row for each unit and one lane for each replicate. A block has 16,
// 64 or 256 lanes. Sums are integers in any order, and metrics are summed threshold by threshold, from the highest, as
// the functions of core/ap_core.hpp and core/sap_core.hpp do it. So a replicate has the bits of the metric of a data
// set in which each row is repeated as often as its weight says.
#pragma once

#include "core/bootstrap_core.hpp"
#include "core/large_array.hpp"
#include "core/sap_core.hpp"
#include "cpu/simd.hpp"

namespace vltr::cpu {

constexpr int kMostBlockLanes = 256;

// The Poisson weights of units first_unit to first_unit + units - 1 in replicates 4 * first_group and later: (units,
// lanes) bytes.
using DrawPoisson = void (*)(std::uint64_t seed, std::uint32_t first_group, int lanes, std::int64_t first_unit,
                             std::int64_t units, std::uint8_t* weights);
DrawPoisson draw_poisson_kernel();

// A block of weights.
struct WeightBlock {
  const std::uint8_t* weights;  // (units, lanes)
  int lanes;
  int rows_per_byte;  // so many rows have a sum of weights that fits in a byte
};

// Writes the sum of the weights of some units, lane by lane.
using SumUnits = void (*)(const WeightBlock& block, const std::uint32_t* units, std::int64_t count,
                          std::uint32_t* sums);
SumUnits sum_units_kernel();

// A class: its thresholds, and the rows that reach them as units.
struct ResampledClass {
  std::int64_t keys;
  const std::int64_t* tp;  // (keys) as in the rank table
  const std::int64_t* fp;
  const std::int64_t* tied;
  const std::uint32_t* units;      // for each threshold, descending: rows above it that reach no higher one, then rows
                                   // that equal it, positives among them
  const std::uint32_t* positives;  // the positives, by descending threshold
};

// The metrics of one class in a block, lane by lane. Null for metrics that are not requested.
struct ResampledMetrics {
  double* average_precision;
  double* roc_auc;
  double* expected_sap;
  double* levels;  // scratch for expected_sap: kLevelDoubles, aligned to 64 bytes
};
constexpr std::int64_t kLevelDoubles = std::int64_t{2} * (kSapLevels + 1) * kMostBlockLanes;

// total: the weight of all rows, lane by lane.
using ResampleClass = void (*)(const WeightBlock& block, const ResampledClass& cls, const double* total,
                               const ResampledMetrics& out);
ResampleClass resample_class_kernel();

#define VLTR_DECLARE_KERNELS(isa)                                                                         \
  namespace isa {                                                                                         \
  void draw_poisson(std::uint64_t, std::uint32_t, int, std::int64_t, std::int64_t, std::uint8_t*);        \
  void sum_units(const WeightBlock&, const std::uint32_t*, std::int64_t, std::uint32_t*);                 \
  void resample_class(const WeightBlock&, const ResampledClass&, const double*, const ResampledMetrics&); \
  }
VLTR_FOR_EACH_ISA(VLTR_DECLARE_KERNELS)
#undef VLTR_DECLARE_KERNELS

}  // namespace vltr::cpu
