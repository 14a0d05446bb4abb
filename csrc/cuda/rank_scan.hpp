// One pass over a score matrix in device memory, after a look at the scores of its positives: the rank table, and on
// request sampled AP and the rank of each row's best label. The same integers, and so the same bits, as on the CPU.
#pragma once

#include "cuda/positives.hpp"
#include "cuda/rank_table.hpp"

namespace vltr::cuda {

struct RankScanRequest {
  std::int64_t trials = 0;  // of sampled AP
  std::uint64_t seed = 0;
  bool ranks = false;
  const RankTable* given = nullptr;  // thresholds to count against instead of those of the positives
};

struct RankScanResult {
  DeviceRankTable table;
  std::vector<double> trials;       // (trials, C) row-major
  std::vector<std::int32_t> ranks;  // (N): classes that rank before the row's best label; -1 without label
};

// Throws BadValue at a NaN score, and MissingThreshold. Waits for the stream, to know that there is none.
RankScanResult rank_scan(const Matrix& scores, const Positives& positives, const RankScanRequest& request, const Stream& stream);

}  // namespace vltr::cuda
