// Curves over all thresholds of each class: the rows and the positives that reach each distinct score.
#pragma once

#include "core/rank_table.hpp"
#include "cpu/matrix.hpp"
#include "cpu/pool.hpp"
#include "cpu/positives.hpp"

namespace vltr::cpu {

// The thresholds of a curve that are kept. The first and the last always are.
enum class KeptThresholds {
  kAll,
  kHitChanges,  // those whose positives differ from those of the threshold before or after: precision and recall
  kCorners,     // those at which the ROC curve changes its direction
};

// One curve. It has the kept threshold number `first` and every `step`th after it, counted from the highest or from
// the lowest one.
struct CurveRequest {
  KeptThresholds kept = KeptThresholds::kAll;
  bool from_lowest = false;
  std::int64_t first = 0;
  std::int64_t step = 1;
};

// Class after class, thresholds descending in each.
struct ScoreCurves {
  Offsets offset{0};
  LaneColumn thresholds;
  TableColumn<std::int64_t> tp;       // the positives that reach each threshold
  TableColumn<std::int64_t> reached;  // the known rows that do
  Array<std::int64_t> kept;           // (C) the thresholds that are kept, before every `step`th is taken
};

// Sorts each class once for all requests. Unknown cells are left out of their class. Scratch: as scan_dense_classes().
// Throws BadValue for a NaN.
Array<ScoreCurves> score_curves(const Matrix& scores, const Positives& positives, const Array<CurveRequest>& requests,
                                const Runner& runner);

}  // namespace vltr::cpu
