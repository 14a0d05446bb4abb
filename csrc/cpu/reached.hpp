// Single scores against given thresholds: what sampled AP over shards looks up.
#pragma once

#include "core/rank_table.hpp"
#include "cpu/matrix.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

// For each cell: how many thresholds of its class its score reaches; 0 for a NaN.
std::vector<std::uint32_t> reached(const Matrix& scores, const Cells& cells, const RankTable& thresholds,
                                   const Runner& runner);

}  // namespace vltr::cpu
