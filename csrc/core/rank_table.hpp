// The rank table in host memory: for each class, its thresholds and the counts of rows that reach them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <variant>

#include "core/large_array.hpp"

namespace vltr {

using LaneColumn = std::variant<TableColumn<float>, TableColumn<double>, TableColumn<std::int64_t>>;

// Class after class, thresholds descending in each. tp and fp count the rows that score at least the threshold, tied
// the negatives that score exactly the threshold.
struct RankTable {
  Offsets offset;
  LaneColumn thresholds;
  TableColumn<std::int64_t> tp;
  TableColumn<std::int64_t> fp;
  TableColumn<std::int64_t> tied;
};

// The thresholds, ascending in each class, as the searches need them.
template <class Lane>
Array<Lane> ascending_thresholds(const RankTable& table) {
  const auto& descending = std::get<TableColumn<Lane>>(table.thresholds);
  Array<Lane> ascending(descending.begin(), descending.end());
  for (std::int64_t c = 0; c < table.offset.lists(); ++c) {
    std::reverse(ascending.begin() + table.offset[c], ascending.begin() + table.offset[c + 1]);
  }
  return ascending;
}

// Moves `count` thresholds from element `from` of the columns to element `to`, to <= from.
template <class Lane>
void move_thresholds(RankTable& table, std::int64_t from, std::int64_t count, std::int64_t to) {
  if (from == to) return;
  const auto move = [=](auto* column) { std::copy(column + from, column + from + count, column + to); };
  move(std::get<TableColumn<Lane>>(table.thresholds).data());
  for (auto* column : {&table.tp, &table.fp, &table.tied}) move(column->data());
}

}  // namespace vltr
