// The rank scan in device memory: one pass over a score matrix, after its positives' scores have been read and sorted.
// It gives the rank table and, on request, sampled AP and the rank of each row's best label: the same integers as on
// the CPU, and so the same bits.
#pragma once

#include "core/rank_scan_request.hpp"
#include "cuda/positives.hpp"
#include "cuda/rank_table.hpp"
#include "cuda/unknown.hpp"

namespace vltr::cuda {

struct RankScanResult {
  DeviceRankTable table;
  Array<double> trials;       // (trials, C) row-major
  Array<std::int32_t> ranks;  // (N): the number of classes that rank before the row's best label; -1 without labels
};

// unknown: the cells that are left out of the table and the trials, and rank before no label; null if all are known.
// Throws BadValue at a NaN score, also of an unknown cell, and MissingThreshold. Waits for the stream to read these
// errors.
RankScanResult rank_scan(const Matrix& scores, const Positives& positives, const UnknownBits* unknown,
                         const RankScanRequest& request, const Stream& stream);

}  // namespace vltr::cuda
