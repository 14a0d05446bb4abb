// Compares single scores with given thresholds, for sampled AP over several shards.
#pragma once

#include "core/rank_table.hpp"
#include "cpu/matrix.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

// For each cell, the number of thresholds of its class that its score reaches; 0 for a NaN.
Array<std::uint32_t> count_reached(const Matrix& scores, const Cells& cells, const RankTable& thresholds,
                                   const Runner& runner);

}  // namespace vltr::cpu
