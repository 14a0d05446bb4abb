// Details of single classes: the range of their scores, the rows that they get most wrong, and histograms.
//
// Unknown cells are in no range, list or histogram.
//
// Rows are cut into chunks that are done one by one and merged in order, so results do not depend on threads.
#pragma once

#include "core/rank_table.hpp"
#include "cpu/positives.hpp"
#include "cpu/simd.hpp"

namespace vltr::cpu {

constexpr std::int64_t kNoRow = -1;

struct ClassExtremes {
  // The lowest and the highest finite score of each class; zeros if no score is finite.
  LaneColumn low;
  LaneColumn high;
  // limit of each class: the lowest-scored positives and the highest-scored negatives, the worst first. Among equal
  // scores the smaller row comes first. kNoRow and a zero stand where there are fewer.
  Array<std::int64_t> missed_rows;
  LaneColumn missed_scores;
  Array<std::int64_t> false_rows;
  LaneColumn false_scores;
};

// Throws BadValue at the first NaN, in row order.
ClassExtremes class_extremes(const Matrix& scores, const Positives& positives, std::int64_t limit,
                             const Runner& runner);

struct ScoreHistograms {
  Array<std::uint32_t> positives;  // bins of each class
  Array<std::uint32_t> negatives;
};

// Counts scores in bins of one width between the lowest and the highest score of each class, which class_extremes()
// gives. Scores beyond these are in the outermost bins.
ScoreHistograms score_histograms(const Matrix& scores, const Positives& positives, const LaneColumn& low,
                                 const LaneColumn& high, std::int64_t bins, const Runner& runner);

// The kernels, compiled for each instruction set (class_details.inl). Lanes are those of one class in a tile.

// Finds the range of the lanes; infinite if one of them is infinite.
template <class Lane>
using LaneRange = void (*)(const Lane* lanes, std::int64_t rows, Lane& low, Lane& high);

// Lists the lanes from `first` on that are greater than `least`. Returns their number.
template <class Lane>
using GreaterRows = std::int64_t (*)(const Lane* lanes, std::int64_t first, std::int64_t rows, Lane least,
                                     std::uint32_t* found);

// A lane x is in bin (x * unit - low) * scale, where `unit` is a power of two that keeps doubles in range.
struct BinScale {
  double unit;
  double low;
  double scale;
  double last;          // the last bin
  std::int64_t lowest;  // of integers, whose difference to the lowest is exact
};

// Finds the bin of each lane and adds it to `counts`.
template <class Lane>
using CountBins = void (*)(const Lane* lanes, std::int64_t rows, const BinScale& scale, std::uint32_t* bins,
                           std::uint32_t* counts);

// The kernels of this processor (simd.hpp).
template <class Lane>
LaneRange<Lane> lane_range_kernel();
template <class Lane>
GreaterRows<Lane> greater_rows_kernel();
template <class Lane>
CountBins<Lane> count_bins_kernel();

#define VLTR_DECLARE_KERNELS(isa)                                                              \
  namespace isa {                                                                              \
  template <class Lane>                                                                        \
  void lane_range(const Lane*, std::int64_t, Lane&, Lane&);                                    \
  template <class Lane>                                                                        \
  std::int64_t greater_rows(const Lane*, std::int64_t, std::int64_t, Lane, std::uint32_t*);    \
  template <class Lane>                                                                        \
  void count_bins(const Lane*, std::int64_t, const BinScale&, std::uint32_t*, std::uint32_t*); \
  }
VLTR_FOR_EACH_ISA(VLTR_DECLARE_KERNELS)
#undef VLTR_DECLARE_KERNELS

}  // namespace vltr::cpu
