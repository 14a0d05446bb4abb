// The rank table in host memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <variant>
#include <vector>

namespace vltr {

using LaneVector = std::variant<std::vector<float>, std::vector<double>, std::vector<std::int64_t>>;

// Compressed rows by class, thresholds descending. Counts are of rows scoring at least the threshold; tied negatives
// equal it.
struct RankTable {
  std::vector<std::int64_t> offset;
  LaneVector thresholds;
  std::vector<std::int64_t> tp;
  std::vector<std::int64_t> fp;
  std::vector<std::int64_t> tied;
};

// The thresholds as searches take them: ascending in each class.
template <class Lane>
std::vector<Lane> ascending_thresholds(const RankTable& table) {
  std::vector<Lane> ascending = std::get<std::vector<Lane>>(table.thresholds);
  for (std::size_t c = 0; c + 1 < table.offset.size(); ++c) {
    std::reverse(ascending.begin() + table.offset[c], ascending.begin() + table.offset[c + 1]);
  }
  return ascending;
}

}  // namespace vltr
