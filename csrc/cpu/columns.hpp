// Whole columns, class by class: for what needs every row of a class at once. Reads the matrix in groups of columns.
#pragma once

#include "cpu/scan_tile.hpp"

namespace vltr::cpu {

constexpr std::int64_t kColumnScratchBytes = std::int64_t{32} << 20;

// Calls per_class(c, reached, worker) for each class; reached (N) is how many thresholds of the class each row's score
// reaches, and may be overwritten. Scratch: kColumnScratchBytes in all, or one column a thread where that is more.
template <class T, class PerClass>
void for_each_column(const Matrix& scores, const Thresholds<LaneOf<T>>& thresholds, const Runner& runner,
                     const PerClass& per_class) {
  const std::int64_t workers = std::max(runner.threads, 1);
  const std::int64_t column_bytes =
      std::max<std::int64_t>(1, scores.rows * static_cast<std::int64_t>(sizeof(std::uint32_t)));
  const std::int64_t group = std::clamp<std::int64_t>(kColumnScratchBytes / (column_bytes * workers), 1, 16);
  const ReachColumns<LaneOf<T>> reach_columns = reach_columns_kernel<T>();
  std::vector<std::vector<std::uint32_t>> scratch(static_cast<std::size_t>(workers));
  runner.run((scores.cols + group - 1) / group, [&](std::int64_t item, int worker) {
    std::vector<std::uint32_t>& reached = scratch[static_cast<std::size_t>(worker)];
    reached.resize(static_cast<std::size_t>(group * scores.rows));
    const std::int64_t first_col = item * group;
    const std::int64_t cols = std::min(group, scores.cols - first_col);
    reach_columns(scores, thresholds, first_col, cols, reached.data());
    for (std::int64_t j = 0; j < cols; ++j) per_class(first_col + j, reached.data() + j * scores.rows, worker);
  });
}

}  // namespace vltr::cpu
