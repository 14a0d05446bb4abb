// Whole columns, class by class, for operations that need all rows of a class at once. Reads groups of columns.
#pragma once

#include "cpu/rank_scan_tile.hpp"

namespace vltr::cpu {

constexpr std::int64_t kColumnScratchBytes = std::int64_t{32} << 20;

// Calls per_class(c, reached, worker) for each class for which is_needed(c) is true. reached (N) is the number of
// thresholds of the class that each row reaches; per_class may overwrite it. Scratch: kColumnScratchBytes in total, or
// one column per thread if that is more.
template <class T, class IsNeeded, class PerClass>
void for_each_column(const Matrix& scores, const Thresholds<LaneOf<T>>& thresholds, const Runner& runner,
                     const IsNeeded& is_needed, const PerClass& per_class) {
  const std::int64_t workers = std::max(runner.threads, 1);
  const std::int64_t column_bytes =
      std::max<std::int64_t>(1, scores.rows * static_cast<std::int64_t>(sizeof(std::uint32_t)));
  const std::int64_t group = std::clamp<std::int64_t>(kColumnScratchBytes / (column_bytes * workers), 1, 16);
  const ReachColumns<LaneOf<T>> reach_columns = reach_columns_kernel<T>();
  Array<Array<std::uint32_t>> scratch(workers);
  runner.run((scores.cols + group - 1) / group, [&](std::int64_t item, int worker) {
    std::int64_t first_col = item * group;
    std::int64_t end_col = std::min(scores.cols, first_col + group);
    while (first_col < end_col && !is_needed(first_col)) ++first_col;
    while (first_col < end_col && !is_needed(end_col - 1)) --end_col;
    if (first_col == end_col) return;
    Array<std::uint32_t>& reached = scratch[worker];
    reached.resize(group * scores.rows);
    reach_columns(scores, thresholds, first_col, end_col - first_col, reached.data());
    for (std::int64_t c = first_col; c < end_col; ++c) {
      if (is_needed(c)) per_class(c, reached.data() + (c - first_col) * scores.rows, worker);
    }
  });
}

// The same for all classes.
template <class T, class PerClass>
void for_each_column(const Matrix& scores, const Thresholds<LaneOf<T>>& thresholds, const Runner& runner,
                     const PerClass& per_class) {
  for_each_column<T>(scores, thresholds, runner, [](std::int64_t) { return true; }, per_class);
}

}  // namespace vltr::cpu
