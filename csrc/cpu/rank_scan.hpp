// The rank scan: one pass over a score matrix, after its positives' scores have been read and sorted. It gives the rank
// table and, on request, sampled AP and the rank of each row's best label.
#pragma once

#include "core/rank_scan_request.hpp"
#include "cpu/positives.hpp"

namespace vltr::cpu {

struct RankScanResult {
  RankTable table;            // empty if a metric is requested
  Array<double> metric;       // (C)
  Array<double> trials;       // (trials, C) row-major
  Array<std::int32_t> ranks;  // (N): the number of classes that rank before the row's best label; -1 without labels
};

// Throws BadValue at a NaN score, MissingThreshold, and Cancelled if the runner's poll returns true.
RankScanResult rank_scan(const Matrix& scores, const Positives& positives, const RankScanRequest& request,
                         const Runner& runner);

// The distinct scores of the positives, descending in each class, and in tp the number of positives that reach each.
// Ranks exchange these tables before they count their shards.
RankTable positive_scores(const Matrix& scores, const Positives& positives, const Runner& runner);

}  // namespace vltr::cpu
