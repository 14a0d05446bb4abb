// One pass over a score matrix, after a look at the scores of its positives: the rank table, and on request sampled AP
// and the rank of each row's best label.
#pragma once

#include "core/rank_table.hpp"
#include "cpu/positives.hpp"

namespace vltr::cpu {

struct ScanRequest {
  int trials = 0;  // of sampled AP
  std::uint64_t seed = 0;
  bool ranks = false;
  // Thresholds to count against instead of those of `positives`: how shards of one data set are counted apart and then
  // added.
  const RankTable* given = nullptr;
};

struct ScanResult {
  RankTable table;
  std::vector<double> trials;       // (trials, C) row-major
  std::vector<std::int32_t> ranks;  // (N): classes that rank before the row's best label; -1 without label
};

// Throws BadValue at a NaN score, MissingThreshold, Cancelled when the runner's poll says so.
ScanResult scan(const Matrix& scores, const Positives& positives, const ScanRequest& request, const Runner& runner);

// Distinct scores of the positives, descending by class, with how many positives reach each (in tp): what shards
// exchange.
RankTable positive_scores(const Matrix& scores, const Positives& positives, const Runner& runner);

}  // namespace vltr::cpu
