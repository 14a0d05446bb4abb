// Ranks and selections within rows: the classes of a row are compared with each other.
#pragma once

#include "core/rank_table.hpp"
#include "cpu/positives.hpp"

namespace vltr::cpu {

// For each positive: the known negatives of its row that reach its bound, a lane of the scores. positives: lists of
// classes, one for each row (offset has N + 1 elements). Throws Cancelled.
Array<std::uint32_t> count_in_rows(const Matrix& scores, const Positives& positives, const LaneColumn& bounds,
                                   const Runner& runner);

// Which of the equal scores at the end of a selection are taken.
enum class Preference { kLowClass, kHighClass, kNegative, kPositive };

// The k best known cells of each row, by class: (N, k), -1 where a row has fewer.
struct TopCells {
  Array<std::int32_t> cls;
  LaneColumn score;
  Array<std::uint8_t> hit;  // whether the cell is positive
  std::int64_t open = 0;    // rows where the preference has decided, because more cells are equal than have a place
};

TopCells top_of_rows(const Matrix& scores, const Positives& positives, std::int64_t k, Preference preference,
                     const Runner& runner);

}  // namespace vltr::cpu
