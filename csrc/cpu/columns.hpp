// Whole columns, class by class, for operations that need all rows of a class at once. Reads groups of columns.
#pragma once

#include "cpu/rank_scan_tile.hpp"

namespace vltr::cpu {

constexpr std::int64_t kColumnScratchBytes = std::int64_t{32} << 20;

// Adjacent classes whose columns are read together.
struct ColumnGroup {
  std::int64_t first;
  std::int64_t count;
};

// Groups of at most `most` of the classes, which must ascend.
inline Array<ColumnGroup> column_groups(Span<const std::int64_t> classes, std::int64_t most) {
  Array<ColumnGroup> groups;
  for (const std::int64_t c : classes) {
    if (!groups.empty() && groups.back().count < most && groups.back().first + groups.back().count == c) {
      ++groups.back().count;
    } else {
      groups.push_back({c, 1});
    }
  }
  return groups;
}

// Calls per_class(c, reached, worker) for each of the classes, which must ascend. reached (N) is the number of
// thresholds of the class that each row reaches; per_class may overwrite it. Scratch: kColumnScratchBytes in total, or
// one column per thread if that is more.
template <class T, class PerClass>
void for_each_column(const Matrix& scores, const Thresholds<LaneOf<T>>& thresholds, Span<const std::int64_t> classes,
                     const Runner& runner, const PerClass& per_class) {
  const std::int64_t workers = std::max(runner.threads, 1);
  const std::int64_t column_bytes =
      std::max<std::int64_t>(1, scores.rows * static_cast<std::int64_t>(sizeof(std::uint32_t)));
  const std::int64_t most = std::clamp<std::int64_t>(kColumnScratchBytes / (column_bytes * workers), 1, 16);
  const Array<ColumnGroup> groups = column_groups(classes, most);
  const ReachColumns<LaneOf<T>> reach_columns = reach_columns_kernel<T>();
  Array<Array<std::uint32_t>> scratch(workers);
  runner.run(groups.count(), [&](std::int64_t item, int worker) {
    const ColumnGroup group = groups[item];
    Array<std::uint32_t>& reached = scratch[worker];
    reached.resize(group.count * scores.rows);
    reach_columns(scores, thresholds, group.first, group.count, reached.data());
    for (std::int64_t j = 0; j < group.count; ++j) {
      per_class(group.first + j, reached.data() + j * scores.rows, worker);
    }
  });
}

}  // namespace vltr::cpu
