// A running evaluation takes a batch: its scores and labels go behind those that it holds.
#pragma once

#include "core/matrix.hpp"
#include "cuda/device.hpp"

namespace vltr::cuda {

// As on the CPU, in one launch, which this does not wait for: *first_bad lies on the device, and who wants the result
// looks there. scores and labels are one shard each.
void append_batch(const Matrix& scores, const Matrix& labels, std::byte* to_scores, std::byte* to_labels,
                  std::int64_t first_row, unsigned long long* first_bad, const Stream& stream);

}  // namespace vltr::cuda
