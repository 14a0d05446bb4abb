// Hits for Acc@k: the rows whose best label is among their k highest scores.
#pragma once

#include "cpu/pool.hpp"
#include "cpu/positives.hpp"

namespace vltr::cpu {

struct HitCounts {
  std::int64_t labelled = 0;    // rows with a label
  Array<std::int64_t> rows;     // (K) hits at each k
  Array<std::int64_t> classes;  // (K, C) hits among the positive rows of each class
};

// ranks (N): the number of classes that rank before the best label of each row, -1 without label. A row is a hit at k
// if its rank is below k. topk: K positive numbers. offset, rows: the
// positives, as in Positives.
HitCounts count_hits(Span<const std::int32_t> ranks, Span<const std::int64_t> offset, const std::uint32_t* rows,
                     Span<const std::int32_t> topk, const Runner& runner);

}  // namespace vltr::cpu
