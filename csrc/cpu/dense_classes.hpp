// Dense classes of a rank scan: their part of the rank table, or a metric of each without the table.
#pragma once

#include "cpu/rank_scan.hpp"

namespace vltr::cpu {

// Counts the given classes. Scratch: 64 MiB, or one class's words if that is more; words have the size of a lane.
//
// Without a metric, writes the thresholds of class c to the columns of `table`, from element slot[c] on, and their
// number to counts[c]; a class has at most as many thresholds as positives. With one, writes its value to out[c].
// Returns false, and leaves the output undefined, if a score of these classes is NaN.
template <class T>
bool scan_dense_classes(const Matrix& scores, const Positives& positives, const Array<std::int64_t>& classes,
                        ClassMetric metric, const Offsets& slot, RankTable& table, Array<std::int64_t>& counts,
                        Array<double>& out, const Runner& runner);

}  // namespace vltr::cpu
