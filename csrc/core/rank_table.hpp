// The rank table in host memory: for each class, its thresholds and the counts of rows that reach them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <variant>
#include <vector>

#include "core/span.hpp"

namespace vltr {

using LaneVector = std::variant<std::vector<float>, std::vector<double>, std::vector<std::int64_t>>;

// Class after class, thresholds descending in each. tp and fp count the rows that score at least the threshold, tied
// the negatives that score exactly the threshold.
struct RankTable {
  Offsets offset;
  LaneVector thresholds;
  Array<std::int64_t> tp;
  Array<std::int64_t> fp;
  Array<std::int64_t> tied;
};

// The thresholds, ascending in each class, as the searches need them.
template <class Lane>
std::vector<Lane> ascending_thresholds(const RankTable& table) {
  std::vector<Lane> ascending = std::get<std::vector<Lane>>(table.thresholds);
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
  move(std::get<std::vector<Lane>>(table.thresholds).data());
  for (auto* column : {&table.tp, &table.fp, &table.tied}) move(column->data());
}

}  // namespace vltr
