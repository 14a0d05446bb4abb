// Single scores against given thresholds: what sampled AP over shards looks up.
#pragma once

#include "core/matrix.hpp"
#include "core/rank_table.hpp"
#include "cuda/device.hpp"

namespace vltr::cuda {

// For each cell: how many thresholds of its class its score reaches; 0 for a NaN. Waits for the stream.
std::vector<std::uint32_t> count_reached(const Matrix& scores, const Cells& cells, const RankTable& thresholds,
                                   const Stream& stream);

}  // namespace vltr::cuda
