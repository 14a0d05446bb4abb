// Ranked lists: the classes of each row that a model lists, with their scores, in compressed rows.
//
// Rows and classes are given out in chunks. Every sum is of one class or over sorted thresholds, in one order, so
// results depend neither on threads nor on the order of rows.
#pragma once

#include "core/large_array.hpp"
#include "core/span.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

// Sorts each list in place: scores descend, and of equal scores the lower class comes first. Lists without scores
// (nullptr) keep their order. lowest: the last score of each row after sorting, +infinity for an empty list; unused
// without scores. Throws BadValue("range"), ("twice") or ("nan") for the first row with such a class.
template <class Score>
void sort_lists(OffsetSpan lists, std::int64_t num_classes, std::int32_t* classes, Score* scores, double* lowest,
                const Runner& runner);

// Writes 1 for each listed class that is in the other list of its row, else 0. others: ascending in each row.
void mark_listed(OffsetSpan lists, const std::int32_t* classes, OffsetSpan other_lists, const std::int32_t* others,
                 std::uint8_t* marks, const Runner& runner);

// The sum of the precision at each hit, over the pairs of all rows in one list, equal scores as one threshold. Only
// the first `depth` pairs of a row count. Lists are sorted.
template <class Score>
double pooled_precision(OffsetSpan lists, const Score* scores, const std::uint8_t* hits, std::int64_t depth,
                        const Runner& runner);

// Bounds of the metrics of each class, over all scores that unlisted cells can have. docs/topk.md has the proofs.
struct ClassBounds {
  Array<double> ap_low, ap_high, auc_low, auc_high;       // NaN where undefined
  Array<std::uint8_t> ap_low_attained, ap_high_attained;  // whether some completion has this AP
};

// Cells of classes: (row, class) pairs, class after class.
struct CellsOfClasses {
  OffsetSpan classes{nullptr, 0};
  const std::uint32_t* rows = nullptr;
};

// limits: the highest score that an unlisted cell of each row can have. hidden: positives that no list has. unknown:
// cells that are left out; no list has them.
template <class Score>
ClassBounds class_bounds(OffsetSpan lists, const std::int32_t* classes, const Score* scores, const std::uint8_t* hits,
                         Span<const double> limits, const CellsOfClasses& hidden, const CellsOfClasses& unknown,
                         const Runner& runner);

}  // namespace vltr::cpu
