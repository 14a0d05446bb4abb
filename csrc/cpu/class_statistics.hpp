// Everything that a report takes from the rank table of each class, but exact sampled AP.
#pragma once

#include "core/unknown.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

// The columns of a rank table in borrowed memory. Its offsets rise from 0, and its counts are from 0 to rows.all.
struct TableColumns {
  Span<const std::int64_t> offset;  // (C + 1)
  const std::int64_t* tp;
  const std::int64_t* fp;
  const std::int64_t* tied;
  ClassRows rows;
};

// (C) each; see ap_core.hpp, sap_core.hpp and tie_core.hpp.
struct ClassStatistics {
  Array<double> average_precision;
  Array<double> roc_auc;
  Array<double> chance;  // sampled_average_precision_chance
  Array<std::int64_t> tied_positives;
  Array<double> tie_lower;
  Array<double> tie_upper;
};

ClassStatistics class_statistics(const TableColumns& table, const Runner& runner);

// True if all counts are from 0 to `most`, which is at least 0.
bool are_counts(Span<const std::int64_t> counts, std::int64_t most, const Runner& runner);

}  // namespace vltr::cpu
