// The rank table in host memory.
#pragma once

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

}  // namespace vltr
