// The negatives of a class in descending order of score, as far as thresholds tell scores apart.
//
// The rank table tells how many negatives lie between any two thresholds, so every group of them has a known place.
// Negatives move to ranges of thresholds first, and then, range by range in the cache, to their thresholds.
#pragma once

#include "core/rank_table.hpp"
#include "cpu/rank_scan_tile.hpp"

namespace vltr::cpu {

template <class Lane>
struct OrderedClass {
  const Lane* scores;  // (negatives) by number
  std::int64_t negatives;
  const Lane* keys;        // (count) the thresholds, descending
  const std::int64_t* fp;  // (count) the negatives that reach each
  std::int64_t count;
  Lane* moved_scores;       // (fp[count - 1]) scratch
  std::uint32_t* moved;     // (fp[count - 1]) scratch
  std::uint32_t* by_score;  // (fp[count - 1]) out: numbers of negatives

  std::int64_t reaching(std::int64_t end) const { return end == 0 ? 0 : fp[end - 1]; }  // the thresholds before `end`
};

// Orders the negatives that reach a threshold of first .. end - 1 and none before. Writes by_score from reaching(first)
// to reaching(end).
template <class Lane>
using OrderPart = void (*)(const OrderedClass<Lane>& ordered, std::int64_t first, std::int64_t end);

template <class Lane>
OrderPart<Lane> order_part_kernel();

#define VLTR_DECLARE_KERNELS(isa)                                         \
  namespace isa {                                                         \
  template <class Lane>                                                   \
  void order_part(const OrderedClass<Lane>&, std::int64_t, std::int64_t); \
  }
VLTR_FOR_EACH_ISA(VLTR_DECLARE_KERNELS)
#undef VLTR_DECLARE_KERNELS

}  // namespace vltr::cpu
