// Compares single scores with given thresholds, for sampled AP over several shards.
#pragma once

#include "core/matrix.hpp"
#include "core/rank_table.hpp"
#include "cuda/device.hpp"

namespace vltr::cuda {

// For each cell, the number of thresholds of its class that its score reaches; 0 for a NaN. Waits for the stream.
Array<std::uint32_t> count_reached(const Matrix& scores, const Cells& cells, const RankTable& thresholds,
                                   const Stream& stream);

}  // namespace vltr::cuda
